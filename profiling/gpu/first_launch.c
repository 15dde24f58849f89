/* first_launch NAME: how long a process waits for its first kernel, as one line of JSON. Run with CUDA_FORCE_PTX_JIT=1 and
 * CUDA_CACHE_DISABLE=1 the driver compiles the PTX in the program; first_launch_many is the same program with a thousand kernels
 * that nobody calls. */
#include "tests/cuda/probe.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void check(cudaError_t status, const char *doing)
{
    if (status == cudaSuccess)
        return;
    fprintf(stderr, "%s: %s\n", doing, cudaGetErrorString(status));
    exit(1);
}

static double launch(float *memory)
{
    const double start = now();
    check(probe_scale(memory, 1.0f, 128, memory, NULL), "launching");
    check(cudaDeviceSynchronize(), "computing");
    return now() - start;
}

int main(int argc, char **argv)
{
    float       *memory = NULL;
    const double start  = now();
    check(cudaMalloc((void **)&memory, 4096), "opening the device");
    const double opened = now() - start, first = launch(memory), second = launch(memory);
    printf("{\"question\": \"first launch\", \"program\": \"%s\", \"open_ms\": %.2f, \"first_ms\": %.3f, \"second_ms\": %.3f}\n",
           argc > 1 ? argv[1] : "cubin", opened * 1e3, first * 1e3, second * 1e3);
    check(cudaFree(memory), "closing");
    return 0;
}
