/* Texts and arguments that cannot be: each is refused by a sentence with the text's number and the byte, and the call that
 * follows has the right bits. */
#include "tests/support/embedder.h"
#include "tests/support/small_model.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

enum { WIDTH = 32 };

static char            scratch[SMALL_PATH_MAX], cache[SMALL_PATH_MAX + 8], folder[SMALL_PATH_MAX + 8];
static struct embedder embedder;
static float           right[2][WIDTH];  /* of "abc" and of "quick fox" */

static int set_up(void **state)
{
    (void)state;
    struct small_model model;
    scratch_make(scratch);
    snprintf(cache, sizeof cache, "%s/cache", scratch);
    snprintf(folder, sizeof folder, "%s/model", scratch);
    small_model_make(&model, &small_usual);
    model.prompts = "\"query\":\"find: \",\"none\":\"\",\"passage\":\"text: \"";
    small_model_write(&model, folder);
    small_model_release(&model);
    struct embedder_options options = { .cache = cache, .folder = folder, .precision = RECTO_PRECISION_FP32, .threads = 2 };
    if (embedder_open(&embedder, &options) != RECTO_OK)
        return fprintf(stderr, "%s\n", embedder.error.message), 1;
    return embedder_embed(&embedder, "abc", right[0]) != RECTO_OK || embedder_embed(&embedder, "quick fox", right[1]) != RECTO_OK;
}

static int tear_down(void **state)
{
    (void)state;
    embedder_close(&embedder);
    scratch_remove(scratch);
    return 0;
}

static void expect_right_bits(void)
{
    float            vectors[2][WIDTH];
    const recto_text texts[] = { { "abc", 3 }, { "quick fox", 9 } };
    assert_int_equal(recto_embed(embedder.model, texts, 2, NULL, vectors[0], NULL, &embedder.error), RECTO_OK);
    assert_memory_equal(vectors, right, sizeof right);
}

static void expect(recto_status result, recto_status wanted, const char *word, const char *other)
{
    if (result != wanted || embedder.error.code != wanted)
        fail_msg("expected %s, got %s: %s", recto_status_name(wanted), recto_status_name(result), embedder.error.message);
    if (!strstr(embedder.error.message, word) || !strstr(embedder.error.message, other))
        fail_msg("'%s' and '%s' are not in '%s'", word, other, embedder.error.message);
    expect_right_bits();
}

/* The bad text stands between good ones; the sentence has its number and the byte. */
static void expect_bad_text(const char *data, size_t length, const char *word)
{
    float            vectors[3][WIDTH];
    const recto_text texts[] = { { "abc", 3 }, { "abc", 3 }, { data, length } };
    expect(recto_embed(embedder.model, texts, 3, NULL, vectors[0], NULL, &embedder.error), RECTO_E_INPUT, "text 2", word);
    int32_t      ids[64];
    recto_tokens tokens = { .struct_size = sizeof tokens, .count = 64, .ids = ids };
    expect(recto_tokenize(embedder.model, &texts[2], &tokens, &embedder.error), RECTO_E_INPUT, word, "");
}

