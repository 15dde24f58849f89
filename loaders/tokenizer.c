#include "loaders/tokenizer_internal.h"

#include "loaders/utf8.h"

#include <string.h>

static const char *const special_names[] = {"[CLS]", "[SEP]", "[UNK]", "[PAD]", "[MASK]"};
enum { SPECIAL_NAMES = sizeof special_names / sizeof *special_names, SPECIAL_NAMES_NEEDED = 3 };
enum { WORD_LIMIT_DEFAULT = 100 };

status tokenizer_begin(struct tokenizer **tokenizer, struct pool *pool, struct error *error)
{
    void *block = NULL;
    status result = pool_alloc(pool, MEMORY_TOKENIZER, sizeof **tokenizer, "a tokenizer", &block, error);

    *tokenizer = block;
    if (result != STATUS_OK)
        return result;
    memset(block, 0, sizeof **tokenizer);
    (*tokenizer)->pool = pool;
    (*tokenizer)->word_limit = WORD_LIMIT_DEFAULT;
    return STATUS_OK;
}

/* Most punctuation is ASCII: its ids are looked up once. */
static void fill_alone_ids(struct tokenizer *tokenizer)
{
    for (uint32_t byte = 0; byte < 128; byte++) {
        const char text = (char)byte;
        const int32_t id = vocabulary_id(&tokenizer->vocabulary, &text, 1);
        const bool alone = (tokenizer_action_of(&tokenizer->actions, byte) & ACTION_KIND_MASK) == ACTION_ALONE;
        tokenizer->alone_ids[byte] = !alone ? -1 : id >= 0 ? id : tokenizer->unknown_id;
    }
}

status tokenizer_finish(struct tokenizer *tokenizer, const struct tokenizer_settings *settings, struct error *error)
{
    status result = tokenizer_action_open(&tokenizer->actions, tokenizer->pool, settings, error);

    if (result == STATUS_OK)
        fill_alone_ids(tokenizer);
    return result;
}

void tokenizer_close(struct tokenizer *tokenizer)
{
    if (!tokenizer)
        return;
    tokenizer_added_close(&tokenizer->added);
    tokenizer_action_close(&tokenizer->actions);
    vocabulary_close(&tokenizer->vocabulary);
    pool_free(tokenizer->pool, tokenizer);
}

/* The next line of a vocabulary without the white space at its end; false: there is none. */
static bool next_line(const struct tokenizer_vocabulary_file *file, size_t *at, const char **line, size_t *length)
{
    if (*at >= file->length)
        return false;
    const char *start = file->text + *at, *end = memchr(start, '\n', file->length - *at);
    const size_t whole = end ? (size_t)(end - start) : file->length - *at;

    *at += whole + 1;
    *line = start;
    *length = whole;
    while (*length && strchr(" \t\v\f\r", start[*length - 1]) && start[*length - 1])
        (*length)--;
    return true;
}

static status read_lines(struct tokenizer *tokenizer, const struct tokenizer_vocabulary_file *file, struct error *error)
{
    struct vocabulary_size size = {0};
    const char *line;
    size_t length;
    int32_t id = 0;

    for (size_t at = 0; next_line(file, &at, &line, &length);) {
        if (!utf8_is_valid(line, length))
            return error_set(error, STATUS_MODEL, "line %zu is not UTF-8", size.count + 1);
        size.id_count++;
        size.count++;
        size.bytes += length;
        size.continuing += length > 2 && memcmp(line, "##", 2) == 0;
    }
    status result = vocabulary_open(&tokenizer->vocabulary, tokenizer->pool, size, "##", error);
    if (result != STATUS_OK)
        return result;
    for (size_t at = 0; next_line(file, &at, &line, &length); id++)
        vocabulary_add(&tokenizer->vocabulary, line, length, id);
    return STATUS_OK;
}

static status add_specials(struct tokenizer *tokenizer, struct error *error)
{
    struct tokenizer_added_token *tokens;
    int32_t ids[SPECIAL_NAMES];
    void *block = NULL;
    size_t count = 0;

    for (int i = 0; i < SPECIAL_NAMES; i++) {
        ids[i] = vocabulary_id(&tokenizer->vocabulary, special_names[i], strlen(special_names[i]));
        if (ids[i] < 0 && i < SPECIAL_NAMES_NEEDED)
            return error_set(error, STATUS_MODEL, "the vocabulary has no %s", special_names[i]);
    }
    status result = pool_alloc(tokenizer->pool, MEMORY_TOKENIZER, SPECIAL_NAMES * sizeof *tokens, "special tokens", &block,
                               error);
    if (result != STATUS_OK)
        return result;
    tokens = block;
    for (int i = 0; i < SPECIAL_NAMES; i++)
        if (ids[i] >= 0)
            tokens[count++] = (struct tokenizer_added_token){
                .content = special_names[i], .length = (uint32_t)strlen(special_names[i]), .id = ids[i]};
    tokenizer_added_open(&tokenizer->added, tokenizer->pool, tokens, count);
    tokenizer->before = (struct tokenizer_specials){{ids[0]}, 1};
    tokenizer->behind = (struct tokenizer_specials){{ids[1]}, 1};
    tokenizer->unknown_id = ids[2];
    tokenizer->padding_id = ids[3];
    return STATUS_OK;
}

status tokenizer_open_vocabulary(struct tokenizer **tokenizer, struct pool *pool,
                                 const struct tokenizer_vocabulary_file *file, struct error *error)
{
    struct tokenizer *made = NULL;
    status result = tokenizer_begin(&made, pool, error);

    *tokenizer = NULL;
    if (result != STATUS_OK)
        return result;
    result = read_lines(made, file, error);
    if (result == STATUS_OK)
        result = add_specials(made, error);
    if (result == STATUS_OK)
        result = tokenizer_finish(made, &file->settings, error);
    if (result != STATUS_OK) {
        tokenizer_close(made);
        return result == STATUS_MODEL ? error_prefix(error, "%s", file->name) : result;
    }
    *tokenizer = made;
    return STATUS_OK;
}

int32_t tokenizer_opening_id(const struct tokenizer *tokenizer)
{
    return tokenizer->before.count ? tokenizer->before.ids[0] : -1;
}

int32_t tokenizer_closing_id(const struct tokenizer *tokenizer)
{
    return tokenizer->behind.count ? tokenizer->behind.ids[tokenizer->behind.count - 1] : -1;
}

int32_t tokenizer_padding_id(const struct tokenizer *tokenizer)
{
    return tokenizer->padding_id;
}

int32_t tokenizer_unknown_id(const struct tokenizer *tokenizer)
{
    return tokenizer->unknown_id;
}

bool tokenizer_lowers_case(const struct tokenizer *tokenizer)
{
    return tokenizer->actions.lower_case;
}

size_t tokenizer_special_count(const struct tokenizer *tokenizer)
{
    return tokenizer->before.count + tokenizer->behind.count;
}

size_t tokenizer_vocabulary_size(const struct tokenizer *tokenizer)
{
    return tokenizer->vocabulary.id_count;
}

const char *tokenizer_token(const struct tokenizer *tokenizer, int32_t id, size_t *length)
{
    return vocabulary_text(&tokenizer->vocabulary, id, length);
}
