/* What a row becomes depends on its own sequence alone: the same bytes in every batch, under every cap, on any number of
 * processors, by every tile of one architecture, and beside neighbours that are no numbers. */
#include "kernels/attention/attention_choose.h"
#include "kernels/linear/linear_choose.h"
#include "tests/kernels_cuda/harness.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* The first of `rows` rows whose bytes differ, from row `a0` of a and `b0` of b; -1: none. */
static int first_difference(const struct matrix *a, int a0, const struct matrix *b, int b0, int rows)
{
    const size_t used = (size_t)a->columns * (size_t)dtype_bits(a->type) / 8;
    for (int r = 0; r < rows; r++)
        if (memcmp(a->host + a->stride * (size_t)(a0 + r), b->host + b->stride * (size_t)(b0 + r), used) != 0)
            return r;
    return -1;
}

static void copy_rows(struct matrix *to, int to0, const struct matrix *from, int from0, int rows)
{
    const size_t used = (size_t)to->columns * (size_t)dtype_bits(to->type) / 8;
    for (int r = 0; r < rows; r++)
        memcpy(to->host + to->stride * (size_t)(to0 + r), from->host + from->stride * (size_t)(from0 + r), used);
}

/* ---- linears ---- */

struct linear_run {
    struct linear_args       args;
    enum linear_cuda_variant variant;
};

static cudaError_t run_linear(const struct cuda_launch *launch, void *context)
{
    struct linear_run *r = context;
    return linear_cuda_launch(launch, &r->args, r->variant);
}

struct linear_setting {
    struct linear_weight weight;
    enum linear_act      act;
    enum dtype           y_type;
    struct matrix        x, residual;  /* all rows */
    struct matrix        x_scales;     /* one a row, for e4m3 */
};

/* Rows [first, first + rows) alone, with `spare` rows of NaN after them. */
static struct matrix linear_rows_alone(const struct linear_setting *s, enum linear_cuda_variant variant, int first, int rows,
                                       int spare)
{
    const int     cap = rows + spare, columns = s->act == LINEAR_SILU_GATE ? s->weight.n / 2 : s->weight.n;
    struct matrix x = matrix_new(s->weight.type, cap, s->weight.k, 0), residual = matrix_new(DTYPE_F32, cap, columns, 4);
    struct matrix y = matrix_new(s->y_type, cap, columns, 8), scales = matrix_new(DTYPE_F32, cap, 1, 0);
    matrix_fill_rows(&scales, 0, NAN);
    copy_rows(&scales, 0, &s->x_scales, first, rows);
    matrix_fill_rows(&x, 0, NAN);
    copy_rows(&x, 0, &s->x, first, rows);
    matrix_fill_rows(&residual, 0, NAN);
    copy_rows(&residual, 0, &s->residual, first, rows);
    matrix_upload(&x), matrix_upload(&residual), matrix_upload(&scales);
    const bool         added  = s->y_type == DTYPE_F32;
    struct linear_run  run    = { { .weight = &s->weight, .x = x.device, .x_stride = x.stride,
                                    .x_scales = (float *)(void *)scales.device, .act = s->act,
                                    .residual = added ? (float *)(void *)residual.device : NULL, .residual_stride = residual.stride,
                                    .y = y.device, .y_stride = y.stride, .y_type = s->y_type }, variant };
    struct cuda_launch launch = launch_rows(rows, cap);
    struct cuda_facts  fewer  = facts;
    fewer.processors          = rows % 2 ? 1 : facts.processors;
    launch.facts              = &fewer;
    schedule_take(0);
    launch_run(&launch, run_linear, &run, linear_cuda_name(variant));
    matrix_download(&y);
    return y;
}

