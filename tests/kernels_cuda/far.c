/* Rows 16 GiB apart, of which only the pages in use have memory: an offset or an index that anywhere passes through 32 bits, in
 * bytes or in elements, comes out as the first row's. What is computed there has to be what it is side by side. */
#include "kernels/attention/attention_choose.h"
#include "kernels/linear/linear_choose.h"
#include "kernels/linear/linear_norm_choose.h"
#include "tests/kernels_cuda/harness.h"

#include <cuda.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ROWS = 2, RANGES = 8 };
static const size_t DISTANCE = (size_t)1 << 34;  /* 2^32 floats */

/* ---- addresses without memory between ---- */

static struct {
    CUresult (*reserve)(CUdeviceptr *address, size_t bytes, size_t alignment, CUdeviceptr wish, unsigned long long flags);
    CUresult (*give_back)(CUdeviceptr address, size_t bytes);
    CUresult (*create)(CUmemGenericAllocationHandle *handle, size_t bytes, const CUmemAllocationProp *property,
                       unsigned long long flags);
    CUresult (*release)(CUmemGenericAllocationHandle handle);
    CUresult (*map)(CUdeviceptr address, size_t bytes, size_t offset, CUmemGenericAllocationHandle handle,
                    unsigned long long flags);
    CUresult (*unmap)(CUdeviceptr address, size_t bytes);
    CUresult (*allow)(CUdeviceptr address, size_t bytes, const CUmemAccessDesc *access, size_t count);
    CUresult (*granularity)(size_t *bytes, const CUmemAllocationProp *property, CUmemAllocationGranularity_flags option);
} driver;

static CUdeviceptr ranges[RANGES];
static int         range_count;
static size_t      page;

static const CUmemAllocationProp property = { .type     = CU_MEM_ALLOCATION_TYPE_PINNED,
                                              .location = { .type = CU_MEM_LOCATION_TYPE_DEVICE, .id = 0 } };

static bool driver_find(void)
{
    static const char *const names[] = { "cuMemAddressReserve", "cuMemAddressFree", "cuMemCreate", "cuMemRelease", "cuMemMap",
                                         "cuMemUnmap", "cuMemSetAccess", "cuMemGetAllocationGranularity" };
    void *found[sizeof names / sizeof *names];
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        enum cudaDriverEntryPointQueryResult result;
        if (cudaGetDriverEntryPointByVersion(names[i], &found[i], 12000, cudaEnableDefault, &result) != cudaSuccess ||
            result != cudaDriverEntryPointSuccess)
            return false;
    }
    memcpy(&driver, found, sizeof driver);  /* C has no cast from an object's pointer to a function's */
    return driver.granularity(&page, &property, CU_MEM_ALLOC_GRANULARITY_RECOMMENDED) == CUDA_SUCCESS;
}

static void page_map(CUdeviceptr at)
{
    const CUmemAccessDesc        access = { property.location, CU_MEM_ACCESS_FLAGS_PROT_READWRITE };
    CUmemGenericAllocationHandle handle = 0;
    const bool mapped = driver.create(&handle, page, &property, 0) == CUDA_SUCCESS &&
                        driver.map(at, page, 0, handle, 0) == CUDA_SUCCESS && driver.release(handle) == CUDA_SUCCESS &&
                        driver.allow(at, page, &access, 1) == CUDA_SUCCESS;
    if (!mapped) {
        printf("no page of %zu bytes at an address of its own\n", page);
        exit(2);
    }
}

static char *range_new(void)
{
    CUdeviceptr start = 0;
    if (range_count == RANGES || driver.reserve(&start, DISTANCE + page, 0, 0, 0) != CUDA_SUCCESS) {
        printf("no addresses for rows %zu bytes apart\n", DISTANCE);
        exit(2);
    }
    for (int row = 0; row < ROWS; row++)
        page_map(start + DISTANCE * (size_t)row);
    ranges[range_count++] = start;
    return (char *)(uintptr_t)start;
}

static void ranges_free(void)
{
    for (int i = 0; i < range_count; i++) {
        for (int row = 0; row < ROWS; row++)
            driver.unmap(ranges[i] + DISTANCE * (size_t)row, page);
        driver.give_back(ranges[i], DISTANCE + page);
    }
    range_count = 0;
    memory_free_all();
}

