/* linear_wgmma.cuh: what the linears of Hopper share: slices of 128 bytes along k in a ring of stages, filled by one warpgroup and
 * multiplied by others, in the same order everywhere. Elements are bf16, or e4m3 where T is uint8_t.
 */
#ifndef RECTO_KERNELS_LINEAR_LINEAR_WGMMA_CUH
#define RECTO_KERNELS_LINEAR_LINEAR_WGMMA_CUH

#include "kernels/linear/linear_epilogue.cuh"

#include "kernels/cuda/sm90.cuh"

enum {
    WGMMA_ROW_BYTES = 128,            /* of a stage */
    WGMMA_SLICE     = WGMMA_ROW_BYTES / 2,  /* of k in a stage of bf16 */
    PRODUCER_REGISTERS = 40,
    CONSUMER_REGISTERS = 232
};

static_assert(sm90_registers_fit(1, PRODUCER_REGISTERS, 2, CONSUMER_REGISTERS), "setmaxnreg would wait for ever");

template <int STAGES> DEVICE void wgmma_next_stage(int *stage, uint32_t *parity)
{
    if (++*stage == STAGES) {
        *stage = 0;
        *parity ^= 1;
    }
}

/* d [64, 2 R] += one slice, or is it when nothing came before. */
template <class T = __nv_bfloat16, int R> DEVICE void wgmma_slice(float (&d)[R], uint64_t a, uint64_t b, bool accumulate)
{
#pragma unroll
    for (int step = 0; step < WGMMA_ROW_BYTES / 32; step++)  /* a product takes 32 bytes of k */
        if constexpr (sizeof(T) == 1)
            wgmma_ss_e4m3(d, a + step * 2, b + step * 2, accumulate || step > 0);
        else
            wgmma_ss<T>(d, a + step * 2, b + step * 2, accumulate || step > 0);
}

DEVICE uint32_t bf16_pair(float a, float b)
{
    const __nv_bfloat162 pair = __floats2bfloat162_rn(a, b);
    uint32_t             bits;
    memcpy(&bits, &pair, 4);
    return bits;
}

#endif
