/* emu_state.h: what the parts of the emulator share: fibers, warps, blocks, the worker that runs a cluster of blocks.
 *
 * A worker is one host thread. It runs one cluster at a time (one block, where there are no clusters), on one fiber for each
 * CUDA thread, switching between fibers only inside the emulator. So nothing here is locked except what launches share.
 */
#ifndef EMU_STATE_H
#define EMU_STATE_H

#include "emu.h"
#include "emu_device.h"

enum {
    EMU_BLOCK_THREADS  = 1024,
    EMU_BLOCK_WARPS    = 32,
    EMU_CLUSTER_BLOCKS = 16,
    EMU_WARPGROUPS     = 8,
    EMU_SHARED_MOST    = 227 * 1024,
    EMU_SHARED_BASE    = 1024,       /* dynamic shared memory starts here: address 0 stays invalid */
    EMU_SHARED_BYTES   = 256 * 1024, /* of a block's arena: room for red zones */
    EMU_RANK_SHIFT     = 24,         /* of the block's rank in a shared address */
    EMU_REGISTER_FILE  = 65536
};

/* ---- lists that grow ---- */

#define EMU_LIST(T) struct { T *items; int count, room; }
void *emu_list_room(void *items, int *room, int needed, size_t item_bytes);
#define EMU_PUSH(list)                                                                                                     \
    ((list)->items = emu_list_room((list)->items, &(list)->room, (list)->count + 1, sizeof *(list)->items),                \
     &(list)->items[(list)->count++])
#define EMU_DROP_FIRST(list, n) emu_list_drop((list)->items, &(list)->count, n, sizeof *(list)->items)
void emu_list_drop(void *items, int *count, int n, size_t item_bytes);

/* ---- what a thread may wait for ---- */

enum emu_wait {
    EMU_READY,
    EMU_AT_BARRIER,
    EMU_IN_WARP,
    EMU_AT_MBARRIER,
    EMU_AT_WGMMA,
    EMU_AT_CLUSTER,
    EMU_AT_REGISTERS,
    EMU_EXITED
};

struct emu_map {  /* inside a CUtensorMap */
    char    *base;
    uint64_t stride[4], size[5];
    uint32_t box[5];
    uint16_t rank, element_bytes;
    uint16_t swizzle, magic;
};

struct emu_copy {  /* cp.async of one thread */
    uint32_t        to;
    const void     *from;
    int             bytes, source_bytes;
    uint64_t        serial;
    bool            done;
    struct emu_site site;
};

struct emu_store {  /* a store of TMA, or of a row of bytes */
    struct emu_map  map;
    char           *to;      /* a row of bytes */
    uint32_t        from, bytes;
    int             at[5];
    bool            done, waited;
    struct emu_site site;
};

struct emu_fiber {
    struct emu_thread  thread;  /* first: emu_current points at it */
    struct emu_block  *block;
    int                index;   /* among the worker's fibers */
    void              *stack_pointer, *fake_stack;
    char              *stack;
    size_t             stack_bytes;
    enum emu_wait      wait;
    struct emu_site    site;    /* of the last call that could wait */
    uint32_t           wait_address, wait_parity;
    int                wait_barrier, vote;
    int                inside;  /* > 0: the emulator's own accesses, which check mode does not look at */
    EMU_LIST(struct emu_copy) copies;
    EMU_LIST(int) copy_groups;  /* index past the last copy of each committed group */
    EMU_LIST(struct emu_store) stores;
    EMU_LIST(int) store_groups;
    uint32_t  *clock;           /* check mode: what this thread has seen of every other */
    uint32_t   proxy_clock;     /* own time of the last fence.proxy.async */
    uint64_t   init_fence;      /* serial number of the last fence.mbarrier_init or fence.proxy.async */
    bool       cluster_arrived; /* and has not waited yet */
    uint32_t   cluster_phase;   /* that it arrived in */
};

enum emu_collective {
    EMU_OP_SHUFFLE, EMU_OP_VOTE, EMU_OP_SYNCWARP, EMU_OP_LDMATRIX, EMU_OP_STMATRIX, EMU_OP_MMA, EMU_OP_REDUX, EMU_OP_MATCH,
    EMU_OP_ELECT, EMU_OP_REGISTERS
};
/* Runs once all lanes have come: arg[lane] is what each brought. */
typedef void emu_together(struct emu_block *block, uint32_t lanes, void *const *arg);

