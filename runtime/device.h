/* device.h: what computes. One struct: memory, and a slot for each op, or an accelerator that runs plans whole.
 *
 * A run walks the nodes of a plan in order. A node is done in one or two phases (a row must be whole before it can be
 * normalised), each phase in independent parts that any worker may take in any order; how many parts there are changes
 * nothing but speed. The slots of the CPU are filled from the scalar references first and overridden by the kernels of the
 * instruction set found.
 */
#ifndef RECTO_RUNTIME_DEVICE_H
#define RECTO_RUNTIME_DEVICE_H

#include "runtime/machine.h"
#include "runtime/plan.h"
#include "runtime/threads.h"
#include "runtime/vmem.h"

struct device;
struct accelerator;

/* Where the host writes the inputs of a run and then finds the result, rows as far apart as in the plan's buffer: in the arena,
 * or where a device copies them from and to. */
struct run_host {
    int32_t    *ids, *positions, *starts;
    const char *result;
};

/* One run of a plan: where its arena lies and how much of it is alive. */
struct run {
    const struct plan *plan;
    char              *arena;
    struct live        live;
    struct run_host    host;
};

/* How a node is to be divided among `workers`. */
struct division {
    int phases;    /* 1 or 2 */
    int parts[2];
};

typedef struct division device_divide(const struct device *device, const struct run *run, const struct plan_node *node,
                                      int workers);
typedef void            device_op(const struct device *device, const struct run *run, const struct plan_node *node, int phase,
                                  int part, int parts, int worker);

/* How much the engine gives a device at once. */
struct pack_limits {
    int least, most;  /* tokens that make a pack worth a run, and that it should not pass by much */
    int texts;        /* at most PACK_TEXTS_MOST */
};
enum { PACK_TEXTS_MOST = 512 };

struct device {
    const char        *name;     /* "cpu", "cuda" */
    const char        *variant;  /* the kernels in use, such as "avx512bf16" or "sm_90a" */
    const struct vmem *memory;   /* of arenas */
    void              *backend;  /* the device's own */
    struct pack_limits limits;
    int                runs;     /* at most so many at once; 0: as many as there are threads */
    device_divide     *divide;
    device_op         *ops[OPS];
    const struct accelerator *accelerator;  /* instead of the two above; null: the CPU */
};

/* The CPU with the best kernels that the machine has, or those named ("ref", "avx2", ...). */
MUST_CHECK status device_cpu(struct device *device, const struct machine *machine, const char *variant, struct error *error);

/* Whether the precision runs at the hardware's own rate, so that `auto` should choose it. */
bool device_has_fast_bf16(const struct device *device);

static inline void *run_buffer(const struct run *run, int buffer)
{
    return buffer == NO_BUFFER ? NULL : run->arena + plan_buffer(run->plan, buffer)->offset;
}
static inline size_t run_stride(const struct run *run, int buffer)
{
    return buffer == NO_BUFFER ? 0 : plan_buffer(run->plan, buffer)->stride;
}

/* For arenas that the host can reach. */
static inline struct run_host run_host_in_arena(const struct run *run)
{
    return (struct run_host){ run_buffer(run, PLAN_IDS), run_buffer(run, PLAN_POSITIONS), run_buffer(run, PLAN_STARTS),
                              run_buffer(run, plan_result(run->plan)) };
}

/* A part of a run in time, in seconds from the run's beginning: a node as one worker of the CPU saw it, waiting for others
 * included, or one kernel or copy of an accelerator. */
struct run_span {
    int         node;               /* -1: a copy of the inputs or the result */
    int         worker;
    const char *kernel;             /* null: all of the node */
    double      bytes, operations;  /* of the kernel or copy, at the plan's caps */
    double      start, end;
};

/* One run, for profiles. */
struct run_times {
    struct run_span *spans;    /* in any order */
    int              room;
    _Atomic int      count;    /* more than there is room for: the last ones were left out */
    double           seconds;  /* of the whole run */
};

/* Computes on the CPU: the inputs are in the arena, the result will be. `control` is scratch of run_control_bytes for teams of more
 * than one; it may be null for one worker. Workers beside the caller are claimed from `threads`. `times` may be null. */
void   run_plan(const struct device *device, const struct run *run, struct threads *threads, int workers, void *control,
                struct run_times *times);
size_t run_control_bytes(const struct plan *plan);

#endif
