/* Linears: every tile forced, every activation, against double precision. */
#include "kernels/linear/linear_choose.h"
#include "tests/kernels_cuda/harness.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

struct shape {
    int rows, n, k;
};

struct linear_case {
    struct linear_args       args;
    enum linear_cuda_variant variant;
};

static cudaError_t run_variant(const struct cuda_launch *launch, void *context)
{
    struct linear_case *c = context;
    return linear_cuda_launch(launch, &c->args, c->variant);
}

static double activated(enum linear_act act, double v)
{
    switch (act) {
    case LINEAR_GELU_ERF: return 0.5 * v * (1 + erf(v / sqrt(2.0)));
    case LINEAR_GELU_TANH: return 0.5 * v * (1 + tanh(sqrt(2 / M_PI) * (v + 0.044715 * v * v * v)));
    case LINEAR_RELU: return fmax(v, 0);
    case LINEAR_SILU: return v / (1 + exp(-v));
    case LINEAR_TANH: return tanh(v);
    default: return v;
    }
}

/* The sum of weight column n for a row, the sum of its terms' sizes, and what the sum may be off by. */
struct product {
    double sum, size, error;
};

/* What a linear reads. */
struct operands {
    struct matrix x, weight, bias, residual;
    struct matrix x_scales, scales;  /* of e4m3: [1, rows] and [1, n padded] */
    bool          biased, added;
};

/* e4m3 is summed by 128 of k. In each product of 32 the matrix unit cuts 33 numbers and their sum off 13 bits below the greatest
 * of them, which no term and no sum so far exceeds. */
static struct product product_of(const struct operands *o, int row, int n)
{
    const bool     narrow = o->x.type == DTYPE_F8_E4M3;
    struct product p      = { 0, 0, 0 };
    for (int first = 0; first < o->x.columns; first += 128) {
        double greatest = 0, sum = 0;
        for (int k = first; k < o->x.columns && k < first + 128; k++) {
            const double term = matrix_get(&o->x, row, k) * matrix_get(&o->weight, n, k);
            sum += term;
            p.size += fabs(term);
            greatest = fabs(term) > greatest ? fabs(term) : greatest;
            greatest = fabs(sum) > greatest ? fabs(sum) : greatest;
        }
        p.sum += sum;
        p.error += narrow ? 4 * 34 * ldexp(greatest, -13) : 0;
    }
    const double scale = narrow ? matrix_get(&o->x_scales, 0, row) * matrix_get(&o->scales, 0, n) : 1;
    const double bias  = o->biased ? matrix_get(&o->bias, 0, n) : 0;
    p.size             = p.size * scale + fabs(bias);
    return (struct product){ p.sum * scale + bias, p.size, p.error * scale + p.size * 1e-6 };
}

struct what {
    enum linear_act act;
    enum dtype      type, y_type;
    bool            bias, residual;
    bool            alike;  /* all terms are positive: sums grow along k */
};

/* The weight as device.cuh's host lays it out: rows padded to 16 bytes, columns padded to a panel with zeros. */
static struct matrix weight_new(enum dtype type, int n, int k)
{
    const size_t  stride = kernels_cuda_weight_stride(type, k);
    struct matrix w      = matrix_new(type, linear_padded(n), k, (int)(stride / ((size_t)dtype_bits(type) / 8)) - k);
    for (int i = 0; i < w.rows; i++)
        for (int j = 0; j < k; j++)
            matrix_set(&w, i, j, i < n ? random_float() / sqrt(k) : 0);
    matrix_upload(&w);
    check(w.stride == stride, "the weight's rows have %zu bytes, expected %zu", w.stride, stride);
    return w;
}

/* From a half to two, no two neighbours alike. */
static struct matrix scales_new(int count)
{
    struct matrix scales = matrix_new(DTYPE_F32, 1, count, 0);
    for (int i = 0; i < count; i++)
        matrix_set(&scales, 0, i, 0.5 + i % 7 * 0.2 + 0.1 * (random_int(0, 10) / 10.0));
    matrix_upload(&scales);
    return scales;
}

