/* linear_norm_choose.h on Hopper: a cluster of blocks owns all columns of a tile of rows, so that the norm needs no second launch.
 *
 * The main loop is that of linear_sm90.cu, but a slice of x is the same for all blocks of the cluster: block s % blocks loads
 * slice s for all of them. So a stage is empty in two ways: `empty_weight`, when the own consumers have read it, lets the own
 * producer fill the weight's half; `empty_x`, when all consumers of the cluster have, lets the block fill x's half whose turn is
 * next, and they tell nobody else. Clusters are persistent: one takes tiles c, c + clusters, ...
 *
 * Order of summation along a row, the same for all tiles: that of linear_norm_exchange.cuh, where each lane of a quad adds its 16
 * columns of a group from left to right. Columns beyond n take no part. The mean comes first and the squared differences after it.
 *
 * Of e4m3 the copy for the next linear is e4m3 too: a third exchange finds each row's largest value, and the codes and scales are
 * those that quantize_sm90.cu makes of y.
 */
#include "kernels/linear/linear_wgmma.cuh"

#include "kernels/linear/linear_norm_exchange.cuh"
#include "kernels/norm/norm_row.cuh"
#include "kernels/quantize/quantize_e4m3.cuh"

enum {
    NORM_RING_BYTES  = 13 << 14,  /* 208 KiB at most for the ring, or what as many groups as there may be send has no room */
    NORM_STAGES_MOST = 8
};

