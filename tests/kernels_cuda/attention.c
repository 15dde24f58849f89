/* Attention: every head size, type and variant, packed sequences of all lengths around the tiles, against double precision. */
#include "kernels/attention/attention_choose.h"
#include "tests/kernels_cuda/harness.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct attention_case {
    struct attention_args   args;
    struct attention_choice choice;
    void                   *schedule;
};

static cudaError_t run_schedule(const struct cuda_launch *launch, void *context)
{
    struct attention_case *c = context;
    return attention_schedule_launch(launch, &c->args, c->schedule, &c->choice);
}

static cudaError_t run_attention(const struct cuda_launch *launch, void *context)
{
    struct attention_case *c = context;
    if (c->choice.variant == ATTENTION_CUDA_WGMMA && launch->longest == ATTENTION_LARGE_FROM)  /* the table knows where it begins */
        return (c->args.type == DTYPE_BF16 ? kernels->attention_bf16 : kernels->attention_f16)(launch, &c->args, c->schedule);
    if (c->choice.variant == ATTENTION_CUDA_FMA)
        return kernels->attention_f32(launch, &c->args, c->schedule);
    return (c->choice.variant == ATTENTION_CUDA_MMA ? attention_mma_launch : attention_sm90_launch)(launch, &c->args, c->schedule,
                                                                                                    &c->choice);
}

struct heads {
    int  heads, kv_heads, size;
    bool causal;
};

static double rounded(bool to_f32, double value) { return to_f32 ? (double)(float)value : value; }

/* One row of one head. `size` gets what a rounding of the weights may amount to: the sum of weight times |value|. Naive: as a kernel
 * of three loops has it, which in f32 rounds every step, one after another, and in bf16 the weights. */
static void attend(const struct matrix *qkv, const struct packing *p, const struct heads *h, int sequence, int row, int head,
                   double *y, double *size, bool naive)
{
    static double weights[4096];
    const int first = p->starts[sequence], last = h->causal ? row + 1 : p->starts[sequence + 1];
    const int k0 = (h->heads + head / (h->heads / h->kv_heads)) * h->size, v0 = k0 + h->kv_heads * h->size;
    const bool in_f32 = naive && qkv->type == DTYPE_F32, in_bf16 = naive && qkv->type == DTYPE_BF16;
    double     most = -INFINITY, sum = 0;
    for (int j = first; j < last; j++) {
        double score = 0;
        for (int i = 0; i < h->size; i++)
            score = rounded(in_f32, score + matrix_get(qkv, row, head * h->size + i) * matrix_get(qkv, j, k0 + i));
        weights[j - first] = rounded(in_f32, score / sqrt(h->size));
        most               = fmax(most, weights[j - first]);
    }
    for (int j = 0; j < last - first; j++) {
        weights[j] = rounded(in_f32, exp(rounded(in_f32, weights[j] - most)));
        sum        = rounded(in_f32, sum + weights[j]);
        if (in_bf16)
            weights[j] = (double)bf16_to_float(bf16_from_float((float)weights[j]));
    }
    for (int i = 0; i < h->size; i++) {
        y[i] = size[i] = 0;
        for (int j = first; j < last; j++) {
            y[i] = rounded(in_f32, y[i] + weights[j - first] * matrix_get(qkv, j, v0 + i));
            size[i] += weights[j - first] / sum * fabs(matrix_get(qkv, j, v0 + i));
        }
        y[i] = rounded(in_f32, y[i] / sum);
    }
}

struct errors {
    double kernel, naive;  /* sums of squares */
};

/* The elements of a few rows of each sequence, all around the edges of tiles. In f32 the chain of a score, whose products here are
 * about 0.75, leaves it off by 0.3 * 2^-24 * sqrt(size) as a rule, and by up to seven times that among so many; each weight is off
 * by the same part of itself. */
