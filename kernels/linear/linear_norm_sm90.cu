/* linear_norm_choose.h on Hopper: a cluster of blocks owns all columns of a tile of rows, so that the norm needs no second launch.
 *
 * The main loop is that of linear_sm90.cu, but a slice of x is the same for all blocks of the cluster: block s % blocks loads
 * slice s for all of them. So a stage is empty in two ways: `empty_weight`, when the own consumers have read it, lets the own
 * producer fill the weight's half; `empty_x`, when all consumers of the cluster have, lets the block fill x's half whose turn is
 * next, and they tell nobody else. Clusters are persistent: one takes tiles c, c + clusters, ...
 *
 * Order of summation along a row, the same for all tiles: groups of 64 columns; in a group each lane of a quad adds its 16
 * columns from left to right, then lanes 0 and 1, 2 and 3, then both; then the groups from left to right, the first being what
 * the others are added to. Columns beyond n take no part. The mean comes first and the squared differences after it. Each block
 * sends the sums of its groups to all blocks, itself among them, and adds up what it was sent.
 *
 * A warp's rows are its own from the residual to the store, in every block the same ones, so warps of the same number exchange
 * their sums and nobody else waits. Two barriers take turns: whoever sends for exchange e + 2 has ended e + 1, for which the
 * receiver sent after it had read e.
 */
#include "kernels/linear/linear_wgmma.cuh"

#include "kernels/cuda/tensor_map.h"
#include "kernels/linear/linear_norm_choose.h"
#include "kernels/norm/norm_row.cuh"

enum {
    NORM_GROUP       = 64,   /* columns that are added up together */
    NORM_WARP_ROWS   = 16,
    NORM_RING_BYTES  = 13 << 14,  /* 208 KiB at most for the ring, or the sums of as many groups as there may be have no room */
    NORM_STAGES_MOST = 8
};

struct norm_work {
    CUtensorMap            x, weight;
    int                    n, k, groups;  /* of NORM_GROUP columns */
    int                    blocks;        /* of a cluster: from here it is known to be the same for all threads */
    bool                   rms;
    struct linear_epilogue epilogue;      /* its y: the sum before the norm, or null */
    struct norm_args       norm;
    struct live_rows       rows;
};

FRAGMENT int norm_stages(int consumers, int columns)
{
    const int stages = NORM_RING_BYTES / ((consumers * 64 + columns) * WGMMA_ROW_BYTES);
    return stages < NORM_STAGES_MOST ? stages : NORM_STAGES_MOST;
}

/* Sums of all groups for the rows of a warp, of two exchanges. */
FRAGMENT int norm_sums_bytes(int groups) { return 2 * groups * NORM_WARP_ROWS * 4; }

FRAGMENT int norm_shared_bytes(int consumers, int columns, int groups)
{
    return norm_stages(consumers, columns) * ((consumers * 64 + columns) * WGMMA_ROW_BYTES + 3 * 8) +
           consumers * 4 * (norm_sums_bytes(groups) + 2 * 8);
}

/* A warpgroup has read a stage: its own producer may fill it again, and block *next x's half. */
DEVICE void norm_give_back(uint32_t empty_weight, uint32_t empty_x, int *next, int blocks)
{
    if (threadIdx.x % 128 == 0) {
        mbarrier_arrive(empty_weight);
        mbarrier_arrive_remote_block(cluster_address(empty_x, (uint32_t)*next));
    }
    *next = *next + 1 == blocks ? 0 : *next + 1;
}

/* A warp's part in the exchanges, in shared memory; that of the other blocks lies at the same places of theirs. */
struct norm_exchange {
    const float *sums;      /* [2][groups][NORM_WARP_ROWS] */
    uint32_t     barriers;  /* [2] */
    int          blocks, groups;
    int          group0;    /* the block's first */
    int          count;     /* exchanges so far */
};

DEVICE const float *exchange_sums(const struct norm_exchange &e) { return e.sums + e.count % 2 * e.groups * NORM_WARP_ROWS; }
DEVICE uint32_t exchange_barrier(const struct norm_exchange &e) { return e.barriers + (uint32_t)(e.count % 2 * 8); }

