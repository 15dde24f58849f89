/* bench.h: timing on a GPU: a device with random memory, medians of launches with a cold second-level cache, and rows of JSON with
 * the limit and the peers beside every figure.
 *
 * Functions end the program with one sentence when CUDA refuses something: this is a program, not a library.
 */
#ifndef RECTO_PROFILING_GPU_BENCH_H
#define RECTO_PROFILING_GPU_BENCH_H

#include "kernels/cuda/kernels_cuda.h"

#include <stdbool.h>

struct bench_device {
    struct cuda_facts          facts;
    const struct cuda_kernels *kernels;
    cudaStream_t               stream;
    char                       name[256];
    double                     bytes_second;        /* a large copy, measured: read and written together */
    double                     operations_second;   /* of bf16 matrix units: a large product of cuBLASLt where that is installed */
    double                     computed_second;     /* the same from clocks and counts; 0: not known */
    double                     cores_second;        /* of CUDA cores in f32, from clocks and counts; 0: not known */
    void                      *flush;               /* larger than the second-level cache */
    size_t                     flush_bytes;
    int                        rounds;              /* launches of which the median is taken */
};

/* quick: little memory is touched, for the emulator. Opens cublaslt.h's library `file` for the peak, and hands it on: null where it
 * is not installed; "": where the system has it, and with `quick` none. Prints a line with what the device is and can do. */
struct cublaslt;
void bench_open(struct bench_device *device, int rounds, bool quick, const char *file, struct cublaslt **library);
void bench_close(struct bench_device *device, struct cublaslt *library);

/* Device memory, filled with no numbers, so that what a kernel leaves out shows; of random bf16, e4m3 or f32 values about zero, so
 * that the matrix units draw what real data makes them draw: peers.py makes the same ones again. */
void *bench_memory(size_t bytes);
void  bench_poison(void *memory, size_t bytes);
void *bench_random(enum dtype type, size_t count, float spread);
void *bench_copy(const void *values, size_t bytes);
void  bench_free(void *memory);

void bench_check(cudaError_t status, const char *doing);

/* Seconds of the host's clock. */
double bench_now(void);
/* Sorts. */
double bench_median(double *values, int count);

/* Launches once. */
typedef cudaError_t bench_launch(const struct bench_device *device, void *context);

/* The median in seconds, after one launch that is not counted; 0: the first one says cudaErrorNotSupported. */
double bench_seconds(const struct bench_device *device, bench_launch *launch, void *context);

/* BENCH_SAMPLES of `count` elements, spread over all of them, the same for every such count; of f32 or bf16 in device memory. */
enum { BENCH_SAMPLES = 64 };
struct bench_sample {
    float values[BENCH_SAMPLES];
};
size_t              bench_sample_at(int number, size_t count);
struct bench_sample bench_sample(const void *memory, enum dtype type, size_t count);
/* The root of the mean square of their differences, in that of `expected`; infinite where a value is no number. */
double bench_difference(const struct bench_sample *found, const struct bench_sample *expected);

/* One line of JSON on standard output: what a kernel or a model took, its limit (the larger of the times that its bytes and its
 * operations need), what peers took and how far their results are from its own. */
enum { BENCH_PEERS = 4 };
struct bench_row {
    const char *kernel, *shape;
    double      seconds, bytes, operations;
    double      rate;               /* of the matrix units for its type, bf16's being 1; 0: 1 */
    bool        on_cores;           /* computed in f32 on CUDA cores: no matrix unit has part in it */
    double      tokens;             /* 0: not counted */
    struct {
        const char *name;           /* null: no more */
        double      seconds;        /* 0: it refused */
        double      difference;     /* bench_difference; no number: not compared */
    } peers[BENCH_PEERS];
    const struct bench_sample *sample;  /* of the result, for peers that run elsewhere; null: not told */
};
void bench_print(const struct bench_device *device, const struct bench_row *row);
/* A line with a figure that has no such limit. */
void bench_print_measure(const struct bench_device *device, const char *measure, const char *shape, double value, const char *unit);

/* Sums of what launchers tell their profiler; a cuda_profile with a struct bench_row as context. */
void bench_cost(void *row, const struct cuda_cost *cost);

#endif
