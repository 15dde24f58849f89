/* The emulated runtime itself: work is as late as it may be, bytes are counted, and what is wrong does not pass. */
#include "tests/emu/runtime/gpu.h"
#include "tests/emu/emu.h"
#include "tests/emu/runtime/plain/kernels_plain.h"

#include <cuda.h>
#include <cuda_runtime_api.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum { BYTES = 256, PIECE = 64 << 10 };

static cudaStream_t stream, other;
static int         *pinned, *back, *memory;

static int begin(void **state)
{
    (void)state;
    *emu_runtime_settings() = (struct emu_runtime_settings){ .driver = 13000, .architecture = 90, .processors = 4,
                                                             .memory = (size_t)1 << 20, .granularity = PIECE, .guard = true };
    return cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking) || cudaStreamCreateWithFlags(&other, cudaStreamNonBlocking) ||
           cudaHostAlloc((void **)&pinned, BYTES, 0) || cudaHostAlloc((void **)&back, BYTES, 0) ||
           cudaMalloc((void **)&memory, BYTES);
}

static int end(void **state)
{
    (void)state;
    cudaStreamDestroy(stream);
    cudaStreamDestroy(other);
    cudaFree(memory);
    cudaFreeHost(pinned);
    cudaFreeHost(back);
    gpu_check_nothing_left();
    return 0;
}

static void copies_are_late(void **state)
{
    (void)state;
    *pinned = 1;
    assert_int_equal(cudaMemcpyAsync(memory, pinned, BYTES, cudaMemcpyHostToDevice, stream), cudaSuccess);
    *pinned = 2;  /* too early: the copy is not done */
    assert_int_equal(cudaMemcpyAsync(back, memory, BYTES, cudaMemcpyDeviceToHost, stream), cudaSuccess);
    assert_int_equal(*back, -1);  /* the poison */
    assert_int_equal(cudaStreamSynchronize(stream), cudaSuccess);
    assert_int_equal(*back, 2);
    int pageable = 3;  /* read before the call returns */
    assert_int_equal(cudaMemcpyAsync(memory, &pageable, sizeof pageable, cudaMemcpyHostToDevice, stream), cudaSuccess);
    pageable = 4;
    assert_int_equal(cudaMemcpy(back, memory, BYTES, cudaMemcpyDeviceToHost), cudaSuccess);
    assert_int_equal(*back, 3);
}

static void events_order_streams(void **state)
{
    (void)state;
    cudaEvent_t event;
    assert_int_equal(cudaEventCreateWithFlags(&event, cudaEventDisableTiming), cudaSuccess);
    *pinned = 7;
    cudaMemcpyAsync(memory, pinned, BYTES, cudaMemcpyHostToDevice, stream);
    cudaMemcpyAsync(back, memory, BYTES, cudaMemcpyDeviceToHost, other);  /* waits for nothing */
    cudaStreamSynchronize(other);
    assert_int_equal(*back, -1);
    cudaEventRecord(event, stream);
    cudaStreamWaitEvent(other, event, 0);
    cudaMemcpyAsync(back, memory, BYTES, cudaMemcpyDeviceToHost, other);
    cudaStreamSynchronize(other);
    assert_int_equal(*back, 7);
    cudaEventDestroy(event);
}

static void graphs_replay(void **state)
{
    (void)state;
    cudaGraph_t     graph;
    cudaGraphExec_t executable;
    size_t          nodes = 0;
    assert_int_equal(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal), cudaSuccess);
    cudaMemcpyAsync(memory, pinned, BYTES, cudaMemcpyHostToDevice, stream);
    cudaMemcpyAsync(back, memory, BYTES, cudaMemcpyDeviceToHost, stream);
    assert_int_equal(cudaStreamEndCapture(stream, &graph), cudaSuccess);
    assert_int_equal(cudaGraphGetNodes(graph, NULL, &nodes), cudaSuccess);
    assert_int_equal(nodes, 2);
    assert_int_equal(cudaGraphInstantiate(&executable, graph, 0), cudaSuccess);
    cudaGraphDestroy(graph);
    assert_int_equal(*back, -1);
    for (int i = 0; i < 3; i++) {
        *pinned = i;
        assert_int_equal(cudaGraphLaunch(executable, stream), cudaSuccess);
        assert_int_equal(cudaStreamSynchronize(stream), cudaSuccess);
        assert_int_equal(*back, i);
    }
    cudaGraphExecDestroy(executable);
}

