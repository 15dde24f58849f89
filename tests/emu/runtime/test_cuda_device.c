/* The CUDA device's host side on the emulated runtime, with plain kernels: the CPU's bits, graphs, memory, sleep, refusals. */
#include "host/model.h"
#include "tests/emu/runtime/gpu.h"
#include "tests/emu/runtime/plain/kernels_plain.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static void open_well(struct gpu *gpu, const struct gpu_options *options)
{
    recto_status result = gpu_open(gpu, options);
    if (result != RECTO_OK)
        fail_msg("%s", gpu->error.message);
}

/* ---- Bits ---- */

static void embed_every_way(struct gpu *gpu, bool dense)
{
    for (int round = 0; round < 3; round++) {  /* eager, captured, replayed */
        assert_int_equal(gpu_embed(gpu, gpu->model, dense, 0, GPU_TEXTS), RECTO_OK);
        for (int i = 0; i < GPU_TEXTS; i += 5)
            assert_int_equal(gpu_embed(gpu, gpu->model, dense, i, 1), RECTO_OK);
        assert_int_equal(gpu_embed(gpu, gpu->model, dense, 7, 9), RECTO_OK);
    }
}

static void bits_of_the_cpu(void **state)
{
    (void)state;
    for (int dense = 0; dense < 2; dense++)
        for (int variant = 0; variant < 6; variant++) {
            struct gpu gpu;
            emu_runtime_settings()->order = variant == 0 ? EMU_RUNTIME_LATE : variant == 1 ? EMU_RUNTIME_AT_ONCE : EMU_RUNTIME_ANY;
            emu_runtime_settings()->seed  = (uint64_t)variant;
            open_well(&gpu, &(struct gpu_options){ .dense = dense });
            embed_every_way(&gpu, dense);
            recto_engine_info info = gpu_usage(&gpu);
            assert_string_equal(info.device, "cuda");
            assert_string_equal(info.device_name, "emulated device");
            assert_true(info.replays > info.eager);
            assert_int_equal(info.fallbacks, 0);
            gpu_close(&gpu);
            gpu_check_nothing_left();
        }
}

struct caller {
    struct gpu *gpu;
    int         number;
    bool        failed;
};

static void *call_often(void *argument)
{
    struct caller *caller = argument;
    struct gpu     own    = *caller->gpu;  /* an error of its own */
    for (int i = 0; i < 40 && !caller->failed; i++)
        caller->failed = gpu_embed(&own, own.model, false, (i * 5 + caller->number) % GPU_TEXTS, 1) != RECTO_OK;
    return NULL;
}

static void two_lanes(void **state)
{
    (void)state;
    enum { CALLERS = 4 };
    pthread_t     threads[CALLERS];
    struct caller callers[CALLERS];
    struct gpu    gpu;
    emu_runtime_settings()->order = EMU_RUNTIME_ANY;
    open_well(&gpu, &(struct gpu_options){ .threads = 4 });
    assert_int_equal(gpu_usage(&gpu).threads, 2);
    for (int i = 0; i < CALLERS; i++) {
        callers[i] = (struct caller){ &gpu, i, false };
        assert_int_equal(pthread_create(&threads[i], NULL, call_often, &callers[i]), 0);
    }
    for (int i = 0; i < CALLERS; i++) {
        pthread_join(threads[i], NULL);
        assert_false(callers[i].failed);
    }
    assert_int_equal(gpu_usage(&gpu).fallbacks, 0);
    gpu_close(&gpu);
}

/* ---- Graphs ---- */

static void norms_are_launched_where_they_fuse_with_nothing(void **state)
{
    (void)state;
    struct gpu gpu;
    emu_runtime_settings()->architecture = 80;
    open_well(&gpu, &(struct gpu_options){ 0 });
    uint64_t before = emu_runtime_usage().launches;
    assert_int_equal(gpu_embed(&gpu, gpu.model, false, 2, 1), RECTO_OK);
    assert_int_equal(emu_runtime_usage().launches - before, GPU_LAUNCHES_80);
    gpu_close(&gpu);
}

