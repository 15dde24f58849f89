#include "kernels/quantize/quantize_lanes.h"
#include "kernels/rows.h"

LANES_INLINE v16 row_lanes(const void *row, int column, int count) { return v16_load_count((const float *)row + column, count); }

void KERNEL(quantize_rows)(const struct quantize_args *a, int row0, int row1)
{
    for (int row = row0; row < row1; row++)
        quantize_row(row_lanes, row_read(a->x, a->x_stride, row), a->width, a->weight, row_write(a->y, a->y_stride, row),
                     &a->rows[row]);
}

void KERNEL(convert_bf16)(const struct convert_args *a, int row0, int row1)
{
    for (int row = row0; row < row1; row++) {
        const float *x = row_read(a->x, a->x_stride, row);
        uint16_t    *y = row_write(a->y, a->y_stride, row);
        LANES_ROW(a->width, i, count, v16_store_bf16_count(y + i, v16_load_count(x + i, count), count));
    }
}