static void linear_compare(const struct what *what, const struct operands *o, const struct matrix *y, const struct shape *shape,
                           const char *name)
{
    const double     exact = what->type == DTYPE_F32 ? 0 : 2.5e-5;  /* of the activations for bf16 */
    const double     STEEPEST = 1.13;  /* of all activations */
    struct closeness close = { 0 };
    for (int r = 0; r < shape->rows; r++)
        for (int c = 0; c < y->columns; c++) {
            const int      from = what->act == LINEAR_SILU_GATE ? c / 16 * 32 + c % 16 : c;
            struct product p    = product_of(o, r, from);
            double         e    = activated(what->act, p.sum), error = p.error * STEEPEST + exact;
            if (what->act == LINEAR_SILU_GATE) {
                struct product up = product_of(o, r, from + 16);
                error             = (error + p.error) * (fabs(up.sum) + 1) + up.error * (fabs(p.sum) + 1);
                e                 = activated(LINEAR_SILU, p.sum) * up.sum;
            }
            if (o->added)
                e += matrix_get(&o->residual, r, c);
            if (what->y_type == DTYPE_BF16)
                error += fabs(e) / 256;
            closeness_add(&close, matrix_get(y, r, c), e, error + fabs(e) * 1e-6, r, c);
        }
    check_close(&close, "%s, %d x %d x %d, act %d", name, shape->rows, shape->n, shape->k, what->act);
}

/* The emulator adds products of bf16 one after another; what a GPU's matrix unit does between two of its steps is its own. */
#ifdef RECTO_EMULATED
static bool adds_in_a_chain(enum dtype type) { return type != DTYPE_F8_E4M3; }
#else
static bool adds_in_a_chain(enum dtype type) { return type == DTYPE_F32; }
#endif

/* An output is one chain of fused multiply-adds along k, then bias, activation, residual: in f32 the bits of a CPU. */
static void linear_compare_bits(const struct what *what, const struct operands *o, const struct matrix *y, int rows,
                                const char *name)
{
    int different = 0;
    for (int r = 0; r < rows; r++)
        for (int c = 0; c < y->columns; c++) {
            float sum = 0.0f;
            for (int k = 0; k < o->x.columns; k++)
                sum = fmaf((float)matrix_get(&o->x, r, k), (float)matrix_get(&o->weight, c, k), sum);
            sum += o->biased ? (float)matrix_get(&o->bias, 0, c) : 0.0f;
            sum = what->act == LINEAR_RELU ? fmaxf(sum, 0.0f) : sum;
            sum += o->added ? (float)matrix_get(&o->residual, r, c) : 0.0f;
            different += (float)matrix_get(y, r, c) != sum;
        }
    check(different == 0, "%s, %d x %d x %d, act %d: %d outputs are not those of one chain", name, rows, y->columns, o->x.columns,
          what->act, different);
}

/* What lies beyond the live rows, and between rows, reaches none of them. */
static struct operands operands_new(struct shape shape, const struct what *what)
{
    const int       cap = shape.rows + 3, columns = what->act == LINEAR_SILU_GATE ? shape.n / 2 : shape.n;
    struct operands o   = { .x = matrix_random(what->type, cap, shape.k, 8, 1), .weight = weight_new(what->type, shape.n, shape.k),
                            .bias     = matrix_random(DTYPE_F32, 1, linear_padded(shape.n), 0, 1),
                            .residual = matrix_random(DTYPE_F32, cap, columns, 4, 1),
                            .x_scales = scales_new(cap), .scales = scales_new(linear_padded(shape.n)),
                            .biased = what->bias, .added = what->residual };
    matrix_fill_rows(&o.x, shape.rows, NAN);
    matrix_fill_gaps(&o.x);
    matrix_fill_gaps(&o.weight);
    matrix_upload(&o.x), matrix_upload(&o.weight);
    for (int row = shape.rows; row < cap; row++)
        matrix_set(&o.x_scales, 0, row, NAN);
    matrix_upload(&o.x_scales);
    if (!what->alike)
        return o;
    for (int k = 0; k < shape.k; k++) {
        for (int row = 0; row < shape.rows; row++)
            matrix_set(&o.x, row, k, fabs(matrix_get(&o.x, row, k)));
        for (int n = 0; n < shape.n; n++)
            matrix_set(&o.weight, n, k, fabs(matrix_get(&o.weight, n, k)));
    }
    matrix_upload(&o.x);
    matrix_upload(&o.weight);
    return o;
}

