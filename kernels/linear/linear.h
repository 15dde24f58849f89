/* linear.h: y = residual + act(x W^T + bias), the product that everything else waits for.
 *
 *   x   [rows, k]   f32, bf16 or u8 (quantised row by row, see quantize.h), on a GPU e4m3 as well; row stride in bytes
 *   W   [n, k]      packed once into panels of 16 outputs: [n / 16][k / step][16][step], step = 1 (f32), 2 (bf16), 4 (s8)
 *   y   [rows, n]   f32 or bf16; with LINEAR_SILU_GATE [rows, n / 2]
 *
 * Panels are aligned to 64 bytes; n is padded with zero outputs to a multiple of 16, k must be a multiple of 4. y may alias
 * residual (same element, same place) and nothing else.
 *
 * One order of summation: an output is one chain of fused multiply-adds from k = 0 upward (bf16: the odd element of a pair
 * first, as the hardware does; products of two bf16 are exact). Integer sums are exact: activations are at most
 * LINEAR_U8_MAX and neighbouring weights keep |w[2j]| + |w[2j + 1]| <= LINEAR_PAIR_MAX, so that a 16-bit sum of two products
 * cannot saturate. After the sum: bias (f32 and bf16), activation, residual. The erf GELU of bf16 and s8 weights is
 * math_gelu_near, since its error is far below theirs. For s8, each step one fused multiply-add:
 *   v = bias - (scale * zero) * (sum of the column's integers * column's scale)
 *   v = v + outlier value * outlier weight, for each outlier column in order
 *   v = v + integer sum * (scale * column's scale)
 * Row and panel ranges split the work without touching a bit.
 */
#ifndef RECTO_KERNELS_LINEAR_H
#define RECTO_KERNELS_LINEAR_H

#include "kernels/dtype.h"

#include <stddef.h>
#include <stdint.h>

enum {
    LINEAR_PANEL        = 16,
    LINEAR_U8_MAX       = 204,  /* 204 * 160 = 32640 < 2^15; the best split of the 15 bits between the two on real weights */
    LINEAR_PAIR_MAX     = 160,
    LINEAR_MAX_OUTLIERS = 16
};

enum linear_act {
    LINEAR_NONE,
    LINEAR_GELU_ERF,
    LINEAR_GELU_TANH,
    LINEAR_RELU,
    LINEAR_SILU,
    LINEAR_TANH,
    LINEAR_SILU_GATE  /* outputs alternate in blocks of 16: gate, up; y = silu(gate) * up */
};

struct linear_weight {
    int          n, k;
    enum dtype   type;       /* DTYPE_F32, DTYPE_BF16 or DTYPE_I8; DTYPE_F8_E4M3 on a GPU */
    const void  *panels;
    const float *bias;       /* [n padded] */
    const float *scales;     /* [n padded] DTYPE_I8 and DTYPE_F8_E4M3 */
    /* DTYPE_I8 alone: */
    const int32_t *sums;     /* [n padded] sum of the column's integers */
    const float   *keep;     /* [k] 1, or 0 for outlier columns: those stay out of a row's range and get code `zero` */
    int            outliers; /* inputs computed in f32, zero in the panels; 0 to LINEAR_MAX_OUTLIERS */
    const int32_t *outlier_columns;  /* [outliers] */
    const float   *outlier_weights;  /* [outliers][n padded] */
};

/* What quantisation leaves beside each row of u8: x[r][i] ~ scale * (q[r][i] - zero). */
struct quantized_row {
    float   scale;
    float   zero;
    float   outlier[LINEAR_MAX_OUTLIERS];  /* the values of the outlier columns as they were */
};

struct linear_args {
    const struct linear_weight *weight;
    const void                 *x;
    size_t                      x_stride;         /* bytes */
    const struct quantized_row *x_rows;           /* [rows] for DTYPE_I8, else null */
    const float                *x_scales;         /* [rows] for DTYPE_F8_E4M3, else null */
    enum linear_act             act;
    const float                *residual;         /* [rows, n] or null */
    size_t                      residual_stride;  /* bytes */
    void                       *y;
    size_t                      y_stride;         /* bytes */
    enum dtype                  y_type;           /* DTYPE_F32 or DTYPE_BF16 */
};

/* Computes rows [row0, row1) of panels [panel0, panel1); gated panels come in pairs. */
typedef void linear_kernel(const struct linear_args *args, int row0, int row1, int panel0, int panel1);

linear_kernel linear_f32_ref, linear_bf16_ref, linear_u8s8_ref;
linear_kernel linear_f32_avx2, linear_bf16_avx2, linear_u8s8_avx2;
linear_kernel linear_f32_avx512, linear_bf16_avx512, linear_u8s8_avx512;
linear_kernel linear_bf16_avx512bf16, linear_u8s8_avx512vnni;
linear_kernel linear_f32_neon, linear_bf16_neon, linear_u8s8_neon;

static inline int linear_panels(int n) { return (n + LINEAR_PANEL - 1) / LINEAR_PANEL; }
static inline int linear_padded(int n) { return linear_panels(n) * LINEAR_PANEL; }
static inline size_t linear_panel_bytes(enum dtype type, int k) { return (size_t)k * LINEAR_PANEL * (size_t)dtype_bits(type) / 8; }
static inline size_t linear_weight_bytes(enum dtype type, int n, int k)
{
    return (size_t)linear_panels(n) * linear_panel_bytes(type, k);
}

#endif
