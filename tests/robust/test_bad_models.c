/* Broken model folders: each is refused by a sentence that says what is wrong and where, and nothing stays booked. */
#include "tests/support/embedder.h"
#include "tests/support/small_model.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static char            scratch[SMALL_PATH_MAX], cache[SMALL_PATH_MAX + 8], folder[SMALL_PATH_MAX + 8];
static struct embedder embedder;
static uint64_t        at_rest;  /* bytes booked without a model */

static int set_up(void **state)
{
    (void)state;
    scratch_make(scratch);
    snprintf(cache, sizeof cache, "%s/cache", scratch);
    snprintf(folder, sizeof folder, "%s/model", scratch);
    struct embedder_options options = { .cache = cache };
    if (embedder_start(&embedder, &options) != RECTO_OK)
        return 1;
    at_rest = embedder_bytes(&embedder);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    embedder_close(&embedder);
    scratch_remove(scratch);
    return 0;
}

static recto_status open_as(recto_precision precision)
{
    recto_model_options options = { .struct_size = sizeof options, .precision = precision };
    recto_status        result  = recto_model_open(embedder.engine, folder, &options, &embedder.model, &embedder.error);
    if (result != RECTO_OK)
        assert_int_equal(embedder_bytes(&embedder), at_rest);
    return result;
}

static void close_model(void)
{
    recto_model_close(embedder.model);
    embedder.model = NULL;
}

/* The sentence has all the words, each ended by a '|'. */
static void expect_words(const char *words)
{
    for (const char *word = words; *word;) {
        char   one[200];
        size_t length = strcspn(word, "|");
        snprintf(one, sizeof one, "%.*s", (int)length, word);
        if (!strstr(embedder.error.message, one))
            fail_msg("'%s' is not in the sentence '%s'", one, embedder.error.message);
        word += length + (word[length] == '|');
    }
}

static void expect_refusal(const char *words)
{
    static const recto_precision precisions[] = { RECTO_PRECISION_FP32, RECTO_PRECISION_BF16, RECTO_PRECISION_INT8 };
    for (size_t i = 0; i < sizeof precisions / sizeof *precisions; i++) {
        recto_status result = open_as(precisions[i]);
        if (result != RECTO_E_MODEL)
            fail_msg("expected a refusal with %s, got %s: %s", words, recto_status_name(result), embedder.error.message);
        expect_words(words);
        expect_words(folder);
    }
}

static void write_usual(void)
{
    scratch_remove(folder);
    small_model_create(&small_usual, folder);
}

static void the_usual_model_opens(void **state)
{
    (void)state;
    float vector[32];
    write_usual();
    for (int precision = RECTO_PRECISION_FP32; precision <= RECTO_PRECISION_INT8; precision++) {
        recto_status result = open_as((recto_precision)precision);
        if (result != RECTO_OK)
            fail_msg("%s", embedder.error.message);
        assert_int_equal(embedder_embed(&embedder, "abc", vector), RECTO_OK);
        close_model();
    }
    embedder_close(&embedder);  /* the request that waits for a next call */
    struct embedder_options options = { .cache = cache };
    assert_int_equal(embedder_start(&embedder, &options), RECTO_OK);
    assert_int_equal(embedder_bytes(&embedder), at_rest);
}

/* ---- Weight files ---- */

static void truncated_weights(void **state)
{
    (void)state;
    size_t length;
    write_usual();
    unsigned char *bytes = scratch_read(folder, "model.safetensors", &length);
    for (size_t keep = 0; keep < length; keep += keep < 64 ? 1 : keep < 8192 ? 61 : 977) {
        scratch_write(folder, "model.safetensors", bytes, keep);
        assert_int_equal(open_as(RECTO_PRECISION_FP32), RECTO_E_MODEL);
        expect_words("model.safetensors|byte");
    }
    scratch_write(folder, "model.safetensors", bytes, length - 1);
    expect_refusal("model.safetensors|byte");
    free(bytes);
}

