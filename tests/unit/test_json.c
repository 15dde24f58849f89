/* JSON is read strictly, its sentences name the place, and what is booked is all it takes. */
#include "loaders/json.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct pool *pool;

static int open_pool(void **state)
{
    (void)state;
    return pool_open(&pool, 0, NULL);
}

static int close_pool(void **state)
{
    (void)state;
    struct pool_usage usage;
    pool_usage(pool, &usage);
    pool_close(pool);
    return usage.in_use != 0;  /* every byte came back */
}

static struct json_document *parse(const char *text)
{
    struct json_document *document;
    struct error          error = {0};
    if (json_parse(pool, text, strlen(text), "a.json", &document, &error) != STATUS_OK)
        fail_msg("%s: %s", text, error.message);
    return document;
}

static void refused(const char *text, size_t length, const char *part)
{
    struct json_document *document = (struct json_document *)&pool;
    struct error          error = {0};
    assert_int_equal(json_parse(pool, text, length, "a.json", &document, &error), STATUS_MODEL);
    assert_null(document);
    if (!strstr(error.message, part) || !strstr(error.message, "a.json"))
        fail_msg("'%s' lacks '%s'", error.message, part);
}

static void values_of_every_kind(void **state)
{
    (void)state;
    struct json_document *document = parse("{\"o\":{},\"a\":[1,2.5],\"s\":\"h\\u00e9\",\"t\":true,\"n\":null,\"i\":-7}");
    const struct json    *root = json_root(document);
    int64_t integer;
    double  real;
    bool    truth;
    size_t  length;
    assert_int_equal(json_kind(root), JSON_KIND_OBJECT);
    assert_int_equal(json_object_length(root), 6);
    assert_int_equal(json_kind(json_member(root, "o")), JSON_KIND_OBJECT);
    assert_int_equal(json_array_length(json_member(root, "a")), 2);
    assert_true(json_as_real(json_array_at(json_member(root, "a"), 0), &real) && real == 1.0);
    assert_true(json_as_real(json_array_at(json_member(root, "a"), 1), &real) && real == 2.5);
    assert_string_equal(json_as_string(json_member(root, "s"), &length), "h\xc3\xa9");
    assert_int_equal(length, 3);
    assert_true(json_as_boolean(json_member(root, "t"), &truth) && truth);
    assert_int_equal(json_kind(json_member(root, "n")), JSON_KIND_NULL);
    assert_true(json_as_integer(json_member(root, "i"), &integer) && integer == -7);
    json_free(document);
}

static void wrong_kinds_give_nothing(void **state)
{
    (void)state;
    struct json_document *document = parse("{\"a\":[1],\"s\":\"x\",\"r\":1.5}");
    const struct json    *root = json_root(document);
    int64_t integer;
    double  real;
    bool    truth;
    size_t  length = 9;
    assert_null(json_member(json_member(json_member(root, "none"), "b"), "c"));
    assert_null(json_member(json_member(root, "a"), "b"));
    assert_null(json_array_at(json_member(root, "a"), 1));
    assert_null(json_array_at(root, 0));
    assert_null(json_as_string(json_member(root, "a"), &length));
    assert_int_equal(length, 0);
    assert_false(json_as_integer(json_member(root, "r"), &integer));
    assert_false(json_as_real(json_member(root, "s"), &real));
    assert_false(json_as_boolean(NULL, &truth));
    assert_int_equal(json_kind(NULL), JSON_KIND_ABSENT);
    assert_int_equal(json_array_length(NULL) + json_object_length(NULL), 0);
    json_free(document);
}

static void members_come_in_the_order_of_the_text(void **state)
{
    (void)state;
    struct json_document *document = parse("{\"zebra\":1,\"a\":2,\"m\":3}");
    struct json_iterator  member = {0};
    char                  seen[32] = "";
    while (json_next(json_root(document), &member)) {
        assert_int_equal(member.key_length, strlen(member.key));
        strcat(seen, member.key);
        assert_int_equal(json_kind(member.value), JSON_KIND_INTEGER);
    }
    assert_string_equal(seen, "zebraam");
    json_free(document);
}

