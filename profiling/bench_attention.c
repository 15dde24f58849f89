/* Times the attention kernels on MiniLM's and BERT's shapes: milliseconds for all heads of one layer, GFLOP/s, and the
 * fraction of a ceiling given in GFLOP/s. Rows hold q, k and v beside each other, as the layer leaves them.
 *
 *   bench_attention [instruction set [ceiling of f32 [ceiling of bf16 and s16]]]
 */
#include "kernels/attention/attention.h"
#include "kernels/bf16.h"
#include "kernels/kernels.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { PADDING = 32, REPEATS = 41 };

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int compare(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Seconds of one layer's attention over one sequence: the median, and the best in *best. */
static double measure(attention_kernel *kernel, const struct attention_args *a, void *scratch, double *best)
{
    double times[REPEATS];
    int    rounds = 1 + 200 / a->starts[1];
    for (int i = 0; i < REPEATS; i++) {
        double start = seconds();
        for (int round = 0; round < rounds; round++)
            kernel(a, 0, 0, a->heads, scratch);
        times[i] = (seconds() - start) / rounds;
    }
    qsort(times, REPEATS, sizeof *times, compare);
    *best = times[0];
    return times[REPEATS / 2];
}

static void *aligned(size_t bytes)
{
    void *memory = aligned_alloc(64, (bytes + 63) / 64 * 64);
    if (memory == NULL)
        exit(1);
    return memset(memory, 0, (bytes + 63) / 64 * 64);
}

static void bench(attention_kernel *kernel, const char *name, enum dtype type, int heads, int head_size, int rows, double ceiling)
{
    const size_t  bytes = (size_t)dtype_bits(type) / 8, width = (size_t)heads * (size_t)head_size;
    const size_t  stride = 3 * width + PADDING;
    const int32_t starts[2] = { 0, rows };
    char         *x = aligned((size_t)rows * stride * bytes), *y = aligned((size_t)rows * (width + PADDING) * bytes);
    void         *scratch = aligned(attention_scratch_bytes(head_size, rows));
    for (size_t i = 0; i < (size_t)rows * stride; i++) {
        float value = (float)rand() / (float)RAND_MAX * 4.0f - 2.0f;
        if (type == DTYPE_F32)
            ((float *)(void *)x)[i] = value;
        else
            ((uint16_t *)(void *)x)[i] = bf16_from_float(value);
    }
    struct attention_args a = { .q = x, .k = x + width * bytes, .v = x + 2 * width * bytes, .q_stride = stride * bytes,
                                .k_stride = stride * bytes, .v_stride = stride * bytes, .type = type, .heads = heads,
                                .kv_heads = heads, .head_size = head_size, .scale = 1.0f / sqrtf((float)head_size),
                                .starts = starts, .y = y, .y_stride = (width + PADDING) * bytes, .y_type = type };
    double best, time = measure(kernel, &a, scratch, &best), rate = 4.0 * rows * (double)rows * (double)width / time * 1e-9;
    printf("%-22s %2d heads of %3d, %4d rows: %8.4f ms (best %8.4f) %7.1f GFLOP/s %5.1f%%\n", name, heads, head_size, rows,
           time * 1e3, best * 1e3, rate, 100.0 * rate / ceiling);
    free(scratch);
    free(y);
    free(x);
}

int main(int count, char **arguments)
{
    static const struct { int heads, head_size; } shapes[] = { { 12, 32 }, { 12, 64 } };
    static const int                              lengths[] = { 16, 64, 128, 256, 512, 2048 };
    static const char *const                      kinds[] = { "f32", "bf16", "s16" };
    const double full = count > 2 ? atof(arguments[2]) : 117.0, half = count > 3 ? atof(arguments[3]) : 234.0;
    const double ceilings[] = { full, half, half };
    int          built;
    const struct kernels *const *sets = kernels_built(&built);
    for (int i = 0; i < built; i++) {
        if (!kernels_runnable(sets[i]) || (count > 1 && strcmp(arguments[1], sets[i]->name) != 0))
            continue;
        for (size_t shape = 0; shape < sizeof shapes / sizeof *shapes; shape++)
            for (size_t length = 0; length < sizeof lengths / sizeof *lengths; length++)
                for (int kind = 0; kind < 3; kind++) {
                    attention_kernel *const kernels[] = { sets[i]->attention_f32, sets[i]->attention_bf16, sets[i]->attention_s16 };
                    char                    name[64];
                    snprintf(name, sizeof name, "%s_%s", kinds[kind], sets[i]->name);
                    bench(kernels[kind], name, kind == 1 ? DTYPE_BF16 : DTYPE_F32, shapes[shape].heads, shapes[shape].head_size,
                          lengths[length], ceilings[kind]);
                }
    }
    return 0;
}
