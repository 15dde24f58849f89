/* Kernels that are wrong in what the compiler makes of them, not in what they compute; catches.py expects each to be named. */
#include "kernels/cuda/sm90.cuh"

/* Sums are read while the product that makes them is in flight: the assembler puts a wait behind every wgmma. */
__global__ void planted_serialised(float *y, uint64_t a, uint64_t b, int steps)
{
    float d[64] = { 0.0f };
    for (int i = 0; i < steps; i++) {
        wgmma_fence();
        wgmma_ss<__nv_bfloat16>(d, a + i, b + i, 1);
        wgmma_commit();
        d[0] += 1.0f;
        wgmma_wait<0>();
    }
    for (int i = 0; i < 64; i++)
        y[i * blockDim.x + threadIdx.x] = d[i];
}

/* A launch of 2 * 128 threads with 128 registers each, of which a consumer wants 240 while the producer keeps what it has. */
__global__ void __launch_bounds__(256, 2) planted_shortage(float *y)
{
    if (warpgroup_index() == 0)
        return;
    registers_raise<240>();
    y[threadIdx.x] = 1.0f;
}

/* A table with an index that is known only at run time lies in local memory. */
__global__ void planted_local(float *y, const int *order)
{
    float values[32];
    for (int i = 0; i < 32; i++)
        values[i] = y[i];
    for (int i = 0; i < 32; i++)
        y[i] = values[order[i]];
}

/* More live values than registers. */
__global__ void __launch_bounds__(1024, 2) planted_spilled(float *y, int stride, int rounds)
{
    float values[48];
    for (int i = 0; i < 48; i++)
        values[i] = y[i * stride + threadIdx.x];
    for (int round = 0; round < rounds; round++)
#pragma unroll
        for (int i = 0; i < 48; i++)
            values[i] = values[i] * values[(i * 7 + 1) % 48] + 1.0f;
    for (int i = 0; i < 48; i++)
        y[i * stride + threadIdx.x] = values[i];
}
