/* attention.h on Hopper: TMA brings queries, keys and values, wgmma multiplies them, softmax hides behind it.
 *
 * A large tile of the schedule is 64 rows of one sequence for each consumer warpgroup. Blocks are persistent: block b takes
 * work b, b + blocks, ..., tile after tile of one head, then the next head; so blocks side by side share keys and values in
 * the second-level cache, and the producer warpgroup is ahead of the consumers across the ends of tiles: its loads of the next
 * tile go out while the last one is written.
 *
 * Keys lie in tiles of 128 from the start of the sequence and are taken from the last tile to the first, so that the one tile
 * with keys that some row does not see comes first, outside the loop, and the loop has no masks. A consumer issues the scores
 * of the next tile before it waits for anything of this one, holds its weights in registers, and takes its turn to issue
 * (barriers 1 to 3): while one warpgroup multiplies, the others are in their softmax.
 *
 * TMA knows no sequences: a last tile of keys ends in rows of the next sequence. Their scores are masked. Their values would
 * be multiplied by 0, and 0 times infinity is no number; so warp 1 of the producer zeroes those rows before consumers see them.
 *
 * What is shorter than ATTENTION_LARGE_FROM runs in attention_strips: each consumer warpgroup takes small tiles once the large
 * ones are done. That path is the one of the other kernel, operation for operation.
 */
#include "kernels/cuda/launch.h"

#include "kernels/cuda/sm90.cuh"
#include "kernels/cuda/tensor_map.h"
#include "kernels/attention/attention_strips.cuh"

enum { LARGE_KEYS = 128, LARGE_COLUMN_BYTES = 128 };  /* of a tile; of a row of 64 elements */

struct large_work {
    CUtensorMap        q, k, v;
    struct strips_work rows;   /* everything that is said without tensor maps */
    int                heads;
};

/* Queries twice, a ring of keys and values, results, then the barriers: full and empty of each. */
FRAGMENT int large_consumers(int head) { return head == 64 ? 3 : 2; }
FRAGMENT int large_stages(int head) { return head == 64 ? 4 : 2; }
FRAGMENT int large_query_bytes(int head) { return large_consumers(head) * 64 * head * 2; }
FRAGMENT int large_key_bytes(int head) { return LARGE_KEYS * head * 2; }
FRAGMENT int large_barriers(int head) { return 2 * 2 + 5 * large_stages(head); }
FRAGMENT int large_shared_bytes(int head)
{
    return 3 * large_query_bytes(head) + 2 * large_stages(head) * large_key_bytes(head) + 8 * large_barriers(head);
}
FRAGMENT int large_producer_registers(int head) { return head == 64 ? 32 : 40; }
FRAGMENT int large_consumer_registers(int head) { return head == 64 ? 160 : 232; }

static_assert(sm90_registers_fit(1, large_producer_registers(64), large_consumers(64), large_consumer_registers(64)) &&
                  sm90_registers_fit(1, large_producer_registers(128), large_consumers(128), large_consumer_registers(128)),
              "setmaxnreg would wait for ever");
static_assert(large_shared_bytes(64) <= 227 * 1024 && large_shared_bytes(128) <= 227 * 1024, "more than a block may have");
static_assert(large_consumers(64) * strips_shared_bytes(64) <= large_shared_bytes(64) &&
                  large_consumers(128) * strips_shared_bytes(128) <= large_shared_bytes(128),
              "small tiles use the memory of the large ones");

/* Addresses in shared memory. */
template <int HEAD> struct large_memory {
    uint32_t queries, keys, values, results, query_full, query_empty, key_full, key_empty, value_full, value_empty, landed;
};

