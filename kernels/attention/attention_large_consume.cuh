/* attention_large_consume.cuh: the consumer warpgroups of attention_sm90.cu, 64 rows of a tile each.
 *
 * Keys are taken from the last tile to the first, so that the one tile with keys that some row does not see comes first, outside
 * the loop, and the loop has no masks. A consumer issues the scores of the next tile before it waits for anything of this one,
 * holds its weights in registers, and takes its turn to issue (barriers 1 to 3): while one warpgroup multiplies, the others are
 * in their softmax.
 */
#ifndef RECTO_KERNELS_ATTENTION_ATTENTION_LARGE_CONSUME_CUH
#define RECTO_KERNELS_ATTENTION_ATTENTION_LARGE_CONSUME_CUH

#include "kernels/attention/attention_large.cuh"

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

/* Descriptors of what the tensor maps bring: queries and keys K-major, values MN-major (fragments.cuh). */
template <int HEAD> DEVICE uint64_t large_descriptor(uint32_t address, uint32_t leading_bytes)
{
    constexpr int BOX = large_box(HEAD), SWIZZLE = BOX == 64 ? wgmma_swizzle_128 : BOX == 32 ? wgmma_swizzle_64 : wgmma_swizzle_32;
    return wgmma_descriptor(address, leading_bytes, 8 * BOX * 2, SWIZZLE);
}

/* Where the 16 columns of a step begin in boxes of `rows` rows, in units of a descriptor. */
template <int HEAD> FRAGMENT int large_step(int step, int rows)
{
    return step * 16 / large_box(HEAD) * rows * large_box(HEAD) * 2 / 16 + step * 16 % large_box(HEAD) * 2 / 16;
}

template <class T, int HEAD> DEVICE void large_scores(float (&s)[large_keys(HEAD) / 2], uint64_t queries, uint64_t keys)
{
    wgmma_fence();
#pragma unroll
    for (int step = 0; step < HEAD / 16; step++)
        wgmma_ss<T>(s, queries + large_step<HEAD>(step, 64), keys + large_step<HEAD>(step, large_keys(HEAD)), step > 0);
    wgmma_commit();
}

template <class T, int HEAD>
DEVICE void large_mix(float (&y)[HEAD / 2], const uint32_t (&weights)[large_keys(HEAD) / 16][4], uint64_t values)
{
#pragma unroll
    for (int step = 0; step < large_keys(HEAD) / 16; step++)
        wgmma_rs<T, 1>(y, weights[step], values + step * large_box(HEAD) * 2, 1);
    wgmma_commit();
}

/* Scores of keys from `limit` on, counted from the tile's first, become -infinity; limits of the lane's two rows. */
template <int COUNT> DEVICE void large_mask(float (&s)[COUNT], int limit0, int limit1)
{
#pragma unroll
    for (int i = 0; i < COUNT; i++)
        if (wgmma_d_column((int)threadIdx.x % 32, i) >= (i & 2 ? limit1 : limit0))
            s[i] = -INFINITY;
}

/* Running state of the lane's two rows. */
struct large_rows {
    float most[2], sum[2], fade[2];
};

/* s: scores become weights; what was summed before is to be multiplied by `fade`. */
template <bool FIRST, int COUNT> DEVICE void large_softmax(float (&s)[COUNT], struct large_rows &rows, float scale)
{
    float rise[2] = { rows.most[0], rows.most[1] }, base[2];
#pragma unroll
    for (int i = 0; i < COUNT; i++)
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
    for (int i = 0; i < COUNT; i++) {
        const int r = i >> 1 & 1;
        s[i]        = exp2_approximate(fmaf(s[i], scale, -base[r]));
        rows.sum[r] += s[i];
    }
}

template <class T, int STEPS> DEVICE void large_pack(uint32_t (&weights)[STEPS][4], const float (&s)[STEPS * 8])
{
#pragma unroll
    for (int step = 0; step < STEPS; step++)
#pragma unroll
        for (int j = 0; j < 4; j++)
            weights[step][j] = packed_pair<T>(s[8 * step + 2 * j], s[8 * step + 2 * j + 1]);
}

/* The rows of the calling warp: a strip of 16. */
DEVICE struct schedule_strip large_strip(const struct large_item &item)
{
    const int                   row   = item.row + ((int)threadIdx.x / 32 - 4) * 16;  /* warps 0 to 3 produce */
    const struct schedule_strip strip = { row, max(0, min(16, item.start + item.length - row)), item.start, item.length };
    return strip;
}

