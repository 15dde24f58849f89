/* tokenizer_unicode.h: what BERT's normaliser and pre-tokeniser need to know of each code point.
 *
 * Two levels: tokenizer_unicode_page[code >> 7] names a page of 128 record numbers; equal code points share a record, so
 * a tokenizer that turns records into actions once (tokenizer_action.h) has them for all of Unicode. The data are
 * generated; the command stands at the head of tokenizer_unicode.c.
 */
#ifndef RECTO_LOADERS_TOKENIZER_UNICODE_H
#define RECTO_LOADERS_TOKENIZER_UNICODE_H

#include <stddef.h>
#include <stdint.h>

enum tokenizer_unicode_flag {
    UNICODE_CONTROL     = 1,   /* removed by clean_text */
    UNICODE_SPACE       = 2,   /* separates words */
    UNICODE_PUNCTUATION = 4,   /* a word of its own */
    UNICODE_CHINESE     = 8,   /* a word of its own where handle_chinese_chars is on */
    UNICODE_MARK        = 16,  /* a nonspacing mark: removed by strip_accents */
    UNICODE_WORD        = 32,  /* counts as part of a word where an added token must stand alone */
    UNICODE_HANGUL      = 64   /* a syllable: decomposes by arithmetic, not by table */
};

enum { UNICODE_PAGE_BITS = 7, UNICODE_PAGE_SIZE = 1 << UNICODE_PAGE_BITS };

struct tokenizer_unicode_fact {
    uint8_t  flags;
    uint8_t  combining;      /* canonical combining class: the order of marks behind a base */
    uint16_t decomposition;  /* where in tokenizer_unicode_characters: a count, then the code points; 0: none */
    uint16_t lower;          /* likewise, the lower case */
};

extern const uint16_t tokenizer_unicode_page[];
extern const uint16_t tokenizer_unicode_record[][UNICODE_PAGE_SIZE];
extern const size_t   tokenizer_unicode_fact_count;
extern const struct tokenizer_unicode_fact tokenizer_unicode_fact[];
extern const uint32_t tokenizer_unicode_characters[];

static inline uint32_t tokenizer_unicode_record_of(uint32_t code)
{
    return tokenizer_unicode_record[tokenizer_unicode_page[code >> UNICODE_PAGE_BITS]][code & (UNICODE_PAGE_SIZE - 1)];
}

#endif
