/* The kernels that walk rows: embedding, norms, rotary, pooling, length one, conversions. */
#include "tests/kernels_cuda/harness.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define EPSILON 6e-8  /* half a step of f32 at 1 */

static const int row_counts[] = { 1, 3, 4, 5, 33 };
static const int widths[]     = { 1, 31, 32, 33, 127, 128, 132, 384, 389, 768, 1024 };

/* ---- embedding ---- */

static cudaError_t run_embed(const struct cuda_launch *launch, void *context) { return kernels->embed_rows(launch, context); }

static void embed_case(enum dtype type, int rows, int width, bool positions, bool types)
{
    const int     vocabulary = 37, limit = 19;
    struct matrix words = matrix_random(type, vocabulary, width, 0, 1), places = matrix_random(type, limit, width, 0, 1);
    struct matrix kinds = matrix_random(type, 2, width, 0, 1), y = matrix_new(DTYPE_F32, rows + 2, width, 3);
    int32_t       ids[64], at[64];
    for (int i = 0; i < rows + 2; i++) {
        ids[i] = i < rows ? random_int(0, vocabulary - 1) : -1000000;  /* beyond the live rows nothing is looked up */
        at[i]  = i < rows ? random_int(0, limit - 1) : -1000000;
    }
    words.stride = places.stride = kinds.stride = (size_t)width * (size_t)dtype_bits(type) / 8;  /* as embed.h wants tables */
    for (int r = 0; r < vocabulary; r++)
        for (int c = 0; c < width; c++)
            matrix_set(&words, r, c, random_float());
    for (int c = 0; c < limit * width; c++)
        matrix_set(&places, 0, c, random_float());
    for (int c = 0; c < width; c++)
        matrix_set(&kinds, 0, c, random_float());
    matrix_upload(&words), matrix_upload(&places), matrix_upload(&kinds);
    struct embed_args  args   = { .words = words.device, .positions = positions ? places.device : NULL,
                                  .types = types ? kinds.device : NULL, .table_type = type, .width = width,
                                  .ids = device_ints(ids, rows + 2), .position_ids = device_ints(at, rows + 2),
                                  .y = (float *)(void *)y.device, .y_stride = y.stride };
    struct cuda_launch launch = launch_rows(rows, rows + 2);
    for (int i = 0; i < schedule_count(); i++) {
        schedule_take(i);
        matrix_poison(&y);
        if (!launch_run(&launch, run_embed, &args, "embedding"))
            return;
        matrix_download(&y);
        struct closeness close = { 0 };
        for (int r = 0; r < rows; r++)
            for (int c = 0; c < width; c++) {
                double expected = matrix_get(&words, ids[r], c);
                if (positions)
                    expected += matrix_get(&places, at[r], c);
                if (types)
                    expected += matrix_get(&kinds, 0, c);
                closeness_add(&close, matrix_get(&y, r, c), expected, 2 * EPSILON * (fabs(expected) + 4), r, c);
            }
        check_close(&close, "%d rows of %d", rows, width);
        check(matrix_intact(&y), "%d rows of %d: wrote beside the rows", rows, width);
    }
}

static void embed_group(enum dtype type, const char *name)
{
    if (!group_begin(name, true))
        return;
    for (size_t i = 0; i < sizeof widths / sizeof *widths; i++) {
        embed_case(type, row_counts[i % 5], widths[i], i % 2 == 0, i % 3 == 0);
        memory_free_all();
    }
    group_end();
}

/* ---- norms ---- */

static cudaError_t run_norm_layer(const struct cuda_launch *launch, void *context) { return kernels->norm_layer(launch, context); }
static cudaError_t run_norm_rms(const struct cuda_launch *launch, void *context) { return kernels->norm_rms(launch, context); }

static void norm_row_expected(const struct matrix *x, int row, bool rms, double epsilon, const struct matrix *weight,
                              const struct matrix *bias, double *y)
{
    double mean = 0, squares = 0;
    for (int c = 0; c < x->columns && !rms; c++)
        mean += matrix_get(x, row, c) / x->columns;
    for (int c = 0; c < x->columns; c++)
        squares += (matrix_get(x, row, c) - mean) * (matrix_get(x, row, c) - mean);
    for (int c = 0; c < x->columns; c++)
        y[c] = (matrix_get(x, row, c) - mean) / sqrt(squares / x->columns + epsilon) * matrix_get(weight, 0, c) +
               (bias ? matrix_get(bias, 0, c) : 0.0);
}

