/* attention_choose.h: which kernels compute attention on a GPU, as a pure function of the device, the type and the head.
 *
 *   ATTENTION_CUDA_FMA    f32, on CUDA cores: a block takes four strips of 16 rows, of one sequence or of up to four short ones
 *   ATTENTION_CUDA_MMA    mma.sync: the same strips
 *   ATTENTION_CUDA_WGMMA  sm_90a: sequences from ATTENTION_LARGE_FROM rows on in tiles of 64 rows a warpgroup; the others as above
 *
 * Which of them a sequence meets depends on its own length, never on its neighbours: its bits do not depend on them either.
 */
#ifndef RECTO_KERNELS_ATTENTION_ATTENTION_CHOOSE_H
#define RECTO_KERNELS_ATTENTION_ATTENTION_CHOOSE_H

#include "kernels/cuda/kernels_cuda.h"

#ifdef __cplusplus
extern "C" {
#endif

enum attention_cuda_variant { ATTENTION_CUDA_FMA, ATTENTION_CUDA_MMA, ATTENTION_CUDA_WGMMA };

enum { ATTENTION_LARGE_FROM = 129 };  /* below, reading the rows takes longer than multiplying them */

struct attention_choice {
    enum attention_cuda_variant variant;
    int head;        /* the head size that the kernel is built for: at least head_size */
    int large_rows;  /* of a tile of ATTENTION_CUDA_WGMMA, 64 for each warpgroup; 0: none */
};

struct attention_choice attention_cuda_choose(const struct cuda_facts *facts, const struct attention_args *args);

/* The launchers with their choice made; the schedule must be of the same choice. */
cudaError_t attention_schedule_launch(const struct cuda_launch *launch, const struct attention_args *args, void *schedule,
                                      const struct attention_choice *choice);
cudaError_t attention_mma_launch(const struct cuda_launch *launch, const struct attention_args *args, void *schedule,
                                 const struct attention_choice *choice);
cudaError_t attention_sm90_launch(const struct cuda_launch *launch, const struct attention_args *args, void *schedule,
                                  const struct attention_choice *choice);

#ifdef __cplusplus
}
#endif

#endif