static void second_run_is_captured(void **state)
{
    (void)state;
    struct gpu gpu;
    open_well(&gpu, &(struct gpu_options){ 0 });
    uint64_t before = emu_runtime_usage().launches;
    assert_int_equal(gpu_embed(&gpu, gpu.model, false, 2, 1), RECTO_OK);
    assert_int_equal(emu_runtime_usage().launches - before, GPU_LAUNCHES);
    assert_int_equal(gpu_usage(&gpu).eager, 1);
    assert_int_equal(gpu_usage(&gpu).captures, 0);
    assert_int_equal(gpu_embed(&gpu, gpu.model, false, 2, 1), RECTO_OK);
    assert_int_equal(emu_runtime_usage().launches - before, 2 * GPU_LAUNCHES);
    assert_int_equal(gpu_usage(&gpu).captures, 1);
    struct emu_runtime_usage warm = emu_runtime_usage();
    uint64_t calls = emu_runtime_calls(), booked = gpu_usage(&gpu).bytes_in_use;
    for (int i = 0; i < 5; i++)
        assert_int_equal(gpu_embed(&gpu, gpu.model, false, 2, 1), RECTO_OK);
    struct emu_runtime_usage usage = emu_runtime_usage();
    assert_int_equal(emu_runtime_calls() - calls, 5 * 6);  /* launch and wait, and twice two to enter and leave */
    assert_int_equal(usage.launches, warm.launches);
    assert_int_equal(usage.kernels - warm.kernels, 5 * GPU_LAUNCHES);
    assert_int_equal(usage.device_bytes, warm.device_bytes);
    assert_int_equal(usage.host_bytes, warm.host_bytes);
    assert_int_equal(gpu_usage(&gpu).bytes_in_use, booked);
    recto_engine_info info = gpu_usage(&gpu);
    assert_int_equal(info.replays, 6);
    assert_int_equal(info.graphs, 1);
    assert_int_equal(info.fallbacks, 0);
    gpu_close(&gpu);
}

/* Texts of 24, 22, 20 and 18 tokens, and pairs with fewer, all under a cap of 24. */
static void one_graph_serves_all_mixes(void **state)
{
    (void)state;
    struct gpu gpu;
    open_well(&gpu, &(struct gpu_options){ 0 });
    uint64_t captures = 0;
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < GPU_TEXTS; i++)
            assert_int_equal(gpu_embed(&gpu, gpu.model, false, i, 1), RECTO_OK);
        for (int i = 0; i + 2 <= GPU_TEXTS; i++)
            assert_int_equal(gpu_embed(&gpu, gpu.model, false, i, 2), RECTO_OK);
        if (round == 1)
            captures = gpu_usage(&gpu).captures;
    }
    recto_engine_info info = gpu_usage(&gpu);
    assert_int_equal(info.captures, captures);
    assert_int_equal(info.captures, info.plans_built);
    assert_int_equal(info.eager, info.plans_built);
    gpu_close(&gpu);
}

/* Eight texts of two tokens: a plan of 16 tokens has room for no more. */
static void plans_filled_to_the_cap(void **state)
{
    (void)state;
    struct gpu gpu;
    open_well(&gpu, &(struct gpu_options){ 0 });
    for (int i = 0; i < 3; i++)
        for (int count = 1; count <= 32; count *= 2)
            assert_int_equal(gpu_embed_crowd(&gpu, count), RECTO_OK);
    gpu_close(&gpu);
}

static void failed_capture_is_counted(void **state)
{
    (void)state;
    struct gpu gpu;
    open_well(&gpu, &(struct gpu_options){ 0 });
    assert_int_equal(gpu_embed(&gpu, gpu.model, false, 2, 1), RECTO_OK);
    emu_runtime_fail(5, 0);  /* a launch while it is captured */
    assert_int_equal(gpu_embed(&gpu, gpu.model, false, 2, 1), RECTO_OK);
    recto_engine_info info = gpu_usage(&gpu);
    assert_int_equal(info.fallbacks, 1);
    assert_int_equal(info.captures, 0);
    assert_non_null(strstr(info.fallback_reason, "captured"));
    assert_int_equal(gpu_embed(&gpu, gpu.model, false, 2, 1), RECTO_OK);
    assert_int_equal(gpu_usage(&gpu).captures, 1);
    gpu_close(&gpu);
}

