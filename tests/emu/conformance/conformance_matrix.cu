/* ldmatrix, stmatrix, mma.sync; and with them the layouts of fragments.cuh. */
#include "tests/emu/conformance/conformance.h"

/* Every lane hands 8 halves of row lane % 8 of matrix lane / 8, whose element (r, c) is 64 m + 8 r + c. */
template <int MATRICES, int TRANSPOSE> __global__ void __launch_bounds__(32) ldmatrix_kernel(uint32_t *y)
{
    SHARED_ARRAY(uint16_t, tile, 4 * 64);
    for (int i = (int)threadIdx.x; i < 4 * 64; i += 32)
        tile[i] = (uint16_t)i;
    __syncwarp();  /* the tile is written by all lanes, and read by all */
    uint32_t r[4] = { 0, 0, 0, 0 }, address = shared_address(&tile[threadIdx.x % 8 * 8 + threadIdx.x / 8 * 64]);
    if constexpr (MATRICES == 1)
        ldmatrix_x1(*(uint32_t(*)[1])r, address);
    else if constexpr (MATRICES == 2 && TRANSPOSE)
        ldmatrix_x2_trans(*(uint32_t(*)[2])r, address);
    else if constexpr (MATRICES == 2)
        ldmatrix_x2(*(uint32_t(*)[2])r, address);
    else if constexpr (TRANSPOSE)
        ldmatrix_x4_trans(r, address);
    else
        ldmatrix_x4(r, address);
    for (int m = 0; m < 4; m++)
        y[threadIdx.x * 4 + m] = r[m];
}

template <int MATRICES, int TRANSPOSE> static bool run_ldmatrix(void)
{
    uint32_t y[128], expected[128];
    void    *dy = device_make(sizeof y);
    bool     ok = LAUNCH((ldmatrix_kernel<MATRICES, TRANSPOSE>), (device_grid{ 1, 32, 0, 0 }), &dy);
    device_read(y, dy, sizeof y);
    device_free(dy);
    for (int lane = 0; lane < 32; lane++)
        for (int m = 0; m < 4; m++) {
            uint32_t row = (uint32_t)lane / 4, column = (uint32_t)lane % 4 * 2;
            uint32_t low = 64 * (uint32_t)m + (TRANSPOSE ? 8 * column + row : 8 * row + column);
            expected[lane * 4 + m] = m < MATRICES ? low | (low + (TRANSPOSE ? 8 : 1)) << 16 : 0;
        }
    return ok && case_equal("registers", y, expected, sizeof y);
}

template <int TRANSPOSE> __global__ void __launch_bounds__(32) stmatrix_kernel(uint16_t *y)
{
    SHARED_ARRAY(uint16_t, tile, 4 * 64);
    uint32_t r[4];
    for (uint32_t m = 0; m < 4; m++) {
        uint32_t first = m * 64 + threadIdx.x / 4 * 8 + threadIdx.x % 4 * 2;
        r[m]           = first | (first + 1) << 16;
    }
    uint32_t address = shared_address(&tile[threadIdx.x % 8 * 8 + threadIdx.x / 8 * 64]);
    if constexpr (TRANSPOSE)
        stmatrix_x4_trans(address, r);
    else
        stmatrix_x4(address, r);
    __syncwarp();  /* stored by all lanes, read by all */
    for (int i = (int)threadIdx.x; i < 4 * 64; i += 32)
        y[i] = tile[i];
}

template <int TRANSPOSE> static bool run_stmatrix(void)
{
    uint16_t y[256], expected[256];
    void    *dy = device_make(sizeof y);
    bool     ok = LAUNCH(stmatrix_kernel<TRANSPOSE>, (device_grid{ 1, 32, 0, 0 }), &dy);
    device_read(y, dy, sizeof y);
    device_free(dy);
    for (int i = 0; i < 256; i++)
        expected[i] = (uint16_t)(TRANSPOSE ? i / 64 * 64 + i % 8 * 8 + i / 8 % 8 : i);
    return ok && case_equal("tile", y, expected, sizeof y);
}

template <class T> __global__ void __launch_bounds__(32) mma_kernel(const uint16_t *a, const uint16_t *b, float *c)
{
    int      lane = (int)threadIdx.x;
    uint32_t ra[4], rb[2];
    float    d[4];
    for (int i = 0; i < 4; i++)
        ra[i] = *(const uint32_t *)&a[fragment_a_row(lane, i) * 16 + fragment_a_column(lane, i)];
    for (int i = 0; i < 2; i++)
        rb[i] = (uint32_t)b[fragment_b_row(lane, i) * 8 + fragment_b_column(lane)] |
                (uint32_t)b[(fragment_b_row(lane, i) + 1) * 8 + fragment_b_column(lane)] << 16;
    for (int i = 0; i < 4; i++)
        d[i] = c[fragment_c_row(lane, i) * 8 + fragment_c_column(lane, i)];
    mma_m16n8k16<T>(d, ra, rb[0], rb[1]);
    for (int i = 0; i < 4; i++)
        c[fragment_c_row(lane, i) * 8 + fragment_c_column(lane, i)] = d[i];
}

