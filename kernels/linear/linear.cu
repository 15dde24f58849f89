/* linear.h on a GPU in bf16 with mma.sync (sm_80 and later), and the launchers of all linears.
 *
 * linear_mma: a block computes ROWS x COLUMNS of y from a ring of four stages, three under way while one is multiplied. Warps
 * stand two deep and COLUMNS / 32 across, so each has ROWS / 2 x 32 of the tile.
 */
#include "kernels/linear/linear_tiles.cuh"

#include "kernels/linear/linear_choose.h"

enum { MMA_STAGES = 4 };

template <int ROWS, int COLUMNS>
__global__ void __launch_bounds__(TILES_THREADS_A_COLUMN * COLUMNS) linear_mma(const __grid_constant__ struct linear_work w)
{
    constexpr int ROW_STEPS = ROWS / 32, STAGE = (ROWS + COLUMNS) * TILES_SLICE, WARPS = TILES_THREADS_A_COLUMN * COLUMNS / 32;
    static_assert(WARPS * (ROWS / 2) * TILES_STRIP * 4 <= MMA_STAGES * STAGE, "the strips of all warps fit into the ring");
    static_assert(MMA_STAGES * STAGE <= LAUNCH_SHARED_EVERYWHERE, "every device runs this kernel");
    SHARED_DYNAMIC(uint8_t, shared, 128);
    const struct linear_ring ring = linear_ring_of<ROWS, COLUMNS>(w, shared);
    if (ring.row0 >= ring.live)
        return;
    const int warp = (int)threadIdx.x / 32, lane = warp_lane();
    const int warp_row0 = warp % 2 * (ROWS / 2), warp_column0 = warp / 2 * 32;

    float sums[ROW_STEPS][4][4] = {};
    linear_ring_begin<ROWS, COLUMNS, MMA_STAGES>(w, ring);
    for (int s = 0; s < ring.slices; s++) {
        const uint32_t stage_x = ring.base + linear_ring_step<ROWS, COLUMNS, MMA_STAGES>(w, ring, s);
        const uint32_t stage_w = stage_x + ROWS * TILES_SLICE;
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
    linear_leave<ROWS / 2, false>(w, strip, ring.row0 + warp_row0, ring.live, ring.column0 + warp_column0);
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
    shape.threads                  = TILES_THREADS_A_COLUMN * tile.columns;
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