DEVICE float quad_sum(float v)
{
    v += __shfl_xor_sync(0xffffffffu, v, 1);
    return v + __shfl_xor_sync(0xffffffffu, v, 2);
}

/* A group's sums of the upper and lower row of each quad, to every block: lane i of a quad sends to blocks i and i + 4. */
DEVICE void exchange_send(const struct norm_exchange &e, int group, float upper, float lower)
{
    const uint32_t to = shared_address(exchange_sums(e) + group * NORM_WARP_ROWS + warp_lane() / 4);
    upper = quad_sum(upper);
    lower = quad_sum(lower);
#pragma unroll
    for (int half = 0; half < LINEAR_NORM_CLUSTER / 4; half++) {
        const uint32_t rank = (uint32_t)(warp_lane() % 4 + half * 4);
        if ((int)rank >= e.blocks)
            continue;
        const uint32_t at = cluster_address(to, rank), barrier = cluster_address(exchange_barrier(e), rank);
        cluster_store_async(at, __float_as_uint(upper), barrier);
        cluster_store_async(at + 8 * 4, __float_as_uint(lower), barrier);
    }
}

/* What all blocks sent for the upper and the lower row, added up. */
DEVICE float2 exchange_total(struct norm_exchange &e)
{
    const float *sums = exchange_sums(e) + warp_lane() / 4;
    if (warp_lane() == 0)
        mbarrier_arrive_expect(exchange_barrier(e), (uint32_t)(e.groups * NORM_WARP_ROWS * 4));
    mbarrier_wait(exchange_barrier(e), (uint32_t)(e.count / 2 % 2));
    float2 total = make_float2(sums[0], sums[8]);
    for (int group = 1; group < e.groups; group++) {
        total.x += sums[group * NORM_WARP_ROWS];
        total.y += sums[group * NORM_WARP_ROWS + 8];
    }
    e.count++;
    __syncwarp();  /* all lanes have read before one of them sends again, which lets others write here */
    return total;
}

/* The value that is normed: bias and residual are added, and it is stored where it is wanted as it is. column0: the lane's first,
 * `within`: columns of the tile that lie within n. */
template <int COLUMNS>
DEVICE void norm_values(const struct norm_work &w, float (&d)[COLUMNS / 2], int row, int live, int column0, int within)
{
    const struct linear_row upper = linear_row_of(w.epilogue, row), lower = linear_row_of(w.epilogue, row + 8);
    const bool              added = w.epilogue.residual, kept = w.epilogue.y;
#pragma unroll
    for (int i = 0; i < COLUMNS / 8; i++) {
        if (i * 8 >= within)
            continue;
        const int column = column0 + i * 8;
        float2    a = linear_biased(w.epilogue, column, d[i * 4], d[i * 4 + 1]);
        float2    b = linear_biased(w.epilogue, column, d[i * 4 + 2], d[i * 4 + 3]);
        if (added && row < live) {
            const float2 residual = *(const float2 *)(upper.residual + column);
            a                     = make_float2(a.x + residual.x, a.y + residual.y);
        }
        if (added && row + 8 < live) {
            const float2 residual = *(const float2 *)(lower.residual + column);
            b                     = make_float2(b.x + residual.x, b.y + residual.y);
        }
        if (kept && row < live)
            store_f32x2((float *)upper.y + column, a.x, a.y);
        if (kept && row + 8 < live)
            store_f32x2((float *)lower.y + column, b.x, b.y);
        d[i * 4]     = a.x;
        d[i * 4 + 1] = a.y;
        d[i * 4 + 2] = b.x;
        d[i * 4 + 3] = b.y;
    }
}

