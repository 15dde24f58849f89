/* runtime_graph.c: capture of a stream into a graph, executables, replay. */
#include "tests/emu/runtime/runtime_internal_stream.h"

#include <stdlib.h>

/* What an executable takes of the device: the order of what real ones were seen to take. */
enum { EXECUTABLE_BYTES = 64 << 10, NODE_BYTES = 2 << 10 };

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, enum cudaStreamCaptureMode mode)
{
    cudaError_t result = call_begin(__func__, CALL_ALLOCATES);
    if (result == cudaSuccess && (!stream || stream->capture))
        result = cudaErrorStreamCaptureUnsupported;
    if (result == cudaSuccess) {
        stream->capture           = calloc(1, sizeof *stream->capture);
        stream->capture_is_broken = false;
        stream->mode              = mode;
        stream->capturer          = pthread_self();
        result                    = stream->capture ? cudaSuccess : cudaErrorMemoryAllocation;
        runtime_state.usage.graphs += stream->capture != NULL;
    }
    return call_end(result);
}

static void graph_free(cudaGraph_t graph)
{
    work_list_clear(&graph->nodes);
    free(graph);
    runtime_state.usage.graphs--;
}

/* The capture ends whatever is returned, but for another thread, for which it is none. */
cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t *graph)
{
    cudaError_t result = call_begin(__func__, CALL_RELEASES);
    *graph             = NULL;
    if (stream->capture && stream->mode != cudaStreamCaptureModeRelaxed && !pthread_equal(stream->capturer, pthread_self()))
        return call_end(cudaErrorStreamCaptureWrongThread);
    *graph             = stream->capture;
    stream->capture    = NULL;
    if (result == cudaSuccess && !*graph)
        result = cudaErrorInvalidValue;
    if (result == cudaSuccess && stream->capture_is_broken)
        result = cudaErrorStreamCaptureInvalidated;
    if (result != cudaSuccess && *graph) {
        graph_free(*graph);
        *graph = NULL;
    }
    runtime_state.usage.captures += result == cudaSuccess;
    return call_end(result);
}

cudaError_t cudaGraphGetNodes(cudaGraph_t graph, cudaGraphNode_t *nodes, size_t *count)
{
    cudaError_t result = call_begin(__func__, CALL_ASKS);
    if (result == cudaSuccess && nodes)
        result = cudaErrorNotSupported;  /* only their number is asked for */
    if (result == cudaSuccess)
        *count = (size_t)graph->nodes.count;
    return call_end(result);
}

static cudaError_t instantiate(cudaGraphExec_t *executable, cudaGraph_t graph)
{
    struct CUgraphExec_st *made = calloc(1, sizeof *made);
    if (!made)
        return cudaErrorMemoryAllocation;
    made->bytes = EXECUTABLE_BYTES + NODE_BYTES * (size_t)graph->nodes.count;
    if (!memory_take(made->bytes)) {
        free(made);
        return cudaErrorMemoryAllocation;
    }
    for (const struct work *node = graph->nodes.first; node; node = node->next) {
        struct work *copy = work_copy(node);
        if (!copy) {
            work_list_clear(&made->nodes);
            memory_give(made->bytes);
            free(made);
            return cudaErrorMemoryAllocation;
        }
        work_list_add(&made->nodes, copy);
    }
    runtime_state.usage.executables++;
    *executable = made;
    return cudaSuccess;
}

cudaError_t cudaGraphInstantiate(cudaGraphExec_t *executable, cudaGraph_t graph, unsigned long long flags)
{
    cudaError_t result = call_begin(__func__, CALL_ALLOCATES);
    if (result == cudaSuccess && (flags || stream_forbids()))  /* of the flags none is in use */
        result = flags ? cudaErrorInvalidValue : cudaErrorStreamCaptureUnsupported;
    return call_end(result == cudaSuccess ? instantiate(executable, graph) : result);
}

cudaError_t cudaGraphUpload(cudaGraphExec_t executable, cudaStream_t stream)
{
    cudaError_t result = call_begin(__func__, CALL_ASKS);
    (void)executable, (void)stream;
    return call_end(result);
}

static cudaError_t append_replayed(struct CUgraphExec_st *executable, const struct work *node, cudaStream_t stream)
{
    struct work *work = work_copy(node);
    if (work) {
        work->replays = &executable->pending;
        executable->pending++;
    }
    return stream_append(stream, work);
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t executable, cudaStream_t stream)
{
    cudaError_t result = call_begin(__func__, CALL_ASKS);
    if (result == cudaSuccess && stream_of(stream)->capture)
        result = cudaErrorStreamCaptureUnsupported;
    for (const struct work *node = executable->nodes.first; node && result == cudaSuccess; node = node->next)
        result = append_replayed(executable, node, stream);
    runtime_state.usage.replays += result == cudaSuccess;
    return call_end(result);
}

cudaError_t cudaGraphDestroy(cudaGraph_t graph)
{
    cudaError_t result = call_begin(__func__, CALL_RELEASES);
    graph_free(graph);
    return call_end(result);
}

cudaError_t cudaGraphExecDestroy(cudaGraphExec_t executable)
{
    cudaError_t result = call_begin(__func__, CALL_RELEASES);
    if (executable->pending && runtime_state.sticky == cudaSuccess)
        runtime_misuse("a graph was destroyed while it was pending");
    stream_forget_replays(&executable->pending);
    memory_give(executable->bytes);
    work_list_clear(&executable->nodes);
    free(executable);
    runtime_state.usage.executables--;
    return call_end(result);
}