/* A flipped bit may make another valid file, of other numbers; it must not do anything else. */
static void flipped_bits(void **state)
{
    (void)state;
    size_t length;
    write_usual();
    unsigned char *bytes = scratch_read(folder, "model.safetensors", &length);
    uint64_t       header;
    memcpy(&header, bytes, sizeof header);
    int refused = 0, opened = 0;
    for (size_t at = 0; at < length; at += at < 16 ? 1 : at < header ? 13 : 1543)
        for (int bit = at % 2; bit < 8; bit += 3) {
            bytes[at] ^= (unsigned char)(1 << bit);
            scratch_write(folder, "model.safetensors", bytes, length);
            bytes[at] ^= (unsigned char)(1 << bit);
            recto_status result = open_as(at % 3 ? RECTO_PRECISION_FP32 : RECTO_PRECISION_INT8);
            if (result == RECTO_OK) {
                close_model();
                opened++;
            } else {
                assert_int_equal(result, RECTO_E_MODEL);
                expect_words("model.safetensors");
                refused++;
            }
        }
    assert_true(refused > 300 && opened > 20);
    free(bytes);
}

static void with_change(void (*change)(struct small_model *model, struct small_tensor *tensor), const char *tensor,
                        const char *words)
{
    struct small_model model;
    scratch_remove(folder);
    small_model_make(&model, &small_usual);
    change(&model, tensor ? small_model_tensor(&model, tensor) : NULL);
    small_model_write(&model, folder);
    small_model_release(&model);
    expect_refusal(words);
}

/* One of each kind. */
static const char *const kinds[] = {
    "embeddings.word_embeddings.weight", "embeddings.position_embeddings.weight", "embeddings.token_type_embeddings.weight",
    "embeddings.LayerNorm.weight", "embeddings.LayerNorm.bias", "encoder.layer.0.attention.self.query.weight",
    "encoder.layer.1.attention.self.key.weight", "encoder.layer.0.attention.self.value.bias",
    "encoder.layer.1.attention.output.dense.weight", "encoder.layer.1.attention.output.dense.bias",
    "encoder.layer.0.attention.output.LayerNorm.weight", "encoder.layer.1.intermediate.dense.weight",
    "encoder.layer.1.intermediate.dense.bias", "encoder.layer.0.output.dense.weight", "encoder.layer.1.output.LayerNorm.bias",
};

static void other_rows(struct small_model *model, struct small_tensor *tensor)
{
    (void)model;
    tensor->bytes = tensor->bytes / (size_t)tensor->shape[0] * (size_t)(tensor->shape[0] - 1);
    tensor->shape[0]--;
}

static void other_rank(struct small_model *model, struct small_tensor *tensor)
{
    (void)model;
    tensor->shape[0] *= tensor->rank == 2 ? tensor->shape[1] : 1;
    tensor->shape[1] = 1;
    tensor->rank     = 3 - tensor->rank;
}

static void other_order(struct small_model *model, struct small_tensor *tensor)
{
    (void)model;
    int64_t rows     = tensor->shape[0];
    tensor->shape[0] = tensor->shape[1];
    tensor->shape[1] = rows;
}

static void wrong_shapes(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        char words[200];
        snprintf(words, sizeof words, "model.safetensors|'%s'|is [|expected [", kinds[i]);
        with_change(other_rows, kinds[i], words);
        with_change(other_rank, kinds[i], words);
    }
    with_change(other_order, "encoder.layer.0.intermediate.dense.weight",
                "'encoder.layer.0.intermediate.dense.weight' is [32, 48] F32, expected [48, 32]");
}

static void say_float64(struct small_model *model, struct small_tensor *tensor)
{
    (void)model;
    tensor->dtype = "F64";
    tensor->data  = realloc(tensor->data, 2 * tensor->bytes);
    memset((char *)tensor->data + tensor->bytes, 0, tensor->bytes);
    tensor->bytes *= 2;
}