static void attention_compare(const struct matrix *qkv, const struct matrix *y, const struct packing *p, const struct heads *h,
                              const char *name)
{
    const enum dtype type      = y->type;
    const bool       has_naive = type != DTYPE_F16;
    const double     chain     = fmax(1e-6, 1.25e-7 * sqrt(h->size));
    const double     step      = type == DTYPE_BF16 ? 1.0 / 256 : type == DTYPE_F16 ? 1.0 / 2048 : chain;
    struct closeness close = { 0 };
    struct errors    errors = { 0, 0 };
    for (int s = 0; s < p->sequences; s++)
        for (int row = p->starts[s]; row < p->starts[s + 1]; row++) {
            const int place = row - p->starts[s], back = p->starts[s + 1] - 1 - row;
            if (place > 2 && back > 2 && place % 64 > 1 && place % 64 < 62 && place % 13 != 0)
                continue;
            for (int head = 0; head < h->heads; head++) {
                double e[256], size[256], naive[256], unused[256];
                attend(qkv, p, h, s, row, head, e, size, false);
                if (has_naive)
                    attend(qkv, p, h, s, row, head, naive, unused, true);
                for (int i = 0; i < h->size; i++) {
                    const double actual = matrix_get(y, row, head * h->size + i);
                    closeness_add(&close, actual, e[i], step * (fabs(e[i]) + size[i]) + 1e-6, row, head * h->size + i);
                    if (!has_naive)
                        continue;
                    const double plain = type == DTYPE_F32 ? naive[i] : (double)bf16_to_float(bf16_from_float((float)naive[i]));
                    errors.kernel += (actual - e[i]) * (actual - e[i]);
                    errors.naive += (plain - e[i]) * (plain - e[i]);
                }
            }
        }
    check_close(&close, "%s, heads of %d%s", name, h->size, h->causal ? ", causal" : "");
    if (has_naive)  /* of bf16 that of weights and results rounded once, of f32 that of every step */
        check(sqrt(errors.kernel) <= 2 * sqrt(errors.naive) + 1e-6, "%s, heads of %d: the error is %.3g times the naive one", name,
              h->size, sqrt(errors.kernel / errors.naive));
}

/* Columns from `first` on as a matrix of its own; what lies between its rows is no number. */
static struct matrix columns_of(const struct matrix *all, int first, int columns, int gap)
{
    struct matrix part = matrix_new(all->type, all->rows, columns, gap);
    const size_t  element = (size_t)dtype_bits(all->type) / 8;
    for (int row = 0; row < all->rows; row++)
        memcpy(part.host + part.stride * (size_t)row, all->host + all->stride * (size_t)row + element * (size_t)first,
               element * (size_t)columns);
    matrix_fill_gaps(&part);
    matrix_upload(&part);
    return part;
}

/* Queries, keys and values lie apart, each with a stride of its own; side by side they are in same_bits.c. */
static struct attention_case case_of(const struct matrix *qkv, const struct matrix *y, const struct packing *p,
                                     const struct heads *h)
{
    const int             width = h->heads * h->size, kv_width = h->kv_heads * h->size;
    const struct matrix   q = columns_of(qkv, 0, width, 8), k = columns_of(qkv, width, kv_width, 24);
    const struct matrix   v = columns_of(qkv, width + kv_width, kv_width, 40);
    struct attention_case c = { .args = { .q = q.device, .k = k.device, .v = v.device, .q_stride = q.stride,
                                          .k_stride = k.stride, .v_stride = v.stride, .type = qkv->type,
                                          .heads = h->heads, .kv_heads = h->kv_heads, .head_size = h->size,
                                          .scale = 1.0f / sqrtf((float)h->size), .causal = h->causal, .starts = p->device_starts,
                                          .y = y->device, .y_stride = y->stride, .y_type = y->type } };
    c.schedule = device_bytes(attention_schedule_bytes(p->token_cap, p->sequence_cap));
    return c;
}

