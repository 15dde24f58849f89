/* fields.h: the members of a JSON object, read strictly.
 *
 * Configuration files are read field by field, and every field that is there must be accounted for: one that is read,
 * one known to change nothing, or one that is visibly off (null, false, an empty object or array). Anything else is an
 * error that names file and field, because it may mean that the answer would be different.
 * The first failure stays in `code`; every later call does nothing and returns its fallback, so a caller reads all its
 * fields in a row and looks at `code` once. A member that is null counts as absent.
 */
#ifndef RECTO_LOADERS_FIELDS_H
#define RECTO_LOADERS_FIELDS_H

#include "loaders/json.h"

#define FIELD_REQUIRED UINT64_MAX

struct fields {
    const struct json *object;
    const char        *path;  /* of the file, for sentences */
    status             code;
    struct error      *error;
};

/* `object` must be a JSON object; `path` must live as long as `fields` is used. */
void fields_begin(struct fields *fields, const struct json *object, const char *path, struct error *error);

bool        fields_has(const struct fields *fields, const char *name);
uint64_t    fields_count(struct fields *fields, const char *name, uint64_t fallback, uint64_t least, uint64_t most);
double      fields_real(struct fields *fields, const char *name, double fallback);
bool        fields_flag(struct fields *fields, const char *name, bool fallback);
const char *fields_text(struct fields *fields, const char *name, const char *fallback);  /* lives as the document does */

/* Fails when the member is there and is not this text. */
void fields_expect_text(struct fields *fields, const char *name, const char *expected);

/* Fails on the first member that is neither in `known` (ended by a null) nor visibly off. */
void fields_forbid_others(struct fields *fields, const char *const *known);

/* Records STATUS_MODEL with the sentence "PATH: ...", unless something failed before. */
void fields_fail(struct fields *fields, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Whether a value says "not used": null, false, {} or []. */
bool fields_is_off(const struct json *value);

#endif
