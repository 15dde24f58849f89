/* Times the CUDA kernels on the shapes of real models, beside their limits and cuBLASLt; one line of JSON a row. See --help. */
#include "profiling/gpu/bench_kernels.h"

#include "tests/support/arguments.h"

#include <stdio.h>
#include <string.h>

static const char help[] =
    "usage: %s [--rounds N] [--only linear|tiles|attention|rows] [--cublaslt FILE] [--quick]\n"
    "Prints one line of JSON for each kernel and shape: the median of N launches (20, at most 100) with a cold cache.\n"
    "tiles: every tile that a linear can take, by force. rows: embedding, norms, conversion, rotary, pooling.\n"
    "--cublaslt: the library that is the peer (the system's). --quick: small shapes and one launch of each, without a peer unless\n"
    "one is named, to see that the program works.\n";

struct cuda_launch bench_whole(struct bench *bench, int tokens, int sequences, int longest)
{
    const struct cuda_live live = { tokens, sequences };
    bench_check(cudaMemcpy(bench->live, &live, sizeof live, cudaMemcpyHostToDevice), "saying what is alive");
    return (struct cuda_launch){ .facts = &bench->device.facts, .stream = bench->device.stream, .live = bench->live,
                                 .tokens = tokens, .sequences = sequences, .longest = longest };
}

void bench_time(struct bench *bench, struct cuda_launch *launch, bench_launch *run, void *context)
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

void bench_row_kernels(struct bench *bench, int width)
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
        .launch  = bench_whole(bench, rows, sequences, LENGTH),
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
        bench_time(bench, &work.launch, kernels[i].run, &work);
        bench_print(&bench->device, &bench->row);
    }
    void *const memory[] = { x, y, tables, copy, small, device_ids, device_positions, device_starts };
    for (size_t i = 0; i < sizeof memory / sizeof *memory; i++)
        bench_free(memory[i]);
}

int main(int argc, char **argv)
{
    const char           *only   = "", *file = "";
    uint64_t              rounds = 20;
    struct bench          bench  = { .cublaslt = NULL };
    const struct argument known[] = { { .name = "--quick", .flag = &bench.quick }, { .name = "--rounds", .number = &rounds },
                                      { .name = "--only", .text = &only }, { .name = "--cublaslt", .text = &file } };
    if (!arguments_read(known, sizeof known / sizeof *known, argc, argv) || rounds < 1 || rounds > 100) {
        printf(help, argv[0]);
        return 2;
    }
    bench_open(&bench.device, bench.quick ? 1 : (int)rounds, bench.quick, file, &bench.cublaslt);
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
