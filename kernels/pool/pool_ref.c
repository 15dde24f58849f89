/* The specification of pool.h. */
#include "kernels/lanes/lanes_ref.h"
#include "kernels/math/math_ref.h"
#include "kernels/pool/pool.h"
#include "kernels/rows.h"

void pool_mean_ref(const struct pool_args *a, int sequence0, int sequence1)
{
    for (int s = sequence0; s < sequence1; s++) {
        float *y = row_write(a->y, a->y_stride, s);
        for (int i = 0; i < a->width; i++) {
            float sum = ((const float *)row_read(a->x, a->x_stride, a->starts[s]))[i];
            for (int row = a->starts[s] + 1; row < a->starts[s + 1]; row++)
                sum = sum + ((const float *)row_read(a->x, a->x_stride, row))[i];
            y[i] = sum / (float)(a->starts[s + 1] - a->starts[s]);
        }
    }
}

void pool_first_ref(const struct pool_args *a, int sequence0, int sequence1)
{
    for (int s = sequence0; s < sequence1; s++)
        memcpy(row_write(a->y, a->y_stride, s), row_read(a->x, a->x_stride, a->starts[s]), sizeof(float) * (size_t)a->width);
}

void pool_last_ref(const struct pool_args *a, int sequence0, int sequence1)
{
    for (int s = sequence0; s < sequence1; s++)
        memcpy(row_write(a->y, a->y_stride, s), row_read(a->x, a->x_stride, a->starts[s + 1] - 1),
               sizeof(float) * (size_t)a->width);
}

void normalize_l2_ref(const struct normalize_args *a, int row0, int row1)
{
    for (int row = row0; row < row1; row++) {
        const float *x      = row_read(a->x, a->x_stride, row);
        float       *y      = row_write(a->y, a->y_stride, row);
        float        length = math_max(sqrtf(lanes_ref_sum_squares(x, a->width, 0.0f)), NORMALIZE_LEAST);
        for (int i = 0; i < a->width; i++)
            y[i] = x[i] / length;
    }
}
