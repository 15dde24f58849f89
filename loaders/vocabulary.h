/* vocabulary.h: the pieces of a WordPiece model, found by their bytes.
 *
 * A piece begins a word or continues one (its text then starts with the prefix, "##"); both kinds lie in one hash table
 * under different seeds. The hash grows byte by byte, so that a reader who walks along a word has the hash of every
 * prefix for the price of one; a bit filter in front of the table (small enough for the first-level cache) turns nearly
 * all misses away. Immutable after vocabulary_add calls end; any number of threads may look things up.
 */
#ifndef RECTO_LOADERS_VOCABULARY_H
#define RECTO_LOADERS_VOCABULARY_H

#include "runtime/pool.h"

#include <stdbool.h>
#include <string.h>

enum { VOCABULARY_ID_MAX = 1 << 24 };

#define VOCABULARY_BEGINS    UINT64_C(0x9E3779B97F4A7C15)  /* seed of pieces that begin a word */
#define VOCABULARY_CONTINUES UINT64_C(0xC2B2AE3D27D4EB4F)  /* seed of pieces that continue one */

struct vocabulary_piece {
    uint32_t start;      /* in text */
    uint32_t length;
    int32_t  id;
    uint32_t continues;  /* 1: found inside a word only */
};

struct vocabulary_slot {
    uint32_t tag;    /* more bits of the hash */
    uint32_t piece;  /* index + 1; 0: empty */
};

struct vocabulary {
    struct pool             *pool;
    uint64_t                *filter;       /* the block that holds all five */
    struct vocabulary_slot  *slots;
    struct vocabulary_piece *pieces;
    int32_t                 *piece_of_id;  /* [id_count]: index in pieces, -1: none */
    char                    *text;         /* all pieces, one behind the other */
    size_t                   text_length;
    uint32_t                 piece_count, id_count;
    unsigned                 slot_shift, filter_shift;  /* hash >> shift is the index */
    uint32_t                 prefix_length;
    uint32_t                 longest[2];   /* bytes of the longest piece that begins, that continues */
    char                     prefix[32];
};

/* What will be added. */
struct vocabulary_size {
    size_t count;       /* pieces */
    size_t continuing;  /* those of them that start with the prefix */
    size_t bytes;       /* all texts together */
    size_t id_count;    /* above the highest id */
};
/* Closed by vocabulary_close even after a failure; the struct must be zero before. */
MUST_CHECK status vocabulary_open(struct vocabulary *vocabulary, struct pool *pool, struct vocabulary_size size,
                                  const char *prefix, struct error *error);
void vocabulary_close(struct vocabulary *vocabulary);

/* A piece of the model; false: the text was there already, and has the new id now. */
bool vocabulary_add(struct vocabulary *vocabulary, const char *text, size_t length, int32_t id);
/* A text for an id that words are never looked up for. */
void vocabulary_add_text(struct vocabulary *vocabulary, const char *text, size_t length, int32_t id);

/* The id of a piece given by its full text, or -1. */
int32_t vocabulary_id(const struct vocabulary *vocabulary, const char *text, size_t length);
/* The text of an id, not terminated, or null. */
const char *vocabulary_text(const struct vocabulary *vocabulary, int32_t id, size_t *length);

static inline uint64_t vocabulary_hash(uint64_t hash, uint8_t byte)
{
    return (hash ^ byte) * UINT64_C(0xD6E8FEB86659FD93);
}

static inline bool vocabulary_may_have(const struct vocabulary *vocabulary, uint64_t hash)
{
    const uint64_t bit = hash >> vocabulary->filter_shift;
    return vocabulary->filter[bit >> 6] >> (bit & 63) & 1;
}

/* The piece whose bytes behind the seed give `hash`, or null. */
static inline const struct vocabulary_piece *vocabulary_find(const struct vocabulary *vocabulary, uint64_t hash,
                                                             const uint8_t *bytes, size_t length, uint32_t continues)
{
    const uint32_t mask = (uint32_t)(UINT64_MAX >> vocabulary->slot_shift);
    const uint32_t tag = (uint32_t)(hash >> 12);

    for (uint32_t at = (uint32_t)(hash >> vocabulary->slot_shift);; at = (at + 1) & mask) {
        const struct vocabulary_slot slot = vocabulary->slots[at];
        if (slot.piece == 0)
            return NULL;
        if (slot.tag != tag)
            continue;
        const struct vocabulary_piece *piece = &vocabulary->pieces[slot.piece - 1];
        if (piece->length == length && piece->continues == continues &&
            memcmp(vocabulary->text + piece->start, bytes, length) == 0)
            return piece;
    }
}

#endif
