/* make_random_model: writes a model folder with random weights that anybody can make again, byte for byte.
 *
 *     make_random_model NAME FOLDER [LAYERS POSITIONS WORDS]   NAME is a line of tests/fixtures/models/models.tsv; run in the
 *                                                              project's root. The numbers: as large as models in use, to be timed
 *     make_random_model --list                                 the names
 *
 * The vectors that transformers makes from the same folders are committed (tests/reference/random_models.py, the twin of this
 * program), the folders are not. Element i of a tensor is offset + scale * unit, each step rounded to fp32:
 *
 *     unit = ((int)(mix(fnv1a(model name + "/" + tensor name) + i) >> 40) - 2^23) / 2^23,  in [-1, 1)
 *
 * with mix the finaliser of splitmix64 and fnv1a the 64-bit hash of that name. Every tensor is random, norms and biases
 * included; a trivial value would hide its absence. F16 and BF16 are the fp32 value rounded to nearest even. */
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { POSITIONS = 64, WORDS = 200, WORD_ROOM = 32 };  /* where the command line does not say others; a word and its NUL */

/* One line of models.tsv, in the order of its columns. */
struct recipe {
    char *name, *layers, *hidden, *heads, *inner, *activation, *pooling, *dtype, *prefix, *norms, *dense, *tokenizer;
    char *normalize, *query, *passage;
    int positions, words;
    char line[512];
};

enum filling { FILL_WEIGHT, FILL_BIAS, FILL_NORM_WEIGHT, FILL_NORM_BIAS, FILL_EMBEDDING, FILL_COUNTING };

/* Writes a safetensors file in two passes over the same list of tensors: first the header, then the elements. */
struct writer {
    const struct recipe *recipe;
    const char *dtype;
    FILE *file;
    char *header;
    size_t header_length;
    uint64_t offset;
    int writes_data;
};

static _Noreturn void stop(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
    exit(1);
}

static FILE *open_file(const char *folder, const char *name, const char *mode)
{
    char path[1024];
    if (snprintf(path, sizeof path, "%s/%s", folder, name) >= (int)sizeof path)
        stop("%s: the path is too long", folder);
    FILE *file = fopen(path, mode);
    if (!file)
        stop("%s: %s", path, strerror(errno));
    return file;
}

static void close_file(FILE *file)
{
    int failed = ferror(file);
    if (fclose(file) || failed)
        stop("could not write: %s", strerror(errno));
}

static void make_folder(const char *folder, const char *name)
{
    char path[1024];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    if (mkdir(path, 0777) && errno != EEXIST)
        stop("%s: %s", path, strerror(errno));
}

static int is_set(const char *field)
{
    return strcmp(field, "-") != 0;
}

/* ---- random elements ---- */

static uint64_t fnv1a(uint64_t hash, const char *text)
{
    for (; *text; text++)
        hash = (hash ^ (unsigned char)*text) * 0x100000001b3u;
    return hash;
}

