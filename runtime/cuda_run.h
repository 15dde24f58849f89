/* cuda_run.h: one run of a plan as work of a stream: inputs up, the plan's nodes, the result down.
 *
 * The same calls serve a run that is computed at once and one that is captured. Everything is sized by the plan's caps and lies
 * at places that depend on the plan alone, so what was captured stays right for every mix of lengths: only what lies in the
 * staging memory changes, the live counts among it.
 *
 *   arena    [the plan's buffers][inputs: live counts, starts, ids, positions][attention's schedule]
 *   staging  [inputs, as in the arena][result: rows at the caps]; pinned memory of the host
 */
#ifndef RECTO_RUNTIME_CUDA_RUN_H
#define RECTO_RUNTIME_CUDA_RUN_H

#include "runtime/cuda_trace.h"
#include "runtime/plan.h"

struct cuda_layout {
    size_t starts, ids, positions;  /* from the start of the inputs, which the live counts begin */
    size_t input_bytes;
    size_t inputs, schedule;        /* from the start of the arena */
    size_t arena_bytes;
    size_t result;                  /* from the start of the staging memory */
    size_t result_bytes, staging_bytes;
};

struct cuda_layout cuda_layout_of(const struct plan *plan);

struct cuda_run {
    const struct cuda_context *context;
    const struct plan         *plan;
    char                      *arena;    /* device memory */
    char                      *staging;  /* pinned */
    cudaStream_t               stream;
    struct cuda_trace         *trace;    /* told of every copy and kernel; null: nobody listens */
};

/* Asks for all of it, and waits for nothing. On failure `where` says in what. */
cudaError_t cuda_run_enqueue(const struct cuda_run *run, const char **where);

#endif
