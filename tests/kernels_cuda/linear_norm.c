/* Linears with the norm that follows, in one launch: every tile forced, against double precision; and the same bits from all tiles
 * for any count of rows. */
#include "kernels/linear/linear_norm_choose.h"
#include "tests/kernels_cuda/harness.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

struct shape {
    int rows, n, k;
};

/* What is asked for. */
struct wish {
    bool rms, bias, residual, sum, y, copy;
};

/* Whether the norm has a bias of its own. */
static bool shifted(struct wish wish) { return !wish.rms || wish.bias; }

struct norm_case {
    struct linear_weight     weight;
    struct linear_norm_args  args;
    enum linear_norm_variant variant;
    struct matrix            x, w, b, gamma, beta, residual, sum, y, copy;
    struct matrix            x_scales, scales, copy_scales;  /* of e4m3: [1, rows], [1, n padded], [1, rows] */
};

static cudaError_t run_variant(const struct cuda_launch *launch, void *context)
{
    struct norm_case *c = context;
    return linear_norm_launch(launch, &c->args, c->variant);
}

static float *floats(const struct matrix *m) { return (float *)(void *)m->device; }

/* What scales of e4m3 may be: from a half to two, no two neighbours alike. */
static struct matrix scales_new(int count)
{
    struct matrix scales = matrix_new(DTYPE_F32, 1, count, 0);
    for (int i = 0; i < count; i++)
        matrix_set(&scales, 0, i, 0.5 + i % 11 * 0.15);
    matrix_upload(&scales);
    return scales;
}

/* `cap` rows, those from `rows` on being no numbers; residuals have a mean, so that the statistics are not those of noise. Without
 * a bias the first row is small enough for epsilon to matter. type: of x, the weight and the copy. */
static struct norm_case case_new(enum dtype type, struct shape s, int cap, struct wish wish)
{
    const int        gap = (int)kernels_cuda_weight_stride(type, s.k) * 8 / dtype_bits(type) - s.k;
    struct norm_case c = { .x = matrix_random(type, cap, s.k, 8, 1), .gamma = matrix_random(DTYPE_F32, 1, s.n, 0, 1),
                           .w = matrix_random(type, linear_padded(s.n), s.k, gap, 1 / sqrtf((float)s.k)),
                           .x_scales = scales_new(cap), .scales = scales_new(linear_padded(s.n)),
                           .copy_scales = matrix_new(DTYPE_F32, 1, cap, 0),
                           .b = matrix_random(DTYPE_F32, 1, linear_padded(s.n), 0, 1),
                           .beta = matrix_random(DTYPE_F32, 1, s.n, 0, 1),
                           .residual = matrix_random(DTYPE_F32, cap, s.n, 4, 2), .sum = matrix_new(DTYPE_F32, cap, s.n, 8),
                           .y = matrix_new(DTYPE_F32, cap, s.n, 4), .copy = matrix_new(type, cap, s.n, 8) };
    for (int r = 0; r < s.rows; r++)
        for (int i = 0; i < s.n; i++)
            matrix_set(&c.residual, r, i, (matrix_get(&c.residual, r, i) + 3 + r % 5) * (r == 0 && !wish.bias ? 1e-3 : 1));
    for (int k = 0; k < s.k && !wish.bias; k++)
        matrix_set(&c.x, 0, k, matrix_get(&c.x, 0, k) * 1e-3);
    matrix_fill_rows(&c.x, s.rows, NAN);
    matrix_fill_rows(&c.residual, s.rows, NAN);
    for (int r = s.rows; r < cap; r++)
        matrix_set(&c.x_scales, 0, r, NAN);
    matrix_upload(&c.x), matrix_upload(&c.residual), matrix_upload(&c.x_scales);
    c.weight = (struct linear_weight){ .n = s.n, .k = s.k, .type = type, .panels = c.w.device, .scales = floats(&c.scales),
                                       .bias = wish.bias ? floats(&c.b) : NULL };
    c.args   = (struct linear_norm_args){
        .linear = { .x = c.x.device, .x_stride = c.x.stride, .x_scales = floats(&c.x_scales),
                    .residual = wish.residual ? floats(&c.residual) : NULL, .residual_stride = c.residual.stride,
                    .y = wish.sum ? c.sum.device : NULL, .y_stride = c.sum.stride },
        .norm   = { .weight = floats(&c.gamma), .bias = shifted(wish) ? floats(&c.beta) : NULL, .width = s.n, .epsilon = 1e-5f,
                    .y = wish.y ? floats(&c.y) : NULL, .y_stride = c.y.stride, .copy = wish.copy ? c.copy.device : NULL,
                    .copy_stride = c.copy.stride, .copy_type = type, .copy_scales = floats(&c.copy_scales) },
        .rms    = wish.rms,
    };
    return c;
}

