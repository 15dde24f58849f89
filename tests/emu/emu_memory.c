/* Device memory: what is registered, guard bytes around what was allocated here, poison in what nobody wrote. */
#include "emu_check.h"
#include "emu_state.h"

#include <stdlib.h>
#include <string.h>

enum { GUARD_BYTES = 256, GUARD_BYTE = 0x5C };

struct piece {
    char              *memory;
    size_t             bytes;
    bool               guarded;  /* allocated here, with GUARD_BYTES before and after */
    struct emu_shadow_cells *cells;   /* check mode */
};
static struct { struct piece *items; int count, room; } pieces;  /* by address; under emu_lock */

void emu_poison(void *memory, size_t bytes) { memset(memory, emu_settings()->poison, bytes); }

static int after(const void *memory)  /* the first piece that starts above it */
{
    int low = 0, high = pieces.count;
    while (low < high) {
        int middle = (low + high) / 2;
        if (pieces.items[middle].memory <= (const char *)memory)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static struct piece *find(const void *memory)
{
    int i = after(memory);
    if (!i || (const char *)memory >= pieces.items[i - 1].memory + pieces.items[i - 1].bytes)
        return NULL;
    return &pieces.items[i - 1];
}

static void insert(void *memory, size_t bytes, bool guarded)
{
    int at = after(memory);
    (void)EMU_PUSH(&pieces);
    memmove(&pieces.items[at + 1], &pieces.items[at], (size_t)(pieces.count - 1 - at) * sizeof *pieces.items);
    pieces.items[at] = (struct piece){ memory, bytes, guarded, emu_cells_make(bytes) };
}

static void erase(struct piece *piece)
{
    int at = (int)(piece - pieces.items);
    emu_cells_free(piece->cells);
    memmove(piece, piece + 1, (size_t)(pieces.count - 1 - at) * sizeof *piece);
    pieces.count--;
}

void *emu_memory_alloc(size_t bytes)
{
    size_t room = (bytes + 255) / 256 * 256 + 2 * GUARD_BYTES;
    char  *base = aligned_alloc(256, room);
    if (!base)
        return NULL;
    memset(base, GUARD_BYTE, room);
    emu_poison(base + GUARD_BYTES, bytes);
    emu_lock();
    insert(base + GUARD_BYTES, bytes, true);
    emu_unlock();
    return base + GUARD_BYTES;
}

/* Offset of the first damaged guard byte from the start of the memory, in *at. */
static bool damaged(const struct piece *p, long *at)
{
    for (long i = -GUARD_BYTES; i < 0; i++)
        if ((unsigned char)p->memory[i] != GUARD_BYTE)
            return *at = i, true;
    for (size_t i = p->bytes; i < (p->bytes + 255) / 256 * 256 + GUARD_BYTES; i++)
        if ((unsigned char)p->memory[i] != GUARD_BYTE)
            return *at = (long)i, true;
    return false;
}

/* Reports each damaged guard once, and mends it. */
static int guard_check(struct piece *p)
{
    const struct emu_site nowhere = { "(guard bytes)", 0 };
    long                  at;
    if (!p->guarded || !damaged(p, &at))
        return 0;
    emu_finding(nowhere, "device memory was written out of bounds: byte %ld of an allocation of %zu", at, p->bytes);
    memset(p->memory - GUARD_BYTES, GUARD_BYTE, GUARD_BYTES);
    memset(p->memory + p->bytes, GUARD_BYTE, (p->bytes + 255) / 256 * 256 + GUARD_BYTES - p->bytes);
    return 1;
}

int emu_guards_check(void)
{
    int found = 0;
    emu_lock();
    for (int i = 0; i < pieces.count; i++)
        found += guard_check(&pieces.items[i]);
    emu_unlock();
    return found;
}

bool emu_memory_free(void *memory)
{
    bool found = false;
    if (!memory)
        return true;
    emu_lock();
    struct piece *p = find(memory);
    if (!p && after(memory))  /* an allocation of no bytes contains nothing, not even its start */
        p = &pieces.items[after(memory) - 1];
    if (p && p->memory == memory && p->guarded) {
        found = true;
        guard_check(p);
        erase(p);
    }
    emu_unlock();
    if (found)
        free((char *)memory - GUARD_BYTES);
    return found;
}

void emu_memory_add(void *memory, size_t bytes, bool poison)
{
    if (poison)
        emu_poison(memory, bytes);
    emu_lock();
    insert(memory, bytes, false);
    emu_unlock();
}

void emu_memory_remove(void *memory, size_t bytes)
{
    emu_lock();
    for (struct piece *p = find(memory); p && p->memory < (char *)memory + bytes;) {
        char *next = p->memory + p->bytes;
        erase(p);
        p = next < (char *)memory + bytes ? find(next) : NULL;
    }
    emu_unlock();
}

bool emu_memory_contains(const void *memory, size_t bytes)
{
    emu_lock();
    const struct piece *p      = find(memory);
    bool                inside = p && (const char *)memory + bytes <= p->memory + p->bytes;
    emu_unlock();
    return inside;
}

void emu_memory_written(const void *memory, size_t bytes)
{
    emu_lock();
    for (const char *at = memory, *end = at + bytes; at < end;) {
        struct piece *p = find(at);
        if (!p)
            break;
        size_t here = (size_t)(p->memory + p->bytes - at) < (size_t)(end - at) ? (size_t)(p->memory + p->bytes - at)
                                                                               : (size_t)(end - at);
        emu_cells_written(p->cells, (size_t)(at - p->memory), here);
        at += here;
    }
    emu_unlock();
}

/* For check mode, while a launch runs and nothing is added or removed: so without the lock. */
struct emu_shadow_cells *emu_memory_cells(const void *memory, size_t *offset, size_t *bytes)
{
    struct piece *p = find(memory);
    if (!p)
        return NULL;
    *offset = (size_t)((const char *)memory - p->memory);
    *bytes  = p->bytes;
    return p->cells;
}
