/* The tokenizer against golden ids and offsets (tests/fixtures/tokenizer/README.md), and its promises: truncation, bad
 * input, refused files, no allocation once warm, linear time, every byte given back. */
#include "loaders/json.h"
#include "loaders/tokenizer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define FOLDER "tests/fixtures/tokenizer/"

enum { SETTINGS = 7, READABLE = 200, COMMITTED = 20000 };

static const struct tokenizer_settings uncased = {true, true, true, true};

/* In the order of SETTINGS in tests/reference/tokenizer_golden.py. */
static const struct tokenizer_settings settings_of[SETTINGS] = {
    {true, true, true, true},   {true, true, false, false}, {true, true, false, true}, {true, true, true, false},
    {false, false, true, true}, {false, true, false, false}, {true, false, false, false}};

struct text {
    char  *bytes;
    size_t length;
};

static struct text vocabulary;

/* A file with `before` in front and `behind` after it; every newline but the last becomes `separator`. */
static struct text read_wrapped(const char *name, const char *before, char separator, const char *behind)
{
    FILE *file = fopen(name, "rb");
    struct text text;
    long size;

    assert_non_null(file);
    assert_int_equal(fseek(file, 0, SEEK_END), 0);
    size = ftell(file);
    rewind(file);
    text.bytes = malloc((size_t)size + strlen(before) + strlen(behind) + 1);
    assert_non_null(text.bytes);
    strcpy(text.bytes, before);
    char *start = text.bytes + strlen(before);
    assert_int_equal(fread(start, 1, (size_t)size, file), size);
    fclose(file);
    for (char *at = start; separator != '\n' && at < start + size - 1; at++)
        if (*at == '\n')
            *at = separator;
    strcpy(start + size, behind);
    text.length = strlen(before) + (size_t)size + strlen(behind);
    return text;
}

static int read_vocabulary(void **state)
{
    (void)state;
    vocabulary = read_wrapped(FOLDER "vocab.txt", "", '\n', "");
    return 0;
}

static int free_vocabulary(void **state)
{
    (void)state;
    free(vocabulary.bytes);
    return 0;
}

static struct pool *open_pool(uint64_t ceiling)
{
    struct pool *pool = NULL;
    assert_int_equal(pool_open(&pool, ceiling, NULL), STATUS_OK);
    return pool;
}

static struct tokenizer *open_vocabulary(struct pool *pool, struct tokenizer_settings settings)
{
    const struct tokenizer_vocabulary_file file = {vocabulary.bytes, vocabulary.length, "vocab.txt", settings};
    struct tokenizer *tokenizer = NULL;
    struct error error;

    if (tokenizer_open_vocabulary(&tokenizer, pool, &file, &error) != STATUS_OK)
        fail_msg("%s", error.message);
    return tokenizer;
}

static status encode(const struct tokenizer *tokenizer, const char *text, size_t length, size_t limit,
                     struct token_buffer *buffer, struct error *error)
{
    const struct tokenizer_request request = {.text = text, .length = length, .limit = limit, .with_offsets = true};
    return tokenizer_encode(tokenizer, &request, buffer, error);
}

static void close_all(struct pool *pool, struct tokenizer *tokenizer, struct token_buffer *buffer)
{
    struct pool_usage usage;

    if (buffer)
        token_buffer_release(buffer);
    tokenizer_close(tokenizer);
    pool_usage(pool, &usage);
    assert_int_equal(usage.in_use, 0);
    pool_close(pool);
}

/* A tokenizer.json around the vocabulary; the parts are the values of its members. */
struct parts {
    const char *normalizer, *pre_tokenizer, *post_processor, *added, *model;
};

