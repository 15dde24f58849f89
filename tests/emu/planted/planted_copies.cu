/* Bugs around cp.async and ldmatrix: two buffers filled while the other is multiplied. */
#include "tests/emu/planted/planted.h"

enum { THREADS = 64, TILES = 5, TILE_BYTES = 16 * 32 };  /* 16 rows of 16 bf16, a tile for each warp */
enum copy_bug {
    RIGHT,
    WAITS_FOR_TOO_FEW,
    NO_BARRIER_AFTER_WAIT,
    REFILLED_TOO_EARLY,
    SWIZZLE_FORGOTTEN,
    SOURCE_MISALIGNED,
    UNREAD_SOURCE_MISALIGNED,
    LDMATRIX_MISALIGNED,
    LDMATRIX_OUTSIDE,
    COMMIT_FORGOTTEN,
    ZERO_FILL_FORGOTTEN,
    COPY_PAST_SHARED
};

__device__ static uint32_t chunk_at(int row, int chunk, bool swizzled)
{
    return (uint32_t)(row * 32 + (swizzled ? chunk ^ (row >> 2 & 1) : chunk) * 16);
}

/* Each thread copies the 16 bytes of one row's half, of the tile that the other warp will read. */
template <int BUG> __device__ static void fill(uint32_t to, const uint16_t *x, int tile, int rows)
{
    int  warp = (int)threadIdx.x / 32, lane = (int)threadIdx.x % 32, row = lane / 2, chunk = lane % 2;
    bool valid = tile * 16 + row < rows;
    const uint16_t *from =
        x + ((size_t)(1 - warp) * TILES * 16 + (size_t)(valid || BUG == ZERO_FILL_FORGOTTEN ? tile * 16 + row : 0)) * 16 +
        chunk * 8;
    uint32_t at = to + (uint32_t)((1 - warp) * TILE_BYTES) + chunk_at(row, chunk, true);
    if (BUG == COPY_PAST_SHARED && tile == TILES - 1 && threadIdx.x == 0)
        at += 4 * TILE_BYTES;
    const bool shifted = BUG == SOURCE_MISALIGNED ? threadIdx.x == 3 : BUG == UNREAD_SOURCE_MISALIGNED && !valid;
    cp_async<16>(at, from + shifted, valid || BUG == ZERO_FILL_FORGOTTEN);
    if (BUG != COMMIT_FORGOTTEN)
        cp_async_commit();
}

/* y[warp] [16, 8] += tile tile^T over the tiles. */
template <int BUG> __global__ void __launch_bounds__(THREADS) tiles_kernel(const uint16_t *x, float *y, int rows)
{
    SHARED_DYNAMIC(uint8_t, buffer, 128);  /* two stages of two tiles */
    int      warp = (int)threadIdx.x / 32, lane = (int)threadIdx.x % 32;
    uint32_t base = shared_address(buffer);
    float    d[4] = { 0, 0, 0, 0 };
    fill<BUG>(base, x, 0, rows);
    for (int tile = 0; tile < TILES; tile++) {
        uint32_t stage = base + (uint32_t)(tile % 2 * 2 * TILE_BYTES),
                 next = base + (uint32_t)((tile + 1) % 2 * 2 * TILE_BYTES), a[4];
        if (tile + 1 < TILES) {
            fill<BUG>(next, x, tile + 1, rows);
            if (BUG == WAITS_FOR_TOO_FEW)
                cp_async_wait<2>();
            else
                cp_async_wait<1>();
        } else {
            cp_async_wait<0>();
        }
        if (BUG != NO_BARRIER_AFTER_WAIT)
            __syncthreads();  /* the tile has landed, whoever copied it */
        uint32_t at = stage + (uint32_t)(warp * TILE_BYTES) +
                      chunk_at(ldmatrix_a_row(lane), ldmatrix_a_column(lane) / 8, BUG != SWIZZLE_FORGOTTEN);
        if (BUG == LDMATRIX_MISALIGNED)
            at += 8;
        if (BUG == LDMATRIX_OUTSIDE && tile == TILES - 1)
            at += 4 * TILE_BYTES;
        ldmatrix_x4(a, at);
        mma_m16n8k16<__nv_bfloat16>(d, a, a[0], a[2]);
        if (BUG != REFILLED_TOO_EARLY)
            __syncthreads();  /* everybody has read this stage: it may be filled again */
    }
    for (int i = 0; i < 4; i++)
        y[warp * 128 + fragment_c_row(lane, i) * 8 + fragment_c_column(lane, i)] = d[i];
}

