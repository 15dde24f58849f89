/* TMA and bulk copies: tensor maps, loads that signal barriers when they land, stores in groups.
 *
 * A load is put on the worker's list of transfers and its destination poisoned; it happens when nobody can run (late), at
 * once (early) or at some time between (rand). Barriers are told afterwards.
 */
#include "emu_state.h"

#include <stdio.h>
#include <string.h>

enum { MAP_MAGIC = 0x7A17 };

const char *emu_tensor_map_make(CUtensorMap *map, const struct emu_tensor *t)
{
    struct emu_map m = { .base = t->base, .rank = (uint16_t)t->rank, .element_bytes = (uint16_t)t->element_bytes,
                         .swizzle = (uint16_t)t->swizzle, .magic = MAP_MAGIC };
    _Static_assert(sizeof m <= sizeof map->opaque, "a tensor map holds it");
    if (t->rank < 1 || t->rank > 5)
        return "the rank of a tensor map is 1 to 5";
    if ((uintptr_t)t->base & 15)
        return "the base of a tensor map is a multiple of 16";
    for (int i = 0; i < t->rank; i++) {
        m.size[i] = t->size[i];
        m.box[i]  = t->box[i];
        if (!t->size[i] || t->size[i] > UINT64_C(1) << 32)
            return "a dimension of a tensor map is 1 to 2^32";
        if (!t->box[i] || t->box[i] > 256)
            return "a dimension of a tensor map's box is 1 to 256";
    }
    for (int i = 0; i + 1 < t->rank; i++) {
        m.stride[i] = t->stride[i];
        if (t->stride[i] & 15 || t->stride[i] >= UINT64_C(1) << 40)
            return "a stride of a tensor map is a multiple of 16 below 2^40";
    }
    uint32_t inner = t->box[0] * (uint32_t)t->element_bytes;
    if (inner & 15)
        return "the inner dimension of a tensor map's box has a multiple of 16 bytes";
    if (t->swizzle != CU_TENSOR_MAP_SWIZZLE_NONE && inner > 16u << t->swizzle)
        return "the inner dimension of a tensor map's box is wider than the swizzle";
    memset(map, 0, sizeof *map);
    memcpy(map->opaque, &m, sizeof m);
    return NULL;
}

static struct emu_map map_of(const CUtensorMap *map, int rank, struct emu_site site)
{
    struct emu_map m;
    memcpy(&m, map->opaque, sizeof m);
    if (m.magic != MAP_MAGIC || (uintptr_t)map % 64)
        emu_fail(site, "%p is not a tensor map at a multiple of 64", (const void *)map);
    if (rank && m.rank != rank)
        emu_fail(site, "an instruction of rank %d with a tensor map of rank %d", rank, m.rank);
    return m;
}

static uint32_t box_bytes(const struct emu_map *m)
{
    uint32_t bytes = m->element_bytes;
    for (int i = 0; i < m->rank; i++)
        bytes *= m->box[i];
    return bytes;
}

/* mode: 0 none, 1 to 3: 32, 64, 128 bytes. The unit works on address bits, so a tile starts at a multiple of its pattern. */
uint32_t emu_swizzle(uint32_t address, int mode)
{
    uint32_t bits = mode == 3 ? 7 : mode == 2 ? 3 : mode == 1 ? 1 : 0;
    return address ^ (address >> 7 & bits) << 4;
}

/* Walks a box in chunks of 16 bytes of shared memory. Of a chunk, bytes [low, high) lie inside the tensor, at `global + low`. */
struct chunk { char *global; uint32_t shared, low, high; };
struct walk { const struct emu_map *map; const int *at; uint32_t shared, row, byte, rows; char *line; bool inside; };

static void walk_row(struct walk *w)
{
    const struct emu_map *m = w->map;
    uint32_t              rest = w->row;
    w->line   = m->base;
    w->inside = true;
    for (int i = 1; i < m->rank; i++) {
        int64_t x = (int64_t)w->at[i] + rest % m->box[i];
        rest /= m->box[i];
        w->inside = w->inside && x >= 0 && x < (int64_t)m->size[i];
        w->line += x * (int64_t)m->stride[i - 1];
    }
}

