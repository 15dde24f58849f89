#include "kernels/embed/embed.h"
#include "kernels/lanes/lanes_part.h"
#include "kernels/rows.h"

LANES_INLINE const void *table_row(const struct embed_args *a, const void *table, int row)
{
    return row_read(table, (size_t)a->width * (size_t)dtype_bits(a->table_type) / 8, row);
}

LANES_INLINE v16 table_lanes(const void *row, int column, int count, const enum dtype type)
{
    return type == DTYPE_BF16 ? v16_load_bf16_count((const uint16_t *)row + column, count)
                              : v16_load_count((const float *)row + column, count);
}

LANES_INLINE void embed_vector(const void *const rows[3], float *y, int column, int count, const enum dtype type)
{
    v16 v = table_lanes(rows[0], column, count, type);
    for (int i = 1; i < 3; i++)
        if (rows[i])
            v = v16_add(v, table_lanes(rows[i], column, count, type));
    v16_store_count(y + column, v, count);
}

LANES_INLINE void embed_rows_of(const struct embed_args *a, int row0, int row1, const enum dtype type)
{
    for (int row = row0; row < row1; row++) {
        const void *rows[3] = { table_row(a, a->words, a->ids[row]),
                                a->positions ? table_row(a, a->positions, a->position_ids[row]) : NULL, a->types };
        float      *y       = row_write(a->y, a->y_stride, row);
        LANES_ROW(a->width, column, count, embed_vector(rows, y, column, count, type));
    }
}

void KERNEL(embed_rows)(const struct embed_args *a, int row0, int row1)
{
    if (a->table_type == DTYPE_BF16)
        embed_rows_of(a, row0, row1, DTYPE_BF16);
    else
        embed_rows_of(a, row0, row1, DTYPE_F32);
}
