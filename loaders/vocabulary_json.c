#include "loaders/vocabulary_json.h"

#include "loaders/utf8.h"

#include <string.h>

static const char *skip_space(const char *at, const char *end)
{
    while (at < end && (*at == ' ' || *at == '\n' || *at == '\r' || *at == '\t'))
        at++;
    return at;
}

/* Behind the string that begins at `at`; null: it does not end. */
static const char *skip_string(const char *at, const char *end)
{
    for (at++; at < end && *at != '"'; at++)
        at += *at == '\\';
    return at < end ? at + 1 : NULL;
}

/* Behind the value at `at`: brackets are counted, nothing more; null: it does not end. */
static const char *skip_value(const char *at, const char *end)
{
    size_t depth = 0;

    while (at && at < end) {
        if (*at == '"') {
            at = skip_string(at, end);
        } else if (*at == '{' || *at == '[') {
            depth++;
            at++;
        } else if (*at == '}' || *at == ']') {
            if (depth == 0)
                return at;
            depth--;
            at++;
        } else if (*at == ',' && depth == 0) {
            return at;
        } else {
            at++;
        }
    }
    return NULL;
}

/* The value of a member of the object at `at`, or null. */
static const char *find_member(const char *at, const char *end, const char *key)
{
    const size_t length = strlen(key);

    if (at >= end || *at != '{')
        return NULL;
    do {
        at = skip_space(at + 1, end);
        const char *name = at;
        if (at >= end || *at != '"' || !(at = skip_string(at, end)))
            return NULL;
        const bool found = (size_t)(at - name) == length + 2 && memcmp(name + 1, key, length) == 0;
        at = skip_space(at, end);
        if (at >= end || *at != ':')
            return NULL;
        at = skip_space(at + 1, end);
        if (found)
            return at;
        at = skip_value(at, end);
    } while (at && *at == ',');
    return NULL;
}

bool vocabulary_json_find(const char *text, size_t length, struct vocabulary_json *object)
{
    const char *end = text + length, *at = find_member(skip_space(text, end), end, "model");

    at = at ? find_member(at, end, "vocab") : NULL;
    if (!at || at >= end || *at != '{')
        return false;
    object->text = text;
    object->start = at;
    object->end = skip_value(at, end);
    while (object->end && object->end > at && object->end[-1] != '}')
        object->end--;
    return object->end && object->end > at;
}

static status refuse(const struct vocabulary_json *object, const char *at, const char *expected, struct error *error)
{
    return error_set(error, STATUS_MODEL, "model: vocab: expected %s at byte %zu", expected, (size_t)(at - object->text));
}

static bool read_hex(const char *at, const char *end, uint32_t *code)
{
    *code = 0;
    if (end - at < 4)
        return false;
    for (int i = 0; i < 4; i++) {
        const char c = at[i];
        const int digit = c >= '0' && c <= '9' ? c - '0' : (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 'a' + 10 : -1;
        if (digit < 0)
            return false;
        *code = *code << 4 | (uint32_t)digit;
    }
    return true;
}

/* The code point of the escape whose letter is at `*at`, which moves behind it; false: no escape that JSON knows. */
static bool read_escape(const char **at, const char *end, uint32_t *code)
{
    static const char letters[] = "\"\\/bfnrt", values[] = "\"\\/\b\f\n\r\t";
    const char *letter = *at < end && **at ? strchr(letters, **at) : NULL;
    uint32_t low;

    if (letter) {
        *code = (uint8_t)values[letter - letters];
        *at += 1;
        return true;
    }
    if (*at >= end || **at != 'u' || !read_hex(*at + 1, end, code))
        return false;
    *at += 5;
    if (*code >= 0xD800 && *code < 0xDC00 && end - *at >= 6 && (*at)[0] == '\\' && (*at)[1] == 'u' &&
        read_hex(*at + 2, end, &low) && low >= 0xDC00 && low < 0xE000) {
        *code = 0x10000 + ((*code - 0xD800) << 10) + (low - 0xDC00);
        *at += 6;
    }
    return *code < 0xD800 || *code >= 0xE000;
}

/* A key with escapes, from `at` to the closing quote at `end`, copied without them; null: too long, or a bad escape. */
static const char *read_escaped(struct vocabulary_json_member *member, const char *at, const char *end)
{
    uint32_t code = 0, bytes;

    for (member->key_length = 0; at < end;) {
        unsigned length = 1;
        if (member->key_length + sizeof bytes > sizeof member->escaped)
            return NULL;
        if (*at == '\\') {
            at++;
            if (!read_escape(&at, end, &code))
                return NULL;
            length = utf8_encode(code, &bytes);
        } else {
            bytes = (uint8_t)*at++;
        }
        memcpy(member->escaped + member->key_length, &bytes, sizeof bytes);
        member->key_length += length;
    }
    return member->escaped;
}

/* Behind the key at `at`; null: it is not a string as JSON has them. */
static const char *read_key(struct vocabulary_json_member *member, const char *at, const char *end)
{
    const char *from = ++at;
    bool escapes = false, ascii = true;

    for (; at < end && *at != '"'; at++) {
        if ((uint8_t)*at < 0x20)
            return NULL;
        ascii &= (uint8_t)*at < 0x80;
        if (*at == '\\') {
            escapes = true;
            at++;
        }
    }
    if (at >= end)
        return NULL;
    member->key = escapes ? read_escaped(member, from, at) : from;
    if (!escapes)
        member->key_length = (size_t)(at - from);
    return member->key && (ascii || utf8_is_valid(member->key, member->key_length)) ? at + 1 : NULL;
}

/* Behind the integer at `at`; null: it is none, or out of any range. */
static const char *read_integer(int64_t *number, const char *at, const char *end)
{
    const char *from = at;

    for (*number = 0; at < end && *at >= '0' && *at <= '9' && at - from < 18; at++)
        *number = *number * 10 + (*at - '0');
    const bool leading_zero = at - from > 1 && *from == '0';
    const bool goes_on = at < end && (*at == '.' || *at == 'e' || *at == 'E' || (*at >= '0' && *at <= '9'));
    return at == from || leading_zero || goes_on ? NULL : at;
}

status vocabulary_json_next(const struct vocabulary_json *object, struct vocabulary_json_member *member, bool *more,
                            struct error *error)
{
    const bool first = !member->position;
    const char *end = object->end, *at = skip_space(first ? object->start + 1 : member->position, end), *next;

    *more = false;
    if (at < end && *at == '}' && at + 1 == end)
        return STATUS_OK;
    if (!first) {
        if (at >= end || *at != ',')
            return refuse(object, at, "a comma or the end of the object", error);
        at = skip_space(at + 1, end);
    }
    if (at >= end || *at != '"' || !(next = read_key(member, at, end)))
        return refuse(object, at, "a string", error);
    at = skip_space(next, end);
    if (at >= end || *at != ':')
        return refuse(object, at, "a colon", error);
    at = skip_space(at + 1, end);
    next = read_integer(&member->id, at, end);
    if (!next)
        return refuse(object, at, "an integer that is no less than 0", error);
    member->position = next;
    *more = true;
    return STATUS_OK;
}