static void say_int32(struct small_model *model, struct small_tensor *tensor)
{
    (void)model;
    tensor->dtype = "I32";
}

static void say_half(struct small_model *model, struct small_tensor *tensor)
{
    (void)model;
    tensor->dtype = "F16";  /* of twice the bytes it needs */
}

static void say_nonsense(struct small_model *model, struct small_tensor *tensor)
{
    (void)model;
    tensor->dtype = "F31";
}

static void wrong_types(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        char words[200];
        snprintf(words, sizeof words, "model.safetensors|'%s'|expected F32, F16 or BF16|F64", kinds[i]);
        with_change(say_float64, kinds[i], words);
    }
    with_change(say_int32, kinds[3], "'embeddings.LayerNorm.weight' is I32");
    with_change(say_half, kinds[3], "embeddings.LayerNorm.weight|byte");
    with_change(say_nonsense, kinds[3], "embeddings.LayerNorm.weight|F31");
}

static void missing_tensors(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        struct small_model model;
        char               words[200];
        scratch_remove(folder);
        small_model_make(&model, &small_usual);
        small_model_drop(&model, kinds[i]);
        small_model_write(&model, folder);
        small_model_release(&model);
        snprintf(words, sizeof words, "model.safetensors|no tensor|%s", kinds[i]);
        expect_refusal(words);
    }
}

static void rename_twice(struct small_model *model, struct small_tensor *tensor)
{
    snprintf(tensor->name, sizeof tensor->name, "%s", model->tensors[0].name);
}

static void two_tensors_of_one_name(void **state)
{
    (void)state;
    with_change(rename_twice, "encoder.layer.0.output.dense.bias", "model.safetensors|byte|duplicate");
}

/* ---- Numbers that are none ---- */

static float  poison;
static size_t poisoned;

static void put_poison(struct small_model *model, struct small_tensor *tensor)
{
    (void)model;
    ((float *)tensor->data)[poisoned] = poison;
}

/* Where the sentence says that the number lies, there it lies. */
static void expect_place(void)
{
    const char *place = strstr(embedder.error.message, "(byte ");
    size_t      length;
    assert_non_null(place);
    unsigned char *bytes = scratch_read(folder, "model.safetensors", &length);
    size_t         at    = strtoull(place + 6, NULL, 10);
    assert_true(at + 4 <= length);
    assert_memory_equal(bytes + at, &poison, 4);
    free(bytes);
}

static void numbers_that_are_none(void **state)
{
    (void)state;
    static const float values[] = { NAN, INFINITY, -INFINITY };
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        for (size_t j = 0; j < 3; j++) {
            char words[200];
            poison   = values[j];
            poisoned = j * 11;
            if (strstr(kinds[i], "word_embeddings"))
                poisoned += 32 * 79;  /* the last row */
            snprintf(words, sizeof words, "model.safetensors|'%s' holds %s at element %zu ", kinds[i],
                     j ? "an infinity" : "a NaN", poisoned);
            with_change(put_poison, kinds[i], words);
            expect_place();
        }
}

static void nan_in_a_dense_layer(void **state)
{
    (void)state;
    struct small_model model;
    struct small_sizes sizes = small_usual;
    sizes.dense              = 16;
    scratch_remove(folder);
    small_model_make(&model, &sizes);
    ((float *)model.dense[0].data)[40] = NAN;
    small_model_write(&model, folder);
    expect_refusal("2_Dense/model.safetensors|'linear.weight' holds a NaN at element 40 ");
    ((float *)model.dense[0].data)[40] = 1.0f;
    model.dense[0].shape[0] = 32, model.dense[0].shape[1] = 16;
    small_model_write(&model, folder);
    expect_refusal("2_Dense/model.safetensors|linear.weight' is [32, 16] F32, expected [16, 32]");
    small_model_release(&model);
}

