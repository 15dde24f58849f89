/* mbarriers: a phase ends when all arrivals and all expected bytes have come; and cp.async, whose copies may arrive at one. */
#include "emu_state.h"

#include <stdlib.h>
#include <string.h>

/* ---- mbarriers ---- */

struct emu_mbarrier *emu_mbarrier_find(struct emu_block *block, uint32_t offset)
{
    for (int i = 0; i < block->mbarriers.count; i++)
        if (block->mbarriers.items[i].address == offset)
            return &block->mbarriers.items[i];
    return NULL;
}

/* The state is kept outside shared memory; these bytes stand in its place, so that whoever writes over them is found out. */
static const char barrier_bytes[8] = { 'm', 'b', 'a', 'r', 'r', 'i', 'e', 'r' };

static struct emu_mbarrier *barrier_at(uint32_t address, struct emu_block **block, struct emu_site site)
{
    uint32_t    offset;
    const void *bytes            = emu_shared_pointer(address, 8, 8, site);
    *block                       = emu_shared_block(address, &offset, site);
    struct emu_mbarrier *barrier = emu_mbarrier_find(*block, offset);
    if (!barrier)
        emu_fail(site, "mbarrier 0x%x used before mbarrier.init", address);
    if (memcmp(bytes, barrier_bytes, sizeof barrier_bytes))
        emu_fail(site, "mbarrier 0x%x was written over since its init at %s:%d", address, barrier->init_site.file,
                 barrier->init_site.line);
    return barrier;
}

enum { TRANSACTIONS_MOST = (1 << 20) - 1 };  /* bytes that a phase may be owed, or ahead by */

static void must_hold(const struct emu_mbarrier *m, struct emu_site site)
{
    if (m->bytes > TRANSACTIONS_MOST || m->bytes < -TRANSACTIONS_MOST)
        emu_fail(site, "mbarrier 0x%x: %lld bytes expected and not received, it counts to %d", m->address, (long long)m->bytes,
                 TRANSACTIONS_MOST);
}

static void must_be_open(const struct emu_mbarrier *m, uint32_t arrivals, struct emu_site site)
{
    if (arrivals > m->pending)
        emu_fail(site, "mbarrier 0x%x: more arrivals than the %u it was made for", m->address, m->expected);
    if (arrivals && !m->seen)
        emu_finding(site, "mbarrier 0x%x: an arrival in a new phase, and nobody has waited for the end of the last one",
                    m->address);
}

static void advance(struct emu_block *block, struct emu_mbarrier *m)
{
    if (m->pending || m->bytes)
        return;
    m->seen = false;
    m->phase ^= 1;
    m->pending = m->expected;
    if (emu_worker->shadow)
        emu_check_mbarrier_phase(m);
    for (int i = 0; i < block->threads; i++) {
        struct emu_fiber *f = block->fibers[i];
        if (f->wait == EMU_AT_MBARRIER && f->wait_address == m->address && m->phase != f->wait_parity)
            emu_set_ready(f);
    }
}

void emu_mbarrier_init(uint32_t address, uint32_t count, struct emu_site site)
{
    struct emu_fiber *self  = emu_enter();
    struct emu_block *block = self->block;
    memcpy(emu_shared_pointer(address, 8, 8, site), barrier_bytes, sizeof barrier_bytes);
    if (count < 1 || count >= 1u << 20)
        emu_fail(site, "mbarrier 0x%x made for %u arrivals", address, count);
    struct emu_mbarrier *m = emu_mbarrier_find(block, address);
    if (!m) {
        m          = EMU_PUSH(&block->mbarriers);
        m->address = address;
    }
    m->expected = m->pending = count;
    m->phase                 = 0;
    m->bytes                 = 0;
    m->seen                  = true;
    m->init_site             = site;
    if (emu_worker->shadow)
        emu_check_mbarrier_init(self, m, site);
    emu_leave(self);
}

void emu_mbarrier_invalidate(uint32_t address, struct emu_site site)
{
    struct emu_fiber    *self = emu_enter();
    struct emu_block    *block;
    struct emu_mbarrier *m = barrier_at(address, &block, site);
    if (m->bytes)
        emu_finding(site, "mbarrier 0x%x invalidated while it expects %lld bytes", address, (long long)m->bytes);
    emu_poison(emu_shared_pointer(address, 8, 8, site), 8);
    struct emu_mbarrier gone = *m;  /* its clocks are kept for the next one */
    struct emu_mbarrier *last = &block->mbarriers.items[--block->mbarriers.count];
    *m    = *last;
    *last = gone;
    emu_leave(self);
}

