/* How the kernels touch memory at the shapes of real models: wavefronts of shared memory as few as can be, 32-byte sectors of
 * device memory within a twentieth of it. Only the emulator counts them, in check mode with EMU_ACCESS=1. */
#include "kernels/attention/attention_choose.h"
#include "kernels/linear/linear_choose.h"
#include "tests/kernels_cuda/harness.h"

#include <stdio.h>

#ifdef RECTO_EMULATED
#include "tests/emu/emu.h"

static bool counted(void) { return emu_settings()->check && emu_settings()->counters; }

static void begin(void)
{
    emu_settings()->order = EMU_SEQUENTIAL;
    emu_settings()->async = EMU_EARLY;
    emu_counters_reset();
}

/* `sectors`: most that may be, of what would do. */
static void end(const char *what, int size, double sectors)
{
    const struct emu_counters c = emu_counters();
    check(c.shared_wavefronts == c.shared_ideal, "%s %d: %llu wavefronts of shared memory, %llu would do", what, size,
          (unsigned long long)c.shared_wavefronts, (unsigned long long)c.shared_ideal);
    check((double)c.global_sectors <= sectors * (double)c.global_ideal && c.global_sectors > 0,
          "%s %d: %llu sectors, %llu would do", what, size, (unsigned long long)c.global_sectors,
          (unsigned long long)c.global_ideal);
}

static cudaError_t run_norm(const struct cuda_launch *launch, void *context) { return kernels->norm_layer(launch, context); }

static void norm_access(int width)
{
    struct matrix      x = matrix_random(DTYPE_F32, 16, width, 0, 1), y = matrix_new(DTYPE_F32, 16, width, 0);
    struct matrix      copy = matrix_new(DTYPE_BF16, 16, width, 0), weight = matrix_random(DTYPE_F32, 1, width, 0, 1);
    struct norm_args   args = { .x = (float *)(void *)x.device, .x_stride = x.stride, .weight = (float *)(void *)weight.device,
                                .bias = (float *)(void *)weight.device, .width = width, .epsilon = 1e-6f, .copy = copy.device,
                                .copy_stride = copy.stride, .copy_type = DTYPE_BF16, .y = (float *)(void *)y.device,
                                .y_stride = y.stride };
    struct cuda_launch launch = launch_rows(16, 16);
    begin();
    launch_run(&launch, run_norm, &args, "norm");
    end("norm of", width, 1.05);
}

struct linear_run {
    struct linear_args       args;
    enum linear_cuda_variant variant;
};

static cudaError_t run_linear(const struct cuda_launch *launch, void *context)
{
    struct linear_run *r = context;
    return linear_cuda_launch(launch, &r->args, r->variant);
}

static void linear_access(enum linear_cuda_variant variant, enum dtype y_type)
{
    const struct linear_tile tile = linear_cuda_tile(variant);
    const int                rows = tile.rows, n = tile.columns, k = 256;
    struct matrix            x = matrix_random(DTYPE_BF16, rows, k, 0, 1), weight = matrix_random(DTYPE_BF16, n, k, 0, 0.1f);
    struct matrix            bias = matrix_random(DTYPE_F32, 1, n, 0, 1), residual = matrix_random(DTYPE_F32, rows, n, 0, 1);
    struct matrix            y = matrix_new(y_type, rows, n, 0);
    const bool               added = y_type == DTYPE_F32;
    struct linear_weight     w     = { .n = n, .k = k, .type = DTYPE_BF16, .panels = weight.device,
                                       .bias = (float *)(void *)bias.device };
    struct linear_run        run   = { { .weight = &w, .x = x.device, .x_stride = x.stride,
                                         .residual = added ? (float *)(void *)residual.device : NULL,
                                         .residual_stride = residual.stride, .y = y.device, .y_stride = y.stride,
                                         .y_type = y_type },
                                       variant };
    struct cuda_launch       launch = launch_rows(rows, rows);
    begin();
    launch_run(&launch, run_linear, &run, linear_cuda_name(variant));
    /* mma.sync's results leave in halves of sectors where they are bf16: four lanes hold 16 bytes of a row. */
    const bool halves = variant < LINEAR_CUDA_WGMMA_64X64 && y_type == DTYPE_BF16;
    end(linear_cuda_name(variant), dtype_bits(y_type), halves ? 3.0 : 1.05);
}

struct attention_run {
    struct attention_args   args;
    struct attention_choice choice;
    void                   *schedule;
};

static cudaError_t run_schedule(const struct cuda_launch *launch, void *context)
{
    struct attention_run *r = context;
    return attention_schedule_launch(launch, &r->args, r->schedule, &r->choice);
}

static cudaError_t run_attention(const struct cuda_launch *launch, void *context)
{
    struct attention_run *r = context;
    return (r->choice.variant == ATTENTION_CUDA_MMA ? attention_mma_launch : attention_sm90_launch)(launch, &r->args, r->schedule,
                                                                                                    &r->choice);
}

static void attention_access(const int *lengths, int count, int head_size, bool hopper)
{
    enum { HEADS = 2 };
    struct packing       p   = packing_new(lengths, count, 0, 0);
    struct matrix        qkv = matrix_random(DTYPE_BF16, p.token_cap, 3 * HEADS * head_size, 0, 1);
    struct matrix        y   = matrix_new(DTYPE_BF16, p.token_cap, HEADS * head_size, 0);
    const size_t         part = (size_t)(HEADS * head_size) * 2;
    struct attention_run run  = { .args = { .q = qkv.device, .k = qkv.device + part, .v = qkv.device + 2 * part,
                                            .q_stride = qkv.stride, .k_stride = qkv.stride, .v_stride = qkv.stride,
                                            .type = DTYPE_BF16, .heads = HEADS, .kv_heads = HEADS, .head_size = head_size,
                                            .scale = 0.125f, .starts = p.device_starts, .y = y.device, .y_stride = y.stride,
                                            .y_type = DTYPE_BF16 } };
    struct cuda_launch   launch = launch_of(&p, CUDA_ROWS_TOKENS);
    run.choice                  = attention_cuda_choose(hopper ? &facts : &facts_80, &run.args);
    run.schedule                = device_bytes(attention_schedule_bytes(p.token_cap, p.sequence_cap));
    launch_run(&launch, run_schedule, &run, "schedule");
    begin();
    launch_run(&launch, run_attention, &run, "attention");
    end(hopper ? "attention by wgmma, head size" : "attention by mma, head size", head_size, 1.05);
}

void access_cases(void)
{
    static const int shorts[] = { 64, 128, 33, 16, 16, 20 }, longs[] = { 256, 384 };
    if (!counted() || !group_begin("access", true))
        return;
    norm_access(384);
    norm_access(768);
    norm_access(1024);
    for (enum linear_cuda_variant v = LINEAR_CUDA_MMA_64X64; v < LINEAR_CUDA_VARIANTS; v++)
        if (v < LINEAR_CUDA_WGMMA_64X64 || facts.architecture == 90) {
            linear_access(v, DTYPE_BF16);
            linear_access(v, DTYPE_F32);
            memory_free_all();
        }
    for (int size = 32; size <= 256; size *= 2)
        attention_access(shorts, 6, size, false);
    attention_access(shorts, 6, 80, false);
    attention_access(shorts, 6, 96, false);
    for (int size = 64; size <= 128 && facts.architecture == 90; size *= 2)
        attention_access(longs, 2, size, true);
    group_end();
}
#else
void access_cases(void) {}
#endif
