/* Bugs between the blocks of a cluster. */
#include "tests/emu/planted/planted.h"

enum { CLUSTER = 2, THREADS = 64, ROUNDS = 4, ROW_BYTES = 8 * 128 };
enum cluster_bug {
    RIGHT,
    NO_CLUSTER_BARRIER,
    EXITS_TOO_EARLY,
    RELAXED_ARRIVE,
    EXPECTS_OWN_PART,
    RELEASES_ITSELF_ONLY,
    RANK_OUTSIDE,
    ARRIVES_TWICE,
    OWN_ADDRESS,
    ONE_SLOT,
    EXPECTS_TOO_LITTLE,
    SIGNALS_ITSELF,
    ADDS_OWN_FIRST,
    LEAVES_WITH_ARRIVALS_TO_COME,
    ARRIVES_ONCE_MORE,
    LAUNCHED_WITHOUT_CLUSTERS,
    CLUSTERS_OF_ONE
};

/* Every block adds up what its neighbour holds. */
template <int BUG> __global__ void __launch_bounds__(THREADS) read_kernel(uint32_t *y)
{
    SHARED_ARRAY(uint32_t, mine, THREADS);
    uint32_t i    = threadIdx.x, other = BUG == RANK_OUTSIDE ? 2 : cluster_rank() ^ 1;
    mine[i]       = blockIdx.x * 100 + i;
    if (BUG == NO_CLUSTER_BARRIER)
        __syncthreads();
    else if (BUG == RELAXED_ARRIVE)
        cluster_arrive_relaxed();
    else
        cluster_arrive();
    if (BUG == ARRIVES_TWICE)
        cluster_arrive();
    if (BUG != NO_CLUSTER_BARRIER)
        cluster_wait();  /* mine is written in both blocks */
    uint32_t from = shared_address(&mine[THREADS - 1 - i]);
    y[blockIdx.x * THREADS + i] = cluster_load(BUG == OWN_ADDRESS ? from : cluster_address(from, other));
    if (BUG != EXITS_TOO_EARLY || cluster_rank() == 1) {
        if (BUG != EXITS_TOO_EARLY) {
            cluster_arrive();
            cluster_wait();  /* nobody exits while the other block reads */
        } else {
            for (int round = 0; round < 4; round++) {
                __syncthreads();
                y[blockIdx.x * THREADS + i] = cluster_load(cluster_address(from, other));
            }
        }
    }
}

template <int BUG> static bool run_read(void)
{
    uint32_t y[CLUSTER * THREADS];
    void    *dy = device_make(sizeof y);
    bool     ok = LAUNCH(read_kernel<BUG>, (device_grid{ CLUSTER, THREADS, CLUSTER, 0 }), &dy);
    device_read(y, dy, sizeof y);
    device_free(dy);
    for (uint32_t i = 0; i < CLUSTER * THREADS; i++)
        ok = ok && y[i] == (i / THREADS ^ 1) * 100 + THREADS - 1 - i % THREADS;
    return ok;
}

/* Each block loads half of a tile for both, round after round. */
template <int BUG> __global__ void __launch_bounds__(THREADS) share_kernel(const __grid_constant__ CUtensorMap map, uint32_t *y)
{
    SHARED_DYNAMIC(uint16_t, tile, 1024);
    SHARED_ARRAY(uint64_t, barriers, 2);
    uint32_t full = shared_address(barriers), empty = full + 8, rank = cluster_rank(), sum = 0;
    if (threadIdx.x == 0) {
        mbarrier_init(full, 1);
        mbarrier_init(empty, BUG == RELEASES_ITSELF_ONLY ? 1 : CLUSTER);
        fence_mbarrier_init();
    }
    if (BUG == NO_CLUSTER_BARRIER) {
        __syncthreads();
    } else {
        cluster_arrive();
        cluster_wait();  /* the barriers of both blocks are made */
    }
    for (int round = 0; round < ROUNDS; round++) {
        if (threadIdx.x == 0) {
            mbarrier_wait(empty, (uint32_t)(round & 1) ^ 1);
            mbarrier_arrive_expect(full, BUG == EXPECTS_OWN_PART ? ROW_BYTES : CLUSTER * ROW_BYTES);
            tma_load_2d_multicast(shared_address(tile) + rank * ROW_BYTES, &map, full, round * 64, (int)rank * 8, 3);
        }
        mbarrier_wait(full, (uint32_t)(round & 1));
        for (int i = (int)threadIdx.x; i < CLUSTER * ROW_BYTES / 2; i += THREADS)
            sum = sum * 3 + tile[i];
        __syncthreads();  /* the whole block has read the tile */
        if (threadIdx.x < (BUG == RELEASES_ITSELF_ONLY ? 1 : CLUSTER))
            mbarrier_arrive_remote(cluster_address(empty, BUG == RELEASES_ITSELF_ONLY ? rank : threadIdx.x));
    }
    cluster_arrive();
    cluster_wait();  /* nobody exits while the other block writes to it */
    y[blockIdx.x * THREADS + threadIdx.x] = sum;
}

