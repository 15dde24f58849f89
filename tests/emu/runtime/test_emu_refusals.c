/* What the emulated runtime refuses because a device does, or might: calls that a capture forbids, launches that cannot be, threads
 * without a context, work for another device. Every case is a call that the host side must not make. */
#include "tests/emu/emu.h"
#include "tests/emu/runtime/gpu.h"

#include <cuda.h>
#include <cuda_runtime_api.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

enum { BYTES = 256, PIECE = 64 << 10 };

static cudaStream_t stream;
static cudaEvent_t  event;
static int         *pinned, *memory;

static int begin(void **state)
{
    (void)state;
    *emu_runtime_settings() = (struct emu_runtime_settings){ .driver = 13000, .architecture = 90, .processors = 4,
                                                             .memory = (size_t)1 << 20, .granularity = PIECE, .guard = true };
    return cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking) || cudaHostAlloc((void **)&pinned, BYTES, 0) ||
           cudaMalloc((void **)&memory, BYTES) || cudaEventCreateWithFlags(&event, cudaEventDisableTiming);
}

/* With what is to be said of a misuse; "": nothing. */
static void finish(const char *misuse)
{
    char text[256];
    cudaStreamDestroy(stream);
    cudaEventDestroy(event);
    cudaFree(memory);
    cudaFreeHost(pinned);
    if (emu_runtime_leaks(text, sizeof text))
        fail_msg("left behind: %s", text);
    if (!strstr(emu_runtime_misuse(), misuse) || !*misuse != !*emu_runtime_misuse())
        fail_msg("'%s', expected '%s' in it", emu_runtime_misuse(), misuse);
    emu_runtime_reset();
}

static void *entry(const char *name)
{
    enum cudaDriverEntryPointQueryResult found;
    void                                *address = NULL;
    assert_int_equal(cudaGetDriverEntryPointByVersion(name, &address, 12000, cudaEnableDefault, &found), cudaSuccess);
    assert_int_equal(found, cudaDriverEntryPointSuccess);
    return address;
}

/* ---- Captures ---- */

static cudaError_t take_memory(void)
{
    void       *more;
    cudaError_t result = cudaMalloc(&more, BYTES);
    return result == cudaSuccess ? cudaFree(more) : result;
}

static cudaError_t free_memory(void) { return cudaFree(NULL); }

static cudaError_t pin_memory(void)
{
    void       *more;
    cudaError_t result = cudaHostAlloc(&more, BYTES, cudaHostAllocDefault);
    return result == cudaSuccess ? cudaFreeHost(more) : result;
}

static cudaError_t free_pinned(void) { return cudaFreeHost(NULL); }
static cudaError_t copy_now(void) { return cudaMemcpy(memory, pinned, BYTES, cudaMemcpyHostToDevice); }
static cudaError_t set_now(void) { return cudaMemset(memory, 0, BYTES); }
static cudaError_t wait_for_all(void) { return cudaDeviceSynchronize(); }
static cudaError_t wait_for_event(void) { return cudaEventSynchronize(event); }

typedef CUresult create(CUmemGenericAllocationHandle *, size_t, const CUmemAllocationProp *, unsigned long long);
typedef CUresult release(CUmemGenericAllocationHandle);

static cudaError_t create_memory(void)
{
    static const CUmemAllocationProp property = { .type     = CU_MEM_ALLOCATION_TYPE_PINNED,
                                                  .location = { .type = CU_MEM_LOCATION_TYPE_DEVICE } };
    CUmemGenericAllocationHandle     handle;
    void    *addresses[] = { entry("cuMemCreate"), entry("cuMemRelease") };
    create  *make;
    release *let_go;
    memcpy(&make, &addresses[0], sizeof make);
    memcpy(&let_go, &addresses[1], sizeof let_go);
    CUresult result = make(&handle, PIECE, &property, 0);
    return (cudaError_t)(result == CUDA_SUCCESS ? let_go(handle) : result);
}

typedef cudaError_t unsafe(void);
static unsafe *const forbidden[] = { take_memory, free_memory, pin_memory,     free_pinned,   copy_now,
                                     set_now,     wait_for_all, wait_for_event, create_memory };
enum { FORBIDDEN = sizeof forbidden / sizeof *forbidden };