static void count_up(const void *kernel, void *const *arguments)
{
    (void)kernel;
    ++**(int *const *)arguments[0];
}

static cudaError_t launch_cluster(unsigned grid, unsigned cluster)
{
    static const size_t   bytes[] = { sizeof memory };
    cudaLaunchAttribute   attribute = { .id = cudaLaunchAttributeClusterDimension };
    cudaLaunchConfig_t    config    = { .gridDim = { grid, 1, 1 }, .blockDim = { 32, 1, 1 }, .stream = stream,
                                        .attrs = &attribute, .numAttrs = 1 };
    void                 *arguments[] = { &memory };
    attribute.val.clusterDim.x        = cluster;
    attribute.val.clusterDim.y = attribute.val.clusterDim.z = 1;
    return cudaLaunchKernelExC(&config, emu_kernel_add(bytes, "count_up", count_up, bytes, 1, 0), arguments);
}

/* A cluster that cannot be is refused at once; one that can stays what it is in a graph. */
static void clusters_are_kept(void **state)
{
    (void)state;
    cudaGraph_t     graph;
    cudaGraphExec_t executable;
    assert_int_equal(launch_cluster(9, 9), cudaErrorInvalidClusterSize);
    assert_int_equal(launch_cluster(4, 3), cudaErrorInvalidConfiguration);
    emu_runtime_settings()->architecture = 80;
    assert_int_equal(launch_cluster(3, 3), cudaErrorNotSupported);
    emu_runtime_settings()->architecture = 90;
    emu_runtime_fail(1, 0);
    assert_true(launch_cluster(3, 3) != cudaSuccess);
    assert_string_equal(emu_runtime_failed(), "cudaLaunchKernelExC");
    assert_int_equal(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal), cudaSuccess);
    assert_int_equal(launch_cluster(6, 3), cudaSuccess);
    assert_int_equal(cudaStreamEndCapture(stream, &graph), cudaSuccess);
    assert_int_equal(cudaGraphInstantiate(&executable, graph, 0), cudaSuccess);
    cudaGraphDestroy(graph);
    uint64_t before = emu_runtime_usage().kernels;
    for (int i = 0; i < 2; i++) {
        plain_cluster = 0;
        assert_int_equal(cudaGraphLaunch(executable, stream), cudaSuccess);
        assert_int_equal(cudaStreamSynchronize(stream), cudaSuccess);
        assert_int_equal(plain_cluster, 3);
    }
    assert_int_equal(emu_runtime_usage().kernels - before, 2);
    cudaGraphExecDestroy(executable);
}

static void captures_break(void **state)
{
    (void)state;
    cudaGraph_t graph;
    void       *more;
    assert_int_equal(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal), cudaSuccess);
    assert_int_equal(cudaMalloc(&more, 16), cudaErrorStreamCaptureUnsupported);
    assert_int_equal(cudaStreamEndCapture(stream, &graph), cudaErrorStreamCaptureInvalidated);
    assert_int_equal(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal), cudaSuccess);
    assert_int_equal(cudaStreamSynchronize(stream), cudaErrorStreamCaptureUnsupported);
    assert_int_equal(cudaStreamEndCapture(stream, &graph), cudaErrorStreamCaptureInvalidated);
    int pageable = 0;
    assert_int_equal(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal), cudaSuccess);
    assert_int_equal(cudaMemcpyAsync(memory, &pageable, sizeof pageable, cudaMemcpyHostToDevice, stream),
                     cudaErrorStreamCaptureUnsupported);
    assert_int_equal(cudaStreamEndCapture(stream, &graph), cudaErrorStreamCaptureInvalidated);
    cudaGetLastError();
}

