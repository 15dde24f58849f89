/* Vectors against those of transformers in fp32: MiniLM on 1,000 texts, and a random model of every published size and
 * pooling. A distance is 1 - cosine. */
#include "loaders/json.h"
#include "tests/support/promise.h"
#include "tests/support/small_model.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

struct bound {
    double worst, mean;
};

/* By precision, in the order of promise_precisions. */
static const struct bound bounds[] = { { 1e-6, 1e-6 }, { 1e-4, 1e-4 }, { 3e-3, 1e-3 } };

struct distances {
    double worst, sum;
    size_t worst_at, count;
};

static void see(struct distances *seen, double distance)
{
    if (seen->count == 0 || distance > seen->worst) {
        seen->worst    = distance;
        seen->worst_at = seen->count;
    }
    seen->sum += distance;
    seen->count++;
}

static void judge(const char *model, recto_precision precision, const struct distances *seen, const struct bound *bound)
{
    double mean = seen->sum / (double)seen->count;
    printf("%-24s %s  1 - cosine: worst %.3g (row %zu, bound %.3g), mean %.3g (bound %.3g), %zu texts\n", model,
           promise_precision_name(precision), seen->worst, seen->worst_at, bound->worst, mean, bound->mean, seen->count);
    assert_true(seen->worst <= bound->worst);
    assert_true(mean <= bound->mean);
}

/* Puts the rows of the shortest texts, as many as the device has time for, first; returns how many those are. Rows of equal
 * length stay in their order. */
static size_t choose_rows(const uint32_t *tokens, size_t count, size_t *rows)
{
    size_t wanted = promise_device.golden_texts ? promise_device.golden_texts : count;
    for (size_t i = 0; i < count; i++) {
        size_t at = i;
        for (; wanted < count && at > 0 && tokens[rows[at - 1]] > tokens[i]; at--)
            rows[at] = rows[at - 1];
        rows[at] = i;
    }
    return wanted;
}

static void minilm_against_transformers(int index)
{
    if (index >= promise_device.precisions)
        skip();  /* the device does not offer it */
    const recto_precision precision = promise_precisions[index];
    struct promise       promise;
    struct promise_texts texts;
    recto_error          error = RECTO_ERROR_INIT;
    struct distances     seen  = { 0 };
    size_t               rows, columns;
    float               *golden = promise_read_matrix("tests/fixtures/embed/minilm_fp32.npy", &rows, &columns);
    promise_open(&promise, &(struct promise_setup){ .model = PROMISE_MODEL, .precision = precision, .threads = 2 });
    promise_read_texts(&texts, PROMISE_TEXTS);
    assert_int_equal(texts.count, rows);
    assert_int_equal(promise.facts.dimensions, columns);
    promise_count(&texts, promise.model);
    float      *vectors = malloc(rows * columns * sizeof *vectors);
    size_t     *chosen  = malloc(rows * sizeof *chosen);
    recto_text *some    = malloc(rows * sizeof *some);
    assert_true(vectors && chosen && some);
    size_t count = choose_rows(texts.tokens, rows, chosen);
    for (size_t i = 0; i < count; i++)
        some[i] = texts.texts[chosen[i]];
    promise_must(recto_embed(promise.model, some, count, NULL, vectors, NULL, &error), &error);
    for (size_t i = 0; i < count; i++)
        see(&seen, promise_distance(vectors + i * columns, golden + chosen[i] * columns, columns));
    judge("all-minilm-l6-v2", precision, &seen, &bounds[index]);
    free(some);
    free(chosen);
    free(vectors);
    free(golden);
    promise_release_texts(&texts);
    promise_close(&promise);
}

static void minilm_fp32(void **state)
{
    (void)state;
    minilm_against_transformers(0);
}

static void minilm_bf16(void **state)
{
    (void)state;
    minilm_against_transformers(1);
}

static void minilm_int8(void **state)
{
    (void)state;
    minilm_against_transformers(2);
}

/* ---- Random models ---- */

enum { CASES = 32 };

static size_t ids_of(const struct json *listed) { return json_array_length(json_member(listed, "ids")); }

/* Those that there is time for: their indices. */
static size_t choose_cases(const struct json *cases, size_t *chosen)
{
    uint32_t tokens[CASES];
    size_t   count = json_array_length(cases);
    assert_true(count <= CASES);
    for (size_t i = 0; i < count; i++)
        tokens[i] = (uint32_t)ids_of(json_array_at(cases, i));
    return choose_rows(tokens, count, chosen);
}

