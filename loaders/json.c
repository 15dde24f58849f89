#include "loaders/json.h"

#include "loaders/file.h"

#include <jansson.h>
#include <pthread.h>
#include <string.h>

/* A document and all its values are one block. The library does not look whether the buffer of the string it reads could
 * grow, and would lose letters or abort: so the memory is taken before, as much as it can ever need. */
struct json_document {
    _Alignas(16) struct pool *pool;
    json_t                   *root;
    size_t                    room, used;  /* of `memory` */
    _Alignas(16) char         memory[];
};

/* What a walk over the raw text finds: enough to bound the depth and the memory before the library sees a byte. */
struct json_census {
    uint64_t strings, colons, commas, containers;
    size_t   longest;     /* bytes of the longest string or number, white space around it included */
    size_t   deepest_at;  /* byte of the bracket that passed JSON_DEPTH_MAX */
    bool     too_deep;
};

static size_t string_end(const char *text, size_t length, size_t at)
{
    while (at < length && text[at] != '"')
        at += text[at] == '\\' ? 2 : 1;
    return at;
}

static struct json_census json_count(const char *text, size_t length)
{
    struct json_census census = {0};
    int    depth = 0;
    size_t begin = 0;
    for (size_t at = 0; at < length; at++) {
        if (strchr(":,{[}]", text[at]) && text[at]) {
            census.longest = at - begin > census.longest ? at - begin : census.longest;
            begin = at + 1;
        }
        switch (text[at]) {
        case '"':
            census.strings++;
            at = string_end(text, length, at + 1);
            break;
        case ':': census.colons++; break;
        case ',': census.commas++; break;
        case '{':
        case '[':
            census.containers++;
            if (++depth > JSON_DEPTH_MAX) {
                census.too_deep = true;
                census.deepest_at = at;
                return census;
            }
            break;
        case '}':
        case ']': depth--; break;
        default: break;
        }
    }
    size_t rest = length > begin ? length - begin : 0;  /* a string may run to the end, closed or not */
    census.longest = rest > census.longest ? rest : census.longest;
    return census;
}

/* An upper bound of what jansson takes when nothing is given back. A member: its pair (57 bytes and the key), the key as it
 * was read, and buckets of 16 bytes in a table that doubles. A string: its value (32 bytes) and its bytes. An element: 8
 * bytes of a table that doubles. All keys twice and all strings once are at most twice the text's length; the longest one
 * is collected in a buffer that doubles from 16 bytes on. Each block is rounded up to 16. */
static uint64_t json_memory_bound(const struct json_census *census, size_t length)
{
    enum { MEMBER = 160, STRING = 48, NUMBER = 32, CONTAINER = 256, ELEMENT = 32, DOCUMENT = 1024 };
    uint64_t keys = census->colons < census->strings ? census->colons : census->strings;
    uint64_t values = census->commas + census->containers + 1;
    uint64_t elements = values - (keys < values ? keys : values);
    return DOCUMENT + 2 * (uint64_t)length + 4 * (uint64_t)census->longest + keys * MEMBER +
           (census->strings - keys) * STRING + values * NUMBER + elements * ELEMENT + census->containers * CONTAINER;
}

static _Thread_local struct json_document *being_parsed;

static void *take(size_t bytes)
{
    struct json_document *document = being_parsed;
    size_t                rounded = (bytes + 15) / 16 * 16;
    if (!document || rounded < bytes || rounded > document->room - document->used)
        return NULL;
    void *block = document->memory + document->used;
    document->used += rounded;
    return block;
}

static void keep(void *block)
{
    (void)block;  /* json_free gives back all at once */
}

static void set_allocator(void)
{
    json_set_alloc_funcs(take, keep);
}

/* The library quotes the text in its sentences: keep what is printed to plain ASCII. */
static void make_printable(char *text)
{
    for (; *text; text++)
        if (*text < 0x20 || *text == 0x7f)
            *text = '?';
}

static status json_refuse(json_error_t *cause, const char *name, struct error *error)
{
    if (json_error_code(cause) == json_error_out_of_memory)
        return error_set(error, STATUS_INTERNAL, "json: %s: its values need more memory than was foreseen", name);
    make_printable(cause->text);
    return error_set(error, STATUS_MODEL, "json: %s: line %d, column %d, byte %d: %s", name, cause->line, cause->column,
                     cause->position, cause->text);
}

static status json_load(struct json_document *document, const char *text, size_t length, const char *name,
                        struct error *error)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    json_error_t          cause;
    pthread_once(&once, set_allocator);
    being_parsed = document;
    document->root = json_loadb(text, length, JSON_REJECT_DUPLICATES, &cause);
    being_parsed = NULL;
    return document->root ? STATUS_OK : json_refuse(&cause, name, error);
}