template <class T> static bool run_mma(void)
{
    uint16_t a[256], b[128];
    float    c[128], expected[128];
    for (int i = 0; i < 256; i++)
        a[i] = element_is_bf16<T> ? case_bf16(case_value(i)) : case_f16(case_value(i));
    for (int i = 0; i < 128; i++)
        b[i] = element_is_bf16<T> ? case_bf16(case_value(i + 500)) : case_f16(case_value(i + 500));
    for (int i = 0; i < 128; i++) {
        c[i] = expected[i] = (float)case_value(i + 900);
        for (int k = 0; k < 16; k++)
            expected[i] += (float)(case_value(i / 8 * 16 + k) * case_value(k * 8 + i % 8 + 500));
    }
    void *da = device_copy_of(a, sizeof a), *db = device_copy_of(b, sizeof b), *dc = device_copy_of(c, sizeof c);
    bool  ok = LAUNCH(mma_kernel<T>, (device_grid{ 1, 32, 0, 0 }), &da, &db, &dc);
    device_read(c, dc, sizeof c);
    device_free(da);
    device_free(db);
    device_free(dc);
    return ok && case_floats("product", c, expected, 128, 0.0f);
}

/* A 16 x 16 block times a 16 x 16 block, kept [k, n] and [n, k], by the addresses that fragments.cuh gives for ldmatrix. */
__global__ void __launch_bounds__(32) operands_kernel(const uint16_t *a, const uint16_t *b, float *y)
{
    SHARED_ARRAY(uint16_t, sa, 256);
    SHARED_ARRAY(uint16_t, sb, 256);
    SHARED_ARRAY(uint16_t, sbt, 256);
    int lane = (int)threadIdx.x;
    for (int i = lane; i < 256; i += 32) {
        sa[i]                       = a[i];
        sb[i]                       = b[i];
        sbt[i % 16 * 16 + i / 16]   = b[i];
    }
    __syncwarp();  /* the operands are written by all lanes, and read by all */
    uint32_t ra[4], kn[4], nk[4];
    ldmatrix_x4(ra, shared_address(&sa[ldmatrix_a_row(lane) * 16 + ldmatrix_a_column(lane)]));
    ldmatrix_x4_trans(kn, shared_address(&sb[ldmatrix_a_row(lane) * 16 + ldmatrix_a_column(lane)]));
    ldmatrix_x4(nk, shared_address(&sbt[ldmatrix_b_row(lane) * 16 + ldmatrix_b_column(lane)]));
    for (int half = 0; half < 2; half++) {
        float d[4] = { 0, 0, 0, 0 }, e[4] = { 0, 0, 0, 0 };
        mma_m16n8k16<__nv_bfloat16>(d, ra, kn[2 * half], kn[2 * half + 1]);
        mma_m16n8k16<__nv_bfloat16>(e, ra, nk[2 * half], nk[2 * half + 1]);
        for (int i = 0; i < 4; i++) {
            int at      = fragment_c_row(lane, i) * 16 + half * 8 + fragment_c_column(lane, i);
            y[at]       = d[i];
            y[256 + at] = e[i];
        }
    }
}

static bool run_operands(void)
{
    uint16_t a[256], b[256];
    float    y[512], expected[512];
    for (int i = 0; i < 256; i++) {
        a[i] = case_bf16(case_value(i));
        b[i] = case_bf16(case_value(i + 300));
    }
    for (int i = 0; i < 512; i++) {
        expected[i] = 0;
        for (int k = 0; k < 16; k++)
            expected[i] += (float)(case_value(i % 256 / 16 * 16 + k) * case_value(k * 16 + i % 16 + 300));
    }
    void *da = device_copy_of(a, sizeof a), *db = device_copy_of(b, sizeof b), *dy = device_make(sizeof y);
    bool  ok = LAUNCH(operands_kernel, (device_grid{ 1, 32, 0, 0 }), &da, &db, &dy);
    device_read(y, dy, sizeof y);
    device_free(da);
    device_free(db);
    device_free(dy);
    return ok && case_floats("products", y, expected, 512, 0.0f);
}

const struct conformance_case cases_matrix[] = {
    { "ldmatrix.x1", run_ldmatrix<1, 0> },
    { "ldmatrix.x2", run_ldmatrix<2, 0> },
    { "ldmatrix.x2.trans", run_ldmatrix<2, 1> },
    { "ldmatrix.x4", run_ldmatrix<4, 0> },
    { "ldmatrix.x4.trans", run_ldmatrix<4, 1> },
    { "stmatrix.x4", run_stmatrix<0> },
    { "stmatrix.x4.trans", run_stmatrix<1> },
    { "mma.sync.m16n8k16 bf16", run_mma<__nv_bfloat16> },
    { "mma.sync.m16n8k16 f16", run_mma<__half> },
    { "operands of mma by ldmatrix", run_operands },
    { NULL, NULL },
};
