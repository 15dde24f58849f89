/* linear_tiles.cuh: what the linears on cp.async share: the order of tiles, the ring of slices, and how sums become rows of y.
 *
 * A block computes a tile of y. Slices of 64 bytes along k (32 elements of bf16, 16 of f32) come through a ring of stages:
 * rows of x first, then rows of the weight, swizzled so that no bank conflict is met on the way in or out. When the sums are
 * done the ring is free, and they go through it once more: a warp lays down strips of rows of 32 sums and picks them up as
 * pieces of rows, four columns a lane, so that whole sectors of y are written and of the residual read.
 */
#ifndef RECTO_KERNELS_LINEAR_LINEAR_TILES_CUH
#define RECTO_KERNELS_LINEAR_LINEAR_TILES_CUH

#include "kernels/linear/linear_epilogue.cuh"

#include "kernels/cuda/fragments.cuh"
#include "kernels/cuda/instructions.cuh"
#include "kernels/linear/linear_choose.h"

enum {
    TILES_SLICE  = 64,                     /* bytes along k in a stage */
    TILES_CHUNKS = TILES_SLICE / 16,
    TILES_THREADS_A_COLUMN = 2,            /* of a block */
    TILES_STRIP  = 32,                     /* sums in a row of a strip */
    TILES_GROUP  = 8                       /* tiles of rows that go through the columns together, to find the weights in cache */
};

struct linear_work {
    const char            *x, *weight;
    size_t                 x_stride, weight_stride;  /* bytes */
    int                    n, k_bytes;               /* of the weight; bytes of a row that are products */
    int                    row_tiles, column_tiles;  /* at the cap */
    struct linear_epilogue epilogue;
    struct live_rows       rows;
};

static inline struct linear_work linear_work_of(const struct cuda_launch *launch, const struct linear_args *args,
                                                struct linear_tile tile)
{
    const struct linear_weight *weight = args->weight;
    struct linear_work          w      = {};
    w.x                                = (const char *)args->x;
    w.weight                           = (const char *)weight->panels;
    w.x_stride                         = args->x_stride;
    w.weight_stride                    = kernels_cuda_weight_stride(weight->type, weight->k);
    w.n                                = weight->n;
    w.k_bytes                          = weight->k * dtype_bits(weight->type) / 8;
    w.row_tiles                        = launch_blocks(launch_rows_cap(launch), tile.rows);
    w.column_tiles                     = launch_blocks(weight->n, tile.columns);
    w.epilogue                         = linear_epilogue_of(args);
    w.rows                             = launch_live_rows(launch);
    return w;
}

/* Block to tile: down a group of tiles of rows, then the next column. */
DEVICE void linear_tile_of(const struct linear_work &w, int block, int *row_tile, int *column_tile)
{
    const int group = block / (TILES_GROUP * w.column_tiles), within = block % (TILES_GROUP * w.column_tiles);
    const int height = min((int)TILES_GROUP, w.row_tiles - group * TILES_GROUP);
    *row_tile        = group * TILES_GROUP + within % height;
    *column_tile     = within / height;
}

/* TILE rows of the slice that begins `at` bytes into them; rows from `count` on and what lies beyond k become zeros. */
template <int TILE, int THREADS>
DEVICE void linear_fetch(uint32_t shared, const char *from, size_t stride, int count, int at, int k_bytes)
{
    constexpr int EACH  = THREADS / TILES_CHUNKS;  /* rows at once: a thread has the same chunk of all its rows */
    const int     first = (int)threadIdx.x / TILES_CHUNKS, chunk = (int)threadIdx.x % TILES_CHUNKS;
    const int     left = min(max(k_bytes - at - chunk * 16, 0), 16);
    const char   *own  = row_at(from, stride, first) + at + chunk * 16;
#pragma unroll
    for (int row = 0; row < TILE; row += EACH)
        cp_async_part(shared + swizzle_64(first + row, chunk), row_at(own, stride, row), first + row < count ? left : 0);
}

/* A block's tile and the ring that its slices come through. */
struct linear_ring {
    const char *x, *weight;      /* of the tile's first row and column */
    int         row0, column0;   /* of y and of the weight */
    int         live;            /* rows of all of y */
    int         slices;
    uint32_t    base;            /* of stage 0 */
};

template <int ROWS, int COLUMNS> DEVICE struct linear_ring linear_ring_of(const struct linear_work &w, const uint8_t *shared)
{
    int row_tile, column_tile;
    linear_tile_of(w, (int)blockIdx.x, &row_tile, &column_tile);
    const int                row0 = row_tile * ROWS, column0 = column_tile * COLUMNS;
    const struct linear_ring r    = { row_at(w.x, w.x_stride, row0), row_at(w.weight, w.weight_stride, column0), row0, column0,
                                      live_count(w.rows), (w.k_bytes + TILES_SLICE - 1) / TILES_SLICE, shared_address(shared) };
    return r;
}

