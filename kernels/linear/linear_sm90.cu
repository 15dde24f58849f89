/* linear.h on Hopper: TMA brings slices of 128 bytes along k into a ring of stages, wgmma multiplies them.
 *
 * Blocks are persistent: block b takes tiles b, b + blocks, ... Warpgroup 0 is the producer: one of its threads keeps the ring
 * full, across the ends of tiles. Each other warpgroup owns 64 rows of the tile with all its columns; one slice's product stays in
 * flight while the next is issued. The consumers meet nowhere but in the ring, so one of them may be ahead by as
 * many stages as there are: while it is in its epilogue the other multiplies, and the other way round.
 *
 * e4m3: the matrix unit cuts products and their sum off some 13 bits below the greatest of them, always toward zero, so that
 * long sums shrink. What it adds up of one slice, 128 of k, therefore goes to sums of its own in f32. An output takes two
 * registers then: 192 columns fill a consumer's, 256 do not fit. Nothing of a consumer is in flight while it adds to its sums;
 * the other one multiplies.
 *
 * Results in bf16 leave through shared memory: boxes of 64 x 64, two for each consumer in turn, written by stmatrix and
 * fetched by TMA stores. Results in f32 go straight from registers, where four lanes fill a sector of 32 bytes.
 */
#include "kernels/linear/linear_wgmma.cuh"

#include "kernels/cuda/tensor_map.h"
#include "kernels/linear/linear_choose.h"

enum {
    WGMMA_BOX       = 64 * WGMMA_ROW_BYTES,
    WGMMA_BOXES     = 2,              /* of results, for each consumer */
    WGMMA_GROUP     = 16              /* tiles of rows that go through the columns together, to find the weights in cache */
};

struct wgmma_work {
    CUtensorMap            x, weight, y;
    const float           *x_scales;       /* [rows], of e4m3 */
    const float           *scales;         /* [n padded], of e4m3 */
    int                    n, k;           /* of the weight */
    struct linear_epilogue epilogue;
    bool                   through_boxes;  /* y leaves by TMA */
    struct live_rows       rows;
};

FRAGMENT int wgmma_stages(int columns) { return columns == 64 ? 8 : columns == 128 ? 6 : 4; }
FRAGMENT int wgmma_shared_bytes(int consumers, int columns)
{
    return wgmma_stages(columns) * (consumers * 64 + columns) * WGMMA_ROW_BYTES + consumers * WGMMA_BOXES * WGMMA_BOX +
           wgmma_stages(columns) * 16;
}

/* Down a group of tiles of rows, then the next column. */
DEVICE void wgmma_tile_at(int tile, int row_tiles, int column_tiles, int *row_tile, int *column_tile)
{
    const int group = tile / (WGMMA_GROUP * column_tiles), within = tile % (WGMMA_GROUP * column_tiles);
    const int height = min((int)WGMMA_GROUP, row_tiles - group * WGMMA_GROUP);
    *row_tile        = group * WGMMA_GROUP + within % height;
    *column_tile     = within / height;
}

template <int WARPGROUP> DEVICE void consumer_sync() { named_barrier_sync<WARPGROUP, 128>(); }
DEVICE void consumer_sync_of(int warpgroup)
{
    if (warpgroup == 1)
        consumer_sync<1>();
    else
        consumer_sync<2>();
}

/* Values of tile column 8 i + the lane's pair, rows r and r + 8, biased and activated. */
template <int ACT> DEVICE void wgmma_finished(const struct linear_epilogue &e, int n, int column, const float *d, float (&v)[4])
{
    float2 upper = make_float2(d[0], d[1]), lower = make_float2(d[2], d[3]);
    if (column < n) {
        upper = linear_biased(e, column, d[0], d[1]);
        lower = linear_biased(e, column, d[2], d[3]);
    }
    v[0] = activate_narrow((enum linear_act)ACT, upper.x);
    v[1] = activate_narrow((enum linear_act)ACT, upper.y);
    v[2] = activate_narrow((enum linear_act)ACT, lower.x);
    v[3] = activate_narrow((enum linear_act)ACT, lower.y);
}