static void attention_case(enum attention_cuda_variant variant, enum dtype type, const int *lengths, int count, struct heads h)
{
    static const char *const names[] = { "fma", "mma", "wgmma" };
    struct packing           p       = packing_new(lengths, count, 5, 2);
    struct matrix            qkv = matrix_random(type, p.token_cap, (h.heads + 2 * h.kv_heads) * h.size, 8, 1.5f);
    struct matrix            y   = matrix_new(type, p.token_cap, h.heads * h.size, 8);
    matrix_fill_rows(&qkv, p.tokens, NAN);
    matrix_upload(&qkv);
    struct attention_case c      = case_of(&qkv, &y, &p, &h);
    struct cuda_launch    launch = launch_of(&p, CUDA_ROWS_TOKENS);
    c.choice                     = attention_cuda_choose(variant == ATTENTION_CUDA_WGMMA ? &facts : &facts_80, &c.args);
    check(c.choice.variant == variant, "heads of %d run in %s, expected %s", h.size, names[c.choice.variant], names[variant]);
    for (int i = 0; i < schedule_count(); i++) {
        schedule_take(i);
        matrix_poison(&y);
        if (!launch_run(&launch, run_schedule, &c, "schedule") || !launch_run(&launch, run_attention, &c, names[variant]))
            return;
        matrix_download(&y);
        attention_compare(&qkv, &y, &p, &h, names[variant]);
        check(matrix_intact(&y), "%s, heads of %d: wrote beside the rows", names[variant], h.size);
        bool untouched = true;
        for (int r = p.tokens; r < p.token_cap; r++)
            for (int column = 0; column < y.columns; column++)
                untouched = untouched && isnan(matrix_get(&y, r, column));
        check(untouched, "%s, heads of %d: wrote rows of no sequence", names[variant], h.size);
    }
    memory_free_all();
}

static const int mixed[]  = { 1, 31, 32, 33, 63, 16, 15, 17, 64, 2, 65, 48, 127, 128, 5, 53 };
static const int longer[] = { 129, 20, 200, 257 };
#define COUNT(list) ((int)(sizeof(list) / sizeof *(list)))

static void mma_group(enum dtype type, const char *name)
{
    static const int sizes[] = { 32, 64, 72, 80, 96, 128, 256, 8, 40 };
    if (!group_begin(name, true))
        return;
    for (int i = 0; i < COUNT(sizes); i++) {
        const int count = sizes[i] > 96 || options.quick ? 11 : COUNT(mixed);
        attention_case(ATTENTION_CUDA_MMA, type, mixed, count, (struct heads){ 1, 1, sizes[i], false });
        attention_case(ATTENTION_CUDA_MMA, type, mixed + 8, 5, (struct heads){ 2, 1, sizes[i], true });
    }
    attention_case(ATTENTION_CUDA_MMA, type, longer, 3, (struct heads){ 2, 2, 64, false });
    attention_case(ATTENTION_CUDA_MMA, type, longer, 3, (struct heads){ 4, 2, 64, true });
    group_end();
}

static void fma_refusals(void)
{
    static const int      lengths[] = { 20 };
    const struct packing  p         = packing_new(lengths, 1, 0, 0);
    const struct heads    h         = { 2, 2, 32, false };
    const struct matrix   qkv = matrix_random(DTYPE_F32, 20, 192, 0, 1), y = matrix_new(DTYPE_F32, 20, 64, 0);
    struct attention_case good = case_of(&qkv, &y, &p, &h), bad = good;
    struct cuda_launch    launch = launch_of(&p, CUDA_ROWS_TOKENS);
    check(kernels->attention_f32(&launch, &good.args, NULL) == cudaErrorInvalidValue, "no schedule");
    bad.args.k = qkv.device + 2;
    check(kernels->attention_f32(&launch, &bad.args, good.schedule) == cudaErrorInvalidValue, "keys not aligned to 4 bytes");
    bad           = good;
    bad.args.type = DTYPE_BF16;
    check(kernels->attention_f32(&launch, &bad.args, good.schedule) == cudaErrorNotSupported, "queries in bf16");
    bad             = good;
    bad.args.y_type = DTYPE_BF16;
    check(kernels->attention_f32(&launch, &bad.args, good.schedule) == cudaErrorNotSupported, "results in bf16");
    bad                = good;
    bad.args.head_size = 264;
    check(kernels->attention_f32(&launch, &bad.args, good.schedule) == cudaErrorNotSupported, "heads of more than 256");
    memory_free_all();
}

