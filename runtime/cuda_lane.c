#include "runtime/cuda_lane.h"

#include "runtime/cuda_run.h"

#include <stdio.h>
#include <string.h>

/* Tries of a plan's capture. Staging memory doubles, since graphs hold its address and are made anew each time. */
enum { CAPTURE_TRIES = 3, STAGING_LEAST = 64 << 10 };

struct lane {
    struct cuda_device *device;
    cudaStream_t        stream;
    char               *staging;
    size_t              staging_bytes;
};

status cuda_lane_open(const struct device *device, struct lane **lane, struct error *error)
{
    struct cuda_device *cuda = device->backend;
    void               *block;
    *lane         = NULL;
    status result = pool_alloc(cuda->context.host_pool, MEMORY_ARENA, sizeof **lane, "a lane", &block, error);
    if (result != STATUS_OK)
        return result;
    struct lane *opened = block;
    *opened             = (struct lane){ .device = cuda };
    const struct cuda_stay stay = cuda_context_enter(&cuda->context);
    cudaError_t            code = cudaStreamCreateWithFlags(&opened->stream, cudaStreamNonBlocking);
    cuda_context_leave(&cuda->context, stay);
    if (code != cudaSuccess) {
        pool_free(cuda->context.host_pool, block);
        return cuda_context_fail(&cuda->context, code, error, "the opening of a stream");
    }
    *lane = opened;
    return STATUS_OK;
}

/* Graphs copy from and to this memory, so they go with it. */
static void release_staging(struct lane *lane)
{
    struct pool *pool = lane->device->context.host_pool;
    if (!lane->staging)
        return;
    cuda_graphs_forget(&lane->device->graphs, NULL, lane);
    cudaFreeHost(lane->staging);
    pool_discharge(pool, MEMORY_ARENA, lane->staging_bytes);
    lane->staging       = NULL;
    lane->staging_bytes = 0;
}

void cuda_lane_close(struct lane *lane)
{
    if (!lane)
        return;
    const struct cuda_stay stay = cuda_context_enter(&lane->device->context);
    cuda_graphs_forget(&lane->device->graphs, NULL, lane);
    cudaStreamDestroy(lane->stream);  /* every run has waited: nothing is pending */
    release_staging(lane);
    cuda_context_leave(&lane->device->context, stay);
    pool_free(lane->device->context.host_pool, lane);
}

void cuda_lane_trim(struct lane *lane)
{
    const struct cuda_stay stay = cuda_context_enter(&lane->device->context);
    release_staging(lane);
    cuda_context_leave(&lane->device->context, stay);
}

static status grow_staging(struct lane *lane, size_t bytes, struct error *error)
{
    struct cuda_context *context = &lane->device->context;
    size_t               room    = STAGING_LEAST;
    void                *block;
    while (room < bytes)
        room *= 2;
    release_staging(lane);
    status result = pool_charge(context->host_pool, MEMORY_ARENA, room, "the staging memory of a lane", error);
    if (result != STATUS_OK)
        return result;
    cudaError_t code = cudaHostAlloc(&block, room, cudaHostAllocDefault);
    if (code != cudaSuccess) {
        pool_discharge(context->host_pool, MEMORY_ARENA, room);
        return cuda_context_fail(context, code, error, "%zu bytes of pinned host memory", room);
    }
    lane->staging       = block;
    lane->staging_bytes = room;
    return STATUS_OK;
}

status cuda_lane_fit(struct lane *lane, struct run *run, struct error *error)
{
    struct cuda_layout layout = cuda_layout_of(run->plan);
    status             result = cuda_context_check(&lane->device->context, error);
    if (result == STATUS_OK && layout.staging_bytes > lane->staging_bytes) {
        const struct cuda_stay stay = cuda_context_enter(&lane->device->context);
        result                      = grow_staging(lane, layout.staging_bytes, error);
        cuda_context_leave(&lane->device->context, stay);
    }
    if (result != STATUS_OK)
        return result;
    run->host = (struct run_host){ .ids       = (void *)(lane->staging + layout.ids),
                                   .positions = (void *)(lane->staging + layout.positions),
                                   .starts    = (void *)(lane->staging + layout.starts),
                                   .result    = lane->staging + layout.result };
    return STATUS_OK;
}

