/* linear.h on a GPU in bf16 with mma.sync (sm_80 and later), and the launchers of all linears.
 *
 * linear_mma: a block computes ROWS x COLUMNS of y from a ring of four stages, three under way while one is multiplied. Warps
 * stand two deep and COLUMNS / 32 across, so each has ROWS / 2 x 32 of the tile.
 */
#include "kernels/linear/linear_tiles.cuh"

#include "kernels/linear/linear_choose.h"

enum { MMA_STAGES = 4 };

template <int ROWS, int COLUMNS>
__global__ void __launch_bounds__(2 * COLUMNS) linear_mma(const __grid_constant__ struct linear_work w)
{
    constexpr int THREADS = 2 * COLUMNS, ROW_STEPS = ROWS / 32, STAGE = (ROWS + COLUMNS) * TILES_SLICE;
    static_assert(THREADS / 32 * (ROWS / 2) * TILES_STRIP * 4 <= MMA_STAGES * STAGE, "the strips of all warps fit into the ring");
    SHARED_DYNAMIC(uint8_t, shared, 128);
    int row_tile, column_tile;
    linear_tile_of(w, (int)blockIdx.x, &row_tile, &column_tile);
    const int row0 = row_tile * ROWS, column0 = column_tile * COLUMNS, live = live_count(w.rows);
    if (row0 >= live)
        return;
    const int warp = (int)threadIdx.x / 32, lane = warp_lane();
    const int warp_row0 = warp % 2 * (ROWS / 2), warp_column0 = warp / 2 * 32;
    const int slices = (w.k_bytes + TILES_SLICE - 1) / TILES_SLICE;
    const uint32_t base   = shared_address(shared);
    const char    *x      = row_at(w.x, w.x_stride, row0);
    const char    *weight = row_at(w.weight, w.weight_stride, column0);

    float sums[ROW_STEPS][4][4] = {};
#pragma unroll
    for (int s = 0; s < MMA_STAGES - 1; s++) {
        if (s < slices) {
            linear_fetch<ROWS, THREADS>(base + s * STAGE, x, w.x_stride, live - row0, s * TILES_SLICE, w.k_bytes);
            linear_fetch<COLUMNS, THREADS>(base + s * STAGE + ROWS * TILES_SLICE, weight, w.weight_stride, w.n - column0,
                                           s * TILES_SLICE, w.k_bytes);
        }
        cp_async_commit();  /* an empty group too: the wait below counts groups */
    }
    for (int s = 0; s < slices; s++) {
        cp_async_wait<MMA_STAGES - 2>();
        __syncthreads();  /* slice s is there for all, and all are done with the stage that is filled next */
        const int next = s + MMA_STAGES - 1;
        if (next < slices) {
            const uint32_t stage = base + next % MMA_STAGES * STAGE;
            linear_fetch<ROWS, THREADS>(stage, x, w.x_stride, live - row0, next * TILES_SLICE, w.k_bytes);
            linear_fetch<COLUMNS, THREADS>(stage + ROWS * TILES_SLICE, weight, w.weight_stride, w.n - column0, next * TILES_SLICE,
                                           w.k_bytes);
        }
        cp_async_commit();
        const uint32_t stage_x = base + s % MMA_STAGES * STAGE, stage_w = stage_x + ROWS * TILES_SLICE;
#pragma unroll
        for (int step = 0; step < TILES_SLICE / 32; step++) {
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

    __syncthreads();  /* all are done with the ring, which holds the strips now */
    uint8_t *strip = shared + warp * (ROWS / 2) * TILES_STRIP * 4;
#pragma unroll
    for (int i = 0; i < ROW_STEPS; i++)
#pragma unroll
        for (int j = 0; j < 4; j++)
#pragma unroll
            for (int h = 0; h < 2; h++)
                *(float2 *)(strip + linear_strip_at(i * 16 + fragment_c_row(lane, 2 * h), j * 8 + fragment_c_column(lane, 0))) =
                    make_float2(sums[i][j][2 * h], sums[i][j][2 * h + 1]);
    __syncwarp();  /* the strip is whole: a warp's 32 columns, or one block of gates and its ups */
    linear_leave<ROWS / 2, false>(w, strip, row0 + warp_row0, live, column0 + warp_column0);
}

static bool linear_valid(const struct linear_args *args)
{
    const struct linear_weight *w      = args->weight;
    const bool                  scaled = w->scales && args->x_scales && launch_aligned(w->scales, 0, 16);
    return (scaled || w->type != DTYPE_F8_E4M3) && w->panels && args->x && args->y && w->n > 0 && w->k > 0 &&
           launch_aligned(args->x, args->x_stride, 16) &&
           launch_aligned(args->y, args->y_stride, 16) && launch_aligned(args->residual, args->residual_stride, 16) &&
           launch_aligned(w->panels, 0, 16) && launch_aligned(w->bias, 0, 16) &&
           (args->act != LINEAR_SILU_GATE || w->n % (2 * LINEAR_GATE_BLOCK) == 0);
}

static cudaError_t linear_mma_launch(const struct cuda_launch *launch, const struct linear_args *args,
                                     enum linear_cuda_variant variant)
{
    const struct linear_tile tile  = linear_cuda_tile(variant);
    struct linear_work       w     = linear_work_of(launch, args, tile);
    struct kernel_shape      shape = linear_shape(launch, args);
    shape.grid                     = dim3((unsigned)(w.row_tiles * w.column_tiles));
    shape.threads                  = 2 * tile.columns;
    shape.shared_bytes             = MMA_STAGES * (tile.rows + tile.columns) * TILES_SLICE;
    if (variant == LINEAR_CUDA_MMA_128X128)
        KERNEL_LAUNCH(launch, shape, KERNEL_HANDLE(linear_mma<128, 128>), &w);
    KERNEL_LAUNCH(launch, shape, KERNEL_HANDLE(linear_mma<64, 64>), &w);
}

extern "C" cudaError_t linear_cuda_launch(const struct cuda_launch *launch, const struct linear_args *args,
                                          enum linear_cuda_variant variant)
{
    if (!linear_valid(args))
        return cudaErrorInvalidValue;
    if (!linear_cuda_can(launch->facts, variant, args->weight, args->act) ||
        (args->y_type != DTYPE_BF16 && args->y_type != DTYPE_F32))
        return cudaErrorNotSupported;
    if (variant >= LINEAR_CUDA_WGMMA_64X64)
        return linear_sm90_launch(launch, args, variant);
    return (variant >= LINEAR_CUDA_MMA_64X64 ? linear_mma_launch : linear_fma_launch)(launch, args, variant);
}

extern "C" cudaError_t linear_bf16_cuda(const struct cuda_launch *launch, const struct linear_args *args)
{
    if (args->weight->type != DTYPE_BF16)
        return cudaErrorNotSupported;
    return linear_cuda_launch(launch, args, linear_cuda_choose(launch->facts, args->weight, args->act, launch_rows_cap(launch)));
}

extern "C" cudaError_t linear_f32_cuda(const struct cuda_launch *launch, const struct linear_args *args)
{
    if (args->weight->type != DTYPE_F32)
        return cudaErrorNotSupported;
    return linear_cuda_launch(launch, args, linear_cuda_choose(launch->facts, args->weight, args->act, launch_rows_cap(launch)));
}
