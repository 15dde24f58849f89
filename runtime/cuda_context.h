/* cuda_context.h: one GPU as the files of the CUDA device share it: what it is, the driver's functions, how it fails.
 *
 * Precision: weights and what travels between them are bf16, sums, residuals, norms and the vectors of sequences fp32. bf16
 * because its range is that of fp32, so no model needs scaling, because tensor cores take it at the rate of fp16, and because
 * packed weights are half as large; fp32 where rounding would add up from layer to layer. fp32 weights can be asked for, to
 * compare with: no tensor core multiplies them. fp8 where it is asked for and the chip is Hopper: weights and the inputs of linears
 * are e4m3 with a scale a row, all else as with bf16. int8 is not offered: it would need the CPU's own rules of rounding.
 *
 * Errors are of two kinds. Most are over when the call returns: memory that is not there, a launch that was refused. After a
 * fault of the device (an illegal address, a failed kernel) every later call of the process fails: the device is lost, which is
 * remembered with its first reason, and all further work is refused with it. Which kind an error is, is asked of the device.
 *
 * Threads. CUDA keeps for each thread which device its calls are for, and threads here are the program's: they may have chosen
 * another device, or none, and the driver's own functions then work for that. And while any thread captures in the mode that is
 * everybody's, as a program around us may, most calls of all others are refused and spoil its capture. So whatever calls CUDA
 * does it between cuda_context_enter and cuda_context_leave.
 *
 * Beside the budget. The pools book what is asked for: weights, arenas, pinned memory, graphs by an estimate. What the driver takes
 * for itself nobody is told: on the device its context (some hundred MiB: memory of threads that spill, queues) and the code of
 * kernels, each loaded when it is first launched; on the host what it keeps of both, and of every stream and graph.
 */
#ifndef RECTO_RUNTIME_CUDA_CONTEXT_H
#define RECTO_RUNTIME_CUDA_CONTEXT_H

#include "kernels/cuda/kernels_cuda.h"
#include "runtime/cuda_ranges.h"
#include "runtime/pool.h"
#include "runtime/vmem.h"

#include <cuda.h>
#include <pthread.h>
#include <stdatomic.h>

/* The driver's contexts and virtual memory. Asked for by name, so that a program starts where there is no driver. */
struct cuda_driver {
    CUresult (*context_retain)(CUcontext *context, CUdevice device);
    CUresult (*context_release)(CUdevice device);
    CUresult (*context_push)(CUcontext context);
    CUresult (*context_pop)(CUcontext *context);
    CUresult (*address_reserve)(CUdeviceptr *address, size_t bytes, size_t alignment, CUdeviceptr wish, unsigned long long flags);
    CUresult (*address_free)(CUdeviceptr address, size_t bytes);
    CUresult (*create)(CUmemGenericAllocationHandle *handle, size_t bytes, const CUmemAllocationProp *property,
                       unsigned long long flags);
    CUresult (*release)(CUmemGenericAllocationHandle handle);
    CUresult (*map)(CUdeviceptr address, size_t bytes, size_t offset, CUmemGenericAllocationHandle handle,
                    unsigned long long flags);
    CUresult (*unmap)(CUdeviceptr address, size_t bytes);
    CUresult (*set_access)(CUdeviceptr address, size_t bytes, const CUmemAccessDesc *access, size_t count);
    CUresult (*granularity)(size_t *bytes, const CUmemAllocationProp *property, CUmemAllocationGranularity_flags option);
};

struct cuda_context {
    struct pool               *host_pool;    /* plans, pinned memory: the caller's */
    struct pool               *device_pool;  /* device memory: the caller's */
    struct cuda_facts          facts;
    struct cuda_driver         driver;
    CUcontext                  primary;      /* the device's own, which the runtime uses too; null: not retained */
    const struct cuda_kernels *kernels;
    struct vmem                memory;
    struct cuda_ranges         ranges;
    char                       name[128];
    uint64_t                   bytes;        /* of device memory */
    pthread_mutex_t            lock;         /* of `lost` */
    atomic_bool                is_lost;
    char                       lost[448];    /* the first reason */
};

/* Finds the first device that is visible. STATUS_DEVICE with one sentence where there is none that can be used; `absent` then
 * says whether there is no device at all, rather than one that cannot be used. Of one that is too old nothing is taken. */
MUST_CHECK status cuda_context_open(struct cuda_context *context, struct pool *host_pool, struct pool *device_pool, bool *absent,
                                    struct error *error);
void cuda_context_close(struct cuda_context *context);

/* What a thread had before. False: the driver refused to change it, and will refuse what cannot do without. */
struct cuda_stay {
    bool                       is_current, is_apart;
    enum cudaStreamCaptureMode mode;
};

/* From here to cuda_context_leave the calling thread's calls are for the device, and have nothing to do with captures of other
 * threads; then it has again what it had. Pairs may nest. */
struct cuda_stay cuda_context_enter(const struct cuda_context *context);
void             cuda_context_leave(const struct cuda_context *context, struct cuda_stay stay);

/* STATUS_DEVICE with the first reason once the device is lost. */
MUST_CHECK status cuda_context_check(struct cuda_context *context, struct error *error);

/* Waits until nothing is pending in a stream, so that its memory may be freed or unmapped whatever is returned. */
MUST_CHECK cudaError_t cuda_context_wait(cudaStream_t stream);

/* The status and sentence of an error of the runtime or the driver, whose codes are the same, in what is described by the
 * format; finds out whether the device is lost. No memory on the device is STATUS_BUDGET: smaller work may fit. */
status cuda_context_fail(struct cuda_context *context, cudaError_t code, struct error *error, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

#endif
