#include "runtime/cuda_context.h"

#include "runtime/vmem_cuda.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* The oldest driver that serves programs of this runtime: any of the same major version. */
enum { DRIVER_LEAST = CUDART_VERSION / 1000 * 1000, ENTRY_VERSION = 12000 };

/* ---- The calling thread ---- */

struct cuda_stay cuda_context_enter(const struct cuda_context *context)
{
    struct cuda_stay stay = { .mode = cudaStreamCaptureModeThreadLocal };
    stay.is_current       = context->primary && context->driver.context_push(context->primary) == CUDA_SUCCESS;
    stay.is_apart         = cudaThreadExchangeStreamCaptureMode(&stay.mode) == cudaSuccess;
    return stay;
}

void cuda_context_leave(const struct cuda_context *context, struct cuda_stay stay)
{
    CUcontext own;
    if (stay.is_apart)
        cudaThreadExchangeStreamCaptureMode(&stay.mode);
    if (stay.is_current)
        context->driver.context_pop(&own);
}

/* ---- Failing ---- */

status cuda_context_check(struct cuda_context *context, struct error *error)
{
    if (!atomic_load(&context->is_lost))
        return STATUS_OK;
    pthread_mutex_lock(&context->lock);
    status result = error_set(error, STATUS_DEVICE, "cuda: %s; only a new process can use it again", context->lost);
    pthread_mutex_unlock(&context->lock);
    return result;
}

/* A fault shows in calls that have nothing to do with it. */
static bool is_fault(cudaError_t code)
{
    size_t free_bytes, total;
    return code != cudaErrorMemoryAllocation && code != cudaErrorNotSupported && cudaMemGetInfo(&free_bytes, &total) == code;
}

static status lose(struct cuda_context *context, cudaError_t code, const char *what, struct error *error)
{
    pthread_mutex_lock(&context->lock);
    if (!context->lost[0])
        snprintf(context->lost, sizeof context->lost, "the GPU '%s' was lost in %s: %s (%s)", context->name, what,
                 cudaGetErrorString(code), cudaGetErrorName(code));
    pthread_mutex_unlock(&context->lock);
    atomic_store(&context->is_lost, true);
    return cuda_context_check(context, error);
}

static status judge(struct cuda_context *context, cudaError_t code, const char *what, struct error *error)
{
    size_t free_bytes = 0, total = 0;
    cudaGetLastError();  /* ours to report; the next call's error shall be its own */
    if (atomic_load(&context->is_lost))
        return cuda_context_check(context, error);
    if (is_fault(code))
        return lose(context, code, what, error);
    if (code == cudaErrorMemoryAllocation && cudaMemGetInfo(&free_bytes, &total) == cudaSuccess)
        return error_set(error, STATUS_BUDGET, "cuda: the GPU '%s' gave no memory for %s: %zu of its %zu bytes are free",
                         context->name, what, free_bytes, total);
    if (code == cudaErrorMemoryAllocation)
        return error_set(error, STATUS_BUDGET, "cuda: the GPU '%s' gave no memory for %s", context->name, what);
    cudaGetLastError();
    return error_set(error, STATUS_DEVICE, "cuda: %s failed: %s (%s)", what, cudaGetErrorString(code), cudaGetErrorName(code));
}

status cuda_context_fail(struct cuda_context *context, cudaError_t code, struct error *error, const char *format, ...)
{
    char    what[160];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(what, sizeof what, format, arguments);
    va_end(arguments);
    const struct cuda_stay stay   = cuda_context_enter(context);
    const status           result = judge(context, code, what, error);
    cuda_context_leave(context, stay);
    return result;
}

/* A call that fails may not have waited. On a lost device the second one fails as well, and nothing runs any more. */
cudaError_t cuda_context_wait(cudaStream_t stream)
{
    cudaError_t code = cudaStreamSynchronize(stream);
    if (code != cudaSuccess && cudaStreamSynchronize(stream) == cudaSuccess)
        cudaGetLastError();
    return code;
}

/* ---- Opening ---- */

static bool means_absent(cudaError_t code)
{
    return code == cudaErrorNoDevice || code == cudaErrorInsufficientDriver || code == cudaErrorStubLibrary;
}

/* Why there is no device, when the count of devices says so; `version` is 0 where there is no driver. */
static status refuse(cudaError_t code, bool *absent, struct error *error)
{
    int version = 0;
    cudaDriverGetVersion(&version);
    cudaGetLastError();
    *absent = means_absent(code) && version == 0;
    if (code == cudaErrorStubLibrary || *absent)
        return error_set(error, STATUS_DEVICE, "no NVIDIA driver is installed here");
    if (code == cudaErrorInsufficientDriver)
        return error_set(error, STATUS_DEVICE, "the NVIDIA driver is too old: it serves CUDA %d.%d, this build needs %d.%d",
                         version / 1000, version % 1000 / 10, DRIVER_LEAST / 1000, DRIVER_LEAST % 1000 / 10);
    *absent = code == cudaErrorNoDevice;
    if (*absent)
        return error_set(error, STATUS_DEVICE, "the NVIDIA driver finds no GPU that this process may use");
    if (code == cudaErrorMemoryAllocation)
        return error_set(error, STATUS_DEVICE, "the GPU has no memory left to begin with");
    if (code == cudaErrorDevicesUnavailable)
        return error_set(error, STATUS_DEVICE, "the GPU's compute mode keeps this process out: prohibited, or one process's alone");
    return error_set(error, STATUS_DEVICE, "the GPU cannot be used: %s (%s)", cudaGetErrorString(code),
                     cudaGetErrorName(code));
}

