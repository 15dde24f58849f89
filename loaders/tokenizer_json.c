#include "loaders/fields.h"
#include "loaders/tokenizer_internal.h"
#include "loaders/vocabulary_json.h"

#include <stdio.h>
#include <string.h>

/* A tokenizer.json being read into a tokenizer. */
struct reader {
    struct tokenizer  *tokenizer;
    const struct json *root;         /* the file with an empty vocabulary */
    const char        *name;
    struct error      *error;
    struct vocabulary_json vocab;
    char               section[256];  /* "FILE: model": what a sentence is about */
};

static void begin_section(struct reader *reader, struct fields *fields, const char *member, const struct json *object)
{
    snprintf(reader->section, sizeof reader->section, "%s: %s", reader->name, member);
    fields_begin(fields, object, reader->section, reader->error);
}

/* Null, as absence, means that every step is off. */
static status read_normalizer(struct reader *reader, struct tokenizer_settings *settings)
{
    static const char *const known[] = {"type", "clean_text", "handle_chinese_chars", "strip_accents", "lowercase", NULL};
    const struct json *object = json_member(reader->root, "normalizer");
    struct fields fields;

    *settings = (struct tokenizer_settings){0};
    if (fields_is_off(object) || !object)
        return STATUS_OK;
    begin_section(reader, &fields, "normalizer", object);
    fields_expect_text(&fields, "type", "BertNormalizer");
    settings->clean_text = fields_flag(&fields, "clean_text", true);
    settings->split_chinese = fields_flag(&fields, "handle_chinese_chars", true);
    settings->lower_case = fields_flag(&fields, "lowercase", true);
    settings->strip_accents = fields_flag(&fields, "strip_accents", settings->lower_case);
    fields_forbid_others(&fields, known);
    return fields.code;
}

static status check_pre_tokenizer(struct reader *reader)
{
    static const char *const known[] = {"type", NULL};
    struct fields fields;

    begin_section(reader, &fields, "pre_tokenizer", json_member(reader->root, "pre_tokenizer"));
    if (!fields_has(&fields, "type"))
        fields_fail(&fields, "there is none, expected BertPreTokenizer");
    fields_expect_text(&fields, "type", "BertPreTokenizer");
    fields_forbid_others(&fields, known);
    return fields.code;
}

/* The package numbers added tokens that the model does not have behind the model's own; the file says the outcome. */
static size_t added_bytes(const struct json *added, size_t *id_count)
{
    size_t bytes = 0, length;
    int64_t id;

    for (size_t i = 0; i < json_array_length(added); i++) {
        const struct json *token = json_array_at(added, i);
        if (json_as_string(json_member(token, "content"), &length))
            bytes += length;
        if (json_as_integer(json_member(token, "id"), &id) && id >= (int64_t)*id_count && id < VOCABULARY_ID_MAX)
            *id_count = (size_t)id + 1;
    }
    return bytes;
}

static status measure(struct reader *reader, const char *prefix, struct vocabulary_size *size)
{
    struct vocabulary_json_member member = {.position = NULL};
    const size_t prefix_length = strlen(prefix);
    bool more;

    for (;;) {
        status result = vocabulary_json_next(&reader->vocab, &member, &more, reader->error);
        if (result != STATUS_OK || !more)
            return result;
        if (member.id >= VOCABULARY_ID_MAX)
            return error_set(reader->error, STATUS_MODEL, "model: vocab: the id of '%.*s' is %lld, expected one below %d",
                             (int)(member.key_length < 60 ? member.key_length : 60), member.key, (long long)member.id,
                             VOCABULARY_ID_MAX);
        if ((size_t)member.id >= size->id_count)
            size->id_count = (size_t)member.id + 1;
        size->bytes += member.key_length;
        size->continuing += member.key_length > prefix_length && memcmp(member.key, prefix, prefix_length) == 0;
        size->count++;
    }
}

