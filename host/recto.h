/* recto.h: the one public header of recto, an inference engine for documents.
 *
 * Text in, vectors out, inside a byte budget, with the same bits every time:
 *
 *     recto_engine *engine;
 *     recto_model  *model;
 *     recto_error   error = RECTO_ERROR_INIT;
 *     if (recto_engine_open(&engine, NULL, &error) || recto_model_open(engine, "all-minilm-l6-v2", NULL, &model, &error))
 *         return puts(error.message), 1;
 *     recto_text text = { "What is a hard ceiling?", 23 };
 *     float      vector[384];
 *     if (recto_embed(model, &text, 1, NULL, vector, NULL, &error))
 *         return puts(error.message), 1;
 *
 * Conventions. A function that can fail returns a recto_status, 0 for success, and writes one sentence into the recto_error
 * that it was given (null is allowed). Options are structs whose first field is their size; zero means the default; null
 * means all defaults. Handles are opaque; closing null does nothing. The library never prints, exits or aborts; it reads
 * the environment once, in recto_engine_open (recto --options lists what). After fork() only the parent may go on.
 */
#ifndef RECTO_H
#define RECTO_H

#include <stddef.h>
#include <stdint.h>

#define RECTO_VERSION_MAJOR 0
#define RECTO_VERSION_MINOR 1
#define RECTO_VERSION_PATCH 0

#if defined(__GNUC__)
#define RECTO_API       __attribute__((visibility("default")))
#define RECTO_MUST_CHECK __attribute__((warn_unused_result))
#else
#define RECTO_API
#define RECTO_MUST_CHECK
#endif

