#include "profiling/gpu/bench.h"

#include "kernels/cuda/cuda_rates.h"
#include "kernels/e4m3.h"
#include "profiling/gpu/cublaslt.h"

#include <cuda.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { MOST_ROUNDS = 200, PEAK_SIZE = 8192, RANDOM_VALUES = 1048573 };

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

/* Of a product of random matrices of cuBLASLt, large enough that nothing but the matrix units counts. */
static double measured_peak(const struct bench_device *device, struct cublaslt *library)
{
    const size_t         count = (size_t)PEAK_SIZE * PEAK_SIZE;
    void                *x = bench_random(DTYPE_BF16, count, 1), *weight = bench_random(DTYPE_BF16, count, 1);
    void                *y    = bench_memory(count * 2);
    struct cublaslt_work work = { .library = library, .rows = PEAK_SIZE, .n = PEAK_SIZE, .k = PEAK_SIZE, .x = x, .weight = weight,
                                  .y = y };
    const double         seconds = bench_seconds(device, cublaslt_launch, &work);
    cublaslt_finish(&work);
    bench_free(x);
    bench_free(weight);
    bench_free(y);
    return seconds > 0 ? 2.0 * PEAK_SIZE * PEAK_SIZE * PEAK_SIZE / seconds : 0;
}

static void print_device(const struct bench_device *device)
{
    int driver = 0, runtime = 0;
    bench_check(cudaDriverGetVersion(&driver), "asking for the driver's version");
    bench_check(cudaRuntimeGetVersion(&runtime), "asking for the runtime's version");
    printf("{\"device\": \"%s\", \"architecture\": %d, \"kernels\": \"%s\", \"processors\": %d, \"clock_mhz\": %d, "
           "\"driver_cuda\": %d, \"runtime_cuda\": %d, \"copy_gb_s\": %.1f, \"matrix_tflop_s\": %.1f, "
           "\"matrix_from\": \"%s\", \"computed_tflop_s\": %.1f}\n",
           device->name, device->facts.architecture, device->kernels->name, device->facts.processors,
           attribute(cudaDevAttrClockRate) / 1000, driver, runtime, device->bytes_second * 1e-9, device->operations_second * 1e-12,
           device->operations_second == device->computed_second ? "clock and count" : "a product of cuBLASLt",
           device->computed_second * 1e-12);
    fflush(stdout);
}

static void describe_device(struct bench_device *device)
{
    struct cudaDeviceProp facts;
    bench_check(cudaGetDeviceProperties(&facts, 0), "opening the device");
    device->facts = (struct cuda_facts){ .architecture = 10 * facts.major + facts.minor, .processors = facts.multiProcessorCount,
                                         .shared_bytes = (int)facts.sharedMemPerBlockOptin };
    snprintf(device->name, sizeof device->name, "%s", facts.name);
    enum cudaDriverEntryPointQueryResult found;
    bench_check(cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &device->facts.encode_tensor_map, 12000,
                                                 cudaEnableDefault, &found),
                "asking the driver for cuTensorMapEncodeTiled");
    device->kernels = kernels_cuda(&device->facts);
    if (!device->kernels) {
        fprintf(stderr, "%s is sm_%d: there are kernels from sm_80 on\n", facts.name, device->facts.architecture);
        exit(1);
    }
}

void bench_open(struct bench_device *device, int rounds, bool quick, const char *file, struct cublaslt **library)
{
    *device = (struct bench_device){ .flush_bytes = (size_t)(quick ? 1 : 512) << 20,
                                     .rounds      = rounds < MOST_ROUNDS ? rounds : MOST_ROUNDS };
    describe_device(device);
    bench_check(cudaStreamCreateWithFlags(&device->stream, cudaStreamNonBlocking), "making a stream");
    device->flush = bench_memory(device->flush_bytes);
    bench_check(cudaMemset(device->flush, 1, device->flush_bytes), "filling memory");
    const struct cuda_rates rates = cuda_rates_ask(&device->facts);
    device->bytes_second      = (double)device->flush_bytes / bench_seconds(device, copy_flush, NULL);
    device->computed_second   = rates.bf16;
    device->cores_second      = rates.fp32;
    *library                  = quick && !*file ? NULL : cublaslt_open(file);
    const double measured     = *library && !quick ? measured_peak(device, *library) : 0;
    device->operations_second = measured > 0 ? measured : device->computed_second;
    print_device(device);
}