/* Plans are dropped with their graphs, and traced and captured anew. */
static void dropped_plans_take_their_graphs(void **state)
{
    (void)state;
    struct gpu gpu;
    open_well(&gpu, &(struct gpu_options){ 0 });
    for (int round = 1; round <= 3; round++) {
        for (int i = 0; i < 3; i++) {
            assert_int_equal(gpu_embed(&gpu, gpu.model, false, (round + i) % 2 * 4, 1), RECTO_OK);
            assert_int_equal(gpu_embed(&gpu, gpu.model, false, 4, 3), RECTO_OK);
        }
        assert_true(gpu_usage(&gpu).graphs > 0);
        engine_give_back(gpu.engine);
        assert_int_equal(gpu_usage(&gpu).graphs, 0);
        assert_int_equal(emu_runtime_usage().executables, 0);
    }
    assert_int_equal(gpu_usage(&gpu).fallbacks, 0);
    gpu_close(&gpu);
}

/* Graphs copy from and to a lane's staging memory; when that is replaced, they are made anew. */
static void staging_grows(void **state)
{
    (void)state;
    struct gpu gpu;
    open_well(&gpu, &(struct gpu_options){ 0 });
    for (int i = 0; i < 3; i++)
        assert_int_equal(gpu_embed(&gpu, gpu.model, false, 0, 1), RECTO_OK);
    size_t before = emu_runtime_usage().host_bytes;
    for (int i = 0; i < 3; i++)
        assert_int_equal(gpu_embed_crowd(&gpu, GPU_CROWD), RECTO_OK);
    assert_true(emu_runtime_usage().host_bytes > before);
    for (int i = 0; i < 3; i++)
        assert_int_equal(gpu_embed(&gpu, gpu.model, false, 0, 1), RECTO_OK);
    assert_int_equal(gpu_usage(&gpu).captures, 3);
    gpu_close(&gpu);
}

/* A lane that computes nothing keeps no host memory that somebody else lacks, nor graphs of it. */
static void idle_staging_is_given_back(void **state)
{
    (void)state;
    struct gpu gpu;
    open_well(&gpu, &(struct gpu_options){ 0 });
    const size_t before = emu_runtime_usage().host_bytes;
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 3; i++)
            assert_int_equal(gpu_embed(&gpu, gpu.model, false, 0, 1), RECTO_OK);
        assert_true(emu_runtime_usage().host_bytes > before);
        engine_give_back(gpu.engine);
        assert_int_equal(emu_runtime_usage().host_bytes, before);
        assert_int_equal(emu_runtime_usage().executables, 0);
    }
    gpu_close(&gpu);
}

/* ---- Memory ---- */

static void ceilings_hold(void **state)
{
    (void)state;
    struct gpu free;
    open_well(&free, &(struct gpu_options){ 0 });
    assert_int_equal(gpu_embed(&free, free.model, false, 0, GPU_TEXTS), RECTO_OK);
    uint64_t most = gpu_usage(&free).device_peak_bytes + (128 << 10);
    gpu_close(&free);
    int refused = 0, split = 0;
    for (uint64_t bytes = 64 << 10; bytes <= most; bytes += 64 << 10) {
        struct gpu   gpu;
        recto_status result = gpu_open(&gpu, &(struct gpu_options){ .device_bytes = bytes });
        for (int round = 0; round < 3 && result == RECTO_OK; round++)
            result = gpu_embed(&gpu, gpu.model, false, 0, GPU_TEXTS);
        if (result != RECTO_OK) {
            assert_int_equal(result, RECTO_E_BUDGET);
            assert_non_null(strstr(gpu.error.message, "the budget is"));
            refused++;
        }
        if (gpu.engine) {
            assert_true(gpu_usage(&gpu).device_peak_bytes <= bytes);
            split += gpu_usage(&gpu).splits > 0 && result == RECTO_OK;
        }
        gpu_close(&gpu);
        gpu_check_nothing_left();
    }
    assert_true(refused > 0);
    assert_true(split > 0);
}