/* The mean is taken from every value. */
template <int COLUMNS>
DEVICE void norm_center(const struct norm_work &w, struct norm_exchange &e, float (&d)[COLUMNS / 2], int within)
{
#pragma unroll
    for (int group = 0; group < COLUMNS / NORM_GROUP; group++) {
        float upper = 0.0f, lower = 0.0f;
#pragma unroll
        for (int i = group * 8; i < group * 8 + 8; i++)
            if (i * 8 < within) {
                upper = (upper + d[i * 4]) + d[i * 4 + 1];
                lower = (lower + d[i * 4 + 2]) + d[i * 4 + 3];
            }
        if (group * NORM_GROUP < within)
            exchange_send(e, e.group0 + group, upper, lower);
    }
    const float2 sum  = exchange_total(e);
    const float2 mean = make_float2(sum.x / (float)w.n, sum.y / (float)w.n);
#pragma unroll
    for (int i = 0; i < COLUMNS / 8; i++) {
        d[i * 4] -= mean.x;
        d[i * 4 + 1] -= mean.x;
        d[i * 4 + 2] -= mean.y;
        d[i * 4 + 3] -= mean.y;
    }
}

template <int COLUMNS>
DEVICE float2 norm_squares(struct norm_exchange &e, const float (&d)[COLUMNS / 2], int within)
{
#pragma unroll
    for (int group = 0; group < COLUMNS / NORM_GROUP; group++) {
        float upper = 0.0f, lower = 0.0f;
#pragma unroll
        for (int i = group * 8; i < group * 8 + 8; i++)
            if (i * 8 < within) {
                upper = fmaf(d[i * 4 + 1], d[i * 4 + 1], fmaf(d[i * 4], d[i * 4], upper));
                lower = fmaf(d[i * 4 + 3], d[i * 4 + 3], fmaf(d[i * 4 + 2], d[i * 4 + 2], lower));
            }
        if (group * NORM_GROUP < within)
            exchange_send(e, e.group0 + group, upper, lower);
    }
    return exchange_total(e);
}

/* Two lanes have a pair of each of two neighbouring tiles of 8 columns: the even one takes the left tile's four, the odd one the
 * right tile's, so that a quad fills a sector of 32 bytes. */
DEVICE void norm_store_narrow(const struct norm_work &w, int row, bool live, int column, bool within, uint32_t left, uint32_t right)
{
    const bool     odd = warp_lane() % 2;
    const uint32_t got = __shfl_xor_sync(0xffffffffu, odd ? left : right, 1);
    const uint2    bits = { odd ? got : left, odd ? right : got };
    if (live && within)
        *(uint2 *)(row_at((__nv_bfloat16 *)w.norm.copy, w.norm.copy_stride, row) + column) = bits;
}

/* Columns `column` and the next of the upper and lower row, normed. */
DEVICE void norm_results(const struct norm_work &w, const float *d, int column, float2 inverse, float2 &upper, float2 &lower)
{
    const float2 weight = *(const float2 *)(w.norm.weight + column);
    const float2 bias   = w.norm.bias ? *(const float2 *)(w.norm.bias + column) : make_float2(0.0f, 0.0f);
    upper.x = norm_value(w.norm, d[0], inverse.x, weight.x, bias.x);
    upper.y = norm_value(w.norm, d[1], inverse.x, weight.y, bias.y);
    lower.x = norm_value(w.norm, d[2], inverse.y, weight.x, bias.x);
    lower.y = norm_value(w.norm, d[3], inverse.y, weight.y, bias.y);
}

template <int COLUMNS>
DEVICE void norm_store(const struct norm_work &w, const float (&d)[COLUMNS / 2], float2 inverse, int row, int live, int column0,
                       int within)
{
    const int odd = warp_lane() % 2;
#pragma unroll
    for (int i = 0; i < COLUMNS / 8; i += 2) {
        float2 upper[2] = {}, lower[2] = {};
#pragma unroll
        for (int side = 0; side < 2; side++) {
            const int column = column0 + (i + side) * 8;
            if ((i + side) * 8 >= within)
                continue;
            norm_results(w, d + (i + side) * 4, column, inverse, upper[side], lower[side]);
            if (w.norm.y && row < live)
                store_f32x2(row_at(w.norm.y, w.norm.y_stride, row) + column, upper[side].x, upper[side].y);
            if (w.norm.y && row + 8 < live)
                store_f32x2(row_at(w.norm.y, w.norm.y_stride, row + 8) + column, lower[side].x, lower[side].y);
        }
        if (!w.norm.copy)
            continue;
        const int  column = column0 + (i + odd) * 8 - odd * 2;
        const bool inside = (i + odd) * 8 < within;
        norm_store_narrow(w, row, row < live, column, inside, bf16_pair(upper[0].x, upper[0].y), bf16_pair(upper[1].x, upper[1].y));
        norm_store_narrow(w, row + 8, row + 8 < live, column, inside, bf16_pair(lower[0].x, lower[0].y),
                          bf16_pair(lower[1].x, lower[1].y));
    }
}

