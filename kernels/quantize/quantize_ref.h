/* quantize_ref.h: one row of quantize_rows for the references, from whatever yields its values. */
#ifndef RECTO_KERNELS_QUANTIZE_REF_H
#define RECTO_KERNELS_QUANTIZE_REF_H

#include "kernels/quantize/quantize.h"

typedef float quantize_value(const void *context, int column);

void quantize_row_ref(quantize_value *value, const void *context, int width, const struct linear_weight *weight, uint8_t *y,
                      struct quantized_row *row);

#endif
