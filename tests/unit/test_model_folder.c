/* Model folders from memory: every published shape as its files say it, and every refusal by the field it names. */
#include "loaders/model_folder.h"

#include "runtime/pool.h"

#include <stdarg.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

/* ---- a folder in memory ------------------------------------------------------------------------------------------- */

enum { FILES_MAX = 24 };

struct memory_file {
    const char *name, *text;
};

struct memory_folder {
    struct memory_file files[FILES_MAX];
};

/* Replaces or adds; a null text removes. */
static void put(struct memory_folder *memory, const char *name, const char *text)
{
    struct memory_file *file = memory->files;
    while (file->name && strcmp(file->name, name) != 0)
        file++;
    assert_true(file < memory->files + FILES_MAX - 1);
    *file = (struct memory_file){.name = name, .text = text};
}

static const char *text_of(const struct memory_folder *memory, const char *name)
{
    for (const struct memory_file *file = memory->files; file->name; file++)
        if (strcmp(file->name, name) == 0)
            return file->text;
    return NULL;
}

static status memory_has(void *user, const char *name, bool *has, struct error *error)
{
    (void)error;
    *has = text_of(user, name) != NULL;
    return STATUS_OK;
}

static status memory_read(void *user, struct pool *pool, const char *name, uint64_t limit, char **text, size_t *length,
                          struct error *error)
{
    const char *found = text_of(user, name);
    if (!found)
        return error_set(error, STATUS_MODEL, "%s: there is no such file", name);
    *length = strlen(found);
    assert_true(*length <= limit);
    void  *block;
    status code = pool_alloc(pool, MEMORY_LOAD, *length + 1, "a test's file", &block, error);
    if (code == STATUS_OK)
        *text = memcpy(block, found, *length + 1);
    return code;
}

static struct pool *pool;
static struct error error;

static status open_memory(struct memory_folder *memory, struct model_folder **folder)
{
    struct model_folder_source source = {.has = memory_has, .read = memory_read, .user = memory};
    error.message[0] = '\0';
    return model_folder_open_from(folder, pool, "models/x", &source, &error);
}

static struct model_folder *must_open(struct memory_folder *memory)
{
    struct model_folder *folder;
    if (open_memory(memory, &folder) != STATUS_OK)
        fail_msg("refused: %s", error.message);
    return folder;
}

static void must_refuse(struct memory_folder *memory, const char *file, const char *words)
{
    struct model_folder *folder;
    status code = open_memory(memory, &folder);
    if (code == STATUS_OK)
        fail_msg("accepted, expected a refusal with '%s'", words);
    assert_int_equal(code, STATUS_MODEL);
    assert_null(folder);
    if (!strstr(error.message, file) || !strstr(error.message, words))
        fail_msg("expected '%s' and '%s' in: %s", file, words, error.message);
}

static int setup(void **state)
{
    (void)state;
    return pool_open(&pool, 0, NULL);
}

/* Every test gives all memory back. */
static int teardown(void **state)
{
    (void)state;
    struct pool_usage usage;
    pool_usage(pool, &usage);
    pool_close(pool);
    return usage.in_use == 0 ? 0 : -1;
}

/* ---- published folders, as they are ------------------------------------------------------------------------------- */

#define MODULES(tail) \
    "[{\"idx\": 0, \"name\": \"0\", \"path\": \"\", \"type\": \"sentence_transformers.models.Transformer\"}," \
    "{\"idx\": 1, \"name\": \"1\", \"path\": \"1_Pooling\", \"type\": \"sentence_transformers.models.Pooling\"}" tail "]"
#define NORMALIZE(n) \
    ",{\"idx\": " #n ", \"name\": \"" #n "\", \"path\": \"" #n "_Normalize\", \"type\": " \
    "\"sentence_transformers.models.Normalize\"}"
#define DENSE(n) \
    ",{\"idx\": " #n ", \"name\": \"" #n "\", \"path\": \"" #n "_Dense\", \"type\": \"sentence_transformers.models.Dense\"}"
#define POOLING(width, cls, mean) \
    "{\"word_embedding_dimension\": " #width ", \"pooling_mode_cls_token\": " #cls ", \"pooling_mode_mean_tokens\": " \
    #mean ", \"pooling_mode_max_tokens\": false, \"pooling_mode_mean_sqrt_len_tokens\": false}"
#define CONFIG(layers, width, heads, inner, vocabulary, more) \
    "{\"architectures\": [\"BertModel\"], \"attention_probs_dropout_prob\": 0.1, \"classifier_dropout\": null, " \
    "\"hidden_act\": \"gelu\", \"hidden_dropout_prob\": 0.1, \"hidden_size\": " #width ", \"initializer_range\": 0.02, " \
    "\"intermediate_size\": " #inner ", \"layer_norm_eps\": 1e-12, \"max_position_embeddings\": 512, " \
    "\"model_type\": \"bert\", \"num_attention_heads\": " #heads ", \"num_hidden_layers\": " #layers ", " \
    "\"pad_token_id\": 0, \"position_embedding_type\": \"absolute\", \"torch_dtype\": \"float32\", " \
    "\"transformers_version\": \"4.30.0\", \"type_vocab_size\": 2, \"use_cache\": true, \"vocab_size\": " #vocabulary more "}"

