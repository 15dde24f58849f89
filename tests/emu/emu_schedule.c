/* The schedule: which fiber runs next, what happens when none can, and how a thread ends.
 *
 * Sequential and reverse are strict priorities: one end of the block runs as far ahead as the barriers let it, which is what
 * exposes a missing barrier. Priority gives warps random priorities and now and then demotes the leader.
 */
#include "emu_state.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

uint64_t emu_mix(uint64_t x)
{
    x += 0x9E3779B97F4A7C15u;
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9u;
    x = (x ^ (x >> 27)) * 0x94D049BB133111EBu;
    return x ^ (x >> 31);
}

uint32_t emu_random(struct emu_worker *worker)
{
    uint64_t r = worker->random;
    r ^= r << 13;
    r ^= r >> 7;
    r ^= r << 17;
    worker->random = r;
    return (uint32_t)(r >> 32);
}

void emu_set_ready(struct emu_fiber *fiber)
{
    fiber->wait = EMU_READY;
    emu_worker->ready[fiber->index >> 6] |= UINT64_C(1) << (fiber->index & 63);
}

void emu_set_waiting(struct emu_fiber *fiber, enum emu_wait wait, struct emu_site site)
{
    fiber->wait = wait;
    fiber->site = site;
    emu_worker->ready[fiber->index >> 6] &= ~(UINT64_C(1) << (fiber->index & 63));
}

/* The first ready fiber at or after `from`, around the end; -1: none. */
static int next_ready(const struct emu_worker *w, int from)
{
    int      word = from >= w->threads ? 0 : from >> 6;
    uint64_t bits = w->ready[word] & (from >= w->threads ? ~UINT64_C(0) : ~UINT64_C(0) << (from & 63));
    for (int i = 0; i <= w->ready_words; i++) {
        if (bits)
            return word * 64 + __builtin_ctzll(bits);
        word = word + 1 == w->ready_words ? 0 : word + 1;
        bits = w->ready[word];
    }
    return -1;
}

static int last_ready(const struct emu_worker *w)
{
    for (int word = w->ready_words - 1; word >= 0; word--)
        if (w->ready[word])
            return word * 64 + 63 - __builtin_clzll(w->ready[word]);
    return -1;
}

void emu_start_priorities(struct emu_worker *w)
{
    int warps = (w->threads + 31) / 32;
    for (int i = 0; i < warps; i++)
        w->priority[i] = (uint16_t)i;
    for (int i = warps - 1; i > 0 && w->order == EMU_PRIORITY; i--) {
        int      j     = (int)(emu_random(w) % (uint32_t)(i + 1));
        uint16_t swap  = w->priority[i];
        w->priority[i] = w->priority[j];
        w->priority[j] = swap;
    }
}

static int by_priority(struct emu_worker *w)
{
    int warps = (w->threads + 31) / 32;
    if ((emu_random(w) & 255) == 0) {
        uint16_t leader = w->priority[0];
        memmove(w->priority, w->priority + 1, (size_t)(warps - 1) * sizeof *w->priority);
        w->priority[warps - 1] = leader;
    }
    for (int i = 0; i < warps; i++) {
        int      warp = w->priority[i];
        uint32_t bits = (uint32_t)(w->ready[warp >> 1] >> (warp & 1) * 32);
        if (bits)
            return warp * 32 + __builtin_ctz(bits);
    }
    return -1;
}

static int pick(struct emu_worker *w, int from)
{
    switch (w->order) {
    case EMU_SEQUENTIAL: return next_ready(w, 0);
    case EMU_REVERSE: return last_ready(w);
    case EMU_ROUND_ROBIN: return next_ready(w, from + 1);
    case EMU_PRIORITY: return by_priority(w);
    default: return next_ready(w, (int)((uint64_t)emu_random(w) * (uint64_t)w->threads >> 32));
    }
}

/* Which transfer happens where none has to yet: the first copy, and arrivals at other blocks when no copies are left. */
static int latest_transfer(const struct emu_worker *w)
{
    for (int i = w->happened; i < w->transfers.count; i++)
        if (w->transfers.items[i].kind != EMU_REMOTE_ARRIVE)
            return i;
    return w->happened;
}

/* The next fiber to run; when nobody can, copies in flight happen one by one. -1: a deadlock. */
int emu_choose(struct emu_worker *w, int from)
{
    for (;;) {
        if (emu_transfers_left(w) && w->async == EMU_ANY && (emu_random(w) & 3) == 0)
            emu_transfer_run(w, w->happened + (int)(emu_random(w) % (uint32_t)emu_transfers_left(w)));
        int chosen = pick(w, from);
        if (chosen >= 0 || !emu_transfers_left(w))
            return chosen;
        emu_transfer_run(w, w->async == EMU_ANY ? w->happened + (int)(emu_random(w) % (uint32_t)emu_transfers_left(w))
                                                : latest_transfer(w));
    }
}

struct text { char bytes[3000]; size_t used; };

__attribute__((format(printf, 2, 3))) static void add(struct text *t, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int n = vsnprintf(t->bytes + t->used, sizeof t->bytes - t->used, format, args);
    va_end(args);
    if (n > 0 && (size_t)n < sizeof t->bytes - t->used)
        t->used += (size_t)n;
}

static bool waits_alike(const struct emu_fiber *a, const struct emu_fiber *b)
{
    return a->block == b->block && a->wait == b->wait && a->site.line == b->site.line && a->wait_address == b->wait_address &&
           a->wait_parity == b->wait_parity && (a->wait != EMU_AT_BARRIER || a->wait_barrier == b->wait_barrier);
}

