/* tokenizer_internal.h: what the files of the tokenizer share; nothing else includes it. */
#ifndef RECTO_LOADERS_TOKENIZER_INTERNAL_H
#define RECTO_LOADERS_TOKENIZER_INTERNAL_H

#include "loaders/tokenizer.h"
#include "loaders/tokenizer_action.h"
#include "loaders/tokenizer_added.h"
#include "loaders/vocabulary.h"

enum { TOKENIZER_SPECIALS_MAX = 8 };

struct tokenizer_specials {
    int32_t ids[TOKENIZER_SPECIALS_MAX];
    size_t  count;
};

struct tokenizer {
    struct pool                  *pool;
    struct vocabulary             vocabulary;
    struct tokenizer_action_table actions;
    struct tokenizer_added        added;
    struct tokenizer_specials     before, behind;  /* the text */
    int32_t                       unknown_id, padding_id;
    int32_t                       alone_ids[128];  /* the id of each ASCII character that is a word of its own */
    uint32_t                      word_limit;      /* characters; a longer word is unknown */
};

/* Shared with the readers of the two file forms: an empty tokenizer, and its last steps once everything is filled in. */
MUST_CHECK status tokenizer_begin(struct tokenizer **tokenizer, struct pool *pool, struct error *error);
MUST_CHECK status tokenizer_finish(struct tokenizer *tokenizer, const struct tokenizer_settings *settings,
                                   struct error *error);

/* One encoding under way: the word being gathered and where its bytes come from. */
struct tokenizer_word {
    uint8_t  *bytes;           /* normalised; four more than the limit allows may be written */
    uint32_t *starts, *ends;   /* of each byte in the input, where the word is not a plain image of it */
    uint64_t  hash;
    uint32_t  length, characters;
    uint32_t  start, end;      /* in the input */
    bool      plain;           /* byte i comes from input byte start + i */
    bool      overlong;
};

struct tokenizer_encoding {
    const struct tokenizer *tokenizer;
    struct token_buffer    *buffer;
    struct error           *error;
    const uint8_t          *text, *segment, *end;  /* the whole text; the part being normalised */
    size_t                  total, keep;           /* tokens of the text so far; how many are stored */
    bool                    with_offsets;
    struct tokenizer_word   word;
};

/* What one code point adds, taken from input bytes [start, end). */
MUST_CHECK status tokenizer_take_code(struct tokenizer_encoding *encoding, enum tokenizer_action_kind kind, uint32_t code,
                                      uint32_t start, uint32_t end);

/* Takes the whole run of marks around the mark at `*at`, in canonical order, and moves `*at` behind it. */
MUST_CHECK status tokenizer_reorder_run(struct tokenizer_encoding *encoding, const uint8_t **at);

MUST_CHECK status tokenizer_refuse_bytes(const struct tokenizer_encoding *encoding, const uint8_t *at);

#endif
