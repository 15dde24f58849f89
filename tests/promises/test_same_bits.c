/* The same bits: one SHA-256 for each precision, whatever is beside a text, however many threads, under every budget,
 * through the library and the command, on every instruction set; on a GPU also eager, captured and replayed.
 *
 * The hashes below pin the arithmetic of the CPU. They change when weights are packed otherwise, or a kernel computes otherwise,
 * and for no other reason; a failure prints the hash that was found. Where none are pinned, the first way's hash is what the
 * others must have. */
#include "tests/support/promise.h"
#include "tests/support/sha256.h"
#include "tests/support/small_model.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { TEXTS = 40, SHORT = 6, WIDEST = 384, CALLERS = 3 };

struct pins {
    const char *all, *brief;  /* of TEXTS texts of 2 to 256 tokens, of SHORT texts of 2 to 16 */
};

/* In the order of promise_precisions. */
static const struct pins pinned[PROMISE_PRECISIONS] = {
    { "ee050c791fb80ad2a53b6917c1b8e34419bc08ecb27d3eb53078342d6d5e5859",
      "c407315d0f4f14ebb6c1481720f38fbb3a44eadd3392524245201dec3d08a199" },
    { "e8b617cfd482c3728a541de53d5bfd8b02f60d98345e08e47fc6ee2199f324bf",
      "5e74e166402b29bb48bb4b2b27fac4748d74da17fed26877209c0b711f716af5" },
    { "3beb845fefa09eac7013e4d7102cc0d848960499dd192d7ae8a73976891edd7a",
      "e1bad743b7084093c2d8c8439e034c7e63f500e257539c583d025579aaf7bff0" },
};

static struct promise_texts fixture;
static recto_text           texts[TEXTS], brief[SHORT];
static size_t               places[TEXTS], count_of_texts, dimensions;

static int read_fixture(void **state)
{
    (void)state;
    struct promise promise;
    size_t         brief_places[SHORT];
    promise_open(&promise, &(struct promise_setup){ .precision = promise_narrowest() });
    dimensions = promise.facts.dimensions;
    count_of_texts = promise_device.texts;
    assert_true(dimensions <= WIDEST && count_of_texts <= TEXTS);
    promise_read_texts(&fixture, PROMISE_TEXTS);
    promise_count(&fixture, promise.model);
    promise_spread(&fixture, 2, promise.facts.max_tokens, count_of_texts, places);
    promise_spread(&fixture, 2, 16, SHORT, brief_places);
    for (size_t i = 0; i < count_of_texts; i++)
        texts[i] = fixture.texts[places[i]];
    for (size_t i = 0; i < SHORT; i++)
        brief[i] = fixture.texts[brief_places[i]];
    promise_close(&promise);
    return 0;
}

static int release_fixture(void **state)
{
    (void)state;
    promise_release_texts(&fixture);
    return 0;
}

/* ---- Ways of embedding; all write the vectors in the order of the texts ---- */

static float vectors[TEXTS * WIDEST];

static void embed(struct promise *promise, const recto_text *from, size_t count, float *to)
{
    recto_error error = RECTO_ERROR_INIT;
    promise_must(recto_embed(promise->model, from, count, NULL, to, NULL, &error), &error);
}

/* Batches of `size` texts in an order that `step`, which has no divisor in common with their number, walks through. */
static void embed_in_batches(struct promise *promise, size_t size, size_t step)
{
    static float batch[TEXTS * WIDEST];
    recto_text   some[TEXTS];
    for (size_t first = 0; first < count_of_texts; first += size) {
        size_t count = first + size < count_of_texts ? size : count_of_texts - first;
        for (size_t i = 0; i < count; i++)
            some[i] = texts[(first + i) * step % count_of_texts];
        embed(promise, some, count, batch);
        for (size_t i = 0; i < count; i++)
            memcpy(vectors + (first + i) * step % count_of_texts * dimensions, batch + i * dimensions, dimensions * sizeof *batch);
    }
}

struct caller {
    struct promise *promise;
    size_t          number;
    recto_status    status;
};

