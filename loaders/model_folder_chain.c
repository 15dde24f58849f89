/* modules.json and the modules behind the network: pooling, dense layers, normalisation. */
#include "loaders/model_folder_parts.h"

#include <stdio.h>
#include <string.h>

/* ---- modules.json ----------------------------------------------------------------------------------------------- */

enum module_kind { MODULE_TRANSFORMER, MODULE_POOLING, MODULE_DENSE, MODULE_NORMALIZE, MODULE_KINDS };

static const char *const module_names[MODULE_KINDS] = {"Transformer", "Pooling", "Dense", "Normalize"};

/* "sentence_transformers.models.Pooling" and every later home of the class count by their last name; classes of other
 * packages are code that this folder brings along. */
static void read_kind(struct fields *fields, size_t index, enum module_kind *kind)
{
    const char *type = fields_text(fields, "type", "");
    const char *dot = strrchr(type, '.');
    if (strncmp(type, "sentence_transformers.", strlen("sentence_transformers.")) == 0)
        for (int i = 0; i < MODULE_KINDS; i++)
            if (strcmp(dot + 1, module_names[i]) == 0) {
                *kind = (enum module_kind)i;
                return;
            }
    fields_fail(fields, "module %zu: field 'type' is '%.120s': recto knows sentence_transformers' Transformer, Pooling, "
                "Dense and Normalize", index, type);
}

/* A module's folder lies inside the model's. */
static bool is_plain_path(const char *path)
{
    for (const char *piece = path; *piece;) {
        size_t length = strcspn(piece, "/");
        if (length == 0 || (length == 1 && piece[0] == '.') || (length == 2 && piece[0] == '.' && piece[1] == '.'))
            return false;
        piece += length;
        piece += *piece == '/';
    }
    return strlen(path) < FOLDER_NAME_MAX / 2;
}

static char *place_for(struct folder_reading *reading, enum module_kind kind)
{
    switch (kind) {
    case MODULE_TRANSFORMER: return reading->subfolder;
    case MODULE_POOLING: return reading->pooling;
    case MODULE_DENSE: return reading->dense[reading->folder->dense_count++];
    case MODULE_NORMALIZE: reading->folder->normalize = true; return reading->normalize;
    case MODULE_KINDS: break;
    }
    return NULL;
}

/* The order is Transformer, Pooling, any number of Dense, at most one Normalize. */
static bool may_follow(enum module_kind kind, size_t index, enum module_kind previous)
{
    if (index == 0)
        return kind == MODULE_TRANSFORMER;
    return kind == previous + 1 || (kind == MODULE_DENSE && previous == MODULE_DENSE) ||
           (kind == MODULE_NORMALIZE && previous == MODULE_POOLING);
}

static void read_module(struct folder_reading *reading, struct fields *fields, size_t index, enum module_kind *previous)
{
    static const char *const known[] = {"idx", "name", "path", "type", NULL};
    enum module_kind kind = MODULE_TRANSFORMER;
    read_kind(fields, index, &kind);
    fields_count(fields, "idx", index, index, index);
    const char *path = fields_text(fields, "path", "");
    fields_forbid_others(fields, known);
    if (!is_plain_path(path))
        fields_fail(fields, "module %zu: field 'path' is '%.120s', expected a folder inside the model's", index, path);
    if (kind != MODULE_TRANSFORMER && !*path)
        fields_fail(fields, "module %zu: field 'path' is missing", index);
    if (!may_follow(kind, index, *previous))
        fields_fail(fields, "module %zu is a %s: expected the order Transformer, Pooling, Dense, Normalize", index,
                    module_names[kind]);
    if (kind == MODULE_DENSE && reading->folder->dense_count == MODEL_FOLDER_DENSE_MAX)
        fields_fail(fields, "module %zu: more than %d Dense modules", index, MODEL_FOLDER_DENSE_MAX);
    *previous = kind;
    if (fields->code == STATUS_OK)
        snprintf(place_for(reading, kind), FOLDER_NAME_MAX, "%s", path);
}

static status read_list(struct folder_reading *reading, const struct json *list)
{
    if (json_kind(list) != JSON_KIND_ARRAY)
        return error_set(reading->error, STATUS_MODEL, "%s: expected an array of modules, found %s", reading->path,
                         json_kind_name(json_kind(list)));
    enum module_kind previous = MODULE_TRANSFORMER;
    for (size_t i = 0; i < json_array_length(list); i++) {
        struct fields fields;
        fields_begin(&fields, json_array_at(list, i), reading->path, reading->error);
        read_module(reading, &fields, i, &previous);
        if (fields.code != STATUS_OK)
            return fields.code;
    }
    return *reading->pooling ? STATUS_OK
                             : error_set(reading->error, STATUS_MODEL,
                                         "%s: there is no Pooling module, so nothing says how a text's vector is made of "
                                         "its tokens' vectors", reading->path);
}

