/* norm.h: layer norm and root-mean-square norm of each row, with the copy that the next linear reads.
 *
 *   norm_layer  mean = sum(x) / width; d = x - mean; inverse = 1 / sqrt(sum(d * d) / width + epsilon)
 *               y = fma(d * inverse, weight, bias); without bias d * inverse * weight, from left to right
 *   norm_rms    the same with d = x, no mean taken
 *
 *   x [rows, width] f32;  weight, bias [width] f32;  y [rows, width] f32, may be x itself with the same stride
 *   copy [rows, width] bf16, or u8 with copy_rows [rows] as quantize.h makes them from y, on a GPU e4m3 with copy_scales [rows] as
 *        struct fp8_args of kernels_cuda.h has it; overlaps nothing
 *
 * Sums run in sixteen lanes along the row, folded in the tree of lanes.h; sum(d * d) by fused multiply-adds. The mean comes
 * first and the squared differences after it, so that a large mean costs no digits.
 */
#ifndef RECTO_KERNELS_NORM_H
#define RECTO_KERNELS_NORM_H

#include "kernels/linear/linear.h"

struct norm_args {
    const float                *x;
    size_t                      x_stride;     /* bytes */
    const float                *weight, *bias; /* bias may be null */
    int                         width;
    float                       epsilon;
    float                      *y;            /* null: only the copy is wanted */
    size_t                      y_stride;     /* bytes */
    void                       *copy;         /* null: none */
    size_t                      copy_stride;  /* bytes */
    enum dtype                  copy_type;    /* DTYPE_BF16 or DTYPE_U8; DTYPE_F8_E4M3 on a GPU */
    const struct linear_weight *copy_for;     /* DTYPE_U8: the weight that the codes are for */
    struct quantized_row       *copy_rows;    /* DTYPE_U8: [rows] */
    float                      *copy_scales;  /* DTYPE_F8_E4M3: [rows] */
};

/* Computes rows [row0, row1). */
typedef void norm_kernel(const struct norm_args *args, int row0, int row1);

norm_kernel norm_layer_ref, norm_layer_avx2, norm_layer_avx512, norm_layer_neon;
norm_kernel norm_rms_ref, norm_rms_avx2, norm_rms_avx512, norm_rms_neon;

#endif