template <int CONSUMERS, int COLUMNS>
__global__ void __launch_bounds__(128 * (CONSUMERS + 1), 1) linear_norm_wgmma(const __grid_constant__ struct norm_work w)
{
    constexpr int ROWS = 64 * CONSUMERS, STAGES = norm_stages(CONSUMERS, COLUMNS);
    constexpr int X_BYTES = ROWS * WGMMA_ROW_BYTES, W_BYTES = COLUMNS * WGMMA_ROW_BYTES;
    static_assert(norm_shared_bytes(CONSUMERS, COLUMNS, LINEAR_NORM_CLUSTER * COLUMNS / NORM_GROUP) <= 227 << 10,
                  "a block has 227 KiB");
    SHARED_DYNAMIC(uint8_t, shared, 1024);
    const int      sums_bytes = norm_sums_bytes(w.groups);
    const uint32_t x = shared_address(shared), weight = x + STAGES * X_BYTES;
    const uint32_t full = weight + STAGES * W_BYTES + CONSUMERS * 4 * sums_bytes;  /* behind the sums */
    const uint32_t empty_weight = full + STAGES * 8, empty_x = empty_weight + STAGES * 8, exchanges = empty_x + STAGES * 8;
    const int      blocks = w.blocks, rank = (int)blockIdx.x % blocks, warpgroup = warpgroup_index();
    const int      live = live_count(w.rows), tiles = (live + ROWS - 1) / ROWS, slices = (w.k + WGMMA_SLICE - 1) / WGMMA_SLICE;
    const int      first = (int)blockIdx.x / blocks, clusters = (int)gridDim.x / blocks;
    if (threadIdx.x == 0) {
        for (int i = 0; i < STAGES; i++) {
            mbarrier_init(full + i * 8, 1);
            mbarrier_init(empty_weight + i * 8, CONSUMERS);
            mbarrier_init(empty_x + i * 8, (uint32_t)(CONSUMERS * blocks));
        }
        for (int i = 0; i < CONSUMERS * 4 * 2; i++)
            mbarrier_init(exchanges + i * 8, 1);
        fence_mbarrier_init();
    }
    cluster_arrive();
    cluster_wait();  /* the barriers of all blocks are made */

    if (warpgroup == 0) {
        if constexpr (CONSUMERS > 1)
            registers_lower<PRODUCER_REGISTERS>();
        if (threadIdx.x != 0)
            return;
        int      stage = 0, turn = 0, filled = 0;  /* turn: the block that loads x */
        uint32_t parity = 1, x_parities = 0;       /* of each stage's empty_x, a bit: the turns of a block come unevenly */
        for (int tile = first; tile < tiles; tile += clusters)
            for (int s = 0; s < slices; s++) {
                mbarrier_wait(empty_weight + stage * 8, parity);
                mbarrier_arrive_expect(full + stage * 8, X_BYTES + W_BYTES);
                tma_load_2d(weight + stage * W_BYTES, &w.weight, full + stage * 8, s * WGMMA_SLICE, rank * COLUMNS);
                if (turn == rank) {
                    if (filled >= STAGES) {
                        mbarrier_wait(empty_x + stage * 8, x_parities >> stage & 1);
                        x_parities ^= 1u << stage;
                    }
                    tma_load_2d_multicast(x + stage * X_BYTES, &w.x, full + stage * 8, s * WGMMA_SLICE, tile * ROWS,
                                          (uint16_t)((1u << blocks) - 1));
                }
                filled++;
                turn = turn + 1 == blocks ? 0 : turn + 1;
                wgmma_next_stage<STAGES>(&stage, &parity);
            }
        return;
    }

    if constexpr (CONSUMERS > 1)  /* with one there are enough from the start */
        registers_raise<CONSUMER_REGISTERS>();
    /* The warp's number among the consumers', so that the compiler sees it is the same in the whole warp: otherwise it takes the
     * waits for exchanges for ways that lanes part on, and keeps the descriptors of the main loop in registers of lanes. */
    const int      warp = __shfl_sync(0xffffffffu, (int)threadIdx.x / 32 - 4, 0), lane = warp_lane();
    const int      column0 = rank * COLUMNS, within = min(w.n - column0, COLUMNS);
    const uint64_t a0 = wgmma_descriptor(x + (uint32_t)(warpgroup - 1) * 64 * WGMMA_ROW_BYTES, 16, 1024, wgmma_swizzle_128);
    const uint64_t b0 = wgmma_descriptor(weight, 16, 1024, wgmma_swizzle_128);
    struct norm_exchange e = { (const float *)(shared + STAGES * (X_BYTES + W_BYTES) + warp * sums_bytes),
                               exchanges + (uint32_t)(warp * 2 * 8), blocks, w.groups, column0 / NORM_GROUP, 0 };
    float    d[COLUMNS / 2];
    int      stage = 0, next = STAGES % blocks;  /* next: the block that loads x into the stage that is given back next */
    uint32_t parity = 0;
    for (int tile = first; tile < tiles; tile += clusters) {
        int before = 0;
        for (int s = 0; s < slices; s++) {
            mbarrier_wait(full + stage * 8, parity);
            wgmma_fence();
            wgmma_slice(d, a0 + (uint64_t)(stage * X_BYTES / 16), b0 + (uint64_t)(stage * W_BYTES / 16), s > 0);
            wgmma_commit();
            if (s > 0) {
                wgmma_wait<1>();  /* the slice before is done, this one under way */
                norm_give_back(empty_weight + before * 8, empty_x + before * 8, &next, blocks);
            }
            before = stage;
            wgmma_next_stage<STAGES>(&stage, &parity);
        }
        wgmma_wait<0>();
        wgmma_settle(d);
        norm_give_back(empty_weight + before * 8, empty_x + before * 8, &next, blocks);
        const int row    = tile * ROWS + warp * NORM_WARP_ROWS + fragment_c_row(lane, 0);
        const int column = column0 + fragment_c_column(lane, 0);
        norm_values<COLUMNS>(w, d, row, live, column, within);
        if (!w.rms)
            norm_center<COLUMNS>(w, e, d, within);
        const float2 squares = norm_squares<COLUMNS>(e, d, within);
        const float2 inverse = make_float2(norm_inverse(w.norm, squares.x), norm_inverse(w.norm, squares.y));
        norm_store<COLUMNS>(w, d, inverse, row, live, column, within);
    }
    cluster_arrive();
    cluster_wait();  /* what gave stages back to other blocks has come before any of them exits */
}

