/* attention_large.cuh: what producer and consumers of attention_sm90.cu agree on: sizes, the block's memory, the order of work.
 *
 * Queries, keys and values lie in shared memory in boxes of large_box(HEAD) columns, one after another: the widest swizzle
 * whose rows divide the head, so that a k-step of 16 lies in one box and one descriptor reaches along all boxes. 64, 128 and 256
 * have rows of 128 bytes, 32 and 96 of 64, 80 of 32. Heads between these sizes run in the next one: to the tensor maps a head
 * is a dimension of its own, and columns past its end are read as zeros.
 *
 * Tiles of keys are 128 long, a multiple of a warpgroup's 64 rows, so that each warpgroup has one tile on the diagonal; 64 at
 * heads of 256, whose sums fill 128 registers.
 */
#ifndef RECTO_KERNELS_ATTENTION_ATTENTION_LARGE_CUH
#define RECTO_KERNELS_ATTENTION_ATTENTION_LARGE_CUH

#include "kernels/attention/attention_strips.cuh"
#include "kernels/cuda/sm90.cuh"

struct large_work {
    CUtensorMap        q, k, v;
    struct strips_work rows;   /* everything that is said without tensor maps */
    int                heads;
};

/* Queries, a ring of keys and values, results, then the barriers, full and empty of each, and what was cleared. */
enum { LARGE_FLAGS = 4 };  /* the producer is less than three items ahead */
FRAGMENT int large_consumers(int head) { return head <= 64 ? 3 : 2; }
FRAGMENT int large_keys(int head) { return head > 128 ? 64 : 128; }
FRAGMENT int large_stages(int head) { return head <= 80 ? 4 : head <= 96 ? 3 : 2; }
FRAGMENT int large_query_tiles(int head) { return head > 128 ? 1 : 2; }
FRAGMENT int large_box(int head) { return head % 64 == 0 ? 64 : head % 32 == 0 ? 32 : 16; }  /* columns */
FRAGMENT int large_part(int head) { return head > 128 ? 128 : head; }  /* columns of results that leave at once */
FRAGMENT int large_query_bytes(int head) { return large_consumers(head) * 64 * head * 2; }
FRAGMENT int large_key_bytes(int head) { return large_keys(head) * head * 2; }
FRAGMENT int large_result_bytes(int head) { return large_consumers(head) * 64 * large_part(head) * 2; }
FRAGMENT int large_barriers(int head) { return 2 * large_query_tiles(head) + 5 * large_stages(head); }
FRAGMENT int large_shared_bytes(int head)
{
    return large_query_tiles(head) * large_query_bytes(head) + large_result_bytes(head) +
           2 * large_stages(head) * large_key_bytes(head) + 8 * large_barriers(head) + 4 * LARGE_FLAGS;
}
FRAGMENT int large_producer_registers(int head) { return large_consumers(head) == 3 ? 32 : 40; }
FRAGMENT int large_consumer_registers(int head) { return large_consumers(head) == 3 ? 160 : 232; }

/* Whether the kernel takes small tiles too: those of 256 spill beside setmaxnreg, and are launched on their own. */
FRAGMENT bool large_takes_strips(int head) { return head <= 128; }

template <int HEAD> constexpr bool large_fits =
    sm90_registers_fit(1, large_producer_registers(HEAD), large_consumers(HEAD), large_consumer_registers(HEAD)) &&
    large_shared_bytes(HEAD) <= 227 * 1024 &&
    large_consumers(HEAD) * strips_shared_bytes(HEAD) <= large_shared_bytes(HEAD);  /* small tiles use the same memory */

/* Addresses in shared memory. */
template <int HEAD> struct large_memory {
    uint32_t queries, keys, values, results, query_full, query_empty, key_full, key_empty, value_full, value_empty, landed;
    uint32_t infinite;  /* of the last LARGE_FLAGS items, whether values were cleared */
};

template <int HEAD> DEVICE struct large_memory<HEAD> large_memory_at(uint32_t shared)
{
    constexpr int STAGES = large_stages(HEAD), QUERIES = large_query_tiles(HEAD);
    struct large_memory<HEAD> m;
    m.queries     = shared;
    m.keys        = m.queries + QUERIES * large_query_bytes(HEAD);
    m.values      = m.keys + STAGES * large_key_bytes(HEAD);
    m.results     = m.values + STAGES * large_key_bytes(HEAD);
    m.query_full  = m.results + large_result_bytes(HEAD);
    m.query_empty = m.query_full + 8 * QUERIES;
    m.key_full    = m.query_empty + 8 * QUERIES;
    m.key_empty   = m.key_full + 8 * STAGES;
    m.value_full  = m.key_empty + 8 * STAGES;
    m.value_empty = m.value_full + 8 * STAGES;
    m.landed      = m.value_empty + 8 * STAGES;
    m.infinite    = m.landed + 8 * STAGES;
    return m;
}

template <int HEAD> DEVICE int32_t *large_flag(const struct large_memory<HEAD> &m, uint8_t *shared, int item)
{
    return (int32_t *)(shared + (m.infinite - m.queries)) + item % LARGE_FLAGS;
}

/* One tile for one head. */
struct large_item {
    int row, start, length, head;
    int tiles;  /* of keys, that some row of the tile sees */
    int whole;  /* of them, the first, of which every row sees every key */
};

/* How much there is to do is read again wherever it is asked for: registers are dearer. */
DEVICE int large_count(const struct large_work &w) { return w.rows.schedule->large; }

template <int HEAD> DEVICE struct large_item large_item_at(const struct large_work &w, int index)
{
    constexpr int               ROWS  = large_consumers(HEAD) * 64, KEYS = large_keys(HEAD);
    const int                   count = large_count(w);
    const struct schedule_large tile = schedule_large_tiles(w.rows.schedule)[index % count];
    const int                   place = tile.row - tile.start;
    const int                   seen = w.rows.causal ? min(tile.length, place + ROWS) : tile.length;
    const struct large_item     item = { tile.row, tile.start, tile.length, index / count, (seen + KEYS - 1) / KEYS,
                                         (w.rows.causal ? place + 1 : tile.length) / KEYS };
    return item;
}

#endif