/* The sum before the norm of one row, and what one of them may be off by: of its terms' sizes, and of e4m3 what the matrix unit
 * cuts off 13 bits below the greatest of the 33 numbers of a product. */
static double row_expected(const struct norm_case *c, int row, struct wish wish, double *v)
{
    const bool narrow = c->weight.type == DTYPE_F8_E4M3;
    double     error  = 0;
    for (int i = 0; i < c->weight.n; i++) {
        const double scale = narrow ? matrix_get(&c->x_scales, 0, row) * matrix_get(&c->scales, 0, i) : 1;
        double       size = 0, greatest = 0, sum = 0;
        for (int k = 0; k < c->weight.k; k++) {
            const double term = matrix_get(&c->x, row, k) * matrix_get(&c->w, i, k) * scale;
            sum += term;
            size += fabs(term);
            greatest = fmax(greatest, fmax(fabs(term), fabs(sum)));
        }
        v[i]  = sum + (wish.bias ? matrix_get(&c->b, 0, i) : 0) + (wish.residual ? matrix_get(&c->residual, row, i) : 0);
        error = fmax(error, (size + fabs(v[i])) * 1e-6 + (narrow ? (c->weight.k + 31) / 32 * 34 * ldexp(greatest, -13) : 0));
    }
    return error;
}

struct closenesses {
    struct closeness sum, y, copy;
};

static void row_compare(const struct norm_case *c, int row, struct wish wish, struct closenesses *close)
{
    static double v[2048];
    const int     n      = c->weight.n;
    const bool    narrow = c->weight.type == DTYPE_F8_E4M3;
    double        error = row_expected(c, row, wish, v), mean = 0, squares = 0, most = 0;
    for (int i = 0; i < n && wish.sum; i++) {
        closeness_add(&close->sum, matrix_get(&c->sum, row, i), v[i], error, row, i);
        most = fmax(most, fabs(v[i]));
        v[i] = narrow ? matrix_get(&c->sum, row, i) : v[i];
    }
    error = narrow && wish.sum ? most * 1e-6 : error;  /* of the norm alone */
    for (int i = 0; i < n && !wish.rms; i++)
        mean += v[i] / n;
    for (int i = 0; i < n; i++)
        squares += (v[i] - mean) * (v[i] - mean) / n;
    for (int i = 0; i < n; i++) {
        const double scale = matrix_get(&c->gamma, 0, i) / sqrt(squares + 1e-5);
        const double beta  = shifted(wish) ? matrix_get(&c->beta, 0, i) : 0;
        const double e = (v[i] - mean) * scale + beta, allowed = 2 * error * fabs(scale) + 2e-6 * (fabs(e) + fabs(beta));
        if (wish.y)
            closeness_add(&close->y, matrix_get(&c->y, row, i), e, allowed, row, i);
        if (!wish.copy)
            continue;
        const double step = narrow ? matrix_get(&c->copy_scales, 0, row) : 1;  /* the least of e4m3 is 2^-9 */
        closeness_add(&close->copy, matrix_get(&c->copy, row, i) * step, e,
                      allowed * 2 + fabs(e) / (narrow ? 16 : 256) + (narrow ? step * 0x1p-10 : 0), row, i);
    }
}

