/* attention_strips.cuh: attention of a small tile of the schedule for one head by 128 threads, with mma.sync.
 *
 * Each of the four warps has one strip of 16 query rows. Keys and values pass in tiles of 64 from the start of the sequence,
 * the next tile under way by cp.async while one is used. In a tile of short sequences the rows lie strip by strip in shared
 * memory and a warp reads the strips of its own sequence alone. Within a tile a warp goes through blocks of 16 keys, and
 * blocks without a key that it sees are left out: so a sequence meets the same operations in the same order alone and in any
 * company, and no other's numbers are ever multiplied with its own.
 *
 * Rows past the end of a sequence are zeros in shared memory, keys and values alike. A key that is not seen weighs exactly 0;
 * in causal attention an infinity in the values of a later row of the same 16 still makes a NaN of it, as 0 times infinity.
 *
 * Scores stay unscaled; scale * log2 e goes into the fused multiply-add in front of 2^x.
 */
#ifndef RECTO_KERNELS_ATTENTION_ATTENTION_STRIPS_CUH
#define RECTO_KERNELS_ATTENTION_ATTENTION_STRIPS_CUH

#include "kernels/attention/attention_schedule.cuh"
#include "kernels/cuda/fragments.cuh"
#include "kernels/cuda/instructions.cuh"

enum { STRIPS_THREADS = 32 * SCHEDULE_STRIPS, STRIPS_BLOCKS = SCHEDULE_TILE / 16 };

struct strips_work {
    const void                *q, *k, *v;
    void                      *y;
    size_t                     q_stride, k_stride, v_stride, y_stride; /* bytes */
    int                        shared_heads;                           /* query heads for each head of k and v */
    int                        head_size;
    float                      scale;                                  /* times log2 e */
    bool                       causal;
    struct attention_schedule *schedule;
};

static inline struct strips_work strips_work_of(const struct attention_args *args, void *schedule)
{
    const struct strips_work w = { args->q, args->k, args->v, args->y, args->q_stride, args->k_stride, args->v_stride,
                                   args->y_stride, args->heads / args->kv_heads, args->head_size, args->scale * 1.44269504f,
                                   args->causal, (struct attention_schedule *)schedule };
    return w;
}

/* Two tiles of head 256 do not fit beside each other on every device. */
FRAGMENT int strips_stages(int head) { return head > 128 ? 1 : 2; }
/* Queries, keys and values, and the strips behind them. */
FRAGMENT int strips_shared_bytes(int head)
{
    return (1 + 2 * strips_stages(head)) * SCHEDULE_TILE * head * 2 + SCHEDULE_STRIPS * (int)sizeof(struct schedule_strip);
}

/* All of the 128 threads; GROUPS 0: they are the block, else one of so many warpgroups, with barrier 1 + group. */
template <int GROUPS> DEVICE void strips_sync(int group)
{
    if constexpr (GROUPS == 0)
        __syncthreads();
    else if (group == 0)
        named_barrier_sync<1, STRIPS_THREADS>();
    else if (group == 1)
        named_barrier_sync<2, STRIPS_THREADS>();
    else
        named_barrier_sync<3, STRIPS_THREADS>();
}

/* Byte offset of a 16-byte chunk in a tile of rows of HEAD elements, turned so that eight rows of one chunk lie in different
 * banks whatever the length of a row. */
template <int HEAD> DEVICE uint32_t strips_place(int row, int chunk)
{
    constexpr int CHUNKS = HEAD / 8;
    const int     turn   = CHUNKS % 8 == 0 ? row & 7 : CHUNKS % 4 == 0 ? row >> 1 & 3 : row >> 2 & 1;
    return (uint32_t)((row * CHUNKS + (chunk ^ turn)) * 16);
}

template <class T> DEVICE uint32_t packed_pair(float a, float b)
{
    uint32_t bits;
    if constexpr (element_is_bf16<T>) {
        const __nv_bfloat162 pair = __floats2bfloat162_rn(a, b);
        memcpy(&bits, &pair, 4);
    } else {
        const __half2 pair = __floats2half2_rn(a, b);
        memcpy(&bits, &pair, 4);
    }
    return bits;
}