void bench_close(struct bench_device *device, struct cublaslt *library)
{
    cublaslt_close(library);
    bench_free(device->flush);
    bench_check(cudaStreamDestroy(device->stream), "closing a stream");
}

void *bench_memory(size_t bytes)
{
    void *memory = NULL;
    bench_check(cudaMalloc(&memory, bytes), "taking device memory");
    bench_poison(memory, bytes);
    return memory;
}

void bench_poison(void *memory, size_t bytes) { bench_check(cudaMemset(memory, 0xff, bytes), "poisoning memory"); }

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

static void put_random(enum dtype type, void *values, size_t i, float value)
{
    if (type == DTYPE_F32) {
        ((float *)values)[i] = value;
    } else if (type == DTYPE_F8_E4M3) {
        ((uint8_t *)values)[i] = e4m3_from_float(value);
    } else {
        const union { float f; uint32_t u; } bits = { .f = value };
        ((uint16_t *)values)[i]                   = (uint16_t)(bits.u >> 16);  /* bf16, cut */
    }
}

/* A prime number of values, over and over: billions of them one by one would take the host longer than the device all its work. */
void *bench_random(enum dtype type, size_t count, float spread)
{
    const size_t size = (size_t)dtype_bits(type) / 8, bytes = count * size;
    const size_t first = count < RANDOM_VALUES ? count : RANDOM_VALUES;
    char        *values = malloc(bytes);
    uint32_t     state  = (uint32_t)count;
    if (!values)
        bench_check(cudaErrorMemoryAllocation, "taking memory");
    for (size_t i = 0; i < first; i++)
        put_random(type, values, i, next_random(&state) * spread);
    for (size_t done = first * size; done < bytes; done += first * size)
        memcpy(values + done, values, bytes - done < first * size ? bytes - done : first * size);
    void *memory = bench_copy(values, bytes);
    free(values);
    return memory;
}

size_t bench_sample_at(int number, size_t count) { return (size_t)((uint64_t)number * 2654435761u % count); }

struct bench_sample bench_sample(const void *memory, enum dtype type, size_t count)
{
    const size_t        size = (size_t)dtype_bits(type) / 8;
    struct bench_sample sample;
    for (int i = 0; i < BENCH_SAMPLES; i++) {
        const size_t at = bench_sample_at(i, count);
        union { float f; uint32_t u; } bits = { .u = 0 };
        uint16_t                       half = 0;
        void *const                    to   = type == DTYPE_F32 ? (void *)&bits.f : (void *)&half;
        bench_check(cudaMemcpy(to, (const char *)memory + at * size, size, cudaMemcpyDeviceToHost), "reading a result");
        if (type != DTYPE_F32)
            bits.u = (uint32_t)half << 16;
        sample.values[i] = bits.f;
    }
    return sample;
}

double bench_difference(const struct bench_sample *found, const struct bench_sample *expected)
{
    double apart = 0, all = 0;
    for (int i = 0; i < BENCH_SAMPLES; i++) {
        const double one = expected->values[i], other = found->values[i];
        apart += (one - other) * (one - other);
        all += one * one;
    }
    return isfinite(apart) && all > 0 ? sqrt(apart / all) : INFINITY;
}

