/* The kernels that work row by row (embed, norm, rotary, pool, normalize) against their references, byte for byte. */
#include "kernels/bf16.h"
#include "tests/kernels/harness.h"

#include <math.h>

static const int widths[] = { 1, 2, 15, 16, 17, 31, 32, 33, 47, 61, 97, 128, 384, 768, 1024, 1152, 1536, 3072, 4096 };
static const int rows_of[] = { 1, 2, 3, 5, 6, 7, 13, 14, 15, 16, 17, 31 };
enum { WIDTHS = sizeof widths / sizeof widths[0], QUICK_WIDTHS = 13 };

typedef void row_case(const struct kernels *tested, int width, int rows);

static void each_shape(const struct kernels *tested, const char *kernel, row_case *run)
{
    if (!group_begin(tested->name, kernel))
        return;
    for (int w = 0; w < (options.quick ? QUICK_WIDTHS : WIDTHS); w++)
        for (int times = 0; times < (options.quick ? 4 : 24); times++) {
            run(tested, widths[w], RANDOM_OF(rows_of));
            guarded_free_all();
        }
    group_end();
}

static void *random_table(int rows, int width, enum dtype type)
{
    size_t    count = (size_t)rows * (size_t)width;
    float    *f32   = guarded_floats(count);
    uint16_t *bf16  = guarded_new(2 * count);
    for (size_t i = 0; i < count; i++)
        bf16[i] = bf16_from_float(f32[i]);
    return type == DTYPE_BF16 ? (void *)bf16 : f32;
}

static int32_t *random_ids(int count, int limit)
{
    int32_t *ids = guarded_new(sizeof(int32_t) * (size_t)count);
    for (int i = 0; i < count; i++)
        ids[i] = random_int(0, limit - 1);
    return ids;
}

static void embed_case(const struct kernels *tested, int width, int rows)
{
    enum { VOCABULARY = 7, POSITIONS = 5 };
    struct range      range = random_range(rows);
    enum dtype        type  = random_bits() & 1 ? DTYPE_BF16 : DTYPE_F32;
    struct matrix     y = matrix_new(rows, width, sizeof(float), random_int(0, 5)), expected = matrix_copy(&y);
    struct embed_args args = { .words = random_table(VOCABULARY, width, type), .table_type = type, .width = width,
                               .ids = random_ids(rows, VOCABULARY), .y = (float *)(void *)y.rows, .y_stride = y.stride };
    if (random_bits() % 3) {
        args.positions    = random_table(POSITIONS, width, type);
        args.position_ids = random_ids(rows, POSITIONS);
    }
    if (random_bits() % 3)
        args.types = random_table(1, width, type);
    tested->embed_rows(&args, range.middle, range.last);
    tested->embed_rows(&args, range.first, range.middle);
    args.y = (float *)(void *)expected.rows;
    kernels_ref.embed_rows(&args, range.first, range.last);
    check(matrix_same(&y, &expected), "%d rows [%d, %d) of %d, %s%s%s", rows, range.first, range.last, width, dtype_name(type),
          args.positions ? ", positions" : "", args.types ? ", types" : "");
}

/* Rows that norms and quantisation find hard: constant, zero, far from zero, tiny, great. */
static void make_special(const struct matrix *x, int width)
{
    for (int row = 0; row < x->count; row++) {
        float *values = matrix_row(x, row), scale = 1.0f, shift = 0.0f;
        switch (random_int(0, 9)) {
        case 0: scale = 0.0f; break;
        case 1: scale = 0.0f; shift = random_float(); break;
        case 2: shift = 1000.0f; break;
        case 3: scale = 1e-20f; break;
        case 4: scale = 1e15f; break;
        default: break;
        }
        for (int i = 0; i < width; i++)
            values[i] = values[i] * scale + shift;
    }
}

/* Beside the weight the norms take what quantised copies are for. */
static struct linear_weight random_outliers(int width)
{
    struct linear_weight weight  = { .k = width, .type = DTYPE_I8, .outliers = random_int(0, LINEAR_MAX_OUTLIERS) };
    float               *keep    = guarded_new(sizeof(float) * (size_t)width);
    int32_t             *columns = guarded_new(sizeof(int32_t) * LINEAR_MAX_OUTLIERS);
    for (int i = 0; i < width; i++)
        keep[i] = 1.0f;
    for (int i = 0; i < weight.outliers; i++) {
        columns[i]       = random_int(0, width - 1);
        keep[columns[i]] = 0.0f;
    }
    weight.keep            = keep;
    weight.outlier_columns = columns;
    return weight;
}

struct norm_outputs {
    struct matrix y, copy, copy_rows;
};

static void norm_point(struct norm_args *args, const struct norm_outputs *o, bool in_place)
{
    args->y         = args->y ? (float *)(void *)o->y.rows : NULL;
    args->x         = in_place ? args->y : args->x;
    args->copy      = args->copy ? o->copy.rows : NULL;
    args->copy_rows = (struct quantized_row *)(void *)o->copy_rows.rows;
}

