/* cuda_trace.h: when each kernel and copy of one run was computed, from events in its stream: one before each, one at the end.
 *
 * For profiles alone: the run is launched kernel by kernel, since nothing can be recorded between the nodes of a graph, and the
 * events are made for it and given back after it. What the stream waits for a launch that comes late counts to that launch; so
 * do small kernels show what it takes to launch them.
 */
#ifndef RECTO_RUNTIME_CUDA_TRACE_H
#define RECTO_RUNTIME_CUDA_TRACE_H

#include "runtime/cuda_context.h"
#include "runtime/device.h"

struct cuda_trace {
    struct run_times *times;
    struct pool      *pool;
    cudaStream_t      stream;
    cudaEvent_t      *events;  /* [times->room + 1] */
    int               made;
    int               count;   /* of what was marked, also without room */
    int               node;    /* of the marks that follow */
    cudaError_t       failed;  /* the first failure of a mark */
};

MUST_CHECK status cuda_trace_open(struct cuda_trace *trace, struct cuda_context *context, cudaStream_t stream,
                                  struct run_times *times, struct error *error);
/* What the stream is asked for next. */
void cuda_trace_mark(struct cuda_trace *trace, const struct cuda_cost *cost);
/* Nothing more. */
void cuda_trace_end(struct cuda_trace *trace);
/* Fills in the times of a run that is done. */
MUST_CHECK cudaError_t cuda_trace_read(struct cuda_trace *trace);
void                   cuda_trace_close(struct cuda_trace *trace);

#endif