static void linear_case(enum linear_cuda_variant variant, struct shape shape, struct what what)
{
    const int     columns = what.act == LINEAR_SILU_GATE ? shape.n / 2 : shape.n, cap = shape.rows + 3;
    struct matrix y = matrix_new(what.y_type, cap, columns, 8);
    const struct operands o = operands_new(shape, &what);
    struct linear_weight w = { .n = shape.n, .k = shape.k, .type = what.type, .panels = o.weight.device,
                               .bias = what.bias ? (float *)(void *)o.bias.device : NULL,
                               .scales = (float *)(void *)o.scales.device };
    struct linear_case   c = { { .weight = &w, .x = o.x.device, .x_stride = o.x.stride,
                                 .x_scales = (float *)(void *)o.x_scales.device, .act = what.act,
                                 .residual = what.residual ? (float *)(void *)o.residual.device : NULL,
                                 .residual_stride = o.residual.stride, .y = y.device, .y_stride = y.stride,
                                 .y_type = what.y_type },
                               variant };
    struct cuda_launch   launch = launch_rows(shape.rows, cap);
    for (int i = 0; i < schedule_count(); i++) {
        schedule_take(i);
        matrix_poison(&y);
        if (!launch_run(&launch, run_variant, &c, linear_cuda_name(variant)))
            return;
        matrix_download(&y);
        linear_compare(&what, &o, &y, &shape, linear_cuda_name(variant));
        if (adds_in_a_chain(what.type) && what.y_type == DTYPE_F32 && (what.act == LINEAR_NONE || what.act == LINEAR_RELU))
            linear_compare_bits(&what, &o, &y, shape.rows, linear_cuda_name(variant));
        check(matrix_intact(&y), "%s, %d x %d x %d: wrote beside the rows", linear_cuda_name(variant), shape.rows, shape.n,
              shape.k);
    }
    memory_free_all();
}

static const enum linear_act acts[] = { LINEAR_NONE, LINEAR_GELU_ERF, LINEAR_GELU_TANH, LINEAR_RELU, LINEAR_SILU, LINEAR_TANH };

/* Around a tile and around a slice of k; then more tiles than blocks, so that blocks go round. */
static void linear_shapes(enum linear_cuda_variant variant, enum dtype type)
{
    const struct linear_tile tile = linear_cuda_tile(variant);
    const struct shape       shapes[] = {
        { 1, 8, 8 },      { 1, 1, 16 },         { 31, 31, 32 },
        { 32, 32, 72 },   { 33, 33, 64 },       { tile.rows - 1, tile.columns, 136 },
        { tile.rows, tile.columns + 1, 40 },    { tile.rows + 1, tile.columns - 1, 200 },
        { 53, 61, 384 },  { 3 * tile.rows + 5, 2 * tile.columns + 3, 264 },
        { 5, 7, 12 },     { 3, 18, 1 },         { 9, 30, 75 },
    };
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        enum linear_act act = acts[i % 6];
        if (!linear_cuda_can(&facts, variant, &(struct linear_weight){ .n = 16, .k = 16, .type = type }, act))
            act = LINEAR_NONE;
        const bool wide = type == DTYPE_F32 ? i != 6 : i % 3 == 0;
        linear_case(variant, shapes[i],
                    (struct what){ act, type, wide ? DTYPE_F32 : DTYPE_BF16, i % 4 != 3, i % 2 == 0, false });
    }
}

