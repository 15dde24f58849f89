/* attention.h in f32 on a GPU, on CUDA cores: a small tile of the schedule for one head by 128 threads.
 *
 * Each of the four warps has one strip of 16 query rows, a lane four neighbouring rows of them. Keys and values pass in tiles of
 * 64 from the start of the sequence, each tile in pieces of 32 columns, first those of the keys, then those of the values; the
 * next piece is under way by cp.async while one is used. For the scores a lane has every eighth key, for the results every
 * eighth quad of columns; between the two, weights go through shared memory. Strips, packed tiles and blocks of 16 keys that are
 * left out are those of attention_strips.cuh.
 *
 * A score is one chain of fused multiply-adds along the head, as on a CPU, a result one along the keys of a tile after the other.
 * With M, S and w as in attention.h, but tiles of 64 keys: c * dot - M' is rounded once, and the sum of w is taken in eight lanes.
 *
 * Rows past the end of a sequence are zeros in shared memory. Scores of keys that are not seen are replaced, so that they weigh
 * exactly 0; and since 0 times infinity is no number, values of the rows after a causal one are not multiplied at all.
 */
#include "kernels/attention/attention_strips.cuh"
#include "kernels/cuda/fma.cuh"

enum fma_operand { FMA_QUERIES, FMA_KEYS, FMA_VALUES };

enum {
    FMA_COLUMNS = 32,                    /* of a piece */
    FMA_CHUNKS  = FMA_COLUMNS / 4,
    FMA_ROW     = FMA_COLUMNS * 4,       /* bytes */
    FMA_PIECE   = SCHEDULE_TILE * FMA_ROW,
    FMA_EIGHT   = 8 * FMA_ROW,           /* from a lane's key to its next */
    FMA_QUERY   = FMA_PIECE + SCHEDULE_TILE / 4 * 16,
    FMA_WEIGHTS = SCHEDULE_TILE * SCHEDULE_STRIP * 4  /* of a warp */
};

/* The rows of 16 slots: the first, and the one before which they end. */
struct fma_rows {
    int32_t first, end;
};

struct fma_facts {
    struct strips_facts strips;
    struct fma_rows     queries[SCHEDULE_STRIPS], keys[SCHEDULE_STRIPS];  /* keys of the first tile */
};

FRAGMENT int fma_shared_bytes(int head)
{
    return head / FMA_COLUMNS * FMA_QUERY + 2 * FMA_PIECE + SCHEDULE_STRIPS * FMA_WEIGHTS + (int)sizeof(struct fma_facts);
}

static_assert(fma_shared_bytes(ATTENTION_MOST_HEAD) <= LAUNCH_SHARED_EVERYWHERE, "every device runs this kernel");

/* Byte offset in a piece. Lanes read from four rows of queries four apart, from eight neighbouring keys, along one row of values:
 * from different banks when four rows of queries end in a gap, and chunks of keys are turned. */
template <enum fma_operand OF> DEVICE uint32_t fma_place(int slot, int chunk)
{
    return OF == FMA_KEYS ? swizzle_128(slot, chunk)
                          : (uint32_t)(slot * FMA_ROW + chunk * 16 + (OF == FMA_QUERIES ? slot / 4 * 16 : 0));
}

/* Where the weights of a key for a lane's four rows are; those of any four neighbouring keys lie in different banks. */
DEVICE uint32_t fma_weight_place(int key, int lane_row)
{
    return (uint32_t)(key * SCHEDULE_STRIP * 4 + (lane_row ^ (key & 2)) * 16);
}

/* Columns from `column0` on of a tile's rows, `shift` rows further than `rows`. QUADS: all rows are aligned to 16 bytes. */
template <enum fma_operand OF, bool QUADS>
DEVICE void fma_fetch(uint32_t shared, const float *from, size_t stride, const struct fma_rows *rows, int shift, int column0,
                      int head_size)
{
    constexpr int EACH = QUADS ? 4 : 1, ACROSS = FMA_COLUMNS / EACH, DOWN = STRIPS_THREADS / ACROSS;
    const int     own = strips_thread() % ACROSS * EACH, down = strips_thread() / ACROSS, column = column0 + own;
    const char   *base = (const char *)(from + column);
#pragma unroll(QUADS ? SCHEDULE_TILE / DOWN : 2)
    for (int i = 0; i < SCHEDULE_TILE / DOWN; i++) {
        const int             slot = i * DOWN + down;
        const struct fma_rows of   = rows[i * DOWN / SCHEDULE_STRIP];
        const int             row  = of.first + shift + i * DOWN % SCHEDULE_STRIP + down;
        cp_async<4 * EACH>(shared + fma_place<OF>(slot, own / 4) + (uint32_t)(own % 4 * 4), base + (uint32_t)row * stride,
                           row < of.end && column < head_size);
    }
}