struct emu_warp {
    uint32_t            live, waiting;
    enum emu_collective op[32];
    emu_together       *run[32];
    void               *arg[32];
    uint32_t            mask[32];
    int                 registers, registers_wanted;  /* a thread; wanted 0: nothing is asked for */
    int                 registers_changes;            /* setmaxnreg so far */
};

struct emu_named_barrier {
    int       arrived, expected, votes;
    uint64_t  waiting[EMU_BLOCK_THREADS / 64];
    uint32_t *clock;   /* check mode: of everybody who arrived */
};

struct emu_mbarrier {
    uint32_t        address;   /* in its block */
    uint32_t        expected, pending, phase;
    int64_t         bytes;     /* expected and not received */
    bool            seen;      /* somebody has waited for the end of the last phase */
    uint32_t        init;      /* check mode: epoch of the initialisation, */
    uint64_t        init_serial;
    struct emu_site init_site;
    uint32_t       *gathered, *released;  /* check mode: clocks of this phase's arrivals, and of the last phase's */
};

struct emu_static { const void *key; uint32_t offset, bytes; };

struct emu_product;      /* emu_wgmma.c */
struct emu_accumulator;
struct emu_warpgroup {
    EMU_LIST(struct emu_product *) products;      /* in flight; the first is number `done` */
    EMU_LIST(struct emu_accumulator *) tiles;     /* in flight */
    EMU_LIST(int) group_ends;
    int  done, waiting, wait_groups;
    int  issued[128], committed[128];
    bool fenced[128];
};

struct emu_cell;
struct emu_block {
    struct emu_worker       *worker;
    int                      rank, threads, live;
    uint64_t                 number;   /* in the grid */
    struct emu_fiber       **fibers;   /* [threads], inside the worker's */
    char                    *arena;
    uint32_t                 dynamic_bytes, shared_end;
    struct emu_warp          warps[EMU_BLOCK_WARPS];
    struct emu_named_barrier barriers[16];
    struct emu_warpgroup     warpgroups[EMU_WARPGROUPS];
    EMU_LIST(struct emu_mbarrier) mbarriers;
    EMU_LIST(struct emu_static) statics;
    int                      registers_free;
    struct emu_cell         *cells;    /* check mode: the state of shared memory */
    bool                     fenced;   /* check mode: __threadfence since it began */
};

enum emu_transfer_kind { EMU_TENSOR_LOAD, EMU_ROW_LOAD, EMU_WORD_STORE, EMU_COPIES_ARRIVE, EMU_REMOTE_ARRIVE };
struct emu_transfer {  /* something that happens later and then signals a barrier */
    enum emu_transfer_kind kind;
    struct emu_map    map;
    const void       *from;       /* EMU_ROW_LOAD */
    struct emu_fiber *fiber;      /* who asked */
    uint64_t          serial;     /* EMU_COPIES_ARRIVE: copies up to this one */
    uint32_t          value;      /* EMU_WORD_STORE */
    uint32_t          to, barrier, bytes;
    uint32_t          ranks;      /* of blocks that receive it */
    int               at[5];
    uint32_t          epoch[EMU_CLUSTER_BLOCKS];  /* check mode, for each receiving block */
    struct emu_site   site;
};

struct emu_running {  /* a launch on its way */
    const struct emu_launch *launch;
    const struct emu_kernel *kernel;
    uint64_t clusters, next, number;
    int      blocks_each;     /* of a cluster */
    dim3     cluster;
    bool     failed;
};

struct emu_shadow;
struct emu_worker {
    struct emu_fiber     main;
    struct emu_fiber   **fibers;
    int                  fiber_room, fiber_count, threads, live;
    struct emu_block     blocks[EMU_CLUSTER_BLOCKS];
    int                  block_count;
    uint64_t             ready[EMU_CLUSTER_BLOCKS * EMU_BLOCK_THREADS / 64];
    int                  ready_words;
    uint16_t             priority[EMU_CLUSTER_BLOCKS * EMU_BLOCK_WARPS];
    uint64_t             random, serial;
    struct emu_running  *running;
    EMU_LIST(struct emu_transfer) transfers;  /* the first `happened` of them have */
    int                  happened;
    int                  cluster_arrived;
    uint32_t             cluster_phase;
    bool                 cluster_met;  /* its barrier was passed once: all blocks have started */
    uint32_t            *cluster_gathered, *cluster_released;  /* check mode */
    struct emu_shadow   *shadow;   /* check mode */
    int                  inside;
    bool                 dirty, stopped;  /* fibers lie where a failure left them; the launch is over for this worker */
    enum emu_order       order;
    enum emu_async       async;
    struct emu_counters  counters;
};

