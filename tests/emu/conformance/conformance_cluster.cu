/* Clusters, also of one block: ranks, the barrier, shared memory of other blocks, arrivals there, multicast. */
#include "tests/emu/conformance/conformance.h"

enum { THREADS = 64 };

/* Every block reads what its neighbour wrote, and writes into the next one. */
__global__ void __launch_bounds__(THREADS) neighbours_kernel(uint32_t *y)
{
    SHARED_ARRAY(uint32_t, mine, THREADS);
    SHARED_ARRAY(uint32_t, given, THREADS);
    uint32_t rank = cluster_rank(), next = (rank + 1) % cluster_size(), i = threadIdx.x;
    mine[i]       = blockIdx.x * 1000 + i;
    cluster_arrive();
    cluster_wait();  /* mine is written in every block */
    uint32_t read = cluster_load(cluster_address(shared_address(&mine[THREADS - 1 - i]), next));
    cluster_store(cluster_address(shared_address(&given[i]), next), rank * 10 + i % 10);
    cluster_arrive();
    cluster_wait();  /* given is written in every block, and nobody exits while others read */
    y[(blockIdx.x * 2) * THREADS + i]     = read;
    y[(blockIdx.x * 2 + 1) * THREADS + i] = given[i];
}

template <int CLUSTER> static bool run_neighbours(void)
{
    enum { BLOCKS = 2 * CLUSTER };
    uint32_t y[BLOCKS * 2 * THREADS], expected[BLOCKS * 2 * THREADS];
    for (int block = 0; block < BLOCKS; block++)
        for (int i = 0; i < THREADS; i++) {
            int rank = block % CLUSTER, next = block / CLUSTER * CLUSTER + (rank + 1) % CLUSTER;
            expected[block * 2 * THREADS + i]       = (uint32_t)(next * 1000 + THREADS - 1 - i);
            expected[(block * 2 + 1) * THREADS + i] = (uint32_t)((rank + CLUSTER - 1) % CLUSTER * 10 + i % 10);
        }
    void *dy = device_make(sizeof y);
    bool  ok = LAUNCH(neighbours_kernel, (device_grid{ BLOCKS, THREADS, CLUSTER, 0 }), &dy);
    device_read(y, dy, sizeof y);
    device_free(dy);
    return ok && case_equal("words", y, expected, sizeof y);
}

/* Every block loads its part of a tile for all blocks; whoever has read a slot says so to all that fill it. */
template <int CLUSTER>
__global__ void __launch_bounds__(THREADS) multicast_kernel(const __grid_constant__ CUtensorMap map, uint16_t *y, int rounds)
{
    SHARED_DYNAMIC(uint16_t, tile, 1024);  /* [CLUSTER * 8 rows][64] */
    SHARED_ARRAY(uint64_t, barriers, 2);
    uint32_t full = shared_address(barriers), empty = full + 8, rank = cluster_rank();
    if (threadIdx.x == 0) {
        mbarrier_init(full, 1);
        mbarrier_init(empty, CLUSTER);
        fence_mbarrier_init();
    }
    cluster_arrive_relaxed();
    cluster_wait();
    cluster_arrive();
    cluster_wait();  /* the barriers of all blocks are made */
    for (int round = 0; round < rounds; round++) {
        if (threadIdx.x == 0) {
            mbarrier_wait(empty, (uint32_t)(round & 1) ^ 1);  /* all blocks have read the tile before */
            mbarrier_arrive_expect(full, CLUSTER * 8 * 128);
            tma_load_2d_multicast(shared_address(tile) + rank * 8 * 128, &map, full, round * 64,
                                  (int)(blockIdx.x / CLUSTER * CLUSTER + rank) * 8, (uint16_t)((1 << CLUSTER) - 1));
        }
        mbarrier_wait(full, (uint32_t)(round & 1));
        for (int i = (int)threadIdx.x; i < CLUSTER * 8 * 64; i += THREADS) {
            int row = i / 64, column = i % 64;
            y[((int)blockIdx.x * rounds + round) * CLUSTER * 8 * 64 + i] =
                *(const uint16_t *)((const uint8_t *)tile + swizzle_128(row, column / 8) + column % 8 * 2);
        }
        __syncthreads();  /* the whole block has read the tile */
        if (threadIdx.x < CLUSTER)
            mbarrier_arrive_remote(cluster_address(empty, threadIdx.x));
    }
    cluster_arrive();
    cluster_wait();  /* nobody exits while others write to it */
}

