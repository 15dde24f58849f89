/* Whose threads they are: callers have no context, or another device's, and have it again when a call returns. */
#include "host/model.h"
#include "tests/emu/runtime/gpu.h"
#include "tests/emu/runtime/plain/kernels_plain.h"

#include <cuda.h>
#include <cuda_runtime_api.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

/* One thing that a caller does in a thread of its own. */
struct errand {
    struct gpu  *gpu;
    recto_status (*deed)(struct gpu *gpu);
    int          device;    /* that the thread has chosen before; -1: none */
    recto_status result;
    int          after;     /* the same afterwards */
};

typedef CUresult pop(CUcontext *context);

/* Whether anything is left on the thread's stack of contexts; -1: nothing. */
static int device_now(void)
{
    enum cudaDriverEntryPointQueryResult found;
    void                                *address = NULL;
    pop                                 *leave;
    CUcontext                            context;
    int                                  device = -1;
    cudaGetDevice(&device);
    cudaGetDriverEntryPointByVersion("cuCtxPopCurrent", &address, 12000, cudaEnableDefault, &found);
    memcpy(&leave, &address, sizeof leave);
    return leave(&context) == CUDA_SUCCESS ? device : -1;
}

static void *run_errand(void *argument)
{
    struct errand *errand = argument;
    if (errand->device >= 0)
        cudaSetDevice(errand->device);
    errand->result = errand->deed(errand->gpu);
    errand->after  = device_now();
    return NULL;
}

static void send(struct gpu *gpu, recto_status (*deed)(struct gpu *gpu), int device)
{
    pthread_t     thread;
    struct errand errand = { .gpu = gpu, .deed = deed, .device = device };
    assert_int_equal(pthread_create(&thread, NULL, run_errand, &errand), 0);
    pthread_join(thread, NULL);
    if (errand.result != RECTO_OK)
        fail_msg("%s", gpu->error.message);
    assert_int_equal(errand.after, device);
    assert_string_equal(emu_runtime_misuse(), "");
}

static recto_status open_engine(struct gpu *gpu) { return gpu_open(gpu, &(struct gpu_options){ 0 }); }

static recto_status embed_some(struct gpu *gpu) { return gpu_embed(gpu, gpu->model, false, 0, 3); }

static recto_status embed_many(struct gpu *gpu) { return gpu_embed_crowd(gpu, GPU_CROWD); }

static recto_status sleep_now(struct gpu *gpu)
{
    pthread_mutex_lock(&gpu->engine->lock);
    model_sleep(gpu->model);
    pthread_mutex_unlock(&gpu->engine->lock);
    return RECTO_OK;
}

static recto_status give_back(struct gpu *gpu)
{
    engine_give_back(gpu->engine);
    return RECTO_OK;
}

static recto_status close_all(struct gpu *gpu)
{
    gpu_close(gpu);
    return RECTO_OK;
}

/* Eagerly, captured, replayed; staging that grows; a model that wakes; plans and arenas that go. */
static void live_in_threads(int device)
{
    struct gpu gpu;
    send(&gpu, open_engine, device);
    for (int i = 0; i < 3; i++)
        send(&gpu, embed_some, device);
    send(&gpu, embed_many, device);
    send(&gpu, sleep_now, device);
    for (int i = 0; i < 3; i++)
        send(&gpu, embed_some, device);
    assert_int_equal(gpu_usage(&gpu).fallbacks, 0);
    send(&gpu, give_back, device);
    send(&gpu, close_all, device);
}

static void threads_without_a_context(void **state)
{
    (void)state;
    live_in_threads(-1);
}

static void threads_of_another_device(void **state)
{
    (void)state;
    emu_runtime_settings()->idle = 1;
    live_in_threads(1);
}

static void threads_of_the_same_device(void **state)
{
    (void)state;
    live_in_threads(0);
}

