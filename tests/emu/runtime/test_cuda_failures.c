/* Every call of the runtime fails once, for now or for good, and the device runs out of memory at every size: each time there is
 * the right vector or a sentence, the next call is right where the device was not lost, and nothing is left behind. */
#include "tests/emu/runtime/gpu.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

/* What one pass does: a size eagerly, captured and replayed, and another size; never the same texts twice in a row, so that what
 * is left of a run is no answer to the next. */
static const struct {
    int first, count;
} steps[] = { { 0, 1 }, { 5, 1 }, { 0, 1 }, { 2, 2 }, { 3, 2 } };
enum { STEPS = sizeof steps / sizeof *steps };

struct outcome {
    int  refused;   /* steps that gave a sentence */
    bool opened;
};

/* With `again`, a step that was refused is tried once more and must succeed. */
static struct outcome pass(const char *what, bool again)
{
    struct gpu     gpu;
    struct outcome outcome = { .opened = gpu_open(&gpu, &(struct gpu_options){ 0 }) == RECTO_OK };
    if (!outcome.opened && !gpu.error.message[0])
        fail_msg("%s: refused without a sentence", what);
    for (int i = 0; i < STEPS && outcome.opened; i++) {
        recto_status result = gpu_embed(&gpu, gpu.model, false, steps[i].first, steps[i].count);
        outcome.refused += result != RECTO_OK;
        if (result != RECTO_OK && !gpu.error.message[0])
            fail_msg("%s: step %d refused without a sentence", what, i);
        if (result != RECTO_OK && again && gpu_embed(&gpu, gpu.model, false, steps[i].first, steps[i].count) != RECTO_OK)
            fail_msg("%s: step %d: the call after the failure: %s", what, i, gpu.error.message);
    }
    recto_model_close(gpu.model);
    gpu.model = NULL;
    if (gpu.engine && gpu_usage(&gpu).device_bytes_in_use)
        fail_msg("%s: %llu bytes of the device are booked, and nothing is open", what,
                 (unsigned long long)gpu_usage(&gpu).device_bytes_in_use);
    gpu_close(&gpu);
    return outcome;
}

static uint64_t calls_of_a_pass(void)
{
    uint64_t before = emu_runtime_calls();
    assert_true(pass("no failure", false).opened);
    return emu_runtime_calls() - before;
}

/* What every call of a pass does when it alone fails. */
static void fail_each_call(int error, bool for_good)
{
    const uint64_t calls   = calls_of_a_pass();
    int            refused = 0, absorbed = 0;
    for (uint64_t call = 1; call <= calls; call++) {
        char what[96];
        emu_runtime_reset();
        emu_runtime_fail(call, error);
        snprintf(what, sizeof what, "call %llu of %llu failed with %d", (unsigned long long)call, (unsigned long long)calls, error);
        struct outcome outcome = pass(what, !for_good);
        if (!*emu_runtime_failed())
            fail_msg("%s: it was never made", what);
        refused += !outcome.opened || outcome.refused;
        absorbed += outcome.opened && !outcome.refused;
        emu_runtime_fail(0, 0);
        if (!for_good)
            assert_int_equal(pass(what, false).refused, 0);
        gpu_check_nothing_left();
    }
    printf("error %d: %llu calls, %d refused with a sentence, %d did no harm\n", error, (unsigned long long)calls, refused, absorbed);
    assert_true(refused > 0 && absorbed > 0);
}

static void each_call_fails_once(void **state)
{
    (void)state;
    fail_each_call(0, false);
}

static void each_call_fails_as_out_of_memory(void **state)
{
    (void)state;
    fail_each_call(2, false);
}

static void each_call_loses_the_device(void **state)
{
    (void)state;
    fail_each_call(719, true);
}

static void each_call_fails_in_any_order(void **state)
{
    (void)state;
    emu_runtime_settings()->order = EMU_RUNTIME_ANY;
    fail_each_call(0, false);
}

/* Some more for each pass, until it needs no more. */
static void memory_of_every_size(void **state)
{
    (void)state;
    size_t size = 0;
    for (bool enough = false; !enough; size += 32 << 10) {
        char what[64];
        emu_runtime_settings()->memory = size;
        snprintf(what, sizeof what, "a device of %zu bytes", size);
        struct outcome outcome = pass(what, false);
        enough                 = outcome.opened && !outcome.refused;
        assert_true(emu_runtime_usage().device_peak <= size);
        gpu_check_nothing_left();
    }
    assert_true(size > 128 << 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(each_call_fails_once, gpu_begin, gpu_end),
        cmocka_unit_test_setup_teardown(each_call_fails_as_out_of_memory, gpu_begin, gpu_end),
        cmocka_unit_test_setup_teardown(each_call_loses_the_device, gpu_begin, gpu_end),
        cmocka_unit_test_setup_teardown(each_call_fails_in_any_order, gpu_begin, gpu_end),
        cmocka_unit_test_setup_teardown(memory_of_every_size, gpu_begin, gpu_end),
    };
    return cmocka_run_group_tests(tests, gpu_setup, gpu_teardown);
}