/* A model of one shard, which its index names. */
static void nan_in_a_shard(void **state)
{
    (void)state;
    static const char name[] = "embeddings.word_embeddings.weight";
    struct small_model model;
    size_t             length;
    char               index[16384] = "{\"weight_map\":{";
    scratch_remove(folder);
    small_model_make(&model, &small_usual);
    ((float *)model.tensors[0].data)[40] = NAN;
    assert_string_equal(model.tensors[0].name, name);
    small_model_write(&model, folder);
    for (size_t i = 0, at = strlen(index); i < (size_t)model.count; i++)
        at += (size_t)snprintf(index + at, sizeof index - at, "%s\"%s\":\"model-1.safetensors\"", i ? "," : "", model.tensors[i].name);
    strcat(index, "}}");
    small_model_release(&model);
    unsigned char *bytes = scratch_read(folder, "model.safetensors", &length);
    scratch_write(folder, "model-1.safetensors", bytes, length);
    scratch_write(folder, "model.safetensors.index.json", index, strlen(index));
    free(bytes);
    char path[SMALL_PATH_MAX + 40];
    snprintf(path, sizeof path, "%s/model.safetensors", folder);
    unlink(path);
    expect_refusal("/model-1.safetensors: |'embeddings.word_embeddings.weight' holds a NaN at element 40 ");
}

/* Finite weights may still give vectors that are not: the text is refused, the next one is not touched. */
static void vectors_that_are_no_numbers(void **state)
{
    (void)state;
    struct small_model model;
    float              vector[32], right[32];
    scratch_remove(folder);
    small_model_make(&model, &small_usual);
    float *words = small_model_tensor(&model, "embeddings.word_embeddings.weight")->data;
    for (int i = 0; i < 32; i++)
        words[5 * 32 + i] = i % 2 ? 3e38f : -3e38f;  /* the letter a */
    small_model_write(&model, folder);
    small_model_release(&model);
    assert_int_equal(open_as(RECTO_PRECISION_FP32), RECTO_OK);
    assert_int_equal(embedder_embed(&embedder, "bcd", right), RECTO_OK);
    assert_int_equal(embedder_embed(&embedder, "a", vector), RECTO_E_MODEL);
    expect_words("text 0|no numbers");
    assert_int_equal(embedder_embed(&embedder, "bcd", vector), RECTO_OK);
    assert_memory_equal(vector, right, sizeof right);
    close_model();
    embedder_close(&embedder);
    struct embedder_options options = { .cache = cache };
    assert_int_equal(embedder_start(&embedder, &options), RECTO_OK);
}

/* ---- Folders ---- */

static void missing_files(void **state)
{
    (void)state;
    static const struct { const char *file, *words; } cases[] = {
        { "config.json", "config.json|there is no such file" },
        { "1_Pooling/config.json", "1_Pooling/config.json" },
        { "vocab.txt", "there is no tokenizer" },
        { "model.safetensors", "there are no weights" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char path[SMALL_PATH_MAX + 64];
        write_usual();
        snprintf(path, sizeof path, "%s/%s", folder, cases[i].file);
        assert_int_equal(unlink(path), 0);
        expect_refusal(cases[i].words);
        assert_int_equal(symlink("nowhere", path), 0);  /* what an interrupted download leaves */
        expect_refusal(cases[i].file);
    }
    scratch_remove(folder);
    expect_refusal(folder);
    scratch_write(scratch, "model", "", 0);
    expect_refusal("");
}

/* Every configuration file cut at every length, and empty. */
static void truncated_configurations(void **state)
{
    (void)state;
    static const char *const files[] = { "config.json", "modules.json", "1_Pooling/config.json", "sentence_bert_config.json",
                                         "tokenizer_config.json", "config_sentence_transformers.json" };
    write_usual();
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        size_t         length;
        unsigned char *bytes = scratch_read(folder, files[i], &length);
        while (length && (bytes[length - 1] == '\n' || bytes[length - 1] == ' '))
            length--;
        for (size_t keep = 0; keep < length; keep += 1 + keep / 16) {
            scratch_write(folder, files[i], bytes, keep);
            assert_int_equal(open_as(RECTO_PRECISION_FP32), RECTO_E_MODEL);
            expect_words(files[i]);
        }
        scratch_write(folder, files[i], bytes, length);
        free(bytes);
    }
}

