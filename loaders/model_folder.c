#include "loaders/model_folder_parts.h"

#include "loaders/file.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

enum { CONFIGURATION_MAX = 16 << 20 };  /* bytes of one configuration file; the largest known has 0.1 MB */

/* Everything that a folder owns hangs in one list. */
struct folder_block {
    struct folder_block *next;
};

struct folder_owner {
    struct model_folder  folder;  /* first: callers hold a pointer to it */
    struct pool         *pool;
    struct folder_block *blocks;
};

/* ---- memory ----------------------------------------------------------------------------------------------------- */

status folder_allocate(struct folder_reading *reading, size_t bytes, void **block)
{
    struct folder_owner *owner = (struct folder_owner *)reading->folder;
    void  *made;
    status code = pool_alloc(reading->pool, MEMORY_TOKENIZER, sizeof(struct folder_block) + bytes,
                             "the description of a model folder", &made, reading->error);
    if (code != STATUS_OK)
        return code;
    struct folder_block *link = made;
    link->next = owner->blocks;
    owner->blocks = link;
    *block = link + 1;
    return STATUS_OK;
}

status folder_keep(struct folder_reading *reading, const char *text, const char **kept)
{
    void  *block;
    size_t bytes = strlen(text) + 1;
    status code = folder_allocate(reading, bytes, &block);
    if (code == STATUS_OK)
        *kept = memcpy(block, text, bytes);
    return code;
}

status folder_note(struct folder_reading *reading, const char *format, ...)
{
    struct model_folder *folder = reading->folder;
    char    sentence[512];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(sentence, sizeof sentence, format, arguments);
    va_end(arguments);
    if (folder->note_count == MODEL_FOLDER_NOTES_MAX)
        return error_set(reading->error, STATUS_INTERNAL, "%s: more than %d notes", folder->path, MODEL_FOLDER_NOTES_MAX);
    status code = folder_keep(reading, sentence, &folder->notes[folder->note_count]);
    if (code == STATUS_OK)
        folder->note_count++;
    return code;
}

void model_folder_close(struct model_folder *folder)
{
    struct folder_owner *owner = (struct folder_owner *)folder;
    if (!owner)
        return;
    while (owner->blocks) {
        struct folder_block *next = owner->blocks->next;
        pool_free(owner->pool, owner->blocks);
        owner->blocks = next;
    }
    pool_free(owner->pool, owner);
}

/* ---- files ------------------------------------------------------------------------------------------------------ */

static status join(char *to, size_t room, const char *front, const char *back, struct error *error)
{
    const char *slash = *front && front[strlen(front) - 1] != '/' ? "/" : "";
    int length = snprintf(to, room, "%s%s%s", front, slash, back);
    if (length < 0 || (size_t)length >= room)
        return error_set(error, STATUS_MODEL, "the path '%.200s...' is longer than %zu bytes", front, room - 1);
    return STATUS_OK;
}

/* Leaves the whole path in reading->path and what follows the folder's own in `name`. */
static status locate(struct folder_reading *reading, const char *subfolder, const char *file, char *name)
{
    status code = join(name, FOLDER_NAME_MAX, subfolder, file, reading->error);
    if (code == STATUS_OK)
        code = join(reading->path, sizeof reading->path, reading->folder->path, name, reading->error);
    return code;
}

status folder_has(struct folder_reading *reading, const char *subfolder, const char *file, bool *has)
{
    char   name[FOLDER_NAME_MAX];
    status code = locate(reading, subfolder, file, name);
    return code != STATUS_OK ? code : reading->source->has(reading->source->user, name, has, reading->error);
}

status folder_keep_path(struct folder_reading *reading, const char *subfolder, const char *file, const char **kept)
{
    char   name[FOLDER_NAME_MAX];
    status code = locate(reading, subfolder, file, name);
    return code != STATUS_OK ? code : folder_keep(reading, reading->path, kept);
}

/* Where a number outside strings starts, or the end. */
static char *next_number(char *text)
{
    bool quoted = false;
    for (; *text; text++) {
        if (*text == '\\' && quoted && text[1])
            text++;
        else if (*text == '"')
            quoted = !quoted;
        else if (!quoted && isdigit((unsigned char)*text))
            return text;
    }
    return text;
}

