/* epilogue.h: what follows a product, as a kernel of its own: the peer of linears that do it in theirs.
 *
 *   y = residual + act(x + bias); x is what a product of cuBLASLt left
 *
 * Rows are dense; n is a multiple of 32.
 */
#ifndef RECTO_PROFILING_GPU_EPILOGUE_H
#define RECTO_PROFILING_GPU_EPILOGUE_H

#include "kernels/cuda/kernels_cuda.h"

#ifdef __cplusplus
extern "C" {
#endif

struct epilogue_args {
    const void     *x;         /* bf16 [rows, n] */
    const float    *bias;      /* [n] */
    enum linear_act act;       /* LINEAR_NONE, LINEAR_GELU_ERF or LINEAR_SILU_GATE */
    const float    *residual;  /* [rows, n], or null */
    void           *y;         /* f32 [rows, n] with a residual, else bf16; [rows, n / 2] with a gate */
    int             n;
};

/* launch->tokens rows. */
cudaError_t epilogue_cuda(const struct cuda_launch *launch, const struct epilogue_args *args);

#ifdef __cplusplus
}
#endif

#endif
