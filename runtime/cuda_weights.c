#include "runtime/cuda_weights.h"

#include "runtime/cuda_lane.h"

#include <string.h>

enum { BUFFERS = 2, BUFFER_MOST = 4 << 20 };  /* large enough that the copy, not its start, takes the time */

struct device_weights {
    struct cuda_context *context;
    char                *base;
    size_t               bytes;              /* whole pieces of memory */
    bool                 is_awake;
    cudaStream_t         stream;             /* this and the rest while uploading */
    char                *buffers[BUFFERS];
    size_t               buffer_bytes;
    cudaEvent_t          copied[BUFFERS];    /* the buffer may be filled again */
    int                  next;
};

status cuda_weights_open(const struct device *device, size_t bytes, struct device_weights **weights, struct error *error)
{
    struct cuda_device *cuda = device->backend;
    const struct vmem  *vmem = &cuda->context.memory;
    void               *block, *base;
    *weights      = NULL;
    status result = pool_alloc(cuda->context.host_pool, MEMORY_WEIGHTS, sizeof **weights, "weights on a GPU", &block, error);
    if (result != STATUS_OK)
        return result;
    struct device_weights *opened = memset(block, 0, sizeof *opened);
    opened->context               = &cuda->context;
    opened->bytes                 = (bytes + vmem->granularity - 1) / vmem->granularity * vmem->granularity;
    result                        = vmem->reserve(vmem, opened->bytes, &base, error);
    if (result == STATUS_OK) {
        opened->base = base;
        result       = cuda_weights_wake(opened, error);
    }
    if (result != STATUS_OK)
        cuda_weights_close(opened);
    else
        *weights = opened;
    return result;
}

char *cuda_weights_base(const struct device_weights *weights) { return weights->base; }

/* Waits for what is on its way. */
static cudaError_t end_upload(struct device_weights *w)
{
    cudaError_t code = w->stream ? cuda_context_wait(w->stream) : cudaSuccess;
    for (int i = 0; i < BUFFERS; i++) {
        if (w->copied[i])
            cudaEventDestroy(w->copied[i]);
        if (w->buffers[i]) {
            cudaFreeHost(w->buffers[i]);
            pool_discharge(w->context->host_pool, MEMORY_LOAD, w->buffer_bytes);
        }
        w->copied[i]  = NULL;
        w->buffers[i] = NULL;
    }
    if (w->stream)
        cudaStreamDestroy(w->stream);
    w->stream = NULL;
    return code;
}

static status begin_upload(struct device_weights *w, struct error *error)
{
    cudaError_t code   = cudaStreamCreateWithFlags(&w->stream, cudaStreamNonBlocking);
    status      result = STATUS_OK;
    w->buffer_bytes    = w->bytes < BUFFER_MOST ? w->bytes : BUFFER_MOST;
    for (int i = 0; i < BUFFERS && code == cudaSuccess && result == STATUS_OK; i++) {
        void *block = NULL;
        result      = pool_charge(w->context->host_pool, MEMORY_LOAD, w->buffer_bytes, "the upload of weights", error);
        if (result == STATUS_OK && (code = cudaHostAlloc(&block, w->buffer_bytes, cudaHostAllocDefault)) != cudaSuccess)
            pool_discharge(w->context->host_pool, MEMORY_LOAD, w->buffer_bytes);
        else
            w->buffers[i] = block;
        if (result == STATUS_OK && code == cudaSuccess)
            code = cudaEventCreateWithFlags(&w->copied[i], cudaEventDisableTiming);
    }
    if (code != cudaSuccess)
        result = cuda_context_fail(w->context, code, error, "the upload of weights");
    return result;
}

static cudaError_t put_some(struct device_weights *w, size_t offset, const void *data, size_t bytes)
{
    int         i    = w->next++ % BUFFERS;
    cudaError_t code = cudaEventSynchronize(w->copied[i]);  /* at once where nothing was recorded yet */
    if (code == cudaSuccess) {
        memcpy(w->buffers[i], data, bytes);
        code = cudaMemcpyAsync(w->base + offset, w->buffers[i], bytes, cudaMemcpyHostToDevice, w->stream);
    }
    return code == cudaSuccess ? cudaEventRecord(w->copied[i], w->stream) : code;
}

status cuda_weights_put(struct device_weights *w, size_t offset, const void *data, size_t bytes, struct error *error)
{
    const struct cuda_stay stay   = cuda_context_enter(w->context);
    status                 result = w->stream ? STATUS_OK : begin_upload(w, error);
    if (result == STATUS_OK && (offset > w->bytes || bytes > w->bytes - offset))
        result = error_set(error, STATUS_INTERNAL, "cuda: weights at %zu to %zu, beyond %zu", offset, offset + bytes, w->bytes);
    for (size_t done = 0; done < bytes && result == STATUS_OK; done += w->buffer_bytes) {
        size_t      some = bytes - done < w->buffer_bytes ? bytes - done : w->buffer_bytes;
        cudaError_t code = put_some(w, offset + done, (const char *)data + done, some);
        if (code != cudaSuccess)
            result = cuda_context_fail(w->context, code, error, "the upload of weights");
    }
    cuda_context_leave(w->context, stay);
    return result;
}

status cuda_weights_finish(struct device_weights *w, struct error *error)
{
    const struct cuda_stay stay = cuda_context_enter(w->context);
    cudaError_t            code = end_upload(w);
    cuda_context_leave(w->context, stay);
    return code == cudaSuccess ? STATUS_OK : cuda_context_fail(w->context, code, error, "the upload of weights");
}

void cuda_weights_sleep(struct device_weights *w)
{
    const struct vmem *vmem = &w->context->memory;
    if (!w->is_awake)
        return;
    const struct cuda_stay stay = cuda_context_enter(w->context);
    end_upload(w);
    vmem->unmap(vmem, w->base, 0, w->bytes);
    cuda_context_leave(w->context, stay);
    pool_discharge(w->context->device_pool, MEMORY_WEIGHTS, w->bytes);
    w->is_awake = false;
}

status cuda_weights_wake(struct device_weights *w, struct error *error)
{
    const struct vmem *vmem   = &w->context->memory;
    status             result = STATUS_OK;
    if (w->is_awake)
        return STATUS_OK;
    result = pool_charge(w->context->device_pool, MEMORY_WEIGHTS, w->bytes, "the weights of a model on the GPU", error);
    if (result != STATUS_OK)
        return result;
    result = vmem->map(vmem, w->base, 0, w->bytes, error);
    if (result != STATUS_OK)
        pool_discharge(w->context->device_pool, MEMORY_WEIGHTS, w->bytes);
    w->is_awake = result == STATUS_OK;
    return result;
}

void cuda_weights_close(struct device_weights *w)
{
    if (!w)
        return;
    struct pool *pool = w->context->host_pool;
    cuda_weights_sleep(w);
    if (w->base)
        w->context->memory.release(&w->context->memory, w->base, w->bytes);
    pool_free(pool, w);
}
