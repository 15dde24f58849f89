/* Bugs in the shape of a Hopper GEMM: TMA into a ring, mbarriers, wgmma, registers handed over. */
#include "tests/emu/planted/planted.h"

enum { ROWS = 64, STEPS = 5, DEPTH = 64 * STEPS, STAGES = 2, TILE_BYTES = ROWS * 128, THREADS = 256 };
enum tile_bug {
    RIGHT, NO_BARRIER_AFTER_INIT, NO_FENCE_AFTER_INIT, EMPTY_NOT_AWAITED, EXPECTS_TOO_LITTLE, EXPECTS_NOTHING, FULL_NOT_AWAITED,
    RELEASED_TOO_EARLY, ACCUMULATOR_NOT_AWAITED, NO_WGMMA_FENCE, SWIZZLE_LEFT_OUT, PHASE_NEVER_FLIPS, ACCUMULATOR_WRITTEN,
    A_CHANGED, TOO_MANY_ARRIVALS_WANTED, TOO_MANY_ARRIVALS, NOT_COMMITTED, OPERAND_OUTSIDE, BASE_NOT_ALIGNED, BARRIER_NEVER_MADE,
    WGMMA_BY_THREE_WARPS, COPY_NEVER_AWAITED, BARRIER_WRITTEN_OVER, PIPELINED, PIPELINED_RELEASES_NEWEST, PARITY_TOO_LARGE,
    EXPECTS_TOO_MUCH, PHASE_NEVER_SEEN, ADDRESS_RUNS_OVER, STARTS_WITHIN_PATTERN, CLEARED, CLEARED_WITHOUT_FENCE
};

template <int BUG>
__device__ static void produce(const CUtensorMap *a, const CUtensorMap *b, uint32_t tiles, uint32_t full, uint32_t empty)
{
    for (int step = 0; step < STEPS; step++) {
        uint32_t stage = (uint32_t)step % STAGES, to = tiles + stage * 2 * TILE_BYTES;
        uint32_t phase = BUG == PARITY_TOO_LARGE ? (uint32_t)step / STAGES : (uint32_t)step / STAGES & 1;
        if (BUG != EMPTY_NOT_AWAITED)
            mbarrier_wait(empty + 8 * stage, BUG == PHASE_NEVER_FLIPS ? 1 : phase ^ 1);
        if (BUG == EXPECTS_NOTHING)
            mbarrier_arrive(full + 8 * stage);
        else
            mbarrier_arrive_expect(full + 8 * stage, BUG == EXPECTS_TOO_LITTLE ? TILE_BYTES :
                                                     BUG == EXPECTS_TOO_MUCH   ? 1 << 20 : 2 * TILE_BYTES);
        tma_load_2d(to, a, full + 8 * stage, step * 64, 0);
        tma_load_2d(to + TILE_BYTES, b, full + 8 * stage, step * 64, 0);
    }
    if (BUG == COPY_NEVER_AWAITED) {
        mbarrier_wait(empty + 8, STEPS / STAGES & 1 ? 0 : 1);
        mbarrier_arrive_expect(full + 8, TILE_BYTES);
        tma_load_2d(tiles + 2 * TILE_BYTES, a, full + 8, 0, 0);
    }
}

template <int BUG> __device__ static void multiply(float (&d)[32], uint32_t (&a)[4], uint32_t tiles, bool from_registers)
{
    const int swizzle = BUG == SWIZZLE_LEFT_OUT ? wgmma_swizzle_none : wgmma_swizzle_128;
    for (uint32_t k = 0; k < 4; k++) {
        uint32_t at = tiles + k * 32 + (BUG == OPERAND_OUTSIDE ? 8 * TILE_BYTES : BUG == STARTS_WITHIN_PATTERN ? 128 : 0);
        uint64_t more = BUG == ADDRESS_RUNS_OVER ? 1 << 14 : 0;
        if (from_registers)
            wgmma_rs<__nv_bfloat16>(d, a, wgmma_descriptor(at + TILE_BYTES, 16, 1024, swizzle), 1);
        else
            wgmma_ss<__nv_bfloat16>(d, wgmma_descriptor(at, 16, 1024, swizzle) + more,
                                    wgmma_descriptor(at + TILE_BYTES, 16, 1024, swizzle), 1);
    }
}

