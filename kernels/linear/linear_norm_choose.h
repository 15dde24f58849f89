/* linear_norm_choose.h: y = norm(residual + x W^T + bias) in one launch, on Hopper; elsewhere it is two.
 *
 * Whether one launch does it depends on the device, the weight and the activation alone, since its sums along a row run in
 * another order than those of norm.cu. The tile depends on the cap of rows as well: all tiles add in one order, along k as
 * linear_choose.h has it, along a row as linear_norm_sm90.cu has it, so the tile changes no bit.
 */
#ifndef RECTO_KERNELS_LINEAR_LINEAR_NORM_CHOOSE_H
#define RECTO_KERNELS_LINEAR_LINEAR_NORM_CHOOSE_H

#include "kernels/cuda/launchers.h"
#include "kernels/linear/linear_choose.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { LINEAR_NORM_CLUSTER = 8 };  /* blocks that share a row at most: what every device of 9.0 has */

enum linear_norm_variant {
    LINEAR_NORM_64X64,    /* rows x columns of a block's tile */
    LINEAR_NORM_64X128,
    LINEAR_NORM_64X256,
    LINEAR_NORM_128X128,
    LINEAR_NORM_128X192,
    LINEAR_NORM_128X256,
    LINEAR_NORM_VARIANTS
};

struct linear_tile linear_norm_tile(enum linear_norm_variant variant);
const char        *linear_norm_name(enum linear_norm_variant variant);

/* Whether this variant computes it. What linear_norm_fits (launchers.h) says yes to, LINEAR_NORM_128X256 computes in bf16, and
 * LINEAR_NORM_128X192 in e4m3. */
bool linear_norm_can(const struct cuda_facts *facts, enum linear_norm_variant variant, const struct linear_weight *weight);

/* Of what fits. */
enum linear_norm_variant linear_norm_choose(const struct cuda_facts *facts, const struct linear_weight *weight, int rows);

/* Clusters of so many blocks that are sure to run at the same time. */
int linear_norm_clusters(const struct cuda_facts *facts, int blocks);

/* The launcher with its choice made. */
cudaError_t linear_norm_launch(const struct cuda_launch *launch, const struct linear_norm_args *args,
                               enum linear_norm_variant variant);

#ifdef __cplusplus
}
#endif

#endif
