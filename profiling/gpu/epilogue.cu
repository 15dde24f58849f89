/* epilogue.h: a thread takes eight neighbouring outputs, by accesses of 16 bytes; with a norm a warp takes a row. */
#include "kernels/cuda/launch.h"

#include "kernels/cuda/rows.cuh"
#include "profiling/gpu/epilogue.h"

enum { EACH = 8, THREADS = 256, PIECES = EPILOGUE_NORM_MOST / (32 * EACH) };

struct eight {
    float v[EACH];
};

/* x + bias from `column` on. */
DEVICE struct eight epilogue_read(const void *rows, const float *bias, int n, int row, int column)
{
    const uint4          bits = *(const uint4 *)((const __nv_bfloat16 *)rows + (size_t)row * n + column);
    const __nv_bfloat16 *x    = (const __nv_bfloat16 *)&bits;
    struct eight         y;
#pragma unroll
    for (int i = 0; i < EACH; i++)
        y.v[i] = __bfloat162float(x[i]) + bias[column + i];
    return y;
}

DEVICE void epilogue_add(struct eight *y, const float *residual)
{
#pragma unroll
    for (int i = 0; i < EACH; i += 4) {
        const float4 four = *(const float4 *)(residual + i);
        y->v[i] += four.x, y->v[i + 1] += four.y, y->v[i + 2] += four.z, y->v[i + 3] += four.w;
    }
}

DEVICE void epilogue_store(float *to, const struct eight *y)
{
#pragma unroll
    for (int i = 0; i < EACH; i += 4)
        *(float4 *)(to + i) = make_float4(y->v[i], y->v[i + 1], y->v[i + 2], y->v[i + 3]);
}

DEVICE void epilogue_store_bf16(__nv_bfloat16 *to, const struct eight *y)
{
    uint4          bits;
    __nv_bfloat16 *rounded = (__nv_bfloat16 *)&bits;
#pragma unroll
    for (int i = 0; i < EACH; i++)
        rounded[i] = __float2bfloat16(y->v[i]);
    *(uint4 *)to = bits;
}

DEVICE struct eight epilogue_activate(const struct epilogue_args &a, int row, int output)
{
    if (a.act == LINEAR_SILU_GATE) {  /* blocks of sixteen: gate, up */
        const int    column = output / 16 * 32 + output % 16;
        struct eight gate = epilogue_read(a.x, a.bias, a.n, row, column), up = epilogue_read(a.x, a.bias, a.n, row, column + 16);
#pragma unroll
        for (int i = 0; i < EACH; i++)
            gate.v[i] = gate.v[i] / (1.0f + expf(-gate.v[i])) * up.v[i];
        return gate;
    }
    struct eight y = epilogue_read(a.x, a.bias, a.n, row, output);
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
    if (!a.residual) {
        epilogue_store_bf16((__nv_bfloat16 *)a.y + at, &y);
        return;
    }
    epilogue_add(&y, a.residual + at);
    epilogue_store((float *)a.y + at, &y);
}

/* The sums stay in registers from the first pass, which takes the mean, to the last. */
__global__ void __launch_bounds__(ROWS_THREADS) epilogue_norm_kernel(struct epilogue_norm_args a, int rows)
{
    const int    row = warp_row(), lane = warp_lane();
    const size_t start = (size_t)row * a.n;
    struct eight y[PIECES];
    float        sum = 0, squares = 0;
    if (row >= rows)
        return;
#pragma unroll
    for (int p = 0; p < PIECES; p++) {
        const int column = (p * 32 + lane) * EACH;
        if (column >= a.n)
            continue;
        y[p] = epilogue_read(a.x, a.bias, a.n, row, column);
        epilogue_add(&y[p], a.residual + start + column);
        if (a.sum)
            epilogue_store(a.sum + start + column, &y[p]);
#pragma unroll
        for (int i = 0; i < EACH; i++)
            sum += y[p].v[i];
    }
    const float mean = a.shift ? warp_sum(sum) / a.n : 0.0f;
#pragma unroll
    for (int p = 0; p < PIECES; p++)
#pragma unroll
        for (int i = 0; i < EACH; i++)
            if ((p * 32 + lane) * EACH < a.n) {
                y[p].v[i] -= mean;
                squares += y[p].v[i] * y[p].v[i];
            }
    const float inverse = rsqrtf(warp_sum(squares) / a.n + a.epsilon);
#pragma unroll
    for (int p = 0; p < PIECES; p++) {
        const int column = (p * 32 + lane) * EACH;
        if (column >= a.n)
            continue;
#pragma unroll
        for (int i = 0; i < EACH; i++)
            y[p].v[i] = y[p].v[i] * inverse * a.weight[column + i] + (a.shift ? a.shift[column + i] : 0.0f);
        if (a.y)
            epilogue_store(a.y + start + column, &y[p]);
        epilogue_store_bf16((__nv_bfloat16 *)a.copy + start + column, &y[p]);
    }
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

extern "C" cudaError_t epilogue_norm_cuda(const struct cuda_launch *launch, const struct epilogue_norm_args *args)
{
    const double              bytes = args->n * (2 + 4 + 2 + (args->sum ? 4.0 : 0.0) + (args->y ? 4.0 : 0.0));
    const struct kernel_shape shape = rows_shape(launch, "epilogue with a norm", bytes);
    if (args->n % 32 != 0 || args->n > EPILOGUE_NORM_MOST)
        return cudaErrorNotSupported;
    KERNEL_LAUNCH(launch, shape, KERNEL_HANDLE(epilogue_norm_kernel), args, &launch->tokens);
}
