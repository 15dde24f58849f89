/* Several threads at once: the bits of one thread alone, no deadlock where memory is short, cancelling and deadlines, models
 * opened and closed beside the work. An alarm ends the program when somebody waits for ever. */
#include "tests/support/compare.h"
#include "tests/support/embedder.h"
#include "tests/support/small_model.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

enum { WIDTH = 32, TEXTS = 96, TEXT_BYTES = 72, PATIENCE = 600 };

#if defined(__SANITIZE_THREAD__)  /* some forty times slower */
enum { BATCHES = 10, SMALL_CALLS = 250, TIGHT_BATCHES = 6 };
#else
enum { BATCHES = 60, SMALL_CALLS = 2500, TIGHT_BATCHES = 30 };
#endif

static char scratch[SMALL_PATH_MAX], cache[SMALL_PATH_MAX + 8], folder[SMALL_PATH_MAX + 8], other[SMALL_PATH_MAX + 8];
static char texts[TEXTS][TEXT_BYTES];
static float expected[TEXTS][WIDTH];

static uint32_t random_next(uint32_t *state) { return *state = *state * 1664525u + 1013904223u, *state >> 8; }

static recto_text text_at(size_t index) { return (recto_text){ .data = texts[index], .length = strlen(texts[index]) }; }

/* Texts of 3 to 62 tokens, special tokens included. */
static void make_texts(void)
{
    uint32_t state = 7;
    for (size_t i = 0; i < TEXTS; i++) {
        size_t length = 1 + random_next(&state) % 60;
        for (size_t j = 0; j < length; j++)
            texts[i][j] = (char)('a' + random_next(&state) % 26);
        texts[i][length] = 0;
    }
}

static struct embedder_options usual(uint32_t threads, uint64_t budget)
{
    return (struct embedder_options){ .cache = cache, .folder = folder, .precision = RECTO_PRECISION_FP32, .threads = threads,
                                      .budget = budget };
}

static int set_up(void **state)
{
    (void)state;
    struct small_model model;
    struct embedder    alone;
    scratch_make(scratch);
    snprintf(cache, sizeof cache, "%s/cache", scratch);
    snprintf(folder, sizeof folder, "%s/model", scratch);
    snprintf(other, sizeof other, "%s/other", scratch);
    small_model_make(&model, &small_usual);
    small_model_write(&model, folder);
    ((float *)small_model_tensor(&model, "embeddings.LayerNorm.bias")->data)[0] += 1.0f;
    small_model_write(&model, other);
    small_model_release(&model);
    make_texts();
    struct embedder_options options = usual(1, 0);
    if (embedder_open(&alone, &options) != RECTO_OK)
        return fprintf(stderr, "%s\n", alone.error.message), 1;
    for (size_t i = 0; i < TEXTS; i++)
        if (embedder_embed(&alone, texts[i], expected[i]) != RECTO_OK)
            return 1;
    embedder_close(&alone);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    scratch_remove(scratch);
    return 0;
}

/* ---- Callers ---- */

/* One thread that embeds batches of random texts; an assertion may only be made by the main thread, so it counts. */
struct caller {
    pthread_t             thread;
    struct embedder      *embedder;
    uint32_t              seed;
    int                   rounds;
    size_t                largest;     /* batch */
    recto_embed_options   options;
    const atomic_int     *stop;        /* or null */
    int                   right, wrong, refused[11];
    char                  message[512];  /* of the last refusal */
};

static void *call(void *user)
{
    struct caller *caller = user;
    recto_error    error  = RECTO_ERROR_INIT;
    recto_text     batch[TEXTS];
    size_t         chosen[TEXTS];
    float          vectors[TEXTS][WIDTH];
    for (int round = 0; round < caller->rounds && !(caller->stop && atomic_load(caller->stop)); round++) {
        size_t count = 1 + random_next(&caller->seed) % caller->largest;
        for (size_t i = 0; i < count; i++)
            batch[i] = text_at(chosen[i] = random_next(&caller->seed) % TEXTS);
        recto_status result = recto_embed(caller->embedder->model, batch, count, &caller->options, vectors[0], NULL, &error);
        if (result != RECTO_OK) {
            caller->refused[-result]++;
            snprintf(caller->message, sizeof caller->message, "%s", error.message);
            continue;
        }
        int wrong = 0;
        for (size_t i = 0; i < count; i++)
            wrong += compare_bytes(vectors[i], expected[chosen[i]], sizeof vectors[i]) != COMPARE_SAME;
        caller->wrong += wrong > 0;
        caller->right += wrong == 0;
    }
    return NULL;
}

