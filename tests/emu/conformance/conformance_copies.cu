/* cp.async, mbarriers, fences, bulk copies. */
#include "tests/emu/conformance/conformance.h"

#include <string.h>

enum { THREADS = 128 };

/* Every thread copies UNITS pieces in groups of one; with holes that have to become zero. */
template <int BYTES> __global__ void __launch_bounds__(THREADS) cp_async_kernel(const uint8_t *x, uint8_t *y)
{
    SHARED_DYNAMIC(uint8_t, buffer, 128);
    uint32_t to = shared_address(buffer);
    for (int i = 0; i < 4; i++) {
        int at = (i * THREADS + (int)threadIdx.x) * BYTES;
        cp_async<BYTES>(to + (uint32_t)at, x + at, (threadIdx.x + (unsigned)i) % 5 != 0);
        cp_async_commit();
    }
    cp_async_wait<1>();
    __syncthreads();  /* all but the last group of every thread have landed */
    for (int at = (int)threadIdx.x; at < 3 * THREADS * BYTES; at += THREADS)
        y[at] = buffer[at];
    cp_async_wait<0>();
    __syncthreads();  /* the last group as well */
    for (int at = 3 * THREADS * BYTES + (int)threadIdx.x; at < 4 * THREADS * BYTES; at += THREADS)
        y[at] = buffer[at];
}

template <int BYTES> static bool run_cp_async(void)
{
    uint8_t x[4 * THREADS * BYTES], y[4 * THREADS * BYTES], expected[4 * THREADS * BYTES];
    for (int i = 0; i < 4 * THREADS * BYTES; i++) {
        int unit    = i / BYTES;
        x[i]        = (uint8_t)(i * 31 + i / 256 + 1);
        expected[i] = (uint8_t)((unit % THREADS + unit / THREADS) % 5 ? x[i] : 0);
    }
    void *dx = device_copy_of(x, sizeof x), *dy = device_make(sizeof y);
    bool  ok = LAUNCH(cp_async_kernel<BYTES>, (device_grid{ 1, THREADS, 0, sizeof x }), &dx, &dy);
    device_read(y, dy, sizeof y);
    device_free(dx);
    device_free(dy);
    return ok && case_equal("bytes", y, expected, sizeof y);
}

/* 16 bytes of which lane by lane more come from memory. */
__global__ void __launch_bounds__(THREADS) cp_async_part_kernel(const uint8_t *x, uint8_t *y)
{
    SHARED_ARRAY(uint8_t, buffer, THREADS * 16);
    const int at = (int)threadIdx.x * 16;
    cp_async_part(shared_address(buffer + at), x + at, (int)threadIdx.x % 17);
    cp_async_wait_all();
    for (int i = 0; i < 16; i++)
        y[at + i] = buffer[at + i];
}

static bool run_cp_async_part(void)
{
    uint8_t x[THREADS * 16], y[THREADS * 16], expected[THREADS * 16];
    for (int i = 0; i < THREADS * 16; i++) {
        x[i]        = (uint8_t)(i * 31 + i / 256 + 1);
        expected[i] = (uint8_t)(i % 16 < i / 16 % 17 ? x[i] : 0);
    }
    void *dx = device_copy_of(x, sizeof x), *dy = device_make(sizeof y);
    bool  ok = LAUNCH(cp_async_part_kernel, (device_grid{ 1, THREADS, 0, 0 }), &dx, &dy);
    device_read(y, dy, sizeof y);
    device_free(dx);
    device_free(dy);
    return ok && case_equal("bytes", y, expected, sizeof y);
}

/* Copies that arrive at a barrier themselves; a second warp waits there. */
__global__ void __launch_bounds__(64) arrive_kernel(const uint32_t *x, uint32_t *y)
{
    SHARED_ARRAY(uint32_t, buffer, 4 * 32);
    SHARED_ARRAY(uint64_t, barrier, 1);
    uint32_t bar = shared_address(barrier);
    if (threadIdx.x == 0)
        mbarrier_init(bar, 32);
    __syncthreads();  /* the barrier is made */
    if (threadIdx.x < 32) {
        cp_async<16>(shared_address(&buffer[threadIdx.x * 4]), x + threadIdx.x * 4);
        cp_async_arrive(bar);
        cp_async_wait_all();
    } else {
        mbarrier_wait(bar, 0);
        for (int i = 0; i < 4; i++)
            y[(threadIdx.x - 32) * 4 + (unsigned)i] = buffer[(63 - threadIdx.x) * 4 + (unsigned)i];
    }
}

static bool run_arrive(void)
{
    uint32_t x[128], y[128], expected[128];
    for (int i = 0; i < 128; i++)
        x[i] = (uint32_t)i * 77u + 5u;
    for (int i = 0; i < 128; i++)
        expected[i] = x[(31 - i / 4) * 4 + i % 4];
    void *dx = device_copy_of(x, sizeof x), *dy = device_make(sizeof y);
    bool  ok = LAUNCH(arrive_kernel, (device_grid{ 1, 64, 0, 0 }), &dx, &dy);
    device_read(y, dy, sizeof y);
    device_free(dx);
    device_free(dy);
    return ok && case_equal("words", y, expected, sizeof y);
}