template <int HEAD> DEVICE struct large_memory<HEAD> large_memory_at(uint32_t shared)
{
    constexpr int STAGES = large_stages(HEAD);
    struct large_memory<HEAD> m;
    m.queries     = shared;
    m.keys        = m.queries + 2 * large_query_bytes(HEAD);
    m.values      = m.keys + STAGES * large_key_bytes(HEAD);
    m.results     = m.values + STAGES * large_key_bytes(HEAD);
    m.query_full  = m.results + large_query_bytes(HEAD);
    m.query_empty = m.query_full + 16;
    m.key_full    = m.query_empty + 16;
    m.key_empty   = m.key_full + 8 * STAGES;
    m.value_full  = m.key_empty + 8 * STAGES;
    m.value_empty = m.value_full + 8 * STAGES;
    m.landed      = m.value_empty + 8 * STAGES;
    return m;
}

/* One tile for one head. */
struct large_item {
    int row, start, length, head;
    int tiles;  /* of keys, that some row of the tile sees */
};

/* How much there is to do is read again wherever it is asked for: registers are dearer. */
DEVICE int large_count(const struct large_work &w) { return w.rows.schedule->large; }

template <int HEAD> DEVICE struct large_item large_item_at(const struct large_work &w, int index)
{
    constexpr int               ROWS  = large_consumers(HEAD) * 64;
    const int                   count = large_count(w);
    const struct schedule_large tile = schedule_large_tiles(w.rows.schedule)[index % count];
    const int                   last = tile.row - tile.start + ROWS;
    const int                   seen = w.rows.causal ? min(tile.length, last) : tile.length;
    const struct large_item     item = { tile.row, tile.start, tile.length, index / count, (seen + LARGE_KEYS - 1) / LARGE_KEYS };
    return item;
}

/* ---- the producer ---- */

/* Rows from `row` on, HEAD columns from `column` on, in boxes of 64 columns. */
template <int HEAD, int BOX_ROWS> DEVICE void large_load(uint32_t to, const CUtensorMap *map, uint32_t barrier, int column, int row)
{
#pragma unroll
    for (int half = 0; half < HEAD / 64; half++)
        tma_load_2d(to + half * BOX_ROWS * LARGE_COLUMN_BYTES, map, barrier, column + half * 64, row);
}

template <int HEAD> DEVICE void large_produce(const struct large_work &w, const struct large_memory<HEAD> &m)
{
    constexpr int STAGES = large_stages(HEAD), CONSUMERS = large_consumers(HEAD);
    int           ring = 0, queries = 0;  /* how many were loaded */
    for (int index = (int)blockIdx.x; index < large_count(w) * w.heads; index += (int)gridDim.x, queries++) {
        const struct large_item item = large_item_at<HEAD>(w, index);
        const int               kv_column = item.head / w.rows.shared_heads * HEAD, half = queries & 1;
        mbarrier_wait(m.query_empty + 8 * half, (uint32_t)(queries / 2 & 1) ^ 1);
        mbarrier_arrive_expect(m.query_full + 8 * half, large_query_bytes(HEAD));
#pragma unroll
        for (int c = 0; c < CONSUMERS; c++)
            large_load<HEAD, 64>(m.queries + half * large_query_bytes(HEAD) + c * 64 * HEAD * 2, &w.q, m.query_full + 8 * half,
                                 item.head * HEAD, item.row + c * 64);
        for (int t = item.tiles - 1; t >= 0; t--, ring++) {
            const int      stage  = ring % STAGES, row = item.start + t * LARGE_KEYS;
            const uint32_t parity = (uint32_t)(ring / STAGES & 1) ^ 1;
            const bool     torn   = item.length - t * LARGE_KEYS < LARGE_KEYS;  /* warp 1 passes it on */
            const uint32_t full   = (torn ? m.landed : m.value_full) + 8 * stage;
            mbarrier_wait(m.key_empty + 8 * stage, parity);
            mbarrier_arrive_expect(m.key_full + 8 * stage, large_key_bytes(HEAD));
            large_load<HEAD, LARGE_KEYS>(m.keys + stage * large_key_bytes(HEAD), &w.k, m.key_full + 8 * stage, kv_column, row);
            mbarrier_wait(m.value_empty + 8 * stage, parity);
            mbarrier_arrive_expect(full, large_key_bytes(HEAD));
            large_load<HEAD, LARGE_KEYS>(m.values + stage * large_key_bytes(HEAD), &w.v, full, kv_column, row);
        }
    }
}