status json_parse(struct pool *pool, const char *text, size_t length, const char *name, struct json_document **document,
                  struct error *error)
{
    *document = NULL;
    struct json_census census = json_count(text, length);
    if (census.too_deep)
        return error_set(error, STATUS_MODEL, "json: %s: byte %zu: nested deeper than %d levels", name, census.deepest_at,
                         JSON_DEPTH_MAX);
    void    *block;
    uint64_t room = json_memory_bound(&census, length);
    status   code = pool_alloc(pool, MEMORY_LOAD, sizeof(struct json_document) + (size_t)room, "the values of a JSON document",
                               &block, error);
    if (code != STATUS_OK)
        return code;
    struct json_document *made = block;
    *made = (struct json_document){.pool = pool, .room = (size_t)room};
    code = json_load(made, text, length, name, error);
    if (code != STATUS_OK) {
        json_free(made);
        return code;
    }
    *document = made;
    return STATUS_OK;
}

status json_read(struct pool *pool, const char *path, struct json_document **document, struct error *error)
{
    *document = NULL;
    char  *text;
    size_t length;
    status code = file_read(pool, MEMORY_LOAD, path, JSON_FILE_MAX, &text, &length, error);
    if (code != STATUS_OK)
        return code;
    code = json_parse(pool, text, length, path, document, error);
    pool_free(pool, text);
    return code;
}

void json_free(struct json_document *document)
{
    if (!document)
        return;
    pool_free(document->pool, document);
}

static const struct json *wrap(const json_t *value)
{
    return (const struct json *)value;
}

static const json_t *unwrap(const struct json *value)
{
    return (const json_t *)value;
}

const struct json *json_root(const struct json_document *document)
{
    return wrap(document->root);
}

enum json_kind json_kind(const struct json *value)
{
    if (!value)
        return JSON_KIND_ABSENT;
    switch (json_typeof(unwrap(value))) {
    case JSON_OBJECT: return JSON_KIND_OBJECT;
    case JSON_ARRAY: return JSON_KIND_ARRAY;
    case JSON_STRING: return JSON_KIND_STRING;
    case JSON_INTEGER: return JSON_KIND_INTEGER;
    case JSON_REAL: return JSON_KIND_REAL;
    case JSON_TRUE:
    case JSON_FALSE: return JSON_KIND_BOOLEAN;
    case JSON_NULL: return JSON_KIND_NULL;
    }
    return JSON_KIND_ABSENT;
}

const char *json_kind_name(enum json_kind kind)
{
    switch (kind) {
    case JSON_KIND_ABSENT: return "absent";
    case JSON_KIND_NULL: return "null";
    case JSON_KIND_BOOLEAN: return "a boolean";
    case JSON_KIND_INTEGER: return "an integer";
    case JSON_KIND_REAL: return "a real number";
    case JSON_KIND_STRING: return "a string";
    case JSON_KIND_ARRAY: return "an array";
    case JSON_KIND_OBJECT: return "an object";
    }
    return "unknown";
}

const struct json *json_member(const struct json *object, const char *key)
{
    return wrap(json_object_get(unwrap(object), key));
}

const char *json_as_string(const struct json *value, size_t *length)
{
    if (length)
        *length = json_string_length(unwrap(value));
    return json_string_value(unwrap(value));
}

bool json_as_integer(const struct json *value, int64_t *number)
{
    if (json_kind(value) != JSON_KIND_INTEGER)
        return false;
    *number = json_integer_value(unwrap(value));
    return true;
}

bool json_as_real(const struct json *value, double *number)
{
    enum json_kind kind = json_kind(value);
    if (kind != JSON_KIND_INTEGER && kind != JSON_KIND_REAL)
        return false;
    *number = json_number_value(unwrap(value));
    return true;
}

bool json_as_boolean(const struct json *value, bool *truth)
{
    if (json_kind(value) != JSON_KIND_BOOLEAN)
        return false;
    *truth = json_is_true(unwrap(value));
    return true;
}

size_t json_array_length(const struct json *array)
{
    return json_array_size(unwrap(array));
}

const struct json *json_array_at(const struct json *array, size_t index)
{
    return wrap(json_array_get(unwrap(array), index));
}

size_t json_object_length(const struct json *object)
{
    return json_object_size(unwrap(object));
}

/* The library's iteration functions take the object without const, and change nothing. */
bool json_next(const struct json *object, struct json_iterator *member)
{
    json_t *walked = (json_t *)(uintptr_t)object;
    member->position = member->position ? json_object_iter_next(walked, member->position) : json_object_iter(walked);
    if (!member->position)
        return false;
    member->key = json_object_iter_key(member->position);
    member->key_length = json_object_iter_key_len(member->position);
    member->value = wrap(json_object_iter_value(member->position));
    return true;
}
