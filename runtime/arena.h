/* arena.h: the memory of one stage: a reserved range whose bytes come from the pool and go back to it.
 *
 * The base address never moves. arena_fit maps at least the first `bytes`, booked in the pool before they are mapped;
 * arena_trim gives back what lies beyond. One thread at a time; distinct arenas are independent.
 */
#ifndef RECTO_RUNTIME_ARENA_H
#define RECTO_RUNTIME_ARENA_H

#include "runtime/pool.h"
#include "runtime/vmem.h"

struct arena {
    struct pool       *pool;
    const struct vmem *vmem;
    char              *base;
    size_t             reserved;  /* bytes of addresses */
    size_t             mapped;    /* bytes from base on that are backed and booked */
};

MUST_CHECK status arena_open(struct arena *arena, struct pool *pool, const struct vmem *vmem, size_t reserve,
                             struct error *error);
void arena_close(struct arena *arena);

MUST_CHECK status arena_fit(struct arena *arena, size_t bytes, struct error *error);
void arena_trim(struct arena *arena, size_t bytes);

#endif