/* gap 0 and widths of fours let the kernel hold a row in registers; an odd gap forces the one that does not. Without an offset
 * the first row is small enough for epsilon to matter. */
static void norm_case(bool rms, int rows, int width, int gap, bool in_place, bool with_copy, bool with_bias, float offset)
{
    struct matrix x = matrix_random(DTYPE_F32, rows + 1, width, gap, 2), weight = matrix_random(DTYPE_F32, 1, width, 0, 1);
    struct matrix bias = matrix_random(DTYPE_F32, 1, width, 0, 1), own = matrix_new(DTYPE_F32, rows + 1, width, gap);
    struct matrix copy = matrix_new(DTYPE_BF16, rows + 1, width, 5), kept;
    for (int r = 0; r <= rows; r++)
        for (int c = 0; c < width; c++)
            matrix_set(&x, r, c, r == rows ? NAN : matrix_get(&x, r, c) * (r == 0 && offset == 0.0f ? 1e-3 : 1.0) + offset);
    matrix_upload(&x);
    struct matrix   *y    = in_place ? &x : &own;
    struct norm_args args = { .x = (float *)(void *)x.device, .x_stride = x.stride, .weight = (float *)(void *)weight.device,
                              .bias = with_bias ? (float *)(void *)bias.device : NULL, .width = width, .epsilon = 1e-6f,
                              .y = (float *)(void *)y->device, .y_stride = y->stride, .copy = with_copy ? copy.device : NULL,
                              .copy_stride = copy.stride, .copy_type = DTYPE_BF16 };
    struct cuda_launch launch = launch_rows(rows, rows + 1);
    double             expected[5000];
    char               image[1 << 18];
    memcpy(image, x.host, x.stride * (size_t)(rows + 1));
    for (int i = 0; i < schedule_count(); i++) {
        schedule_take(i);
        memcpy(x.host, image, x.stride * (size_t)(rows + 1));
        matrix_upload(&x);
        matrix_poison(&copy);
        if (!in_place)
            matrix_poison(&own);
        if (!launch_run(&launch, rms ? run_norm_rms : run_norm_layer, &args, "norm"))
            return;
        matrix_download(y);
        matrix_download(&copy);
        kept      = x;
        kept.host = image;
        struct closeness close = { 0 }, narrow = { 0 };
        for (int r = 0; r < rows; r++) {
            norm_row_expected(&kept, r, rms, 1e-6, &weight, with_bias ? &bias : NULL, expected);
            for (int c = 0; c < width; c++) {
                const double scale = 16 + fabs(offset) * 2, e = expected[c];
                closeness_add(&close, matrix_get(y, r, c), e, EPSILON * scale * (1 + fabs(matrix_get(&weight, 0, c))) * 4, r, c);
                if (with_copy)
                    closeness_add(&narrow, matrix_get(&copy, r, c), e, fabs(e) / 256 + EPSILON * scale * 8, r, c);
            }
        }
        check_close(&close, "%d rows of %d, gap %d, offset %g", rows, width, gap, (double)offset);
        check_close(&narrow, "%d rows of %d, the copy", rows, width);
        check(matrix_intact(y) && matrix_intact(&copy), "%d rows of %d: wrote beside the rows", rows, width);
    }
}

static void norm_group(bool rms, const char *name)
{
    if (!group_begin(name, true))
        return;
    for (size_t i = 0; i < sizeof widths / sizeof *widths; i++)
        for (int gap = 0; gap < 2; gap++) {
            norm_case(rms, row_counts[(i + (size_t)gap) % 5], widths[i], gap, i % 3 == 0, i % 4 != 1, rms ? i % 5 == 0 : i % 5 != 0,
                      i % 2 ? 0.0f : 20.0f);
            memory_free_all();
        }
    if (!options.quick) {
        norm_case(rms, 3, 2048, 0, false, true, true, 0.0f);
        norm_case(rms, 2, 4096, 0, false, true, true, 0.0f);
        norm_case(rms, 2, 4000, 0, false, false, true, 1.0f);
        for (int i = 0; i < 5; i++)  /* one vector of four more than is held in so many registers */
            norm_case(rms, 2, (int[]){ 384, 768, 1024, 2048, 4096 }[i] + 4, 0, false, true, true, 0.0f);
    }
    group_end();
}

