#include "loaders/fields.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void fields_begin(struct fields *fields, const struct json *object, const char *path, struct error *error)
{
    *fields = (struct fields){.object = object, .path = path, .code = STATUS_OK, .error = error};
    if (json_kind(object) != JSON_KIND_OBJECT)
        fields_fail(fields, "expected an object, found %s", json_kind_name(json_kind(object)));
}

/* Files are untrusted and sentences go to terminals. */
static void make_printable(char *text)
{
    for (; *text; text++)
        if ((unsigned char)*text < 0x20 || *text == 0x7f)
            *text = '?';
}

void fields_fail(struct fields *fields, const char *format, ...)
{
    if (fields->code != STATUS_OK)
        return;
    char    sentence[sizeof fields->error->message];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(sentence, sizeof sentence, format, arguments);
    va_end(arguments);
    make_printable(sentence);
    fields->code = error_set(fields->error, STATUS_MODEL, "%s: %s", fields->path, sentence);
}

/* The member, or null when it is absent, null, or of another kind, which is a failure. */
static const struct json *member_of_kind(struct fields *fields, const char *name, enum json_kind kind)
{
    if (fields->code != STATUS_OK || !fields_has(fields, name))
        return NULL;
    const struct json *value = json_member(fields->object, name);
    if (json_kind(value) == kind)
        return value;
    fields_fail(fields, "field '%s': expected %s, found %s", name, json_kind_name(kind), json_kind_name(json_kind(value)));
    return NULL;
}

bool fields_has(const struct fields *fields, const char *name)
{
    enum json_kind kind = json_kind(json_member(fields->object, name));
    return kind != JSON_KIND_ABSENT && kind != JSON_KIND_NULL;
}

uint64_t fields_count(struct fields *fields, const char *name, uint64_t fallback, uint64_t least, uint64_t most)
{
    const struct json *value = member_of_kind(fields, name, JSON_KIND_INTEGER);
    if (!value) {
        if (fallback == FIELD_REQUIRED)
            fields_fail(fields, "field '%s' is missing", name);
        return fallback;
    }
    int64_t number = 0;
    if (json_as_integer(value, &number) && number >= 0 && (uint64_t)number >= least && (uint64_t)number <= most)
        return (uint64_t)number;
    fields_fail(fields, "field '%s' is %" PRId64 ", expected %" PRIu64 " to %" PRIu64, name, number, least, most);
    return fallback;
}

double fields_real(struct fields *fields, const char *name, double fallback)
{
    double number = fallback;
    if (fields->code != STATUS_OK || !fields_has(fields, name))
        return fallback;
    const struct json *value = json_member(fields->object, name);
    if (!json_as_real(value, &number))
        fields_fail(fields, "field '%s': expected a number, found %s", name, json_kind_name(json_kind(value)));
    return number;
}

bool fields_flag(struct fields *fields, const char *name, bool fallback)
{
    bool truth = fallback;
    const struct json *value = member_of_kind(fields, name, JSON_KIND_BOOLEAN);
    return value && json_as_boolean(value, &truth) ? truth : fallback;
}

const char *fields_text(struct fields *fields, const char *name, const char *fallback)
{
    const struct json *value = member_of_kind(fields, name, JSON_KIND_STRING);
    return value ? json_as_string(value, NULL) : fallback;
}

void fields_expect_text(struct fields *fields, const char *name, const char *expected)
{
    const char *text = fields_text(fields, name, expected);
    if (strcmp(text, expected) != 0)
        fields_fail(fields, "field '%s' is '%.80s', expected '%s'", name, text, expected);
}

bool fields_is_off(const struct json *value)
{
    bool truth = true;
    switch (json_kind(value)) {
    case JSON_KIND_ABSENT:
    case JSON_KIND_NULL: return true;
    case JSON_KIND_BOOLEAN: return json_as_boolean(value, &truth) && !truth;
    case JSON_KIND_ARRAY: return json_array_length(value) == 0;
    case JSON_KIND_OBJECT: return json_object_length(value) == 0;
    case JSON_KIND_INTEGER:
    case JSON_KIND_REAL:
    case JSON_KIND_STRING: return false;
    }
    return false;
}

static bool is_listed(const char *const *known, const char *key)
{
    while (*known && strcmp(*known, key) != 0)
        known++;
    return *known != NULL;
}

void fields_forbid_others(struct fields *fields, const char *const *known)
{
    if (fields->code != STATUS_OK)
        return;
    struct json_iterator member = {0};
    while (json_next(fields->object, &member))
        if (!is_listed(known, member.key) && !fields_is_off(member.value))
            fields_fail(fields, "field '%.80s' (%s) is not known to recto and might change the result", member.key,
                        json_kind_name(json_kind(member.value)));
}