template <int BUG> __device__ static void consume(float (&d)[32], uint32_t tiles, uint32_t full, uint32_t empty)
{
    int      thread = (int)threadIdx.x - 128;
    uint32_t a[4]   = { 0, 0, 0, 0 };
    for (int step = 0; step < STEPS; step++) {
        uint32_t stage = (uint32_t)step % STAGES, phase = (uint32_t)step / STAGES & 1;
        if (BUG != FULL_NOT_AWAITED)
            mbarrier_wait(full + 8 * stage, BUG == PHASE_NEVER_FLIPS ? 0 : phase);
        if (BUG != NO_WGMMA_FENCE)
            wgmma_fence();
        if (!(BUG == WGMMA_BY_THREE_WARPS && thread >= 96))
            multiply<BUG>(d, a, tiles + stage * 2 * TILE_BYTES, BUG == A_CHANGED);
        if (BUG != NOT_COMMITTED)
            wgmma_commit();
        if (BUG == A_CHANGED)
            a[0] = (uint32_t)step + 1;
        if (BUG == ACCUMULATOR_WRITTEN && step == 2)
            d[5] += 1.0f;
        if (BUG == PIPELINED || BUG == PIPELINED_RELEASES_NEWEST)
            wgmma_wait<1>();  /* this step's products stay in flight, those before are done */
        else if (BUG != RELEASED_TOO_EARLY && BUG != ACCUMULATOR_NOT_AWAITED)
            wgmma_wait<0>();
        if (BUG == PHASE_NEVER_SEEN && thread == 0)
            mbarrier_arrive(empty + 8 * STAGES);
        if (BUG == PIPELINED && thread == 0 && step > 0)
            mbarrier_arrive(empty + 8 * (stage ^ 1));
        if (BUG != PIPELINED && (BUG == TOO_MANY_ARRIVALS ? thread < 2 : thread == 0))
            mbarrier_arrive(empty + 8 * stage);
    }
    if (BUG != ACCUMULATOR_NOT_AWAITED)
        wgmma_wait<0>();
    wgmma_settle(d);
    wgmma_settle(a);
}

/* c [64, 64] = a [64, DEPTH] b [64, DEPTH]^T. */
template <int BUG> __global__ void __launch_bounds__(THREADS)
    gemm_kernel(const __grid_constant__ CUtensorMap a, const __grid_constant__ CUtensorMap b, float *c)
{
    SHARED_DYNAMIC(uint8_t, buffer, 1024);
    SHARED_ARRAY(uint64_t, barriers, 2 * STAGES + 1);
    uint32_t tiles = shared_address(buffer) + (BUG == BASE_NOT_ALIGNED ? 128 : 0), full = shared_address(barriers),
             empty = full + 8 * STAGES;
    if (threadIdx.x == 0 && BUG != BARRIER_NEVER_MADE) {
        for (uint32_t i = 0; i < STAGES; i++) {
            mbarrier_init(full + 8 * i, 1);
            mbarrier_init(empty + 8 * i, BUG == TOO_MANY_ARRIVALS_WANTED ? 2 : 1);
        }
        mbarrier_init(empty + 8 * STAGES, 1);  /* for whoever wants one more */
        if (BUG != NO_FENCE_AFTER_INIT)
            fence_mbarrier_init();
    }
    if (BUG == CLEARED || BUG == CLEARED_WITHOUT_FENCE)
        for (int i = (int)threadIdx.x; i < STAGES * 2 * TILE_BYTES / 4; i += THREADS)
            ((uint32_t *)buffer)[i] = 0;
    if (BUG == CLEARED)
        fence_proxy_async();
    if (BUG != NO_BARRIER_AFTER_INIT)
        __syncthreads();  /* the barriers are made */
    if (BUG == BARRIER_WRITTEN_OVER && threadIdx.x == 128)
        ((volatile uint64_t *)barriers)[1] = 0;
    if (warpgroup_index() == 0) {
        if (threadIdx.x == 0)
            produce<BUG>(&a, &b, tiles, full, empty);
        return;
    }
    float d[32];
    for (int i = 0; i < 32; i++)
        d[i] = 0.0f;
    consume<BUG>(d, tiles, full, empty);
    for (int i = 0; i < 32; i++)
        c[wgmma_d_row((int)threadIdx.x - 128, i) * ROWS + wgmma_d_column((int)threadIdx.x - 128, i)] = d[i];
}

static struct device_tensor tensor_of(void *base)
{
    struct device_tensor t = {};
    t.base                 = base;
    t.rank                 = 2;
    t.size[0]              = DEPTH;
    t.size[1]              = ROWS;
    t.stride[0]            = DEPTH * 2;
    t.box[0]               = 64;
    t.box[1]               = ROWS;
    t.swizzle              = CU_TENSOR_MAP_SWIZZLE_128B;
    return t;
}