/* Warp 1: zeroes what a torn tile of values holds beyond its sequence. */
template <int HEAD> DEVICE void large_mend(const struct large_work &w, const struct large_memory<HEAD> &m, uint8_t *shared)
{
    constexpr int STAGES = large_stages(HEAD);
    int           ring = 0;
    uint32_t      parities = 0;  /* of `landed`, a bit a stage: a stage is used for torn tiles now and then */
    for (int index = (int)blockIdx.x; index < large_count(w) * w.heads; index += (int)gridDim.x) {
        const struct large_item item  = large_item_at<HEAD>(w, index);
        const int               valid = item.length - (item.tiles - 1) * LARGE_KEYS, stage = ring % STAGES;
        ring += item.tiles;
        if (valid >= LARGE_KEYS)
            continue;
        mbarrier_wait(m.landed + 8 * stage, parities >> stage & 1);
        parities ^= 1u << stage;
        uint8_t *values = shared + (m.values - m.queries) + stage * large_key_bytes(HEAD);
        for (int piece = warp_lane(); piece < (LARGE_KEYS - valid) * (HEAD / 8); piece += 32) {
            const int row = valid + piece / (HEAD / 8), chunk = piece % (HEAD / 8);
            *(uint4 *)(values + chunk / 8 * LARGE_KEYS * LARGE_COLUMN_BYTES + swizzle_128(row, chunk % 8)) = make_uint4(0, 0, 0, 0);
        }
        fence_proxy_async();  /* the zeros are seen by wgmma */
        __syncwarp();         /* those of all lanes */
        if (warp_lane() == 0)
            mbarrier_arrive(m.value_full + 8 * stage);
    }
}

/* ---- the consumers ---- */

/* Turns to issue go round the warpgroups; barrier 1 + i says that it is warpgroup i's turn. */
template <int CONSUMERS> DEVICE void turn_wait(int consumer)
{
    if (consumer == 0)
        named_barrier_sync<1, 256>();
    else if (consumer == 1)
        named_barrier_sync<2, 256>();
    else
        named_barrier_sync<3, 256>();
}

template <int CONSUMERS> DEVICE void turn_pass(int consumer)
{
    const int next = consumer + 1 == CONSUMERS ? 0 : consumer + 1;
    if (next == 0)
        named_barrier_arrive<1, 256>();
    else if (next == 1)
        named_barrier_arrive<2, 256>();
    else
        named_barrier_arrive<3, 256>();
}

template <class T, int HEAD> DEVICE void large_scores(float (&s)[LARGE_KEYS / 2], uint64_t queries, uint64_t keys)
{
    wgmma_fence();
#pragma unroll
    for (int step = 0; step < HEAD / 16; step++)
        wgmma_ss<T>(s, queries + (step / 4 * 64 * LARGE_COLUMN_BYTES + step % 4 * 32) / 16,
                    keys + (step / 4 * LARGE_KEYS * LARGE_COLUMN_BYTES + step % 4 * 32) / 16, step > 0);
    wgmma_commit();
}

template <class T, int HEAD>
DEVICE void large_mix(float (&y)[HEAD / 2], const uint32_t (&weights)[LARGE_KEYS / 16][4], uint64_t values)
{
#pragma unroll
    for (int step = 0; step < LARGE_KEYS / 16; step++)
        wgmma_rs<T, 1>(y, weights[step], values + (step * 16 * LARGE_COLUMN_BYTES) / 16, 1);
    wgmma_commit();
}

/* Scores of keys from `limit` on, counted from the tile's first, become -infinity; limits of the lane's two rows. */
DEVICE void large_mask(float (&s)[LARGE_KEYS / 2], int limit0, int limit1)
{
#pragma unroll
    for (int i = 0; i < LARGE_KEYS / 2; i++)
        if (wgmma_d_column((int)threadIdx.x % 32, i) >= (i & 2 ? limit1 : limit0))
            s[i] = -INFINITY;
}