/* The copy in e4m3 is what y becomes, and y what it is without one. With a gap rows are not held, and y takes x's place. */
static void norm_e4m3_of(int rows, int width, int gap)
{
    const bool    rms = width % 3 == 0;
    struct matrix x = matrix_random(DTYPE_F32, rows + 1, width, gap, 2), weight = matrix_random(DTYPE_F32, 1, width, 0, 1);
    struct matrix y = matrix_new(DTYPE_F32, rows + 1, width, gap), plain = matrix_new(DTYPE_F32, rows + 1, width, gap);
    struct matrix copy = matrix_new(DTYPE_F8_E4M3, rows + 1, width, 5), scales = matrix_new(DTYPE_F32, 1, rows + 1, 0);
    const struct norm_args without = { .x = (float *)(void *)x.device, .x_stride = x.stride,
                                       .weight = (float *)(void *)weight.device, .width = width, .epsilon = 1e-6f,
                                       .y = (float *)(void *)plain.device, .y_stride = plain.stride };
    struct norm_args       args    = without;
    args.y = (float *)(void *)y.device, args.copy = copy.device, args.copy_stride = copy.stride;
    args.copy_type = DTYPE_F8_E4M3, args.copy_scales = (float *)(void *)scales.device;
    matrix_fill_rows(&x, rows, NAN);
    for (int c = 0; c < width && rows > 1; c++)
        matrix_set(&x, 1, c, 0);  /* a row of zeros has scale 1 */
    matrix_upload(&x);
    struct cuda_launch launch = launch_rows(rows, rows + 1);
    test_launch       *run    = rms ? run_norm_rms : run_norm_layer;
    for (int i = 0; i < schedule_count(); i++) {
        schedule_take(i);
        matrix_poison(&y), matrix_poison(&plain), matrix_poison(&copy), matrix_poison(&scales);
        if (gap) {
            memcpy(y.host, x.host, x.stride * (size_t)(rows + 1));
            matrix_upload(&y);
            args.x = args.y;
        }
        if (!launch_run(&launch, run, &args, "norm with a copy in e4m3") || !launch_run(&launch, run, (void *)&without, "norm"))
            return;
        matrix_download(&y), matrix_download(&plain), matrix_download(&copy), matrix_download(&scales);
        int different = 0;
        for (int r = 0; r < rows; r++)
            different += memcmp(y.host + y.stride * (size_t)r, plain.host + plain.stride * (size_t)r, 4 * (size_t)width) != 0;
        check(different == 0, "%d rows of %d: the copy changes %d rows", rows, width, different);
        check_e4m3(&y, &copy, &scales, rows);
        check(matrix_intact(&y) && matrix_intact(&copy) && matrix_intact(&scales), "%d rows of %d: wrote beside the rows", rows,
              width);
    }
}

static void norm_e4m3_case(int rows, int width)
{
    norm_e4m3_of(rows, width, 0);
    norm_e4m3_of(rows, width, 1);
}

static void norm_e4m3_refusals(void)
{
    if (!group_begin("norm_e4m3_refusals", kernels->linear_fp8 != NULL))
        return;
    struct matrix      x = matrix_random(DTYPE_F32, 4, 64, 0, 1), copy = matrix_new(DTYPE_F8_E4M3, 4, 64, 0);
    struct norm_args   args   = { .x = (float *)(void *)x.device, .x_stride = x.stride, .weight = (float *)(void *)x.device,
                                  .width = 64, .copy = copy.device, .copy_stride = copy.stride, .copy_type = DTYPE_F8_E4M3 };
    struct cuda_launch launch = launch_rows(4, 4);
    check(kernels->norm_layer(&launch, &args) == cudaErrorInvalidValue, "no scales of the copy");
    args.copy_scales = (float *)(void *)x.device;
    check(kernels_cuda(&facts_80)->norm_rms(&launch, &args) == cudaErrorNotSupported, "a device that cannot convert to e4m3");
    memory_free_all();
    group_end();
}

/* ---- rotary ---- */

