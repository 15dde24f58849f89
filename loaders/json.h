/* json.h: reading JSON texts; the one place that knows which library does it.
 *
 * json_parse reads a whole text into a document; values are looked at through const pointers into it, which live until
 * json_free. Accessors never fail loudly: asked of the wrong kind of value, or of null, they return null, 0 or false, so
 * that a caller can walk `json_member(json_member(root, "a"), "b")` and check once at the end. The grammar is strict:
 * UTF-8 only, an object or array at the top, no key twice, no NUL in a string, nothing after the value, integers within
 * 64 bits, at most JSON_DEPTH_MAX levels. All memory of a document is one block of the pool under MEMORY_LOAD, taken before
 * the library sees the text: reading cannot run out of it half way. A document is never changed, so any number of threads
 * may read it.
 */
#ifndef RECTO_LOADERS_JSON_H
#define RECTO_LOADERS_JSON_H

#include "runtime/pool.h"
#include "runtime/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { JSON_DEPTH_MAX = 128, JSON_FILE_MAX = 256 << 20 };

struct json_document;
struct json;  /* one value of a document */

enum json_kind {
    JSON_KIND_ABSENT,  /* the null pointer: no such member or element */
    JSON_KIND_NULL,
    JSON_KIND_BOOLEAN,
    JSON_KIND_INTEGER,
    JSON_KIND_REAL,
    JSON_KIND_STRING,
    JSON_KIND_ARRAY,
    JSON_KIND_OBJECT
};

/* `name` stands for the text in sentences (a file's path); neither is needed after the call. STATUS_MODEL when the text is
 * not JSON: the sentence has line, column and byte position. */
MUST_CHECK status json_parse(struct pool *pool, const char *text, size_t length, const char *name,
                             struct json_document **document, struct error *error);
/* Reads the file at `path`, of at most JSON_FILE_MAX bytes, and parses it. */
MUST_CHECK status json_read(struct pool *pool, const char *path, struct json_document **document, struct error *error);
void json_free(struct json_document *document);  /* null is allowed */
const struct json *json_root(const struct json_document *document);

enum json_kind json_kind(const struct json *value);
const char *json_kind_name(enum json_kind kind);  /* "an object", "a string", ...: for sentences */

/* Null when the value is absent, not an object, or has no such key. */
const struct json *json_member(const struct json *object, const char *key);

/* The string, NUL-terminated, or null when the value is not one; `length` (may be null) in bytes. */
const char *json_as_string(const struct json *value, size_t *length);
bool json_as_integer(const struct json *value, int64_t *number);
bool json_as_real(const struct json *value, double *number);  /* integers are accepted */
bool json_as_boolean(const struct json *value, bool *truth);

size_t json_array_length(const struct json *array);
const struct json *json_array_at(const struct json *array, size_t index);

/* The members of an object in the order of the text:
 *     struct json_iterator member = {0};
 *     while (json_next(object, &member))
 *         use(member.key, member.key_length, member.value); */
struct json_iterator {
    const char        *key;
    size_t             key_length;
    const struct json *value;
    void              *position;  /* private */
};
size_t json_object_length(const struct json *object);
bool json_next(const struct json *object, struct json_iterator *member);

#endif