void emu_mbarrier_arrive(uint32_t address, uint32_t arrivals, uint32_t expect_bytes, struct emu_site site)
{
    struct emu_fiber    *self = emu_enter();
    struct emu_block    *block;
    struct emu_mbarrier *m = barrier_at(address, &block, site);
    m->bytes += expect_bytes;
    must_hold(m, site);
    must_be_open(m, arrivals, site);
    if (emu_worker->shadow)
        emu_check_mbarrier_arrive(self, block, m, site);
    m->pending -= arrivals;
    advance(block, m);
    emu_leave(self);
}

/* An arrival at another block's barrier is under way for a while; only the cluster's barrier waits for it. */
void emu_cluster_arrive_at(uint32_t address, struct emu_site site)
{
    struct emu_fiber    *self = emu_enter();
    struct emu_block    *block;
    struct emu_mbarrier *m = barrier_at(address, &block, site);
    if (emu_worker->shadow)
        emu_check_mbarrier_arrive(self, block, m, site);
    *EMU_PUSH(&emu_worker->transfers) = (struct emu_transfer){ .kind = EMU_REMOTE_ARRIVE, .fiber = self, .barrier = m->address,
                                                               .ranks = 1u << block->rank, .site = site };
    if (emu_worker->async == EMU_EARLY)
        emu_transfer_run(emu_worker, emu_worker->transfers.count - 1);
    emu_leave(self);
}

static void transfers_land(struct emu_fiber *fiber, enum emu_transfer_kind kind, uint64_t serial)
{
    struct emu_worker *w = emu_worker;
    for (int i = w->happened; i < w->transfers.count; i++)
        if (w->transfers.items[i].kind == kind && w->transfers.items[i].fiber == fiber && w->transfers.items[i].serial <= serial) {
            emu_transfer_run(w, i);
            i = w->happened - 1;
        }
}

void emu_remote_arrivals_land(struct emu_fiber *fiber) { transfers_land(fiber, EMU_REMOTE_ARRIVE, 0); }

/* A copy has brought bytes, or the copies of a thread have arrived. */
void emu_mbarrier_receive(struct emu_block *block, uint32_t offset, uint32_t bytes, uint32_t arrivals, struct emu_site site)
{
    struct emu_mbarrier *m = emu_mbarrier_find(block, offset);
    if (!m)
        return;
    m->bytes -= bytes;
    must_hold(m, site);
    must_be_open(m, arrivals, site);
    m->pending -= arrivals;
    advance(block, m);
}

static void must_be_own(uint32_t address, struct emu_site site)
{
    if (address >> 31)
        emu_fail(site, "a thread waits at mbarriers of its own block only, not at 0x%x", address);
}

static void must_be_parity(uint32_t address, uint32_t parity, struct emu_site site)
{
    if (parity > 1)
        emu_fail(site, "mbarrier 0x%x waited for with a parity of %u: it is 0 or 1", address, parity);
}

bool emu_mbarrier_test(uint32_t address, uint32_t parity, struct emu_site site)
{
    struct emu_fiber *self = emu_enter();
    struct emu_block *block;
    must_be_own(address, site);
    must_be_parity(address, parity, site);
    struct emu_mbarrier *m     = barrier_at(address, &block, site);
    bool                 ended = m->phase != parity;
    m->seen |= ended;
    if (ended && emu_worker->shadow)
        emu_check_mbarrier_wait(self, m, site);
    if (!ended)
        emu_yield(site);
    emu_leave(self);
    return ended;
}

void emu_mbarrier_wait(uint32_t address, uint32_t parity, struct emu_site site)
{
    struct emu_fiber *self = emu_enter();
    struct emu_block *block;
    must_be_own(address, site);
    must_be_parity(address, parity, site);
    while (barrier_at(address, &block, site)->phase == parity) {  /* looked up again: the list may have moved */
        self->wait_address = address;
        self->wait_parity  = parity;
        emu_set_waiting(self, EMU_AT_MBARRIER, site);
        emu_reschedule();
    }
    self->wait_address = self->wait_parity = 0;
    struct emu_mbarrier *m = barrier_at(address, &block, site);
    m->seen                = true;
    if (emu_worker->shadow)
        emu_check_mbarrier_wait(self, m, site);
    emu_leave(self);
}

void emu_fence_mbarrier_init(void)
{
    if (emu_worker->shadow)
        emu_check_init_fence(emu_me());
}

void emu_fence_proxy_async(void)
{
    if (emu_worker->shadow)
        emu_check_proxy_fence(emu_me());
}