/* Running state of the lane's two rows. */
struct large_rows {
    float most[2], sum[2], fade[2];
};

/* s: scores become weights; what was summed before is to be multiplied by `fade`. */
template <bool FIRST> DEVICE void large_softmax(float (&s)[LARGE_KEYS / 2], struct large_rows &rows, float scale)
{
    float rise[2] = { rows.most[0], rows.most[1] }, base[2];
#pragma unroll
    for (int i = 0; i < LARGE_KEYS / 2; i++)
        rise[i >> 1 & 1] = FIRST && i < 4 && i % 2 == 0 ? s[i] : fmaxf(rise[i >> 1 & 1], s[i]);
#pragma unroll
    for (int r = 0; r < 2; r++) {
        rise[r]      = fmaxf(rise[r], __shfl_xor_sync(0xffffffffu, rise[r], 1));
        rise[r]      = fmaxf(rise[r], __shfl_xor_sync(0xffffffffu, rise[r], 2));
        rows.fade[r] = FIRST ? 0.0f : exp2_approximate((rows.most[r] - rise[r]) * scale);
        rows.sum[r]  = FIRST ? 0.0f : rows.sum[r] * rows.fade[r];
        rows.most[r] = rise[r];
        base[r]      = rise[r] * scale;
    }
#pragma unroll
    for (int i = 0; i < LARGE_KEYS / 2; i++) {
        const int r = i >> 1 & 1;
        s[i]        = exp2_approximate(fmaf(s[i], scale, -base[r]));
        rows.sum[r] += s[i];
    }
}

template <class T> DEVICE void large_pack(uint32_t (&weights)[LARGE_KEYS / 16][4], const float (&s)[LARGE_KEYS / 2])
{
#pragma unroll
    for (int step = 0; step < LARGE_KEYS / 16; step++)
#pragma unroll
        for (int j = 0; j < 4; j++)
            weights[step][j] = packed_pair<T>(s[8 * step + 2 * j], s[8 * step + 2 * j + 1]);
}

/* The warp's 16 rows through its own part of shared memory, so that they leave in whole 16-byte chunks. */
template <class T, int HEAD>
DEVICE void large_store(const struct large_work &w, const float (&y)[HEAD / 2], struct large_rows &rows, uint8_t *shared,
                        uint32_t results, const struct large_item &item, int row0)
{
    const int lane = warp_lane(), warp = (int)threadIdx.x % 128 / 32;
    float     inverse[2];
#pragma unroll
    for (int r = 0; r < 2; r++) {
        rows.sum[r] += __shfl_xor_sync(0xffffffffu, rows.sum[r], 1);
        rows.sum[r] += __shfl_xor_sync(0xffffffffu, rows.sum[r], 2);
        inverse[r] = 1.0f / rows.sum[r];
    }
    __syncwarp();  /* the rows of the tile before have been read */
#pragma unroll
    for (int i = 0; i < HEAD / 16; i++) {
        uint32_t pairs[4];
#pragma unroll
        for (int j = 0; j < 4; j++)
            pairs[j] = packed_pair<T>(y[8 * i + 2 * j] * inverse[j & 1], y[8 * i + 2 * j + 1] * inverse[j & 1]);
        stmatrix_x4(results + (uint32_t)(i / 4 * 64 * LARGE_COLUMN_BYTES) +
                        swizzle_128(warp * 16 + ldmatrix_a_row(lane), i % 4 * 2 + ldmatrix_a_column(lane) / 8), pairs);
    }
    __syncwarp();  /* the rows are whole */
    T        *out  = (T *)w.rows.y + item.head * HEAD;
    const int first = item.row + row0 + warp * 16, count = min(16, item.start + item.length - first);
    for (int piece = lane; piece < count * (HEAD / 8); piece += 32) {
        const int row = piece / (HEAD / 8), chunk = piece % (HEAD / 8);
        *(uint4 *)(row_at(out, w.rows.y_stride, first + row) + chunk * 8) =
            *(const uint4 *)(shared + chunk / 8 * 64 * LARGE_COLUMN_BYTES + swizzle_128(warp * 16 + row, chunk % 8));
    }
}

