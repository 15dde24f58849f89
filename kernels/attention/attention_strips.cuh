/* attention_strips.cuh: attention of a small tile of the schedule for one head by 128 threads, with mma.sync.
 *
 * Each of the four warps has one strip of 16 query rows. Keys and values pass in tiles of 64 from the start of the sequence,
 * the next tile under way by cp.async while one is used. In a tile of short sequences the rows lie strip by strip in shared
 * memory and a warp reads the strips of its own sequence alone. Within a tile a warp goes through blocks of 16 keys, and
 * blocks without a key that it sees are left out: so a sequence meets the same operations in the same order alone and in any
 * company, and no other's numbers are ever multiplied with its own.
 *
 * Rows past the end of a sequence are zeros in shared memory, keys and values alike. Scores of keys that are not seen are
 * replaced, so that they weigh exactly 0. In causal attention the keys of the last tile are the tile's own rows: there each
 * warp clears what is no finite number from the values of its own 16 (attention_infinite.cuh).
 *
 * Scores stay unscaled; scale * log2 e goes into the fused multiply-add in front of 2^x.
 */
#ifndef RECTO_KERNELS_ATTENTION_ATTENTION_STRIPS_CUH
#define RECTO_KERNELS_ATTENTION_ATTENTION_STRIPS_CUH