static cudaError_t run_rotary(const struct cuda_launch *launch, void *context) { return kernels->rotary_half(launch, context); }

static void rotary_case(enum dtype type, int rows, int heads, int head_size)
{
    const int     limit = 50, half = head_size / 2;
    struct matrix x = matrix_random(type, rows + 1, heads * head_size, 8, 1);
    struct matrix cosines = matrix_new(DTYPE_F32, limit, half, 0), sines = matrix_new(DTYPE_F32, limit, half, 0);
    int32_t       at[64];
    for (int p = 0; p < limit; p++)
        for (int i = 0; i < half; i++) {
            matrix_set(&cosines, p, i, cos(p / pow(10000.0, 2.0 * i / head_size)));
            matrix_set(&sines, p, i, sin(p / pow(10000.0, 2.0 * i / head_size)));
        }
    matrix_upload(&cosines), matrix_upload(&sines);
    for (int r = 0; r <= rows; r++)
        at[r] = r < rows ? random_int(0, limit - 1) : -1000000;
    struct matrix      before = x;
    char               image[1 << 18];
    struct rotary_args args = { .x = x.device, .type = type, .x_stride = x.stride, .heads = heads, .head_size = head_size,
                                .position_ids = device_ints(at, rows + 1), .cosines = (float *)(void *)cosines.device,
                                .sines = (float *)(void *)sines.device };
    struct cuda_launch launch = launch_rows(rows, rows + 1);
    memcpy(image, x.host, x.stride * (size_t)(rows + 1));
    before.host = image;
    for (int i = 0; i < schedule_count(); i++) {
        schedule_take(i);
        memcpy(x.host, image, x.stride * (size_t)(rows + 1));
        matrix_upload(&x);
        if (!launch_run(&launch, run_rotary, &args, "rotary"))
            return;
        matrix_download(&x);
        struct closeness close = { 0 };
        for (int r = 0; r < rows; r++)
            for (int c = 0; c < heads * head_size; c++) {
                const int    j = c % head_size % half, base = c / head_size * head_size;
                const double a = matrix_get(&before, r, base + j), b = matrix_get(&before, r, base + j + half);
                const double co = matrix_get(&cosines, at[r], j), si = matrix_get(&sines, at[r], j);
                const double e = c % head_size < half ? a * co - b * si : b * co + a * si;
                const double rounding = type == DTYPE_F32 ? 0 : fabs(e) / 256;
                closeness_add(&close, matrix_get(&x, r, c), e, EPSILON * 4 * (fabs(a) + fabs(b)) + rounding, r, c);
            }
        check_close(&close, "%d rows of %d heads of %d", rows, heads, head_size);
        check(matrix_intact(&x) && memcmp(x.host + x.stride * (size_t)rows, image + x.stride * (size_t)rows, x.stride) == 0,
              "%d rows of %d heads of %d: wrote beside the rows", rows, heads, head_size);
    }
}

static void rotary_group(enum dtype type, const char *name)
{
    if (!group_begin(name, true))
        return;
    rotary_case(type, 1, 1, 2);
    rotary_case(type, 5, 3, 64);
    rotary_case(type, 4, 2, 80);
    rotary_case(type, 33, 1, 32);
    rotary_case(type, 2, 3, 6);
    if (!options.quick)
        rotary_case(type, 3, 14, 128);
    group_end();
}

/* ---- pooling and length one ---- */

enum pooled { MEAN, FIRST, LAST };

static cudaError_t run_mean(const struct cuda_launch *launch, void *context) { return kernels->pool_mean(launch, context); }
static cudaError_t run_first(const struct cuda_launch *launch, void *context) { return kernels->pool_first(launch, context); }
static cudaError_t run_last(const struct cuda_launch *launch, void *context) { return kernels->pool_last(launch, context); }

