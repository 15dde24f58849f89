/* The references themselves against naive double precision. A tolerance is in units of the float rounding error times the size
 * of the operands that were added, never of the result, which may have cancelled. */
#include "kernels/bf16.h"
#include "kernels/math/math_ref.h"
#include "tests/kernels/harness.h"
#include "tests/support/compare.h"

#include <math.h>

#define ROUNDING 6e-8  /* half a unit in the last place of 1 */

static float *row_floats(const struct matrix *m, int row) { return matrix_row(m, row); }

static void close_to(const float *actual, const double *expected, const double *tolerance, size_t count, const char *what, int width)
{
    size_t at = compare_close(actual, expected, tolerance, count);
    check(at == COMPARE_SAME, "%s, width %d, element %d: %.9g, expected %.9g within %.3g", what, width, (int)at,
          (double)actual[at == COMPARE_SAME ? 0 : at], expected[at == COMPARE_SAME ? 0 : at], tolerance[at == COMPARE_SAME ? 0 : at]);
}

static void norm_against_double(int width, bool layer)
{
    struct matrix x = matrix_random(1, width, 0), y = matrix_new(1, width, 4, 0);
    float        *weight = guarded_floats((size_t)width), *bias = guarded_floats((size_t)width), *v = row_floats(&x, 0);
    double       *expected = guarded_new(8 * (size_t)width), *tolerance = guarded_new(8 * (size_t)width);
    float         shift = random_bits() & 1 ? 30.0f : 0.0f;
    double        mean = 0.0, squares = 0.0;
    for (int i = 0; i < width; i++) {
        v[i] += shift;
        mean += layer ? (double)v[i] / width : 0.0;
    }
    for (int i = 0; i < width; i++)
        squares += ((double)v[i] - mean) * ((double)v[i] - mean);
    double inverse = 1.0 / sqrt(squares / width + 1e-5);
    for (int i = 0; i < width; i++) {
        expected[i]  = ((double)v[i] - mean) * inverse * (double)weight[i] + (double)bias[i];
        tolerance[i] = ROUNDING * (8.0 + width / 16.0) * ((fabs((double)v[i]) + fabs(mean)) * inverse * fabs((double)weight[i])
                                                          + fabs((double)bias[i]));
    }
    struct norm_args args = { .x = v, .x_stride = x.stride, .weight = weight, .bias = bias, .width = width, .epsilon = 1e-5f,
                              .y = row_floats(&y, 0), .y_stride = y.stride };
    (layer ? kernels_ref.norm_layer : kernels_ref.norm_rms)(&args, 0, 1);
    close_to(args.y, expected, tolerance, (size_t)width, layer ? "layer norm" : "rms norm", width);
}

static void quantize_against_double(int width)
{
    struct matrix        x = matrix_random(1, width, 0);
    float               *keep = guarded_new(4 * (size_t)width), *v = row_floats(&x, 0), *back = guarded_new(4 * (size_t)width);
    double              *expected = guarded_new(8 * (size_t)width), *tolerance = guarded_new(8 * (size_t)width);
    int32_t              outlier = random_int(0, width - 1);
    struct linear_weight weight  = { .k = width, .type = DTYPE_I8, .keep = keep, .outliers = 1, .outlier_columns = &outlier };
    struct quantized_row code;
    uint8_t             *y = guarded_new((size_t)width);
    v[outlier] *= 1000.0f;
    double low = 0.0, high = 0.0;
    for (int i = 0; i < width; i++) {
        keep[i] = i == outlier ? 0.0f : 1.0f;
        if (i != outlier && (double)v[i] < low)
            low = (double)v[i];
        if (i != outlier && (double)v[i] > high)
            high = (double)v[i];
    }
    struct quantize_args args = { v, x.stride, &weight, y, (size_t)width, &code, width };
    kernels_ref.quantize_rows(&args, 0, 1);
    for (int i = 0; i < width; i++) {  /* half a step for the value, half a step for the zero point */
        expected[i]  = (double)v[i] * (double)keep[i];
        back[i]      = code.scale * (float)(y[i] - code.zero);
        tolerance[i] = (high - low) / LINEAR_U8_MAX * 1.001;
    }
    close_to(back, expected, tolerance, (size_t)width, "quantised", width);
    check(code.outlier[0] == v[outlier] && y[outlier] == code.zero, "the outlier of width %d", width);
    check(fabs((double)code.scale * LINEAR_U8_MAX - (high - low)) <= (high - low) * 1e-6 || high - low < 1e-30, "the scale of width %d", width);
}

