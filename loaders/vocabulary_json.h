/* vocabulary_json.h: the "vocab" of a tokenizer.json, read straight from the text.
 *
 * The object has as many members as the vocabulary has pieces and is nearly all of the file; reading it in place is ten
 * times as fast as building a tree of it and takes no memory. The rest of the file goes through json.h.
 */
#ifndef RECTO_LOADERS_VOCABULARY_JSON_H
#define RECTO_LOADERS_VOCABULARY_JSON_H

#include "runtime/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { VOCABULARY_JSON_ESCAPED_MAX = 1024 };  /* bytes of a key that holds escapes */

struct vocabulary_json {
    const char *text, *start, *end;  /* the whole file; the object in it, from brace to brace */
};

/* Finds model.vocab; false where there is no such object (or the text is no JSON, which json.h says better). */
bool vocabulary_json_find(const char *text, size_t length, struct vocabulary_json *object);

struct vocabulary_json_member {
    const char *key;     /* valid until the next call */
    size_t      key_length;
    int64_t     id;
    const char *position;  /* private, null at first */
    char        escaped[VOCABULARY_JSON_ESCAPED_MAX];
};

/* The next member. *more is false at the end. STATUS_MODEL with the byte position where a key is not a string of UTF-8 or a
 * value not an integer. */
MUST_CHECK status vocabulary_json_next(const struct vocabulary_json *object, struct vocabulary_json_member *member,
                                       bool *more, struct error *error);

#endif
