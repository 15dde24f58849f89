/* epilogue.h: a thread takes eight neighbouring outputs, by accesses of 16 bytes. */
#include "kernels/cuda/launch.h"

#include "kernels/cuda/device.cuh"
#include "profiling/gpu/epilogue.h"

enum { EACH = 8, THREADS = 256 };

struct eight {
    float v[EACH];
};

/* x + bias from `column` on. */
DEVICE struct eight epilogue_read(const struct epilogue_args &a, int row, int column)
{
    const uint4          bits = *(const uint4 *)((const __nv_bfloat16 *)a.x + (size_t)row * a.n + column);
    const __nv_bfloat16 *x    = (const __nv_bfloat16 *)&bits;
    struct eight         y;
#pragma unroll
    for (int i = 0; i < EACH; i++)
        y.v[i] = __bfloat162float(x[i]) + a.bias[column + i];
    return y;
}

DEVICE struct eight epilogue_activate(const struct epilogue_args &a, int row, int output)
{
    if (a.act == LINEAR_SILU_GATE) {  /* blocks of sixteen: gate, up */
        const int    column = output / 16 * 32 + output % 16;
        struct eight gate = epilogue_read(a, row, column), up = epilogue_read(a, row, column + 16);
#pragma unroll
        for (int i = 0; i < EACH; i++)
            gate.v[i] = gate.v[i] / (1.0f + expf(-gate.v[i])) * up.v[i];
        return gate;
    }
    struct eight y = epilogue_read(a, row, output);
    if (a.act == LINEAR_GELU_ERF)
#pragma unroll
        for (int i = 0; i < EACH; i++)
            y.v[i] = 0.5f * y.v[i] * (1.0f + erff(y.v[i] * 0.70710678f));
    return y;
}

__global__ void __launch_bounds__(THREADS) epilogue_kernel(struct epilogue_args a, int rows)
{
    const int    width = a.act == LINEAR_SILU_GATE ? a.n / 2 : a.n;
    const size_t at    = ((size_t)blockIdx.x * THREADS + threadIdx.x) * EACH;
    if (at >= (size_t)rows * width)
        return;
    struct eight y = epilogue_activate(a, (int)(at / width), (int)(at % width));
    if (a.residual) {
        float *to = (float *)a.y + at;
#pragma unroll
        for (int i = 0; i < EACH; i++)
            to[i] = a.residual[at + i] + y.v[i];
        return;
    }
    uint4          bits;
    __nv_bfloat16 *rounded = (__nv_bfloat16 *)&bits;
#pragma unroll
    for (int i = 0; i < EACH; i++)
        rounded[i] = __float2bfloat16(y.v[i]);
    *(uint4 *)((__nv_bfloat16 *)a.y + at) = bits;
}

extern "C" cudaError_t epilogue_cuda(const struct cuda_launch *launch, const struct epilogue_args *args)
{
    const size_t outputs = (size_t)launch->tokens * (size_t)(args->act == LINEAR_SILU_GATE ? args->n / 2 : args->n);
    const double bytes   = 2.0 * launch->tokens * args->n + (double)outputs * (args->residual ? 8 : 2);
    const dim3   grid((unsigned)((outputs / EACH + THREADS - 1) / THREADS));
    const struct kernel_shape shape = { "epilogue", bytes, 0, grid, THREADS, 0, 0 };
    if (args->n % 32 != 0)
        return cudaErrorNotSupported;
    KERNEL_LAUNCH(launch, shape, KERNEL_HANDLE(epilogue_kernel), args, &launch->tokens);
}
