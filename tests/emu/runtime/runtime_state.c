/* runtime_state.c: settings, the lock, injected failures, errors, counts. */
#include "tests/emu/runtime/runtime_internal.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct runtime_state runtime_state;

static struct {
    pthread_mutex_t lock;
    pthread_once_t  once;
    uint64_t        calls, fail_at;
    cudaError_t     fail_with;
    const char     *failed;
    char            misuse[256];
} control = { .lock = PTHREAD_MUTEX_INITIALIZER, .once = PTHREAD_ONCE_INIT, .failed = "" };

static _Thread_local cudaError_t last_error;
static _Thread_local bool        is_inside;

/* ---- Settings ---- */

static unsigned long long number_of(const char *variable, unsigned long long fallback)
{
    const char *text = getenv(variable);
    return text && *text ? strtoull(text, NULL, 0) : fallback;
}

static void read_settings(void)
{
    const char *order = getenv("EMU_RUNTIME_ORDER");
    runtime_state.settings = (struct emu_runtime_settings){
        .absent       = (int)number_of("EMU_RUNTIME_ABSENT", 0),
        .driver       = (int)number_of("EMU_RUNTIME_DRIVER", 13000),
        .prohibited   = number_of("EMU_RUNTIME_PROHIBITED", 0) != 0,
        .idle         = (int)number_of("EMU_RUNTIME_IDLE", 0),
        .architecture = (int)number_of("EMU_RUNTIME_ARCHITECTURE", 90),
        .processors   = (int)number_of("EMU_RUNTIME_PROCESSORS", 4),
        .memory       = (size_t)number_of("EMU_RUNTIME_MEMORY", 4ull << 30),
        .seed         = number_of("EMU_SEED", 1),
        .order        = !order || !*order || strcmp(order, "late") == 0 ? EMU_RUNTIME_LATE
                        : strcmp(order, "once") == 0                    ? EMU_RUNTIME_AT_ONCE
                                                                        : EMU_RUNTIME_ANY,
        .granularity  = (size_t)number_of("EMU_RUNTIME_GRANULARITY", 2 << 20),
        .guard        = number_of("EMU_RUNTIME_GUARD", 1) != 0,
    };
}

struct emu_runtime_settings *emu_runtime_settings(void)
{
    pthread_once(&control.once, read_settings);
    return &runtime_state.settings;
}

void emu_runtime_reset(void)
{
    pthread_once(&control.once, read_settings);
    pthread_mutex_lock(&control.lock);
    runtime_state.sticky = cudaSuccess;
    runtime_state.random = 0;
    runtime_state.usage  = (struct emu_runtime_usage){ 0 };
    context_reset();
    control.calls = control.fail_at = 0;
    control.failed    = "";
    control.misuse[0] = 0;
    last_error        = cudaSuccess;
    pthread_mutex_unlock(&control.lock);
}

uint64_t random_next(void)
{
    uint64_t x = runtime_state.random ? runtime_state.random : runtime_state.settings.seed * 0x9e3779b97f4a7c15u + 1;
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    return runtime_state.random = x;
}

/* ---- Errors ---- */

static bool sticks(cudaError_t error)
{
    return (error >= cudaErrorIllegalAddress && error <= cudaErrorLaunchFailure && error != cudaErrorLaunchOutOfResources) ||
           error == cudaErrorECCUncorrectable;
}

void runtime_fault(cudaError_t error)
{
    if (runtime_state.sticky == cudaSuccess)
        runtime_state.sticky = error;
}

void runtime_misuse(const char *format, ...)
{
    char    text[sizeof control.misuse];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    fprintf(stderr, "emulated runtime: %s\n", text);
    if (!control.misuse[0])
        memcpy(control.misuse, text, sizeof text);
}

const char *emu_runtime_misuse(void) { return control.misuse; }

/* ---- Calls ---- */

void emu_runtime_fail(uint64_t call, int error)
{
    pthread_mutex_lock(&control.lock);
    control.fail_at   = call ? control.calls + call : 0;
    control.fail_with = (cudaError_t)error;
    control.failed    = "";
    pthread_mutex_unlock(&control.lock);
}

uint64_t emu_runtime_calls(void)
{
    pthread_mutex_lock(&control.lock);
    uint64_t calls = control.calls;
    pthread_mutex_unlock(&control.lock);
    return calls;
}

const char *emu_runtime_failed(void) { return control.failed; }

static cudaError_t injected(const char *name, enum call_kind kind)
{
    if (control.calls != control.fail_at)
        return cudaSuccess;
    cudaError_t error = control.fail_with    ? control.fail_with
                        : kind == CALL_ALLOCATES ? cudaErrorMemoryAllocation
                                                 : cudaErrorUnknown;
    control.failed  = name;
    control.fail_at = 0;
    if (sticks(error))
        runtime_fault(error);
    return error;
}

