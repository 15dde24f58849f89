/* What the host side takes for granted of CUDA's runtime and driver, asked one by one: where memory may be mapped and by whom, what
 * a capture holds and survives, which errors are over when a call returns. The same program runs on the emulated runtime, which was
 * written from the manual, and on a GPU, which knows better. With --lose the device is lost at the end, on purpose. */
#include "runtime/cuda_context.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* One small job: rows up, made length one, down again; its device memory is two pieces, which the rows straddle. */
enum { ROWS = 4, WIDTH = 64, ROW_BYTES = WIDTH * 4, DATA_BYTES = ROWS * ROW_BYTES, LIVE_BYTES = 256 };

struct stand {
    struct cuda_context context;
    struct error        error;
    cudaStream_t        stream;
    size_t              piece;
    struct cuda_stay    stay;     /* of the thread that asks */
    char               *base;     /* two pieces of addresses */
    char               *staging;  /* live counts, x, y; pinned */
    cudaGraphExec_t     executable;
};

static float *staged_x(const struct stand *s) { return (void *)(s->staging + LIVE_BYTES); }
static float *staged_y(const struct stand *s) { return (void *)(s->staging + LIVE_BYTES + DATA_BYTES); }

static cudaError_t enqueue(struct stand *s)
{
    char                       *place  = s->base + s->piece - LIVE_BYTES - ROW_BYTES;  /* the second row is in the second piece */
    char                       *x      = place + LIVE_BYTES, *y = x + DATA_BYTES;
    const struct cuda_launch    launch = { .facts = &s->context.facts, .stream = s->stream, .live = (const void *)place,
                                           .tokens = ROWS, .sequences = ROWS, .longest = 1, .rows = CUDA_ROWS_SEQUENCES };
    const struct normalize_args args   = { .x = (const void *)x, .x_stride = ROW_BYTES, .width = WIDTH, .y = (void *)y,
                                           .y_stride = ROW_BYTES };
    cudaError_t code = cudaMemcpyAsync(place, s->staging, LIVE_BYTES + DATA_BYTES, cudaMemcpyHostToDevice, s->stream);
    if (code == cudaSuccess)
        code = s->context.kernels->normalize_l2(&launch, &args);
    return code == cudaSuccess ? cudaMemcpyAsync(staged_y(s), y, DATA_BYTES, cudaMemcpyDeviceToHost, s->stream) : code;
}

static void fill(struct stand *s, int seed)
{
    const struct cuda_live live = { ROWS, ROWS };
    memset(s->staging, 0xff, LIVE_BYTES + 2 * DATA_BYTES);
    memcpy(s->staging, &live, sizeof live);
    for (int i = 0; i < ROWS * WIDTH; i++)
        staged_x(s)[i] = (float)((i * 7 + seed * 13) % 31) - 15.5f;
}

static bool is_right(const struct stand *s)
{
    for (int row = 0; row < ROWS; row++) {
        const float *x = staged_x(s) + row * WIDTH, *y = staged_y(s) + row * WIDTH;
        double       sum = 0;
        for (int i = 0; i < WIDTH; i++)
            sum += (double)x[i] * (double)x[i];
        for (int i = 0; i < WIDTH; i++)
            if (!(fabs((double)y[i] - (double)x[i] / sqrt(sum)) < 1e-6))
                return false;
    }
    return true;
}

static bool waits_well(struct stand *s) { return cudaStreamSynchronize(s->stream) == cudaSuccess; }

static bool works_eagerly(struct stand *s, int seed)
{
    fill(s, seed);
    return enqueue(s) == cudaSuccess && waits_well(s) && is_right(s);
}

static bool replays(struct stand *s, int seed)
{
    fill(s, seed);
    return cudaGraphLaunch(s->executable, s->stream) == cudaSuccess && waits_well(s) && is_right(s);
}

/* ---- Memory ---- */

static bool map(struct stand *s, size_t offset, size_t bytes)
{
    return s->context.memory.map(&s->context.memory, s->base, offset, bytes, &s->error) == STATUS_OK;
}