/* ---- Running ---- */

static void count(struct lane *lane, uint64_t *counter, const char *reason)
{
    struct cuda_device *device = lane->device;
    pthread_mutex_lock(&device->lock);
    ++*counter;
    if (reason)
        snprintf(device->usage.reason, sizeof device->usage.reason, "%.255s", reason);
    pthread_mutex_unlock(&device->lock);
}

static struct cuda_run run_of(const struct lane *lane, const struct run *run, struct cuda_trace *trace)
{
    return (struct cuda_run){ &lane->device->context, run->plan, run->arena, lane->staging, lane->stream, trace };
}

static status await_stream(struct lane *lane, struct error *error)
{
    cuda_ranges_push(&lane->device->context.ranges, "wait");
    cudaError_t code = cuda_context_wait(lane->stream);
    cuda_ranges_pop(&lane->device->context.ranges);
    return code == cudaSuccess ? STATUS_OK : cuda_context_fail(&lane->device->context, code, error, "a run");
}

static status compute_eagerly(struct lane *lane, const struct run *run, struct cuda_trace *trace, struct error *error)
{
    const struct cuda_run work = run_of(lane, run, trace);
    const char           *where;
    struct error          waited;
    cuda_ranges_push(&lane->device->context.ranges, "launch");
    cudaError_t code = cuda_run_enqueue(&work, &where);
    cuda_ranges_pop(&lane->device->context.ranges);
    status result = await_stream(lane, code == cudaSuccess ? error : &waited);
    if (code == cudaErrorNotSupported)
        return error_set(error, STATUS_DEVICE, "cuda: no kernel covers '%s' on '%s'", where, lane->device->context.name);
    return code == cudaSuccess ? result : cuda_context_fail(&lane->device->context, code, error, "%s", where);
}

static status compute_timed(struct lane *lane, const struct run *run, struct run_times *times, struct error *error)
{
    struct cuda_context *context = &lane->device->context;
    struct cuda_trace    trace;
    status               result = cuda_trace_open(&trace, context, lane->stream, times, error);
    if (result != STATUS_OK)
        return result;
    count(lane, &lane->device->usage.eager, NULL);
    result = compute_eagerly(lane, run, &trace, error);
    if (result == STATUS_OK) {
        cudaError_t code = cuda_trace_read(&trace);
        result           = code == cudaSuccess ? STATUS_OK : cuda_context_fail(context, code, error, "the times of a run");
    }
    cuda_trace_close(&trace);
    return result;
}

/* The graph of a run; nothing is computed. */
static status record(struct lane *lane, const struct run *run, cudaGraph_t *graph, struct error *error)
{
    struct cuda_context  *context = &lane->device->context;
    const struct cuda_run work    = run_of(lane, run, NULL);
    const char           *where   = "the beginning of a capture";
    *graph                        = NULL;
    /* Other threads may allocate and wait meanwhile: their calls have nothing to do with this stream. */
    cudaError_t code = cudaStreamBeginCapture(lane->stream, cudaStreamCaptureModeThreadLocal);
    if (code != cudaSuccess)
        return cuda_context_fail(context, code, error, "%s", where);
    code              = cuda_run_enqueue(&work, &where);
    cudaError_t ended = cudaStreamEndCapture(lane->stream, graph);
    if (code == cudaSuccess && ended != cudaSuccess) {
        where = "the end of a capture";
        code  = ended;
    }
    if (code == cudaSuccess)
        return STATUS_OK;
    if (*graph)
        cudaGraphDestroy(*graph);
    return cuda_context_fail(context, code, error, "%s, captured,", where);
}

