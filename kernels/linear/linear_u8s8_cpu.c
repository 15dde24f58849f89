#include "kernels/lanes/lanes.h"
#include "kernels/linear/linear.h"
#include "kernels/math/lanes_math.h"

#include <stdbool.h>

#define LINEAR_NAME  linear_u8s8
#define LINEAR_ZERO  w16_set1(0)
#define LINEAR_DOT   dot_u8s8
#define LINEAR_STEP  4
#define LINEAR_STORE w16_store
#define LINEAR_GELU  v16_gelu_near
typedef w16     linear_sum;
typedef int32_t linear_scalar;

/* The outliers that packing chooses; another number of them takes the slower way through memory. */
enum { USUAL_OUTLIERS = 4 };

typedef struct linear_column {
    v16 bias, scale, offset;
    v16 outlier[USUAL_OUTLIERS];
    int number; /* of the first output */
} linear_column;

LANES_INLINE bool linear_is_usual(const struct linear_weight *w) { return w->outliers == USUAL_OUTLIERS; }

LANES_INLINE const float *outlier_weights(const struct linear_weight *w, int outlier, int column)
{
    return w->outlier_weights + (size_t)outlier * (size_t)linear_padded(w->n) + column;
}

LANES_INLINE linear_column column_load(const struct linear_weight *w, int column, const bool usual)
{
    linear_column c = { .bias = v16_load(w->bias + column), .scale = v16_load(w->scales + column), .number = column };
    c.offset        = v16_mul(v16_from_int(w16_load(w->sums + column)), c.scale);
    if (usual)
LANES_UNROLL
        for (int i = 0; i < USUAL_OUTLIERS; i++)
            c.outlier[i] = v16_load(outlier_weights(w, i, column));
    return c;
}

typedef struct linear_row {
    const struct linear_weight *weight;
    const struct quantized_row *codes;
} linear_row;

LANES_INLINE linear_row row_load(const struct linear_args *a, int row) { return (linear_row){ a->weight, &a->x_rows[row] }; }

LANES_INLINE v16 column_value(const linear_column *c, const linear_row *row, const int32_t *sums, const bool usual)
{
    const struct quantized_row *q = row->codes;
    v16 v = v16_fma(v16_set1(-(q->scale * q->zero)), c->offset, c->bias);
    if (usual) {
LANES_UNROLL
        for (int i = 0; i < USUAL_OUTLIERS; i++)
            v = v16_fma(v16_set1(q->outlier[i]), c->outlier[i], v);
    } else {
        for (int i = 0; i < row->weight->outliers; i++)
            v = v16_fma(v16_set1(q->outlier[i]), v16_load(outlier_weights(row->weight, i, c->number)), v);
    }
    return v16_fma(v16_from_int(w16_load(sums)), v16_mul(v16_set1(q->scale), c->scale), v);
}

#include "kernels/linear/linear_tiles.inl"
