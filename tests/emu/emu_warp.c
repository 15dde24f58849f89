/* Warps: a collective waits for the lanes of its mask that still run, then happens once for all of them. */
#include "emu_state.h"

#include <string.h>

const char *emu_collective_name(enum emu_collective op)
{
    static const char *const names[] = { "a shuffle", "a vote", "__syncwarp", "ldmatrix", "stmatrix",
                                         "mma.sync",  "redux",  "match",      "elect",    "setmaxnreg" };
    return names[op];
}


/* Runs every collective whose lanes have all come: a loop, since two halves of a warp may wait with different masks. */
void emu_warp_advance(struct emu_block *block, int index)
{
    struct emu_warp *w = &block->warps[index];
    for (uint32_t left = w->waiting; left;) {
        int      first = __builtin_ctz(left);
        uint32_t need  = w->mask[first] & w->live;
        bool     same  = true;
        left &= ~(need | 1u << first);
        if ((w->waiting & need) != need)
            continue;
        for (uint32_t t = need; t; t &= t - 1) {
            int lane = __builtin_ctz(t);
            same     = same && w->op[lane] == w->op[first] && w->mask[lane] == w->mask[first];
        }
        if (!same)
            continue;
        emu_worker->counters.collectives++;
        emu_worker->inside++;
        w->run[first](block, need, w->arg);
        if (emu_worker->shadow && w->op[first] == EMU_OP_SYNCWARP)
            emu_check_syncwarp(block, index, need);
        emu_worker->inside--;
        w->waiting &= ~need;
        for (uint32_t t = need; t; t &= t - 1)
            emu_set_ready(block->fibers[index * 32 + __builtin_ctz(t)]);
    }
}

static void must_match(const struct emu_fiber *self, int lane, int other, struct emu_site site)
{
    const struct emu_warp *w = &self->block->warps[self->thread.warp];
    if (w->op[other] == w->op[lane] && w->mask[other] == w->mask[lane] && w->run[other] == w->run[lane])
        return;
    const struct emu_site there = self->block->fibers[self->thread.warp * 32 + other]->site;
    emu_fail(site, "divergent warp: lane %d in %s with mask 0x%08x, but lane %d waits in %s with mask 0x%08x at %s:%d", lane,
             emu_collective_name(w->op[lane]), w->mask[lane], other, emu_collective_name(w->op[other]), w->mask[other],
             there.file, there.line);
}

void emu_collect(enum emu_collective op, emu_together *run, uint32_t mask, void *arg, struct emu_site site)
{
    struct emu_fiber *self = emu_enter();
    struct emu_warp  *w    = &self->block->warps[self->thread.warp];
    int               lane = self->thread.lane;
    if (!(mask >> lane & 1))
        emu_fail(site, "%s: calling lane %d is not in mask 0x%08x", emu_collective_name(op), lane, mask);
    w->op[lane]   = op;
    w->run[lane]  = run;
    w->arg[lane]  = arg;
    w->mask[lane] = mask;
    if (w->waiting & mask)
        must_match(self, lane, __builtin_ctz(w->waiting & mask), site);
    w->waiting |= 1u << lane;
    emu_set_waiting(self, EMU_IN_WARP, site);
    uint32_t need = mask & w->live;
    if ((w->waiting & need) == need) {
        emu_warp_advance(self->block, self->thread.warp);
        emu_maybe_preempt();
    } else {
        emu_reschedule();
    }
    emu_leave(self);
}

static void nothing(struct emu_block *block, uint32_t lanes, void *const *arg)
{
    (void)block, (void)lanes, (void)arg;
}

void emu_syncwarp(uint32_t mask, struct emu_site site) { emu_collect(EMU_OP_SYNCWARP, nothing, mask, NULL, site); }

/* ---- shuffles: what comes from a lane outside the mask is undefined on a device, and all ones here ---- */

struct shuffled { uint64_t in, out; int source; };

static void shuffle(struct emu_block *block, uint32_t lanes, void *const *arg)
{
    (void)block;
    for (uint32_t t = lanes; t; t &= t - 1) {
        struct shuffled *a = arg[__builtin_ctz(t)];
        a->out = lanes >> a->source & 1 ? ((const struct shuffled *)arg[a->source])->in : ~UINT64_C(0);
    }
}

uint64_t emu_shuffle(uint32_t mask, uint64_t value, int source_lane, struct emu_site site)
{
    struct shuffled a = { value, 0, source_lane };
    emu_collect(EMU_OP_SHUFFLE, shuffle, mask, &a, site);
    return a.out;
}

/* ---- votes, matches, reductions, elections ---- */

struct voted { uint64_t value; uint32_t out; enum emu_reduction kind; };

static void ballot(struct emu_block *block, uint32_t lanes, void *const *arg)
{
    uint32_t result = 0;
    (void)block;
    for (uint32_t t = lanes; t; t &= t - 1)
        if (((struct voted *)arg[__builtin_ctz(t)])->value)
            result |= t & -t;
    for (uint32_t t = lanes; t; t &= t - 1)
        ((struct voted *)arg[__builtin_ctz(t)])->out = result;
}

uint32_t emu_ballot(uint32_t mask, bool predicate, struct emu_site site)
{
    struct voted a = { predicate, 0, EMU_OR };
    emu_collect(EMU_OP_VOTE, ballot, mask, &a, site);
    return a.out;
}

