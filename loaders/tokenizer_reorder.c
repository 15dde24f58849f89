/* Marks behind a base stand in canonical order after decomposition: sorted by combining class, equals as they came. BERT's
 * normaliser then drops the nonspacing ones, so the order shows only where another mark (a musical stem, a tone mark of
 * Hangul) stays. The k-th mark that a character of the input begins with, counted after sorting, is given the k-th
 * character's place in the input; the parts that a decomposition adds take the place of the mark before them.
 */
#include "loaders/tokenizer_internal.h"

#include "loaders/utf8.h"

#include <string.h>

struct mark {
    uint32_t code;
    uint8_t  combining;
    bool     begins;      /* the first part of its character */
    uint32_t start, end;  /* the place of the character in the input; after sorting, of the mark */
};

struct run {
    struct mark *marks;
    size_t       count;
    uint32_t     base_start, base_end;  /* the character in front, whose place an added part at the front takes */
};

static const struct tokenizer_unicode_fact *fact_of(uint32_t code)
{
    return &tokenizer_unicode_fact[tokenizer_unicode_record_of(code)];
}

static bool vanishes(const struct tokenizer_encoding *encoding, uint32_t code)
{
    return encoding->tokenizer->actions.clean_text && fact_of(code)->flags & UNICODE_CONTROL;
}

/* How many of the parts stand before the last base and with it; 0: all are marks. */
static unsigned parts_with_base(const uint32_t *parts, unsigned count)
{
    while (count > 0 && fact_of(parts[count - 1])->combining)
        count--;
    return count;
}

/* The character that the run hangs on, or the first mark where there is no base before it. */
static const uint8_t *run_start(const struct tokenizer_encoding *encoding, const uint8_t *at)
{
    uint32_t code = 0, parts[4];

    if (utf8_decode(at, encoding->end, &code) && parts_with_base(parts, tokenizer_action_decompose(code, parts)))
        return at;
    while (at > encoding->segment) {
        at -= utf8_decode_before(at, encoding->segment, &code);
        if (!vanishes(encoding, code) && parts_with_base(parts, tokenizer_action_decompose(code, parts)))
            break;
    }
    return at;
}

/* Two halves: the marks as they come, and room to sort them into. */
static status reserve_marks(struct tokenizer_encoding *encoding, size_t count)
{
    struct token_buffer *buffer = encoding->buffer;
    const size_t capacity = count + count / 2 + 16;

    if (count <= buffer->mark_capacity)
        return STATUS_OK;
    status result = pool_resize(buffer->pool, MEMORY_REQUEST, 2 * capacity * sizeof(struct mark), "a run of marks",
                                &buffer->marks, encoding->error);
    if (result == STATUS_OK)
        buffer->mark_capacity = capacity;
    return result;
}

static status add_marks(struct tokenizer_encoding *encoding, struct run *run, const uint32_t *parts, unsigned from,
                        const struct mark *place, unsigned count)
{
    status result = reserve_marks(encoding, run->count + count);

    run->marks = encoding->buffer->marks;
    for (unsigned i = from; i < count && result == STATUS_OK; i++)
        run->marks[run->count++] = (struct mark){parts[i], fact_of(parts[i])->combining, i == 0, place->start, place->end};
    return result;
}

static status take_part(struct tokenizer_encoding *encoding, uint32_t part, const struct mark *place)
{
    uint32_t letters[3] = {part};
    const unsigned count = encoding->tokenizer->actions.lower_case ? tokenizer_action_lower(part, letters) : 1;
    status result = STATUS_OK;

    if (fact_of(part)->flags & UNICODE_MARK)
        return STATUS_OK;
    for (unsigned i = 0; i < count && result == STATUS_OK; i++)
        result = tokenizer_take_code(encoding, tokenizer_action_kind_of(letters[i]), letters[i], place->start, place->end);
    return result;
}

/* Parts up to the base of the character at the front. */
static status take_base(struct tokenizer_encoding *encoding, const uint32_t *parts, unsigned count, const struct mark *place)
{
    status result = STATUS_OK;

    for (unsigned i = 0; i < count && result == STATUS_OK; i++)
        result = take_part(encoding, parts[i], place);
    return result;
}

/* Collects the run from `from` on; `taken`: the input up to there has gone through the main loop. */
static status gather(struct tokenizer_encoding *encoding, struct run *run, const uint8_t *from, const uint8_t **at)
{
    const uint8_t *taken = *at, *next = from;
    uint32_t code, parts[4];
    status result = STATUS_OK;

    for (unsigned length; next < encoding->end && result == STATUS_OK; next += length) {
        length = utf8_decode(next, encoding->end, &code);
        if (length == 0)
            return tokenizer_refuse_bytes(encoding, next);
        if (vanishes(encoding, code))
            continue;
        const unsigned count = tokenizer_action_decompose(code, parts), base = parts_with_base(parts, count);
        const uint32_t start = (uint32_t)(next - encoding->text);
        const struct mark place = {.start = start, .end = start + length};
        if (base && next != from)
            break;
        if (base) {
            run->base_start = place.start;
            run->base_end = place.end;
            result = next < taken ? STATUS_OK : take_base(encoding, parts, base, &place);
        }
        if (result == STATUS_OK)
            result = add_marks(encoding, run, parts, base, &place, count);
    }
    *at = next;
    return result;
}

/* Counting sort: stable, and linear however long the run. */
static struct mark *sorted(const struct tokenizer_encoding *encoding, const struct run *run)
{
    struct mark *order = run->marks + encoding->buffer->mark_capacity;
    size_t begin[257] = {0};

    for (size_t i = 0; i < run->count; i++)
        begin[run->marks[i].combining + 1]++;
    for (size_t i = 1; i < 257; i++)
        begin[i] += begin[i - 1];
    for (size_t i = 0; i < run->count; i++)
        order[begin[run->marks[i].combining]++] = run->marks[i];
    return order;
}

status tokenizer_reorder_run(struct tokenizer_encoding *encoding, const uint8_t **at)
{
    struct run run = {.marks = encoding->buffer->marks};
    status result = gather(encoding, &run, run_start(encoding, *at), at);

    if (result != STATUS_OK || run.count == 0)
        return result;
    const struct mark *order = sorted(encoding, &run);
    uint32_t start = run.base_start, end = run.base_end;
    size_t place = 0;
    for (size_t i = 0; i < run.count && result == STATUS_OK; i++) {
        if (order[i].begins) {
            while (!run.marks[place].begins)
                place++;
            start = run.marks[place].start;
            end = run.marks[place++].end;
        }
        result = take_part(encoding, order[i].code, &(struct mark){.start = start, .end = end});
    }
    return result;
}