/* A program around us captures in the mode that forbids others everything: nothing here spoils that, or is refused. */
static void captures_of_the_program(void **state)
{
    (void)state;
    cudaStream_t stream;
    cudaGraph_t  graph;
    assert_int_equal(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), cudaSuccess);
    assert_int_equal(cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal), cudaSuccess);
    live_in_threads(-1);
    assert_int_equal(cudaStreamEndCapture(stream, &graph), cudaSuccess);
    cudaGraphDestroy(graph);
    cudaStreamDestroy(stream);
}

static int allocations, refusals;

static void *allocate(void *unused)
{
    void *memory = NULL;
    allocations++;
    refusals += cudaMalloc(&memory, 256) != cudaSuccess || cudaFree(memory) != cudaSuccess;
    return unused;
}

static void allocate_in_a_thread(void)
{
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, allocate, NULL), 0);
    pthread_join(thread, NULL);
}

/* Our captures forbid the program's other threads nothing, nor do those spoil ours. */
static void captures_of_ours(void **state)
{
    (void)state;
    struct gpu gpu;
    assert_int_equal(open_engine(&gpu), RECTO_OK);
    allocations = refusals = 0;
    plain_settings.meanwhile = allocate_in_a_thread;
    for (int i = 0; i < 3; i++)
        assert_int_equal(embed_some(&gpu), RECTO_OK);
    assert_int_equal(allocations, 2 * GPU_LAUNCHES);
    assert_int_equal(refusals, 0);
    assert_int_equal(gpu_usage(&gpu).captures, 1);
    assert_int_equal(gpu_usage(&gpu).fallbacks, 0);
    gpu_close(&gpu);
}

/* What fails is judged by the device that it failed on. */
static void failures_beside_another_device(void **state)
{
    (void)state;
    struct gpu gpu;
    emu_runtime_settings()->idle = 1;
    cudaSetDevice(1);
    assert_int_equal(open_engine(&gpu), RECTO_OK);
    emu_runtime_settings()->memory = emu_runtime_usage().device_bytes;
    assert_int_equal(embed_some(&gpu), RECTO_E_BUDGET);
    assert_non_null(strstr(gpu.error.message, "gave no memory"));
    emu_runtime_settings()->memory = (size_t)1 << 30;
    assert_int_equal(embed_some(&gpu), RECTO_OK);
    plain_settings.fault = "linear_bf16";
    assert_int_equal(gpu_embed(&gpu, gpu.model, false, 5, 3), RECTO_E_DEVICE);
    assert_non_null(strstr(gpu.error.message, "was lost"));
    gpu_close(&gpu);
    assert_string_equal(emu_runtime_misuse(), "");
    emu_runtime_reset();
    assert_int_equal(device_now(), 1);
}

/* A first run that failed half way has not loaded all kernels, so it does not count. */
static void runs_that_failed_are_not_captured_next(void **state)
{
    (void)state;
    struct gpu gpu;
    assert_int_equal(open_engine(&gpu), RECTO_OK);
    plain_settings.refuse = "pool_mean";
    assert_int_equal(embed_some(&gpu), RECTO_E_DEVICE);
    plain_settings.refuse = NULL;
    for (int i = 0; i < 3; i++)
        assert_int_equal(embed_some(&gpu), RECTO_OK);
    recto_engine_info info = gpu_usage(&gpu);
    assert_int_equal(info.eager, 2);
    assert_int_equal(info.captures, 1);
    assert_int_equal(info.fallbacks, 0);
    gpu_close(&gpu);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(threads_without_a_context, gpu_begin, gpu_end),
        cmocka_unit_test_setup_teardown(threads_of_another_device, gpu_begin, gpu_end),
        cmocka_unit_test_setup_teardown(threads_of_the_same_device, gpu_begin, gpu_end),
        cmocka_unit_test_setup_teardown(captures_of_the_program, gpu_begin, gpu_end),
        cmocka_unit_test_setup_teardown(captures_of_ours, gpu_begin, gpu_end),
        cmocka_unit_test_setup_teardown(failures_beside_another_device, gpu_begin, gpu_end),
        cmocka_unit_test_setup_teardown(runs_that_failed_are_not_captured_next, gpu_begin, gpu_end),
    };
    return cmocka_run_group_tests(tests, gpu_setup, gpu_teardown);
}
