/* Check mode on device memory: bounds of the registered pieces, what nobody wrote, races between threads and blocks; and
 * where the plain accesses of kernels come in.
 */
#include "emu_check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CELL_BYTES = 2, MARKS_MOST = 65536 };

/* Epochs of the last write and of one read: which of the two bytes 2 bits, launch 14, block 20, thread 10, clock 18; 0: none. */
struct cell { uint64_t written, read; };
struct emu_shadow_cells {
    size_t       count;
    struct cell *cells;        /* zero until touched */
    uint8_t     *initialised;  /* a bit a cell: written by anybody, ever */
};
enum { CLOCK_ATOMIC = 0x3ffff };

struct emu_shadow_cells *emu_cells_make(size_t bytes)
{
    if (!emu_settings()->check)
        return NULL;
    struct emu_shadow_cells *s = calloc(1, sizeof *s);
    if (s) {
        s->count       = (bytes + CELL_BYTES - 1) / CELL_BYTES;
        s->cells       = calloc(s->count + 1, sizeof *s->cells);
        s->initialised = calloc(s->count / 8 + 1, 1);
    }
    if (!s || !s->cells || !s->initialised) {
        fprintf(stderr, "[emu] no memory for check mode of %zu bytes\n", bytes);
        abort();
    }
    return s;
}

void emu_cells_free(struct emu_shadow_cells *s)
{
    if (!s)
        return;
    free(s->cells);
    free(s->initialised);
    free(s);
}

static void initialise(struct emu_shadow_cells *s, size_t cell)
{
    if (!(s->initialised[cell / 8] >> cell % 8 & 1))
        __atomic_fetch_or(&s->initialised[cell / 8], (uint8_t)(1 << cell % 8), __ATOMIC_RELAXED);
}

void emu_cells_written(struct emu_shadow_cells *s, size_t offset, size_t bytes)
{
    if (!s || !bytes)
        return;
    size_t cell = offset / CELL_BYTES, end = (offset + bytes + CELL_BYTES - 1) / CELL_BYTES;
    while (cell < end && cell % 8)
        initialise(s, cell++);
    if (end > cell + 8) {
        memset(s->initialised + cell / 8, 0xff, (end - cell) / 8);
        cell += (end - cell) / 8 * 8;
    }
    while (cell < end)
        initialise(s, cell++);
}

/* ---- blocks that hand over through an atomic: __threadfence, atomic in one; atomic on the same address in another ---- */

struct mark { const void *address; uint64_t block; };
static struct mark marks[MARKS_MOST];
static int         mark_count;

void emu_check_launch(const struct emu_running *running)
{
    (void)running;
    mark_count = 0;
}

static void atomic_seen(struct emu_worker *w, const struct emu_block *block, const void *address)
{
    (void)w;
    if (!block->fenced)
        return;
    int at = __atomic_fetch_add(&mark_count, 1, __ATOMIC_ACQ_REL);
    if (at < MARKS_MOST) {
        marks[at].block = block->number;
        __atomic_store_n(&marks[at].address, address, __ATOMIC_RELEASE);
    } else {
        mark_count = MARKS_MOST;
    }
}

/* Coarse: the whole other block counts as ordered once it has fenced and released through any atomic. */
static bool block_released(uint64_t number)
{
    int count = __atomic_load_n(&mark_count, __ATOMIC_ACQUIRE);
    for (int i = count < MARKS_MOST ? count - 1 : MARKS_MOST - 1; i >= 0; i--)
        if ((marks[i].block & 0xfffff) == number)
            return true;
    return false;
}

/* ---- races ---- */

static uint64_t epoch_of(const struct emu_worker *w, const struct emu_fiber *f, bool atomic)
{
    return (w->running->number & 0x3fff) << 48 | (f->block->number & 0xfffff) << 28 | (uint64_t)f->thread.linear << 18 |
           (atomic ? CLOCK_ATOMIC : f->clock[f->index] & 0x3ffff);
}

static bool conflicts(const struct emu_worker *w, const struct emu_fiber *f, uint64_t e)
{
    uint64_t block = e >> 28 & 0xfffff;
    if (!e || (e >> 48 & 0x3fff) != (w->running->number & 0x3fff) || (e & 0x3ffff) == CLOCK_ATOMIC)
        return false;
    for (int rank = 0; rank < w->block_count; rank++)
        if (block == (w->blocks[rank].number & 0xfffff)) {
            int index = w->blocks[rank].fibers[e >> 18 & 0x3ff]->index;
            return index != f->index && f->clock[index] < (e & 0x3ffff);
        }
    return !block_released(block);
}

struct touch {
    struct emu_worker *w;
    struct emu_fiber  *f;
    bool               write, atomic, must_be_written;
    struct emu_site    site;
    uintptr_t          pc;
    uint64_t           bytes;  /* which of the cell's two */
};

