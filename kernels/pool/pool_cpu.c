#include "kernels/lanes/lanes_part.h"
#include "kernels/math/math_ref.h"
#include "kernels/pool/pool.h"
#include "kernels/rows.h"

LANES_INLINE void mean_columns(const struct pool_args *a, int first, int last, float *y, int column, int count)
{
    const float *x   = (const float *)row_read(a->x, a->x_stride, first) + column;
    v16          sum = v16_load_count(x, count);
    for (int row = first + 1; row < last; row++) {
        x   = row_read(x, a->x_stride, 1);
        sum = v16_add(sum, v16_load_count(x, count));
    }
    v16_store_count(y + column, v16_div(sum, v16_set1((float)(last - first))), count);
}

void KERNEL(pool_mean)(const struct pool_args *a, int sequence0, int sequence1)
{
    for (int s = sequence0; s < sequence1; s++) {
        float *y = row_write(a->y, a->y_stride, s);
        LANES_ROW(a->width, i, count, mean_columns(a, a->starts[s], a->starts[s + 1], y, i, count));
    }
}

LANES_INLINE v16 add_square(v16 sum, const float *x, int count)
{
    v16 v = v16_load_count(x, count);
    return v16_fma(v, v, sum);
}

void KERNEL(normalize_l2)(const struct normalize_args *a, int row0, int row1)
{
    for (int row = row0; row < row1; row++) {
        const float *x   = row_read(a->x, a->x_stride, row);
        float       *y   = row_write(a->y, a->y_stride, row);
        v16          sum = v16_set1(0.0f);
        LANES_ROW(a->width, i, count, sum = add_square(sum, x + i, count));
        v16 length = v16_set1(math_max(lanes_sqrt(v16_sum(sum)), NORMALIZE_LEAST));
        LANES_ROW(a->width, i, count, v16_store_count(y + i, v16_div(v16_load_count(x + i, count), length), count));
    }
}