template <int BUG> static bool run_share(void)
{
    static uint16_t      x[CLUSTER * 8][ROUNDS * 64];
    uint32_t             y[CLUSTER * THREADS];
    struct device_tensor t = {};
    CUtensorMap          map;
    for (int i = 0; i < CLUSTER * 8 * ROUNDS * 64; i++)
        x[i / (ROUNDS * 64)][i % (ROUNDS * 64)] = (uint16_t)(i * 7 + 1);
    void *dx = device_copy_of(x, sizeof x), *dy = device_make(sizeof y);
    t.base      = dx;
    t.rank      = 2;
    t.size[0]   = ROUNDS * 64;
    t.size[1]   = CLUSTER * 8;
    t.stride[0] = ROUNDS * 128;
    t.box[0]    = 64;
    t.box[1]    = 8;
    t.swizzle   = CU_TENSOR_MAP_SWIZZLE_128B;
    bool ok     = device_tensor_map(&map, &t) &&
              LAUNCH(share_kernel<BUG>,
                     (device_grid{ CLUSTER, THREADS, BUG == LAUNCHED_WITHOUT_CLUSTERS ? 0 : CLUSTER, CLUSTER * ROW_BYTES }), &map,
                     &dy);
    device_read(y, dy, sizeof y);
    device_free(dx);
    device_free(dy);
    for (int thread = 0; thread < THREADS; thread++) {
        uint32_t sum = 0;
        for (int round = 0; round < ROUNDS; round++)
            for (int i = thread; i < CLUSTER * 8 * 64; i += THREADS)  /* chunk c of row r lies where c ^ r % 8 would */
                sum = sum * 3 + x[i / 64][round * 64 + ((i % 64 / 8) ^ (i / 64 % 8)) * 8 + i % 8];
        ok = ok && y[thread] == sum && y[THREADS + thread] == sum;
    }
    return ok;
}

enum { WARP = 32, SENDERS = 3 };

DEVICE float word_of(uint32_t block, uint32_t e, uint32_t i) { return (block % SENDERS == 1 ? 3e7f : 1.0f) + (float)(e * 7 + i); }

/* Round after round every block sends a word of each lane to all blocks, which add up what they are sent: two slots take turns.
 * In the end each says to the next that it is done, which nobody waits for. */
template <int BUG> __global__ void __launch_bounds__(WARP) sum_kernel(float *y)
{
    SHARED_ARRAY(float, given, 2 * SENDERS * WARP);
    SHARED_ARRAY(uint64_t, barriers, 3);
    uint32_t rank = cluster_rank(), i = threadIdx.x;
    if (i == 0) {
        for (int b = 0; b < 3; b++)
            mbarrier_init(shared_address(&barriers[b]), 1);
        fence_mbarrier_init();
    }
    cluster_arrive();
    cluster_wait();  /* the barriers of all blocks are made */
    for (uint32_t e = 0; e < ROUNDS; e++) {
        uint32_t turn = BUG == ONE_SLOT ? 0 : e % 2, parity = BUG == ONE_SLOT ? e % 2 : e / 2;
        float   *slots = given + turn * SENDERS * WARP;
        uint32_t barrier = shared_address(&barriers[turn]), slot = shared_address(&slots[rank * WARP + i]);
        for (uint32_t to = 0; to < SENDERS; to++)
            cluster_store_async(cluster_address(slot, to), __float_as_uint(word_of(rank, e, i)),
                                cluster_address(barrier, BUG == SIGNALS_ITSELF ? rank : to));
        if (i == 0)
            mbarrier_arrive_expect(barrier, (BUG == EXPECTS_TOO_LITTLE ? SENDERS - 1 : SENDERS) * WARP * 4);
        if (BUG == ARRIVES_ONCE_MORE && i == 0)
            mbarrier_arrive_remote_block(cluster_address(barrier, rank));
        mbarrier_wait(barrier, parity & 1);
        float sum = 0.0f;
        for (uint32_t r = 0; r < SENDERS; r++)
            sum += slots[(BUG == ADDS_OWN_FIRST ? (rank + r) % SENDERS : r) * WARP + i];
        y[(blockIdx.x * ROUNDS + e) * WARP + i] = sum;
        __syncwarp();  /* all lanes have read before one of them sends again, which lets others write here */
    }
    if (i == 0)
        mbarrier_arrive_remote_block(cluster_address(shared_address(&barriers[2]), (rank + 1) % SENDERS));
    if (BUG != LEAVES_WITH_ARRIVALS_TO_COME) {
        cluster_arrive();
        cluster_wait();  /* nobody exits before all have arrived at it */
    }
}

