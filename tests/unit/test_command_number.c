/* Numbers as the command writes them. command_number.c belongs to the program, not to the library: it is included whole. */
#include "host/command_number.c"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static const char *written(float value)
{
    static char text[64];
    char       *end = number_write_float(text, value);
    assert_in_range(end - text, 1, NUMBER_MAX_LENGTH);
    *end = 0;
    return text;
}

static float from_bits(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static void test_known_floats(void **state)
{
    static const struct {
        float       value;
        const char *text;
    } cases[] = {
        { 0.0f, "0.0" }, { -0.0f, "-0.0" }, { 1.0f, "1.0" }, { -1.0f, "-1.0" }, { 0.1f, "0.1" }, { 0.3f, "0.3" },
        { 123.456f, "123.456" }, { 16777216.0f, "16777216.0" }, { 999999999.0f, "1e9" }, { 3.4028235e38f, "3.4028235e38" },
        { 1.1754944e-38f, "1.1754944e-38" }, { 1e-45f, "1e-45" }, { 0.00001f, "0.00001" }, { 0.000012345f, "0.000012345" },
        { 0.00000123f, "1.23e-6" }, { 1e-7f, "1e-7" }, { -2.5e-9f, "-2.5e-9" }, { 9.999999e9f, "9.999999e9" },
        { 8388608.0f, "8388608.0" }, { 0.5f, "0.5" }, { 2097152.2f, "2097152.2" }, { INFINITY, "null" }, { NAN, "null" },
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_string_equal(written(cases[i].value), cases[i].text);
}

/* Every 1009th float, and all powers of two with their neighbours: the text reads back to the same bits. */
static void test_floats_read_back(void **state)
{
    (void)state;
    for (uint32_t bits = 1; bits < 0x7f800000u; bits += 1009)
        assert_true(strtof(written(from_bits(bits)), NULL) == from_bits(bits));
    for (uint32_t exponent = 1; exponent < 255; exponent++)
        for (uint32_t bits = (exponent << 23) - 2; bits <= (exponent << 23) + 2; bits++)
            assert_true(strtof(written(from_bits(bits)), NULL) == from_bits(bits));
}

static int digits_of(const char *text)
{
    int count = 0, zeros = 0;
    for (; *text && *text != 'e'; text++)
        if (*text >= '0' && *text <= '9') {
            zeros = *text == '0' ? zeros + (count > 0) : 0;
            count += count > 0 || *text != '0';
        }
    return count - zeros;
}

/* No shorter decimal reads back to the same bits. */
static void test_floats_are_shortest(void **state)
{
    (void)state;
    for (uint32_t bits = 1; bits < 0x7f800000u; bits += 50021) {
        const float value  = from_bits(bits);
        const int   digits = digits_of(written(value));
        char        shorter[64];
        snprintf(shorter, sizeof shorter, "%.*e", digits > 1 ? digits - 2 : 0, (double)value);
        assert_true(digits == 1 || strtof(shorter, NULL) != value);
    }
}

static void test_integers(void **state)
{
    static const uint64_t cases[] = { 0, 1, 9, 10, 99, 100, 101, 30521, 999999, 1000000, UINT32_MAX, UINT64_MAX };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[64], expected[64];
        *number_write(text, cases[i]) = 0;
        snprintf(expected, sizeof expected, "%llu", (unsigned long long)cases[i]);
        assert_string_equal(text, expected);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_known_floats),
        cmocka_unit_test(test_floats_read_back),
        cmocka_unit_test(test_floats_are_shortest),
        cmocka_unit_test(test_integers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
