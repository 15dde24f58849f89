#include "loaders/tokenizer_folder.h"

#include "loaders/file.h"

enum { TOKENIZER_FILE_MAX = 256 << 20 };

/* As transformers' BertTokenizer: accents are stripped where text is lower-cased, unless the folder says otherwise. */
static struct tokenizer_settings settings_of(const struct model_folder *folder)
{
    const bool lower = folder->do_lower_case != MODEL_FOLDER_NO || folder->lower_case_first;
    return (struct tokenizer_settings){
        .clean_text    = true,
        .split_chinese = folder->split_chinese != MODEL_FOLDER_NO,
        .strip_accents = folder->strip_accents == MODEL_FOLDER_UNSAID ? lower : folder->strip_accents == MODEL_FOLDER_YES,
        .lower_case    = lower,
    };
}

static status open_text(struct tokenizer **tokenizer, struct pool *pool, const struct model_folder *folder, const char *text,
                        size_t length, struct error *error)
{
    if (folder->tokenizer_json)
        return tokenizer_open_json(tokenizer, pool, text, length, folder->tokenizer_json, error);
    const struct tokenizer_vocabulary_file file = { .text = text, .length = length, .name = folder->vocab_txt,
                                                    .settings = settings_of(folder) };
    return tokenizer_open_vocabulary(tokenizer, pool, &file, error);
}

/* The tokenizer's file and the folder's other files must say the same. */
static status check(const struct tokenizer *tokenizer, const struct model_folder *folder, const char *path, struct error *error)
{
    const bool lowers = tokenizer_lowers_case(tokenizer);
    if (tokenizer_vocabulary_size(tokenizer) > folder->vocabulary)
        return error_set(error, STATUS_MODEL, "%s has ids up to %zu, config.json says vocab_size %u", path,
                         tokenizer_vocabulary_size(tokenizer) - 1, folder->vocabulary);
    if (folder->tokenizer_json && folder->do_lower_case != MODEL_FOLDER_UNSAID &&
        (folder->do_lower_case == MODEL_FOLDER_YES) != lowers)
        return error_set(error, STATUS_MODEL, "%s %s, tokenizer_config.json says do_lower_case %s", path,
                         lowers ? "lower-cases texts" : "does not lower-case texts", lowers ? "false" : "true");
    if (folder->lower_case_first && !lowers)
        return error_set(error, STATUS_MODEL, "%s does not lower-case texts, sentence_bert_config.json says do_lower_case true",
                         path);
    return STATUS_OK;
}

status tokenizer_folder_open(struct tokenizer **tokenizer, struct pool *pool, const struct model_folder *folder,
                             struct error *error)
{
    const char *path = folder->tokenizer_json ? folder->tokenizer_json : folder->vocab_txt;
    char       *text;
    size_t      length;
    *tokenizer    = NULL;
    status result = file_read(pool, MEMORY_LOAD, path, TOKENIZER_FILE_MAX, &text, &length, error);
    if (result != STATUS_OK)
        return result;
    result = open_text(tokenizer, pool, folder, text, length, error);
    pool_free(pool, text);
    if (result == STATUS_OK)
        result = check(*tokenizer, folder, path, error);
    if (result != STATUS_OK) {
        tokenizer_close(*tokenizer);
        *tokenizer = NULL;
    }
    return result;
}