static void match(struct emu_block *block, uint32_t lanes, void *const *arg)
{
    (void)block;
    for (uint32_t t = lanes; t; t &= t - 1) {
        struct voted *a = arg[__builtin_ctz(t)];
        a->out          = 0;
        for (uint32_t u = lanes; u; u &= u - 1)
            if (((const struct voted *)arg[__builtin_ctz(u)])->value == a->value)
                a->out |= u & -u;
    }
}

uint32_t emu_match(uint32_t mask, uint64_t value, struct emu_site site)
{
    struct voted a = { value, 0, EMU_OR };
    emu_collect(EMU_OP_MATCH, match, mask, &a, site);
    return a.out;
}

static uint32_t reduced(uint32_t a, uint32_t b, enum emu_reduction kind)
{
    switch (kind) {
    case EMU_ADD_U32: return a + b;
    case EMU_MIN_U32: return a < b ? a : b;
    case EMU_MAX_U32: return a > b ? a : b;
    case EMU_MIN_S32: return (int32_t)a < (int32_t)b ? a : b;
    case EMU_MAX_S32: return (int32_t)a > (int32_t)b ? a : b;
    case EMU_AND: return a & b;
    case EMU_OR: return a | b;
    default: return a ^ b;
    }
}

static void reduce(struct emu_block *block, uint32_t lanes, void *const *arg)
{
    const struct voted *first  = arg[__builtin_ctz(lanes)];
    uint32_t            result = (uint32_t)first->value;
    (void)block;
    for (uint32_t t = lanes & (lanes - 1); t; t &= t - 1)
        result = reduced(result, (uint32_t)((const struct voted *)arg[__builtin_ctz(t)])->value, first->kind);
    for (uint32_t t = lanes; t; t &= t - 1)
        ((struct voted *)arg[__builtin_ctz(t)])->out = result;
}

uint32_t emu_reduce(uint32_t mask, uint32_t value, enum emu_reduction kind, struct emu_site site)
{
    struct voted a = { value, 0, kind };
    emu_collect(EMU_OP_REDUX, reduce, mask, &a, site);
    return a.out;
}

static void elect(struct emu_block *block, uint32_t lanes, void *const *arg)
{
    (void)block;
    for (uint32_t t = lanes; t; t &= t - 1)
        ((struct voted *)arg[__builtin_ctz(t)])->out = 0;
    ((struct voted *)arg[31 - __builtin_clz(lanes)])->out = 1;  /* a device may take any: not lane 0, which code would rely on */
}

bool emu_elect(uint32_t mask, struct emu_site site)
{
    struct voted a = { 0, 0, EMU_OR };
    emu_collect(EMU_OP_ELECT, elect, mask, &a, site);
    return a.out != 0;
}

uint32_t emu_active(void)
{
    const struct emu_fiber *self = emu_me();
    return self->block->warps[self->thread.warp].live;
}

/* ---- setmaxnreg: the registers of a block are one pool; who asks for more than it has waits ---- */

struct registers_asked { int count; bool raise; struct emu_site site; };

/* Warps that wait are served as soon as the pool has what they want. */
static void serve_registers(struct emu_block *block)
{
    for (int i = 0; i < (block->threads + 31) / 32; i++) {
        struct emu_warp *w    = &block->warps[i];
        int              more = (w->registers_wanted - w->registers) * 32;
        if (!w->registers_wanted || more > block->registers_free)
            continue;
        block->registers_free -= more;
        w->registers        = w->registers_wanted;
        w->registers_wanted = 0;
        for (int lane = 0; lane < 32 && i * 32 + lane < block->threads; lane++)
            if (block->fibers[i * 32 + lane]->wait == EMU_AT_REGISTERS)
                emu_set_ready(block->fibers[i * 32 + lane]);
    }
}

static void change_registers(struct emu_block *block, uint32_t lanes, void *const *arg)
{
    const struct registers_asked *a    = arg[__builtin_ctz(lanes)];
    struct emu_warp              *warp = &block->warps[emu_me()->thread.warp];
    if (lanes != ~0u)
        emu_fail(a->site, "setmaxnreg with inactive lanes 0x%08x", ~lanes);
    if (a->raise ? a->count < warp->registers : a->count > warp->registers)
        emu_fail(a->site, "setmaxnreg.%s to %d, but the warp has %d", a->raise ? "inc" : "dec", a->count, warp->registers);
    warp->registers_wanted = a->count;
    warp->registers_changes++;
    serve_registers(block);
}

void emu_registers_check(const struct emu_block *block)
{
    const struct emu_site nowhere = { "(end of the block)", 0 };
    for (int i = 0; i < (block->threads + 31) / 32; i++) {
        const struct emu_warp *warp = &block->warps[i], *first = &block->warps[i / 4 * 4];
        if (warp->registers_changes != first->registers_changes || warp->registers != first->registers)
            emu_finding(nowhere,
                        "setmaxnreg by some warps of warpgroup %d only, or to different counts: warp %d has %d, warp %d %d", i / 4,
                        i / 4 * 4, first->registers, i, warp->registers);
    }
}

void emu_registers(int count, bool raise, struct emu_site site)
{
    struct registers_asked a = { count, raise, site };
    emu_collect(EMU_OP_REGISTERS, change_registers, ~0u, &a, site);
    struct emu_fiber *self = emu_enter();
    while (self->block->warps[self->thread.warp].registers_wanted) {
        emu_set_waiting(self, EMU_AT_REGISTERS, site);
        emu_reschedule();
    }
    emu_leave(self);
}