static const struct parts bert = {
    "{\"type\":\"BertNormalizer\",\"clean_text\":true,\"handle_chinese_chars\":true,\"strip_accents\":null,\"lowercase\":true}",
    "{\"type\":\"BertPreTokenizer\"}",
    "{\"type\":\"TemplateProcessing\",\"single\":[{\"SpecialToken\":{\"id\":\"[CLS]\",\"type_id\":0}},"
    "{\"Sequence\":{\"id\":\"A\",\"type_id\":0}},{\"SpecialToken\":{\"id\":\"[SEP]\",\"type_id\":0}}],\"pair\":[],"
    "\"special_tokens\":{\"[CLS]\":{\"id\":\"[CLS]\",\"ids\":[101],\"tokens\":[\"[CLS]\"]},"
    "\"[SEP]\":{\"id\":\"[SEP]\",\"ids\":[102],\"tokens\":[\"[SEP]\"]}}}",
    "{\"id\":0,\"content\":\"[PAD]\",\"special\":true},{\"id\":100,\"content\":\"[UNK]\",\"special\":true},"
    "{\"id\":101,\"content\":\"[CLS]\",\"special\":true},{\"id\":102,\"content\":\"[SEP]\",\"special\":true},"
    "{\"id\":103,\"content\":\"[MASK]\",\"special\":true}",
    "\"type\":\"WordPiece\",\"unk_token\":\"[UNK]\",\"continuing_subword_prefix\":\"##\",\"max_input_chars_per_word\":100"};

/* Non-ASCII characters of every fourth piece are written as escapes, so that both forms are read. */
static void write_piece(FILE *file, const char *line, size_t length, int id)
{
    fputs(id ? ",\"" : "\"", file);
    for (size_t i = 0; i < length; i++) {
        const unsigned char c = (unsigned char)line[i];
        if (c == '"' || c == '\\')
            fprintf(file, "\\%c", c);
        else if (id % 4 == 0 && (c & 0xF0) == 0xE0 && i + 2 < length) {
            fprintf(file, "\\u%04x", (unsigned)((c & 15) << 12 | (line[i + 1] & 63) << 6 | (line[i + 2] & 63)));
            i += 2;
        } else {
            fputc(c, file);
        }
    }
    fprintf(file, "\": %d", id);
}

static struct text make_json(const struct parts *parts)
{
    struct text text;
    FILE *file = open_memstream(&text.bytes, &text.length);
    int id = 0;

    fprintf(file, "{\"version\":\"1.0\",\"truncation\":{\"max_length\":3},\"padding\":{\"strategy\":{\"Fixed\":128}},"
            "\"added_tokens\":[%s],\"normalizer\":%s,\"pre_tokenizer\":%s,\"post_processor\":%s,"
            "\"decoder\":{\"type\":\"WordPiece\"},\"model\":{%s,\"vocab\":{", parts->added, parts->normalizer,
            parts->pre_tokenizer, parts->post_processor, parts->model);
    for (char *line = vocabulary.bytes, *end; (end = strchr(line, '\n')); line = end + 1)
        write_piece(file, line, (size_t)(end - line), id++);
    fputs("}}}\n", file);
    fclose(file);
    return text;
}

static status open_parts(struct tokenizer **tokenizer, struct pool *pool, const struct parts *parts, struct error *error)
{
    struct text text = make_json(parts);
    status result = tokenizer_open_json(tokenizer, pool, text.bytes, text.length, "tokenizer.json", error);

    free(text.bytes);
    return result;
}

/* FNV-1a over 32-bit words, as the golden script has it. */
static uint64_t chain(uint64_t value, const uint32_t *words, size_t count)
{
    for (size_t i = 0; i < count; i++)
        value = (value ^ words[i]) * UINT64_C(0x100000001B3);
    return value;
}

static uint64_t chain_result(uint64_t value, const struct token_buffer *buffer)
{
    const uint32_t count = (uint32_t)buffer->count;

    value = chain(value, &count, 1);
    value = chain(value, (const uint32_t *)buffer->ids, count);
    value = chain(value, buffer->starts, count);
    return chain(value, buffer->ends, count);
}