/* Slice s is asked for, as a group of its own; an empty one where there is none, since waits count groups. */
template <int ROWS, int COLUMNS, int STAGES>
DEVICE void linear_ring_ask(const struct linear_work &w, const struct linear_ring &r, int s)
{
    constexpr int THREADS = TILES_THREADS_A_COLUMN * COLUMNS, STAGE = (ROWS + COLUMNS) * TILES_SLICE;
    if (s < r.slices) {
        const uint32_t stage = r.base + s % STAGES * STAGE;
        linear_fetch<ROWS, THREADS>(stage, r.x, w.x_stride, r.live - r.row0, s * TILES_SLICE, w.k_bytes);
        linear_fetch<COLUMNS, THREADS>(stage + ROWS * TILES_SLICE, r.weight, w.weight_stride, w.n - r.column0, s * TILES_SLICE,
                                       w.k_bytes);
    }
    cp_async_commit();
}

/* All stages but one: the last is for the step that multiplies slice 0. */
template <int ROWS, int COLUMNS, int STAGES> DEVICE void linear_ring_begin(const struct linear_work &w, const struct linear_ring &r)
{
#pragma unroll
    for (int s = 0; s < STAGES - 1; s++)
        linear_ring_ask<ROWS, COLUMNS, STAGES>(w, r, s);
}

/* Byte offset in the ring of slice s, which is there now; x comes first. */
template <int ROWS, int COLUMNS, int STAGES>
DEVICE int linear_ring_step(const struct linear_work &w, const struct linear_ring &r, int s)
{
    cp_async_wait<STAGES - 2>();
    __syncthreads();  /* slice s is there for all, and all are done with the stage that is filled next */
    linear_ring_ask<ROWS, COLUMNS, STAGES>(w, r, s + STAGES - 1);
    return s % STAGES * ((ROWS + COLUMNS) * TILES_SLICE);
}

/* Byte offset of a sum in a strip: rows of 128 bytes, their chunks turned by the row so that four rows of two chunks each fall
 * into different banks when they are laid down, and two half rows when gates and ups are picked up. */
FRAGMENT uint32_t linear_strip_at(int row, int column)
{
    return (uint32_t)(row * TILES_STRIP * 4 + ((column / 4 ^ ((row & 1) * 4 | (row & 2))) * 16) + column % 4 * 4);
}

DEVICE float4 linear_strip_quad(const uint8_t *strip, int row, int column)
{
    return *(const float4 *)(strip + linear_strip_at(row, column));
}

/* A warp's strip of ROWS rows becomes rows of y from row0 on. column0: of the weight, where the strip begins. EXACT: functions
 * for f32 throughout. Residuals of several rows are read before the first is written: y may be the residual. */
template <int ROWS, bool EXACT>
DEVICE void linear_leave(const struct linear_work &w, const uint8_t *strip, int row0, int live, int column0)
{
    constexpr int                 TOGETHER = 4;
    const struct linear_epilogue &e        = w.epilogue;
    const bool gated = e.act == LINEAR_SILU_GATE;
    const int  lanes = gated ? LINEAR_GATE_BLOCK / 4 : TILES_STRIP / 4;  /* to a row */
    const int  step  = 32 / lanes, rows = min(ROWS, live - row0);
    const int  own = warp_lane() % lanes * 4, column = column0 + own, out = gated ? gated_column(column) : column;
    if (column >= w.n)
        return;
    const float4 bias    = linear_quad_bias(e, column);
    const float4 bias_up = gated ? linear_quad_bias(e, column + LINEAR_GATE_BLOCK) : bias;
#pragma unroll 1
    for (int first = warp_lane() / lanes; first < rows; first += TOGETHER * step) {
        float4 residual[TOGETHER];
#pragma unroll
        for (int i = 0; i < TOGETHER; i++)
            if (first + i * step < rows)
                residual[i] = linear_quad_residual(e, row0 + first + i * step, out);
#pragma unroll
        for (int i = 0; i < TOGETHER; i++) {
            const int row = first + i * step;
            if (row >= rows)
                break;
            float4 v = linear_quad_add(linear_strip_quad(strip, row, own), bias);
            if (gated)
                v = linear_quad_gated<EXACT>(v, linear_quad_add(linear_strip_quad(strip, row, own + LINEAR_GATE_BLOCK), bias_up));
            else
                v = linear_quad_activated<EXACT>(e.act, v);
            linear_quad_store(e, row0 + row, out, e.residual ? linear_quad_add(v, residual[i]) : v);
        }
    }
}

#endif