static void embed_case(struct promise *promise, const struct json *listed, const float *golden, struct distances *seen)
{
    recto_error         error   = RECTO_ERROR_INIT;
    recto_embed_options options = { .struct_size = sizeof options, .prompt = json_as_string(json_member(listed, "prompt"), NULL) };
    recto_text          text    = { 0 };
    recto_text_result   result;
    float               vector[1024];
    text.data = json_as_string(json_member(listed, "text"), &text.length);
    promise_must(recto_embed(promise->model, &text, 1, &options, vector, &result, &error), &error);
    assert_int_equal(result.tokens, ids_of(listed));
    see(seen, promise_distance(vector, golden, promise->facts.dimensions));
}

static void random_model(const char *name, const char *scratch, struct pool *pool)
{
    char                  folder[2 * PROMISE_PATH], path[2 * PROMISE_PATH];
    struct json_document *document;
    size_t                rows, columns, chosen[CASES];
    snprintf(folder, sizeof folder, "%s/%s", scratch, name);
    promise_make_model(name, scratch);
    snprintf(path, sizeof path, "tests/fixtures/models/%s.npy", name);
    float *golden = promise_read_matrix(path, &rows, &columns);
    snprintf(path, sizeof path, "tests/fixtures/models/%s.json", name);
    assert_int_equal(json_read(pool, path, &document, NULL), STATUS_OK);
    const struct json *cases = json_member(json_root(document), "cases");
    assert_int_equal(json_array_length(cases), rows);
    size_t count = choose_cases(cases, chosen);
    for (int i = 0; i < promise_device.precisions; i++) {
        struct promise   promise;
        struct distances seen = { 0 };
        promise_open(&promise, &(struct promise_setup){ .model = folder, .cache = scratch, .precision = promise_precisions[i] });
        assert_int_equal(promise.facts.dimensions, columns);
        for (size_t j = 0; j < count; j++)
            embed_case(&promise, json_array_at(cases, chosen[j]), golden + chosen[j] * columns, &seen);
        promise_close(&promise);
        judge(name, promise_precisions[i], &seen, &bounds[i]);
    }
    json_free(document);
    free(golden);
    scratch_remove(folder);
}

static void random_models(void **state)
{
    (void)state;
    char         scratch[SMALL_PATH_MAX], line[512], name[64];
    struct pool *pool;
    FILE        *table = fopen("tests/fixtures/models/models.tsv", "r");
    assert_non_null(table);
    assert_int_equal(pool_open(&pool, 0, NULL), STATUS_OK);
    scratch_make(scratch);
    assert_non_null(fgets(line, sizeof line, table));  /* the names of the columns */
    int listed = 0, tried = 0, width;
    for (; fgets(line, sizeof line, table); listed++) {
        assert_int_equal(sscanf(line, "%63s %*d %d", name, &width), 2);
        if (width <= promise_device.golden_width) {
            random_model(name, scratch, pool);
            tried++;
        }
    }
    assert_true(listed >= 20 && tried >= 10);
    scratch_remove(scratch);
    pool_close(pool);
    fclose(table);
}

/* ---- Texts that are too long ---- */

static void cut_texts(void **state)
{
    (void)state;
    char           scratch[SMALL_PATH_MAX], folder[SMALL_PATH_MAX + 16], words[4 * 100];
    struct promise promise;
    recto_error    error   = RECTO_ERROR_INIT;
    float          cut[128], whole[128];
    scratch_make(scratch);
    promise_make_model("weights-f16", scratch);
    snprintf(folder, sizeof folder, "%s/weights-f16", scratch);
    for (size_t i = 0; i < sizeof words; i++)
        words[i] = "map "[i % 4];
    recto_text          longer = { .data = words, .length = sizeof words }, fits = { .data = words, .length = 4 * 62 };
    recto_embed_options options = { .struct_size = sizeof options, .truncate = 1 };
    recto_text_result   result;
    promise_open(&promise, &(struct promise_setup){ .model = folder, .cache = scratch, .precision = RECTO_PRECISION_FP32 });
    promise_must(recto_embed(promise.model, &fits, 1, &options, whole, &result, &error), &error);
    assert_int_equal(result.tokens, 64);
    assert_int_equal(result.truncated, 0);
    promise_must(recto_embed(promise.model, &longer, 1, &options, cut, &result, &error), &error);
    assert_int_equal(result.tokens, 64);
    assert_int_equal(result.truncated, 1);
    assert_memory_equal(cut, whole, sizeof cut);
    assert_int_equal(recto_embed(promise.model, &longer, 1, NULL, cut, &result, &error), RECTO_E_INPUT);
    assert_non_null(strstr(error.message, "102"));  /* what it has */
    assert_non_null(strstr(error.message, "64"));   /* what there is room for */
    promise_close(&promise);
    scratch_remove(scratch);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(minilm_fp32),   cmocka_unit_test(minilm_bf16), cmocka_unit_test(minilm_int8),
        cmocka_unit_test(random_models), cmocka_unit_test(cut_texts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
