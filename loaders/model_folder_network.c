/* config.json: the sizes and the arithmetic of the network. */
#include "loaders/model_folder_parts.h"

#include <string.h>

/* Read below, field by field. */
#define FIELDS_READ \
    "model_type", "architectures", "num_hidden_layers", "hidden_size", "num_attention_heads", "intermediate_size", \
    "vocab_size", "max_position_embeddings", "type_vocab_size", "layer_norm_eps", "hidden_act", "position_embedding_type"

/* Change nothing when a text is embedded. */
#define FIELDS_OF_TRAINING \
    "attention_probs_dropout_prob", "classifier_dropout", "gradient_checkpointing", "hidden_dropout_prob", \
    "initializer_factor", "initializer_range"
#define FIELDS_OF_OTHER_HEADS \
    "directionality", "finetuning_task", "id2label", "label2id", "num_labels", "pooler_fc_size", \
    "pooler_num_attention_heads", "pooler_num_fc_layers", "pooler_size_per_head", "pooler_type", "problem_type", \
    "task_specific_params", "tie_word_embeddings"
#define FIELDS_OF_GENERATION \
    "bad_words_ids", "begin_suppress_tokens", "decoder_start_token_id", "diversity_penalty", "do_sample", "early_stopping", \
    "encoder_no_repeat_ngram_size", "exponential_decay_length_penalty", "forced_bos_token_id", "forced_eos_token_id", \
    "length_penalty", "max_length", "min_length", "no_repeat_ngram_size", "num_beam_groups", "num_beams", \
    "num_return_sequences", "output_scores", "prefix", "remove_invalid_values", "repetition_penalty", \
    "return_dict_in_generate", "suppress_tokens", "temperature", "top_k", "top_p", "typical_p"
#define FIELDS_OF_TOKENIZER  /* the tokenizer's own files decide */ \
    "bos_token_id", "cls_token_id", "eos_token_id", "mask_token_id", "pad_token_id", "sep_token_id", "tokenizer_class"
#define FIELDS_OF_SOFTWARE \
    "_attn_implementation", "_attn_implementation_autoset", "_name_or_path", "attn_implementation", \
    "chunk_size_feed_forward", "dtype", "model_name", "name_or_path", "output_attentions", "output_hidden_states", \
    "output_past", "return_dict", "torch_dtype", "torchscript", "transformers_version", "use_bfloat16", "use_cache"

static const char *const known_fields[] = {FIELDS_READ, FIELDS_OF_TRAINING, FIELDS_OF_OTHER_HEADS, FIELDS_OF_GENERATION,
                                           FIELDS_OF_TOKENIZER, FIELDS_OF_SOFTWARE, NULL};

enum {
    LAYERS_MAX     = 1024,
    WIDTH_MAX      = 1 << 16,
    INNER_MAX      = 1 << 18,
    VOCABULARY_MAX = 1 << 24,
    POSITIONS_MAX  = 1 << 20
};

/* Heads that are trained on top of the same encoder and unused when it embeds. A classifier is not among them: its score
 * is its answer, and vectors out of its encoder would look right and mean little. */
static bool is_encoder(const char *architecture)
{
    static const char *const encoders[] = {"BertModel", "BertForMaskedLM", "BertForPreTraining"};
    for (size_t i = 0; i < sizeof encoders / sizeof *encoders; i++)
        if (strcmp(architecture, encoders[i]) == 0)
            return true;
    return false;
}

static void check_architecture(struct fields *fields)
{
    const char *type = fields_text(fields, "model_type", "");
    if (!*type)
        fields_fail(fields, "field 'model_type' is missing, expected 'bert'");
    if (strcmp(type, "bert") != 0)
        fields_fail(fields, "field 'model_type' is '%.80s': recto computes models of the type 'bert'", type);
    const struct json *list = json_member(fields->object, "architectures");
    for (size_t i = 0; i < json_array_length(list); i++) {
        const char *name = json_as_string(json_array_at(list, i), NULL);
        if (!name || !is_encoder(name))
            fields_fail(fields, "field 'architectures' names '%.80s', expected 'BertModel', 'BertForMaskedLM' or "
                        "'BertForPreTraining'", name ? name : "something that is not a string");
    }
    if (json_kind(list) != JSON_KIND_ARRAY && fields_has(fields, "architectures"))
        fields_fail(fields, "field 'architectures': expected an array, found %s", json_kind_name(json_kind(list)));
}

static void read_activation(struct fields *fields, enum model_folder_activation *activation)
{
    static const struct {
        const char *name;
        enum model_folder_activation activation;
    } known[] = {{"gelu", MODEL_FOLDER_GELU},          {"gelu_python", MODEL_FOLDER_GELU},
                 {"gelu_new", MODEL_FOLDER_GELU_TANH}, {"gelu_pytorch_tanh", MODEL_FOLDER_GELU_TANH},
                 {"relu", MODEL_FOLDER_RELU},          {"silu", MODEL_FOLDER_SILU},
                 {"swish", MODEL_FOLDER_SILU}};
    const char *name = fields_text(fields, "hidden_act", "gelu");
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (strcmp(name, known[i].name) == 0) {
            *activation = known[i].activation;
            return;
        }
    fields_fail(fields, "field 'hidden_act' is '%.80s', expected gelu, gelu_new, gelu_pytorch_tanh, relu or silu", name);
}

static uint32_t read_size(struct fields *fields, const char *name, uint64_t fallback, uint64_t most)
{
    return (uint32_t)fields_count(fields, name, fallback, 1, most);
}

/* What a config.json may leave out has transformers' own default. */
static void read_network(struct fields *fields, struct model_folder *folder)
{
    check_architecture(fields);
    folder->layers = read_size(fields, "num_hidden_layers", FIELD_REQUIRED, LAYERS_MAX);
    folder->width = read_size(fields, "hidden_size", FIELD_REQUIRED, WIDTH_MAX);
    folder->heads = read_size(fields, "num_attention_heads", FIELD_REQUIRED, WIDTH_MAX);
    folder->inner = read_size(fields, "intermediate_size", FIELD_REQUIRED, INNER_MAX);
    folder->vocabulary = read_size(fields, "vocab_size", FIELD_REQUIRED, VOCABULARY_MAX);
    folder->positions = read_size(fields, "max_position_embeddings", 512, POSITIONS_MAX);
    folder->token_types = read_size(fields, "type_vocab_size", 2, 1 << 10);
    folder->norm_epsilon = fields_real(fields, "layer_norm_eps", 1e-12);
    read_activation(fields, &folder->activation);
    fields_expect_text(fields, "position_embedding_type", "absolute");
    if (fields->code == STATUS_OK && folder->width % folder->heads != 0)
        fields_fail(fields, "field 'hidden_size' is %u, which field 'num_attention_heads' (%u) does not divide",
                    folder->width, folder->heads);
    if (!(folder->norm_epsilon >= 0 && folder->norm_epsilon <= 1))
        fields_fail(fields, "field 'layer_norm_eps' is %g, expected 0 to 1", folder->norm_epsilon);
    fields_forbid_others(fields, known_fields);
}

status model_folder_read_network(struct folder_reading *reading)
{
    struct json_document *document;
    struct fields fields;
    status code = folder_parse(reading, reading->subfolder, "config.json", &document, &fields);
    if (code != STATUS_OK)
        return code;
    read_network(&fields, reading->folder);
    reading->folder->dimensions = reading->folder->width;
    json_free(document);
    return fields.code;
}
