/* Times the CUDA kernels on the shapes of real models, beside their limits and cuBLASLt; one line of JSON a row. See --help. */
#include "profiling/gpu/bench.h"
#include "profiling/gpu/cublaslt.h"
#include "profiling/gpu/epilogue.h"

#include "kernels/linear/linear_choose.h"
#include "tests/support/arguments.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char help[] =
    "usage: %s [--rounds N] [--only linear|tiles|attention|rows] [--quick]\n"
    "Prints one line of JSON for each kernel and shape: the median of N launches (20, at most 100) with a cold cache.\n"
    "tiles: every tile that a linear can take, by force. rows: embedding, norms, conversion, rotary, pooling.\n"
    "--quick: small shapes and one launch of each, to see that the program works.\n";

struct bench {
    struct bench_device device;
    struct cublaslt    *cublaslt;  /* null: not installed */
    struct cuda_live   *live;      /* in device memory */
    struct bench_row    row;
    char                shape[96], name[96];
    bool                quick;
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

/* Layers of real models; those with a residual end in f32, as in a forward pass. */
struct layer {
    const char     *name;
    int             n, k;
    enum linear_act act;
    bool            residual;
};

static const struct layer layers[] = {
    { "linear base qkv", 2304, 768, LINEAR_NONE, false },      { "linear base out", 768, 768, LINEAR_NONE, true },
    { "linear base up, gelu", 3072, 768, LINEAR_GELU_ERF, false }, { "linear base down", 768, 3072, LINEAR_NONE, true },
    { "linear large qkv", 3072, 1024, LINEAR_NONE, false },    { "linear large out", 1024, 1024, LINEAR_NONE, true },
    { "linear large up, gelu", 4096, 1024, LINEAR_GELU_ERF, false }, { "linear large down", 1024, 4096, LINEAR_NONE, true },
    { "linear qwen qkv", 4096, 1024, LINEAR_NONE, false },     { "linear qwen out", 1024, 2048, LINEAR_NONE, true },
    { "linear qwen up, gate", 6144, 1024, LINEAR_SILU_GATE, false }, { "linear qwen down", 1024, 3072, LINEAR_NONE, true },
};
enum { LAYERS = sizeof layers / sizeof *layers, QUICK_LAYERS = 4, QUICK_ROWS = 33 };

struct linear_case {
    struct cuda_launch       launch;
    struct linear_weight     weight;
    struct linear_args       args;
    struct epilogue_args     epilogue;
    struct cublaslt_work     product, fused;
    void                    *memory[9];
    enum linear_cuda_variant variant;
};

static cudaError_t run_linear(const struct bench_device *device, void *context)
{
    struct linear_case *work = context;
    if (work->args.weight->type == DTYPE_BF16)
        return device->kernels->linear_bf16(&work->launch, &work->args);
    return device->kernels->linear_fp8 ? device->kernels->linear_fp8(&work->launch, &work->args) : cudaErrorNotSupported;
}

static cudaError_t run_tile(const struct bench_device *device, void *context)
{
    struct linear_case *work = context;
    (void)device;
    return linear_cuda_launch(&work->launch, &work->args, work->variant);
}

static cudaError_t run_epilogue(const struct bench_device *device, void *context)
{
    struct linear_case *work = context;
    (void)device;
    return epilogue_cuda(&work->launch, &work->epilogue);
}

static cudaError_t run_apart(const struct bench_device *device, void *context)
{
    struct linear_case *work   = context;
    const cudaError_t   status = cublaslt_launch(device, &work->product);
    return status ? status : run_epilogue(device, context);
}

/* operands: bf16 or e4m3. */
static void make_linear(struct bench *bench, struct linear_case *work, const struct layer *layer, enum dtype operands, int rows)
{
    const size_t outputs = (size_t)rows * (size_t)layer->n, width = (size_t)layer->n / (layer->act == LINEAR_SILU_GATE ? 2 : 1);
    const bool   narrow  = operands == DTYPE_F8_E4M3;
    void *const memory[] = {
        bench_random(operands, (size_t)layer->n * (size_t)layer->k, narrow ? 100 : 0.05f),
        bench_random(DTYPE_F32, (size_t)layer->n, 0.1f),
        bench_random(operands, (size_t)rows * (size_t)layer->k, narrow ? 100 : 1),
        bench_memory(outputs * 4), bench_memory(outputs * 2),
        layer->residual ? bench_random(DTYPE_F32, outputs, 1) : NULL, bench_random(DTYPE_BF16, (size_t)layer->n, 0.1f),
        bench_random(DTYPE_F32, (size_t)layer->n, 0.01f), bench_random(DTYPE_F32, (size_t)rows, 0.01f),
    };
    *work = (struct linear_case){
        .launch   = whole(bench, rows, 1, rows),
        .weight   = { .n = layer->n, .k = layer->k, .type = operands, .panels = memory[0], .bias = memory[1],
                      .scales = memory[7] },
        .epilogue = { .x = memory[4], .bias = memory[1], .act = layer->act, .residual = memory[5], .y = memory[3], .n = layer->n },
        .product  = { .library = bench->cublaslt, .rows = rows, .n = layer->n, .k = layer->k, .x = memory[2], .weight = memory[0],
                      .y = memory[4] },
    };
    memcpy(work->memory, memory, sizeof memory);
    work->fused      = work->product;
    work->fused.bias = memory[6];
    work->fused.gelu = layer->act == LINEAR_GELU_ERF;
    work->args       = (struct linear_args){ .weight = &work->weight, .x = memory[2], .x_scales = memory[8],
                                             .x_stride = (size_t)layer->k * (narrow ? 1 : 2), .act = layer->act,
                                             .residual = memory[5], .residual_stride = (size_t)layer->n * 4, .y = memory[3],
                                             .y_stride = width * (layer->residual ? 4 : 2),
                                             .y_type = layer->residual ? DTYPE_F32 : DTYPE_BF16 };
    snprintf(bench->shape, sizeof bench->shape, "%d x %d x %d%s", rows, layer->n, layer->k, narrow ? ", fp8" : "");
    bench->row = (struct bench_row){ .kernel = layer->name, .shape = bench->shape, .rate = narrow ? 2 : 1 };
}

static void drop_linear(struct linear_case *work)
{
    cublaslt_finish(&work->product);
    cublaslt_finish(&work->fused);
    for (size_t i = 0; i < sizeof work->memory / sizeof *work->memory; i++)
        bench_free(work->memory[i]);
}

/* Three peers: the product alone, which is less work; with the same epilogue as a kernel of its own; and what its own epilogues
 * can fuse, which is a bias and GELU by tanh. */
static void time_linear_peers(struct bench *bench, struct linear_case *work, const struct layer *layer)
{
    const bool fuses = !layer->residual && layer->act != LINEAR_SILU_GATE;
    bench->row.peers[0].name    = "cuBLASLt, product alone";
    bench->row.peers[0].seconds = bench_seconds(&bench->device, cublaslt_launch, &work->product);
    bench->row.peers[1].name    = "cuBLASLt, epilogue apart";
    bench->row.peers[1].seconds = bench_seconds(&bench->device, run_apart, work);
    bench->row.peers[2].name    = fuses ? "cuBLASLt, fused" : NULL;
    bench->row.peers[2].seconds = fuses ? bench_seconds(&bench->device, cublaslt_launch, &work->fused) : 0;
}

static void bench_linear(struct bench *bench, const struct layer *layer, enum dtype operands, int rows)
{
    struct linear_case work;
    make_linear(bench, &work, layer, operands, rows);
    time_launch(bench, &work.launch, run_linear, &work);
    if (bench->cublaslt && operands == DTYPE_BF16)
        time_linear_peers(bench, &work, layer);
    bench_print(&bench->device, &bench->row);
    if (operands == DTYPE_BF16 && (layer->act != LINEAR_NONE || layer->residual)) {
        snprintf(bench->name, sizeof bench->name, "epilogue apart of %s", layer->name);
        bench->row = (struct bench_row){ .kernel = bench->name, .shape = bench->shape };
        time_launch(bench, &work.launch, run_epilogue, &work);
        bench_print(&bench->device, &bench->row);
    }
    drop_linear(&work);
}

static void bench_linears(struct bench *bench)
{
    static const int        rows[]     = { 128, 4096, 16384, 32768 };
    static const enum dtype operands[] = { DTYPE_BF16, DTYPE_F8_E4M3 };
    for (int t = 0; t < 2; t++) {
        for (int i = 0; i < QUICK_LAYERS && bench->quick; i++)
            bench_linear(bench, &layers[i], operands[t], QUICK_ROWS);
        for (int i = 0; i < LAYERS && !bench->quick; i++)
            for (size_t j = 0; j < sizeof rows / sizeof *rows; j++)
                bench_linear(bench, &layers[i], operands[t], rows[j]);
    }
}

/* Every tile on one shape: what the chooser's estimate has to agree with. */
static void bench_tiles_of(struct bench *bench, const struct layer *layer, int rows)
{
    struct linear_case work;
    make_linear(bench, &work, layer, DTYPE_BF16, rows);
    const enum linear_cuda_variant chosen = linear_cuda_choose(&bench->device.facts, &work.weight, layer->act, rows);
    for (int v = LINEAR_CUDA_MMA_64X64; v < LINEAR_CUDA_VARIANTS; v++) {
        work.variant = (enum linear_cuda_variant)v;
        if (!linear_cuda_can(&bench->device.facts, work.variant, &work.weight, layer->act))
            continue;
        snprintf(bench->name, sizeof bench->name, "tile %s%s of %s", linear_cuda_name(work.variant),
                 work.variant == chosen ? " (chosen)" : "", layer->name);
        bench->row.kernel = bench->name;
        time_launch(bench, &work.launch, run_tile, &work);
        bench_print(&bench->device, &bench->row);
    }
    drop_linear(&work);
}

static void bench_tiles(struct bench *bench)
{
    static const int rows[] = { 128, 512, 4096, 16384 };
    for (int i = 0; i < (bench->quick ? 1 : QUICK_LAYERS); i++)
        for (size_t j = 0; j < (bench->quick ? 1 : sizeof rows / sizeof *rows); j++)
            bench_tiles_of(bench, &layers[i], bench->quick ? QUICK_ROWS : rows[j]);
}

/* ---- attention ---- */

enum { MOST_TOKENS = 16384, QUICK_TOKENS = 160, LEAST_LENGTH = 16 };

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

/* So many sequences, one after another. */
struct packing {
    int     tokens, sequences, longest;
    double  pairs;  /* of a query and a key, all sequences together */
    int32_t starts[MOST_TOKENS / LEAST_LENGTH + 1];
};

/* As many sequences as fit; of one length, or for 0 of 16 to 128 tokens, as peers.py has them too. */
static struct packing pack(int tokens, int length)
{
    struct packing p = { .tokens = 0 };
    for (;;) {
        const int next = length ? length : LEAST_LENGTH + p.sequences * 37 % 113;
        if (p.tokens + next > tokens)
            return p;
        p.tokens += next;
        p.pairs += (double)next * next;
        p.longest               = next > p.longest ? next : p.longest;
        p.starts[++p.sequences] = p.tokens;
    }
}

struct heads {
    int  heads, kv_heads, size;
    bool causal;
};

static void bench_attention(struct bench *bench, int length, const struct heads *h)
{
    const struct packing  p      = pack(bench->quick ? QUICK_TOKENS : MOST_TOKENS, length);
    const int             width  = (h->heads + 2 * h->kv_heads) * h->size;
    const size_t          stride = (size_t)width * 2;
    char                 *qkv    = bench_random(DTYPE_BF16, (size_t)p.tokens * (size_t)width, 2);
    void                 *y      = bench_memory((size_t)p.tokens * (size_t)(h->heads * h->size) * 2);
    int32_t              *starts = bench_copy(p.starts, (size_t)(p.sequences + 1) * sizeof *p.starts);
    struct attention_case work   = {
          .launch   = whole(bench, p.tokens, p.sequences, p.longest),
          .args     = { .q = qkv, .k = qkv + h->heads * h->size * 2, .v = qkv + (h->heads + h->kv_heads) * h->size * 2,
                        .q_stride = stride, .k_stride = stride, .v_stride = stride, .type = DTYPE_BF16, .heads = h->heads,
                        .kv_heads = h->kv_heads, .head_size = h->size, .scale = 1 / sqrtf((float)h->size), .causal = h->causal,
                        .starts = starts, .y = y, .y_stride = (size_t)(h->heads * h->size) * 2, .y_type = DTYPE_BF16 },
          .schedule = bench_memory(attention_schedule_bytes(p.tokens, p.sequences)),
    };
    bench_check(bench->device.kernels->attention_schedule(&work.launch, &work.args, work.schedule), "scheduling attention");
    snprintf(bench->shape, sizeof bench->shape, "%d sequences of %s%d, %d heads of %d, %d of keys%s", p.sequences,
             length ? "" : "16 to ", p.longest, h->heads, h->size, h->kv_heads, h->causal ? ", causal" : "");
    bench->row = (struct bench_row){ .kernel = "attention", .shape = bench->shape };
    time_launch(bench, &work.launch, run_attention, &work);
    /* What these lengths cost; the launcher only knows the caps. */
    bench->row.operations = 4.0 * p.pairs * h->heads * h->size * (h->causal ? 0.5 : 1);
    bench_print(&bench->device, &bench->row);
    bench_free(starts);
    bench_free(work.schedule);
    bench_free(qkv);
    bench_free(y);
}

static void bench_attentions(struct bench *bench)
{
    static const int          lengths[] = { 16, 32, 64, 128, 0, 256, 512, 1024, 4096 };
    static const struct heads heads[]   = { { 12, 12, 32, false }, { 12, 12, 64, false }, { 16, 8, 128, true },
                                            { 16, 16, 128, false } };
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++)
        for (size_t j = 0; j < sizeof heads / sizeof *heads; j++)
            if (!bench->quick || (lengths[i] <= LEAST_LENGTH && heads[j].size == 64))
                bench_attention(bench, lengths[i], &heads[j]);
}