struct norm_work {
    CUtensorMap            x, weight;
    struct wgmma_scales    scales;        /* of e4m3 */
    int                    n, k, groups;  /* of EXCHANGE_GROUP columns */
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

/* Enough for the widest row, whatever its width: a kernel has one size of shared memory (launch.h). */
FRAGMENT int norm_shared_bytes(int consumers, int columns)
{
    return norm_stages(consumers, columns) * ((consumers * 64 + columns) * WGMMA_ROW_BYTES + 3 * 8) +
           consumers * 4 * (exchange_bytes(LINEAR_NORM_CLUSTER * columns / EXCHANGE_GROUP) + EXCHANGE_BARRIERS * 8);
}

/* Shared memory: stages of x, of the weight, what the warps' exchanges bring, barriers. */
struct norm_places {
    uint32_t x, weight, full, empty_weight, empty_x, exchanges;
    int      values;  /* offset of the first warp's */
};

template <int CONSUMERS, int COLUMNS> DEVICE struct norm_places norm_places_of(const uint8_t *shared, int groups)
{
    constexpr int      STAGES = norm_stages(CONSUMERS, COLUMNS);
    struct norm_places p;
    p.x            = shared_address(shared);
    p.weight       = p.x + STAGES * CONSUMERS * 64 * WGMMA_ROW_BYTES;
    p.values       = STAGES * (CONSUMERS * 64 + COLUMNS) * WGMMA_ROW_BYTES;
    p.full         = p.x + p.values + CONSUMERS * 4 * exchange_bytes(groups);
    p.empty_weight = p.full + STAGES * 8;
    p.empty_x      = p.empty_weight + STAGES * 8;
    p.exchanges    = p.empty_x + STAGES * 8;
    return p;
}

/* What a lane has of a tile. */
struct norm_tile {
    int row, live;  /* its upper row, live rows of all of y; the lower row is 8 below */
    int column;     /* its first, of eight columns */
    int within;     /* columns of the block's that lie within n */
};

/* The value that is normed: bias and residual are added, and it is stored where it is wanted as it is. */
template <int R> DEVICE void norm_values(const struct norm_work &w, float (&d)[R], const struct norm_tile &t)
{
    const struct linear_row upper = linear_row_of(w.epilogue, t.row), lower = linear_row_of(w.epilogue, t.row + 8);
    const bool              added = w.epilogue.residual, kept = w.epilogue.y;
#pragma unroll
    for (int i = 0; i < R / 4; i++) {
        if (i * 8 >= t.within)
            continue;
        const int column = t.column + i * 8;
        float2    a = linear_biased(w.epilogue, column, d[i * 4], d[i * 4 + 1]);
        float2    b = linear_biased(w.epilogue, column, d[i * 4 + 2], d[i * 4 + 3]);
        if (added && t.row < t.live) {
            const float2 residual = *(const float2 *)(upper.residual + column);
            a                     = make_float2(a.x + residual.x, a.y + residual.y);
        }
        if (added && t.row + 8 < t.live) {
            const float2 residual = *(const float2 *)(lower.residual + column);
            b                     = make_float2(b.x + residual.x, b.y + residual.y);
        }
        if (kept && t.row < t.live)
            store_f32x2((float *)upper.y + column, a.x, a.y);
        if (kept && t.row + 8 < t.live)
            store_f32x2((float *)lower.y + column, b.x, b.y);
        d[i * 4]     = a.x;
        d[i * 4 + 1] = a.y;
        d[i * 4 + 2] = b.x;
        d[i * 4 + 3] = b.y;
    }
}

/* The mean is taken from every value. */
template <int R> DEVICE void norm_center(float (&d)[R], struct norm_exchange &e, int n, int within)
{
#pragma unroll
    for (int group = 0; group < R / 32; group++) {
        float upper = 0.0f, lower = 0.0f;
#pragma unroll
        for (int i = group * 8; i < group * 8 + 8; i++)
            if (i * 8 < within) {
                upper = (upper + d[i * 4]) + d[i * 4 + 1];
                lower = (lower + d[i * 4 + 2]) + d[i * 4 + 3];
            }
        if (group * EXCHANGE_GROUP < within)
            exchange_send<false>(e, group, upper, lower);
    }
    const float2 sum  = exchange_end<false>(e);
    const float2 mean = make_float2(sum.x / (float)n, sum.y / (float)n);
#pragma unroll
    for (int i = 0; i < R / 4; i++) {
        d[i * 4] -= mean.x;
        d[i * 4 + 1] -= mean.x;
        d[i * 4 + 2] -= mean.y;
        d[i * 4 + 3] -= mean.y;
    }
}

template <int R> DEVICE float2 norm_squares(const float (&d)[R], struct norm_exchange &e, int within)
{
#pragma unroll
    for (int group = 0; group < R / 32; group++) {
        float upper = 0.0f, lower = 0.0f;
#pragma unroll
        for (int i = group * 8; i < group * 8 + 8; i++)
            if (i * 8 < within) {
                upper = fmaf(d[i * 4 + 1], d[i * 4 + 1], fmaf(d[i * 4], d[i * 4], upper));
                lower = fmaf(d[i * 4 + 3], d[i * 4 + 3], fmaf(d[i * 4 + 2], d[i * 4 + 2], lower));
            }
        if (group * EXCHANGE_GROUP < within)
            exchange_send<false>(e, group, upper, lower);
    }
    return exchange_end<false>(e);
}

/* y in tile column 8 i + the lane's pair, of the upper and lower row; zeros beyond n. Made anew by each that wants it: there is no
 * room for it beside d, and in d's place the compiler carries it to the next tile as the bits that are stored, which are moved
 * between products, so that those wait for one another. */
DEVICE void norm_results(const struct norm_work &w, const float *d, int i, float2 inverse, const struct norm_tile &t,
                         float2 (&y)[2])
{
    y[0] = y[1] = make_float2(0.0f, 0.0f);
    if (i * 8 >= t.within)
        return;
    const float2 weight = *(const float2 *)(w.norm.weight + t.column + i * 8);
    const float2 bias   = w.norm.bias ? *(const float2 *)(w.norm.bias + t.column + i * 8) : y[0];
    y[0].x = norm_value(w.norm, d[i * 4], inverse.x, weight.x, bias.x);
    y[0].y = norm_value(w.norm, d[i * 4 + 1], inverse.x, weight.y, bias.y);
    y[1].x = norm_value(w.norm, d[i * 4 + 2], inverse.y, weight.x, bias.x);
    y[1].y = norm_value(w.norm, d[i * 4 + 3], inverse.y, weight.y, bias.y);
}

DEVICE void norm_store(const struct norm_work &w, int i, const struct norm_tile &t, const float2 (&y)[2])
{
    if (!w.norm.y || i * 8 >= t.within)
        return;
    const int column = t.column + i * 8;
    if (t.row < t.live)
        store_f32x2(row_at(w.norm.y, w.norm.y_stride, t.row) + column, y[0].x, y[0].y);
    if (t.row + 8 < t.live)
        store_f32x2(row_at(w.norm.y, w.norm.y_stride, t.row + 8) + column, y[1].x, y[1].y);
}

/* Lanes have a pair of each of neighbouring tiles of 8 columns. Of two tiles the even lanes take the left one's four, the odd ones
 * the right one's: a quad then fills a sector of 32 bytes. `to`: the row at the quad's first column. */
DEVICE void norm_store_bf16(__nv_bfloat16 *to, uint32_t left, uint32_t right, bool wanted)
{
    const bool     odd  = warp_lane() % 2;
    const uint32_t got  = __shfl_xor_sync(0xffffffffu, odd ? left : right, 1);
    const uint2    bits = { odd ? got : left, odd ? right : got };
    if (wanted)
        *(uint2 *)(to + odd * 8 + warp_lane() % 4 / 2 * 4) = bits;
}

/* y as f32 and as bf16, as far as they are wanted. */
template <int R>
DEVICE void norm_leave_bf16(const struct norm_work &w, const float (&d)[R], float2 inverse, const struct norm_tile &t)
{
    const int      odd   = warp_lane() % 2, first = t.column - fragment_c_column(warp_lane(), 0);
    __nv_bfloat16 *upper = row_at((__nv_bfloat16 *)w.norm.copy, w.norm.copy_stride, t.row) + first;
    __nv_bfloat16 *lower = row_at(upper, w.norm.copy_stride, 8);
#pragma unroll
    for (int i = 0; i < R / 4; i += 2) {
        float2 left[2], right[2];
        norm_results(w, d, i, inverse, t, left);
        norm_store(w, i, t, left);
        norm_results(w, d, i + 1, inverse, t, right);
        norm_store(w, i + 1, t, right);
        if (!w.norm.copy)
            continue;
        const bool within = (i + odd) * 8 < t.within;
        norm_store_bf16(upper + i * 8, bf16_pair(left[0].x, left[0].y), bf16_pair(right[0].x, right[0].y),
                        within && t.row < t.live);
        norm_store_bf16(lower + i * 8, bf16_pair(left[1].x, left[1].y), bf16_pair(right[1].x, right[1].y),
                        within && t.row + 8 < t.live);
    }
}

/* y as f32 where it is wanted; the largest of each row, for its scale. */
template <int R>
DEVICE float2 norm_largest(const struct norm_work &w, const float (&d)[R], struct norm_exchange &e, float2 inverse,
                           const struct norm_tile &t)
{
#pragma unroll
    for (int group = 0; group < R / 32; group++) {
        float2 y[2];
        float  upper = 0.0f, lower = 0.0f;
#pragma unroll
        for (int i = group * 8; i < group * 8 + 8; i++) {
            norm_results(w, d, i, inverse, t, y);
            norm_store(w, i, t, y);
            upper = fmaxf(fmaxf(upper, fabsf(y[0].x)), fabsf(y[0].y));
            lower = fmaxf(fmaxf(lower, fabsf(y[1].x)), fabsf(y[1].y));
        }
        if (group * EXCHANGE_GROUP < t.within)
            exchange_send<true>(e, group, upper, lower);
    }
    return exchange_end<true>(e);
}

/* Lanes have two codes of each of four neighbouring tiles of 8 columns, 16 bits a tile; lane q of a quad gets all of tile q. */
DEVICE uint2 norm_turned(uint32_t left, uint32_t right)
{
    const bool     far = warp_lane() & 2, odd = warp_lane() & 1;
    const uint32_t other = __shfl_xor_sync(0xffffffffu, far ? left : right, 2), own = far ? right : left;
    const uint32_t near_pairs = far ? other : own, far_pairs = far ? own : other;  /* of lanes 0 or 1, 2 or 3, in two tiles */
    const uint32_t even_tile = (near_pairs & 0xffff) | far_pairs << 16, odd_tile = near_pairs >> 16 | (far_pairs & 0xffff0000);
    const uint32_t got = __shfl_xor_sync(0xffffffffu, odd ? even_tile : odd_tile, 1), kept = odd ? odd_tile : even_tile;
    const uint32_t evens = odd ? got : kept, odds = odd ? kept : got;              /* of lanes 0 and 2, 1 and 3, in one tile */
    return make_uint2((evens & 0xffff) | odds << 16, evens >> 16 | (odds & 0xffff0000));
}

/* y as f32, and as e4m3 with the rows' scales, as far as they are wanted. A quad fills a sector of 32 bytes. */
template <int R>
DEVICE void norm_leave_e4m3(const struct norm_work &w, const float (&d)[R], struct norm_exchange &e, float2 inverse,
                            const struct norm_tile &t)
{
    const float2 largest = norm_largest(w, d, e, inverse, t);
    const float2 to_codes = make_float2(quantize_inverse(largest.x), quantize_inverse(largest.y));
    const int    own = warp_lane() % 4 * 8, first = t.column - fragment_c_column(warp_lane(), 0);
    uint8_t     *upper = row_at((uint8_t *)w.norm.copy, w.norm.copy_stride, t.row) + first + own;
    uint8_t     *lower = row_at(upper, w.norm.copy_stride, 8);
    if (!w.norm.copy)
        return;
#pragma unroll
    for (int i = 0; i < R / 4; i += 4) {
        uint32_t codes[2][2] = {};  /* of the upper and lower row, of two tiles each */
#pragma unroll
        for (int j = 0; j < 4; j++) {
            float2 y[2];
            norm_results(w, d, i + j, inverse, t, y);
            codes[0][j / 2] |= quantize_two(y[0].x, y[0].y, to_codes.x) << j % 2 * 16;
            codes[1][j / 2] |= quantize_two(y[1].x, y[1].y, to_codes.y) << j % 2 * 16;
        }
        const uint2 above = norm_turned(codes[0][0], codes[0][1]), below = norm_turned(codes[1][0], codes[1][1]);
        const bool  within = i * 8 + own < t.within;
        if (within && t.row < t.live)
            *(uint2 *)(upper + i * 8) = above;
        if (within && t.row + 8 < t.live)
            *(uint2 *)(lower + i * 8) = below;
    }
    if (t.column == 0 && t.row < t.live)
        w.norm.copy_scales[t.row] = quantize_scale(largest.x);
    if (t.column == 0 && t.row + 8 < t.live)
        w.norm.copy_scales[t.row + 8] = quantize_scale(largest.y);
}

template <int CONSUMERS, int COLUMNS, class T>
DEVICE void norm_produce(const struct norm_work &w, const struct norm_places &p, int tiles)
{
    constexpr int ROWS = 64 * CONSUMERS, STAGES = norm_stages(CONSUMERS, COLUMNS), SLICE = WGMMA_SLICE<T>;
    constexpr int X_BYTES = ROWS * WGMMA_ROW_BYTES, W_BYTES = COLUMNS * WGMMA_ROW_BYTES;
    const int     rank = (int)blockIdx.x % w.blocks, slices = wgmma_slices<T>(w.k);
    int           stage = 0, turn = 0, filled = 0;  /* turn: the block that loads x */
    uint32_t      parity = 1, x_parities = 0;       /* of each stage's empty_x, a bit: the turns of a block come unevenly */
    for (int tile = (int)blockIdx.x / w.blocks; tile < tiles; tile += (int)gridDim.x / w.blocks)
        for (int s = 0; s < slices; s++) {
            mbarrier_wait(p.empty_weight + stage * 8, parity);
            mbarrier_arrive_expect(p.full + stage * 8, X_BYTES + W_BYTES);
            tma_load_2d(p.weight + stage * W_BYTES, &w.weight, p.full + stage * 8, s * SLICE, rank * COLUMNS);
            if (turn == rank) {
                if (filled >= STAGES) {
                    mbarrier_wait(p.empty_x + stage * 8, x_parities >> stage & 1);
                    x_parities ^= 1u << stage;
                }
                tma_load_2d_multicast(p.x + stage * X_BYTES, &w.x, p.full + stage * 8, s * SLICE, tile * ROWS,
                                      (uint16_t)((1u << w.blocks) - 1));
            }
            filled++;
            turn = turn + 1 == w.blocks ? 0 : turn + 1;
            wgmma_next_stage<STAGES>(&stage, &parity);
        }
}

template <int CONSUMERS, int COLUMNS, class T>
DEVICE void norm_consume(const struct norm_work &w, const struct norm_places &p, uint8_t *shared, int live)
{
    constexpr int ROWS = 64 * CONSUMERS, STAGES = norm_stages(CONSUMERS, COLUMNS);
    /* The warp's number among the consumers', so that the compiler sees it is the same in the whole warp: otherwise it takes the
     * waits for exchanges for ways that lanes part on, and keeps the descriptors of the main loop in registers of lanes. */
    const int warp = __shfl_sync(0xffffffffu, (int)threadIdx.x / 32 - 4, 0), column0 = (int)blockIdx.x % w.blocks * COLUMNS;
    const uint32_t       own_x = p.x + (uint32_t)(warpgroup_index() - 1) * 64 * WGMMA_ROW_BYTES;
    struct wgmma_ring    ring  = wgmma_ring_of<ROWS, COLUMNS>(own_x, p.weight, p.full, p.empty_weight);
    struct norm_exchange e = { (float *)(shared + p.values + warp * exchange_bytes(w.groups)),
                               p.exchanges + (uint32_t)(warp * EXCHANGE_BARRIERS * 8), w.blocks, w.groups, column0 / EXCHANGE_GROUP,
                               0 };
    float                d[COLUMNS / 2];
    ring.empty_x = p.empty_x;
    ring.blocks  = w.blocks;
    ring.next    = STAGES % w.blocks;
    const int slices = wgmma_slices<T>(w.k), clusters = (int)gridDim.x / w.blocks;
    for (int tile = (int)blockIdx.x / w.blocks; tile * ROWS < live; tile += clusters) {
        wgmma_products<STAGES, true, T>(ring, slices, d);
        const struct norm_tile t = { tile * ROWS + warp * EXCHANGE_ROWS + fragment_c_row(warp_lane(), 0), live,
                                     column0 + fragment_c_column(warp_lane(), 0), min(w.n - column0, COLUMNS) };
        if constexpr (sizeof(T) == 1)
            wgmma_scale(w.scales, d, t.row, live, t.column);
        norm_values(w, d, t);
        if (!w.rms)
            norm_center(d, e, w.n, t.within);
        const float2 squares = norm_squares(d, e, t.within);
        const float2 inverse = make_float2(norm_inverse(w.norm, squares.x), norm_inverse(w.norm, squares.y));
        if constexpr (sizeof(T) == 1)
            norm_leave_e4m3(w, d, e, inverse, t);
        else
            norm_leave_bf16(w, d, inverse, t);
    }
}

template <int CONSUMERS, int COLUMNS, class T>
__global__ void __launch_bounds__(128 * (CONSUMERS + 1), 1) linear_norm_wgmma(const __grid_constant__ struct norm_work w)
{
    constexpr int ROWS = 64 * CONSUMERS;
    static_assert(norm_shared_bytes(CONSUMERS, COLUMNS) <= 227 << 10, "a block has 227 KiB");
    SHARED_DYNAMIC(uint8_t, shared, 1024);
    const struct norm_places p    = norm_places_of<CONSUMERS, COLUMNS>(shared, w.groups);
    const int                live = live_count(w.rows);
    if (threadIdx.x == 0) {
        for (int i = 0; i < norm_stages(CONSUMERS, COLUMNS); i++) {
            mbarrier_init(p.full + i * 8, 1);
            mbarrier_init(p.empty_weight + i * 8, CONSUMERS);
            mbarrier_init(p.empty_x + i * 8, (uint32_t)(CONSUMERS * w.blocks));
        }
        for (int i = 0; i < CONSUMERS * 4 * EXCHANGE_BARRIERS; i++)
            mbarrier_init(p.exchanges + i * 8, 1);
        fence_mbarrier_init();
    }
    cluster_arrive();
    cluster_wait();  /* the barriers of all blocks are made */
    if (warpgroup_index() == 0) {
        if constexpr (CONSUMERS > 1)
            registers_lower<PRODUCER_REGISTERS>();
        if (threadIdx.x == 0)
            norm_produce<CONSUMERS, COLUMNS, T>(w, p, (live + ROWS - 1) / ROWS);
        return;
    }
    if constexpr (CONSUMERS > 1)  /* with one there are enough from the start */
        registers_raise<CONSUMER_REGISTERS>();
    norm_consume<CONSUMERS, COLUMNS, T>(w, p, shared, live);
    cluster_arrive();
    cluster_wait();  /* what gave stages back to other blocks has come before any of them exits */
}

/* Two sums an output leave no registers for 256 columns of e4m3: linear_norm_can says so. */
static const void *norm_handle(enum linear_norm_variant variant, bool e4m3)
{
    switch (variant) {
#define NORM_BUILT(consumers, columns)                                           \
    (e4m3 ? KERNEL_HANDLE(linear_norm_wgmma<consumers, columns, uint8_t>)        \
          : KERNEL_HANDLE(linear_norm_wgmma<consumers, columns, __nv_bfloat16>))
    case LINEAR_NORM_64X64: return NORM_BUILT(1, 64);
    case LINEAR_NORM_64X128: return NORM_BUILT(1, 128);
    case LINEAR_NORM_128X128: return NORM_BUILT(2, 128);
    case LINEAR_NORM_128X192: return NORM_BUILT(2, 192);
#undef NORM_BUILT
    case LINEAR_NORM_64X256: return KERNEL_HANDLE(linear_norm_wgmma<1, 256, __nv_bfloat16>);
    default: return KERNEL_HANDLE(linear_norm_wgmma<2, 256, __nv_bfloat16>);
    }
}

static bool norm_valid(const struct linear_norm_args *args)
{
    const struct linear_args   *l = &args->linear;
    const struct linear_weight *w = l->weight;
    const struct norm_args     *n = &args->norm;
    const bool scaled = l->x_scales && w->scales && launch_aligned(w->scales, 0, 8) && (!n->copy || n->copy_scales);
    return (scaled || w->type != DTYPE_F8_E4M3) && w->panels && l->x && n->weight && (n->y || n->copy) && n->width == w->n &&
           w->n > 0 && w->k > 0 && launch_aligned(l->x, l->x_stride, 16) && launch_aligned(w->panels, 0, 16) &&
           launch_aligned(w->bias, 0, 8) && launch_aligned(l->residual, l->residual_stride, 8) &&
           launch_aligned(l->y, l->y_stride, 8) && launch_aligned(n->weight, 0, 8) && launch_aligned(n->bias, 0, 8) &&
           launch_aligned(n->y, n->y_stride, 8) && launch_aligned(n->copy, n->copy_stride, 8);
}

static struct kernel_shape norm_shape(const struct cuda_launch *launch, const struct linear_norm_args *args)
{
    const struct linear_weight *w     = args->linear.weight;
    const double                rows  = launch_rows_cap(launch), element = dtype_bits(w->type) / 8.0;
    const double                each  = (args->linear.residual ? 4 : 0) + (args->linear.y ? 4 : 0) + (args->norm.y ? 4 : 0) +
                                        (args->norm.copy ? element : 0);
    struct kernel_shape         shape = {};
    shape.name                        = args->rms ? "linear_norm_rms" : "linear_norm_layer";
    shape.bytes                       = (rows * w->k + (double)w->n * w->k) * element + rows * w->n * each;
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
        (args->linear.y && args->linear.y_type != DTYPE_F32) || (args->norm.copy && args->norm.copy_type != weight->type))
        return cudaErrorNotSupported;
    if (!norm_valid(args))
        return cudaErrorInvalidValue;
    struct norm_work w    = {};
    w.scales              = wgmma_scales_of(&args->linear);
    w.n                   = weight->n;
    w.k                   = weight->k;
    w.groups              = launch_blocks(weight->n, EXCHANGE_GROUP);
    w.blocks              = launch_blocks(weight->n, tile.columns);
    w.rms                 = args->rms;
    w.epilogue            = linear_epilogue_of(&args->linear);
    w.norm                = args->norm;
    w.rows                = launch_live_rows(launch);
    const cudaError_t error = wgmma_maps(launch, &args->linear, tile, &w.x, &w.weight);
    if (error != cudaSuccess)
        return error;
    const int           tiles = launch_blocks(rows, tile.rows), most = linear_norm_clusters(launch->facts, w.blocks);
    struct kernel_shape shape = norm_shape(launch, args);
    shape.cluster             = w.blocks;
    shape.grid                = dim3((unsigned)(w.blocks * (tiles < most ? tiles : most)));
    shape.threads             = 128 * (consumers + 1);
    shape.shared_bytes        = norm_shared_bytes(consumers, tile.columns);
    KERNEL_LAUNCH(launch, shape, norm_handle(variant, weight->type == DTYPE_F8_E4M3), &w);
}

extern "C" cudaError_t linear_norm_sm90(const struct cuda_launch *launch, const struct linear_norm_args *args)
{
    return linear_norm_launch(launch, args, linear_norm_choose(launch->facts, args->linear.weight, launch_rows_cap(launch)));
}