/* In the capturing thread each is refused, and ends the capture; the next one is none the worse. */
static void captures_forbid(void **state)
{
    (void)state;
    for (int i = 0; i < FORBIDDEN; i++) {
        cudaGraph_t graph = (cudaGraph_t)&i;
        assert_int_equal(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal), cudaSuccess);
        assert_int_equal(forbidden[i](), cudaErrorStreamCaptureUnsupported);
        assert_int_equal(cudaMemsetAsync(memory, 0, BYTES, stream), cudaErrorStreamCaptureInvalidated);
        assert_int_equal(cudaStreamEndCapture(stream, &graph), cudaErrorStreamCaptureInvalidated);
        assert_null(graph);
        assert_int_equal(forbidden[i](), cudaSuccess);
    }
    finish("");
}

struct visit {
    unsafe     *deed;
    cudaError_t result;
};

static void *run_visit(void *argument)
{
    struct visit *visit = argument;
    cudaSetDevice(0);
    visit->result = visit->deed();
    return NULL;
}

static cudaError_t in_another_thread(unsafe *deed)
{
    pthread_t    thread;
    struct visit visit = { deed, cudaErrorUnknown };
    assert_int_equal(pthread_create(&thread, NULL, run_visit, &visit), 0);
    pthread_join(thread, NULL);
    return visit.result;
}

/* Other threads do what they like beside a capture that is this thread's, and nothing beside one that is everybody's. */
static void captures_of_a_thread(void **state)
{
    (void)state;
    cudaGraph_t graph;
    for (int i = 0; i < FORBIDDEN; i++) {
        assert_int_equal(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal), cudaSuccess);
        assert_int_equal(in_another_thread(forbidden[i]), cudaSuccess);
        assert_int_equal(cudaMemsetAsync(memory, 0, BYTES, stream), cudaSuccess);
        assert_int_equal(cudaStreamEndCapture(stream, &graph), cudaSuccess);
        cudaGraphDestroy(graph);
        assert_int_equal(cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal), cudaSuccess);
        assert_int_equal(in_another_thread(forbidden[i]), cudaErrorStreamCaptureUnsupported);
        assert_int_equal(cudaStreamEndCapture(stream, &graph), cudaErrorStreamCaptureInvalidated);
    }
    finish("");
}

static cudaError_t end_capture(void)
{
    cudaGraph_t graph;
    return cudaStreamEndCapture(stream, &graph);
}

static void captures_end_where_they_began(void **state)
{
    (void)state;
    cudaGraph_t     graph;
    cudaGraphExec_t executable;
    assert_int_equal(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal), cudaSuccess);
    assert_int_equal(in_another_thread(end_capture), cudaErrorStreamCaptureWrongThread);
    assert_int_equal(cudaMemsetAsync(memory, 0, BYTES, stream), cudaSuccess);
    assert_int_equal(cudaStreamEndCapture(stream, &graph), cudaSuccess);
    assert_int_equal(cudaGraphInstantiate(&executable, graph, 1), cudaErrorInvalidValue);
    cudaGraphDestroy(graph);
    finish("");
}

/* ---- Launches ---- */

static void count_up(const void *kernel, void *const *arguments)
{
    (void)kernel;
    ++**(int *const *)arguments[0];
}

/* A kernel is known by an address. */
static const size_t argument_bytes[] = { sizeof memory };
static const char   any_kernel, late_kernel, hopper_kernel;

static cudaError_t launch(const char *kernel, dim3 grid, dim3 block, size_t shared_bytes)
{
    const cudaLaunchConfig_t config      = { .gridDim = grid, .blockDim = block, .dynamicSmemBytes = shared_bytes,
                                             .stream = stream };
    void                    *arguments[] = { &memory };
    emu_kernel_add(kernel, "count_up", count_up, argument_bytes, 1, kernel == &hopper_kernel ? 90 : 0);
    return cudaLaunchKernelExC(&config, kernel, arguments);
}

static cudaError_t launch_simply(const char *kernel) { return launch(kernel, (dim3){ 1, 1, 1 }, (dim3){ 32, 1, 1 }, 0); }

