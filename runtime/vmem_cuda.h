/* vmem_cuda.h: the memory of a GPU under the five functions of vmem.h.
 *
 * Physical memory is taken in pieces of the granularity, so that any whole part of what was mapped can be given back. No memory
 * on the device is STATUS_BUDGET, after the pool's reclaimer was asked for what it can spare. Whoever unmaps has seen to it that
 * no work of the device is pending there.
 */
#ifndef RECTO_RUNTIME_VMEM_CUDA_H
#define RECTO_RUNTIME_VMEM_CUDA_H

#include "runtime/cuda_context.h"

/* Fills in context->memory, and sees that a piece can be mapped. */
MUST_CHECK CUresult vmem_cuda_open(struct cuda_context *context);

#endif
