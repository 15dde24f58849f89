#include "runtime/cuda_trace.h"

status cuda_trace_open(struct cuda_trace *trace, struct cuda_context *context, cudaStream_t stream, struct run_times *times,
                       struct error *error)
{
    void  *block;
    status result = pool_alloc(context->host_pool, MEMORY_PLAN, ((size_t)times->room + 1) * sizeof *trace->events,
                               "the events of a profile", &block, error);
    if (result != STATUS_OK)
        return result;
    *trace           = (struct cuda_trace){ .times = times, .pool = context->host_pool, .stream = stream, .events = block };
    cudaError_t code = cudaSuccess;
    while (code == cudaSuccess && trace->made <= times->room) {
        code = cudaEventCreateWithFlags(&trace->events[trace->made], cudaEventDefault);
        trace->made += code == cudaSuccess;
    }
    if (code == cudaSuccess)
        return STATUS_OK;
    cuda_trace_close(trace);
    return cuda_context_fail(context, code, error, "the making of %d events", times->room + 1);
}

static int marks_of(const struct cuda_trace *trace)
{
    return trace->count < trace->times->room ? trace->count : trace->times->room;
}

void cuda_trace_mark(struct cuda_trace *trace, const struct cuda_cost *cost)
{
    const int i = trace->count++;
    if (i >= trace->times->room || trace->failed != cudaSuccess)
        return;
    trace->failed          = cudaEventRecord(trace->events[i], trace->stream);
    trace->times->spans[i] = (struct run_span){ .node = trace->node, .kernel = cost->kernel, .bytes = cost->bytes,
                                                .operations = cost->operations };
}

void cuda_trace_end(struct cuda_trace *trace)
{
    if (trace->failed == cudaSuccess)
        trace->failed = cudaEventRecord(trace->events[marks_of(trace)], trace->stream);
}

cudaError_t cuda_trace_read(struct cuda_trace *trace)
{
    struct run_times *times = trace->times;
    cudaError_t       code  = trace->failed;
    double            start = 0.0;
    for (int i = 0; code == cudaSuccess && i < marks_of(trace); i++) {
        float milliseconds    = 0.0f;
        code                  = cudaEventElapsedTime(&milliseconds, trace->events[0], trace->events[i + 1]);
        times->spans[i].start = start;
        times->spans[i].end = start = 1e-3 * (double)milliseconds;
    }
    times->count   = trace->count;
    times->seconds = start;
    return code;
}

void cuda_trace_close(struct cuda_trace *trace)
{
    for (int i = 0; i < trace->made; i++)
        cudaEventDestroy(trace->events[i]);
    pool_free(trace->pool, trace->events);
}
