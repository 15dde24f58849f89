/* How the kernels touch memory at the shapes of real models: wavefronts of shared memory as few as can be, 32-byte sectors of
 * device memory within a twentieth of it, read and written. Only the emulator counts them, in check mode with EMU_ACCESS=1. */
#include "kernels/attention/attention_choose.h"
#include "kernels/linear/linear_choose.h"
#include "kernels/linear/linear_norm_choose.h"
#include "tests/kernels_cuda/harness.h"

#include <stdio.h>

#ifdef RECTO_EMULATED
#include "tests/emu/emu.h"

enum { ROWS = 16 };
#define SECTORS_MOST 1.05  /* of what would do */

/* A kernel at a shape. */
struct access {
    const char *kernel;
    void (*run)(const struct access *of);
    int         size;  /* width or head size */
    enum dtype  type;  /* of what comes in, for linears of what goes out */
    int         variant;
};

static bool counted(void) { return emu_settings()->check && emu_settings()->counters; }

static double ratio(uint64_t actual, uint64_t ideal) { return ideal ? (double)actual / (double)ideal : 1.0; }

static void compare(const struct access *of, const char *what, double actual, double most)
{
    check(actual <= most, "%s of %d: %s are %.3f of what would do", of->kernel, of->size, what, actual);
}

/* One launch, counted. */
static void count(const struct access *of, const struct cuda_launch *launch, test_launch *launch_it, void *context)
{
    emu_settings()->order = EMU_SEQUENTIAL;
    emu_settings()->async = EMU_EARLY;
    emu_counters_reset();
    launch_run(launch, launch_it, context, of->kernel);
    const struct emu_counters c          = emu_counters();
    const double              wavefronts = ratio(c.shared_wavefronts, c.shared_ideal);
    const double              sectors    = ratio(c.global_sectors, c.global_ideal);
    const double              written    = ratio(c.written_sectors, c.written_ideal);
    printf("    %-27s %4d: wavefronts %.2f, sectors %.2f, written %.2f\n", of->kernel, of->size, wavefronts, sectors, written);
    compare(of, "wavefronts", wavefronts, 1.0);
    compare(of, "sectors", sectors, SECTORS_MOST);
    compare(of, "written sectors", written, SECTORS_MOST);
    check(c.global_sectors > 0, "%s of %d: nothing was counted", of->kernel, of->size);
    memory_free_all();
}

/* ---- kernels that walk rows ---- */

static cudaError_t run_norm(const struct cuda_launch *launch, void *context) { return kernels->norm_layer(launch, context); }

static void norm_access(const struct access *of)
{
    struct matrix      x = matrix_random(DTYPE_F32, ROWS, of->size, 0, 1), y = matrix_new(DTYPE_F32, ROWS, of->size, 0);
    struct matrix      copy = matrix_new(of->type, ROWS, of->size, 0), weight = matrix_random(DTYPE_F32, 1, of->size, 0, 1);
    struct matrix      scales = matrix_new(DTYPE_F32, 1, ROWS, 0);
    struct norm_args   args = { .x = (float *)(void *)x.device, .x_stride = x.stride, .weight = (float *)(void *)weight.device,
                                .bias = (float *)(void *)weight.device, .width = of->size, .epsilon = 1e-6f, .copy = copy.device,
                                .copy_stride = copy.stride, .copy_type = of->type, .y = (float *)(void *)y.device,
                                .y_stride = y.stride, .copy_scales = (float *)(void *)scales.device };
    struct cuda_launch launch = launch_rows(ROWS, ROWS);
    if (of->type == DTYPE_BF16 || kernels->linear_fp8)
        count(of, &launch, run_norm, &args);
}

static cudaError_t run_embed(const struct cuda_launch *launch, void *context) { return kernels->embed_rows(launch, context); }

static void embed_access(const struct access *of)
{
    struct matrix words = matrix_random(of->type, 40, of->size, 0, 1), y = matrix_new(DTYPE_F32, ROWS, of->size, 0);
    int32_t       ids[ROWS], positions[ROWS];
    for (int i = 0; i < ROWS; i++) {
        ids[i]       = random_int(0, 39);
        positions[i] = i;
    }
    struct embed_args  args   = { .words = words.device, .positions = words.device, .types = words.device, .table_type = of->type,
                                  .width = of->size, .ids = device_ints(ids, ROWS), .position_ids = device_ints(positions, ROWS),
                                  .y = (float *)(void *)y.device, .y_stride = y.stride };
    struct cuda_launch launch = launch_rows(ROWS, ROWS);
    count(of, &launch, run_embed, &args);
}