/* False once something was wrong: the rest of the access would only repeat it. */
static bool cell_touch(const struct touch *t, struct emu_shadow_cells *s, size_t cell, size_t piece_bytes)
{
    struct cell *c       = &s->cells[cell];
    uint64_t     written = __atomic_load_n(&c->written, __ATOMIC_RELAXED), read = __atomic_load_n(&c->read, __ATOMIC_RELAXED);
    uintptr_t    place   = t->pc ? t->pc : (uintptr_t)t->site.line;
    char         pc[40];
    if (!t->write && t->must_be_written && !(s->initialised[cell / 8] >> cell % 8 & 1)) {
        if (emu_check_once(t->w, place, 8))
            emu_finding(t->site, "read of uninitialised device memory, byte %zu of %zu%s", cell * CELL_BYTES, piece_bytes,
                        emu_check_place(t->pc, pc));
        return false;
    }
    uint64_t other = 0;
    if (!t->atomic && written >> 62 & t->bytes && conflicts(t->w, t->f, written))
        other = written;
    else if (!t->atomic && t->write && read >> 62 & t->bytes && conflicts(t->w, t->f, read))
        other = read;
    if (other) {
        if (emu_check_once(t->w, place, 9))
            emu_finding(t->site, "race on device memory: %s of byte %zu of %zu, %s by block %u, thread %u%s",
                        t->write ? "write" : "read", cell * CELL_BYTES, piece_bytes, other == written ? "written" : "read",
                        (unsigned)(other >> 28 & 0xfffff), (unsigned)(other >> 18 & 0x3ff), emu_check_place(t->pc, pc));
        return false;
    }
    if (t->write) {
        __atomic_store_n(&c->written, epoch_of(t->w, t->f, t->atomic) | t->bytes << 62, __ATOMIC_RELAXED);
        initialise(s, cell);
    } else {
        __atomic_store_n(&c->read, epoch_of(t->w, t->f, t->atomic) | t->bytes << 62, __ATOMIC_RELAXED);
    }
    return true;
}

extern char __executable_start, _end;

void emu_check_global(struct emu_fiber *f, const void *memory, size_t bytes, bool write, bool atomic, bool initialised,
                      struct emu_site site, uintptr_t pc)
{
    struct touch             t      = { emu_worker, f, write, atomic, initialised, site, pc, 0 };
    uintptr_t                at     = (uintptr_t)memory, place = pc ? pc : (uintptr_t)site.line;
    size_t                   offset = 0, piece = 0;
    char                     text[40];
    if (at >= (uintptr_t)&__executable_start && at < (uintptr_t)&_end)
        return;  /* tables and literals of the program */
    struct emu_shadow_cells *s = emu_memory_cells(memory, &offset, &piece);
    if (!piece) {
        if (emu_check_once(t.w, place, 6))
            emu_finding(site, "%s of %zu bytes at %p: neither shared, local nor device memory%s", write ? "write" : "read",
                        bytes, memory, emu_check_place(pc, text));
        return;
    }
    size_t here = offset + bytes > piece ? piece - offset : bytes, unused;
    if (here < bytes && !emu_memory_cells((const char *)memory + here, &unused, &unused)) {
        if (emu_check_once(t.w, place, 7))
            emu_finding(site, "%s of %zu bytes runs %zu bytes past device memory of %zu%s", write ? "write" : "read", bytes,
                        bytes - here, piece, emu_check_place(pc, text));
        return;
    }
    for (size_t cell = offset / CELL_BYTES; s && cell < (offset + here + CELL_BYTES - 1) / CELL_BYTES; cell++) {
        t.bytes = (uint64_t)((cell * CELL_BYTES >= offset) | (cell * CELL_BYTES + 1 < offset + here) << 1);
        if (!cell_touch(&t, s, cell, piece))
            return;
    }
    if (here < bytes)
        emu_check_global(f, (const char *)memory + here, bytes - here, write, atomic, initialised, site, pc);
}

const char *emu_check_place(uintptr_t pc, char text[40])
{
    text[0] = 0;
    if (pc)
        snprintf(text, 40, " [pc +0x%zx]", (size_t)(pc - (uintptr_t)&__executable_start));
    return text;
}

/* ---- plain accesses ---- */

/* On a device an access is aligned to its size, or it faults. */
void emu_check_misaligned(const void *memory, size_t bytes, bool write, uintptr_t pc)
{
    const struct emu_fiber *f    = emu_me();
    const struct emu_site   site = { "(plain access)", 0 };
    char                    text[40];
    if (!f || f->inside || !emu_worker->shadow || emu_worker->inside || !emu_check_once(emu_worker, pc, 11))
        return;
    emu_worker->inside++;
    emu_finding(site, "misaligned address %p: %s of %zu bytes%s", memory, write ? "write" : "read", bytes,
                emu_check_place(pc, text));
    emu_worker->inside--;
}

void emu_check_access(const void *memory, size_t bytes, bool write, bool atomic, uintptr_t pc)
{
    struct emu_fiber        *f    = emu_me();
    struct emu_worker       *w    = emu_worker;
    const struct emu_site    site = { "(plain access)", 0 };
    if (!f || f->inside || !w->shadow || w->inside)
        return;
    if ((size_t)((const char *)memory - f->stack) < f->stack_bytes ||
        (size_t)((const char *)memory - (const char *)f) < sizeof *f || memory == (const void *)&emu_current)
        return;
    size_t offset = (size_t)((const char *)memory - f->block->arena);
    bool   shared = offset < EMU_SHARED_BYTES;
    char   text[40];
    w->inside++;
    if (shared && !emu_shared_inside(f->block, (uint32_t)offset, bytes)) {
        if (emu_check_once(w, pc, 10))
            emu_finding(site, "%s of %zu bytes of shared memory at 0x%zx is out of bounds%s", write ? "write" : "read", bytes,
                        offset, emu_check_place(pc, text));
    } else if (shared && !atomic) {
        emu_check_shared_plain(f, (uint32_t)offset, (uint32_t)bytes, write, pc);
    } else if (!shared) {
        if (atomic && write)
            atomic_seen(w, f->block, memory);
        emu_check_global(f, memory, bytes, write, atomic, !write, site, pc);
    }
    if (emu_settings()->counters)
        emu_access_note(f, pc, site, shared ? offset : (uint64_t)(uintptr_t)memory, (int)bytes, write, shared);
    w->inside--;
}