static status read_vocabulary(struct reader *reader, const char *prefix)
{
    const struct json *added = json_member(reader->root, "added_tokens");
    struct vocabulary *vocabulary = &reader->tokenizer->vocabulary;
    struct vocabulary_json_member member = {.position = NULL};
    struct vocabulary_size size = {0};
    bool more = true;

    status result = measure(reader, prefix, &size);
    if (result != STATUS_OK)
        return error_prefix(reader->error, "%s", reader->name);
    size.bytes += added_bytes(added, &size.id_count);
    size.count += json_array_length(added);
    result = vocabulary_open(vocabulary, reader->tokenizer->pool, size, prefix, reader->error);
    while (result == STATUS_OK) {
        result = vocabulary_json_next(&reader->vocab, &member, &more, reader->error);
        if (result != STATUS_OK || !more)
            break;
        if (!vocabulary_add(vocabulary, member.key, member.key_length, (int32_t)member.id))
            result = error_set(reader->error, STATUS_MODEL, "%s: model: vocab has '%.*s' twice", reader->name,
                               (int)(member.key_length < 60 ? member.key_length : 60), member.key);
    }
    return result;
}

static status read_model(struct reader *reader)
{
    static const char *const known[] = {"type", "unk_token", "continuing_subword_prefix", "max_input_chars_per_word", "vocab",
                                        NULL};
    struct fields fields;

    begin_section(reader, &fields, "model", json_member(reader->root, "model"));
    fields_expect_text(&fields, "type", "WordPiece");
    const char *unknown = fields_text(&fields, "unk_token", "[UNK]");
    const char *prefix = fields_text(&fields, "continuing_subword_prefix", "##");
    reader->tokenizer->word_limit = (uint32_t)fields_count(&fields, "max_input_chars_per_word", 100, 1, 1000000);
    fields_forbid_others(&fields, known);
    if (fields.code != STATUS_OK)
        return fields.code;
    status result = read_vocabulary(reader, prefix);
    if (result != STATUS_OK)
        return result;
    reader->tokenizer->unknown_id = vocabulary_id(&reader->tokenizer->vocabulary, unknown, strlen(unknown));
    if (reader->tokenizer->unknown_id < 0)
        fields_fail(&fields, "unk_token '%.60s' is not in vocab", unknown);
    return fields.code;
}

static void read_added_token(struct reader *reader, struct fields *fields, struct tokenizer_added_token *token)
{
    static const char *const known[] = {"id", "content", "single_word", "lstrip", "rstrip", "normalized", "special", NULL};
    struct vocabulary *vocabulary = &reader->tokenizer->vocabulary;
    size_t length = 0, taken = 0;
    const char *content = json_as_string(json_member(fields->object, "content"), &length);

    if (!content || length == 0)
        fields_fail(fields, "content is missing or empty");
    token->id = (int32_t)fields_count(fields, "id", FIELD_REQUIRED, 0, VOCABULARY_ID_MAX - 1);
    token->single_word = fields_flag(fields, "single_word", false);
    token->strips_left = fields_flag(fields, "lstrip", false);
    token->strips_right = fields_flag(fields, "rstrip", false);
    if (fields_flag(fields, "normalized", !fields_flag(fields, "special", false)))
        fields_fail(fields, "'%.60s' is normalized, which is not supported", content ? content : "");
    fields_forbid_others(fields, known);
    if (fields->code != STATUS_OK)
        return;
    const int32_t known_id = vocabulary_id(vocabulary, content, length);
    if (known_id >= 0 && known_id != token->id)
        fields_fail(fields, "'%.60s' has id %d, and %d in the model's vocab", content, (int)token->id, (int)known_id);
    else if (!vocabulary_text(vocabulary, token->id, &taken))
        vocabulary_add_text(vocabulary, content, length, token->id);
    token->content = vocabulary_text(vocabulary, token->id, &taken);
    token->length = (uint32_t)length;
    if (taken != length || memcmp(token->content, content, length) != 0)
        fields_fail(fields, "the id %d of '%.60s' belongs to another token", (int)token->id, content);
}