/* ---- the same rows twice: side by side, and far apart ---- */

struct twice {
    struct matrix near;
    char         *far;
};

static size_t row_bytes(const struct matrix *m) { return (size_t)m->columns * (size_t)dtype_bits(m->type) / 8; }

static struct twice twice_new(enum dtype type, int columns)
{
    struct twice t = { matrix_random(type, ROWS, columns, 8, 1), range_new() };
    for (int row = 0; row < ROWS; row++)
        cudaMemcpy(t.far + DISTANCE * (size_t)row, t.near.host + t.near.stride * (size_t)row, row_bytes(&t.near),
                   cudaMemcpyHostToDevice);
    return t;
}

static char  *at(const struct twice *t, bool far) { return far ? t->far : t->near.device; }
static float *floats_at(const struct twice *t, bool far) { return (float *)(void *)at(t, far); }
static size_t stride(const struct twice *t, bool far) { return far ? DISTANCE : t->near.stride; }

/* The first `rows` of what two launches wrote. */
static void check_twice(struct twice *t, int rows, const char *what)
{
    char *far = malloc(row_bytes(&t->near));
    matrix_download(&t->near);
    for (int row = 0; row < rows && far; row++) {
        cudaMemcpy(far, t->far + DISTANCE * (size_t)row, row_bytes(&t->near), cudaMemcpyDeviceToHost);
        check(memcmp(far, t->near.host + t->near.stride * (size_t)row, row_bytes(&t->near)) == 0,
              "%s: row %d is not the same %zu bytes from the one before", what, row, DISTANCE);
    }
    free(far);
}

static struct cuda_launch launch_two(void) { return launch_rows(ROWS, ROWS); }

/* ---- kernels that walk rows ---- */

static cudaError_t run_norm(const struct cuda_launch *launch, void *args) { return kernels->norm_layer(launch, args); }
static cudaError_t run_embed(const struct cuda_launch *launch, void *args) { return kernels->embed_rows(launch, args); }
static cudaError_t run_rotary(const struct cuda_launch *launch, void *args) { return kernels->rotary_half(launch, args); }
static cudaError_t run_mean(const struct cuda_launch *launch, void *args) { return kernels->pool_mean(launch, args); }
static cudaError_t run_last(const struct cuda_launch *launch, void *args) { return kernels->pool_last(launch, args); }
static cudaError_t run_normalize(const struct cuda_launch *launch, void *args) { return kernels->normalize_l2(launch, args); }
static cudaError_t run_convert(const struct cuda_launch *launch, void *args) { return kernels->convert_bf16(launch, args); }
static cudaError_t run_quantize(const struct cuda_launch *launch, void *args) { return kernels->quantize_fp8(launch, args); }

static void norm_far(int width)
{
    const struct cuda_launch launch = launch_two();
    struct twice             x = twice_new(DTYPE_F32, width), y = twice_new(DTYPE_F32, width), copy = twice_new(DTYPE_BF16, width);
    const struct matrix      weight = matrix_random(DTYPE_F32, 1, width, 0, 1);
    for (int far = 0; far < 2; far++) {
        struct norm_args args = { .x = floats_at(&x, far), .x_stride = stride(&x, far), .weight = (float *)(void *)weight.device,
                                  .width = width, .epsilon = 1e-6f, .y = floats_at(&y, far), .y_stride = stride(&y, far),
                                  .copy = at(&copy, far), .copy_stride = stride(&copy, far), .copy_type = DTYPE_BF16 };
        launch_run(&launch, run_norm, &args, "norm");
    }
    check_twice(&y, ROWS, "norm");
    check_twice(&copy, ROWS, "norm's copy");
    ranges_free();
}