static void norm_case(enum linear_norm_variant variant, enum dtype type, struct shape s, struct wish wish)
{
    struct norm_case   c      = case_new(type, s, s.rows + 3, wish);
    struct cuda_launch launch = launch_rows(s.rows, s.rows + 3);
    const char        *name   = linear_norm_name(variant);
    c.args.linear.weight      = &c.weight;
    c.variant                 = variant;
    for (int i = 0; i < schedule_count(); i++) {
        struct closenesses close = { 0 };
        schedule_take(i);
        matrix_poison(&c.sum), matrix_poison(&c.y), matrix_poison(&c.copy), matrix_poison(&c.copy_scales);
        if (!launch_run(&launch, run_variant, &c, name))
            return;
        matrix_download(&c.sum), matrix_download(&c.y), matrix_download(&c.copy), matrix_download(&c.copy_scales);
        for (int row = 0; row < s.rows; row += s.n * s.k > 1 << 18 ? 7 : 1)  /* double precision takes its time */
            row_compare(&c, row, wish, &close);
        check_close(&close.sum, "%s, %d x %d x %d: the sum", name, s.rows, s.n, s.k);
        check_close(&close.y, "%s, %d x %d x %d: y", name, s.rows, s.n, s.k);
        check_close(&close.copy, "%s, %d x %d x %d: the copy", name, s.rows, s.n, s.k);
        if (type == DTYPE_F8_E4M3 && wish.y && wish.copy)
            check_e4m3(&c.y, &c.copy, &c.copy_scales, s.rows);
        check(matrix_intact(&c.sum) && matrix_intact(&c.y) && matrix_intact(&c.copy) && matrix_intact(&c.copy_scales),
              "%s, %d x %d x %d: wrote beside the rows", name, s.rows, s.n, s.k);
    }
    memory_free_all();
}

static void variant_group(enum linear_norm_variant variant, enum dtype type)
{
    static const struct {
        struct shape shape;
        struct wish  wish;
        bool         long_one;
    } cases[] = {
        { { 1, 64, 72 }, { .bias = true, .y = true }, false },
        { { 63, 384, 72 }, { .bias = true, .residual = true, .y = true, .copy = true }, false },
        { { 64, 312, 136 }, { .rms = true, .residual = true, .sum = true, .copy = true }, false },
        { { 200, 64, 384 }, { .bias = true, .residual = true, .sum = true, .y = true, .copy = true }, false },
        { { 65, 768, 72 }, { .rms = true, .bias = true, .residual = true, .y = true, .copy = true }, false },
        { { 200, 312, 72 }, { .residual = true, .copy = true }, false },
        { { 200, 72, 200 }, { .rms = true, .residual = true, .y = true, .copy = true }, false },  /* rms: one exchange a tile */
        { { 1, 1024, 384 }, { .bias = true, .residual = true, .y = true }, false },
        { { 3, 2048, 72 }, { .bias = true, .sum = true, .copy = true }, false },
        { { 65, 384, 1536 }, { .bias = true, .residual = true, .y = true, .copy = true }, true },
        { { 64, 768, 768 }, { .bias = true, .residual = true, .y = true, .copy = true }, true },
        { { 2, 768, 3072 }, { .rms = true, .residual = true, .sum = true, .y = true, .copy = true }, true },
        { { 63, 1024, 384 }, { .rms = true, .residual = true, .sum = true, .y = true, .copy = true }, true },
    };
    char name[64];
    snprintf(name, sizeof name, "linear_%s%s", type == DTYPE_BF16 ? "" : "fp8_", linear_norm_name(variant));
    const struct linear_weight any = { .n = 64, .k = 64, .type = type };
    if (!group_begin(name, linear_norm_can(&facts, variant, &any)))
        return;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const struct linear_weight w = { .n = cases[i].shape.n, .k = cases[i].shape.k, .type = type };
        if (linear_norm_can(&facts, variant, &w) && !(options.quick && cases[i].long_one))
            norm_case(variant, type, cases[i].shape, cases[i].wish);
    }
    group_end();
}

/* ---- same bits ---- */

