/* linear_f32, linear_bf16 and linear_u8s8 against the references, byte for byte. */
#include "kernels/bf16.h"
#include "tests/kernels/harness.h"

#include <stdlib.h>
#include <string.h>

struct linear_case {
    int             rows, n, k;
    enum dtype      type, y_type;
    enum linear_act act;
    bool            residual, alias;  /* alias: y replaces the residual */
};

static float *padded_floats(int n) { return guarded_floats((size_t)linear_padded(n)); }

/* A weight that may stand beside `other`: one time in two as large as the bound allows, of the same sign. */
static int8_t neighbour(int8_t other)
{
    int room = LINEAR_PAIR_MAX - abs(other), most = room < 127 ? room : 127;
    return (int8_t)(random_bits() & 1 ? (other < 0 ? -most : most) : random_int(-most, most));
}

/* Panels of any numbers are valid panels; outputs beyond n are never looked at. */
static void *random_panels(const struct linear_case *c)
{
    size_t count = linear_weight_bytes(c->type, c->n, c->k) * 8 / (size_t)dtype_bits(c->type);
    void  *panels = guarded_new(linear_weight_bytes(c->type, c->n, c->k));
    for (size_t i = 0; i < count; i++)
        if (c->type == DTYPE_F32)
            ((float *)panels)[i] = random_float();
        else if (c->type == DTYPE_BF16)
            ((uint16_t *)panels)[i] = bf16_from_float(random_float());
        else  /* neighbours up to their common bound, often at it */
            ((int8_t *)panels)[i] = i % 2 == 0 ? (int8_t)random_int(-127, 127) : neighbour(((int8_t *)panels)[i - 1]);
    return panels;
}

static struct linear_weight random_weight(const struct linear_case *c)
{
    struct linear_weight w = { .n = c->n, .k = c->k, .type = c->type, .panels = random_panels(c), .bias = padded_floats(c->n) };
    if (c->type != DTYPE_I8)
        return w;
    int32_t *sums = guarded_new(sizeof(int32_t) * (size_t)linear_padded(c->n));
    for (int i = 0; i < linear_padded(c->n); i++)
        sums[i] = random_int(-1000, 1000);
    w.sums            = sums;
    w.scales          = padded_floats(c->n);
    w.outliers        = random_int(0, LINEAR_MAX_OUTLIERS);
    w.outlier_weights = guarded_floats((size_t)(w.outliers * linear_padded(c->n)));
    return w;
}

static struct matrix random_inputs(const struct linear_case *c)
{
    size_t        bytes = c->type == DTYPE_F32 ? 4 : c->type == DTYPE_BF16 ? 2 : 1;
    struct matrix x     = matrix_random(c->rows, c->k * (int)bytes / 4, random_int(0, 5));
    for (int row = 0; row < c->rows; row++)
        for (int i = 0; i < c->k; i++)
            if (c->type == DTYPE_BF16)
                ((uint16_t *)matrix_row(&x, row))[i] = bf16_from_float(random_float());
            else if (c->type == DTYPE_I8)
                ((uint8_t *)matrix_row(&x, row))[i] = (uint8_t)(random_bits() & 1 ? LINEAR_U8_MAX : random_int(0, LINEAR_U8_MAX));
    return x;
}

static struct quantized_row *random_codes(int rows)
{
    struct quantized_row *codes = guarded_new(sizeof *codes * (size_t)rows);
    for (int row = 0; row < rows; row++) {
        codes[row].scale = random_float() * 0.01f;
        codes[row].zero  = (float)random_int(0, LINEAR_U8_MAX);
        for (int i = 0; i < LINEAR_MAX_OUTLIERS; i++)
            codes[row].outlier[i] = random_float();
    }
    return codes;
}

static linear_kernel *kernel_of(const struct kernels *kernels, enum dtype type)
{
    return type == DTYPE_F32 ? kernels->linear_f32 : type == DTYPE_BF16 ? kernels->linear_bf16 : kernels->linear_u8s8;
}