/* The strips and rows of the tile, by the first threads. */
DEVICE void fma_look(const struct strips_work &w, struct fma_facts *facts)
{
    if (strips_thread() < SCHEDULE_STRIPS) {
        const struct schedule_strip *strips = schedule_small_tiles(w.schedule)[blockIdx.x].strips;
        const struct schedule_strip  strip  = strips[strips_thread()], front = strips[0];
        const struct fma_rows        own    = { strip.row, strip.row + strip.rows };
        const struct fma_rows        walked = { front.start + strips_thread() * SCHEDULE_STRIP, front.start + front.length };
        facts->strips.strips[strips_thread()] = strip;
        facts->queries[strips_thread()]       = own;
        facts->keys[strips_thread()]          = front.length <= SCHEDULE_PACKED ? own : walked;
    }
    __syncthreads();  /* they are known to all */
}

/* Adds a piece's part of the scores of COUNT keys of the lane, from its `first` on; CHUNKS of the piece at once. */
template <int COUNT, int CHUNKS>
DEVICE void fma_scores(float (&s)[4][8], int first, const uint8_t *queries, const uint8_t *keys)
{
#pragma unroll(CHUNKS)
    for (int chunk = 0; chunk < FMA_CHUNKS; chunk++) {
        const uint8_t *own = keys + fma_place<FMA_KEYS>(fma_lane_column(warp_lane()), chunk);
        float4         b[COUNT];
#pragma unroll
        for (int j = 0; j < COUNT; j++)
            b[j] = *(const float4 *)(own + (first + j) * FMA_EIGHT);
#pragma unroll
        for (int i = 0; i < 4; i++) {
            const float4 a = *(const float4 *)(queries + i * FMA_ROW + chunk * 16);
#pragma unroll
            for (int j = 0; j < COUNT; j++)
                s[i][first + j] = fma_chain(a, b[j], s[i][first + j]);
        }
    }
}

/* Adds a piece's values, weighed, to four columns of the lane's rows. LATER: its first row sees the keys before `seen`, each
 * further one another key. */
template <bool LATER>
DEVICE void fma_values(float (&y)[4][4], const uint8_t *weights, const uint8_t *values, int keys, int seen)
{
    constexpr int TOGETHER = LATER ? 8 : 16;
    const int     lane_row = fma_lane_row(warp_lane());
#pragma unroll 1
    for (int key0 = 0; key0 < keys; key0 += TOGETHER)
#pragma unroll
        for (int j = 0; j < TOGETHER; j++) {
            const float4 w     = *(const float4 *)(weights + key0 * SCHEDULE_STRIP * 4 + fma_weight_place(j, lane_row));
            const float4 v     = *(const float4 *)(values + (key0 + j) * FMA_ROW);
            const float  of[4] = { w.x, w.y, w.z, w.w };
#pragma unroll
            for (int i = 0; i < 4; i++) {
                if (LATER && key0 + j >= seen + i)
                    continue;
                y[i][0] = fmaf(of[i], v.x, y[i][0]);
                y[i][1] = fmaf(of[i], v.y, y[i][1]);
                y[i][2] = fmaf(of[i], v.z, y[i][2]);
                y[i][3] = fmaf(of[i], v.w, y[i][3]);
            }
        }
}

/* What a lane knows of its four rows: the greatest score, scaled, and its own part of the weights' sum. */
struct fma_softmax {
    float most[4], sum[4];
};

/* Over the lanes that have the same rows. */
DEVICE float fma_row_max(float v)
{
    v = fmaxf(v, __shfl_xor_sync(0xffffffffu, v, 1));
    v = fmaxf(v, __shfl_xor_sync(0xffffffffu, v, 4));
    return fmaxf(v, __shfl_xor_sync(0xffffffffu, v, 8));
}
DEVICE float fma_row_sum(float v)
{
    v += __shfl_xor_sync(0xffffffffu, v, 1);
    v += __shfl_xor_sync(0xffffffffu, v, 4);
    return v + __shfl_xor_sync(0xffffffffu, v, 8);
}

/* The lane's first row sees the tile's keys before `seen`, each further one `further` more. */
DEVICE void fma_hide(float (&s)[4][8], int seen, int further)
{
#pragma unroll
    for (int i = 0; i < 4; i++)
#pragma unroll
        for (int j = 0; j < 8; j++)
            if (j * 8 + fma_lane_column(warp_lane()) >= seen + i * further)
                s[i][j] = -INFINITY;
}

