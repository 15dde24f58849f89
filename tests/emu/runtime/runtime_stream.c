/* runtime_stream.c: streams as queues of work that is done as late as the settings say, and events. */
#include "tests/emu/runtime/runtime_internal_stream.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static struct CUstream_st default_stream;
static struct CUstream_st *streams = &default_stream;  /* all of them */

struct CUstream_st *stream_of(cudaStream_t handle) { return handle ? handle : &default_stream; }

/* ---- Work ---- */

enum { ARGUMENT_ALIGNMENT = 64 };

/* A copy of the arguments of a kernel, as large as its signature says: pointers first, then what they point to. */
static bool keep_arguments(struct work *work, void *const *arguments)
{
    const struct emu_kernel *kernel = emu_kernel_find(work->launch.kernel);
    size_t head = ((size_t)kernel->args * sizeof(void *) + ARGUMENT_ALIGNMENT - 1) / ARGUMENT_ALIGNMENT * ARGUMENT_ALIGNMENT;
    size_t bytes = head + ARGUMENT_ALIGNMENT;
    for (int i = 0; i < kernel->args; i++)
        bytes += (kernel->arg_bytes[i] + ARGUMENT_ALIGNMENT - 1) / ARGUMENT_ALIGNMENT * ARGUMENT_ALIGNMENT;
    bytes       = bytes / ARGUMENT_ALIGNMENT * ARGUMENT_ALIGNMENT;
    char *block = aligned_alloc(ARGUMENT_ALIGNMENT, bytes), *at = block + head;
    if (!block)
        return false;
    for (int i = 0; i < kernel->args; i++) {
        ((void **)(void *)block)[i] = memcpy(at, arguments[i], kernel->arg_bytes[i]);
        at += (kernel->arg_bytes[i] + ARGUMENT_ALIGNMENT - 1) / ARGUMENT_ALIGNMENT * ARGUMENT_ALIGNMENT;
    }
    work->block       = block;
    work->launch.args = (void **)(void *)block;
    return true;
}

struct work *work_copy(const struct work *model)
{
    struct work *work = malloc(sizeof *work);
    if (!work)
        return NULL;
    *work       = *model;
    work->next  = NULL;
    work->block = NULL;
    if (model->kind == WORK_KERNEL && !keep_arguments(work, model->launch.args)) {
        free(work);
        return NULL;
    }
    return work;
}

static void release_event(struct CUevent_st *event)
{
    if (event->is_destroyed && !event->users)
        free(event);
}

void work_free(struct work *work)
{
    if (work->event) {
        work->event->users--;
        release_event(work->event);
    }
    if (work->replays)
        --*work->replays;
    free(work->block);
    free(work);
}

void work_list_add(struct work_list *list, struct work *work)
{
    work->next = NULL;
    if (list->last)
        list->last->next = work;
    else
        list->first = work;
    list->last = work;
    list->count++;
}

static struct work *work_list_take(struct work_list *list)
{
    struct work *work = list->first;
    list->first       = work->next;
    if (!list->first)
        list->last = NULL;
    list->count--;
    return work;
}

void work_list_clear(struct work_list *list)
{
    while (list->first)
        work_free(work_list_take(list));
}

/* ---- Doing it ---- */

static double seconds_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static bool is_reachable(const void *pointer, size_t bytes)
{
    return memory_is_device(pointer, bytes) || memory_is_pinned(pointer, bytes);
}

static void do_copy(const struct work *work)
{
    if ((work->from != work->block && !is_reachable(work->from, work->bytes)) || !is_reachable(work->to, work->bytes)) {
        fprintf(stderr, "emulated runtime: a copy of %zu bytes from %p to %p leaves the memory that is mapped or pinned\n",
                work->bytes, work->from, work->to);
        runtime_fault(cudaErrorIllegalAddress);
        return;
    }
    memcpy(work->to, work->from, work->bytes);
    if (memory_is_device(work->to, work->bytes))
        emu_memory_written(work->to, work->bytes);
    runtime_state.usage.copies++;
}

static void do_set(const struct work *work)
{
    if (!is_reachable(work->to, work->bytes)) {
        runtime_fault(cudaErrorIllegalAddress);
        return;
    }
    memset(work->to, work->value, work->bytes);
    emu_memory_written(work->to, work->bytes);
}

static void do_kernel(const struct work *work)
{
    runtime_state.usage.kernels++;
    if (emu_launch(&work->launch) != EMU_OK)
        runtime_fault(cudaErrorLaunchFailure);
}

static void do_first(struct CUstream_st *stream);

