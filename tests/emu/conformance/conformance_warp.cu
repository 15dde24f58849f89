/* The whole warp, and barriers of a block. */
#include "tests/emu/conformance/conformance.h"

enum { RESULTS = 256 };

typedef void expected_value(int thread, uint32_t *value);

static bool gives(const char *what, const void *kernel, int threads, expected_value *value)
{
    uint32_t y[RESULTS], expected[RESULTS];
    void    *dy     = device_make(sizeof y);
    void    *args[] = { &dy };
    bool     ok     = device_launch(kernel, { 1, threads, 0, 0 }, args);
    device_read(y, dy, sizeof y);
    device_free(dy);
    for (int i = 0; i < threads; i++)
        value(i, &expected[i]);
    return ok && case_equal(what, y, expected, (size_t)threads * sizeof *y);
}

__global__ void __launch_bounds__(RESULTS) reductions_kernel(uint32_t *y)
{
    uint32_t x = threadIdx.x * 7919u % 31u + 1u;
    uint32_t a = warp_add_u32(x), b = warp_max_u32(x), c = warp_min_u32(x);
    y[threadIdx.x] = a | b << 12 | c << 24;
}
static void reductions_expected(int thread, uint32_t *value)
{
    uint32_t sum = 0, most = 0, least = ~0u;
    for (uint32_t i = 0; i < 32; i++) {
        uint32_t x = ((uint32_t)(thread / 32) * 32 + i) * 7919u % 31u + 1u;
        sum += x;
        most  = x > most ? x : most;
        least = x < least ? x : least;
    }
    *value = sum | most << 12 | least << 24;
}
static bool run_reductions(void) { return gives("reductions", KERNEL_HANDLE(reductions_kernel), RESULTS, reductions_expected); }

__global__ void __launch_bounds__(RESULTS) elect_kernel(uint32_t *y)
{
    uint32_t elected = __ballot_sync(0xffffffffu, elect_one()), again = __ballot_sync(0xffffffffu, elect_one());
    y[threadIdx.x]   = (uint32_t)__popc(elected) | (elected == again ? 16u : 0u);
}
static void elect_expected(int thread, uint32_t *value)
{
    (void)thread;
    *value = 17;
}
static bool run_elect(void) { return gives("elected lanes", KERNEL_HANDLE(elect_kernel), RESULTS, elect_expected); }

__global__ void __launch_bounds__(RESULTS) shuffles_kernel(uint32_t *y)
{
    uint32_t lane = threadIdx.x % 32, x = threadIdx.x + 1;
    uint32_t a = __shfl_xor_sync(0xffffffffu, x, 5), b = __shfl_sync(0xffffffffu, x, 3, 8);
    uint32_t c = __shfl_down_sync(0xffffffffu, x, 2), d = __shfl_up_sync(0xffffffffu, x, 4, 16);
    uint32_t vote = __ballot_sync(0xffffffffu, lane % 3 == 0);
    y[threadIdx.x] = a + 3 * b + 5 * c + 7 * d + vote;
}
static void shuffles_expected(int thread, uint32_t *value)
{
    uint32_t base = (uint32_t)thread / 32 * 32 + 1, lane = (uint32_t)thread % 32, vote = 0;
    uint32_t a = base + (lane ^ 5), b = base + lane / 8 * 8 + 3, c = base + (lane + 2 < 32 ? lane + 2 : lane);
    uint32_t d = base + (lane % 16 >= 4 ? lane - 4 : lane);
    for (uint32_t i = 0; i < 32; i += 3)
        vote |= 1u << i;
    *value = a + 3 * b + 5 * c + 7 * d + vote;
}
static bool run_shuffles(void) { return gives("shuffles", KERNEL_HANDLE(shuffles_kernel), RESULTS, shuffles_expected); }

/* Two halves of a warp in different collectives at the same time, and a warp whose upper lanes have left. */
__global__ void __launch_bounds__(64) halves_kernel(uint32_t *y)
{
    uint32_t lane = threadIdx.x % 32, v = lane;
    if (threadIdx.x >= 52)
        return;
    if (threadIdx.x < 16)
        for (int i = 8; i; i >>= 1)
            v += __shfl_xor_sync(0x0000ffffu, v, i);
    else if (threadIdx.x < 32)
        v = __ballot_sync(0xffff0000u, lane & 1);
    else
        v = __ballot_sync(0x000fffffu, lane % 2 == 0);
    y[threadIdx.x] = v;
}
static void halves_expected(int thread, uint32_t *value) { *value = thread < 16 ? 120u : thread < 32 ? 0xaaaa0000u : 0x55555u; }
static bool run_halves(void)
{
    uint32_t y[52], expected[52];
    void    *dy = device_make(sizeof y);
    bool     ok = LAUNCH(halves_kernel, (device_grid{ 1, 64, 0, 0 }), &dy);
    device_read(y, dy, sizeof y);
    device_free(dy);
    for (int i = 0; i < 52; i++)
        halves_expected(i, &expected[i]);
    return ok && case_equal("halves", y, expected, sizeof y);
}

__global__ void __launch_bounds__(RESULTS) match_kernel(uint32_t *y)
{
    y[threadIdx.x] = __match_any_sync(0xffffffffu, threadIdx.x % 5);
}
static void match_expected(int thread, uint32_t *value)
{
    *value = 0;
    for (int lane = 0; lane < 32; lane++)
        if ((thread / 32 * 32 + lane) % 5 == thread % 5)
            *value |= 1u << lane;
}
static bool run_match(void) { return gives("matches", KERNEL_HANDLE(match_kernel), RESULTS, match_expected); }

/* Two warps write and go on, two others wait for them. */
__global__ void __launch_bounds__(128) named_kernel(uint32_t *y)
{
    SHARED_ARRAY(uint32_t, buffer, 64);
    if (threadIdx.x < 64) {
        buffer[threadIdx.x] = threadIdx.x * 3;
        named_barrier_arrive<1, 128>();
        y[threadIdx.x] = 1;
    } else {
        named_barrier_sync<1, 128>();  /* the buffer is full */
        y[threadIdx.x] = buffer[127 - threadIdx.x];
    }
}
static void named_expected(int thread, uint32_t *value) { *value = thread < 64 ? 1u : (uint32_t)(127 - thread) * 3; }
static bool run_named(void) { return gives("hand over", KERNEL_HANDLE(named_kernel), 128, named_expected); }

__global__ void __launch_bounds__(RESULTS) votes_kernel(uint32_t *y)
{
    uint32_t count = (uint32_t)__syncthreads_count(threadIdx.x % 3 == 0);
    uint32_t all = (uint32_t)__syncthreads_and(threadIdx.x < 256), any = (uint32_t)__syncthreads_or(threadIdx.x == 200);
    y[threadIdx.x] = count | (all ? 1024u : 0u) | (any ? 2048u : 0u) | (uint32_t)warpgroup_index() << 16;
}
static void votes_expected(int thread, uint32_t *value) { *value = 86u | 1024u | 2048u | (uint32_t)(thread / 128) << 16; }
static bool run_votes(void) { return gives("votes", KERNEL_HANDLE(votes_kernel), RESULTS, votes_expected); }

const struct conformance_case cases_warp[] = {
    { "redux.sync.{add,max,min}.u32", run_reductions },
    { "elect.sync", run_elect },
    { "shfl.sync, vote.sync", run_shuffles },
    { "collectives of a part of a warp", run_halves },
    { "match.any.sync", run_match },
    { "bar.sync, bar.arrive", run_named },
    { "barrier.red, warpgroup_index", run_votes },
    { NULL, NULL },
};