/* Scores become weights, which are left for the whole warp, and the results so far fade. */
template <int PIECES>
DEVICE void fma_weigh(struct fma_softmax *of, float (&s)[4][8], float (&y)[PIECES][4][4], float scale, uint8_t *weights)
{
    const int lane_row = fma_lane_row(warp_lane()), lane_column = fma_lane_column(warp_lane());
#pragma unroll
    for (int i = 0; i < 4; i++) {
        float most = s[i][0];
#pragma unroll
        for (int j = 1; j < 8; j++)
            most = fmaxf(most, s[i][j]);
        const float rise = fmaxf(of->most[i], fma_row_max(most) * scale), fade = exp2_approximate(of->most[i] - rise);
        float       part = 0.0f;
#pragma unroll
        for (int j = 0; j < 8; j++) {
            s[i][j] = exp2_approximate(fmaf(s[i][j], scale, -rise));
            part += s[i][j];
        }
        of->most[i] = rise;
        of->sum[i]  = fmaf(of->sum[i], fade, part);
#pragma unroll
        for (int piece = 0; piece < PIECES; piece++)
#pragma unroll
            for (int c = 0; c < 4; c++)
                y[piece][i][c] *= fade;
    }
#pragma unroll
    for (int j = 0; j < 8; j++) {
        const float4 column = { s[0][j], s[1][j], s[2][j], s[3][j] };
        *(float4 *)(weights + j * 8 * SCHEDULE_STRIP * 4 + fma_weight_place(lane_column, lane_row)) = column;
    }
}

/* Four columns of a row. */
template <bool QUADS> DEVICE void fma_leave(float *to, const float (&y)[4], float inverse, int columns)
{
    if (QUADS && columns > 0) {
        const float4 quad = { y[0] * inverse, y[1] * inverse, y[2] * inverse, y[3] * inverse };
        *(float4 *)to     = quad;
    }
#pragma unroll
    for (int i = 0; i < 4; i++)
        if (!QUADS && i < columns)
            to[i] = y[i] * inverse;
}

/* Blocks of a multiprocessor that registers are shared out for; one more of them would spill. */
FRAGMENT int fma_blocks(int head) { return head <= 64 ? 3 : head <= 128 ? 2 : 1; }

