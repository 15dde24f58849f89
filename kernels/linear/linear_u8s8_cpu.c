#include "kernels/lanes/lanes.h"
#include "kernels/linear/linear.h"
#include "kernels/math/lanes_math.h"

#define LINEAR_NAME  linear_u8s8
#define LINEAR_ZERO  w16_set1(0)
#define LINEAR_DOT   dot_u8s8
#define LINEAR_STEP  4
#define LINEAR_STORE w16_store
#define LINEAR_VALUE dequantize
typedef w16     linear_sum;
typedef int32_t linear_scalar;

LANES_INLINE v16 dequantize(const struct linear_args *a, int row, int column, const int32_t *sums)
{
    const struct linear_weight *w = a->weight;
    const struct quantized_row *q = &a->x_rows[row];
    v16 v = v16_from_int(w16_sub(w16_load(sums), w16_mul(w16_set1(q->zero), w16_load(w->sums + column))));
    v     = v16_mul(v16_mul(v, v16_set1(q->scale)), v16_load(w->scales + column));
    for (int i = 0; i < w->outliers; i++)
        v = v16_fma(v16_set1(q->outlier[i]), v16_load(w->outlier_weights + (size_t)i * (size_t)linear_padded(w->n) + column), v);
    return v;
}

#include "kernels/linear/linear_tiles.inl"