DEVICE int strips_thread() { return (int)threadIdx.x % STRIPS_THREADS; }

/* The strips of a tile, as they are, into shared memory. */
template <class T, int HEAD>
DEVICE void strips_fetch(uint32_t shared, const T *from, size_t stride, const struct schedule_strip *strips, int head_size)
{
#pragma unroll 2 /* more addresses at once would not find registers beside the sums */
    for (int i = 0; i < SCHEDULE_TILE * HEAD / 8 / STRIPS_THREADS; i++) {
        const int  piece = i * STRIPS_THREADS + strips_thread(), slot = piece / (HEAD / 8), chunk = piece % (HEAD / 8);
        const int  row = slot % SCHEDULE_STRIP, strip = slot / SCHEDULE_STRIP;
        const bool valid = row < strips[strip].rows && chunk * 8 < head_size;
        cp_async<16>(shared + strips_place<HEAD>(slot, chunk),
                     valid ? row_at(from, stride, strips[strip].row + row) + chunk * 8 : from, valid);
    }
}

/* The rows of one sequence from `row` on, as far as there are `count`. */
template <class T, int HEAD>
DEVICE void strips_fetch_rows(uint32_t shared, const T *from, size_t stride, int row, int count, int head_size)
{
#pragma unroll 2 /* more addresses at once would not find registers beside the sums */
    for (int i = 0; i < SCHEDULE_TILE * HEAD / 8 / STRIPS_THREADS; i++) {
        const int  piece = i * STRIPS_THREADS + strips_thread(), slot = piece / (HEAD / 8), chunk = piece % (HEAD / 8);
        const bool valid = slot < count && chunk * 8 < head_size;
        cp_async<16>(shared + strips_place<HEAD>(slot, chunk), valid ? row_at(from, stride, row + slot) + chunk * 8 : from, valid);
    }
}

/* Where ldmatrix reads a 16 x 16 block: of queries or, transposed, of values; of keys. */
template <int HEAD> DEVICE uint32_t strips_block_a(uint32_t tile, int row, int column16)
{
    return tile + strips_place<HEAD>(row + ldmatrix_a_row(warp_lane()), column16 * 2 + ldmatrix_a_column(warp_lane()) / 8);
}
template <int HEAD> DEVICE uint32_t strips_block_b(uint32_t tile, int row, int column16)
{
    return tile + strips_place<HEAD>(row + ldmatrix_b_row(warp_lane()), column16 * 2 + ldmatrix_b_column(warp_lane()) / 8);
}

