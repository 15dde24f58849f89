/* fma.cuh: what products on CUDA cores share: how the lanes of a warp stand, and the one order of a sum.
 *
 * The lanes form 4 rows of 8 columns in such a way that any two neighbours share their row, and any two that are two apart their
 * column: reads of 16 bytes by row or by column then come together.
 */
#ifndef RECTO_KERNELS_CUDA_FMA_CUH
#define RECTO_KERNELS_CUDA_FMA_CUH

#include "kernels/cuda/device.cuh"

DEVICE int fma_lane_row(int lane) { return (lane >> 1 & 1) | (lane >> 4) << 1; }
DEVICE int fma_lane_column(int lane) { return (lane & 1) | (lane >> 2 & 3) << 1; }

/* sum + a . b, one after another. */
DEVICE float fma_chain(float4 a, float4 b, float sum)
{
    return fmaf(a.w, b.w, fmaf(a.z, b.z, fmaf(a.y, b.y, fmaf(a.x, b.x, sum))));
}

#endif