static void linear_group(enum linear_cuda_variant variant, enum dtype type)
{
    const struct linear_weight any = { .n = 64, .k = 64, .type = type };
    char                       name[64];
    snprintf(name, sizeof name, "linear_%s_%s", type == DTYPE_F32 ? "f32" : type == DTYPE_BF16 ? "bf16" : "fp8",
             linear_cuda_name(variant));
    if (!group_begin(name, linear_cuda_can(&facts, variant, &any, LINEAR_NONE)))
        return;
    const struct linear_tile tile = linear_cuda_tile(variant);
    linear_shapes(variant, type);
    for (enum linear_act act = LINEAR_NONE; act <= LINEAR_SILU_GATE; act++)
        if (linear_cuda_can(&facts, variant, &any, act)) {
            const struct shape shape = { tile.rows + 7, act == LINEAR_SILU_GATE ? 2 * tile.columns + 96 : tile.columns + 40, 72 };
            const bool added = act == LINEAR_NONE || act == LINEAR_SILU_GATE;
            linear_case(variant, shape, (struct what){ act, type, DTYPE_F32, true, added, false });
            if (type != DTYPE_F32)
                linear_case(variant, shape, (struct what){ .act = act, .type = type, .y_type = DTYPE_BF16, .bias = true });
        }
    if (type == DTYPE_F8_E4M3) {  /* an odd k; sums that shrink unless they are promoted */
        linear_case(variant, (struct shape){ 5, 33, 133 }, (struct what){ .type = type, .y_type = DTYPE_F32, .bias = true });
        linear_case(variant, (struct shape){ 3, 9, 4096 }, (struct what){ .type = type, .y_type = DTYPE_F32, .alike = true });
    }
    if (tile.columns == 64 && !options.orders)  /* more than one group of tiles of rows that go through the columns together */
        linear_case(variant, (struct shape){ 17 * tile.rows + 5, 72, 8 }, (struct what){ .type = type, .y_type = DTYPE_F32 });
    if (!options.quick) {  /* of real models */
        const enum dtype y_type = type == DTYPE_F32 ? DTYPE_F32 : DTYPE_BF16;
        linear_case(variant, (struct shape){ 130, 384, 1536 }, (struct what){ LINEAR_NONE, type, DTYPE_F32, true, true, false });
        linear_case(variant, (struct shape){ 67, 768, 768 }, (struct what){ .type = type, .y_type = y_type, .bias = true });
    }
    group_end();
}

static cudaError_t run_table(const struct cuda_launch *launch, void *context) { return kernels->linear_bf16(launch, context); }

/* What the table refuses. */
static void linear_refusals(void)
{
    if (!group_begin("linear_refusals", true))
        return;
    struct matrix        x = matrix_new(DTYPE_BF16, 4, 64, 0), y = matrix_new(DTYPE_F32, 4, 64, 0);
    struct matrix        weight = weight_new(DTYPE_BF16, 64, 64);
    struct linear_weight w = { .n = 64, .k = 64, .type = DTYPE_BF16, .panels = weight.device };
    struct cuda_launch   launch = launch_rows(4, 4);
    struct linear_args   good   = { .weight = &w, .x = x.device, .x_stride = x.stride, .y = y.device, .y_stride = y.stride };
    struct linear_args   bad    = good;
    check(run_table(&launch, &good) == cudaSuccess, "a good call was refused");
    bad.x = NULL;
    check(run_table(&launch, &bad) == cudaErrorInvalidValue, "no x");
    bad   = good;
    bad.x = x.device + 2;
    check(run_table(&launch, &bad) == cudaErrorInvalidValue, "x that is not aligned to 16 bytes");
    check(linear_cuda_launch(&launch, &bad, LINEAR_CUDA_MMA_64X64) == cudaErrorInvalidValue, "such an x without tensor maps");
    bad          = good;
    bad.x_stride = x.stride + 8;
    check(linear_cuda_launch(&launch, &bad, LINEAR_CUDA_MMA_64X64) == cudaErrorInvalidValue, "rows of x that are not aligned");
    bad      = good;
    w.panels = weight.device + 8;
    check(linear_cuda_launch(&launch, &bad, LINEAR_CUDA_MMA_64X64) == cudaErrorInvalidValue, "weights that are not aligned");
    w.panels = weight.device;
    bad.y    = y.device + 4;
    check(run_table(&launch, &bad) == cudaErrorInvalidValue, "y that is not aligned to 16 bytes");
    bad          = good;
    bad.y_stride = y.stride + 4;
    check(run_table(&launch, &bad) == cudaErrorInvalidValue, "rows of y that are not aligned to 16 bytes");
    bad          = good;
    bad.residual = (float *)(void *)(y.device + 4);
    check(run_table(&launch, &bad) == cudaErrorInvalidValue, "a residual that is not aligned to 16 bytes");
    bad    = good;
    w.bias = (float *)(void *)(y.device + 4);
    check(run_table(&launch, &bad) == cudaErrorInvalidValue, "a bias that is not aligned to 16 bytes");
    w.bias     = NULL;
    bad.y_type = DTYPE_F16;
    check(run_table(&launch, &bad) == cudaErrorNotSupported, "y of a type that is not written");
    bad     = good;
    bad.act = LINEAR_SILU_GATE;
    w.n     = 48;
    check(run_table(&launch, &bad) == cudaErrorInvalidValue, "gates without ups");
    check(cudaDeviceSynchronize() == cudaSuccess, "the device is well");
    group_end();
}