/* `shared`: strips_shared_bytes(HEAD), aligned to 128. */
template <class T, int HEAD, int GROUPS>
DEVICE void attention_strips(const struct strips_work &w, int tile, int head, uint8_t *shared, int group)
{
    constexpr int  STAGES = strips_stages(HEAD);
    constexpr bool HELD   = HEAD <= 128 && GROUPS == 0;  /* queries stay in registers; beside warpgroups there are too few */
    constexpr int  TILE   = SCHEDULE_TILE * HEAD * 2;
    const int      warp = strips_thread() / 32, lane = warp_lane();
    const uint32_t queries = shared_address(shared), keys = queries + TILE, values = keys + STAGES * TILE;
    const T       *q = (const T *)w.q + head * w.head_size;
    const int      kv_column = head / w.shared_heads * w.head_size;
    const T       *k = (const T *)w.k + kv_column, *v = (const T *)w.v + kv_column;

    struct schedule_strip *strips = (struct schedule_strip *)(shared + (1 + 2 * STAGES) * TILE);
    if (strips_thread() < SCHEDULE_STRIPS)
        strips[strips_thread()] = schedule_small_tiles(w.schedule)[tile].strips[strips_thread()];
    strips_sync<GROUPS>(group);  /* the strips are known to all */
    const struct schedule_strip strip = strips[warp], front = strips[0];
    const bool packed = front.length <= SCHEDULE_PACKED;
    const int  place  = strip.row - strip.start;  /* of the strip in its sequence */
    const int  slot0  = packed ? (warp - place / SCHEDULE_STRIP) * SCHEDULE_STRIP : 0;  /* of its sequence's first key */
    /* keys that some row of the strip, of the tile sees */
    const int seen      = strip.rows == 0 ? 0 : w.causal ? place + strip.rows : strip.length;
    const int tile_seen = packed     ? SCHEDULE_TILE
                          : w.causal ? min(front.length, front.row - front.start + SCHEDULE_TILE)
                                     : front.length;
    const int tiles     = (tile_seen + SCHEDULE_TILE - 1) / SCHEDULE_TILE;

    strips_fetch<T, HEAD>(queries, q, w.q_stride, strips, w.head_size);
    if (packed) {
        strips_fetch<T, HEAD>(keys, k, w.k_stride, strips, w.head_size);
        strips_fetch<T, HEAD>(values, v, w.v_stride, strips, w.head_size);
    } else {
        strips_fetch_rows<T, HEAD>(keys, k, w.k_stride, front.start, front.length, w.head_size);
        strips_fetch_rows<T, HEAD>(values, v, w.v_stride, front.start, front.length, w.head_size);
    }
    cp_async_commit();

    uint32_t held[HELD ? HEAD / 16 : 1][4];
    float    y[HEAD / 8][4] = {};
    float    most[2] = { -INFINITY, -INFINITY }, sum[2] = { 0.0f, 0.0f };
    for (int t = 0; t < tiles; t++) {
        const int stage = t % STAGES, key0 = t * SCHEDULE_TILE, next = front.start + key0 + SCHEDULE_TILE;
        const int after = front.length - key0 - SCHEDULE_TILE;  /* keys beyond this tile */
        if (STAGES == 2 && t + 1 < tiles) {
            strips_fetch_rows<T, HEAD>(keys + (stage ^ 1) * TILE, k, w.k_stride, next, after, w.head_size);
            strips_fetch_rows<T, HEAD>(values + (stage ^ 1) * TILE, v, w.v_stride, next, after, w.head_size);
            cp_async_commit();
            cp_async_wait<1>();
        } else {
            cp_async_wait<0>();
        }
        strips_sync<GROUPS>(group);  /* this tile, and the queries, are there for all */
        if (HELD && t == 0)
#pragma unroll
            for (int step = 0; step < HEAD / 16; step++)
                ldmatrix_x4(held[HELD ? step : 0], strips_block_a<HEAD>(queries, warp * 16, step));

        const int      blocks = min((int)STRIPS_BLOCKS, (seen - key0 + 15) / 16);  /* of 16 keys, that the strip sees */
        const uint32_t tile_k = keys + stage * TILE, tile_v = values + stage * TILE;
        float          s[STRIPS_BLOCKS][2][4];
        float          rise[2] = { most[0], most[1] };
#pragma unroll
        for (int j = 0; j < STRIPS_BLOCKS; j++) {
            if (j >= blocks)
                continue;
#pragma unroll
            for (int i = 0; i < 4; i++)
                s[j][0][i] = s[j][1][i] = 0.0f;
#pragma unroll(HELD ? HEAD / 16 : 2)  /* fewer addresses at once, where queries are not held for want of registers */
            for (int step = 0; step < HEAD / 16; step++) {
                uint32_t b[4], read[4];
                ldmatrix_x4(b, strips_block_b<HEAD>(tile_k, slot0 + j * 16, step));
                if (!HELD)
                    ldmatrix_x4(read, strips_block_a<HEAD>(queries, warp * 16, step));
                mma_m16n8k16<T>(s[j][0], HELD ? held[HELD ? step : 0] : read, b[0], b[1]);
                mma_m16n8k16<T>(s[j][1], HELD ? held[HELD ? step : 0] : read, b[2], b[3]);
            }
            const int  block0 = key0 + j * 16;
            const bool edge   = block0 + 16 > strip.length || (w.causal && block0 + 16 > place);
#pragma unroll
            for (int n = 0; n < 2; n++)
#pragma unroll
                for (int i = 0; i < 4; i++) {
                    if (edge) {
                        const int key = block0 + n * 8 + fragment_c_column(lane, i), row = place + fragment_c_row(lane, i);
                        if (key >= strip.length || (w.causal && key > row))
                            s[j][n][i] = -INFINITY;
                    }
                    rise[i >> 1] = fmaxf(rise[i >> 1], s[j][n][i]);
                }
        }
        if (blocks > 0) {
            float base[2], fade[2], part[2] = { 0.0f, 0.0f };
#pragma unroll
            for (int r = 0; r < 2; r++) {
                rise[r] = fmaxf(rise[r], __shfl_xor_sync(0xffffffffu, rise[r], 1));
                rise[r] = fmaxf(rise[r], __shfl_xor_sync(0xffffffffu, rise[r], 2));
                fade[r] = exp2_approximate((most[r] - rise[r]) * w.scale);
                base[r] = rise[r] * w.scale;
                most[r] = rise[r];
            }
#pragma unroll
            for (int n = 0; n < HEAD / 8; n++)
#pragma unroll
                for (int i = 0; i < 4; i++)
                    y[n][i] *= fade[i >> 1];
#pragma unroll
            for (int j = 0; j < STRIPS_BLOCKS; j++) {
                if (j >= blocks)
                    continue;
                uint32_t weights[4];
#pragma unroll
                for (int n = 0; n < 2; n++) {
#pragma unroll
                    for (int i = 0; i < 4; i++) {
                        s[j][n][i] = exp2_approximate(fmaf(s[j][n][i], w.scale, -base[i >> 1]));
                        part[i >> 1] += s[j][n][i];
                    }
                    weights[2 * n]     = packed_pair<T>(s[j][n][0], s[j][n][1]);
                    weights[2 * n + 1] = packed_pair<T>(s[j][n][2], s[j][n][3]);
                }
#pragma unroll
                for (int n = 0; n < HEAD / 16; n++) {
                    uint32_t b[4];
                    ldmatrix_x4_trans(b, strips_block_a<HEAD>(tile_v, slot0 + j * 16, n));
                    mma_m16n8k16<T>(y[2 * n], weights, b[0], b[1]);
                    mma_m16n8k16<T>(y[2 * n + 1], weights, b[2], b[3]);
                }
            }
#pragma unroll
            for (int r = 0; r < 2; r++)
                sum[r] = fmaf(sum[r], fade[r], part[r]);
        }
        if (t + 1 < tiles)
            strips_sync<GROUPS>(group);  /* all are done with this stage, which is filled next */
        if (STAGES == 1 && t + 1 < tiles) {
            strips_fetch_rows<T, HEAD>(keys, k, w.k_stride, next, after, w.head_size);
            strips_fetch_rows<T, HEAD>(values, v, w.v_stride, next, after, w.head_size);
            cp_async_commit();
        }
    }

    /* Through the strip's own queries in shared memory, so that rows leave in whole 16-byte chunks. */
    __syncwarp();  /* all lanes have read them */
#pragma unroll
    for (int r = 0; r < 2; r++) {
        sum[r] += __shfl_xor_sync(0xffffffffu, sum[r], 1);
        sum[r] += __shfl_xor_sync(0xffffffffu, sum[r], 2);
        const float inverse = 1.0f / sum[r];
#pragma unroll
        for (int n = 0; n < HEAD / 8; n++) {
            const uint32_t at = strips_place<HEAD>(warp * 16 + fragment_c_row(lane, 2 * r), n) +
                                (uint32_t)fragment_c_column(lane, 0) * 2;
            *(uint32_t *)(shared + at) = packed_pair<T>(y[n][2 * r] * inverse, y[n][2 * r + 1] * inverse);
        }
    }
    __syncwarp();  /* the strip is whole */
    T *out = (T *)w.y + head * w.head_size;
    for (int piece = lane; piece < strip.rows * (HEAD / 8); piece += 32) {
        const int row = piece / (HEAD / 8), chunk = piece % (HEAD / 8);
        if (chunk * 8 < w.head_size)
            *(uint4 *)(row_at(out, w.y_stride, strip.row + row) + chunk * 8) =
                *(const uint4 *)(shared + strips_place<HEAD>(warp * 16 + row, chunk));
    }
    if (GROUPS > 0)
        strips_sync<GROUPS>(group);  /* this memory is free for the next tile */
}

#endif