static void device_without_memory(void **state)
{
    (void)state;
    struct gpu gpu;
    open_well(&gpu, &(struct gpu_options){ 0 });
    emu_runtime_settings()->memory = emu_runtime_usage().device_bytes;
    assert_int_equal(gpu_embed(&gpu, gpu.model, false, 0, GPU_TEXTS), RECTO_E_BUDGET);
    assert_non_null(strstr(gpu.error.message, "gave no memory"));
    emu_runtime_settings()->memory = (size_t)1 << 30;
    assert_int_equal(gpu_embed(&gpu, gpu.model, false, 0, GPU_TEXTS), RECTO_OK);
    gpu_close(&gpu);
}

static void put_to_sleep(struct gpu *gpu)
{
    pthread_mutex_lock(&gpu->engine->lock);
    model_sleep(gpu->model);
    pthread_mutex_unlock(&gpu->engine->lock);
}

static void sleeps_and_wakes(void **state)
{
    (void)state;
    struct gpu gpu;
    open_well(&gpu, &(struct gpu_options){ 0 });
    for (int i = 0; i < 3; i++)
        assert_int_equal(gpu_embed(&gpu, gpu.model, false, 0, 8), RECTO_OK);
    recto_engine_info awake = gpu_usage(&gpu);
    for (int i = 0; i < 3; i++) {
        put_to_sleep(&gpu);
        assert_true(gpu_usage(&gpu).device_bytes_in_use < awake.device_bytes_in_use);
        assert_int_equal(gpu_embed(&gpu, gpu.model, false, 0, 8), RECTO_OK);
        assert_int_equal(gpu_usage(&gpu).device_bytes_in_use, awake.device_bytes_in_use);
    }
    recto_engine_info info = gpu_usage(&gpu);
    assert_int_equal(info.captures, awake.captures);
    assert_int_equal(info.replays, awake.replays + 3);
    assert_int_equal(info.eager, awake.eager);
    gpu_close(&gpu);
}

/* A ceiling, or a device, that holds one model beside an arena, and two models that are used by turns. */
static void use_by_turns(bool ceiling)
{
    struct gpu   gpu;
    recto_model *second;
    open_well(&gpu, &(struct gpu_options){ 0 });
    assert_int_equal(gpu_embed(&gpu, gpu.model, false, 0, 1), RECTO_OK);
    uint64_t enough   = gpu_usage(&gpu).device_bytes_in_use + (uint64_t)(100 << 10);
    size_t   physical = emu_runtime_usage().device_bytes + (32 << 10);  /* not even a graph beside them */
    gpu_close(&gpu);
    if (!ceiling)
        emu_runtime_settings()->memory = physical;
    open_well(&gpu, &(struct gpu_options){ .device_bytes = ceiling ? enough : 0 });
    assert_int_equal(gpu_open_model(&gpu, &(struct gpu_options){ .dense = true }, &second), RECTO_OK);
    for (int i = 0; i < 4; i++) {
        assert_int_equal(gpu_embed(&gpu, gpu.model, false, 0, 1), RECTO_OK);
        assert_int_equal(gpu_embed(&gpu, second, true, 0, 1), RECTO_OK);
    }
    assert_true(gpu.model->residence->sleeps + second->residence->sleeps >= 4);
    recto_model_close(second);
    gpu_close(&gpu);
}

static void idle_models_make_room(void **state)
{
    (void)state;
    use_by_turns(true);
    use_by_turns(false);
}

static void cycles_leave_nothing(void **state)
{
    (void)state;
    for (int cycle = 0; cycle < 12; cycle++) {
        struct gpu gpu;
        open_well(&gpu, &(struct gpu_options){ .dense = cycle % 2, .threads = 2 });
        for (int i = 0; i < cycle % 4; i++)
            assert_int_equal(gpu_embed(&gpu, gpu.model, cycle % 2, cycle, 4), RECTO_OK);
        recto_model_close(gpu.model);
        gpu.model = NULL;
        assert_int_equal(gpu_usage(&gpu).device_bytes_in_use, 0);  /* arenas were given back with the model */
        gpu_close(&gpu);
        gpu_check_nothing_left();
    }
}

/* ---- Refusals ---- */