static const char minilm_config[] =
    "{\"_name_or_path\": \"nreimers/MiniLM-L6-H384-uncased\", \"architectures\": [\"BertModel\"], "
    "\"attention_probs_dropout_prob\": 0.1, \"gradient_checkpointing\": false, \"hidden_act\": \"gelu\", "
    "\"hidden_dropout_prob\": 0.1, \"hidden_size\": 384, \"initializer_range\": 0.02, \"intermediate_size\": 1536, "
    "\"layer_norm_eps\": 1e-12, \"max_position_embeddings\": 512, \"model_type\": \"bert\", \"num_attention_heads\": 12, "
    "\"num_hidden_layers\": 6, \"pad_token_id\": 0, \"position_embedding_type\": \"absolute\", "
    "\"transformers_version\": \"4.8.2\", \"type_vocab_size\": 2, \"use_cache\": true, \"vocab_size\": 30522}";

static const char minilm_tokenizer[] =
    "{\"do_lower_case\": true, \"unk_token\": \"[UNK]\", \"sep_token\": \"[SEP]\", \"pad_token\": \"[PAD]\", \"cls_token\": "
    "\"[CLS]\", \"mask_token\": \"[MASK]\", \"tokenize_chinese_chars\": true, \"strip_accents\": null, \"name_or_path\": "
    "\"nreimers/MiniLM-L6-H384-uncased\", \"do_basic_tokenize\": true, \"never_split\": null, \"tokenizer_class\": "
    "\"BertTokenizer\", \"model_max_length\": 512}";

static struct memory_folder minilm(void)
{
    return (struct memory_folder){{
        {"config.json", minilm_config},
        {"modules.json", MODULES(NORMALIZE(2))},
        {"1_Pooling/config.json", POOLING(384, false, true)},
        {"sentence_bert_config.json", "{\"max_seq_length\": 256, \"do_lower_case\": false}"},
        {"config_sentence_transformers.json",
         "{\"__version__\": {\"sentence_transformers\": \"2.0.0\", \"transformers\": \"4.6.1\", \"pytorch\": \"1.8.1\"}}"},
        {"tokenizer_config.json", minilm_tokenizer},
        {"tokenizer.json", "{}"},
        {"vocab.txt", ""},
        {"model.safetensors", ""},
    }};
}

static void test_minilm(void **state)
{
    (void)state;
    struct memory_folder memory = minilm();
    struct model_folder *folder = must_open(&memory);
    assert_int_equal(folder->layers, 6);
    assert_int_equal(folder->width, 384);
    assert_int_equal(folder->heads, 12);
    assert_int_equal(folder->inner, 1536);
    assert_int_equal(folder->vocabulary, 30522);
    assert_int_equal(folder->positions, 512);
    assert_int_equal(folder->token_types, 2);
    assert_true(folder->norm_epsilon == 1e-12);
    assert_int_equal(folder->activation, MODEL_FOLDER_GELU);
    assert_int_equal(folder->pooling, MODEL_FOLDER_MEAN);
    assert_true(folder->include_prompt);
    assert_true(folder->normalize);
    assert_int_equal(folder->dense_count, 0);
    assert_int_equal(folder->dimensions, 384);
    assert_int_equal(folder->max_tokens, 256);
    assert_false(folder->lower_case_first);
    assert_int_equal(folder->do_lower_case, MODEL_FOLDER_YES);
    assert_int_equal(folder->strip_accents, MODEL_FOLDER_UNSAID);
    assert_int_equal(folder->split_chinese, MODEL_FOLDER_YES);
    assert_string_equal(folder->tokenizer_class, "BertTokenizer");
    assert_int_equal(folder->prompt_count, 0);
    assert_null(folder->default_prompt);
    assert_string_equal(folder->tokenizer_json, "models/x/tokenizer.json");
    assert_string_equal(folder->vocab_txt, "models/x/vocab.txt");
    assert_string_equal(folder->weights, "models/x/model.safetensors");
    assert_false(folder->sharded);
    assert_int_equal(folder->note_count, 0);
    model_folder_close(folder);
}

struct published {
    const char *name, *config, *modules, *pooling, *limits, *tokenizer, *prompts;
    uint32_t    layers, width, heads, max_tokens;
    enum model_folder_pooling how;
    bool        normalize;
};