static void start_callers(struct caller *callers, int count)
{
    for (int i = 0; i < count; i++) {
        callers[i].seed                = (uint32_t)i * 77u + 5u;
        callers[i].options.struct_size = sizeof callers[i].options;
        assert_int_equal(pthread_create(&callers[i].thread, NULL, call, &callers[i]), 0);
    }
}

static void join_callers(struct caller *callers, int count)
{
    for (int i = 0; i < count; i++)
        pthread_join(callers[i].thread, NULL);
}

static void fail_if_wrong(const struct caller *callers, int count)
{
    for (int i = 0; i < count; i++)
        assert_int_equal(callers[i].wrong, 0);
}

static int refusals(const struct caller *caller)
{
    int sum = 0;
    for (int i = 0; i < 11; i++)
        sum += caller->refused[i];
    return sum;
}

static void open_usual(struct embedder *embedder, uint32_t threads, uint64_t budget)
{
    struct embedder_options options = usual(threads, budget);
    recto_status            result  = embedder_open(embedder, &options);
    if (result != RECTO_OK)
        print_error("%s\n", embedder->error.message);
    assert_int_equal(result, RECTO_OK);
}

/* ---- Tests ---- */

static void mixed_batches_have_the_bits_of_one_thread(void **state)
{
    (void)state;
    static const struct { uint32_t workers; int callers; } cases[] = { { 1, 3 }, { 2, 2 }, { 2, 8 }, { 4, 3 }, { 8, 2 } };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct embedder embedder;
        struct caller   callers[8] = { 0 };
        open_usual(&embedder, cases[i].workers, 0);
        for (int j = 0; j < cases[i].callers; j++)
            callers[j] = (struct caller){ .embedder = &embedder, .rounds = BATCHES, .largest = j % 2 ? 3 : TEXTS };
        start_callers(callers, cases[i].callers);
        join_callers(callers, cases[i].callers);
        fail_if_wrong(callers, cases[i].callers);
        for (int j = 0; j < cases[i].callers; j++)
            assert_int_equal(callers[j].right, BATCHES);
        embedder_close(&embedder);
    }
}

static void many_small_calls(void **state)
{
    (void)state;
    struct embedder embedder;
    struct caller   callers[4] = { 0 };
    open_usual(&embedder, 2, 0);
    for (int i = 0; i < 4; i++)
        callers[i] = (struct caller){ .embedder = &embedder, .rounds = SMALL_CALLS, .largest = 1 };
    start_callers(callers, 4);
    join_callers(callers, 4);
    fail_if_wrong(callers, 4);
    for (int i = 0; i < 4; i++)
        assert_int_equal(callers[i].right, SMALL_CALLS);
    embedder_close(&embedder);
}

/* ---- Short memory ---- */

/* The least budget under which a lone caller embeds batches of `batch` texts. */
static uint64_t least_budget(uint32_t threads, size_t batch)
{
    recto_text all[TEXTS];
    for (size_t i = 0; i < TEXTS; i++)
        all[i] = text_at(i);
    uint64_t low = 0, high = 64 << 20;
    while (high - low > 4096) {
        uint64_t                middle  = low + (high - low) / 2;
        struct embedder_options options = usual(threads, middle);
        struct embedder         embedder;
        float                   vectors[TEXTS][WIDTH];
        recto_status            result = embedder_open(&embedder, &options);
        for (size_t i = 0; i + batch <= TEXTS && result == RECTO_OK; i += batch)
            result = recto_embed(embedder.model, all + i, batch, NULL, vectors[0], NULL, &embedder.error);
        embedder_close(&embedder);
        assert_true(result == RECTO_OK || result == RECTO_E_BUDGET);
        *(result == RECTO_OK ? &high : &low) = middle;
    }
    return high;
}

/* A lone caller whose text does not fit is refused with both numbers; it must not wait for helpers of its own team. */
static void one_text_too_large_is_refused_at_once(void **state)
{
    (void)state;
    for (uint32_t threads = 1; threads <= 4; threads *= 2) {
        uint64_t least = least_budget(threads, 1);
        for (uint64_t less = 0; less < 128 << 10; less += 8 << 10) {
            struct embedder_options options = usual(threads, least - less);
            struct embedder         embedder;
            float                   vector[WIDTH];
            if (embedder_open(&embedder, &options) == RECTO_OK)
                for (size_t i = 0; i < TEXTS; i++) {
                    recto_status result = embedder_embed(&embedder, texts[i], vector);
                    if (result == RECTO_OK)
                        assert_memory_equal(vector, expected[i], sizeof vector);
                    else
                        assert_int_equal(result, RECTO_E_BUDGET);
                }
            embedder_close(&embedder);
        }
    }
}