static const void *norm_handle(enum linear_norm_variant variant)
{
    switch (variant) {
    case LINEAR_NORM_64X64: return KERNEL_HANDLE(linear_norm_wgmma<1, 64>);
    case LINEAR_NORM_64X128: return KERNEL_HANDLE(linear_norm_wgmma<1, 128>);
    case LINEAR_NORM_64X256: return KERNEL_HANDLE(linear_norm_wgmma<1, 256>);
    case LINEAR_NORM_128X128: return KERNEL_HANDLE(linear_norm_wgmma<2, 128>);
    case LINEAR_NORM_128X192: return KERNEL_HANDLE(linear_norm_wgmma<2, 192>);
    default: return KERNEL_HANDLE(linear_norm_wgmma<2, 256>);
    }
}

static bool norm_valid(const struct linear_norm_args *args)
{
    const struct linear_args   *l = &args->linear;
    const struct linear_weight *w = l->weight;
    const struct norm_args     *n = &args->norm;
    return w->panels && l->x && n->weight && (n->y || n->copy) && n->width == w->n && w->n > 0 && w->k > 0 &&
           launch_aligned(l->x, l->x_stride, 16) && launch_aligned(w->panels, 0, 16) && launch_aligned(w->bias, 0, 8) &&
           launch_aligned(l->residual, l->residual_stride, 8) && launch_aligned(l->y, l->y_stride, 8) &&
           launch_aligned(n->weight, 0, 8) && launch_aligned(n->bias, 0, 8) && launch_aligned(n->y, n->y_stride, 8) &&
           launch_aligned(n->copy, n->copy_stride, 8);
}

