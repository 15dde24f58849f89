/* model_folder.h: a Hugging Face or sentence-transformers folder, read as it is into one checked description.
 *
 * The description says what must be computed from text to vector: the tokenizer's files and settings, the network's
 * sizes, pooling, dense layers, normalisation, prompts. Tensors are not read here. Whatever a folder says that recto does
 * not know, or that contradicts itself, is an error naming file and field, never a silent fallback; fields known to
 * change nothing in inference are listed in the sources. Where a folder leaves a choice open that must be made, it is made
 * as sentence-transformers makes it and said in `notes`.
 *
 * Every string and array belongs to the folder and lives until model_folder_close. A folder is never changed after it is
 * opened: any number of threads may read it.
 */
#ifndef RECTO_LOADERS_MODEL_FOLDER_H
#define RECTO_LOADERS_MODEL_FOLDER_H

#include "runtime/pool.h"
#include "runtime/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { MODEL_FOLDER_DENSE_MAX = 4, MODEL_FOLDER_NOTES_MAX = 8 };

enum model_folder_activation {
    MODEL_FOLDER_GELU,       /* with the error function */
    MODEL_FOLDER_GELU_TANH,  /* the tanh approximation */
    MODEL_FOLDER_RELU,
    MODEL_FOLDER_SILU,
    MODEL_FOLDER_IDENTITY,   /* dense layers only, as is the next */
    MODEL_FOLDER_TANH
};

enum model_folder_pooling { MODEL_FOLDER_CLS, MODEL_FOLDER_MEAN, MODEL_FOLDER_LAST };

enum model_folder_choice { MODEL_FOLDER_UNSAID, MODEL_FOLDER_NO, MODEL_FOLDER_YES };

struct model_folder_dense {
    uint32_t                     in, out;  /* features; the first layer's `in` is what pooling gives */
    bool                         bias;
    enum model_folder_activation activation;
    const char                  *weights;  /* path of its safetensors file: linear.weight [out, in], linear.bias [out] */
};

struct model_folder_prompt {
    const char *name, *text;
};

struct model_folder {
    const char *path;

    /* The network: a BERT encoder, norms after the residuals, learned absolute positions. */
    uint32_t                     layers, width, heads, inner;
    uint32_t                     vocabulary, positions, token_types;
    double                       norm_epsilon;
    enum model_folder_activation activation;

    /* What follows it. `dimensions` is the length of the final vector. */
    enum model_folder_pooling pooling;
    bool                      include_prompt;  /* false: the prompt's tokens are left out of the pooling */
    struct model_folder_dense dense[MODEL_FOLDER_DENSE_MAX];
    uint32_t                  dense_count;
    bool                      normalize;       /* to length 1 */
    uint32_t                  dimensions;

    /* What precedes it. `max_tokens` counts special tokens: max_seq_length where the folder states one, else the
     * tokenizer's model_max_length where that is a real limit, never more than `positions`. */
    uint32_t                    max_tokens;
    bool                        lower_case_first;  /* lower-case the text unless the tokenizer's normaliser does */
    enum model_folder_choice    do_lower_case, strip_accents, split_chinese;  /* what tokenizer_config.json says */
    const char                 *tokenizer_class;   /* null: not said */
    struct model_folder_prompt *prompts;
    uint32_t                    prompt_count;
    const char                 *default_prompt;    /* name of the prompt for texts that name none, or null */

    /* Files, as whole paths. */
    const char *tokenizer_json;  /* null: there is none */
    const char *vocab_txt;       /* null: there is none; one of the two is always there */
    const char *weights;         /* model.safetensors, or the index when sharded */
    bool        sharded;         /* `weights` is model.safetensors.index.json */

    const char *notes[MODEL_FOLDER_NOTES_MAX];  /* sentences for a log: choices made where the folder made none */
    uint32_t    note_count;
};

/* STATUS_MODEL when the folder is missing, broken or not understood. *folder is null after a failure. */
MUST_CHECK status model_folder_open(struct model_folder **folder, struct pool *pool, const char *path,
                                    struct error *error);
void model_folder_close(struct model_folder *folder);  /* null is allowed */

/* A folder whose files come from elsewhere than the file system, as in tests and fuzzers. `name` is relative to the
 * folder. */
struct model_folder_source {
    status (*has)(void *user, const char *name, bool *has, struct error *error);
    /* The whole file, at most `limit` bytes, in a block of the pool with a NUL behind it. */
    status (*read)(void *user, struct pool *pool, const char *name, uint64_t limit, char **text, size_t *length,
                   struct error *error);
    void *user;
};
MUST_CHECK status model_folder_open_from(struct model_folder **folder, struct pool *pool, const char *path,
                                         const struct model_folder_source *source, struct error *error);

/* "mean", "gelu", ...: one word, for people. */
const char *model_folder_pooling_name(enum model_folder_pooling pooling);
const char *model_folder_activation_name(enum model_folder_activation activation);

#endif
