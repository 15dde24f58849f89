/* The specification of embed.h. */
#include "kernels/bf16.h"
#include "kernels/embed/embed.h"
#include "kernels/rows.h"

static float table_value(const struct embed_args *a, const void *table, int row, int column)
{
    size_t at = (size_t)row * (size_t)a->width + (size_t)column;
    return a->table_type == DTYPE_BF16 ? bf16_to_float(((const uint16_t *)table)[at]) : ((const float *)table)[at];
}

void embed_rows_ref(const struct embed_args *a, int row0, int row1)
{
    for (int row = row0; row < row1; row++) {
        float *y = row_write(a->y, a->y_stride, row);
        for (int i = 0; i < a->width; i++) {
            float v = table_value(a, a->words, a->ids[row], i);
            if (a->positions)
                v = v + table_value(a, a->positions, a->position_ids[row], i);
            if (a->types)
                v = v + table_value(a, a->types, 0, i);
            y[i] = v;
        }
    }
}