template <int BUG> static bool run_tiles(void)
{
    enum { ROWS = TILES * 16 - 6 };
    static uint16_t x[2 * TILES * 16 * 16];
    float           y[256], expected[256];
    int             rows = ROWS;
    for (int i = 0; i < 2 * TILES * 16 * 16; i++)
        x[i] = case_bf16(case_value(i));
    for (int i = 0; i < 256; i++) {
        expected[i] = 0;
        for (int tile = 0; tile < TILES; tile++)
            for (int k = 0; k < 16; k++) {
                int r = tile * 16 + i % 128 / 8, c = tile * 16 + i % 8, first = i / 128 * TILES * 16;
                if (r < ROWS && c < ROWS)
                    expected[i] += (float)(case_value((first + r) * 16 + k) * case_value((first + c) * 16 + k));
            }
    }
    void *dx = device_copy_of(x, sizeof x), *dy = device_make(sizeof y);
    bool  ok = LAUNCH(tiles_kernel<BUG>, (device_grid{ 1, THREADS, 0, 4 * TILE_BYTES }), &dx, &dy, &rows);
    device_read(y, dy, sizeof y);
    device_free(dx);
    device_free(dy);
    for (int i = 0; i < 256; i++)
        ok = ok && y[i] == expected[i];
    return ok;
}

/* Copies over what is the same already: only that it is on its way shows that nobody waited. */
template <int BUG> __global__ void __launch_bounds__(32) again_kernel(const uint32_t *x, uint32_t *y)
{
    SHARED_ARRAY(uint32_t, buffer, 128);
    uint32_t at = shared_address(&buffer[threadIdx.x * 4]), sum = 0;
    for (int round = 0; round < 2; round++) {
        cp_async<16>(at, x + threadIdx.x * 4);
        cp_async_commit();
        if (BUG == RIGHT || round == 0)
            cp_async_wait<0>();
        for (int i = 0; i < 4; i++)
            sum += buffer[threadIdx.x * 4 + (unsigned)i];
    }
    cp_async_wait<0>();
    y[threadIdx.x] = sum;
}

template <int BUG> static bool run_again(void)
{
    uint32_t x[128], y[32], expected[32];
    for (uint32_t i = 0; i < 128; i++)
        x[i] = i * i;
    for (uint32_t i = 0; i < 32; i++)
        expected[i] = 2 * (x[4 * i] + x[4 * i + 1] + x[4 * i + 2] + x[4 * i + 3]);
    void *dx = device_copy_of(x, sizeof x), *dy = device_make(sizeof y);
    bool  ok = LAUNCH(again_kernel<BUG>, (device_grid{ 1, 32, 0, 0 }), &dx, &dy);
    device_read(y, dy, sizeof y);
    device_free(dx);
    device_free(dy);
    for (int i = 0; i < 32; i++)
        ok = ok && y[i] == expected[i];
    return ok;
}

#define TILES_CASE(name, bug, plain, check) { name, run_tiles<bug>, run_tiles<RIGHT>, plain, check }
const struct planted planted_copies[] = {
    TILES_CASE("cp.async: waits for one group too few", WAITS_FOR_TOO_FEW, "values", "race"),
    TILES_CASE("cp.async: no barrier after the wait", NO_BARRIER_AFTER_WAIT, "values", "race"),
    TILES_CASE("cp.async: a stage filled before it was read", REFILLED_TOO_EARLY, "values", "race"),
    TILES_CASE("cp.async: copies never committed", COMMIT_FORGOTTEN, "values", "race"),
    TILES_CASE("cp.async: rows past the end not zeroed", ZERO_FILL_FORGOTTEN, "values", NULL),
    TILES_CASE("cp.async: source misaligned", SOURCE_MISALIGNED, "is not a multiple of 16", NULL),
    TILES_CASE("cp.async: source misaligned, though not read", UNREAD_SOURCE_MISALIGNED, "is not a multiple of 16", NULL),
    TILES_CASE("cp.async: past shared memory", COPY_PAST_SHARED, "shared memory out of bounds", NULL),
    TILES_CASE("ldmatrix: swizzle forgotten", SWIZZLE_FORGOTTEN, "values", NULL),
    TILES_CASE("ldmatrix: misaligned", LDMATRIX_MISALIGNED, "misaligned shared address", NULL),
    TILES_CASE("ldmatrix: past shared memory", LDMATRIX_OUTSIDE, "shared memory out of bounds", NULL),
    { "cp.async: no wait for a copy of the same bytes", run_again<WAITS_FOR_TOO_FEW>, run_again<RIGHT>, "values", "race" },
    { NULL, NULL, NULL, NULL, NULL },
};
