#include "loaders/tokenizer_internal.h"

#include "loaders/utf8.h"

#include <string.h>

enum { CAPACITY_MIN = 64 };

static void word_reset(struct tokenizer_word *word)
{
    word->length = word->characters = 0;
    word->hash = VOCABULARY_BEGINS;
    word->overlong = false;
}

static status grow(struct token_buffer *buffer, size_t capacity, bool with_offsets, struct error *error)
{
    status result = STATUS_OK;
    void *block;

    if (capacity > buffer->capacity) {
        block = buffer->ids;
        result = pool_resize(buffer->pool, MEMORY_REQUEST, capacity * sizeof *buffer->ids, "token ids", &block, error);
        if (result != STATUS_OK)
            return result;
        buffer->ids = block;
        buffer->capacity = capacity;
    }
    if (!with_offsets || capacity <= buffer->offset_capacity)
        return STATUS_OK;
    block = buffer->starts;
    result = pool_resize(buffer->pool, MEMORY_REQUEST, 2 * capacity * sizeof *buffer->starts, "token offsets", &block, error);
    if (result != STATUS_OK)
        return result;
    buffer->starts = block;
    memmove(buffer->starts + capacity, buffer->starts + buffer->offset_capacity, buffer->offset_capacity * sizeof *buffer->ends);
    buffer->ends = buffer->starts + capacity;
    buffer->offset_capacity = capacity;
    return STATUS_OK;
}

/* Makes room for `more` tokens behind those that are kept, and for the closing special tokens. */
static inline status reserve(struct tokenizer_encoding *encoding, size_t more)
{
    const struct tokenizer *tokenizer = encoding->tokenizer;
    struct token_buffer *buffer = encoding->buffer;
    const size_t tokens = encoding->total + more < encoding->keep ? encoding->total + more : encoding->keep;
    const size_t needed = tokens + tokenizer->before.count + tokenizer->behind.count;

    if (needed <= buffer->capacity && (!encoding->with_offsets || needed <= buffer->offset_capacity))
        return STATUS_OK;
    size_t capacity = buffer->capacity > buffer->offset_capacity ? buffer->capacity : buffer->offset_capacity;
    if (needed > capacity)
        capacity = needed < CAPACITY_MIN ? CAPACITY_MIN : needed + needed / 2;
    return grow(buffer, capacity, encoding->with_offsets, encoding->error);
}

static inline void emit(struct tokenizer_encoding *encoding, int32_t id, uint32_t start, uint32_t end)
{
    if (encoding->total < encoding->keep) {
        const size_t at = encoding->tokenizer->before.count + encoding->total;
        encoding->buffer->ids[at] = id;
        if (encoding->with_offsets) {
            encoding->buffer->starts[at] = start;
            encoding->buffer->ends[at] = end;
        }
    }
    encoding->total++;
}

/* The longest piece at byte `from` of the word, or null. Pieces are UTF-8, so none ends inside a character. */
static const struct vocabulary_piece *longest_piece(const struct vocabulary *vocabulary, const struct tokenizer_word *word,
                                                    uint32_t from)
{
    const uint32_t continues = from > 0;
    const uint32_t room = word->length - from;
    const uint32_t bound = room < vocabulary->longest[continues] ? room : vocabulary->longest[continues];
    const uint8_t *bytes = word->bytes + from;
    const struct vocabulary_piece *longest = NULL;
    uint64_t hash = continues ? VOCABULARY_CONTINUES : VOCABULARY_BEGINS;

    for (uint32_t i = 0; i < bound; i++) {
        hash = vocabulary_hash(hash, bytes[i]);
        if (!vocabulary_may_have(vocabulary, hash))
            continue;
        const struct vocabulary_piece *piece = vocabulary_find(vocabulary, hash, bytes, i + 1, continues);
        longest = piece ? piece : longest;
    }
    return longest;
}

