#include "loaders/tokenizer_action.h"

#include "loaders/utf8.h"

#include <string.h>

enum { STEPS_MAX = 2 + 4 * 3 };  /* a space on either side, four parts of three letters each */

struct steps {
    uint32_t step[STEPS_MAX];
    unsigned count;
};

static const struct tokenizer_unicode_fact *fact_of(uint32_t code)
{
    return &tokenizer_unicode_fact[tokenizer_unicode_record_of(code)];
}

static unsigned listed(uint16_t list, uint32_t code, uint32_t *parts)
{
    const uint32_t *characters = &tokenizer_unicode_characters[list];

    if (list == 0) {
        parts[0] = code;
        return 1;
    }
    memcpy(parts, characters + 1, characters[0] * sizeof *parts);
    return characters[0];
}

static unsigned decompose_hangul(uint32_t code, uint32_t *parts)
{
    const uint32_t index = code - 0xAC00;

    parts[0] = 0x1100 + index / (21 * 28);
    parts[1] = 0x1161 + index % (21 * 28) / 28;
    parts[2] = 0x11A7 + index % 28;
    return index % 28 ? 3 : 2;
}

unsigned tokenizer_action_decompose(uint32_t code, uint32_t parts[4])
{
    const struct tokenizer_unicode_fact *fact = fact_of(code);

    return fact->flags & UNICODE_HANGUL ? decompose_hangul(code, parts) : listed(fact->decomposition, code, parts);
}

unsigned tokenizer_action_lower(uint32_t code, uint32_t parts[3])
{
    return listed(fact_of(code)->lower, code, parts);
}

static enum tokenizer_action_kind kind_of(const struct tokenizer_unicode_fact *fact)
{
    return fact->flags & UNICODE_SPACE ? ACTION_SPACE : fact->flags & UNICODE_PUNCTUATION ? ACTION_ALONE : ACTION_LETTER;
}

enum tokenizer_action_kind tokenizer_action_kind_of(uint32_t code)
{
    return kind_of(fact_of(code));
}

static void add_lower(struct steps *steps, const uint32_t *codes, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        steps->step[steps->count++] = (uint32_t)tokenizer_action_kind_of(codes[i]) << STEP_SHIFT | codes[i];
}

/* The steps for a code point that decomposition or lower case changes; false: a mark in it stays. */
static bool fill_steps(struct steps *steps, const struct tokenizer_unicode_fact *fact,
                       const struct tokenizer_settings *settings)
{
    uint32_t parts[4] = {0}, lower[3];
    const bool decomposes = settings->strip_accents && fact->decomposition;

    if (!decomposes) {
        add_lower(steps, lower, listed(fact->lower, 0, lower));
        return true;
    }
    const unsigned count = listed(fact->decomposition, 0, parts);
    for (unsigned i = 0; i < count; i++) {
        const struct tokenizer_unicode_fact *part = fact_of(parts[i]);
        if (part->flags & UNICODE_MARK)
            continue;
        if (part->combining)
            return false;
        if (settings->lower_case)
            add_lower(steps, lower, tokenizer_action_lower(parts[i], lower));
        else
            add_lower(steps, &parts[i], 1);
    }
    return true;
}

/* One letter of at most three bytes fits the action itself; the rest goes to the list of sequences. */
static uint32_t pack_steps(const struct steps *steps, uint32_t *sequences, uint32_t *used)
{
    uint32_t bytes = 0;

    if (steps->count == 0)
        return ACTION_DROP;
    if (steps->count == 1 && steps->step[0] >> STEP_SHIFT == ACTION_SPACE)
        return ACTION_SPACE;
    if (steps->count == 1 && steps->step[0] >> STEP_SHIFT == ACTION_LETTER && steps->step[0] < 0x10000) {
        const unsigned length = utf8_encode(steps->step[0], &bytes);
        return ACTION_MAPPED | length << ACTION_SHIFT | bytes << ACTION_BYTES_SHIFT;
    }
    const uint32_t at = *used;
    sequences[at] = steps->count;
    memcpy(sequences + at + 1, steps->step, steps->count * sizeof *sequences);
    *used += 1 + steps->count;
    return ACTION_SEQUENCE | at << ACTION_SHIFT;
}

