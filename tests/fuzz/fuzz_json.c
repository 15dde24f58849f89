/* Any bytes as JSON: refused with a sentence, or a document that can be walked to its last value. */
#include "loaders/json.h"

#include <stdlib.h>
#include <string.h>

enum { CEILING = 64 << 20 };

static int check(int truth)
{
    if (!truth)
        abort();
    return truth;
}

static void walk(const struct json *value, int depth)
{
    struct json_iterator member = {0};
    size_t               length, members = 0;
    int64_t              integer;
    double               real;
    bool                 truth;
    check(depth <= JSON_DEPTH_MAX);
    for (size_t i = 0; i < json_array_length(value); i++)
        walk(json_array_at(value, i), depth + 1);
    while (json_next(value, &member)) {
        check(strlen(member.key) == member.key_length);
        check(json_member(value, member.key) == member.value);
        walk(member.value, depth + 1);
        members++;
    }
    check(members == json_object_length(value));
    const char *text = json_as_string(value, &length);
    check(!text || strlen(text) == length);
    check(!text == (json_kind(value) != JSON_KIND_STRING));
    check(!json_as_integer(value, &integer) || json_as_real(value, &real));
    json_as_boolean(value, &truth);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    struct pool          *pool;
    struct json_document *document;
    struct pool_usage     usage;
    struct error          error = {0};
    check(pool_open(&pool, CEILING, NULL) == STATUS_OK);
    status code = json_parse(pool, (const char *)bytes, length, "fuzz.json", &document, &error);
    if (code == STATUS_OK)
        walk(json_root(document), 0);
    else
        check(!document && error.message[0] && error.code == code);
    json_free(document);
    pool_usage(pool, &usage);
    check(usage.in_use == 0);
    pool_close(pool);
    return 0;
}