#ifdef __cplusplus
extern "C" {
#endif

typedef enum recto_status {
    RECTO_OK          = 0,
    RECTO_E_USAGE     = -1,  /* an argument or option that makes no sense */
    RECTO_E_INPUT     = -2,  /* a text that cannot be processed */
    RECTO_E_MODEL     = -3,  /* a model that is missing, broken or not understood */
    RECTO_E_IO        = -4,  /* the system refused to read or write */
    RECTO_E_BUDGET    = -5,  /* the byte budget cannot hold the work; the sentence names both numbers */
    RECTO_E_MEMORY    = -6,  /* the system gave no memory although the budget allowed it */
    RECTO_E_CANCELLED = -7,
    RECTO_E_DEADLINE  = -8,
    RECTO_E_DEVICE    = -9,  /* the device asked for is absent or broken */
    RECTO_E_INTERNAL  = -10  /* a bug in recto */
} recto_status;

typedef struct recto_error {
    uint32_t     struct_size;
    recto_status code;
    char         message[512];  /* one sentence, without a full stop */
} recto_error;
#define RECTO_ERROR_INIT { sizeof(recto_error), RECTO_OK, { 0 } }

RECTO_API const char *recto_version(void);                   /* "0.1.0" */
RECTO_API const char *recto_status_name(recto_status status); /* "budget", "model", ... */

/* ---- Engine: a device, a byte budget, threads. Any thread may use it at any time, and whatever GPU it has chosen for work of its
 * own is chosen still when a call returns; a forked child may not use it. Close it last and alone. ---- */

typedef struct recto_engine recto_engine;

typedef enum recto_device { RECTO_DEVICE_AUTO, RECTO_DEVICE_CPU, RECTO_DEVICE_CUDA } recto_device;

/* level: 0 error, 1 warning, 2 note. May be called from any thread, one call at a time. */
typedef void recto_log(void *user, int level, const char *message);

typedef struct recto_engine_options {
    uint32_t     struct_size;
    recto_device device;        /* default: RECTO_DEVICE, else CUDA where there is one, else the CPU */
    uint64_t     host_bytes;    /* bytes of host memory, never exceeded; default: RECTO_MEMORY, else no ceiling */
    uint64_t     device_bytes;  /* bytes of device memory; default: no ceiling. What a GPU's driver takes for itself, there and on
                                 * the host (its context, the code of kernels, streams), is in neither count */
    uint32_t     threads;       /* default: RECTO_THREADS, else what affinity and control group grant */
    recto_log   *log;           /* default: silence */
    void        *log_user;
    const char  *cache_folder;  /* fetched models and packed weights; default: RECTO_CACHE, else the user's cache folder */
    const char  *hub_folder;    /* a Hugging Face cache, read-only; default: HF_HUB_CACHE, else its usual place */
    const char  *instructions;  /* CPU kernels, such as "avx2"; default: RECTO_INSTRUCTIONS, else the best that runs */
} recto_engine_options;

RECTO_API RECTO_MUST_CHECK recto_status recto_engine_open(recto_engine **engine, const recto_engine_options *options,
                                                          recto_error *error);
RECTO_API void recto_engine_close(recto_engine *engine);

typedef struct recto_engine_info {
    uint32_t    struct_size;
    const char *device;          /* "cpu"; lives as long as the engine, as do all strings here */
    const char *instructions;    /* "avx512bf16" */
    const char *cpu;             /* what the processor calls itself */
    uint32_t    threads;
    uint64_t    budget_bytes;    /* 0: none */
    uint64_t    bytes_in_use;    /* booked now, by everything that the engine holds */
    uint64_t    peak_bytes;      /* most bytes ever booked at once */
    uint64_t    weight_bytes, arena_bytes, request_bytes, plan_bytes, tokenizer_bytes;  /* of bytes_in_use */
    uint64_t    texts, tokens;   /* embedded since the engine was opened */
    uint64_t    runs;            /* forward passes */
    uint64_t    shared_runs;     /* of which several requests had a part */
    uint64_t    splits;          /* batches made smaller because the budget did not hold them */
    uint64_t    plans_built;     /* plans traced; flat once every size has been seen */
    /* a GPU alone; zeros on the CPU: */
    const char *device_name;          /* what it calls itself, else null */
    uint64_t    device_memory;        /* bytes that it has */
    uint64_t    device_budget_bytes;  /* 0: none */
    uint64_t    device_bytes_in_use, device_peak_bytes;
    uint64_t    graphs;               /* forward passes kept as one order to the device */
    uint64_t    captures, replays;    /* graphs made, and runs done by one */
    uint64_t    eager;                /* runs done kernel by kernel: the first of a size */
    uint64_t    fallbacks;            /* and those where a graph was wanted and could not be had */
    char        fallback_reason[256]; /* of the last one */
} recto_engine_info;

RECTO_API recto_status recto_engine_describe(recto_engine *engine, recto_engine_info *info);

/* ---- Model: weights, tokenizer and settings of one folder. Immutable; any thread may use it; close it before the engine
 *      and after the calls that use it have returned. ---- */

typedef struct recto_model recto_model;

typedef enum recto_precision {
    RECTO_PRECISION_AUTO,  /* bf16 where the device computes it faster than fp32, else fp32 */
    RECTO_PRECISION_FP32,
    RECTO_PRECISION_BF16,
    RECTO_PRECISION_INT8,  /* the CPU's alone */
    RECTO_PRECISION_FP8    /* e4m3 linears, on a Hopper GPU alone */
} recto_precision;

/* Return non-zero to stop. done and total count bytes of weights. */
typedef int recto_progress(void *user, const char *stage, uint64_t done, uint64_t total);

typedef struct recto_model_options {
    uint32_t        struct_size;
    recto_precision precision;      /* default: auto */
    recto_progress *progress;       /* default: none; called while weights are packed */
    void           *progress_user;
} recto_model_options;

/* `name`: a folder, a model that weights/fetch has fetched, or organisation/name[@revision] in a Hugging Face cache. */
RECTO_API RECTO_MUST_CHECK recto_status recto_model_open(recto_engine *engine, const char *name,
                                                         const recto_model_options *options, recto_model **model,
                                                         recto_error *error);
RECTO_API void recto_model_close(recto_model *model);

typedef struct recto_model_info {
    uint32_t        struct_size;
    recto_precision precision;        /* never auto */
    const char     *folder;           /* lives as long as the model, as do all strings here */
    uint32_t        dimensions;       /* of a vector */
    uint32_t        max_tokens;       /* of a text, special tokens included */
    uint32_t        layers, width, heads, inner, vocabulary;
    const char     *pooling;          /* "mean", "cls" or "last token" */
    int             normalized;       /* whether vectors have length one */
    uint64_t        weight_bytes;
    int             packed_now;       /* weights were packed by this call, not found */
    uint32_t        prompt_count;
    const char     *default_prompt;   /* name, or null */
} recto_model_info;

RECTO_API recto_status recto_model_describe(const recto_model *model, recto_model_info *info);
/* Name and text of a prompt; null past the last. */
RECTO_API const char *recto_model_prompt(const recto_model *model, uint32_t index, const char **text);

/* ---- Embedding. Any number of threads at once: their texts share batches. ---- */

typedef struct recto_text {
    const char *data;    /* UTF-8; need not end in NUL */
    size_t      length;  /* bytes */
} recto_text;

typedef struct recto_text_result {
    uint32_t tokens;     /* that were embedded, special tokens included */
    uint32_t truncated;  /* 1: the text was longer */
} recto_text_result;

/* A flag that any thread may raise; a handle of its own because it may outlive the call. */
typedef struct recto_cancel recto_cancel;
RECTO_API RECTO_MUST_CHECK recto_status recto_cancel_open(recto_cancel **cancel, recto_error *error);
RECTO_API void recto_cancel_raise(recto_cancel *cancel);  /* also from a signal handler */
RECTO_API void recto_cancel_close(recto_cancel *cancel);

typedef struct recto_embed_options {
    uint32_t            struct_size;
    const char         *prompt;       /* name of one of the model's prompts; default: the model's own default, if any */
    uint32_t            dimensions;   /* first so many of a vector, made length one again; default: all */
    int                 truncate;     /* 1: texts longer than the model allows are cut; default: they are an error */
    int                 token_ids;    /* 1: data are int32_t token ids, special tokens included; no prompt is added */
    const recto_cancel *cancel;       /* default: none */
    uint64_t            deadline_ns;  /* CLOCK_MONOTONIC; default: none */
} recto_embed_options;

/* Writes `count` vectors, one after another, in the order of the texts. On failure nothing is promised about them. */
RECTO_API RECTO_MUST_CHECK recto_status recto_embed(recto_model *model, const recto_text *texts, size_t count,
                                                    const recto_embed_options *options, float *vectors,
                                                    recto_text_result *results, recto_error *error);

/* The token ids of a text and where in it (bytes) they come from; null arrays are not filled. `count` holds the room at entry
 * and the number of tokens at return; if that is more, RECTO_E_INPUT and nothing is written. */
typedef struct recto_tokens {
    uint32_t  struct_size;
    size_t    count;
    int32_t  *ids;
    uint32_t *starts, *ends;
} recto_tokens;
RECTO_API RECTO_MUST_CHECK recto_status recto_tokenize(recto_model *model, const recto_text *text, recto_tokens *tokens,
                                                       recto_error *error);

#ifdef __cplusplus
}
#endif

#endif
