#include "kernels/lanes/lanes.h"
#include "kernels/linear/linear.h"
#include "kernels/math/lanes_math.h"

#define LINEAR_NAME  linear_u8s8
#define LINEAR_ZERO  w16_set1(0)
#define LINEAR_DOT   dot_u8s8
#define LINEAR_STEP  4
#define LINEAR_STORE w16_store
typedef w16     linear_sum;
typedef int32_t linear_scalar;

/* The outliers that packing chooses; another number of them takes the slower way through memory. */
enum { USUAL_OUTLIERS = 4 };

typedef struct linear_column {
    v16 bias, scale, offset;
    v16 outlier[USUAL_OUTLIERS];
    int number;  /* of the first output */
} linear_column;

LANES_INLINE const float *outlier_weights(const struct linear_weight *w, int outlier, int column)
{
    return w->outlier_weights + (size_t)outlier * (size_t)linear_padded(w->n) + column;
}

LANES_INLINE linear_column column_load(const struct linear_weight *w, int column)
{
    linear_column c = { .bias = v16_load(w->bias + column), .scale = v16_load(w->scales + column), .number = column };
    c.offset        = v16_mul(v16_from_int(w16_load(w->sums + column)), c.scale);
    if (w->outliers == USUAL_OUTLIERS)
        for (int i = 0; i < USUAL_OUTLIERS; i++)
            c.outlier[i] = v16_load(outlier_weights(w, i, column));
    return c;
}

LANES_INLINE v16 column_value(const struct linear_args *a, const linear_column *c, int row, const int32_t *sums)
{
    const struct linear_weight *w = a->weight;
    const struct quantized_row *q = &a->x_rows[row];
    v16 v = v16_fma(v16_set1(-(q->scale * (float)q->zero)), c->offset, c->bias);
    if (w->outliers == USUAL_OUTLIERS) {
#pragma GCC unroll 4
        for (int i = 0; i < USUAL_OUTLIERS; i++)
            v = v16_fma(v16_set1(q->outlier[i]), c->outlier[i], v);
    } else {
        for (int i = 0; i < w->outliers; i++)
            v = v16_fma(v16_set1(q->outlier[i]), v16_load(outlier_weights(w, i, c->number)), v);
    }
    return v16_fma(v16_from_int(w16_load(sums)), v16_mul(v16_set1(q->scale), c->scale), v);
}

#include "kernels/linear/linear_tiles.inl"