/* The second word and position are 2^32 elements from the first. */
static void embed_far(void)
{
    enum { WIDTH = 1024 };
    const int32_t            ids[2][ROWS] = { { 0, 1 }, { 0, (int32_t)(DISTANCE / 4 / WIDTH) } };
    const struct cuda_launch launch       = launch_two();
    struct twice             words = twice_new(DTYPE_F32, WIDTH), places = twice_new(DTYPE_F32, WIDTH);
    struct twice             y = twice_new(DTYPE_F32, WIDTH);
    for (int row = 0; row < ROWS; row++) {  /* rows of tables have nothing between them */
        cudaMemcpy(words.near.device + row * WIDTH * 4, words.near.host + words.near.stride * (size_t)row, WIDTH * 4,
                   cudaMemcpyHostToDevice);
        cudaMemcpy(places.near.device + row * WIDTH * 4, places.near.host + places.near.stride * (size_t)row, WIDTH * 4,
                   cudaMemcpyHostToDevice);
    }
    for (int far = 0; far < 2; far++) {
        int32_t          *both = device_ints(ids[far], ROWS);
        struct embed_args args = { .words = at(&words, far), .positions = at(&places, far), .table_type = DTYPE_F32,
                                   .width = WIDTH, .ids = both, .position_ids = both, .y = floats_at(&y, far),
                                   .y_stride = stride(&y, far) };
        launch_run(&launch, run_embed, &args, "embedding");
    }
    check_twice(&y, ROWS, "embedding");
    ranges_free();
}

/* The second position's angles are 2^32 elements from the first's. */
static void rotary_far(void)
{
    enum { HALF = 32 };
    const int32_t            positions[2][ROWS] = { { 0, 1 }, { 0, (int32_t)(DISTANCE / 4 / HALF) } };
    const struct cuda_launch launch             = launch_two();
    struct twice             x = twice_new(DTYPE_F32, 2 * HALF), angles = twice_new(DTYPE_F32, HALF);
    for (int row = 0; row < ROWS; row++)
        cudaMemcpy(angles.near.device + row * HALF * 4, angles.near.host + angles.near.stride * (size_t)row, HALF * 4,
                   cudaMemcpyHostToDevice);
    for (int far = 0; far < 2; far++) {
        struct rotary_args args = { .x = at(&x, far), .type = DTYPE_F32, .x_stride = stride(&x, far), .heads = 1,
                                    .head_size = 2 * HALF, .position_ids = device_ints(positions[far], ROWS),
                                    .cosines = floats_at(&angles, far), .sines = floats_at(&angles, far) };
        launch_run(&launch, run_rotary, &args, "rotary");
    }
    check_twice(&x, ROWS, "rotary");
    ranges_free();
}

static void pool_far(const int *lengths, int count, test_launch *run, const char *what)
{
    const struct packing     p      = packing_new(lengths, count, 0, 0);
    const struct cuda_launch launch = launch_of(&p, CUDA_ROWS_SEQUENCES);
    struct twice             x = twice_new(DTYPE_F32, 40), y = twice_new(DTYPE_F32, 40);
    for (int far = 0; far < 2; far++) {
        struct pool_args args = { .x = floats_at(&x, far), .x_stride = stride(&x, far), .width = 40, .starts = p.device_starts,
                                  .y = floats_at(&y, far), .y_stride = stride(&y, far) };
        launch_run(&launch, run, &args, what);
    }
    check_twice(&y, count, what);
    ranges_free();
}

static void normalize_far(void)
{
    const struct cuda_launch launch = launch_two();
    struct twice             x = twice_new(DTYPE_F32, 40), y = twice_new(DTYPE_F32, 40);
    for (int far = 0; far < 2; far++) {
        struct normalize_args args = { .x = floats_at(&x, far), .x_stride = stride(&x, far), .width = 40, .y = floats_at(&y, far),
                                       .y_stride = stride(&y, far) };
        launch_run(&launch, run_normalize, &args, "normalize");
    }
    check_twice(&y, ROWS, "normalize");
    ranges_free();
}

static void convert_far(void)
{
    const struct cuda_launch launch = launch_two();
    struct twice             x = twice_new(DTYPE_F32, 42), y = twice_new(DTYPE_BF16, 42);
    for (int far = 0; far < 2; far++) {
        struct convert_args args = { .x = floats_at(&x, far), .x_stride = stride(&x, far), .y = (uint16_t *)(void *)at(&y, far),
                                     .y_stride = stride(&y, far), .width = 42 };
        launch_run(&launch, run_convert, &args, "conversion");
    }
    check_twice(&y, ROWS, "conversion");
    ranges_free();
}