static void unmap(struct stand *s, size_t offset, size_t bytes)
{
    s->context.memory.unmap(&s->context.memory, s->base, offset, bytes);
}

static bool pieces_are_one_range(struct stand *s)
{
    return map(s, 0, s->piece) && map(s, s->piece, s->piece) && works_eagerly(s, 1);
}

static bool a_piece_goes_alone(struct stand *s)
{
    unmap(s, s->piece, s->piece);
    const bool first = cudaMemsetAsync(s->base, 1, s->piece, s->stream) == cudaSuccess && waits_well(s);
    return first && map(s, s->piece, s->piece) && works_eagerly(s, 2);
}

/* More than any device has: refused, and over. */
static bool too_much_memory_is_refused(struct stand *s)
{
    const CUmemAllocationProp    property = { .type     = CU_MEM_ALLOCATION_TYPE_PINNED,
                                              .location = { .type = CU_MEM_LOCATION_TYPE_DEVICE, .id = 0 } };
    CUmemGenericAllocationHandle handle;
    return s->context.driver.create(&handle, s->piece << 22, &property, 0) == CUDA_ERROR_OUT_OF_MEMORY && works_eagerly(s, 3);
}

/* ---- Captures ---- */

static bool begins(struct stand *s) { return cudaStreamBeginCapture(s->stream, cudaStreamCaptureModeThreadLocal) == cudaSuccess; }

static bool a_capture_computes_nothing(struct stand *s)
{
    cudaGraph_t graph = NULL;
    size_t      nodes = 0;
    fill(s, 4);
    if (!begins(s) || enqueue(s) != cudaSuccess || cudaStreamEndCapture(s->stream, &graph) != cudaSuccess || !waits_well(s))
        return false;
    const bool made = cudaGraphGetNodes(graph, NULL, &nodes) == cudaSuccess && nodes == 3 &&
                      cudaGraphInstantiate(&s->executable, graph, 0) == cudaSuccess;
    return cudaGraphDestroy(graph) == cudaSuccess && made && !is_right(s);
}

static bool a_replay_reads_pinned_memory_anew(struct stand *s) { return replays(s, 5) && replays(s, 6); }

static bool a_replay_survives_new_memory(struct stand *s)
{
    unmap(s, 0, 2 * s->piece);
    if (!map(s, 0, 2 * s->piece) || cudaMemsetAsync(s->base, 0xff, 2 * s->piece, s->stream) != cudaSuccess)
        return false;
    return replays(s, 7) && works_eagerly(s, 8) && replays(s, 9);
}

static bool a_forbidden_call_ends_a_capture(struct stand *s)
{
    cudaGraph_t graph = NULL;
    void       *memory;
    if (!begins(s) || cudaMalloc(&memory, 256) != cudaErrorStreamCaptureUnsupported ||
        cudaStreamEndCapture(s->stream, &graph) != cudaErrorStreamCaptureInvalidated || graph)
        return false;
    cudaGetLastError();
    return works_eagerly(s, 10) && replays(s, 11);
}

/* ---- Threads ---- */

struct errand {
    struct stand *stand;
    bool (*deed)(struct stand *s);
    bool succeeded;
};

static void *run_errand(void *argument)
{
    struct errand *errand = argument;
    errand->succeeded     = errand->deed(errand->stand);
    return NULL;
}

static bool in_a_thread(struct stand *s, bool (*deed)(struct stand *s))
{
    pthread_t     thread;
    struct errand errand = { s, deed, false };
    return pthread_create(&thread, NULL, run_errand, &errand) == 0 && pthread_join(thread, NULL) == 0 && errand.succeeded;
}

/* In a thread that has called nothing before, and has no context again afterwards. */
static bool maps_alone(struct stand *s)
{
    CUcontext context;
    unmap(s, 0, 2 * s->piece);
    return map(s, 0, 2 * s->piece) && s->context.driver.context_pop(&context) == CUDA_ERROR_INVALID_CONTEXT;
}

static bool a_new_thread_can_map(struct stand *s) { return in_a_thread(s, maps_alone) && replays(s, 12); }