static void fma_group(void)
{
    static const int sizes[] = { 32, 64, 72, 96, 128, 256, 8, 160 };
    if (!group_begin("attention_f32_fma", true))
        return;
    for (int i = 0; i < COUNT(sizes); i++) {
        const int count = sizes[i] > 96 || options.quick ? 6 : COUNT(mixed);
        attention_case(ATTENTION_CUDA_FMA, DTYPE_F32, mixed, count, (struct heads){ 1, 1, sizes[i], false });
        attention_case(ATTENTION_CUDA_FMA, DTYPE_F32, mixed + 8, 5, (struct heads){ 2, 1, sizes[i], true });
    }
    attention_case(ATTENTION_CUDA_FMA, DTYPE_F32, longer, 3, (struct heads){ 2, 2, 64, false });
    attention_case(ATTENTION_CUDA_FMA, DTYPE_F32, longer, 3, (struct heads){ 4, 2, 64, true });
    attention_case(ATTENTION_CUDA_FMA, DTYPE_F32, mixed + 8, 6, (struct heads){ 2, 2, 33, true });  /* no row is aligned */
    attention_case(ATTENTION_CUDA_FMA, DTYPE_F32, longer, 1, (struct heads){ 1, 1, 6, false });
    fma_refusals();
    group_end();
}

static void wgmma_group(enum dtype type, const char *name)
{
    static const int lengths[] = { 129, 191, 1, 192, 193, 256, 30, 255, 64 }, long_ones[] = { 385, 40, 641 };
    static const int padded[] = { 8, 32, 40, 72, 80, 96, 160, 256 };
    if (!group_begin(name, facts.architecture == 90))
        return;
    for (int i = 0; i < COUNT(padded); i++) {
        attention_case(ATTENTION_CUDA_WGMMA, type, lengths, options.quick ? 1 : 3, (struct heads){ 2, 1, padded[i], false });
        attention_case(ATTENTION_CUDA_WGMMA, type, lengths + 3, 2, (struct heads){ 1, 1, padded[i], true });
    }
    for (int size = 64; size <= 128; size *= 2) {
        attention_case(ATTENTION_CUDA_WGMMA, type, lengths, 4, (struct heads){ 2, 1, size, false });
        attention_case(ATTENTION_CUDA_WGMMA, type, lengths + 3, options.quick ? 3 : 6, (struct heads){ 1, 1, size, true });
        attention_case(ATTENTION_CUDA_WGMMA, type, long_ones, options.quick ? 2 : 3, (struct heads){ 2, 2, size, false });
        attention_case(ATTENTION_CUDA_WGMMA, type, long_ones, options.quick ? 1 : 3, (struct heads){ 2, 1, size, true });
        attention_case(ATTENTION_CUDA_WGMMA, type, mixed, 5, (struct heads){ 1, 1, size, false });  /* no large tile at all */
        attention_case(ATTENTION_CUDA_WGMMA, type, lengths, 1, (struct heads){ 3, 1, size, false });  /* no small one */
    }
    group_end();
}

static void expect_choice(int architecture, enum dtype type, int head_size, struct attention_choice expected)
{
    const struct cuda_facts       device = { .architecture = architecture, .processors = 132, .encode_tensor_map = &facts };
    const struct attention_args   args   = { .type = type, .head_size = head_size };
    const struct attention_choice choice = attention_cuda_choose(&device, &args);
    check(choice.variant == expected.variant && choice.head == expected.head && choice.large_rows == expected.large_rows,
          "sm_%d, heads of %d: variant %d for heads of %d in tiles of %d, expected %d, %d, %d", architecture, head_size,
          choice.variant, choice.head, choice.large_rows, expected.variant, expected.head, expected.large_rows);
}

static void attention_choices(void)
{
    static const int sizes[][2] = { { 8, 32 }, { 32, 32 }, { 40, 64 }, { 64, 64 }, { 72, 80 }, { 80, 80 }, { 88, 96 }, { 96, 96 },
                                    { 104, 128 }, { 128, 128 }, { 136, 256 }, { 256, 256 } };
    if (!group_begin("choosers_attention", true))
        return;
    for (int i = 0; i < COUNT(sizes); i++) {
        const int size = sizes[i][0], head = sizes[i][1], rows = head <= 64 ? 192 : 128;
        expect_choice(90, DTYPE_BF16, size, (struct attention_choice){ ATTENTION_CUDA_WGMMA, head, rows });
        expect_choice(90, DTYPE_F16, size, (struct attention_choice){ ATTENTION_CUDA_WGMMA, head, rows });
        expect_choice(80, DTYPE_BF16, size, (struct attention_choice){ ATTENTION_CUDA_MMA, head, 0 });
        expect_choice(100, DTYPE_BF16, size, (struct attention_choice){ ATTENTION_CUDA_MMA, head, 0 });
    }
    group_end();
}

