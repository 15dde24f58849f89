/* Linears of real models beside cuBLASLt: with all that a forward pass fuses to them, with the norm that follows, and bare. */
#include "profiling/gpu/bench_kernels.h"
#include "profiling/gpu/cublaslt.h"
#include "profiling/gpu/epilogue.h"

#include "kernels/linear/linear_choose.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* Those with a residual end in f32 and in a norm, as in a forward pass: of the sum for the next layer too where it is taken before
 * a layer (rms), and not where after. */
struct layer {
    const char     *name;
    int             n, k;
    enum linear_act act;
    bool            residual, rms;
};

static const struct layer layers[] = {
    { "linear base qkv", 2304, 768, LINEAR_NONE, false, false },
    { "linear base out", 768, 768, LINEAR_NONE, true, false },
    { "linear base up, gelu", 3072, 768, LINEAR_GELU_ERF, false, false },
    { "linear base down", 768, 3072, LINEAR_NONE, true, false },
    { "linear large qkv", 3072, 1024, LINEAR_NONE, false, false },
    { "linear large out", 1024, 1024, LINEAR_NONE, true, false },
    { "linear large up, gelu", 4096, 1024, LINEAR_GELU_ERF, false, false },
    { "linear large down", 1024, 4096, LINEAR_NONE, true, false },
    { "linear qwen qkv", 4096, 1024, LINEAR_NONE, false, false },
    { "linear qwen out", 1024, 2048, LINEAR_NONE, true, true },
    { "linear qwen up, gate", 6144, 1024, LINEAR_SILU_GATE, false, false },
    { "linear qwen down", 1024, 3072, LINEAR_NONE, true, true },
};
enum { LAYERS = sizeof layers / sizeof *layers, QUICK_ROWS = 33, QUICK_PART = 4 };

/* Device memory of a case. PRODUCT: what cuBLASLt leaves. */
enum { WEIGHT, BIAS, X, Y, PRODUCT, RESIDUAL, BIAS_BF16, WEIGHT_SCALES, X_SCALES, NORM, NORMED, COPY, COPY_SCALES, MEMORIES };

struct linear_case {
    const struct layer       *layer;
    int                       rows;
    struct cuda_launch        launch;
    struct linear_weight      weight, bare;  /* without a bias */
    struct linear_args        args, plain;
    struct linear_norm_args   norm;
    struct epilogue_args      epilogue;
    struct epilogue_norm_args epilogue_norm;
    struct cublaslt_work      product, fused;
    void                     *memory[MEMORIES];
    enum linear_cuda_variant  variant;
};

/* ---- what is timed; context: the case ---- */

static cudaError_t run_linear(const struct bench_device *device, void *context)
{
    struct linear_case *work = context;
    if (work->args.weight->type == DTYPE_BF16)
        return device->kernels->linear_bf16(&work->launch, &work->args);
    return device->kernels->linear_fp8 ? device->kernels->linear_fp8(&work->launch, &work->args) : cudaErrorNotSupported;
}

static cudaError_t run_plain(const struct bench_device *device, void *context)
{
    struct linear_case *work = context;
    return device->kernels->linear_bf16(&work->launch, &work->plain);
}

static cudaError_t run_norm(const struct bench_device *device, void *context)
{
    struct linear_case *work = context;
    if (!device->kernels->linear_norm_fits(&device->facts, &work->weight, work->layer->act))
        return cudaErrorNotSupported;
    return device->kernels->linear_norm(&work->launch, &work->norm);
}

static cudaError_t run_tile(const struct bench_device *device, void *context)
{
    struct linear_case *work = context;
    (void)device;
    return linear_cuda_launch(&work->launch, &work->args, work->variant);
}

static cudaError_t run_product(const struct bench_device *device, void *context)
{
    struct linear_case *work = context;
    return cublaslt_launch(device, &work->product);
}

static cudaError_t run_fused(const struct bench_device *device, void *context)
{
    struct linear_case *work = context;
    return cublaslt_launch(device, &work->fused);
}

static cudaError_t run_epilogue(const struct bench_device *device, void *context)
{
    struct linear_case *work = context;
    (void)device;
    return epilogue_cuda(&work->launch, &work->epilogue);
}

static cudaError_t run_epilogue_norm(const struct bench_device *device, void *context)
{
    struct linear_case *work = context;
    (void)device;
    return epilogue_norm_cuda(&work->launch, &work->epilogue_norm);
}

static cudaError_t run_apart(const struct bench_device *device, void *context)
{
    const cudaError_t status = run_product(device, context);
    return status ? status : run_epilogue(device, context);
}

static cudaError_t run_norm_apart(const struct bench_device *device, void *context)
{
    const cudaError_t status = run_product(device, context);
    return status ? status : run_epilogue_norm(device, context);
}

