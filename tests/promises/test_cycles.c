/* Opening, embedding and closing over and over ends with the bytes it began with: those booked and those resident. */
#include "tests/support/promise.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

/* Resident bytes that a thousand cycles may add: the heap's layout settles, nothing grows. A leak of a hundred bytes a
 * cycle is more. */
enum { SLACK = 96 << 10 };

/* Texts of several lengths, alone and together, so that several plans are made; often enough that a device which captures what
 * it ran before has done so. */
static void embed_some(recto_model *model)
{
    static const char  *const words[] = { "a", "the old mill at the river", "not an easy letter to read in the harbour light" };
    static float              vectors[3 * 1024];
    recto_text                texts[3];
    recto_error               error = RECTO_ERROR_INIT;
    for (int i = 0; i < 3; i++)
        texts[i] = (recto_text){ .data = words[i], .length = strlen(words[i]) };
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 3; i++)
            promise_must(recto_embed(model, &texts[i], 1, NULL, vectors, NULL, &error), &error);
        promise_must(recto_embed(model, texts, 3, NULL, vectors, NULL, &error), &error);
    }
}

static void cycle_model(struct promise *promise, const char *name, recto_precision precision)
{
    recto_error         error   = RECTO_ERROR_INIT;
    recto_model_options options = { .struct_size = sizeof options, .precision = precision };
    promise_must(recto_model_open(promise->engine, name, &options, &promise->model, &error), &error);
    embed_some(promise->model);
    recto_model_close(promise->model);
    promise->model = NULL;
}

/* Of the host and of the device. */
static uint64_t booked_now(const struct promise *promise)
{
    recto_engine_info info = promise_usage(promise);
    return info.bytes_in_use + info.device_bytes_in_use;
}

static void cycle_models(const char *name, const char *cache, int cycles, int settling)
{
    struct promise promise;
    promise_open(&promise, &(struct promise_setup){ .model = name, .cache = cache, .precision = RECTO_PRECISION_FP32,
                                                    .threads = 2 });
    recto_model_close(promise.model);
    promise.model = NULL;
    if (!name)
        name = promise_device_model();
    uint64_t booked = 0, resident = 0;
    for (int i = 0; i < cycles; i++) {
        cycle_model(&promise, name, promise_precisions[i % promise_device.precisions]);
        if (i == settling) {
            booked   = booked_now(&promise);
            resident = promise_resident("VmRSS");
        }
    }
    recto_engine_info info = promise_usage(&promise);
    printf("%d cycles of a model: %" PRIu64 " bytes booked after %d, %" PRIu64 " at the end; resident %" PRIu64 " KiB, %" PRIu64
           " KiB at the end\n", cycles, booked, settling + 1, booked_now(&promise), resident >> 10,
           promise_resident("VmRSS") >> 10);
    assert_int_equal(booked_now(&promise), booked);
    assert_int_equal(info.tokenizer_bytes, 0);
    assert_true(promise_resident("VmRSS") <= resident + SLACK);
    promise_close(&promise);
}

static void a_thousand_small_models(void **state)
{
    (void)state;
    cycle_models(promise_small_model, promise_small_cache, promise_times(1000), promise_times(1000) / 10 - 1);
}

static void twenty_real_models(void **state)
{
    (void)state;
    cycle_models(NULL, NULL, 21, 5);
}

static void fifty_engines(void **state)
{
    (void)state;
    uint64_t first_booked = 0, resident = 0;
    for (int i = 0; i < 50; i++) {
        struct promise promise;
        promise_open(&promise, &(struct promise_setup){ .model = promise_small_model, .cache = promise_small_cache,
                                                        .precision = RECTO_PRECISION_BF16, .threads = 2 });
        uint64_t booked = booked_now(&promise);
        embed_some(promise.model);
        promise_close(&promise);
        if (i == 0)
            first_booked = booked;
        assert_int_equal(booked, first_booked);
        if (i == 9)
            resident = promise_resident("VmRSS");
    }
    printf("50 cycles of an engine: resident %" PRIu64 " KiB after 10, %" PRIu64 " KiB at the end\n", resident >> 10,
           promise_resident("VmRSS") >> 10);
    assert_true(promise_resident("VmRSS") <= resident + SLACK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_thousand_small_models),
        cmocka_unit_test(fifty_engines),
        cmocka_unit_test(twenty_real_models),
    };
    return cmocka_run_group_tests(tests, promise_small_set_up, promise_small_tear_down);
}
