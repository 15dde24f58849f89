#include "runtime/arena.h"

static size_t round_up(size_t bytes, size_t unit) { return (bytes + unit - 1) / unit * unit; }

status arena_open(struct arena *arena, struct pool *pool, const struct vmem *vmem, size_t reserve, struct error *error)
{
    *arena = (struct arena){ .pool = pool, .vmem = vmem, .reserved = round_up(reserve, vmem->granularity) };
    void  *base;
    status result = vmem->reserve(vmem, arena->reserved, &base, error);
    if (result == STATUS_OK)
        arena->base = base;
    return result;
}

void arena_close(struct arena *arena)
{
    if (!arena->base)
        return;
    arena_trim(arena, 0);
    arena->vmem->release(arena->vmem, arena->base, arena->reserved);
    arena->base = NULL;
}

status arena_fit(struct arena *arena, size_t bytes, struct error *error)
{
    size_t wanted = round_up(bytes, arena->vmem->granularity);
    if (wanted <= arena->mapped)
        return STATUS_OK;
    if (wanted > arena->reserved)
        return error_set(error, STATUS_INTERNAL, "arena: %zu bytes asked for in a range of %zu", wanted, arena->reserved);
    size_t more   = wanted - arena->mapped;
    status result = pool_charge(arena->pool, MEMORY_ARENA, more, "the arena of activations", error);
    if (result != STATUS_OK)
        return result;
    result = arena->vmem->map(arena->vmem, arena->base, arena->mapped, more, error);
    if (result != STATUS_OK) {
        pool_discharge(arena->pool, MEMORY_ARENA, more);
        return result;
    }
    arena->mapped = wanted;
    return STATUS_OK;
}

void arena_trim(struct arena *arena, size_t bytes)
{
    size_t kept = round_up(bytes, arena->vmem->granularity);
    if (kept >= arena->mapped)
        return;
    arena->vmem->unmap(arena->vmem, arena->base, kept, arena->mapped - kept);
    pool_discharge(arena->pool, MEMORY_ARENA, arena->mapped - kept);
    arena->mapped = kept;
}
