/* The attention kernels: every instruction set equals the reference bit for bit; the reference is as near to double precision
 * as a naive version of the same precision; and nothing outside a query's own keys is ever used. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "kernels/attention/attention.h"
#include "kernels/bf16.h"
#include "kernels/kernels.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { GAP = 8, MOST_SEQUENCES = 8, SENTINEL = 0x5a };

/* A packed batch: q, k and v beside each other in one row, a gap after each row, rows of poison around every sequence. */
struct batch {
    struct attention_args args;
    int                   sequences, rows;
    size_t                bytes, stride;  /* of an element; elements of a row */
    int32_t               starts[MOST_SEQUENCES + 1];
    char                 *memory;
};

/* The kinds of kernel; the last reads f32 and is never causal. */
enum kind { F32, BF16, S16, KINDS };

static enum dtype type_of(enum kind kind) { return kind == BF16 ? DTYPE_BF16 : DTYPE_F32; }

static attention_kernel *kernel_of(const struct kernels *set, enum kind kind)
{
    return kind == F32 ? set->attention_f32 : kind == BF16 ? set->attention_bf16 : set->attention_s16;
}

struct shape {
    int  heads, kv_heads, head_size;
    bool causal;
    int  lengths[MOST_SEQUENCES];  /* up to a zero */
};

static uint32_t random_state;

static float random_value(void)
{
    float sum = 0.0f;
    for (int i = 0; i < 4; i++) {
        random_state = random_state * 1664525u + 1013904223u;
        sum += (float)(random_state >> 8) / 16777216.0f - 0.5f;
    }
    return 2.0f * sum;
}

static bool is_bf16(const struct batch *b) { return b->args.type == DTYPE_BF16; }

static void put(const struct batch *b, size_t row, size_t element, float value)
{
    char *at = b->memory + (row * b->stride + element) * b->bytes;
    if (is_bf16(b)) {
        uint16_t half = isnan(value) ? 0x7fc0 : bf16_from_float(value);
        memcpy(at, &half, 2);
    } else {
        memcpy(at, &value, 4);
    }
}

static float get(const struct batch *b, const void *base, int row, int element)
{
    const char *at = (const char *)base + ((size_t)row * b->stride + (size_t)element) * b->bytes;
    uint16_t    half;
    float       value;
    if (is_bf16(b)) {
        memcpy(&half, at, 2);
        return bf16_to_float(half);
    }
    memcpy(&value, at, 4);
    return value;
}

static size_t used_width(const struct shape *s) { return (size_t)(s->heads + 2 * s->kv_heads) * (size_t)s->head_size; }

static void fill(struct batch *b, const struct shape *s)
{
    for (size_t row = 0; row < (size_t)b->rows + 2; row++)
        for (size_t i = 0; i < b->stride; i++)
            put(b, row, i, row == 0 || row > (size_t)b->rows || i >= used_width(s) ? (i % 2 ? NAN : INFINITY) : random_value());
}

static struct batch batch_new(const struct shape *s, enum dtype type)
{
    struct batch b = { .bytes = (size_t)dtype_bits(type) / 8, .stride = used_width(s) + GAP };
    while (b.sequences < MOST_SEQUENCES && s->lengths[b.sequences] > 0) {
        b.starts[b.sequences + 1] = b.starts[b.sequences] + s->lengths[b.sequences];
        b.sequences++;
    }
    b.rows   = b.starts[b.sequences];
    b.memory = malloc(((size_t)b.rows + 2) * b.stride * b.bytes);
    assert_non_null(b.memory);
    b.args = (struct attention_args){ .type = type, .heads = s->heads, .kv_heads = s->kv_heads, .head_size = s->head_size,
                                      .scale = 1.0f / sqrtf((float)s->head_size), .causal = s->causal, .y_type = type,
                                      .q_stride = b.stride * b.bytes, .k_stride = b.stride * b.bytes,
                                      .v_stride = b.stride * b.bytes };
    char *first = b.memory + b.stride * b.bytes;
    b.args.q    = first;
    b.args.k    = first + (size_t)(s->heads * s->head_size) * b.bytes;
    b.args.v    = first + (size_t)((s->heads + s->kv_heads) * s->head_size) * b.bytes;
    fill(&b, s);
    return b;
}

static size_t output_stride(const struct batch *b) { return (size_t)(b->args.heads * b->args.head_size + GAP) * 4; }