static const struct published models[] = {
    {"bge-small-en-v1.5",
     CONFIG(12, 384, 12, 1536, 30522, ", \"id2label\": {\"0\": \"LABEL_0\"}, \"label2id\": {\"LABEL_0\": 0}"),
     MODULES(NORMALIZE(2)), POOLING(384, true, false), "{\"max_seq_length\": 512, \"do_lower_case\": true}",
     "{\"clean_up_tokenization_spaces\": true, \"cls_token\": \"[CLS]\", \"do_basic_tokenize\": true, \"do_lower_case\": "
     "true, \"mask_token\": \"[MASK]\", \"model_max_length\": 512, \"never_split\": null, \"pad_token\": \"[PAD]\", "
     "\"sep_token\": \"[SEP]\", \"strip_accents\": null, \"tokenize_chinese_chars\": true, \"tokenizer_class\": "
     "\"BertTokenizer\", \"unk_token\": \"[UNK]\"}",
     "{\"__version__\": {\"sentence_transformers\": \"2.2.2\", \"transformers\": \"4.28.1\", \"pytorch\": \"1.13.0\"}}",
     12, 384, 12, 512, MODEL_FOLDER_CLS, true},
    {"bge-large-en-v1.5", CONFIG(24, 1024, 16, 4096, 30522, ""), MODULES(NORMALIZE(2)), POOLING(1024, true, false),
     "{\"max_seq_length\": 512, \"do_lower_case\": true}", NULL, NULL, 24, 1024, 16, 512, MODEL_FOLDER_CLS, true},
    {"e5-base-v2", CONFIG(12, 768, 12, 3072, 30522, ""), MODULES(NORMALIZE(2)), POOLING(768, false, true),
     "{\"max_seq_length\": 512, \"do_lower_case\": false}",
     "{\"cls_token\": \"[CLS]\", \"model_max_length\": 512, \"special_tokens_map_file\": \"special_tokens_map.json\", "
     "\"tokenizer_class\": \"BertTokenizer\", \"use_fast\": true}",
     NULL, 12, 768, 12, 512, MODEL_FOLDER_MEAN, true},
    {"gte-small", CONFIG(12, 384, 12, 1536, 30522, ""), MODULES(NORMALIZE(2)), POOLING(384, false, true),
     "{\"max_seq_length\": 512, \"do_lower_case\": false}",
     "{\"clean_up_tokenization_spaces\": true, \"model_max_length\": 1000000000000000019884624838656, \"tokenizer_class\": "
     "\"BertTokenizer\", \"max_length\": 128, \"stride\": 0, \"truncation_side\": \"right\"}",
     NULL, 12, 384, 12, 512, MODEL_FOLDER_MEAN, true},
    {"snowflake-arctic-embed-xs", CONFIG(6, 384, 12, 1536, 30522, ""), MODULES(NORMALIZE(2)),
     "{\"word_embedding_dimension\": 384, \"pooling_mode_cls_token\": true, \"pooling_mode_mean_tokens\": false, "
     "\"pooling_mode_max_tokens\": false, \"pooling_mode_mean_sqrt_len_tokens\": false, "
     "\"pooling_mode_weightedmean_tokens\": false, \"pooling_mode_lasttoken\": false, \"include_prompt\": true}",
     "{\"max_seq_length\": 512, \"do_lower_case\": false}", NULL,
     "{\"__version__\": {\"pytorch\": \"2.1.0\"}, \"prompts\": {\"query\": \"Represent this sentence for searching "
     "relevant passages: \"}, \"default_prompt_name\": null, \"similarity_fn_name\": \"cosine\"}",
     6, 384, 12, 512, MODEL_FOLDER_CLS, true},
    {"multilingual-e5-small", CONFIG(12, 384, 12, 1536, 250037, ", \"tokenizer_class\": \"XLMRobertaTokenizer\""),
     MODULES(NORMALIZE(2)), POOLING(384, false, true), "{\"max_seq_length\": 512, \"do_lower_case\": false}",
     "{\"bos_token\": \"<s>\", \"eos_token\": \"</s>\", \"mask_token\": {\"__type\": \"AddedToken\", \"content\": "
     "\"<mask>\", \"lstrip\": true}, \"model_max_length\": 512, \"sp_model_kwargs\": {}, \"tokenizer_class\": "
     "\"XLMRobertaTokenizer\"}",
     NULL, 12, 384, 12, 512, MODEL_FOLDER_MEAN, true},
    {"paraphrase-MiniLM-L3-v2 (not normalised)", CONFIG(3, 384, 12, 1536, 30522, ", \"gradient_checkpointing\": false"),
     MODULES(""), POOLING(384, false, true), "{\"max_seq_length\": 128, \"do_lower_case\": false}", NULL, NULL, 3, 384, 12,
     128, MODEL_FOLDER_MEAN, false},
    {"saved by sentence-transformers 6", CONFIG(6, 384, 12, 1536, 30522, ""),
     "[{\"idx\": 0, \"name\": \"0\", \"path\": \"\", \"type\": \"sentence_transformers.base.modules.transformer."
     "Transformer\"}, {\"idx\": 1, \"name\": \"1\", \"path\": \"1_Pooling\", \"type\": "
     "\"sentence_transformers.sentence_transformer.modules.pooling.Pooling\"}, {\"idx\": 2, \"name\": \"2\", \"path\": "
     "\"2_Normalize\", \"type\": \"sentence_transformers.base.modules.normalize.Normalize\"}]",
     "{\"embedding_dimension\": 384, \"pooling_mode\": \"lasttoken\", \"include_prompt\": true}",
     "{\"transformer_task\": \"feature-extraction\", \"modality_config\": {\"text\": {\"method\": \"forward\", "
     "\"method_output_name\": \"last_hidden_state\"}}, \"module_output_name\": \"token_embeddings\"}",
     "{\"backend\": \"tokenizers\", \"is_local\": false, \"model_max_length\": 256, \"tokenizer_class\": \"BertTokenizer\"}",
     "{\"model_type\": \"SentenceTransformer\", \"__version__\": {}, \"prompts\": {\"query\": \"\", \"document\": \"\"}, "
     "\"default_prompt_name\": null, \"similarity_fn_name\": \"cosine\"}",
     6, 384, 12, 256, MODEL_FOLDER_LAST, true},
};