/* ---- a case ---- */

static int width_of(const struct layer *layer) { return layer->act == LINEAR_SILU_GATE ? layer->n / 2 : layer->n; }

static void take_memory(struct linear_case *work, enum dtype operands)
{
    const struct layer *layer   = work->layer;
    const size_t        n       = (size_t)layer->n, k = (size_t)layer->k, rows = (size_t)work->rows, outputs = rows * n;
    const bool          narrow  = operands == DTYPE_F8_E4M3;
    void *const         memory[MEMORIES] = {
        [WEIGHT]    = bench_random(operands, n * k, narrow ? 100 : 0.05f),
        [BIAS]      = bench_random(DTYPE_F32, n, 0.1f),
        [X]         = bench_random(operands, rows * k, narrow ? 100 : 1),
        [Y]         = bench_memory(outputs * 4),
        [PRODUCT]   = bench_memory(outputs * 2),
        [RESIDUAL]  = layer->residual ? bench_random(DTYPE_F32, outputs, 1) : NULL,
        [BIAS_BF16] = bench_random(DTYPE_BF16, n, 0.1f),
        [WEIGHT_SCALES] = bench_random(DTYPE_F32, n, 0.01f),
        [X_SCALES]      = bench_random(DTYPE_F32, rows, 0.01f),
        [NORM]          = bench_random(DTYPE_F32, 2 * n, 1),
        [NORMED]        = layer->residual ? bench_memory(outputs * 4) : NULL,
        [COPY]          = layer->residual ? bench_memory(outputs * 2) : NULL,
        [COPY_SCALES]   = bench_memory(rows * 4),
    };
    memcpy(work->memory, memory, sizeof memory);
}

static void describe_norm(struct linear_case *work)
{
    const struct layer *layer  = work->layer;
    const size_t        stride = (size_t)layer->n * 4;
    const bool          narrow = work->weight.type == DTYPE_F8_E4M3;
    float *const        weight = work->memory[NORM], *shift = layer->rms ? NULL : weight + layer->n;
    float *const        sum = layer->rms ? work->memory[Y] : NULL, *y = layer->rms ? NULL : work->memory[NORMED];
    work->norm = (struct linear_norm_args){
        .linear = work->args,
        .norm   = { .weight = weight, .bias = shift, .width = layer->n, .epsilon = 1e-6f, .y = y, .y_stride = stride,
                    .copy = work->memory[COPY], .copy_stride = narrow ? stride / 4 : stride / 2, .copy_type = work->weight.type,
                    .copy_scales = work->memory[COPY_SCALES] },
        .rms    = layer->rms,
    };
    work->norm.linear.y = sum;
    work->epilogue_norm = (struct epilogue_norm_args){ .x = work->memory[PRODUCT], .bias = work->memory[BIAS],
                                                       .residual = work->memory[RESIDUAL], .weight = weight, .shift = shift,
                                                       .epsilon = 1e-6f, .sum = sum, .y = y, .copy = work->memory[COPY],
                                                       .n = layer->n };
}

/* operands: bf16 or e4m3. */
static void make_linear(struct bench *bench, struct linear_case *work, const struct layer *layer, enum dtype operands, int rows)
{
    const bool narrow = operands == DTYPE_F8_E4M3;
    *work = (struct linear_case){ .layer = layer, .rows = rows, .launch = bench_whole(bench, rows, 1, rows) };
    take_memory(work, operands);
    void *const *memory = work->memory;
    work->weight   = (struct linear_weight){ .n = layer->n, .k = layer->k, .type = operands, .panels = memory[WEIGHT],
                                             .bias = memory[BIAS], .scales = memory[WEIGHT_SCALES] };
    work->epilogue = (struct epilogue_args){ .x = memory[PRODUCT], .bias = memory[BIAS], .act = layer->act,
                                             .residual = memory[RESIDUAL], .y = memory[Y], .n = layer->n };
    work->product  = (struct cublaslt_work){ .library = bench->cublaslt, .rows = rows, .n = layer->n, .k = layer->k, .x = memory[X],
                                             .weight = memory[WEIGHT], .x_scales = narrow ? memory[X_SCALES] : NULL,
                                             .weight_scales = narrow ? memory[WEIGHT_SCALES] : NULL, .y = memory[PRODUCT] };
    work->fused      = work->product;
    work->fused.gelu = layer->act == LINEAR_GELU_ERF;
    work->fused.bias = memory[layer->residual ? BIAS : BIAS_BF16];
    work->fused.residual = memory[RESIDUAL];
    work->fused.y        = memory[layer->residual ? Y : PRODUCT];
    work->args       = (struct linear_args){ .weight = &work->weight, .x = memory[X], .x_scales = memory[X_SCALES],
                                             .x_stride = (size_t)layer->k * (narrow ? 1 : 2), .act = layer->act,
                                             .residual = memory[RESIDUAL], .residual_stride = (size_t)layer->n * 4, .y = memory[Y],
                                             .y_stride = (size_t)width_of(layer) * (layer->residual ? 4 : 2),
                                             .y_type = layer->residual ? DTYPE_F32 : DTYPE_BF16 };
    work->bare       = work->weight;
    work->bare.bias  = NULL;
    work->plain      = (struct linear_args){ .weight = &work->bare, .x = memory[X], .x_stride = (size_t)layer->k * 2,
                                             .y = memory[Y], .y_stride = (size_t)layer->n * 2, .y_type = DTYPE_BF16 };
    describe_norm(work);
    snprintf(bench->shape, sizeof bench->shape, "%d x %d x %d%s", rows, layer->n, layer->k, narrow ? ", fp8" : "");
}

