/* wgmma: every width, both 16-bit types and e4m3, A from shared memory and from registers, K-major and MN-major, swizzles, steps
 * along k. */
#include "tests/emu/conformance/conformance.h"

#include "kernels/e4m3.h"

#include <stdlib.h>
#include <string.h>

enum { M = 64, STEPS_N = 64, THREADS = 128 };

/* The kernel gets both operands as they shall lie in shared memory, A first, at multiples of 1024 bytes. */
struct operands {
    const uint8_t  *bytes;
    int             a_bytes, b_bytes;
    uint64_t        a, b;            /* descriptors with address 0 */
    uint64_t        a_step, b_step;  /* to the next step along k */
    const uint32_t *a_registers;     /* [128][4] */
    float          *d;               /* [64][N] */
};

/* Copies the operands, and adds where they lie to their descriptors. */
DEVICE void operands_load(struct operands &o, uint8_t *buffer)
{
    for (int i = (int)threadIdx.x; i < o.a_bytes + o.b_bytes; i += THREADS)
        buffer[i] = o.bytes[i];
    fence_proxy_async();
    __syncthreads();  /* both operands are written, and fenced */
    o.a += shared_address(buffer) >> 4;
    o.b += (shared_address(buffer) + (uint32_t)o.a_bytes) >> 4;
}

template <int R> DEVICE void sums_store(const struct operands &o, const float (&d)[R])
{
    for (int i = 0; i < R; i++)
        o.d[wgmma_d_row((int)threadIdx.x, i) * 2 * R + wgmma_d_column((int)threadIdx.x, i)] = d[i];
}

template <class T, int N, int TRANSPOSE_A, int TRANSPOSE_B, int FROM_REGISTERS>
__global__ void __launch_bounds__(THREADS) wgmma_kernel(struct operands o)
{
    SHARED_DYNAMIC(uint8_t, buffer, 1024);
    operands_load(o, buffer);
    uint32_t a[4];
    float    d[N / 2];
    for (int i = 0; i < 4; i++)
        a[i] = o.a_registers[threadIdx.x * 4 + (unsigned)i];
    for (int i = 0; i < N / 2; i++)
        d[i] = 1000.0f;
    wgmma_fence();
    for (int pass = 0; pass < 2; pass++) {  /* the first forgets what d held, the second adds */
        if constexpr (sizeof(T) == 1 && FROM_REGISTERS)
            wgmma_rs_e4m3(d, a, o.b, pass);
        else if constexpr (sizeof(T) == 1)
            wgmma_ss_e4m3(d, o.a, o.b, pass);
        else if constexpr (FROM_REGISTERS)
            wgmma_rs<T, TRANSPOSE_B>(d, a, o.b, pass);
        else
            wgmma_ss<T, TRANSPOSE_A, TRANSPOSE_B>(d, o.a, o.b, pass);
        wgmma_commit();
    }
    wgmma_wait<1>();
    wgmma_wait<0>();
    wgmma_settle(d);
    wgmma_settle(a);
    sums_store(o, d);
}

/* Twice along k, STEPS products each time, by descriptors that are added to. */
template <class T, int STEPS, int TRANSPOSE_A, int TRANSPOSE_B>
__global__ void __launch_bounds__(THREADS) steps_kernel(struct operands o)
{
    SHARED_DYNAMIC(uint8_t, buffer, 1024);
    operands_load(o, buffer);
    float d[STEPS_N / 2];
    wgmma_fence();
#pragma unroll
    for (int i = 0; i < 2 * STEPS; i++) {
        const uint64_t a = o.a + o.a_step * (i % STEPS), b = o.b + o.b_step * (i % STEPS);
        if constexpr (sizeof(T) == 1)
            wgmma_ss_e4m3(d, a, b, i > 0);
        else
            wgmma_ss<T, TRANSPOSE_A, TRANSPOSE_B>(d, a, b, i > 0);
    }
    wgmma_commit();
    wgmma_wait<0>();
    wgmma_settle(d);
    sums_store(o, d);
}