cudaError_t call_begin_driver(const char *name, enum call_kind kind)
{
    pthread_once(&control.once, read_settings);
    pthread_mutex_lock(&control.lock);
    is_inside = true;
    control.calls++;
    runtime_state.usage.waits += kind == CALL_WAITS;
    runtime_state.usage.allocations += kind == CALL_ALLOCATES;
    if (runtime_state.settings.absent)
        return (cudaError_t)runtime_state.settings.absent;
    if (runtime_state.settings.driver < CUDART_VERSION / 1000 * 1000)
        return cudaErrorInsufficientDriver;
    cudaError_t result = injected(name, kind);
    if (result == cudaSuccess && runtime_state.settings.order == EMU_RUNTIME_ANY)
        stream_do_some();
    return result != cudaSuccess ? result : runtime_state.sticky;
}

cudaError_t call_begin(const char *name, enum call_kind kind)
{
    cudaError_t result = call_begin_driver(name, kind);
    if (kind != CALL_DESCRIBES && (result == cudaSuccess || kind == CALL_RELEASES))
        context_bind(name);
    return result;
}

cudaError_t call_end(cudaError_t result)
{
    if (result != cudaSuccess)
        last_error = result;
    is_inside = false;
    pthread_mutex_unlock(&control.lock);
    return result;
}

CUresult call_end_driver(cudaError_t result)
{
    is_inside = false;
    pthread_mutex_unlock(&control.lock);
    return (CUresult)result;  /* the codes in use have the same numbers */
}

cudaError_t cudaPeekAtLastError(void) { return runtime_state.sticky != cudaSuccess ? runtime_state.sticky : last_error; }

cudaError_t cudaGetLastError(void)
{
    cudaError_t error = cudaPeekAtLastError();
    last_error        = cudaSuccess;
    return error;
}

struct error_line {
    cudaError_t error;
    const char *name, *text;
};
#define LINE(code, text) { code, #code, text }

static const struct error_line *line_of(cudaError_t error)
{
    static const struct error_line unknown = LINE(cudaErrorUnknown, "an error that has no name");
    static const struct error_line lines[] = {
        LINE(cudaSuccess, "no error"),
        LINE(cudaErrorInvalidValue, "an argument is out of range"),
        LINE(cudaErrorMemoryAllocation, "no memory left"),
        LINE(cudaErrorInvalidConfiguration, "a grid or block that the device cannot run"),
        LINE(cudaErrorStubLibrary, "the driver is a stub"),
        LINE(cudaErrorInsufficientDriver, "the driver is missing or too old"),
        LINE(cudaErrorInvalidDeviceFunction, "no such kernel"),
        LINE(cudaErrorNoDevice, "no device"),
        LINE(cudaErrorDeviceUninitialized, "the thread has no context"),
        LINE(cudaErrorInvalidClusterSize, "a cluster of more blocks than the device can run"),
        LINE(cudaErrorInvalidResourceHandle, "no such stream, event or graph"),
        LINE(cudaErrorIllegalAddress, "the device touched memory that is not its own"),
        LINE(cudaErrorLaunchFailure, "a kernel failed"),
        LINE(cudaErrorStreamCaptureUnsupported, "not allowed while a stream is captured"),
        LINE(cudaErrorStreamCaptureInvalidated, "the capture had failed before"),
    };
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++)
        if (lines[i].error == error)
            return &lines[i];
    return &unknown;
}

const char *cudaGetErrorName(cudaError_t error) { return line_of(error)->name; }
const char *cudaGetErrorString(cudaError_t error) { return line_of(error)->text; }

/* ---- Counts ---- */

struct emu_runtime_usage emu_runtime_usage(void)
{
    pthread_mutex_lock(&control.lock);
    struct emu_runtime_usage usage = runtime_state.usage;
    pthread_mutex_unlock(&control.lock);
    return usage;
}

bool emu_runtime_is_inside(void) { return is_inside; }

bool emu_runtime_leaks(char *text, size_t size)
{
    struct emu_runtime_usage u = emu_runtime_usage();
    snprintf(text, size,
             "%zu bytes of device memory in %d handles and %d blocks, %zu pinned bytes, %d reservations, %d streams, %d events, "
             "%d graphs, %d executables, %d references to contexts",
             u.device_bytes, u.handles, u.blocks, u.host_bytes, u.reservations, u.streams, u.events, u.graphs, u.executables,
             u.retained);
    return u.retained || u.device_bytes || u.host_bytes || u.reservations || u.streams || u.events || u.graphs || u.executables ||
           u.handles || u.blocks;
}