static void norm_case(const struct kernels *tested, int width, int rows, bool layer)
{
    struct range         range  = random_range(rows);
    enum dtype           type   = random_bits() & 1 ? DTYPE_BF16 : DTYPE_U8;
    struct linear_weight linear = random_outliers(width);
    struct matrix        x      = matrix_random(rows, width, random_int(0, 5));
    make_special(&x, width);
    struct norm_outputs actual;
    bool                in_place = random_bits() & 1, wants_y = in_place || random_bits() % 3, wants_copy = !wants_y || random_bits() % 3;
    actual.y         = in_place ? matrix_copy(&x) : matrix_new(rows, width, sizeof(float), random_int(0, 5));
    actual.copy      = matrix_new(rows, width, type == DTYPE_U8 ? 1 : 2, random_int(0, 5));
    actual.copy_rows = matrix_new(rows, sizeof(struct quantized_row) / 4, 4, 0);
    struct norm_outputs expected = { matrix_copy(&actual.y), matrix_copy(&actual.copy), matrix_copy(&actual.copy_rows) };
    struct norm_args    args     = { .x = (float *)(void *)x.rows, .x_stride = x.stride, .width = width, .epsilon = 1e-12f,
                                     .weight = guarded_floats((size_t)width),
                                     .bias = random_bits() % 3 ? guarded_floats((size_t)width) : NULL,
                                     .y = wants_y ? (float *)(void *)actual.y.rows : NULL, .y_stride = actual.y.stride,
                                     .copy = wants_copy ? actual.copy.rows : NULL, .copy_stride = actual.copy.stride,
                                     .copy_type = type, .copy_for = &linear };
    norm_kernel *kernel = layer ? tested->norm_layer : tested->norm_rms;
    norm_point(&args, &actual, in_place);
    kernel(&args, range.middle, range.last);
    kernel(&args, range.first, range.middle);
    norm_point(&args, &expected, in_place);
    (layer ? kernels_ref.norm_layer : kernels_ref.norm_rms)(&args, range.first, range.last);
    check(matrix_same(&actual.y, &expected.y) && matrix_same(&actual.copy, &expected.copy) &&
              matrix_same(&actual.copy_rows, &expected.copy_rows),
          "%d rows [%d, %d) of %d%s%s%s, %d outliers", rows, range.first, range.last, width, in_place ? ", in place" : "",
          wants_y ? "" : ", no y", wants_copy ? type == DTYPE_U8 ? ", copy u8" : ", copy bf16" : "", linear.outliers);
}

static void layer_case(const struct kernels *tested, int width, int rows) { norm_case(tested, width, rows, true); }
static void rms_case(const struct kernels *tested, int width, int rows) { norm_case(tested, width, rows, false); }

static void rotary_case(const struct kernels *tested, int width, int rows)
{
    enum { POSITIONS = 5 };
    struct range       range = random_range(rows);
    int                half  = width > 128 ? random_int(1, 128) : width, heads = random_int(1, 4);
    enum dtype         type  = random_bits() & 1 ? DTYPE_BF16 : DTYPE_F32;
    struct matrix      x     = type == DTYPE_F32 ? matrix_random(rows, 2 * half * heads, random_int(0, 5))
                                                 : matrix_new(rows, 2 * half * heads, 2, random_int(0, 5));
    for (int row = 0; type == DTYPE_BF16 && row < rows; row++)
        for (int i = 0; i < 2 * half * heads; i++)
            ((uint16_t *)(void *)(x.rows + x.stride * (size_t)row))[i] = bf16_from_float(random_float());
    struct matrix      y = matrix_copy(&x), expected = matrix_copy(&x);
    struct rotary_args args  = { .x = y.rows, .type = type, .x_stride = y.stride, .heads = heads, .head_size = 2 * half,
                                 .position_ids = random_ids(rows, POSITIONS),
                                 .cosines = guarded_floats((size_t)(POSITIONS * half)),
                                 .sines = guarded_floats((size_t)(POSITIONS * half)) };
    tested->rotary_half(&args, range.middle, range.last);
    tested->rotary_half(&args, range.first, range.middle);
    args.x = expected.rows;
    kernels_ref.rotary_half(&args, range.first, range.last);
    check(matrix_same(&y, &expected), "%s, %d rows [%d, %d), %d heads of %d", type == DTYPE_F32 ? "f32" : "bf16", rows, range.first,
          range.last, heads, 2 * half);
}