/* Tile column 8 i of y, gates times ups where they are gated: those are 16 columns apart, in the same thread. */
template <int ACT>
DEVICE void wgmma_results(const struct linear_epilogue &e, int n, int column0, int i, const float *d, float (&v)[4])
{
    if constexpr (ACT == LINEAR_SILU_GATE) {
        const int from = i / 2 * 4 + i % 2;
        float     gate[4], up[4];
        wgmma_finished<LINEAR_NONE>(e, n, column0 + from * 8, d + from * 4, gate);
        wgmma_finished<LINEAR_NONE>(e, n, column0 + from * 8 + LINEAR_GATE_BLOCK, d + from * 4 + 8, up);
#pragma unroll
        for (int j = 0; j < 4; j++)
            v[j] = sigmoid_times(gate[j], gate[j]) * up[j];
    } else {
        wgmma_finished<ACT>(e, n, column0 + i * 8, d + i * 4, v);
    }
}

/* column0: of the weight, where the tile begins; out0: of y. `turn` goes through the boxes across tiles: a tile may have one. */
template <int COLUMNS, int ACT>
DEVICE void wgmma_store_boxes(const struct wgmma_work &w, const float (&d)[COLUMNS / 2], int warpgroup, uint32_t boxes, int *turn,
                              int row0, int column0, int out0)
{
    constexpr int OUT = ACT == LINEAR_SILU_GATE ? COLUMNS / 2 : COLUMNS;
    const int     lane = warp_lane(), warp = (int)threadIdx.x % 128 / 32, pair0 = column0 + fragment_c_column(lane, 0);
    const bool    lead = threadIdx.x % 128 == 0;
#pragma unroll
    for (int box = 0; box < OUT / 64; box++) {
        const uint32_t at = boxes + (uint32_t)(*turn * WGMMA_BOX);
        *turn             = (*turn + 1) % WGMMA_BOXES;
        if (lead)
            bulk_wait_read<WGMMA_BOXES - 1>();
        consumer_sync_of(warpgroup);  /* the store that used this box has read it */
#pragma unroll
        for (int i = 0; i < 4; i++) {
            float left[4], right[4];
            wgmma_results<ACT>(w.epilogue, w.n, pair0, box * 8 + 2 * i, d, left);
            wgmma_results<ACT>(w.epilogue, w.n, pair0, box * 8 + 2 * i + 1, d, right);
            const uint32_t r[4] = { bf16_pair(left[0], left[1]), bf16_pair(left[2], left[3]), bf16_pair(right[0], right[1]),
                                    bf16_pair(right[2], right[3]) };
            stmatrix_x4(at + swizzle_128(warp * 16 + ldmatrix_a_row(lane), 2 * i + ldmatrix_a_column(lane) / 8), r);
        }
        fence_proxy_async();          /* what this thread wrote is seen by TMA */
        consumer_sync_of(warpgroup);  /* the box is whole */
        if (lead && out0 + box * 64 < w.epilogue.n)
            tma_store_2d(&w.y, at, out0 + box * 64, row0);
        if (lead)
            bulk_commit();  /* an empty group too: the wait above counts groups */
    }
}

template <int COLUMNS, int ACT>
DEVICE void wgmma_store_rows(const struct wgmma_work &w, const float (&d)[COLUMNS / 2], int row0, int live, int column0, int out0)
{
    constexpr int OUT = ACT == LINEAR_SILU_GATE ? COLUMNS / 2 : COLUMNS;
    const int     lane = warp_lane(), row = row0 + (int)threadIdx.x % 128 / 32 * 16 + fragment_c_row(lane, 0);
    const struct linear_row upper = linear_row_of(w.epilogue, row), lower = linear_row_of(w.epilogue, row + 8);
#pragma unroll
    for (int i = 0; i < OUT / 8; i++) {
        float v[4];
        wgmma_results<ACT>(w.epilogue, w.n, column0 + fragment_c_column(lane, 0), i, d, v);
        if (row < live)
            linear_store(w.epilogue, upper, out0 + i * 8 + fragment_c_column(lane, 0), v[0], v[1]);
        if (row + 8 < live)
            linear_store(w.epilogue, lower, out0 + i * 8 + fragment_c_column(lane, 0), v[2], v[3]);
    }
}