/* Runs a kernel over the whole batch, heads in two ranges; the caller frees the output. */
static char *run(struct batch *b, attention_kernel *kernel, enum dtype y_type)
{
    const size_t size = output_stride(b) * (size_t)b->rows;
    int          longest = 0;
    for (int i = 0; i < b->sequences; i++)
        longest = b->starts[i + 1] - b->starts[i] > longest ? b->starts[i + 1] - b->starts[i] : longest;
    const size_t bytes = attention_scratch_bytes(b->args.head_size, longest), padded = (bytes + 63) / 64 * 64 + 64;
    char        *y = malloc(size), *scratch = aligned_alloc(64, padded);
    assert_non_null(y);
    assert_non_null(scratch);
    memset(y, SENTINEL, size);
    memset(scratch, 0xff, padded);  /* NaN everywhere: nothing may be taken from it that was not put there */
    b->args.y        = y;
    b->args.y_stride = output_stride(b);
    b->args.y_type   = y_type;
    b->args.starts   = b->starts;
    for (int i = 0; i < b->sequences; i++) {
        kernel(&b->args, i, 0, b->args.heads / 2, scratch);
        kernel(&b->args, i, b->args.heads / 2, b->args.heads, scratch);
    }
    for (size_t i = bytes; i < padded; i++)
        assert_int_equal((unsigned char)scratch[i], 0xff);
    free(scratch);
    return y;
}

static float output(const struct batch *b, const char *y, int row, int element)
{
    const char *at = y + output_stride(b) * (size_t)row;
    uint16_t    half;
    float       value;
    memcpy(&half, at + 2 * (size_t)element, 2);
    memcpy(&value, at + 4 * (size_t)element, sizeof value * (size_t)(b->args.y_type == DTYPE_F32));
    return b->args.y_type == DTYPE_BF16 ? bf16_to_float(half) : value;
}

static float near(float value) { return bf16_to_float(bf16_from_float(value)); }

/* One output row in double precision and, as a yardstick, naively in f32, `rounded` to bf16 what is multiplied. */
static void naive(const struct batch *b, int sequence, int row, int head, double *exact, float *plain, bool rounded)
{
    const struct attention_args *a = &b->args;
    const int first = b->starts[sequence], end = a->causal ? row + 1 : b->starts[sequence + 1], d = a->head_size;
    const int kv = head / (a->heads / a->kv_heads), keys = end - first;
    double   *weights = malloc(sizeof *weights * (size_t)keys), sum = 0.0, most = -1e300;
    float    *rough = malloc(sizeof *rough * (size_t)keys), rough_sum = 0.0f, rough_most = -1e30f;
    for (int j = 0; j < keys; j++) {
        weights[j] = rough[j] = 0.0f;
        for (int i = 0; i < d; i++) {
            float q = get(b, a->q, row, head * d + i), k = get(b, a->k, first + j, kv * d + i);
            weights[j] += (double)q * (double)k;
            rough[j] += rounded ? near(q) * near(k) : q * k;
        }
        weights[j] *= (double)a->scale;
        rough[j] *= a->scale;
        most       = fmax(most, weights[j]);
        rough_most = fmaxf(rough_most, rough[j]);
    }
    for (int j = 0; j < keys; j++) {
        sum += weights[j] = exp(weights[j] - most);
        rough_sum += rough[j] = expf(rough[j] - rough_most);
    }
    for (int i = 0; i < d; i++)
        exact[i] = plain[i] = 0.0f;
    for (int j = 0; j < keys; j++) {
        float weight = rough[j] / rough_sum;
        weight       = rounded ? near(weight) : weight;
        for (int i = 0; i < d; i++) {
            float v = get(b, a->v, first + j, kv * d + i);
            exact[i] += weights[j] / sum * (double)v;
            plain[i] += weight * (rounded ? near(v) : v);
        }
    }
    free(rough);
    free(weights);
}

/* At most twice the naive error, in the mean square and at the worst element. NaN fails. The integers of 12 bits and more
 * are measured against the naive version with q, k, v and weights in bf16, whose steps are of 8 bits. */
static void check_accuracy(struct batch *b, attention_kernel *kernel, enum kind kind)
{
    char  *y = run(b, kernel, DTYPE_F32);
    double exact[ATTENTION_MOST_HEAD], squares[2] = { 0 }, worst[2] = { 0 };
    float  plain[ATTENTION_MOST_HEAD];
    for (int s = 0; s < b->sequences; s++)
        for (int row = b->starts[s]; row < b->starts[s + 1]; row++)
            for (int head = 0; head < b->args.heads; head++) {
                naive(b, s, row, head, exact, plain, kind != F32);
                for (int i = 0; i < b->args.head_size; i++) {
                    float  value     = output(b, y, row, head * b->args.head_size + i);
                    double errors[2] = { fabs((double)value - exact[i]), fabs((double)plain[i] - exact[i]) };
                    assert_true(value == value);
                    for (int e = 0; e < 2; e++) {
                        squares[e] += errors[e] * errors[e];
                        worst[e] = fmax(worst[e], errors[e]);
                    }
                }
            }
    if (!(sqrt(squares[0]) <= 2.0 * sqrt(squares[1])) || !(worst[0] <= 2.0 * worst[1] + 1e-6))
        fail_msg("rms error %g, naive %g; worst %g, naive %g", sqrt(squares[0]), sqrt(squares[1]), worst[0], worst[1]);
    free(y);
}