static void linear_family(const char *name, enum dtype type, enum linear_cuda_variant first, enum linear_cuda_variant last,
                          enum linear_act act, enum dtype y_type)
{
    static const struct {
        int first, rows, spare;
    } parts[] = { { 0, 1, 0 }, { 17, 1, 3 }, { 5, 63, 1 }, { 100, 65, 0 }, { 70, 128, 200 } };
    enum { ROWS = 200 };
    const int             n = act == LINEAR_SILU_GATE ? 288 : 264, k = 200;
    struct linear_setting s = { .weight = { .n = n, .k = k, .type = type }, .act = act, .y_type = y_type };
    if (!linear_cuda_can(&facts, first, &s.weight, act))
        return;
    const int     gap = (int)kernels_cuda_weight_stride(type, k) * 8 / dtype_bits(type) - k;
    struct matrix weight = matrix_random(type, linear_padded(n), k, gap, 0.1f);
    struct matrix scales = matrix_random(DTYPE_F32, 1, linear_padded(n), 0, 1);
    struct matrix bias   = matrix_random(DTYPE_F32, 1, linear_padded(n), 0, 1);
    s.weight.panels      = weight.device;
    s.weight.bias        = (float *)(void *)bias.device;
    s.weight.scales      = (float *)(void *)scales.device;
    s.x                  = matrix_random(type, ROWS, k, 0, 1);
    s.x_scales           = matrix_random(DTYPE_F32, ROWS, 1, 0, 1);
    s.residual           = matrix_random(DTYPE_F32, ROWS, act == LINEAR_SILU_GATE ? n / 2 : n, 4, 1);
    struct matrix whole  = linear_rows_alone(&s, first, 0, ROWS, 0);
    for (enum linear_cuda_variant v = first; v <= last; v++)
        for (size_t i = 0; i < sizeof parts / sizeof *parts && linear_cuda_can(&facts, v, &s.weight, act); i++) {
            struct matrix part = linear_rows_alone(&s, v, parts[i].first, parts[i].rows, parts[i].spare);
            const int     at   = first_difference(&part, 0, &whole, parts[i].first, parts[i].rows);
            check(at < 0, "%s, act %d: row %d by %s is not what it is among %d by %s", name, act, parts[i].first + at,
                  linear_cuda_name(v), ROWS, linear_cuda_name(first));
        }
    memory_free_all();
}

static void linear_same_bits(void)
{
    if (!group_begin("same_bits_linear", true))
        return;
    for (int act = LINEAR_NONE; act <= LINEAR_SILU_GATE; act++) {
        linear_family("fma", DTYPE_F32, LINEAR_CUDA_FMA_32X64, LINEAR_CUDA_FMA_128X128, (enum linear_act)act, DTYPE_F32);
        const enum dtype y_type = act == LINEAR_NONE || act == LINEAR_GELU_TANH ? DTYPE_F32 : DTYPE_BF16;
        linear_family("mma", DTYPE_BF16, LINEAR_CUDA_MMA_64X64, LINEAR_CUDA_MMA_128X128, (enum linear_act)act, y_type);
        const bool small = act <= LINEAR_GELU_TANH;  /* the 64 x 64 tile is built for these */
        const enum linear_cuda_variant from = small ? LINEAR_CUDA_WGMMA_64X64 : LINEAR_CUDA_WGMMA_128X128;
        linear_family("wgmma", DTYPE_BF16, from, LINEAR_CUDA_WGMMA_128X256, (enum linear_act)act, y_type);
        linear_family("wgmma of e4m3", DTYPE_F8_E4M3, from, LINEAR_CUDA_WGMMA_128X192, (enum linear_act)act, y_type);
    }
    group_end();
}

/* ---- norms: held in registers, or read again for each pass; the same bits wherever x, y, weight and bias begin ---- */

static cudaError_t run_norm(const struct cuda_launch *launch, void *context) { return kernels->norm_layer(launch, context); }