/* Bits of small integers: e4m3 holds up to 15 in steps of one from 8 on, and -6 to 6 exactly. */
static uint32_t bits_of(int value, int element_bytes, bool bf16)
{
    static const uint8_t e4m3[7] = { 0x00, 0x38, 0x40, 0x44, 0x48, 0x4a, 0x4c };
    if (element_bytes == 1)
        return (uint32_t)(e4m3[value < 0 ? -value : value] | (value < 0 ? 0x80 : 0));
    return bf16 ? case_bf16(value) : case_f16(value);
}

struct layout { int rows, k, element_bytes, swizzle; bool mn_major; };

/* Core matrices along k, for 8 rows. */
static int cores_bytes(const struct layout *l) { return l->k * l->element_bytes / 16 * 128; }

/* Byte offset of element (row, k): the layouts that fragments.cuh describes, and their narrower and unswizzled kin. */
static size_t offset_of(const struct layout *l, int row, int k)
{
    int width = 16 << l->swizzle, wide = width / 2;  /* of a swizzled row: bytes, 16-bit elements */
    size_t at;
    if (!l->swizzle && !l->mn_major)  /* core matrices of 8 rows by 16 bytes, those along k next to each other */
        return (size_t)(row / 8 * cores_bytes(l) + k * l->element_bytes / 16 * 128 + row % 8 * 16 + k * l->element_bytes % 16);
    if (!l->swizzle)
        return (size_t)(row / 8 * cores_bytes(l) + k / 8 * 128 + k % 8 * 16 + row % 8 * 2);
    if (!l->mn_major)
        at = (size_t)(row * width + k * l->element_bytes);
    else
        at = (size_t)(row / wide * (l->k * width) + k * width + row % wide * 2);
    return at ^ (at >> 7 & (l->swizzle == 3 ? 7u : l->swizzle == 2 ? 3u : 1u)) << 4;
}

static size_t bytes_of(const struct layout *l)
{
    int width = 16 << l->swizzle;
    if (!l->swizzle || l->mn_major)
        return (size_t)((l->rows * l->k * l->element_bytes + (l->mn_major && l->swizzle ? l->k * width : 0) + 1023) / 1024 * 1024);
    return (size_t)((l->rows * width + 1023) / 1024 * 1024);
}

static uint64_t descriptor_of(const struct layout *l)
{
    static const int codes[4] = { wgmma_swizzle_none, wgmma_swizzle_32, wgmma_swizzle_64, wgmma_swizzle_128 };
    uint32_t         width    = 16u << l->swizzle;
    if (!l->swizzle)
        return wgmma_descriptor(0, 128, (uint32_t)cores_bytes(l), wgmma_swizzle_none);
    return wgmma_descriptor(0, l->mn_major ? (uint32_t)l->k * width : 16, 8 * width, codes[l->swizzle]);
}

/* What the next 32 bytes, or 16 elements where they are rows, of k add to a descriptor. */
static uint64_t step_of(const struct layout *l)
{
    const uint32_t width = 16u << l->swizzle;
    return (!l->swizzle ? 2 * 128 : l->mn_major ? 16 * width : 32) / 16;
}

static int value_a(int row, int k) { return case_value(row * 5 + k * 3); }
static int value_b(int k, int column) { return case_value(column * 11 + k * 7 + 4); }

struct product {
    const void   *kernel;
    struct layout a, b;
    bool          bf16;
};

