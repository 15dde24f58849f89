/* attention_large_produce.cuh: the producer warpgroup of attention_sm90.cu.
 *
 * Warp 0 loads queries, keys and values by TMA. TMA knows no sequences: a last tile of keys ends in rows of the next sequence.
 * Their scores are masked, but their values would be multiplied by 0, and 0 times infinity is no number; so warp 1 zeroes those
 * rows before consumers see them. It also clears what is no finite number from tiles on the diagonal, and says so in the
 * item's flag (attention_infinite.cuh): consumers add it back where it is seen.
 */
#ifndef RECTO_KERNELS_ATTENTION_ATTENTION_LARGE_PRODUCE_CUH
#define RECTO_KERNELS_ATTENTION_ATTENTION_LARGE_PRODUCE_CUH

#include "kernels/attention/attention_large.cuh"

/* Rows from `row` on of one head, box after box. */
template <int HEAD, int ROWS> DEVICE void large_load(uint32_t to, const CUtensorMap *map, uint32_t barrier, int head, int row)
{
    constexpr int BOX = large_box(HEAD);
#pragma unroll
    for (int column = 0; column < HEAD; column += BOX)
        tma_load_3d(to + column * ROWS * 2, map, barrier, column, head, row);
}

template <int HEAD> DEVICE void large_produce(const struct large_work &w, const struct large_memory<HEAD> &m)
{
    constexpr int STAGES = large_stages(HEAD), CONSUMERS = large_consumers(HEAD), QUERIES = large_query_tiles(HEAD);
    constexpr int KEYS = large_keys(HEAD);
    int           ring = 0, items = 0;  /* how many were loaded */
    for (int index = (int)blockIdx.x; index < large_count(w) * w.heads; index += (int)gridDim.x, items++) {
        const struct large_item item = large_item_at<HEAD>(w, index);
        const int               kv_head = item.head / w.rows.shared_heads, half = items % QUERIES;
        mbarrier_wait(m.query_empty + 8 * half, (uint32_t)(items / QUERIES & 1) ^ 1);
        mbarrier_arrive_expect(m.query_full + 8 * half, large_query_bytes(HEAD));
#pragma unroll
        for (int c = 0; c < CONSUMERS; c++)
            large_load<HEAD, 64>(m.queries + half * large_query_bytes(HEAD) + c * 64 * HEAD * 2, &w.q, m.query_full + 8 * half,
                                 item.head, item.row + c * 64);
        for (int t = item.tiles - 1; t >= 0; t--, ring++) {
            const int      stage  = ring % STAGES, row = item.start + t * KEYS;
            const uint32_t parity = (uint32_t)(ring / STAGES & 1) ^ 1;
            const uint32_t full   = (t >= item.whole ? m.landed : m.value_full) + 8 * stage;  /* warp 1 passes it on */
            mbarrier_wait(m.key_empty + 8 * stage, parity);
            mbarrier_arrive_expect(m.key_full + 8 * stage, large_key_bytes(HEAD));
            large_load<HEAD, KEYS>(m.keys + stage * large_key_bytes(HEAD), &w.k, m.key_full + 8 * stage, kv_head, row);
            mbarrier_wait(m.value_empty + 8 * stage, parity);
            mbarrier_arrive_expect(full, large_key_bytes(HEAD));
            large_load<HEAD, KEYS>(m.values + stage * large_key_bytes(HEAD), &w.v, full, kv_head, row);
        }
    }
}

/* A tile of values: rows from `valid` on become zeros, and in causal attention what is no finite number in the others. A swizzle
 * stays within a row, so rows and elements are told apart without it. Whether anything was cleared. */
template <class T, int HEAD> DEVICE bool large_clear(uint8_t *values, int valid, bool causal)
{
    constexpr int CHUNKS = large_box(HEAD) / 8, KEYS = large_keys(HEAD);  /* of 16 bytes in a row of a box; rows */
    bool          found = false;
#pragma unroll 4 /* as many as find registers */
    for (int piece = warp_lane(); piece < KEYS * HEAD / 8; piece += 32) {
        if (piece / CHUNKS % KEYS >= valid)
            *(uint4 *)(values + piece * 16) = make_uint4(0, 0, 0, 0);
        else if (causal)
            found |= infinite_clear<T>(values + piece * 16);
    }
    return found;
}

/* Warp 1: every tile of values of which some row does not see some key. */
template <class T, int HEAD> DEVICE void large_mend(const struct large_work &w, const struct large_memory<HEAD> &m, uint8_t *shared)
{
    constexpr int STAGES = large_stages(HEAD);
    int           ring = 0, items = 0;
    uint32_t      parities = 0;  /* of `landed`, a bit a stage: a stage is used for such tiles now and then */
    for (int index = (int)blockIdx.x; index < large_count(w) * w.heads; index += (int)gridDim.x, items++) {
        const struct large_item item  = large_item_at<HEAD>(w, index);
        bool                    found = false;
        for (int t = item.tiles - 1; t >= item.whole; t--) {
            const int stage = (ring + item.tiles - 1 - t) % STAGES;
            mbarrier_wait(m.landed + 8 * stage, parities >> stage & 1);
            parities ^= 1u << stage;
            found |= large_clear<T, HEAD>(shared + (m.values - m.queries) + stage * large_key_bytes(HEAD),
                                          item.length - t * large_keys(HEAD), w.rows.causal);
            found = __any_sync(0xffffffffu, found);
            fence_proxy_async();  /* the zeros are seen by wgmma */
            __syncwarp();         /* those of all lanes */
            if (warp_lane() == 0) {
                *large_flag(m, shared, items) = found;
                mbarrier_arrive(m.value_full + 8 * stage);
            }
        }
        ring += item.tiles;
    }
}

#endif