/* Cuts the word into the longest pieces from the left; false: some part has none, and nothing was emitted. */
static bool split_word(struct tokenizer_encoding *encoding)
{
    const struct tokenizer_word *word = &encoding->word;
    const size_t total = encoding->total;

    for (uint32_t from = 0, to; from < word->length; from = to) {
        const struct vocabulary_piece *piece = longest_piece(&encoding->tokenizer->vocabulary, word, from);
        if (!piece) {
            encoding->total = total;
            return false;
        }
        to = from + piece->length;
        if (!encoding->with_offsets)
            emit(encoding, piece->id, 0, 0);
        else if (word->plain)
            emit(encoding, piece->id, word->start + from, word->start + to);
        else
            emit(encoding, piece->id, word->starts[from], word->ends[to - 1]);
    }
    return true;
}

static inline status end_word(struct tokenizer_encoding *encoding)
{
    const struct tokenizer *tokenizer = encoding->tokenizer;
    struct tokenizer_word *word = &encoding->word;

    if (word->characters == 0)
        return STATUS_OK;
    status result = reserve(encoding, word->characters);
    if (result != STATUS_OK)
        return result;
    const struct vocabulary_piece *whole = NULL;
    if (!word->overlong && vocabulary_may_have(&tokenizer->vocabulary, word->hash))
        whole = vocabulary_find(&tokenizer->vocabulary, word->hash, word->bytes, word->length, 0);
    if (whole)
        emit(encoding, whole->id, word->start, word->end);
    else if (word->overlong || !split_word(encoding))
        emit(encoding, tokenizer->unknown_id, word->start, word->end);
    word_reset(word);
    return STATUS_OK;
}

/* From here on the word is no plain image of the input: write down where its bytes come from. */
static void leave_plain(struct tokenizer_word *word)
{
    for (uint32_t i = 0; i < word->length; i++) {
        word->starts[i] = word->start + i;
        word->ends[i] = word->start + i + 1;
    }
    word->plain = false;
}

/* A character of a plain word has its true start at its first byte and its true end at its last: the only ones read. */
static inline void take_letter(struct tokenizer_encoding *encoding, uint32_t bytes, unsigned length, uint32_t start,
                               uint32_t end)
{
    struct tokenizer_word *word = &encoding->word;
    const uint32_t at = word->length;

    if (word->characters == 0) {
        word->start = start;
        word->plain = true;
    }
    word->end = end;
    if (word->characters == encoding->tokenizer->word_limit) {
        word->overlong = true;
        return;
    }
    if (encoding->with_offsets) {
        if (word->plain && (start != word->start + at || end - start != length))
            leave_plain(word);
        if (!word->plain) {
            word->starts[at] = start;
            word->ends[at + length - 1] = end;
        }
    }
    memcpy(word->bytes + at, &bytes, sizeof bytes);
    for (unsigned i = 0; i < length; i++)
        word->hash = vocabulary_hash(word->hash, word->bytes[at + i]);
    word->length += length;
    word->characters++;
}

status tokenizer_take_code(struct tokenizer_encoding *encoding, enum tokenizer_action_kind kind, uint32_t code,
                           uint32_t start, uint32_t end)
{
    uint32_t bytes = 0;
    status result = kind == ACTION_LETTER ? STATUS_OK : end_word(encoding);

    if (result != STATUS_OK || kind == ACTION_SPACE)
        return result;
    const unsigned length = utf8_encode(code, &bytes);
    take_letter(encoding, bytes, length, start, end);
    return kind == ACTION_ALONE ? end_word(encoding) : STATUS_OK;
}

static status take_sequence(struct tokenizer_encoding *encoding, uint32_t action, uint32_t start, uint32_t end)
{
    const uint32_t *sequence = &encoding->tokenizer->actions.sequences[action >> ACTION_SHIFT];
    status result = STATUS_OK;

    for (uint32_t i = 1; i <= sequence[0] && result == STATUS_OK; i++)
        result = tokenizer_take_code(encoding, (enum tokenizer_action_kind)(sequence[i] >> STEP_SHIFT),
                                     sequence[i] & STEP_CODE_MASK, start, end);
    return result;
}

static void take_hangul(struct tokenizer_encoding *encoding, uint32_t code, uint32_t start, uint32_t end)
{
    uint32_t parts[4], bytes;
    const unsigned count = tokenizer_action_decompose(code, parts);

    for (unsigned i = 0; i < count; i++) {
        const unsigned length = utf8_encode(parts[i], &bytes);
        take_letter(encoding, bytes, length, start, end);
    }
}

