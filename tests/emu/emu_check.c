/* Check mode on shared memory: vector clocks, what was written by whom, what was read by whom, what was never written.
 *
 * Everybody who accesses shared memory has a number: the cluster's threads, then for each block its copies' barriers and its
 * warpgroups' products. An epoch is a number and its clock; a clock vector says up to which clock one has seen each number.
 * An access is ordered after an earlier one when the accessor has seen its epoch.
 */
#include "emu_check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    CLOCK_BITS   = 19,
    CLOCK_NEVER  = (1 << CLOCK_BITS) - 1,  /* of a copy that nobody has waited for */
    NUMBERS_MOST = 1 << (32 - CLOCK_BITS),
    CELL_BYTES   = 2,
    COPY_NUMBERS = 16,
    BLOCK_NUMBERS = COPY_NUMBERS + EMU_WARPGROUPS,
    READERS      = 4,
    SEEN_MOST    = 64
};

struct emu_cell {
    uint32_t    written, read[READERS];  /* epochs; written 0: never */
    uint8_t     write_bytes, read_bytes[READERS];  /* which of the two bytes: neighbours may belong to different threads */
    uint8_t     readers, by_async;
    int         line;
    const char *file;
};

struct emu_shadow {
    int       numbers;       /* of everybody in the cluster */
    uint32_t *clocks;        /* [threads][numbers], and scratch behind them */
    size_t    clock_room;
    uint32_t  copy_clock[EMU_CLUSTER_BLOCKS * COPY_NUMBERS];
    struct { uintptr_t place; int kind; } seen[SEEN_MOST];
    int       seen_count;
    uint64_t  launch;
};

static uint32_t epoch(int number, uint32_t clock) { return (uint32_t)number << CLOCK_BITS | clock; }
static int number_of(uint32_t e) { return (int)(e >> CLOCK_BITS); }
static uint32_t clock_of(uint32_t e) { return e & CLOCK_NEVER; }
static bool saw(const uint32_t *clock, uint32_t e) { return clock[number_of(e)] >= clock_of(e); }
static int numbers(void) { return emu_worker->shadow->numbers; }
static int copy_number(const struct emu_block *b, const struct emu_mbarrier *m)
{
    return emu_worker->threads + b->rank * BLOCK_NUMBERS + (int)(m - b->mbarriers.items) % COPY_NUMBERS;
}
static int group_number(const struct emu_block *b, int group)
{
    return emu_worker->threads + b->rank * BLOCK_NUMBERS + COPY_NUMBERS + group;
}

static void join(uint32_t *into, const uint32_t *from)
{
    for (int i = 0, n = numbers(); i < n; i++)
        into[i] = into[i] < from[i] ? from[i] : into[i];
}

static void tick(struct emu_fiber *f)
{
    if (++f->clock[f->index] >= CLOCK_NEVER - 1)
        emu_fail(f->site, "check mode counts up to %d synchronisations of a thread", CLOCK_NEVER - 1);
}

static uint32_t *vector(uint32_t **where)
{
    if (!*where)
        *where = malloc(NUMBERS_MOST * sizeof **where);
    if (!*where) {
        fprintf(stderr, "[emu] no memory for check mode\n");
        abort();
    }
    return *where;
}

static void clear(uint32_t *clock) { memset(clock, 0, (size_t)numbers() * sizeof *clock); }

void emu_check_worker(struct emu_worker *w, bool on)
{
    if (!on) {
        w->shadow = NULL;
        return;
    }
    static __thread struct emu_shadow *own;
    if (!own)
        own = calloc(1, sizeof *own);
    w->shadow = own;
    if (own->launch != w->running->number)
        own->seen_count = 0;
    own->launch = w->running->number;
}

