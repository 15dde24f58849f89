/* Times the CUDA kernels on the shapes of real models, beside their limits and cuBLASLt; one line of JSON a row. See --help. */
#include "profiling/gpu/bench.h"
#include "profiling/gpu/cublaslt.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char help[] = "usage: %s [--rounds N] [--only linear|attention|rows]\n"
                           "Prints one line of JSON for each kernel and shape: the median of N launches (20) with a cold cache.\n"
                           "rows: embedding, norms, conversion, rotary, pooling.\n";

struct bench {
    struct bench_device device;
    struct cublaslt    *cublaslt;  /* null: not installed */
    struct cuda_live   *live;      /* in device memory */
    struct bench_row    row;
    char                shape[96];
};

/* The launch that every kernel gets: all rows alive. */
static struct cuda_launch whole(struct bench *bench, int tokens, int sequences, int longest)
{
    const struct cuda_live live = { tokens, sequences };
    bench_check(cudaMemcpy(bench->live, &live, sizeof live, cudaMemcpyHostToDevice), "saying what is alive");
    return (struct cuda_launch){ .facts = &bench->device.facts, .stream = bench->device.stream, .live = bench->live,
                                 .tokens = tokens, .sequences = sequences, .longest = longest };
}

/* Asks once what a launch costs, then times it. */
static void time_launch(struct bench *bench, struct cuda_launch *launch, bench_launch *run, void *context)
{
    bench->row.bytes = bench->row.operations = 0;
    launch->profile         = bench_cost;
    launch->profile_context = &bench->row;
    const cudaError_t status = run(&bench->device, context);
    launch->profile          = NULL;
    if (status != cudaErrorNotSupported)
        bench_check(status, bench->row.kernel);
    bench->row.seconds = status ? 0 : bench_seconds(&bench->device, run, context);
}

/* ---- linears ---- */

struct linear_case {
    struct cuda_launch launch;
    struct linear_args args;
};

static cudaError_t run_linear(const struct bench_device *device, void *context)
{
    struct linear_case *work = context;
    if (work->args.weight->type == DTYPE_BF16)
        return device->kernels->linear_bf16(&work->launch, &work->args);
    return device->kernels->linear_fp8 ? device->kernels->linear_fp8(&work->launch, &work->args) : cudaErrorNotSupported;
}

struct layer {
    const char     *name;
    int             n, k;
    enum linear_act act;
};

static void bench_linear(struct bench *bench, enum dtype type, int rows, const struct layer *layer)
{
    const int            n = layer->n, k = layer->k, padded = linear_padded(n);
    const int            width  = layer->act == LINEAR_SILU_GATE ? n / 2 : n;
    const size_t         stride = (size_t)k * (size_t)dtype_bits(type) / 8;
    const bool           narrow = type == DTYPE_F8_E4M3;
    struct linear_weight weight = { .n = n, .k = k, .type = type,
                                    .panels = bench_random(type, (size_t)padded * (size_t)k, narrow ? 100 : 0.05f),
                                    .bias   = bench_random(DTYPE_F32, (size_t)padded, 0.1f),
                                    .scales = bench_random(DTYPE_F32, (size_t)padded, 0.01f) };
    void                *x      = bench_random(type, (size_t)rows * (size_t)k, narrow ? 100 : 1);
    void                *scales = bench_random(DTYPE_F32, (size_t)rows, 0.01f);
    void                *y      = bench_memory((size_t)rows * (size_t)n * 2);
    struct linear_case   work   = {
            .launch = whole(bench, rows, 1, rows),
            .args   = { .weight = &weight, .x = x, .x_stride = stride, .x_scales = scales, .act = layer->act, .y = y,
                        .y_stride = (size_t)width * 2, .y_type = DTYPE_BF16 },
    };
    struct cublaslt_work peer = { .library = bench->cublaslt, .rows = rows, .n = n, .k = k, .x = x, .weight = weight.panels,
                                  .y = y };
    snprintf(bench->shape, sizeof bench->shape, "%d x %d x %d%s", rows, n, k, narrow ? ", fp8" : "");
    bench->row = (struct bench_row){ .kernel = layer->name, .shape = bench->shape, .peer = "cuBLASLt, product alone",
                                     .rate = narrow ? 2 : 1 };
    time_launch(bench, &work.launch, run_linear, &work);
    if (bench->cublaslt && !narrow) {
        bench->row.peer_seconds = bench_seconds(&bench->device, cublaslt_launch, &peer);
        cublaslt_finish(&peer);
    }
    bench_print(&bench->device, &bench->row);
    bench_free((void *)(uintptr_t)weight.panels);
    bench_free((void *)(uintptr_t)weight.bias);
    bench_free((void *)(uintptr_t)weight.scales);
    bench_free(scales);
    bench_free(x);
    bench_free(y);
}