static void quantize_far(void)
{
    const struct cuda_launch launch = launch_two();
    struct twice             x = twice_new(DTYPE_BF16, 40), y = twice_new(DTYPE_U8, 40);
    const struct matrix      scales = matrix_new(DTYPE_F32, 1, ROWS, 0);
    for (int far = 0; far < 2 && kernels->quantize_fp8; far++) {
        struct fp8_args args = { .x = at(&x, far), .x_type = DTYPE_BF16, .x_stride = stride(&x, far), .width = 40,
                                 .y = (uint8_t *)(void *)at(&y, far), .y_stride = stride(&y, far),
                                 .scales = (float *)(void *)scales.device };
        launch_run(&launch, run_quantize, &args, "fp8");
    }
    if (kernels->quantize_fp8)
        check_twice(&y, ROWS, "fp8");
    ranges_free();
}

/* ---- linears ---- */

struct linear_case {
    struct linear_args       args;
    enum linear_cuda_variant variant;
};

static cudaError_t run_linear(const struct cuda_launch *launch, void *context)
{
    struct linear_case *c = context;
    return linear_cuda_launch(launch, &c->args, c->variant);
}

static void linear_far(enum linear_cuda_variant variant, enum dtype type, enum dtype y_type)
{
    enum { N = 32, K = 40 };
    const struct cuda_launch launch = launch_two();
    struct twice             x = twice_new(type, K), residual = twice_new(DTYPE_F32, N), y = twice_new(y_type, N);
    const struct matrix      weight = matrix_random(type, N, K, 0, 1);
    const struct linear_weight w    = { .n = N, .k = K, .type = type, .panels = weight.device };
    for (int far = 0; far < 2 && linear_cuda_can(&facts, variant, &w, LINEAR_NONE); far++) {
        struct linear_case c = { { .weight = &w, .x = at(&x, far), .x_stride = stride(&x, far),
                                   .residual = y_type == DTYPE_F32 ? floats_at(&residual, far) : NULL,
                                   .residual_stride = stride(&residual, far), .y = at(&y, far), .y_stride = stride(&y, far),
                                   .y_type = y_type }, variant };
        launch_run(&launch, run_linear, &c, linear_cuda_name(variant));
    }
    if (linear_cuda_can(&facts, variant, &w, LINEAR_NONE))
        check_twice(&y, ROWS, linear_cuda_name(variant));
    ranges_free();
}

static cudaError_t run_linear_norm(const struct cuda_launch *launch, void *args)
{
    return linear_norm_launch(launch, args, LINEAR_NORM_64X64);
}

static void linear_norm_far(void)
{
    enum { N = 72, K = 40 };
    const struct cuda_launch launch = launch_two();
    struct twice             x = twice_new(DTYPE_BF16, K), residual = twice_new(DTYPE_F32, N), sum = twice_new(DTYPE_F32, N);
    struct twice             y = twice_new(DTYPE_F32, N), copy = twice_new(DTYPE_BF16, N);
    const struct matrix      weight = matrix_random(DTYPE_BF16, linear_padded(N), K, 0, 1);
    const struct matrix      gamma = matrix_random(DTYPE_F32, 1, N, 0, 1);
    const struct linear_weight w    = { .n = N, .k = K, .type = DTYPE_BF16, .panels = weight.device };
    const bool               can    = linear_norm_can(&facts, LINEAR_NORM_64X64, &w);
    for (int far = 0; far < 2 && can; far++) {
        struct linear_norm_args args = {
            .linear = { .weight = &w, .x = at(&x, far), .x_stride = stride(&x, far), .residual = floats_at(&residual, far),
                        .residual_stride = stride(&residual, far), .y = at(&sum, far), .y_stride = stride(&sum, far) },
            .norm   = { .weight = (float *)(void *)gamma.device, .width = N, .epsilon = 1e-6f, .y = floats_at(&y, far),
                        .y_stride = stride(&y, far), .copy = at(&copy, far), .copy_stride = stride(&copy, far),
                        .copy_type = DTYPE_BF16 }
        };
        launch_run(&launch, run_linear_norm, &args, "linear and norm");
    }
    if (can) {
        check_twice(&sum, ROWS, "linear and norm, the sum");
        check_twice(&y, ROWS, "linear and norm");
        check_twice(&copy, ROWS, "linear and norm, the copy");
    }
    ranges_free();
}