/* What the table refuses. */
static void attention_refusals(void)
{
    static const struct {
        size_t      offset;  /* of the member that changes */
        int         value;
        cudaError_t expected;
        const char *what;
    } changes[] = {
        { offsetof(struct attention_args, heads), 3, cudaErrorInvalidValue, "3 heads for 2 of keys" },
        { offsetof(struct attention_args, kv_heads), 0, cudaErrorInvalidValue, "no heads of keys" },
        { offsetof(struct attention_args, head_size), 36, cudaErrorNotSupported, "heads that are no multiple of 8" },
        { offsetof(struct attention_args, head_size), 264, cudaErrorNotSupported, "heads of more than 256" },
        { offsetof(struct attention_args, type), DTYPE_F32, cudaErrorNotSupported, "queries in f32" },
        { offsetof(struct attention_args, y_type), DTYPE_F32, cudaErrorNotSupported, "results in f32" },
    };
    if (!group_begin("attention_refusals", true))
        return;
    static const int      lengths[] = { 129 };
    const struct heads    h = { 4, 2, 64, false };
    const struct packing  p = packing_new(lengths, 1, 0, 0);
    const struct matrix   qkv = matrix_random(DTYPE_BF16, 129, 512, 0, 1), y = matrix_new(DTYPE_BF16, 129, 256, 0);
    struct attention_case good = case_of(&qkv, &y, &p, &h), bad;
    struct cuda_launch    launch = launch_of(&p, CUDA_ROWS_TOKENS);
    check(kernels->attention_schedule(&launch, &good.args, good.schedule) == cudaSuccess &&
              kernels->attention_bf16(&launch, &good.args, good.schedule) == cudaSuccess,
          "a good call was refused");
    for (int i = 0; i < COUNT(changes); i++) {
        bad = good;
        memcpy((char *)&bad.args + changes[i].offset, &changes[i].value, sizeof changes[i].value);
        check(kernels->attention_bf16(&launch, &bad.args, bad.schedule) == changes[i].expected, "%s", changes[i].what);
    }
    bad        = good;
    bad.args.k = qkv.device + 8;
    check(kernels->attention_bf16(&launch, &bad.args, bad.schedule) == cudaErrorInvalidValue, "keys not aligned to 16 bytes");
    bad               = good;
    bad.args.y_stride = y.stride + 8;
    check(kernels->attention_bf16(&launch, &bad.args, bad.schedule) == cudaErrorInvalidValue, "rows of y not aligned to 16 bytes");
    check(kernels->attention_bf16(&launch, &good.args, NULL) == cudaErrorInvalidValue, "no schedule");
    check(kernels->attention_f16(&launch, &good.args, good.schedule) == cudaErrorNotSupported, "bf16 for the kernel of fp16");
    check(cudaDeviceSynchronize() == cudaSuccess, "the device is well");
    group_end();
}

void attention_cases(void)
{
    attention_choices();
    attention_refusals();
    fma_group();
    mma_group(DTYPE_BF16, "attention_bf16_mma");
    mma_group(DTYPE_F16, "attention_f16_mma");
    wgmma_group(DTYPE_BF16, "attention_bf16_wgmma");
    wgmma_group(DTYPE_F16, "attention_f16_wgmma");
}

/* ---- the schedule itself ---- */

enum { WORDS_SMALL = 16, WORDS_LARGE = 4, WORDS_HEAD = 8 };

/* How many tiles sequences of these lengths fill: of up to 16 rows four share one, of up to 32 two. */
static void tiles_expected(const int *lengths, int count, int large_rows, int *small, int *large)
{
    int halves = 0, quarters = 0;
    *small = *large = 0;
    for (int i = 0; i < count; i++) {
        const bool is_large = large_rows && lengths[i] >= ATTENTION_LARGE_FROM;
        *large += is_large ? (lengths[i] + large_rows - 1) / large_rows : 0;
        *small += is_large || lengths[i] <= 32 ? 0 : (lengths[i] + 63) / 64;
        halves += lengths[i] > 16 && lengths[i] <= 32;
        quarters += lengths[i] <= 16;
    }
    *small += (halves + 1) / 2 + (quarters + 3) / 4;
}