void emu_check_cluster_start(struct emu_worker *w)
{
    struct emu_shadow *s      = w->shadow;
    size_t             needed;
    s->numbers = w->threads + w->block_count * BLOCK_NUMBERS;
    needed     = (size_t)w->threads * (size_t)s->numbers;
    if (s->numbers > NUMBERS_MOST)
        emu_settings()->check = false, w->shadow = NULL;
    if (!w->shadow)
        return;
    if (needed > s->clock_room) {
        free(s->clocks);
        s->clocks     = malloc(needed * sizeof *s->clocks);
        s->clock_room = needed;
    }
    memset(s->clocks, 0, needed * sizeof *s->clocks);
    memset(s->copy_clock, 0, sizeof s->copy_clock);
    clear(vector(&w->cluster_gathered));
    clear(vector(&w->cluster_released));
    for (int i = 0; i < w->threads; i++) {
        struct emu_fiber *f = w->fibers[i];
        f->clock            = s->clocks + (size_t)i * (size_t)s->numbers;
        f->clock[i]         = 1;
        f->proxy_clock      = 0;
        f->init_fence       = 0;
    }
    for (int b = 0; b < w->block_count; b++) {
        struct emu_block *block = &w->blocks[b];
        if (!block->cells)
            block->cells = calloc(EMU_SHARED_BYTES / CELL_BYTES, sizeof *block->cells);
        memset(block->cells, 0, block->shared_end / CELL_BYTES * sizeof *block->cells);
        for (int i = 0; i < 16; i++)
            clear(vector(&block->barriers[i].clock));
    }
}

void emu_check_static(struct emu_block *block, uint32_t offset, uint32_t bytes)
{
    memset(block->cells + offset / CELL_BYTES, 0, (bytes + CELL_BYTES - 1) / CELL_BYTES * sizeof *block->cells);
}

static uint32_t now(const struct emu_fiber *f) { return epoch(f->index, f->clock[f->index]); }

/* ---- reports ---- */

bool emu_check_once(struct emu_worker *w, uintptr_t place, int kind)
{
    struct emu_shadow *s = w->shadow;
    for (int i = 0; i < s->seen_count; i++)
        if (s->seen[i].place == place && s->seen[i].kind == kind)
            return false;
    if (s->seen_count < SEEN_MOST) {
        s->seen[s->seen_count].place  = place;
        s->seen[s->seen_count++].kind = kind;
    }
    return true;
}

static const char *name_of(int number, char text[64])
{
    int threads = emu_worker->threads, each = threads / emu_worker->block_count, rest = number - threads;
    if (number < threads && emu_worker->block_count > 1)
        snprintf(text, 64, "thread %d of block %d of the cluster", number % each, number / each);
    else if (number < threads)
        snprintf(text, 64, "thread %d (warp %d, lane %d)", number, number / 32, number % 32);
    else if (rest % BLOCK_NUMBERS < COPY_NUMBERS)
        snprintf(text, 64, "a copy (mbarrier #%d)", rest % BLOCK_NUMBERS);
    else
        snprintf(text, 64, "wgmma of warpgroup %d", rest % BLOCK_NUMBERS - COPY_NUMBERS);
    return text;
}

struct access {
    struct emu_block *block;
    const uint32_t   *clock;   /* what the accessor has seen */
    uint32_t          epoch;   /* to be recorded */
    bool              write;
    enum emu_agent    agent;
    struct emu_site   site;
    uintptr_t         pc;
};

static uintptr_t place_of(const struct access *a) { return a->pc ? a->pc : (uintptr_t)a->site.line; }

/* Bits of the bytes of cell i that [offset, offset + bytes) covers. */
static uint8_t bytes_of(uint32_t i, uint32_t offset, uint32_t bytes)
{
    uint32_t first = i * CELL_BYTES;
    return (uint8_t)((first >= offset) | (first + 1 < offset + bytes) << 1);
}