double bench_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static int by_value(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double bench_median(double *values, int count)
{
    qsort(values, (size_t)count, sizeof *values, by_value);
    return values[count / 2];
}

static cudaEvent_t new_event(void)
{
    cudaEvent_t event;
    bench_check(cudaEventCreateWithFlags(&event, cudaEventDefault), "making an event");
    return event;
}

double bench_seconds(const struct bench_device *device, bench_launch *launch, void *context)
{
    double            seconds[MOST_ROUNDS];
    const cudaEvent_t before = new_event(), after = new_event();
    cudaError_t       status = cudaSuccess;
    for (int round = -1; round < device->rounds && status == cudaSuccess; round++) {
        float milliseconds = 0;
        /* Every launch finds its operands in memory, as it does between the layers of a large model. */
        bench_check(cudaMemsetAsync(device->flush, round & 255, device->flush_bytes / 4, device->stream), "flushing the cache");
        bench_check(cudaEventRecord(before, device->stream), "recording an event");
        status = launch(device, context);
        if (status != cudaErrorNotSupported)
            bench_check(status, "launching");
        bench_check(cudaEventRecord(after, device->stream), "recording an event");
        bench_check(cudaStreamSynchronize(device->stream), "computing");
        bench_check(cudaEventElapsedTime(&milliseconds, before, after), "reading an event");
        if (round >= 0)
            seconds[round] = milliseconds * 1e-3;
    }
    bench_check(cudaEventDestroy(before), "closing an event");
    bench_check(cudaEventDestroy(after), "closing an event");
    return status == cudaSuccess ? bench_median(seconds, device->rounds) : 0;
}

void bench_cost(void *row, const struct cuda_cost *cost)
{
    struct bench_row *sum = row;
    sum->bytes += cost->bytes;
    sum->operations += cost->operations;
}

/* What is not finite is null: JSON has no word for it. */
static void print_number(const char *form, double value)
{
    if (isfinite(value))
        printf(form, value);
    else
        printf("null");
}

/* `what` of every peer that did not refuse. */
static void print_peers(const struct bench_row *row, const char *what, bool differences)
{
    bool any = false;
    printf(", \"%s\": {", what);
    for (int i = 0; i < BENCH_PEERS && row->peers[i].name; i++)
        if (row->peers[i].seconds > 0 && !(differences && isnan(row->peers[i].difference))) {
            printf("%s\"%s\": ", any ? ", " : "", row->peers[i].name);
            print_number(differences ? "%.5f" : "%.2f", differences ? row->peers[i].difference : row->peers[i].seconds * 1e6);
            any = true;
        }
    printf("}");
}

static void print_sample(const struct bench_sample *sample)
{
    printf(", \"sample\": [");
    for (int i = 0; i < BENCH_SAMPLES; i++) {
        printf("%s", i ? ", " : "");
        print_number("%.6g", (double)sample->values[i]);
    }
    printf("]");
}

void bench_print(const struct bench_device *device, const struct bench_row *row)
{
    if (row->seconds <= 0)
        return;
    const double moving    = row->bytes / device->bytes_second, rate = row->rate > 0 ? row->rate : 1;
    const double second    = row->on_cores ? device->cores_second : rate * device->operations_second;
    const double computing = second > 0 ? row->operations / second : 0;
    const double limit     = moving > computing ? moving : computing;
    const char  *units     = row->on_cores ? "CUDA cores" : "matrix units";
    printf("{\"device\": \"%s\", \"kernel\": \"%s\", \"shape\": \"%s\", \"us\": %.2f, \"gb_s\": %.1f, \"tflop_s\": %.2f, "
           "\"limit\": \"%s\", \"limit_us\": %.2f, \"of_limit\": %.3f",
           device->name, row->kernel, row->shape, row->seconds * 1e6, row->bytes / row->seconds * 1e-9,
           row->operations / row->seconds * 1e-12, moving > computing ? "memory" : units, limit * 1e6,
           limit / row->seconds);
    if (row->tokens > 0)
        printf(", \"tokens_s\": %.0f", row->tokens / row->seconds);
    print_peers(row, "peers", false);
    print_peers(row, "differences", true);
    if (row->sample)
        print_sample(row->sample);
    puts("}");
    fflush(stdout);
}

void bench_print_measure(const struct bench_device *device, const char *measure, const char *shape, double value, const char *unit)
{
    printf("{\"device\": \"%s\", \"measure\": \"%s\", \"shape\": \"%s\", \"value\": %.3f, \"unit\": \"%s\"}\n",
           device->name, measure, shape, value, unit);
    fflush(stdout);
}