static cudaError_t run_rotary(const struct cuda_launch *launch, void *context) { return kernels->rotary_half(launch, context); }

static void rotary_access(const struct access *of)
{
    enum { HEADS = 4 };
    struct matrix x      = matrix_random(of->type, ROWS, HEADS * of->size, 0, 1);
    struct matrix angles = matrix_random(DTYPE_F32, ROWS, of->size / 2, 0, 1);
    int32_t       positions[ROWS];
    for (int i = 0; i < ROWS; i++)
        positions[i] = i;
    struct rotary_args args   = { .x = x.device, .type = of->type, .x_stride = x.stride, .heads = HEADS, .head_size = of->size,
                                  .position_ids = device_ints(positions, ROWS), .cosines = (float *)(void *)angles.device,
                                  .sines = (float *)(void *)angles.device };
    struct cuda_launch launch = launch_rows(ROWS, ROWS);
    count(of, &launch, run_rotary, &args);
}

static cudaError_t run_mean(const struct cuda_launch *launch, void *context) { return kernels->pool_mean(launch, context); }
static cudaError_t run_first(const struct cuda_launch *launch, void *context) { return kernels->pool_first(launch, context); }
static cudaError_t run_normalize(const struct cuda_launch *launch, void *context) { return kernels->normalize_l2(launch, context); }

static void pool_access(const struct access *of)
{
    static const int   lengths[] = { 5, 17, 1, 30 };
    struct packing     p = packing_new(lengths, 4, 0, 0);
    struct matrix      x = matrix_random(DTYPE_F32, p.token_cap, of->size, 0, 1), y = matrix_new(DTYPE_F32, 4, of->size, 0);
    struct pool_args   args   = { .x = (float *)(void *)x.device, .x_stride = x.stride, .width = of->size,
                                  .starts = p.device_starts, .y = (float *)(void *)y.device, .y_stride = y.stride };
    struct cuda_launch launch = launch_of(&p, CUDA_ROWS_SEQUENCES);
    count(of, &launch, of->variant ? run_first : run_mean, &args);
}

static void normalize_access(const struct access *of)
{
    struct matrix         x = matrix_random(DTYPE_F32, ROWS, of->size, 0, 1), y = matrix_new(DTYPE_F32, ROWS, of->size, 0);
    struct normalize_args args   = { .x = (float *)(void *)x.device, .x_stride = x.stride, .width = of->size,
                                     .y = (float *)(void *)y.device, .y_stride = y.stride };
    struct cuda_launch    launch = launch_rows(ROWS, ROWS);
    count(of, &launch, run_normalize, &args);
}

static cudaError_t run_convert(const struct cuda_launch *launch, void *context) { return kernels->convert_bf16(launch, context); }
static cudaError_t run_fp8(const struct cuda_launch *launch, void *context) { return kernels->quantize_fp8(launch, context); }

static void convert_access(const struct access *of)
{
    struct matrix       x = matrix_random(DTYPE_F32, ROWS, of->size, 0, 1), y = matrix_new(DTYPE_BF16, ROWS, of->size, 0);
    struct convert_args args   = { .x = (float *)(void *)x.device, .x_stride = x.stride, .y = (uint16_t *)(void *)y.device,
                                   .y_stride = y.stride, .width = of->size };
    struct cuda_launch  launch = launch_rows(ROWS, ROWS);
    count(of, &launch, run_convert, &args);
}