static uint64_t mix(uint64_t x)
{
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

static float random_unit(uint64_t seed, uint64_t index)
{
    return (float)((int32_t)(mix(seed + index) >> 40) - (1 << 23)) / (float)(1 << 23);
}

static uint16_t to_bf16(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

static uint16_t to_f16(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    uint32_t sign = bits >> 16 & 0x8000, magnitude = bits & 0x7fffffff;
    if (magnitude < 0x38800000) /* subnormal in half precision: a multiple of 2^-24 */
        return (uint16_t)(sign | (uint32_t)rintf(fabsf(value) * 0x1p24f));
    return (uint16_t)(sign | (magnitude - 0x38000000 + 0xfff + (magnitude >> 13 & 1)) >> 13);
}

static float scale_of(enum filling filling, uint64_t columns)
{
    switch (filling) {
    case FILL_WEIGHT: return 1.6f * sqrtf(3.0f / (float)columns);
    case FILL_BIAS: return 0.2f;
    case FILL_NORM_BIAS: return 0.3f;
    default: return 0.5f;
    }
}

/* ---- safetensors ---- */

static size_t element_size(const char *dtype)
{
    return strcmp(dtype, "F32") == 0 ? 4 : strcmp(dtype, "I64") == 0 ? 8 : 2;
}

static void write_elements(struct writer *writer, const char *name, uint64_t count, float offset, float scale)
{
    uint64_t seed = fnv1a(fnv1a(fnv1a(0xcbf29ce484222325u, writer->recipe->name), "/"), name);
    for (uint64_t i = 0; i < count; i++) {
        float scaled = scale * random_unit(seed, i);
        float value = offset + scaled;
        uint16_t half = strcmp(writer->dtype, "F16") == 0 ? to_f16(value) : to_bf16(value);
        if (writer->dtype[0] == 'F' && writer->dtype[1] == '3')
            fwrite(&value, sizeof value, 1, writer->file);
        else
            fwrite(&half, sizeof half, 1, writer->file);
    }
}

static void describe(struct writer *writer, const char *name, const char *dtype, const char *shape, uint64_t bytes)
{
    char entry[256];
    int length = snprintf(entry, sizeof entry, ",\"%s\":{\"dtype\":\"%s\",\"shape\":[%s],\"data_offsets\":[%" PRIu64 ",%" PRIu64 "]}",
                          name, dtype, shape, writer->offset, writer->offset + bytes);
    char *longer = realloc(writer->header, writer->header_length + (size_t)length + 16);
    if (!longer)
        stop("out of memory");
    writer->header = longer;
    memcpy(writer->header + writer->header_length, entry, (size_t)length + 1);
    writer->header_length += (size_t)length;
    writer->offset += bytes;
}

/* A tensor of [rows, columns]; rows 0 means that it has one dimension. */
static void put(struct writer *writer, const char *name, uint64_t rows, uint64_t columns, enum filling filling)
{
    const char *dtype = filling == FILL_COUNTING ? "I64" : writer->dtype;
    uint64_t count = (rows ? rows : 1) * columns;
    char shape[64];
    if (rows)
        snprintf(shape, sizeof shape, "%" PRIu64 ",%" PRIu64, rows, columns);
    else
        snprintf(shape, sizeof shape, "%" PRIu64, columns);
    if (!writer->writes_data) {
        describe(writer, name, dtype, shape, count * element_size(dtype));
    } else if (filling == FILL_COUNTING) {
        for (uint64_t i = 0; i < count; i++)
            fwrite(&i, sizeof i, 1, writer->file);
    } else {
        write_elements(writer, name, count, filling == FILL_NORM_WEIGHT ? 1.0f : 0.0f, scale_of(filling, columns));
    }
}

enum { NAME_ROOM = 128 };

static void join(char name[NAME_ROOM], const char *stem, const char *leaf)
{
    if (snprintf(name, NAME_ROOM, "%s.%s", stem, leaf) >= NAME_ROOM)
        stop("%s: the name is too long", stem);
}

static void put_linear(struct writer *writer, const char *stem, uint64_t outputs, uint64_t inputs)
{
    char name[128];
    join(name, stem, "weight");
    put(writer, name, outputs, inputs, FILL_WEIGHT);
    join(name, stem, "bias");
    put(writer, name, 0, outputs, FILL_BIAS);
}

static void put_norm(struct writer *writer, const char *stem, uint64_t width)
{
    int is_old = strcmp(writer->recipe->norms, "gamma") == 0;
    char name[128];
    snprintf(name, sizeof name, "%s.%s", stem, is_old ? "gamma" : "weight");
    put(writer, name, 0, width, FILL_NORM_WEIGHT);
    snprintf(name, sizeof name, "%s.%s", stem, is_old ? "beta" : "bias");
    put(writer, name, 0, width, FILL_NORM_BIAS);
}

static void put_layer(struct writer *writer, uint64_t layer, uint64_t hidden, uint64_t inner)
{
    static const char *const square[] = {"attention.self.query", "attention.self.key", "attention.self.value",
                                         "attention.output.dense"};
    char stem[128];
    int start = snprintf(stem, sizeof stem, "%sencoder.layer.%" PRIu64 ".", is_set(writer->recipe->prefix) ? writer->recipe->prefix : "",
                         layer);
    char *rest = stem + start;
    size_t room = sizeof stem - (size_t)start;
    for (int i = 0; i < 4; i++) {
        snprintf(rest, room, "%s", square[i]);
        put_linear(writer, stem, hidden, hidden);
    }
    snprintf(rest, room, "attention.output.LayerNorm");
    put_norm(writer, stem, hidden);
    snprintf(rest, room, "intermediate.dense");
    put_linear(writer, stem, inner, hidden);
    snprintf(rest, room, "output.dense");
    put_linear(writer, stem, hidden, inner);
    snprintf(rest, room, "output.LayerNorm");
    put_norm(writer, stem, hidden);
}

static uint64_t number(const char *field)
{
    return strtoull(field, NULL, 10);
}

static void put_embeddings(struct writer *writer, const char *prefix, uint64_t hidden)
{
    char name[128];
    snprintf(name, sizeof name, "%sembeddings.word_embeddings.weight", prefix);
    put(writer, name, (uint64_t)writer->recipe->words, hidden, FILL_EMBEDDING);
    snprintf(name, sizeof name, "%sembeddings.position_embeddings.weight", prefix);
    put(writer, name, (uint64_t)writer->recipe->positions, hidden, FILL_EMBEDDING);
    snprintf(name, sizeof name, "%sembeddings.token_type_embeddings.weight", prefix);
    put(writer, name, 2, hidden, FILL_EMBEDDING);
    snprintf(name, sizeof name, "%sembeddings.LayerNorm", prefix);
    put_norm(writer, name, hidden);
}

static void put_network(struct writer *writer)
{
    const struct recipe *recipe = writer->recipe;
    const char *prefix = is_set(recipe->prefix) ? recipe->prefix : "";
    uint64_t hidden = number(recipe->hidden);
    put_embeddings(writer, prefix, hidden);
    for (uint64_t layer = 0; layer < number(recipe->layers); layer++)
        put_layer(writer, layer, hidden, number(recipe->inner));
    char name[128];
    snprintf(name, sizeof name, "%spooler.dense", prefix);
    put_linear(writer, name, hidden, hidden);
    if (*prefix) { /* what checkpoints of larger models bring along, of no use to an embedder */
        snprintf(name, sizeof name, "%sembeddings.position_ids", prefix);
        put(writer, name, 1, (uint64_t)recipe->positions, FILL_COUNTING);
        put(writer, "cls.predictions.bias", 0, (uint64_t)recipe->words, FILL_BIAS);
    }
}

static void put_dense(struct writer *writer)
{
    put_linear(writer, "linear", number(writer->recipe->dense), number(writer->recipe->hidden));
}

static void write_weights(const struct recipe *recipe, const char *folder, const char *dtype, void (*list)(struct writer *))
{
    struct writer writer = {.recipe = recipe, .dtype = dtype, .file = open_file(folder, "model.safetensors", "wb")};
    list(&writer);
    const char *start = "{\"__metadata__\":{\"format\":\"pt\"}";
    uint64_t length = strlen(start) + writer.header_length + 1, padded = (length + 7) / 8 * 8;
    fwrite(&padded, sizeof padded, 1, writer.file);
    fprintf(writer.file, "%s%s}%*s", start, writer.header, (int)(padded - length), "");
    writer.writes_data = 1;
    list(&writer);
    close_file(writer.file);
    free(writer.header);
}

/* ---- the other files of a model folder ---- */

static void write_config(const struct recipe *recipe, const char *folder)
{
    FILE *file = open_file(folder, "config.json", "w");
    fprintf(file, "{\n  \"architectures\": [\"BertModel\"],\n  \"hidden_act\": \"%s\",\n  \"hidden_size\": %s,\n", recipe->activation,
            recipe->hidden);
    fprintf(file, "  \"intermediate_size\": %s,\n  \"layer_norm_eps\": 1e-12,\n  \"max_position_embeddings\": %d,\n", recipe->inner, recipe->positions);
    fprintf(file, "  \"model_type\": \"bert\",\n  \"num_attention_heads\": %s,\n  \"num_hidden_layers\": %s,\n", recipe->heads, recipe->layers);
    fprintf(file, "  \"pad_token_id\": 0,\n  \"position_embedding_type\": \"absolute\",\n  \"type_vocab_size\": 2,\n  \"vocab_size\": %d\n}\n",
            recipe->words);
    close_file(file);
}

static void write_modules(const struct recipe *recipe, const char *folder)
{
    static const char *const names[] = {"Transformer", "Pooling", "Dense", "Normalize"};
    int is_present[] = {1, 1, is_set(recipe->dense), strcmp(recipe->normalize, "yes") == 0};
    FILE *file = open_file(folder, "modules.json", "w");
    for (int i = 0, count = 0; i < 4; i++) {
        if (!is_present[i])
            continue;
        char path[32] = "";
        if (count)
            snprintf(path, sizeof path, "%d_%s", count, names[i]);
        if (i == 3)
            make_folder(folder, path);
        fprintf(file, "%s  {\"idx\": %d, \"name\": \"%d\", \"path\": \"%s\", \"type\": \"sentence_transformers.models.%s\"}",
                count ? ",\n" : "[\n", count, count, path, names[i]);
        count++;
    }
    fprintf(file, "\n]\n");
    close_file(file);
}

static void write_pooling(const struct recipe *recipe, const char *folder)
{
    static const char *const modes[] = {"cls_token", "mean_tokens", "max_tokens", "mean_sqrt_len_tokens", "weightedmean_tokens", "lasttoken"};
    make_folder(folder, "1_Pooling");
    FILE *file = open_file(folder, "1_Pooling/config.json", "w");
    fprintf(file, "{\n  \"word_embedding_dimension\": %s", recipe->hidden);
    for (int i = 0; i < 6; i++)
        fprintf(file, ",\n  \"pooling_mode_%s\": %s", modes[i],
                strncmp(modes[i], recipe->pooling, strlen(recipe->pooling)) == 0 && i != 3 ? "true" : "false");
    fprintf(file, ",\n  \"include_prompt\": true\n}\n");
    close_file(file);
}

static void write_dense(const struct recipe *recipe, const char *folder)
{
    char path[1024];
    make_folder(folder, "2_Dense");
    snprintf(path, sizeof path, "%s/2_Dense", folder);
    FILE *file = open_file(path, "config.json", "w");
    const char *activation = strchr(recipe->dense, ':') + 1;
    fprintf(file, "{\"in_features\": %s, \"out_features\": %d, \"bias\": true, \"activation_function\": \"torch.nn.modules.%s.%s\"}\n",
            recipe->hidden, (int)number(recipe->dense), strcmp(activation, "Tanh") == 0 ? "activation" : "linear", activation);
    close_file(file);
    write_weights(recipe, path, "F32", put_dense);
}

static void write_settings(const struct recipe *recipe, const char *folder)
{
    FILE *file = open_file(folder, "sentence_bert_config.json", "w");
    fprintf(file, "{\"max_seq_length\": %d, \"do_lower_case\": false}\n", recipe->positions);
    close_file(file);
    file = open_file(folder, "tokenizer_config.json", "w");
    fprintf(file, "{\"tokenizer_class\": \"BertTokenizer\", \"do_lower_case\": true, \"model_max_length\": %d}\n",
            recipe->positions);
    close_file(file);
    file = open_file(folder, "config_sentence_transformers.json", "w");
    fprintf(file, "{\"prompts\": {");
    if (is_set(recipe->query))
        fprintf(file, "\"query\": \"%s\"", recipe->query);
    if (is_set(recipe->passage))
        fprintf(file, ", \"passage\": \"%s\"", recipe->passage);
    fprintf(file, "}, \"default_prompt_name\": null}\n");
    close_file(file);
}

static void write_tokenizer(const struct recipe *recipe, const char *folder, char words[][WORD_ROOM])
{
    FILE *file = open_file(folder, "tokenizer.json", "w");
    fprintf(file, "{\"version\": \"1.0\", \"truncation\": null, \"padding\": null, \"added_tokens\": [");
    for (int i = 0; i < 5; i++)
        fprintf(file, "%s{\"id\": %d, \"content\": \"%s\", \"single_word\": false, \"lstrip\": false, \"rstrip\": false, "
                      "\"normalized\": false, \"special\": true}", i ? ", " : "", i, words[i]);
    fprintf(file, "], \"normalizer\": {\"type\": \"BertNormalizer\", \"clean_text\": true, \"handle_chinese_chars\": true, "
                  "\"strip_accents\": null, \"lowercase\": true}, \"pre_tokenizer\": {\"type\": \"BertPreTokenizer\"}, ");
    fprintf(file, "\"post_processor\": {\"type\": \"TemplateProcessing\", \"single\": [{\"SpecialToken\": {\"id\": \"[CLS]\", \"type_id\": 0}}, "
                  "{\"Sequence\": {\"id\": \"A\", \"type_id\": 0}}, {\"SpecialToken\": {\"id\": \"[SEP]\", \"type_id\": 0}}], ");
    fprintf(file, "\"pair\": [{\"SpecialToken\": {\"id\": \"[CLS]\", \"type_id\": 0}}, {\"Sequence\": {\"id\": \"A\", \"type_id\": 0}}, "
                  "{\"SpecialToken\": {\"id\": \"[SEP]\", \"type_id\": 0}}, {\"Sequence\": {\"id\": \"B\", \"type_id\": 1}}, "
                  "{\"SpecialToken\": {\"id\": \"[SEP]\", \"type_id\": 1}}], ");
    fprintf(file, "\"special_tokens\": {\"[CLS]\": {\"id\": \"[CLS]\", \"ids\": [2], \"tokens\": [\"[CLS]\"]}, "
                  "\"[SEP]\": {\"id\": \"[SEP]\", \"ids\": [3], \"tokens\": [\"[SEP]\"]}}}, ");
    fprintf(file, "\"decoder\": {\"type\": \"WordPiece\", \"prefix\": \"##\", \"cleanup\": true}, \"model\": {\"type\": \"WordPiece\", "
                  "\"unk_token\": \"[UNK]\", \"continuing_subword_prefix\": \"##\", \"max_input_chars_per_word\": 100, \"vocab\": {");
    for (int i = 0; i < recipe->words; i++)
        fprintf(file, "%s\"%s%s\": %d", i ? ", " : "", words[i][0] == '"' ? "\\" : "", words[i], i);
    fprintf(file, "}}}\n");
    close_file(file);
}

/* The words of vocab.txt; where more are wanted, names of words that no text has. */
static void write_vocabulary(const struct recipe *recipe, const char *folder)
{
    char (*words)[WORD_ROOM] = calloc((size_t)recipe->words, sizeof *words);
    FILE *file = open_file("tests/fixtures/models", "vocab.txt", "r");
    if (!words)
        stop("out of memory");
    for (int i = 0; i < recipe->words; i++) {
        if (i >= WORDS)
            snprintf(words[i], sizeof words[i], "[unused%d]", i);
        else if (!fgets(words[i], sizeof words[i], file))
            stop("vocab.txt has %d lines, expected %d", i, WORDS);
        words[i][strcspn(words[i], "\n")] = 0;
    }
    fclose(file);
    if (strcmp(recipe->tokenizer, "json") == 0) {
        write_tokenizer(recipe, folder, words);
    } else {
        file = open_file(folder, "vocab.txt", "w");
        for (int i = 0; i < recipe->words; i++)
            fprintf(file, "%s\n", words[i]);
        close_file(file);
    }
    free(words);
}

/* ---- the list of models ---- */

static int read_recipe(FILE *table, struct recipe *recipe)
{
    char **const fields[] = {&recipe->name,    &recipe->layers, &recipe->hidden, &recipe->heads, &recipe->inner,
                             &recipe->activation, &recipe->pooling, &recipe->dtype, &recipe->prefix, &recipe->norms,
                             &recipe->dense,   &recipe->tokenizer, &recipe->normalize, &recipe->query, &recipe->passage};
    char *rest = recipe->line;
    recipe->positions = POSITIONS;
    recipe->words = WORDS;
    if (!fgets(recipe->line, sizeof recipe->line, table))
        return 0;
    recipe->line[strcspn(recipe->line, "\n")] = 0;
    for (int i = 0; i < 15; i++)
        if (!(*fields[i] = strsep(&rest, "\t")))
            stop("models.tsv: a line has %d columns, expected 15", i);
    return 1;
}

static void make_model(const struct recipe *recipe, const char *folder)
{
    if (mkdir(folder, 0777) && errno != EEXIST)
        stop("%s: %s", folder, strerror(errno));
    write_config(recipe, folder);
    write_modules(recipe, folder);
    write_pooling(recipe, folder);
    write_settings(recipe, folder);
    write_vocabulary(recipe, folder);
    write_weights(recipe, folder, recipe->dtype, put_network);
    if (is_set(recipe->dense))
        write_dense(recipe, folder);
}

/* Layers, positions and words as the command line has them. */
static void enlarge(struct recipe *recipe, char **arguments)
{
    recipe->layers = arguments[0];
    recipe->positions = atoi(arguments[1]);
    recipe->words = atoi(arguments[2]);
    if (number(recipe->layers) < 1 || recipe->positions < 2 || recipe->words < WORDS)
        stop("expected at least one layer, 2 positions and %d words", WORDS);
}

int main(int count, char **arguments)
{
    int lists = count == 2 && strcmp(arguments[1], "--list") == 0;
    if (count != 3 && count != 6 && !lists)
        stop("usage: make_random_model NAME FOLDER [LAYERS POSITIONS WORDS] | --list");
    FILE *table = open_file("tests/fixtures/models", "models.tsv", "r");
    struct recipe recipe;
    int found = lists;
    read_recipe(table, &recipe); /* the names of the columns */
    while (read_recipe(table, &recipe))
        if (lists) {
            puts(recipe.name);
        } else if (strcmp(recipe.name, arguments[1]) == 0) {
            if (count == 6)
                enlarge(&recipe, arguments + 3);
            make_model(&recipe, arguments[2]);
            found = 1;
        }
    fclose(table);
    if (!found)
        stop("models.tsv has no model '%s'", arguments[1]);
    return 0;
}
