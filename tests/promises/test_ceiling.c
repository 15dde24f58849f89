/* The ceiling holds: for every budget the answers are the same or a refusal that names both numbers, and neither the bytes
 * booked nor the process's own resident set exceed it. Each budget is tried by a process of its own: this program again.
 * A device with memory of its own has a ceiling of its own, which is climbed in the same way: resident is then what it gave. */
#include "tests/support/promise.h"
#include "tests/support/sha256.h"
#include "tests/support/small_model.h"

#include <errno.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cmocka.h>

enum { TEXTS = 24, LENGTH = 256 };
#define MEBIBYTE ((uint64_t)1 << 20)

/* ---- The child: one engine under one budget ---- */

/* Of which memory. */
enum ceiling { HOST, DEVICE, CEILINGS };

struct trial {
    recto_precision precision;
    uint32_t        threads;
    uint64_t        budgets[CEILINGS];  /* 0: none */
    uint64_t        data;               /* RLIMIT_DATA of the process; 0: none */
    const char     *cache;              /* null: the usual */
};

struct outcome {
    int      code;
    uint64_t resident[CEILINGS], peak[CEILINGS], booked[CEILINGS], splits, texts;
    char     hash[65], message[512];
};

static size_t read_lines(const char *path, recto_text *texts, char *block, size_t room)
{
    FILE *file = fopen(path, "rb");
    if (!file)
        return 0;
    block[fread(block, 1, room - 1, file)] = 0;
    fclose(file);
    size_t count = 0;
    for (char *at = block, *end; count < TEXTS && (end = strchr(at, '\n')); at = end + 1)
        texts[count++] = (recto_text){ .data = at, .length = (size_t)(end - at) };
    return count;
}

/* Every `step`th id of the vocabulary, so that each page of the table of words becomes resident: the most that weights can
 * take. Returns how many of `texts`, which are all of LENGTH ids. */
static size_t make_ids(uint32_t step, uint32_t vocabulary, recto_text *texts, int32_t *ids, size_t room)
{
    size_t count = 0;
    for (uint32_t id = 0; id < vocabulary && count < room; id += step)
        ids[count++] = (int32_t)id;
    for (size_t i = 0; i < count / LENGTH; i++)
        texts[i] = (recto_text){ .data = (const char *)(ids + i * LENGTH), .length = LENGTH * sizeof *ids };
    return count / LENGTH;
}

/* Embeds every page of the vocabulary; nothing is hashed. */
static int touch_all(struct promise *promise, uint32_t step, recto_error *error)
{
    static int32_t      ids[32 << 10];
    static recto_text   texts[128];
    static float        vectors[128 * 384];
    recto_embed_options options = { .struct_size = sizeof options, .token_ids = 1 };
    size_t count = make_ids(step, promise->facts.vocabulary, texts, ids, sizeof ids / sizeof *ids);
    return recto_embed(promise->model, texts, count, &options, vectors, NULL, error);
}

/* The arguments: texts, or the step of touch_all; precision threads budgets. The answer is one line, the sentence last. */
static int be_child(char **arguments)
{
    static char          block[64 << 10];
    static float         vectors[TEXTS * 384];
    recto_text           texts[TEXTS];
    recto_error          error   = RECTO_ERROR_INIT;
    struct outcome       outcome = { .hash = "-" };
    struct promise       promise;
    size_t               count = read_lines(arguments[0], texts, block, sizeof block);
    struct promise_setup setup = { .cache = *arguments[1] ? arguments[1] : NULL,
                                   .precision = (recto_precision)atoi(arguments[2]),
                                   .threads = (uint32_t)atoi(arguments[3]), .budget = strtoull(arguments[4], NULL, 10),
                                   .device_budget = strtoull(arguments[5], NULL, 10) };
    outcome.code = promise_try(&promise, &setup, &error);
    if (outcome.code == RECTO_OK) {
        recto_engine_info open = promise_usage(&promise);
        outcome.booked[HOST]   = open.bytes_in_use;
        outcome.booked[DEVICE] = open.device_bytes_in_use;
        if (count)
            outcome.code = recto_embed(promise.model, texts, count, NULL, vectors, NULL, &error);
        else
            outcome.code = touch_all(&promise, (uint32_t)atoi(arguments[0]), &error);
        recto_engine_info info = promise_usage(&promise);
        outcome.peak[HOST]     = info.peak_bytes;
        outcome.peak[DEVICE]   = info.device_peak_bytes;
        outcome.splits         = info.splits;
        outcome.texts          = info.texts;
        if (outcome.code == RECTO_OK)
            sha256_of(vectors, count * promise.facts.dimensions * sizeof *vectors, outcome.hash);
        promise_close(&promise);
    }
    outcome.resident[DEVICE] = promise_device_resident();
    outcome.resident[HOST]   = promise_resident("VmHWM") - outcome.resident[DEVICE];
    printf("%d %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 " %s %s\n",
           outcome.code, outcome.resident[HOST], outcome.resident[DEVICE], outcome.peak[HOST], outcome.peak[DEVICE],
           outcome.booked[HOST], outcome.booked[DEVICE], outcome.splits, outcome.texts, outcome.hash, error.message);
    return 0;
}