static void do_wait(const struct work *work)
{
    while (work->event->done < work->number && work->event->stream->pending.first)
        do_first(work->event->stream);
}

static void do_work(const struct work *work)
{
    switch (work->kind) {
    case WORK_COPY: do_copy(work); break;
    case WORK_SET: do_set(work); break;
    case WORK_KERNEL: do_kernel(work); break;
    case WORK_RECORD:
        work->event->done = work->number;
        work->event->when = seconds_now();
        break;
    case WORK_WAIT: do_wait(work); break;
    }
}

/* After a fault nothing more is done. */
static void do_first(struct CUstream_st *stream)
{
    struct work *work = work_list_take(&stream->pending);
    if (runtime_state.sticky == cudaSuccess)
        do_work(work);
    else if (work->kind == WORK_RECORD)
        work->event->done = work->number;
    work_free(work);
}

static cudaError_t drain(struct CUstream_st *stream)
{
    if (stream->pending.first) {
        memory_open();
        while (stream->pending.first)
            do_first(stream);
        memory_close();
    }
    return runtime_state.sticky;
}

cudaError_t stream_drain(cudaStream_t stream) { return drain(stream_of(stream)); }

cudaError_t stream_drain_all(void)
{
    for (struct CUstream_st *stream = streams; stream; stream = stream->next)
        drain(stream);
    return runtime_state.sticky;
}

void stream_do_some(void)
{
    for (struct CUstream_st *stream = streams; stream; stream = stream->next)
        for (uint64_t count = random_next() >> 32 & 3; count && stream->pending.first; count--) {
            memory_open();
            do_first(stream);
            memory_close();
        }
}

static bool overlap(const char *a, size_t a_bytes, const char *b, size_t b_bytes)
{
    return a && b && a < b + b_bytes && b < a + a_bytes;
}

bool stream_uses(const void *pointer, size_t bytes)
{
    if (runtime_state.sticky != cudaSuccess)
        return false;  /* nothing of it will be done */
    for (struct CUstream_st *stream = streams; stream; stream = stream->next)
        for (const struct work *work = stream->pending.first; work; work = work->next)
            if ((work->kind == WORK_COPY && overlap(work->from, work->bytes, pointer, bytes)) ||
                (work->kind <= WORK_SET && overlap(work->to, work->bytes, pointer, bytes)))
                return true;
    return false;
}

void stream_forget_replays(const int *replays)
{
    for (struct CUstream_st *stream = streams; stream; stream = stream->next)
        for (struct work *work = stream->pending.first; work; work = work->next)
            if (work->replays == replays)
                work->replays = NULL;
}

static _Thread_local enum cudaStreamCaptureMode thread_mode = cudaStreamCaptureModeGlobal;

cudaError_t cudaThreadExchangeStreamCaptureMode(enum cudaStreamCaptureMode *mode)
{
    cudaError_t                      result = call_begin(__func__, CALL_DESCRIBES);
    const enum cudaStreamCaptureMode before = thread_mode;
    if (result == cudaSuccess) {
        thread_mode = *mode;
        *mode       = before;
    }
    return call_end(result);
}

/* Whether a capture forbids this thread what is unsafe: its own, or one that is everybody's. */
static bool forbids(const struct CUstream_st *stream)
{
    if (!stream->capture || thread_mode == cudaStreamCaptureModeRelaxed)
        return false;
    return pthread_equal(stream->capturer, pthread_self())
               ? stream->mode != cudaStreamCaptureModeRelaxed
               : stream->mode == cudaStreamCaptureModeGlobal && thread_mode == cudaStreamCaptureModeGlobal;
}

bool stream_forbids(void)
{
    bool forbidden = false;
    for (struct CUstream_st *stream = streams; stream; stream = stream->next)
        if (forbids(stream))
            forbidden = stream->capture_is_broken = true;
    return forbidden;
}

static cudaError_t append_captured(struct CUstream_st *stream, struct work *work)
{
    bool fits = !stream->capture_is_broken && work->kind <= WORK_KERNEL && !(work->kind == WORK_COPY && work->block);
    if (!fits) {
        cudaError_t error = stream->capture_is_broken ? cudaErrorStreamCaptureInvalidated : cudaErrorStreamCaptureUnsupported;
        stream->capture_is_broken = true;
        work_free(work);
        return error;
    }
    work_list_add(&stream->capture->nodes, work);
    return cudaSuccess;
}

cudaError_t stream_append(cudaStream_t handle, struct work *work)
{
    struct CUstream_st *stream = stream_of(handle);
    if (!work)
        return cudaErrorMemoryAllocation;
    if (stream->capture)
        return append_captured(stream, work);
    work_list_add(&stream->pending, work);
    return runtime_state.settings.order == EMU_RUNTIME_AT_ONCE ? drain(stream) : cudaSuccess;
}

