#include "tests/cuda/probe.h"

#if defined __CUDA_ARCH__ && !defined __CUDA_ARCH_FEAT_SM90_ALL
#error "this file is for sm_90a alone"
#endif

static __global__ void scale(const float *x, float factor, int count, float *y)
{
    int i = (int)(blockIdx.x * blockDim.x + threadIdx.x);
    if (i < count)
        y[i] = factor * x[i];
}

extern "C" cudaError_t probe_scale_sm90(const float *x, float factor, int count, float *y, cudaStream_t stream)
{
    scale<<<(unsigned)((count + 127) / 128), 128, 0, stream>>>(x, factor, count, y);
    return cudaGetLastError();
}