void emu_fence_device(void)
{
    emu_here_block()->fenced = true;
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
}

/* ---- cp.async ---- */

static void copy_do(struct emu_fiber *fiber, struct emu_copy *c)
{
    char *to = fiber->block->arena + c->to;
    if (c->done)
        return;
    c->done = true;
    if (c->source_bytes)
        memcpy(to, c->from, (size_t)c->source_bytes);
    memset(to + c->source_bytes, 0, (size_t)(c->bytes - c->source_bytes));
}

/* All copies of a thread up to a serial number. */
void emu_copies_land(struct emu_fiber *fiber, uint64_t serial)
{
    for (int i = 0; i < fiber->copies.count; i++)
        if (fiber->copies.items[i].serial <= serial)
            copy_do(fiber, &fiber->copies.items[i]);
}

void emu_cp_async(uint32_t to, const void *from, int bytes, int source_bytes, struct emu_site site)
{
    struct emu_fiber  *self = emu_enter();
    struct emu_worker *w    = emu_worker;
    void              *d    = emu_shared_pointer(to, (size_t)bytes, (size_t)bytes, site);
    w->counters.cp_async++;
    if (to >> 31)
        emu_fail(site, "cp.async writes to the own block only, not to 0x%x", to);
    if ((uintptr_t)from % (uintptr_t)bytes)  /* also where nothing is read there */
        emu_fail(site, "cp.async: global address %p is not a multiple of %d", from, bytes);
    if (w->shadow) {
        emu_check_copy_start(self, to, bytes, site);
        if (source_bytes)
            emu_check_global(self, from, (size_t)source_bytes, false, false, false, site, 0);
        if (emu_settings()->counters) {  /* of no bytes too: the lanes' accesses are counted off */
            emu_access_note(self, 0, site, (uint64_t)(uintptr_t)from, source_bytes, false, false);
            emu_access_note(self, 0, site, to, bytes, true, true);
        }
    }
    struct emu_copy *c = EMU_PUSH(&self->copies);
    *c                 = (struct emu_copy){ to, from, bytes, source_bytes, ++w->serial, false, site };
    if (w->async == EMU_EARLY || (w->async == EMU_ANY && (emu_random(w) & 1)))
        copy_do(self, c);
    else
        emu_poison(d, (size_t)bytes);  /* on its way: neither the old nor the new may be used */
    emu_leave(self);
}

void emu_cp_async_commit(struct emu_site site)
{
    struct emu_fiber *self = emu_enter();
    (void)site;
    *EMU_PUSH(&self->copy_groups) = self->copies.count;
    emu_leave(self);
}

void emu_cp_async_wait(int groups_left, struct emu_site site)
{
    struct emu_fiber *self = emu_enter();
    int               done = self->copy_groups.count - (groups_left < 0 ? 0 : groups_left);
    int               upto = groups_left < 0 ? self->copies.count : done > 0 ? self->copy_groups.items[done - 1] : 0;
    (void)site;
    if (upto && emu_transfers_left(emu_worker))
        transfers_land(self, EMU_COPIES_ARRIVE, self->copies.items[upto - 1].serial);  /* they arrive where they were told to */
    for (int i = 0; i < upto; i++) {
        copy_do(self, &self->copies.items[i]);
        if (emu_worker->shadow)
            emu_check_copy_waited(self, &self->copies.items[i]);
    }
    if (upto)
        EMU_DROP_FIRST(&self->copies, upto);
    if (groups_left < 0)
        self->copy_groups.count = 0;
    else if (done > 0)
        EMU_DROP_FIRST(&self->copy_groups, done);
    for (int i = 0; i < self->copy_groups.count; i++)
        self->copy_groups.items[i] -= upto;
    emu_leave(self);
}

void emu_cp_async_arrive(uint32_t address, struct emu_site site)
{
    struct emu_fiber *self = emu_enter();
    struct emu_block *block;
    barrier_at(address, &block, site);
    must_be_own(address, site);
    struct emu_transfer *t = EMU_PUSH(&emu_worker->transfers);
    *t = (struct emu_transfer){ .kind = EMU_COPIES_ARRIVE, .fiber = self, .serial = emu_worker->serial, .barrier = address,
                                .ranks = 1u << self->block->rank, .site = site };
    if (emu_worker->shadow)
        emu_check_transfer_start(self, t, self->block, 0, emu_mbarrier_find(self->block, address));
    if (emu_worker->async == EMU_EARLY)
        emu_transfer_run(emu_worker, emu_worker->transfers.count - 1);
    emu_leave(self);
}