static struct kernel_shape norm_shape(const struct cuda_launch *launch, const struct linear_norm_args *args)
{
    const struct linear_weight *w     = args->linear.weight;
    const double                rows  = launch_rows_cap(launch);
    const double                each  = (args->linear.residual ? 4 : 0) + (args->linear.y ? 4 : 0) + (args->norm.y ? 4 : 0) +
                                        (args->norm.copy ? 2 : 0);
    struct kernel_shape         shape = {};
    shape.name                        = args->rms ? "linear_norm_rms" : "linear_norm_layer";
    shape.bytes                       = (rows * w->k + (double)w->n * w->k) * 2 + rows * w->n * each;
    shape.operations                  = 2.0 * rows * w->n * w->k;
    return shape;
}

extern "C" cudaError_t linear_norm_launch(const struct cuda_launch *launch, const struct linear_norm_args *args,
                                          enum linear_norm_variant variant)
{
    const struct linear_weight    *weight = args->linear.weight;
    const struct linear_tile       tile   = linear_norm_tile(variant);
    const int                      rows = launch_rows_cap(launch), consumers = tile.rows / 64;
    if (!linear_norm_can(launch->facts, variant, weight) || args->linear.act != LINEAR_NONE ||
        (args->linear.y && args->linear.y_type != DTYPE_F32) || (args->norm.copy && args->norm.copy_type != DTYPE_BF16))
        return cudaErrorNotSupported;
    if (!norm_valid(args))
        return cudaErrorInvalidValue;
    const struct tensor_map_matrix x = { args->linear.x, DTYPE_BF16, weight->k, rows, args->linear.x_stride, tile.rows };
    const struct tensor_map_matrix m = { weight->panels, DTYPE_BF16, weight->k, weight->n,
                                         kernels_cuda_weight_stride(DTYPE_BF16, weight->k), tile.columns };
    struct norm_work w    = {};
    w.n                   = weight->n;
    w.k                   = weight->k;
    w.groups              = launch_blocks(weight->n, NORM_GROUP);
    w.blocks              = launch_blocks(weight->n, tile.columns);
    w.rms                 = args->rms;
    w.epilogue            = linear_epilogue_of(&args->linear);
    w.norm                = args->norm;
    w.rows                = launch_live_rows(launch);
    cudaError_t error     = tensor_map_make(launch->facts, &w.x, &x);
    if (error == cudaSuccess)
        error = tensor_map_make(launch->facts, &w.weight, &m);
    if (error != cudaSuccess)
        return error;
    const int           tiles = launch_blocks(rows, tile.rows), most = linear_norm_clusters(launch->facts, w.blocks);
    struct kernel_shape shape = norm_shape(launch, args);
    shape.cluster             = w.blocks;
    shape.grid                = dim3((unsigned)(w.blocks * (tiles < most ? tiles : most)));
    shape.threads             = 128 * (consumers + 1);
    shape.shared_bytes        = norm_shared_bytes(consumers, tile.columns, w.groups);
    KERNEL_LAUNCH(launch, shape, norm_handle(variant), &w);
}

extern "C" cudaError_t linear_norm_bf16_sm90(const struct cuda_launch *launch, const struct linear_norm_args *args)
{
    return linear_norm_launch(launch, args, linear_norm_choose(launch->facts, args->linear.weight, launch_rows_cap(launch)));
}