/* None of it sticks. */
static void launches_that_cannot_be(void **state)
{
    (void)state;
    const dim3 one = { 1, 1, 1 }, warp = { 32, 1, 1 };
    assert_int_equal(launch(&any_kernel, (dim3){ 0, 1, 1 }, warp, 0), cudaErrorInvalidConfiguration);
    assert_int_equal(launch(&any_kernel, (dim3){ 1, 65536, 1 }, warp, 0), cudaErrorInvalidConfiguration);
    assert_int_equal(launch(&any_kernel, (dim3){ 0x80000000u, 1, 1 }, warp, 0), cudaErrorInvalidConfiguration);
    assert_int_equal(launch(&any_kernel, one, (dim3){ 1025, 1, 1 }, 0), cudaErrorInvalidConfiguration);
    assert_int_equal(launch(&any_kernel, one, (dim3){ 32, 0, 1 }, 0), cudaErrorInvalidConfiguration);
    assert_int_equal(launch(&any_kernel, one, warp, (48 << 10) + 1), cudaErrorInvalidValue);
    assert_int_equal(launch(&any_kernel, one, warp, 48 << 10), cudaSuccess);
    assert_int_equal(cudaStreamSynchronize(stream), cudaSuccess);
    finish("");
}

static void shared_memory_of_the_device(void **state)
{
    (void)state;
    static const struct {
        int architecture, most;
    } devices[] = { { 80, 163 << 10 }, { 86, 99 << 10 }, { 89, 99 << 10 }, { 90, 227 << 10 }, { 100, 227 << 10 },
                  { 120, 99 << 10 } };
    int value = 0;
    assert_int_equal(launch_simply(&any_kernel), cudaSuccess);
    for (size_t i = 0; i < sizeof devices / sizeof *devices; i++) {
        emu_runtime_settings()->architecture = devices[i].architecture;
        assert_int_equal(cudaDeviceGetAttribute(&value, cudaDevAttrMaxSharedMemoryPerBlockOptin, 0), cudaSuccess);
        assert_int_equal(value, devices[i].most);
        assert_int_equal(cudaFuncSetAttribute(&any_kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, value + 1),
                         cudaErrorInvalidValue);
    }
    assert_int_equal(cudaFuncSetAttribute(&any_kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, 60 << 10), cudaSuccess);
    assert_int_equal(cudaFuncSetAttribute(&any_kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, 60 << 10), cudaSuccess);
    assert_string_equal(emu_runtime_misuse(), "");
    assert_int_equal(cudaFuncSetAttribute(&any_kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, 50 << 10), cudaSuccess);
    cudaStreamSynchronize(stream);
    finish("count_up was allowed 61440 bytes of shared memory, and now 51200");
}

/* A kernel of Hopper has no machine code for what came before, nor for what came after. */
static void kernels_of_another_architecture(void **state)
{
    (void)state;
    static const int others[] = { 80, 89, 100, 120 };
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        emu_runtime_settings()->architecture = others[i];
        assert_int_equal(launch_simply(&hopper_kernel), cudaErrorNoKernelImageForDevice);
        assert_int_equal(cudaFuncSetAttribute(&hopper_kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, 60 << 10),
                         cudaErrorNoKernelImageForDevice);
    }
    emu_runtime_settings()->architecture = 90;
    assert_int_equal(launch_simply(&hopper_kernel), cudaSuccess);
    assert_int_equal(cudaStreamSynchronize(stream), cudaSuccess);
    finish("");
}

static void kernels_are_loaded_before_captures(void **state)
{
    (void)state;
    cudaGraph_t graph;
    for (int i = 0; i < 2; i++) {
        assert_int_equal(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal), cudaSuccess);
        assert_int_equal(launch_simply(&late_kernel), i ? cudaSuccess : cudaErrorStreamCaptureUnsupported);
        assert_int_equal(cudaStreamEndCapture(stream, &graph), i ? cudaSuccess : cudaErrorStreamCaptureInvalidated);
        if (i)
            cudaGraphDestroy(graph);
        assert_int_equal(launch_simply(&late_kernel), cudaSuccess);
        assert_int_equal(cudaStreamSynchronize(stream), cudaSuccess);
    }
    finish("");
}

/* ---- Copies, streams, events ---- */