static void fp8_access(const struct access *of)
{
    struct matrix      x = matrix_random(of->type, ROWS, of->size, 0, 1), y = matrix_new(DTYPE_U8, ROWS, of->size, 0);
    struct matrix      scales = matrix_new(DTYPE_F32, 1, ROWS, 0);
    struct fp8_args    args   = { .x = x.device, .x_type = of->type, .x_stride = x.stride, .width = of->size,
                                  .y = (uint8_t *)(void *)y.device, .y_stride = y.stride,
                                  .scales = (float *)(void *)scales.device };
    struct cuda_launch launch = launch_rows(ROWS, ROWS);
    if (kernels->quantize_fp8)
        count(of, &launch, run_fp8, &args);
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

/* One tile. Gated, or with a residual where y is f32. `type`: of x and the weight. */
static void linear_of(const struct access *of, enum dtype type, enum linear_act act)
{
    const enum linear_cuda_variant variant = (enum linear_cuda_variant)of->variant;
    const struct linear_tile       tile    = linear_cuda_tile(variant);
    const int           rows = tile.rows, n = tile.columns, k = of->size, columns = act == LINEAR_SILU_GATE ? n / 2 : n;
    struct matrix       scales = matrix_random(DTYPE_F32, 2, rows > n ? rows : n, 0, 1);  /* of e4m3: of outputs, of rows */
    struct matrix       x = matrix_random(type, rows, k, 0, 1), weight = matrix_random(type, n, k, 0, 0.1f);
    struct matrix       bias = matrix_random(DTYPE_F32, 1, n, 0, 1), residual = matrix_random(DTYPE_F32, rows, columns, 0, 1);
    struct matrix       y     = matrix_new(of->type, rows, columns, 0);
    const bool          added = of->type == DTYPE_F32 && act == LINEAR_NONE;
    const struct linear_weight w = { .n = n, .k = k, .type = type, .panels = weight.device, .bias = (float *)(void *)bias.device,
                                     .scales = (float *)(void *)scales.device };
    struct linear_run   run = { { .weight = &w, .x = x.device, .x_stride = x.stride, .act = act,
                                  .x_scales = (float *)(void *)(scales.device + scales.stride),
                                  .residual = added ? (float *)(void *)residual.device : NULL,
                                  .residual_stride = residual.stride, .y = y.device, .y_stride = y.stride, .y_type = of->type },
                                variant };
    struct cuda_launch  launch = launch_rows(rows, rows);
    if (linear_cuda_can(&facts, variant, &w, act))
        count(of, &launch, run_linear, &run);
    memory_free_all();
}

static enum dtype operands_of(const struct access *of) { return of->variant < LINEAR_CUDA_MMA_64X64 ? DTYPE_F32 : DTYPE_BF16; }
static void linear_access(const struct access *of) { linear_of(of, operands_of(of), LINEAR_NONE); }
static void gated_access(const struct access *of) { linear_of(of, operands_of(of), LINEAR_SILU_GATE); }
static void linear_fp8_access(const struct access *of) { linear_of(of, DTYPE_F8_E4M3, LINEAR_NONE); }

struct linear_norm_run {
    struct linear_norm_args  args;
    enum linear_norm_variant variant;
};

static cudaError_t run_linear_norm(const struct cuda_launch *launch, void *context)
{
    struct linear_norm_run *r = context;
    return linear_norm_launch(launch, &r->args, r->variant);
}

/* One tile of a cluster of two, with all that may be written. */
static void linear_norm_access(const struct access *of)
{
    const enum linear_norm_variant variant = (enum linear_norm_variant)of->variant;
    const int                      rows = linear_norm_tile(variant).rows, n = 2 * linear_norm_tile(variant).columns, k = of->size;
    struct matrix        x = matrix_random(of->type, rows, k, 0, 1), weight = matrix_random(of->type, n, k, 0, 0.1f);
    struct matrix        x_scales = matrix_random(DTYPE_F32, 1, rows, 0, 1), copy_scales = matrix_new(DTYPE_F32, 1, rows, 0);
    struct matrix        vectors = matrix_random(DTYPE_F32, 1, n, 0, 1), residual = matrix_random(DTYPE_F32, rows, n, 0, 1);
    struct matrix        sum = matrix_new(DTYPE_F32, rows, n, 0), y = matrix_new(DTYPE_F32, rows, n, 0);
    struct matrix        copy   = matrix_new(of->type, rows, n, 0);
    const float         *vector = (float *)(void *)vectors.device;
    struct linear_weight w      = { .n = n, .k = k, .type = of->type, .panels = weight.device, .bias = vector,
                                    .scales = vector };
    struct linear_norm_run run  = {
        { .linear = { .weight = &w, .x = x.device, .x_stride = x.stride, .x_scales = (float *)(void *)x_scales.device,
                      .residual = (float *)(void *)residual.device, .residual_stride = residual.stride, .y = sum.device,
                      .y_stride = sum.stride },
          .norm   = { .weight = vector, .bias = vector, .width = n, .epsilon = 1e-6f, .y = (float *)(void *)y.device,
                      .y_stride = y.stride, .copy = copy.device, .copy_stride = copy.stride, .copy_type = of->type,
                      .copy_scales = (float *)(void *)copy_scales.device } },
        variant
    };
    struct cuda_launch launch = launch_rows(rows, rows);
    if (linear_norm_can(&facts, variant, &w))
        count(of, &launch, run_linear_norm, &run);
    memory_free_all();
}

/* ---- attention ---- */

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
    if (r->choice.variant == ATTENTION_CUDA_FMA)
        return kernels->attention_f32(launch, &r->args, r->schedule);
    return (r->choice.variant == ATTENTION_CUDA_MMA ? attention_mma_launch : attention_sm90_launch)(launch, &r->args, r->schedule,
                                                                                                    &r->choice);
}