/* From sums of codes to what they stand for: times the row's scale, times the output's. */
template <int COLUMNS>
DEVICE void wgmma_scaled(const struct wgmma_work &w, const float (&sums)[COLUMNS / 2], float (&d)[COLUMNS / 2], int row0, int live,
                         int column0)
{
    const int   lane = warp_lane(), row = row0 + (int)threadIdx.x % 128 / 32 * 16 + fragment_c_row(lane, 0);
    const float upper = row < live ? w.x_scales[row] : 0.0f, lower = row + 8 < live ? w.x_scales[row + 8] : 0.0f;
#pragma unroll
    for (int i = 0; i < COLUMNS / 8; i++) {
        const int    column = column0 + i * 8 + fragment_c_column(lane, 0);
        const float2 scale  = column < w.n ? *(const float2 *)(w.scales + column) : make_float2(0.0f, 0.0f);
        d[4 * i]            = sums[4 * i] * upper * scale.x;
        d[4 * i + 1]        = sums[4 * i + 1] * upper * scale.y;
        d[4 * i + 2]        = sums[4 * i + 2] * lower * scale.x;
        d[4 * i + 3]        = sums[4 * i + 3] * lower * scale.y;
    }
}

template <int CONSUMERS, int COLUMNS, int ACT, class T>
__global__ void __launch_bounds__(128 * (CONSUMERS + 1), 1) linear_wgmma(const __grid_constant__ struct wgmma_work w)
{
    constexpr int  ROWS = 64 * CONSUMERS, STAGES = wgmma_stages(COLUMNS), SLICE = WGMMA_ROW_BYTES / (int)sizeof(T);
    constexpr bool PROMOTED = sizeof(T) == 1;
    constexpr int  X_BYTES = ROWS * WGMMA_ROW_BYTES, W_BYTES = COLUMNS * WGMMA_ROW_BYTES;
    SHARED_DYNAMIC(uint8_t, shared, 1024);
    const uint32_t x = shared_address(shared), weight = x + STAGES * X_BYTES, boxes = weight + STAGES * W_BYTES;
    const uint32_t full = boxes + CONSUMERS * WGMMA_BOXES * WGMMA_BOX, empty = full + STAGES * 8;
    const int      warpgroup = warpgroup_index(), live = live_count(w.rows);
    const int      row_tiles = (live + ROWS - 1) / ROWS, column_tiles = (w.n + COLUMNS - 1) / COLUMNS;
    const int      tiles = row_tiles * column_tiles, slices = (w.k + SLICE - 1) / SLICE;
    if (threadIdx.x == 0) {
        for (int i = 0; i < STAGES; i++) {
            mbarrier_init(full + i * 8, 1);
            mbarrier_init(empty + i * 8, CONSUMERS);
        }
        fence_mbarrier_init();
    }
    __syncthreads();  /* the barriers are made */

    if (warpgroup == 0) {
        if constexpr (CONSUMERS > 1)
            registers_lower<PRODUCER_REGISTERS>();
        if (threadIdx.x != 0)
            return;
        int      stage  = 0;
        uint32_t parity = 1;  /* of a fresh barrier the phase before the first counts as ended: every stage is empty */
        for (int tile = (int)blockIdx.x; tile < tiles; tile += (int)gridDim.x) {
            int row_tile, column_tile;
            wgmma_tile_at(tile, row_tiles, column_tiles, &row_tile, &column_tile);
            for (int s = 0; s < slices; s++) {
                mbarrier_wait(empty + stage * 8, parity);
                mbarrier_arrive_expect(full + stage * 8, X_BYTES + W_BYTES);
                tma_load_2d(x + stage * X_BYTES, &w.x, full + stage * 8, s * SLICE, row_tile * ROWS);
                tma_load_2d(weight + stage * W_BYTES, &w.weight, full + stage * 8, s * SLICE, column_tile * COLUMNS);
                wgmma_next_stage<STAGES>(&stage, &parity);
            }
        }
        return;
    }

    if constexpr (CONSUMERS > 1)  /* with one there are enough from the start */
        registers_raise<CONSUMER_REGISTERS>();
    const bool     lead      = threadIdx.x % 128 == 0;
    const uint32_t boxes_own = boxes + (uint32_t)((warpgroup - 1) * WGMMA_BOXES * WGMMA_BOX);
    const uint64_t a0 = wgmma_descriptor(x + (uint32_t)(warpgroup - 1) * 64 * WGMMA_ROW_BYTES, 16, 1024, wgmma_swizzle_128);
    const uint64_t b0 = wgmma_descriptor(weight, 16, 1024, wgmma_swizzle_128);
    float          d[COLUMNS / 2], sums[COLUMNS / 2];  /* sums: PROMOTED alone */
    int            stage = 0, turn = 0;
    uint32_t       parity = 0;
    for (int tile = (int)blockIdx.x; tile < tiles; tile += (int)gridDim.x) {
        int row_tile, column_tile, before = 0;
        wgmma_tile_at(tile, row_tiles, column_tiles, &row_tile, &column_tile);
        if constexpr (PROMOTED)
#pragma unroll
            for (int i = 0; i < COLUMNS / 2; i++)
                sums[i] = 0.0f;
        for (int s = 0; s < slices; s++) {
            mbarrier_wait(full + stage * 8, parity);
            const uint64_t a = a0 + (uint64_t)(stage * X_BYTES / 16), b = b0 + (uint64_t)(stage * W_BYTES / 16);
            wgmma_fence();
            wgmma_slice<T>(d, a, b, !PROMOTED && s > 0);
            wgmma_commit();
            if constexpr (PROMOTED) {
                wgmma_wait<0>();
                wgmma_settle(d);
                if (lead)
                    mbarrier_arrive(empty + stage * 8);
#pragma unroll
                for (int i = 0; i < COLUMNS / 2; i++)
                    sums[i] += d[i];
            } else if (s > 0) {
                wgmma_wait<1>();  /* the slice before is done, this one under way */
                if (lead)
                    mbarrier_arrive(empty + before * 8);
            }
            before = stage;
            wgmma_next_stage<STAGES>(&stage, &parity);
        }
        const int row0 = row_tile * ROWS + (warpgroup - 1) * 64, column0 = column_tile * COLUMNS;
        const int out0 = ACT == LINEAR_SILU_GATE ? column0 / 2 : column0;
        if constexpr (PROMOTED) {
            wgmma_scaled<COLUMNS>(w, sums, d, row0, live, column0);
        } else {
            wgmma_wait<0>();
            wgmma_settle(d);
            if (lead)
                mbarrier_arrive(empty + before * 8);
        }
        if (w.through_boxes)
            wgmma_store_boxes<COLUMNS, ACT>(w, d, warpgroup, boxes_own, &turn, row0, column0, out0);
        else
            wgmma_store_rows<COLUMNS, ACT>(w, d, row0, live, column0, out0);
    }
    if (lead)
        bulk_wait_read<0>();  /* shared memory outlives the stores that read it */
}