static void test_published_shapes(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof models / sizeof *models; i++) {
        const struct published *model = &models[i];
        print_message("  %s\n", model->name);
        struct memory_folder memory = {{{"config.json", model->config},
                                        {"modules.json", model->modules},
                                        {"1_Pooling/config.json", model->pooling},
                                        {"sentence_bert_config.json", model->limits},
                                        {"tokenizer_config.json", model->tokenizer},
                                        {"config_sentence_transformers.json", model->prompts},
                                        {"tokenizer.json", "{}"},
                                        {"model.safetensors", ""}}};
        struct model_folder *folder = must_open(&memory);
        assert_int_equal(folder->layers, model->layers);
        assert_int_equal(folder->width, model->width);
        assert_int_equal(folder->heads, model->heads);
        assert_int_equal(folder->dimensions, model->width);
        assert_int_equal(folder->max_tokens, model->max_tokens);
        assert_int_equal(folder->pooling, model->how);
        assert_int_equal(folder->normalize, model->normalize);
        assert_int_equal(folder->note_count, 0);
        assert_null(folder->vocab_txt);
        model_folder_close(folder);
    }
}

static void test_prompts(void **state)
{
    (void)state;
    struct memory_folder memory = minilm();
    put(&memory, "config_sentence_transformers.json",
        "{\"prompts\": {\"query\": \"query: \", \"passage\": \"passage: \"}, \"default_prompt_name\": \"passage\"}");
    struct model_folder *folder = must_open(&memory);
    assert_int_equal(folder->prompt_count, 2);
    assert_string_equal(folder->default_prompt, "passage");
    for (uint32_t i = 0; i < 2; i++) {
        char expected[32];
        snprintf(expected, sizeof expected, "%s: ", folder->prompts[i].name);
        assert_string_equal(folder->prompts[i].text, expected);
    }
    assert_string_not_equal(folder->prompts[0].name, folder->prompts[1].name);
    model_folder_close(folder);
}

static void test_dense_layers(void **state)
{
    (void)state;
    struct memory_folder memory = minilm();
    put(&memory, "modules.json", MODULES(DENSE(2) DENSE(3) NORMALIZE(4)));
    put(&memory, "2_Dense/config.json", "{\"in_features\": 384, \"out_features\": 1024, \"bias\": false, "
                                        "\"activation_function\": \"torch.nn.modules.linear.Identity\"}");
    put(&memory, "2_Dense/model.safetensors", "");
    put(&memory, "3_Dense/config.json", "{\"in_features\": 1024, \"out_features\": 128, \"module_input_name\": "
                                        "\"sentence_embedding\", \"module_output_name\": null, \"use_residual\": false}");
    put(&memory, "3_Dense/model.safetensors", "");
    struct model_folder *folder = must_open(&memory);
    assert_int_equal(folder->dense_count, 2);
    assert_int_equal(folder->dense[0].in, 384);
    assert_int_equal(folder->dense[0].out, 1024);
    assert_false(folder->dense[0].bias);
    assert_int_equal(folder->dense[0].activation, MODEL_FOLDER_IDENTITY);
    assert_string_equal(folder->dense[0].weights, "models/x/2_Dense/model.safetensors");
    assert_true(folder->dense[1].bias);
    assert_int_equal(folder->dense[1].activation, MODEL_FOLDER_TANH);
    assert_int_equal(folder->dimensions, 128);
    assert_true(folder->normalize);
    model_folder_close(folder);
    put(&memory, "3_Dense/model.safetensors", NULL);
    must_refuse(&memory, "3_Dense/model.safetensors", "there is no such file");
    put(&memory, "3_Dense/config.json", "{\"in_features\": 384, \"out_features\": 128}");
    must_refuse(&memory, "3_Dense/config.json", "'in_features' is 384, expected 1024");
}