static status read_added(struct reader *reader)
{
    const struct json *list = json_member(reader->root, "added_tokens");
    const size_t count = json_array_length(list);
    struct tokenizer_added_token *tokens;
    void *block = NULL;

    if (count == 0)
        return STATUS_OK;
    status result = pool_alloc(reader->tokenizer->pool, MEMORY_TOKENIZER, count * sizeof *tokens, "added tokens", &block,
                               reader->error);
    if (result != STATUS_OK)
        return result;
    tokens = block;
    memset(tokens, 0, count * sizeof *tokens);
    for (size_t i = 0; i < count && result == STATUS_OK; i++) {
        struct fields fields;
        char member[40];
        snprintf(member, sizeof member, "added_tokens[%zu]", i);
        begin_section(reader, &fields, member, json_array_at(list, i));
        read_added_token(reader, &fields, &tokens[i]);
        result = fields.code;
    }
    if (result == STATUS_OK)
        tokenizer_added_open(&reader->tokenizer->added, reader->tokenizer->pool, tokens, count);
    else
        pool_free(reader->tokenizer->pool, block);
    return result;
}

static bool is_token(const struct reader *reader, int64_t id)
{
    size_t length;

    return id >= 0 && id < VOCABULARY_ID_MAX && tokenizer_token(reader->tokenizer, (int32_t)id, &length);
}

/* The ids that a special token of the template stands for. */
static void add_special(struct reader *reader, struct fields *fields, const char *token, struct tokenizer_specials *specials)
{
    const struct json *special = json_member(json_member(fields->object, "special_tokens"), token);
    const struct json *ids = json_member(special, "ids");
    int64_t id;

    if (json_array_length(ids) == 0)
        fields_fail(fields, "special_tokens has no ids for '%.60s'", token);
    for (size_t i = 0; i < json_array_length(ids) && fields->code == STATUS_OK; i++) {
        if (!json_as_integer(json_array_at(ids, i), &id) || !is_token(reader, id))
            fields_fail(fields, "special_tokens has an id for '%.60s' that is not in the vocabulary", token);
        else if (specials->count == TOKENIZER_SPECIALS_MAX)
            fields_fail(fields, "single has more than %d special tokens in a row", TOKENIZER_SPECIALS_MAX);
        else
            specials->ids[specials->count++] = (int32_t)id;
    }
}

static void read_template_piece(struct reader *reader, struct fields *fields, const struct json *piece, bool *has_text)
{
    const struct json *special = json_member(piece, "SpecialToken"), *sequence = json_member(piece, "Sequence");
    const struct json *used = special ? special : sequence;
    const char *id = json_as_string(json_member(used, "id"), NULL);
    int64_t type = 0;

    if (!id || (sequence && (*has_text || strcmp(id, "A") != 0)))
        fields_fail(fields, "single is not a row of special tokens around one text");
    else if (json_as_integer(json_member(used, "type_id"), &type) && type != 0)
        fields_fail(fields, "type_id of '%.60s' in single is %lld, expected 0", id, (long long)type);
    else if (sequence)
        *has_text = true;
    else
        add_special(reader, fields, id, *has_text ? &reader->tokenizer->behind : &reader->tokenizer->before);
}

static void read_template(struct reader *reader, struct fields *fields)
{
    static const char *const known[] = {"type", "single", "pair", "special_tokens", NULL};
    const struct json *single = json_member(fields->object, "single");
    bool has_text = false;

    for (size_t i = 0; i < json_array_length(single) && fields->code == STATUS_OK; i++)
        read_template_piece(reader, fields, json_array_at(single, i), &has_text);
    if (!has_text)
        fields_fail(fields, "single has no text in it");
    fields_forbid_others(fields, known);
}

/* The older form: "cls": ["[CLS]", 101]. */
static void read_bert_pair(struct reader *reader, struct fields *fields, const char *member,
                           struct tokenizer_specials *specials)
{
    int64_t id;

    if (!json_as_integer(json_array_at(json_member(fields->object, member), 1), &id) || !is_token(reader, id))
        fields_fail(fields, "%s is not a token of the vocabulary and its id", member);
    else
        *specials = (struct tokenizer_specials){{(int32_t)id}, 1};
}

