/* promise.h: what the tests of recto's promises share: the fetched model, random models, texts, golden vectors.
 *
 * Whatever is missing fails the running test with a sentence that says what to do; nothing is skipped. RECTO_BUILD names the
 * folder of the build (default: build), whose programs the tests start.
 */
#ifndef RECTO_TESTS_SUPPORT_PROMISE_H
#define RECTO_TESTS_SUPPORT_PROMISE_H

#include "host/recto.h"

#include <stdbool.h>

#define PROMISE_MODEL "all-minilm-l6-v2"
#define PROMISE_TEXTS "tests/fixtures/embed/texts.jsonl"

enum { PROMISE_PATH = 512 };

/* The three precisions of a model, for loops. */
enum { PROMISE_PRECISIONS = 3 };
extern const recto_precision promise_precisions[PROMISE_PRECISIONS];
const char                  *promise_precision_name(recto_precision precision);

/* ---- Engine and model ---- */

struct promise_setup {
    const char     *model;         /* default: PROMISE_MODEL, which weights/fetch has fetched */
    const char     *cache;         /* default: the user's */
    const char     *instructions;
    recto_precision precision;
    uint32_t        threads;       /* default: 1 */
    uint64_t        budget;
};

struct promise {
    recto_engine     *engine;
    recto_model      *model;
    recto_model_info  facts;
};

/* Both, or the test fails. */
void promise_open(struct promise *promise, const struct promise_setup *setup);
/* Both, or null handles and a code. */
recto_status promise_try(struct promise *promise, const struct promise_setup *setup, recto_error *error);
void promise_close(struct promise *promise);

recto_engine_info promise_usage(const struct promise *promise);

/* ---- Fixtures ---- */

struct promise_texts {
    size_t       count;
    recto_text  *texts;
    recto_text  *lines;   /* the JSON that each came from, without its line end */
    uint32_t    *tokens;  /* [count] or null; promise_count fills them in */
    char        *file;
};

/* The member "text" of each line. */
void promise_read_texts(struct promise_texts *texts, const char *path);
void promise_count(struct promise_texts *texts, recto_model *model);
void promise_release_texts(struct promise_texts *texts);

/* `wanted` texts whose numbers of tokens are spread geometrically from `least` to `most`: their indices. */
void promise_spread(const struct promise_texts *texts, uint32_t least, uint32_t most, size_t wanted, size_t *indices);

/* A matrix of an .npy file of float32; to be freed. */
float *promise_read_matrix(const char *path, size_t *rows, size_t *columns);

/* Writes the folder of a line of tests/fixtures/models/models.tsv to folder/name. */
void promise_make_model(const char *name, const char *folder);

/* "BUILD/tail". */
void promise_program(const char *tail, char path[PROMISE_PATH]);

/* ---- Comparison ---- */

/* 1 - cosine; infinite where there is no number. */
double promise_distance(const float *a, const float *b, size_t count);

/* Fails the test unless the text says OK. */
void promise_must(recto_status result, const recto_error *error);

/* A number of /proc/self/status in bytes, such as "VmHWM". */
uint64_t promise_resident(const char *field);

#endif