static uint32_t action_of(const struct tokenizer_unicode_fact *fact, const struct tokenizer_settings *settings,
                          uint32_t *sequences, uint32_t *used)
{
    const bool alone = settings->split_chinese && fact->flags & UNICODE_CHINESE;
    struct steps steps = {.count = 0};

    if (settings->clean_text && fact->flags & UNICODE_CONTROL)
        return ACTION_DROP;
    if (fact->flags & UNICODE_SPACE)
        return ACTION_SPACE;
    if (settings->strip_accents && fact->flags & UNICODE_MARK)
        return ACTION_DROP;
    if (settings->strip_accents && fact->combining)
        return ACTION_REORDER;
    if (settings->strip_accents && fact->flags & UNICODE_HANGUL)
        return ACTION_HANGUL;
    if (!(settings->strip_accents && fact->decomposition) && !(settings->lower_case && fact->lower))
        return alone ? ACTION_ALONE : (uint32_t)kind_of(fact);
    if (alone)
        steps.step[steps.count++] = (uint32_t)ACTION_SPACE << STEP_SHIFT;
    if (!fill_steps(&steps, fact, settings))
        return ACTION_REORDER;
    if (alone)
        steps.step[steps.count++] = (uint32_t)ACTION_SPACE << STEP_SHIFT;
    return pack_steps(&steps, sequences, used);
}

static void fill_fold(struct tokenizer_action_table *table)
{
    for (uint32_t byte = 1; byte < 0x80; byte++) {
        const uint32_t action = tokenizer_action_of(table, byte);
        if ((action & ACTION_KIND_MASK) == ACTION_LETTER)
            table->fold[byte] = (uint8_t)byte;
        else if ((action & ACTION_KIND_MASK) == ACTION_MAPPED)
            table->fold[byte] = (uint8_t)(action >> ACTION_BYTES_SHIFT);
    }
}

/* The steps of every record that may need some, at most. */
static size_t sequence_bound(void)
{
    size_t bound = 1;

    for (size_t i = 0; i < tokenizer_unicode_fact_count; i++) {
        const struct tokenizer_unicode_fact *fact = &tokenizer_unicode_fact[i];
        if (fact->decomposition || fact->lower)
            bound += 3 + 3 * (fact->decomposition ? tokenizer_unicode_characters[fact->decomposition] : 1);
    }
    return bound;
}

status tokenizer_action_open(struct tokenizer_action_table *table, struct pool *pool,
                             const struct tokenizer_settings *settings, struct error *error)
{
    const size_t count = tokenizer_unicode_fact_count;
    uint32_t used = 0;
    void *block = NULL;

    table->pool = pool;
    table->strip_accents = settings->strip_accents;
    table->lower_case = settings->lower_case;
    table->clean_text = settings->clean_text;
    status result = pool_alloc(pool, MEMORY_TOKENIZER, (count + sequence_bound()) * sizeof(uint32_t),
                               "a tokenizer's actions", &block, error);
    if (result != STATUS_OK)
        return result;
    table->actions = block;
    table->sequences = table->actions + count;
    for (size_t i = 0; i < count; i++)
        table->actions[i] = action_of(&tokenizer_unicode_fact[i], settings, table->sequences, &used);
    fill_fold(table);
    result = pool_resize(pool, MEMORY_TOKENIZER, (count + used) * sizeof(uint32_t), "a tokenizer's actions", &block, error);
    table->actions = block;
    table->sequences = table->actions + count;
    return result;
}

void tokenizer_action_close(struct tokenizer_action_table *table)
{
    if (table->pool)
        pool_free(table->pool, table->actions);
    memset(table, 0, sizeof *table);
}
