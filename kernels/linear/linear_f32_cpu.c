#include "kernels/lanes/lanes.h"
#include "kernels/linear/linear.h"
#include "kernels/math/lanes_math.h"

#define LINEAR_NAME                     linear_f32
#define LINEAR_ZERO                     v16_set1(0.0f)
#define LINEAR_DOT                      dot_f32
#define LINEAR_STEP                     1
#define LINEAR_STORE                    v16_store
typedef v16   linear_sum;
typedef float linear_scalar;
typedef v16   linear_column;

LANES_INLINE linear_column column_load(const struct linear_weight *w, int column) { return v16_load(w->bias + column); }

LANES_INLINE v16 column_value(const struct linear_args *a, const linear_column *bias, int row, const float *sums)
{
    (void)a, (void)row;
    return v16_add(v16_load(sums), *bias);
}

#include "kernels/linear/linear_tiles.inl"