template <int BUG> static bool run_sum(void)
{
    float y[SENDERS * ROUNDS * WARP];
    void *dy = device_make(sizeof y);
    bool  ok = LAUNCH(sum_kernel<BUG>, (device_grid{ SENDERS, WARP, BUG == CLUSTERS_OF_ONE ? 1 : SENDERS, 0 }), &dy);
    device_read(y, dy, sizeof y);
    device_free(dy);
    for (uint32_t at = 0; at < SENDERS * ROUNDS * WARP; at++) {
        uint32_t e = at / WARP % ROUNDS, i = at % WARP;
        float    sum = 0.0f;
        for (uint32_t r = 0; r < SENDERS; r++)
            sum += word_of(r, e, i);
        ok = ok && y[at] == sum;
    }
    return ok;
}

#define SUM(name, bug, plain, check) { name, run_sum<bug>, run_sum<RIGHT>, plain, check }
#define READ(name, bug, plain, check) { name, run_read<bug>, run_read<RIGHT>, plain, check }
#define SHARE(name, bug, plain, check) { name, run_share<bug>, run_share<RIGHT>, plain, check }
const struct planted planted_cluster[] = {
    READ("cluster: no barrier before a remote read", NO_CLUSTER_BARRIER, "before the cluster's first barrier", "shared"),
    READ("cluster: relaxed arrive where release is needed", RELAXED_ARRIVE, NULL, "race"),
    READ("cluster: a block exits while it is read", EXITS_TOO_EARLY, "all of whose threads have exited", NULL),
    READ("cluster: a rank outside", RANK_OUTSIDE, "in a cluster of 2 blocks", NULL),
    READ("cluster: arrives twice", ARRIVES_TWICE, "a second time without a wait", NULL),
    READ("cluster: own address instead of the other's", OWN_ADDRESS, "values", NULL),
    SHARE("multicast: no barrier of the cluster before it", NO_CLUSTER_BARRIER, "before the cluster's first barrier", NULL),
    SHARE("multicast: in a launch without clusters", LAUNCHED_WITHOUT_CLUSTERS, "in a launch without clusters", NULL),
    SHARE("multicast: only the own part expected", EXPECTS_OWN_PART, "values", NULL),
    SHARE("multicast: slot released to itself only", RELEASES_ITSELF_ONLY, "values", "race"),
    SUM("st.async: one slot for all rounds", ONE_SLOT, "values", "race"),
    SUM("st.async: too few bytes expected", EXPECTS_TOO_LITTLE, "values", NULL),
    SUM("st.async: the sender's own barrier", SIGNALS_ITSELF, "of another block", NULL),
    SUM("st.async: one arrival too many while words come", ARRIVES_ONCE_MORE, "more arrivals than", NULL),
    SUM("st.async: in clusters of one", CLUSTERS_OF_ONE, "in a cluster of one block", NULL),
    SUM("st.async: blocks add in orders of their own", ADDS_OWN_FIRST, "values", NULL),
    SUM("cluster: exits before others arrive at it", LEAVES_WITH_ARRIVALS_TO_COME, "all of whose threads have exited", NULL),
    { NULL, NULL, NULL, NULL, NULL },
};