static void attention_of(const struct access *of, bool schedule)
{
    enum { HEADS = 2 };
    static const int     shorts[] = { 64, 128, 33, 16, 16, 20 }, longs[] = { 256, 384 };
    const bool           hopper = of->variant == ATTENTION_CUDA_WGMMA;
    const int            width  = HEADS * of->size;
    struct packing       p    = hopper ? packing_new(longs, 2, 0, 0) : packing_new(shorts, 6, 0, 0);
    struct matrix        qkv  = matrix_random(of->type, p.token_cap, 3 * width, 0, 1);
    struct matrix        y    = matrix_new(of->type, p.token_cap, width, 0);
    const size_t         part = (size_t)(width * dtype_bits(of->type) / 8);
    struct attention_run run  = { .args = { .q = qkv.device, .k = qkv.device + part, .v = qkv.device + 2 * part,
                                            .q_stride = qkv.stride, .k_stride = qkv.stride, .v_stride = qkv.stride,
                                            .type = of->type, .heads = HEADS, .kv_heads = HEADS, .head_size = of->size,
                                            .scale = 0.125f, .starts = p.device_starts, .y = y.device, .y_stride = y.stride,
                                            .y_type = of->type } };
    struct cuda_launch   launch = launch_of(&p, CUDA_ROWS_TOKENS);
    run.choice                  = attention_cuda_choose(hopper ? &facts : &facts_80, &run.args);
    run.schedule                = device_bytes(attention_schedule_bytes(p.token_cap, p.sequence_cap));
    if (!hopper || facts.architecture == 90) {
        launch_run(&launch, run_schedule, &run, "schedule");
        count(of, &launch, schedule ? run_schedule : run_attention, &run);
    }
    memory_free_all();
}

static void attention_access(const struct access *of) { attention_of(of, false); }
static void schedule_access(const struct access *of) { attention_of(of, true); }

/* ---- the table ---- */