status tokenizer_refuse_bytes(const struct tokenizer_encoding *encoding, const uint8_t *at)
{
    return error_set(encoding->error, STATUS_INPUT, "the text is not UTF-8: byte 0x%02x at position %zu", *at,
                     (size_t)(at - encoding->text));
}

/* Any character, ASCII letters aside. */
static inline status take_character(struct tokenizer_encoding *encoding, const uint8_t **at)
{
    const struct tokenizer_action_table *actions = &encoding->tokenizer->actions;
    const uint8_t *from = *at;
    uint32_t code, bytes = 0;
    const unsigned length = utf8_decode(from, encoding->end, &code);

    if (length == 0)
        return tokenizer_refuse_bytes(encoding, from);
    const uint32_t action = tokenizer_action_of(actions, code);
    const uint32_t start = (uint32_t)(from - encoding->text), end = start + length;
    const enum tokenizer_action_kind kind = (enum tokenizer_action_kind)(action & ACTION_KIND_MASK);
    *at = from + length;
    switch (kind) {
    case ACTION_LETTER:
        memcpy(&bytes, from, length);
        take_letter(encoding, bytes, length, start, end);
        return STATUS_OK;
    case ACTION_MAPPED:
        take_letter(encoding, action >> ACTION_BYTES_SHIFT, action >> ACTION_SHIFT & 3, start, end);
        return STATUS_OK;
    case ACTION_DROP:
        return STATUS_OK;
    case ACTION_SPACE:
    case ACTION_ALONE:
        return tokenizer_take_code(encoding, kind, code, start, end);
    case ACTION_SEQUENCE:
        return take_sequence(encoding, action, start, end);
    case ACTION_HANGUL:
        take_hangul(encoding, code, start, end);
        return STATUS_OK;
    case ACTION_REORDER:
        *at = from;
        return tokenizer_reorder_run(encoding, at);
    }
    return STATUS_OK;
}

/* A run of ASCII letters that begins a word; stops before anything else, and at the limit. */
static inline const uint8_t *take_ascii(struct tokenizer_encoding *encoding, const uint8_t *at)
{
    const uint8_t *fold = encoding->tokenizer->actions.fold;
    struct tokenizer_word *word = &encoding->word;
    const size_t room = (size_t)(encoding->end - at);
    const uint32_t bound = room < encoding->tokenizer->word_limit ? (uint32_t)room : encoding->tokenizer->word_limit;
    uint64_t hash = VOCABULARY_BEGINS;
    uint32_t length = 0;

    for (uint8_t byte; length < bound && (byte = fold[at[length]]) != 0; length++) {
        word->bytes[length] = byte;
        hash = vocabulary_hash(hash, byte);
    }
    word->hash = hash;
    word->length = word->characters = length;
    word->start = (uint32_t)(at - encoding->text);
    word->end = word->start + length;
    word->plain = true;
    return at + length;
}

static inline status take_ascii_alone(struct tokenizer_encoding *encoding, const uint8_t *at, int32_t id)
{
    const uint32_t start = (uint32_t)(at - encoding->text);
    status result = end_word(encoding);

    if (result == STATUS_OK)
        result = reserve(encoding, 1);
    if (result == STATUS_OK)
        emit(encoding, id, start, start + 1);
    return result;
}

/* A part of the text between added tokens: it is normalised and split for itself. */
static status encode_segment(struct tokenizer_encoding *encoding, const uint8_t *at, const uint8_t *end)
{
    const struct tokenizer *tokenizer = encoding->tokenizer;
    const uint8_t *fold = tokenizer->actions.fold;
    status result = STATUS_OK;

    encoding->segment = at;
    encoding->end = end;
    while (at < end && result == STATUS_OK) {
        const uint8_t byte = *at;
        if (fold[byte] && encoding->word.characters == 0) {
            at = take_ascii(encoding, at);
        } else if (fold[byte]) {
            const uint32_t start = (uint32_t)(at++ - encoding->text);
            take_letter(encoding, fold[byte], 1, start, start + 1);
        } else if (byte == ' ') {
            result = end_word(encoding);
            at++;
        } else if (byte < 0x80 && tokenizer->alone_ids[byte] >= 0) {
            result = take_ascii_alone(encoding, at, tokenizer->alone_ids[byte]);
            at++;
        } else {
            result = take_character(encoding, &at);
        }
    }
    return result == STATUS_OK ? end_word(encoding) : result;
}