/* The warp's 16 rows through its own part of the results, PART columns at a time. `infinite`: values were cleared. */
template <class T, int HEAD>
DEVICE void large_store(const struct large_work &w, const float (&y)[HEAD / 2], struct large_rows &rows, uint8_t *results,
                        const struct large_item &item, bool infinite)
{
    constexpr int               PART  = large_part(HEAD);
    const struct schedule_strip strip = large_strip(item);
    const int                   lane  = warp_lane();
    float                       inverse[2];
#pragma unroll
    for (int r = 0; r < 2; r++) {
        rows.sum[r] += __shfl_xor_sync(0xffffffffu, rows.sum[r], 1);
        rows.sum[r] += __shfl_xor_sync(0xffffffffu, rows.sum[r], 2);
        inverse[r] = 1.0f / rows.sum[r];
    }
#pragma unroll
    for (int part = 0; part < HEAD; part += PART) {
        __syncwarp();  /* what lay there before has been read */
#pragma unroll
        for (int i = 0; i < PART / 16; i++) {
            uint32_t pairs[4];
#pragma unroll
            for (int j = 0; j < 4; j++)
                pairs[j] = packed_pair<T>(y[part / 2 + 8 * i + 2 * j] * inverse[j & 1],
                                          y[part / 2 + 8 * i + 2 * j + 1] * inverse[j & 1]);
            stmatrix_x4(shared_address(results) + strips_place<PART>(ldmatrix_a_row(lane), i * 2 + ldmatrix_a_column(lane) / 8),
                        pairs);
        }
        __syncwarp();  /* the rows are whole */
        if (infinite)
            strips_restore<T, PART>(w.rows, strip, results, item.head, part, item.whole * large_keys(HEAD));
        strips_leave<T, PART>(w.rows, strip, results, item.head, part);
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
    constexpr int  STAGES = large_stages(HEAD), CONSUMERS = large_consumers(HEAD), QUERIES = large_query_tiles(HEAD);
    constexpr int  KEYS = large_keys(HEAD), STEP = large_key_bytes(HEAD) / 16;  /* a tile, in units of a descriptor */
    const int      thread = (int)threadIdx.x % 128, row0 = consumer * 64;
    const bool     lead   = thread == 0;
    const uint64_t queries0 = large_descriptor<HEAD>(m.queries + (uint32_t)(row0 * HEAD * 2), 16);
    const uint64_t keys0    = large_descriptor<HEAD>(m.keys, 16);
    const uint64_t values0  = large_descriptor<HEAD>(m.values, KEYS * large_box(HEAD) * 2);
    int            ring = 0, items = 0;
    if (consumer == CONSUMERS - 1)
        turn_pass<CONSUMERS>(consumer);  /* the first warpgroup may start */
    for (int index = (int)blockIdx.x; index < large_count(w) * w.heads; index += (int)gridDim.x, items++) {
        const struct large_item item = large_item_at<HEAD>(w, index);
        const int place = item.row - item.start + row0;  /* of the warpgroup's first row in its sequence */
        /* the last tile that some row of the warpgroup sees; none: its rows lie past the sequence */
        int t = place >= item.length ? -1
                : w.rows.causal      ? min(item.tiles - 1, (place + 63) / KEYS)
                                     : item.tiles - 1;
        const int half = items % QUERIES;
        mbarrier_wait(m.query_full + 8 * half, (uint32_t)(items / QUERIES & 1));
        for (int skipped = item.tiles - 1; skipped > t; skipped--, ring++)
            large_skip<HEAD>(m, ring, consumer, lead);
        if (t >= 0) {
            float             s[KEYS / 2], y[HEAD / 2];
            uint32_t          weights[KEYS / 16][4];
            struct large_rows rows;
            const uint64_t    queries = queries0 + (uint64_t)(half * large_query_bytes(HEAD) / 16);
#pragma unroll
            for (int i = 0; i < HEAD / 2; i++)
                y[i] = 0.0f;
            int      stage  = ring % STAGES;
            uint32_t parity = (uint32_t)(ring / STAGES & 1);
            mbarrier_wait(m.key_full + 8 * stage, parity);
            turn_wait<CONSUMERS>(consumer);
            large_scores<T, HEAD>(s, queries, keys0 + (uint64_t)(stage * STEP));
            turn_pass<CONSUMERS>(consumer);
            wgmma_wait<0>();
            wgmma_settle(s);
            if (lead)
                mbarrier_arrive(m.key_empty + 8 * stage);
            const int left = item.length - t * KEYS, row = place - t * KEYS + thread / 32 * 16 + thread % 32 / 4;
            if (left < KEYS || w.rows.causal)
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
                large_scores<T, HEAD>(s, queries, keys0 + (uint64_t)(stage * STEP));
                large_mix<T, HEAD>(y, weights, values0 + (uint64_t)(before * STEP));
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
            large_mix<T, HEAD>(y, weights, values0 + (uint64_t)(stage * STEP));
            wgmma_wait<0>();
            wgmma_settle(y);
            if (lead)
                mbarrier_arrive(m.value_empty + 8 * stage);
            large_store<T, HEAD>(w, y, rows, shared + (m.results - m.queries) + (row0 + thread / 32 * 16) * large_part(HEAD) * 2,
                                 item, w.rows.causal && *large_flag(m, shared, items));
        } else if (lead) {
            mbarrier_arrive(m.query_empty + 8 * half);
        }
    }
    if (consumer == 0)
        turn_wait<CONSUMERS>(consumer);  /* the last pass, which nobody else takes: barriers end as they began */
}

#endif