/* ---- The parent ---- */

static char scratch[SMALL_PATH_MAX], long_texts[SMALL_PATH_MAX + 16], short_texts[SMALL_PATH_MAX + 16];

static struct outcome attempt(const char *texts, const struct trial *trial)
{
    char           line[4 * SMALL_PATH_MAX], self[PROMISE_PATH] = "", limit[64] = "";
    struct outcome o = { 0 };
    assert_true(readlink("/proc/self/exe", self, sizeof self - 1) > 0);
    if (trial->data)
        snprintf(limit, sizeof limit, "ulimit -d %" PRIu64 " && ", trial->data >> 10);
    snprintf(line, sizeof line, "%sexec '%s' --child '%s' '%s' %d %u %" PRIu64 " %" PRIu64, limit, self,
             texts, trial->cache ? trial->cache : "", (int)trial->precision, (unsigned)trial->threads, trial->budgets[HOST],
             trial->budgets[DEVICE]);
    FILE *output = popen(line, "r");
    assert_non_null(output);
    int fields = fscanf(output, "%d %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64
                        " %64s %511[^\n]", &o.code, &o.resident[HOST], &o.resident[DEVICE], &o.peak[HOST], &o.peak[DEVICE],
                        &o.booked[HOST], &o.booked[DEVICE], &o.splits, &o.texts, o.hash, o.message);
    assert_int_equal(pclose(output), 0);
    assert_true(fields >= 10);
    return o;
}

static void write_texts(const struct promise_texts *from, const char *path, uint32_t least, uint32_t most)
{
    size_t places[TEXTS];
    promise_spread(from, least, most, TEXTS, places);
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    for (size_t i = 0; i < TEXTS; i++) {
        for (size_t j = 0; j < from->texts[places[i]].length; j++)
            fputc(from->texts[places[i]].data[j] == '\n' ? ' ' : from->texts[places[i]].data[j], file);
        fputc('\n', file);
    }
    fclose(file);
}

static int set_up(void **state)
{
    (void)state;
    struct promise       promise;
    struct promise_texts texts;
    for (int i = 0; i < promise_device.precisions; i++) {  /* from here on the packed weights are there */
        promise_open(&promise, &(struct promise_setup){ .precision = promise_precisions[i] });
        if (i + 1 < promise_device.precisions)
            promise_close(&promise);
    }
    promise_read_texts(&texts, PROMISE_TEXTS);
    promise_count(&texts, promise.model);
    scratch_make(scratch);
    snprintf(long_texts, sizeof long_texts, "%s/long", scratch);
    snprintf(short_texts, sizeof short_texts, "%s/short", scratch);
    write_texts(&texts, long_texts, 2, promise.facts.max_tokens < LENGTH ? promise.facts.max_tokens : LENGTH);
    write_texts(&texts, short_texts, 10, 24);
    promise_release_texts(&texts);
    promise_close(&promise);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    scratch_remove(scratch);
    return 0;
}

/* The budget itself, and a second number beside it. */
static bool names_both_numbers(const char *message, uint64_t budget)
{
    char number[32];
    snprintf(number, sizeof number, "%" PRIu64, budget);
    const char *found = strstr(message, number);
    if (!found)
        return false;
    for (const char *at = message; *at; at++)
        if (*at >= '0' && *at <= '9' && (at < found || at >= found + strlen(number)))
            return true;
    return false;
}

