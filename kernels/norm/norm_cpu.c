#include "kernels/norm/norm.h"
#include "kernels/quantize/quantize_lanes.h"
#include "kernels/rows.h"

#include <stdbool.h>

/* Rows whose sums run side by side: a single chain of additions would spend its time waiting for itself. */
enum { ROWS = 4 };

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

LANES_INLINE void add_rows(v16 sum[ROWS], const float *const x[ROWS], int at, int count)
{
    for (int i = 0; i < ROWS; i++)
        sum[i] = v16_add(sum[i], v16_load_count(x[i] + at, count));
}

LANES_INLINE void add_squares(v16 sum[ROWS], const float *const x[ROWS], const float mean[ROWS], int at, int count)
{
    for (int i = 0; i < ROWS; i++) {
        v16 d  = v16_sub(v16_load_count(x[i] + at, count), v16_set1(mean[i]));
        d      = count == LANES ? d : v16_keep(d, count, v16_set1(0.0f));
        sum[i] = v16_fma(d, d, sum[i]);
    }
}

static void mean_of_rows(const float *const x[ROWS], int width, float mean[ROWS])
{
    v16 sum[ROWS] = { v16_set1(0.0f), v16_set1(0.0f), v16_set1(0.0f), v16_set1(0.0f) };
    LANES_ROW(width, at, count, add_rows(sum, x, at, count));
    for (int i = 0; i < ROWS; i++)
        mean[i] = v16_sum(sum[i]) / (float)width;
}

static void inverse_of_rows(const float *const x[ROWS], int width, float epsilon, const float mean[ROWS], float inverse[ROWS])
{
    v16 sum[ROWS] = { v16_set1(0.0f), v16_set1(0.0f), v16_set1(0.0f), v16_set1(0.0f) };
    LANES_ROW(width, at, count, add_squares(sum, x, mean, at, count));
    for (int i = 0; i < ROWS; i++)
        inverse[i] = 1.0f / lanes_sqrt(v16_sum(sum[i]) / (float)width + epsilon);
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

/* The last rows are taken up to ROWS times: the same sums again, and only what is in the range is written. */
static void norm_rows(const struct norm_args *a, int row0, int row1, bool layer)
{
    for (int row = row0; row < row1; row += ROWS) {
        const float *x[ROWS];
        float        mean[ROWS] = { 0 }, inverse[ROWS];
        for (int i = 0; i < ROWS; i++)
            x[i] = row_read(a->x, a->x_stride, row + i < row1 ? row + i : row1 - 1);
        if (layer)
            mean_of_rows(x, a->width, mean);
        inverse_of_rows(x, a->width, a->epsilon, mean, inverse);
        for (int i = 0; i < ROWS && row + i < row1; i++)
            norm_row(a, row + i, &(struct normed_row){ x[i], a->weight, a->bias, mean[i], inverse[i] });
    }
}

void KERNEL(norm_layer)(const struct norm_args *a, int row0, int row1) { norm_rows(a, row0, row1, true); }
void KERNEL(norm_rms)(const struct norm_args *a, int row0, int row1) { norm_rows(a, row0, row1, false); }
