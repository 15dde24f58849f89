/* small_model.h: a model of a few thousand weights that tests change, break and write as a folder.
 *
 * The weights are numbers made of the tensor's name and the element's index, the vocabulary is the letters and digits (a word
 * of n letters has n tokens). What goes wrong while writing ends the program: a test that cannot write its files is no test.
 */
#ifndef RECTO_TESTS_SUPPORT_SMALL_MODEL_H
#define RECTO_TESTS_SUPPORT_SMALL_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { SMALL_TENSORS_MAX = 64, SMALL_PATH_MAX = 512 };

struct small_tensor {
    char        name[96];
    const char *dtype;      /* as the file says */
    int         rank;
    int64_t     shape[2];   /* as the file says */
    void       *data;
    size_t      bytes;
};

struct small_sizes {
    int layers, width, heads, inner, vocabulary, positions, types;
    int dense;              /* outputs of a dense layer behind the pooling; 0: none */
};

struct small_model {
    struct small_sizes  sizes;           /* what config.json will say */
    bool                tokenizer_json;  /* instead of vocab.txt */
    const char         *prompts;         /* members of "prompts", or null */
    struct small_tensor tensors[SMALL_TENSORS_MAX], dense[2];
    int                 count;
};

/* Two layers of 32 elements in 2 heads, 48 inner ones, 80 pieces, 64 positions. */
extern const struct small_sizes small_usual;
/* Twice as wide: its heads of 32 elements are the smallest that a GPU's kernels take. */
extern const struct small_sizes small_wide;

void small_model_make(struct small_model *model, const struct small_sizes *sizes);
void small_model_release(struct small_model *model);
struct small_tensor *small_model_tensor(struct small_model *model, const char *name);
void small_model_drop(struct small_model *model, const char *name);
/* The folder is made where it is not there. */
void small_model_write(const struct small_model *model, const char *folder);
/* A model of these sizes, made, written and released. */
void small_model_create(const struct small_sizes *sizes, const char *folder);

/* ---- Files ---- */

/* A new empty folder for scratch files, in memory where the system has such a place. */
void scratch_make(char path[SMALL_PATH_MAX]);
void scratch_remove(const char *path);  /* with all that is in it; no error when it is not there */
void scratch_write(const char *folder, const char *name, const void *bytes, size_t length);
/* The whole file in memory to be freed. */
unsigned char *scratch_read(const char *folder, const char *name, size_t *length);

#endif