static void pool_case(const struct kernels *tested, int width, int sequences)
{
    struct range range  = random_range(sequences);
    int32_t     *starts = guarded_new(sizeof(int32_t) * (size_t)(sequences + 1));
    starts[0]           = random_int(0, 2);
    for (int s = 0; s < sequences; s++)
        starts[s + 1] = starts[s] + random_int(1, 9);
    struct matrix    x    = matrix_random(starts[sequences], width, random_int(0, 5));
    struct matrix    y    = matrix_new(sequences, width, sizeof(float), random_int(0, 5));
    struct pool_args args = { .x = (float *)(void *)x.rows, .x_stride = x.stride, .width = width, .starts = starts, .y_stride = y.stride };
    pool_kernel *const kernels[3]    = { tested->pool_mean, tested->pool_first, tested->pool_last };
    pool_kernel *const references[3] = { kernels_ref.pool_mean, kernels_ref.pool_first, kernels_ref.pool_last };
    int                which         = random_int(0, 2);
    struct matrix      expected      = matrix_copy(&y);
    args.y                           = (float *)(void *)y.rows;
    kernels[which](&args, range.middle, range.last);
    kernels[which](&args, range.first, range.middle);
    args.y = (float *)(void *)expected.rows;
    references[which](&args, range.first, range.last);
    check(matrix_same(&y, &expected), "%d sequences [%d, %d) of %d, %s", sequences, range.first, range.last, width,
          which == 0 ? "mean" : which == 1 ? "first" : "last");
}

static void normalize_case(const struct kernels *tested, int width, int rows)
{
    struct range  range = random_range(rows);
    struct matrix x     = matrix_random(rows, width, random_int(0, 5));
    make_special(&x, width);
    bool                  in_place = random_bits() & 1;
    struct matrix         y        = in_place ? matrix_copy(&x) : matrix_new(rows, width, sizeof(float), random_int(0, 5));
    struct matrix         expected = matrix_copy(&y);
    struct normalize_args args     = { .x = (float *)(void *)(in_place ? y : x).rows, .x_stride = x.stride, .width = width,
                                       .y = (float *)(void *)y.rows, .y_stride = y.stride };
    tested->normalize_l2(&args, range.middle, range.last);
    tested->normalize_l2(&args, range.first, range.middle);
    args.x = (float *)(void *)(in_place ? expected : x).rows;
    args.y = (float *)(void *)expected.rows;
    kernels_ref.normalize_l2(&args, range.first, range.last);
    check(matrix_same(&y, &expected), "%d rows [%d, %d) of %d%s", rows, range.first, range.last, width, in_place ? ", in place" : "");
}

static void quantize_case(const struct kernels *tested, int width, int rows)
{
    struct range         range  = random_range(rows);
    struct linear_weight weight = random_outliers(width);
    struct matrix        x      = matrix_random(rows, width, random_int(0, 5));
    make_special(&x, width);
    if (random_bits() % 4 == 0) {  /* no sense in the result, but the same one, and nothing else touched */
        static const float odd[] = { INFINITY, -INFINITY, NAN };
        ((float *)matrix_row(&x, random_int(0, rows - 1)))[random_int(0, width - 1)] = RANDOM_OF(odd);
    }
    struct matrix y = matrix_new(rows, width, 1, random_int(0, 5)), codes = matrix_new(rows, sizeof(struct quantized_row) / 4, 4, 0);
    struct matrix expected = matrix_copy(&y), expected_codes = matrix_copy(&codes);
    struct quantize_args args = { .x = (float *)(void *)x.rows, .x_stride = x.stride, .weight = &weight, .y = (uint8_t *)y.rows,
                                  .y_stride = y.stride, .rows = (struct quantized_row *)(void *)codes.rows, .width = width };
    tested->quantize_rows(&args, range.middle, range.last);
    tested->quantize_rows(&args, range.first, range.middle);
    args.y    = (uint8_t *)expected.rows;
    args.rows = (struct quantized_row *)(void *)expected_codes.rows;
    kernels_ref.quantize_rows(&args, range.first, range.last);
    check(matrix_same(&y, &expected) && matrix_same(&codes, &expected_codes), "%d rows [%d, %d) of %d, %d outliers", rows, range.first,
          range.last, width, weight.outliers);
}

static void convert_case(const struct kernels *tested, int width, int rows)
{
    struct range        range = random_range(rows);
    struct matrix       x     = matrix_random(rows, width, random_int(0, 5));
    struct matrix       y     = matrix_new(rows, width, 2, random_int(0, 5)), expected = matrix_copy(&y);
    struct convert_args args  = { .x = (float *)(void *)x.rows, .x_stride = x.stride, .y = (uint16_t *)(void *)y.rows,
                                  .y_stride = y.stride, .width = width };
    tested->convert_bf16(&args, range.middle, range.last);
    tested->convert_bf16(&args, range.first, range.middle);
    args.y = (uint16_t *)(void *)expected.rows;
    kernels_ref.convert_bf16(&args, range.first, range.last);
    check(matrix_same(&y, &expected), "%d rows [%d, %d) of %d", rows, range.first, range.last, width);
}

void row_tests(const struct kernels *tested)
{
    each_shape(tested, "embed_rows", embed_case);
    each_shape(tested, "norm_layer", layer_case);
    each_shape(tested, "norm_rms", rms_case);
    each_shape(tested, "quantize_rows", quantize_case);
    each_shape(tested, "convert_bf16", convert_case);
    each_shape(tested, "rotary_half", rotary_case);
    each_shape(tested, "pool", pool_case);
    each_shape(tested, "normalize_l2", normalize_case);
}