static void drop_linear(struct linear_case *work)
{
    cublaslt_finish(&work->product);
    cublaslt_finish(&work->fused);
    for (int i = 0; i < MEMORIES; i++)
        bench_free(work->memory[i]);
}

/* ---- rows of the table ---- */

/* Where a row's result lies; peers leave theirs in the same place, or in another. */
struct place {
    void      *memory;
    enum dtype type;
    size_t     count;
};

static struct bench_sample take_sample(struct place place)
{
    const struct bench_sample sample = bench_sample(place.memory, place.type, place.count);
    bench_poison(place.memory, place.count * (size_t)dtype_bits(place.type) / 8);
    return sample;
}

static void time_peer(struct bench *bench, const char *name, bench_launch *run, struct linear_case *work, struct place place,
                      const struct bench_sample *ours)
{
    int free = 0;
    while (bench->row.peers[free].name)
        free++;
    bench->row.peers[free].name    = name;
    bench->row.peers[free].seconds = bench_seconds(&bench->device, run, work);
    if (bench->row.peers[free].seconds > 0) {
        const struct bench_sample theirs   = take_sample(place);
        bench->row.peers[free].difference = bench_difference(ours, &theirs);
    }
}

static const char *apart_name(const struct linear_case *work)
{
    return work->weight.type == DTYPE_F8_E4M3 ? "cuBLASLt of e4m3, epilogue apart" : "cuBLASLt, epilogue apart";
}

/* Its peers: with the same epilogue as a kernel of its own, and what cuBLASLt can fuse: a bias, GELU by tanh, a residual. */
static void time_layer(struct bench *bench, struct linear_case *work)
{
    const struct layer *layer  = work->layer;
    const bool          narrow = work->weight.type == DTYPE_F8_E4M3;
    const bool          fuses  = !narrow && layer->act != LINEAR_SILU_GATE;
    const struct place  y      = { work->memory[Y], work->args.y_type, (size_t)work->rows * (size_t)width_of(layer) };
    const struct place  fused  = { work->fused.y, y.type, y.count };
    bench->row = (struct bench_row){ .kernel = layer->name, .shape = bench->shape, .rate = narrow ? 2 : 1 };
    bench_time(bench, &work->launch, run_linear, work);
    if (bench->row.seconds > 0 && bench->cublaslt) {
        const struct bench_sample ours = take_sample(y);
        time_peer(bench, apart_name(work), run_apart, work, y, &ours);
        if (fuses)
            time_peer(bench, "cuBLASLt, fused", run_fused, work, fused, &ours);
    }
    bench_print(&bench->device, &bench->row);
}

static void time_plain(struct bench *bench, struct linear_case *work)
{
    const size_t       count = (size_t)work->rows * (size_t)work->layer->n;
    const struct place y = { work->memory[Y], DTYPE_BF16, count }, product = { work->memory[PRODUCT], DTYPE_BF16, count };
    snprintf(bench->name, sizeof bench->name, "%s, product alone", work->layer->name);
    bench->row = (struct bench_row){ .kernel = bench->name, .shape = bench->shape };
    bench_time(bench, &work->launch, run_plain, work);
    if (bench->row.seconds > 0 && bench->cublaslt) {
        const struct bench_sample ours = take_sample(y);
        time_peer(bench, "cuBLASLt, product alone", run_product, work, product, &ours);
    }
    bench_print(&bench->device, &bench->row);
}