static void add_wait(struct text *t, const struct emu_fiber *f)
{
    const struct emu_block *b = f->block;
    switch (f->wait) {
    case EMU_AT_BARRIER:
        add(t, "at block barrier %d (%d of %d have arrived)", f->wait_barrier, b->barriers[f->wait_barrier].arrived,
            b->barriers[f->wait_barrier].expected < 0 ? b->live : b->barriers[f->wait_barrier].expected);
        break;
    case EMU_IN_WARP: {
        const struct emu_warp *w = &b->warps[f->thread.warp];
        add(t, "in %s, waiting for lanes 0x%08x", emu_collective_name(w->op[f->thread.lane]),
            w->mask[f->thread.lane] & w->live & ~w->waiting);
        break;
    }
    case EMU_AT_MBARRIER: {
        const struct emu_mbarrier *m = emu_mbarrier_find(f->block, f->wait_address);
        add(t, "waiting for mbarrier 0x%x parity %u (%u arrivals and %lld bytes missing)", f->wait_address, f->wait_parity,
            m ? m->pending : 0, m ? (long long)m->bytes : 0);
        break;
    }
    case EMU_AT_WGMMA: add(t, "in wgmma.wait_group"); break;
    case EMU_AT_CLUSTER: add(t, "at the cluster barrier"); break;
    case EMU_AT_REGISTERS: add(t, "in setmaxnreg.inc: the pool has %d registers left", b->registers_free); break;
    case EMU_EXITED: add(t, "exited"); break;
    default: add(t, "ready");
    }
    if (f->wait != EMU_EXITED)
        add(t, " at %.80s:%d", f->site.file, f->site.line);
}

static void deadlock(struct emu_worker *w)
{
    struct text t = { .used = 0 };
    add(&t, "deadlock: no thread can run");
    for (int i = 0, shown = 0; i < w->threads && shown < 12; shown++) {
        const struct emu_fiber *f = w->fibers[i];
        int                     j = i;
        while (j < w->threads && waits_alike(f, w->fibers[j]))
            j++;
        add(&t, "\n      ");
        if (w->block_count > 1)
            add(&t, "block %d of the cluster, ", f->block->rank);
        add(&t, "threads %d-%d ", f->thread.linear, w->fibers[j - 1]->thread.linear);
        add_wait(&t, f);
        i = j;
    }
    emu_fail(emu_me()->site, "%s", t.bytes);
}

void emu_reschedule(void)
{
    struct emu_worker *w    = emu_worker;
    struct emu_fiber  *self = emu_me();
    int                next = emu_choose(w, self->index);
    if (next < 0)
        deadlock(w);
    else if (next != self->index)
        emu_fiber_switch(self, w->fibers[next]);
}

void emu_maybe_preempt(void)
{
    struct emu_worker *w = emu_worker;
    if (w->order < EMU_RANDOM || (emu_random(w) & 1))
        return;
    struct emu_fiber *self = emu_me();
    int               next = emu_choose(w, self->index);
    if (next >= 0 && next != self->index)
        emu_fiber_switch(self, w->fibers[next]);
}

/* A thread that polls: let copies happen and others run. */
void emu_yield(struct emu_site site)
{
    struct emu_fiber  *self = emu_enter();
    struct emu_worker *w    = emu_worker;
    self->site = site;
    if (emu_transfers_left(w))
        emu_transfer_run(w, w->happened);
    int next = next_ready(w, self->index + 1);
    if (next >= 0 && next != self->index)
        emu_fiber_switch(self, w->fibers[next]);
    emu_leave(self);
}

static void end_of_thread(struct emu_fiber *f)
{
    for (int i = 0; i < f->stores.count; i++)
        if (!f->stores.items[i].waited) {
            emu_finding(f->stores.items[i].site, "bulk store not waited for (cp.async.bulk.wait_group) before the thread exits");
            break;
        }
    const struct emu_warpgroup *g = &f->block->warpgroups[f->thread.linear / 128];
    if (g->products.count && g->issued[f->thread.linear % 128] > g->done)
        emu_finding(f->site, "wgmma still in flight when thread %d exits: a wgmma wait is missing", f->thread.linear);
}

static void end_of_cluster(struct emu_worker *w)
{
    for (int b = 0; b < w->block_count; b++)
        emu_registers_check(&w->blocks[b]);
    if (emu_transfers_left(w)) {
        emu_finding(w->transfers.items[w->happened].site, "%d asynchronous copies or arrivals still in flight when the block ended",
                    emu_transfers_left(w));
        return;
    }
    for (int b = 0; b < w->block_count; b++)
        for (int i = 0; i < w->blocks[b].mbarriers.count; i++) {
            const struct emu_mbarrier *m = &w->blocks[b].mbarriers.items[i];
            if (m->bytes) {
                emu_finding(m->init_site, "mbarrier 0x%x ends with %lld bytes expected but not received", m->address,
                            (long long)m->bytes);
                return;
            }
        }
}

void emu_exit_thread(void)
{
    struct emu_worker *w    = emu_worker;
    struct emu_fiber  *self = emu_enter();  /* the next block resets it */
    struct emu_block  *b    = self->block;
    struct emu_warp   *warp = &b->warps[self->thread.warp];
    end_of_thread(self);
    emu_set_waiting(self, EMU_EXITED, (struct emu_site){ "exit", 0 });
    b->live--;
    w->live--;
    warp->live &= ~(1u << self->thread.lane);
    if (warp->waiting)
        emu_warp_advance(b, self->thread.warp);
    emu_barrier_exit(b);
    emu_cluster_exit(w);
    if (w->live == 0) {
        end_of_cluster(w);
        emu_fiber_switch(self, &w->main);
        return;
    }
    int next = emu_choose(w, self->index);
    if (next < 0)
        deadlock(w);
    else
        emu_fiber_switch(self, w->fibers[next]);
}
