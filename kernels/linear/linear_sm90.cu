/* linear.h on Hopper: TMA brings slices of 128 bytes along k into a ring of stages, wgmma multiplies them.
 *
 * Blocks are persistent: block b takes tiles b, b + blocks, ... Warpgroup 0 is the producer: one of its threads keeps the ring
 * full, across the ends of tiles. Each other warpgroup owns 64 rows of the tile with all its columns. The consumers meet nowhere
 * but in the ring, so one of them may be ahead by as many stages as there are: while it is in its epilogue the other multiplies,
 * and the other way round.
 *
 * Results in bf16 leave through shared memory: boxes of 64 x 64, two for each consumer in turn, written by stmatrix and
 * fetched by TMA stores. Results in f32 go straight from registers, where four lanes fill a sector of 32 bytes.
 */
#include "kernels/linear/linear_wgmma.cuh"

enum {
    WGMMA_BOX       = 64 * WGMMA_ROW_BYTES,
    WGMMA_BOXES     = 2,              /* of results, for each consumer */
    WGMMA_GROUP     = 16              /* tiles of rows that go through the columns together, to find the weights in cache */
};

struct wgmma_work {
    CUtensorMap            x, weight, y;
    struct wgmma_scales    scales;         /* of e4m3 */
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

/* The tiles of all blocks. */
struct wgmma_tiles {
    int live, rows, columns, all;  /* live rows; tiles down, across, altogether */
};

template <int ROWS, int COLUMNS> DEVICE struct wgmma_tiles wgmma_tiles_of(const struct wgmma_work &w)
{
    const int                live = live_count(w.rows), rows = (live + ROWS - 1) / ROWS, columns = (w.n + COLUMNS - 1) / COLUMNS;
    const struct wgmma_tiles t    = { live, rows, columns, rows * columns };
    return t;
}

/* Down a group of tiles of rows, then the next column. */
DEVICE void wgmma_tile_at(const struct wgmma_tiles &t, int tile, int *row_tile, int *column_tile)
{
    const int group = tile / (WGMMA_GROUP * t.columns), within = tile % (WGMMA_GROUP * t.columns);
    const int height = min((int)WGMMA_GROUP, t.rows - group * WGMMA_GROUP);
    *row_tile        = group * WGMMA_GROUP + within % height;
    *column_tile     = within / height;
}

/* Shared memory: stages of x, of the weight, boxes of results, barriers. */
struct wgmma_places {
    uint32_t x, weight, boxes, full, empty;
};

template <int CONSUMERS, int COLUMNS> DEVICE struct wgmma_places wgmma_places_of(const uint8_t *shared)
{
    constexpr int       STAGES = wgmma_stages(COLUMNS);
    struct wgmma_places p;
    p.x      = shared_address(shared);
    p.weight = p.x + STAGES * CONSUMERS * 64 * WGMMA_ROW_BYTES;
    p.boxes  = p.weight + STAGES * COLUMNS * WGMMA_ROW_BYTES;
    p.full   = p.boxes + CONSUMERS * WGMMA_BOXES * WGMMA_BOX;
    p.empty  = p.full + STAGES * 8;
    return p;
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

/* A consumer's boxes. */
struct wgmma_boxes {
    uint32_t at;
    int      warpgroup;
    int      turn;  /* goes on across tiles: a tile may have one box */
};

/* Where a tile of the weight's columns begins in y. */
template <int ACT> DEVICE int wgmma_column_out(int column0) { return ACT == LINEAR_SILU_GATE ? column0 / 2 : column0; }

/* column0: of the weight, where the tile begins. */
template <int COLUMNS, int ACT>
DEVICE void wgmma_store_boxes(const struct wgmma_work &w, const float (&d)[COLUMNS / 2], struct wgmma_boxes &boxes, int row0,
                              int column0)
{
    constexpr int OUT = ACT == LINEAR_SILU_GATE ? COLUMNS / 2 : COLUMNS;
    const int     lane = warp_lane(), warp = (int)threadIdx.x % 128 / 32, pair0 = column0 + fragment_c_column(lane, 0);
    const int     out0 = wgmma_column_out<ACT>(column0);
    const bool    lead = threadIdx.x % 128 == 0;
#pragma unroll
    for (int box = 0; box < OUT / 64; box++) {
        const uint32_t at = boxes.at + (uint32_t)(boxes.turn * WGMMA_BOX);
        boxes.turn        = (boxes.turn + 1) % WGMMA_BOXES;
        if (lead)
            bulk_wait_read<WGMMA_BOXES - 1>();
        consumer_sync_of(boxes.warpgroup);  /* the store that used this box has read it */
#pragma unroll
        for (int i = 0; i < 4; i++) {
            float left[4], right[4];
            wgmma_results<ACT>(w.epilogue, w.n, pair0, box * 8 + 2 * i, d, left);
            wgmma_results<ACT>(w.epilogue, w.n, pair0, box * 8 + 2 * i + 1, d, right);
            const uint32_t r[4] = { bf16_pair(left[0], left[1]), bf16_pair(left[2], left[3]), bf16_pair(right[0], right[1]),
                                    bf16_pair(right[2], right[3]) };
            stmatrix_x4(at + swizzle_128(warp * 16 + ldmatrix_a_row(lane), 2 * i + ldmatrix_a_column(lane) / 8), r);
        }
        fence_proxy_async();                /* what this thread wrote is seen by TMA */
        consumer_sync_of(boxes.warpgroup);  /* the box is whole */
        if (lead && out0 + box * 64 < w.epilogue.n)
            tma_store_2d(&w.y, at, out0 + box * 64, row0);
        if (lead)
            bulk_commit();  /* an empty group too: the wait above counts groups */
    }
}

/* row and column0 are the lane's first. */
template <int COLUMNS, int ACT>
DEVICE void wgmma_store_rows(const struct wgmma_work &w, const float (&d)[COLUMNS / 2], int row, int live, int column0)
{
    constexpr int           OUT   = ACT == LINEAR_SILU_GATE ? COLUMNS / 2 : COLUMNS;
    const struct linear_row upper = linear_row_of(w.epilogue, row), lower = linear_row_of(w.epilogue, row + 8);
    const int               own = fragment_c_column(warp_lane(), 0), out0 = wgmma_column_out<ACT>(column0 - own) + own;
#pragma unroll
    for (int i = 0; i < OUT / 8; i++) {
        float v[4];
        wgmma_results<ACT>(w.epilogue, w.n, column0, i, d, v);
        if (row < live)
            linear_store(w.epilogue, upper, out0 + i * 8, v[0], v[1]);
        if (row + 8 < live)
            linear_store(w.epilogue, lower, out0 + i * 8, v[2], v[3]);
    }
}

template <int CONSUMERS, int COLUMNS, class T>
DEVICE void wgmma_produce(const struct wgmma_work &w, const struct wgmma_places &p, const struct wgmma_tiles &tiles)
{
    constexpr int ROWS = 64 * CONSUMERS, X_BYTES = ROWS * WGMMA_ROW_BYTES, W_BYTES = COLUMNS * WGMMA_ROW_BYTES;
    const int     slices = wgmma_slices<T>(w.k);
    int           stage  = 0;
    uint32_t      parity = 1;  /* of a fresh barrier the phase before the first counts as ended: every stage is empty */
    for (int tile = (int)blockIdx.x; tile < tiles.all; tile += (int)gridDim.x) {
        int row_tile, column_tile;
        wgmma_tile_at(tiles, tile, &row_tile, &column_tile);
        for (int s = 0; s < slices; s++) {
            mbarrier_wait(p.empty + stage * 8, parity);
            mbarrier_arrive_expect(p.full + stage * 8, X_BYTES + W_BYTES);
            tma_load_2d(p.x + stage * X_BYTES, &w.x, p.full + stage * 8, s * WGMMA_SLICE<T>, row_tile * ROWS);
            tma_load_2d(p.weight + stage * W_BYTES, &w.weight, p.full + stage * 8, s * WGMMA_SLICE<T>, column_tile * COLUMNS);
            wgmma_next_stage<wgmma_stages(COLUMNS)>(&stage, &parity);
        }
    }
}

template <int CONSUMERS, int COLUMNS, int ACT, class T>
DEVICE void wgmma_consume(const struct wgmma_work &w, const struct wgmma_places &p, const struct wgmma_tiles &tiles)
{
    constexpr int      ROWS = 64 * CONSUMERS;
    const int          warpgroup = warpgroup_index(), own = (warpgroup - 1) * 64, lane = warp_lane();
    struct wgmma_boxes boxes = { p.boxes + (uint32_t)((warpgroup - 1) * WGMMA_BOXES * WGMMA_BOX), warpgroup, 0 };
    struct wgmma_ring  ring  = wgmma_ring_of<ROWS, COLUMNS>(p.x + (uint32_t)own * WGMMA_ROW_BYTES, p.weight, p.full, p.empty);
    float              d[COLUMNS / 2];
    const int          slices = wgmma_slices<T>(w.k);
    for (int tile = (int)blockIdx.x; tile < tiles.all; tile += (int)gridDim.x) {
        int row_tile, column_tile;
        wgmma_tile_at(tiles, tile, &row_tile, &column_tile);
        wgmma_products<wgmma_stages(COLUMNS), false, T>(ring, slices, d);
        const int row0 = row_tile * ROWS + own, row = row0 + (int)threadIdx.x % 128 / 32 * 16 + fragment_c_row(lane, 0);
        const int column0 = column_tile * COLUMNS, column = column0 + fragment_c_column(lane, 0);
        if constexpr (sizeof(T) == 1)
            wgmma_scale(w.scales, d, row, tiles.live, column);
        if (w.through_boxes)
            wgmma_store_boxes<COLUMNS, ACT>(w, d, boxes, row0, column0);
        else
            wgmma_store_rows<COLUMNS, ACT>(w, d, row, tiles.live, column);
    }
    if (threadIdx.x % 128 == 0)
        bulk_wait_read<0>();  /* shared memory outlives the stores that read it */
}

template <int CONSUMERS, int COLUMNS, int ACT, class T>
__global__ void __launch_bounds__(128 * (CONSUMERS + 1), 1) linear_wgmma(const __grid_constant__ struct wgmma_work w)
{
    SHARED_DYNAMIC(uint8_t, shared, 1024);
    const struct wgmma_places p     = wgmma_places_of<CONSUMERS, COLUMNS>(shared);
    const struct wgmma_tiles  tiles = wgmma_tiles_of<64 * CONSUMERS, COLUMNS>(w);
    if (threadIdx.x == 0) {
        for (int i = 0; i < wgmma_stages(COLUMNS); i++) {
            mbarrier_init(p.full + i * 8, 1);
            mbarrier_init(p.empty + i * 8, CONSUMERS);
        }
        fence_mbarrier_init();
    }
    __syncthreads();  /* the barriers are made */
    if (warpgroup_index() == 0) {
        if constexpr (CONSUMERS > 1)
            registers_lower<PRODUCER_REGISTERS>();
        if (threadIdx.x == 0)
            wgmma_produce<CONSUMERS, COLUMNS, T>(w, p, tiles);
    } else {
        if constexpr (CONSUMERS > 1)  /* with one there are enough from the start */
            registers_raise<CONSUMER_REGISTERS>();
        wgmma_consume<CONSUMERS, COLUMNS, ACT, T>(w, p, tiles);
    }
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

static cudaError_t make_maps(const struct cuda_launch *launch, const struct linear_args *args, struct linear_tile tile,
                             struct wgmma_work *w)
{
    const struct tensor_map_matrix y     = { args->y, DTYPE_BF16, w->epilogue.n, launch_rows_cap(launch), args->y_stride, 64 };
    const cudaError_t              error = wgmma_maps(launch, args, tile, &w->x, &w->weight);
    return error == cudaSuccess && w->through_boxes ? tensor_map_make(launch->facts, &w->y, &y) : error;
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
    w.scales                = wgmma_scales_of(args);
    w.n                     = args->weight->n;
    w.k                     = args->weight->k;
    w.epilogue              = linear_epilogue_of(args);
    w.through_boxes         = w.epilogue.narrow && !args->residual && launch_aligned(args->y, args->y_stride, 16);
    w.rows                  = launch_live_rows(launch);
    const cudaError_t error = make_maps(launch, args, tile, &w);
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