static void bench_linears(struct bench *bench)
{
    static const struct layer layers[] = {
        { "linear base qkv", 2304, 768, LINEAR_NONE },        { "linear base out", 768, 768, LINEAR_NONE },
        { "linear base up, gelu", 3072, 768, LINEAR_GELU_ERF }, { "linear base down", 768, 3072, LINEAR_NONE },
        { "linear large qkv", 3072, 1024, LINEAR_NONE },      { "linear large up, gelu", 4096, 1024, LINEAR_GELU_ERF },
        { "linear large down", 1024, 4096, LINEAR_NONE },     { "linear qwen qkv", 4096, 1024, LINEAR_NONE },
        { "linear qwen up, gate", 6144, 1024, LINEAR_SILU_GATE }, { "linear qwen down", 1024, 3072, LINEAR_NONE },
    };
    static const int rows[] = { 128, 4096, 32768 };
    for (size_t i = 0; i < sizeof layers / sizeof *layers; i++)
        for (size_t j = 0; j < sizeof rows / sizeof *rows; j++)
            for (int narrow = 0; narrow < 2; narrow++)
                bench_linear(bench, narrow ? DTYPE_F8_E4M3 : DTYPE_BF16, rows[j], &layers[i]);
}

/* ---- attention ---- */

struct attention_case {
    struct cuda_launch    launch;
    struct attention_args args;
    void                 *schedule;
};

static cudaError_t run_attention(const struct bench_device *device, void *context)
{
    struct attention_case *work = context;
    return device->kernels->attention_bf16(&work->launch, &work->args, work->schedule);
}

static void bench_attention(struct bench *bench, int length, int heads, int kv_heads, int head_size, bool causal)
{
    enum { TOKENS = 16384 };
    const int    sequences = TOKENS / length, width = (heads + 2 * kv_heads) * head_size;
    const size_t stride    = (size_t)width * 2;
    int32_t     *starts    = malloc((size_t)(sequences + 1) * sizeof *starts);
    if (!starts)
        bench_check(cudaErrorMemoryAllocation, "taking memory");
    for (int i = 0; i <= sequences; i++)
        starts[i] = i * length;
    char                 *qkv  = bench_random(DTYPE_BF16, (size_t)TOKENS * (size_t)width, 2);
    void                 *y    = bench_memory((size_t)TOKENS * (size_t)heads * (size_t)head_size * 2);
    struct attention_case work = {
        .launch   = whole(bench, TOKENS, sequences, length),
        .args     = { .q = qkv, .k = qkv + heads * head_size * 2, .v = qkv + (heads + kv_heads) * head_size * 2, .q_stride = stride,
                      .k_stride = stride, .v_stride = stride, .type = DTYPE_BF16, .heads = heads, .kv_heads = kv_heads,
                      .head_size = head_size, .scale = 1 / sqrtf((float)head_size), .causal = causal,
                      .starts = bench_copy(starts, (size_t)(sequences + 1) * sizeof *starts), .y = y,
                      .y_stride = (size_t)(heads * head_size) * 2, .y_type = DTYPE_BF16 },
        .schedule = bench_memory(attention_schedule_bytes(TOKENS, sequences)),
    };
    bench_check(bench->device.kernels->attention_schedule(&work.launch, &work.args, work.schedule), "scheduling attention");
    snprintf(bench->shape, sizeof bench->shape, "%d sequences of %d, %d heads of %d, %d of keys%s", sequences, length, heads,
             head_size, kv_heads, causal ? ", causal" : "");
    bench->row = (struct bench_row){ .kernel = "attention", .shape = bench->shape };
    time_launch(bench, &work.launch, run_attention, &work);
    /* What a sequence of this length costs; the launcher only knows the caps. */
    bench->row.operations = 4.0 * TOKENS * length * heads * head_size * (causal ? 0.5 : 1);
    bench_print(&bench->device, &bench->row);
    bench_free((void *)(uintptr_t)work.args.starts);
    bench_free(work.schedule);
    bench_free(qkv);
    bench_free(y);
    free(starts);
}