static void what_is_not_utf8(void **state)
{
    (void)state;
    static const struct { const char *text, *word; } cases[] = {
        { "\xff", "position 0" },             { "abc\x80""def", "position 3" },       { "a\xc3", "position 1" },
        { "ab\xc0\xaf", "position 2" },       { "\xe0\x80\x80", "position 0" },       { "x\xed\xa0\x80y", "position 1" },
        { "\xf4\x90\x80\x80", "position 0" }, { "ok \xf0\x9f\x98", "position 3" },    { "\xc3\xa9\xc3(", "position 2" },
        { "\xf8\x88\x80\x80\x80", "position 0" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        expect_bad_text(cases[i].text, strlen(cases[i].text), cases[i].word);
}

/* Cut in the middle of a character: what lies behind the text's end is not looked at. */
static void a_character_cut_by_the_length(void **state)
{
    (void)state;
    char *text = malloc(3);  /* no NUL: the address sanitizer watches the end */
    memcpy(text, "a\xe2\x82", 3);
    expect_bad_text(text, 3, "position 1");
    free(text);
}

static void good_oddities(void **state)
{
    (void)state;
    static const struct { const char *data; size_t length; uint32_t tokens; } cases[] = {
        { "", 0, 2 }, { NULL, 0, 2 }, { " \t\r\n ", 5, 2 }, { "\0", 1, 2 }, { "a\0b", 3, 4 }, { "\0\0\0", 3, 2 },
        { "\xe2\x80\x8b\xef\xbb\xbf", 6, 2 }, { "\x01\x02\x7f", 3, 2 }, { "\xf0\x9f\x98\x80", 4, 3 },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        float             vector[WIDTH];
        recto_text        text = { cases[i].data, cases[i].length };
        recto_text_result about;
        if (recto_embed(embedder.model, &text, 1, NULL, vector, &about, &embedder.error) != RECTO_OK)
            fail_msg("case %zu: %s", i, embedder.error.message);
        if (about.tokens != cases[i].tokens || about.truncated)
            fail_msg("case %zu: %u tokens, expected %u", i, about.tokens, cases[i].tokens);
        expect_right_bits();
    }
}

/* ---- Long texts ---- */

static void too_long_without_truncation(void **state)
{
    (void)state;
    char text[64 * 2 + 1] = "";
    for (int i = 0; i < 64; i++)
        memcpy(text + 2 * i, "a ", 3);
    expect_bad_text(text, 128, "");  /* 66 tokens of 64 */
    float             vectors[2][WIDTH];
    recto_text        texts[2] = { { text, 128 }, { text, 124 } };
    recto_text_result about[2];
    assert_int_equal(recto_embed(embedder.model, texts, 1, NULL, vectors[0], NULL, &embedder.error), RECTO_E_INPUT);
    assert_non_null(strstr(embedder.error.message, "66 tokens, the model takes 64"));
    recto_embed_options options = { .struct_size = sizeof options, .truncate = 1 };
    assert_int_equal(recto_embed(embedder.model, texts, 2, &options, vectors[0], about, &embedder.error), RECTO_OK);
    assert_true(about[0].truncated && about[0].tokens == 64);
    assert_true(!about[1].truncated && about[1].tokens == 64);
    assert_memory_equal(vectors[0], vectors[1], sizeof vectors[0]);  /* the same 64 tokens */
}

static double seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* Refused without truncation, right with it, in time that grows with the length and no faster. */
static double embed_giant(const char *giant, size_t length, float *vector)
{
    recto_text          text    = { giant, length };
    recto_text_result   about   = { 0, 0 };
    recto_embed_options options = { .struct_size = sizeof options, .truncate = 1 };
    expect(recto_embed(embedder.model, &text, 1, NULL, vector, NULL, &embedder.error), RECTO_E_INPUT, "text 0", "the model takes 64");
    double begun = seconds();
    assert_int_equal(recto_embed(embedder.model, &text, 1, &options, vector, &about, &embedder.error), RECTO_OK);
    double taken = seconds() - begun;
    assert_true(about.truncated && about.tokens == 64);
    return taken;
}

static void gigantic_texts(void **state)
{
    (void)state;
    static const char *const units[] = { "a b ", "abcdefghijklmnopqrstuvwxyz", "\xe6\xbc\xa2", "\xcc\x81", "\0 ", "..,;" };
    static const size_t      sizes[] = { 4, 26, 3, 2, 2, 4 };
    enum { GIANT = 50 << 20 };
    char *giant = malloc(GIANT);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        float  vector[WIDTH], shorter[WIDTH];
        size_t length = i ? GIANT / 16 : GIANT, whole = length / sizes[i] * sizes[i];
        for (size_t at = 0; at < whole; at += sizes[i])
            memcpy(giant + at, units[i], sizes[i]);
        if (i == 1 || i == 3 || i == 4)
            memcpy(giant, "a b c d e f g h i j k l m n o p q r s t u v w x y z a b c d e f g h i j k l m n o p q r s t u v w x y z "
                          "a b c d e f g h i j k l m n o p q r s t u v w x y z ", 156);  /* one word or none is not too long */
        size_t tenth = whole / 10 / 156 * 156;
        double slow  = embed_giant(giant, whole, vector), quick = embed_giant(giant, tenth, shorter);
        assert_memory_equal(vector, shorter, sizeof vector);
        if (slow > 30.0 * quick + 0.5)
            fail_msg("unit %zu: %zu bytes took %.3f s, a tenth of them %.3f s", i, whole, slow, quick);
    }
    memset(giant, 'a', GIANT);
    giant[GIANT - 1] = '\xff';
    expect_bad_text(giant, GIANT, "position 52428799");
    free(giant);
}

/* ---- Arguments ---- */

static void null_pointers(void **state)
{
    (void)state;
    float            vector[WIDTH];
    const recto_text text = { "abc", 3 }, nothing = { NULL, 7 };
    recto_tokens     tokens = { .struct_size = sizeof tokens };
    expect(recto_embed(embedder.model, &nothing, 1, NULL, vector, NULL, &embedder.error), RECTO_E_USAGE, "text 0", "null");
    expect(recto_tokenize(embedder.model, &nothing, &tokens, &embedder.error), RECTO_E_USAGE, "null", "");
    expect(recto_embed(embedder.model, NULL, 1, NULL, vector, NULL, &embedder.error), RECTO_E_USAGE, "null", "");
    expect(recto_embed(embedder.model, &text, 1, NULL, NULL, NULL, &embedder.error), RECTO_E_USAGE, "null", "");
    expect(recto_embed(NULL, &text, 1, NULL, vector, NULL, &embedder.error), RECTO_E_USAGE, "null", "");
    expect(recto_tokenize(NULL, &text, &tokens, &embedder.error), RECTO_E_USAGE, "null", "");
    expect(recto_tokenize(embedder.model, NULL, &tokens, &embedder.error), RECTO_E_USAGE, "null", "");
    recto_model *model = (recto_model *)&text;
    expect(recto_model_open(NULL, folder, NULL, &model, &embedder.error), RECTO_E_USAGE, "null", "");
    assert_null(model);
    expect(recto_model_open(embedder.engine, NULL, NULL, &model, &embedder.error), RECTO_E_USAGE, "null", "");
    assert_int_equal(recto_embed(embedder.model, &nothing, 1, NULL, vector, NULL, NULL), RECTO_E_USAGE);  /* no error wanted */
    recto_model_close(NULL);
    recto_engine_close(NULL);
    recto_cancel_close(NULL);
    expect_right_bits();
}

/* A size that was forgotten would make every option a silent default. */
static void options_without_a_size(void **state)
{
    (void)state;
    float                vector[WIDTH];
    const recto_text     text   = { "abc", 3 };
    recto_embed_options  embed  = { .dimensions = 3 };
    recto_model_options  model  = { .precision = RECTO_PRECISION_INT8 };
    recto_engine_options engine = { .threads = 1 };
    recto_model         *opened_model;
    recto_engine        *opened_engine;
    expect(recto_embed(embedder.model, &text, 1, &embed, vector, NULL, &embedder.error), RECTO_E_USAGE, "embed", "struct_size");
    expect(recto_model_open(embedder.engine, folder, &model, &opened_model, &embedder.error), RECTO_E_USAGE, "model", "struct_size");
    expect(recto_engine_open(&opened_engine, &engine, &embedder.error), RECTO_E_USAGE, "engine", "struct_size");
    assert_null(opened_model);
    assert_null(opened_engine);
    expect_right_bits();
}

static void nothing_to_do(void **state)
{
    (void)state;
    assert_int_equal(recto_embed(embedder.model, NULL, 0, NULL, NULL, NULL, &embedder.error), RECTO_OK);
    assert_int_equal(embedder.error.code, RECTO_OK);
    assert_string_equal(embedder.error.message, "");
    expect_right_bits();
}

static void dimensions(void **state)
{
    (void)state;
    float               vector[WIDTH];
    const recto_text    text    = { "abc", 3 };
    recto_embed_options options = { .struct_size = sizeof options, .dimensions = WIDTH + 1 };
    expect(recto_embed(embedder.model, &text, 1, &options, vector, NULL, &embedder.error), RECTO_E_USAGE, "33", "32");
    options.dimensions = UINT32_MAX;
    expect(recto_embed(embedder.model, &text, 1, &options, vector, NULL, &embedder.error), RECTO_E_USAGE, "4294967295", "32");
    options.dimensions = 1;
    assert_int_equal(recto_embed(embedder.model, &text, 1, &options, vector, NULL, &embedder.error), RECTO_OK);
    expect_right_bits();
}

static void prompts(void **state)
{
    (void)state;
    float               vectors[3][WIDTH];
    const recto_text    text    = { "abc", 3 }, joined = { "find: abc", 9 };
    recto_embed_options options = { .struct_size = sizeof options, .prompt = "title" };
    expect(recto_embed(embedder.model, &text, 1, &options, vectors[0], NULL, &embedder.error), RECTO_E_USAGE, "no prompt", "'title'");
    options.prompt = "query";
    assert_int_equal(recto_embed(embedder.model, &text, 1, &options, vectors[0], NULL, &embedder.error), RECTO_OK);
    assert_int_equal(recto_embed(embedder.model, &joined, 1, NULL, vectors[1], NULL, &embedder.error), RECTO_OK);
    assert_memory_equal(vectors[0], vectors[1], sizeof vectors[0]);
    options.prompt = "none";  /* a prompt without text is one all the same */
    if (recto_embed(embedder.model, &text, 1, &options, vectors[2], NULL, &embedder.error) != RECTO_OK)
        fail_msg("%s", embedder.error.message);
    assert_memory_equal(vectors[2], right[0], sizeof right[0]);
    const recto_text bad = { "ab\xff", 3 }, empty = { NULL, 0 };
    options.prompt = "passage";
    assert_int_equal(recto_embed(embedder.model, &empty, 1, &options, vectors[0], NULL, &embedder.error), RECTO_OK);
    options.prompt = "query";
    expect(recto_embed(embedder.model, &bad, 1, &options, vectors[0], NULL, &embedder.error), RECTO_E_INPUT, "text 0", "position 2");
}

static void token_ids(void **state)
{
    (void)state;
    float               vector[WIDTH];
    int32_t             ids[65] = { 2, 5, 42, 43, 3 };  /* [CLS] a ##b ##c [SEP] */
    recto_text          text    = { (const char *)ids, 5 * sizeof *ids };
    recto_embed_options options = { .struct_size = sizeof options, .token_ids = 1 };
    recto_status        result  = recto_embed(embedder.model, &text, 1, &options, vector, NULL, &embedder.error);
    if (result != RECTO_OK)
        fail_msg("%s", embedder.error.message);
    assert_memory_equal(vector, right[0], sizeof vector);
    static const int32_t wrong[] = { -1, 80, INT32_MAX, INT32_MIN };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        ids[2] = wrong[i];
        result = recto_embed(embedder.model, &text, 1, &options, vector, NULL, &embedder.error);
        expect(result, RECTO_E_INPUT, "text 0", "80");
    }
    ids[2]    = 42;
    text.data = NULL;
    expect(recto_embed(embedder.model, &text, 1, &options, vector, NULL, &embedder.error), RECTO_E_USAGE, "text 0", "null");
    text.data   = (const char *)ids;
    text.length = 7;
    assert_int_not_equal(recto_embed(embedder.model, &text, 1, &options, vector, NULL, &embedder.error), RECTO_OK);
    text.length = 0;
    assert_int_not_equal(recto_embed(embedder.model, &text, 1, &options, vector, NULL, &embedder.error), RECTO_OK);
    text.length = sizeof ids;
    expect(recto_embed(embedder.model, &text, 1, &options, vector, NULL, &embedder.error), RECTO_E_INPUT, "text 0", "64");
}

