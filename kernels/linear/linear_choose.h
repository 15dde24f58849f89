/* linear_choose.h: which kernel computes a linear, as a pure function of the device, the weight and the cap of rows.
 *
 * All tiles of one architecture add along k in the same order from 0 upward, bf16 16 at a time, e4m3 32 and every 128 into another
 * sum, f32 one at a time, so the choice changes no bit; which instruction adds depends on the architecture and the weight alone.
 */
#ifndef RECTO_KERNELS_LINEAR_LINEAR_CHOOSE_H
#define RECTO_KERNELS_LINEAR_LINEAR_CHOOSE_H

#include "kernels/cuda/kernels_cuda.h"

#ifdef __cplusplus
extern "C" {
#endif

enum linear_cuda_variant {
    LINEAR_CUDA_FMA_32X64,        /* f32, on CUDA cores; rows x columns of a block's tile */
    LINEAR_CUDA_FMA_128X128,
    LINEAR_CUDA_MMA_64X64,        /* bf16, mma.sync */
    LINEAR_CUDA_MMA_128X128,
    LINEAR_CUDA_WGMMA_64X64,      /* bf16, sm_90a */
    LINEAR_CUDA_WGMMA_128X128,
    LINEAR_CUDA_WGMMA_128X192,
    LINEAR_CUDA_WGMMA_128X256,
    LINEAR_CUDA_VARIANTS
};

struct linear_tile {
    int rows, columns;
};

struct linear_tile       linear_cuda_tile(enum linear_cuda_variant variant);
const char              *linear_cuda_name(enum linear_cuda_variant variant);
enum linear_cuda_variant linear_cuda_choose(const struct cuda_facts *facts, const struct linear_weight *weight,
                                            enum linear_act act, int rows);
/* Whether a variant can compute it at all: for tests that force one. */
bool linear_cuda_can(const struct cuda_facts *facts, enum linear_cuda_variant variant, const struct linear_weight *weight,
                     enum linear_act act);

/* The launcher with its choice made. */
cudaError_t linear_cuda_launch(const struct cuda_launch *launch, const struct linear_args *args, enum linear_cuda_variant variant);
cudaError_t linear_fma_launch(const struct cuda_launch *launch, const struct linear_args *args, enum linear_cuda_variant variant);
cudaError_t linear_sm90_launch(const struct cuda_launch *launch, const struct linear_args *args, enum linear_cuda_variant variant);

#ifdef __cplusplus
}
#endif

#endif
