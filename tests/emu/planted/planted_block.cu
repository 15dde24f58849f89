/* Bugs inside a block: barriers, shared memory, collectives of a warp. */
#include "tests/emu/planted/planted.h"

enum { THREADS = 128, WARPS = THREADS / 32, ROUNDS = 2 };
enum sum_bug {
    RIGHT, NO_BARRIER_BEFORE_REUSE, NO_BARRIER_AFTER_WRITE, PAST_THE_ARRAY, ENTRY_NEVER_WRITTEN, LANE_OUTSIDE_MASK,
    DIVERGED_COLLECTIVES, BARRIER_IN_BRANCHES, STEP_LEFT_OUT, BARRIER_BY_SOME, COUNTS_DIFFER
};

/* y[round] = sum of x * (round + 1) over the block, twice through the same four words of shared memory. */
template <int BUG> __global__ void __launch_bounds__(THREADS) sum_kernel(const uint32_t *x, uint32_t *y)
{
    SHARED_ARRAY(uint32_t, partial, WARPS);
    int lane = (int)threadIdx.x % 32, warp = (int)threadIdx.x / 32;
    for (int round = 0; round < ROUNDS; round++) {
        uint32_t v = x[threadIdx.x] * (uint32_t)(round + 1);
        for (int distance = BUG == STEP_LEFT_OUT ? 8 : 16; distance > 0; distance /= 2) {
            if (BUG == DIVERGED_COLLECTIVES && lane == 31)
                v += __ballot_sync(0xffffffffu, 1);
            else
                v += __shfl_xor_sync(BUG == LANE_OUTSIDE_MASK ? 0x7fffffffu : 0xffffffffu, v, distance);
        }
        if (BUG != NO_BARRIER_BEFORE_REUSE)
            __syncthreads();  /* the sums of the round before have been read */
        if (lane == 0 && !(BUG == ENTRY_NEVER_WRITTEN && warp == 3))
            partial[warp] = v;
        if (BUG == PAST_THE_ARRAY && threadIdx.x == 0)
            ((volatile uint32_t *)partial)[WARPS + (int)threadIdx.x] = v;
        if (BUG == BARRIER_IN_BRANCHES && warp == 0) {
            __syncthreads();
        } else if (BUG == COUNTS_DIFFER) {
            if (warp == 0)
                named_barrier_sync<1, 64>();
            else
                named_barrier_sync<1, 128>();
        } else if (BUG != NO_BARRIER_AFTER_WRITE && !(BUG == BARRIER_BY_SOME && warp == 3 && round == 1)) {
            __syncthreads();  /* all warps' sums are there */
        }
        uint32_t sum = 0;
        for (int i = 0; i < WARPS; i++)
            sum += partial[i];
        if (threadIdx.x == 64)
            y[round] = sum;
        if (BUG == BARRIER_BY_SOME && round == 1 && warp == 3)
            named_barrier_sync<2, 64>();
    }
}

template <int BUG> static bool run_sum(void)
{
    uint32_t x[THREADS], y[ROUNDS], expected[ROUNDS] = { 0, 0 };
    for (int i = 0; i < THREADS; i++) {
        x[i] = (uint32_t)(i * i + 3);
        expected[0] += x[i];
        expected[1] += 2 * x[i];
    }
    void *dx = device_copy_of(x, sizeof x), *dy = device_make(sizeof y);
    bool  ok = LAUNCH(sum_kernel<BUG>, (device_grid{ 1, THREADS, 0, 0 }), &dx, &dy);
    device_read(y, dy, sizeof y);
    device_free(dx);
    device_free(dy);
    return ok && y[0] == expected[0] && y[1] == expected[1];
}

enum registers_bug { MORE_THAN_THERE_ARE = 1, BY_ONE_WARP };

/* setmaxnreg: 168 a thread at the launch. */
template <int BUG> __global__ void __launch_bounds__(384, 1) registers_kernel(uint32_t *y)
{
    if (BUG == BY_ONE_WARP) {
        if (threadIdx.x < 32)
            registers_lower<40>();
    } else if (threadIdx.x < 128) {
        registers_lower<40>();
    } else if (BUG == MORE_THAN_THERE_ARE) {
        registers_raise<240>();
    } else {
        registers_raise<232>();
    }
    y[threadIdx.x] = threadIdx.x;
}

template <int BUG> static bool run_registers(void)
{
    void *dy = device_make(384 * sizeof(uint32_t));
    bool  ok = LAUNCH(registers_kernel<BUG>, (device_grid{ 1, 384, 0, 0 }), &dy);
    device_free(dy);
    return ok;
}

#define SUM(name, bug, plain, check) { name, run_sum<bug>, run_sum<RIGHT>, plain, check }
const struct planted planted_block[] = {
    SUM("no barrier before shared memory is reused", NO_BARRIER_BEFORE_REUSE, "values", "race: write of shared"),
    SUM("no barrier after shared memory is written", NO_BARRIER_AFTER_WRITE, "values", "shared"),
    SUM("a write past a shared array", PAST_THE_ARRAY, "behind a static array", "out of bounds"),
    SUM("shared memory that nobody wrote", ENTRY_NEVER_WRITTEN, "values", "read of uninitialised shared memory"),
    SUM("a lane outside its own mask", LANE_OUTSIDE_MASK, "is not in mask", NULL),
    SUM("lanes in different collectives", DIVERGED_COLLECTIVES, "divergent warp", NULL),
    SUM("__syncthreads in both branches", BARRIER_IN_BRANCHES, "__syncthreads reached by threads at different calls", NULL),
    SUM("a step of a reduction left out", STEP_LEFT_OUT, "values", NULL),
    SUM("a barrier that some threads miss", BARRIER_BY_SOME, "deadlock", NULL),
    SUM("a named barrier with two counts", COUNTS_DIFFER, "comes with a count", NULL),
    { "more registers than the pool has", run_registers<MORE_THAN_THERE_ARE>, run_registers<RIGHT>, "setmaxnreg.inc: the pool has",
      NULL },
    { "setmaxnreg by one warp of four", run_registers<BY_ONE_WARP>, run_registers<RIGHT>, "by some warps of warpgroup 0 only",
      NULL },
    { NULL, NULL, NULL, NULL, NULL },
};