/* Every third text, one or two at a time. */
static void *call_again_and_again(void *argument)
{
    struct caller *caller = argument;
    for (size_t i = caller->number; i < count_of_texts && caller->status == RECTO_OK; i += CALLERS)
        caller->status = recto_embed(caller->promise->model, &texts[i], 1, NULL, vectors + i * dimensions, NULL, NULL);
    return NULL;
}

static void embed_from_threads(struct promise *promise)
{
    pthread_t     threads[CALLERS];
    struct caller callers[CALLERS];
    for (size_t i = 0; i < CALLERS; i++) {
        callers[i] = (struct caller){ promise, i, RECTO_OK };
        assert_int_equal(pthread_create(&threads[i], NULL, call_again_and_again, &callers[i]), 0);
    }
    for (size_t i = 0; i < CALLERS; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(callers[i].status, RECTO_OK);
    }
}

static void embed_by_command(recto_precision precision)
{
    char program[PROMISE_PATH], scratch[SMALL_PATH_MAX], path[SMALL_PATH_MAX + 16], line[4 * PROMISE_PATH + 128];
    promise_program(promise_device.command, program);
    scratch_make(scratch);
    snprintf(path, sizeof path, "%s/texts", scratch);
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    for (size_t i = 0; i < count_of_texts; i++)
        fprintf(file, "%.*s\n", (int)fixture.lines[places[i]].length, fixture.lines[places[i]].data);
    fclose(file);
    if (promise_device_cache())
        setenv("RECTO_CACHE", promise_device_cache(), 1);
    snprintf(line, sizeof line, "'%s' embed --quiet --jsonl text --format raw --device %s --model '%s' --precision %s '%s'",
             program, promise_device.device == RECTO_DEVICE_CPU ? "cpu" : "cuda", promise_device_model(),
             promise_precision_name(precision), path);
    FILE *output = popen(line, "r");
    assert_non_null(output);
    assert_int_equal(fread(vectors, dimensions * sizeof *vectors, count_of_texts, output), count_of_texts);
    assert_int_equal(getc(output), EOF);
    assert_int_equal(pclose(output), 0);
    scratch_remove(scratch);
}

/* ---- Judging ---- */

static int wrong;  /* hashes of the running test that differ */

static void compare_hash(const char *way, recto_precision precision, const float *found, size_t count, const char *expected)
{
    char text[65];
    sha256_of(found, count * dimensions * sizeof *found, text);
    bool same = strcmp(text, expected) == 0;
    if (!same)
        printf("%s, %s: found %s, expected %s\n", promise_precision_name(precision), way, text, expected);
    wrong += !same;
}

/* The most bytes booked, of the host and of the device. */
struct ceilings {
    uint64_t host, device;
};

static struct ceilings needs_of(const struct promise *promise)
{
    recto_engine_info info = promise_usage(promise);
    return (struct ceilings){ info.peak_bytes, info.device_peak_bytes };
}

/* Of `vectors`, which are forgotten. */
static void check(const char *way, recto_precision precision, const struct pins *pins)
{
    compare_hash(way, precision, vectors, count_of_texts, pins->all);
    memset(vectors, 0, sizeof vectors);
}

/* Returns what one thread needs for all of it. */
static struct ceilings alone_and_in_company(recto_precision precision, const struct pins *pins)
{
    struct promise promise;
    promise_open(&promise, &(struct promise_setup){ .precision = precision });
    embed(&promise, texts, count_of_texts, vectors);
    check("all at once, one thread", precision, pins);
    embed(&promise, texts, count_of_texts, vectors);
    check("all at once again", precision, pins);
    embed_in_batches(&promise, 1, 1);
    check("one by one", precision, pins);
    embed_in_batches(&promise, 3, 7);
    check("three at a time, in another order", precision, pins);
    embed_in_batches(&promise, 13, 39);
    check("thirteen at a time, backwards", precision, pins);
    struct ceilings needs = needs_of(&promise);
    promise_close(&promise);
    return needs;
}

