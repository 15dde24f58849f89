/* tokenizer_added.h: tokens that are recognised in the raw text, before any normalisation ("[MASK]").
 *
 * They are found leftmost first and longest first, without overlaps. A token may ask to stand alone between word
 * characters, or to swallow the white space beside it.
 */
#ifndef RECTO_LOADERS_TOKENIZER_ADDED_H
#define RECTO_LOADERS_TOKENIZER_ADDED_H

#include "runtime/pool.h"

#include <stdbool.h>

struct tokenizer_added_token {
    const char *content;  /* not terminated; lives as long as the list */
    uint32_t    length;
    int32_t     id;
    bool        single_word, strips_left, strips_right;
};

struct tokenizer_added {
    struct pool                  *pool;
    struct tokenizer_added_token *tokens;  /* sorted by content */
    size_t                        count;
    bool                          begins[256];  /* bytes that a token begins with */
    int                           only_first;   /* the one such byte, or -1 */
};

struct tokenizer_added_match {
    const uint8_t *start, *end;  /* swallowed white space included; start == null: no further match */
    int32_t        id;
};

/* Sorts `tokens` (a pool block that is taken over). */
void tokenizer_added_open(struct tokenizer_added *added, struct pool *pool, struct tokenizer_added_token *tokens,
                          size_t count);
void tokenizer_added_close(struct tokenizer_added *added);

/* A text and how far it has been looked through; `from` is where the part without a match yet begins. */
struct tokenizer_added_search {
    const uint8_t *text, *end, *from, *at;
};
struct tokenizer_added_match tokenizer_added_next(const struct tokenizer_added *added,
                                                  struct tokenizer_added_search *search);

#endif