/* Rows [first, first + rows) of `all`, alone, on `processors`. */
static void run_part(const struct norm_case *all, struct norm_case *part, int first, int rows, int spare,
                     enum linear_norm_variant variant, int processors)
{
    *part           = *all;
    part->sum       = matrix_new(DTYPE_F32, rows + spare, all->weight.n, 8);
    part->y         = matrix_new(DTYPE_F32, rows + spare, all->weight.n, 4);
    part->copy      = matrix_new(all->weight.type, rows + spare, all->weight.n, 8);
    part->variant   = variant;
    part->copy_scales          = matrix_new(DTYPE_F32, rows + spare, 1, 0);
    part->args.linear.weight   = &part->weight;
    part->args.linear.x        = all->x.device + all->x.stride * (size_t)first;
    part->args.linear.residual = (float *)(void *)(all->residual.device + all->residual.stride * (size_t)first);
    part->args.linear.x_scales = floats(&all->x_scales) + first;
    part->args.linear.y        = part->sum.device;
    part->args.norm.copy_scales = floats(&part->copy_scales);
    part->args.norm.y          = floats(&part->y);
    part->args.norm.copy       = part->copy.device;
    struct cuda_launch launch  = launch_rows(rows, rows + spare);
    struct cuda_facts  fewer   = facts;
    fewer.processors           = processors;
    launch.facts               = &fewer;
    schedule_take(0);
    launch_run(&launch, run_variant, part, linear_norm_name(variant));
    matrix_download(&part->sum), matrix_download(&part->y), matrix_download(&part->copy), matrix_download(&part->copy_scales);
}

static bool same_rows(const struct matrix *a, int a0, const struct matrix *b, int rows)
{
    const size_t used = (size_t)a->columns * (size_t)dtype_bits(a->type) / 8;
    for (int r = 0; r < rows; r++)
        if (memcmp(a->host + a->stride * (size_t)(a0 + r), b->host + b->stride * (size_t)r, used) != 0)
            return false;
    return true;
}

static cudaError_t run_linear(const struct cuda_launch *launch, void *context)
{
    return linear_cuda_launch(launch, context, LINEAR_CUDA_WGMMA_64X64);
}

/* What is normed is what the linear without a norm makes. */
static void same_sum(const struct norm_case *whole, int rows)
{
    struct matrix      y      = matrix_new(DTYPE_F32, rows, whole->weight.n, 8);
    struct linear_args args   = whole->args.linear;
    struct cuda_launch launch = launch_rows(rows, rows);
    args.weight = &whole->weight;
    args.y = y.device, args.y_stride = y.stride, args.y_type = DTYPE_F32;
    schedule_take(0);
    launch_run(&launch, run_linear, &args, "linear");
    matrix_download(&y);
    check(same_rows(&whole->sum, 0, &y, rows), "%d columns: the sum before the norm is not that of the linear", whole->weight.n);
}

static void same_bits(enum dtype type, struct shape s, bool rms)
{
    static const struct {
        int first, rows, spare;
    } parts[] = { { 0, 1, 0 }, { 17, 1, 3 }, { 5, 63, 1 }, { 100, 65, 0 }, { 70, 128, 2 } };
    const struct wish wish = { rms, true, true, true, true, true };
    const enum linear_norm_variant first = type == DTYPE_BF16 ? LINEAR_NORM_128X256 : LINEAR_NORM_128X192;
    struct norm_case  all = case_new(type, s, s.rows, wish), whole, part;
    run_part(&all, &whole, 0, s.rows, 0, first, 1);
    same_sum(&whole, s.rows);
    for (int v = 0; v < LINEAR_NORM_VARIANTS; v++)
        for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
            const enum linear_norm_variant variant = (enum linear_norm_variant)v;
            if (!linear_norm_can(&facts, variant, &all.weight))
                continue;
            run_part(&all, &part, parts[i].first, parts[i].rows, parts[i].spare, variant, i % 2 ? 64 : 1);
            check(same_rows(&whole.sum, parts[i].first, &part.sum, parts[i].rows) &&
                      same_rows(&whole.y, parts[i].first, &part.y, parts[i].rows) &&
                      same_rows(&whole.copy, parts[i].first, &part.copy, parts[i].rows) &&
                      (type == DTYPE_BF16 || same_rows(&whole.copy_scales, parts[i].first, &part.copy_scales, parts[i].rows)),
                  "%d columns: rows from %d, %d of them, by %s are not what they are among %d by %s", s.n, parts[i].first,
                  parts[i].rows, linear_norm_name(variant), s.rows, linear_norm_name(first));
        }
    memory_free_all();
}

static void same_bits_group(void)
{
    if (!group_begin("same_bits_linear_norm", facts.architecture == 90 && facts.encode_tensor_map))
        return;
    same_bits(DTYPE_BF16, (struct shape){ 200, 312, 72 }, false);
    same_bits(DTYPE_BF16, (struct shape){ 200, 72, 136 }, true);
    same_bits(DTYPE_F8_E4M3, (struct shape){ 200, 312, 136 }, false);
    same_bits(DTYPE_F8_E4M3, (struct shape){ 200, 72, 200 }, true);
    group_end();
}