static status encode_text(struct tokenizer_encoding *encoding, const uint8_t *end)
{
    struct tokenizer_added_search search = {encoding->text, end, encoding->text, encoding->text};
    const uint8_t *from = encoding->text;
    status result = STATUS_OK;

    for (;;) {
        const struct tokenizer_added_match match = tokenizer_added_next(&encoding->tokenizer->added, &search);
        result = encode_segment(encoding, from, match.start ? match.start : end);
        if (result != STATUS_OK || !match.start)
            return result;
        result = reserve(encoding, 1);
        if (result != STATUS_OK)
            return result;
        emit(encoding, match.id, (uint32_t)(match.start - encoding->text), (uint32_t)(match.end - encoding->text));
        from = match.end;
    }
}

/* A character of a word has at most four bytes, and none of the input makes more than two characters a byte; four bytes
 * are always written. */
static status open_word(struct tokenizer_encoding *encoding, size_t length)
{
    const size_t limit = encoding->tokenizer->word_limit, most = 2 * length < limit ? 2 * length : limit;
    const size_t bytes = 4 * (most + 1), needed = bytes * (1 + 2 * sizeof(uint32_t));
    struct token_buffer *buffer = encoding->buffer;
    uint8_t *scratch;

    if (needed > buffer->scratch_bytes) {
        status result = pool_resize(buffer->pool, MEMORY_REQUEST, needed, "a word", &buffer->scratch, encoding->error);
        if (result != STATUS_OK)
            return result;
        buffer->scratch_bytes = needed;
    }
    scratch = buffer->scratch;
    encoding->word.starts = (uint32_t *)buffer->scratch;
    encoding->word.ends = encoding->word.starts + bytes;
    encoding->word.bytes = scratch + 2 * bytes * sizeof(uint32_t);
    word_reset(&encoding->word);
    return STATUS_OK;
}

static void put_specials(struct tokenizer_encoding *encoding, const struct tokenizer_specials *specials, size_t at)
{
    struct token_buffer *buffer = encoding->buffer;

    for (size_t i = 0; i < specials->count; i++) {
        buffer->ids[at + i] = specials->ids[i];
        if (encoding->with_offsets)
            buffer->starts[at + i] = buffer->ends[at + i] = 0;
    }
}

status tokenizer_encode(const struct tokenizer *tokenizer, const struct tokenizer_request *request,
                        struct token_buffer *buffer, struct error *error)
{
    const size_t specials = tokenizer_special_count(tokenizer);
    const uint8_t *text = (const uint8_t *)(request->length ? request->text : "");
    struct tokenizer_encoding encoding = {
        .tokenizer = tokenizer, .buffer = buffer, .error = error, .text = text,
        .keep = request->limit ? request->limit - specials : SIZE_MAX, .with_offsets = request->with_offsets};

    buffer->count = buffer->full_count = 0;
    if (request->limit && request->limit < specials)
        return error_set(error, STATUS_USAGE, "a limit of %zu tokens leaves no room for the %zu special tokens",
                         request->limit, specials);
    if (request->length > UINT32_MAX)
        return error_set(error, STATUS_INPUT, "the text has %zu bytes, more than the %u that are supported", request->length,
                         UINT32_MAX);
    status result = open_word(&encoding, request->length);
    if (result == STATUS_OK)
        result = reserve(&encoding, 0);
    if (result == STATUS_OK)
        result = encode_text(&encoding, text + request->length);
    if (result != STATUS_OK)
        return result;
    const size_t kept = encoding.total < encoding.keep ? encoding.total : encoding.keep;
    put_specials(&encoding, &tokenizer->before, 0);
    put_specials(&encoding, &tokenizer->behind, tokenizer->before.count + kept);
    buffer->count = kept + specials;
    buffer->full_count = encoding.total + specials;
    return STATUS_OK;
}

void token_buffer_release(struct token_buffer *buffer)
{
    struct pool *pool = buffer->pool;

    if (!pool)
        return;
    pool_free(pool, buffer->ids);
    pool_free(pool, buffer->starts);
    pool_free(pool, buffer->scratch);
    pool_free(pool, buffer->marks);
    *buffer = (struct token_buffer){.pool = pool};
}
