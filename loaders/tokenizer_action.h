/* tokenizer_action.h: what a tokenizer with given settings does with each code point.
 *
 * The settings of BERT's normaliser (clean, split Chinese, strip accents, lower case) and the splitting into words are
 * folded into one action for each record of tokenizer_unicode.h, once, at open; encoding then takes one look-up for a code
 * point. Immutable once opened.
 */
#ifndef RECTO_LOADERS_TOKENIZER_ACTION_H
#define RECTO_LOADERS_TOKENIZER_ACTION_H

#include "loaders/tokenizer.h"
#include "loaders/tokenizer_unicode.h"
#include "runtime/pool.h"

/* The low four bits of an action. */
enum tokenizer_action_kind {
    ACTION_LETTER,    /* joins the word as it is */
    ACTION_DROP,      /* vanishes */
    ACTION_SPACE,     /* ends the word */
    ACTION_ALONE,     /* a word of its own, as it is */
    ACTION_MAPPED,    /* joins the word as other bytes: how many from bit 4, the bytes from bit 8 */
    ACTION_SEQUENCE,  /* several steps: from bit 4 an index into sequences, where a count and then the steps lie */
    ACTION_HANGUL,    /* a syllable that joins the word as two or three letters */
    ACTION_REORDER    /* holds a mark that stays, so the canonical order of the marks around it matters */
};

enum { ACTION_KIND_MASK = 15, ACTION_SHIFT = 4, ACTION_BYTES_SHIFT = 8 };

/* A step of a sequence: its kind (letter, space or alone) from bit 24, the code point below. */
enum { STEP_SHIFT = 24, STEP_CODE_MASK = 0xFFFFFF };

struct tokenizer_action_table {
    struct pool *pool;
    uint32_t    *actions;    /* one a record */
    uint32_t    *sequences;
    uint8_t      fold[256];  /* the byte that an ASCII letter becomes; 0: not a letter, not ASCII, or NUL */
    bool         strip_accents, lower_case, clean_text;
};

/* The table must be zero before; tokenizer_action_close also after a failure. */
MUST_CHECK status tokenizer_action_open(struct tokenizer_action_table *table, struct pool *pool,
                                        const struct tokenizer_settings *settings, struct error *error);
void tokenizer_action_close(struct tokenizer_action_table *table);

static inline uint32_t tokenizer_action_of(const struct tokenizer_action_table *table, uint32_t code)
{
    return table->actions[tokenizer_unicode_record_of(code)];
}

/* Letter, space or alone: what a character is after normalisation. */
enum tokenizer_action_kind tokenizer_action_kind_of(uint32_t code);
/* The canonical decomposition of a code point (itself where there is none): at most four; returns how many. */
unsigned tokenizer_action_decompose(uint32_t code, uint32_t parts[4]);
/* Its lower case (itself where there is none): at most three; returns how many. */
unsigned tokenizer_action_lower(uint32_t code, uint32_t parts[3]);

#endif