static struct walk walk_box(const struct emu_map *map, const int *at, uint32_t shared)
{
    struct walk w = { map, at, shared, 0, 0, 1, NULL, false };
    for (int i = 1; i < map->rank; i++)
        w.rows *= map->box[i];
    walk_row(&w);
    return w;
}

static bool walk_next(struct walk *w, struct chunk *c)
{
    const struct emu_map *m     = w->map;
    uint32_t              inner = m->box[0] * m->element_bytes;
    if (w->row == w->rows)
        return false;
    int64_t first = ((int64_t)w->at[0] * m->element_bytes) + w->byte, end = (int64_t)(m->size[0] * m->element_bytes);
    int64_t low = first < 0 ? -first : 0, high = end - first;
    c->low    = (uint32_t)(low > 16 ? 16 : low);
    c->high   = (uint32_t)(high > 16 ? 16 : high < 0 ? 0 : high);
    c->global = w->line + first;
    c->shared = emu_swizzle(w->shared + w->row * inner + w->byte, m->swizzle);
    if (!w->inside || c->high < c->low)
        c->low = c->high = 0;
    w->byte += 16;
    if (w->byte >= inner) {
        w->byte = 0;
        w->row++;
        if (w->row < w->rows)
            walk_row(w);
    }
    return true;
}

/* Check mode: what a box reads or writes of device memory. */
void emu_check_map_rows(struct emu_fiber *fiber, const struct emu_map *map, const int *at, bool write, struct emu_site site)
{
    struct walk  w = walk_box(map, at, 0);
    struct chunk c;
    while (walk_next(&w, &c))
        if (c.high > c.low)
            emu_check_global(fiber, c.global + c.low, c.high - c.low, write, false, false, site, 0);
}

/* ---- loads ---- */

static void land(struct emu_block *block, const struct emu_transfer *t)
{
    if (t->kind == EMU_REMOTE_ARRIVE)
        return;
    if (t->kind == EMU_ROW_LOAD || t->kind == EMU_WORD_STORE) {
        memcpy(block->arena + t->to, t->kind == EMU_ROW_LOAD ? t->from : &t->value, t->bytes);
        return;
    }
    struct walk  w = walk_box(&t->map, t->at, t->to);
    struct chunk c;
    while (walk_next(&w, &c)) {
        char *to = block->arena + c.shared;
        memset(to, 0, 16);
        if (c.high > c.low)
            memcpy(to + c.low, c.global + c.low, c.high - c.low);
    }
}

/* The transfer happens now, in every block that it goes to. */
void emu_transfer_run(struct emu_worker *worker, int index)
{
    struct emu_transfer *items = worker->transfers.items, t = items[index];
    if (worker->async == EMU_ANY)  /* in no order; thousands of words may be on their way */
        items[index] = items[worker->happened];
    else  /* the others stay in order: late means first come, first served */
        memmove(&items[worker->happened + 1], &items[worker->happened], (size_t)(index - worker->happened) * sizeof t);
    if (2 * ++worker->happened > worker->transfers.count) {
        EMU_DROP_FIRST(&worker->transfers, worker->happened);
        worker->happened = 0;
    }
    worker->inside++;
    for (int rank = 0; rank < worker->block_count; rank++) {
        struct emu_block *block = &worker->blocks[rank];
        if (!(t.ranks >> rank & 1))
            continue;
        if (block->live == 0 && worker->live)
            emu_finding(t.site, "it comes to block %d of the cluster, all of whose threads have exited", rank);
        if (t.kind == EMU_COPIES_ARRIVE)
            emu_copies_land(t.fiber, t.serial);
        else
            land(block, &t);
        if (worker->shadow && t.kind != EMU_REMOTE_ARRIVE) {
            for (int i = 0; i < t.fiber->copies.count && t.kind == EMU_COPIES_ARRIVE; i++)
                if (t.fiber->copies.items[i].serial <= t.serial)
                    emu_check_copies_arrive(t.fiber, &t, &t.fiber->copies.items[i]);
            emu_check_transfer_done(block, &t, emu_mbarrier_find(block, t.barrier));
        }
        emu_mbarrier_receive(block, t.barrier, t.bytes, t.kind == EMU_COPIES_ARRIVE || t.kind == EMU_REMOTE_ARRIVE, t.site);
    }
    worker->inside--;
}