/* None means that a text gets no special tokens. */
static status read_post_processor(struct reader *reader)
{
    static const char *const known[] = {"type", "sep", "cls", NULL};
    const struct json *object = json_member(reader->root, "post_processor");
    struct fields fields;

    if (!object || fields_is_off(object))
        return STATUS_OK;
    begin_section(reader, &fields, "post_processor", object);
    const char *type = fields_text(&fields, "type", "");
    if (strcmp(type, "TemplateProcessing") == 0) {
        read_template(reader, &fields);
    } else if (strcmp(type, "BertProcessing") == 0) {
        read_bert_pair(reader, &fields, "cls", &reader->tokenizer->before);
        read_bert_pair(reader, &fields, "sep", &reader->tokenizer->behind);
        fields_forbid_others(&fields, known);
    } else {
        fields_fail(&fields, "type is '%.60s', expected TemplateProcessing or BertProcessing", type);
    }
    return fields.code;
}

static int32_t padding_id(const struct tokenizer *tokenizer)
{
    static const char name[] = "[PAD]";

    for (size_t i = 0; i < tokenizer->added.count; i++)
        if (tokenizer->added.tokens[i].length == strlen(name) &&
            memcmp(tokenizer->added.tokens[i].content, name, strlen(name)) == 0)
            return tokenizer->added.tokens[i].id;
    return vocabulary_id(&tokenizer->vocabulary, name, strlen(name));
}

static status read_all(struct reader *reader)
{
    static const char *const known[] = {"version", "truncation", "padding", "added_tokens", "normalizer", "pre_tokenizer",
                                        "post_processor", "decoder", "model", NULL};
    struct tokenizer_settings settings;
    struct fields fields;

    fields_begin(&fields, reader->root, reader->name, reader->error);
    fields_forbid_others(&fields, known);
    status result = fields.code;
    if (result == STATUS_OK)
        result = read_normalizer(reader, &settings);
    if (result == STATUS_OK)
        result = check_pre_tokenizer(reader);
    if (result == STATUS_OK)
        result = read_model(reader);
    if (result == STATUS_OK)
        result = read_added(reader);
    if (result == STATUS_OK)
        result = read_post_processor(reader);
    if (result != STATUS_OK)
        return result;
    reader->tokenizer->padding_id = padding_id(reader->tokenizer);
    return tokenizer_finish(reader->tokenizer, &settings, reader->error);
}

/* Parses everything but the vocabulary, in whose place an empty object stands. */
static status parse_rest(struct reader *reader, struct pool *pool, const char *text, size_t length,
                         struct json_document **document)
{
    const size_t front = (size_t)(reader->vocab.start - text) + 1, back = (size_t)(text + length - reader->vocab.end) + 1;
    void *block = NULL;

    status result = pool_alloc(pool, MEMORY_LOAD, front + back, reader->name, &block, reader->error);
    if (result != STATUS_OK)
        return result;
    memcpy(block, text, front);
    memcpy((char *)block + front, reader->vocab.end - 1, back);
    result = json_parse(pool, block, front + back, reader->name, document, reader->error);
    pool_free(pool, block);
    return result;
}

/* A text that is no JSON, or has no vocabulary, is parsed whole for the sake of the sentence. */
static status parse(struct reader *reader, struct pool *pool, const char *text, size_t length,
                    struct json_document **document)
{
    if (vocabulary_json_find(text, length, &reader->vocab)) {
        status result = parse_rest(reader, pool, text, length, document);
        if (result != STATUS_MODEL)
            return result;
    }
    status result = json_parse(pool, text, length, reader->name, document, reader->error);
    if (result != STATUS_OK)
        return result;
    json_free(*document);
    *document = NULL;
    return error_set(reader->error, STATUS_MODEL, "%s: model.vocab is not an object of pieces and ids", reader->name);
}

status tokenizer_open_json(struct tokenizer **tokenizer, struct pool *pool, const char *text, size_t length,
                           const char *name, struct error *error)
{
    struct json_document *document = NULL;
    struct reader reader = {.name = name, .error = error};

    *tokenizer = NULL;
    status result = parse(&reader, pool, text, length, &document);
    if (result != STATUS_OK)
        return result;
    reader.root = json_root(document);
    result = tokenizer_begin(&reader.tokenizer, pool, error);
    if (result == STATUS_OK)
        result = read_all(&reader);
    json_free(document);
    if (result == STATUS_OK)
        *tokenizer = reader.tokenizer;
    else
        tokenizer_close(reader.tokenizer);
    return result;
}
