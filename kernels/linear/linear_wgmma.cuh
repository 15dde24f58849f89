/* linear_wgmma.cuh: what the linears of Hopper share: slices of 128 bytes along k in a ring of stages, filled by one warpgroup and
 * multiplied by others, in the same order everywhere. Elements are bf16, or e4m3 where T is uint8_t.
 *
 * e4m3: the matrix unit cuts products and their sum off some 13 bits below the greatest of them, always toward zero, so that
 * long sums shrink. What it adds up of one slice, 128 of k, therefore goes to sums of its own in f32. An output takes two
 * registers then: 192 columns fill a consumer's, 256 do not fit. Nothing of a consumer is in flight while it adds to its sums;
 * the other one multiplies. Of bf16 one slice's product stays in flight while the next is issued.
 */
#ifndef RECTO_KERNELS_LINEAR_LINEAR_WGMMA_CUH
#define RECTO_KERNELS_LINEAR_LINEAR_WGMMA_CUH

#include "kernels/linear/linear_epilogue.cuh"

#include "kernels/cuda/sm90.cuh"
#include "kernels/cuda/tensor_map.h"
#include "kernels/linear/linear_choose.h"

enum {
    WGMMA_ROW_BYTES    = 128,  /* of a stage */
    PRODUCER_REGISTERS = 24,
    CONSUMER_REGISTERS = 240   /* with 232 a norm of e4m3 would keep some of them in memory */
};

static_assert(sm90_registers_fit(1, PRODUCER_REGISTERS, 2, CONSUMER_REGISTERS), "setmaxnreg would wait for ever");

/* Of k in a stage. */
template <class T> constexpr int WGMMA_SLICE = WGMMA_ROW_BYTES / (int)sizeof(T);
template <class T> DEVICE int wgmma_slices(int k) { return (k + WGMMA_SLICE<T> - 1) / WGMMA_SLICE<T>; }

template <int STAGES> DEVICE void wgmma_next_stage(int *stage, uint32_t *parity)
{
    if (++*stage == STAGES) {
        *stage = 0;
        *parity ^= 1;
    }
}

/* d [64, 2 R] += one slice, or is it when nothing came before. */
template <class T, int R> DEVICE void wgmma_slice(float (&d)[R], uint64_t a, uint64_t b, bool accumulate)
{
#pragma unroll
    for (int step = 0; step < WGMMA_ROW_BYTES / 32; step++)  /* a product takes 32 bytes of k */
        if constexpr (sizeof(T) == 1)
            wgmma_ss_e4m3(d, a + step * 2, b + step * 2, accumulate || step > 0);
        else
            wgmma_ss<T>(d, a + step * 2, b + step * 2, accumulate || step > 0);
}

/* The ring as a consumer sees it. Blocks of a cluster may share x: a stage is then given back to two producers, that of the own
 * block for the weight and that of the block whose turn it is for x. */
struct wgmma_ring {
    uint64_t x, weight;            /* descriptors in stage 0: of the consumer's rows, of the columns */
    int      x_step, weight_step;  /* from stage to stage */
    uint32_t full, empty;          /* barriers, one a stage */
    uint32_t empty_x;              /* of x alone, where a cluster shares it: in every block */
    int      blocks, next;         /* of the cluster; the one that loads x into the stage that is given back next */
    int      stage;                /* that is multiplied next */
    uint32_t parity;
    bool     lead;                 /* the thread that gives back for its warpgroup */
};

/* x, weight: where the own rows of stage 0 begin, and the columns. A stage has ROWS of x. */
template <int ROWS, int COLUMNS>
DEVICE struct wgmma_ring wgmma_ring_of(uint32_t x, uint32_t weight, uint32_t full, uint32_t empty)
{
    struct wgmma_ring r = {};
    r.x                 = wgmma_descriptor(x, 16, 1024, wgmma_swizzle_128);
    r.weight            = wgmma_descriptor(weight, 16, 1024, wgmma_swizzle_128);
    r.x_step            = ROWS * WGMMA_ROW_BYTES / 16;
    r.weight_step       = COLUMNS * WGMMA_ROW_BYTES / 16;
    r.full              = full;
    r.empty             = empty;
    r.lead              = threadIdx.x % 128 == 0;
    return r;
}

