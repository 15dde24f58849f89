/* The tests must be able to fail: each kernel here has one plausible bug, and the same cases that pass for the real kernels
 * have to catch it. */
#include "kernels/rows.h"
#include "tests/kernels/harness.h"

#include <math.h>
#include <string.h>

/* The sum folded from left to right in place of the tree. */
static void wrong_tree(const struct normalize_args *a, int row0, int row1)
{
    for (int row = row0; row < row1; row++) {
        const float *x         = row_read(a->x, a->x_stride, row);
        float       *y         = row_write(a->y, a->y_stride, row);
        float        lanes[16] = { 0 }, sum = 0.0f;
        for (int i = 0; i < a->width; i++)
            lanes[i % 16] = fmaf(x[i], x[i], lanes[i % 16]);
        for (int i = 0; i < 16; i++)
            sum += lanes[i];
        float length = sqrtf(sum) > NORMALIZE_LEAST ? sqrtf(sum) : NORMALIZE_LEAST;
        for (int i = 0; i < a->width; i++)
            y[i] = x[i] / length;
    }
}

/* The elements after the last whole vector are left out. */
static void missing_tail(const struct convert_args *a, int row0, int row1)
{
    struct convert_args whole = *a;
    whole.width               = a->width / 16 * 16;
    kernels_ref.convert_bf16(&whole, row0, row1);
}

/* One element too many is written where there is a gap. */
static void past_the_end(const struct embed_args *a, int row0, int row1)
{
    kernels_ref.embed_rows(a, row0, row1);
    for (int row = row0; row < row1; row++)
        if (a->y_stride > sizeof(float) * (size_t)a->width)
            ((float *)row_write(a->y, a->y_stride, row))[a->width] = 0.0f;
}

/* The range is ignored. */
static void first_row_always(const struct rotary_args *a, int row0, int row1)
{
    (void)row0;
    kernels_ref.rotary_half(a, 0, row1);
}

/* y is stored, and the copy is made from x as it was replaced. */
static void stale_copy(const struct norm_args *a, int row0, int row1)
{
    kernels_ref.norm_layer(a, row0, row1);
    struct norm_args again = *a;
    again.y                = NULL;
    if (a->copy)
        kernels_ref.norm_layer(&again, row0, row1);
}

/* Divides by the count through its reciprocal. */
static void reciprocal(const struct pool_args *a, int sequence0, int sequence1)
{
    kernels_ref.pool_mean(a, sequence0, sequence1);
    for (int s = sequence0; s < sequence1; s++) {
        int count = a->starts[s + 1] - a->starts[s];
        for (int i = 0; i < a->width; i++) {
            float *y = (float *)row_write(a->y, a->y_stride, s) + i;
            *y       = *y * (float)count * (1.0f / (float)count);
        }
    }
}

/* A NaN widens the range of its row. */
static void nan_in_range(const struct quantize_args *a, int row0, int row1)
{
    kernels_ref.quantize_rows(a, row0, row1);
    for (int row = row0; row < row1; row++)
        for (int i = 0; i < a->width; i++)
            if (isnan(((const float *)row_read(a->x, a->x_stride, row))[i]))
                a->rows[row].scale = NAN;
}

/* The bias comes after the activation. */
static void late_bias(const struct linear_args *a, int row0, int row1, int panel0, int panel1)
{
    float                zero[4096 + 16] = { 0 };
    struct linear_weight weight          = *a->weight;
    struct linear_args   args            = *a;
    weight.bias                          = zero;
    args.weight                          = &weight;
    if (a->residual || a->y_type != DTYPE_F32 || a->act == LINEAR_SILU_GATE) {
        kernels_ref.linear_f32(a, row0, row1, panel0, panel1);
        return;
    }
    kernels_ref.linear_f32(&args, row0, row1, panel0, panel1);
    for (int row = row0; row < row1; row++)
        for (int i = panel0 * 16; i < panel1 * 16 && i < weight.n; i++)
            ((float *)row_write(a->y, a->y_stride, row))[i] += a->weight->bias[i];
}

void planted_tests(void)
{
    struct kernels planted = kernels_ref;
    const char    *const names[] = { "normalize_l2", "convert_bf16", "embed_rows", "rotary_half", "norm_layer", "pool", "quantize_rows",
                                     "linear_f32" };
    planted.name          = "planted";
    planted.normalize_l2  = wrong_tree;
    planted.convert_bf16  = missing_tail;
    planted.embed_rows    = past_the_end;
    planted.rotary_half   = first_row_always;
    planted.norm_layer    = stale_copy;
    planted.pool_mean     = reciprocal;
    planted.quantize_rows = nan_in_range;
    planted.linear_f32    = late_bias;
    plant_begin(names, (int)(sizeof names / sizeof names[0]));
    linear_tests(&planted);
    row_tests(&planted);
    plant_end();
}