static void norm_setting(int width, enum dtype copy_type)
{
    enum { NOTHING, X, Y, WEIGHT, BIAS, COPY, ALL };  /* what is not aligned: a gap of one element, or a start */
    struct matrix x = matrix_random(DTYPE_F32, 5, width, 0, 1), vectors = matrix_random(DTYPE_F32, 4, width, 5, 1);
    struct matrix y[ALL], copy[ALL], scales = matrix_new(DTYPE_F32, 1, 5, 0);
    copy_rows(&vectors, 2, &vectors, 0, 2);  /* rows 2 and 3: weight and bias again, moved by one element below */
    for (int row = 2; row < 4; row++)
        memmove(vectors.host + vectors.stride * (size_t)row + 4, vectors.host + vectors.stride * (size_t)row, (size_t)width * 4);
    matrix_upload(&vectors);
    for (int i = NOTHING; i < ALL; i++) {
        struct matrix from = matrix_new(DTYPE_F32, 5, width, i == X);
        y[i]               = matrix_new(DTYPE_F32, 5, width, i == Y);
        copy[i]            = matrix_new(copy_type, 5, width, 8);
        copy[i].stride -= i == COPY ? (size_t)dtype_bits(copy_type) / 8 : 0;
        copy_rows(&from, 0, &x, 0, 5);
        matrix_upload(&from);
        const char        *weight = vectors.device + (i == WEIGHT ? 2 * vectors.stride + 4 : 0);
        const char        *bias   = vectors.device + (i == BIAS ? 3 * vectors.stride + 4 : vectors.stride);
        struct norm_args   args   = { .x = (float *)(void *)from.device, .x_stride = from.stride, .width = width,
                                      .epsilon = 1e-5f, .weight = (const float *)(const void *)weight,
                                      .bias = (const float *)(const void *)bias, .y = (float *)(void *)y[i].device,
                                      .y_stride = y[i].stride, .copy = copy[i].device, .copy_stride = copy[i].stride,
                                      .copy_type = copy_type, .copy_scales = (float *)(void *)scales.device };
        struct cuda_launch launch = launch_rows(5, 5);
        schedule_take(0);
        launch_run(&launch, run_norm, &args, "norm");
        matrix_download(&y[i]), matrix_download(&copy[i]);
    }
    for (int i = X; i < ALL; i++)
        check(first_difference(&y[NOTHING], 0, &y[i], 0, 5) < 0 && first_difference(&copy[NOTHING], 0, &copy[i], 0, 5) < 0,
              "width %d: the two kernels differ", width);
    memory_free_all();
}

static void norm_same_bits(void)
{
    if (!group_begin("same_bits_norm", true))
        return;
    for (int width = 4; width <= 1024; width = width * 3 + 4) {
        norm_setting(width, DTYPE_BF16);
        if (kernels->linear_fp8)
            norm_setting(width, DTYPE_F8_E4M3);
    }
    group_end();
}

/* ---- attention ---- */

struct attention_run {
    struct attention_args   args;
    struct attention_choice choice;
    void                   *schedule;
};

static cudaError_t run_both(const struct cuda_launch *launch, void *context)
{
    struct attention_run *r     = context;
    const cudaError_t     error = attention_schedule_launch(launch, &r->args, r->schedule, &r->choice);
    if (error != cudaSuccess)
        return error;
    if (r->choice.variant == ATTENTION_CUDA_FMA)
        return kernels->attention_f32(launch, &r->args, r->schedule);
    return (r->choice.variant == ATTENTION_CUDA_MMA ? attention_mma_launch : attention_sm90_launch)(launch, &r->args, r->schedule,
                                                                                                    &r->choice);
}

enum { HEADS = 2, SEQUENCES = 7 };

/* In fp16 both heads share keys and values. */
static int kv_heads_of(enum dtype type) { return type == DTYPE_F16 ? 1 : HEADS; }
static int columns_of(enum dtype type, int head_size) { return (HEADS + 2 * kv_heads_of(type)) * head_size; }

/* The sequences that `order` names, in its order, of those that lie in `all` one after another. */
static struct matrix attention_of(const struct matrix *all, const struct packing *p, const int *order, int count, int spare,
                                  int head_size, bool causal, bool hopper)
{
    int lengths[SEQUENCES];
    for (int i = 0; i < count; i++)
        lengths[i] = p->starts[order[i] + 1] - p->starts[order[i]];
    const int      gap = spare % 2 ? 1 : 8;  /* f32: whether rows are aligned to 16 bytes, which some kernels ask for */
    struct packing own = packing_new(lengths, count, spare, spare / 3);
    struct matrix  qkv = matrix_new(all->type, own.token_cap, columns_of(all->type, head_size), gap);
    struct matrix  y   = matrix_new(all->type, own.token_cap, HEADS * head_size, gap);
    matrix_fill_rows(&qkv, 0, NAN);
    for (int i = 0; i < count; i++)
        copy_rows(&qkv, own.starts[i], all, p->starts[order[i]], lengths[i]);
    matrix_upload(&qkv);
    const int            kv_heads = kv_heads_of(all->type);
    const size_t         head = (size_t)(head_size * dtype_bits(all->type) / 8), kv = HEADS * head;
    struct attention_run run  = { .args = { .q = qkv.device, .k = qkv.device + kv,
                                            .v = qkv.device + kv + (size_t)kv_heads * head, .q_stride = qkv.stride,
                                            .k_stride = qkv.stride, .v_stride = qkv.stride, .type = all->type, .heads = HEADS,
                                            .kv_heads = kv_heads, .head_size = head_size, .scale = 0.125f, .causal = causal,
                                            .starts = own.device_starts, .y = y.device, .y_stride = y.stride,
                                            .y_type = all->type } };
    struct cuda_launch   launch = launch_of(&own, CUDA_ROWS_TOKENS);
    struct cuda_facts    fewer  = facts;
    fewer.processors            = count == 1 ? 1 : 2;  /* blocks go from tile to tile */
    launch.facts                = &fewer;
    run.choice                  = attention_cuda_choose(hopper ? &facts : &facts_80, &run.args);
    run.schedule                = device_bytes(attention_schedule_bytes(own.token_cap, own.sequence_cap));
    schedule_take(0);
    launch_run(&launch, run_both, &run, "attention");
    matrix_download(&y);
    return y;
}