#define F32 DTYPE_F32
#define BF16 DTYPE_BF16
#define E4M3 DTYPE_F8_E4M3
static const struct access table[] = {
    { "norm", norm_access, 384, BF16, 0 },
    { "norm", norm_access, 768, BF16, 0 },
    { "norm", norm_access, 1024, BF16, 0 },
    { "norm fp8", norm_access, 384, E4M3, 0 },
    { "norm fp8", norm_access, 768, E4M3, 0 },
    { "embed", embed_access, 384, F32, 0 },
    { "embed", embed_access, 768, BF16, 0 },
    { "rotary f32", rotary_access, 64, F32, 0 },
    { "rotary f32", rotary_access, 128, F32, 0 },
    { "rotary f32", rotary_access, 80, F32, 0 },
    { "rotary bf16", rotary_access, 64, BF16, 0 },
    { "rotary bf16", rotary_access, 128, BF16, 0 },
    { "pool mean", pool_access, 384, F32, 0 },
    { "pool first", pool_access, 768, F32, 1 },
    { "normalize", normalize_access, 384, F32, 0 },
    { "convert", convert_access, 384, F32, 0 },
    { "convert", convert_access, 768, F32, 0 },
    { "quantize fp8", fp8_access, 768, F32, 0 },
    { "quantize fp8", fp8_access, 384, BF16, 0 },
    { "quantize fp8", fp8_access, 3072, BF16, 0 },
#define LINEARS(title, which)                                           \
    { title " to f32", linear_access, 256, F32, which },                \
    { title " to bf16", linear_access, 256, BF16, which },              \
    { title " gated", gated_access, 256, BF16, which }
    LINEARS("linear fma 32x64", LINEAR_CUDA_FMA_32X64),
    LINEARS("linear fma 128x128", LINEAR_CUDA_FMA_128X128),
    LINEARS("linear mma 64x64", LINEAR_CUDA_MMA_64X64),
    LINEARS("linear mma 128x128", LINEAR_CUDA_MMA_128X128),
    LINEARS("linear wgmma 64x64", LINEAR_CUDA_WGMMA_64X64),
    LINEARS("linear wgmma 128x128", LINEAR_CUDA_WGMMA_128X128),
    LINEARS("linear wgmma 128x192", LINEAR_CUDA_WGMMA_128X192),
    LINEARS("linear wgmma 128x256", LINEAR_CUDA_WGMMA_128X256),
    { "linear norm 64x64", linear_norm_access, 256, BF16, LINEAR_NORM_64X64 },
    { "linear norm 64x128", linear_norm_access, 256, BF16, LINEAR_NORM_64X128 },
    { "linear norm 64x256", linear_norm_access, 256, BF16, LINEAR_NORM_64X256 },
    { "linear norm 128x128", linear_norm_access, 256, BF16, LINEAR_NORM_128X128 },
    { "linear norm 128x192", linear_norm_access, 256, BF16, LINEAR_NORM_128X192 },
    { "linear norm 128x256", linear_norm_access, 256, BF16, LINEAR_NORM_128X256 },
    { "linear norm fp8 64x64", linear_norm_access, 256, E4M3, LINEAR_NORM_64X64 },
    { "linear norm fp8 64x128", linear_norm_access, 256, E4M3, LINEAR_NORM_64X128 },
    { "linear norm fp8 128x128", linear_norm_access, 256, E4M3, LINEAR_NORM_128X128 },
    { "linear norm fp8 128x192", linear_norm_access, 256, E4M3, LINEAR_NORM_128X192 },
#define LINEARS_FP8(title, which)                                       \
    { title " to f32", linear_fp8_access, 256, F32, which },            \
    { title " to bf16", linear_fp8_access, 256, BF16, which }
    LINEARS_FP8("linear fp8 64x64", LINEAR_CUDA_WGMMA_64X64),
    LINEARS_FP8("linear fp8 128x128", LINEAR_CUDA_WGMMA_128X128),
    LINEARS_FP8("linear fp8 128x192", LINEAR_CUDA_WGMMA_128X192),
    { "attention mma", attention_access, 32, BF16, ATTENTION_CUDA_MMA },
    { "attention mma", attention_access, 64, BF16, ATTENTION_CUDA_MMA },
    { "attention mma", attention_access, 80, BF16, ATTENTION_CUDA_MMA },
    { "attention mma", attention_access, 96, BF16, ATTENTION_CUDA_MMA },
    { "attention mma", attention_access, 128, BF16, ATTENTION_CUDA_MMA },
    { "attention mma", attention_access, 256, BF16, ATTENTION_CUDA_MMA },
    { "attention wgmma", attention_access, 32, BF16, ATTENTION_CUDA_WGMMA },
    { "attention wgmma", attention_access, 64, BF16, ATTENTION_CUDA_WGMMA },
    { "attention wgmma", attention_access, 80, BF16, ATTENTION_CUDA_WGMMA },
    { "attention wgmma", attention_access, 96, BF16, ATTENTION_CUDA_WGMMA },
    { "attention wgmma", attention_access, 128, BF16, ATTENTION_CUDA_WGMMA },
    { "attention wgmma", attention_access, 256, BF16, ATTENTION_CUDA_WGMMA },
    { "attention fma", attention_access, 32, F32, ATTENTION_CUDA_FMA },
    { "attention fma", attention_access, 64, F32, ATTENTION_CUDA_FMA },
    { "attention fma", attention_access, 96, F32, ATTENTION_CUDA_FMA },
    { "attention fma", attention_access, 128, F32, ATTENTION_CUDA_FMA },
    { "attention fma", attention_access, 256, F32, ATTENTION_CUDA_FMA },
    { "schedule", schedule_access, 64, BF16, ATTENTION_CUDA_MMA },
    { "schedule", schedule_access, 64, BF16, ATTENTION_CUDA_WGMMA },
};

void access_cases(void)
{
    if (!counted() || !group_begin("access", true))
        return;
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        table[i].run(&table[i]);
    group_end();
}
#else
void access_cases(void) {}
#endif