template <int BUG> static bool run_gemm(void)
{
    static uint16_t a[ROWS * DEPTH], b[ROWS * DEPTH];
    static float    c[ROWS * ROWS];
    CUtensorMap     ma, mb;
    for (int i = 0; i < ROWS * DEPTH; i++) {
        a[i] = case_bf16(case_value(i) + 1);
        b[i] = case_bf16(case_value(i + 77));
    }
    void                *da = device_copy_of(a, sizeof a), *db = device_copy_of(b, sizeof b), *dc = device_make(sizeof c);
    struct device_tensor ta = tensor_of(da), tb = tensor_of(db);
    bool ok = device_tensor_map(&ma, &ta) && device_tensor_map(&mb, &tb) &&
              LAUNCH(gemm_kernel<BUG>, (device_grid{ 1, THREADS, 0, STAGES * 2 * TILE_BYTES + 1024 }), &ma, &mb, &dc);
    device_read(c, dc, sizeof c);
    device_free(da);
    device_free(db);
    device_free(dc);
    for (int i = 0; i < ROWS * ROWS && ok; i++) {
        float expected = 0;
        for (int k = 0; k < DEPTH; k++)
            expected += (float)((case_value(i / ROWS * DEPTH + k) + 1) * case_value(i % ROWS * DEPTH + k + 77));
        ok = c[i] == expected;
    }
    return ok;
}

#define GEMM(name, bug, plain, check) { name, run_gemm<bug>, run_gemm<RIGHT>, plain, check }
const struct planted planted_tiles[] = {
    GEMM("mbarrier: no barrier after the init", NO_BARRIER_AFTER_INIT, "before mbarrier.init", "mbarrier"),
    GEMM("mbarrier: no fence after the init", NO_FENCE_AFTER_INIT, NULL, "without fence.mbarrier_init"),
    GEMM("mbarrier: never made", BARRIER_NEVER_MADE, "used before mbarrier.init", NULL),
    GEMM("mbarrier: written over", BARRIER_WRITTEN_OVER, "was written over since its init", NULL),
    GEMM("mbarrier: empty slot not awaited", EMPTY_NOT_AWAITED, "values", "deadlock"),
    GEMM("mbarrier: full slot not awaited", FULL_NOT_AWAITED, "values", "race"),
    GEMM("mbarrier: too few bytes expected", EXPECTS_TOO_LITTLE, "values", NULL),
    GEMM("mbarrier: no bytes expected", EXPECTS_NOTHING, "values", NULL),
    GEMM("mbarrier: phase never flips", PHASE_NEVER_FLIPS, "values", NULL),
    GEMM("mbarrier: made for one arrival too many", TOO_MANY_ARRIVALS_WANTED, "arrivals and", NULL),
    GEMM("mbarrier: one arrival too many", TOO_MANY_ARRIVALS, "values", NULL),
    GEMM("mbarrier: a parity of more than 1", PARITY_TOO_LARGE, "it is 0 or 1", NULL),
    GEMM("mbarrier: more bytes expected than it counts", EXPECTS_TOO_MUCH, "it counts to", NULL),
    GEMM("mbarrier: a phase that nobody waits for", PHASE_NEVER_SEEN, "nobody has waited for the end of the last one", NULL),
    GEMM("mbarrier: slot released before the product", RELEASED_TOO_EARLY, "values", "race"),
    GEMM("TMA: a copy that nobody awaits", COPY_NEVER_AWAITED, "still in flight when the block ended", NULL),
    GEMM("TMA: swizzled tile at an odd base", BASE_NOT_ALIGNED, "its pattern repeats", NULL),
    GEMM("wgmma: no wait before the accumulator is read", ACCUMULATOR_NOT_AWAITED, "values", NULL),
    GEMM("wgmma: accumulator written in flight", ACCUMULATOR_WRITTEN, "was written before the wait", NULL),
    GEMM("wgmma: A in registers changed in flight", A_CHANGED, "was changed while the wgmma", NULL),
    GEMM("wgmma: no fence", NO_WGMMA_FENCE, "without a wgmma fence", NULL),
    GEMM("wgmma: not committed", NOT_COMMITTED, "values", NULL),
    GEMM("wgmma: swizzle left out of the descriptor", SWIZZLE_LEFT_OUT, "values", NULL),
    GEMM("wgmma: a descriptor's address runs over", ADDRESS_RUNS_OVER, "bits of a wgmma descriptor", NULL),
    GEMM("wgmma: operand starts within a pattern", STARTS_WITHIN_PATTERN, "patterns of its swizzle", NULL),
    GEMM("wgmma: operand outside shared memory", OPERAND_OUTSIDE, "operand out of bounds", NULL),
    GEMM("wgmma: by three of four warps", WGMMA_BY_THREE_WARPS, "wgmma", NULL),
    { "TMA: a load over what threads wrote, without fence", run_gemm<CLEARED_WITHOUT_FENCE>, run_gemm<CLEARED>, NULL,
      "the async proxy writes" },
    { "wgmma: newest stage released, one group in flight", run_gemm<PIPELINED_RELEASES_NEWEST>, run_gemm<PIPELINED>, "values",
      "race" },
    { NULL, NULL, NULL, NULL, NULL },
};