static void room_for_tokens(void **state)
{
    (void)state;
    int32_t          ids[8] = { -7, -7, -7, -7, -7 };
    const recto_text text   = { "abc", 3 };
    recto_tokens     tokens = { .struct_size = sizeof tokens, .count = 4, .ids = ids };
    expect(recto_tokenize(embedder.model, &text, &tokens, &embedder.error), RECTO_E_INPUT, "5 tokens", "4");
    assert_int_equal(tokens.count, 5);
    assert_int_equal(ids[0], -7);
    assert_int_equal(recto_tokenize(embedder.model, &text, &tokens, &embedder.error), RECTO_OK);
    assert_int_equal(ids[0], 2);
    assert_int_equal(ids[4], 3);
    assert_int_equal(ids[5], 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_not_utf8), cmocka_unit_test(a_character_cut_by_the_length),
        cmocka_unit_test(good_oddities),    cmocka_unit_test(too_long_without_truncation),
        cmocka_unit_test(gigantic_texts),   cmocka_unit_test(null_pointers),
        cmocka_unit_test(nothing_to_do),    cmocka_unit_test(dimensions),
        cmocka_unit_test(prompts),          cmocka_unit_test(token_ids),
        cmocka_unit_test(room_for_tokens),  cmocka_unit_test(options_without_a_size),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