static bool computes_alone(struct stand *s)
{
    const struct cuda_stay stay  = cuda_context_enter(&s->context);
    const bool             right = works_eagerly(s, 13) && replays(s, 14);
    cuda_context_leave(&s->context, stay);
    return right;
}

static bool a_new_thread_can_compute(struct stand *s) { return in_a_thread(s, computes_alone); }

static bool takes_and_gives(struct stand *s)
{
    const struct cuda_stay stay = cuda_context_enter(&s->context);
    void                  *memory, *pinned;
    unmap(s, 0, 2 * s->piece);
    const bool took = map(s, 0, 2 * s->piece) && cudaMalloc(&memory, 256) == cudaSuccess && cudaFree(memory) == cudaSuccess &&
                      cudaHostAlloc(&pinned, 256, cudaHostAllocDefault) == cudaSuccess && cudaFreeHost(pinned) == cudaSuccess;
    cuda_context_leave(&s->context, stay);
    return took;
}

static bool others_may_allocate_during_a_capture(struct stand *s)
{
    cudaGraph_t graph = NULL;
    if (!begins(s))
        return false;
    const bool took = in_a_thread(s, takes_and_gives), added = enqueue(s) == cudaSuccess;
    if (cudaStreamEndCapture(s->stream, &graph) != cudaSuccess)
        return false;
    return cudaGraphDestroy(graph) == cudaSuccess && took && added && replays(s, 15);
}

/* A program around us captures in the mode that forbids others everything. */
static bool a_global_capture_elsewhere_is_let_be(struct stand *s)
{
    cudaStream_t stream;
    cudaGraph_t  graph = NULL;
    if (cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking) != cudaSuccess ||
        cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal) != cudaSuccess)
        return false;
    const bool took = in_a_thread(s, takes_and_gives) && in_a_thread(s, computes_alone);
    if (cudaStreamEndCapture(stream, &graph) != cudaSuccess)
        return false;
    return cudaGraphDestroy(graph) == cudaSuccess && cudaStreamDestroy(stream) == cudaSuccess && took;
}

static bool ends_a_capture(struct stand *s)
{
    cudaGraph_t            graph   = NULL;
    const struct cuda_stay stay    = cuda_context_enter(&s->context);
    const bool             refused = cudaStreamEndCapture(s->stream, &graph) == cudaErrorStreamCaptureWrongThread;
    cuda_context_leave(&s->context, stay);
    return refused;
}

static bool a_capture_ends_where_it_began(struct stand *s)
{
    cudaGraph_t graph   = NULL;
    const bool  refused = begins(s) && in_a_thread(s, ends_a_capture);
    if (cudaStreamEndCapture(s->stream, &graph) == cudaSuccess)
        cudaGraphDestroy(graph);
    cudaGetLastError();
    return refused && works_eagerly(s, 16);
}

/* ---- Events ---- */

static bool an_event_never_recorded_is_reached(struct stand *s)
{
    cudaEvent_t event;
    (void)s;
    return cudaEventCreateWithFlags(&event, cudaEventDisableTiming) == cudaSuccess && cudaEventSynchronize(event) == cudaSuccess &&
           cudaEventDestroy(event) == cudaSuccess;
}

/* ---- The end ---- */

/* A kernel reads where nothing is mapped. That the device is lost is seen at the wait, by every call after it, and told. */
static bool a_fault_is_told_and_sticks(struct stand *s)
{
    const struct cuda_launch    launch = { .facts = &s->context.facts, .stream = s->stream, .live = (const void *)s->base,
                                           .tokens = ROWS, .sequences = ROWS, .longest = 1, .rows = CUDA_ROWS_SEQUENCES };
    const struct normalize_args args   = { .x = (const void *)s->base, .x_stride = ROW_BYTES, .width = WIDTH, .y = (void *)s->base,
                                           .y_stride = ROW_BYTES };
    size_t free_bytes, total;
    unmap(s, 0, 2 * s->piece);
    const cudaError_t launched = s->context.kernels->normalize_l2(&launch, &args), waited = cudaStreamSynchronize(s->stream);
    const bool        sticks   = cudaMemGetInfo(&free_bytes, &total) == waited && cudaStreamSynchronize(s->stream) == waited;
    const status      judged   = cuda_context_fail(&s->context, waited, &s->error, "a kernel that reads what is not there");
    return launched == cudaSuccess && waited == cudaErrorIllegalAddress && sticks && judged == STATUS_DEVICE &&
           atomic_load(&s->context.is_lost);
}

