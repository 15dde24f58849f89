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

#include "kernels/cuda/fma.cuh"
#include "kernels/linear/linear_choose.h"

/* Stages: as many as fit into 48 KiB, which every device grants two blocks of. */
FRAGMENT int fma_stages(int rows) { return rows == 128 ? 3 : 8; }

template <int ROWS, int COLUMNS>
__global__ void __launch_bounds__(TILES_THREADS_A_COLUMN * COLUMNS, 2) linear_fma(const __grid_constant__ struct linear_work w)
{
    constexpr int OWN = ROWS / 16, STAGES = fma_stages(ROWS), WARPS = TILES_THREADS_A_COLUMN * COLUMNS / 32;
    static_assert(WARPS * (ROWS / 4) * TILES_STRIP * 4 <= STAGES * (ROWS + COLUMNS) * TILES_SLICE,
                  "the strips of all warps fit into the ring");
    static_assert(STAGES * (ROWS + COLUMNS) * TILES_SLICE <= LAUNCH_SHARED_EVERYWHERE, "every device runs this kernel");
    SHARED_DYNAMIC(uint8_t, shared, 128);
    const struct linear_ring ring = linear_ring_of<ROWS, COLUMNS>(w, shared);
    if (ring.row0 >= ring.live)
        return;
    const int warp = (int)threadIdx.x / 32, row = fma_lane_row(warp_lane()), column = fma_lane_column(warp_lane());
    const int warp_row0 = warp % 4 * (ROWS / 4), warp_column0 = warp / 4 * 64;

    float sums[OWN][8] = {};
    linear_ring_begin<ROWS, COLUMNS, STAGES>(w, ring);
    for (int s = 0; s < ring.slices; s++) {
        const uint8_t *stage_x = shared + linear_ring_step<ROWS, COLUMNS, STAGES>(w, ring, s);
        const uint8_t *stage_w = stage_x + ROWS * TILES_SLICE;
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
        linear_leave<ROWS / 4, true>(w, strip, ring.row0 + warp_row0, ring.live, ring.column0 + warp_column0 + half * TILES_STRIP);
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
    shape.threads                  = TILES_THREADS_A_COLUMN * tile.columns;
    shape.shared_bytes             = fma_stages(tile.rows) * (tile.rows + tile.columns) * TILES_SLICE;
    if (variant == LINEAR_CUDA_FMA_128X128)
        KERNEL_LAUNCH(launch, shape, KERNEL_HANDLE(linear_fma<128, 128>), &w);
    KERNEL_LAUNCH(launch, shape, KERNEL_HANDLE(linear_fma<32, 64>), &w);
}