static void say(void (*set)(struct small_sizes *sizes), const char *words)
{
    struct small_model model;
    scratch_remove(folder);
    small_model_make(&model, &small_usual);
    set(&model.sizes);
    small_model_write(&model, folder);
    small_model_release(&model);
    expect_refusal(words);
}

static void more_layers(struct small_sizes *sizes) { sizes->layers = 3; }
static void more_inner(struct small_sizes *sizes) { sizes->inner = 64; }
static void more_positions(struct small_sizes *sizes) { sizes->positions = 128; }
static void fewer_pieces(struct small_sizes *sizes) { sizes->vocabulary = 70; }
static void more_pieces(struct small_sizes *sizes) { sizes->vocabulary = 100; }
static void more_types(struct small_sizes *sizes) { sizes->types = 3; }
static void three_heads(struct small_sizes *sizes) { sizes->heads = 3; }
static void eight_heads(struct small_sizes *sizes) { sizes->heads = 8; }
static void no_heads(struct small_sizes *sizes) { sizes->heads = 0; }
static void no_layers(struct small_sizes *sizes) { sizes->layers = 0; }

/* config.json and the tensors or the vocabulary contradict each other. */
static void contradictions(void **state)
{
    (void)state;
    say(more_layers, "model.safetensors|no tensor 'encoder.layer.2.attention.self.query.weight'");
    say(more_inner, "'encoder.layer.0.|dense.weight' is [|48|F32, expected [|64|");
    say(more_positions, "'embeddings.position_embeddings.weight' is [64, 32] F32, expected [128, 32]");
    say(fewer_pieces, "vocab.txt has ids up to 76|vocab_size 70");
    say(more_pieces, "'embeddings.word_embeddings.weight' is [80, 32] F32, expected [100, 32]");
    say(more_types, "'embeddings.token_type_embeddings.weight' is [2, 32] F32, expected [3, 32]");
    say(three_heads, "config.json|'hidden_size' is 32|'num_attention_heads' (3)");
    say(eight_heads, "heads of 4 elements are not supported");
    say(no_heads, "config.json|num_attention_heads");
    say(no_layers, "config.json|num_hidden_layers");
}

static void make_with(struct small_sizes sizes, const char *words)
{
    scratch_remove(folder);
    small_model_create(&sizes, folder);
    expect_refusal(words);
}

/* Sizes that are consistent and that the kernels do not have. */
static void sizes_not_supported(void **state)
{
    (void)state;
    struct small_sizes sizes = small_usual;
    sizes.inner              = 50;
    make_with(sizes, "layer.0.down|width 50|multiple of 4");
    sizes       = small_usual;
    sizes.width = 36, sizes.heads = 3;
    make_with(sizes, "heads of 12 elements|multiple of 8");
    sizes.width = 264, sizes.heads = 1, sizes.layers = 1;
    make_with(sizes, "heads of 264 elements|256");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_usual_model_opens),    cmocka_unit_test(truncated_weights),
        cmocka_unit_test(flipped_bits),             cmocka_unit_test(wrong_shapes),
        cmocka_unit_test(wrong_types),              cmocka_unit_test(missing_tensors),
        cmocka_unit_test(two_tensors_of_one_name),  cmocka_unit_test(numbers_that_are_none),
        cmocka_unit_test(nan_in_a_dense_layer),     cmocka_unit_test(vectors_that_are_no_numbers),
        cmocka_unit_test(missing_files),            cmocka_unit_test(truncated_configurations),
        cmocka_unit_test(contradictions),           cmocka_unit_test(sizes_not_supported),
        cmocka_unit_test(nan_in_a_shard),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