/* A tile of keys and values that no row of the warpgroup sees: passed on unused, in the warpgroup's turn. */
template <int HEAD> DEVICE void large_skip(const struct large_memory<HEAD> &m, int ring, int consumer, bool lead)
{
    constexpr int  STAGES = large_stages(HEAD);
    const int      stage  = ring % STAGES;
    const uint32_t parity = (uint32_t)(ring / STAGES & 1);
    mbarrier_wait(m.key_full + 8 * stage, parity);
    mbarrier_wait(m.value_full + 8 * stage, parity);
    turn_wait<large_consumers(HEAD)>(consumer);  /* and all 128 have seen this phase: passed on, the stage begins the next */
    turn_pass<large_consumers(HEAD)>(consumer);
    if (lead) {
        mbarrier_arrive(m.key_empty + 8 * stage);
        mbarrier_arrive(m.value_empty + 8 * stage);
    }
}

template <class T, int HEAD>
DEVICE void large_consume(const struct large_work &w, const struct large_memory<HEAD> &m, uint8_t *shared, int consumer)
{
    constexpr int  STAGES = large_stages(HEAD), CONSUMERS = large_consumers(HEAD), KEYS = large_key_bytes(HEAD);
    const int      thread = (int)threadIdx.x % 128, row0 = consumer * 64;
    const bool     lead   = thread == 0;
    const uint32_t own    = (uint32_t)(consumer * 64 * HEAD * 2);
    const uint64_t queries0 = wgmma_descriptor(m.queries + own, 16, 1024, wgmma_swizzle_128);
    const uint64_t keys0    = wgmma_descriptor(m.keys, 16, 1024, wgmma_swizzle_128);
    const uint64_t values0  = wgmma_descriptor(m.values, LARGE_KEYS * LARGE_COLUMN_BYTES, 1024, wgmma_swizzle_128);
    int            ring = 0, items = 0;
    if (consumer == CONSUMERS - 1)
        turn_pass<CONSUMERS>(consumer);  /* the first warpgroup may start */
    for (int index = (int)blockIdx.x; index < large_count(w) * w.heads; index += (int)gridDim.x, items++) {
        const struct large_item item = large_item_at<HEAD>(w, index);
        const int place = item.row - item.start + row0;  /* of the warpgroup's first row in its sequence */
        /* the last tile that some row of the warpgroup sees; none: its rows lie past the sequence */
        int t = place >= item.length ? -1
                : w.rows.causal      ? min(item.tiles - 1, (place + 63) / LARGE_KEYS)
                                     : item.tiles - 1;
        const int half = items & 1;
        mbarrier_wait(m.query_full + 8 * half, (uint32_t)(items / 2 & 1));
        for (int skipped = item.tiles - 1; skipped > t; skipped--, ring++)
            large_skip<HEAD>(m, ring, consumer, lead);
        if (t >= 0) {
            float             s[LARGE_KEYS / 2], y[HEAD / 2];
            uint32_t          weights[LARGE_KEYS / 16][4];
            struct large_rows rows;
            const uint64_t    queries = queries0 + (uint64_t)(half * large_query_bytes(HEAD) / 16);
#pragma unroll
            for (int i = 0; i < HEAD / 2; i++)
                y[i] = 0.0f;
            int      stage  = ring % STAGES;
            uint32_t parity = (uint32_t)(ring / STAGES & 1);
            mbarrier_wait(m.key_full + 8 * stage, parity);
            turn_wait<CONSUMERS>(consumer);
            large_scores<T, HEAD>(s, queries, keys0 + (uint64_t)(stage * KEYS / 16));
            turn_pass<CONSUMERS>(consumer);
            wgmma_wait<0>();
            wgmma_settle(s);
            if (lead)
                mbarrier_arrive(m.key_empty + 8 * stage);
            const int left = item.length - t * LARGE_KEYS, row = place - t * LARGE_KEYS + thread / 32 * 16 + thread % 32 / 4;
            if (left < LARGE_KEYS || w.rows.causal)
                large_mask(s, w.rows.causal ? min(left, row + 1) : left, w.rows.causal ? min(left, row + 9) : left);
            large_softmax<true>(s, rows, w.rows.scale);
            large_pack<T>(weights, s);
            ring += t + 1;
            for (; t > 0; t--) {
                const int      before        = stage;
                const uint32_t parity_before = parity;
                stage                        = (stage + 1) % STAGES;
                parity ^= stage == 0;
                mbarrier_wait(m.key_full + 8 * stage, parity);
                mbarrier_wait(m.value_full + 8 * before, parity_before);
                turn_wait<CONSUMERS>(consumer);
                large_scores<T, HEAD>(s, queries, keys0 + (uint64_t)(stage * KEYS / 16));
                large_mix<T, HEAD>(y, weights, values0 + (uint64_t)(before * KEYS / 16));
                turn_pass<CONSUMERS>(consumer);
                wgmma_wait<1>();  /* the scores are done, the values under way */
                wgmma_settle(s);
                if (lead)
                    mbarrier_arrive(m.key_empty + 8 * stage);
                large_softmax<false>(s, rows, w.rows.scale);
                wgmma_wait<0>();
                wgmma_settle(y);
                if (lead)
                    mbarrier_arrive(m.value_empty + 8 * before);
#pragma unroll
                for (int i = 0; i < HEAD / 2; i++)
                    y[i] *= rows.fade[i >> 1 & 1];
                large_pack<T>(weights, s);
            }
            if (lead)
                mbarrier_arrive(m.query_empty + 8 * half);
            mbarrier_wait(m.value_full + 8 * stage, parity);
            wgmma_fence();
            large_mix<T, HEAD>(y, weights, values0 + (uint64_t)(stage * KEYS / 16));
            wgmma_wait<0>();
            wgmma_settle(y);
            if (lead)
                mbarrier_arrive(m.value_empty + 8 * stage);
            large_store<T, HEAD>(w, y, rows, shared + (m.results - m.queries) + own, m.results + own, item, row0);
        } else if (lead) {
            mbarrier_arrive(m.query_empty + 8 * half);
        }
    }
    if (consumer == 0)
        turn_wait<CONSUMERS>(consumer);  /* the last pass, which nobody else takes: barriers end as they began */
}