static cudaError_t run_fp8(const struct cuda_launch *launch, void *context) { return kernels->linear_fp8(launch, context); }

static void fp8_refusals(void)
{
    if (!group_begin("linear_fp8_refusals", kernels->linear_fp8 != NULL))
        return;
    const struct operands o      = operands_new((struct shape){ 4, 64, 64 }, &(struct what){ .type = DTYPE_F8_E4M3 });
    struct matrix         y      = matrix_new(DTYPE_F32, 7, 64, 0);
    struct linear_weight  w      = { .n = 64, .k = 64, .type = DTYPE_F8_E4M3, .panels = o.weight.device,
                                     .scales = (float *)(void *)o.scales.device };
    struct cuda_launch    launch = launch_rows(4, 7);
    struct linear_args    args   = { .weight = &w, .x = o.x.device, .x_stride = o.x.stride,
                                     .x_scales = (float *)(void *)o.x_scales.device, .y = y.device, .y_stride = y.stride };
    check(run_fp8(&launch, &args) == cudaSuccess, "a good call was refused");
    args.x_scales = NULL;
    check(run_fp8(&launch, &args) == cudaErrorInvalidValue, "no scales of rows");
    args.x_scales = (float *)(void *)o.x_scales.device;
    w.scales      = NULL;
    check(run_fp8(&launch, &args) == cudaErrorInvalidValue, "no scales of outputs");
    w.scales = (float *)(void *)(o.scales.device + 8);
    check(run_fp8(&launch, &args) == cudaErrorInvalidValue, "scales of outputs that are not aligned to 16 bytes");
    w.scales = (float *)(void *)o.scales.device;
    check(linear_cuda_launch(&launch, &args, LINEAR_CUDA_MMA_64X64) == cudaErrorNotSupported, "a kernel that cannot multiply e4m3");
    check(linear_cuda_launch(&launch, &args, LINEAR_CUDA_WGMMA_128X256) == cudaErrorNotSupported, "a tile that is not built");
    w.type = DTYPE_BF16;
    check(run_fp8(&launch, &args) == cudaErrorNotSupported, "weights in bf16");
    check(cudaDeviceSynchronize() == cudaSuccess, "the device is well");
    memory_free_all();
    group_end();
}

void linear_cases(void)
{
    for (enum linear_cuda_variant v = 0; v < LINEAR_CUDA_VARIANTS; v++)
        linear_group(v, v < LINEAR_CUDA_MMA_64X64 ? DTYPE_F32 : DTYPE_BF16);
    for (enum linear_cuda_variant v = LINEAR_CUDA_WGMMA_64X64; v <= LINEAR_CUDA_WGMMA_128X192; v++)
        linear_group(v, DTYPE_F8_E4M3);
    linear_refusals();
    fp8_refusals();
}

/* ---- choosers ---- */

static void expect_choice(int architecture, enum dtype type, struct shape shape, enum linear_act act,
                          enum linear_cuda_variant expected)
{
    const struct cuda_facts    device = { .architecture = architecture, .processors = 132, .encode_tensor_map = &facts };
    const struct linear_weight w      = { .n = shape.n, .k = shape.k, .type = type };
    const enum linear_cuda_variant v  = linear_cuda_choose(&device, &w, act, shape.rows);
    check(v == expected, "sm_%d, %d x %d x %d: %s, expected %s", architecture, shape.rows, shape.n, shape.k, linear_cuda_name(v),
          linear_cuda_name(expected));
    check(linear_cuda_can(&device, v, &w, act), "sm_%d, %d x %d x %d: %s is chosen but cannot", architecture, shape.rows, shape.n,
          shape.k, linear_cuda_name(v));
}