static void bench_attentions(struct bench *bench)
{
    static const int lengths[] = { 16, 32, 64, 128, 256, 512, 1024, 4096 };
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        bench_attention(bench, lengths[i], 12, 12, 32, false);
        bench_attention(bench, lengths[i], 12, 12, 64, false);
        bench_attention(bench, lengths[i], 16, 8, 128, true);
        bench_attention(bench, lengths[i], 16, 16, 128, false);
    }
}

/* ---- what works row by row ---- */

struct rows_case {
    struct cuda_launch      launch;
    struct embed_args       embed;
    struct norm_args        norm;
    struct convert_args     convert;
    struct fp8_args         quantize;
    struct rotary_args      rotary;
    struct pool_args        pool;
};

static cudaError_t run_embed(const struct bench_device *device, void *context)
{
    struct rows_case *work = context;
    return device->kernels->embed_rows(&work->launch, &work->embed);
}

static cudaError_t run_norm(const struct bench_device *device, void *context)
{
    struct rows_case *work = context;
    return device->kernels->norm_layer(&work->launch, &work->norm);
}

static cudaError_t run_convert(const struct bench_device *device, void *context)
{
    struct rows_case *work = context;
    return device->kernels->convert_bf16(&work->launch, &work->convert);
}

static cudaError_t run_quantize(const struct bench_device *device, void *context)
{
    struct rows_case *work = context;
    return device->kernels->quantize_fp8 ? device->kernels->quantize_fp8(&work->launch, &work->quantize) : cudaErrorNotSupported;
}

static cudaError_t run_rotary(const struct bench_device *device, void *context)
{
    struct rows_case *work = context;
    return device->kernels->rotary_half(&work->launch, &work->rotary);
}

static cudaError_t run_pool(const struct bench_device *device, void *context)
{
    struct rows_case *work = context;
    return device->kernels->pool_mean(&work->launch, &work->pool);
}

