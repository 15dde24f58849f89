/* bench_variants: attention with heads of 64 as attention_variants.py changes it, one line of JSON a variant and length. Lengths
 * are whole tiles of two and of three warpgroups. Some variants compute something else: only their time is of interest. */
#include "kernels/attention/attention_choose.h"
#include "profiling/gpu/bench.h"

#include <stdio.h>
#include <string.h>

typedef cudaError_t variant_launch(const struct cuda_launch *launch, const struct attention_args *args, void *schedule,
                                   const struct attention_choice *choice);
variant_launch attention_unchanged_launch, attention_two_warpgroups_launch, attention_no_turns_launch,
    attention_polynomial_1_of_8_launch, attention_polynomial_2_of_8_launch, attention_multiply_for_exp2_launch,
    attention_no_values_launch;

static const struct {
    const char     *name;
    variant_launch *launch;
    int             rows;  /* of a tile: 64 for each warpgroup */
} variants[] = {
    { "unchanged", attention_unchanged_launch, 192 },
    { "two warpgroups", attention_two_warpgroups_launch, 128 },
    { "no turns", attention_no_turns_launch, 192 },
    { "exp2 of 1 in 8 by a polynomial", attention_polynomial_1_of_8_launch, 192 },
    { "exp2 of 2 in 8 by a polynomial", attention_polynomial_2_of_8_launch, 192 },
    { "a multiply for exp2", attention_multiply_for_exp2_launch, 192 },
    { "values not multiplied", attention_no_values_launch, 192 },
};

enum { TOKENS = 12288, HEADS = 16, HEAD = 64, MOST_SEQUENCES = TOKENS / 384 };

struct work {
    struct cuda_launch      launch;
    struct attention_args   args;
    struct attention_choice choice;
    void                   *schedule;
    variant_launch         *run;
};

static cudaError_t run_variant(const struct bench_device *device, void *context)
{
    struct work *work = context;
    (void)device;
    return work->run(&work->launch, &work->args, work->schedule, &work->choice);
}

static void bench_length(const struct bench_device *device, struct work *work, int tokens, int length)
{
    int32_t                starts[MOST_SEQUENCES + 1];
    const int              sequences = tokens / length;
    const struct cuda_live live      = { tokens, sequences };
    char                   shape[64], name[96];
    for (int i = 0; i <= sequences; i++)
        starts[i] = i * length;
    work->launch.live      = bench_copy(&live, sizeof live);
    work->launch.tokens    = tokens;
    work->launch.sequences = sequences;
    work->launch.longest   = length;
    work->args.starts      = bench_copy(starts, sizeof starts);
    work->schedule         = bench_memory(attention_schedule_bytes(tokens, sequences));
    snprintf(shape, sizeof shape, "%d sequences of %d", sequences, length);
    for (size_t i = 0; i < sizeof variants / sizeof *variants; i++) {
        snprintf(name, sizeof name, "variant of attention: %s", variants[i].name);
        work->run    = variants[i].launch;
        work->choice = (struct attention_choice){ ATTENTION_CUDA_WGMMA, HEAD, variants[i].rows };
        bench_check(attention_schedule_launch(&work->launch, &work->args, work->schedule, &work->choice), "scheduling attention");
        struct bench_row row = { .kernel = name, .shape = shape, .operations = 4.0 * tokens * length * HEADS * HEAD,
                                 .bytes = 8.0 * tokens * HEADS * HEAD };
        row.seconds = bench_seconds(device, run_variant, work);
        bench_print(device, &row);
    }
    bench_free((void *)(uintptr_t)work->launch.live);
    bench_free((void *)(uintptr_t)work->args.starts);
    bench_free(work->schedule);
}

int main(int argc, char **argv)
{
    const bool          quick = argc > 1 && strcmp(argv[1], "--quick") == 0;
    struct bench_device device;
    struct cublaslt    *library;
    bench_open(&device, quick ? 1 : 20, quick, "", &library);
    if (device.facts.architecture != 90) {
        fprintf(stderr, "%s is sm_%d: these variants are of the kernel for sm_90\n", device.name, device.facts.architecture);
        return 77;
    }
    const int    tokens = quick ? 768 : TOKENS;
    const size_t row    = HEADS * HEAD * 2;
    char        *qkv    = bench_random(DTYPE_BF16, (size_t)tokens * HEADS * HEAD * 3, 2);
    struct work  work   = {
          .launch = { .facts = &device.facts, .stream = device.stream },
          .args   = { .q = qkv, .k = qkv + row, .v = qkv + 2 * row, .q_stride = 3 * row, .k_stride = 3 * row, .v_stride = 3 * row,
                      .type = DTYPE_BF16, .heads = HEADS, .kv_heads = HEADS, .head_size = HEAD, .scale = 0.125f,
                      .y = bench_memory((size_t)tokens * row), .y_stride = row, .y_type = DTYPE_BF16 },
    };
    for (int length = quick ? 384 : 768; length <= (quick ? 384 : 6144); length *= 2)
        bench_length(&device, &work, tokens, length);
    bench_free(work.args.y);
    bench_free(qkv);
    bench_close(&device, library);
    return 0;
}
