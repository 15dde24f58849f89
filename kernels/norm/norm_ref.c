/* The specification of norm.h. */
#include "kernels/bf16.h"
#include "kernels/lanes/lanes_ref.h"
#include "kernels/norm/norm.h"
#include "kernels/quantize/quantize_ref.h"
#include "kernels/rows.h"

struct normed_row {
    const float *x, *weight, *bias;
    float        mean, inverse;
};

static float normed_value(const void *context, int i)
{
    const struct normed_row *r = context;
    float                    d = (r->x[i] - r->mean) * r->inverse;
    return r->bias ? fmaf(d, r->weight[i], r->bias[i]) : d * r->weight[i];
}

static float stored_value(const void *row, int i) { return ((const float *)row)[i]; }

static void norm_row(const struct norm_args *a, int row, const struct normed_row *r)
{
    float *y    = a->y ? row_write(a->y, a->y_stride, row) : NULL;
    void  *copy = a->copy ? row_write(a->copy, a->copy_stride, row) : NULL;
    for (int i = 0; i < a->width; i++) {
        float v = normed_value(r, i);
        if (copy && a->copy_type == DTYPE_BF16)
            ((uint16_t *)copy)[i] = bf16_from_float(v);
        if (y)
            y[i] = v;
    }
    if (copy && a->copy_type == DTYPE_U8)  /* from y where there is one: it may have replaced x */
        quantize_row_ref(y ? stored_value : normed_value, y ? (const void *)y : r, a->width, a->copy_for, copy, &a->copy_rows[row]);
}

static float inverse_of(const struct norm_args *a, float squares)
{
    return 1.0f / sqrtf(squares / (float)a->width + a->epsilon);
}

void norm_layer_ref(const struct norm_args *a, int row0, int row1)
{
    for (int row = row0; row < row1; row++) {
        const float *x    = row_read(a->x, a->x_stride, row);
        float        mean = lanes_ref_sum(x, a->width) / (float)a->width;
        float inverse = inverse_of(a, lanes_ref_sum_squares(x, a->width, mean));
        norm_row(a, row, &(struct normed_row){ x, a->weight, a->bias, mean, inverse });
    }
}

void norm_rms_ref(const struct norm_args *a, int row0, int row1)
{
    for (int row = row0; row < row1; row++) {
        const float *x = row_read(a->x, a->x_stride, row);
        float inverse = inverse_of(a, lanes_ref_sum_squares(x, a->width, 0.0f));
        norm_row(a, row, &(struct normed_row){ x, a->weight, a->bias, 0.0f, inverse });
    }
}