static void bytes_are_counted(void **state)
{
    (void)state;
    void  *more;
    size_t free_bytes, total;
    assert_int_equal(cudaMemGetInfo(&free_bytes, &total), cudaSuccess);
    assert_int_equal(total - free_bytes, BYTES);
    assert_int_equal(cudaMalloc(&more, free_bytes + 1), cudaErrorMemoryAllocation);
    assert_int_equal(cudaGetLastError(), cudaErrorMemoryAllocation);
    assert_int_equal(cudaGetLastError(), cudaSuccess);  /* did not stick */
    assert_int_equal(cudaMalloc(&more, free_bytes), cudaSuccess);
    cudaFree(more);
}

static void leaks_are_named(void **state)
{
    (void)state;
    char text[256];
    assert_true(emu_runtime_leaks(text, sizeof text));
    assert_non_null(strstr(text, "256 bytes of device memory in 0 handles and 1 blocks, 512 pinned bytes, 0 reservations, 2 streams"));
}

static void chosen_calls_fail(void **state)
{
    (void)state;
    void *more;
    emu_runtime_fail(2, 0);
    assert_int_equal(cudaStreamSynchronize(stream), cudaSuccess);
    assert_int_equal(cudaMalloc(&more, 16), cudaErrorMemoryAllocation);
    assert_string_equal(emu_runtime_failed(), "cudaMalloc");
    assert_int_equal(cudaMalloc(&more, 16), cudaSuccess);
    emu_runtime_fail(1, 0);
    assert_int_equal(cudaFree(more), cudaErrorUnknown);  /* and yet it is gone */
    assert_int_equal(emu_runtime_usage().blocks, 1);
}

static void faults_stick(void **state)
{
    (void)state;
    emu_runtime_fail(1, cudaErrorIllegalAddress);
    assert_int_equal(cudaStreamSynchronize(stream), cudaErrorIllegalAddress);
    assert_int_equal(cudaStreamSynchronize(other), cudaErrorIllegalAddress);
    assert_int_equal(cudaGetLastError(), cudaErrorIllegalAddress);
    assert_int_equal(cudaGetLastError(), cudaErrorIllegalAddress);
}

/* A copy to where nothing is mapped is a fault of the device, seen at the next wait. */
static void copies_out_of_bounds(void **state)
{
    (void)state;
    assert_int_equal(cudaMemcpyAsync(memory, pinned, BYTES, cudaMemcpyHostToDevice, stream), cudaSuccess);
    assert_int_equal(cudaStreamSynchronize(stream), cudaSuccess);
    cudaMemsetAsync(memory, 0, BYTES + 4096, stream);
    assert_int_equal(cudaStreamSynchronize(stream), cudaErrorIllegalAddress);
}

static void memory_freed_too_early(void **state)
{
    (void)state;
    void *brief;
    assert_int_equal(cudaHostAlloc(&brief, BYTES, 0), cudaSuccess);
    cudaMemcpyAsync(memory, brief, BYTES, cudaMemcpyHostToDevice, stream);
    cudaFreeHost(brief);
    assert_string_equal(emu_runtime_misuse(), "cudaFreeHost of memory that pending work uses");
    assert_int_equal(cudaStreamSynchronize(stream), cudaErrorIllegalAddress);
}

/* As `end`, but what was wrong is known. */
static int end_after_misuse(void **state)
{
    (void)state;
    char text[256];
    cudaStreamDestroy(stream);
    cudaStreamDestroy(other);
    cudaFree(memory);
    cudaFreeHost(pinned);
    cudaFreeHost(back);
    bool leaks = emu_runtime_leaks(text, sizeof text);
    emu_runtime_reset();
    return leaks;
}

/* ---- Addresses ---- */

static const CUmemAllocationProp property = { .type     = CU_MEM_ALLOCATION_TYPE_PINNED,
                                              .location = { .type = CU_MEM_LOCATION_TYPE_DEVICE } };

#define ENTRY(name, pointer)                                                                                           \
    do {                                                                                                               \
        enum cudaDriverEntryPointQueryResult found;                                                                    \
        void                                *address;                                                                  \
        assert_int_equal(cudaGetDriverEntryPointByVersion(name, &address, 12000, cudaEnableDefault, &found), cudaSuccess); \
        assert_int_equal(found, cudaDriverEntryPointSuccess);                                                          \
        memcpy(&(pointer), &address, sizeof address);                                                                  \
    } while (0)

