#include "kernels/cuda/launch.h"

enum { SHARED_FREELY = 48 * 1024 };  /* more is granted only to a kernel that was told so */

cudaError_t kernel_launch(const struct cuda_launch *launch, const struct kernel_shape *shape, const void *kernel,
                          const void **arguments)
{
    if (launch->profile) {
        const struct cuda_cost cost = { shape->name, shape->bytes, shape->operations };
        launch->profile(launch->profile_context, &cost);
    }
    if (shape->shared_bytes > SHARED_FREELY) {
        cudaError_t error = cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, shape->shared_bytes);
        if (error != cudaSuccess)
            return error;
    }
    cudaLaunchAttribute cluster = { .id = cudaLaunchAttributeClusterDimension };
    cluster.val.clusterDim.x    = (unsigned)shape->cluster;
    cluster.val.clusterDim.y    = 1;
    cluster.val.clusterDim.z    = 1;
    const cudaLaunchConfig_t config = {
        .gridDim          = shape->grid,
        .blockDim         = { (unsigned)shape->threads, 1, 1 },
        .dynamicSmemBytes = (size_t)shape->shared_bytes,
        .stream           = launch->stream,
        .attrs            = &cluster,
        .numAttrs         = shape->cluster > 0 ? 1 : 0,
    };
    return cudaLaunchKernelExC(&config, kernel, (void **)arguments);
}