/* ---- attention ---- */

struct attention_case {
    struct attention_args   args;
    struct attention_choice choice;
    void                   *schedule;
};

static cudaError_t run_attention(const struct cuda_launch *launch, void *context)
{
    struct attention_case *c     = context;
    const cudaError_t      error = attention_schedule_launch(launch, &c->args, c->schedule, &c->choice);
    if (error != cudaSuccess)
        return error;
    return c->choice.variant == ATTENTION_CUDA_FMA ? kernels->attention_f32(launch, &c->args, c->schedule)
                                                   : attention_mma_launch(launch, &c->args, c->schedule, &c->choice);
}

/* Sequences longer than a tile, and shorter, that begin at row 2^20, 16 GiB after addresses that have no memory. */
static void attention_far(enum dtype type, int length, bool causal)
{
    enum { HEAD = 32, FIRST = 1 << 20 };
    const int32_t            starts[2][2] = { { 0, length }, { FIRST, FIRST + length } };
    const struct packing     p            = packing_new(&length, 1, 0, 0);
    const struct cuda_launch launch       = launch_of(&p, CUDA_ROWS_TOKENS);
    struct matrix            m[5];  /* queries, keys, values, results of rows from 0 and from FIRST on */
    for (int i = 0; i < 5; i++)
        m[i] = matrix_random(type, length, HEAD, (int)(DISTANCE / FIRST) * 8 / dtype_bits(type) - HEAD, 1);
    for (int far = 0; far < 2; far++) {
        char *first[5];
        for (int i = 0; i < 5; i++)
            first[i] = (char *)((uintptr_t)m[i].device - (far ? DISTANCE : 0));
        struct attention_case c = { .args = { .q = first[0], .k = first[1], .v = first[2], .q_stride = m[0].stride,
                                              .k_stride = m[1].stride, .v_stride = m[2].stride, .type = type, .heads = 1,
                                              .kv_heads = 1, .head_size = HEAD, .scale = 0.2f, .causal = causal,
                                              .starts = device_ints(starts[far], 2), .y = first[3 + far],
                                              .y_stride = m[3 + far].stride, .y_type = type },
                                    .schedule = device_bytes(attention_schedule_bytes(length, 1)) };
        c.choice = attention_cuda_choose(&facts_80, &c.args);
        launch_run(&launch, run_attention, &c, "attention");
        matrix_download(&m[3 + far]);
    }
    for (int row = 0; row < length; row++)
        check(memcmp(m[3].host + m[3].stride * (size_t)row, m[4].host + m[4].stride * (size_t)row, row_bytes(&m[3])) == 0,
              "attention, type %d: row %d of %d is not the same from row %d on", type, row, length, FIRST);
    memory_free_all();
}

static void all_far(void)
{
    static const int together[] = { 2 }, apart[] = { 1, 1 };
    norm_far(128);
    norm_far(30);
    embed_far();
    rotary_far();
    pool_far(together, 1, run_mean, "the mean");
    pool_far(apart, 2, run_last, "the last row");
    normalize_far();
    convert_far();
    quantize_far();
    linear_far(LINEAR_CUDA_FMA_32X64, DTYPE_F32, DTYPE_F32);
    linear_far(LINEAR_CUDA_MMA_64X64, DTYPE_BF16, DTYPE_F32);
    linear_far(LINEAR_CUDA_WGMMA_64X64, DTYPE_BF16, DTYPE_F32);
    linear_far(LINEAR_CUDA_WGMMA_64X64, DTYPE_BF16, DTYPE_BF16);
    linear_norm_far();
    attention_far(DTYPE_F32, 70, true);
    attention_far(DTYPE_F32, 20, false);
    attention_far(DTYPE_BF16, 70, true);
    attention_far(DTYPE_BF16, 20, false);
}

void far_cases(void)
{
    if (!group_begin("far_rows", true))
        return;
    const bool found = driver_find();
    check(found, "the driver maps no memory at addresses that are asked for");
    if (found)
        all_far();
    group_end();
}