template <class T, int HEAD>
__global__ void __launch_bounds__(128 * (large_consumers(HEAD) + 1), 1) attention_wgmma(const __grid_constant__ struct large_work w)
{
    constexpr int CONSUMERS = large_consumers(HEAD);
    SHARED_DYNAMIC(uint8_t, shared, 1024);
    const struct large_memory<HEAD> m = large_memory_at<HEAD>(shared_address(shared));
    const int                       warpgroup = warpgroup_index();
    if (threadIdx.x == 0) {
        for (int i = 0; i < 2; i++) {
            mbarrier_init(m.query_full + 8 * i, 1);
            mbarrier_init(m.query_empty + 8 * i, CONSUMERS);
        }
        for (int i = 0; i < large_stages(HEAD); i++) {
            mbarrier_init(m.key_full + 8 * i, 1);
            mbarrier_init(m.key_empty + 8 * i, CONSUMERS);
            mbarrier_init(m.value_full + 8 * i, 1);
            mbarrier_init(m.value_empty + 8 * i, CONSUMERS);
            mbarrier_init(m.landed + 8 * i, 1);
        }
        fence_mbarrier_init();
    }
    __syncthreads();  /* the barriers are made */
    if (warpgroup == 0) {
        registers_lower<large_producer_registers(HEAD)>();
        if (threadIdx.x == 0)
            large_produce<HEAD>(w, m);
        else if (threadIdx.x / 32 == 1)
            large_mend<HEAD>(w, m, shared);
        return;
    }
    registers_raise<large_consumer_registers(HEAD)>();
    const int consumer = warpgroup - 1;
    large_consume<T, HEAD>(w, m, shared, consumer);
    const int small = w.rows.schedule->small;
    if (small == 0)
        return;
    named_barrier_sync<4, 128 * CONSUMERS>();  /* every consumer is done with the ring: small tiles use its memory */
    for (int index = (int)blockIdx.x * CONSUMERS + consumer; index < small * w.heads; index += (int)gridDim.x * CONSUMERS)
        attention_strips<T, HEAD, CONSUMERS>(w.rows, index % small, index / small, shared + consumer * strips_shared_bytes(HEAD),
                                             consumer);
}