static cudaError_t entry(const char *name, void *function)
{
    enum cudaDriverEntryPointQueryResult found = cudaDriverEntryPointSymbolNotFound;
    void                                *address = NULL;
    cudaError_t result = cudaGetDriverEntryPointByVersion(name, &address, ENTRY_VERSION, cudaEnableDefault, &found);
    if (result == cudaSuccess && found != cudaDriverEntryPointSuccess)
        result = cudaErrorInsufficientDriver;
    memcpy(function, &address, sizeof address);
    return result;
}

static cudaError_t find_driver(struct cuda_driver *driver, struct cuda_facts *facts)
{
    const struct {
        const char *name;
        void       *function;
    } table[] = {
        { "cuDevicePrimaryCtxRetain", &driver->context_retain },
        { "cuDevicePrimaryCtxRelease", &driver->context_release },
        { "cuCtxPushCurrent", &driver->context_push },
        { "cuCtxPopCurrent", &driver->context_pop },
        { "cuMemAddressReserve", &driver->address_reserve },
        { "cuMemAddressFree", &driver->address_free },
        { "cuMemCreate", &driver->create },
        { "cuMemRelease", &driver->release },
        { "cuMemMap", &driver->map },
        { "cuMemUnmap", &driver->unmap },
        { "cuMemSetAccess", &driver->set_access },
        { "cuMemGetAllocationGranularity", &driver->granularity },
        { "cuTensorMapEncodeTiled", &facts->encode_tensor_map },
    };
    cudaError_t result = cudaSuccess;
    for (size_t i = 0; i < sizeof table / sizeof *table && result == cudaSuccess; i++)
        result = entry(table[i].name, table[i].function);
    return result;
}

static cudaError_t describe(struct cuda_context *context)
{
    struct cudaDeviceProp properties;
    cudaError_t           result = cudaGetDeviceProperties(&properties, 0);
    if (result != cudaSuccess)
        return result;
    snprintf(context->name, sizeof context->name, "%.120s", properties.name);
    context->bytes              = properties.totalGlobalMem;
    context->facts.architecture = 10 * properties.major + properties.minor;
    context->facts.processors   = properties.multiProcessorCount;
    context->facts.shared_bytes = (int)properties.sharedMemPerBlockOptin;
    return cudaSuccess;
}

static bool is_prohibited(void)
{
    int mode = 0;
    return cudaDeviceGetAttribute(&mode, cudaDevAttrComputeMode, 0) == cudaSuccess && mode == cudaComputeModeProhibited;
}

/* Makes the context, which is the first memory that is taken. The runtime is told in its own words: it then holds the context for
 * as long as the process lives, whoever else gives it back. */
static cudaError_t begin(struct cuda_context *context)
{
    CUresult code = context->driver.context_retain(&context->primary, 0);
    if (code != CUDA_SUCCESS) {
        context->primary = NULL;
        return code == CUDA_ERROR_UNKNOWN && is_prohibited() ? cudaErrorDevicesUnavailable : (cudaError_t)code;
    }
    const struct cuda_stay stay   = cuda_context_enter(context);
    cudaError_t            result = cudaSetDevice(0);
    cuda_context_leave(context, stay);
    return result;
}

status cuda_context_open(struct cuda_context *context, struct pool *host_pool, struct pool *device_pool, bool *absent,
                         struct error *error)
{
    int count = 0;
    *context  = (struct cuda_context){ .host_pool = host_pool, .device_pool = device_pool };
    *absent   = false;
    pthread_mutex_init(&context->lock, NULL);
    cudaError_t code = cudaGetDeviceCount(&count);
    if (code == cudaSuccess && count == 0)
        code = cudaErrorNoDevice;
    if (code == cudaSuccess)
        code = describe(context);
    if (code == cudaSuccess)
        code = find_driver(&context->driver, &context->facts);
    if (code != cudaSuccess)
        return refuse(code, absent, error);
    context->kernels = kernels_cuda(&context->facts);
    if (!context->kernels)
        return error_set(error, STATUS_DEVICE, "the GPU '%s' is of architecture %d.%d, there are kernels from 8.0 on",
                         context->name, context->facts.architecture / 10, context->facts.architecture % 10);
    code = begin(context);
    if (code != cudaSuccess)
        return refuse(code, absent, error);
    code = (cudaError_t)vmem_cuda_open(context);
    return code == cudaSuccess ? STATUS_OK : cuda_context_fail(context, code, error, "a first piece of memory");
}

void cuda_context_close(struct cuda_context *context)
{
    if (context->primary)
        context->driver.context_release(0);
    pthread_mutex_destroy(&context->lock);
}