/* tokenizer_config.json says "no limit" by an integer of 31 digits, which is JSON but beyond every 64-bit reader. The last
 * three digits of such a number become an exponent, which makes it a real of the same size. */
static void shorten_integers(char *text)
{
    for (char *number = next_number(text); *number; number = next_number(number)) {
        size_t digits = strspn(number, "0123456789");
        char  *end = number + digits;
        if (digits > 18 && !strchr(".eE", *end))
            memcpy(end - 3, "e03", 3);
        number = end + strspn(end, "+-.eE0123456789");
    }
}

status folder_parse(struct folder_reading *reading, const char *subfolder, const char *file,
                    struct json_document **document, struct fields *fields)
{
    *document = NULL;
    char   name[FOLDER_NAME_MAX];
    char  *text;
    size_t length;
    status code = locate(reading, subfolder, file, name);
    if (code == STATUS_OK)
        code = reading->source->read(reading->source->user, reading->pool, name, CONFIGURATION_MAX, &text, &length,
                                     reading->error);
    if (code != STATUS_OK)
        return code;
    shorten_integers(text);
    code = json_parse(reading->pool, text, length, reading->path, document, reading->error);
    pool_free(reading->pool, text);
    if (code == STATUS_OK && fields) {
        fields_begin(fields, json_root(*document), reading->path, reading->error);
        code = fields->code;
    }
    if (code != STATUS_OK) {
        json_free(*document);
        *document = NULL;
    }
    return code;
}

status folder_parse_optional(struct folder_reading *reading, const char *subfolder, const char *file,
                             struct json_document **document, struct fields *fields)
{
    *document = NULL;
    bool   has = false;
    status code = folder_has(reading, subfolder, file, &has);
    return code == STATUS_OK && has ? folder_parse(reading, subfolder, file, document, fields) : code;
}

/* ---- the file system as a source -------------------------------------------------------------------------------- */

/* A link that leads nowhere is what an interrupted download leaves. It must not look like an absent file: without its
 * modules.json, say, a model would be computed in another way. */
static status disk_has(void *user, const char *name, bool *has, struct error *error)
{
    char        path[FOLDER_PATH_MAX];
    struct stat facts;
    *has = false;
    status code = join(path, sizeof path, user, name, error);
    if (code != STATUS_OK)
        return code;
    if (stat(path, &facts) == 0) {
        *has = true;
        return STATUS_OK;
    }
    int number = errno;
    if (lstat(path, &facts) == 0)
        return error_set(error, STATUS_MODEL, "%s: a link that leads to no file; the download of the model is incomplete",
                         path);
    return number == ENOENT || number == ENOTDIR ? STATUS_OK : file_refuse(error, path, "look for the file", number);
}

static status disk_read(void *user, struct pool *pool, const char *name, uint64_t limit, char **text, size_t *length,
                        struct error *error)
{
    char   path[FOLDER_PATH_MAX];
    status code = join(path, sizeof path, user, name, error);
    return code != STATUS_OK ? code : file_read(pool, MEMORY_LOAD, path, limit, text, length, error);
}

static status check_folder(const char *path, struct error *error)
{
    struct stat facts;
    if (stat(path, &facts) != 0)
        return errno == ENOENT || errno == ENOTDIR
                   ? error_set(error, STATUS_MODEL, "%s: there is no such folder", path)
                   : file_refuse(error, path, "open the folder", errno);
    if (!S_ISDIR(facts.st_mode))
        return error_set(error, STATUS_MODEL, "%s: expected a model's folder, found a file", path);
    return STATUS_OK;
}

/* ---- the files that are not configuration ------------------------------------------------------------------------ */