#include "kernels/attention/attention_infinite.cuh"
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
/* What lies behind queries, keys and values. */
struct strips_facts {
    struct schedule_strip strips[SCHEDULE_STRIPS];
    int32_t               infinite[SCHEDULE_STRIPS];  /* whether a strip's values were cleared */
};
FRAGMENT int strips_shared_bytes(int head)
{
    return (1 + 2 * strips_stages(head)) * SCHEDULE_TILE * head * 2 + (int)sizeof(struct strips_facts);
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

/* A tile as one warp sees it. */
struct strips_view {
    struct schedule_strip strip, front;  /* the warp's own, the tile's first */
    bool                  packed;        /* short sequences, each whole in this tile */
    int                   place;         /* of the strip in its sequence */
    int                   slot0;         /* of its sequence's first key */
    int                   seen, tiles;   /* keys that some row of the strip sees; tiles of keys that some row of the tile sees */
};

DEVICE struct strips_view strips_look(const struct strips_work &w, const struct strips_facts *facts)
{
    const int          warp = strips_thread() / 32;
    struct strips_view view;
    view.strip      = facts->strips[warp];
    view.front      = facts->strips[0];
    view.packed     = view.front.length <= SCHEDULE_PACKED;
    view.place      = view.strip.row - view.strip.start;
    view.slot0      = view.packed ? (warp - view.place / SCHEDULE_STRIP) * SCHEDULE_STRIP : 0;
    view.seen       = view.strip.rows == 0 ? 0 : w.causal ? view.place + view.strip.rows : view.strip.length;
    const int front = view.packed ? SCHEDULE_TILE
                      : w.causal  ? min(view.front.length, view.front.row - view.front.start + SCHEDULE_TILE)
                                  : view.front.length;
    view.tiles      = (front + SCHEDULE_TILE - 1) / SCHEDULE_TILE;
    return view;
}

/* Queries stay in registers; beside warpgroups, and in heads of 256, there are too few. */
FRAGMENT bool strips_held(int head, int groups) { return head <= 128 && groups == 0; }

/* Values of the warp's own 16 rows lose what is no finite number. */
template <class T, int HEAD, int GROUPS> DEVICE void strips_clear(uint8_t *values, struct strips_facts *facts, int group)
{
    const int warp  = strips_thread() / 32;
    bool      found = false;
#pragma unroll 1 /* seldom, and short: not worth the registers of more */
    for (int piece = warp_lane(); piece < SCHEDULE_STRIP * HEAD / 8; piece += 32)
        found |= infinite_clear<T>(values + warp * SCHEDULE_STRIP * HEAD * 2 + piece * 16);
    found = __any_sync(0xffffffffu, found);
    if (warp_lane() == 0)
        facts->infinite[warp] = found;
    strips_sync<GROUPS>(group);  /* values and facts are what they stay */
}

/* Whether any of the tile's did. */
DEVICE bool strips_infinite(const struct strips_facts *facts)
{
    return facts->infinite[0] | facts->infinite[1] | facts->infinite[2] | facts->infinite[3];
}

/* Adds what was cleared, of keys of the sequence from `first_key` on, to the results of the rows that see it. `results`: the
 * strip's, columns from `first` on of its head. */
template <class T, int COLUMNS>
DEVICE void strips_restore(const struct strips_work &w, const struct schedule_strip &strip, uint8_t *results, int head, int first,
                           int first_key)
{
    const uint16_t *v = (const uint16_t *)w.v + head / w.shared_heads * w.head_size + first;
    const int       columns = min(COLUMNS, w.head_size - first);
    for (int i = warp_lane(); i < strip.rows * columns; i += 32) {
        const int row = i / columns, column = i % columns;
        float     sum = 0.0f;
        for (int key = strip.start + first_key; key <= strip.row + row; key++)
            sum += infinite_part<T>(row_at(v, w.v_stride, key)[column]);
        uint16_t *y = (uint16_t *)(results + strips_place<COLUMNS>(row, column / 8)) + column % 8;
        if (sum != 0.0f)
            *y = (uint16_t)packed_pair<T>(sum + infinite_part<T>(*y), 0.0f);
    }
    __syncwarp();  /* the rows are whole again */
}

/* Results leave in whole 16-byte chunks, columns from `first` on of their head. */
template <class T, int COLUMNS>
DEVICE void strips_leave(const struct strips_work &w, const struct schedule_strip &strip, const uint8_t *results, int head,
                         int first)
{
    T *out = (T *)w.y + head * w.head_size + first;
    for (int piece = warp_lane(); piece < strip.rows * (COLUMNS / 8); piece += 32) {
        const int row = piece / (COLUMNS / 8), chunk = piece % (COLUMNS / 8);
        if (first + chunk * 8 < w.head_size)
            *(uint4 *)(row_at(out, w.y_stride, strip.row + row) + chunk * 8) =
                *(const uint4 *)(results + strips_place<COLUMNS>(row, chunk));
    }
}

/* A strip's results, into the place of its own queries. */
template <class T, int HEAD> DEVICE void strips_store(const float (&y)[HEAD / 8][4], float (&sum)[2], uint8_t *results)
{
    const int lane = warp_lane();
    __syncwarp();  /* all lanes have read the queries */
#pragma unroll
    for (int r = 0; r < 2; r++) {
        sum[r] += __shfl_xor_sync(0xffffffffu, sum[r], 1);
        sum[r] += __shfl_xor_sync(0xffffffffu, sum[r], 2);
        const float inverse = 1.0f / sum[r];
#pragma unroll
        for (int n = 0; n < HEAD / 8; n++) {
            const uint32_t at = strips_place<HEAD>(fragment_c_row(lane, 2 * r), n) + (uint32_t)fragment_c_column(lane, 0) * 2;
            *(uint32_t *)(results + at) = packed_pair<T>(y[n][2 * r] * inverse, y[n][2 * r + 1] * inverse);
        }
    }
    __syncwarp();  /* the strip is whole */
}

/* Behind queries, stages of keys, and as many of values. */
template <int HEAD> DEVICE struct strips_facts *strips_facts_at(uint8_t *shared)
{
    return (struct strips_facts *)(shared + (1 + 2 * strips_stages(HEAD)) * SCHEDULE_TILE * HEAD * 2);
}

/* The strips of a tile become known to all, and queries, keys and values of its first keys are asked for. */
template <class T, int HEAD, int GROUPS>
DEVICE struct strips_view strips_begin(const struct strips_work &w, int tile, int head, uint8_t *shared, int group)
{
    constexpr int        TILE = SCHEDULE_TILE * HEAD * 2;
    const uint32_t       queries = shared_address(shared), keys = queries + TILE, values = keys + strips_stages(HEAD) * TILE;
    const T             *q = (const T *)w.q + head * w.head_size;
    const int            kv_column = head / w.shared_heads * w.head_size;
    const T             *k = (const T *)w.k + kv_column, *v = (const T *)w.v + kv_column;
    struct strips_facts *facts = strips_facts_at<HEAD>(shared);
    if (strips_thread() < SCHEDULE_STRIPS)
        facts->strips[strips_thread()] = schedule_small_tiles(w.schedule)[tile].strips[strips_thread()];
    strips_sync<GROUPS>(group);  /* the strips are known to all */
    const struct strips_view view = strips_look(w, facts);
    strips_fetch<T, HEAD>(queries, q, w.q_stride, facts->strips, w.head_size);
    if (view.packed) {
        strips_fetch<T, HEAD>(keys, k, w.k_stride, facts->strips, w.head_size);
        strips_fetch<T, HEAD>(values, v, w.v_stride, facts->strips, w.head_size);
    } else {
        strips_fetch_rows<T, HEAD>(keys, k, w.k_stride, view.front.start, view.front.length, w.head_size);
        strips_fetch_rows<T, HEAD>(values, v, w.v_stride, view.front.start, view.front.length, w.head_size);
    }
    cp_async_commit();
    return view;
}

/* Scores of a block of 16 keys, from row `slot` of the tile on; of queries that are held, or else read again. */
template <class T, int HEAD, bool HELD>
DEVICE void strips_scores(float (&s)[2][4], uint32_t (&held)[HELD ? HEAD / 16 : 1][4], uint32_t queries, uint32_t tile_k,
                          int slot)
{
#pragma unroll
    for (int i = 0; i < 4; i++)
        s[0][i] = s[1][i] = 0.0f;
#pragma unroll(HELD ? HEAD / 16 : 2)  /* fewer addresses at once, where queries are not held for want of registers */
    for (int step = 0; step < HEAD / 16; step++) {
        uint32_t b[4], read[4];
        ldmatrix_x4(b, strips_block_b<HEAD>(tile_k, slot, step));
        if (!HELD)
            ldmatrix_x4(read, strips_block_a<HEAD>(queries, strips_thread() / 32 * 16, step));
        mma_m16n8k16<T>(s[0], HELD ? held[HELD ? step : 0] : read, b[0], b[1]);
        mma_m16n8k16<T>(s[1], HELD ? held[HELD ? step : 0] : read, b[2], b[3]);
    }
}

/* Keys that a row does not see weigh nothing. block0: the block's first key in its sequence. */
DEVICE void strips_mask(const struct strips_view &view, bool causal, int block0, float (&s)[2][4])
{
    const int lane = warp_lane();
#pragma unroll
    for (int n = 0; n < 2; n++)
#pragma unroll
        for (int i = 0; i < 4; i++) {
            const int key = block0 + n * 8 + fragment_c_column(lane, i), row = view.place + fragment_c_row(lane, i);
            if (key >= view.strip.length || (causal && key > row))
                s[n][i] = -INFINITY;
        }
}

/* 2^(s scale - base), packed as the product with V takes them; part: the sum of a row's, of this lane's keys. */
template <class T>
DEVICE void strips_weigh(uint32_t (&weights)[4], float (&s)[2][4], float (&part)[2], const float (&base)[2], float scale)
{
#pragma unroll
    for (int n = 0; n < 2; n++) {
#pragma unroll
        for (int i = 0; i < 4; i++) {
            s[n][i] = exp2_approximate(fmaf(s[n][i], scale, -base[i >> 1]));
            part[i >> 1] += s[n][i];
        }
        weights[2 * n]     = packed_pair<T>(s[n][0], s[n][1]);
        weights[2 * n + 1] = packed_pair<T>(s[n][2], s[n][3]);
    }
}

/* y += weights V over a block of 16 keys, from row `slot` of the tile on. */
template <class T, int HEAD>
DEVICE void strips_add(float (&y)[HEAD / 8][4], const uint32_t (&weights)[4], uint32_t tile_v, int slot)
{
#pragma unroll
    for (int n = 0; n < HEAD / 16; n++) {
        uint32_t b[4];
        ldmatrix_x4_trans(b, strips_block_a<HEAD>(tile_v, slot, n));
        mma_m16n8k16<T>(y[2 * n], weights, b[0], b[1]);
        mma_m16n8k16<T>(y[2 * n + 1], weights, b[2], b[3]);
    }
}

/* `shared`: strips_shared_bytes(HEAD), aligned to 128. */
template <class T, int HEAD, int GROUPS>
DEVICE void attention_strips(const struct strips_work &w, int tile, int head, uint8_t *shared, int group)
{
    constexpr int  STAGES = strips_stages(HEAD), TILE = SCHEDULE_TILE * HEAD * 2;
    constexpr bool HELD   = strips_held(HEAD, GROUPS);
    const int      warp = strips_thread() / 32;
    const uint32_t queries = shared_address(shared), keys = queries + TILE, values = keys + STAGES * TILE;
    const int      kv_column = head / w.shared_heads * w.head_size;
    const T       *k = (const T *)w.k + kv_column, *v = (const T *)w.v + kv_column;

    struct strips_facts     *facts = strips_facts_at<HEAD>(shared);
    const struct strips_view view  = strips_begin<T, HEAD, GROUPS>(w, tile, head, shared, group);

    uint32_t held[HELD ? HEAD / 16 : 1][4];
    float    y[HEAD / 8][4] = {};
    float    most[2] = { -INFINITY, -INFINITY }, sum[2] = { 0.0f, 0.0f };
    for (int t = 0; t < view.tiles; t++) {
        const int stage = t % STAGES, key0 = t * SCHEDULE_TILE, next = view.front.start + key0 + SCHEDULE_TILE;
        const int after = view.front.length - key0 - SCHEDULE_TILE;  /* keys beyond this tile */
        if (STAGES == 2 && t + 1 < view.tiles) {
            strips_fetch_rows<T, HEAD>(keys + (stage ^ 1) * TILE, k, w.k_stride, next, after, w.head_size);
            strips_fetch_rows<T, HEAD>(values + (stage ^ 1) * TILE, v, w.v_stride, next, after, w.head_size);
            cp_async_commit();
            cp_async_wait<1>();
        } else {
            cp_async_wait<0>();
        }
        strips_sync<GROUPS>(group);  /* this tile, and the queries, are there for all */
        if (w.causal && t + 1 == view.tiles)
            strips_clear<T, HEAD, GROUPS>(shared + (1 + STAGES + stage) * TILE, facts, group);
        if (HELD && t == 0)
#pragma unroll
            for (int step = 0; step < HEAD / 16; step++)
                ldmatrix_x4(held[HELD ? step : 0], strips_block_a<HEAD>(queries, warp * 16, step));

        const int      blocks = min((int)STRIPS_BLOCKS, (view.seen - key0 + 15) / 16);  /* of 16 keys, that the strip sees */
        const uint32_t tile_k = keys + stage * TILE, tile_v = values + stage * TILE;
        float          s[STRIPS_BLOCKS][2][4];
        float          rise[2] = { most[0], most[1] };
#pragma unroll
        for (int j = 0; j < STRIPS_BLOCKS; j++) {
            if (j >= blocks)
                continue;
            strips_scores<T, HEAD, HELD>(s[j], held, queries, tile_k, view.slot0 + j * 16);
            const int block0 = key0 + j * 16;
            if (block0 + 16 > view.strip.length || (w.causal && block0 + 16 > view.place))
                strips_mask(view, w.causal, block0, s[j]);
#pragma unroll
            for (int i = 0; i < 4; i++)
                rise[i >> 1] = fmaxf(rise[i >> 1], fmaxf(s[j][0][i], s[j][1][i]));
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
                strips_weigh<T>(weights, s[j], part, base, w.scale);
                strips_add<T, HEAD>(y, weights, tile_v, view.slot0 + j * 16);
            }
#pragma unroll
            for (int r = 0; r < 2; r++)
                sum[r] = fmaf(sum[r], fade[r], part[r]);
        }
        if (t + 1 < view.tiles)
            strips_sync<GROUPS>(group);  /* all are done with this stage, which is filled next */
        if (STAGES == 1 && t + 1 < view.tiles) {
            strips_fetch_rows<T, HEAD>(keys, k, w.k_stride, next, after, w.head_size);
            strips_fetch_rows<T, HEAD>(values, v, w.v_stride, next, after, w.head_size);
            cp_async_commit();
        }
    }
    uint8_t                    *results = shared + warp * 16 * HEAD * 2;
    const struct schedule_strip strip   = facts->strips[warp];  /* read again: registers are dearer in the loop */
    strips_store<T, HEAD>(y, sum, results);
    if (w.causal && strips_infinite(facts))
        strips_restore<T, HEAD>(w, strip, results, head, 0, view.place / SCHEDULE_TILE * SCHEDULE_TILE);
    strips_leave<T, HEAD>(w, strip, results, head, 0);
    if (GROUPS > 0)
        strips_sync<GROUPS>(group);  /* this memory is free for the next tile */
}

#endif