/* The sets of this build that this machine can run. */
static int runnable(const struct kernels *sets[8])
{
    int built, count = 0;
    const struct kernels *const *all = kernels_built(&built);
    for (int i = 0; i < built; i++)
        if (kernels_runnable(all[i]) && count < 8)
            sets[count++] = all[i];
    return count;
}

static void check_same(struct batch *b, const struct shape *s, enum kind kind, bool causal)
{
    const struct kernels *sets[8];
    const int             built = runnable(sets);
    b->args.causal = causal;
    for (int type = 0; type < 2; type++) {
        enum dtype y_type   = type == 0 ? DTYPE_F32 : DTYPE_BF16;
        char      *expected = run(b, kernel_of(&kernels_ref, kind), y_type);
        for (int i = 0; i < built; i++) {
            char *y = run(b, kernel_of(sets[i], kind), y_type);
            if (memcmp(y, expected, output_stride(b) * (size_t)b->rows) != 0)
                fail_msg("%s, kind %d, y %s: %d heads (%d) of %d, causal %d, first length %d: other bits than the reference",
                         sets[i]->name, (int)kind, dtype_name(y_type), s->heads, s->kv_heads, s->head_size, causal, s->lengths[0]);
            free(y);
        }
        free(expected);
    }
}

static const struct shape shapes[] = {
    { 2, 2, 32, false, { 1, 15, 16, 17, 31, 32, 33 } },
    { 2, 1, 64, false, { 127, 2, 128, 129, 3 } },
    { 2, 2, 32, false, { 255, 1, 256, 257 } },
    { 1, 1, 32, false, { 513, 7 } },
    { 4, 2, 48, false, { 97, 13, 61 } },
    { 3, 1, 72, false, { 41, 1, 270 } },
    { 2, 2, 80, false, { 53, 30 } },
    { 2, 1, 96, false, { 19, 101 } },
    { 1, 1, 128, false, { 67, 259 } },
    { 2, 2, 256, false, { 29, 14 } },
    { 1, 1, 8, false, { 5, 300, 28 } },
    { 1, 1, 24, false, { 12, 43 } },
    { 1, 1, 16, false, { 773 } },
};
enum { SHAPES = sizeof shapes / sizeof *shapes };

static void test_instruction_sets_agree(void **state)
{
    (void)state;
    for (int i = 0; i < SHAPES; i++)
        for (enum kind kind = F32; kind < KINDS; kind++) {
            struct batch b = batch_new(&shapes[i], type_of(kind));
            check_same(&b, &shapes[i], kind, false);
            if (kind != S16)
                check_same(&b, &shapes[i], kind, true);
            free(b.memory);
        }
}

static void test_accuracy(void **state)
{
    (void)state;
    const struct kernels *sets[8];
    const struct kernels *best = sets[runnable(sets) - 1];  /* all have the same bits, the last one is fast */
    for (int i = 0; i < SHAPES; i++)
        for (enum kind kind = F32; kind < KINDS; kind++) {
            struct batch b = batch_new(&shapes[i], type_of(kind));
            for (int causal = 0; causal < (kind == S16 ? 1 : 2); causal++) {
                b.args.causal = causal;
                check_accuracy(&b, kernel_of(best, kind), kind);
            }
            free(b.memory);
        }
}

/* Large scores: softmax is nearly one key, and the maximum moves from tile to tile. Not so large that weights times values
 * become denormal numbers, which hardware takes for zero in bf16. */
static void test_large_scores(void **state)
{
    (void)state;
    const struct shape shape = { 2, 1, 32, false, { 520, 40 } };
    for (enum kind kind = F32; kind < KINDS; kind++) {
        struct batch b = batch_new(&shape, type_of(kind));
        b.args.scale   = 2.0f;
        check_same(&b, &shape, kind, false);
        if (kind != S16) {
            check_accuracy(&b, kernel_of(&kernels_ref, kind), kind);
            check_same(&b, &shape, kind, true);
        }
        free(b.memory);
    }
}

