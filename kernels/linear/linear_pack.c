#include "kernels/linear/linear_pack.h"

#include "kernels/bf16.h"
#include "kernels/e4m3.h"
#include "kernels/math/math_ref.h"
#include "kernels/quantize/quantize.h"

#include <stdbool.h>
#include <stdlib.h>

static void pack_f32(const struct linear_pack_args *a, float *panel)
{
    for (int k = 0; k < a->k; k++)
        for (int i = 0; i < LINEAR_PANEL; i++)
            *panel++ = a->rows[(size_t)i * (size_t)a->k + (size_t)k];
}

static void pack_bf16(const struct linear_pack_args *a, uint16_t *panel)
{
    for (int k = 0; k < a->k; k += 2)
        for (int i = 0; i < LINEAR_PANEL; i++)
            for (int j = 0; j < 2; j++)
                *panel++ = bf16_from_float(a->rows[(size_t)i * (size_t)a->k + (size_t)(k + j)]);
}

static bool is_outlier(const struct linear_pack_args *a, int column)
{
    for (int i = 0; i < a->outliers; i++)
        if (a->outlier_columns[i] == column)
            return true;
    return false;
}

/* The scale that keeps single weights and neighbouring pairs within their bounds. */
static float scale_of(const float *row, int k)
{
    float single = 0.0f, pair = 0.0f;
    for (int i = 0; i < k; i += 2) {
        float a = fabsf(row[i]), b = fabsf(row[i + 1]);
        single  = math_max(single, math_max(a, b));
        pair    = math_max(pair, a + b);
    }
    float scale = math_max(single / 127.0f, pair / LINEAR_PAIR_MAX);
    return scale > 0.0f ? scale : 1.0f;
}

/* Moves the member whose rounding went farther away from zero one step back, until the pair fits. */
static void fit_pair(int *q, const float *exact)
{
    while (abs(q[0]) + abs(q[1]) > LINEAR_PAIR_MAX) {
        float excess0 = q[0] ? fabsf((float)q[0]) - fabsf(exact[0]) : -1e30f;
        float excess1 = q[1] ? fabsf((float)q[1]) - fabsf(exact[1]) : -1e30f;
        int   moved   = excess0 >= excess1 ? 0 : 1;
        q[moved] += q[moved] > 0 ? -1 : 1;
    }
}

/* To the nearest integer, ties to even, by the way in which a sum with 1.5 * 2^23 rounds: a call for each of ten million
 * weights would take longer than all the rest. */
static int clamp(float x)
{
    const float shift   = 12582912.0f;
    float       rounded = (math_min(math_max(x, -128.0f), 128.0f) + shift) - shift;
    return (int)math_min(math_max(rounded, -127.0f), 127.0f);
}

/* One output: quantises its row and spreads it over the panel; returns the sum of the integers. */
static int32_t pack_row_s8(const float *row, int k, float scale, int8_t *panel)
{
    int32_t sum = 0;
    for (int i = 0; i < k; i += 2) {
        float exact[2] = { row[i] / scale, row[i + 1] / scale };
        int   q[2]     = { clamp(exact[0]), clamp(exact[1]) };
        fit_pair(q, exact);
        sum += q[0] + q[1];
        int8_t *place = panel + i / 4 * 4 * LINEAR_PANEL + i % 4;
        place[0]      = (int8_t)q[0];
        place[1]      = (int8_t)q[1];
    }
    return sum;
}

static void pack_s8(const struct linear_pack_args *a, struct linear_pack_result *result)
{
    for (int i = 0; i < LINEAR_PANEL; i++) {
        float *row = &a->rows[(size_t)i * (size_t)a->k];
        for (int j = 0; j < a->outliers; j++) {
            result->outlier_weights[j][i] = row[a->outlier_columns[j]];
            row[a->outlier_columns[j]]    = 0.0f;
        }
        result->scales[i] = scale_of(row, a->k);
        result->sums[i]   = pack_row_s8(row, a->k, result->scales[i], (int8_t *)result->panel + 4 * i);
    }
}

void linear_pack_panel(const struct linear_pack_args *args, struct linear_pack_result *result)
{
    if (args->type == DTYPE_F32)
        pack_f32(args, result->panel);
    else if (args->type == DTYPE_BF16)
        pack_bf16(args, result->panel);
    else
        pack_s8(args, result);
}

float linear_pack_e4m3(const float *row, int k, uint8_t *codes)
{
    float largest = 0.0f;
    for (int i = 0; i < k; i++)
        largest = fmaxf(largest, fabsf(row[i]));
    const bool  any     = largest >= QUANTIZE_LEAST_RANGE;
    const float inverse = any ? E4M3_MAX / largest : 0.0f;
    for (int i = 0; i < k; i++)
        codes[i] = e4m3_from_float(row[i] * inverse);
    return any ? largest / E4M3_MAX : 1.0f;
}

void linear_pack_choose(const float *scores, int k, int count, int32_t *columns)
{
    struct linear_pack_args chosen = { .outliers = 0, .outlier_columns = columns };
    for (int i = 0; i < count; i++) {
        int best = -1;
        for (int j = 0; j < k; j++)
            if (!is_outlier(&chosen, j) && (best < 0 || scores[j] > scores[best]))
                best = j;
        columns[chosen.outliers++] = best;
    }
    for (int i = 1; i < count; i++)
        for (int j = i; j > 0 && columns[j] < columns[j - 1]; j--) {
            int32_t swapped = columns[j];
            columns[j]      = columns[j - 1];
            columns[j - 1]  = swapped;
        }
}
