#include "kernels/norm/norm.h"
#include "kernels/quantize/quantize_lanes.h"
#include "kernels/rows.h"

#include <stdbool.h>

struct normed_row {
    const float *x, *weight, *bias;
    float        mean, inverse;
};

LANES_INLINE v16 normed_lanes(const void *context, int i, int count)
{
    const struct normed_row *r = context;
    v16 d      = v16_mul(v16_sub(v16_load_count(r->x + i, count), v16_set1(r->mean)), v16_set1(r->inverse));
    v16 weight = v16_load_count(r->weight + i, count);
    return r->bias ? v16_fma(d, weight, v16_load_count(r->bias + i, count)) : v16_mul(d, weight);
}

LANES_INLINE v16 stored_lanes(const void *row, int i, int count) { return v16_load_count((const float *)row + i, count); }

LANES_INLINE float sum_row(const float *x, int width)
{
    v16 sum = v16_set1(0.0f);
    LANES_ROW(width, i, count, sum = v16_add(sum, v16_load_count(x + i, count)));
    return v16_sum(sum);
}

LANES_INLINE v16 add_square(v16 sum, const float *x, v16 mean, int count)
{
    v16 d = v16_sub(v16_load_count(x, count), mean);
    d     = count == LANES ? d : v16_keep(d, count, v16_set1(0.0f));
    return v16_fma(d, d, sum);
}

LANES_INLINE float sum_squares(const float *x, int width, float mean)
{
    v16 sum = v16_set1(0.0f), subtrahend = v16_set1(mean);
    LANES_ROW(width, i, count, sum = add_square(sum, x + i, subtrahend, count));
    return v16_sum(sum);
}

LANES_INLINE void store_vector(const struct normed_row *r, float *y, uint16_t *copy, int i, int count)
{
    v16 v = normed_lanes(r, i, count);
    if (copy)
        v16_store_bf16_count(copy + i, v, count);
    if (y)
        v16_store_count(y + i, v, count);
}

static void norm_row(const struct norm_args *a, int row, const struct normed_row *r)
{
    float *y    = a->y ? row_write(a->y, a->y_stride, row) : NULL;
    void  *copy = a->copy ? row_write(a->copy, a->copy_stride, row) : NULL;
    bool   bf16 = copy && a->copy_type == DTYPE_BF16, u8 = copy && a->copy_type == DTYPE_U8;
    if (y || bf16)
        LANES_ROW(a->width, i, count, store_vector(r, y, bf16 ? copy : NULL, i, count));
    if (u8 && y)  /* from y where there is one: it may have replaced x */
        quantize_row(stored_lanes, y, a->width, a->copy_for, copy, &a->copy_rows[row]);
    else if (u8)
        quantize_row(normed_lanes, r, a->width, a->copy_for, copy, &a->copy_rows[row]);
}

LANES_INLINE float inverse_of(const struct norm_args *a, float squares)
{
    return 1.0f / lanes_sqrt(squares / (float)a->width + a->epsilon);
}

void KERNEL(norm_layer)(const struct norm_args *a, int row0, int row1)
{
    for (int row = row0; row < row1; row++) {
        const float *x    = row_read(a->x, a->x_stride, row);
        float        mean = sum_row(x, a->width) / (float)a->width;
        norm_row(a, row, &(struct normed_row){ x, a->weight, a->bias, mean, inverse_of(a, sum_squares(x, a->width, mean)) });
    }
}

void KERNEL(norm_rms)(const struct norm_args *a, int row0, int row1)
{
    for (int row = row0; row < row1; row++) {
        const float *x = row_read(a->x, a->x_stride, row);
        norm_row(a, row, &(struct normed_row){ x, a->weight, a->bias, 0.0f, inverse_of(a, sum_squares(x, a->width, 0.0f)) });
    }
}
