/* linear_choose.h: which kernel computes a linear, as a pure function of the device, the weight and the cap of rows.
 *
 * All tiles of one architecture add along k in the same order, 16 at a time from 0 upward, so the choice changes no bit; which
 * instruction adds depends on the architecture and the weight alone. The last resort is LINEAR_CUDA_ROWS, which takes anything.
 */
#ifndef RECTO_KERNELS_LINEAR_LINEAR_CHOOSE_H
#define RECTO_KERNELS_LINEAR_LINEAR_CHOOSE_H

#include "kernels/cuda/kernels_cuda.h"

#ifdef __cplusplus
extern "C" {
#endif

enum linear_cuda_variant {
    LINEAR_CUDA_ROWS,             /* a warp an output column, on CUDA cores */
    LINEAR_CUDA_MMA_64X64,        /* mma.sync; rows x columns of a block's tile */
    LINEAR_CUDA_MMA_128X128,
    LINEAR_CUDA_WGMMA_64X64,      /* sm_90a */
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
cudaError_t linear_sm90_launch(const struct cuda_launch *launch, const struct linear_args *args, enum linear_cuda_variant variant);

#ifdef __cplusplus
}
#endif

#endif