static void rotary_against_double(int half)
{
    struct matrix x = matrix_random(1, 2 * half, 0);
    float        *cosines = guarded_new(4 * (size_t)half), *sines = guarded_new(4 * (size_t)half), *v = row_floats(&x, 0);
    double       *expected = guarded_new(16 * (size_t)half), *tolerance = guarded_new(16 * (size_t)half);
    int32_t       position = 0;
    for (int i = 0; i < half; i++) {
        double angle        = (double)random_float() * 3.0;
        cosines[i]          = (float)cos(angle);
        sines[i]            = (float)sin(angle);
        expected[i]         = (double)v[i] * (double)cosines[i] - (double)v[i + half] * (double)sines[i];
        expected[i + half]  = (double)v[i + half] * (double)cosines[i] + (double)v[i] * (double)sines[i];
        tolerance[i]        = 2.0 * ROUNDING * (fabs((double)v[i]) + fabs((double)v[i + half]));
        tolerance[i + half] = tolerance[i];
    }
    struct rotary_args args = { .x = v, .x_stride = x.stride, .heads = 1, .head_size = 2 * half, .position_ids = &position,
                                .cosines = cosines, .sines = sines };
    kernels_ref.rotary_half(&args, 0, 1);
    close_to(v, expected, tolerance, 2 * (size_t)half, "rotary", half);
}

static void pool_against_double(int width)
{
    int32_t       starts[2] = { 1, 8 };
    struct matrix x = matrix_random(8, width, 0);
    float        *y = guarded_new(4 * (size_t)width);
    double       *expected = guarded_new(8 * (size_t)width), *tolerance = guarded_new(8 * (size_t)width), squares = 0.0;
    for (int i = 0; i < width; i++) {
        double sum = 0.0, size = 0.0;
        for (int row = 1; row < 8; row++) {
            sum += (double)row_floats(&x, row)[i];
            size += fabs((double)row_floats(&x, row)[i]);
        }
        expected[i]  = sum / 7.0;
        tolerance[i] = ROUNDING * 8.0 * size / 7.0;
    }
    struct pool_args pool = { (float *)(void *)x.rows, x.stride, width, starts, y, 4 * (size_t)width };
    kernels_ref.pool_mean(&pool, 0, 1);
    close_to(y, expected, tolerance, (size_t)width, "mean", width);
    for (int i = 0; i < width; i++)
        squares += (double)y[i] * (double)y[i];
    for (int i = 0; i < width; i++) {
        expected[i]  = (double)y[i] / fmax(sqrt(squares), 1e-12);
        tolerance[i] = ROUNDING * (4.0 + width / 16.0) * fabs(expected[i]);
    }
    struct normalize_args normalize = { y, 4 * (size_t)width, width, y, 4 * (size_t)width };
    kernels_ref.normalize_l2(&normalize, 0, 1);
    close_to(y, expected, tolerance, (size_t)width, "normalize", width);
}