struct golden {
    struct pool          *pool;
    struct json_document *document;
    const struct json    *strings;
    size_t                count;
    uint64_t             *hashes;  /* after the settings seen so far */
};

static void add_hashes(struct golden *golden, const struct tokenizer *tokenizer, struct token_buffer *buffer)
{
    struct error error;

    for (size_t i = 0; i < golden->count; i++) {
        size_t length;
        const char *text = json_as_string(json_array_at(golden->strings, i), &length);
        if (encode(tokenizer, text, length, 0, buffer, &error) != STATUS_OK)
            fail_msg("line %zu of strings.txt: %s", i + 1, error.message);
        golden->hashes[i] = chain_result(golden->hashes[i], buffer);
    }
}

static void expect_hashes(const struct golden *golden, const struct text *expected, size_t column)
{
    size_t wrong = 0, first = 0;

    for (size_t i = golden->count; i-- > 0;) {
        uint64_t hash;
        memcpy(&hash, expected->bytes + 16 * i + 8 * column, sizeof hash);
        if (hash != golden->hashes[i]) {
            wrong++;
            first = i;
        }
    }
    if (wrong)
        fail_msg("%zu of %zu strings differ, the first in line %zu of strings.txt", wrong, golden->count, first + 1);
}

static void reset_hashes(struct golden *golden)
{
    for (size_t i = 0; i < golden->count; i++)
        golden->hashes[i] = UINT64_C(0xCBF29CE484222325);
}

static void test_golden_hashes(void **state)
{
    struct text strings = read_wrapped(FOLDER "strings.txt", "[", ',', "]");
    struct text expected = read_wrapped(FOLDER "expected.bin", "", '\n', "");
    struct golden golden = {.pool = open_pool(0)};
    struct token_buffer buffer = {.pool = golden.pool};
    struct error error;

    (void)state;
    if (json_parse(golden.pool, strings.bytes, strings.length, "strings.txt", &golden.document, &error) != STATUS_OK)
        fail_msg("%s", error.message);
    golden.strings = json_root(golden.document);
    golden.count = json_array_length(golden.strings);
    assert_int_equal(golden.count, COMMITTED);
    golden.hashes = malloc(golden.count * sizeof *golden.hashes);
    reset_hashes(&golden);
    for (int i = 0; i < SETTINGS; i++) {
        struct tokenizer *tokenizer = open_vocabulary(golden.pool, settings_of[i]);
        add_hashes(&golden, tokenizer, &buffer);
        tokenizer_close(tokenizer);
        if (i == 0) {
            expect_hashes(&golden, &expected, 0);
            reset_hashes(&golden);
        }
    }
    expect_hashes(&golden, &expected, 1);
    free(golden.hashes);
    json_free(golden.document);
    close_all(golden.pool, NULL, &buffer);
    free(strings.bytes);
    free(expected.bytes);
}

static void expect_row(const struct tokenizer *tokenizer, const struct json *row, struct token_buffer *buffer)
{
    const struct json *ids = json_member(row, "ids"), *offsets = json_member(row, "offsets");
    size_t length;
    const char *text = json_as_string(json_member(row, "text"), &length);

    assert_int_equal(encode(tokenizer, text, length, 0, buffer, NULL), STATUS_OK);
    assert_int_equal(buffer->count, json_array_length(ids));
    for (size_t i = 0; i < buffer->count; i++) {
        const struct json *pair = json_array_at(offsets, i);
        int64_t id = -1, start = -1, end = -1;
        json_as_integer(json_array_at(ids, i), &id);
        json_as_integer(json_array_at(pair, 0), &start);
        json_as_integer(json_array_at(pair, 1), &end);
        if (id != buffer->ids[i] || start != buffer->starts[i] || end != buffer->ends[i])
            fail_msg("'%s': token %zu is %d [%u, %u], expected %d [%d, %d]", text, i, (int)buffer->ids[i], buffer->starts[i],
                     buffer->ends[i], (int)id, (int)start, (int)end);
    }
}