/* Null: not built. Large tiles are for what encoders and decoders have many rows of. */
static const void *wgmma_handle(enum linear_cuda_variant variant, enum dtype type, enum linear_act act)
{
#define BUILT_OF(dtype, T, consumers, columns, a)                                                             \
    if (type == dtype && act == a && variant == (columns == 256   ? LINEAR_CUDA_WGMMA_128X256                 \
                                                 : columns == 192 ? LINEAR_CUDA_WGMMA_128X192                 \
                                                 : columns == 128 ? LINEAR_CUDA_WGMMA_128X128                 \
                                                                  : LINEAR_CUDA_WGMMA_64X64))                 \
        return KERNEL_HANDLE(linear_wgmma<consumers, columns, a, T>);
#define BUILT(consumers, columns, a) BUILT_OF(DTYPE_BF16, __nv_bfloat16, consumers, columns, a)
#define BUILT_E4M3(consumers, columns, a) BUILT_OF(DTYPE_F8_E4M3, uint8_t, consumers, columns, a)
    BUILT(2, 256, LINEAR_NONE)
    BUILT(2, 256, LINEAR_GELU_ERF)
    BUILT(2, 256, LINEAR_GELU_TANH)
    BUILT(2, 256, LINEAR_SILU_GATE)
    BUILT(2, 192, LINEAR_NONE)
    BUILT(2, 128, LINEAR_NONE)
    BUILT(2, 128, LINEAR_GELU_ERF)
    BUILT(2, 128, LINEAR_GELU_TANH)
    BUILT(2, 128, LINEAR_SILU_GATE)
    BUILT(2, 128, LINEAR_RELU)
    BUILT(2, 128, LINEAR_SILU)
    BUILT(2, 128, LINEAR_TANH)
    BUILT(1, 64, LINEAR_NONE)
    BUILT(1, 64, LINEAR_GELU_ERF)
    BUILT(1, 64, LINEAR_GELU_TANH)
    BUILT_E4M3(2, 192, LINEAR_NONE)
    BUILT_E4M3(2, 192, LINEAR_GELU_ERF)
    BUILT_E4M3(2, 192, LINEAR_GELU_TANH)
    BUILT_E4M3(2, 128, LINEAR_NONE)
    BUILT_E4M3(2, 128, LINEAR_GELU_ERF)
    BUILT_E4M3(2, 128, LINEAR_GELU_TANH)
    BUILT_E4M3(2, 128, LINEAR_SILU_GATE)
    BUILT_E4M3(2, 128, LINEAR_RELU)
    BUILT_E4M3(2, 128, LINEAR_SILU)
    BUILT_E4M3(2, 128, LINEAR_TANH)
    BUILT_E4M3(1, 64, LINEAR_NONE)
    BUILT_E4M3(1, 64, LINEAR_GELU_ERF)
    BUILT_E4M3(1, 64, LINEAR_GELU_TANH)
#undef BUILT
#undef BUILT_E4M3
#undef BUILT_OF
    return NULL;
}