/* ---- the table, the chooser ---- */

static cudaError_t run_table(const struct cuda_launch *launch, void *context)
{
    return kernels->linear_norm(launch, &((struct norm_case *)context)->args);
}

/* Each pointer and stride in turn is four bytes more than it may be. */
static void unaligned_refusals(const struct cuda_launch *launch, const struct norm_case *good)
{
    static const struct {
        size_t      of;
        const char *what;
    } unaligned[] = {
        { offsetof(struct norm_case, weight.panels), "weights" },
        { offsetof(struct norm_case, weight.scales), "scales of weights" },
        { offsetof(struct norm_case, weight.bias), "a bias" },
        { offsetof(struct norm_case, args.linear.x), "x" },
        { offsetof(struct norm_case, args.linear.x_stride), "rows of x" },
        { offsetof(struct norm_case, args.linear.residual), "a residual" },
        { offsetof(struct norm_case, args.linear.residual_stride), "rows of a residual" },
        { offsetof(struct norm_case, args.linear.y), "the sum" },
        { offsetof(struct norm_case, args.linear.y_stride), "rows of the sum" },
        { offsetof(struct norm_case, args.norm.weight), "a weight of the norm" },
        { offsetof(struct norm_case, args.norm.bias), "a bias of the norm" },
        { offsetof(struct norm_case, args.norm.y), "y" },
        { offsetof(struct norm_case, args.norm.y_stride), "rows of y" },
        { offsetof(struct norm_case, args.norm.copy), "a copy" },
        { offsetof(struct norm_case, args.norm.copy_stride), "rows of a copy" },
    };
    for (size_t i = 0; i < sizeof unaligned / sizeof *unaligned; i++) {
        struct norm_case bad = *good;
        size_t           value;  /* of a pointer too */
        memcpy(&value, (char *)&bad + unaligned[i].of, sizeof value);
        value += 4;
        memcpy((char *)&bad + unaligned[i].of, &value, sizeof value);
        bad.args.linear.weight = &bad.weight;
        check(run_table(launch, &bad) == cudaErrorInvalidValue, "%s four bytes off", unaligned[i].what);
    }
}

static void refusals(void)
{
    if (!group_begin("linear_norm_refusals", facts.architecture == 90 && facts.encode_tensor_map))
        return;
    struct norm_case   good   = case_new(DTYPE_BF16, (struct shape){ 5, 64, 64 }, 5, (struct wish){ .y = true, .copy = true });
    struct cuda_launch launch = launch_rows(5, 5);
    good.args.linear.weight   = &good.weight;
    check(run_table(&launch, &good) == cudaSuccess, "a good call was refused");
    struct norm_case bad      = good;
    bad.args.norm.weight      = NULL;
    check(run_table(&launch, &bad) == cudaErrorInvalidValue, "no weight of the norm");
    bad                       = good;
    bad.args.norm.width       = 56;
    check(run_table(&launch, &bad) == cudaErrorInvalidValue, "a norm of another width");
    bad                       = good;
    bad.args.norm.y           = NULL;
    bad.args.norm.copy        = NULL;
    check(run_table(&launch, &bad) == cudaErrorInvalidValue, "nothing to write");
    bad                       = good;
    bad.args.linear.x         = good.x.device + 2;
    check(run_table(&launch, &bad) == cudaErrorInvalidValue, "x that is not aligned to 16 bytes");
    bad                       = good;
    bad.args.linear.act       = LINEAR_RELU;
    check(run_table(&launch, &bad) == cudaErrorNotSupported, "an activation");
    bad                       = good;
    bad.args.norm.copy_type   = DTYPE_U8;
    check(run_table(&launch, &bad) == cudaErrorNotSupported, "a copy of a type that is not written");
    bad.args.norm.copy_type   = DTYPE_F8_E4M3;
    check(run_table(&launch, &bad) == cudaErrorNotSupported, "a copy in e4m3 of weights in bf16");
    good = case_new(DTYPE_F8_E4M3, (struct shape){ 5, 64, 64 }, 5,
                    (struct wish){ .bias = true, .residual = true, .sum = true, .y = true, .copy = true });
    good.args.linear.weight   = &good.weight;
    check(run_table(&launch, &good) == cudaSuccess, "a good call in e4m3 was refused");
    unaligned_refusals(&launch, &good);
    bad                       = good;
    bad.args.norm.copy_scales = NULL;
    check(run_table(&launch, &bad) == cudaErrorInvalidValue, "nowhere to write the scales");
    bad                       = good;
    bad.args.linear.x_scales  = NULL;
    check(run_table(&launch, &bad) == cudaErrorInvalidValue, "no scales of rows");
    check(linear_norm_launch(&launch, &good.args, LINEAR_NORM_128X256) == cudaErrorNotSupported, "a tile that is not built");
    check(cudaDeviceSynchronize() == cudaSuccess, "the device is well");
    group_end();
}