/* `added` behind BERT's own tokens, through the tokenizer.json reader. */
static void expect_rows(const char *file, const char *added)
{
    struct text rows = read_wrapped(file, "[", ',', "]");
    struct pool *pool = open_pool(0);
    struct token_buffer buffer = {.pool = pool};
    struct json_document *document = NULL;
    struct tokenizer *tokenizer = NULL;
    struct parts parts = bert;
    struct error error;
    char *list = malloc(strlen(bert.added) + strlen(added) + 2);

    sprintf(list, "%s%s%s", bert.added, *added ? "," : "", added);
    parts.added = list;
    if (open_parts(&tokenizer, pool, &parts, &error) != STATUS_OK ||
        json_parse(pool, rows.bytes, rows.length, file, &document, &error) != STATUS_OK)
        fail_msg("%s", error.message);
    assert_int_equal(json_array_length(json_root(document)), READABLE);
    for (size_t i = 0; i < READABLE; i++)
        expect_row(tokenizer, json_array_at(json_root(document), i), &buffer);
    json_free(document);
    close_all(pool, tokenizer, &buffer);
    free(rows.bytes);
    free(list);
}

static void test_golden_in_full(void **state)
{
    (void)state;
    expect_rows(FOLDER "readable.jsonl", "");
}

static void test_golden_added_tokens(void **state)
{
    struct text added = read_wrapped(FOLDER "added_tokens.json", "", '\n', "");
    char *first = strchr(added.bytes, '{'), *last = strrchr(added.bytes, ']');

    (void)state;
    *last = '\0';
    expect_rows(FOLDER "added.jsonl", first);
    free(added.bytes);
}

static void test_accessors(void **state)
{
    struct pool *pool = open_pool(0);
    struct tokenizer *tokenizer = open_vocabulary(pool, uncased);
    struct pool_usage usage;
    size_t length = 0;

    (void)state;
    assert_int_equal(tokenizer_opening_id(tokenizer), 101);
    assert_int_equal(tokenizer_closing_id(tokenizer), 102);
    assert_int_equal(tokenizer_padding_id(tokenizer), 0);
    assert_int_equal(tokenizer_unknown_id(tokenizer), 100);
    assert_int_equal(tokenizer_special_count(tokenizer), 2);
    assert_true(tokenizer_lowers_case(tokenizer));
    assert_int_equal(tokenizer_vocabulary_size(tokenizer), 30522);
    assert_memory_equal(tokenizer_token(tokenizer, 2075, &length), "##ing", 5);
    assert_int_equal(length, 5);
    assert_null(tokenizer_token(tokenizer, 30522, &length));
    assert_null(tokenizer_token(tokenizer, -1, &length));
    pool_usage(pool, &usage);
    assert_true(usage.by_category[MEMORY_TOKENIZER] < 3 << 20);
    close_all(pool, tokenizer, NULL);
}

static void test_truncation(void **state)
{
    static const char text[] = "one two three unaffable [MASK] five";
    struct pool *pool = open_pool(0);
    struct tokenizer *tokenizer = open_vocabulary(pool, uncased);
    struct token_buffer whole = {.pool = pool}, cut = {.pool = pool};
    struct error error;

    (void)state;
    assert_int_equal(encode(tokenizer, text, strlen(text), 0, &whole, &error), STATUS_OK);
    assert_int_equal(whole.count, whole.full_count);
    for (size_t limit = 2; limit < whole.count + 3; limit++) {
        const size_t kept = limit < whole.count ? limit : whole.count;
        assert_int_equal(encode(tokenizer, text, strlen(text), limit, &cut, &error), STATUS_OK);
        assert_int_equal(cut.full_count, whole.count);
        assert_int_equal(cut.count, kept);
        assert_memory_equal(cut.ids, whole.ids, (kept - 1) * sizeof *cut.ids);
        assert_memory_equal(cut.ends, whole.ends, (kept - 1) * sizeof *cut.ends);
        assert_int_equal(cut.ids[kept - 1], 102);
        assert_int_equal(cut.ends[kept - 1], 0);
    }
    assert_int_equal(encode(tokenizer, text, strlen(text), 1, &cut, &error), STATUS_USAGE);
    token_buffer_release(&cut);
    close_all(pool, tokenizer, &whole);
}

