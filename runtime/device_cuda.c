#include "runtime/device_cuda.h"

#include "kernels/cuda/cuda_rates.h"
#include "runtime/cuda_lane.h"
#include "runtime/cuda_run.h"
#include "runtime/cuda_weights.h"

#include <stdio.h>

/* Two runs at once: the host fills one while the device computes the other. Packs are as large as the device is wide; the
 * least is what lets it show its rate, the most what bounds its memory and the wait of whoever comes next. */
enum { RUNS = 2, PACK_LEAST = 2048, PACK_MOST = 16384 };

static bool offers(const struct device *device, enum dtype precision)
{
    const struct cuda_device *cuda = device->backend;
    return precision == DTYPE_F8_E4M3 ? cuda->context.kernels->linear_fp8 != NULL : precision != DTYPE_I8;
}

static size_t run_bytes(const struct plan *plan) { return cuda_layout_of(plan).arena_bytes; }

static void forget(const struct device *device, const struct plan *plan)
{
    struct cuda_device    *cuda = device->backend;
    const struct cuda_stay stay = cuda_context_enter(&cuda->context);
    cuda_graphs_forget(&cuda->graphs, plan, NULL);
    cuda_context_leave(&cuda->context, stay);
}

static void usage(const struct device *device, struct accelerator_usage *usage)
{
    struct cuda_device *cuda = device->backend;
    pthread_mutex_lock(&cuda->lock);
    *usage = cuda->usage;
    pthread_mutex_unlock(&cuda->lock);
    usage->name   = cuda->context.name;
    usage->memory = cuda->context.bytes;
    cuda_graphs_usage(&cuda->graphs, usage);
    pthread_mutex_lock(&cuda->context.lock);
    snprintf(usage->lost, sizeof usage->lost, "%s", cuda->context.lost);
    pthread_mutex_unlock(&cuda->context.lock);
}

static void rates(const struct device *device, struct accelerator_rates *rates)
{
    const struct cuda_device *cuda = device->backend;
    const struct cuda_rates   told = cuda_rates_ask(&cuda->context.facts);
    *rates = (struct accelerator_rates){ told.fp32, told.bf16, told.fp8, told.bytes };
}

static void range_begin(const struct device *device, const char *name)
{
    const struct cuda_device *cuda = device->backend;
    cuda_ranges_push(&cuda->context.ranges, "%s", name);
}

static void range_end(const struct device *device)
{
    const struct cuda_device *cuda = device->backend;
    cuda_ranges_pop(&cuda->context.ranges);
}

static void close_device(struct device *device)
{
    struct cuda_device *cuda = device->backend;
    struct pool        *pool = cuda->context.host_pool;
    cuda_graphs_close(&cuda->graphs);  /* lanes were closed, and with them their graphs */
    cuda_ranges_close(&cuda->context.ranges);
    cuda_context_close(&cuda->context);
    pthread_mutex_destroy(&cuda->lock);
    pool_free(pool, cuda);
    *device = (struct device){ 0 };
}

static const struct accelerator accelerator = {
    .offers = offers, .run_bytes = run_bytes, .lane_open = cuda_lane_open, .lane_close = cuda_lane_close,
    .lane_trim = cuda_lane_trim, .lane_fit = cuda_lane_fit, .lane_run = cuda_lane_run, .forget = forget,
    .weight_stride = kernels_cuda_weight_stride,
    .weights_open = cuda_weights_open, .weights_close = cuda_weights_close, .weights_base = cuda_weights_base,
    .weights_put = cuda_weights_put, .weights_finish = cuda_weights_finish, .weights_sleep = cuda_weights_sleep,
    .weights_wake = cuda_weights_wake, .usage = usage, .rates = rates, .range_begin = range_begin, .range_end = range_end,
    .close = close_device,
};

status device_cuda(struct device *device, const struct device_request *request, bool *absent, struct error *error)
{
    void  *block;
    status result = pool_alloc(request->host_pool, MEMORY_PLAN, sizeof(struct cuda_device), "the CUDA device", &block, error);
    if (result != STATUS_OK)
        return result;
    struct cuda_device *cuda = block;
    *cuda                    = (struct cuda_device){ 0 };
    result                   = cuda_context_open(&cuda->context, request->host_pool, request->device_pool, absent, error);
    pthread_mutex_init(&cuda->lock, NULL);
    cuda_graphs_open(&cuda->graphs, request->device_pool);
    if (result == STATUS_OK && request->ranges)
        cuda_ranges_open(&cuda->context.ranges);
    *device = (struct device){ .name = "cuda", .variant = result == STATUS_OK ? cuda->context.kernels->name : "",
                               .memory = &cuda->context.memory, .backend = cuda, .runs = RUNS, .accelerator = &accelerator,
                               .limits = { .least = PACK_LEAST, .most = PACK_MOST, .texts = PACK_TEXTS_MOST } };
    if (result != STATUS_OK)
        close_device(device);
    return result;
}