static void test_network_in_a_subfolder(void **state)
{
    (void)state;
    struct memory_folder memory = {{
        {"0_Transformer/config.json", minilm_config},
        {"modules.json", "[{\"idx\": 0, \"path\": \"0_Transformer\", \"type\": \"sentence_transformers.models.Transformer\"}, "
                         "{\"idx\": 1, \"path\": \"1_Pooling\", \"type\": \"sentence_transformers.models.Pooling\"}]"},
        {"1_Pooling/config.json", POOLING(384, false, true)},
        {"0_Transformer/sentence_distilbert_config.json", "{\"max_seq_length\": 100}"},
        {"0_Transformer/vocab.txt", ""},
        {"0_Transformer/model.safetensors.index.json", "{}"},
    }};
    struct model_folder *folder = must_open(&memory);
    assert_int_equal(folder->max_tokens, 100);
    assert_null(folder->tokenizer_json);
    assert_string_equal(folder->vocab_txt, "models/x/0_Transformer/vocab.txt");
    assert_string_equal(folder->weights, "models/x/0_Transformer/model.safetensors.index.json");
    assert_true(folder->sharded);
    model_folder_close(folder);
}

static void test_without_modules(void **state)
{
    (void)state;
    struct memory_folder memory = {{{"config.json", minilm_config}, {"vocab.txt", ""}, {"model.safetensors", ""}}};
    struct model_folder *folder = must_open(&memory);
    assert_int_equal(folder->pooling, MODEL_FOLDER_MEAN);
    assert_false(folder->normalize);
    assert_int_equal(folder->max_tokens, 512);
    assert_int_equal(folder->note_count, 1);
    assert_non_null(strstr(folder->notes[0], "no modules.json"));
    model_folder_close(folder);
}

static void test_token_limits(void **state)
{
    (void)state;
    static const struct {
        const char *limits, *tokenizer;
        uint32_t    expected, notes;
    } cases[] = {
        {"{\"max_seq_length\": 256}", "{\"model_max_length\": 128}", 256, 0},
        {"{\"max_seq_length\": null}", "{\"model_max_length\": 128}", 128, 0},
        {NULL, "{\"model_max_length\": 1000000000000000019884624838656}", 512, 0},
        {NULL, "{\"model_max_length\": 1e30}", 512, 0},
        {NULL, NULL, 512, 0},
        {"{\"max_seq_length\": 1024}", NULL, 512, 1},
        {"{\"max_seq_length\": 3}", NULL, 3, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct memory_folder memory = minilm();
        put(&memory, "sentence_bert_config.json", cases[i].limits);
        put(&memory, "tokenizer_config.json", cases[i].tokenizer);
        struct model_folder *folder = must_open(&memory);
        assert_int_equal(folder->max_tokens, cases[i].expected);
        assert_int_equal(folder->note_count, cases[i].notes);
        model_folder_close(folder);
    }
}

static void test_activations(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        enum model_folder_activation expected;
    } cases[] = {{"gelu", MODEL_FOLDER_GELU},          {"gelu_new", MODEL_FOLDER_GELU_TANH},
                 {"gelu_pytorch_tanh", MODEL_FOLDER_GELU_TANH}, {"relu", MODEL_FOLDER_RELU},
                 {"silu", MODEL_FOLDER_SILU}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char config[1024];
        snprintf(config, sizeof config, "{\"model_type\": \"bert\", \"num_hidden_layers\": 1, \"hidden_size\": 384, "
                 "\"num_attention_heads\": 1, \"intermediate_size\": 1, \"vocab_size\": 1, \"hidden_act\": \"%s\"}",
                 cases[i].name);
        struct memory_folder memory = minilm();
        put(&memory, "config.json", config);
        struct model_folder *folder = must_open(&memory);
        assert_int_equal(folder->activation, cases[i].expected);
        model_folder_close(folder);
    }
}

/* ---- refusals ----------------------------------------------------------------------------------------------------- */

/* `config` with one more member, or with the first occurrence of a member changed. */
static const char *changed(const char *text, const char *from, const char *to)
{
    static char made[4096];
    const char *at = strstr(text, from);
    assert_non_null(at);
    snprintf(made, sizeof made, "%.*s%s%s", (int)(at - text), text, to, at + strlen(from));
    return made;
}

