/* runtime_device.c: what the device says of itself, and the driver's functions by name. */
#include "tests/emu/runtime/runtime_driver.h"
#include "tests/emu/runtime/runtime_internal.h"

#include <stdio.h>
#include <string.h>

enum { CLOCK_KHZ = 1000000, MEMORY_KHZ = 1000000, MEMORY_BITS = 1024 };

/* Of one block, when asked for: the table of technical specifications in NVIDIA's CUDA programming guide. */
int device_shared_bytes(void)
{
    switch (runtime_state.settings.architecture) {
    case 75: return 64 << 10;
    case 80: case 87: return 163 << 10;
    case 90: case 100: case 103: case 110: return 227 << 10;
    default: return 99 << 10;  /* 8.6, 8.9, 12.x */
    }
}

cudaError_t cudaDriverGetVersion(int *version)
{
    *version = emu_runtime_settings()->absent ? 0 : emu_runtime_settings()->driver;  /* succeeds without a driver too */
    return cudaSuccess;
}

cudaError_t cudaRuntimeGetVersion(int *version)
{
    *version = CUDART_VERSION;
    return cudaSuccess;
}

cudaError_t cudaGetDeviceProperties(cudaDeviceProp *properties, int device)
{
    const struct emu_runtime_settings *settings = &runtime_state.settings;
    cudaError_t                        result   = call_begin(__func__, CALL_DESCRIBES);
    if (result == cudaSuccess && device != 0)
        result = cudaErrorInvalidDevice;
    if (result == cudaSuccess) {
        *properties = (cudaDeviceProp){ .totalGlobalMem = settings->memory, .sharedMemPerBlockOptin = (size_t)device_shared_bytes(),
                                        .major = settings->architecture / 10, .minor = settings->architecture % 10,
                                        .multiProcessorCount = settings->processors };
        snprintf(properties->name, sizeof properties->name, "emulated device");
    }
    return call_end(result);
}

cudaError_t cudaDeviceGetAttribute(int *value, enum cudaDeviceAttr attribute, int device)
{
    const struct emu_runtime_settings *settings = &runtime_state.settings;
    cudaError_t                        result   = call_begin(__func__, CALL_DESCRIBES);
    if (result == cudaSuccess && device != 0)
        result = cudaErrorInvalidDevice;
    if (result == cudaSuccess)
        switch (attribute) {
        case cudaDevAttrClockRate: *value = CLOCK_KHZ; break;
        case cudaDevAttrMemoryClockRate: *value = MEMORY_KHZ; break;
        case cudaDevAttrGlobalMemoryBusWidth: *value = MEMORY_BITS; break;
        case cudaDevAttrComputeMode: *value = settings->prohibited ? cudaComputeModeProhibited : cudaComputeModeDefault; break;
        case cudaDevAttrMultiProcessorCount: *value = settings->processors; break;
        case cudaDevAttrComputeCapabilityMajor: *value = settings->architecture / 10; break;
        case cudaDevAttrComputeCapabilityMinor: *value = settings->architecture % 10; break;
        case cudaDevAttrMaxSharedMemoryPerBlockOptin: *value = device_shared_bytes(); break;
        default: result = cudaErrorInvalidValue;
        }
    return call_end(result);
}

cudaError_t cudaMemGetInfo(size_t *free_bytes, size_t *total)
{
    cudaError_t result = call_begin(__func__, CALL_ASKS);
    if (result == cudaSuccess) {
        *total      = runtime_state.settings.memory;
        *free_bytes = *total - runtime_state.usage.device_bytes;
    }
    return call_end(result);
}

/* ---- Tensor maps ---- */

static int element_bytes(CUtensorMapDataType type)
{
    switch (type) {
    case CU_TENSOR_MAP_DATA_TYPE_UINT8: return 1;
    case CU_TENSOR_MAP_DATA_TYPE_UINT16:
    case CU_TENSOR_MAP_DATA_TYPE_FLOAT16:
    case CU_TENSOR_MAP_DATA_TYPE_BFLOAT16: return 2;
    case CU_TENSOR_MAP_DATA_TYPE_UINT32:
    case CU_TENSOR_MAP_DATA_TYPE_INT32:
    case CU_TENSOR_MAP_DATA_TYPE_FLOAT32: return 4;
    default: return 8;
    }
}

static CUresult tensor_map_encode(CUtensorMap *map, CUtensorMapDataType type, cuuint32_t rank, void *base, const cuuint64_t *sizes,
                                  const cuuint64_t *strides, const cuuint32_t *box, const cuuint32_t *steps,
                                  CUtensorMapInterleave interleave, CUtensorMapSwizzle swizzle, CUtensorMapL2promotion promotion,
                                  CUtensorMapFloatOOBfill fill)
{
    struct emu_tensor tensor = { .base = base, .rank = (int)rank, .element_bytes = element_bytes(type), .swizzle = swizzle };
    cudaError_t       result = call_begin_driver("cuTensorMapEncodeTiled", CALL_ASKS);
    (void)promotion;
    if (result == cudaSuccess && (rank < 1 || rank > 5 || interleave || fill))
        result = cudaErrorInvalidValue;
    for (cuuint32_t i = 0; result == cudaSuccess && i < rank; i++) {
        tensor.size[i] = sizes[i];
        tensor.box[i]  = box[i];
        if (i + 1 < rank)
            tensor.stride[i] = strides[i];
        if (steps[i] != 1)
            result = cudaErrorInvalidValue;
    }
    const char *refusal = result == cudaSuccess ? emu_tensor_map_make(map, &tensor) : NULL;
    if (refusal) {
        fprintf(stderr, "emulated runtime: a tensor map was refused: %s\n", refusal);
        result = cudaErrorInvalidValue;
    }
    return call_end_driver(result);
}

/* ---- By name ---- */

typedef void any_function(void);

cudaError_t cudaGetDriverEntryPointByVersion(const char *symbol, void **function, unsigned int version, unsigned long long flags,
                                             enum cudaDriverEntryPointQueryResult *found)
{
    static const struct {
        const char   *name;
        any_function *function;
    } table[] = {
        { "cuDevicePrimaryCtxRetain", (any_function *)driver_context_retain },
        { "cuDevicePrimaryCtxRelease", (any_function *)driver_context_release },
        { "cuCtxPushCurrent", (any_function *)driver_context_push },
        { "cuCtxPopCurrent", (any_function *)driver_context_pop },
        { "cuMemAddressReserve", (any_function *)driver_address_reserve },
        { "cuMemAddressFree", (any_function *)driver_address_free },
        { "cuMemCreate", (any_function *)driver_create },
        { "cuMemRelease", (any_function *)driver_release },
        { "cuMemMap", (any_function *)driver_map },
        { "cuMemUnmap", (any_function *)driver_unmap },
        { "cuMemSetAccess", (any_function *)driver_set_access },
        { "cuMemGetAllocationGranularity", (any_function *)driver_granularity },
        { "cuTensorMapEncodeTiled", (any_function *)tensor_map_encode },
    };
    cudaError_t result = call_begin(__func__, CALL_DESCRIBES);
    (void)flags;
    if (result == cudaSuccess) {
        *function = NULL;
        *found    = cudaDriverEntryPointSymbolNotFound;
        for (size_t i = 0; i < sizeof table / sizeof *table; i++)
            if (strcmp(table[i].name, symbol) == 0) {
                bool old = (int)version > runtime_state.settings.driver;
                *found   = old ? cudaDriverEntryPointVersionNotSufficent : cudaDriverEntryPointSuccess;
                if (!old)
                    memcpy(function, &table[i].function, sizeof *function);
            }
    }
    return call_end(result);
}
