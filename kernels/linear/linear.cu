/* linear.h on a GPU with mma.sync (sm_80 and later), and the kernel of last resort.
 *
 * linear_mma: a block computes ROWS x COLUMNS of y. Slices of 32 along k come through a ring of four stages of cp.async, three
 * under way while one is multiplied. Warps stand two deep and COLUMNS / 32 across, so each has ROWS / 2 x 32 of the tile.
 * Rows of a slice are 64 bytes, swizzled so that neither cp.async nor ldmatrix meets a bank conflict.
 */
#include "kernels/linear/linear_epilogue.cuh"

#include "kernels/cuda/fragments.cuh"
#include "kernels/cuda/instructions.cuh"
#include "kernels/linear/linear_choose.h"

enum {
    MMA_STAGES = 4,
    MMA_SLICE  = 32,              /* of k in a stage */
    MMA_CHUNKS = MMA_SLICE / 8,   /* of 16 bytes in a row of a slice */
    MMA_GROUP  = 8                /* tiles of rows that go through the columns together, to find the weights in cache */
};

struct linear_work {
    const __nv_bfloat16   *x, *weight;
    size_t                 x_stride, weight_stride;  /* bytes */
    int                    n, k;                     /* of the weight */
    int                    row_tiles, column_tiles;  /* at the cap */
    struct linear_epilogue epilogue;
    struct live_rows       rows;
};

/* Block to tile: down a group of tiles of rows, then the next column. */
DEVICE void linear_tile_of(const struct linear_work &w, int block, int *row_tile, int *column_tile)
{
    const int group = block / (MMA_GROUP * w.column_tiles), within = block % (MMA_GROUP * w.column_tiles);
    const int height = min(MMA_GROUP, w.row_tiles - group * MMA_GROUP);
    *row_tile        = group * MMA_GROUP + within % height;
    *column_tile     = within / height;
}

/* TILE rows of one slice into shared memory; rows from `count` on and what lies beyond k become zeros. */
template <int TILE, int THREADS>
DEVICE void linear_fetch(uint32_t shared, const __nv_bfloat16 *from, size_t stride, int count, int k0, int k)
{
#pragma unroll
    for (int i = 0; i < TILE * MMA_CHUNKS / THREADS; i++) {
        const int  piece = i * THREADS + (int)threadIdx.x, row = piece / MMA_CHUNKS, chunk = piece % MMA_CHUNKS;
        const bool valid = row < count && k0 + chunk * 8 < k;
        cp_async<16>(shared + swizzle_64(row, chunk), valid ? row_at(from, stride, row) + k0 + chunk * 8 : from, valid);
    }
}