extern __thread struct emu_worker *emu_worker;

static inline int emu_transfers_left(const struct emu_worker *w) { return w->transfers.count - w->happened; }

static inline struct emu_fiber *emu_me(void) { return (struct emu_fiber *)(void *)emu_current; }
static inline struct emu_block *emu_here_block(void) { return emu_me()->block; }

/* Between these, a fiber's memory accesses are the emulator's own. */
static inline struct emu_fiber *emu_enter(void)
{
    struct emu_fiber *fiber = emu_me();
    fiber->inside++;
    return fiber;
}
static inline void emu_leave(struct emu_fiber *fiber) { fiber->inside--; }

/* ---- emu_fiber.c ---- */
void emu_fiber_prepare(struct emu_worker *worker, int fibers);
void emu_fiber_restart(struct emu_fiber *fiber);
void emu_fiber_switch(struct emu_fiber *from, struct emu_fiber *to);
void emu_fiber_main_stack(struct emu_worker *worker);

/* ---- emu_schedule.c ---- */
uint64_t emu_mix(uint64_t x);
uint32_t emu_random(struct emu_worker *worker);
void emu_set_ready(struct emu_fiber *fiber);
void emu_set_waiting(struct emu_fiber *fiber, enum emu_wait wait, struct emu_site site);
int  emu_choose(struct emu_worker *worker, int from);
void emu_reschedule(void);     /* the running fiber waits: run others until it is ready */
void emu_maybe_preempt(void);  /* after something that others could overtake */
void emu_exit_thread(void);
void emu_start_priorities(struct emu_worker *worker);

/* ---- emu_launch.c, emu_report.c ---- */
extern struct emu_counters emu_totals;
void emu_lock(void);
void emu_unlock(void);
__attribute__((format(printf, 2, 3))) void emu_finding(struct emu_site site, const char *format, ...);
void emu_report_clear(void);
void emu_signals(void);
const char *emu_collective_name(enum emu_collective op);

/* ---- emu_warp.c, emu_barrier.c ---- */
void emu_collect(enum emu_collective op, emu_together *run, uint32_t mask, void *arg, struct emu_site site);
void emu_warp_advance(struct emu_block *block, int warp);
void emu_barrier_exit(struct emu_block *block);
void emu_cluster_exit(struct emu_worker *worker);
void emu_registers_check(const struct emu_block *block);  /* at its end */

/* ---- emu_memory.c ---- */
int  emu_guards_check(void);   /* findings of all damaged guards */
void emu_poison(void *memory, size_t bytes);

/* ---- emu_shared.c ---- */
void  emu_block_shared_reset(struct emu_block *block, size_t dynamic_bytes);
void  emu_block_shared_check(struct emu_block *block);  /* the red zones around its pieces */
bool  emu_shared_inside(const struct emu_block *block, uint32_t offset, size_t bytes);
void  emu_shared_started(const struct emu_block *block, struct emu_site site);
/* The block that a shared address means, and in *offset the place there; faults on what is no address. */
struct emu_block *emu_shared_block(uint32_t address, uint32_t *offset, struct emu_site site);
void *emu_shared_pointer(uint32_t address, size_t bytes, size_t alignment, struct emu_site site);
int   emu_wavefronts(const uint32_t *address, int lanes, int bytes);

/* ---- emu_async.c, emu_mbarrier.c, emu_tma.c ---- */
void emu_copies_land(struct emu_fiber *fiber, uint64_t serial);
void emu_transfer_run(struct emu_worker *worker, int index);
void emu_remote_arrivals_land(struct emu_fiber *fiber);
struct emu_mbarrier *emu_mbarrier_find(struct emu_block *block, uint32_t offset);
void emu_mbarrier_receive(struct emu_block *block, uint32_t offset, uint32_t bytes, uint32_t arrivals, struct emu_site site);
void emu_store_run(struct emu_fiber *fiber, struct emu_store *store);
void emu_tensor_load(struct emu_worker *worker, const struct emu_transfer *transfer);
uint32_t emu_swizzle(uint32_t address, int mode);