static struct ceilings two_threads(recto_precision precision, const struct pins *pins)
{
    struct promise promise;
    promise_open(&promise, &(struct promise_setup){ .precision = precision, .threads = 2 });
    embed(&promise, texts, count_of_texts, vectors);
    check("all at once, two threads", precision, pins);
    embed_in_batches(&promise, 1, 11);
    check("one by one, two threads", precision, pins);
    embed_from_threads(&promise);
    check("from three threads at once", precision, pins);
    recto_engine_info info  = promise_usage(&promise);
    struct ceilings   needs = needs_of(&promise);
    if (promise_device.has_own_memory) {  /* the texts have been computed by each of the three ways that a lane has */
        assert_true(info.eager > 0 && info.captures > 0 && info.replays > info.captures);
        assert_int_equal(info.fallbacks, 0);
    }
    printf("%s: %llu of %llu runs held texts of several calls\n", promise_precision_name(precision),
           (unsigned long long)info.shared_runs, (unsigned long long)info.runs);
    promise_close(&promise);
    return needs;
}

/* Zero is no ceiling. */
static void under_budget(recto_precision precision, const struct pins *pins, struct ceilings budget)
{
    struct promise promise;
    char           way[96];
    snprintf(way, sizeof way, "two threads in %llu bytes and %llu of the device", (unsigned long long)budget.host,
             (unsigned long long)budget.device);
    promise_open(&promise, &(struct promise_setup){ .precision = precision, .threads = 2, .budget = budget.host,
                                                    .device_budget = budget.device });
    embed(&promise, texts, count_of_texts, vectors);
    check(way, precision, pins);
    recto_engine_info info = promise_usage(&promise);
    assert_true(!budget.host || info.peak_bytes <= budget.host);
    assert_true(!budget.device || info.device_peak_bytes <= budget.device);
    promise_close(&promise);
}

static void under_budgets(recto_precision precision, const struct pins *pins, struct ceilings least, struct ceilings most)
{
    if (promise_device.has_own_memory) {  /* graphs, or packs, have to become fewer; then there is just enough */
        under_budget(precision, pins, (struct ceilings){ .device = least.device - (64 << 10) });
        under_budget(precision, pins, (struct ceilings){ most.host, most.device });
        return;
    }
    least.host += 128 << 10;  /* a second thread's small things */
    assert_true(least.host < most.host);
    const uint64_t budgets[] = { least.host, (least.host + most.host) / 2, most.host };
    for (size_t i = 0; i < sizeof budgets / sizeof *budgets; i++)
        under_budget(precision, pins, (struct ceilings){ .host = budgets[i] });
}

/* Where nothing is pinned: the hash of the texts one by one, in an engine of their own, goes to `text`. */
static struct pins pins_of(int index, char text[65])
{
    struct promise promise;
    if (promise_device.is_pinned)
        return pinned[index];
    promise_open(&promise, &(struct promise_setup){ .precision = promise_precisions[index] });
    embed_in_batches(&promise, 1, 1);
    promise_close(&promise);
    sha256_of(vectors, count_of_texts * dimensions * sizeof *vectors, text);
    return (struct pins){ .all = text };
}

static void every_way(int index)
{
    if (index >= promise_device.precisions)
        skip();  /* the device does not offer it */
    char                  text[65];
    const recto_precision precision = promise_precisions[index];
    const struct pins     found = pins_of(index, text), *pins = &found;
    wrong                       = 0;
    struct ceilings least = alone_and_in_company(precision, pins), most = two_threads(precision, pins);
    under_budgets(precision, pins, least, most);
    embed_by_command(precision);
    check("by the command", precision, pins);
    assert_int_equal(wrong, 0);
}

static void fp32_every_way(void **state)
{
    (void)state;
    every_way(0);
}

static void bf16_every_way(void **state)
{
    (void)state;
    every_way(1);
}

static void int8_every_way(void **state)
{
    (void)state;
    every_way(2);
}

/* ---- Instruction sets ---- */

