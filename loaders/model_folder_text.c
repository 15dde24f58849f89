/* What precedes the network: the greatest length, the tokenizer's settings, prompts. */
#include "loaders/model_folder_parts.h"

#include <string.h>

enum { TOKENS_LEAST = 3 };  /* a token between the two special ones */

/* ---- sentence_bert_config.json ---------------------------------------------------------------------------------- */

/* What newer versions of sentence-transformers write about a text-only encoder; all else is another kind of model. */
static void check_modalities(struct fields *fields)
{
    const struct json *modalities = json_member(fields->object, "modality_config"), *text = json_member(modalities, "text");
    const char *method = json_as_string(json_member(text, "method"), NULL);
    const char *output = json_as_string(json_member(text, "method_output_name"), NULL);
    if (!fields_has(fields, "modality_config"))
        return;
    if (json_object_length(modalities) != 1 || json_object_length(text) != 2 || !method || strcmp(method, "forward") != 0 ||
        !output || strcmp(output, "last_hidden_state") != 0)
        fields_fail(fields, "field 'modality_config': expected text alone, with the method 'forward' and its "
                    "'last_hidden_state'");
}

static void read_limits(struct fields *fields, struct model_folder *folder, uint64_t *limit)
{
    static const char *const known[] = {"max_seq_length", "do_lower_case", "transformer_task", "modality_config",
                                        "module_output_name", "unpad_inputs", NULL};
    *limit = fields_count(fields, "max_seq_length", 0, TOKENS_LEAST, INT32_MAX);
    folder->lower_case_first = fields_flag(fields, "do_lower_case", false);
    fields_expect_text(fields, "transformer_task", "feature-extraction");
    fields_expect_text(fields, "module_output_name", "token_embeddings");
    check_modalities(fields);
    fields_forbid_others(fields, known);
}

/* The file has had a name for each kind of network; the first that exists counts. */
static status read_limits_file(struct folder_reading *reading, uint64_t *limit)
{
    static const char *const names[] = {"sentence_bert_config.json",        "sentence_roberta_config.json",
                                        "sentence_distilbert_config.json",  "sentence_camembert_config.json",
                                        "sentence_albert_config.json",      "sentence_xlm-roberta_config.json",
                                        "sentence_xlnet_config.json"};
    struct json_document *document = NULL;
    struct fields fields;
    status code = STATUS_OK;
    for (size_t i = 0; code == STATUS_OK && !document && i < sizeof names / sizeof *names; i++)
        code = folder_parse_optional(reading, reading->subfolder, names[i], &document, &fields);
    if (code != STATUS_OK || !document)
        return code;
    read_limits(&fields, reading->folder, limit);
    json_free(document);
    return fields.code;
}

/* ---- tokenizer_config.json -------------------------------------------------------------------------------------- */

#define FIELDS_READ \
    "do_lower_case", "strip_accents", "tokenize_chinese_chars", "model_max_length", "tokenizer_class", "truncation_side", \
    "do_basic_tokenize"

/* The tokens' names and numbers are in tokenizer.json or vocab.txt; recto does no padding, and cuts by its own rule. */
#define FIELDS_OF_TOKENS \
    "added_tokens_decoder", "additional_special_tokens", "bos_token", "cls_token", "eos_token", "extra_special_tokens", \
    "mask_token", "model_specific_special_tokens", "pad_token", "sep_token", "special_tokens_map_file", "unk_token"
#define FIELDS_OF_PADDING \
    "max_length", "pad_to_multiple_of", "pad_token_type_id", "padding", "padding_side", "stride", "truncation", \
    "truncation_strategy"
#define FIELDS_OF_DECODING "clean_up_tokenization_spaces", "chat_template", "errors"
#define FIELDS_OF_SOFTWARE \
    "auto_map", "backend", "from_slow", "full_tokenizer_file", "is_local", "local_files_only", "model_input_names", \
    "name_or_path", "processor_class", "return_token_type_ids", "sp_model_kwargs", "tokenizer_file", "use_fast", "vocab_file"

static enum model_folder_choice read_choice(struct fields *fields, const char *name)
{
    if (!fields_has(fields, name))
        return MODEL_FOLDER_UNSAID;
    return fields_flag(fields, name, false) ? MODEL_FOLDER_YES : MODEL_FOLDER_NO;
}

/* "No limit" is written as 1e30. */
static uint64_t read_token_limit(struct fields *fields)
{
    double limit = fields_real(fields, "model_max_length", 0);
    if (fields_has(fields, "model_max_length") && !(limit >= TOKENS_LEAST))
        fields_fail(fields, "field 'model_max_length' is %g, expected %d or more", limit, TOKENS_LEAST);
    return limit >= TOKENS_LEAST && limit <= INT32_MAX ? (uint64_t)limit : 0;
}