static void test_bad_utf8(void **state)
{
    static const struct {
        const char *text, *position;
    } cases[] = {{"abc\xff", "position 3"},      {"\x80", "position 0"},          {"a \xc0\xaf", "position 2"},
                 {"\xed\xa0\x80", "position 0"}, {"x\xf4\x90\x80\x80", "position 1"}, {"caf\xc3", "position 3"},
                 {"ab\xe4\xb8", "position 2"},   {"\xe0\x80\x80", "position 0"},  {"[CLS]\xf0\x9f\x98", "position 5"},
                 {"\xe3\x80\xae\xcc", "position 3"}, {"[CLS\xff]", "position 4"}, {"\xff[CLS]", "position 0"}};
    struct pool *pool = open_pool(0);
    struct tokenizer *tokenizer = open_vocabulary(pool, uncased);
    struct token_buffer buffer = {.pool = pool};
    struct error error;

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_int_equal(encode(tokenizer, cases[i].text, strlen(cases[i].text), 0, &buffer, &error), STATUS_INPUT);
        assert_int_equal(buffer.count, 0);
        if (!strstr(error.message, cases[i].position))
            fail_msg("case %zu: %s", i, error.message);
    }
    assert_int_equal(encode(tokenizer, "fine", 4, 0, &buffer, &error), STATUS_OK);
    assert_int_equal(buffer.count, 3);
    close_all(pool, tokenizer, &buffer);
}

static void test_empty_and_nul(void **state)
{
    struct pool *pool = open_pool(0);
    struct tokenizer *tokenizer = open_vocabulary(pool, uncased);
    struct token_buffer buffer = {.pool = pool};

    (void)state;
    assert_int_equal(encode(tokenizer, NULL, 0, 0, &buffer, NULL), STATUS_OK);
    assert_int_equal(buffer.count, 2);
    assert_int_equal(encode(tokenizer, "he\0llo", 6, 0, &buffer, NULL), STATUS_OK);
    assert_int_equal(buffer.count, 3);
    assert_int_equal(buffer.ids[1], 7592);
    assert_int_equal(buffer.starts[1], 0);
    assert_int_equal(buffer.ends[1], 6);
    close_all(pool, tokenizer, &buffer);
}

/* Texts that cost quadratic time where something is done again for each character of a run. */
static void test_adversarial_texts(void **state)
{
    static const char *const units[] = {"a", "^", "\xcc\x81", "\xe3\x80\xae", "\xe3\x80\xae\xcc\x81", "[", "[CLS", "\xed\x95\x9c",
                                        "\xe4\xb8\xad", "aaaaaaaaab ", "\xf0\x9d\x85\x9e", "\xe2\x80\x8b", " ", "\xc3\xa9"};
    struct pool *pool = open_pool(0);
    struct tokenizer *tokenizer = open_vocabulary(pool, uncased);
    struct token_buffer buffer = {.pool = pool};
    const size_t size = 1 << 20;
    struct pool_usage usage;
    char *text = malloc(size + 16);

    (void)state;
    for (size_t i = 0; i < sizeof units / sizeof *units; i++) {
        const size_t unit = strlen(units[i]), length = size / unit * unit;
        for (size_t at = 0; at < length; at += unit)
            memcpy(text + at, units[i], unit);
        assert_int_equal(encode(tokenizer, text, length, 0, &buffer, NULL), STATUS_OK);
        assert_true(buffer.count <= length + 2);
    }
    pool_usage(pool, &usage);
    assert_true(usage.by_category[MEMORY_REQUEST] < 64 * size);
    free(text);
    close_all(pool, tokenizer, &buffer);
}