template <int ROWS, int COLUMNS>
__global__ void __launch_bounds__(2 * COLUMNS) linear_mma(const __grid_constant__ struct linear_work w)
{
    constexpr int THREADS = 2 * COLUMNS, ROW_STEPS = ROWS / 32, STAGE = (ROWS + COLUMNS) * MMA_SLICE * 2;
    SHARED_DYNAMIC(uint8_t, shared, 128);
    int row_tile, column_tile;
    linear_tile_of(w, (int)blockIdx.x, &row_tile, &column_tile);
    const int row0 = row_tile * ROWS, column0 = column_tile * COLUMNS, live = live_count(w.rows);
    if (row0 >= live)
        return;
    const int warp = (int)threadIdx.x / 32, lane = warp_lane();
    const int warp_row0 = warp % 2 * (ROWS / 2), warp_column0 = warp / 2 * 32;
    const int slices = (w.k + MMA_SLICE - 1) / MMA_SLICE;
    const uint32_t       base   = shared_address(shared);
    const __nv_bfloat16 *x      = row_at(w.x, w.x_stride, row0);
    const __nv_bfloat16 *weight = row_at(w.weight, w.weight_stride, column0);

    float sums[ROW_STEPS][4][4] = {};
#pragma unroll
    for (int s = 0; s < MMA_STAGES - 1; s++) {
        if (s < slices) {
            linear_fetch<ROWS, THREADS>(base + s * STAGE, x, w.x_stride, live - row0, s * MMA_SLICE, w.k);
            linear_fetch<COLUMNS, THREADS>(base + s * STAGE + ROWS * MMA_SLICE * 2, weight, w.weight_stride, w.n - column0,
                                           s * MMA_SLICE, w.k);
        }
        cp_async_commit();  /* an empty group too: the wait below counts groups */
    }
    for (int s = 0; s < slices; s++) {
        cp_async_wait<MMA_STAGES - 2>();
        __syncthreads();  /* slice s is there for all, and all are done with the stage that is filled next */
        const int next = s + MMA_STAGES - 1;
        if (next < slices) {
            const uint32_t stage = base + next % MMA_STAGES * STAGE;
            linear_fetch<ROWS, THREADS>(stage, x, w.x_stride, live - row0, next * MMA_SLICE, w.k);
            linear_fetch<COLUMNS, THREADS>(stage + ROWS * MMA_SLICE * 2, weight, w.weight_stride, w.n - column0,
                                           next * MMA_SLICE, w.k);
        }
        cp_async_commit();
        const uint32_t stage_x = base + s % MMA_STAGES * STAGE, stage_w = stage_x + ROWS * MMA_SLICE * 2;
#pragma unroll
        for (int step = 0; step < MMA_SLICE / 16; step++) {
            uint32_t a[ROW_STEPS][4], b[2][4];
#pragma unroll
            for (int i = 0; i < ROW_STEPS; i++)
                ldmatrix_x4(a[i], stage_x + swizzle_64(warp_row0 + i * 16 + ldmatrix_a_row(lane),
                                                       step * 2 + ldmatrix_a_column(lane) / 8));
#pragma unroll
            for (int j = 0; j < 2; j++)
                ldmatrix_x4(b[j], stage_w + swizzle_64(warp_column0 + j * 16 + ldmatrix_b_row(lane),
                                                       step * 2 + ldmatrix_b_column(lane) / 8));
#pragma unroll
            for (int i = 0; i < ROW_STEPS; i++)
#pragma unroll
                for (int j = 0; j < 4; j++)
                    mma_m16n8k16<__nv_bfloat16>(sums[i][j], a[i], b[j / 2][j % 2 * 2], b[j / 2][j % 2 * 2 + 1]);
        }
    }

#pragma unroll
    for (int i = 0; i < ROW_STEPS; i++)
#pragma unroll
        for (int h = 0; h < 2; h++) {
            const int row = row0 + warp_row0 + i * 16 + fragment_c_row(lane, 2 * h);
            if (row >= live)
                continue;
            float2 v[4];
#pragma unroll
            for (int j = 0; j < 4; j++) {
                const int column = column0 + warp_column0 + j * 8 + fragment_c_column(lane, 0);
                v[j]             = make_float2(0.0f, 0.0f);
                if (column < w.n)
                    v[j] = linear_biased(w.epilogue, column, sums[i][j][2 * h], sums[i][j][2 * h + 1]);
            }
            const struct linear_row to     = linear_row_of(w.epilogue, row);
            const int               column = column0 + warp_column0 + fragment_c_column(lane, 0);
#pragma unroll
            for (int j = 0; j < 4; j++)
                if (w.epilogue.act != LINEAR_SILU_GATE)
                    linear_store(w.epilogue, to, column + j * 8, activate_narrow(w.epilogue.act, v[j].x),
                                 activate_narrow(w.epilogue.act, v[j].y));
                else if (j < 2)  /* a warp's 32 columns are one block of gates and its ups */
                    linear_store_gated(w.epilogue, to, column + j * 8, v[j], v[j + 2]);
        }
}

enum { ROWS_TOGETHER = 8 };  /* rows whose sums one warp keeps, so that a weight is read once for them */

DEVICE float rows_value(const float *at) { return *at; }
DEVICE float rows_value(const __nv_bfloat16 *at) { return __bfloat162float(*at); }

/* Any shape, any alignment of elements: a warp an output, lanes along k, for ROWS_TOGETHER rows. */
template <class T> DEVICE float rows_product(const struct linear_work &w, int column, int row0, int live)
{
    float sums[ROWS_TOGETHER] = {}, mine = 0.0f;
#pragma unroll 1
    for (int k = warp_lane(); k < w.k; k += 32) {
        const float weight = rows_value(row_at((const T *)w.weight, w.weight_stride, column) + k);
#pragma unroll
        for (int r = 0; r < ROWS_TOGETHER; r++)
            if (row0 + r < live)
                sums[r] = fmaf(rows_value(row_at((const T *)w.x, w.x_stride, row0 + r) + k), weight, sums[r]);
    }
#pragma unroll
    for (int r = 0; r < ROWS_TOGETHER; r++) {
        const float sum = warp_sum(sums[r]);
        mine            = warp_lane() == r ? sum : mine;  /* lane r stores row r */
    }
    return w.epilogue.bias ? mine + w.epilogue.bias[column] : mine;
}