static void embed_against_double(int width)
{
    float  *words = guarded_floats(3 * (size_t)width), *positions = guarded_floats(3 * (size_t)width), *types = guarded_floats((size_t)width);
    float  *y = guarded_new(4 * (size_t)width);
    double *expected = guarded_new(8 * (size_t)width), *tolerance = guarded_new(8 * (size_t)width);
    int32_t id = 2, position = 1;
    for (int i = 0; i < width; i++) {
        double terms[3] = { (double)words[2 * width + i], (double)positions[width + i], (double)types[i] };
        expected[i]     = terms[0] + terms[1] + terms[2];
        tolerance[i]    = 2.0 * ROUNDING * (fabs(terms[0]) + fabs(terms[1]) + fabs(terms[2]));
    }
    struct embed_args args = { words, positions, types, DTYPE_F32, width, &id, &position, y, 4 * (size_t)width };
    kernels_ref.embed_rows(&args, 0, 1);
    close_to(y, expected, tolerance, (size_t)width, "embed", width);
}

/* What math.c compares with the exact GELU, in double precision. */
static double gelu_near(double v)
{
    const double c = fmin(fmax(v, -(double)GELU_NEAR_LIMIT), (double)GELU_NEAR_LIMIT);
    double       p = 0.0;
    for (int i = GELU_NEAR_TERMS - 1; i >= 0; i--)
        p = p * c * c + (double)gelu_near_terms[i];
    return v * (c * p + 0.5);
}

static double activation(enum linear_act act, enum dtype type, double v)
{
    switch (act) {
    case LINEAR_GELU_ERF: return type == DTYPE_F32 ? 0.5 * v * erfc(-v / sqrt(2.0)) : gelu_near(v);
    case LINEAR_GELU_TANH: return 0.5 * v * (1.0 + tanh(0.79788456080286535588 * (v + 0.044715 * v * v * v)));
    case LINEAR_RELU: return v > 0.0 ? v : 0.0;
    case LINEAR_SILU: return v / (1.0 + exp(-v));
    default: return v;
    }
}

/* One row of k inputs against one panel of 16 outputs, as the numbers that their packed forms stand for. */
struct one_panel {
    enum dtype           type;
    int                  k;
    float               *x, *w;  /* [k], [16][k] */
    void                *input, *panel;
    int32_t             *sums;
    struct quantized_row code;
};

static void pack_input(struct one_panel *p)
{
    for (int i = 0; i < p->k; i++)
        if (p->type == DTYPE_F32) {
            ((float *)p->input)[i] = p->x[i];
        } else if (p->type == DTYPE_BF16) {
            ((uint16_t *)p->input)[i] = bf16_from_float(p->x[i]);
            p->x[i]                   = bf16_to_float(((uint16_t *)p->input)[i]);
        } else {
            ((uint8_t *)p->input)[i] = (uint8_t)(float)random_int(0, LINEAR_U8_MAX);
            p->x[i]                  = (float)(((uint8_t *)p->input)[i] - p->code.zero);
        }
}

/* As the contract packs them: 1, 2 or 4 numbers along k for each output in turn. */
static void pack_weight(struct one_panel *p, int column, int i)
{
    const int step = p->type == DTYPE_F32 ? 1 : p->type == DTYPE_BF16 ? 2 : 4;
    int       at   = i / step * 16 * step + column * step + i % step;
    float    *w    = &p->w[column * p->k + i];
    if (p->type == DTYPE_F32) {
        ((float *)p->panel)[at] = *w;
    } else if (p->type == DTYPE_BF16) {
        ((uint16_t *)p->panel)[at] = bf16_from_float(*w);
        *w                         = bf16_to_float(((uint16_t *)p->panel)[at]);
    } else {
        ((int8_t *)p->panel)[at] = (int8_t)random_int(-64, 64);
        *w                       = (float)((int8_t *)p->panel)[at];
        p->sums[column] += ((int8_t *)p->panel)[at];
    }
}

static struct one_panel random_panel(enum dtype type, int k)
{
    struct one_panel p = { .type = type, .k = k, .x = guarded_floats((size_t)k), .w = guarded_floats(16 * (size_t)k),
                           .input = guarded_new(4 * (size_t)k), .panel = guarded_new(linear_weight_bytes(type, 16, k)),
                           .sums = guarded_new(64),
                           .code = { .scale = 0.02f, .zero = (float)random_int(0, LINEAR_U8_MAX), .outlier = { random_float() } } };
    pack_input(&p);
    for (int column = 0; column < 16; column++) {
        p.sums[column] = 0;
        for (int i = 0; i < k; i++)
            pack_weight(&p, column, i);
    }
    return p;
}

