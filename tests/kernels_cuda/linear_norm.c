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

struct norm_case {
    struct linear_weight     weight;
    struct linear_norm_args  args;
    enum linear_norm_variant variant;
    struct matrix            x, w, b, gamma, beta, residual, sum, y, copy;
};

static cudaError_t run_variant(const struct cuda_launch *launch, void *context)
{
    struct norm_case *c = context;
    return linear_norm_launch(launch, &c->args, c->variant);
}

static float *floats(const struct matrix *m) { return (float *)(void *)m->device; }

/* `cap` rows, those from `rows` on being no numbers; x and residual have a mean, so that the statistics are not those of noise. */
static struct norm_case case_new(struct shape s, int cap, struct wish wish)
{
    struct norm_case c = { .x = matrix_random(DTYPE_BF16, cap, s.k, 8, 1), .gamma = matrix_random(DTYPE_F32, 1, s.n, 0, 1),
                           .w = matrix_random(DTYPE_BF16, linear_padded(s.n), s.k, 0, 1 / sqrtf((float)s.k)),
                           .b = matrix_random(DTYPE_F32, 1, linear_padded(s.n), 0, 1), .beta = matrix_random(DTYPE_F32, 1, s.n, 0, 1),
                           .residual = matrix_random(DTYPE_F32, cap, s.n, 4, 2), .sum = matrix_new(DTYPE_F32, cap, s.n, 8),
                           .y = matrix_new(DTYPE_F32, cap, s.n, 4), .copy = matrix_new(DTYPE_BF16, cap, s.n, 8) };
    for (int r = 0; r < s.rows; r++)
        for (int i = 0; i < s.n; i++)
            matrix_set(&c.residual, r, i, matrix_get(&c.residual, r, i) + 3 + r % 5);
    matrix_fill_rows(&c.x, s.rows, NAN);
    matrix_fill_rows(&c.residual, s.rows, NAN);
    matrix_upload(&c.x), matrix_upload(&c.residual);
    c.weight = (struct linear_weight){ .n = s.n, .k = s.k, .type = DTYPE_BF16, .panels = c.w.device,
                                       .bias = wish.bias ? floats(&c.b) : NULL };
    c.args   = (struct linear_norm_args){
        .linear = { .x = c.x.device, .x_stride = c.x.stride, .residual = wish.residual ? floats(&c.residual) : NULL,
                    .residual_stride = c.residual.stride, .y = wish.sum ? c.sum.device : NULL, .y_stride = c.sum.stride },
        .norm   = { .weight = floats(&c.gamma), .bias = wish.rms ? NULL : floats(&c.beta), .width = s.n, .epsilon = 1e-5f,
                    .y = wish.y ? floats(&c.y) : NULL, .y_stride = c.y.stride, .copy = wish.copy ? c.copy.device : NULL,
                    .copy_stride = c.copy.stride, .copy_type = DTYPE_BF16 },
        .rms    = wish.rms,
    };
    return c;
}

/* The sum before the norm of one row, and the largest sum of its terms' sizes. */
static double row_expected(const struct norm_case *c, int row, struct wish wish, double *v)
{
    double most = 0;
    for (int i = 0; i < c->weight.n; i++) {
        double size = 0;
        v[i]        = (wish.bias ? matrix_get(&c->b, 0, i) : 0) + (wish.residual ? matrix_get(&c->residual, row, i) : 0);
        for (int k = 0; k < c->weight.k; k++) {
            const double term = matrix_get(&c->x, row, k) * matrix_get(&c->w, i, k);
            v[i] += term;
            size += fabs(term);
        }
        most = fmax(most, size + fabs(v[i]));
    }
    return most;
}

struct closenesses {
    struct closeness sum, y, copy;
};

