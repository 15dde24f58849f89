/* epilogue.h: what follows a product, as a kernel of its own: the peer of linears that do it in theirs.
 *
 *   y = residual + act(x + bias); x is what a product of cuBLASLt left
 *   with a norm: sum = residual + x + bias; y = norm(sum), as norm.h has it, in f32 and in bf16
 *
 * Rows are dense; n is a multiple of 32, with a norm at most EPILOGUE_NORM_MOST.
 */
#ifndef RECTO_PROFILING_GPU_EPILOGUE_H
#define RECTO_PROFILING_GPU_EPILOGUE_H

#include "kernels/cuda/kernels_cuda.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { EPILOGUE_NORM_MOST = 1024 };

struct epilogue_args {
    const void     *x;         /* bf16 [rows, n] */
    const float    *bias;      /* [n] */
    enum linear_act act;       /* LINEAR_NONE, LINEAR_GELU_ERF or LINEAR_SILU_GATE */
    const float    *residual;  /* [rows, n], or null */
    void           *y;         /* f32 [rows, n] with a residual, else bf16; [rows, n / 2] with a gate */
    int             n;
};
struct epilogue_norm_args {
    const void  *x;         /* bf16 [rows, n] */
    const float *bias;      /* [n] */
    const float *residual;  /* [rows, n] */
    const float *weight, *shift;  /* of the norm, [n]; shift null: no mean is taken either */
    float        epsilon;
    float       *sum, *y;   /* [rows, n], or null */
    void        *copy;      /* bf16 [rows, n] */
    int          n;
};

/* launch->tokens rows. */
cudaError_t epilogue_cuda(const struct cuda_launch *launch, const struct epilogue_args *args);
cudaError_t epilogue_norm_cuda(const struct cuda_launch *launch, const struct epilogue_norm_args *args);

#ifdef __cplusplus
}
#endif

#endif