/* Every row of every sequence lies in exactly one strip or large tile, and short sequences lie whole in one tile. */
static void schedule_case(const int *lengths, int count, int spare, int large_rows)
{
    struct packing        p      = packing_new(lengths, count, spare, 3);
    struct cuda_launch    launch = launch_of(&p, CUDA_ROWS_TOKENS);
    const size_t          bytes  = attention_schedule_bytes(p.token_cap, p.sequence_cap);
    struct attention_case c      = { .args = { .starts = p.device_starts }, .choice = { ATTENTION_CUDA_MMA, 64, large_rows },
                                     .schedule = device_bytes(bytes) };
    int32_t *words = malloc(bytes), *covered = calloc((size_t)p.tokens, sizeof *covered);
    for (int i = 0; words && covered && i < schedule_count(); i++) {
        schedule_take(i);
        for (size_t w = 0; w < bytes / sizeof *words; w++)
            words[w] = 1;  /* what is left of an earlier schedule: one row in every strip */
        if (cudaMemcpy(c.schedule, words, bytes, cudaMemcpyHostToDevice) != cudaSuccess ||
            !launch_run(&launch, run_schedule, &c, "schedule") ||
            cudaMemcpy(words, c.schedule, bytes, cudaMemcpyDeviceToHost) != cudaSuccess)
            break;
        memset(covered, 0, (size_t)p.tokens * sizeof *covered);
        const int small = words[0], large = words[1], room = words[2];
        int       wrong = 0, small_expected, large_expected;
        tiles_expected(lengths, count, large_rows, &small_expected, &large_expected);
        check(small == small_expected && large == large_expected, "%d sequences: %d small and %d large tiles, expected %d and %d",
              count, small, large, small_expected, large_expected);
        check(small <= room && large <= room, "%d small and %d large tiles in a room for %d", small, large, room);
        for (int t = 0; t < small * 4; t++) {
            const int32_t *strip = words + WORDS_HEAD + 4 * t;
            wrong += strip[1] < 0 || strip[1] > 16;
            for (int r = 0; r < strip[1]; r++)
                covered[strip[0] + r]++;
            wrong += strip[1] > 0 && (strip[0] < strip[2] || strip[0] + strip[1] > strip[2] + strip[3]);
            wrong += strip[1] > 0 && large_rows && strip[3] >= ATTENTION_LARGE_FROM;
            wrong += strip[1] > 0 && strip[3] <= 64 && (strip[0] - strip[2]) / 16 > t % 4;  /* its first row is in this tile */
        }
        for (int t = 0; t < large; t++) {
            const int32_t *tile = words + WORDS_HEAD + WORDS_SMALL * room + WORDS_LARGE * t;
            for (int r = tile[0]; r < tile[1] + tile[2] && r < tile[0] + large_rows; r++)
                covered[r]++;
        }
        for (int r = 0; r < p.tokens; r++)
            wrong += covered[r] != 1;
        check(wrong == 0, "%d sequences: %d rows or strips are wrong", count, wrong);
    }
    free(words);
    free(covered);
}

void schedule_cases(void)
{
    static const int ones[] = { 1 }, quarters[] = { 3, 16, 1, 9, 2 }, halves[] = { 17, 32, 20 };
    if (!group_begin("attention_schedule", true))
        return;
    for (int large_rows = 0; large_rows <= 192; large_rows += 64) {
        schedule_case(ones, 1, 0, large_rows);
        schedule_case(quarters, 5, 0, large_rows);
        schedule_case(halves, 3, 0, large_rows);
        schedule_case(mixed, COUNT(mixed), 7, large_rows);
        schedule_case(longer, COUNT(longer), 0, large_rows);
        memory_free_all();
    }
    int many[700];
    for (int i = 0; i < 700; i++)
        many[i] = random_int(1, i < 60 ? 300 : 80);
    schedule_case(many, 60, 0, 192);
    schedule_case(many, 60, 0, 0);
    schedule_case(many, 700, 0, 192);  /* more than the schedule has threads, and no multiple of them */
    for (int i = 0; i < 100; i++)
        many[i] = 130 + i;
    schedule_case(many, 100, 0, 64);  /* so many large tiles too */
    group_end();
}