/* d [64, N] := twice the product of the operands in `image`, laid out as they say. */
static bool multiply(const struct product *p, const uint8_t *image, const uint32_t (*registers)[4], float *d)
{
    const size_t    a_bytes = bytes_of(&p->a), b_bytes = bytes_of(&p->b), d_bytes = (size_t)(M * p->b.rows) * sizeof *d;
    struct operands o = {};
    void *di = device_copy_of(image, a_bytes + b_bytes), *dr = device_copy_of(registers, THREADS * sizeof *registers);
    void *dd = device_make(d_bytes), *args[] = { &o };
    o.bytes       = (const uint8_t *)di;
    o.a_bytes     = (int)a_bytes;
    o.b_bytes     = (int)b_bytes;
    o.a           = descriptor_of(&p->a);
    o.b           = descriptor_of(&p->b);
    o.a_step      = step_of(&p->a);
    o.b_step      = step_of(&p->b);
    o.a_registers = (const uint32_t *)dr;
    o.d           = (float *)dd;
    const bool ok = device_launch(p->kernel, { 1, THREADS, 0, a_bytes + b_bytes }, args);
    device_read(d, dd, d_bytes);
    device_free(di);
    device_free(dr);
    device_free(dd);
    return ok;
}

static bool right(const struct product *p)
{
    const int bytes = p->a.element_bytes, each = 4 / bytes, count = M * p->b.rows;
    size_t    a_bytes = bytes_of(&p->a), b_bytes = bytes_of(&p->b);
    uint8_t  *image = (uint8_t *)calloc(a_bytes + b_bytes, 1);
    uint32_t  registers[THREADS][4];
    float    *d = (float *)malloc((size_t)count * sizeof *d), *expected = (float *)malloc((size_t)count * sizeof *d);
    for (int k = 0; k < p->a.k; k++) {
        for (int row = 0; row < M; row++) {
            uint32_t bits = bits_of(value_a(row, k), bytes, p->bf16);
            memcpy(image + offset_of(&p->a, row, k), &bits, (size_t)bytes);
        }
        for (int column = 0; column < p->b.rows; column++) {
            uint32_t bits = bits_of(value_b(k, column), bytes, p->bf16);
            memcpy(image + a_bytes + offset_of(&p->b, column, k), &bits, (size_t)bytes);
        }
    }
    for (int thread = 0; thread < THREADS; thread++)
        for (int i = 0; i < 4; i++) {
            int row = thread / 32 * 16 + fragment_a_row(thread % 32, i), first = fragment_a_column(thread % 32, i) * each / 2;
            registers[thread][i] = 0;
            for (int e = 0; e < each; e++)
                registers[thread][i] |= bits_of(value_a(row, first + e), bytes, p->bf16) << e * 8 * bytes;
        }
    for (int i = 0; i < count; i++) {
        expected[i] = 0;
        for (int k = 0; k < p->a.k; k++)
            expected[i] += 2.0f * (float)(value_a(i / p->b.rows, k) * value_b(k, i % p->b.rows));
    }
    const bool ok = multiply(p, image, registers, d) && case_floats("product", d, expected, count, 0.0f);
    free(image);
    free(d);
    free(expected);
    return ok;
}

template <class T, int N, int TRANSPOSE_A, int TRANSPOSE_B, int FROM_REGISTERS> static bool times(int swizzle_a, int swizzle_b)
{
    constexpr int        bytes = (int)sizeof(T), depth = 32 / bytes;
    const struct product p     = { KERNEL_HANDLE(wgmma_kernel<T, N, TRANSPOSE_A, TRANSPOSE_B, FROM_REGISTERS>),
                                   { M, depth, bytes, swizzle_a, TRANSPOSE_A != 0 },
                                   { N, depth, bytes, swizzle_b, TRANSPOSE_B != 0 }, element_is_bf16<T> };
    return right(&p);
}

/* STEPS: of 32 bytes along k where it runs along rows, of 16 rows where it does not. */
template <class T, int STEPS, int TRANSPOSE_A, int TRANSPOSE_B> static bool steps(int swizzle_a, int swizzle_b)
{
    constexpr int        bytes = (int)sizeof(T), depth = STEPS * 32 / bytes;
    const struct product p     = { KERNEL_HANDLE(steps_kernel<T, STEPS, TRANSPOSE_A, TRANSPOSE_B>),
                                   { M, depth, bytes, swizzle_a, TRANSPOSE_A != 0 },
                                   { STEPS_N, depth, bytes, swizzle_b, TRANSPOSE_B != 0 }, element_is_bf16<T> };
    return right(&p);
}