template <int CLUSTER> static bool run_multicast(void)
{
    enum { BLOCKS = 2 * CLUSTER, ROUNDS = 3, WIDTH = ROUNDS * 64, TILE = CLUSTER * 8 * 64 };
    static uint16_t      x[BLOCKS * 8 * WIDTH], y[BLOCKS * ROUNDS * TILE], expected[BLOCKS * ROUNDS * TILE];
    struct device_tensor t      = {};
    int                  rounds = ROUNDS;
    CUtensorMap          map;
    for (int i = 0; i < BLOCKS * 8 * WIDTH; i++)
        x[i] = (uint16_t)(i * 5 + 2);
    for (int block = 0; block < BLOCKS; block++)
        for (int round = 0; round < ROUNDS; round++)
            for (int i = 0; i < TILE; i++)
                expected[(block * ROUNDS + round) * TILE + i] =
                    x[(block / CLUSTER * CLUSTER * 8 + i / 64) * WIDTH + round * 64 + i % 64];
    void *dx = device_copy_of(x, sizeof x), *dy = device_make(sizeof y);
    t.base      = dx;
    t.rank      = 2;
    t.size[0]   = WIDTH;
    t.size[1]   = BLOCKS * 8;
    t.stride[0] = WIDTH * 2;
    t.box[0]    = 64;
    t.box[1]    = 8;
    t.swizzle   = CU_TENSOR_MAP_SWIZZLE_128B;
    bool ok     = device_tensor_map(&map, &t) &&
              LAUNCH(multicast_kernel<CLUSTER>, (device_grid{ BLOCKS, THREADS, CLUSTER, TILE * 2 }), &map, &dy, &rounds);
    device_read(y, dy, sizeof y);
    device_free(dx);
    device_free(dy);
    return ok && case_equal("tiles", y, expected, sizeof y);
}

enum { EXCHANGES = 5 };

/* Round after round every block sends its words to all blocks; two barriers take turns, so that nobody waits for a reader. */
template <int CLUSTER> __global__ void __launch_bounds__(THREADS) exchange_kernel(uint32_t *y)
{
    SHARED_ARRAY(uint32_t, given, 2 * CLUSTER * THREADS);
    SHARED_ARRAY(uint64_t, barriers, 3);
    uint32_t rank = cluster_rank(), i = threadIdx.x, last = shared_address(&barriers[2]);
    if (i == 0) {
        mbarrier_init(shared_address(&barriers[0]), 1);
        mbarrier_init(shared_address(&barriers[1]), 1);
        mbarrier_init(last, CLUSTER);
        fence_mbarrier_init();
    }
    cluster_arrive();
    cluster_wait();  /* the barriers of all blocks are made */
    for (uint32_t e = 0; e < EXCHANGES; e++) {
        uint32_t *slots = given + e % 2 * CLUSTER * THREADS, barrier = shared_address(&barriers[e % 2]);
        for (uint32_t to = 0; to < CLUSTER; to++)
            cluster_store_async(cluster_address(shared_address(&slots[rank * THREADS + i]), to),
                                blockIdx.x * 10000 + e * 1000 + to * 100 + i, cluster_address(barrier, to));
        if (i == 0)
            mbarrier_arrive_expect(barrier, CLUSTER * THREADS * 4);
        mbarrier_wait(barrier, e / 2 & 1);
        for (uint32_t from = 0; from < CLUSTER; from++)
            y[((blockIdx.x * EXCHANGES + e) * CLUSTER + from) * THREADS + i] = slots[from * THREADS + THREADS - 1 - i];
        __syncthreads();  /* the whole block has read before it sends again, which lets others write here */
    }
    if (i < CLUSTER)
        mbarrier_arrive_remote_block(cluster_address(last, i));
    mbarrier_wait(last, 0);  /* nobody exits before all have said that they arrive nowhere any more */
}

template <int CLUSTER> static bool run_exchange(void)
{
    enum { BLOCKS = 2 * CLUSTER };
    static uint32_t y[BLOCKS * EXCHANGES * CLUSTER * THREADS], expected[BLOCKS * EXCHANGES * CLUSTER * THREADS];
    for (int at = 0; at < BLOCKS * EXCHANGES * CLUSTER * THREADS; at++) {
        int i = at % THREADS, from = at / THREADS % CLUSTER, e = at / THREADS / CLUSTER % EXCHANGES;
        int block = at / THREADS / CLUSTER / EXCHANGES, sender = block / CLUSTER * CLUSTER + from;
        expected[at] = (uint32_t)(sender * 10000 + e * 1000 + block % CLUSTER * 100 + THREADS - 1 - i);
    }
    void *dy = device_make(sizeof y);
    bool  ok = LAUNCH(exchange_kernel<CLUSTER>, (device_grid{ BLOCKS, THREADS, CLUSTER, 0 }), &dy);
    device_read(y, dy, sizeof y);
    device_free(dy);
    return ok && case_equal("words", y, expected, sizeof y);
}

const struct conformance_case cases_cluster[] = {
    { "mapa, ld.shared::cluster, st.shared::cluster", run_neighbours<4> },
    { "multicast, remote arrive, barrier.cluster", run_multicast<4> },
    { "st.async, remote arrive without a fence", run_exchange<4> },
    { "multicast in a cluster of three", run_multicast<3> },
    { "multicast in a cluster of eight", run_multicast<8> },
    { "st.async in a cluster of three", run_exchange<3> },
    { "mapa, ld and st in a cluster of one", run_neighbours<1> },
    { "multicast, remote arrive in a cluster of one", run_multicast<1> },
    { NULL, NULL },
};