static void attention_setting(enum dtype type, int head_size, bool causal, bool hopper)
{
    static const int lengths[SEQUENCES] = { 5, 200, 16, 64, 131, 33, 70 };
    static const int forth[SEQUENCES] = { 0, 1, 2, 3, 4, 5, 6 }, back[SEQUENCES] = { 6, 5, 4, 3, 2, 1, 0 };
    struct packing   p   = packing_new(lengths, SEQUENCES, 0, 0);
    struct matrix    all = matrix_random(type, p.tokens, 3 * HEADS * head_size, 8, 1.5f);
    struct matrix    among = attention_of(&all, &p, forth, SEQUENCES, 0, head_size, causal, hopper);
    struct matrix    turned = attention_of(&all, &p, back, SEQUENCES, 9, head_size, causal, hopper);
    int              row = 0;
    for (int i = 0; i < SEQUENCES; i++) {
        const int     s     = back[i];
        struct matrix alone = attention_of(&all, &p, &s, 1, i * 40, head_size, causal, hopper);
        check(first_difference(&alone, 0, &among, p.starts[s], lengths[s]) < 0,
              "heads of %d: %d rows alone are not what they are in a batch", head_size, lengths[s]);
        check(first_difference(&alone, 0, &turned, row, lengths[s]) < 0,
              "heads of %d: %d rows alone are not what they are in another order", head_size, lengths[s]);
        row += lengths[s];
    }
    /* Every second sequence becomes infinite: the others stay as they were. */
    static const double no_numbers[] = { INFINITY, -INFINITY, NAN };
    for (int s = 0; s < SEQUENCES; s += 2)
        for (int r = p.starts[s]; r < p.starts[s + 1]; r++)
            for (int c = 0; c < all.columns; c++)
                matrix_set(&all, r, c, no_numbers[(r + c) % 3]);
    struct matrix beside = attention_of(&all, &p, forth, SEQUENCES, 0, head_size, causal, hopper);
    for (int s = 1; s < SEQUENCES; s += 2)
        check(first_difference(&beside, p.starts[s], &among, p.starts[s], lengths[s]) < 0,
              "heads of %d: infinities of a neighbour reach %d rows", head_size, lengths[s]);
    memory_free_all();
}

static void attention_same_bits(const char *name, bool hopper)
{
    if (!group_begin(name, !hopper || facts.architecture == 90))
        return;
    for (int causal = 0; causal < 2; causal++) {
        attention_setting(DTYPE_BF16, 64, causal, hopper);
        attention_setting(DTYPE_BF16, 128, causal, hopper);
        if (!options.quick) {
            attention_setting(DTYPE_BF16, hopper ? 80 : 32, causal, hopper);
            attention_setting(DTYPE_BF16, hopper ? 256 : 72, causal, hopper);
        }
    }
    group_end();
}

static void attention_same_bits_f32(void)
{
    if (!group_begin("same_bits_attention_fma", true))
        return;
    attention_setting(DTYPE_F32, 64, true, false);
    if (!options.quick) {
        attention_setting(DTYPE_F32, 64, false, false);
        attention_setting(DTYPE_F32, 128, true, false);
    }
    group_end();
}

/* ---- causality: what a later row holds does not reach an earlier one ---- */

/* What column c of a poisoned row holds. */
static double no_number(int c, bool turned)
{
    const double numbers[] = { INFINITY, -INFINITY, NAN };
    return turned ? -numbers[c % 3] : numbers[c % 3];
}

