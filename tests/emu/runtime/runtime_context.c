/* runtime_context.c: which device a thread's calls are for: a stack of contexts for each thread, and each device's primary one. */
#include "tests/emu/runtime/runtime_driver.h"
#include "tests/emu/runtime/runtime_internal.h"

enum { DEVICES_MOST = 4, DEPTH_MOST = 16 };

struct CUctx_st {
    int  device;
    bool exists;
};
static struct CUctx_st primaries[DEVICES_MOST];

static _Thread_local struct {
    CUcontext stack[DEPTH_MOST];
    int       depth;
} own;

static int device_count(void) { return 1 + runtime_state.settings.idle; }

static CUcontext current(void) { return own.depth ? own.stack[own.depth - 1] : NULL; }

static CUcontext primary_of(int device)
{
    CUcontext context = &primaries[device];
    context->device   = device;
    if (!context->exists)
        runtime_state.usage.contexts++;
    context->exists = true;
    return context;
}

/* Takes the place of what is current. */
static void make_current(int device)
{
    own.depth += !own.depth;
    own.stack[own.depth - 1] = primary_of(device);
}

void context_bind(const char *name)
{
    if (!current())
        make_current(0);
    primary_of(current()->device);
    if (current()->device != 0 && runtime_state.sticky == cudaSuccess)  /* of a lost device contexts may be refused too */
        runtime_misuse("%s was called for device %d", name, current()->device);
}

bool context_is_current(void) { return current() != NULL; }

void context_reset(void)
{
    for (int i = 0; i < DEVICES_MOST; i++)
        primaries[i].exists = false;
}

cudaError_t cudaGetDeviceCount(int *count)
{
    cudaError_t result = call_begin(__func__, CALL_DESCRIBES);
    if (result == cudaSuccess)
        *count = device_count();
    return call_end(result);
}

cudaError_t cudaGetDevice(int *device)
{
    cudaError_t result = call_begin(__func__, CALL_DESCRIBES);
    if (result == cudaSuccess)
        *device = current() ? current()->device : 0;
    return call_end(result);
}

cudaError_t cudaSetDevice(int device)
{
    cudaError_t result = call_begin(__func__, CALL_DESCRIBES);
    if (result == cudaSuccess && (device < 0 || device >= device_count()))
        result = cudaErrorInvalidDevice;
    if (result == cudaSuccess && runtime_state.settings.prohibited)
        result = cudaErrorDevicesUnavailable;
    if (result == cudaSuccess)
        make_current(device);
    return call_end(result);
}

CUresult driver_context_retain(CUcontext *context, CUdevice device)
{
    cudaError_t result = call_begin_driver("cuDevicePrimaryCtxRetain", CALL_ALLOCATES);
    if (result == cudaSuccess && (device < 0 || device >= device_count()))
        result = cudaErrorInvalidDevice;
    if (result == cudaSuccess && runtime_state.settings.prohibited)
        result = cudaErrorUnknown;  /* as the driver's manual has it */
    if (result == cudaSuccess) {
        *context = primary_of(device);
        runtime_state.usage.retained++;
    }
    return call_end_driver(result);
}

CUresult driver_context_release(CUdevice device)
{
    cudaError_t result = call_begin_driver("cuDevicePrimaryCtxRelease", CALL_RELEASES);
    if (device != 0 || !runtime_state.usage.retained)
        return call_end_driver(cudaErrorDeviceUninitialized);
    runtime_state.usage.retained--;
    return call_end_driver(result);
}

CUresult driver_context_push(CUcontext context)
{
    cudaError_t result = call_begin_driver("cuCtxPushCurrent", CALL_ASKS);
    if (result == cudaSuccess && (!context || own.depth == DEPTH_MOST))
        result = cudaErrorInvalidValue;
    if (result == cudaSuccess)
        own.stack[own.depth++] = context;
    return call_end_driver(result);
}

CUresult driver_context_pop(CUcontext *context)
{
    cudaError_t result = call_begin_driver("cuCtxPopCurrent", CALL_RELEASES);
    if (!own.depth)
        return call_end_driver(cudaErrorDeviceUninitialized);
    *context = own.stack[--own.depth];
    return call_end_driver(result);
}
