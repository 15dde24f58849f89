/* linear_float.inl: what f32 and bf16 have in common for linear_tiles.inl: float sums, and an epilogue that only adds the bias. */
#include <stdbool.h>

typedef v16   linear_sum;
typedef float linear_scalar;
typedef v16   linear_column;

LANES_INLINE bool linear_is_usual(const struct linear_weight *w) { return w != 0; }

LANES_INLINE linear_column column_load(const struct linear_weight *w, int column, const bool usual)
{
    (void)usual;
    return v16_load(w->bias + column);
}

/* Nothing belongs to a row. */
typedef struct linear_row { char none; } linear_row;
LANES_INLINE linear_row row_load(const struct linear_args *a, int row)
{
    (void)a, (void)row;
    return (linear_row){ 0 };
}

LANES_INLINE v16 column_value(const linear_column *bias, const linear_row *row, const float *sums, const bool usual)
{
    (void)row, (void)usual;
    return v16_add(v16_load(sums), *bias);
}