static void copies_in_the_wrong_direction(void **state)
{
    (void)state;
    assert_int_equal(cudaMemcpyAsync(pinned, memory, BYTES, cudaMemcpyHostToDevice, stream), cudaErrorInvalidValue);
    assert_int_equal(cudaMemcpyAsync(memory, pinned, BYTES, cudaMemcpyDeviceToHost, stream), cudaErrorInvalidValue);
    assert_int_equal(cudaMemcpyAsync(memory, pinned, BYTES, cudaMemcpyDeviceToDevice, stream), cudaErrorInvalidValue);
    assert_int_equal(cudaMemcpy(pinned, memory, BYTES, cudaMemcpyHostToHost), cudaErrorInvalidValue);
    assert_int_equal(cudaMemcpyAsync(memory, pinned, BYTES, cudaMemcpyDefault, stream), cudaSuccess);
    assert_int_equal(cudaStreamSynchronize(stream), cudaSuccess);
    finish("");
}

static void streams_that_still_work(void **state)
{
    (void)state;
    assert_int_equal(cudaMemsetAsync(memory, 0, BYTES, stream), cudaSuccess);
    finish("a stream was destroyed while work was pending in it");
}

static void graphs_that_still_work(void **state)
{
    (void)state;
    cudaGraph_t     graph;
    cudaGraphExec_t executable;
    assert_int_equal(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal), cudaSuccess);
    assert_int_equal(cudaMemsetAsync(memory, 0, BYTES, stream), cudaSuccess);
    assert_int_equal(cudaStreamEndCapture(stream, &graph), cudaSuccess);
    assert_int_equal(cudaGraphInstantiate(&executable, graph, 0), cudaSuccess);
    assert_int_equal(cudaGraphLaunch(executable, stream), cudaSuccess);
    cudaGraphExecDestroy(executable);
    cudaGraphDestroy(graph);
    cudaStreamSynchronize(stream);
    finish("a graph was destroyed while it was pending");
}

static void events_that_tell_no_time(void **state)
{
    (void)state;
    float       milliseconds;
    cudaEvent_t timed;
    assert_int_equal(cudaEventSynchronize(event), cudaSuccess);  /* never recorded: nothing to wait for */
    assert_int_equal(cudaEventCreateWithFlags(&timed, cudaEventDefault), cudaSuccess);
    assert_int_equal(cudaEventElapsedTime(&milliseconds, timed, timed), cudaErrorInvalidResourceHandle);
    cudaEventRecord(timed, stream);
    cudaEventRecord(event, stream);
    cudaStreamSynchronize(stream);
    assert_int_equal(cudaEventElapsedTime(&milliseconds, timed, event), cudaErrorInvalidResourceHandle);
    assert_int_equal(cudaEventElapsedTime(&milliseconds, timed, timed), cudaSuccess);
    cudaEventDestroy(timed);
    finish("");
}

/* ---- Contexts ---- */

static void *without_a_context(void *result)
{
    *(cudaError_t *)result = create_memory();
    return NULL;
}

static void threads_without_a_context(void **state)
{
    (void)state;
    pthread_t   thread;
    cudaError_t result;
    assert_int_equal(create_memory(), cudaSuccess);
    assert_int_equal(pthread_create(&thread, NULL, without_a_context, &result), 0);
    pthread_join(thread, NULL);
    assert_int_equal(result, CUDA_ERROR_INVALID_CONTEXT);
    finish("");
}

static void work_for_another_device(void **state)
{
    (void)state;
    assert_int_equal(cudaSetDevice(1), cudaErrorInvalidDevice);
    emu_runtime_settings()->idle = 1;
    assert_int_equal(cudaSetDevice(1), cudaSuccess);
    cudaMemsetAsync(memory, 0, BYTES, stream);
    assert_int_equal(cudaSetDevice(0), cudaSuccess);
    cudaStreamSynchronize(stream);
    finish("cudaMemsetAsync was called for device 1");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(captures_forbid, begin),
        cmocka_unit_test_setup(captures_of_a_thread, begin),
        cmocka_unit_test_setup(captures_end_where_they_began, begin),
        cmocka_unit_test_setup(launches_that_cannot_be, begin),
        cmocka_unit_test_setup(shared_memory_of_the_device, begin),
        cmocka_unit_test_setup(kernels_of_another_architecture, begin),
        cmocka_unit_test_setup(kernels_are_loaded_before_captures, begin),
        cmocka_unit_test_setup(copies_in_the_wrong_direction, begin),
        cmocka_unit_test_setup(streams_that_still_work, begin),
        cmocka_unit_test_setup(graphs_that_still_work, begin),
        cmocka_unit_test_setup(events_that_tell_no_time, begin),
        cmocka_unit_test_setup(threads_without_a_context, begin),
        cmocka_unit_test_setup(work_for_another_device, begin),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
