/* Timed runs on the emulated runtime, with plain kernels: what was launched has one span each, one after another; the vectors are
 * those of a run that is not timed, with graphs or without; and every call may fail. */
#include "host/model.h"
#include "tests/emu/runtime/gpu.h"
#include "tests/emu/runtime/plain/kernels_plain.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

enum { TOKENS = 23, SEQUENCES = 3, VECTOR = SEQUENCES * GPU_WIDTH, ROOM = 64, COPIES = 2 };

struct timed {
    struct gpu      gpu;
    struct run      run;
    struct run_span spans[ROOM + 1];
    struct error    error;
};

static int begin(void **state)
{
    (void)state;
    struct emu_runtime_settings *settings = emu_runtime_settings();
    settings->memory                      = (size_t)1 << 30;
    settings->granularity                 = 64 << 10;
    settings->order                       = EMU_RUNTIME_LATE;
    plain_settings                        = (struct plain_settings){ 0 };
    return 0;
}

static int end(void **state)
{
    (void)state;
    gpu_check_nothing_left();
    return 0;
}

static void open_well(struct timed *t)
{
    *t = (struct timed){ .run.live = { TOKENS, SEQUENCES } };
    if (gpu_open(&t->gpu, &(struct gpu_options){ 0 }) != RECTO_OK)
        fail_msg("%s", t->gpu.error.message);
    assert_int_equal(model_take_plan(t->gpu.model, model_token_cap(TOKENS), &t->run.plan, &t->error), STATUS_OK);
    assert_int_equal(batch_fit(t->gpu.model, &t->gpu.engine->slots[0], &t->run, 1, &t->error), STATUS_OK);
}

static void close_well(struct timed *t)
{
    model_release_plan(t->gpu.model, t->run.plan);
    gpu_close(&t->gpu);
}

static status compute(struct timed *t, struct run_times *times, float vectors[VECTOR])
{
    static const int starts[SEQUENCES + 1] = { 0, 9, 10, TOKENS };
    const struct plan_buffer *result = plan_buffer(t->run.plan, plan_result(t->run.plan));
    for (int s = 0; s < SEQUENCES; s++)
        for (int i = starts[s]; i < starts[s + 1]; i++) {
            t->run.host.ids[i]       = 3 + 7 * i % 50;
            t->run.host.positions[i] = i - starts[s];
        }
    memcpy(t->run.host.starts, starts, sizeof starts);
    const status code = batch_run(t->gpu.model, &t->gpu.engine->slots[0], &t->run, 1, times, &t->error);
    for (int s = 0; s < SEQUENCES && code == STATUS_OK; s++)
        memcpy(vectors + s * GPU_WIDTH, t->run.host.result + result->stride * (size_t)s, GPU_WIDTH * sizeof *vectors);
    return code;
}

static void check_spans(const struct timed *t, const struct run_times *times)
{
    int node = -1;
    assert_int_equal(times->count, GPU_LAUNCHES + COPIES);
    for (int i = 0; i < times->count; i++) {
        const struct run_span *span = &times->spans[i], *before = i ? span - 1 : NULL;
        const bool             copy = i == 0 || i == times->count - 1;
        assert_true(span->start == (before ? before->end : 0.0) && span->end >= span->start);
        assert_true(span->bytes > 0 && span->kernel);
        assert_int_equal(span->node < 0, copy);
        assert_true(copy || span->node == node || span->node == node + 1);
        node = copy ? node : span->node;
    }
    assert_int_equal(node, plan_nodes(t->run.plan) - 1);
    assert_string_equal(times->spans[0].kernel, "the copy of the inputs");
    assert_string_equal(times->spans[1].kernel, "embed_rows");
    assert_string_equal(times->spans[times->count - 1].kernel, "the copy of the result");
    assert_true(times->seconds == times->spans[times->count - 1].end && times->seconds > 0);
}