template <int HEAD, bool QUADS>
__global__ void __launch_bounds__(STRIPS_THREADS, fma_blocks(HEAD)) attention_fma(const __grid_constant__ struct strips_work w)
{
    constexpr int  PIECES = HEAD / FMA_COLUMNS;
    constexpr bool ALL    = HEAD <= 128;  /* there are registers for the keys of all blocks at once */
    SHARED_DYNAMIC(uint8_t, shared, 128);
    if ((int)blockIdx.x >= w.schedule->small)
        return;
    const int      warp = strips_thread() / 32, lane_row = fma_lane_row(warp_lane()), lane_column = fma_lane_column(warp_lane());
    const int      head = (int)blockIdx.y, kv_column = head / w.shared_heads * w.head_size;
    const float   *k = (const float *)w.k + kv_column, *v = (const float *)w.v + kv_column;
    uint8_t       *ring = shared + PIECES * FMA_QUERY, *weights = ring + 2 * FMA_PIECE + warp * FMA_WEIGHTS;
    const uint32_t stages = shared_address(ring);
    struct fma_facts *facts = (struct fma_facts *)(ring + 2 * FMA_PIECE + SCHEDULE_STRIPS * FMA_WEIGHTS);
    fma_look(w, facts);
    const struct strips_view view = strips_look(w, &facts->strips);

#pragma unroll 1
    for (int piece = 0; piece < PIECES; piece++)
        fma_fetch<FMA_QUERIES, QUADS>(shared_address(shared) + piece * FMA_QUERY, (const float *)w.q + head * w.head_size,
                                      w.q_stride, facts->queries, 0, piece * FMA_COLUMNS, w.head_size);
    fma_fetch<FMA_KEYS, QUADS>(stages, k, w.k_stride, facts->keys, 0, 0, w.head_size);
    cp_async_commit();

    const uint8_t *own_queries = shared + fma_place<FMA_QUERIES>(warp * SCHEDULE_STRIP + lane_row * 4, 0);
    const uint8_t *own_keys    = ring + view.slot0 * FMA_ROW, *own_values = own_keys + lane_column * 16;
    /* Keys that the strip's first row sees, and the lane's. */
    const int          first_seen = w.causal ? view.place + 1 : view.strip.length;
    const int          seen       = first_seen + (w.causal ? lane_row * 4 : 0);
    float              y[PIECES][4][4] = {};
    struct fma_softmax softmax         = {};
#pragma unroll
    for (int i = 0; i < 4; i++)
        softmax.most[i] = -INFINITY;
    for (int t = 0; t < view.tiles; t++) {
        const int  key0   = t * SCHEDULE_TILE;
        const int  blocks = min((int)STRIPS_BLOCKS, (view.seen - key0 + 15) / 16);  /* of 16 keys, that the strip sees */
        const bool later  = w.causal && t + 1 == view.tiles;                       /* the keys are the tile's own rows */
        float      s[4][8] = {};
#pragma unroll 1
        for (int piece = 0; piece < PIECES; piece++) {
            cp_async_wait<0>();
            __syncthreads();  /* this piece is there for all, and all are done with the one before it, whose place is taken next */
            const uint32_t next = stages + (piece + 1) % 2 * FMA_PIECE;
            if (piece + 1 < PIECES)
                fma_fetch<FMA_KEYS, QUADS>(next, k, w.k_stride, facts->keys, key0, (piece + 1) * FMA_COLUMNS, w.head_size);
            else
                fma_fetch<FMA_VALUES, QUADS>(next, v, w.v_stride, facts->keys, key0, 0, w.head_size);
            cp_async_commit();
            const uint8_t *queries = own_queries + piece * FMA_QUERY, *keys = own_keys + piece % 2 * FMA_PIECE;
            if (ALL && blocks == STRIPS_BLOCKS)
                fma_scores<8, 2>(s, 0, queries, keys);
            else
#pragma unroll
                for (int block = 0; block < (ALL ? STRIPS_BLOCKS - 1 : STRIPS_BLOCKS); block++)
                    if (block < blocks)
                        fma_scores<2, ALL ? 2 : 1>(s, 2 * block, queries, keys);
        }
        if (blocks > 0) {
            if (key0 + SCHEDULE_TILE > first_seen)
                fma_hide(s, seen - key0, w.causal);
            fma_weigh(&softmax, s, y, w.scale, weights);
        }
#pragma unroll
        for (int piece = 0; piece < PIECES; piece++) {
            cp_async_wait<0>();
            __syncthreads();  /* as above; and the warp's weights are there for all its lanes */
            const uint32_t next = stages + (PIECES + piece + 1) % 2 * FMA_PIECE;
            if (piece + 1 < PIECES)
                fma_fetch<FMA_VALUES, QUADS>(next, v, w.v_stride, facts->keys, key0, (piece + 1) * FMA_COLUMNS, w.head_size);
            else if (t + 1 < view.tiles)
                fma_fetch<FMA_KEYS, QUADS>(next, k, w.k_stride, facts->keys, key0 + SCHEDULE_TILE, 0, w.head_size);
            cp_async_commit();
            const uint8_t *values = own_values + (PIECES + piece) % 2 * FMA_PIECE;
            if (later)
                fma_values<true>(y[piece], weights, values, blocks * 16, seen - key0);
            else
                fma_values<false>(y[piece], weights, values, blocks * 16, 0);
        }
    }

    float *out = (float *)w.y + head * w.head_size + lane_column * 4;
#pragma unroll
    for (int i = 0; i < 4; i++) {
        const float inverse = 1.0f / fma_row_sum(softmax.sum[i]);
        const int   row     = lane_row * 4 + i;
        if (row >= view.strip.rows)
            continue;
#pragma unroll
        for (int piece = 0; piece < PIECES; piece++)
            fma_leave<QUADS>(row_at(out, w.y_stride, view.strip.row + row) + piece * FMA_COLUMNS, y[piece][i], inverse,
                             w.head_size - piece * FMA_COLUMNS - lane_column * 4);
    }
}

static const void *attention_fma_handle(int head)
{
    switch (head) {
    case 32: return KERNEL_HANDLE(attention_fma<32, true>);
    case 64: return KERNEL_HANDLE(attention_fma<64, true>);
    case 96: return KERNEL_HANDLE(attention_fma<96, true>);
    case 128: return KERNEL_HANDLE(attention_fma<128, true>);
    default: return KERNEL_HANDLE(attention_fma<256, true>);
    }
}

extern "C" cudaError_t attention_f32_cuda(const struct cuda_launch *launch, const struct attention_args *args, void *schedule)
{
    if (!attention_valid(args, 4) || !launch_aligned(schedule, 0, 16) || !schedule)
        return cudaErrorInvalidValue;
    if (args->type != DTYPE_F32 || args->y_type != DTYPE_F32 || args->head_size > ATTENTION_MOST_HEAD)
        return cudaErrorNotSupported;
    /* Where rows are not aligned to 16 bytes, one kernel serves all sizes. */
    const bool               quads = attention_valid(args, 16) && args->head_size % 4 == 0;
    const int                head  = quads ? attention_cuda_choose(launch->facts, args).head : ATTENTION_MOST_HEAD;
    const struct strips_work w     = strips_work_of(args, schedule);
    struct kernel_shape      shape = attention_shape(launch, args, "attention_f32");
    shape.grid                     = dim3((unsigned)schedule_room(launch), (unsigned)args->heads);
    shape.threads                  = STRIPS_THREADS;
    shape.shared_bytes             = fma_shared_bytes(head);
    KERNEL_LAUNCH(launch, shape, quads ? attention_fma_handle(head) : KERNEL_HANDLE(attention_fma<ATTENTION_MOST_HEAD, false>), &w);
}