static cudaError_t large_maps(const struct cuda_launch *launch, const struct attention_args *a, struct large_work *w)
{
    const struct tensor_map_matrix q = { a->q, a->type, a->heads * a->head_size, launch->tokens, a->q_stride, 64 };
    const struct tensor_map_matrix k = { a->k, a->type, a->kv_heads * a->head_size, launch->tokens, a->k_stride, LARGE_KEYS };
    const struct tensor_map_matrix v = { a->v, a->type, a->kv_heads * a->head_size, launch->tokens, a->v_stride, LARGE_KEYS };
    cudaError_t                    error = tensor_map_make(launch->facts, &w->q, &q);
    if (error == cudaSuccess)
        error = tensor_map_make(launch->facts, &w->k, &k);
    return error == cudaSuccess ? tensor_map_make(launch->facts, &w->v, &v) : error;
}

template <class T> static const void *large_handle(int head)
{
    return head == 64 ? KERNEL_HANDLE(attention_wgmma<T, 64>) : KERNEL_HANDLE(attention_wgmma<T, 128>);
}

extern "C" cudaError_t attention_sm90_launch(const struct cuda_launch *launch, const struct attention_args *args, void *schedule,
                                             const struct attention_choice *choice)
{
    if (!attention_valid(args, 16) || !launch_aligned(schedule, 0, 16) || !schedule)
        return cudaErrorInvalidValue;
    if (args->y_type != args->type || args->head_size != choice->head)
        return cudaErrorNotSupported;
    const bool        bf16 = args->type == DTYPE_BF16;
    struct large_work w    = {};
    w.rows                 = strips_work_of(args, schedule);
    w.heads                = args->heads;
    cudaError_t error      = large_maps(launch, args, &w);
    if (error != cudaSuccess)
        return error;
    struct kernel_shape shape = attention_shape(launch, args, bf16 ? "attention_bf16" : "attention_f16");
    shape.grid                = dim3((unsigned)launch->facts->processors);
    shape.threads             = 128 * (large_consumers(args->head_size) + 1);
    shape.shared_bytes        = large_shared_bytes(args->head_size);
    KERNEL_LAUNCH(launch, shape, bf16 ? large_handle<__nv_bfloat16>(args->head_size) : large_handle<__half>(args->head_size), &w);
}

static cudaError_t attention_narrow(const struct cuda_launch *launch, const struct attention_args *args, void *schedule,
                                    enum dtype type)
{
    if (args->type != type)
        return cudaErrorNotSupported;
    const struct attention_choice choice = attention_cuda_choose(launch->facts, args);
    const bool                    large  = choice.variant == ATTENTION_CUDA_WGMMA && launch->longest >= ATTENTION_LARGE_FROM;
    return (large ? attention_sm90_launch : attention_mma_launch)(launch, args, schedule, &choice);
}

extern "C" cudaError_t attention_bf16_sm90(const struct cuda_launch *launch, const struct attention_args *args, void *schedule)
{
    return attention_narrow(launch, args, schedule, DTYPE_BF16);
}

extern "C" cudaError_t attention_f16_sm90(const struct cuda_launch *launch, const struct attention_args *args, void *schedule)
{
    return attention_narrow(launch, args, schedule, DTYPE_F16);
}
