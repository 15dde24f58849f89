/* TMA: boxes of 2, 3 and 4 dimensions in and out, edges, swizzles. */
#include "tests/emu/conformance/conformance.h"

#include <string.h>

enum { THREADS = 64, BOX_MOST = 64 * 256 };

struct corner { int x, y, z, w; };

/* Loads one box and writes it out as it lies in shared memory. */
template <int RANK> __global__ void __launch_bounds__(THREADS)
    load_kernel(const __grid_constant__ CUtensorMap map, struct corner at, int bytes, uint16_t *y)
{
    SHARED_DYNAMIC(uint16_t, tile, 1024);
    SHARED_ARRAY(uint64_t, barrier, 1);
    uint32_t bar = shared_address(barrier), to = shared_address(tile);
    if (threadIdx.x == 0) {
        tensor_map_prefetch(&map);
        mbarrier_init(bar, 1);
        fence_mbarrier_init();
    }
    __syncthreads();  /* the barrier is made */
    if (threadIdx.x == 0) {
        mbarrier_arrive_expect(bar, (uint32_t)bytes);
        if constexpr (RANK == 2) {
            if (at.w == 0)
                tma_load_2d(to, &map, bar, at.x, at.y);
            else
                tma_load_2d_policy(to, &map, bar, at.x, at.y, at.w == 1 ? policy_evict_last() : policy_evict_first());
        }
        if constexpr (RANK == 3)
            tma_load_3d(to, &map, bar, at.x, at.y, at.z);
        if constexpr (RANK == 4)
            tma_load_4d(to, &map, bar, at.x, at.y, at.z, at.w);
    }
    mbarrier_wait(bar, 0);
    for (int i = (int)threadIdx.x; i < bytes / 2; i += THREADS)
        y[i] = tile[i];
}

/* Fills one box in shared memory, in rows that are swizzled as SWIZZLE says, and stores it. */
template <int RANK, int SWIZZLE> __global__ void __launch_bounds__(THREADS) store_kernel(const __grid_constant__ CUtensorMap map,
                                                                                         struct corner at, int bytes)
{
    SHARED_DYNAMIC(uint8_t, tile, 1024);
    const int row_bytes = SWIZZLE == 3 ? 128 : SWIZZLE == 2 ? 64 : SWIZZLE == 1 ? 32 : 64;
    for (int i = (int)threadIdx.x; i < bytes / 2; i += THREADS) {
        int      row = i * 2 / row_bytes, byte = i * 2 % row_bytes;
        uint32_t chunk = SWIZZLE == 3   ? swizzle_128(row, byte / 16)
                         : SWIZZLE == 2 ? swizzle_64(row, byte / 16)
                         : SWIZZLE == 1 ? swizzle_32(row, byte / 16)
                                        : (uint32_t)(row * row_bytes + byte / 16 * 16);
        *(uint16_t *)(tile + chunk + byte % 16) = (uint16_t)(i + 7);
    }
    fence_proxy_async();
    __syncthreads();  /* every thread's part is written, and fenced */
    if (threadIdx.x == 0) {
        if constexpr (RANK == 2)
            tma_store_2d(&map, shared_address(tile), at.x, at.y);
        else
            tma_store_3d(&map, shared_address(tile), at.x, at.y, at.z);
        bulk_commit();
        bulk_wait_read<0>();
    }
}

/* Offset in elements of element i of a box in a tensor, or -1 outside; *chunk: where it lies in swizzled shared memory. */
static long place(const struct device_tensor *t, const int *at, int i, int *shared)
{
    long offset = 0;
    int  rest   = i, mode = t->swizzle == CU_TENSOR_MAP_SWIZZLE_128B ? 7 : t->swizzle == CU_TENSOR_MAP_SWIZZLE_64B ? 3 :
               t->swizzle == CU_TENSOR_MAP_SWIZZLE_32B ? 1 : 0;
    bool inside = true;
    for (int d = 0; d < t->rank; d++) {
        int x = at[d] + rest % (int)t->box[d];
        rest /= (int)t->box[d];
        inside = inside && x >= 0 && x < (int)t->size[d];
        offset += (long)x * (d ? (long)t->stride[d - 1] / 2 : 1);
    }
    *shared = ((i * 2) ^ (((i * 2) >> 7 & mode) << 4)) / 2;
    return inside ? offset : -1;
}