template <class T> __global__ void __launch_bounds__(ROWS_THREADS) linear_rows(const __grid_constant__ struct linear_work w)
{
    const int column = warp_row(), row0 = (int)blockIdx.y * ROWS_TOGETHER, live = live_count(w.rows);
    if (column >= w.epilogue.n || row0 >= live)
        return;
    const bool gated = w.epilogue.act == LINEAR_SILU_GATE;
    const int  from  = gated ? column / LINEAR_GATE_BLOCK * 2 * LINEAR_GATE_BLOCK + column % LINEAR_GATE_BLOCK : column;
    float      v     = rows_product<T>(w, from, row0, live);
    if (gated)
        v = activate_exact(LINEAR_SILU, v) * rows_product<T>(w, from + LINEAR_GATE_BLOCK, row0, live);
    else
        v = activate_exact(w.epilogue.act, v);
    const int row = row0 + warp_lane();
    if (warp_lane() >= ROWS_TOGETHER || row >= live)
        return;
    if (w.epilogue.residual)
        v += row_at(w.epilogue.residual, w.epilogue.residual_stride, row)[column];
    if (w.epilogue.narrow)
        row_at((__nv_bfloat16 *)w.epilogue.y, w.epilogue.y_stride, row)[column] = __float2bfloat16_rn(v);
    else
        row_at((float *)w.epilogue.y, w.epilogue.y_stride, row)[column] = v;
}

static bool linear_valid(const struct linear_args *args)
{
    const struct linear_weight *w       = args->weight;
    const size_t                element = (size_t)dtype_bits(w->type) / 8;
    return w->panels && args->x && args->y && w->n > 0 && w->k > 0 && launch_aligned(args->x, args->x_stride, element) &&
           launch_aligned(args->y, args->y_stride, args->y_type == DTYPE_BF16 ? 4 : 8) &&
           launch_aligned(args->residual, args->residual_stride, 8) && launch_aligned(w->bias, 0, 8) &&
           (args->act != LINEAR_SILU_GATE || w->n % (2 * LINEAR_GATE_BLOCK) == 0);
}

extern "C" cudaError_t linear_cuda_launch(const struct cuda_launch *launch, const struct linear_args *args,
                                          enum linear_cuda_variant variant)
{
    const struct linear_weight *weight = args->weight;
    if (!linear_valid(args))
        return cudaErrorInvalidValue;
    if (variant != LINEAR_CUDA_ROWS && (!launch_aligned(args->x, args->x_stride, 16) || !launch_aligned(weight->panels, 0, 16)))
        return cudaErrorInvalidValue;
    if (variant >= LINEAR_CUDA_WGMMA_64X64)
        return linear_sm90_launch(launch, args, variant);
    const int                rows = launch_rows_cap(launch);
    const struct linear_tile tile = linear_cuda_tile(variant);
    struct linear_work       w    = {};
    w.x                           = (const __nv_bfloat16 *)args->x;
    w.weight                      = (const __nv_bfloat16 *)weight->panels;
    w.x_stride                    = args->x_stride;
    w.weight_stride               = kernels_cuda_weight_stride(weight->type, weight->k);
    w.n                           = weight->n;
    w.k                           = weight->k;
    w.row_tiles                   = launch_blocks(rows, tile.rows);
    w.column_tiles                = launch_blocks(weight->n, tile.columns);
    w.epilogue                    = linear_epilogue_of(args);
    w.rows                        = launch_live_rows(launch);
    struct kernel_shape shape     = linear_shape(launch, args);
    shape.grid                    = dim3((unsigned)(w.row_tiles * w.column_tiles));
    shape.threads                 = 2 * tile.columns;
    shape.shared_bytes            = MMA_STAGES * (tile.rows + tile.columns) * MMA_SLICE * 2;
    if (variant == LINEAR_CUDA_MMA_128X128)
        KERNEL_LAUNCH(launch, shape, KERNEL_HANDLE(linear_mma<128, 128>), &w);
    if (variant == LINEAR_CUDA_MMA_64X64)
        KERNEL_LAUNCH(launch, shape, KERNEL_HANDLE(linear_mma<64, 64>), &w);
    shape.grid         = dim3((unsigned)launch_blocks(w.epilogue.n, ROWS_WARPS), (unsigned)launch_blocks(rows, ROWS_TOGETHER));
    shape.threads      = ROWS_THREADS;
    shape.shared_bytes = 0;
    KERNEL_LAUNCH(launch, shape,
                  weight->type == DTYPE_F32 ? KERNEL_HANDLE(linear_rows<float>) : KERNEL_HANDLE(linear_rows<__nv_bfloat16>), &w);
}

extern "C" cudaError_t linear_bf16_cuda(const struct cuda_launch *launch, const struct linear_args *args)
{
    if (args->weight->type != DTYPE_BF16 || (args->y_type != DTYPE_BF16 && args->y_type != DTYPE_F32))
        return cudaErrorNotSupported;
    return linear_cuda_launch(launch, args, linear_cuda_choose(launch->facts, args->weight, args->act, launch_rows_cap(launch)));
}

extern "C" cudaError_t linear_f32_cuda(const struct cuda_launch *launch, const struct linear_args *args)
{
    if (args->weight->type != DTYPE_F32 || (args->y_type != DTYPE_BF16 && args->y_type != DTYPE_F32))
        return cudaErrorNotSupported;
    return linear_cuda_launch(launch, args, LINEAR_CUDA_ROWS);
}