static status capture(struct lane *lane, const struct run *run, struct cuda_graph *entry, struct error *error)
{
    cudaGraph_t graph;
    cuda_ranges_push(&lane->device->context.ranges, "capture");
    status result = record(lane, run, &graph, error);
    if (result == STATUS_OK) {
        result = cuda_graphs_keep(&lane->device->graphs, entry, graph, &lane->device->context, error);
        cudaGraphDestroy(graph);  /* the executable lives without it */
    }
    cuda_ranges_pop(&lane->device->context.ranges);
    return result;
}

static status replay(struct lane *lane, const struct cuda_graph *entry, struct error *error)
{
    struct error waited;
    cuda_ranges_push(&lane->device->context.ranges, "replay");
    cudaError_t code = cudaGraphLaunch(entry->executable, lane->stream);
    cuda_ranges_pop(&lane->device->context.ranges);
    status result = await_stream(lane, code == cudaSuccess ? error : &waited);
    return code == cudaSuccess ? result : cuda_context_fail(&lane->device->context, code, error, "the launch of a graph");
}

/* Captures where it is time to, then replays. Anything but STATUS_OK: no graph, or it did not work, and `reason` says why;
 * empty: it is the plan's first run. */
static status try_graph(struct lane *lane, const struct run *run, struct cuda_graph *entry, struct error *reason)
{
    reason->message[0] = 0;
    if (!entry)
        return error_set(reason, STATUS_BUDGET, "all %d graphs are in use", CUDA_GRAPHS_MOST);
    if (entry->runs == 0)
        return STATUS_BUDGET;
    if (!entry->executable && entry->failures >= CAPTURE_TRIES)
        return error_set(reason, STATUS_DEVICE, "the capture of this plan has failed %d times", CAPTURE_TRIES);
    status result = STATUS_OK;
    if (!entry->executable) {
        result = capture(lane, run, entry, reason);
        if (result == STATUS_OK)
            count(lane, &lane->device->usage.captures, NULL);
        else
            entry->failures++;
    }
    if (result == STATUS_OK)
        result = replay(lane, entry, reason);
    if (result != STATUS_OK)
        cuda_graphs_drop(&lane->device->graphs, entry);
    return result;
}

/* By a graph where there is one; else kernel by kernel, which is counted with the reason. */
static status compute(struct lane *lane, const struct run *run, struct error *error)
{
    struct cuda_device *device = lane->device;
    struct error        reason;
    struct cuda_graph  *entry  = cuda_graphs_take(&device->graphs, run->plan, lane);
    status              result = try_graph(lane, run, entry, &reason);
    if (result == STATUS_OK) {
        count(lane, &device->usage.replays, NULL);
    } else if (atomic_load(&device->context.is_lost)) {
        result = cuda_context_check(&device->context, error);
    } else {
        bool first = !reason.message[0];
        count(lane, first ? &device->usage.eager : &device->usage.fallbacks, first ? NULL : reason.message);
        result = compute_eagerly(lane, run, NULL, error);
        if (entry)
            entry->runs += result == STATUS_OK;
    }
    if (entry)
        cuda_graphs_return(&device->graphs, entry);
    return result;
}

status cuda_lane_run(struct lane *lane, const struct run *run, struct run_times *times, struct error *error)
{
    struct cuda_device *device = lane->device;
    struct cuda_live   *live   = (void *)lane->staging;
    status              result = cuda_context_check(&device->context, error);
    if (result != STATUS_OK)
        return result;
    *live                       = (struct cuda_live){ run->live.tokens, run->live.sequences };
    const struct cuda_stay stay = cuda_context_enter(&device->context);
    cuda_ranges_push_count(&device->context.ranges, "run", (uint64_t)run->live.tokens);
    result = times ? compute_timed(lane, run, times, error) : compute(lane, run, error);
    cuda_ranges_pop(&device->context.ranges);
    cuda_context_leave(&device->context, stay);
    return result;
}
