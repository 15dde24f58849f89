/* cuda_graphs.h: the runs that were captured, by plan and lane, least recently used first out.
 *
 * At most CUDA_GRAPHS_MOST are kept, and CUDA_GRAPHS_BYTES of them by an estimate (what the driver takes for one cannot be
 * asked), booked in the pool of device memory. Whoever takes an entry has it for itself until it is returned; plans and lanes
 * are forgotten before they are closed, when nobody runs them.
 */
#ifndef RECTO_RUNTIME_CUDA_GRAPHS_H
#define RECTO_RUNTIME_CUDA_GRAPHS_H

#include "runtime/accelerator.h"
#include "runtime/cuda_context.h"

enum { CUDA_GRAPHS_MOST = 32, CUDA_GRAPHS_BYTES = 64 << 20 };

/* One plan on one lane: runs so far, and the graph once there is one. */
struct cuda_graph {
    const struct plan *plan;        /* null: a free entry */
    const struct lane *lane;
    cudaGraphExec_t    executable;  /* null: none yet */
    size_t             bytes;
    uint64_t           used;        /* when, in takes */
    int                runs;        /* that succeeded kernel by kernel: all kernels are loaded, which a capture must not do */
    int                failures;    /* captures that did not succeed */
    bool               is_taken;
};

struct cuda_graphs {
    struct pool      *pool;
    pthread_mutex_t   lock;
    struct cuda_graph entries[CUDA_GRAPHS_MOST];
    uint64_t          clock, evictions;
    size_t            bytes;
};

void cuda_graphs_open(struct cuda_graphs *graphs, struct pool *pool);
void cuda_graphs_close(struct cuda_graphs *graphs);

/* The entry of a plan on a lane, a new one where there was none; null: all are taken. */
struct cuda_graph *cuda_graphs_take(struct cuda_graphs *graphs, const struct plan *plan, const struct lane *lane);
void               cuda_graphs_return(struct cuda_graphs *graphs, struct cuda_graph *entry);

/* Books what a captured graph of so many nodes will take, after evicting others where that is needed, and turns it into the
 * executable of a taken entry. The graph stays the caller's. */
MUST_CHECK status cuda_graphs_keep(struct cuda_graphs *graphs, struct cuda_graph *entry, cudaGraph_t graph,
                                   struct cuda_context *context, struct error *error);
/* A taken entry without its executable, to be captured anew. */
void cuda_graphs_drop(struct cuda_graphs *graphs, struct cuda_graph *entry);

/* Everything of the plan, or of the lane; null: of any. */
void cuda_graphs_forget(struct cuda_graphs *graphs, const struct plan *plan, const struct lane *lane);

/* Fills in graphs, graph_bytes and evictions. */
void cuda_graphs_usage(struct cuda_graphs *graphs, struct accelerator_usage *usage);

#endif