/* ---- what works row by row ---- */

struct rows_case {
    struct cuda_launch      launch;
    struct embed_args       embed;
    struct norm_args        norm, norm_e4m3;
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

static cudaError_t run_norm_e4m3(const struct bench_device *device, void *context)
{
    struct rows_case *work = context;
    return device->kernels->linear_fp8 ? device->kernels->norm_layer(&work->launch, &work->norm_e4m3) : cudaErrorNotSupported;
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
    enum { ROWS = 32768, LENGTH = 128, HEAD = 64 };
    static int32_t ids[ROWS], positions[ROWS], starts[ROWS / LENGTH + 1];
    const int      rows = bench->quick ? LENGTH : ROWS, sequences = rows / LENGTH;
    for (int i = 0; i < rows; i++) {
        ids[i]       = (i * 7919) % 30000;
        positions[i] = i % LENGTH;
    }
    for (int i = 0; i <= sequences; i++)
        starts[i] = i * LENGTH;
    const size_t  stride = (size_t)width * 4, count = (size_t)rows * (size_t)width;
    float        *x = bench_random(DTYPE_F32, count, 1), *y = bench_memory(count * 4);
    void         *tables = bench_random(DTYPE_BF16, (size_t)30512 * (size_t)width, 1), *copy = bench_memory(count * 2);
    float        *small = bench_random(DTYPE_F32, (size_t)width * 512, 1);
    int32_t      *device_ids = bench_copy(ids, sizeof ids), *device_positions = bench_copy(positions, sizeof positions);
    int32_t      *device_starts = bench_copy(starts, sizeof starts);
    struct rows_case work = {
        .launch  = whole(bench, rows, sequences, LENGTH),
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
    work.norm_e4m3             = work.norm;
    work.norm_e4m3.copy_type   = DTYPE_F8_E4M3;
    work.norm_e4m3.copy_stride = stride / 4;
    work.norm_e4m3.copy_scales = (float *)copy + count / 4;  /* behind the codes */
    const struct {
        const char   *name;
        bench_launch *run;
    } kernels[] = { { "embed", run_embed }, { "norm, with a copy in bf16", run_norm },
                    { "norm, with a copy in e4m3", run_norm_e4m3 }, { "convert to bf16", run_convert },
                    { "quantize to e4m3", run_quantize }, { "rotary", run_rotary }, { "pool, mean", run_pool } };
    for (size_t i = 0; i < sizeof kernels / sizeof *kernels; i++) {
        snprintf(bench->shape, sizeof bench->shape, "%d x %d", rows, width);
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
    const char           *only   = "";
    uint64_t              rounds = 20;
    struct bench          bench  = { .cublaslt = NULL };
    const struct argument known[] = { { .name = "--quick", .flag = &bench.quick }, { .name = "--rounds", .number = &rounds },
                                      { .name = "--only", .text = &only } };
    if (!arguments_read(known, sizeof known / sizeof *known, argc, argv) || rounds < 1 || rounds > 100) {
        printf(help, argv[0]);
        return 2;
    }
    bench_open(&bench.device, bench.quick ? 1 : (int)rounds, bench.quick, &bench.cublaslt);
    bench.live = bench_memory(sizeof *bench.live);
    if (!*only || strcmp(only, "linear") == 0)
        bench_linears(&bench);
    if (!*only || strcmp(only, "attention") == 0)
        bench_attentions(&bench);
    if (!*only || strcmp(only, "rows") == 0)
        for (int width = 768; width <= 1024; width += 256)
            bench_row_kernels(&bench, width);
    if (strcmp(only, "tiles") == 0 || (!*only && bench.quick))
        bench_tiles(&bench);
    bench_free(bench.live);
    bench_close(&bench.device, bench.cublaslt);
    return 0;
}