static void bench_row_kernels(struct bench *bench, int width)
{
    enum { ROWS = 32768, LENGTH = 128, SEQUENCES = ROWS / LENGTH, HEAD = 64 };
    static int32_t ids[ROWS], positions[ROWS], starts[SEQUENCES + 1];
    for (int i = 0; i < ROWS; i++) {
        ids[i]       = (i * 7919) % 30000;
        positions[i] = i % LENGTH;
    }
    for (int i = 0; i <= SEQUENCES; i++)
        starts[i] = i * LENGTH;
    const size_t  stride = (size_t)width * 4, count = (size_t)ROWS * (size_t)width;
    float        *x = bench_random(DTYPE_F32, count, 1), *y = bench_memory(count * 4);
    void         *tables = bench_random(DTYPE_BF16, (size_t)30512 * (size_t)width, 1), *copy = bench_memory(count * 2);
    float        *small = bench_random(DTYPE_F32, (size_t)width * 512, 1);
    int32_t      *device_ids = bench_copy(ids, sizeof ids), *device_positions = bench_copy(positions, sizeof positions);
    int32_t      *device_starts = bench_copy(starts, sizeof starts);
    struct rows_case work = {
        .launch  = whole(bench, ROWS, SEQUENCES, LENGTH),
        .embed   = { .words = tables, .positions = (char *)tables + (size_t)30000 * (size_t)width * 2, .types = tables,
                     .table_type = DTYPE_BF16, .width = width, .ids = device_ids, .position_ids = device_positions, .y = y,
                     .y_stride = stride },
        .norm    = { .x = x, .x_stride = stride, .weight = small, .bias = small + width, .width = width, .epsilon = 1e-12f, .y = y,
                     .y_stride = stride, .copy = copy, .copy_stride = stride / 2, .copy_type = DTYPE_BF16 },
        .convert = { .x = x, .x_stride = stride, .y = copy, .y_stride = stride / 2, .width = width },
        .quantize = { .x = x, .x_type = DTYPE_F32, .x_stride = stride, .width = width, .y = copy, .y_stride = stride / 4,
                      .scales = y },
        .rotary  = { .x = x, .x_stride = stride, .heads = width / HEAD, .head_size = HEAD, .position_ids = device_positions,
                     .cosines = small, .sines = small + LENGTH * HEAD },
        .pool    = { .x = x, .x_stride = stride, .width = width, .starts = device_starts, .y = y, .y_stride = stride },
    };
    const struct {
        const char   *name;
        bench_launch *run;
    } kernels[] = { { "embed", run_embed }, { "norm, with a copy in bf16", run_norm }, { "convert to bf16", run_convert },
                    { "quantize to e4m3", run_quantize }, { "rotary", run_rotary }, { "pool, mean", run_pool } };
    for (size_t i = 0; i < sizeof kernels / sizeof *kernels; i++) {
        snprintf(bench->shape, sizeof bench->shape, "%d x %d", ROWS, width);
        bench->row = (struct bench_row){ .kernel = kernels[i].name, .shape = bench->shape };
        time_launch(bench, &work.launch, kernels[i].run, &work);
        bench_print(&bench->device, &bench->row);
    }
    void *const memory[] = { x, y, tables, copy, small, device_ids, device_positions, device_starts };
    for (size_t i = 0; i < sizeof memory / sizeof *memory; i++)
        bench_free(memory[i]);
}

int main(int argc, char **argv)
{
    const char *only   = NULL;
    int         rounds = 20;
    for (int i = 1; i < argc; i += 2) {
        if (i + 1 < argc && strcmp(argv[i], "--rounds") == 0 && atoi(argv[i + 1]) > 0) {
            rounds = atoi(argv[i + 1]);
        } else if (i + 1 < argc && strcmp(argv[i], "--only") == 0) {
            only = argv[i + 1];
        } else {
            printf(help, argv[0]);
            return 2;
        }
    }
    struct bench bench = { .cublaslt = NULL };
    bench_open(&bench.device, rounds);
    bench.cublaslt = cublaslt_open();
    bench.live     = bench_memory(sizeof *bench.live);
    fprintf(stderr, "%s, %s kernels; a copy moves %.0f GB/s, the matrix units could compute %.0f TFLOP/s; cuBLASLt is %s\n",
            bench.device.name, bench.device.kernels->name, bench.device.bytes_second * 1e-9,
            bench.device.operations_second * 1e-12, bench.cublaslt ? "here" : "not installed");
    if (!only || strcmp(only, "linear") == 0)
        bench_linears(&bench);
    if (!only || strcmp(only, "attention") == 0)
        bench_attentions(&bench);
    if (!only || strcmp(only, "rows") == 0) {
        bench_row_kernels(&bench, 768);
        bench_row_kernels(&bench, 1024);
    }
    bench_free(bench.live);
    cublaslt_close(bench.cublaslt);
    bench_close(&bench.device);
    return 0;
}
