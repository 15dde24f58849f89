/* attention_f32, attention_bf16 and attention_s16 against the references, byte for byte. */
#include "kernels/bf16.h"
#include "tests/kernels/harness.h"

#include <math.h>
#include <string.h>

static struct matrix random_heads(int rows, int width, enum dtype type)
{
    struct matrix floats = matrix_random(rows, width, 0);
    if (type == DTYPE_F32)
        return floats;
    struct matrix halves = matrix_new(rows, width, 2, random_int(0, 2) * 2);
    for (int row = 0; row < rows; row++)
        for (int i = 0; i < width; i++)
            ((uint16_t *)matrix_row(&halves, row))[i] = bf16_from_float(((float *)matrix_row(&floats, row))[i]);
    return halves;
}

static int32_t *random_starts(int sequences, int longest)
{
    int32_t *starts = guarded_new(sizeof(int32_t) * (size_t)(sequences + 1));
    starts[0]       = 0;
    for (int s = 0; s < sequences; s++)
        starts[s + 1] = starts[s] + (s == 0 ? longest : random_int(1, 20));
    return starts;
}

/* The kinds of attention and what they read. */
enum kind { F32, BF16, S16 };

static attention_kernel *kernel_of(const struct kernels *kernels, enum kind kind)
{
    return kind == F32 ? kernels->attention_f32 : kind == BF16 ? kernels->attention_bf16 : kernels->attention_s16;
}

static void run_case(const struct kernels *tested, enum kind kind, int longest, int head_size)
{
    int            group = random_int(1, 3), kv_heads = random_int(1, 2), heads = group * kv_heads, sequences = random_int(1, 3);
    int32_t       *starts = random_starts(sequences, longest);
    int            rows = starts[sequences], sequence = random_int(0, sequences - 1);
    enum dtype     type = kind == BF16 ? DTYPE_BF16 : DTYPE_F32, y_type = random_bits() & 1 ? DTYPE_BF16 : DTYPE_F32;
    struct range   range = random_range(heads);
    struct matrix  q = random_heads(rows, heads * head_size, type), k = random_heads(rows, kv_heads * head_size, type),
                   v = random_heads(rows, kv_heads * head_size, type);
    struct matrix  y = matrix_new(rows, heads * head_size, y_type == DTYPE_BF16 ? 2 : 4, random_int(0, 3)), expected = matrix_copy(&y);
    struct attention_args args = { .q = q.rows, .k = k.rows, .v = v.rows, .q_stride = q.stride, .k_stride = k.stride,
                                   .v_stride = v.stride, .type = type, .heads = heads, .kv_heads = kv_heads, .head_size = head_size,
                                   .scale = 0.125f, .causal = kind != S16 && random_bits() & 1, .starts = starts, .y = y.rows,
                                   .y_stride = y.stride, .y_type = y_type };
    void *scratch = guarded_new((attention_scratch_bytes(head_size, longest < 20 ? 20 : longest) + 63) / 64 * 64);
    attention_kernel *kernel = kernel_of(tested, kind);
    kernel(&args, sequence, range.middle, range.last, scratch);
    kernel(&args, sequence, range.first, range.middle, scratch);
    args.y = expected.rows;
    kernel_of(&kernels_ref, kind)(&args, sequence, range.first, range.last, NULL);
    check(matrix_same(&y, &expected), "%d rows, sequence %d of %d, heads [%d, %d) of %d over %d of %d%s, y %s", rows, sequence,
          sequences, range.first, range.last, heads, kv_heads, head_size, args.causal ? ", causal" : "", dtype_name(y_type));
    guarded_free_all();
}

static void poison_row(struct matrix *m, int row, int width, enum dtype type)
{
    static const float numbers[] = { INFINITY, -INFINITY, NAN };
    for (int i = 0; i < width; i++)
        if (type == DTYPE_F32)
            ((float *)matrix_row(m, row))[i] = numbers[i % 3];
        else
            ((uint16_t *)matrix_row(m, row))[i] = bf16_from_float(numbers[i % 3]);
}

/* The keys or the values of one row become no numbers: the rows before it keep their bytes. */
static void later_row_case(const struct kernels *tested, enum kind kind, int rows, int head_size)
{
    const int      starts[] = { 0, rows }, place = random_int(1, rows - 1);
    enum dtype     type = kind == BF16 ? DTYPE_BF16 : DTYPE_F32;
    struct matrix  q = random_heads(rows, head_size, type), k = random_heads(rows, head_size, type),
                   v = random_heads(rows, head_size, type);
    struct matrix  clean = matrix_new(rows, head_size, 4, 0), y = matrix_new(rows, head_size, 4, 0);
    struct attention_args args = { .q = q.rows, .k = k.rows, .v = v.rows, .q_stride = q.stride, .k_stride = k.stride,
                                   .v_stride = v.stride, .type = type, .heads = 1, .kv_heads = 1, .head_size = head_size,
                                   .scale = 0.125f, .causal = true, .starts = starts, .y = clean.rows, .y_stride = clean.stride,
                                   .y_type = DTYPE_F32 };
    void *scratch = guarded_new((attention_scratch_bytes(head_size, rows) + 63) / 64 * 64);
    bool  same    = true;
    kernel_of(tested, kind)(&args, 0, 0, 1, scratch);
    poison_row(random_bits() & 1 ? &k : &v, place, head_size, type);
    args.y = y.rows;
    kernel_of(tested, kind)(&args, 0, 0, 1, scratch);
    for (int row = 0; row < place; row++)
        same = same && memcmp(matrix_row(&clean, row), matrix_row(&y, row), sizeof(float) * (size_t)head_size) == 0;
    check(same, "%d rows, heads of %d: no numbers in row %d reach an earlier one", rows, head_size, place);
    guarded_free_all();
}

static void kind_tests(const struct kernels *tested, enum kind kind, const char *name)
{
    static const int lengths[] = { 1, 2, 5, 6, 7, 13, 14, 15, 16, 17, 31, 32, 33, 61, 97 }, sizes[] = { 8, 16, 24, 32, 40, 64, 80, 128, 256 };
    static const int tiles[] = { 255, 256, 257, 300, 512, 513, 530 };
    if (!group_begin(tested->name, name))
        return;
    for (int times = 0; times < (options.quick ? 25 : 250); times++)
        run_case(tested, kind, RANDOM_OF(lengths), RANDOM_OF(sizes));
    for (int i = 0; i < (options.quick ? 0 : 14); i++)
        run_case(tested, kind, tiles[i % 7], 32);
    for (int times = 0; kind != S16 && times < (options.quick ? 10 : 60); times++)
        later_row_case(tested, kind, times % 6 == 5 ? RANDOM_OF(tiles) : 1 + RANDOM_OF(lengths), RANDOM_OF(sizes));
    group_end();
}

void attention_tests(const struct kernels *tested)
{
    kind_tests(tested, F32, "attention_f32");
    kind_tests(tested, BF16, "attention_bf16");
    kind_tests(tested, S16, "attention_s16");
}
