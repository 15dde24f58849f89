/* pool.h: every byte counted, under a hard ceiling.
 *
 * All memory of an engine comes from its pool: heap blocks (pool_alloc), pages of arenas (arena.h) and pages of mapped
 * files (pool_charge). Each byte is booked under a category before it is taken from the system; a booking that would
 * pass the ceiling fails with STATUS_BUDGET and a sentence with both numbers, after the pool has asked its reclaimers
 * (idle arenas, cached plans) to give back what they can spare. Thread-safe.
 */
#ifndef RECTO_RUNTIME_POOL_H
#define RECTO_RUNTIME_POOL_H

#include "runtime/status.h"

#include <stddef.h>
#include <stdint.h>

enum memory_category {
    MEMORY_PROCESS,    /* the program itself: code, stacks, C library (an estimate booked at open) */
    MEMORY_WEIGHTS,    /* packed weights, mapped or in memory */
    MEMORY_TOKENIZER,  /* vocabularies and tables */
    MEMORY_ARENA,      /* activations */
    MEMORY_PLAN,       /* plans and their caches */
    MEMORY_REQUEST,    /* token ids, queues, results on their way to the caller */
    MEMORY_LOAD,       /* what only exists while a model is opened */
    MEMORY_CATEGORIES
};

struct pool;

struct pool_usage {
    uint64_t ceiling;                     /* bytes; UINT64_MAX: none */
    uint64_t in_use;                      /* bytes booked now */
    uint64_t peak;                        /* most bytes ever booked at once */
    uint64_t by_category[MEMORY_CATEGORIES];
    uint64_t peak_by_category[MEMORY_CATEGORIES];
    uint64_t refusals;                    /* bookings that did not fit */
};

/* ceiling 0: none. */
MUST_CHECK status pool_open(struct pool **pool, uint64_t ceiling, struct error *error);
void pool_close(struct pool *pool);  /* null is allowed; everything must have been given back */

/* Books `bytes`; nothing is allocated. `what` names the purpose in the sentence of a refusal. */
MUST_CHECK status pool_charge(struct pool *pool, enum memory_category category, uint64_t bytes, const char *what,
                              struct error *error);
void pool_discharge(struct pool *pool, enum memory_category category, uint64_t bytes);

/* A booked heap block, aligned to 64 bytes, not cleared. bytes 0 is allowed and gives a valid block. */
MUST_CHECK status pool_alloc(struct pool *pool, enum memory_category category, size_t bytes, const char *what,
                             void **block, struct error *error);
/* Grows or shrinks a block that pool_alloc gave (or null); on failure the old block stays as it was. */
MUST_CHECK status pool_resize(struct pool *pool, enum memory_category category, size_t bytes, const char *what,
                              void **block, struct error *error);
void pool_free(struct pool *pool, void *block);  /* null is allowed */

/* Asked when a booking does not fit, without the pool's lock held: gives back what it can spare, up to `bytes`. */
typedef void pool_reclaim(void *user, uint64_t bytes);
void pool_set_reclaim(struct pool *pool, pool_reclaim *reclaim, void *user);
/* Asks for it because the memory itself ran out, although the ceiling would have allowed more. */
void pool_ask(struct pool *pool, uint64_t bytes);

void pool_usage(struct pool *pool, struct pool_usage *usage);
const char *memory_category_name(enum memory_category category);

#endif
