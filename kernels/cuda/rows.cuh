/* rows.cuh: what the kernels that walk rows share: how many are alive, where a row is, sums over a warp.
 *
 * A warp's sum is folded in one fixed tree, in which every lane ends with the same bits.
 */
#ifndef RECTO_KERNELS_CUDA_ROWS_CUH
#define RECTO_KERNELS_CUDA_ROWS_CUH

#include "kernels/cuda/launch.h"

#include "kernels/cuda/device.cuh"

enum { ROWS_WARPS = 4, ROWS_THREADS = 32 * ROWS_WARPS };  /* of a block in which each warp takes a row */

/* Which count is the kernel's, carried in its arguments. */
struct live_rows {
    const struct cuda_live *live;
    enum cuda_rows          of;
};

/* A warp a row. */
static inline struct kernel_shape rows_shape(const struct cuda_launch *launch, const char *name, double bytes_each)
{
    const int                 cap = launch_rows_cap(launch);
    const dim3                grid((unsigned)launch_blocks(cap, ROWS_WARPS));
    const struct kernel_shape shape = { name, bytes_each * cap, 0, grid, ROWS_THREADS, 0, 0 };
    return shape;
}

static inline struct live_rows launch_live_rows(const struct cuda_launch *launch)
{
    struct live_rows rows = { launch->live, launch->rows };
    return rows;
}

DEVICE int live_count(struct live_rows rows)
{
    return rows.of == CUDA_ROWS_TOKENS ? rows.live->tokens : rows.live->sequences;
}

/* The row of the calling warp, in a block of ROWS_WARPS. */
DEVICE int warp_row(void) { return (int)(blockIdx.x * ROWS_WARPS + threadIdx.x / 32); }
DEVICE int warp_lane(void) { return (int)(threadIdx.x % 32); }

template <class T> DEVICE T *row_at(T *base, size_t stride, int row)
{
    return (T *)((char *)base + stride * (size_t)row);
}
template <class T> DEVICE const T *row_at(const T *base, size_t stride, int row)
{
    return (const T *)((const char *)base + stride * (size_t)row);
}

DEVICE float warp_sum(float v)
{
#pragma unroll
    for (int distance = 16; distance > 0; distance /= 2)
        v += __shfl_xor_sync(0xffffffffu, v, distance);
    return v;
}

DEVICE float warp_max(float v)
{
#pragma unroll
    for (int distance = 16; distance > 0; distance /= 2)
        v = fmaxf(v, __shfl_xor_sync(0xffffffffu, v, distance));
    return v;
}

/* Two neighbours at once, `to` and `from` aligned to 8 bytes. */
DEVICE void store_f32x2(float *to, float a, float b)
{
    const uint2 bits = { __float_as_uint(a), __float_as_uint(b) };
    *(uint2 *)to     = bits;
}

/* Four neighbours at once. */
DEVICE void store_bf16x4(__nv_bfloat16 *to, float a, float b, float c, float d)
{
    union {
        __nv_bfloat162 pairs[2];
        uint2          bits;
    } v;
    v.pairs[0]                        = __floats2bfloat162_rn(a, b);
    v.pairs[1]                        = __floats2bfloat162_rn(c, d);
    *reinterpret_cast<uint2 *>(to) = v.bits;
}

#endif
