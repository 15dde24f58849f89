#include "tests/support/promise.h"

#include "loaders/json.h"
#include "tests/support/small_model.h"

#include <errno.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

const recto_precision promise_precisions[PROMISE_PRECISIONS] = { RECTO_PRECISION_FP32, RECTO_PRECISION_BF16, RECTO_PRECISION_INT8 };

const char *promise_precision_name(recto_precision precision)
{
    return precision == RECTO_PRECISION_FP32 ? "fp32" : precision == RECTO_PRECISION_BF16 ? "bf16" : "int8";
}

void promise_must(recto_status result, const recto_error *error)
{
    if (result != RECTO_OK)
        fail_msg("%s: %s", recto_status_name(result), error->message);
}

recto_precision promise_narrowest(void) { return promise_precisions[promise_device.precisions - 1]; }

int promise_times(int times) { return times > promise_device.haste ? times / promise_device.haste : 1; }

/* ---- Engine and model ---- */

static int engines_open;

recto_status promise_try(struct promise *promise, const struct promise_setup *setup, recto_error *error)
{
    const char *cache            = setup->model || setup->cache ? setup->cache : promise_device_cache();
    *promise                     = (struct promise){ .facts = { .struct_size = sizeof promise->facts } };
    recto_engine_options engine  = { .struct_size = sizeof engine, .device = promise_device.device, .host_bytes = setup->budget,
                                     .device_bytes = setup->device_budget, .cache_folder = cache,
                                     .threads = setup->threads ? setup->threads : 1, .instructions = setup->instructions };
    recto_model_options  options = { .struct_size = sizeof options, .precision = setup->precision };
    recto_status         result  = recto_engine_open(&promise->engine, &engine, error);
    if (result == RECTO_OK)
        result = recto_model_open(promise->engine, setup->model ? setup->model : promise_device_model(), &options, &promise->model,
                                  error);
    engines_open += promise->engine != NULL;
    if (result == RECTO_OK)
        recto_model_describe(promise->model, &promise->facts);
    else
        promise_close(promise);
    return result;
}

void promise_open(struct promise *promise, const struct promise_setup *setup)
{
    recto_error  error  = RECTO_ERROR_INIT;
    recto_status result = promise_try(promise, setup, &error);
    if (result != RECTO_OK && !setup->model)
        fail_msg("%s: %s; if the model is missing, run weights/fetch %s", recto_status_name(result), error.message, PROMISE_MODEL);
    promise_must(result, &error);
}

void promise_close(struct promise *promise)
{
    recto_model_close(promise->model);
    recto_engine_close(promise->engine);
    engines_open -= promise->engine != NULL;
    promise->model  = NULL;
    promise->engine = NULL;
    if (!engines_open)
        promise_device_check();
}

recto_engine_info promise_usage(const struct promise *promise)
{
    recto_engine_info info = { .struct_size = sizeof info };
    recto_engine_describe(promise->engine, &info);
    return info;
}

/* ---- Fixtures ---- */

char promise_small_cache[SMALL_PATH_MAX], promise_small_model[SMALL_PATH_MAX + 16];

int promise_small_set_up(void **state)
{
    (void)state;
    scratch_make(promise_small_cache);
    snprintf(promise_small_model, sizeof promise_small_model, "%s/small", promise_small_cache);
    small_model_create(&small_usual, promise_small_model);
    return 0;
}

int promise_small_tear_down(void **state)
{
    (void)state;
    scratch_remove(promise_small_cache);
    return 0;
}

static void *take(size_t bytes)
{
    void *block = calloc(1, bytes);
    assert_non_null(block);
    return block;
}

static char *read_whole(const char *path, size_t *length)
{
    FILE *file = fopen(path, "rb");
    if (!file)
        fail_msg("%s: %s; run the tests in the project's root", path, strerror(errno));
    assert_int_equal(fseek(file, 0, SEEK_END), 0);
    *length = (size_t)ftell(file);
    rewind(file);
    char *bytes    = take(*length + 1);
    assert_int_equal(fread(bytes, 1, *length, file), *length);
    fclose(file);
    return bytes;
}

static recto_text parsed_text(struct pool *pool, const recto_text *line, const char *path)
{
    struct json_document *document;
    struct error          error = { 0 };
    if (json_parse(pool, line->data, line->length, path, &document, &error) != STATUS_OK)
        fail_msg("%s", error.message);
    size_t      length;
    const char *found = json_as_string(json_member(json_root(document), "text"), &length);
    assert_non_null(found);
    char *copy = take(length + 1);
    memcpy(copy, found, length);
    json_free(document);
    return (recto_text){ .data = copy, .length = length };
}

