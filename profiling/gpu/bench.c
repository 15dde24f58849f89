#include "profiling/gpu/bench.h"

#include "kernels/e4m3.h"

#include <cuda.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { MOST_ROUNDS = 200 };

void bench_check(cudaError_t status, const char *doing)
{
    if (status == cudaSuccess)
        return;
    fprintf(stderr, "%s: %s\n", doing, cudaGetErrorString(status));
    exit(1);
}

static int attribute(enum cudaDeviceAttr name)
{
    int value = 0;
    bench_check(cudaDeviceGetAttribute(&value, name, 0), "asking for an attribute of the device");
    return value;
}

static cudaError_t copy_flush(const struct bench_device *device, void *context)
{
    (void)context;
    const size_t half = device->flush_bytes / 2;
    return cudaMemcpyAsync(device->flush, (char *)device->flush + half, half, cudaMemcpyDeviceToDevice, device->stream);
}

void bench_open(struct bench_device *device, int rounds)
{
    struct cudaDeviceProp facts;
    bench_check(cudaGetDeviceProperties(&facts, 0), "opening the device");
    const int architecture = 10 * facts.major + facts.minor;
    *device = (struct bench_device){
        .facts = { .architecture = architecture, .processors = facts.multiProcessorCount,
                   .shared_bytes = (int)facts.sharedMemPerBlockOptin },
        .flush_bytes = (size_t)512 << 20,
        .rounds      = rounds < MOST_ROUNDS ? rounds : MOST_ROUNDS,
    };
    snprintf(device->name, sizeof device->name, "%s", facts.name);
    enum cudaDriverEntryPointQueryResult found;
    bench_check(cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &device->facts.encode_tensor_map, 12000,
                                                 cudaEnableDefault, &found),
                "asking the driver for cuTensorMapEncodeTiled");
    device->kernels = kernels_cuda(&device->facts);
    if (!device->kernels) {
        fprintf(stderr, "%s is sm_%d: there are kernels from sm_80 on\n", facts.name, architecture);
        exit(1);
    }
    bench_check(cudaStreamCreateWithFlags(&device->stream, cudaStreamNonBlocking), "making a stream");
    device->flush = bench_memory(device->flush_bytes);
    bench_check(cudaMemset(device->flush, 1, device->flush_bytes), "filling memory");
    /* Fused multiply-adds a clock and multiprocessor, bf16 and dense: 1024 on 8.0, 512 on 8.6 and 8.9, 2048 on 9.0. */
    const double each         = architecture == 80 ? 1024 : architecture < 90 ? 512 : 2048;
    device->operations_second = 2 * each * facts.multiProcessorCount * 1e3 * attribute(cudaDevAttrClockRate);
    device->bytes_second      = (double)device->flush_bytes / bench_seconds(device, copy_flush, NULL);
}

void bench_close(struct bench_device *device)
{
    bench_free(device->flush);
    bench_check(cudaStreamDestroy(device->stream), "closing a stream");
}

void *bench_memory(size_t bytes)
{
    void *memory = NULL;
    bench_check(cudaMalloc(&memory, bytes), "taking device memory");
    return memory;
}

void *bench_copy(const void *values, size_t bytes)
{
    void *memory = bench_memory(bytes);
    bench_check(cudaMemcpy(memory, values, bytes, cudaMemcpyHostToDevice), "copying to the device");
    return memory;
}

void bench_free(void *memory) { bench_check(cudaFree(memory), "giving device memory back"); }

/* Sixteen bits of a linear congruence, as a float in [-1, 1). */
static float next_random(uint32_t *state)
{
    *state = *state * 1664525u + 1013904223u;
    return (float)(*state >> 16) / 32768.0f - 1.0f;
}

void *bench_random(enum dtype type, size_t count, float spread)
{
    const size_t bytes  = count * (size_t)dtype_bits(type) / 8;
    void        *values = malloc(bytes);
    uint32_t     state  = (uint32_t)count;
    if (!values)
        bench_check(cudaErrorMemoryAllocation, "taking memory");
    for (size_t i = 0; i < count; i++) {
        const float value = next_random(&state) * spread;
        if (type == DTYPE_F32) {
            ((float *)values)[i] = value;
        } else if (type == DTYPE_F8_E4M3) {
            ((uint8_t *)values)[i] = e4m3_from_float(value);
        } else {
            const union { float f; uint32_t u; } bits = { .f = value };
            ((uint16_t *)values)[i]                   = (uint16_t)(bits.u >> 16);  /* bf16, cut */
        }
    }
    void *memory = bench_copy(values, bytes);
    free(values);
    return memory;
}

static int by_value(const void *a, const void *b)
{
    const float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

double bench_seconds(const struct bench_device *device, bench_launch *launch, void *context)
{
    float       milliseconds[MOST_ROUNDS];
    cudaEvent_t before, after;
    bench_check(cudaEventCreate(&before), "making an event");
    bench_check(cudaEventCreate(&after), "making an event");
    for (int round = -1; round < device->rounds; round++) {
        /* Every launch finds its operands in memory, as it does between the layers of a large model. */
        bench_check(cudaMemsetAsync(device->flush, round & 255, device->flush_bytes / 4, device->stream), "flushing the cache");
        bench_check(cudaEventRecord(before, device->stream), "recording an event");
        const cudaError_t status = launch(device, context);
        if (status == cudaErrorNotSupported)
            return 0;
        bench_check(status, "launching");
        bench_check(cudaEventRecord(after, device->stream), "recording an event");
        bench_check(cudaStreamSynchronize(device->stream), "computing");
        if (round >= 0)
            bench_check(cudaEventElapsedTime(&milliseconds[round], before, after), "reading an event");
    }
    bench_check(cudaEventDestroy(before), "closing an event");
    bench_check(cudaEventDestroy(after), "closing an event");
    qsort(milliseconds, (size_t)device->rounds, sizeof *milliseconds, by_value);
    return milliseconds[device->rounds / 2] * 1e-3;
}

void bench_cost(void *row, const struct cuda_cost *cost)
{
    struct bench_row *sum = row;
    sum->bytes += cost->bytes;
    sum->operations += cost->operations;
}

void bench_print(const struct bench_device *device, const struct bench_row *row)
{
    if (row->seconds <= 0)
        return;
    const double moving = row->bytes / device->bytes_second, rate = row->rate > 0 ? row->rate : 1;
    const double computing = row->operations / (rate * device->operations_second);
    const double limit  = moving > computing ? moving : computing;
    printf("{\"device\": \"%s\", \"kernel\": \"%s\", \"shape\": \"%s\", \"us\": %.2f, \"gb_s\": %.1f, \"tflop_s\": %.2f, "
           "\"limit\": \"%s\", \"of_limit\": %.3f",
           device->name, row->kernel, row->shape, row->seconds * 1e6, row->bytes / row->seconds * 1e-9,
           row->operations / row->seconds * 1e-12, moving > computing ? "memory" : "matrix units", limit / row->seconds);
    if (row->peer && row->peer_seconds > 0)
        printf(", \"peer\": \"%s\", \"peer_us\": %.2f, \"ratio\": %.3f", row->peer, row->peer_seconds * 1e6,
               row->peer_seconds / row->seconds);
    puts("}");
    fflush(stdout);
}