static int over;  /* trials of the running test that were above their budget */

/* That of the trial. */
static enum ceiling ceiling_of(const struct trial *trial) { return trial->budgets[DEVICE] ? DEVICE : HOST; }

/* The ceiling that decides how many texts are computed at once. */
static enum ceiling ceiling_of_work(void) { return promise_device.has_own_memory ? DEVICE : HOST; }

/* Prints a line; whether the budget held the work. */
static bool judge(const struct trial *trial, const struct outcome *o, const char *hash)
{
    const enum ceiling ceiling = ceiling_of(trial);
    const uint64_t     budget  = trial->budgets[ceiling];
    printf("%s, %u thread%s, %sbudget %8" PRIu64 " KiB: %-8s booked at most %8" PRIu64 " KiB, resident at most %8" PRIu64
           " KiB, %" PRIu64 " splits %s\n",
           promise_precision_name(trial->precision), (unsigned)trial->threads, trial->threads == 1 ? "" : "s",
           ceiling == DEVICE ? "device's " : "", budget >> 10, o->code == RECTO_OK ? "done" : recto_status_name(o->code),
           o->peak[ceiling] >> 10, o->resident[ceiling] >> 10, o->splits,
           o->code == RECTO_OK ? "" : o->message);
    assert_true(o->peak[ceiling] <= budget);
    if (o->code != RECTO_OK) {
        assert_int_equal(o->code, RECTO_E_BUDGET);
        assert_true(names_both_numbers(o->message, budget));
        return false;
    }
    over += o->resident[ceiling] > budget;
    assert_string_equal(o->hash, hash);
    return true;
}

static uint64_t lesser(uint64_t a, uint64_t b) { return a < b ? a : b; }

/* From far too little, by steps that grow finer where the first answers are, to plenty. */
static void climb_to(enum ceiling ceiling, recto_precision precision, uint32_t threads, const char *texts)
{
    struct trial   trial = { .precision = precision, .threads = threads };
    struct outcome free  = attempt(texts, &trial);
    assert_int_equal(free.code, RECTO_OK);
    const uint64_t booked    = free.booked[ceiling], peak = free.peak[ceiling], room = peak - booked;
    const uint64_t budgets[] = { lesser(MEBIBYTE, booked / 4), booked / 2,          booked - lesser(MEBIBYTE, booked / 8),
                                 booked,                       booked + room / 16,  booked + room / 8,
                                 booked + room / 4,            booked + room / 2,   booked + room * 3 / 4,
                                 peak,                         peak + 8 * MEBIBYTE, 4 * peak };
    int refused = 0, done = 0;
    over        = 0;
    for (size_t i = 0; i < sizeof budgets / sizeof *budgets; i++) {
        trial.budgets[ceiling] = budgets[i];
        struct outcome o       = attempt(texts, &trial);
        bool           worked  = judge(&trial, &o, free.hash);
        assert_false(done && !worked);  /* more bytes are never worse */
        refused += !worked;
        done += worked;
    }
    assert_true(refused >= 3);
    assert_true(done >= 3);
    assert_int_equal(over, 0);
}

static void climb(recto_precision precision, uint32_t threads, const char *texts)
{
    climb_to(HOST, precision, threads, texts);
    if (promise_device.has_own_memory)
        climb_to(DEVICE, precision, threads, texts);
}

static void fp32_climbs(void **state)
{
    (void)state;
    climb(RECTO_PRECISION_FP32, 1, long_texts);
}

static void bf16_climbs(void **state)
{
    (void)state;
    climb(RECTO_PRECISION_BF16, 2, long_texts);
}

static void narrowest_climbs(void **state)
{
    (void)state;
    climb(promise_narrowest(), 2, short_texts);
}

/* A batch of short texts under a budget that holds fewer of them at once. */
static void batches_are_split(void **state)
{
    (void)state;
    const enum ceiling ceiling = ceiling_of_work();
    struct trial       trial   = { .precision = promise_narrowest(), .threads = 1 };
    struct outcome     free    = attempt(short_texts, &trial);
    trial.budgets[ceiling]     = free.booked[ceiling] + (free.peak[ceiling] - free.booked[ceiling]) / 2;
    struct outcome little      = attempt(short_texts, &trial);
    over                       = 0;
    assert_true(judge(&trial, &little, free.hash));
    assert_int_equal(free.splits, 0);
    assert_true(little.splits > 0);
    assert_int_equal(over, 0);
}

