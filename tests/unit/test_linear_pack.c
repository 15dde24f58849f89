/* Packing keeps its bounds, loses at most half a step a weight, and takes outliers out. */
#include "kernels/bf16.h"
#include "kernels/e4m3.h"
#include "kernels/linear/linear_pack.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

enum { K = 64 };

static uint32_t random_state = 1;
static float random_float(void)
{
    random_state = random_state * 1664525u + 1013904223u;
    return (float)(int32_t)random_state / 2147483648.0f;
}

static void fill(float *rows, float peak)
{
    for (int i = 0; i < LINEAR_PANEL * K; i++) {
        float x = random_float();
        rows[i] = x * x * x * (i % 7 == 0 ? peak : 1.0f);
    }
}

static int8_t weight_at(const int8_t *panel, int output, int k) { return panel[k / 4 * 4 * LINEAR_PANEL + 4 * output + k % 4]; }

static void int8_keeps_its_bounds(void **state)
{
    (void)state;
    static float  rows[LINEAR_PANEL * K], exact[LINEAR_PANEL * K];
    static int8_t panel[LINEAR_PANEL * K];
    for (int round = 0; round < 200; round++) {
        fill(rows, (float)(1 + round % 20));
        for (int i = 0; i < LINEAR_PANEL * K; i++)
            exact[i] = rows[i];
        struct linear_pack_result result = { .panel = panel };
        linear_pack_panel(&(struct linear_pack_args){ DTYPE_I8, K, rows, 0, NULL }, &result);
        for (int output = 0; output < LINEAR_PANEL; output++) {
            int32_t sum = 0;
            for (int k = 0; k < K; k += 2) {
                int a = weight_at(panel, output, k), b = weight_at(panel, output, k + 1);
                assert_in_range(abs(a) + abs(b), 0, LINEAR_PAIR_MAX);
                assert_true(abs(a) <= 127 && abs(b) <= 127);
                sum += a + b;
                /* half a step of rounding, one more where a pair gave way */
                assert_true(fabsf((float)a * result.scales[output] - exact[output * K + k]) <= 1.51f * result.scales[output]);
                assert_true(fabsf((float)b * result.scales[output] - exact[output * K + k + 1]) <= 1.51f * result.scales[output]);
            }
            assert_int_equal(sum, result.sums[output]);
        }
    }
}

static void outliers_are_kept_beside_the_panel(void **state)
{
    (void)state;
    static float  rows[LINEAR_PANEL * K];
    static int8_t panel[LINEAR_PANEL * K];
    const int32_t columns[] = { 3, 40 };
    fill(rows, 1.0f);
    float first = rows[5 * K + 3], second = rows[5 * K + 40];
    rows[5 * K + 3] *= 1000.0f;  /* would ruin the row's scale */
    struct linear_pack_result result = { .panel = panel };
    linear_pack_panel(&(struct linear_pack_args){ DTYPE_I8, K, rows, 2, columns }, &result);
    assert_true(result.outlier_weights[0][5] == first * 1000.0f && result.outlier_weights[1][5] == second);
    for (int output = 0; output < LINEAR_PANEL; output++)
        assert_true(weight_at(panel, output, 3) == 0 && weight_at(panel, output, 40) == 0);
    assert_true(result.scales[5] < 0.02f);
}

static void floats_are_only_moved(void **state)
{
    (void)state;
    static float    rows[LINEAR_PANEL * K], panel[LINEAR_PANEL * K];
    static uint16_t halves[LINEAR_PANEL * K];
    fill(rows, 3.0f);
    struct linear_pack_result result = { .panel = panel };
    linear_pack_panel(&(struct linear_pack_args){ DTYPE_F32, K, rows, 0, NULL }, &result);
    for (int output = 0; output < LINEAR_PANEL; output++)
        for (int k = 0; k < K; k++)
            assert_true(panel[k * LINEAR_PANEL + output] == rows[output * K + k]);
    result.panel = halves;
    linear_pack_panel(&(struct linear_pack_args){ DTYPE_BF16, K, rows, 0, NULL }, &result);
    for (int output = 0; output < LINEAR_PANEL; output++)
        for (int k = 0; k < K; k++)
            assert_int_equal(halves[k / 2 * 2 * LINEAR_PANEL + 2 * output + k % 2], bf16_from_float(rows[output * K + k]));
}

static void e4m3_is_the_nearest(void **state)
{
    (void)state;
    for (int code = 0; code < 126; code++) {  /* at, below, half way to and above; a tie goes to the even code */
        float low = e4m3_to_float((uint8_t)code), high = e4m3_to_float((uint8_t)(code + 1)), middle = (low + high) / 2;
        assert_int_equal(e4m3_from_float(low), code);
        assert_int_equal(e4m3_from_float(-high), 128 | (code + 1));
        assert_int_equal(e4m3_from_float(nextafterf(middle, 0.0f)), code);
        assert_int_equal(e4m3_from_float(middle), code + code % 2);
        assert_int_equal(e4m3_from_float(nextafterf(middle, 500.0f)), code + 1);
    }
    assert_int_equal(e4m3_from_float(1e30f), 126);
    assert_true(isnan(e4m3_to_float(127)) && e4m3_to_float(126) == E4M3_MAX);
}

static void e4m3_rows_have_a_scale(void **state)
{
    (void)state;
    static float row[K];
    uint8_t      codes[K];
    for (int i = 0; i < K; i++)
        row[i] = random_float() * 0.03f;
    row[17] = -0.07f;
    float scale = linear_pack_e4m3(row, K, codes);
    assert_true(scale == 0.07f / E4M3_MAX);
    assert_int_equal(codes[17], 128 | 126);
    for (int i = 0; i < K; i++)
        assert_true(fabsf(e4m3_to_float(codes[i]) * scale - row[i]) <= fmaxf(fabsf(row[i]) / 16, scale * 0x1p-10f) * 1.0001f);
    for (int i = 0; i < K; i++)
        row[i] = 0.0f;
    assert_true(linear_pack_e4m3(row, K, codes) == 1.0f);
    for (int i = 0; i < K; i++)
        assert_int_equal(codes[i], 0);
}

static void the_greatest_scores_are_chosen(void **state)
{
    (void)state;
    const float scores[] = { 1, 9, 3, 9, 8, 2, 8, 0 };
    int32_t     columns[3];
    linear_pack_choose(scores, 8, 3, columns);
    assert_true(columns[0] == 1 && columns[1] == 3 && columns[2] == 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(int8_keeps_its_bounds),
        cmocka_unit_test(outliers_are_kept_beside_the_panel),
        cmocka_unit_test(floats_are_only_moved),
        cmocka_unit_test(e4m3_is_the_nearest),
        cmocka_unit_test(e4m3_rows_have_a_scale),
        cmocka_unit_test(the_greatest_scores_are_chosen),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
