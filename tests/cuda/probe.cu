#include "tests/cuda/probe.h"

/* Of bf16 and fp16 the headers alone: they need those of a package that the compiler's own does not ask for. */
#include <cuda_bf16.h>
#include <cuda_fp16.h>

static __global__ void scale(const float *x, float factor, int count, float *y)
{
    int i = (int)(blockIdx.x * blockDim.x + threadIdx.x);
    if (i < count)
        y[i] = __bfloat162float(__float2bfloat16(factor)) * x[i];
}

extern "C" cudaError_t probe_scale(const float *x, float factor, int count, float *y, cudaStream_t stream)
{
    scale<<<(unsigned)((count + 127) / 128), 128, 0, stream>>>(x, factor, count, y);
    return cudaGetLastError();
}