static void test_config_refusals(void **state)
{
    (void)state;
    static const struct {
        const char *from, *to, *words;
    } cases[] = {
        {"\"model_type\": \"bert\"", "\"model_type\": \"xlm-roberta\"", "'model_type' is 'xlm-roberta'"},
        {"\"model_type\": \"bert\"", "\"use_cache2\": null", "'model_type' is missing"},
        {"\"BertModel\"", "\"BertForSequenceClassification\"", "'architectures' names 'BertForSequenceClassification'"},
        {"[\"BertModel\"]", "\"BertModel\"", "'architectures': expected an array"},
        {"\"num_hidden_layers\": 6, ", "", "'num_hidden_layers' is missing"},
        {"\"num_hidden_layers\": 6", "\"num_hidden_layers\": 0", "'num_hidden_layers' is 0"},
        {"\"num_hidden_layers\": 6", "\"num_hidden_layers\": 5000000", "'num_hidden_layers' is 5000000"},
        {"\"num_hidden_layers\": 6", "\"num_hidden_layers\": -1", "'num_hidden_layers' is -1"},
        {"\"num_hidden_layers\": 6", "\"num_hidden_layers\": 6.5", "'num_hidden_layers': expected an integer"},
        {"\"num_hidden_layers\": 6", "\"num_hidden_layers\": \"6\"", "found a string"},
        {"\"hidden_size\": 384", "\"hidden_size\": 385", "'hidden_size' is 385, which field 'num_attention_heads' (12)"},
        {"\"vocab_size\": 30522", "\"vocab_size\": 99999999999999999999999999", "'vocab_size'"},
        {"\"layer_norm_eps\": 1e-12", "\"layer_norm_eps\": -1", "'layer_norm_eps'"},
        {"\"layer_norm_eps\": 1e-12", "\"layer_norm_eps\": \"small\"", "'layer_norm_eps': expected a number"},
        {"\"hidden_act\": \"gelu\"", "\"hidden_act\": \"mish\"", "'hidden_act' is 'mish'"},
        {"\"absolute\"", "\"relative_key\"", "'position_embedding_type' is 'relative_key', expected 'absolute'"},
        {"\"absolute\"", "\"alibi\"", "'position_embedding_type' is 'alibi'"},
        {"\"use_cache\": true", "\"is_decoder\": true", "'is_decoder'"},
        {"\"use_cache\": true", "\"add_cross_attention\": true", "'add_cross_attention'"},
        {"\"use_cache\": true", "\"auto_map\": {\"AutoModel\": \"modeling.X\"}", "'auto_map'"},
        {"\"use_cache\": true", "\"quantization_config\": {\"bits\": 4}", "'quantization_config'"},
        {"\"use_cache\": true", "\"pruned_heads\": {\"0\": [1]}", "'pruned_heads'"},
        {"\"use_cache\": true", "\"embedding_multiplier\": 2", "'embedding_multiplier' (an integer) is not known"},
        {"\"use_cache\": true", "\"a\\u001bb\": 2", "'a?b'"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct memory_folder memory = minilm();
        put(&memory, "config.json", changed(minilm_config, cases[i].from, cases[i].to));
        must_refuse(&memory, "models/x/config.json", cases[i].words);
    }
}

static void test_fields_that_are_off_are_accepted(void **state)
{
    (void)state;
    struct memory_folder memory = minilm();
    put(&memory, "config.json", changed(minilm_config, "\"use_cache\": true",
                                        "\"is_decoder\": false, \"add_cross_attention\": false, \"pruned_heads\": {}, "
                                        "\"emb_pooler\": null, \"some_list\": []"));
    model_folder_close(must_open(&memory));
}

static void test_other_refusals(void **state)
{
    (void)state;
    static const struct {
        const char *file, *text, *words;
    } cases[] = {
        {"config.json", NULL, "no such file"},
        {"config.json", "[]", "expected an object, found an array"},
        {"config.json", "{\"model_type\": ", "line 1"},
        {"modules.json", "{}", "expected an array of modules"},
        {"modules.json", "[]", "no Pooling module"},
        {"modules.json", "[3]", "expected an object, found an integer"},
        {"modules.json", MODULES(NORMALIZE(2) DENSE(3)), "module 3 is a Dense: expected the order"},
        {"modules.json", MODULES(NORMALIZE(2) NORMALIZE(3)), "module 3 is a Normalize: expected the order"},
        {"modules.json", MODULES(NORMALIZE(3)), "'idx' is 3, expected 2"},
        {"modules.json", MODULES(DENSE(2) DENSE(3) DENSE(4) DENSE(5) DENSE(6)), "more than 4 Dense"},
        {"modules.json", MODULES(",{\"path\": \"2_LN\", \"type\": \"sentence_transformers.models.LayerNorm\"}"),
         "module 2: field 'type' is 'sentence_transformers.models.LayerNorm'"},
        {"modules.json", MODULES(",{\"path\": \"\", \"type\": \"custom_st.Normalize\"}"), "'custom_st.Normalize'"},
        {"modules.json", MODULES(",{\"path\": \"../2\", \"type\": \"sentence_transformers.models.Normalize\"}"),
         "'path' is '../2'"},
        {"modules.json", MODULES(",{\"path\": \"/etc\", \"type\": \"sentence_transformers.models.Normalize\"}"),
         "'path' is '/etc'"},
        {"modules.json", MODULES(",{\"type\": \"sentence_transformers.models.Normalize\"}"), "'path' is missing"},
        {"modules.json", MODULES(",{\"path\": \"2\", \"type\": \"sentence_transformers.models.Normalize\", "
                                 "\"kwargs\": [\"task\"]}"), "'kwargs'"},
        {"modules.json", "[{\"path\": \"1_Pooling\", \"type\": \"sentence_transformers.models.Pooling\"}]",
         "module 0 is a Pooling"},
        {"1_Pooling/config.json", NULL, "no such file"},
        {"1_Pooling/config.json", POOLING(768, false, true), "'word_embedding_dimension' is 768, expected 384"},
        {"1_Pooling/config.json", POOLING(384, true, true), "both true"},
        {"1_Pooling/config.json", POOLING(384, false, false), "one must be true"},
        {"1_Pooling/config.json", POOLING(384, 1, false), "'pooling_mode_cls_token': expected a boolean"},
        {"1_Pooling/config.json", "{}", "'pooling_mode' is missing"},
        {"1_Pooling/config.json", "{\"pooling_mode_max_tokens\": true}", "not by 'max'"},
        {"1_Pooling/config.json", "{\"pooling_mode\": \"weightedmean\"}", "not by 'weightedmean'"},
        {"1_Pooling/config.json", "{\"pooling_mode\": \"attention\"}", "not by 'attention'"},
        {"1_Pooling/config.json", "{\"pooling_mode\": [\"cls\", \"mean\"]}", "'pooling_mode' is a list of 2"},
        {"1_Pooling/config.json", "{\"pooling_mode\": \"cls\", \"pooling_mode_mean_tokens\": true}",
         "'pooling_mode' is 'cls', but the older fields say 'mean'"},
        {"1_Pooling/config.json", "{\"pooling_mode\": \"cls\", \"pooling_mode_new\": true}", "'pooling_mode_new'"},
        {"1_Pooling/config.json", "{\"pooling_mode\": \"mean\", \"embedding_dimension\": 383}", "'embedding_dimension'"},
        {"sentence_bert_config.json", "{\"max_seq_length\": 2}", "'max_seq_length' is 2"},
        {"sentence_bert_config.json", "{\"do_lower_case\": \"yes\"}", "'do_lower_case': expected a boolean"},
        {"sentence_bert_config.json", "{\"transformer_task\": \"fill-mask\"}", "'transformer_task' is 'fill-mask'"},
        {"sentence_bert_config.json", "{\"modality_config\": {\"image\": {}}}", "'modality_config'"},
        {"sentence_bert_config.json", "{\"query_length\": 32}", "'query_length'"},
        {"sentence_bert_config.json", "{\"model_args\": {\"add_pooling_layer\": true}}", "'model_args'"},
        {"2_Normalize/config.json", "{\"module_input_name\": \"token_embeddings\"}", "'module_input_name'"},
        {"tokenizer_config.json", "{\"truncation_side\": \"left\"}", "'truncation_side' is 'left'"},
        {"tokenizer_config.json", "{\"do_basic_tokenize\": false}", "'do_basic_tokenize'"},
        {"tokenizer_config.json", "{\"never_split\": [\"x\"]}", "'never_split'"},
        {"tokenizer_config.json", "{\"model_max_length\": -5}", "'model_max_length' is -5"},
        {"tokenizer_config.json", "{\"strip_accents\": 1}", "'strip_accents': expected a boolean"},
        {"config_sentence_transformers.json", "{\"prompts\": [\"query: \"]}", "'prompts': expected an object"},
        {"config_sentence_transformers.json", "{\"prompts\": {\"query\": 3}}", "'query' is an integer"},
        {"config_sentence_transformers.json", "{\"prompts\": {}, \"default_prompt_name\": \"query\"}",
         "'default_prompt_name' is 'query', which is not among"},
        {"config_sentence_transformers.json", "{\"model_type\": \"SparseEncoder\"}", "'model_type' is 'SparseEncoder'"},
        {"config_sentence_transformers.json", "{\"truncate_dim\": 64}", "'truncate_dim'"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct memory_folder memory = minilm();
        put(&memory, cases[i].file, cases[i].text);
        must_refuse(&memory, cases[i].file, cases[i].words);
    }
}

static void test_missing_tokenizer_and_weights(void **state)
{
    (void)state;
    struct memory_folder memory = minilm();
    put(&memory, "tokenizer.json", NULL);
    put(&memory, "vocab.txt", NULL);
    must_refuse(&memory, "models/x", "neither tokenizer.json nor vocab.txt");
    memory = minilm();
    put(&memory, "model.safetensors", NULL);
    must_refuse(&memory, "models/x", "there are no weights");
    put(&memory, "pytorch_model.bin", "");
    must_refuse(&memory, "models/x", "only as pytorch_model.bin");
}

/* ---- memory ------------------------------------------------------------------------------------------------------- */

/* Under every ceiling that is too small: a refusal, everything given back, and the next opening correct. */
static void test_every_ceiling(void **state)
{
    (void)state;
    struct memory_folder memory = minilm();
    put(&memory, "config_sentence_transformers.json", "{\"prompts\": {\"query\": \"query: \"}}");
    struct model_folder_source source = {.has = memory_has, .read = memory_read, .user = &memory};
    bool   opened = false;
    size_t refusals = 0;
    for (uint64_t ceiling = 64; !opened; ceiling += 64) {
        struct pool *small;
        struct model_folder *folder;
        struct pool_usage usage;
        assert_int_equal(pool_open(&small, ceiling, NULL), STATUS_OK);
        status code = model_folder_open_from(&folder, small, "models/x", &source, &error);
        opened = code == STATUS_OK;
        if (!opened)
            assert_int_equal(code, STATUS_BUDGET);
        refusals += !opened;
        model_folder_close(folder);
        pool_usage(small, &usage);
        assert_int_equal(usage.in_use, 0);
        pool_close(small);
    }
    assert_true(refusals > 10);
}

/* ---- the file system ---------------------------------------------------------------------------------------------- */

static char root[64];

static void write_file(const char *name, const char *text)
{
    char path[256];
    snprintf(path, sizeof path, "%s/%s", root, name);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static void test_on_disk(void **state)
{
    (void)state;
    char path[256];
    strcpy(root, "/tmp/recto-test-XXXXXX");
    assert_non_null(mkdtemp(root));
    struct model_folder *folder;
    snprintf(path, sizeof path, "%s/missing", root);
    assert_int_equal(model_folder_open(&folder, pool, path, &error), STATUS_MODEL);
    assert_non_null(strstr(error.message, "there is no such folder"));
    write_file("config.json", minilm_config);
    write_file("vocab.txt", "");
    write_file("model.safetensors", "");
    snprintf(path, sizeof path, "%s/config.json", root);
    assert_int_equal(model_folder_open(&folder, pool, path, &error), STATUS_MODEL);
    assert_non_null(strstr(error.message, "found a file"));
    assert_int_equal(model_folder_open(&folder, pool, root, &error), STATUS_OK);
    assert_int_equal(folder->layers, 6);
    snprintf(path, sizeof path, "%s/vocab.txt", root);
    assert_string_equal(folder->vocab_txt, path);
    model_folder_close(folder);

    /* What an interrupted download leaves: must not pass for a folder without modules.json. */
    snprintf(path, sizeof path, "%s/modules.json", root);
    assert_int_equal(symlink("../../blobs/0123", path), 0);
    assert_int_equal(model_folder_open(&folder, pool, root, &error), STATUS_MODEL);
    assert_non_null(strstr(error.message, "modules.json: a link that leads to no file"));
    assert_int_equal(model_folder_open(&folder, pool, root, NULL), STATUS_MODEL);

    static const char *const files[] = {"config.json", "vocab.txt", "model.safetensors", "modules.json"};
    for (size_t i = 0; i < 4; i++) {
        snprintf(path, sizeof path, "%s/%s", root, files[i]);
        unlink(path);
    }
    assert_int_equal(rmdir(root), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_minilm, setup, teardown),
        cmocka_unit_test_setup_teardown(test_published_shapes, setup, teardown),
        cmocka_unit_test_setup_teardown(test_prompts, setup, teardown),
        cmocka_unit_test_setup_teardown(test_dense_layers, setup, teardown),
        cmocka_unit_test_setup_teardown(test_network_in_a_subfolder, setup, teardown),
        cmocka_unit_test_setup_teardown(test_without_modules, setup, teardown),
        cmocka_unit_test_setup_teardown(test_token_limits, setup, teardown),
        cmocka_unit_test_setup_teardown(test_activations, setup, teardown),
        cmocka_unit_test_setup_teardown(test_config_refusals, setup, teardown),
        cmocka_unit_test_setup_teardown(test_fields_that_are_off_are_accepted, setup, teardown),
        cmocka_unit_test_setup_teardown(test_other_refusals, setup, teardown),
        cmocka_unit_test_setup_teardown(test_missing_tokenizer_and_weights, setup, teardown),
        cmocka_unit_test_setup_teardown(test_every_ceiling, setup, teardown),
        cmocka_unit_test_setup_teardown(test_on_disk, setup, teardown),
    };
    return cmocka_run_group_tests_name("model_folder", tests, NULL, NULL);
}