static void test_no_allocation_once_warm(void **state)
{
    static const char largest[] = "\xe3\x80\xae\xcc\x81 the largest text is seen first, then come all the others [SEP]";
    struct pool *pool = open_pool(0);
    struct tokenizer *tokenizer = open_vocabulary(pool, uncased);
    struct token_buffer buffer = {.pool = pool};
    struct pool_usage warm, later;

    (void)state;
    assert_int_equal(encode(tokenizer, largest, strlen(largest), 0, &buffer, NULL), STATUS_OK);
    const void *ids = buffer.ids, *starts = buffer.starts, *scratch = buffer.scratch, *marks = buffer.marks;
    pool_usage(pool, &warm);
    for (size_t length = 0; length < strlen(largest); length++)
        (void)!encode(tokenizer, largest + length, strlen(largest) - length, length % 2 ? 5 : 0, &buffer, NULL);
    pool_usage(pool, &later);
    assert_int_equal(warm.in_use, later.in_use);
    assert_int_equal(warm.peak, later.peak);
    assert_true(ids == buffer.ids && starts == buffer.starts && scratch == buffer.scratch && marks == buffer.marks);
    close_all(pool, tokenizer, &buffer);
}

/* Every ceiling up to the first that is enough: a refusal each time, and nothing left behind. */
static void test_every_budget(void **state)
{
    static const char text[] = "A budget that \xe3\x80\xae\xcc\x81 cannot hold the work";
    struct text json = make_json(&bert);
    status result = STATUS_BUDGET;
    uint64_t ceiling = 1;

    (void)state;
    for (; result != STATUS_OK; ceiling += ceiling / 40 + 100) {
        struct pool *pool = open_pool(ceiling);
        struct token_buffer buffer = {.pool = pool};
        struct tokenizer *tokenizer = NULL;
        result = tokenizer_open_json(&tokenizer, pool, json.bytes, json.length, "tokenizer.json", NULL);
        if (result == STATUS_OK)
            result = encode(tokenizer, text, strlen(text), 0, &buffer, NULL);
        assert_true(result == STATUS_OK || result == STATUS_BUDGET);
        close_all(pool, tokenizer, &buffer);
    }
    assert_true(ceiling < 4 << 20);
    free(json.bytes);
}

static void expect_refusal(const struct parts *parts, const char *words)
{
    struct pool *pool = open_pool(0);
    struct tokenizer *tokenizer = NULL;
    struct error error = {STATUS_OK, ""};

    if (open_parts(&tokenizer, pool, parts, &error) != STATUS_MODEL || !strstr(error.message, words))
        fail_msg("expected a sentence with \"%s\", got \"%s\"", words, error.message);
    close_all(pool, tokenizer, NULL);
}

#define REFUSE(part, value, words)  \
    do {                            \
        struct parts parts = bert;  \
        parts.part = value;         \
        expect_refusal(&parts, words); \
    } while (0)

