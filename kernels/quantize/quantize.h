/* quantize.h: what the linear kernels read: rows of u8 with a scale each, or bf16.
 *
 * quantize_rows: y[r][i] = the code of t = x[r][i] * keep[i], where for each row
 *
 *   low   = min(0, smallest t)        high = max(0, greatest t)
 *   scale = (high - low) / LINEAR_U8_MAX        inverse = LINEAR_U8_MAX / (high - low), an exact division
 *   zero  = -low * inverse, rounded to even, kept in 0 .. LINEAR_U8_MAX
 *   code  = fma(t, inverse, zero), kept in 0 .. LINEAR_U8_MAX, rounded to even;  t ~ scale * (code - zero)
 *
 * A row whose range is below QUANTIZE_LEAST_RANGE is all zero: scale 1, zero 0, codes 0. The outlier columns of the weight go
 * to rows[r].outlier[] as they are in x; keep MUST be 0 for them, which keeps them out of the range and gives them the
 * code `zero`. A NaN takes no part in the range and has the code 0; an infinity makes its row meaningless, but harmless.
 *
 *   x [rows, width] f32, width = weight->k;  y [rows, width] u8;  rows [rows];  they overlap nothing
 *
 * convert_bf16: y[r][i] = x[r][i] rounded to the nearest bf16, ties to even; x [rows, width] f32, y [rows, width] bf16 as bits.
 */
#ifndef RECTO_KERNELS_QUANTIZE_H
#define RECTO_KERNELS_QUANTIZE_H

#include "kernels/linear/linear.h"

#define QUANTIZE_LEAST_RANGE 1e-30f  /* so that the inverse stays finite */

struct quantize_args {
    const float                *x;
    size_t                      x_stride;  /* bytes */
    const struct linear_weight *weight;    /* keep and outlier_columns are read */
    uint8_t                    *y;
    size_t                      y_stride;  /* bytes */
    struct quantized_row       *rows;
    int                         width;
};

struct convert_args {
    const float *x;
    size_t       x_stride;  /* bytes */
    uint16_t    *y;
    size_t       y_stride;  /* bytes */
    int          width;
};

/* Both compute rows [row0, row1). */
typedef void quantize_kernel(const struct quantize_args *args, int row0, int row1);
typedef void convert_kernel(const struct convert_args *args, int row0, int row1);

quantize_kernel quantize_rows_ref, quantize_rows_avx2, quantize_rows_avx512, quantize_rows_neon;
convert_kernel  convert_bf16_ref, convert_bf16_avx2, convert_bf16_avx512, convert_bf16_neon;

#endif