/* Poison in keys and values after a query's row must not reach it when causal. */
static void test_causal_sees_no_later_key(void **state)
{
    (void)state;
    const struct kernels *sets[8];
    const int             built = runnable(sets);
    static const int rows[] = { 1, 13, 255, 257 };
    const struct shape shape = { 1, 1, 24, true, { 300 } };
    for (enum kind kind = F32; kind < S16; kind++)
        for (int set = 0; set < built; set++)
            for (size_t r = 0; r < sizeof rows / sizeof *rows; r++) {
                struct batch      b      = batch_new(&shape, type_of(kind));
                attention_kernel *kernel = kernel_of(sets[set], kind);
                char             *before = run(&b, kernel, DTYPE_F32);
                for (size_t row = (size_t)rows[r] + 1; row <= 300; row++)
                    for (size_t i = 0; i < b.stride; i++)
                        put(&b, row, i, i % 3 ? NAN : -INFINITY);
                char *after = run(&b, kernel, DTYPE_F32);
                assert_memory_equal(before, after, output_stride(&b) * (size_t)rows[r]);
                free(after);
                free(before);
                free(b.memory);
            }
}

/* Other neighbours, the same bits: each sequence alone and in two orders; neighbours hold infinities and NaN. */
static void test_neighbours_do_not_matter(void **state)
{
    (void)state;
    const struct kernels *sets[8];
    const int             built = runnable(sets);
    const struct shape shape = { 1, 1, 32, false, { 17, 1, 45, 258, 16 } };
    for (enum kind kind = F32; kind < KINDS; kind++)
        for (int set = 0; set < built; set++)
            for (int s = 0; s < 5; s++) {
                struct batch      b      = batch_new(&shape, type_of(kind));
                attention_kernel *kernel = kernel_of(sets[set], kind);
                char             *before = run(&b, kernel, DTYPE_F32);
                for (size_t row = 0; row < (size_t)b.rows; row++)
                    if (row < (size_t)b.starts[s] || row >= (size_t)b.starts[s + 1])
                        for (size_t i = 0; i < b.stride; i++)
                            put(&b, row + 1, i, i % 3 ? INFINITY : NAN);
                char *after = run(&b, kernel, DTYPE_F32);
                assert_memory_equal(before + output_stride(&b) * (size_t)b.starts[s],
                                    after + output_stride(&b) * (size_t)b.starts[s],
                                    output_stride(&b) * (size_t)(b.starts[s + 1] - b.starts[s]));
                free(after);
                free(before);
                free(b.memory);
            }
}

/* The same sequences in another order: rows are copied, results must move with them. */
static void test_order_of_batch(void **state)
{
    (void)state;
    const struct kernels *sets[8];
    const int             built = runnable(sets);
    const struct shape shape = { 2, 2, 64, false, { 33, 5, 130 } }, turned = { 2, 2, 64, false, { 130, 5, 33 } };
    for (enum kind kind = F32; kind < KINDS; kind++)
        for (int set = 0; set < built; set++) {
            struct batch      a = batch_new(&shape, type_of(kind));
            struct batch      b = batch_new(&turned, type_of(kind));
            attention_kernel *kernel = kernel_of(sets[set], kind);
            const size_t      row = a.stride * a.bytes, y_row = output_stride(&a);
            for (int s = 0; s < 3; s++)
                memcpy(b.memory + row * (size_t)(b.starts[s] + 1), a.memory + row * (size_t)(a.starts[2 - s] + 1),
                       row * (size_t)shape.lengths[2 - s]);
            char *y = run(&a, kernel, DTYPE_F32), *z = run(&b, kernel, DTYPE_F32);
            for (int s = 0; s < 3; s++)
                assert_memory_equal(z + y_row * (size_t)b.starts[s], y + y_row * (size_t)a.starts[2 - s],
                                    y_row * (size_t)shape.lengths[2 - s]);
            free(y);
            free(z);
            free(a.memory);
            free(b.memory);
        }
}

static void test_scratch_is_bounded(void **state)
{
    (void)state;
    assert_int_equal(attention_scratch_bytes(64, 600), attention_scratch_bytes(64, 100000));
    assert_true(attention_scratch_bytes(64, 16) < 64 << 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_instruction_sets_agree), cmocka_unit_test(test_accuracy),
        cmocka_unit_test(test_large_scores),           cmocka_unit_test(test_causal_sees_no_later_key),
        cmocka_unit_test(test_neighbours_do_not_matter), cmocka_unit_test(test_order_of_batch),
        cmocka_unit_test(test_scratch_is_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
