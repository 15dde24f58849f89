/* Model folders from anywhere: one input is the folder's configuration files, in a fixed order, with the byte 0xFF (which
 * no UTF-8 text holds) between them; a file after the end of the input, or of which nothing is left, is absent. */
#include "loaders/model_folder.h"

#include "runtime/pool.h"

#include <stdlib.h>
#include <string.h>

static const char *const names[] = {"config.json",           "modules.json",
                                    "1_Pooling/config.json", "sentence_bert_config.json",
                                    "tokenizer_config.json", "config_sentence_transformers.json",
                                    "2_Dense/config.json",   "3_Normalize/config.json"};

enum { NAMES = sizeof names / sizeof *names, CEILING = 64 << 20 };

struct piece {
    const uint8_t *bytes;
    size_t         length;
};

static bool is_always_there(const char *name)
{
    return strstr(name, ".safetensors") || strcmp(name, "vocab.txt") == 0;
}

static const struct piece *find_piece(const struct piece *pieces, const char *name)
{
    for (size_t i = 0; i < NAMES; i++)
        if (strcmp(names[i], name) == 0 && pieces[i].length > 0)
            return &pieces[i];
    return NULL;
}

static status piece_has(void *user, const char *name, bool *has, struct error *error)
{
    (void)error;
    *has = is_always_there(name) || find_piece(user, name);
    return STATUS_OK;
}

static status piece_read(void *user, struct pool *pool, const char *name, uint64_t limit, char **text, size_t *length,
                         struct error *error)
{
    const struct piece *piece = find_piece(user, name);
    if (!piece || piece->length > limit)
        return error_set(error, STATUS_MODEL, "%s: there is no such file", name);
    void  *block;
    status code = pool_alloc(pool, MEMORY_LOAD, piece->length + 1, "a file", &block, error);
    if (code != STATUS_OK)
        return code;
    memcpy(block, piece->bytes, piece->length);
    *text = block;
    (*text)[piece->length] = '\0';
    *length = piece->length;
    return STATUS_OK;
}

/* What everything behind the loader relies on. */
static void check(const struct model_folder *folder)
{
    uint32_t features = folder->width;
    for (uint32_t i = 0; i < folder->dense_count; i++) {
        if (folder->dense[i].in != features || !folder->dense[i].weights)
            abort();
        features = folder->dense[i].out;
    }
    if (features != folder->dimensions || folder->heads == 0 || folder->width % folder->heads != 0 || folder->layers == 0 ||
        folder->max_tokens > folder->positions || folder->max_tokens == 0 || !folder->weights || !folder->vocab_txt)
        abort();
    for (uint32_t i = 0; i < folder->prompt_count; i++)
        if (!folder->prompts[i].name || !folder->prompts[i].text)
            abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct piece pieces[NAMES] = {{0}};
    for (size_t i = 0; i < NAMES && size > 0; i++) {
        const uint8_t *end = memchr(data, 0xFF, size);
        size_t length = end ? (size_t)(end - data) : size;
        pieces[i] = (struct piece){.bytes = data, .length = length};
        data += length + (end != NULL);
        size -= length + (end != NULL);
    }
    struct pool *pool;
    struct error error;
    struct model_folder *folder;
    struct pool_usage usage;
    struct model_folder_source source = {.has = piece_has, .read = piece_read, .user = pieces};
    if (pool_open(&pool, CEILING, NULL) != STATUS_OK)
        abort();
    if (model_folder_open_from(&folder, pool, "folder", &source, &error) == STATUS_OK)
        check(folder);
    model_folder_close(folder);
    pool_usage(pool, &usage);
    if (usage.in_use != 0)
        abort();
    pool_close(pool);
    return 0;
}
