/* linear_norm_exchange.cuh: what the blocks of a cluster tell each other of the rows that they share: sums, or largest values.
 *
 * Columns are taken in groups of 64, counted from the first of all. In a group each lane of a quad has 16 columns; lanes 0 and 1,
 * 2 and 3, then both make the group's value, and the groups fold from left to right, the first being what the others are added to.
 * Each block sends the values of its groups to all blocks, itself among them, and folds what it was sent: so it does not show
 * which block had which group. A block that is alone writes them instead, and no barrier is needed: st.async is undefined in a
 * cluster of one.
 *
 * A warp's rows are its own from the residual to the store, in every block the same ones, so warps of the same number exchange
 * with each other and nobody else waits. Two barriers take turns: whoever sends for exchange e + 2 has ended e + 1, for which the
 * receiver sent after it had read e.
 */
#ifndef RECTO_KERNELS_LINEAR_LINEAR_NORM_EXCHANGE_CUH
#define RECTO_KERNELS_LINEAR_LINEAR_NORM_EXCHANGE_CUH

#include "kernels/linear/linear_norm_choose.h"

#include "kernels/cuda/instructions.cuh"
#include "kernels/cuda/rows.cuh"

enum {
    EXCHANGE_GROUP    = 64,  /* columns that are taken together */
    EXCHANGE_ROWS     = 16,  /* of a warp: its lanes have rows lane / 4 and lane / 4 + 8, the upper and the lower */
    EXCHANGE_BARRIERS = 2
};

/* Bytes of shared memory of a warp: what all groups sent in two exchanges. Its barriers come besides. */
FRAGMENT int exchange_bytes(int groups) { return 2 * groups * EXCHANGE_ROWS * 4; }

/* A warp's part, in shared memory; that of the other blocks lies at the same places of theirs. */
struct norm_exchange {
    float       *values;    /* [2][groups][EXCHANGE_ROWS] */
    uint32_t     barriers;  /* [EXCHANGE_BARRIERS] */
    int          blocks, groups;
    int          group0;    /* the block's first */
    int          count;     /* exchanges so far */
};

DEVICE float *exchange_values(const struct norm_exchange &e) { return e.values + e.count % 2 * e.groups * EXCHANGE_ROWS; }
DEVICE uint32_t exchange_barrier(const struct norm_exchange &e) { return e.barriers + (uint32_t)(e.count % 2 * 8); }

/* LARGEST: of values that are not negative, NaNs left out. Otherwise sums. */
template <bool LARGEST> DEVICE float exchange_fold(float a, float b) { return LARGEST ? fmaxf(a, b) : a + b; }

template <bool LARGEST> DEVICE float exchange_quad(float v)
{
    v = exchange_fold<LARGEST>(v, __shfl_xor_sync(0xffffffffu, v, 1));
    return exchange_fold<LARGEST>(v, __shfl_xor_sync(0xffffffffu, v, 2));
}

/* A group's values of the upper and lower row of each quad, to every block: lane i of a quad sends to blocks i and i + 4. */
template <bool LARGEST> DEVICE void exchange_send(const struct norm_exchange &e, int group, float upper, float lower)
{
    float *to = exchange_values(e) + (e.group0 + group) * EXCHANGE_ROWS + warp_lane() / 4;
    upper     = exchange_quad<LARGEST>(upper);
    lower     = exchange_quad<LARGEST>(lower);
    if (e.blocks == 1) {
        if (warp_lane() % 4 == 0) {
            to[0] = upper;
            to[8] = lower;
        }
        return;
    }
#pragma unroll
    for (int half = 0; half < LINEAR_NORM_CLUSTER / 4; half++) {
        const uint32_t rank = (uint32_t)(warp_lane() % 4 + half * 4);
        if ((int)rank >= e.blocks)
            continue;
        const uint32_t at = cluster_address(shared_address(to), rank), barrier = cluster_address(exchange_barrier(e), rank);
        cluster_store_async(at, __float_as_uint(upper), barrier);
        cluster_store_async(at + 8 * 4, __float_as_uint(lower), barrier);
    }
}

/* What all blocks sent for the upper and the lower row, folded. */
template <bool LARGEST> DEVICE float2 exchange_end(struct norm_exchange &e)
{
    const float *values = exchange_values(e) + warp_lane() / 4;
    if (e.blocks == 1) {
        __syncwarp();  /* all lanes have written */
    } else {
        if (warp_lane() == 0)
            mbarrier_arrive_expect(exchange_barrier(e), (uint32_t)(e.groups * EXCHANGE_ROWS * 4));
        mbarrier_wait(exchange_barrier(e), (uint32_t)(e.count / 2 % 2));
    }
    float2 total = make_float2(values[0], values[8]);
    for (int group = 1; group < e.groups; group++) {
        total.x = exchange_fold<LARGEST>(total.x, values[group * EXCHANGE_ROWS]);
        total.y = exchange_fold<LARGEST>(total.y, values[group * EXCHANGE_ROWS + 8]);
    }
    e.count++;
    __syncwarp();  /* all lanes have read before one of them sends again, which lets others write here */
    return total;
}

#endif