/* `--device cuda` refuses with the sentence, auto takes the CPU and says it, aloud where a GPU is here and cannot be used. */
static void expect_refusal(const char *sentence, bool warns)
{
    struct gpu gpu;
    assert_int_equal(gpu_open(&gpu, &(struct gpu_options){ 0 }), RECTO_E_DEVICE);
    if (!strstr(gpu.error.message, sentence) || strncmp(gpu.error.message, "device cuda: ", 13) != 0)
        fail_msg("'%s', expected '%s' in it", gpu.error.message, sentence);
    gpu_close(&gpu);
    open_well(&gpu, &(struct gpu_options){ .automatic = true });
    assert_string_equal(gpu_usage(&gpu).device, "cpu");
    assert_int_equal(gpu.warnings, warns);
    assert_int_equal(gpu.notes, !warns);
    assert_non_null(strstr(gpu.last, sentence));
    assert_int_equal(gpu_embed(&gpu, gpu.model, false, 0, 3), RECTO_OK);
    gpu_close(&gpu);
    gpu_check_nothing_left();
    gpu_begin(NULL);
}

/* An engine is opened while the first call of this function fails. */
static recto_status open_failing(struct gpu *gpu, const struct gpu_options *options, const char *function, int error)
{
    for (uint64_t call = 1; call < 100; call++) {
        emu_runtime_reset();
        emu_runtime_fail(call, error);
        recto_status result = gpu_open(gpu, options);
        if (strcmp(emu_runtime_failed(), function) == 0)
            return result;
        gpu_close(gpu);
    }
    fail_msg("%s was never called", function);
    return RECTO_OK;
}

static void says_why_there_is_no_device(void **state)
{
    (void)state;
    struct emu_runtime_settings *settings = emu_runtime_settings();
    struct gpu                   gpu;
    settings->absent = 35;
    expect_refusal("no NVIDIA driver is installed here", false);
    settings->absent = 34;
    expect_refusal("no NVIDIA driver is installed here", false);
    settings->absent = 100;
    expect_refusal("no NVIDIA driver is installed here", false);
    settings->driver = 12040;
    expect_refusal("the NVIDIA driver is too old: it serves CUDA 12.4, this build needs 13.0", true);
    settings->prohibited = true;
    expect_refusal("the GPU's compute mode keeps this process out", true);
    settings->architecture = 75;
    expect_refusal("'emulated device' is of architecture 7.5, there are kernels from 8.0 on", true);
    settings->architecture = 75;
    assert_int_equal(gpu_open(&gpu, &(struct gpu_options){ 0 }), RECTO_E_DEVICE);
    assert_int_equal(emu_runtime_usage().contexts, 0);  /* nothing was taken of it */
    gpu_close(&gpu);
    gpu_begin(NULL);
    /* As on devices that share their memory: the functions are there and refuse. */
    assert_int_equal(open_failing(&gpu, &(struct gpu_options){ .automatic = true }, "cuMemMap", 801), RECTO_OK);
    assert_string_equal(gpu_usage(&gpu).device, "cpu");
    gpu_close(&gpu);
    assert_int_equal(open_failing(&gpu, &(struct gpu_options){ 0 }, "cuDevicePrimaryCtxRetain", 2), RECTO_E_DEVICE);
    assert_non_null(strstr(gpu.error.message, "no memory left to begin with"));
    gpu_close(&gpu);
}

static void automatic_choices(void **state)
{
    (void)state;
    struct gpu gpu;
    open_well(&gpu, &(struct gpu_options){ .automatic = true });
    assert_string_equal(gpu_usage(&gpu).device, "cuda");
    gpu_close(&gpu);
    open_well(&gpu, &(struct gpu_options){ .automatic = true, .instructions = "ref" });  /* the CPU's kernels were named */
    assert_string_equal(gpu_usage(&gpu).device, "cpu");
    gpu_close(&gpu);
}

static void int8_is_refused(void **state)
{
    (void)state;
    struct gpu gpu;
    assert_int_equal(gpu_open(&gpu, &(struct gpu_options){ .precision = RECTO_PRECISION_INT8 }), RECTO_E_USAGE);
    assert_non_null(strstr(gpu.error.message, "precision int8 is not offered by device cuda"));
    gpu_close(&gpu);
}

static void bits_of_the_cpu_in_fp32(void **state)
{
    (void)state;
    struct gpu gpu;
    open_well(&gpu, &(struct gpu_options){ .precision = RECTO_PRECISION_FP32 });
    for (int i = 0; i < 3; i++)
        assert_int_equal(gpu_embed_fp32(&gpu, 0, GPU_TEXTS), RECTO_OK);
    gpu_close(&gpu);
}