/* Rows from `place` on see infinities of one sign; from `again` on, where it is inside, of both. `values`: columns of them. */
static bool seen_as_expected(const struct matrix *y, int start, int end, int place, int again, int values)
{
    bool right = true;
    for (int r = place; r < end - start; r++)
        for (int c = 0; c < y->columns; c++) {
            const double actual = matrix_get(y, start + r, c), expected = r < again ? no_number(c % values, false) : NAN;
            right = right && (isnan(expected) ? isnan(actual) : actual == expected);
        }
    return right;
}

/* In each sequence, row `place` and the second after it hold no numbers: in the values, or in the keys. */
static void later_rows(const struct matrix *clean, const struct matrix *among, const struct packing *p, int place, bool keys,
                       int head_size, bool hopper)
{
    static const int order[SEQUENCES] = { 0, 1, 2, 3, 4, 5, 6 };
    struct matrix    all = matrix_new(clean->type, clean->rows, clean->columns, 8);
    const int        kv = kv_heads_of(clean->type) * head_size, first = HEADS * head_size + (keys ? 0 : kv);
    copy_rows(&all, 0, clean, 0, p->tokens);
    for (int s = 0; s < SEQUENCES; s++)
        for (int r = place; r <= place + 2 && p->starts[s] + r < p->starts[s + 1]; r += 2)
            for (int c = 0; c < kv; c++)
                matrix_set(&all, p->starts[s] + r, first + c, no_number(c, r > place));
    const struct matrix y = attention_of(&all, p, order, SEQUENCES, 0, head_size, true, hopper);
    for (int s = 0; s < SEQUENCES; s++) {
        const int start = p->starts[s], length = p->starts[s + 1] - start;
        check(first_difference(&y, start, among, start, length < place ? length : place) < 0,
              "heads of %d: %s of row %d of %d reach an earlier one", head_size, keys ? "keys" : "values", place, length);
        if (!keys)
            check(seen_as_expected(&y, start, start + length, place, place + 2, kv),
                  "heads of %d: values of row %d of %d are not seen by it and later ones", head_size, place, length);
    }
}

static void later_rows_setting(enum dtype type, int head_size, int count, bool hopper)
{
    static const int lengths[SEQUENCES] = { 5, 330, 16, 64, 131, 33, 70 }, order[SEQUENCES] = { 0, 1, 2, 3, 4, 5, 6 };
    static const int places[] = { 15, 64, 129, 1, 2, 16, 30, 47, 63, 65, 127, 128, 191, 192, 255, 256, 328 };
    struct packing   p     = packing_new(lengths, SEQUENCES, 0, 0);
    struct matrix    all   = matrix_random(type, p.tokens, columns_of(type, head_size), 8, 1.5f);
    struct matrix    among = attention_of(&all, &p, order, SEQUENCES, 0, head_size, true, hopper);
    for (int i = 0; i < count && i < (int)(sizeof places / sizeof *places); i++) {
        later_rows(&all, &among, &p, places[i], false, head_size, hopper);
        if (i % 4 == 0)
            later_rows(&all, &among, &p, places[i], true, head_size, hopper);
    }
    memory_free_all();
}

static void later_rows_group(const char *name, bool hopper)
{
    static const int sizes[] = { 256, 80, 32, 72, 96, 128 };
    if (!group_begin(name, !hopper || facts.architecture == 90))
        return;
    later_rows_setting(DTYPE_BF16, 64, options.quick ? 2 : 17, hopper);
    later_rows_setting(DTYPE_F16, 64, 2, hopper);
    for (int i = 0; i < (options.quick ? 1 : 6); i++)
        later_rows_setting(DTYPE_BF16, sizes[i], 2, hopper);
    group_end();
}

static void later_rows_f32(void)
{
    if (!group_begin("later_rows_fma", true))
        return;
    later_rows_setting(DTYPE_F32, 64, options.quick ? 1 : 6, false);
    if (!options.quick)
        later_rows_setting(DTYPE_F32, 33, 2, false);
    group_end();
}

void same_bits_cases(void)
{
    linear_same_bits();
    norm_same_bits();
    attention_same_bits("same_bits_attention_mma", false);
    attention_same_bits("same_bits_attention_wgmma", true);
    attention_same_bits_f32();
    later_rows_f32();
    later_rows_group("later_rows_mma", false);
    later_rows_group("later_rows_wgmma", true);
}
