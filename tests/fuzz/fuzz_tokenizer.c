/* Any bytes as a text, a vocab.txt and a tokenizer.json.
 *
 * The first byte chooses: below 192 the rest is a text for a small fixed vocabulary, the low four bits being the settings;
 * below 224 it is a vocab.txt; above, a tokenizer.json. What opens must also encode. An encoding must keep its promises:
 * offsets in order and on characters of the text, truncation a prefix of the whole, refusals with a sentence.
 */
#include "loaders/tokenizer.h"

#include <stdlib.h>
#include <string.h>

enum { CEILING = 64 << 20, LIMIT = 7 };

static const char small[] = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\nab\n##c\n##ca\ne\n##e\n.\n[\nhello\n\xe4\xb8\xad\n\xe1\x84\x80\n##\xe1\x85\xa1\n##\xcc\x81\n";

static void check(int truth)
{
    if (!truth)
        abort();
}

static void check_result(const struct tokenizer *tokenizer, const struct token_buffer *buffer, const char *text,
                         size_t length)
{
    size_t ignored;

    check(buffer->count >= tokenizer_special_count(tokenizer) && buffer->count <= buffer->full_count);
    check(buffer->full_count <= length + tokenizer_special_count(tokenizer));
    for (size_t i = 0; i < buffer->count; i++) {
        check(tokenizer_token(tokenizer, buffer->ids[i], &ignored) != NULL);
        check(buffer->starts[i] <= buffer->ends[i] && buffer->ends[i] <= length);
        check(buffer->starts[i] == length || (text[buffer->starts[i]] & 0xC0) != 0x80);
        check(buffer->ends[i] == length || (text[buffer->ends[i]] & 0xC0) != 0x80);
    }
}

static void encode(const struct tokenizer *tokenizer, struct pool *pool, const char *text, size_t length)
{
    struct token_buffer whole = {.pool = pool}, cut = {.pool = pool};
    struct tokenizer_request request = {.text = text, .length = length, .with_offsets = true};
    struct error error = {STATUS_OK, ""};
    const status result = tokenizer_encode(tokenizer, &request, &whole, &error);

    if (result == STATUS_OK) {
        check_result(tokenizer, &whole, text, length);
        request.limit = tokenizer_special_count(tokenizer) + LIMIT;
        check(tokenizer_encode(tokenizer, &request, &cut, &error) == STATUS_OK);
        check_result(tokenizer, &cut, text, length);
        check(cut.full_count == whole.full_count);
        const size_t closing = tokenizer_closing_id(tokenizer) >= 0;
        if (cut.count > closing)
            check(memcmp(cut.ids, whole.ids, (cut.count - closing) * sizeof *cut.ids) == 0);
    } else {
        check(result == STATUS_INPUT && error.message[0] && whole.count == 0);
    }
    token_buffer_release(&whole);
    token_buffer_release(&cut);
}

static status open_tokenizer(struct tokenizer **tokenizer, struct pool *pool, uint8_t choice, const char *text, size_t length,
                             struct error *error)
{
    const struct tokenizer_settings settings = {choice & 1, choice & 2, choice & 4, choice & 8};
    struct tokenizer_vocabulary_file file = {small, sizeof small - 1, "vocab.txt", settings};

    if (choice >= 224)
        return tokenizer_open_json(tokenizer, pool, text, length, "tokenizer.json", error);
    if (choice >= 192) {
        file.text = text;
        file.length = length;
    }
    return tokenizer_open_vocabulary(tokenizer, pool, &file, error);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    const char *text = (const char *)bytes + 1;
    struct tokenizer *tokenizer = NULL;
    struct error error = {STATUS_OK, ""};
    struct pool_usage usage;
    struct pool *pool;

    if (length == 0)
        return 0;
    check(pool_open(&pool, CEILING, NULL) == STATUS_OK);
    const status result = open_tokenizer(&tokenizer, pool, bytes[0], text, length - 1, &error);
    if (result == STATUS_OK)
        encode(tokenizer, pool, text, length - 1);
    else
        check(!tokenizer && (result == STATUS_MODEL || result == STATUS_BUDGET) && error.message[0]);
    tokenizer_close(tokenizer);
    pool_usage(pool, &usage);
    check(usage.in_use == 0);
    pool_close(pool);
    return 0;
}