static bool read_after_write(const struct access *a, const struct emu_cell *c, uint32_t at)
{
    char one[64], two[64], pc[40];
    bool own_copy =
        a->agent == EMU_CP_ASYNC && clock_of(c->written) == CLOCK_NEVER && number_of(c->written) == number_of(a->epoch);
    if (!saw(a->clock, c->written) && !own_copy) {
        if (emu_check_once(emu_worker, place_of(a), a->write))
            emu_finding(a->site, "race: %s of shared 0x%x by %s is not ordered after a write by %s at %s:%d%s",
                        a->write ? "write" : "read", at, name_of(number_of(a->epoch), one), name_of(number_of(c->written), two),
                        c->file ? c->file : "?", c->line, emu_check_place(a->pc, pc));
        return false;
    }
    if ((a->agent == EMU_ASYNC_READ || a->agent == EMU_TMA_WRITE) && !c->by_async && number_of(c->written) < emu_worker->threads &&
        emu_worker->fibers[number_of(c->written)]->proxy_clock < clock_of(c->written) &&
        emu_check_once(emu_worker, place_of(a), 2))
        emu_finding(a->site, "the async proxy %s shared 0x%x, written by %s at %s:%d without fence.proxy.async",
                    a->write ? "writes" : "reads", at, name_of(number_of(c->written), one), c->file ? c->file : "?", c->line);
    return true;
}

static bool write_after_read(const struct access *a, const struct emu_cell *c, uint32_t at, uint8_t bytes)
{
    char one[64], two[64], pc[40];
    for (int i = 0; i < c->readers; i++)
        if (number_of(c->read[i]) != number_of(a->epoch) && c->read_bytes[i] & bytes && !saw(a->clock, c->read[i])) {
            if (emu_check_once(emu_worker, place_of(a), 3))
                emu_finding(a->site, "race: write of shared 0x%x by %s is not ordered after a read by %s%s", at,
                            name_of(number_of(a->epoch), one), name_of(number_of(c->read[i]), two), emu_check_place(a->pc, pc));
            return false;
        }
    return true;
}

static void cell_read(struct emu_cell *c, const struct access *a, uint8_t bytes)
{
    int k = 0;  /* in place of an own read, or of one that came before */
    while (k < c->readers && number_of(c->read[k]) != number_of(a->epoch) && !saw(a->clock, c->read[k]))
        k++;
    if (k == READERS)
        k = (int)(emu_random(emu_worker) % READERS);
    c->read_bytes[k] = (uint8_t)(bytes | (k < c->readers && number_of(c->read[k]) == number_of(a->epoch) ? c->read_bytes[k] : 0));
    c->read[k]       = a->epoch;
    if (k == c->readers)
        c->readers++;
}

static void cells_access(const struct access *a, uint32_t offset, uint32_t bytes)
{
    char one[64], pc[40];
    for (uint32_t i = offset / CELL_BYTES; i < (offset + bytes + CELL_BYTES - 1) / CELL_BYTES; i++) {
        struct emu_cell *c     = &a->block->cells[i];
        uint8_t          which = bytes_of(i, offset, bytes);
        if (!c->written && !a->write) {
            if (emu_check_once(emu_worker, place_of(a), 4))
                emu_finding(a->site, "read of uninitialised shared memory 0x%x by %s%s", i * CELL_BYTES,
                            name_of(number_of(a->epoch), one), emu_check_place(a->pc, pc));
            return;
        }
        if (c->written && c->write_bytes & which && !read_after_write(a, c, i * CELL_BYTES))
            return;
        if (!a->write) {
            cell_read(c, a, which);
            continue;
        }
        if (!write_after_read(a, c, i * CELL_BYTES, which))
            return;
        c->write_bytes = (uint8_t)(which | (number_of(c->written) == number_of(a->epoch) ? c->write_bytes : 0));
        c->written     = a->epoch;
        c->readers     = 0;
        c->by_async    = a->agent == EMU_TMA_WRITE;
        c->file        = a->site.file;
        c->line        = a->site.line;
    }
}


void emu_check_shared(struct emu_fiber *f, struct emu_block *block, uint32_t offset, uint32_t bytes, bool write,
                      enum emu_agent agent, struct emu_site site)
{
    struct access a = { block, f->clock, now(f), write, agent, site, 0 };
    cells_access(&a, offset, bytes);
}