template <class T> static bool run_widths(void)
{
    return times<T, 16, 0, 0, 0>(3, 3) && times<T, 32, 0, 0, 0>(3, 3) && times<T, 48, 0, 0, 0>(3, 3) &&
           times<T, 64, 0, 0, 0>(3, 3) && times<T, 80, 0, 0, 0>(3, 3) && times<T, 96, 0, 0, 0>(3, 3) &&
           times<T, 112, 0, 0, 0>(3, 3) && times<T, 128, 0, 0, 0>(3, 3) && times<T, 144, 0, 0, 0>(3, 3) &&
           times<T, 160, 0, 0, 0>(3, 3) && times<T, 176, 0, 0, 0>(3, 3) && times<T, 192, 0, 0, 0>(3, 3) &&
           times<T, 208, 0, 0, 0>(3, 3) && times<T, 224, 0, 0, 0>(3, 3) && times<T, 240, 0, 0, 0>(3, 3) &&
           times<T, 256, 0, 0, 0>(3, 3);
}
template <class T> static bool run_registers(void)
{
    return times<T, 64, 0, 0, 1>(3, 3) && times<T, 128, 0, 0, 1>(3, 3) && times<T, 176, 0, 0, 1>(3, 3) &&
           times<T, 256, 0, 0, 1>(3, 3);
}
template <class T> static bool run_transposed(void)
{
    return times<T, 64, 0, 1, 0>(3, 3) && times<T, 256, 0, 1, 0>(3, 3) && times<T, 128, 0, 1, 1>(3, 3) &&
           times<T, 64, 1, 0, 0>(3, 3) && times<T, 128, 1, 1, 0>(3, 3);
}
template <class T> static bool run_swizzles(void)
{
    return times<T, 64, 0, 0, 0>(2, 2) && times<T, 64, 0, 0, 0>(1, 1) && times<T, 64, 0, 0, 0>(0, 0) &&
           times<T, 64, 0, 1, 0>(2, 2) && times<T, 64, 0, 1, 0>(1, 1) && times<T, 64, 1, 0, 0>(2, 1);
}
/* Values of attention: blocks of as many columns as a swizzle spans, side by side. */
template <class T> static bool run_values(void)
{
    return times<T, 32, 0, 1, 1>(3, 2) && times<T, 80, 0, 1, 1>(3, 1) && times<T, 96, 0, 1, 1>(3, 2) &&
           times<T, 256, 0, 1, 1>(3, 3);
}
template <class T> static bool run_steps(void)
{
    return steps<T, 4, 0, 0>(3, 3) && steps<T, 2, 0, 0>(2, 2) && steps<T, 3, 0, 0>(0, 0) && steps<T, 4, 0, 1>(3, 3) &&
           steps<T, 2, 0, 1>(2, 2) && steps<T, 3, 0, 1>(3, 1) && steps<T, 2, 1, 0>(3, 3);
}
static bool run_steps_e4m3(void) { return steps<uint8_t, 4, 0, 0>(3, 3) && steps<uint8_t, 2, 0, 0>(2, 2); }

static float cut(float value, float unit) { return truncf(value / unit) * unit; }

/* What is too far below the greatest term or the sum is lost: 448 x 448 beside numbers of 4 to 120, of both signs. Its exponent is
 * taken for the sum of its factors', 16; that of the sums is 17, then 18; 13 bits below it is where numbers end. */
