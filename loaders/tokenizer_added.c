#include "loaders/tokenizer_added.h"

#include "loaders/tokenizer_unicode.h"
#include "loaders/utf8.h"

#include <stdlib.h>
#include <string.h>

static int by_content(const void *left, const void *right)
{
    const struct tokenizer_added_token *a = left, *b = right;
    const int order = memcmp(a->content, b->content, a->length < b->length ? a->length : b->length);

    return order ? order : (a->length > b->length) - (a->length < b->length);
}

void tokenizer_added_open(struct tokenizer_added *added, struct pool *pool, struct tokenizer_added_token *tokens,
                          size_t count)
{
    added->pool = pool;
    added->tokens = tokens;
    added->count = count;
    added->only_first = count ? (uint8_t)tokens[0].content[0] : -1;
    qsort(tokens, count, sizeof *tokens, by_content);
    for (size_t i = 0; i < count; i++) {
        const uint8_t first = (uint8_t)tokens[i].content[0];
        added->begins[first] = true;
        if (first != added->only_first)
            added->only_first = -1;
    }
}

void tokenizer_added_close(struct tokenizer_added *added)
{
    if (added->pool)
        pool_free(added->pool, added->tokens);
    memset(added, 0, sizeof *added);
}

/* The first of tokens [low, high) whose byte `depth` is at least `byte`; all have the same bytes before it. */
static size_t lower_bound(const struct tokenizer_added *added, size_t low, size_t high, size_t depth, unsigned byte)
{
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        const struct tokenizer_added_token *token = &added->tokens[middle];
        if (token->length <= depth || (uint8_t)token->content[depth] < byte)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static const struct tokenizer_added_token *longest_at(const struct tokenizer_added *added, const uint8_t *at,
                                                      const uint8_t *end)
{
    const struct tokenizer_added_token *found = NULL;
    size_t low = 0, high = added->count;

    for (size_t depth = 0; at + depth < end; depth++) {
        low = lower_bound(added, low, high, depth, at[depth]);
        high = lower_bound(added, low, high, depth, at[depth] + 1u);
        if (low == high)
            break;
        if (added->tokens[low].length == depth + 1)
            found = &added->tokens[low];
    }
    return found;
}

static const uint8_t *next_candidate(const struct tokenizer_added *added, const uint8_t *at, const uint8_t *end)
{
    if (added->only_first >= 0) {
        const uint8_t *found = memchr(at, added->only_first, (size_t)(end - at));
        return found ? found : end;
    }
    while (at < end && !added->begins[*at])
        at++;
    return at;
}

static bool has_flag(uint32_t code, unsigned flag)
{
    return tokenizer_unicode_fact[tokenizer_unicode_record_of(code)].flags & flag;
}

static bool stands_alone(const struct tokenizer_added_search *search, const uint8_t *start, const uint8_t *end)
{
    uint32_t code;

    if (start > search->text && utf8_decode_before(start, search->text, &code) && has_flag(code, UNICODE_WORD))
        return false;
    return end == search->end || !utf8_decode(end, search->end, &code) || !has_flag(code, UNICODE_WORD);
}

static const uint8_t *spaces_before(const uint8_t *at, const uint8_t *from)
{
    uint32_t code;

    for (unsigned length; at > from && (length = utf8_decode_before(at, from, &code)); at -= length)
        if (!has_flag(code, UNICODE_SPACE))
            break;
    return at;
}

static const uint8_t *spaces_behind(const uint8_t *at, const uint8_t *end)
{
    uint32_t code;

    for (unsigned length; at < end && (length = utf8_decode(at, end, &code)); at += length)
        if (!has_flag(code, UNICODE_SPACE))
            break;
    return at;
}

struct tokenizer_added_match tokenizer_added_next(const struct tokenizer_added *added,
                                                  struct tokenizer_added_search *search)
{
    struct tokenizer_added_match match = {NULL, NULL, -1};

    while (added->count && (search->at = next_candidate(added, search->at, search->end)) < search->end) {
        const struct tokenizer_added_token *token = longest_at(added, search->at, search->end);
        const uint8_t *start = search->at, *end = token ? start + token->length : start + 1;
        search->at = end;
        if (!token || (token->single_word && !stands_alone(search, start, end)))
            continue;
        match.start = token->strips_left ? spaces_before(start, search->from) : start;
        match.end = token->strips_right ? spaces_behind(end, search->end) : end;
        match.id = token->id;
        search->from = match.end;
        if (search->at < match.end)
            search->at = match.end;
        break;
    }
    return match;
}
