/* bench.h: timing kernels on a GPU: a device with random memory, medians of launches with a cold second-level cache, and rows of
 * JSON with the limit and the peer beside every figure.
 *
 * Functions end the program with one sentence when CUDA refuses something: this is a program, not a library.
 */
#ifndef RECTO_PROFILING_GPU_BENCH_H
#define RECTO_PROFILING_GPU_BENCH_H

#include "kernels/cuda/kernels_cuda.h"

struct bench_device {
    struct cuda_facts          facts;
    const struct cuda_kernels *kernels;
    cudaStream_t               stream;
    char                       name[256];
    double                     bytes_second;        /* a large copy, measured: read and written together */
    double                     operations_second;   /* of bf16 matrix units, from clock and count */
    void                      *flush;               /* larger than the second-level cache */
    size_t                     flush_bytes;
    int                        rounds;              /* launches of which the median is taken */
};

void bench_open(struct bench_device *device, int rounds);
void bench_close(struct bench_device *device);

/* Device memory; of random bf16, e4m3 or f32 values about zero, so that the matrix units draw what real data makes them draw. */
void *bench_memory(size_t bytes);
void *bench_random(enum dtype type, size_t count, float spread);
void *bench_copy(const void *values, size_t bytes);
void  bench_free(void *memory);

void bench_check(cudaError_t status, const char *doing);

/* Launches once. */
typedef cudaError_t bench_launch(const struct bench_device *device, void *context);

/* The median in seconds, after one launch that is not counted. */
double bench_seconds(const struct bench_device *device, bench_launch *launch, void *context);

/* One line of JSON on standard output. `peer` may be null. */
struct bench_row {
    const char *kernel, *shape, *peer;
    double      seconds, peer_seconds;  /* a peer that refused: 0 */
    double      bytes, operations;
    double      rate;                   /* of the matrix units for its type, bf16's being 1; 0: 1 */
};
void bench_print(const struct bench_device *device, const struct bench_row *row);

/* Sums of what launchers tell their profiler; a cuda_profile with a struct bench_row as context. */
void bench_cost(void *row, const struct cuda_cost *cost);

#endif