static bool run_cut(void)
{
    enum { N = 16 };
    const float         large = E4M3_MAX * E4M3_MAX;
    const struct layout la = { M, 32, 1, 3, false }, lb = { N, 32, 1, 3, false };
    const struct product p = { KERNEL_HANDLE(wgmma_kernel<uint8_t, N, 0, 0, 0>), la, lb, false };
    uint8_t            *image = (uint8_t *)calloc(bytes_of(&la) + bytes_of(&lb), 1);
    uint32_t            none[THREADS][4] = {};
    float               d[M * N], expected[M * N];
    for (int row = 0; row < M; row++) {
        const uint8_t small = (uint8_t)((row % 2 ? 0x80 : 0) | (0x48 + row % 40));
        image[offset_of(&la, row, 0)] = e4m3_from_float(E4M3_MAX);
        image[offset_of(&la, row, 9)] = small;
        const float first  = cut(large + cut(e4m3_to_float(small), 8), 16);
        const float second = cut(first + large + cut(e4m3_to_float(small), 16), 32);
        for (int column = 0; column < N; column++)
            expected[row * N + column] = second;
    }
    for (int column = 0; column < N; column++) {
        image[bytes_of(&la) + offset_of(&lb, column, 0)] = e4m3_from_float(E4M3_MAX);
        image[bytes_of(&la) + offset_of(&lb, column, 9)] = e4m3_from_float(1.0f);
    }
    const bool ok = multiply(&p, image, none, d) && case_floats("cut sums", d, expected, M * N, 0.0f);
    free(image);
    return ok;
}

/* setmaxnreg: a warpgroup gives registers to two or three others, and all go on: 168 or 128 a thread at the launch. */
template <int CONSUMERS, int LOWERED, int RAISED>
__global__ void __launch_bounds__(128 * (CONSUMERS + 1), 1) registers_kernel(uint32_t *y)
{
    uint32_t value = threadIdx.x * 3;
    if (warpgroup_index() == 0) {
        registers_lower<LOWERED>();
        y[threadIdx.x] = value + 1;
    } else {
        registers_raise<RAISED>();
        y[threadIdx.x] = value + 2;
    }
}

template <int CONSUMERS, int LOWERED, int RAISED> static bool run_setmaxnreg(void)
{
    constexpr int COUNT = 128 * (CONSUMERS + 1);
    uint32_t      y[COUNT], expected[COUNT];
    void         *dy = device_make(sizeof y);
    bool          ok = LAUNCH((registers_kernel<CONSUMERS, LOWERED, RAISED>), (device_grid{ 1, COUNT, 0, 0 }), &dy);
    device_read(y, dy, sizeof y);
    device_free(dy);
    for (uint32_t i = 0; i < COUNT; i++)
        expected[i] = i * 3 + (i < 128 ? 1 : 2);
    return ok && case_equal("words", y, expected, sizeof y);
}

const struct conformance_case cases_wgmma[] = {
    { "wgmma.m64nNk16 bf16, A in shared memory", run_widths<__nv_bfloat16> },
    { "wgmma.m64nNk16 f16, A in shared memory", run_widths<__half> },
    { "wgmma.m64nNk32 e4m3, A in shared memory", run_widths<uint8_t> },
    { "wgmma.m64nNk16 bf16, A in registers", run_registers<__nv_bfloat16> },
    { "wgmma.m64nNk16 f16, A in registers", run_registers<__half> },
    { "wgmma.m64nNk32 e4m3, A in registers", run_registers<uint8_t> },
    { "wgmma.m64nNk32 e4m3, what sums lose", run_cut },
    { "wgmma bf16, MN-major operands", run_transposed<__nv_bfloat16> },
    { "wgmma f16, MN-major operands", run_transposed<__half> },
    { "wgmma bf16, other swizzles", run_swizzles<__nv_bfloat16> },
    { "wgmma bf16, MN-major, narrow swizzles", run_values<__nv_bfloat16> },
    { "wgmma f16, MN-major, narrow swizzles", run_values<__half> },
    { "wgmma bf16, steps along k", run_steps<__nv_bfloat16> },
    { "wgmma e4m3, steps along k", run_steps_e4m3 },
    { "setmaxnreg, two consumers", run_setmaxnreg<2, 40, 232> },
    { "setmaxnreg, as few as there may be", run_setmaxnreg<2, 24, 240> },
    { "setmaxnreg, three consumers", run_setmaxnreg<3, 32, 160> },
    { NULL, NULL },
};
