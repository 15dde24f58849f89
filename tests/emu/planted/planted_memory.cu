/* Bugs in device memory: bounds, what nobody wrote, blocks that meet. */
#include "tests/emu/planted/planted.h"

#include <stdlib.h>

enum { THREADS = 64, BLOCKS = 4, COUNT = THREADS * BLOCKS };
enum memory_bug {
    RIGHT,
    WRITE_PAST_THE_END,
    READ_PAST_THE_END,
    BLOCKS_OVERLAP,
    READ_UNWRITTEN,
    HOST_POINTER,
    NO_BARRIER_BETWEEN,
    NO_FENCE,
    MISALIGNED
};

/* y[i] = 2 x[i], each block its part; then its first thread adds up the block's part through device memory. */
template <int BUG> __global__ void __launch_bounds__(THREADS) double_kernel(const uint32_t *x, uint32_t *y, uint32_t *sums)
{
    int step = BUG == BLOCKS_OVERLAP ? THREADS - 1 : THREADS, i = (int)blockIdx.x * step + (int)threadIdx.x;
    int last = (int)blockIdx.x == BLOCKS - 1 && threadIdx.x == THREADS - 1;
    uint32_t v = x[BUG == READ_PAST_THE_END && last ? i + 1 : i];
    y[BUG == WRITE_PAST_THE_END && last ? i + 1 : i] = 2 * v;
    if (BUG != NO_BARRIER_BETWEEN)
        __syncthreads();  /* the block's part is written */
    if (threadIdx.x == 0) {
        uint32_t sum = 0;
        for (int k = 0; k < THREADS; k++)
            sum += y[(int)blockIdx.x * step + k];
        sums[blockIdx.x] = sum;
    }
}

template <int BUG> static bool run_double(void)
{
    uint32_t x[COUNT], y[COUNT], sums[BLOCKS], own = 1;
    bool     right = true;
    for (int i = 0; i < COUNT; i++)
        x[i] = (uint32_t)i * 5 + 1;
    void *dx = BUG == READ_UNWRITTEN ? device_make(sizeof x) : device_copy_of(x, sizeof x), *dy = device_make(sizeof y);
    void *ds = device_make(sizeof sums), *host = malloc(sizeof x + own);
    bool  ok;
    if (BUG == HOST_POINTER) {
        for (int i = 0; i < COUNT; i++)
            ((uint32_t *)host)[i] = x[i];
        ok = LAUNCH(double_kernel<BUG>, (device_grid{ BLOCKS, THREADS, 0, 0 }), &host, &dy, &ds);
    } else {
        ok = LAUNCH(double_kernel<BUG>, (device_grid{ BLOCKS, THREADS, 0, 0 }), &dx, &dy, &ds);
    }
    device_read(y, dy, sizeof y);
    device_read(sums, ds, sizeof sums);
    for (int block = 0; block < BLOCKS; block++) {
        uint32_t sum = 0;
        for (int i = block * THREADS; i < (block + 1) * THREADS; i++) {
            right = right && y[i] == 2 * x[i];
            sum += 2 * x[i];
        }
        right = right && sums[block] == sum;
    }
    device_free(dx);
    device_free(dy);
    device_free(ds);
    free(host);
    return ok && right;
}

/* Each block leaves a part; the last to come adds them up. */
template <int BUG> __global__ void __launch_bounds__(32)
    last_block_kernel(const uint32_t *x, uint32_t *parts, uint32_t *counter, uint32_t *y)
{
    if (threadIdx.x == 0) {
        parts[blockIdx.x] = x[blockIdx.x];
        if (BUG != NO_FENCE)
            __threadfence();
        if (atomicAdd(counter, 1u) == gridDim.x - 1) {
            uint32_t sum = 0;
            __threadfence();
            for (uint32_t i = 0; i < gridDim.x; i++)
                sum += parts[i];
            *y = sum;
        }
    }
}

template <int BUG> static bool run_last_block(void)
{
    uint32_t x[8], zero = 0, y = 0, expected = 0;
    for (uint32_t i = 0; i < 8; i++)
        expected += x[i] = i * i + 1;
    void *dx = device_copy_of(x, sizeof x), *parts = device_make(sizeof x), *counter = device_copy_of(&zero, sizeof zero);
    void *dy = device_make(sizeof y);
    bool  ok = LAUNCH(last_block_kernel<BUG>, (device_grid{ 8, 32, 0, 0 }), &dx, &parts, &counter, &dy);
    device_read(&y, dy, sizeof y);
    device_free(dx);
    device_free(parts);
    device_free(counter);
    device_free(dy);
    return ok && y == expected;
}

/* y = x in units of eight bytes. */
template <int BUG> __global__ void __launch_bounds__(32) units_kernel(const uint32_t *x, uint32_t *y)
{
    const uint2 *from = (const uint2 *)(x + (BUG == MISALIGNED));
    *(uint2 *)(y + 2 * threadIdx.x) = from[threadIdx.x];
}

template <int BUG> static bool run_units(void)
{
    uint32_t x[65], y[64];
    for (uint32_t i = 0; i < 65; i++)
        x[i] = i * 9 + 4;
    void *dx = device_copy_of(x, sizeof x), *dy = device_make(sizeof y);
    bool  ok = LAUNCH(units_kernel<BUG>, (device_grid{ 1, 32, 0, 0 }), &dx, &dy);
    device_read(y, dy, sizeof y);
    device_free(dx);
    device_free(dy);
    return ok && case_equal("words", y, x, sizeof y);
}

#define DOUBLE(name, bug, plain, check) { name, run_double<bug>, run_double<RIGHT>, plain, check }
const struct planted planted_memory[] = {
    DOUBLE("a write past device memory", WRITE_PAST_THE_END, "device memory was written out of bounds",
           "neither shared, local nor device"),
    DOUBLE("a read past device memory", READ_PAST_THE_END, NULL, "neither shared, local nor device"),
    DOUBLE("blocks whose parts overlap", BLOCKS_OVERLAP, NULL, "race on device memory"),
    DOUBLE("device memory that nobody wrote", READ_UNWRITTEN, "values", "read of uninitialised device memory"),
    DOUBLE("a pointer of the host", HOST_POINTER, NULL, "neither shared, local nor device"),
    DOUBLE("no barrier between threads in device memory", NO_BARRIER_BETWEEN, "values", "device memory"),
    { "a last block without a fence", run_last_block<NO_FENCE>, run_last_block<RIGHT>, NULL, "race on device memory" },
    { "a vector at a misaligned address", run_units<MISALIGNED>, run_units<RIGHT>, NULL, "misaligned address" },
    { NULL, NULL, NULL, NULL, NULL },
};