/* ---- Copies ---- */

static cudaError_t append_copy(void *to, const void *from, size_t bytes, cudaStream_t stream)
{
    struct work model = { .kind = WORK_COPY, .to = to, .from = from, .bytes = bytes };
    if (!bytes)
        return cudaSuccess;
    struct work *work = work_copy(&model);
    if (work && !is_reachable(from, bytes)) {  /* pageable: read before the call returns */
        work->block = malloc(bytes);
        if (!work->block) {
            free(work);
            return cudaErrorMemoryAllocation;
        }
        work->from = memcpy(work->block, from, bytes);
    }
    return stream_append(stream, work);
}

/* To pageable memory a copy is done before the call returns. */
static cudaError_t copy_out(void *to, const void *from, size_t bytes, cudaStream_t stream)
{
    struct CUstream_st *own = stream_of(stream);
    if (own->capture) {
        own->capture_is_broken = true;
        return cudaErrorStreamCaptureUnsupported;
    }
    cudaError_t result = drain(own);
    if (result == cudaSuccess && !memory_is_device(from, bytes)) {
        runtime_fault(cudaErrorIllegalAddress);
        result = runtime_state.sticky;
    }
    if (result == cudaSuccess) {
        memory_open();
        memcpy(to, from, bytes);
        memory_close();
        runtime_state.usage.copies++;
    }
    return result;
}

static bool is_meant(void *to, const void *from, size_t bytes, enum cudaMemcpyKind kind)
{
    const bool to_device = memory_is_device(to, bytes), from_device = memory_is_device(from, bytes);
    switch (kind) {
    case cudaMemcpyHostToHost: return !to_device && !from_device;
    case cudaMemcpyHostToDevice: return to_device && !from_device;
    case cudaMemcpyDeviceToHost: return !to_device && from_device;
    case cudaMemcpyDeviceToDevice: return to_device && from_device;
    default: return true;
    }
}

static cudaError_t copy(void *to, const void *from, size_t bytes, enum cudaMemcpyKind kind, cudaStream_t stream)
{
    if (bytes && !is_meant(to, from, bytes, kind))
        return cudaErrorInvalidValue;
    return bytes && !is_reachable(to, bytes) ? copy_out(to, from, bytes, stream) : append_copy(to, from, bytes, stream);
}

cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t bytes, enum cudaMemcpyKind kind, cudaStream_t stream)
{
    cudaError_t result = call_begin(__func__, CALL_ASKS);
    return call_end(result == cudaSuccess ? copy(to, from, bytes, kind, stream) : result);
}

/* The default stream waits for all others, as they do for it; ours never mix with it while they work. */
static cudaError_t finish_default(cudaError_t result)
{
    cudaError_t drained = stream_drain_all();
    return result != cudaSuccess ? result : drained;
}

cudaError_t cudaMemcpy(void *to, const void *from, size_t bytes, enum cudaMemcpyKind kind)
{
    cudaError_t result = call_begin(__func__, CALL_WAITS);
    if (result == cudaSuccess)
        result = stream_forbids() ? cudaErrorStreamCaptureUnsupported : stream_drain_all();
    return call_end(result == cudaSuccess ? finish_default(copy(to, from, bytes, kind, NULL)) : result);
}

static cudaError_t set(void *to, int value, size_t bytes, cudaStream_t stream)
{
    struct work model = { .kind = WORK_SET, .to = to, .value = value, .bytes = bytes };
    return bytes ? stream_append(stream, work_copy(&model)) : cudaSuccess;
}

cudaError_t cudaMemsetAsync(void *to, int value, size_t bytes, cudaStream_t stream)
{
    cudaError_t result = call_begin(__func__, CALL_ASKS);
    return call_end(result == cudaSuccess ? set(to, value, bytes, stream) : result);
}

cudaError_t cudaMemset(void *to, int value, size_t bytes)
{
    cudaError_t result = call_begin(__func__, CALL_WAITS);
    if (result == cudaSuccess && stream_forbids())
        result = cudaErrorStreamCaptureUnsupported;
    return call_end(result == cudaSuccess ? finish_default(set(to, value, bytes, NULL)) : result);
}

/* ---- Streams ---- */