enum { CALLERS = 6, WAITING_BYTES = 4096 };  /* what a caller that waits holds at most */

/* Whatever the budget, whoever is told yes gets the right bits, and nobody waits for ever. Where a lone caller is served, many
 * are: in turn, if need be. */
static void tight_budgets_with_several_threads(void **state)
{
    (void)state;
    uint64_t least = least_budget(2, 1), enough = least_budget(2, TEXTS) + CALLERS * WAITING_BYTES;
    int      served_all = 0;
    for (uint64_t more = 0; more < 1 << 20; more += more < 256 << 10 ? 32 << 10 : 128 << 10) {
        struct embedder embedder;
        struct caller   callers[CALLERS] = { 0 };
        open_usual(&embedder, 2, least + more);
        for (int i = 0; i < CALLERS; i++)
            callers[i] = (struct caller){ .embedder = &embedder, .rounds = TIGHT_BATCHES, .largest = i % 2 ? 1 : 24 };
        start_callers(callers, CALLERS);
        join_callers(callers, CALLERS);
        fail_if_wrong(callers, CALLERS);
        recto_engine_info info = { .struct_size = sizeof info };
        recto_engine_describe(embedder.engine, &info);
        assert_true(info.peak_bytes <= least + more);
        for (int i = 0; i < CALLERS; i++) {
            assert_int_equal(refusals(&callers[i]), callers[i].refused[-RECTO_E_BUDGET]);
            if (least + more >= enough && refusals(&callers[i]))
                fail_msg("%llu bytes are enough for one caller, but not for many: %s", (unsigned long long)(least + more),
                         callers[i].message);
        }
        served_all += least + more >= enough;
        embedder_close(&embedder);
    }
    assert_true(served_all > 3);
}

/* ---- Cancelling, deadlines, other models ---- */

static uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

struct opener {
    struct embedder  *embedder;
    const atomic_int *stop;
    int               opened, failed;
};

static void *open_and_close(void *user)
{
    struct opener *opener = user;
    while (!atomic_load(opener->stop)) {
        recto_model *model;
        recto_error  error = RECTO_ERROR_INIT;
        recto_text   text  = text_at(0);
        float        vector[WIDTH];
        if (recto_model_open(opener->embedder->engine, other, NULL, &model, &error) != RECTO_OK ||
            recto_embed(model, &text, 1, NULL, vector, NULL, &error) != RECTO_OK)
            opener->failed++;
        recto_model_close(model);
        opener->opened++;
    }
    return NULL;
}

static void two_embed_one_cancels_one_opens(void **state)
{
    (void)state;
    struct embedder embedder;
    struct caller   callers[3] = { 0 };
    atomic_int      stop = 0;
    pthread_t       thread;
    open_usual(&embedder, 2, 0);
    struct opener opener = { &embedder, &stop, 0, 0 };
    for (int i = 0; i < 3; i++)
        callers[i] = (struct caller){ .embedder = &embedder, .rounds = 1 << 30, .largest = 40, .stop = &stop };
    recto_cancel *cancel;
    recto_error   error = RECTO_ERROR_INIT;
    assert_int_equal(recto_cancel_open(&cancel, &error), RECTO_OK);
    callers[2].options.cancel = cancel;
    start_callers(callers, 3);
    assert_int_equal(pthread_create(&thread, NULL, open_and_close, &opener), 0);
    nanosleep(&(struct timespec){ .tv_nsec = 300000000 }, NULL);
    recto_cancel_raise(cancel);
    nanosleep(&(struct timespec){ .tv_nsec = 300000000 }, NULL);
    atomic_store(&stop, 1);
    join_callers(callers, 3);
    pthread_join(thread, NULL);
    fail_if_wrong(callers, 3);
    assert_int_equal(refusals(&callers[0]) + refusals(&callers[1]), 0);
    assert_true(callers[2].refused[-RECTO_E_CANCELLED] > 0);
    assert_int_equal(refusals(&callers[2]), callers[2].refused[-RECTO_E_CANCELLED]);
    assert_true(opener.opened > 0);
    assert_int_equal(opener.failed, 0);
    recto_cancel_close(cancel);
    embedder_close(&embedder);
}

static void *raise_soon(void *cancel)
{
    nanosleep(&(struct timespec){ .tv_nsec = 500000 }, NULL);
    recto_cancel_raise(cancel);
    return NULL;
}

