#include "tests/support/compare.h"

#include <math.h>
#include <string.h>

size_t compare_bytes(const void *actual, const void *expected, size_t bytes)
{
    const unsigned char *a = actual, *e = expected;
    if (memcmp(a, e, bytes) == 0)
        return COMPARE_SAME;
    size_t at = 0;
    while (a[at] == e[at])
        at++;
    return at;
}

size_t compare_floats(const float *actual, const float *expected, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (memcmp(&actual[i], &expected[i], sizeof(float)) != 0 && !(isnan(actual[i]) && isnan(expected[i])))
            return i;
    return COMPARE_SAME;
}

/* The absolute difference; 0 for two NaNs or twice the same infinity, infinite where only one of the two is a number. */
static double difference(double actual, double expected)
{
    if (isfinite(actual) && isfinite(expected))
        return fabs(actual - expected);
    bool same = (isnan(actual) && isnan(expected)) || actual == expected;
    return same ? 0.0 : INFINITY;
}

size_t compare_close(const float *actual, const double *expected, const double *tolerance, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (!(difference((double)actual[i], expected[i]) <= tolerance[i]))
            return i;
    return COMPARE_SAME;
}

struct compare_error compare_error(const float *actual, const double *expected, size_t count)
{
    struct compare_error result  = { 0.0, 0.0, COMPARE_SAME };
    double               squares = 0.0, errors = 0.0;
    for (size_t i = 0; i < count; i++) {
        double d = difference((double)actual[i], expected[i]);
        errors += d * d;
        squares += isfinite(expected[i]) ? expected[i] * expected[i] : 0.0;
        if (d > result.maximum) {
            result.maximum = d;
            result.at      = i;
        }
    }
    result.nmse = errors == 0.0 ? 0.0 : squares > 0.0 ? errors / squares : INFINITY;
    return result;
}