static void expect(int architecture, int rows, int n, enum linear_norm_variant expected)
{
    const struct cuda_facts        device = { .architecture = architecture, .processors = 132, .encode_tensor_map = &facts };
    const struct linear_weight     w      = { .n = n, .k = 768, .type = DTYPE_BF16 };
    const enum linear_norm_variant v      = linear_norm_choose(&device, &w, rows);
    check(v == expected, "%d x %d: %s, expected %s", rows, n, linear_norm_name(v), linear_norm_name(expected));
}

static void choices(void)
{
    if (!group_begin("choosers_linear_norm", true))
        return;
    expect(90, 32768, 768, LINEAR_NORM_128X192);  /* four blocks fill a group of 16 processors, three do not */
    expect(90, 32768, 1024, LINEAR_NORM_128X256);
    expect(90, 32768, 384, LINEAR_NORM_128X192);
    expect(90, 128, 768, LINEAR_NORM_64X128);
    expect(90, 128, 384, LINEAR_NORM_64X64);
    expect(90, 128, 2048, LINEAR_NORM_64X256);
    const struct cuda_facts hopper = { .architecture = 90, .processors = 132, .encode_tensor_map = &facts };
    const struct cuda_facts ampere = { .architecture = 80, .processors = 108, .encode_tensor_map = &facts };
    const struct linear_weight other[] = { { .n = 64, .k = 64, .type = DTYPE_F32 }, { .n = 64, .k = 64, .type = DTYPE_I8 },
                                           { .n = 64, .k = 60, .type = DTYPE_BF16 } };
    for (int i = 0; i < 3; i++)
        check(!linear_norm_fits(&hopper, &other[i], LINEAR_NONE), "k %d of type %d fits", other[i].k, other[i].type);
    for (int n = 4; n <= 4096; n += 4) {
        const struct linear_weight w = { .n = n, .k = 768, .type = DTYPE_BF16 };
        struct linear_weight       e4m3 = w;
        e4m3.type                       = DTYPE_F8_E4M3;
        check(linear_norm_fits(&hopper, &w, LINEAR_NONE) == (n <= 2048 && n % 8 == 0), "n %d", n);
        check(linear_norm_fits(&hopper, &e4m3, LINEAR_NONE) == (n <= 1536 && n % 8 == 0), "n %d in e4m3", n);
        for (int rows = 1; rows <= 65536 && n <= 1536 && n % 8 == 0; rows *= 4)
            check(linear_norm_can(&hopper, linear_norm_choose(&hopper, &e4m3, rows), &e4m3), "%d x %d in e4m3: chosen, but cannot",
                  rows, n);
        check(!linear_norm_fits(&ampere, &w, LINEAR_NONE) && !linear_norm_fits(&hopper, &w, LINEAR_RELU), "n %d fits", n);
        for (int rows = 1; rows <= 65536 && n <= 2048 && n % 8 == 0; rows *= 4)
            check(linear_norm_can(&hopper, linear_norm_choose(&hopper, &w, rows), &w), "%d x %d: chosen, but cannot", rows, n);
    }
    group_end();
}

void linear_norm_cases(void)
{
    choices();
    for (int v = 0; v < LINEAR_NORM_VARIANTS; v++)
        variant_group((enum linear_norm_variant)v, DTYPE_BF16);
    for (int v = 0; v < LINEAR_NORM_VARIANTS; v++)
        variant_group((enum linear_norm_variant)v, DTYPE_F8_E4M3);
    same_bits_group();
    refusals();
}