/* expected: "none" where there is no table. */
static void expect_table(int architecture, bool encoder, const char *expected)
{
    const struct cuda_facts    device = { .architecture = architecture, .processors = 132,
                                          .encode_tensor_map = encoder ? &facts : NULL };
    const struct cuda_kernels *table  = kernels_cuda(&device);
    const char                *name   = table ? table->name : "none";
    check(strcmp(name, expected) == 0, "sm_%d: the table is %s, expected %s", architecture, name, expected);
}

void choose_cases(void)
{
    if (!group_begin("choosers", true))
        return;
    expect_table(75, true, "none");
    expect_table(80, false, "sm_80");
    expect_table(89, true, "sm_80");
    expect_table(90, true, "sm_90a");
    expect_table(90, false, "sm_80");
    expect_table(100, true, "sm_80");
    expect_choice(80, DTYPE_BF16, (struct shape){ 32768, 3072, 768 }, LINEAR_GELU_ERF, LINEAR_CUDA_MMA_128X128);
    expect_choice(80, DTYPE_BF16, (struct shape){ 128, 768, 768 }, LINEAR_NONE, LINEAR_CUDA_MMA_64X64);
    expect_choice(80, DTYPE_BF16, (struct shape){ 128, 768, 12 }, LINEAR_NONE, LINEAR_CUDA_MMA_64X64);
    expect_choice(80, DTYPE_F32, (struct shape){ 128, 768, 768 }, LINEAR_NONE, LINEAR_CUDA_FMA_32X64);
    expect_choice(90, DTYPE_F32, (struct shape){ 32768, 768, 768 }, LINEAR_TANH, LINEAR_CUDA_FMA_128X128);
    expect_choice(90, DTYPE_BF16, (struct shape){ 32768, 3072, 768 }, LINEAR_GELU_ERF, LINEAR_CUDA_WGMMA_128X256);
    expect_choice(90, DTYPE_BF16, (struct shape){ 4096, 768, 768 }, LINEAR_NONE, LINEAR_CUDA_WGMMA_128X192);
    expect_choice(90, DTYPE_BF16, (struct shape){ 128, 768, 768 }, LINEAR_NONE, LINEAR_CUDA_WGMMA_64X64);
    expect_choice(90, DTYPE_BF16, (struct shape){ 32768, 768, 768 }, LINEAR_RELU, LINEAR_CUDA_WGMMA_128X128);
    expect_choice(100, DTYPE_BF16, (struct shape){ 32768, 3072, 768 }, LINEAR_GELU_ERF, LINEAR_CUDA_MMA_128X128);
    expect_choice(90, DTYPE_F8_E4M3, (struct shape){ 32768, 3072, 768 }, LINEAR_GELU_ERF, LINEAR_CUDA_WGMMA_128X192);
    expect_choice(90, DTYPE_F8_E4M3, (struct shape){ 128, 384, 1535 }, LINEAR_NONE, LINEAR_CUDA_WGMMA_64X64);
    expect_choice(90, DTYPE_F8_E4M3, (struct shape){ 32768, 768, 768 }, LINEAR_RELU, LINEAR_CUDA_WGMMA_128X128);
    /* One instruction for a weight, whatever the rows: else its bits would depend on the batch. */
    for (int n = 16; n <= 4096; n *= 4)
        for (int act = LINEAR_NONE; act <= LINEAR_SILU_GATE; act++) {
            const struct cuda_facts    device = { .architecture = 90, .processors = 132, .encode_tensor_map = &facts };
            const struct linear_weight w      = { .n = n, .k = 768, .type = DTYPE_BF16 };
            int                        other  = 0;
            for (int rows = 1; rows <= 65536; rows *= 2)
                other += linear_cuda_choose(&device, &w, (enum linear_act)act, rows) < LINEAR_CUDA_WGMMA_64X64;
            check(other == 0, "n %d, act %d: %d counts of rows are computed by another instruction", n, act, other);
        }
    group_end();
}
