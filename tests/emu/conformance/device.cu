/* Device memory, launches and tensor maps for the cases: on the emulator, or on the CUDA runtime. */
#include "tests/emu/conformance/conformance.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void give_up(const char *what)
{
    fprintf(stderr, "conformance: %s\n", what);
    exit(2);
}

#ifdef RECTO_EMULATED

void *device_make(size_t bytes)
{
    void *memory = emu_memory_alloc(bytes);
    if (!memory)
        give_up("no memory");
    return memory;
}
void *device_copy_of(const void *host, size_t bytes)
{
    void *memory = device_make(bytes);
    memcpy(memory, host, bytes);
    emu_memory_written(memory, bytes);
    return memory;
}
void device_read(void *host, const void *device, size_t bytes) { memcpy(host, device, bytes); }
void device_free(void *device) { emu_memory_free(device); }

bool device_launch(const void *kernel, struct device_grid grid, void **args)
{
    struct emu_launch launch = { kernel, dim3((unsigned)grid.blocks), dim3((unsigned)grid.threads),
                                 dim3((unsigned)grid.cluster, 1, 1), grid.shared_bytes, args };
    return emu_kernel_allow(kernel, (int)grid.shared_bytes) == EMU_OK && emu_launch(&launch) == EMU_OK;
}

bool device_tensor_map(CUtensorMap *map, const struct device_tensor *t)
{
    struct emu_tensor tensor = {};
    tensor.base              = t->base;
    tensor.rank              = t->rank;
    tensor.element_bytes     = 2;
    tensor.swizzle           = t->swizzle;
    memcpy(tensor.size, t->size, sizeof t->size);
    memcpy(tensor.stride, t->stride, sizeof t->stride);
    memcpy(tensor.box, t->box, sizeof t->box);
    return !emu_tensor_map_make(map, &tensor);
}

#else

static void must(cudaError_t error)
{
    if (error != cudaSuccess)
        give_up(cudaGetErrorString(error));
}
void *device_make(size_t bytes)
{
    void *memory;
    must(cudaMalloc(&memory, bytes));
    must(cudaMemset(memory, 0xff, bytes));
    return memory;
}
void *device_copy_of(const void *host, size_t bytes)
{
    void *memory = device_make(bytes);
    must(cudaMemcpy(memory, host, bytes, cudaMemcpyHostToDevice));
    return memory;
}
void device_read(void *host, const void *device, size_t bytes) { must(cudaMemcpy(host, device, bytes, cudaMemcpyDeviceToHost)); }
void device_free(void *device) { must(cudaFree(device)); }

bool device_launch(const void *kernel, struct device_grid grid, void **args)
{
    cudaLaunchConfig_t    config  = {};
    cudaLaunchAttribute   cluster = {};
    config.gridDim                = dim3((unsigned)grid.blocks);
    config.blockDim               = dim3((unsigned)grid.threads);
    config.dynamicSmemBytes       = grid.shared_bytes;
    cluster.id                    = cudaLaunchAttributeClusterDimension;
    cluster.val.clusterDim.x      = (unsigned)grid.cluster;
    cluster.val.clusterDim.y      = 1;
    cluster.val.clusterDim.z      = 1;
    config.attrs                  = &cluster;
    config.numAttrs               = grid.cluster > 0;
    must(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, (int)grid.shared_bytes));
    cudaError_t error = cudaLaunchKernelExC(&config, kernel, args);
    if (error == cudaSuccess)
        error = cudaDeviceSynchronize();
    if (error != cudaSuccess)
        printf("    %s\n", cudaGetErrorString(error));
    return error == cudaSuccess;
}

bool device_tensor_map(CUtensorMap *map, const struct device_tensor *t)
{
    typedef CUresult encode(CUtensorMap *, CUtensorMapDataType, cuuint32_t, void *, const cuuint64_t *, const cuuint64_t *,
                            const cuuint32_t *, const cuuint32_t *, CUtensorMapInterleave, CUtensorMapSwizzle,
                            CUtensorMapL2promotion, CUtensorMapFloatOOBfill);
    void                           *entry = NULL;
    cudaDriverEntryPointQueryResult found;
    const cuuint32_t                ones[4] = { 1, 1, 1, 1 };
    cuuint64_t                      size[4], stride[3];
    for (int i = 0; i < t->rank; i++)
        size[i] = t->size[i];
    for (int i = 0; i + 1 < t->rank; i++)
        stride[i] = t->stride[i];
    must(cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &entry, 12000, cudaEnableDefault, &found));
    return entry && ((encode *)entry)(map, CU_TENSOR_MAP_DATA_TYPE_BFLOAT16, (cuuint32_t)t->rank, t->base, size, stride,
                                      t->box, ones, CU_TENSOR_MAP_INTERLEAVE_NONE, t->swizzle,
                                      CU_TENSOR_MAP_L2_PROMOTION_NONE, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE) == CUDA_SUCCESS;
}

#endif

bool case_equal(const char *what, const void *got, const void *expected, size_t bytes)
{
    const unsigned char *a = (const unsigned char *)got, *b = (const unsigned char *)expected;
    for (size_t i = 0; i < bytes; i++)
        if (a[i] != b[i]) {
            printf("    %s: byte %zu is 0x%02x, expected 0x%02x\n", what, i, a[i], b[i]);
            return false;
        }
    return true;
}

bool case_floats(const char *what, const float *got, const float *expected, int count, float tolerance)
{
    for (int i = 0; i < count; i++)
        if (!(fabsf(got[i] - expected[i]) <= tolerance * (1.0f + fabsf(expected[i])))) {
            printf("    %s: element %d is %.9g, expected %.9g\n", what, i, (double)got[i], (double)expected[i]);
            return false;
        }
    return true;
}