static void row_compare(const struct norm_case *c, int row, struct wish wish, struct closenesses *close)
{
    static double v[2048];
    const int     n     = c->weight.n;
    const double  error = row_expected(c, row, wish, v) * 1e-6;
    double        mean = 0, squares = 0;
    for (int i = 0; i < n && !wish.rms; i++)
        mean += v[i] / n;
    for (int i = 0; i < n; i++)
        squares += (v[i] - mean) * (v[i] - mean) / n;
    for (int i = 0; i < n; i++) {
        const double scale = matrix_get(&c->gamma, 0, i) / sqrt(squares + 1e-5), beta = wish.rms ? 0 : matrix_get(&c->beta, 0, i);
        const double e = (v[i] - mean) * scale + beta, allowed = 2 * error * fabs(scale) + 2e-6 * (fabs(e) + fabs(beta));
        if (wish.sum)
            closeness_add(&close->sum, matrix_get(&c->sum, row, i), v[i], error, row, i);
        if (wish.y)
            closeness_add(&close->y, matrix_get(&c->y, row, i), e, allowed, row, i);
        if (wish.copy)
            closeness_add(&close->copy, matrix_get(&c->copy, row, i), e, allowed + fabs(e) / 256, row, i);
    }
}

static void norm_case(enum linear_norm_variant variant, struct shape s, struct wish wish)
{
    struct norm_case   c      = case_new(s, s.rows + 3, wish);
    struct cuda_launch launch = launch_rows(s.rows, s.rows + 3);
    const char        *name   = linear_norm_name(variant);
    c.args.linear.weight      = &c.weight;
    c.variant                 = variant;
    for (int i = 0; i < schedule_count(); i++) {
        struct closenesses close = { 0 };
        schedule_take(i);
        matrix_poison(&c.sum), matrix_poison(&c.y), matrix_poison(&c.copy);
        if (!launch_run(&launch, run_variant, &c, name))
            return;
        matrix_download(&c.sum), matrix_download(&c.y), matrix_download(&c.copy);
        for (int row = 0; row < s.rows; row += s.n * s.k > 1 << 18 ? 7 : 1)  /* double precision takes its time */
            row_compare(&c, row, wish, &close);
        check_close(&close.sum, "%s, %d x %d x %d: the sum", name, s.rows, s.n, s.k);
        check_close(&close.y, "%s, %d x %d x %d: y", name, s.rows, s.n, s.k);
        check_close(&close.copy, "%s, %d x %d x %d: the copy", name, s.rows, s.n, s.k);
        check(matrix_intact(&c.sum) && matrix_intact(&c.y) && matrix_intact(&c.copy), "%s, %d x %d x %d: wrote beside the rows", name,
              s.rows, s.n, s.k);
    }
    memory_free_all();
}

static void variant_group(enum linear_norm_variant variant)
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
        { { 200, 72, 200 }, { .rms = true, .residual = true, .y = true }, false },  /* rms: one exchange a tile */
        { { 1, 1024, 384 }, { .bias = true, .residual = true, .y = true }, false },
        { { 3, 2048, 72 }, { .bias = true, .sum = true, .copy = true }, false },
        { { 65, 384, 1536 }, { .bias = true, .residual = true, .y = true, .copy = true }, true },
        { { 64, 768, 768 }, { .bias = true, .residual = true, .y = true, .copy = true }, true },
        { { 2, 768, 3072 }, { .rms = true, .residual = true, .sum = true, .y = true, .copy = true }, true },
        { { 63, 1024, 384 }, { .rms = true, .residual = true, .sum = true, .y = true, .copy = true }, true },
    };
    char name[64];
    snprintf(name, sizeof name, "linear_%s", linear_norm_name(variant));
    if (!group_begin(name, facts.architecture == 90 && facts.encode_tensor_map))
        return;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const struct linear_weight w = { .n = cases[i].shape.n, .k = cases[i].shape.k, .type = DTYPE_BF16 };
        if (linear_norm_can(&facts, variant, &w) && !(options.quick && cases[i].long_one))
            norm_case(variant, cases[i].shape, cases[i].wish);
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
    part->copy      = matrix_new(DTYPE_BF16, rows + spare, all->weight.n, 8);
    part->variant   = variant;
    part->args.linear.weight   = &part->weight;
    part->args.linear.x        = all->x.device + all->x.stride * (size_t)first;
    part->args.linear.residual = (float *)(void *)(all->residual.device + all->residual.stride * (size_t)first);
    part->args.linear.y        = part->sum.device;
    part->args.norm.y          = floats(&part->y);
    part->args.norm.copy       = part->copy.device;
    struct cuda_launch launch  = launch_rows(rows, rows + spare);
    struct cuda_facts  fewer   = facts;
    fewer.processors           = processors;
    launch.facts               = &fewer;
    schedule_take(0);
    launch_run(&launch, run_variant, part, linear_norm_name(variant));
    matrix_download(&part->sum), matrix_download(&part->y), matrix_download(&part->copy);
}