status model_folder_read_modules(struct folder_reading *reading)
{
    struct json_document *document;
    status code = folder_parse_optional(reading, "", "modules.json", &document, NULL);
    if (code != STATUS_OK || !document)
        return code;
    code = read_list(reading, json_root(document));
    json_free(document);
    return code;
}

/* ---- pooling ---------------------------------------------------------------------------------------------------- */

struct pooling_word {
    const char *name;
    bool        computed;
    enum model_folder_pooling pooling;
};

static const struct pooling_word pooling_words[] = {
    {"cls", true, MODEL_FOLDER_CLS},          {"mean", true, MODEL_FOLDER_MEAN}, {"lasttoken", true, MODEL_FOLDER_LAST},
    {"max", false, MODEL_FOLDER_CLS},         {"weightedmean", false, MODEL_FOLDER_CLS},
    {"mean_sqrt_len_tokens", false, MODEL_FOLDER_CLS}};

enum { POOLING_WORDS = sizeof pooling_words / sizeof *pooling_words };

/* The older form: one boolean a mode, in the order of pooling_words. */
static const char *const pooling_flags[POOLING_WORDS] = {
    "pooling_mode_cls_token",  "pooling_mode_mean_tokens",         "pooling_mode_lasttoken",
    "pooling_mode_max_tokens", "pooling_mode_weightedmean_tokens", "pooling_mode_mean_sqrt_len_tokens"};

static const char *pooling_from_flags(struct fields *fields)
{
    const char *chosen = NULL;
    bool any = false;
    for (int i = 0; i < POOLING_WORDS; i++) {
        any = any || fields_has(fields, pooling_flags[i]);
        if (!fields_flag(fields, pooling_flags[i], false))
            continue;
        if (chosen)
            fields_fail(fields, "field '%s' and the mode '%s' are both true: recto does not join two poolings",
                        pooling_flags[i], chosen);
        chosen = pooling_words[i].name;
    }
    if (any && !chosen && !fields_has(fields, "pooling_mode"))
        fields_fail(fields, "field 'pooling_mode_mean_tokens' and its like are all false: one must be true");
    return chosen;
}

/* The newer form: a word, or a list of words that are joined. */
static const char *pooling_from_word(struct fields *fields)
{
    const struct json *value = json_member(fields->object, "pooling_mode");
    if (json_kind(value) != JSON_KIND_ARRAY)
        return fields_text(fields, "pooling_mode", NULL);
    const char *word = json_as_string(json_array_at(value, 0), NULL);
    if (json_array_length(value) != 1 || !word)
        fields_fail(fields, "field 'pooling_mode' is a list of %zu, expected one word", json_array_length(value));
    return word;
}

static void choose_pooling(struct fields *fields, enum model_folder_pooling *pooling)
{
    const char *flagged = pooling_from_flags(fields), *word = pooling_from_word(fields);
    if (flagged && word && strcmp(flagged, word) != 0)
        fields_fail(fields, "field 'pooling_mode' is '%.40s', but the older fields say '%s'", word, flagged);
    const char *chosen = word ? word : flagged;
    if (!chosen) {
        fields_fail(fields, "field 'pooling_mode' is missing");
        return;
    }
    for (int i = 0; i < POOLING_WORDS; i++)
        if (strcmp(chosen, pooling_words[i].name) == 0 && pooling_words[i].computed) {
            *pooling = pooling_words[i].pooling;
            return;
        }
    fields_fail(fields, "field '%s': recto pools by cls, mean or lasttoken, not by '%.40s'",
                word ? "pooling_mode" : "pooling_mode_...", chosen);
}

static void read_pooling(struct fields *fields, struct model_folder *folder)
{
    static const char *const known[] = {"word_embedding_dimension", "embedding_dimension", "pooling_mode",
                                        "include_prompt", "pooling_mode_cls_token", "pooling_mode_mean_tokens",
                                        "pooling_mode_lasttoken", "pooling_mode_max_tokens",
                                        "pooling_mode_weightedmean_tokens", "pooling_mode_mean_sqrt_len_tokens", NULL};
    choose_pooling(fields, &folder->pooling);
    folder->include_prompt = fields_flag(fields, "include_prompt", true);
    fields_count(fields, "word_embedding_dimension", folder->width, folder->width, folder->width);
    fields_count(fields, "embedding_dimension", folder->width, folder->width, folder->width);
    fields_forbid_others(fields, known);
}