static status read_tokenizer(struct folder_reading *reading, struct fields *fields, uint64_t *limit)
{
    static const char *const known[] = {FIELDS_READ, FIELDS_OF_TOKENS, FIELDS_OF_PADDING, FIELDS_OF_DECODING,
                                        FIELDS_OF_SOFTWARE, NULL};
    struct model_folder *folder = reading->folder;
    folder->do_lower_case = read_choice(fields, "do_lower_case");
    folder->strip_accents = read_choice(fields, "strip_accents");
    folder->split_chinese = read_choice(fields, "tokenize_chinese_chars");
    *limit = read_token_limit(fields);
    if (!fields_flag(fields, "do_basic_tokenize", true))
        fields_fail(fields, "field 'do_basic_tokenize' is false: recto always splits words before it cuts them into pieces");
    fields_expect_text(fields, "truncation_side", "right");
    const char *class = fields_text(fields, "tokenizer_class", NULL);
    fields_forbid_others(fields, known);
    if (fields->code != STATUS_OK || !class)
        return fields->code;
    return folder_keep(reading, class, &folder->tokenizer_class);
}

static status read_tokenizer_file(struct folder_reading *reading, uint64_t *limit)
{
    struct json_document *document;
    struct fields fields;
    status code = folder_parse_optional(reading, reading->subfolder, "tokenizer_config.json", &document, &fields);
    if (code != STATUS_OK || !document)
        return code;
    code = read_tokenizer(reading, &fields, limit);
    json_free(document);
    return code;
}

/* ---- config_sentence_transformers.json --------------------------------------------------------------------------- */

static status keep_prompt(struct folder_reading *reading, struct fields *fields, const struct json_iterator *member)
{
    struct model_folder_prompt *prompt = &reading->folder->prompts[reading->folder->prompt_count];
    const char *text = json_as_string(member->value, NULL);
    if (!text)
        fields_fail(fields, "field 'prompts': '%.80s' is %s, expected a string", member->key,
                    json_kind_name(json_kind(member->value)));
    status code = fields->code;
    if (code == STATUS_OK)
        code = folder_keep(reading, member->key, &prompt->name);
    if (code == STATUS_OK)
        code = folder_keep(reading, text, &prompt->text);
    if (code == STATUS_OK)
        reading->folder->prompt_count++;
    return code;
}

static status keep_prompts(struct folder_reading *reading, struct fields *fields)
{
    const struct json *prompts = json_member(fields->object, "prompts");
    if (fields_has(fields, "prompts") && json_kind(prompts) != JSON_KIND_OBJECT)
        fields_fail(fields, "field 'prompts': expected an object, found %s", json_kind_name(json_kind(prompts)));
    size_t count = json_object_length(prompts);
    if (count == 0 || fields->code != STATUS_OK)
        return fields->code;
    void  *block = NULL;
    status code = folder_allocate(reading, count * sizeof(struct model_folder_prompt), &block);
    reading->folder->prompts = block;
    struct json_iterator member = {0};
    while (code == STATUS_OK && json_next(prompts, &member))
        code = keep_prompt(reading, fields, &member);
    return code;
}

static void choose_prompt(struct model_folder *folder, struct fields *fields)
{
    const char *name = fields_text(fields, "default_prompt_name", NULL);
    for (uint32_t i = 0; name && i < folder->prompt_count; i++)
        if (strcmp(folder->prompts[i].name, name) == 0) {
            folder->default_prompt = folder->prompts[i].name;
            return;
        }
    if (name)
        fields_fail(fields, "field 'default_prompt_name' is '%.80s', which is not among the prompts", name);
}

static status read_prompts_file(struct folder_reading *reading)
{
    static const char *const known[] = {"__version__", "model_type", "prompts", "default_prompt_name",
                                        "similarity_fn_name", NULL};
    struct json_document *document;
    struct fields fields;
    status code = folder_parse_optional(reading, "", "config_sentence_transformers.json", &document, &fields);
    if (code != STATUS_OK || !document)
        return code;
    fields_expect_text(&fields, "model_type", "SentenceTransformer");
    fields_forbid_others(&fields, known);
    code = keep_prompts(reading, &fields);
    if (code == STATUS_OK) {
        choose_prompt(reading->folder, &fields);
        code = fields.code;
    }
    json_free(document);
    return code;
}

/* ---- together --------------------------------------------------------------------------------------------------- */

/* sentence-transformers lets max_seq_length override the tokenizer's limit; nothing overrides the number of positions. */
static status choose_limit(struct folder_reading *reading, uint64_t stated, uint64_t of_tokenizer)
{
    struct model_folder *folder = reading->folder;
    uint64_t limit = stated ? stated : of_tokenizer ? of_tokenizer : folder->positions;
    folder->max_tokens = limit < folder->positions ? (uint32_t)limit : folder->positions;
    if (stated > folder->positions)
        return folder_note(reading, "%s: max_seq_length is %llu, but the network has %u positions, so that texts end there",
                           folder->path, (unsigned long long)stated, folder->positions);
    return STATUS_OK;
}

status model_folder_read_text(struct folder_reading *reading)
{
    uint64_t stated = 0, of_tokenizer = 0;
    status code = read_limits_file(reading, &stated);
    if (code == STATUS_OK)
        code = read_tokenizer_file(reading, &of_tokenizer);
    if (code == STATUS_OK)
        code = read_prompts_file(reading);
    return code == STATUS_OK ? choose_limit(reading, stated, of_tokenizer) : code;
}
