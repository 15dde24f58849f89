/* launch.h: the one way in which a kernel is started, for .cu files.
 *
 * A launcher checks its arguments, chooses a configuration and ends in KERNEL_LAUNCH, which tells the profiler what the kernel
 * moves and computes, asks for the shared memory, launches, and returns the status from the launcher.
 */
#ifndef RECTO_KERNELS_CUDA_LAUNCH_H
#define RECTO_KERNELS_CUDA_LAUNCH_H

#include "kernels/cuda/device.cuh"
#include "kernels/cuda/launchers.h"

enum { LAUNCH_SHARED_FREELY = 48 * 1024 };  /* more is granted only to a kernel that was told so */

struct kernel_shape {
    const char *name;               /* for the profiler */
    double      bytes, operations;  /* as struct cuda_cost has them */
    dim3        grid;
    int         threads;
    int         shared_bytes;       /* dynamic */
    int         cluster;            /* blocks along x that form a cluster; 0 or 1: none */
};

static inline cudaError_t kernel_launch(const struct cuda_launch *launch, const struct kernel_shape *shape, const void *kernel,
                                        const void **arguments)
{
    if (launch->profile) {
        const struct cuda_cost cost = { shape->name, shape->bytes, shape->operations };
        launch->profile(launch->profile_context, &cost);
    }
    if (shape->shared_bytes > LAUNCH_SHARED_FREELY) {
        cudaError_t error = cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, shape->shared_bytes);
        if (error != cudaSuccess)
            return error;
    }
    cudaLaunchAttribute cluster = {};
    cluster.id                  = cudaLaunchAttributeClusterDimension;
    cluster.val.clusterDim.x    = (unsigned)shape->cluster;
    cluster.val.clusterDim.y    = 1;
    cluster.val.clusterDim.z    = 1;
    cudaLaunchConfig_t config   = {};
    config.gridDim              = shape->grid;
    config.blockDim             = dim3((unsigned)shape->threads);
    config.dynamicSmemBytes     = (size_t)shape->shared_bytes;
    config.stream               = launch->stream;
    config.attrs                = &cluster;
    config.numAttrs             = shape->cluster > 1 ? 1 : 0;
    return cudaLaunchKernelExC(&config, kernel, (void **)arguments);
}

/* `kernel` is a KERNEL_HANDLE; what follows are the addresses of its arguments. */
#define KERNEL_LAUNCH(launch, shape, kernel, ...)                              \
    do {                                                                       \
        const void *launch_arguments[] = { __VA_ARGS__ };                      \
        return kernel_launch(launch, &(shape), kernel, launch_arguments);      \
    } while (0)

static inline int launch_rows_cap(const struct cuda_launch *launch)
{
    return launch->rows == CUDA_ROWS_TOKENS ? launch->tokens : launch->sequences;
}

static inline int launch_blocks(int rows, int rows_each) { return (rows + rows_each - 1) / rows_each; }

static inline bool launch_aligned(const void *pointer, size_t stride, size_t unit)
{
    return (uintptr_t)pointer % unit == 0 && stride % unit == 0;
}

#endif
