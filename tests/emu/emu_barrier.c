/* Barriers: the sixteen of a block, and the one of a cluster. */
#include "emu_state.h"

#include <string.h>

static void complete(struct emu_block *block, int id)
{
    struct emu_named_barrier *b     = &block->barriers[id];
    struct emu_fiber         *first = NULL;
    emu_worker->counters.barriers++;
    for (int word = 0; word * 64 < block->threads; word++)
        for (uint64_t bits = b->waiting[word]; bits; bits &= bits - 1) {
            struct emu_fiber *f = block->fibers[word * 64 + __builtin_ctzll(bits)];
            f->vote             = b->votes;
            if (emu_worker->shadow)
                emu_check_barrier_leave(f, b);
            if (!first)
                first = f;
            else if (b->expected < 0 && f->site.line != first->site.line)
                emu_finding(f->site, "__syncthreads reached by threads at different calls: thread %d here, thread %d at %s:%d",
                            f->thread.linear, first->thread.linear, first->site.file, first->site.line);
            emu_set_ready(f);
        }
    if (emu_worker->shadow)
        emu_check_barrier_done(b);
    memset(b->waiting, 0, sizeof b->waiting);
    b->arrived = b->expected = b->votes = 0;
}

/* A thread has left: a barrier of the whole block may be complete without it. */
void emu_barrier_exit(struct emu_block *block)
{
    struct emu_named_barrier *b = &block->barriers[0];
    if (b->arrived > 0 && b->expected < 0 && b->arrived == block->live)
        complete(block, 0);
}

static const struct emu_fiber *somebody_at(const struct emu_block *block, int id)
{
    for (int i = 0; i < block->threads; i++)
        if (block->fibers[i]->wait == EMU_AT_BARRIER && block->fibers[i]->wait_barrier == id)
            return block->fibers[i];
    return NULL;
}

static void arrive(int id, int threads, bool wait, bool predicate, struct emu_site site)
{
    struct emu_fiber         *self  = emu_enter();
    struct emu_block         *block = self->block;
    struct emu_named_barrier *b     = &block->barriers[id & 15];
    if (id < 0 || id > 15)
        emu_fail(site, "barrier id %d: a block has 16", id);
    if (threads > 0 && (threads % 32 || threads > (block->threads + 31) / 32 * 32))
        emu_fail(site, "barrier %d: %d threads, in a block of %d", id, threads, block->threads);
    if (b->arrived && b->expected != threads) {
        const struct emu_fiber *other = somebody_at(block, id);
        emu_fail(site, "barrier %d: thread %d comes with a count of %d threads, thread %d waits with %d at %s:%d", id,
                 self->thread.linear, threads, other ? other->thread.linear : -1, b->expected, other ? other->site.file : "?",
                 other ? other->site.line : 0);
    }
    b->expected = threads;
    b->arrived++;
    b->votes += predicate;
    if (emu_worker->shadow)
        emu_check_barrier_arrive(self, b);
    if (wait) {
        emu_set_waiting(self, EMU_AT_BARRIER, site);
        b->waiting[self->thread.linear >> 6] |= UINT64_C(1) << (self->thread.linear & 63);
        self->wait_barrier = id;
    }
    int need = threads < 0 ? block->live : threads;
    if (b->arrived > need)
        emu_fail(site, "barrier %d: more than %d arrivals", id, need);
    if (b->arrived == need) {
        complete(block, id);
        if (wait)
            emu_maybe_preempt();
    } else if (wait) {
        emu_reschedule();
    }
    emu_leave(self);
}

void emu_barrier(int id, int threads, struct emu_site site) { arrive(id, threads, true, false, site); }
void emu_barrier_arrive(int id, int threads, struct emu_site site) { arrive(id, threads, false, false, site); }

int emu_barrier_vote(bool predicate, enum emu_vote kind, struct emu_site site)
{
    int total = emu_here_block()->live;
    arrive(0, -1, true, predicate, site);
    int votes = emu_me()->vote;
    return kind == EMU_COUNT ? votes : kind == EMU_ALL ? votes == total : votes != 0;
}

/* ---- the cluster's barrier: all threads of all its blocks that still run ---- */

static void cluster_complete(struct emu_worker *w)
{
    w->cluster_arrived = 0;
    w->cluster_phase++;
    w->cluster_met = true;
    if (w->shadow)
        emu_check_cluster_done(w);
    for (int i = 0; i < w->threads; i++)
        if (w->fibers[i]->wait == EMU_AT_CLUSTER)
            emu_set_ready(w->fibers[i]);
}

void emu_cluster_exit(struct emu_worker *w)
{
    if (w->cluster_arrived > 0 && w->cluster_arrived == w->live)
        cluster_complete(w);
}

void emu_cluster_arrive(bool release, struct emu_site site)
{
    struct emu_fiber  *self = emu_enter();
    struct emu_worker *w    = emu_worker;
    if (self->cluster_arrived)
        emu_fail(site, "barrier.cluster.arrive a second time without a wait between");
    if (release)
        emu_remote_arrivals_land(self);
    self->cluster_arrived = true;
    self->cluster_phase   = w->cluster_phase;
    if (w->shadow && release)
        emu_check_cluster_arrive(self);
    if (++w->cluster_arrived == w->live)
        cluster_complete(w);
    emu_leave(self);
}

void emu_cluster_wait(struct emu_site site)
{
    struct emu_fiber  *self = emu_enter();
    struct emu_worker *w    = emu_worker;
    if (!self->cluster_arrived)
        emu_fail(site, "barrier.cluster.wait without an arrive before it");
    self->cluster_arrived = false;
    while (w->cluster_phase == self->cluster_phase) {
        emu_set_waiting(self, EMU_AT_CLUSTER, site);
        emu_reschedule();
    }
    if (w->shadow)
        emu_check_cluster_wait(self);
    emu_maybe_preempt();
    emu_leave(self);
}

uint32_t emu_cluster_rank(void) { return (uint32_t)emu_here_block()->rank; }
uint32_t emu_cluster_size(void) { return (uint32_t)emu_worker->block_count; }

uint32_t emu_cluster_address(uint32_t address, uint32_t rank, struct emu_site site)
{
    if (rank >= (uint32_t)emu_worker->block_count)
        emu_fail(site, "mapa: rank %u in a cluster of %d blocks", rank, emu_worker->block_count);
    return (address & ((1u << EMU_RANK_SHIFT) - 1)) | (rank << EMU_RANK_SHIFT) | UINT32_C(1) << 31;
}

uint32_t emu_cluster_load(uint32_t address, struct emu_site site)
{
    struct emu_fiber *self = emu_enter();
    uint32_t          value, offset;
    memcpy(&value, emu_shared_pointer(address, 4, 4, site), 4);
    struct emu_block *block = emu_shared_block(address, &offset, site);
    if (emu_worker->shadow)
        emu_check_shared(self, block, offset, 4, false, EMU_GENERIC, site);
    emu_leave(self);
    return value;
}

void emu_cluster_store(uint32_t address, uint32_t value, struct emu_site site)
{
    struct emu_fiber *self = emu_enter();
    uint32_t          offset;
    void             *to    = emu_shared_pointer(address, 4, 4, site);
    struct emu_block *block = emu_shared_block(address, &offset, site);
    if (emu_worker->shadow)
        emu_check_shared(self, block, offset, 4, true, EMU_GENERIC, site);
    memcpy(to, &value, 4);
    emu_leave(self);
}
