/* quantize_lanes.h: one row of quantize_rows, vectorised, from whatever yields its values: a row in memory, or a formula. */
#ifndef RECTO_KERNELS_QUANTIZE_LANES_H
#define RECTO_KERNELS_QUANTIZE_LANES_H

#include "kernels/lanes/lanes_part.h"
#include "kernels/quantize/quantize_code.h"

/* `count` values of a row from `column` on; it is inlined. What the lanes beyond hold does not matter: keep is 0 there. */
typedef v16 quantize_source(const void *context, int column, int count);

struct quantize_range {
    v16 low, high;
};

LANES_INLINE void quantize_widen(struct quantize_range *range, v16 t)
{
    range->low  = v16_min(t, range->low);  /* in this order a NaN is passed over */
    range->high = v16_max(t, range->high);
}

LANES_INLINE void quantize_store(uint8_t *y, v16 t, v16 inverse, v16 zero, int count)
{
    v16 v = v16_min(v16_max(v16_fma(t, inverse, zero), v16_set1(0.0f)), v16_set1((float)LINEAR_U8_MAX));
    w16_store_bytes_count(y, v16_to_int(v), count);
}

LANES_INLINE void quantize_row(quantize_source *source, const void *context, int width, const struct linear_weight *weight,
                               uint8_t *y, struct quantized_row *row)
{
    const float          *keep = weight->keep;
    struct quantize_range range  = { v16_set1(0.0f), v16_set1(0.0f) };
    LANES_ROW(width, i, count, quantize_widen(&range, v16_mul(source(context, i, count), v16_load_count(keep + i, count))));

    struct quantize_code code = quantize_code_of(-v16_maximum(v16_negate(range.low)), v16_maximum(range.high));
    v16                  inverse = v16_set1(code.inverse), zero = v16_set1(code.zero);
    row->scale = code.scale;
    row->zero  = code.zero;
    for (int i = 0; i < weight->outliers; i++)
        v16_store_part(&row->outlier[i], source(context, weight->outlier_columns[i], 1), 1);
    LANES_ROW(width, i, count,
              quantize_store(y + i, v16_mul(source(context, i, count), v16_load_count(keep + i, count)), inverse, zero, count));
}

#endif