void emu_check_shared_plain(struct emu_fiber *f, uint32_t offset, uint32_t bytes, bool write, uintptr_t pc)
{
    struct access a = { f->block, f->clock, now(f), write, EMU_GENERIC, { "(plain access)", 0 }, pc };
    cells_access(&a, offset, bytes);
}

/* ---- cp.async ---- */

void emu_check_copy_start(struct emu_fiber *f, uint32_t to, int bytes, struct emu_site site)
{
    struct access a = { f->block, f->clock, epoch(f->index, CLOCK_NEVER), true, EMU_CP_ASYNC, site, 0 };
    cells_access(&a, to, (uint32_t)bytes);
}

static void copy_known(struct emu_fiber *f, const struct emu_copy *copy, uint32_t e)
{
    for (uint32_t i = copy->to / CELL_BYTES; i < (copy->to + (uint32_t)copy->bytes) / CELL_BYTES; i++)
        if (f->block->cells[i].written == epoch(f->index, CLOCK_NEVER))
            f->block->cells[i].written = e;
}

/* A thread has waited for its copy: from now on it is a write of its own. */
void emu_check_copy_waited(struct emu_fiber *f, const struct emu_copy *copy) { copy_known(f, copy, now(f)); }

/* The copies of a thread have arrived at a barrier: who waits there has seen them. */
void emu_check_copies_arrive(struct emu_fiber *f, const struct emu_transfer *t, const struct emu_copy *copy)
{
    uint32_t e = t->epoch[f->block->rank];
    copy_known(f, copy, e);
    if (!saw(f->clock, e))
        f->clock[number_of(e)] = clock_of(e);
}

/* ---- what orders threads ---- */

void emu_check_syncwarp(struct emu_block *block, int warp, uint32_t lanes)
{
    struct emu_fiber *first = block->fibers[warp * 32 + __builtin_ctz(lanes)];
    for (uint32_t t = lanes & (lanes - 1); t; t &= t - 1)
        join(first->clock, block->fibers[warp * 32 + __builtin_ctz(t)]->clock);
    for (uint32_t t = lanes & (lanes - 1); t; t &= t - 1)
        memcpy(block->fibers[warp * 32 + __builtin_ctz(t)]->clock, first->clock, (size_t)numbers() * sizeof *first->clock);
    for (uint32_t t = lanes; t; t &= t - 1)
        tick(block->fibers[warp * 32 + __builtin_ctz(t)]);
}

void emu_check_barrier_arrive(struct emu_fiber *f, struct emu_named_barrier *b)
{
    join(b->clock, f->clock);
    tick(f);
}
void emu_check_barrier_leave(struct emu_fiber *f, const struct emu_named_barrier *b) { join(f->clock, b->clock); }
void emu_check_barrier_done(struct emu_named_barrier *b) { clear(b->clock); }

void emu_check_cluster_arrive(struct emu_fiber *f)
{
    join(emu_worker->cluster_gathered, f->clock);
    tick(f);
}
void emu_check_cluster_done(struct emu_worker *w)
{
    memcpy(w->cluster_released, w->cluster_gathered, (size_t)numbers() * sizeof *w->cluster_released);
}
void emu_check_cluster_wait(struct emu_fiber *f) { join(f->clock, emu_worker->cluster_released); }

/* ---- mbarriers and the copies that signal them ---- */

void emu_check_mbarrier_init(struct emu_fiber *f, struct emu_mbarrier *m, struct emu_site site)
{
    (void)site;
    clear(vector(&m->gathered));
    clear(vector(&m->released));
    m->init        = now(f);
    m->init_serial = ++emu_worker->serial;
}