static void bad_texts_are_refused_with_their_place(void **state)
{
    (void)state;
    static const struct { const char *text, *part; } cases[] = {
        {"", "byte 0"},
        {"7", "'[' or '{' expected"},
        {"{\"a\":1,\n\"a\":2}", "line 2, column 3, byte 11: duplicate object key"},
        {"{\"a\\u0000b\":1}", "NUL"},
        {"[\"a\\u0000b\"]", "\\u0000"},
        {"[1,]", "byte 4"},
        {"[1] 2", "end of file expected"},
        {"[01]", "byte 2"},
        {"[nan]", "nan"},
        {"[9223372036854775808]", "too big integer"},
        {"[1e999]", "overflow"},
        {"[\"\xff\"]", "0xff"},
        {"[\"\xc0\xaf\"]", "0xc0"},
        {"[\"\\ud800\"]", "Unicode"},
        {"[\"\t\"]", "control character"},
        {"{\"a\" 1}", "':' expected"},
        {"[\"a", "byte"},
        {"[\"a\\", "byte"},
        {"\xef\xbb\xbf{}", "byte"},
        {"[1]/**/", "byte"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        refused(cases[i].text, strlen(cases[i].text), cases[i].part);
    refused("[1]\0", 4, "end of file expected");
}

static void depth_has_a_limit(void **state)
{
    (void)state;
    char text[2 * JSON_DEPTH_MAX + 4];
    memset(text, '[', JSON_DEPTH_MAX);
    memset(text + JSON_DEPTH_MAX, ']', JSON_DEPTH_MAX);
    text[2 * JSON_DEPTH_MAX] = '\0';
    json_free(parse(text));
    memset(text, '[', JSON_DEPTH_MAX + 1);
    refused(text, strlen(text), "byte 128: nested deeper than 128 levels");
    json_free(parse("[\"[[[[\\\"[[[[\"]"));  /* brackets in strings are no levels */
}

static void sentences_are_printable(void **state)
{
    (void)state;
    struct json_document *document;
    struct error          error;
    assert_int_equal(json_parse(pool, "[1 \x1b[31m]", 9, "a.json", &document, &error), STATUS_MODEL);
    for (const char *at = error.message; *at; at++)
        assert_true(*at >= 0x20);
}

static void a_budget_refuses_the_document(void **state)
{
    (void)state;
    struct pool          *small;
    struct json_document *document;
    struct error          error;
    assert_int_equal(pool_open(&small, 1500, NULL), STATUS_OK);
    char text[1024];
    memset(text, ' ', sizeof text);
    text[0] = '[';
    text[sizeof text - 1] = ']';
    assert_int_equal(json_parse(small, text, sizeof text, "a.json", &document, &error), STATUS_BUDGET);
    assert_null(document);
    struct pool_usage usage;
    pool_usage(small, &usage);
    assert_int_equal(usage.in_use, 0);
    pool_close(small);
}

/* Builds "[unit,unit,...]" or, with `named`, {"k0":unit,...}. */
static char *repeat(const char *unit, int times, bool named)
{
    char *text = malloc((strlen(unit) + 24) * (size_t)times + 3), *at = text;
    *at++ = named ? '{' : '[';
    for (int i = 0; i < times; i++) {
        if (named)
            at += sprintf(at, "\"k%d\":", i);
        at += sprintf(at, "%s%s", unit, i + 1 < times ? "," : "");
    }
    strcpy(at, named ? "}" : "]");
    return text;
}

/* Reading succeeds, so the block was large enough; and it is not out of proportion to the text. */
static void booked_suffices(const char *text)
{
    struct pool_usage before, after;
    pool_usage(pool, &before);
    struct json_document *document = parse(text);
    pool_usage(pool, &after);
    uint64_t booked = after.in_use - before.in_use;
    if (booked > 180 * strlen(text) + 4096)
        fail_msg("%.40s...: booked %llu for %zu bytes", text, (unsigned long long)booked, strlen(text));
    json_free(document);
}

static void what_is_booked_is_enough(void **state)
{
    (void)state;
    static const char *const units[] = {"1", "1.5", "true", "\"\"", "\"abcdefgh\"", "{}", "[]", "[[]]", "{\"\":{}}",
                                        "[\"abc\",-1.5]", "{\"a\":[1,2],\"b\":\"c\"}"};
    static const int times[] = {1, 2, 9, 17, 1000, 1025, 65537};
    for (size_t i = 0; i < 2 * sizeof units / sizeof *units; i++)
        for (size_t j = 0; j < sizeof times / sizeof *times; j++) {
            char *text = repeat(units[i / 2], times[j], i % 2);
            booked_suffices(text);
            free(text);
        }
    for (size_t length = 1; length < 1 << 20; length = length * 2 + 1) {  /* one long string */
        char *text = malloc(length + 5);
        memset(text, 'x', length + 4);
        memcpy(text, "[\"", 2);
        memcpy(text + length + 2, "\"]", 3);
        booked_suffices(text);
        text[length + 2] = 'x';  /* nor is there less for one that never ends: the library would abort */
        refused(text, length + 2, "premature end of input");
        refused(text + 1, length + 1, "premature end of input");
        free(text);
    }
}

static void files_are_read_whole(void **state)
{
    (void)state;
    char  path[] = "/tmp/recto-json-XXXXXX";
    int   descriptor = mkstemp(path);
    FILE *file = fdopen(descriptor, "w");
    fputs("{\"a\": [1, 2, 3]}\n", file);
    fclose(file);
    struct json_document *document;
    struct error          error;
    assert_int_equal(json_read(pool, path, &document, &error), STATUS_OK);
    assert_int_equal(json_array_length(json_member(json_root(document), "a")), 3);
    json_free(document);
    remove(path);
    assert_int_equal(json_read(pool, path, &document, &error), STATUS_MODEL);
    assert_non_null(strstr(error.message, path));
    assert_int_equal(json_read(pool, "/", &document, &error), STATUS_IO);
    assert_non_null(strstr(error.message, "a folder"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_of_every_kind),
        cmocka_unit_test(wrong_kinds_give_nothing),
        cmocka_unit_test(members_come_in_the_order_of_the_text),
        cmocka_unit_test(bad_texts_are_refused_with_their_place),
        cmocka_unit_test(depth_has_a_limit),
        cmocka_unit_test(sentences_are_printable),
        cmocka_unit_test(a_budget_refuses_the_document),
        cmocka_unit_test(what_is_booked_is_enough),
        cmocka_unit_test(files_are_read_whole),
    };
    return cmocka_run_group_tests(tests, open_pool, close_pool);
}
