/* Plans of every model: the layout is at most 1.02 of the largest live set, no two buffers that live at once overlap, the
 * nodes of a layer are as many as they were, and the cache of plans stays within its bytes. */
#include "host/model.h"
#include "tests/support/promise.h"
#include "tests/support/small_model.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* Nodes of one layer, in the order of promise_precisions: qkv, attention, out with norm, up, down with norm; in int8 the
 * attention's result is quantised by a node of its own, for no linear makes it. */
static const int nodes_per_layer[PROMISE_PRECISIONS] = { 5, 5, 6 };

enum { PLAN_CACHE_MOST = 1 << 20 };  /* bytes, as host/model_plan.c has it */

static double worst_layout;
static int    plans_seen, plans_above;

static uint64_t end_of(const struct plan_buffer *buffer) { return buffer->offset + buffer->bytes; }

static void check_buffers(const struct plan *plan)
{
    for (int i = 0; i < plan_buffers(plan); i++) {
        const struct plan_buffer *a = plan_buffer(plan, i);
        assert_true(a->first >= 0 && a->first <= a->last && a->last < plan_nodes(plan));
        assert_int_equal(a->offset % 64, 0);
        assert_true(end_of(a) <= plan_layout_bytes(plan));
        for (int j = 0; j < i; j++) {
            const struct plan_buffer *b = plan_buffer(plan, j);
            bool together = a->first <= b->last && b->first <= a->last;
            if (together && a->offset < end_of(b) && b->offset < end_of(a))
                fail_msg("buffers %d and %d live at once and overlap", i, j);
        }
    }
}

/* The largest sum of bytes alive at one node, counted here from the nodes and not from what the plan says. */
static size_t live_set(const struct plan *plan)
{
    size_t largest = 0;
    for (int node = 0; node < plan_nodes(plan); node++) {
        size_t sum = 0;
        for (int i = 0; i < plan_buffers(plan); i++) {
            const struct plan_buffer *b = plan_buffer(plan, i);
            if (b->first <= node && node <= b->last)
                sum += (b->bytes + 63) / 64 * 64;
        }
        largest = sum > largest ? sum : largest;
    }
    return largest;
}

/* A buffer must live wherever a node touches it. */
static void check_lifetimes(const struct plan *plan)
{
    for (int i = 0; i < plan_nodes(plan); i++) {
        const struct plan_node *n         = plan_node(plan, i);
        const int               touched[] = { n->x, n->x_scales, n->residual, n->y, n->copy, n->copy_scales };
        for (size_t j = 0; j < sizeof touched / sizeof *touched; j++)
            if (touched[j] != NO_BUFFER) {
                const struct plan_buffer *b = plan_buffer(plan, touched[j]);
                assert_true(b->first <= i && i <= b->last);
            }
    }
    assert_int_equal(plan_buffer(plan, plan_result(plan))->last, plan_nodes(plan) - 1);
}

/* What a run is given holds the buffers and the scratch of every worker; an accelerator's kernels work in none. */
static void check_arena(const struct plan *plan, const struct recto_model *model)
{
    const struct accelerator *accelerator = model->engine->device.accelerator;
    const int                 workers     = plan_limits(plan)->workers;
    assert_int_equal(workers, accelerator ? 0 : model->engine->workers);
    assert_true(plan_scratch_offset(plan, 0) >= plan_layout_bytes(plan));
    assert_true(plan_scratch_offset(plan, workers) <= (accelerator ? accelerator->run_bytes(plan) : plan_arena_bytes(plan)));
}

static void check_plan(const struct plan *plan, const struct recto_model *model, const char *name, int cap)
{
    check_lifetimes(plan);
    check_buffers(plan);
    size_t live = live_set(plan), layout = plan_layout_bytes(plan);
    assert_int_equal(live, plan_live_bytes(plan));
    check_arena(plan, model);
    double ratio = (double)layout / (double)live;
    if (ratio > worst_layout)
        worst_layout = ratio;
    plans_seen++;
    plans_above += ratio > 1.02;
    if (ratio > 1.02)
        printf("%s, %d tokens: layout %zu bytes, largest live set %zu, ratio %.4f\n", name, cap, layout, live, ratio);
}

static int nodes_with_label(const struct plan *plan, const char *label)
{
    int    count  = 0;
    size_t length = strlen(label);
    for (int i = 0; i < plan_nodes(plan); i++)
        count += strncmp(plan_node(plan, i)->label, label, length) == 0 && plan_node(plan, i)->label[length] == ' ';
    return count;
}

static void check_nodes(const struct plan *plan, const struct recto_model *model, int expected)
{
    for (int layer = 0; layer < model->config.layers; layer++) {
        char label[32];
        snprintf(label, sizeof label, "layer %d", layer);
        assert_int_equal(nodes_with_label(plan, label), expected);
    }
}

