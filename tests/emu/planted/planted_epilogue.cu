/* Bugs on the way out: shared memory written by threads, then read by TMA stores, twice over. */
#include "tests/emu/planted/planted.h"

enum { ROWS = 16, ROUNDS = 3, THREADS = 64, BYTES = ROWS * 128 };
enum epilogue_bug {
    RIGHT,
    NO_PROXY_FENCE,
    NO_BARRIER_BEFORE_STORE,
    NO_WAIT_BEFORE_REUSE,
    NO_WAIT_AT_THE_END,
    FENCE_TOO_EARLY,
    ROWS_OUT_OF_ORDER
};

template <int BUG> __global__ void __launch_bounds__(THREADS) out_kernel(const __grid_constant__ CUtensorMap map)
{
    SHARED_DYNAMIC(uint8_t, tile, 1024);
    for (int round = 0; round < ROUNDS; round++) {
        if (threadIdx.x == 0 && BUG != NO_WAIT_BEFORE_REUSE && BUG != NO_WAIT_AT_THE_END)
            bulk_wait_read<0>();
        __syncthreads();  /* the store of the round before has read the tile */
        if (BUG == FENCE_TOO_EARLY)
            fence_proxy_async();
        for (int i = (int)threadIdx.x; i < BYTES / 2; i += THREADS) {
            int      row = i / 64, column = i % 64;
            uint32_t at  = BUG == ROWS_OUT_OF_ORDER ? (uint32_t)(row * 128 + column / 8 * 16) : swizzle_128(row, column / 8);
            *(uint16_t *)(tile + at + column % 8 * 2) = (uint16_t)(round * 4096 + i);
        }
        if (BUG != NO_PROXY_FENCE && BUG != FENCE_TOO_EARLY)
            fence_proxy_async();
        if (BUG != NO_BARRIER_BEFORE_STORE)
            __syncthreads();  /* the whole tile is written, and fenced */
        if (threadIdx.x == 0) {
            tma_store_2d(&map, shared_address(tile), 0, round * ROWS);
            bulk_commit();
        }
    }
    if (threadIdx.x == 0 && BUG != NO_WAIT_AT_THE_END)
        bulk_wait_read<0>();
}

template <int BUG> static bool run_out(void)
{
    static uint16_t      y[ROUNDS * ROWS * 64];
    struct device_tensor t  = {};
    void                *dy = device_make(sizeof y);
    CUtensorMap          map;
    t.base      = dy;
    t.rank      = 2;
    t.size[0]   = 64;
    t.size[1]   = ROUNDS * ROWS;
    t.stride[0] = 128;
    t.box[0]    = 64;
    t.box[1]    = ROWS;
    t.swizzle   = CU_TENSOR_MAP_SWIZZLE_128B;
    bool ok     = device_tensor_map(&map, &t) && LAUNCH(out_kernel<BUG>, (device_grid{ 1, THREADS, 0, BYTES }), &map);
    device_read(y, dy, sizeof y);
    device_free(dy);
    for (int i = 0; i < ROUNDS * ROWS * 64; i++)
        ok = ok && y[i] == i / (ROWS * 64) * 4096 + i % (ROWS * 64);
    return ok;
}

#define OUT(name, bug, plain, check) { name, run_out<bug>, run_out<RIGHT>, plain, check }
const struct planted planted_epilogue[] = {
    OUT("TMA store: no proxy fence", NO_PROXY_FENCE, NULL, "without fence.proxy.async"),
    OUT("TMA store: proxy fence before the writes", FENCE_TOO_EARLY, NULL, "without fence.proxy.async"),
    OUT("TMA store: no barrier before it", NO_BARRIER_BEFORE_STORE, "values", "race"),
    OUT("TMA store: tile reused before it was read", NO_WAIT_BEFORE_REUSE, "values", NULL),
    OUT("TMA store: never waited for", NO_WAIT_AT_THE_END, "bulk store not waited for", NULL),
    OUT("TMA store: rows not swizzled", ROWS_OUT_OF_ORDER, "values", NULL),
    { NULL, NULL, NULL, NULL, NULL },
};