/* A warpgroup has read a stage. */
template <bool CLUSTER> DEVICE void wgmma_give_back(struct wgmma_ring &r, int stage)
{
    if (r.lead) {
        mbarrier_arrive(r.empty + stage * 8);
        if constexpr (CLUSTER)
            mbarrier_arrive_remote_block(cluster_address(r.empty_x + stage * 8, (uint32_t)r.next));
    }
    if constexpr (CLUSTER)
        r.next = r.next + 1 == r.blocks ? 0 : r.next + 1;
}

/* d [64, 2 R] = all slices of a tile. */
template <int STAGES, bool CLUSTER, class T, int R> DEVICE void wgmma_products(struct wgmma_ring &r, int slices, float (&d)[R])
{
    constexpr bool PROMOTED = sizeof(T) == 1;
    float          sums[R];  /* PROMOTED alone */
    int            before = 0;
    if constexpr (PROMOTED)
#pragma unroll
        for (int i = 0; i < R; i++)
            sums[i] = 0.0f;
    for (int s = 0; s < slices; s++) {
        mbarrier_wait(r.full + r.stage * 8, r.parity);
        wgmma_fence();
        wgmma_slice<T>(d, r.x + (uint64_t)(r.stage * r.x_step), r.weight + (uint64_t)(r.stage * r.weight_step),
                       !PROMOTED && s > 0);
        wgmma_commit();
        if constexpr (PROMOTED) {
            wgmma_wait<0>();
            wgmma_settle(d);
            wgmma_give_back<CLUSTER>(r, r.stage);
#pragma unroll
            for (int i = 0; i < R; i++)
                sums[i] += d[i];
        } else if (s > 0) {
            wgmma_wait<1>();  /* the slice before is done, this one under way */
            wgmma_give_back<CLUSTER>(r, before);
        }
        before = r.stage;
        wgmma_next_stage<STAGES>(&r.stage, &r.parity);
    }
    if constexpr (PROMOTED) {
#pragma unroll
        for (int i = 0; i < R; i++)
            d[i] = sums[i];
    } else {
        wgmma_wait<0>();
        wgmma_settle(d);
        wgmma_give_back<CLUSTER>(r, before);
    }
}

/* What codes of e4m3 stand for. */
struct wgmma_scales {
    const float *rows;     /* [rows] */
    const float *outputs;  /* [n padded] */
    int          n;
};

static inline struct wgmma_scales wgmma_scales_of(const struct linear_args *args)
{
    const struct wgmma_scales scales = { args->x_scales, args->weight->scales, args->weight->n };
    return scales;
}

/* From sums of codes to what they stand for: times the row's scale, times the output's. row, column0: the lane's first. */
template <int R> DEVICE void wgmma_scale(const struct wgmma_scales &scales, float (&d)[R], int row, int live, int column0)
{
    const float upper = row < live ? scales.rows[row] : 0.0f, lower = row + 8 < live ? scales.rows[row + 8] : 0.0f;
#pragma unroll
    for (int i = 0; i < R / 4; i++) {
        const int    column = column0 + i * 8;
        const float2 scale  = column < scales.n ? *(const float2 *)(scales.outputs + column) : make_float2(0.0f, 0.0f);
        d[4 * i]            = d[4 * i] * upper * scale.x;
        d[4 * i + 1]        = d[4 * i + 1] * upper * scale.y;
        d[4 * i + 2]        = d[4 * i + 2] * lower * scale.x;
        d[4 * i + 3]        = d[4 * i + 3] * lower * scale.y;
    }
}

/* How x and the weight lie in device memory, for tiles of this size. */
static inline cudaError_t wgmma_maps(const struct cuda_launch *launch, const struct linear_args *args, struct linear_tile tile,
                                     CUtensorMap *x_map, CUtensorMap *weight_map)
{
    const struct linear_weight    *w      = args->weight;
    const struct tensor_map_matrix x      = { args->x, w->type, w->k, launch_rows_cap(launch), args->x_stride, tile.rows };
    const struct tensor_map_matrix weight = { w->panels, w->type, w->k, w->n, kernels_cuda_weight_stride(w->type, w->k),
                                              tile.columns };
    const cudaError_t              error  = tensor_map_make(launch->facts, x_map, &x);
    return error == cudaSuccess ? tensor_map_make(launch->facts, weight_map, &weight) : error;
}

DEVICE uint32_t bf16_pair(float a, float b)
{
    const __nv_bfloat162 pair = __floats2bfloat162_rn(a, b);
    uint32_t             bits;
    memcpy(&bits, &pair, 4);
    return bits;
}

#endif