void promise_read_texts(struct promise_texts *texts, const char *path)
{
    size_t       length;
    struct pool *pool;
    *texts = (struct promise_texts){ .file = read_whole(path, &length) };
    for (size_t i = 0; i < length; i++)
        texts->count += texts->file[i] == '\n';
    texts->texts = take(texts->count * sizeof *texts->texts);
    texts->lines = take(texts->count * sizeof *texts->lines);
    assert_int_equal(pool_open(&pool, 0, NULL), STATUS_OK);
    const char *at = texts->file;
    for (size_t i = 0; i < texts->count; i++) {
        const char *end = strchr(at, '\n');
        texts->lines[i] = (recto_text){ .data = at, .length = (size_t)(end - at) };
        texts->texts[i] = parsed_text(pool, &texts->lines[i], path);
        at              = end + 1;
    }
    pool_close(pool);
}

void promise_count(struct promise_texts *texts, recto_model *model)
{
    texts->tokens = take(texts->count * sizeof *texts->tokens);
    for (size_t i = 0; i < texts->count; i++) {
        recto_error  error  = RECTO_ERROR_INIT;
        recto_tokens tokens = { .struct_size = sizeof tokens, .count = SIZE_MAX };
        promise_must(recto_tokenize(model, &texts->texts[i], &tokens, &error), &error);
        texts->tokens[i] = (uint32_t)tokens.count;
    }
}

void promise_release_texts(struct promise_texts *texts)
{
    for (size_t i = 0; i < texts->count; i++)
        free((void *)(uintptr_t)texts->texts[i].data);
    free(texts->texts);
    free(texts->lines);
    free(texts->tokens);
    free(texts->file);
}

void promise_spread(const struct promise_texts *texts, uint32_t least, uint32_t most, size_t wanted, size_t *indices)
{
    bool *used = take(texts->count);
    for (size_t i = 0; i < wanted; i++) {
        double target = least * pow((double)most / least, (double)i / (double)(wanted - 1)), best = INFINITY;
        for (size_t j = 0; j < texts->count; j++) {
            double distance = fabs(texts->tokens[j] - target);
            if (!used[j] && distance < best) {
                best       = distance;
                indices[i] = j;
            }
        }
        used[indices[i]] = true;
    }
    free(used);
}

float *promise_read_matrix(const char *path, size_t *rows, size_t *columns)
{
    size_t length;
    char  *file = read_whole(path, &length);
    assert_true(length > 10 && memcmp(file, "\x93NUMPY\x01", 7) == 0);
    size_t header = 10 + (size_t)((unsigned char)file[8] | (unsigned char)file[9] << 8);
    char  *shape  = strstr(file + 10, "'shape': (");
    assert_true(shape && strstr(file + 10, "'<f4'") && strstr(file + 10, "'fortran_order': False"));
    assert_int_equal(sscanf(shape, "'shape': (%zu, %zu)", rows, columns), 2);
    assert_int_equal(length - header, *rows * *columns * sizeof(float));
    float *values = take(length - header);
    memcpy(values, file + header, length - header);
    free(file);
    return values;
}

void promise_program(const char *tail, char path[PROMISE_PATH])
{
    const char *build = getenv("RECTO_BUILD");
    snprintf(path, PROMISE_PATH, "%s/%s", build && *build ? build : "build", tail);
    if (access(path, X_OK) != 0)
        fail_msg("%s: %s; build everything, and name the build's folder in RECTO_BUILD", path, strerror(errno));
}

void promise_make_model(const char *name, const char *folder)
{
    char program[PROMISE_PATH], path[SMALL_PATH_MAX + 64];
    promise_program("tests/make_random_model", program);
    snprintf(path, sizeof path, "%s/%s", folder, name);
    pid_t child = fork();
    if (child == 0) {
        execl(program, program, name, path, (char *)NULL);
        _exit(127);
    }
    int result;
    assert_int_equal(waitpid(child, &result, 0), child);
    if (!WIFEXITED(result) || WEXITSTATUS(result) != 0)
        fail_msg("%s %s %s failed with %d", program, name, path, result);
}

/* ---- Comparison ---- */

double promise_distance(const float *a, const float *b, size_t count)
{
    double ab = 0.0, aa = 0.0, bb = 0.0;
    for (size_t i = 0; i < count; i++) {
        ab += (double)a[i] * b[i];
        aa += (double)a[i] * a[i];
        bb += (double)b[i] * b[i];
    }
    double distance = 1.0 - ab / sqrt(aa * bb);
    return isfinite(distance) ? distance : INFINITY;
}

uint64_t promise_resident(const char *field)
{
    FILE *file = fopen("/proc/self/status", "r");
    assert_non_null(file);
    char     line[256];
    uint64_t kilobytes = 0;
    size_t   length    = strlen(field);
    while (fgets(line, sizeof line, file))
        if (strncmp(line, field, length) == 0 && line[length] == ':')
            kilobytes = strtoull(line + length + 1, NULL, 10);
    fclose(file);
    assert_true(kilobytes > 0);
    return kilobytes << 10;
}