/* With every page of the weights resident. */
static void all_pages_touched(void **state)
{
    (void)state;
    if (promise_device.has_own_memory)
        skip();  /* weights are copied there whole when a model is opened, in every trial */
    static const char *const steps[PROMISE_PRECISIONS] = { "2", "5", "5" };  /* a page holds 2.7 rows of words, or 5.3 */
    over = 0;
    for (int i = 0; i < promise_device.precisions; i++) {
        struct trial   trial = { .precision = promise_precisions[i], .threads = 2 };
        struct outcome free  = attempt(steps[i], &trial);
        trial.budgets[HOST]  = free.peak[HOST];
        struct outcome tight = attempt(steps[i], &trial);
        judge(&trial, &tight, free.hash);
        assert_int_equal(tight.code, RECTO_OK);
    }
    assert_int_equal(over, 0);
}

/* ---- The first time, when weights are packed ---- */

static void packing_stays_below(void **state)
{
    (void)state;
    over = 0;
    for (int i = 0; i < promise_device.precisions; i++) {
        struct trial   trial = { .precision = promise_precisions[i], .threads = 1 };
        struct outcome warm  = attempt(short_texts, &trial);
        char           cache[SMALL_PATH_MAX], link[SMALL_PATH_MAX + 16];
        scratch_make(cache);
        snprintf(link, sizeof link, "%s/models", cache);
        struct promise promise;
        promise_open(&promise, &(struct promise_setup){ .precision = promise_narrowest() });
        char models[2 * SMALL_PATH_MAX];
        snprintf(models, sizeof models, "%s/..", promise.facts.folder);
        assert_int_equal(symlink(models, link), 0);
        promise_close(&promise);
        trial.cache         = cache;
        trial.budgets[HOST] = warm.peak[HOST] + 4 * MEBIBYTE;
        struct outcome cold = attempt(short_texts, &trial);
        assert_true(judge(&trial, &cold, warm.hash));
        scratch_remove(cache);
    }
    assert_int_equal(over, 0);
}

/* ---- Enforced by the system ---- */

/* The system refuses this process more memory of its own than the budget has beside the weights, which are mapped from a
 * file. (RLIMIT_AS would count reserved addresses, which are no memory.) A thread's stack is 8 MiB of it, so: one thread. */
static void under_the_systems_limit(void **state)
{
    (void)state;
    if (promise_device.has_own_memory)
        skip();  /* of an emulated device the system sees as much as of the host */
    struct promise promise;
    promise_open(&promise, &(struct promise_setup){ .precision = RECTO_PRECISION_INT8 });
    uint64_t weights = promise.facts.weight_bytes;
    promise_close(&promise);
    struct trial   trial   = { .precision = RECTO_PRECISION_INT8, .threads = 1 };
    struct outcome free    = attempt(long_texts, &trial);
    trial.budgets[HOST]    = free.peak[HOST];
    trial.data             = trial.budgets[HOST] - weights;
    struct outcome limited = attempt(long_texts, &trial);
    over                   = 0;
    assert_true(judge(&trial, &limited, free.hash));
    assert_int_equal(over, 0);
    trial.data          = (trial.budgets[HOST] - weights) / 3;  /* the limit is a limit: a third is refused, and not by us */
    trial.budgets[HOST] = 0;
    limited      = attempt(long_texts, &trial);
    printf("a third of it: %s: %s\n", recto_status_name(limited.code), limited.message);
    assert_int_equal(limited.code, RECTO_E_MEMORY);
}

int main(int count, char **arguments)
{
    if (count == 8 && strcmp(arguments[1], "--child") == 0)
        return be_child(arguments + 2);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fp32_climbs),       cmocka_unit_test(bf16_climbs),         cmocka_unit_test(narrowest_climbs),
        cmocka_unit_test(batches_are_split), cmocka_unit_test(all_pages_touched),   cmocka_unit_test(packing_stays_below),
        cmocka_unit_test(under_the_systems_limit),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