static void start_load(struct emu_fiber *self, const struct emu_transfer *wanted)
{
    struct emu_worker   *w = emu_worker;
    struct emu_transfer *t = EMU_PUSH(&w->transfers);
    *t                     = *wanted;
    for (int rank = 0; rank < 32; rank++) {
        if (!(t->ranks >> rank & 1))
            continue;
        if (rank >= w->block_count)
            emu_fail(t->site, "multicast to block %d of a cluster of %d", rank, w->block_count);
        struct emu_block *block = &w->blocks[rank];
        emu_shared_started(block, t->site);
        if (block->live == 0)
            emu_fail(t->site, "a copy into block %d of the cluster, all of whose threads have exited", rank);
        if (!emu_shared_inside(block, t->to, t->bytes))
            emu_fail(t->site, "a copy out of bounds of shared memory: [0x%x, +%u), the dynamic part is [0x%x, +%u)", t->to,
                     t->bytes, EMU_SHARED_BASE, block->dynamic_bytes);
        struct emu_mbarrier *m = emu_mbarrier_find(block, t->barrier);
        if (!m)
            emu_fail(t->site, "mbarrier 0x%x used before mbarrier.init", t->barrier);
        if (w->shadow)
            emu_check_transfer_start(self, t, block, t->to, m);
        emu_poison(block->arena + t->to, t->bytes);
    }
    w->counters.tma++;
    if (w->async == EMU_EARLY)
        emu_transfer_run(w, w->transfers.count - 1);
}

void emu_tma_load(const struct emu_tma *tma, struct emu_site site)
{
    struct emu_fiber   *self = emu_enter();
    struct emu_transfer t = {
        .kind = EMU_TENSOR_LOAD, .fiber = self, .to = tma->shared, .barrier = tma->barrier, .site = site
    };
    t.map                    = map_of(tma->map, tma->rank, site);
    t.bytes                  = box_bytes(&t.map);
    t.ranks                  = tma->ranks ? tma->ranks : 1u << self->block->rank;
    memcpy(t.at, tma->at, sizeof t.at);
    if (tma->ranks && !emu_worker->running->launch->cluster.x)  /* a cluster of one is one: nobody says what happens outside */
        emu_fail(site, "a multicast in a launch without clusters");
    if (tma->shared & 127)
        emu_fail(site, "TMA load to shared address 0x%x: a multiple of 128 is needed", tma->shared);
    uint32_t pattern = 128u << t.map.swizzle;
    if (t.map.swizzle && tma->shared % pattern && t.bytes > pattern)
        emu_finding(site,
                    "TMA load with a swizzle of %u bytes to shared address 0x%x: its pattern repeats every %u bytes, and the "
                    "tile does not start with it",
                    16u << t.map.swizzle, tma->shared, pattern);
    if (emu_worker->shadow)
        emu_check_map_rows(self, &t.map, tma->at, false, site);
    start_load(self, &t);
    emu_leave(self);
}

void emu_bulk_load(uint32_t to, const void *from, uint32_t bytes, uint32_t barrier, struct emu_site site)
{
    struct emu_fiber *self = emu_enter();
    if (to % 16 || bytes % 16 || !bytes || (uintptr_t)from % 16)
        emu_fail(site, "bulk copy of %u bytes from %p to 0x%x: multiples of 16 are needed", bytes, from, to);
    struct emu_transfer t = { .kind = EMU_ROW_LOAD, .fiber = self, .from = from, .to = to, .bytes = bytes, .barrier = barrier,
                              .ranks = 1u << self->block->rank, .site = site };
    if (emu_worker->shadow)
        emu_check_global(self, from, bytes, false, false, false, site, 0);
    start_load(self, &t);
    emu_leave(self);
}