static void test_refused_files(void **state)
{
    (void)state;
    REFUSE(normalizer, "{\"type\":\"NFC\"}", "normalizer: field 'type'");
    REFUSE(normalizer, "{\"type\":\"BertNormalizer\",\"lowercase\":1}", "lowercase");
    REFUSE(normalizer, "{\"type\":\"BertNormalizer\",\"shout\":true}", "shout");
    REFUSE(pre_tokenizer, "{\"type\":\"Whitespace\"}", "pre_tokenizer: field 'type'");
    REFUSE(pre_tokenizer, "null", "pre_tokenizer");
    REFUSE(post_processor, "{\"type\":\"RobertaProcessing\"}", "post_processor");
    REFUSE(post_processor, "{\"type\":\"TemplateProcessing\",\"single\":[{\"Sequence\":{\"id\":\"A\",\"type_id\":1}}]}", "type_id");
    REFUSE(post_processor, "{\"type\":\"TemplateProcessing\",\"single\":[{\"Sequence\":{\"id\":\"B\",\"type_id\":0}}]}", "single");
    REFUSE(post_processor, "{\"type\":\"TemplateProcessing\",\"single\":[{\"SpecialToken\":{\"id\":\"[X]\"}}]}", "[X]");
    REFUSE(post_processor, "{\"type\":\"BertProcessing\",\"cls\":[\"[CLS]\",30522],\"sep\":[\"[SEP]\",102]}", "cls");
    REFUSE(model, "\"type\":\"BPE\"", "model: field 'type'");
    REFUSE(model, "\"unk_token\":\"<unknown>\"", "<unknown>");
    REFUSE(model, "\"max_input_chars_per_word\":0", "max_input_chars_per_word");
    REFUSE(model, "\"fuse_unk\":true", "fuse_unk");
    REFUSE(added, "{\"id\":7,\"content\":\"[CLS]\",\"special\":true}", "added_tokens[0]");
    REFUSE(added, "{\"id\":101,\"content\":\"new\",\"special\":true},{\"id\":2,\"content\":\"newer\",\"special\":true}", "added_tokens[0]");
    REFUSE(added, "{\"id\":30522,\"content\":\"[CLS]\",\"special\":true}", "101 in the model's vocab");
    REFUSE(added, "{\"id\":30522,\"content\":\"New\"}", "normalized");
    REFUSE(added, "{\"id\":30522,\"content\":\"\",\"special\":true}", "content");
}

static void expect_text_refused(const char *text, const char *words)
{
    struct pool *pool = open_pool(0);
    struct tokenizer *tokenizer = NULL;
    struct error error = {STATUS_OK, ""};

    if (tokenizer_open_json(&tokenizer, pool, text, strlen(text), "tokenizer.json", &error) != STATUS_MODEL ||
        !strstr(error.message, words))
        fail_msg("%s: expected a sentence with \"%s\", got \"%s\"", text, words, error.message);
    close_all(pool, tokenizer, NULL);
}

#define MODEL(vocab) "{\"pre_tokenizer\":{\"type\":\"BertPreTokenizer\"},\"model\":{\"type\":\"WordPiece\",\"vocab\":" vocab "}}"

static void test_refused_vocabularies(void **state)
{
    (void)state;
    expect_text_refused("", "tokenizer.json");
    expect_text_refused("{\"model\":{\"vocab\":{]}}", "tokenizer.json");
    expect_text_refused("{\"model\":{}}", "model.vocab");
    expect_text_refused(MODEL("[]"), "model.vocab");
    expect_text_refused(MODEL("{}"), "[UNK]");
    expect_text_refused(MODEL("{\"[UNK]\":-1}"), "byte 90");
    expect_text_refused(MODEL("{\"[UNK]\":1.5}"), "an integer");
    expect_text_refused(MODEL("{\"[UNK]\":16777216}"), "below 16777216");
    expect_text_refused(MODEL("{\"[UNK]\":99999999999999999999}"), "an integer");
    expect_text_refused(MODEL("{\"[UNK]\":1,\"a\":2,\"a\":3}"), "'a' twice");
    expect_text_refused(MODEL("{\"[UNK]\":1 \"a\":2}"), "a comma");
    expect_text_refused(MODEL("{\"[UNK]\":1,}"), "a string");
    expect_text_refused(MODEL("{\"\\ud800\":1}"), "a string");
    expect_text_refused(MODEL("{\"\\x\":1}"), "a string");
    expect_text_refused(MODEL("{\"\xff\":1}"), "a string");
    expect_text_refused(MODEL("{\"[UNK]\":{}}"), "an integer");
}