static cudaError_t stream_new(cudaStream_t *handle)
{
    struct CUstream_st *stream = calloc(1, sizeof *stream);
    if (!stream)
        return cudaErrorMemoryAllocation;
    stream->next        = default_stream.next;
    default_stream.next = stream;
    runtime_state.usage.streams++;
    *handle = stream;
    return cudaSuccess;
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t *stream, unsigned int flags)
{
    cudaError_t result = call_begin(__func__, CALL_ALLOCATES);
    (void)flags;
    return call_end(result == cudaSuccess ? stream_new(stream) : result);
}

cudaError_t cudaStreamCreate(cudaStream_t *stream) { return cudaStreamCreateWithFlags(stream, cudaStreamDefault); }

cudaError_t cudaStreamDestroy(cudaStream_t handle)
{
    cudaError_t result = call_begin(__func__, CALL_RELEASES);
    if (handle->pending.first && runtime_state.sticky == cudaSuccess)  /* allowed, but ours wait for it */
        runtime_misuse("a stream was destroyed while work was pending in it");
    drain(handle);
    if (handle->capture)
        runtime_misuse("a stream was destroyed while it was captured");
    struct CUstream_st **link = &default_stream.next;
    while (*link != handle)
        link = &(*link)->next;
    *link = handle->next;
    free(handle);
    runtime_state.usage.streams--;
    return call_end(result);
}

cudaError_t cudaStreamSynchronize(cudaStream_t handle)
{
    struct CUstream_st *stream = stream_of(handle);
    cudaError_t         result = call_begin(__func__, CALL_WAITS);
    if (result == cudaSuccess && (stream->capture || stream_forbids())) {
        stream->capture_is_broken = true;
        result                    = cudaErrorStreamCaptureUnsupported;
    }
    return call_end(result == cudaSuccess ? drain(stream) : result);
}

cudaError_t cudaDeviceSynchronize(void)
{
    cudaError_t result = call_begin(__func__, CALL_WAITS);
    return call_end(result != cudaSuccess ? result : stream_forbids() ? cudaErrorStreamCaptureUnsupported : stream_drain_all());
}

/* ---- Events ---- */

cudaError_t cudaEventCreateWithFlags(cudaEvent_t *event, unsigned int flags)
{
    cudaError_t result = call_begin(__func__, CALL_ALLOCATES);
    if (result == cudaSuccess) {
        struct CUevent_st *made = calloc(1, sizeof *made);
        result                  = made ? cudaSuccess : cudaErrorMemoryAllocation;
        if (made)
            made->is_untimed = flags & cudaEventDisableTiming;
        runtime_state.usage.events += made != NULL;
        *event = made;
    }
    return call_end(result);
}

cudaError_t cudaEventDestroy(cudaEvent_t event)
{
    cudaError_t result  = call_begin(__func__, CALL_RELEASES);
    event->is_destroyed = true;
    release_event(event);
    runtime_state.usage.events--;
    return call_end(result);
}

static cudaError_t append_event(enum work_kind kind, cudaEvent_t event, uint64_t number, cudaStream_t stream)
{
    struct work  model = { .kind = kind, .event = event, .number = number };
    struct work *work  = work_copy(&model);
    if (work)
        event->users++;
    return stream_append(stream, work);
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream)
{
    cudaError_t result = call_begin(__func__, CALL_ASKS);
    if (result == cudaSuccess) {
        event->stream = stream_of(stream);
        result        = append_event(WORK_RECORD, event, ++event->recorded, stream);
    }
    return call_end(result);
}

cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned int flags)
{
    cudaError_t result = call_begin(__func__, CALL_ASKS);
    (void)flags;
    return call_end(result == cudaSuccess ? append_event(WORK_WAIT, event, event->recorded, stream) : result);
}

cudaError_t cudaEventSynchronize(cudaEvent_t event)
{
    cudaError_t result = call_begin(__func__, CALL_WAITS);
    if (result == cudaSuccess && stream_forbids())
        result = cudaErrorStreamCaptureUnsupported;
    if (result == cudaSuccess) {
        memory_open();
        while (event->done < event->recorded && event->stream->pending.first)
            do_first(event->stream);
        memory_close();
        result = runtime_state.sticky;
    }
    return call_end(result);
}

cudaError_t cudaEventElapsedTime(float *milliseconds, cudaEvent_t start, cudaEvent_t end)
{
    cudaError_t result = call_begin(__func__, CALL_ASKS);
    if (result == cudaSuccess && (!start->recorded || !end->recorded || start->is_untimed || end->is_untimed))
        result = cudaErrorInvalidResourceHandle;
    if (result == cudaSuccess && (start->done < start->recorded || end->done < end->recorded))
        result = cudaErrorNotReady;
    if (result == cudaSuccess)
        *milliseconds = (float)((end->when - start->when) * 1e3);
    return call_end(result);
}