static void addresses_and_bytes(void **state)
{
    (void)state;
    CUresult (*reserve)(CUdeviceptr *, size_t, size_t, CUdeviceptr, unsigned long long), (*release_range)(CUdeviceptr, size_t);
    CUresult (*create)(CUmemGenericAllocationHandle *, size_t, const CUmemAllocationProp *, unsigned long long);
    CUresult (*release)(CUmemGenericAllocationHandle);
    CUresult (*map)(CUdeviceptr, size_t, size_t, CUmemGenericAllocationHandle, unsigned long long), (*unmap)(CUdeviceptr, size_t);
    CUresult (*allow)(CUdeviceptr, size_t, const CUmemAccessDesc *, size_t);
    const CUmemAccessDesc        access = { property.location, CU_MEM_ACCESS_FLAGS_PROT_READWRITE };
    CUdeviceptr                  range;
    CUmemGenericAllocationHandle handle;
    ENTRY("cuMemAddressReserve", reserve);
    ENTRY("cuMemAddressFree", release_range);
    ENTRY("cuMemCreate", create);
    ENTRY("cuMemRelease", release);
    ENTRY("cuMemMap", map);
    ENTRY("cuMemUnmap", unmap);
    ENTRY("cuMemSetAccess", allow);
    assert_int_equal(reserve(&range, 4 * PIECE, 0, 0, 0), CUDA_SUCCESS);
    assert_int_equal(create(&handle, PIECE + 1, &property, 0), CUDA_ERROR_INVALID_VALUE);
    assert_int_equal(create(&handle, (size_t)64 << 20, &property, 0), CUDA_ERROR_OUT_OF_MEMORY);
    size_t before = emu_runtime_usage().device_bytes;
    assert_int_equal(create(&handle, PIECE, &property, 0), CUDA_SUCCESS);
    assert_int_equal(map(range + PIECE, PIECE, 0, handle, 0), CUDA_SUCCESS);
    assert_int_equal(release(handle), CUDA_SUCCESS);
    assert_int_equal(emu_runtime_usage().device_bytes - before, PIECE);  /* the mapping keeps it */
    void *place = (void *)(uintptr_t)(range + PIECE);
    assert_int_equal(allow(range + PIECE, PIECE, &access, 1), CUDA_SUCCESS);
    *pinned = 5;
    cudaMemcpyAsync(place, pinned, BYTES, cudaMemcpyHostToDevice, stream);
    cudaMemcpyAsync(back, place, BYTES, cudaMemcpyDeviceToHost, stream);
    assert_int_equal(cudaStreamSynchronize(stream), cudaSuccess);
    assert_int_equal(*back, 5);
    pid_t child = fork();  /* the host may not look at it */
    if (!child) {
        signal(SIGSEGV, SIG_DFL);
        _exit(*(volatile int *)place == 5 ? 1 : 2);
    }
    int how;
    waitpid(child, &how, 0);
    assert_true(WIFSIGNALED(how) && WTERMSIG(how) == SIGSEGV);
    assert_int_equal(unmap(range + PIECE, PIECE), CUDA_SUCCESS);
    assert_int_equal(emu_runtime_usage().device_bytes, before);
    assert_int_equal(release_range(range, 4 * PIECE), CUDA_SUCCESS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(copies_are_late, begin, end),
        cmocka_unit_test_setup_teardown(events_order_streams, begin, end),
        cmocka_unit_test_setup_teardown(graphs_replay, begin, end),
        cmocka_unit_test_setup_teardown(clusters_are_kept, begin, end),
        cmocka_unit_test_setup_teardown(captures_break, begin, end),
        cmocka_unit_test_setup_teardown(bytes_are_counted, begin, end),
        cmocka_unit_test_setup_teardown(leaks_are_named, begin, end),
        cmocka_unit_test_setup_teardown(chosen_calls_fail, begin, end),
        cmocka_unit_test_setup_teardown(faults_stick, begin, end),
        cmocka_unit_test_setup_teardown(copies_out_of_bounds, begin, end),
        cmocka_unit_test_setup_teardown(memory_freed_too_early, begin, end_after_misuse),
        cmocka_unit_test_setup_teardown(addresses_and_bytes, begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