static cudaError_t make_maps(const struct cuda_launch *launch, const struct linear_args *args, const struct linear_tile *tile,
                             struct wgmma_work *w)
{
    const struct linear_weight    *weight = args->weight;
    const int                      rows   = launch_rows_cap(launch);
    const struct tensor_map_matrix x      = { args->x, weight->type, weight->k, rows, args->x_stride, tile->rows };
    const struct tensor_map_matrix m      = { weight->panels, weight->type, weight->k, weight->n,
                                              kernels_cuda_weight_stride(weight->type, weight->k), tile->columns };
    const struct tensor_map_matrix y      = { args->y, DTYPE_BF16, w->epilogue.n, rows, args->y_stride, 64 };
    cudaError_t                    error  = tensor_map_make(launch->facts, &w->x, &x);
    if (error == cudaSuccess)
        error = tensor_map_make(launch->facts, &w->weight, &m);
    if (error == cudaSuccess && w->through_boxes)
        error = tensor_map_make(launch->facts, &w->y, &y);
    return error;
}

extern "C" cudaError_t linear_sm90_launch(const struct cuda_launch *launch, const struct linear_args *args,
                                          enum linear_cuda_variant variant)
{
    const struct linear_tile tile      = linear_cuda_tile(variant);
    const int                consumers = tile.rows / 64, rows = launch_rows_cap(launch);
    const void              *kernel    = wgmma_handle(variant, args->weight->type, args->act);
    if (!kernel)
        return cudaErrorNotSupported;
    struct wgmma_work w     = {};
    w.x_scales              = args->x_scales;
    w.scales                = args->weight->scales;
    w.n                     = args->weight->n;
    w.k                     = args->weight->k;
    w.epilogue              = linear_epilogue_of(args);
    w.through_boxes         = w.epilogue.narrow && !args->residual && launch_aligned(args->y, args->y_stride, 16);
    w.rows                  = launch_live_rows(launch);
    const cudaError_t error = make_maps(launch, args, &tile, &w);
    if (error != cudaSuccess)
        return error;
    const int           tiles = launch_blocks(rows, tile.rows) * launch_blocks(w.n, tile.columns);
    struct kernel_shape shape = linear_shape(launch, args);
    shape.grid                = dim3((unsigned)(tiles < launch->facts->processors ? tiles : launch->facts->processors));
    shape.threads             = 128 * (consumers + 1);
    shape.shared_bytes        = wgmma_shared_bytes(consumers, tile.columns);
    KERNEL_LAUNCH(launch, shape, kernel, &w);
}

extern "C" cudaError_t linear_bf16_sm90(const struct cuda_launch *launch, const struct linear_args *args)
{
    return linear_bf16_cuda(launch, args);  /* its chooser knows both */
}

extern "C" cudaError_t linear_fp8_sm90(const struct cuda_launch *launch, const struct linear_args *args)
{
    if (args->weight->type != DTYPE_F8_E4M3 || (args->y_type != DTYPE_BF16 && args->y_type != DTYPE_F32))
        return cudaErrorNotSupported;
    return linear_cuda_launch(launch, args, linear_cuda_choose(launch->facts, args->weight, args->act, launch_rows_cap(launch)));
}