static void every_launch_has_a_span(void **state)
{
    (void)state;
    struct timed     t;
    float            eager[VECTOR], timed[VECTOR];
    open_well(&t);
    struct run_times times = { .spans = t.spans, .room = ROOM };
    for (int i = 0; i < 4; i++) {  /* before there is a graph, and beside one */
        assert_int_equal(compute(&t, NULL, eager), STATUS_OK);
        assert_int_equal(compute(&t, &times, timed), STATUS_OK);
        check_spans(&t, &times);
        assert_memory_equal(eager, timed, sizeof timed);
    }
    const recto_engine_info info = gpu_usage(&t.gpu);
    assert_int_equal(info.eager, 1 + 4);
    assert_int_equal(info.captures, 1);
    assert_int_equal(info.replays, 3);
    assert_int_equal(info.fallbacks, 0);
    close_well(&t);
}

/* Where no run can be captured, the times are the same. */
static void without_graphs(void **state)
{
    (void)state;
    struct timed t;
    float        usual[VECTOR], timed[VECTOR];
    open_well(&t);
    struct run_times times = { .spans = t.spans, .room = ROOM };
    assert_int_equal(compute(&t, NULL, usual), STATUS_OK);
    for (int i = 0; i < 5; i++) {
        if (i < 3)
            emu_runtime_fail(3, 0);  /* the beginning of a capture, which is not tried a fourth time */
        assert_int_equal(compute(&t, NULL, usual), STATUS_OK);
        assert_int_equal(compute(&t, &times, timed), STATUS_OK);
        check_spans(&t, &times);
        assert_memory_equal(usual, timed, sizeof timed);
    }
    assert_int_equal(gpu_usage(&t.gpu).replays, 0);
    assert_int_equal(gpu_usage(&t.gpu).fallbacks, 5);
    close_well(&t);
}

static void too_little_room(void **state)
{
    (void)state;
    struct timed t;
    float        timed[VECTOR];
    open_well(&t);
    for (int room = 1; room < GPU_LAUNCHES + COPIES; room += 6) {
        struct run_times times  = { .spans = t.spans, .room = room };
        t.spans[room].node      = -77;
        assert_int_equal(compute(&t, &times, timed), STATUS_OK);
        assert_int_equal(times.count, GPU_LAUNCHES + COPIES);
        assert_int_equal(t.spans[room].node, -77);
        assert_true(times.seconds == t.spans[room - 1].end && times.seconds > 0);
    }
    close_well(&t);
}

static void every_call_may_fail(void **state)
{
    (void)state;
    struct timed t;
    float        usual[VECTOR], timed[VECTOR];
    int          refused = 0;
    open_well(&t);
    struct run_times times  = { .spans = t.spans, .room = ROOM };
    assert_int_equal(compute(&t, &times, usual), STATUS_OK);
    const uint64_t before = emu_runtime_calls();
    assert_int_equal(compute(&t, &times, usual), STATUS_OK);
    const uint64_t calls = emu_runtime_calls() - before;
    for (uint64_t call = 1; call <= calls; call++) {
        t.error.message[0] = 0;
        emu_runtime_fail(call, 0);
        const status code = compute(&t, &times, timed);
        assert_true(*emu_runtime_failed());
        emu_runtime_fail(0, 0);
        if (code == STATUS_OK)
            assert_memory_equal(usual, timed, sizeof timed);
        else
            assert_true(t.error.message[0]);
        refused += code != STATUS_OK;
        assert_int_equal(emu_runtime_usage().events, 0);
    }
    printf("%llu calls, %d refused with a sentence\n", (unsigned long long)calls, refused);
    assert_true(refused > GPU_LAUNCHES && (uint64_t)refused < calls);
    assert_int_equal(compute(&t, &times, timed), STATUS_OK);
    check_spans(&t, &times);
    close_well(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(every_launch_has_a_span, begin, end),
        cmocka_unit_test_setup_teardown(without_graphs, begin, end),
        cmocka_unit_test_setup_teardown(too_little_room, begin, end),
        cmocka_unit_test_setup_teardown(every_call_may_fail, begin, end),
    };
    return cmocka_run_group_tests(tests, gpu_setup, gpu_teardown);
}