static void pool_case(enum pooled kind, const int *lengths, int count, int width)
{
    static test_launch *const runs[] = { run_mean, run_first, run_last };
    struct packing            p      = packing_new(lengths, count, 3, 2);
    struct matrix             x = matrix_random(DTYPE_F32, p.token_cap, width, 1, 1);
    struct matrix             y = matrix_new(DTYPE_F32, p.sequence_cap, width, 1);
    matrix_fill_rows(&x, p.tokens, NAN);
    matrix_upload(&x);
    struct pool_args   args   = { .x = (float *)(void *)x.device, .x_stride = x.stride, .width = width, .starts = p.device_starts,
                                  .y = (float *)(void *)y.device, .y_stride = y.stride };
    struct cuda_launch launch = launch_of(&p, CUDA_ROWS_SEQUENCES);
    for (int i = 0; i < schedule_count(); i++) {
        schedule_take(i);
        matrix_poison(&y);
        if (!launch_run(&launch, runs[kind], &args, "pooling"))
            return;
        matrix_download(&y);
        struct closeness close = { 0 };
        for (int s = 0; s < count; s++)
            for (int c = 0; c < width; c++) {
                float sum = 0.0f;  /* one order: to the bit */
                for (int r = p.starts[s]; r < p.starts[s + 1]; r++)
                    sum += (float)matrix_get(&x, r, c);
                const int row = kind == FIRST ? p.starts[s] : p.starts[s + 1] - 1;
                closeness_add(&close, matrix_get(&y, s, c), kind == MEAN ? sum / (float)lengths[s] : matrix_get(&x, row, c), 0, s,
                              c);
            }
        check_close(&close, "%d sequences of width %d", count, width);
        check(matrix_intact(&y), "%d sequences of width %d: wrote beside the rows", count, width);
    }
}

static void pool_group(enum pooled kind, const char *name)
{
    static const int lengths[] = { 1, 31, 2, 70, 1 };
    if (!group_begin(name, true))
        return;
    pool_case(kind, lengths, 5, 127);
    pool_case(kind, lengths, 4, 129);
    pool_case(kind, lengths, 2, 768);
    group_end();
}

static cudaError_t run_normalize(const struct cuda_launch *launch, void *context) { return kernels->normalize_l2(launch, context); }

static void normalize_case(int rows, int width)
{
    struct matrix x = matrix_random(DTYPE_F32, rows + 1, width, 1, 3), y = matrix_new(DTYPE_F32, rows + 1, width, 3);
    for (int c = 0; c < width && rows > 1; c++)
        matrix_set(&x, 1, c, 0.0);  /* stays zero */
    matrix_upload(&x);
    struct normalize_args args   = { .x = (float *)(void *)x.device, .x_stride = x.stride, .width = width,
                                     .y = (float *)(void *)y.device, .y_stride = y.stride };
    struct cuda_launch    launch = launch_rows(rows, rows + 1);
    for (int i = 0; i < schedule_count(); i++) {
        schedule_take(i);
        matrix_poison(&y);
        if (!launch_run(&launch, run_normalize, &args, "normalize"))
            return;
        matrix_download(&y);
        struct closeness close = { 0 };
        for (int r = 0; r < rows; r++) {
            double squares = 0;
            for (int c = 0; c < width; c++)
                squares += matrix_get(&x, r, c) * matrix_get(&x, r, c);
            for (int c = 0; c < width; c++)
                closeness_add(&close, matrix_get(&y, r, c), matrix_get(&x, r, c) / fmax(sqrt(squares), 1e-12), EPSILON * 16, r, c);
        }
        check_close(&close, "%d rows of %d", rows, width);
        check(matrix_intact(&y), "%d rows of %d: wrote beside the rows", rows, width);
    }
}

/* ---- conversions ---- */

static cudaError_t run_convert(const struct cuda_launch *launch, void *context) { return kernels->convert_bf16(launch, context); }
static cudaError_t run_fp8(const struct cuda_launch *launch, void *context) { return kernels->quantize_fp8(launch, context); }

/* Four rows are not aligned to four columns, the others are. */
static void convert_case(int rows, int width)
{
    struct matrix       x = matrix_random(DTYPE_F32, rows + 1, width, rows == 4 ? 1 : 2, 3);
    struct matrix       y = matrix_new(DTYPE_BF16, rows + 1, width, 1);
    struct convert_args args   = { .x = (float *)(void *)x.device, .x_stride = x.stride, .y = (uint16_t *)(void *)y.device,
                                   .y_stride = y.stride, .width = width };
    struct cuda_launch  launch = launch_rows(rows, rows + 1);
    for (int i = 0; i < schedule_count(); i++) {
        schedule_take(i);
        matrix_poison(&y);
        if (!launch_run(&launch, run_convert, &args, "conversion"))
            return;
        matrix_download(&y);
        bool same = true;
        for (int r = 0; r < rows; r++)
            for (int c = 0; c < width; c++)
                same = same && matrix_get(&y, r, c) == (double)bf16_to_float(bf16_from_float((float)matrix_get(&x, r, c)));
        check(same, "%d rows of %d: not the nearest bf16", rows, width);
        check(matrix_intact(&y), "%d rows of %d: wrote beside the rows", rows, width);
    }
}

