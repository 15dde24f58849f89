/* runtime_internal.h: what the files of the emulated runtime share. Everything here is called with the lock held. */
#ifndef EMU_RUNTIME_INTERNAL_H
#define EMU_RUNTIME_INTERNAL_H

#include "tests/emu/emu.h"
#include "tests/emu/runtime/runtime.h"

#include <cuda.h>
#include <cuda_runtime_api.h>

/* ---- Every call: call_begin, the deed if that is wanted, call_end ---- */

enum call_kind {
    CALL_DESCRIBES,   /* needs no context; fails as unknown */
    CALL_ASKS,        /* fails as unknown */
    CALL_ALLOCATES,   /* fails for want of memory */
    CALL_RELEASES,    /* does its deed whatever it returns */
    CALL_WAITS        /* as CALL_ASKS; counted */
};

/* Takes the lock. cudaSuccess: go on. */
cudaError_t call_begin(const char *name, enum call_kind kind);
/* The same for driver functions: a thread without a context is given none. */
cudaError_t call_begin_driver(const char *name, enum call_kind kind);
/* Drops the lock, remembers the error for cudaGetLastError, returns it. */
cudaError_t call_end(cudaError_t result);
/* The same for driver functions, whose errors cudaGetLastError does not tell. */
CUresult call_end_driver(cudaError_t result);

struct runtime_state {
    struct emu_runtime_settings settings;
    struct emu_runtime_usage    usage;
    cudaError_t                 sticky;
    uint64_t                    random;
};
extern struct runtime_state runtime_state;

uint64_t random_next(void);
/* A fault of the device: sticks. */
void runtime_fault(cudaError_t error);
void runtime_misuse(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* ---- Contexts: of the calling thread ---- */

/* As the runtime does at a call that needs one: the first device's primary context where there is none. Work for a device that only
 * idles is a misuse. */
void context_bind(const char *name);
/* What the driver's functions find; they bring none. */
bool context_is_current(void);
void context_reset(void);

/* ---- Memory ---- */

/* Counts physical memory; false: the device has no more. */
bool memory_take(size_t bytes);
void memory_give(size_t bytes);
/* While it is open (calls nest), device memory may be touched. */
void memory_open(void);
void memory_close(void);
/* Whether all of a range is mapped device memory; whether it is pinned host memory. */
bool memory_is_device(const void *pointer, size_t bytes);
bool memory_is_pinned(const void *pointer, size_t bytes);

/* ---- Kernels ---- */

/* Of one block, at most. */
int device_shared_bytes(void);

/* ---- Work ---- */

enum work_kind { WORK_COPY, WORK_SET, WORK_KERNEL, WORK_RECORD, WORK_WAIT };

/* One thing that a stream is to do. It owns `block`. */
struct work {
    struct work *next;
    enum work_kind kind;
    void        *to;        /* copy, set */
    const void  *from;      /* copy: pinned or device memory, or `block` */
    size_t       bytes;
    int          value;     /* set */
    cudaEvent_t  event;     /* record, wait */
    uint64_t     number;    /* record: which record of the event; wait: the one to wait for */
    struct emu_launch launch;
    int         *replays;   /* pending nodes of the executable that this one is of; null: none */
    void        *block;     /* a kernel's arguments, or what was copied from pageable memory */
};

/* A new piece of work, a copy of `model`; null when the system has no memory. */
struct work *work_copy(const struct work *model);
void         work_free(struct work *work);
/* Appends to a stream (or to what it captures), and does what `order` says. Takes over `work` in every case. */
cudaError_t stream_append(cudaStream_t stream, struct work *work);
/* Does everything that is pending, in the stream or everywhere. */
cudaError_t stream_drain(cudaStream_t stream);
cudaError_t stream_drain_all(void);
/* Does some work by chance. */
void stream_do_some(void);
/* Whether pending work touches the range. */
bool stream_uses(const void *pointer, size_t bytes);
/* Whether the calling thread captures (or another one, for all threads): such calls are refused and end the capture. */
bool stream_forbids(void);

struct work_list {
    struct work *first, *last;
    int          count;
};
void work_list_clear(struct work_list *list);

#endif
