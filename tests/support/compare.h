/* compare.h: how tests compare numbers. A NaN never passes for a number, and never hides a difference beside it.
 *
 * Every function tells where the first (or the worst) difference is; indices count elements.
 */
#ifndef RECTO_TESTS_SUPPORT_COMPARE_H
#define RECTO_TESTS_SUPPORT_COMPARE_H

#include <stdbool.h>
#include <stddef.h>

#define COMPARE_SAME ((size_t)-1)

/* The first byte that differs, or COMPARE_SAME. */
size_t compare_bytes(const void *actual, const void *expected, size_t bytes);

/* The first float whose bits differ, or COMPARE_SAME; any NaN equals any NaN. */
size_t compare_floats(const float *actual, const float *expected, size_t count);

/* The first float with |actual - expected| > tolerance, or COMPARE_SAME. NaN equals NaN alone, infinity itself alone. */
size_t compare_close(const float *actual, const double *expected, const double *tolerance, size_t count);

struct compare_error {
    double nmse;     /* sum of squared differences by sum of expected squares; infinite where a NaN or infinity differs */
    double maximum;  /* greatest absolute difference, infinite likewise */
    size_t at;       /* where it is */
};
struct compare_error compare_error(const float *actual, const double *expected, size_t count);

#endif