static const struct fact {
    const char *name;
    bool (*holds)(struct stand *s);
} facts[] = {
    { "pieces that are mapped one by one are one range", pieces_are_one_range },
    { "one piece is unmapped and mapped again beside another", a_piece_goes_alone },
    { "too much memory is refused, and nothing else comes of it", too_much_memory_is_refused },
    { "what is captured is not computed", a_capture_computes_nothing },
    { "a replay reads pinned memory anew", a_replay_reads_pinned_memory_anew },
    { "a replay works on new memory at the same addresses", a_replay_survives_new_memory },
    { "a forbidden call ends a capture and harms nothing else", a_forbidden_call_ends_a_capture },
    { "a thread that never called CUDA can map memory, and keeps no context", a_new_thread_can_map },
    { "such a thread can compute and replay", a_new_thread_can_compute },
    { "other threads may map, unmap, allocate and pin during a capture", others_may_allocate_during_a_capture },
    { "a capture of another thread, global, is let be by all that is done meanwhile", a_global_capture_elsewhere_is_let_be },
    { "a capture ends in the thread where it began", a_capture_ends_where_it_began },
    { "an event that was never recorded is not waited for", an_event_never_recorded_is_reached },
};

static int check(struct stand *s, const struct fact *fact)
{
    const bool holds = fact->holds(s);
    printf("%s %s\n", holds ? "ok    " : "FAILED", fact->name);
    return !holds;
}

static bool opened(struct stand *s, struct pool *pool)
{
    bool  absent;
    void *base, *staging;
    if (cuda_context_open(&s->context, pool, pool, &absent, &s->error) != STATUS_OK)
        return false;
    s->piece = s->context.memory.granularity;
    if (s->context.memory.reserve(&s->context.memory, 2 * s->piece, &base, &s->error) != STATUS_OK)
        return false;
    s->base = base;
    s->stay = cuda_context_enter(&s->context);
    if (!s->stay.is_current || !s->stay.is_apart || cudaStreamCreateWithFlags(&s->stream, cudaStreamNonBlocking) != cudaSuccess ||
        cudaHostAlloc(&staging, LIVE_BYTES + 2 * DATA_BYTES, cudaHostAllocDefault) != cudaSuccess)
        return error_set(&s->error, STATUS_DEVICE, "no stream, or no pinned memory") == STATUS_OK;
    s->staging = staging;
    return true;
}

static void closed(struct stand *s)
{
    cudaGraphExecDestroy(s->executable);
    cudaStreamDestroy(s->stream);
    cudaFreeHost(s->staging);
    unmap(s, 0, 2 * s->piece);
    s->context.memory.release(&s->context.memory, s->base, 2 * s->piece);
    cuda_context_leave(&s->context, s->stay);
    cuda_context_close(&s->context);
}

int main(int argc, char **argv)
{
    struct stand s    = { .piece = 0 };
    struct pool *pool = NULL;
    int          wrong = 0;
    if (pool_open(&pool, 0, &s.error) != STATUS_OK || !opened(&s, pool)) {
        fprintf(stderr, "%s\n", s.error.message);
        return 1;
    }
    for (size_t i = 0; i < sizeof facts / sizeof *facts; i++)
        wrong += check(&s, &facts[i]);
    if (argc > 1 && strcmp(argv[1], "--lose") == 0)
        wrong += check(&s, &(struct fact){ "a fault of the device is told, and sticks", a_fault_is_told_and_sticks });
    else
        closed(&s);
    pool_close(pool);
    printf("%s: %d of what the host side takes for granted %s wrong\n", s.context.name, wrong, wrong == 1 ? "is" : "are");
    return wrong != 0;
}