/* Scale 1: every code, and every point half way between two. */
static double e4m3_probe(int c)
{
    const uint8_t code = (uint8_t)(c % 126), next = (uint8_t)(code + c / 126 % 2);
    return c == 0 ? 448.0 : (c % 2 ? -1 : 1) * ((double)e4m3_to_float(code) + (double)e4m3_to_float(next)) / 2;
}

static void fp8_case(enum dtype type, int rows, int width)
{
    const int     whole = (width + 3) / 4 * 4;  /* rows of f32 begin at multiples of 16 bytes here */
    struct matrix x = matrix_random(type, rows + 1, width, type == DTYPE_F32 ? whole - width + 4 : 1, 3);
    struct matrix y = matrix_new(DTYPE_F8_E4M3, rows + 1, width, 1), scales = matrix_new(DTYPE_F32, 1, rows + 1, 0);
    for (int c = 0; c < width; c++) {
        if (rows > 1)
            matrix_set(&x, 1, c, c % 3 ? 0.0 : 1e-38);
        if (rows > 2)
            matrix_set(&x, 2, c, e4m3_probe(c));
        if (rows > 3)  /* the least range that is scaled, or what bf16 has next to it */
            matrix_set(&x, 3, c, c % 2 ? 0.0 : QUANTIZE_LEAST_RANGE);
    }
    matrix_fill_rows(&x, rows, NAN);
    matrix_upload(&x);
    struct fp8_args    args   = { .x = x.device, .x_type = type, .x_stride = x.stride, .width = width,
                                  .y = (uint8_t *)(void *)y.device, .y_stride = y.stride,
                                  .scales = (float *)(void *)scales.device };
    struct cuda_launch launch = launch_rows(rows, rows + 1);
    for (int i = 0; i < schedule_count(); i++) {
        schedule_take(i);
        matrix_poison(&y);
        matrix_poison(&scales);
        if (!launch_run(&launch, run_fp8, &args, "fp8"))
            return;
        matrix_download(&y);
        matrix_download(&scales);
        check_e4m3(&x, &y, &scales, rows);
        check(matrix_intact(&y), "%d rows of %d: wrote beside the rows", rows, width);
    }
}

static void fp8_from_f32(int rows, int width) { fp8_case(DTYPE_F32, rows, width); }
static void fp8_from_bf16(int rows, int width) { fp8_case(DTYPE_BF16, rows, width); }

static void plain_group(const char *name, bool supported, void run(int rows, int width))
{
    if (!group_begin(name, supported))
        return;
    for (size_t i = 0; i < sizeof widths / sizeof *widths; i++) {
        run(row_counts[i % 5], widths[i]);
        memory_free_all();
    }
    group_end();
}

void row_cases(void)
{
    embed_group(DTYPE_F32, "embed_rows_f32");
    embed_group(DTYPE_BF16, "embed_rows_bf16");
    norm_group(false, "norm_layer");
    norm_group(true, "norm_rms");
    rotary_group(DTYPE_F32, "rotary_half_f32");
    rotary_group(DTYPE_BF16, "rotary_half_bf16");
    pool_group(MEAN, "pool_mean");
    pool_group(FIRST, "pool_first");
    pool_group(LAST, "pool_last");
    plain_group("normalize_l2", true, normalize_case);
    plain_group("convert_bf16", true, convert_case);
    plain_group("norm_e4m3", kernels->linear_fp8 != NULL, norm_e4m3_case);
    norm_e4m3_refusals();
    plain_group("quantize_fp8_f32", kernels->quantize_fp8 != NULL, fp8_from_f32);
    plain_group("quantize_fp8_bf16", kernels->quantize_fp8 != NULL, fp8_from_bf16);
}
