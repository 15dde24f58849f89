#include "runtime/cuda_graphs.h"

enum { GRAPH_BYTES = 64 << 10, NODE_BYTES = 2 << 10 };  /* of one on the device, and of each of its nodes: an estimate */

void cuda_graphs_open(struct cuda_graphs *graphs, struct pool *pool)
{
    *graphs = (struct cuda_graphs){ .pool = pool };
    pthread_mutex_init(&graphs->lock, NULL);
}

/* The lock is held. */
static void drop(struct cuda_graphs *graphs, struct cuda_graph *entry)
{
    if (!entry->executable)
        return;
    cudaGraphExecDestroy(entry->executable);
    pool_discharge(graphs->pool, MEMORY_PLAN, entry->bytes);
    graphs->bytes -= entry->bytes;
    entry->executable = NULL;
    entry->bytes      = 0;
}

void cuda_graphs_forget(struct cuda_graphs *graphs, const struct plan *plan, const struct lane *lane)
{
    pthread_mutex_lock(&graphs->lock);
    for (int i = 0; i < CUDA_GRAPHS_MOST; i++) {
        struct cuda_graph *entry = &graphs->entries[i];
        if (entry->plan && (!plan || entry->plan == plan) && (!lane || entry->lane == lane)) {
            drop(graphs, entry);
            *entry = (struct cuda_graph){ 0 };
        }
    }
    pthread_mutex_unlock(&graphs->lock);
}

void cuda_graphs_close(struct cuda_graphs *graphs)
{
    cuda_graphs_forget(graphs, NULL, NULL);
    pthread_mutex_destroy(&graphs->lock);
}

/* The least recently used of those that nobody has; with `captured` among those with an executable. */
static struct cuda_graph *oldest(struct cuda_graphs *graphs, bool captured)
{
    struct cuda_graph *found = NULL;
    for (int i = 0; i < CUDA_GRAPHS_MOST; i++) {
        struct cuda_graph *entry = &graphs->entries[i];
        if (!entry->is_taken && (!captured || entry->executable) && (!found || entry->used < found->used))
            found = entry;
    }
    return found;
}

struct cuda_graph *cuda_graphs_take(struct cuda_graphs *graphs, const struct plan *plan, const struct lane *lane)
{
    struct cuda_graph *found = NULL;
    pthread_mutex_lock(&graphs->lock);
    for (int i = 0; i < CUDA_GRAPHS_MOST && !found; i++)
        if (graphs->entries[i].plan == plan && graphs->entries[i].lane == lane)
            found = &graphs->entries[i];
    if (!found && (found = oldest(graphs, false))) {
        graphs->evictions += found->executable != NULL;
        drop(graphs, found);
        *found = (struct cuda_graph){ .plan = plan, .lane = lane };
    }
    if (found) {
        found->is_taken = true;
        found->used     = ++graphs->clock;
    }
    pthread_mutex_unlock(&graphs->lock);
    return found;
}

void cuda_graphs_return(struct cuda_graphs *graphs, struct cuda_graph *entry)
{
    pthread_mutex_lock(&graphs->lock);
    entry->is_taken = false;
    pthread_mutex_unlock(&graphs->lock);
}

void cuda_graphs_drop(struct cuda_graphs *graphs, struct cuda_graph *entry)
{
    pthread_mutex_lock(&graphs->lock);
    drop(graphs, entry);
    pthread_mutex_unlock(&graphs->lock);
}

/* False: those that are left are taken, and leave no room. */
static bool make_room(struct cuda_graphs *graphs, size_t bytes)
{
    struct cuda_graph *victim = NULL;
    pthread_mutex_lock(&graphs->lock);
    while (graphs->bytes + bytes > CUDA_GRAPHS_BYTES && (victim = oldest(graphs, true))) {
        drop(graphs, victim);
        victim->runs = 0;
        graphs->evictions++;
    }
    bool fits = graphs->bytes + bytes <= CUDA_GRAPHS_BYTES;
    if (fits)
        graphs->bytes += bytes;
    pthread_mutex_unlock(&graphs->lock);
    return fits;
}

static void give_room(struct cuda_graphs *graphs, size_t bytes)
{
    pthread_mutex_lock(&graphs->lock);
    graphs->bytes -= bytes;
    pthread_mutex_unlock(&graphs->lock);
}

status cuda_graphs_keep(struct cuda_graphs *graphs, struct cuda_graph *entry, cudaGraph_t graph, struct cuda_context *context,
                        struct error *error)
{
    size_t      nodes = 0;
    cudaError_t code  = cudaGraphGetNodes(graph, NULL, &nodes);
    if (code != cudaSuccess)
        return cuda_context_fail(context, code, error, "counting the nodes of a graph");
    size_t bytes = GRAPH_BYTES + NODE_BYTES * nodes;
    if (!make_room(graphs, bytes))
        return error_set(error, STATUS_BUDGET, "cuda: graphs that are in use leave no room for one of %zu bytes within %d", bytes,
                         CUDA_GRAPHS_BYTES);
    status result = pool_charge(graphs->pool, MEMORY_PLAN, bytes, "a captured graph", error);  /* unlocked: it may reclaim */
    if (result == STATUS_OK) {
        code = cudaGraphInstantiate(&entry->executable, graph, 0);
        if (code == cudaSuccess) {
            entry->bytes = bytes;
            return STATUS_OK;
        }
        entry->executable = NULL;
        pool_discharge(graphs->pool, MEMORY_PLAN, bytes);
        result = cuda_context_fail(context, code, error, "the making of a graph of %zu nodes", nodes);
    }
    give_room(graphs, bytes);
    return result;
}

void cuda_graphs_usage(struct cuda_graphs *graphs, struct accelerator_usage *usage)
{
    pthread_mutex_lock(&graphs->lock);
    usage->graphs = 0;
    for (int i = 0; i < CUDA_GRAPHS_MOST; i++)
        usage->graphs += graphs->entries[i].executable != NULL;
    usage->graph_bytes = graphs->bytes;
    usage->evictions   = graphs->evictions;
    pthread_mutex_unlock(&graphs->lock);
}