static void test_escapes_in_a_vocabulary(void **state)
{
    static const char text[] = MODEL("{ \"[UNK]\" : 0 ,\n\"\\ud83d\\uDE00\" :2, \"\\u00e9\\n\\\\\\/\":\t1 }");
    static const char *const pieces[] = {"[UNK]", "\xc3\xa9\n\\/", "\xf0\x9f\x98\x80"};
    struct pool *pool = open_pool(0);
    struct tokenizer *tokenizer = NULL;
    struct error error = {STATUS_OK, ""};
    size_t length;

    (void)state;
    if (tokenizer_open_json(&tokenizer, pool, text, strlen(text), "tokenizer.json", &error) != STATUS_OK)
        fail_msg("%s", error.message);
    for (int32_t id = 0; id < 3; id++) {
        const char *piece = tokenizer_token(tokenizer, id, &length);
        assert_non_null(piece);
        assert_int_equal(length, strlen(pieces[id]));
        assert_memory_equal(piece, pieces[id], length);
    }
    close_all(pool, tokenizer, NULL);
}

static void expect_lines_refused(const char *lines, const char *sentence)
{
    const struct tokenizer_vocabulary_file file = {lines, strlen(lines), "vocab.txt", uncased};
    struct pool *pool = open_pool(0);
    struct tokenizer *tokenizer = NULL;
    struct error error = {STATUS_OK, ""};

    assert_int_equal(tokenizer_open_vocabulary(&tokenizer, pool, &file, &error), STATUS_MODEL);
    assert_string_equal(error.message, sentence);
    close_all(pool, tokenizer, NULL);
}

static void test_refused_lines(void **state)
{
    (void)state;
    expect_lines_refused("", "vocab.txt: the vocabulary has no [CLS]");
    expect_lines_refused("[UNK]\n[CLS]\nword\n", "vocab.txt: the vocabulary has no [SEP]");
    expect_lines_refused("[UNK]\n[CLS]\n[SEP]\ncaf\xe9\n", "vocab.txt: line 4 is not UTF-8");
}

/* Without a post-processor a text has no special tokens; the old BertProcessing gives BERT's. */
static void test_other_post_processors(void **state)
{
    static const char *const forms[] = {"null", "{\"type\":\"BertProcessing\",\"sep\":[\"[SEP]\",102],\"cls\":[\"[CLS]\",101]}"};

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct pool *pool = open_pool(0);
        struct token_buffer buffer = {.pool = pool};
        struct tokenizer *tokenizer = NULL;
        struct parts parts = bert;
        parts.post_processor = forms[i];
        assert_int_equal(open_parts(&tokenizer, pool, &parts, NULL), STATUS_OK);
        assert_int_equal(encode(tokenizer, "hello", 5, 0, &buffer, NULL), STATUS_OK);
        assert_int_equal(buffer.count, 1 + 2 * i);
        assert_int_equal(buffer.ids[i], 7592);
        assert_int_equal(tokenizer_opening_id(tokenizer), i ? 101 : -1);
        close_all(pool, tokenizer, &buffer);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_golden_hashes),
        cmocka_unit_test(test_golden_in_full),
        cmocka_unit_test(test_golden_added_tokens),
        cmocka_unit_test(test_accessors),
        cmocka_unit_test(test_truncation),
        cmocka_unit_test(test_bad_utf8),
        cmocka_unit_test(test_empty_and_nul),
        cmocka_unit_test(test_adversarial_texts),
        cmocka_unit_test(test_no_allocation_once_warm),
        cmocka_unit_test(test_every_budget),
        cmocka_unit_test(test_refused_files),
        cmocka_unit_test(test_refused_vocabularies),
        cmocka_unit_test(test_escapes_in_a_vocabulary),
        cmocka_unit_test(test_refused_lines),
        cmocka_unit_test(test_other_post_processors),
    };
    return cmocka_run_group_tests(tests, read_vocabulary, free_vocabulary);
}