static void kernels_that_are_missing(void **state)
{
    (void)state;
    struct gpu gpu;
    open_well(&gpu, &(struct gpu_options){ 0 });
    plain_settings.refuse = "pool_mean";
    for (int i = 0; i < 3; i++) {
        assert_int_equal(gpu_embed(&gpu, gpu.model, false, 0, 2), RECTO_E_DEVICE);
        assert_non_null(strstr(gpu.error.message, "no kernel covers 'pool' on 'emulated device'"));
    }
    plain_settings.refuse = NULL;
    assert_int_equal(gpu_embed(&gpu, gpu.model, false, 0, 2), RECTO_OK);
    gpu_close(&gpu);
}

/* A fault sticks: every further call says so, with the first reason, and closing gives everything back. */
static void lost_device(void **state)
{
    (void)state;
    for (int runs = 0; runs < 3; runs++) {
        struct gpu gpu;
        gpu_begin(NULL);
        open_well(&gpu, &(struct gpu_options){ 0 });
        for (int i = 0; i < runs; i++)
            assert_int_equal(gpu_embed(&gpu, gpu.model, false, 0, 2), RECTO_OK);
        plain_settings.fault = "linear_bf16";
        for (int i = 0; i < 3; i++) {
            assert_int_equal(gpu_embed(&gpu, gpu.model, false, i, 2), RECTO_E_DEVICE);
            assert_non_null(strstr(gpu.error.message, "was lost in a run: a kernel failed (cudaErrorLaunchFailure); only a new process"));
            plain_settings.fault = NULL;
        }
        gpu_close(&gpu);
        assert_int_equal(gpu_open(&gpu, &(struct gpu_options){ 0 }), RECTO_E_DEVICE);
        gpu_close(&gpu);
        gpu_check_nothing_left();
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(bits_of_the_cpu, gpu_begin, gpu_end),
        cmocka_unit_test_setup_teardown(two_lanes, gpu_begin, gpu_end),
        cmocka_unit_test_setup_teardown(norms_are_launched_where_they_fuse_with_nothing, gpu_begin, gpu_end),
        cmocka_unit_test_setup_teardown(second_run_is_captured, gpu_begin, gpu_end),
        cmocka_unit_test_setup_teardown(one_graph_serves_all_mixes, gpu_begin, gpu_end),
        cmocka_unit_test_setup_teardown(plans_filled_to_the_cap, gpu_begin, gpu_end),
        cmocka_unit_test_setup_teardown(failed_capture_is_counted, gpu_begin, gpu_end),
        cmocka_unit_test_setup_teardown(dropped_plans_take_their_graphs, gpu_begin, gpu_end),
        cmocka_unit_test_setup_teardown(staging_grows, gpu_begin, gpu_end),
        cmocka_unit_test_setup_teardown(idle_staging_is_given_back, gpu_begin, gpu_end),
        cmocka_unit_test_setup_teardown(ceilings_hold, gpu_begin, gpu_end),
        cmocka_unit_test_setup_teardown(device_without_memory, gpu_begin, gpu_end),
        cmocka_unit_test_setup_teardown(sleeps_and_wakes, gpu_begin, gpu_end),
        cmocka_unit_test_setup_teardown(idle_models_make_room, gpu_begin, gpu_end),
        cmocka_unit_test_setup_teardown(cycles_leave_nothing, gpu_begin, gpu_end),
        cmocka_unit_test_setup_teardown(says_why_there_is_no_device, gpu_begin, gpu_end),
        cmocka_unit_test_setup_teardown(automatic_choices, gpu_begin, gpu_end),
        cmocka_unit_test_setup_teardown(int8_is_refused, gpu_begin, gpu_end),
        cmocka_unit_test_setup_teardown(bits_of_the_cpu_in_fp32, gpu_begin, gpu_end),
        cmocka_unit_test_setup_teardown(kernels_that_are_missing, gpu_begin, gpu_end),
        cmocka_unit_test_setup_teardown(lost_device, gpu_begin, gpu_end),
    };
    return cmocka_run_group_tests(tests, gpu_setup, gpu_teardown);
}