static void run_case(const struct kernels *tested, const struct linear_case *c)
{
    struct linear_weight weight   = random_weight(c);
    bool                 gate     = c->act == LINEAR_SILU_GATE;
    int                  width    = gate ? c->n / 2 : c->n, pairs = gate ? 2 : 1;
    struct range         rows     = random_range(c->rows), panels = random_range(linear_panels(c->n) / pairs);
    struct matrix        x        = random_inputs(c), residual = matrix_random(c->rows, width, random_int(0, 5));
    struct matrix        y        = c->alias ? matrix_copy(&residual)
                                             : matrix_new(c->rows, width, c->y_type == DTYPE_BF16 ? 2 : 4, random_int(0, 5));
    struct matrix        expected = matrix_copy(&y);
    struct linear_args   args     = { .weight = &weight, .x = x.rows, .x_stride = x.stride,
                                      .x_rows = c->type == DTYPE_I8 ? random_codes(c->rows) : NULL, .act = c->act,
                                      .residual = c->residual ? (float *)(void *)residual.rows : NULL,
                                      .residual_stride = residual.stride, .y_stride = y.stride, .y_type = c->y_type };
    args.y = y.rows;
    if (c->alias)
        args.residual = args.y;
    linear_kernel *kernel = kernel_of(tested, c->type);
    for (int part = 0; part < 4; part++)  /* the quarters of the range, the last first */
        kernel(&args, part & 1 ? rows.first : rows.middle, part & 1 ? rows.middle : rows.last,
               pairs * (part & 2 ? panels.first : panels.middle), pairs * (part & 2 ? panels.middle : panels.last));
    args.y = expected.rows;
    if (c->alias)
        args.residual = args.y;
    kernel_of(&kernels_ref, c->type)(&args, rows.first, rows.last, pairs * panels.first, pairs * panels.last);
    check(matrix_same(&y, &expected), "rows [%d, %d) of %d, panels [%d, %d), n %d, k %d, act %d, y %s%s, %d outliers", rows.first,
          rows.last, c->rows, pairs * panels.first, pairs * panels.last, c->n, c->k, (int)c->act, dtype_name(c->y_type),
          c->alias ? ", y is the residual" : c->residual ? ", residual" : "", weight.outliers);
    guarded_free_all();
}

static void random_case(const struct kernels *tested, enum dtype type, int rows, int n, int k)
{
    struct linear_case c = { rows, n, k, type, random_bits() & 1 ? DTYPE_BF16 : DTYPE_F32, (enum linear_act)random_int(0, LINEAR_SILU_GATE),
                             random_bits() & 1, false };
    if (c.act == LINEAR_SILU_GATE)
        c.n = (n + 31) / 32 * 32;
    c.alias = c.residual && c.y_type == DTYPE_F32 && random_bits() & 1;
    run_case(tested, &c);
}

static void dtype_tests(const struct kernels *tested, enum dtype type, const char *name)
{
    static const int rows[] = { 1, 2, 3, 4, 5, 6, 7, 8, 11, 12, 13, 14, 15, 16, 17, 27, 28, 29, 31, 33 };
    static const int n[]    = { 1, 15, 16, 17, 31, 32, 33, 47, 48, 61, 64, 96, 131 };
    static const int k[]    = { 4, 8, 12, 16, 20, 28, 32, 36, 68, 124, 128, 132, 384 };
    static const int real[][2] = { { 384, 384 }, { 1152, 384 }, { 1536, 384 }, { 384, 1536 }, { 768, 3072 }, { 3072, 768 }, { 1024, 4096 } };
    if (!group_begin(tested->name, name))
        return;
    for (int times = 0; times < (options.quick ? 60 : 600); times++)
        random_case(tested, type, RANDOM_OF(rows), RANDOM_OF(n), RANDOM_OF(k));
    for (size_t i = 0; !options.quick && i < sizeof real / sizeof real[0]; i++)
        random_case(tested, type, random_int(3, 17), real[i][0], real[i][1]);
    group_end();
}

void linear_tests(const struct kernels *tested)
{
    dtype_tests(tested, DTYPE_F32, "linear_f32");
    dtype_tests(tested, DTYPE_BF16, "linear_bf16");
    dtype_tests(tested, DTYPE_I8, "linear_u8s8");
}