/* A ring of two slots between a producer warp and a consumer warp, through several phases of both barriers. */
__global__ void __launch_bounds__(64) ring_kernel(uint32_t *y, int rounds)
{
    SHARED_ARRAY(uint32_t, slots, 2 * 32);
    SHARED_ARRAY(uint64_t, barriers, 4);
    uint32_t full = shared_address(barriers), empty = full + 16;
    int      lane = (int)threadIdx.x % 32;
    if (threadIdx.x == 0)
        for (uint32_t i = 0; i < 2; i++) {
            mbarrier_init(full + 8 * i, 32);
            mbarrier_init(empty + 8 * i, 32);
        }
    __syncthreads();  /* the barriers are made */
    uint32_t sum = 0;
    for (int i = 0; i < rounds; i++) {
        uint32_t slot = (uint32_t)i % 2, phase = (uint32_t)i / 2 % 2;
        if (threadIdx.x < 32) {
            mbarrier_wait(empty + 8 * slot, phase ^ 1);
            slots[slot * 32 + (uint32_t)lane] = (uint32_t)(i * 32 + lane);
            mbarrier_arrive(full + 8 * slot);
        } else {
            while (!mbarrier_try_wait(full + 8 * slot, phase))
                ;
            sum = sum * 3 + slots[slot * 32 + 31 - (uint32_t)lane];
            mbarrier_arrive(empty + 8 * slot);
        }
    }
    if (threadIdx.x >= 32)
        y[lane] = sum;
}

static bool run_ring(void)
{
    enum { ROUNDS = 9 };
    uint32_t y[32], expected[32];
    int      rounds = ROUNDS;
    void    *dy     = device_make(sizeof y);
    bool     ok     = LAUNCH(ring_kernel, (device_grid{ 1, 64, 0, 0 }), &dy, &rounds);
    device_read(y, dy, sizeof y);
    device_free(dy);
    for (int lane = 0; lane < 32; lane++) {
        expected[lane] = 0;
        for (int i = 0; i < ROUNDS; i++)
            expected[lane] = expected[lane] * 3 + (uint32_t)(i * 32 + 31 - lane);
    }
    return ok && case_equal("sums", y, expected, sizeof y);
}

/* Bytes in a row, in by a barrier and out by a group. */
__global__ void __launch_bounds__(32) bulk_kernel(const uint8_t *x, uint8_t *y, uint32_t bytes)
{
    SHARED_DYNAMIC(uint8_t, buffer, 128);
    SHARED_ARRAY(uint64_t, barrier, 1);
    uint32_t bar = shared_address(barrier), to = shared_address(buffer);
    if (threadIdx.x == 0) {
        mbarrier_init(bar, 1);
        fence_mbarrier_init();
        bulk_prefetch(x, bytes);
        mbarrier_expect(bar, bytes / 2);
        mbarrier_arrive_expect(bar, bytes - bytes / 2);
        bulk_load(to, x, bytes, bar);
    }
    __syncwarp();  /* the barrier is made */
    mbarrier_wait(bar, 0);
    for (uint32_t i = threadIdx.x; i < bytes; i += 32)
        buffer[i] ^= 0x55;
    fence_proxy_async();
    __syncwarp();  /* every lane's part is written, and fenced */
    if (threadIdx.x == 0) {
        bulk_store(y, to, bytes);
        bulk_commit();
        bulk_wait<0>();
        mbarrier_invalidate(bar);
    }
}

static bool run_bulk(void)
{
    uint8_t  x[1024], y[1024], expected[1024];
    uint32_t bytes = sizeof x;
    for (int i = 0; i < 1024; i++) {
        x[i]        = (uint8_t)(i * 13 + i / 256);
        expected[i] = (uint8_t)(x[i] ^ 0x55);
    }
    void *dx = device_copy_of(x, sizeof x), *dy = device_make(sizeof y);
    bool  ok = LAUNCH(bulk_kernel, (device_grid{ 1, 32, 0, sizeof x }), &dx, &dy, &bytes);
    device_read(y, dy, sizeof y);
    device_free(dx);
    device_free(dy);
    return ok && case_equal("bytes", y, expected, sizeof y);
}

__global__ void __launch_bounds__(32) overlap_kernel(uint32_t *y)
{
    launch_wait();
    y[threadIdx.x] = threadIdx.x + 3;
    launch_dependents();
}

static bool run_overlap(void)
{
    uint32_t y[32], expected[32];
    void    *dy = device_make(sizeof y);
    bool     ok = LAUNCH(overlap_kernel, (device_grid{ 1, 32, 0, 0 }), &dy);
    device_read(y, dy, sizeof y);
    device_free(dy);
    for (uint32_t i = 0; i < 32; i++)
        expected[i] = i + 3;
    return ok && case_equal("words", y, expected, sizeof y);
}

const struct conformance_case cases_copies[] = {
    { "cp.async.ca 4", run_cp_async<4> },
    { "cp.async.ca 8", run_cp_async<8> },
    { "cp.async.cg 16", run_cp_async<16> },
    { "cp.async.cg 16 in part", run_cp_async_part },
    { "cp.async.mbarrier.arrive.noinc", run_arrive },
    { "mbarrier.{init,arrive,try_wait}", run_ring },
    { "cp.async.bulk, mbarrier.expect_tx, proxy fence", run_bulk },
    { "griddepcontrol", run_overlap },
    { NULL, NULL },
};