static bool same_rows(const struct matrix *a, int a0, const struct matrix *b, int rows)
{
    const size_t used = (size_t)a->columns * (size_t)dtype_bits(a->type) / 8;
    for (int r = 0; r < rows; r++)
        if (memcmp(a->host + a->stride * (size_t)(a0 + r), b->host + b->stride * (size_t)r, used) != 0)
            return false;
    return true;
}

static void same_bits(struct shape s, bool rms)
{
    static const struct {
        int first, rows, spare;
    } parts[] = { { 0, 1, 0 }, { 17, 1, 3 }, { 5, 63, 1 }, { 100, 65, 0 }, { 70, 128, 2 } };
    const struct wish wish = { rms, true, true, true, true, true };
    struct norm_case  all = case_new(s, s.rows, wish), whole, part;
    run_part(&all, &whole, 0, s.rows, 0, LINEAR_NORM_128X256, 1);
    for (int v = 0; v < LINEAR_NORM_VARIANTS; v++)
        for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
            const enum linear_norm_variant variant = (enum linear_norm_variant)v;
            if (!linear_norm_can(&facts, variant, &all.weight))
                continue;
            run_part(&all, &part, parts[i].first, parts[i].rows, parts[i].spare, variant, i % 2 ? 64 : 1);
            check(same_rows(&whole.sum, parts[i].first, &part.sum, parts[i].rows) &&
                      same_rows(&whole.y, parts[i].first, &part.y, parts[i].rows) &&
                      same_rows(&whole.copy, parts[i].first, &part.copy, parts[i].rows),
                  "%d columns: rows from %d, %d of them, by %s are not what they are among %d by %s", s.n, parts[i].first,
                  parts[i].rows, linear_norm_name(variant), s.rows, linear_norm_name(LINEAR_NORM_128X256));
        }
    memory_free_all();
}

static void same_bits_group(void)
{
    if (!group_begin("same_bits_linear_norm", facts.architecture == 90 && facts.encode_tensor_map))
        return;
    same_bits((struct shape){ 200, 312, 72 }, false);
    same_bits((struct shape){ 200, 72, 136 }, true);
    group_end();
}

/* ---- the table, the chooser ---- */

static cudaError_t run_table(const struct cuda_launch *launch, void *context)
{
    return kernels->linear_norm_bf16(launch, &((struct norm_case *)context)->args);
}

static void refusals(void)
{
    if (!group_begin("linear_norm_refusals", facts.architecture == 90 && facts.encode_tensor_map))
        return;
    struct norm_case   good   = case_new((struct shape){ 5, 64, 64 }, 5, (struct wish){ .y = true, .copy = true });
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
    for (int n = 8; n <= 4096; n += 8) {
        const struct linear_weight w = { .n = n, .k = 768, .type = DTYPE_BF16 };
        check(linear_norm_fits(&hopper, &w, LINEAR_NONE) == (n <= 2048), "n %d", n);
        check(!linear_norm_fits(&ampere, &w, LINEAR_NONE) && !linear_norm_fits(&hopper, &w, LINEAR_RELU), "n %d fits", n);
        for (int rows = 1; rows <= 65536 && n <= 2048; rows *= 4)
            check(linear_norm_can(&hopper, linear_norm_choose(&hopper, &w, rows), &w), "%d x %d: chosen, but cannot", rows, n);
    }
    group_end();
}

void linear_norm_cases(void)
{
    choices();
    for (int v = 0; v < LINEAR_NORM_VARIANTS; v++)
        variant_group((enum linear_norm_variant)v);
    same_bits_group();
    refusals();
}