static status find_weights(struct folder_reading *reading)
{
    struct model_folder *folder = reading->folder;
    const char *sub = reading->subfolder;
    bool   whole = false, sharded = false, pickled = false;
    status code = folder_has(reading, sub, "model.safetensors", &whole);
    if (code == STATUS_OK && !whole)
        code = folder_has(reading, sub, "model.safetensors.index.json", &sharded);
    if (code == STATUS_OK && !whole && !sharded)
        code = folder_has(reading, sub, "pytorch_model.bin", &pickled);
    if (code != STATUS_OK)
        return code;
    if (pickled)
        return error_set(reading->error, STATUS_MODEL,
                         "%s: it has its weights only as pytorch_model.bin, a format that can run code when it is opened; "
                         "recto reads model.safetensors", folder->path);
    if (!whole && !sharded)
        return error_set(reading->error, STATUS_MODEL,
                         "%s: there are no weights: neither model.safetensors nor model.safetensors.index.json",
                         folder->path);
    folder->sharded = sharded;
    return folder_keep_path(reading, sub, whole ? "model.safetensors" : "model.safetensors.index.json", &folder->weights);
}

static status find_tokenizer(struct folder_reading *reading)
{
    struct model_folder *folder = reading->folder;
    const char *sub = reading->subfolder;
    bool   json = false, vocabulary = false;
    status code = folder_has(reading, sub, "tokenizer.json", &json);
    if (code == STATUS_OK)
        code = folder_has(reading, sub, "vocab.txt", &vocabulary);
    if (code == STATUS_OK && !json && !vocabulary)
        code = error_set(reading->error, STATUS_MODEL, "%s: there is no tokenizer: neither tokenizer.json nor vocab.txt",
                         folder->path);
    if (code == STATUS_OK && json)
        code = folder_keep_path(reading, sub, "tokenizer.json", &folder->tokenizer_json);
    if (code == STATUS_OK && vocabulary)
        code = folder_keep_path(reading, sub, "vocab.txt", &folder->vocab_txt);
    return code;
}

/* ---- opening ---------------------------------------------------------------------------------------------------- */

static status read_all(struct folder_reading *reading)
{
    typedef status step(struct folder_reading *);
    static step *const steps[] = {model_folder_read_modules, model_folder_read_network, model_folder_read_chain,
                                  model_folder_read_text, find_tokenizer, find_weights};
    status code = STATUS_OK;
    for (size_t i = 0; code == STATUS_OK && i < sizeof steps / sizeof *steps; i++)
        code = steps[i](reading);
    return code;
}

status model_folder_open_from(struct model_folder **folder, struct pool *pool, const char *path,
                              const struct model_folder_source *source, struct error *error)
{
    *folder = NULL;
    void  *made;
    status code = pool_alloc(pool, MEMORY_TOKENIZER, sizeof(struct folder_owner), "the description of a model folder",
                             &made, error);
    if (code != STATUS_OK)
        return code;
    struct folder_owner *owner = made;
    *owner = (struct folder_owner){.pool = pool};
    struct folder_reading reading = {.folder = &owner->folder, .pool = pool, .source = source, .error = error};
    code = folder_keep(&reading, path, &owner->folder.path);
    if (code == STATUS_OK)
        code = read_all(&reading);
    if (code != STATUS_OK) {
        model_folder_close(&owner->folder);
        return code;
    }
    *folder = &owner->folder;
    return STATUS_OK;
}

status model_folder_open(struct model_folder **folder, struct pool *pool, const char *path, struct error *error)
{
    *folder = NULL;
    status code = check_folder(path, error);
    if (code != STATUS_OK)
        return code;
    struct model_folder_source disk = {.has = disk_has, .read = disk_read, .user = (void *)(uintptr_t)path};
    return model_folder_open_from(folder, pool, path, &disk, error);
}

/* ---- names ------------------------------------------------------------------------------------------------------ */

const char *model_folder_pooling_name(enum model_folder_pooling pooling)
{
    switch (pooling) {
    case MODEL_FOLDER_CLS: return "cls";
    case MODEL_FOLDER_MEAN: return "mean";
    case MODEL_FOLDER_LAST: return "lasttoken";
    }
    return "unknown";
}

const char *model_folder_activation_name(enum model_folder_activation activation)
{
    switch (activation) {
    case MODEL_FOLDER_GELU: return "gelu";
    case MODEL_FOLDER_GELU_TANH: return "gelu_tanh";
    case MODEL_FOLDER_RELU: return "relu";
    case MODEL_FOLDER_SILU: return "silu";
    case MODEL_FOLDER_IDENTITY: return "identity";
    case MODEL_FOLDER_TANH: return "tanh";
    }
    return "unknown";
}
