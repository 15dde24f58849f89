/* runtime_launch.c: kernels: when they are loaded, how much shared memory they may have, what a launch may ask for. All that a
 * device refuses is refused when it is asked for, captured or not. */
#include "tests/emu/runtime/runtime_internal.h"

#include <stdlib.h>

enum { SHARED_FREELY = 48 << 10, BLOCK_MOST = 1024, CLUSTER_MOST = 8, GRID_MOST = 0x7fffffff, GRID_MOST_YZ = 65535 };

/* ---- Loading ---- */

static struct {
    const void **kernels;
    int          count, room;
} loaded;

static bool is_loaded(const void *function)
{
    for (int i = 0; i < loaded.count; i++)
        if (loaded.kernels[i] == function)
            return true;
    return false;
}

static cudaError_t remember(const void *function)
{
    if (loaded.count == loaded.room) {
        int          room  = loaded.room ? 2 * loaded.room : 64;
        const void **grown = realloc(loaded.kernels, (size_t)room * sizeof *grown);
        if (!grown)
            return cudaErrorMemoryAllocation;
        loaded.kernels = grown;
        loaded.room    = room;
    }
    loaded.kernels[loaded.count++] = function;
    return cudaSuccess;
}

/* A driver loads a kernel when it is first wanted, and may wait for the device: not while this thread captures. */
static cudaError_t load(const struct emu_kernel *kernel)
{
    if (!kernel)
        return cudaErrorInvalidDeviceFunction;
    if (kernel->architecture && kernel->architecture != runtime_state.settings.architecture)
        return cudaErrorNoKernelImageForDevice;
    if (is_loaded(kernel->function))
        return cudaSuccess;
    return stream_forbids() ? cudaErrorStreamCaptureUnsupported : remember(kernel->function);
}

/* ---- Shared memory ---- */

/* The limit is the kernel's: who changes it takes it from launches that another thread is about to make. */
static cudaError_t allow(const struct emu_kernel *kernel, int bytes)
{
    if (bytes < 0 || bytes > device_shared_bytes())
        return cudaErrorInvalidValue;
    if (kernel->shared_limit > SHARED_FREELY && kernel->shared_limit != bytes)
        runtime_misuse("%s was allowed %d bytes of shared memory, and now %d", kernel->name, kernel->shared_limit, bytes);
    return emu_kernel_allow(kernel->function, bytes) == EMU_OK ? cudaSuccess : cudaErrorInvalidValue;
}

cudaError_t cudaFuncSetAttribute(const void *function, enum cudaFuncAttribute attribute, int value)
{
    cudaError_t              result = call_begin(__func__, CALL_ASKS);
    const struct emu_kernel *kernel = emu_kernel_find(function);
    if (result == cudaSuccess && attribute != cudaFuncAttributeMaxDynamicSharedMemorySize)
        result = cudaErrorInvalidValue;
    if (result == cudaSuccess)
        result = load(kernel);
    return call_end(result == cudaSuccess ? allow(kernel, value) : result);
}

/* ---- Launches ---- */

static uint64_t volume(dim3 d) { return (uint64_t)d.x * d.y * d.z; }

static cudaError_t check_cluster(const struct emu_launch *l)
{
    const dim3 c = l->cluster;
    if (volume(c) == 0)
        return cudaSuccess;
    if (runtime_state.settings.architecture < 90)
        return cudaErrorNotSupported;
    if (volume(c) > CLUSTER_MOST)
        return cudaErrorInvalidClusterSize;
    return l->grid.x % c.x || l->grid.y % c.y || l->grid.z % c.z ? cudaErrorInvalidConfiguration : cudaSuccess;
}

static cudaError_t check(const struct emu_launch *l, const struct emu_kernel *kernel)
{
    if (volume(l->block) < 1 || volume(l->block) > BLOCK_MOST || l->block.z > 64 || volume(l->grid) < 1 || l->grid.x > GRID_MOST ||
        l->grid.y > GRID_MOST_YZ || l->grid.z > GRID_MOST_YZ)
        return cudaErrorInvalidConfiguration;
    if (l->shared_bytes > (size_t)kernel->shared_limit || l->shared_bytes > (size_t)device_shared_bytes())
        return cudaErrorInvalidValue;
    return check_cluster(l);
}

static cudaError_t launch(const cudaLaunchConfig_t *config, const void *function, void **arguments)
{
    const struct emu_kernel *kernel = emu_kernel_find(function);
    struct work              model  = { .kind = WORK_KERNEL, .launch = { .kernel = function, .grid = config->gridDim,
                                                                         .block = config->blockDim, .args = arguments,
                                                                         .shared_bytes = config->dynamicSmemBytes } };
    for (unsigned i = 0; i < config->numAttrs; i++)
        if (config->attrs[i].id == cudaLaunchAttributeClusterDimension)
            model.launch.cluster = (dim3){ config->attrs[i].val.clusterDim.x, config->attrs[i].val.clusterDim.y,
                                           config->attrs[i].val.clusterDim.z };
    cudaError_t result = load(kernel);
    if (result == cudaSuccess)
        result = check(&model.launch, kernel);
    if (result != cudaSuccess)
        return result;
    runtime_state.usage.launches++;
    return stream_append(config->stream, work_copy(&model));
}

cudaError_t cudaLaunchKernelExC(const cudaLaunchConfig_t *config, const void *function, void **arguments)
{
    cudaError_t result = call_begin(__func__, CALL_ASKS);
    return call_end(result == cudaSuccess ? launch(config, function, arguments) : result);
}
