/* linear.h in f32 on a GPU: an output is one chain of fused multiply-adds from k = 0 upward, the same bits as on a CPU.
 *
 * linear_fma: a block computes ROWS x COLUMNS of y, warps standing four deep and COLUMNS / 64 across. A warp has ROWS / 4 rows
 * and 64 columns, a thread every fourth of those rows and every eighth of those columns. Both operands lie in shared memory as
 * they lie in device memory, along k, so a thread reads four of k at once and no slice is turned.
 *
 * Three products of tf32 in place of one of f32 could be about twice as quick where tensor cores are fast, and slower where
 * they are not. They were left aside: tensor cores cut what they add, and the bits would be neither the CPU's nor those of the
 * next architecture.
 */
#include "kernels/linear/linear_tiles.cuh"

#include "kernels/linear/linear_choose.h"

/* Lanes to a 4 x 8 grid in such a way that any two neighbours share their rows of x, and any two that are two apart their rows
 * of the weight. */
DEVICE int fma_lane_row(int lane) { return (lane >> 1 & 1) | (lane >> 4) << 1; }
DEVICE int fma_lane_column(int lane) { return (lane & 1) | (lane >> 2 & 3) << 1; }

/* sum + a . b, one after another. */
DEVICE float fma_chain(float4 a, float4 b, float sum)
{
    return fmaf(a.w, b.w, fmaf(a.z, b.z, fmaf(a.y, b.y, fmaf(a.x, b.x, sum))));
}

/* Stages: as many as fit into 48 KiB, which every device grants two blocks of. */
FRAGMENT int fma_stages(int rows) { return rows == 128 ? 3 : 8; }

template <int ROWS, int COLUMNS>
__global__ void __launch_bounds__(2 * COLUMNS, 2) linear_fma(const __grid_constant__ struct linear_work w)
{
    constexpr int THREADS = 2 * COLUMNS, OWN = ROWS / 16, STAGES = fma_stages(ROWS), STAGE = (ROWS + COLUMNS) * TILES_SLICE;
    static_assert(THREADS / 32 * (ROWS / 4) * TILES_STRIP * 4 <= STAGES * STAGE, "the strips of all warps fit into the ring");
    SHARED_DYNAMIC(uint8_t, shared, 128);
    int row_tile, column_tile;
    linear_tile_of(w, (int)blockIdx.x, &row_tile, &column_tile);
    const int row0 = row_tile * ROWS, column0 = column_tile * COLUMNS, live = live_count(w.rows);
    if (row0 >= live)
        return;
    const int warp = (int)threadIdx.x / 32, row = fma_lane_row(warp_lane()), column = fma_lane_column(warp_lane());
    const int warp_row0 = warp % 4 * (ROWS / 4), warp_column0 = warp / 4 * 64;
    const int      slices = (w.k_bytes + TILES_SLICE - 1) / TILES_SLICE;
    const uint32_t base   = shared_address(shared);
    const char    *x      = row_at(w.x, w.x_stride, row0);
    const char    *weight = row_at(w.weight, w.weight_stride, column0);

    float sums[OWN][8] = {};
#pragma unroll
    for (int s = 0; s < STAGES - 1; s++) {
        if (s < slices) {
            linear_fetch<ROWS, THREADS>(base + s * STAGE, x, w.x_stride, live - row0, s * TILES_SLICE, w.k_bytes);
            linear_fetch<COLUMNS, THREADS>(base + s * STAGE + ROWS * TILES_SLICE, weight, w.weight_stride, w.n - column0,
                                           s * TILES_SLICE, w.k_bytes);
        }
        cp_async_commit();  /* an empty group too: the wait below counts groups */
    }
    for (int s = 0; s < slices; s++) {
        cp_async_wait<STAGES - 2>();
        __syncthreads();  /* slice s is there for all, and all are done with the stage that is filled next */
        const int next = s + STAGES - 1;
        if (next < slices) {
            const uint32_t stage = base + next % STAGES * STAGE;
            linear_fetch<ROWS, THREADS>(stage, x, w.x_stride, live - row0, next * TILES_SLICE, w.k_bytes);
            linear_fetch<COLUMNS, THREADS>(stage + ROWS * TILES_SLICE, weight, w.weight_stride, w.n - column0, next * TILES_SLICE,
                                           w.k_bytes);
        }
        cp_async_commit();
        const uint8_t *stage_x = shared + s % STAGES * STAGE, *stage_w = stage_x + ROWS * TILES_SLICE;
#pragma unroll 1  /* more at once would want more registers than there are */
        for (int chunk = 0; chunk < TILES_CHUNKS; chunk++) {
            /* The swizzle comes round every 8 rows: one address serves a thread's columns, two its rows. */
            const uint8_t *own_w    = stage_w + swizzle_64(warp_column0 + column, chunk);
            const uint8_t *own_x[2] = { stage_x + swizzle_64(warp_row0 + row, chunk),
                                        stage_x + swizzle_64(warp_row0 + row + 4, chunk) };
            float4         b[8];
#pragma unroll
            for (int j = 0; j < 8; j++)
                b[j] = *(const float4 *)(own_w + j * 8 * TILES_SLICE);
#pragma unroll
            for (int i = 0; i < OWN; i++) {
                const float4 a = *(const float4 *)(own_x[i % 2] + i / 2 * 8 * TILES_SLICE);
#pragma unroll
                for (int j = 0; j < 8; j++)
                    sums[i][j] = fma_chain(a, b[j], sums[i][j]);
            }
        }
    }

    __syncthreads();  /* all are done with the ring, which holds the strips now */
    uint8_t *strip = shared + warp * (ROWS / 4) * TILES_STRIP * 4;
#pragma unroll
    for (int half = 0; half < 2; half++) {
#pragma unroll
        for (int i = 0; i < OWN; i++)
#pragma unroll
            for (int j = 0; j < 4; j++)
                *(float *)(strip + linear_strip_at(row + i * 4, column + j * 8)) = sums[i][half * 4 + j];
        __syncwarp();  /* the strip is whole */
        linear_leave<ROWS / 4, true>(w, strip, row0 + warp_row0, live, column0 + warp_column0 + half * TILES_STRIP);
        __syncwarp();  /* and has been read: the other half may take its place */
    }
}

extern "C" cudaError_t linear_fma_launch(const struct cuda_launch *launch, const struct linear_args *args,
                                         enum linear_cuda_variant variant)
{
    const struct linear_tile tile  = linear_cuda_tile(variant);
    struct linear_work       w     = linear_work_of(launch, args, tile);
    struct kernel_shape      shape = linear_shape(launch, args);
    shape.grid                     = dim3((unsigned)(w.row_tiles * w.column_tiles));
    shape.threads                  = 2 * tile.columns;
    shape.shared_bytes             = fma_stages(tile.rows) * (tile.rows + tile.columns) * TILES_SLICE;
    if (variant == LINEAR_CUDA_FMA_128X128)
        KERNEL_LAUNCH(launch, shape, KERNEL_HANDLE(linear_fma<128, 128>), &w);
    KERNEL_LAUNCH(launch, shape, KERNEL_HANDLE(linear_fma<32, 64>), &w);
}