static struct device_tensor tensor_of(int rank, const int *size, const int *box, CUtensorMapSwizzle swizzle)
{
    struct device_tensor t = {};
    uint64_t             bytes = 2;
    t.rank                     = rank;
    t.swizzle                  = swizzle;
    for (int i = 0; i < rank; i++) {
        t.size[i] = (uint64_t)size[i];
        t.box[i]  = (uint32_t)box[i];
        bytes *= (uint64_t)size[i];
        if (i + 1 < rank)
            t.stride[i] = bytes = (bytes + 15) / 16 * 16;
    }
    return t;
}

static int box_elements(const struct device_tensor *t)
{
    int count = 1;
    for (int i = 0; i < t->rank; i++)
        count *= (int)t->box[i];
    return count;
}

static size_t tensor_bytes(const struct device_tensor *t)
{
    return t->rank == 1 ? t->size[0] * 2 : t->stride[t->rank - 2] * t->size[t->rank - 1];
}

enum { TENSOR_MOST = 1 << 15 };

template <int RANK> static bool loads(const int *size, const int *box, CUtensorMapSwizzle swizzle, struct corner corner)
{
    static uint16_t      x[TENSOR_MOST], y[BOX_MOST], expected[BOX_MOST];
    struct device_tensor t     = tensor_of(RANK, size, box, swizzle);
    int                  count = box_elements(&t), bytes = count * 2, at[4] = { corner.x, corner.y, corner.z, corner.w };
    CUtensorMap          map;
    for (int i = 0; i < TENSOR_MOST; i++)
        x[i] = (uint16_t)(i * 3 + 1);
    for (int i = 0; i < count; i++) {
        int  shared;
        long offset      = place(&t, at, i, &shared);
        expected[shared] = offset < 0 ? 0 : x[offset];
    }
    void *dx = device_copy_of(x, tensor_bytes(&t)), *dy = device_make((size_t)bytes);
    t.base   = dx;
    bool ok = device_tensor_map(&map, &t) &&
              LAUNCH(load_kernel<RANK>, (device_grid{ 1, THREADS, 0, (size_t)bytes }), &map, &corner, &bytes, &dy);
    device_read(y, dy, (size_t)bytes);
    device_free(dx);
    device_free(dy);
    return ok && case_equal("box", y, expected, (size_t)bytes);
}

template <int RANK, int SWIZZLE>
static bool stores(const int *size, const int *box, CUtensorMapSwizzle swizzle, struct corner corner)
{
    static uint16_t      y[TENSOR_MOST], expected[TENSOR_MOST];
    struct device_tensor t     = tensor_of(RANK, size, box, swizzle);
    int                  count = box_elements(&t), bytes = count * 2, at[4] = { corner.x, corner.y, corner.z, corner.w };
    CUtensorMap          map;
    memset(expected, 0x11, sizeof expected);
    void *dy = device_copy_of(expected, tensor_bytes(&t));
    for (int i = 0; i < count; i++) {
        int  shared;
        long offset = place(&t, at, i, &shared);
        if (offset >= 0)
            expected[offset] = (uint16_t)(i + 7);
    }
    t.base  = dy;
    bool ok = device_tensor_map(&map, &t) &&
              LAUNCH((store_kernel<RANK, SWIZZLE>), (device_grid{ 1, THREADS, 0, (size_t)bytes }), &map, &corner, &bytes);
    device_read(y, dy, tensor_bytes(&t));
    device_free(dy);
    return ok && case_equal("tensor", y, expected, tensor_bytes(&t));
}

