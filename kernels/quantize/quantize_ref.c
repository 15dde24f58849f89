/* The specification of quantize.h. */
#include "kernels/bf16.h"
#include "kernels/quantize/quantize_code.h"
#include "kernels/quantize/quantize_ref.h"
#include "kernels/rows.h"

void quantize_row_ref(quantize_value *value, const void *context, int width, const struct linear_weight *weight, uint8_t *y,
                      struct quantized_row *row)
{
    float low = 0.0f, high = 0.0f;
    for (int i = 0; i < width; i++) {
        low  = math_min(value(context, i) * weight->keep[i], low);
        high = math_max(value(context, i) * weight->keep[i], high);
    }
    struct quantize_code code = quantize_code_of(low, high);
    for (int i = 0; i < width; i++) {
        float v = fmaf(value(context, i) * weight->keep[i], code.inverse, code.zero);
        y[i]    = (uint8_t)nearbyintf(math_min(math_max(v, 0.0f), (float)LINEAR_U8_MAX));
    }
    row->scale = code.scale;
    row->zero  = code.zero;
    for (int i = 0; i < weight->outliers; i++)
        row->outlier[i] = value(context, weight->outlier_columns[i]);
}

static float row_value(const void *row, int column) { return ((const float *)row)[column]; }

void quantize_rows_ref(const struct quantize_args *a, int row0, int row1)
{
    for (int row = row0; row < row1; row++)
        quantize_row_ref(row_value, row_read(a->x, a->x_stride, row), a->width, a->weight, row_write(a->y, a->y_stride, row),
                         &a->rows[row]);
}

void convert_bf16_ref(const struct convert_args *a, int row0, int row1)
{
    for (int row = row0; row < row1; row++) {
        const float *x = row_read(a->x, a->x_stride, row);
        uint16_t    *y = row_write(a->y, a->y_stride, row);
        for (int i = 0; i < a->width; i++)
            y[i] = bf16_from_float(x[i]);
    }
}