static void must_see_init(const struct emu_fiber *f, const struct emu_mbarrier *m, struct emu_site site)
{
    char one[64];
    if (!saw(f->clock, m->init) && emu_check_once(emu_worker, (uintptr_t)site.line, 5))
        emu_finding(site, "mbarrier 0x%x is used by thread %d, which is not ordered after its init by %s", m->address,
                    f->thread.linear, name_of(number_of(m->init), one));
}

void emu_check_mbarrier_arrive(struct emu_fiber *f, struct emu_block *block, struct emu_mbarrier *m, struct emu_site site)
{
    (void)block;
    must_see_init(f, m, site);
    join(m->gathered, f->clock);
    tick(f);
}
void emu_check_mbarrier_phase(struct emu_mbarrier *m)
{
    memcpy(m->released, m->gathered, (size_t)numbers() * sizeof *m->released);
}
void emu_check_mbarrier_wait(struct emu_fiber *f, struct emu_mbarrier *m, struct emu_site site)
{
    must_see_init(f, m, site);
    join(f->clock, m->released);
}

static void must_see_fence(const struct emu_mbarrier *m, struct emu_site site)
{
    if (emu_worker->fibers[number_of(m->init)]->init_fence < m->init_serial &&
        emu_check_once(emu_worker, (uintptr_t)site.line, 6))
        emu_finding(site, "a copy signals mbarrier 0x%x, initialised at %s:%d without fence.mbarrier_init after it", m->address,
                    m->init_site.file, m->init_site.line);
}

void emu_check_transfer_start(struct emu_fiber *f, struct emu_transfer *t, struct emu_block *block, uint32_t offset,
                              struct emu_mbarrier *m)
{
    static __thread uint32_t seen[NUMBERS_MOST];
    int number = copy_number(block, m), slot = block->rank * COPY_NUMBERS + (int)(m - block->mbarriers.items) % COPY_NUMBERS;
    must_see_init(f, m, t->site);
    t->epoch[block->rank] = epoch(number, ++emu_worker->shadow->copy_clock[slot]);
    if (t->kind == EMU_COPIES_ARRIVE)
        return;
    must_see_fence(m, t->site);
    memcpy(seen, f->clock, (size_t)numbers() * sizeof *seen);
    seen[number]    = clock_of(t->epoch[block->rank]);
    const bool    word = t->kind == EMU_WORD_STORE;
    struct access a    = { block, seen, t->epoch[block->rank], true, word ? EMU_GENERIC : EMU_TMA_WRITE, t->site, 0 };
    cells_access(&a, offset, t->bytes);
    if (word) {  /* its bytes at the barrier release what its thread did before */
        join(m->gathered, f->clock);
        tick(f);
    }
}

void emu_check_transfer_done(struct emu_block *block, const struct emu_transfer *t, struct emu_mbarrier *m)
{
    uint32_t e = t->epoch[block->rank];
    if (m && m->gathered[number_of(e)] < clock_of(e))
        m->gathered[number_of(e)] = clock_of(e);
}

void emu_check_init_fence(struct emu_fiber *f) { f->init_fence = ++emu_worker->serial; }

/* Later writes have a later clock, so that they are not taken for fenced. It also does what fence.mbarrier_init does. */
void emu_check_proxy_fence(struct emu_fiber *f)
{
    f->proxy_clock = f->clock[f->index];
    f->init_fence  = ++emu_worker->serial;
    tick(f);
}

/* ---- wgmma: the clock of a warpgroup is the number of products done ---- */

void emu_check_wgmma_read(struct emu_block *block, int group, int product, uint32_t offset, uint32_t bytes, struct emu_site site)
{
    struct access a = { block, emu_me()->clock, epoch(group_number(block, group), (uint32_t)product + 1), false, EMU_ASYNC_READ,
                        site, 0 };
    cells_access(&a, offset, bytes);
}

void emu_check_wgmma_waited(struct emu_block *block, int group, int products)
{
    for (int i = 0; i < 128; i++)
        block->fibers[group * 128 + i]->clock[group_number(block, group)] = (uint32_t)products;
}
