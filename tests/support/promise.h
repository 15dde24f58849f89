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

/* ---- The device: promise_cpu.c, or tests/emu/runtime/promise_cuda.c where a program is linked with that ---- */

struct promise_device {
    recto_device       device;
    const char        *command;         /* below the build's folder */
    int                precisions;      /* it offers the first so many of promise_precisions */
    bool               has_own_memory;  /* with a ceiling of its own */
    bool               is_pinned;       /* vectors have the bits that the tests hold; else they agree with one another */
    int                haste;           /* by which it is slower: repetitions are divided by it */
    size_t             texts;           /* whose bits are compared, at most 40 */
    size_t             golden_texts;    /* the shortest of a fixture; 0: all */
    int                golden_width;    /* of the widest random model that there is time for */
    const char *const *variants;        /* that `instructions` may name, the last followed by null */
};
extern const struct promise_device promise_device;

/* The usual model and where its weights are packed; null: the user's cache. The CPU's is PROMISE_MODEL. */
const char *promise_device_model(void);
const char *promise_device_cache(void);
/* Called when no engine is open: fails the test if the device holds anything. */
void promise_device_check(void);
/* Calls that asked the device or its driver for memory, and whether this thread is inside one of the driver's functions. */
uint64_t promise_device_allocations(void);
bool     promise_device_is_inside(void);
/* How much of the process's resident memory at most stood for memory of the device. */
uint64_t promise_device_resident(void);

recto_precision promise_narrowest(void);  /* of those offered */
int             promise_times(int times);  /* how often to do what a fast device does so often */

/* ---- Engine and model ---- */

struct promise_setup {
    const char     *model;         /* default: promise_device_model() */
    const char     *cache;         /* default: the user's; of the default model promise_device_cache() */
    const char     *instructions;
    recto_precision precision;
    uint32_t        threads;       /* default: 1 */
    uint64_t        budget, device_budget;
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

/* The usual small model of small_model.h, made for a group of tests in a folder of its own; its weights are packed beside it. */
extern char promise_small_model[], promise_small_cache[];
int         promise_small_set_up(void **state);
int         promise_small_tear_down(void **state);

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