/* The scalar kernels take half a second for sixteen tokens: short texts alone. */
static void try_instructions(const char *name, int index)
{
    struct promise       promise;
    recto_error          error     = RECTO_ERROR_INIT;
    recto_precision      precision = promise_precisions[index];
    struct promise_setup setup     = { .precision = precision, .instructions = name, .threads = 2 };
    recto_status         status    = promise_try(&promise, &setup, &error);
    if (status == RECTO_E_DEVICE) {
        printf("%s, %s: NOT RUN, this machine has no such instructions\n", promise_precision_name(precision), name);
        return;
    }
    promise_must(status, &error);
    embed(&promise, brief, SHORT, vectors);
    compare_hash(name, precision, vectors, SHORT, pinned[index].brief);
    if (strcmp(name, "ref") != 0) {
        embed(&promise, texts, count_of_texts, vectors);
        check(name, precision, &pinned[index]);
    }
    printf("%s, %s: run\n", promise_precision_name(precision), name);
    promise_close(&promise);
}

static void every_instruction_set(void **state)
{
    (void)state;
    wrong = 0;
    for (const char *const *set = promise_device.variants; *set; set++)
        for (int index = 0; index < PROMISE_PRECISIONS; index++)
            try_instructions(*set, index);
    assert_int_equal(wrong, 0);
}

/* ---- The hash sees small things ---- */

/* Returns whether the weights were packed for it. */
static int hash_of_model(const char *folder, const char *cache, const char *words, char hash[65])
{
    struct promise promise;
    recto_error    error = RECTO_ERROR_INIT;
    recto_text     text  = { .data = words, .length = strlen(words) };
    float          vector[128];
    promise_open(&promise, &(struct promise_setup){ .model = folder, .cache = cache, .precision = RECTO_PRECISION_FP32 });
    assert_int_equal(promise.facts.dimensions, 128);
    promise_must(recto_embed(promise.model, &text, 1, NULL, vector, NULL, &error), &error);
    sha256_of(vector, sizeof vector, hash);
    promise_close(&promise);
    return promise.facts.packed_now;
}

/* Of the number in the file's middle, a weight of a linear: the bit worth 1/256 of it. The lowest may vanish in rounding. */
static void flip_a_bit(const char *folder)
{
    size_t         length;
    unsigned char *bytes  = scratch_read(folder, "model.safetensors", &length);
    uint64_t       header = 0;
    memcpy(&header, bytes, sizeof header);
    size_t data = 8 + (size_t)header, middle = data + (length - data) / 8 * 4;
    bytes[middle + 1] ^= 0x80;
    scratch_write(folder, "model.safetensors", bytes, length);
    free(bytes);
}

static void one_bit_and_one_token_are_seen(void **state)
{
    (void)state;
    char scratch[SMALL_PATH_MAX], folder[SMALL_PATH_MAX + 16], first[65], again[65], token[65], bit[65];
    scratch_make(scratch);
    promise_make_model("last-token", scratch);
    snprintf(folder, sizeof folder, "%s/last-token", scratch);
    assert_true(hash_of_model(folder, scratch, "the old bridge", first));
    assert_false(hash_of_model(folder, scratch, "the old bridge", again));
    assert_false(hash_of_model(folder, scratch, "the old mill", token));
    flip_a_bit(folder);
    assert_true(hash_of_model(folder, scratch, "the old bridge", bit));
    assert_string_equal(first, again);
    assert_string_not_equal(first, token);
    assert_string_not_equal(first, bit);
    scratch_remove(scratch);
}

static void hash_is_sha256(void **state)
{
    (void)state;
    char text[65];
    sha256_of("abc", 3, text);
    assert_string_equal(text, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    sha256_of("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq", 56, text);
    assert_string_equal(text, "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hash_is_sha256), cmocka_unit_test(one_bit_and_one_token_are_seen),
        cmocka_unit_test(fp32_every_way), cmocka_unit_test(bf16_every_way),
        cmocka_unit_test(int8_every_way), cmocka_unit_test(every_instruction_set),
    };
    return cmocka_run_group_tests(tests, read_fixture, release_fixture);
}