/* The copy for the next linear is compared; of fp8, whose peer leaves that in bf16, what else there is in f32. */
static void time_norm(struct bench *bench, struct linear_case *work)
{
    const bool         narrow = work->weight.type == DTYPE_F8_E4M3;
    const size_t       count  = (size_t)work->rows * (size_t)work->layer->n;
    const struct place copy = { work->memory[COPY], DTYPE_BF16, count };
    const struct place wide = { work->memory[work->layer->rms ? Y : NORMED], DTYPE_F32, count }, place = narrow ? wide : copy;
    snprintf(bench->name, sizeof bench->name, "%s, norm", work->layer->name);
    bench->row = (struct bench_row){ .kernel = bench->name, .shape = bench->shape, .rate = narrow ? 2 : 1 };
    bench_time(bench, &work->launch, run_norm, work);
    if (bench->row.seconds > 0 && bench->cublaslt) {
        const struct bench_sample ours = take_sample(place);
        time_peer(bench, apart_name(work), run_norm_apart, work, place, &ours);
    }
    bench_print(&bench->device, &bench->row);
}

/* What of a peer's time is no product's. */
static void time_epilogue(struct bench *bench, struct linear_case *work, const char *kind, bench_launch *run)
{
    snprintf(bench->name, sizeof bench->name, "%s apart of %s", kind, work->layer->name);
    bench->row = (struct bench_row){ .kernel = bench->name, .shape = bench->shape };
    bench_time(bench, &work->launch, run, work);
    bench_print(&bench->device, &bench->row);
}

static void bench_linear(struct bench *bench, const struct layer *layer, enum dtype operands, int rows)
{
    struct linear_case work;
    make_linear(bench, &work, layer, operands, rows);
    time_layer(bench, &work);
    if (layer->residual)
        time_norm(bench, &work);
    if (operands == DTYPE_BF16) {
        time_plain(bench, &work);
        if (layer->act != LINEAR_NONE || layer->residual)
            time_epilogue(bench, &work, "epilogue", run_epilogue);
        if (layer->residual)
            time_epilogue(bench, &work, "epilogue with norm", run_epilogue_norm);
    }
    drop_linear(&work);
}

static struct layer small_of(const struct layer *layer)
{
    struct layer small = *layer;
    small.n /= QUICK_PART;
    small.k /= QUICK_PART;
    return small;
}

void bench_linears(struct bench *bench)
{
    static const int        rows[]     = { 128, 4096, 16384, 32768 };
    static const enum dtype operands[] = { DTYPE_BF16, DTYPE_F8_E4M3 };
    for (int t = 0; t < 2; t++)
        for (int i = 0; i < LAYERS; i++) {
            const struct layer layer = bench->quick ? small_of(&layers[i]) : layers[i];
            for (size_t j = 0; j < (bench->quick ? 1 : sizeof rows / sizeof *rows); j++)
                bench_linear(bench, &layer, operands[t], bench->quick ? QUICK_ROWS : rows[j]);
        }
}

/* ---- tiles ---- */

static void bench_tiles_of(struct bench *bench, const struct layer *layer, int rows)
{
    struct linear_case work;
    make_linear(bench, &work, layer, DTYPE_BF16, rows);
    const enum linear_cuda_variant chosen = linear_cuda_choose(&bench->device.facts, &work.weight, layer->act, rows);
    const double apart = bench->cublaslt ? bench_seconds(&bench->device, run_apart, &work) : 0;
    for (int v = LINEAR_CUDA_MMA_64X64; v < LINEAR_CUDA_VARIANTS; v++) {
        work.variant = (enum linear_cuda_variant)v;
        if (!linear_cuda_can(&bench->device.facts, work.variant, &work.weight, layer->act))
            continue;
        snprintf(bench->name, sizeof bench->name, "tile %s%s of %s", linear_cuda_name(work.variant),
                 work.variant == chosen ? " (chosen)" : "", layer->name);
        bench->row = (struct bench_row){ .kernel = bench->name, .shape = bench->shape,
                                         .peers = { { .name = "cuBLASLt, epilogue apart", .seconds = apart, .difference = NAN } } };
        bench_time(bench, &work.launch, run_tile, &work);
        bench_print(&bench->device, &bench->row);
    }
    drop_linear(&work);
}

void bench_tiles(struct bench *bench)
{
    static const int          rows[]  = { 128, 512, 4096, 16384, 32768 };
    static const struct layer tiled[] = {
        { "linear base qkv", 2304, 768, LINEAR_NONE, false, false },
        { "linear base out", 768, 768, LINEAR_NONE, true, false },
        { "linear base up, gelu", 3072, 768, LINEAR_GELU_ERF, false, false },
        { "linear base up, without gelu", 3072, 768, LINEAR_NONE, false, false },
        { "linear base down", 768, 3072, LINEAR_NONE, true, false },
    };
    for (size_t i = 0; i < (bench->quick ? 1 : sizeof tiled / sizeof *tiled); i++) {
        const struct layer layer = bench->quick ? small_of(&tiled[i]) : tiled[i];
        for (size_t j = 0; j < (bench->quick ? 1 : sizeof rows / sizeof *rows); j++)
            bench_tiles_of(bench, &layer, bench->quick ? QUICK_ROWS : rows[j]);
    }
}