void emu_cluster_store_async(uint32_t address, uint32_t value, uint32_t barrier, struct emu_site site)
{
    struct emu_fiber   *self = emu_enter();
    struct emu_transfer t    = { .kind = EMU_WORD_STORE, .fiber = self, .value = value, .bytes = 4, .site = site };
    if (emu_worker->block_count < 2)
        emu_fail(site, "st.async in a cluster of one block: it is for two and more, with one what it does is undefined");
    emu_shared_pointer(address, 4, 4, site);
    const struct emu_block *block = emu_shared_block(address, &t.to, site);
    if (emu_shared_block(barrier, &t.barrier, site) != block)
        emu_fail(site, "st.async to 0x%x signals mbarrier 0x%x of another block", address, barrier);
    t.ranks = 1u << block->rank;
    start_load(self, &t);
    emu_leave(self);
}

void emu_bulk_prefetch(const void *from, uint32_t bytes, struct emu_site site)
{
    if (bytes % 16 || (uintptr_t)from % 16)
        emu_fail(site, "bulk prefetch of %u bytes from %p: multiples of 16 are needed", bytes, from);
}

void emu_map_prefetch(const CUtensorMap *map, struct emu_site site) { (void)map_of(map, 0, site); }

/* ---- stores ---- */

static void stored_by_row(const struct emu_store *s, const char *arena) { memcpy(s->to, arena + s->from, s->bytes); }

void emu_store_run(struct emu_fiber *fiber, struct emu_store *s)
{
    const char *arena = fiber->block->arena;
    if (s->done)
        return;
    s->done = true;
    if (emu_worker->shadow) {  /* it reads shared memory now */
        emu_check_shared(fiber, fiber->block, s->from, s->bytes, false, EMU_ASYNC_READ, s->site);
        if (s->to)
            emu_check_global(fiber, s->to, s->bytes, true, false, true, s->site, 0);
        else
            emu_check_map_rows(fiber, &s->map, s->at, true, s->site);
    }
    if (s->to) {
        stored_by_row(s, arena);
        return;
    }
    struct walk  w = walk_box(&s->map, s->at, s->from);
    struct chunk c;
    while (walk_next(&w, &c))
        if (c.high > c.low)
            memcpy(c.global + c.low, arena + c.shared + c.low, c.high - c.low);
}

static void start_store(struct emu_fiber *self, const struct emu_store *store)
{
    emu_shared_pointer(store->from, store->bytes, store->to ? 16 : 128, store->site);
    emu_worker->counters.tma++;
    if (emu_worker->shadow)  /* from now on it may be read at any time */
        emu_check_shared(self, self->block, store->from, store->bytes, false, EMU_ASYNC_READ, store->site);
    *EMU_PUSH(&self->stores) = *store;
}

void emu_tma_store(const struct emu_tma *tma, struct emu_site site)
{
    struct emu_fiber *self = emu_enter();
    struct emu_store  s    = { .map = map_of(tma->map, tma->rank, site), .from = tma->shared, .site = site };
    s.bytes                = box_bytes(&s.map);
    memcpy(s.at, tma->at, sizeof s.at);
    start_store(self, &s);
    emu_leave(self);
}

void emu_bulk_store(void *to, uint32_t from, uint32_t bytes, struct emu_site site)
{
    struct emu_fiber *self = emu_enter();
    if ((uintptr_t)to % 16 || bytes % 16 || !bytes)
        emu_fail(site, "bulk store of %u bytes to %p: multiples of 16 are needed", bytes, to);
    struct emu_store s = { .to = to, .from = from, .bytes = bytes, .site = site };
    start_store(self, &s);
    emu_leave(self);
}

void emu_bulk_commit(struct emu_site site)
{
    struct emu_fiber *self = emu_enter();
    (void)site;
    *EMU_PUSH(&self->store_groups) = self->stores.count;
    for (int i = 0; i < self->stores.count && emu_worker->async == EMU_EARLY; i++)
        emu_store_run(self, &self->stores.items[i]);
    emu_leave(self);
}

void emu_bulk_wait(int groups_left, bool read, struct emu_site site)
{
    struct emu_fiber *self = emu_enter();
    int               done = self->store_groups.count - groups_left;
    (void)read, (void)site;
    for (int i = 0; done > 0 && i < self->store_groups.items[done - 1]; i++) {
        emu_store_run(self, &self->stores.items[i]);
        self->stores.items[i].waited = true;
    }
    emu_leave(self);
}