/* Threads show in a plan by their scratch, which only the CPU has. */
static void check_model(const char *name, const char *cache)
{
    static const int caps[] = { 16, 24, 48, 64, 128, 192, 256, 512, 1024 };
    for (int i = 0; i < promise_device.precisions; i++)
        for (uint32_t threads = 1; threads <= (promise_device.has_own_memory ? 1 : 2); threads++) {
            struct promise promise;
            char           shown[128];
            snprintf(shown, sizeof shown, "%s, %s, %u threads", name ? strrchr(name, '/') + 1 : PROMISE_MODEL,
                     promise_precision_name(promise_precisions[i]), (unsigned)threads);
            promise_open(&promise, &(struct promise_setup){ .model = name ? name : PROMISE_MODEL, .cache = cache,
                                                            .precision = promise_precisions[i], .threads = threads });
            for (size_t j = 0; j < sizeof caps / sizeof *caps; j++) {
                const struct plan *plan;
                struct error       error = { 0 };
                if (model_take_plan(promise.model, caps[j], &plan, &error) != STATUS_OK)
                    fail_msg("%s", error.message);
                check_plan(plan, promise.model, shown, caps[j]);
                check_nodes(plan, promise.model, nodes_per_layer[i]);
                model_release_plan(promise.model, plan);
            }
            promise_close(&promise);
        }
}

static void real_model(void **state)
{
    (void)state;
    check_model(NULL, NULL);
    assert_int_equal(plans_above, 0);
}

static void random_models(void **state)
{
    (void)state;
    char  scratch[SMALL_PATH_MAX], folder[2 * SMALL_PATH_MAX + 2], line[512];
    FILE *table = fopen("tests/fixtures/models/models.tsv", "r");
    assert_non_null(table);
    assert_non_null(fgets(line, sizeof line, table));  /* the names of the columns */
    scratch_make(scratch);
    while (fgets(line, sizeof line, table)) {
        line[strcspn(line, "\t")] = 0;
        promise_make_model(line, scratch);
        snprintf(folder, sizeof folder, "%s/%s", scratch, line);
        check_model(folder, scratch);
        scratch_remove(folder);
    }
    scratch_remove(scratch);
    fclose(table);
    printf("%d plans, %d above 1.02; layout at most %.4f of the largest live set\n", plans_seen, plans_above, worst_layout);
    assert_int_equal(plans_above, 0);
}

/* ---- The cache of plans ---- */

/* A run in between makes the order of use: the plan of 16 tokens is the one used last, every time. */
static void take(struct recto_model *model, int cap)
{
    static float vector[384];
    recto_text   text = { .data = "", .length = 0 };
    assert_int_equal(recto_embed(model, &text, 1, NULL, vector, NULL, NULL), RECTO_OK);
    const struct plan *plan;
    struct error       error = { 0 };
    if (model_take_plan(model, cap, &plan, &error) != STATUS_OK)
        fail_msg("%s", error.message);
    assert_true(plan_limits(plan)->tokens >= cap);
    model_release_plan(model, plan);
}

static void cache_keeps_its_bytes(void **state)
{
    (void)state;
    struct promise promise;
    promise_open(&promise, &(struct promise_setup){ .model = PROMISE_MODEL, .precision = promise_narrowest() });
    uint64_t before = promise_usage(&promise).plan_bytes, most = 0;
    int      taken  = 0;
    for (int cap = 16; cap <= 1 << 20; cap = model_token_cap(cap + 1)) {
        take(promise.model, cap);
        taken++;
        uint64_t bytes = promise_usage(&promise).plan_bytes - before;
        most           = bytes > most ? bytes : most;
    }
    uint64_t built = promise_usage(&promise).plans_built;
    assert_int_equal(built, taken);
    assert_true(most <= PLAN_CACHE_MOST);
    take(promise.model, 1 << 20);  /* still there */
    assert_int_equal(promise_usage(&promise).plans_built, built);
    take(promise.model, 24);  /* was dropped, for it was the one used longest ago */
    assert_int_equal(promise_usage(&promise).plans_built, built + 1);
    printf("%d plans taken, %" PRIu64 " bytes of plans at most\n", taken, most);
    promise_close(&promise);
}

static void repeats_build_nothing(void **state)
{
    (void)state;
    static const char words[] = "a river, an old bridge, and seven clerks who weighed the ledger at noon";
    static float      vectors[8 * 384];
    struct promise    promise;
    recto_text        texts[8];
    recto_error       error = RECTO_ERROR_INIT;
    uint64_t          built = 0;
    promise_open(&promise, &(struct promise_setup){ .precision = RECTO_PRECISION_BF16, .threads = 2 });
    for (size_t i = 0; i < 8; i++)
        texts[i] = (recto_text){ .data = words, .length = i * (sizeof words - 1) / 7 };
    for (int round = 0; round < 4; round++) {
        for (size_t i = 0; i < 8; i++)
            promise_must(recto_embed(promise.model, &texts[i], 1, NULL, vectors, NULL, &error), &error);
        promise_must(recto_embed(promise.model, texts, 8, NULL, vectors, NULL, &error), &error);
        recto_engine_info info = promise_usage(&promise);
        if (round == 0)
            built = info.plans_built;
        assert_int_equal(info.plans_built, built);
    }
    assert_true(built > 0);
    promise_close(&promise);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(real_model),
        cmocka_unit_test(random_models),
        cmocka_unit_test(cache_keeps_its_bytes),
        cmocka_unit_test(repeats_build_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