/* What one output is in double precision before its bias, and the size of what rounds on the way to it. */
static double panel_output(const struct one_panel *p, int column, float scale, float outlier_weight, double *size)
{
    double sum = 0.0, terms = 0.0, outlier = (double)p->code.outlier[0] * (double)outlier_weight;
    for (int i = 0; i < p->k; i++) {
        sum += (double)p->x[i] * (double)p->w[column * p->k + i];
        terms += fabs((double)p->x[i] * (double)p->w[column * p->k + i]);
    }
    *size = terms * (p->k + 4.0);
    if (p->type != DTYPE_I8)
        return sum;
    /* Integers are exact; what rounds are the few operations on the zero point's share, the outlier and the whole sum. */
    double step = (double)p->code.scale * (double)scale, zero = (double)p->code.zero * (double)p->sums[column] * step;
    sum *= step;
    *size = 4.0 * (fabs(sum) + 2.0 * fabs(zero) + fabs(outlier));
    return sum + outlier;
}

static void linear_against_double(enum dtype type, int k, enum linear_act act)
{
    struct one_panel     p       = random_panel(type, k);
    float               *y       = guarded_new(64), *residual = guarded_floats(16);
    linear_kernel *const kernels[] = { kernels_ref.linear_f32, kernels_ref.linear_bf16, kernels_ref.linear_u8s8 };
    struct linear_weight weight  = { .n = 16, .k = k, .type = type, .panels = p.panel, .bias = guarded_floats(16),
                                     .scales = guarded_floats(16), .sums = p.sums, .outliers = 1, .outlier_weights = guarded_floats(16) };
    double               expected[16], tolerance[16];
    for (int column = 0; column < 16; column++) {
        double size, bias = (double)weight.bias[column], last = (double)residual[column];
        double sum        = panel_output(&p, column, weight.scales[column], weight.outlier_weights[column], &size);
        expected[column]  = activation(act, type, sum + bias) + last;
        tolerance[column] = ROUNDING * (size + 8.0 * (fabs(sum) + fabs(bias) + fabs(last) + 1.0));
    }
    struct linear_args args = { .weight = &weight, .x = p.input, .x_stride = 4 * (size_t)k, .x_rows = &p.code, .act = act,
                                .residual = residual, .residual_stride = 64, .y = y, .y_stride = 64, .y_type = DTYPE_F32 };
    kernels[type == DTYPE_F32 ? 0 : type == DTYPE_BF16 ? 1 : 2](&args, 0, 1, 0, 1);
    close_to(y, expected, tolerance, 16, type == DTYPE_I8 ? "linear u8s8" : type == DTYPE_BF16 ? "linear bf16" : "linear f32", k);
}

void reference_tests(void)
{
    static const int widths[] = { 1, 2, 15, 16, 17, 31, 32, 33, 61, 384, 768, 1024, 4096 };
    if (!group_begin("ref", "double"))
        return;
    for (int times = 0; times < (options.quick ? 2 : 20); times++)
        for (size_t i = 0; i < sizeof widths / sizeof widths[0]; i++) {
            norm_against_double(widths[i], true);
            norm_against_double(widths[i], false);
            quantize_against_double(widths[i]);
            guarded_free_all();
            rotary_against_double(widths[i]);
            pool_against_double(widths[i]);
            embed_against_double(widths[i]);
            guarded_free_all();
            for (int type = 0; type < 3; type++) {
                static const enum dtype types[] = { DTYPE_F32, DTYPE_BF16, DTYPE_I8 };
                linear_against_double(types[type], widths[i] * 4, (enum linear_act)random_int(0, LINEAR_SILU));
                guarded_free_all();
            }
        }
    group_end();
}