/* ---- emu_check.c and emu_check_global.c: called only where emu_worker->shadow is set ---- */
enum emu_agent { EMU_GENERIC, EMU_CP_ASYNC, EMU_TMA_WRITE, EMU_ASYNC_READ };
void emu_check_cluster_start(struct emu_worker *worker);
void emu_check_static(struct emu_block *block, uint32_t offset, uint32_t bytes);
void emu_check_shared(struct emu_fiber *fiber, struct emu_block *block, uint32_t offset, uint32_t bytes, bool write,
                      enum emu_agent agent, struct emu_site site);
void emu_check_copy_start(struct emu_fiber *fiber, uint32_t to, int bytes, struct emu_site site);
void emu_check_copy_waited(struct emu_fiber *fiber, const struct emu_copy *copy);
void emu_check_copies_arrive(struct emu_fiber *fiber, const struct emu_transfer *transfer, const struct emu_copy *copy);
void emu_check_syncwarp(struct emu_block *block, int warp, uint32_t lanes);
void emu_check_barrier_arrive(struct emu_fiber *fiber, struct emu_named_barrier *barrier);
void emu_check_barrier_leave(struct emu_fiber *fiber, const struct emu_named_barrier *barrier);
void emu_check_barrier_done(struct emu_named_barrier *barrier);
void emu_check_cluster_arrive(struct emu_fiber *fiber);
void emu_check_cluster_done(struct emu_worker *worker);
void emu_check_cluster_wait(struct emu_fiber *fiber);
void emu_check_mbarrier_init(struct emu_fiber *fiber, struct emu_mbarrier *barrier, struct emu_site site);
void emu_check_mbarrier_arrive(struct emu_fiber *fiber, struct emu_block *block, struct emu_mbarrier *barrier,
                               struct emu_site site);
void emu_check_mbarrier_phase(struct emu_mbarrier *barrier);
void emu_check_mbarrier_wait(struct emu_fiber *fiber, struct emu_mbarrier *barrier, struct emu_site site);
void emu_check_transfer_start(struct emu_fiber *fiber, struct emu_transfer *transfer, struct emu_block *block, uint32_t offset,
                              struct emu_mbarrier *barrier);
void emu_check_transfer_done(struct emu_block *block, const struct emu_transfer *transfer, struct emu_mbarrier *barrier);
void emu_check_wgmma_read(struct emu_block *block, int group, int product, uint32_t offset, uint32_t bytes, struct emu_site site);
void emu_check_wgmma_waited(struct emu_block *block, int group, int products);
void emu_check_proxy_fence(struct emu_fiber *fiber);
void emu_check_init_fence(struct emu_fiber *fiber);
void emu_check_launch(const struct emu_running *running);
void emu_check_global(struct emu_fiber *fiber, const void *memory, size_t bytes, bool write, bool atomic, bool initialised,
                      struct emu_site site, uintptr_t pc);
void emu_check_map_rows(struct emu_fiber *fiber, const struct emu_map *map, const int *at, bool write, struct emu_site site);
void emu_access_note(struct emu_fiber *fiber, uintptr_t pc, struct emu_site site, uint64_t address, int bytes, bool write,
                     bool shared);
void emu_access_add(struct emu_worker *worker, struct emu_site site, bool write, uint64_t wavefronts, uint64_t ideal);
void emu_access_cluster_end(struct emu_worker *worker);

/* ---- emu_wgmma.c ---- */
void emu_warpgroup_reset(struct emu_warpgroup *group);

/* ---- elements of matrices, converted by the thousand ---- */

static inline float emu_half_value(uint32_t bits)
{
    const uint32_t sign = (bits & 0x8000) << 16, rest = (bits & 0x7fff) << 13;
    union { uint32_t bits; float value; } v = { .bits = rest };
    v.value *= 0x1p112f;  /* exact, of denormals too */
    if (rest >= UINT32_C(0x7c00) << 13)
        v.bits = rest | 0x7f800000;
    v.bits |= sign;
    return v.value;
}

static inline float emu_e4m3_value(uint32_t bits)
{
    const float magnitude = emu_half_value((bits & 0x7f) << 7) * 256.0f;  /* the same fields, a bias of 7 instead of 15 */
    return (bits & 0x7f) == 0x7f ? __builtin_nanf("") : bits & 0x80 ? -magnitude : magnitude;
}

/* Bits beyond the element's width are ignored. */
static inline float emu_element_value(uint32_t bits, enum emu_element type)
{
    union { uint32_t bits; float value; } wide = { .bits = bits << 16 };
    return type == EMU_BF16 ? wide.value : type == EMU_F16 ? emu_half_value(bits & 0xffff) : emu_e4m3_value(bits);
}

#endif
