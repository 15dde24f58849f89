#include "tests/support/small_model.h"

#include <errno.h>
#include <ftw.h>
#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

const struct small_sizes small_usual = { .layers = 2, .width = 32, .heads = 2, .inner = 48, .vocabulary = 80, .positions = 64,
                                         .types = 2 };
const struct small_sizes small_wide  = { .layers = 2, .width = 64, .heads = 2, .inner = 96, .vocabulary = 80, .positions = 64,
                                         .types = 2 };

static _Noreturn void stop(const char *what)
{
    fprintf(stderr, "small_model: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void *take(size_t bytes)
{
    void *memory = malloc(bytes ? bytes : 1);
    if (!memory)
        stop("no memory");
    return memory;
}

/* ---- Tensors ---- */

static uint64_t mix(uint64_t x)
{
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

/* In [-1, 1). */
static float number_of(const char *name, size_t index)
{
    uint64_t seed = 0xcbf29ce484222325u;
    for (; *name; name++)
        seed = (seed ^ (unsigned char)*name) * 0x100000001b3u;
    return (float)((int32_t)(mix(seed + index) >> 40) - (1 << 23)) / (float)(1 << 23);
}

/* columns 0: one dimension. */
static void fill(struct small_tensor *tensor, const char *name, int rows, int columns)
{
    size_t count  = (size_t)rows * (size_t)(columns ? columns : 1);
    bool   weight = strstr(name, "LayerNorm.weight") != NULL;
    float  scale  = columns && !strstr(name, "embeddings") ? 2.5f / sqrtf((float)columns) : 0.4f;
    *tensor       = (struct small_tensor){ .dtype = "F32", .rank = columns ? 2 : 1, .shape = { rows, columns }, .bytes = 4 * count };
    snprintf(tensor->name, sizeof tensor->name, "%s", name);
    float *out = tensor->data = take(tensor->bytes);
    for (size_t i = 0; i < count; i++)
        out[i] = (weight ? 1.0f : 0.0f) + scale * number_of(name, i);
}

static void add(struct small_model *model, const char *stem, const char *leaf, int rows, int columns)
{
    char name[128];
    if (snprintf(name, sizeof name, "%s.%s", stem, leaf) >= (int)sizeof name)
        abort();
    fill(&model->tensors[model->count++], name, rows, columns);
}

static void add_linear(struct small_model *model, const char *stem, int outputs, int inputs)
{
    add(model, stem, "weight", outputs, inputs);
    add(model, stem, "bias", outputs, 0);
}

static void add_layer(struct small_model *model, int layer)
{
    static const char *const linears[] = { "attention.self.query", "attention.self.key", "attention.self.value",
                                           "attention.output.dense", "intermediate.dense", "output.dense" };
    static const char *const norms[]   = { "attention.output.LayerNorm", "output.LayerNorm" };
    const int                width = model->sizes.width, inner = model->sizes.inner;
    char                     stem[80];
    for (int i = 0; i < 6; i++) {
        snprintf(stem, sizeof stem, "encoder.layer.%d.%s", layer, linears[i]);
        add_linear(model, stem, i == 4 ? inner : width, i == 5 ? inner : width);
    }
    for (int i = 0; i < 2; i++) {
        snprintf(stem, sizeof stem, "encoder.layer.%d.%s", layer, norms[i]);
        add(model, stem, "weight", width, 0);
        add(model, stem, "bias", width, 0);
    }
}

void small_model_make(struct small_model *model, const struct small_sizes *sizes)
{
    *model = (struct small_model){ .sizes = *sizes };
    add(model, "embeddings", "word_embeddings.weight", sizes->vocabulary, sizes->width);
    add(model, "embeddings", "position_embeddings.weight", sizes->positions, sizes->width);
    add(model, "embeddings", "token_type_embeddings.weight", sizes->types, sizes->width);
    add(model, "embeddings", "LayerNorm.weight", sizes->width, 0);
    add(model, "embeddings", "LayerNorm.bias", sizes->width, 0);
    for (int layer = 0; layer < sizes->layers; layer++)
        add_layer(model, layer);
    if (sizes->dense) {
        fill(&model->dense[0], "linear.weight", sizes->dense, sizes->width);
        fill(&model->dense[1], "linear.bias", sizes->dense, 0);
    }
}

void small_model_release(struct small_model *model)
{
    for (int i = 0; i < model->count; i++)
        free(model->tensors[i].data);
    for (int i = 0; i < 2; i++)
        free(model->dense[i].data);
    *model = (struct small_model){ 0 };
}

struct small_tensor *small_model_tensor(struct small_model *model, const char *name)
{
    for (int i = 0; i < model->count; i++)
        if (strcmp(model->tensors[i].name, name) == 0)
            return &model->tensors[i];
    errno = ENOENT;
    stop(name);
}

void small_model_drop(struct small_model *model, const char *name)
{
    struct small_tensor *tensor = small_model_tensor(model, name);
    free(tensor->data);
    *tensor = model->tensors[--model->count];
}

/* ---- Files of a folder ---- */

static FILE *create(const char *folder, const char *name)
{
    char path[SMALL_PATH_MAX];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "wb");
    if (!file)
        stop(path);
    return file;
}

static void finish(FILE *file)
{
    bool failed = ferror(file) != 0;
    if (fclose(file) || failed)
        stop("cannot write");
}

static void make_folder(const char *folder, const char *name)
{
    char path[SMALL_PATH_MAX];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    if (mkdir(path, 0777) && errno != EEXIST)
        stop(path);
}

static void write_text(const char *folder, const char *name, const char *format, ...) __attribute__((format(printf, 3, 4)));
static void write_text(const char *folder, const char *name, const char *format, ...)
{
    FILE   *file = create(folder, name);
    va_list arguments;
    va_start(arguments, format);
    vfprintf(file, format, arguments);
    va_end(arguments);
    finish(file);
}

static void write_tensors(const struct small_tensor *tensors, int count, const char *folder)
{
    char   header[SMALL_TENSORS_MAX * 224];
    size_t used = 0, at = 0;
    for (int i = 0; i < count; i++) {
        const struct small_tensor *t = &tensors[i];
        char shape[64];
        snprintf(shape, sizeof shape, t->rank == 2 ? "%" PRId64 ",%" PRId64 : "%" PRId64, t->shape[0], t->shape[1]);
        used += (size_t)snprintf(header + used, sizeof header - used, "%c\"%s\":{\"dtype\":\"%s\",\"shape\":[%s],\"data_offsets\":[%zu,%zu]}",
                                 i ? ',' : '{', t->name, t->dtype, shape, at, at + t->bytes);
        at += t->bytes;
    }
    uint64_t length = (used + 1 + 7) / 8 * 8;
    FILE    *file   = create(folder, "model.safetensors");
    fwrite(&length, sizeof length, 1, file);
    fprintf(file, "%s}%*s", header, (int)(length - used - 1), "");
    for (int i = 0; i < count; i++)
        fwrite(tensors[i].data, 1, tensors[i].bytes, file);
    finish(file);
}

enum { SPECIALS = 5, PIECES = SPECIALS + 2 * 36 };

/* [PAD] [UNK] [CLS] [SEP] [MASK], then letters and digits, alone and as continuations. */
static void piece(int index, char text[8])
{
    static const char *const specials[SPECIALS] = { "[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]" };
    int                      letter = (index - SPECIALS) % 36;
    if (index < SPECIALS)
        snprintf(text, 8, "%s", specials[index]);
    else
        snprintf(text, 8, "%s%c", index - SPECIALS < 36 ? "" : "##", letter < 26 ? 'a' + letter : '0' + letter - 26);
}

static void write_vocabulary(const char *folder)
{
    FILE *file = create(folder, "vocab.txt");
    char  text[8];
    for (int i = 0; i < PIECES; i++) {
        piece(i, text);
        fprintf(file, "%s\n", text);
    }
    finish(file);
}

static void write_tokenizer(const char *folder)
{
    static const char middle[] =
        "],\"normalizer\":{\"type\":\"BertNormalizer\",\"clean_text\":true,\"handle_chinese_chars\":true,\"strip_accents\":null,"
        "\"lowercase\":true},\"pre_tokenizer\":{\"type\":\"BertPreTokenizer\"},\"post_processor\":{\"type\":\"TemplateProcessing\","
        "\"single\":[{\"SpecialToken\":{\"id\":\"[CLS]\",\"type_id\":0}},{\"Sequence\":{\"id\":\"A\",\"type_id\":0}},"
        "{\"SpecialToken\":{\"id\":\"[SEP]\",\"type_id\":0}}],\"pair\":[{\"Sequence\":{\"id\":\"A\",\"type_id\":0}},"
        "{\"Sequence\":{\"id\":\"B\",\"type_id\":1}}],\"special_tokens\":{\"[CLS]\":{\"id\":\"[CLS]\",\"ids\":[2],"
        "\"tokens\":[\"[CLS]\"]},\"[SEP]\":{\"id\":\"[SEP]\",\"ids\":[3],\"tokens\":[\"[SEP]\"]}}},"
        "\"decoder\":{\"type\":\"WordPiece\",\"prefix\":\"##\",\"cleanup\":true},\"model\":{\"type\":\"WordPiece\","
        "\"unk_token\":\"[UNK]\",\"continuing_subword_prefix\":\"##\",\"max_input_chars_per_word\":100,\"vocab\":{";
    FILE *file = create(folder, "tokenizer.json");
    char  text[8];
    fprintf(file, "{\"version\":\"1.0\",\"truncation\":null,\"padding\":null,\"added_tokens\":[");
    for (int i = 0; i < SPECIALS; i++) {
        piece(i, text);
        fprintf(file, "%s{\"id\":%d,\"content\":\"%s\",\"single_word\":false,\"lstrip\":false,\"rstrip\":false,"
                      "\"normalized\":false,\"special\":true}", i ? "," : "", i, text);
    }
    fprintf(file, "%s", middle);
    for (int i = 0; i < PIECES; i++) {
        piece(i, text);
        fprintf(file, "%s\"%s\":%d", i ? "," : "", text, i);
    }
    fprintf(file, "}}}\n");
    finish(file);
}

static void write_chain(const struct small_model *model, const char *folder)
{
    static const char module[] = "{\"idx\":%d,\"name\":\"%d\",\"path\":\"%s\",\"type\":\"sentence_transformers.models.%s\"}";
    const int         dense = model->sizes.dense;
    FILE             *file = create(folder, "modules.json");
    const char *const kinds[] = { "Transformer", "Pooling", "Dense", "Normalize" };
    const char *const paths[] = { "", "1_Pooling", "2_Dense", "3_Normalize" };
    for (int i = 0, index = 0; i < 4; i++) {
        if (i == 2 && !dense)
            continue;
        fprintf(file, "%s", index ? "," : "[");
        fprintf(file, module, index, index, paths[i], kinds[i]);
        make_folder(folder, paths[i]);
        index++;
    }
    fprintf(file, "]\n");
    finish(file);
    write_text(folder, "1_Pooling/config.json", "{\"word_embedding_dimension\":%d,\"pooling_mode_mean_tokens\":true}",
               model->sizes.width);
    if (!dense)
        return;
    char path[SMALL_PATH_MAX];
    snprintf(path, sizeof path, "%s/2_Dense", folder);
    write_text(path, "config.json", "{\"in_features\":%d,\"out_features\":%d,\"bias\":true,"
               "\"activation_function\":\"torch.nn.modules.activation.Tanh\"}", model->sizes.width, dense);
    write_tensors(model->dense, 2, path);
}

void small_model_write(const struct small_model *model, const char *folder)
{
    const struct small_sizes *s = &model->sizes;
    make_folder(folder, "");
    write_text(folder, "config.json",
               "{\"model_type\":\"bert\",\"architectures\":[\"BertModel\"],\"num_hidden_layers\":%d,\"hidden_size\":%d,"
               "\"num_attention_heads\":%d,\"intermediate_size\":%d,\"vocab_size\":%d,\"max_position_embeddings\":%d,"
               "\"type_vocab_size\":%d,\"layer_norm_eps\":1e-12,\"hidden_act\":\"gelu\"}\n",
               s->layers, s->width, s->heads, s->inner, s->vocabulary, s->positions, s->types);
    write_chain(model, folder);
    write_text(folder, "sentence_bert_config.json", "{\"max_seq_length\":%d}\n", s->positions);
    write_text(folder, "tokenizer_config.json", "{\"tokenizer_class\":\"BertTokenizer\",\"do_lower_case\":true}\n");
    write_text(folder, "config_sentence_transformers.json", "{\"prompts\":{%s}}\n", model->prompts ? model->prompts : "");
    if (model->tokenizer_json)
        write_tokenizer(folder);
    else
        write_vocabulary(folder);
    write_tensors(model->tensors, model->count, folder);
}

void small_model_create(const struct small_sizes *sizes, const char *folder)
{
    struct small_model model;
    small_model_make(&model, sizes);
    small_model_write(&model, folder);
    small_model_release(&model);
}

/* ---- Scratch files ---- */

void scratch_make(char path[SMALL_PATH_MAX])
{
    snprintf(path, SMALL_PATH_MAX, "%s/recto-test-XXXXXX", access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    if (!mkdtemp(path))
        stop(path);
}

static int remove_one(const char *path, const struct stat *facts, int kind, struct FTW *walk)
{
    (void)facts;
    (void)kind;
    (void)walk;
    remove(path);
    return 0;
}

void scratch_remove(const char *path) { nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS); }

void scratch_write(const char *folder, const char *name, const void *bytes, size_t length)
{
    FILE *file = create(folder, name);
    fwrite(bytes, 1, length, file);
    finish(file);
}

unsigned char *scratch_read(const char *folder, const char *name, size_t *length)
{
    char path[SMALL_PATH_MAX];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "rb");
    if (!file)
        stop(path);
    fseek(file, 0, SEEK_END);
    *length = (size_t)ftell(file);
    rewind(file);
    unsigned char *bytes = take(*length);
    if (fread(bytes, 1, *length, file) != *length)
        stop(path);
    fclose(file);
    return bytes;
}