static status read_pooling_file(struct folder_reading *reading)
{
    struct json_document *document;
    struct fields fields;
    status code = folder_parse(reading, reading->pooling, "config.json", &document, &fields);
    if (code != STATUS_OK)
        return code;
    read_pooling(&fields, reading->folder);
    json_free(document);
    return fields.code;
}

/* ---- dense layers ----------------------------------------------------------------------------------------------- */

static enum model_folder_activation read_dense_activation(struct fields *fields)
{
    const char *name = fields_text(fields, "activation_function", "torch.nn.modules.activation.Tanh");
    if (strcmp(name, "torch.nn.modules.activation.Tanh") == 0)
        return MODEL_FOLDER_TANH;
    if (strcmp(name, "torch.nn.modules.linear.Identity") != 0)
        fields_fail(fields, "field 'activation_function' is '%.120s', expected torch.nn.modules.linear.Identity or "
                    "torch.nn.modules.activation.Tanh", name);
    return MODEL_FOLDER_IDENTITY;
}

static void read_dense(struct fields *fields, struct model_folder *folder, struct model_folder_dense *dense)
{
    static const char *const known[] = {"in_features", "out_features", "bias", "activation_function",
                                        "module_input_name", "module_output_name", NULL};
    dense->in = (uint32_t)fields_count(fields, "in_features", FIELD_REQUIRED, folder->dimensions, folder->dimensions);
    dense->out = (uint32_t)fields_count(fields, "out_features", FIELD_REQUIRED, 1, 1 << 16);
    dense->bias = fields_flag(fields, "bias", true);
    dense->activation = read_dense_activation(fields);
    fields_expect_text(fields, "module_input_name", "sentence_embedding");
    fields_expect_text(fields, "module_output_name", "sentence_embedding");
    fields_forbid_others(fields, known);
    folder->dimensions = dense->out;
}

static status find_dense_weights(struct folder_reading *reading, const char *subfolder, const char **weights)
{
    bool   has = false;
    status code = folder_has(reading, subfolder, "model.safetensors", &has);
    if (code == STATUS_OK && !has)
        code = error_set(reading->error, STATUS_MODEL, "%s: there is no such file, and recto reads a Dense module's weights "
                         "from nothing else", reading->path);
    return code == STATUS_OK ? folder_keep_path(reading, subfolder, "model.safetensors", weights) : code;
}

static status read_dense_file(struct folder_reading *reading, uint32_t index)
{
    struct model_folder_dense *dense = &reading->folder->dense[index];
    struct json_document *document;
    struct fields fields;
    status code = folder_parse(reading, reading->dense[index], "config.json", &document, &fields);
    if (code != STATUS_OK)
        return code;
    read_dense(&fields, reading->folder, dense);
    json_free(document);
    return fields.code == STATUS_OK ? find_dense_weights(reading, reading->dense[index], &dense->weights) : fields.code;
}

/* ---- normalisation ---------------------------------------------------------------------------------------------- */

/* The older form has no file at all. */
static status read_normalize_file(struct folder_reading *reading)
{
    static const char *const known[] = {"module_input_name", "module_output_name", NULL};
    struct json_document *document;
    struct fields fields;
    status code = folder_parse_optional(reading, reading->normalize, "config.json", &document, &fields);
    if (code != STATUS_OK || !document)
        return code;
    fields_expect_text(&fields, "module_input_name", "sentence_embedding");
    fields_expect_text(&fields, "module_output_name", "sentence_embedding");
    fields_forbid_others(&fields, known);
    json_free(document);
    return fields.code;
}

/* ---- the chain -------------------------------------------------------------------------------------------------- */

static status choose_without_modules(struct folder_reading *reading)
{
    reading->folder->pooling = MODEL_FOLDER_MEAN;
    reading->folder->include_prompt = true;
    reading->folder->normalize = false;
    return folder_note(reading, "%s: there is no modules.json, so vectors are the mean over the tokens and are not "
                       "normalised, as sentence-transformers makes them of such a folder", reading->folder->path);
}

status model_folder_read_chain(struct folder_reading *reading)
{
    if (!*reading->pooling)
        return choose_without_modules(reading);
    status code = read_pooling_file(reading);
    for (uint32_t i = 0; code == STATUS_OK && i < reading->folder->dense_count; i++)
        code = read_dense_file(reading, i);
    if (code == STATUS_OK && reading->folder->normalize)
        code = read_normalize_file(reading);
    return code;
}