/* Before, during and after; the call that follows is right. */
static void cancel_at_any_time(void **state)
{
    (void)state;
    struct embedder embedder;
    recto_error     error = RECTO_ERROR_INIT;
    enum { MANY = 4000 };
    recto_text *many    = calloc(MANY, sizeof *many);
    float      *vectors = calloc((size_t)MANY * WIDTH, sizeof *vectors);
    open_usual(&embedder, 2, 0);
    for (size_t i = 0; i < MANY; i++)
        many[i] = text_at(i % TEXTS);
    for (int round = 0; round < 12; round++) {
        recto_cancel *cancel;
        pthread_t     thread;
        assert_int_equal(recto_cancel_open(&cancel, &error), RECTO_OK);
        recto_embed_options options = { .struct_size = sizeof options, .cancel = cancel };
        if (round == 0)
            recto_cancel_raise(cancel);
        assert_int_equal(pthread_create(&thread, NULL, raise_soon, cancel), 0);
        recto_status result = recto_embed(embedder.model, many, MANY, &options, vectors, NULL, &error);
        assert_true(result == RECTO_E_CANCELLED || (round > 0 && result == RECTO_OK));
        pthread_join(thread, NULL);
        assert_int_equal(recto_embed(embedder.model, many, 1, &options, vectors, NULL, &error), RECTO_E_CANCELLED);
        assert_int_equal(embedder_embed(&embedder, texts[5], vectors), RECTO_OK);
        assert_memory_equal(vectors, expected[5], sizeof expected[5]);
        recto_cancel_close(cancel);
    }
    free(vectors);
    free(many);
    embedder_close(&embedder);
}

static void deadlines(void **state)
{
    (void)state;
    struct embedder embedder;
    recto_error     error = RECTO_ERROR_INIT;
    enum { MANY = 20000 };
    recto_text *many    = calloc(MANY, sizeof *many);
    float      *vectors = calloc((size_t)MANY * WIDTH, sizeof *vectors);
    open_usual(&embedder, 2, 0);
    for (size_t i = 0; i < MANY; i++)
        many[i] = text_at(i % TEXTS);
    recto_embed_options options = { .struct_size = sizeof options, .deadline_ns = 1 };
    assert_int_equal(recto_embed(embedder.model, many, 1, &options, vectors, NULL, &error), RECTO_E_DEADLINE);
    assert_non_null(strstr(error.message, "deadline"));
    options.deadline_ns = now_ns() + 3000000;
    uint64_t begun      = now_ns();
    assert_int_equal(recto_embed(embedder.model, many, MANY, &options, vectors, NULL, &error), RECTO_E_DEADLINE);
    assert_true(now_ns() - begun < 2000000000u);
    options.deadline_ns = now_ns() + 100000000000u;
    assert_int_equal(recto_embed(embedder.model, many, 8, &options, vectors, NULL, &error), RECTO_OK);
    for (size_t i = 0; i < 8; i++)
        assert_memory_equal(vectors + i * WIDTH, expected[i], sizeof expected[i]);
    free(vectors);
    free(many);
    embedder_close(&embedder);
}

/* The failure of one call's text, found while packs are shared, is not another call's. */
static void a_neighbours_failure_stays_its_own(void **state)
{
    (void)state;
    struct embedder embedder;
    struct caller   callers[3] = { 0 };
    open_usual(&embedder, 2, 0);
    for (int i = 0; i < 3; i++)
        callers[i] = (struct caller){ .embedder = &embedder, .rounds = 200, .largest = 12 };
    callers[2].options.deadline_ns = now_ns() + 1000000;
    start_callers(callers, 3);
    join_callers(callers, 3);
    fail_if_wrong(callers, 3);
    assert_int_equal(callers[0].right + callers[1].right, 400);
    assert_int_equal(callers[2].right + callers[2].refused[-RECTO_E_DEADLINE], 200);
    embedder_close(&embedder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(mixed_batches_have_the_bits_of_one_thread),
        cmocka_unit_test(many_small_calls),
        cmocka_unit_test(one_text_too_large_is_refused_at_once),
        cmocka_unit_test(tight_budgets_with_several_threads),
        cmocka_unit_test(two_embed_one_cancels_one_opens),
        cmocka_unit_test(cancel_at_any_time),
        cmocka_unit_test(deadlines),
        cmocka_unit_test(a_neighbours_failure_stays_its_own),
    };
    alarm(PATIENCE);
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