static bool run_load_2d(void)
{
    const int size[2] = { 100, 50 }, box[2] = { 64, 16 };
    return loads<2>(size, box, CU_TENSOR_MAP_SWIZZLE_128B, { 0, 0, 0, 0 }) &&
           loads<2>(size, box, CU_TENSOR_MAP_SWIZZLE_128B, { 64, 40, 0, 1 }) &&
           loads<2>(size, box, CU_TENSOR_MAP_SWIZZLE_128B, { -8, -3, 0, 2 });
}
/* As a tile of rows past the last one has it, or a head that is narrower than its boxes: all bytes are still counted. */
static bool run_load_outside(void)
{
    const int size[2] = { 100, 50 }, box[2] = { 64, 16 }, heads[3] = { 72, 3, 9 }, head[3] = { 64, 1, 8 };
    return loads<2>(size, box, CU_TENSOR_MAP_SWIZZLE_128B, { 128, 0, 0, 0 }) &&
           loads<2>(size, box, CU_TENSOR_MAP_SWIZZLE_128B, { 0, 64, 0, 0 }) &&
           loads<3>(heads, head, CU_TENSOR_MAP_SWIZZLE_128B, { 64, 2, 4, 0 }) &&
           loads<3>(heads, head, CU_TENSOR_MAP_SWIZZLE_128B, { 128, 1, 0, 0 });
}
/* The greatest number of rows that a box has. */
static bool run_load_large(void)
{
    const int size[2] = { 80, 300 }, box[2] = { 64, 256 };
    return loads<2>(size, box, CU_TENSOR_MAP_SWIZZLE_128B, { 0, 0, 0, 0 }) &&
           loads<2>(size, box, CU_TENSOR_MAP_SWIZZLE_128B, { 64, 100, 0, 0 });
}
static bool run_load_swizzles(void)
{
    const int size[2] = { 100, 50 }, box32[2] = { 32, 24 }, box16[2] = { 16, 24 }, box8[2] = { 40, 16 };
    return loads<2>(size, box32, CU_TENSOR_MAP_SWIZZLE_64B, { 32, 8, 0, 0 }) &&
           loads<2>(size, box16, CU_TENSOR_MAP_SWIZZLE_32B, { 48, 40, 0, 0 }) &&
           loads<2>(size, box8, CU_TENSOR_MAP_SWIZZLE_NONE, { 80, 8, 0, 0 });
}
static bool run_load_3d(void)
{
    const int size[3] = { 64, 12, 9 }, box[3] = { 64, 2, 8 };
    return loads<3>(size, box, CU_TENSOR_MAP_SWIZZLE_128B, { 0, 4, 0, 0 }) &&
           loads<3>(size, box, CU_TENSOR_MAP_SWIZZLE_128B, { 0, 11, 5, 0 });
}
static bool run_load_4d(void)
{
    const int size[4] = { 40, 5, 6, 7 }, box[4] = { 32, 3, 2, 4 };
    return loads<4>(size, box, CU_TENSOR_MAP_SWIZZLE_64B, { 8, 1, 2, 3 }) &&
           loads<4>(size, box, CU_TENSOR_MAP_SWIZZLE_64B, { 16, 3, -1, 5 });
}
static bool run_store_2d(void)
{
    const int size[2] = { 100, 50 }, box[2] = { 64, 16 }, narrow[2] = { 32, 16 };
    return stores<2, 3>(size, box, CU_TENSOR_MAP_SWIZZLE_128B, { 64, 40, 0, 0 }) &&
           stores<2, 2>(size, narrow, CU_TENSOR_MAP_SWIZZLE_64B, { 32, 8, 0, 0 }) &&
           stores<2, 0>(size, narrow, CU_TENSOR_MAP_SWIZZLE_NONE, { 0, 0, 0, 0 });
}
static bool run_store_3d(void)
{
    const int size[3] = { 64, 12, 9 }, box[3] = { 16, 4, 8 };
    return stores<3, 1>(size, box, CU_TENSOR_MAP_SWIZZLE_32B, { 32, 10, 4, 0 });
}

const struct conformance_case cases_tma[] = {
    { "cp.async.bulk.tensor.2d load, cache policy", run_load_2d },
    { "cp.async.bulk.tensor.2d load, other swizzles", run_load_swizzles },
    { "cp.async.bulk.tensor.2d load, 256 rows", run_load_large },
    { "cp.async.bulk.tensor load, wholly outside", run_load_outside },
    { "cp.async.bulk.tensor.3d load", run_load_3d },
    { "cp.async.bulk.tensor.4d load", run_load_4d },
    { "cp.async.bulk.tensor.2d store", run_store_2d },
    { "cp.async.bulk.tensor.3d store", run_store_3d },
    { NULL, NULL },
};
