/* Times whole models on a GPU: texts through recto_embed, and single runs of a plan kernel by kernel and as a graph; one line of
 * JSON a row. See --help. */
#include "host/model.h"
#include "profiling/gpu/bench.h"
#include "runtime/cuda_lane.h"
#include "runtime/cuda_run.h"
#include "tests/support/arguments.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char help[] =
    "usage: %s --model FOLDER [--name NAME] [--budget MIB] [--quick]\n"
    "Embeds random token ids in bf16 on the GPU: many long texts, many short ones of mixed lengths, one alone; then runs single\n"
    "plans kernel by kernel and as a graph, and says what the host waits for. --budget: the ceiling of device memory (4096).\n"
    "--quick: a few short texts, to see that the program works.\n";

enum { LONG = 512, MIXED_FROM = 16, MIXED_TO = 128, ALONE = 128, CALLS_MOST = 200, GRAPHS = 8 };

struct bench {
    struct bench_device device;
    struct cublaslt    *cublaslt;
    recto_engine       *engine;
    recto_model        *model;
    recto_model_info    info;
    const char         *name;
    bool                quick;
    char                row[96], shape[96];
};

static void stop(const char *sentence)
{
    fprintf(stderr, "%s\n", sentence);
    exit(1);
}

static void require(bool passed, const recto_error *error)
{
    if (!passed)
        stop(error->message);
}

static void *allocate(size_t bytes)
{
    void *block = malloc(bytes ? bytes : 1);
    if (!block)
        stop("out of memory");
    return block;
}

/* ---- texts ---- */

struct work {
    recto_text *texts;
    int32_t    *ids;
    float      *vectors;
    size_t      count;
    double      tokens, pairs;  /* pairs of tokens of one text */
};

static int mixed_length(size_t text) { return MIXED_FROM + (int)(text * 37 % (MIXED_TO - MIXED_FROM + 1)); }

/* `count` texts of `length` tokens; for 0 of 16 to 128. */
static struct work make_work(const struct bench *bench, size_t count, int length)
{
    const size_t longest = (size_t)(length ? length : MIXED_TO), words = bench->info.vocabulary;
    struct work  work    = { .texts = allocate(count * sizeof *work.texts), .ids = allocate(count * longest * sizeof *work.ids),
                             .vectors = allocate(count * bench->info.dimensions * sizeof(float)), .count = count };
    int32_t *at = work.ids;
    for (size_t i = 0; i < count; i++) {
        const int tokens = length ? length : mixed_length(i);
        work.texts[i]    = (recto_text){ (const char *)at, (size_t)tokens * sizeof *at };
        for (int j = 0; j < tokens; j++)
            *at++ = (int32_t)(((i + 1) * 7919 + (size_t)j * 104729) % words);
        work.tokens += tokens;
        work.pairs += (double)tokens * tokens;
    }
    return work;
}

static void drop_work(struct work *work)
{
    free(work->texts);
    free(work->ids);
    free(work->vectors);
}

static double embed_once(const struct bench *bench, const struct work *work)
{
    recto_embed_options options = { .struct_size = sizeof options, .token_ids = 1 };
    recto_error         error   = RECTO_ERROR_INIT;
    const double        start   = bench_now();
    require(recto_embed(bench->model, work->texts, work->count, &options, work->vectors, NULL, &error) == RECTO_OK, &error);
    return bench_now() - start;
}

/* What the layers compute and how much of the weights is read once; the rest is small. */
static void add_cost(const struct bench *bench, const struct work *work, struct bench_row *row)
{
    const recto_model_info *info    = &bench->info;
    const double            weights = (double)info->width * (4.0 * info->width + 2.0 * info->inner);
    row->operations = info->layers * (2.0 * weights * work->tokens + 4.0 * work->pairs * info->width);
    row->bytes      = 2.0 * weights * info->layers;
}

/* Of the last text's vector: peers.py embeds the same ids. */
static struct bench_sample sample_of(const struct bench *bench, const struct work *work)
{
    const float        *vector = work->vectors + (work->count - 1) * bench->info.dimensions;
    struct bench_sample sample;
    for (int i = 0; i < BENCH_SAMPLES; i++)
        sample.values[i] = vector[bench_sample_at(i, bench->info.dimensions)];
    return sample;
}

/* The first calls find out, capture and warm up. */
static void bench_texts(struct bench *bench, const char *kind, size_t count, int length, int calls)
{
    double      seconds[CALLS_MOST];
    struct work work = make_work(bench, count, length);
    for (int i = -3; i < calls; i++) {
        const double time = embed_once(bench, &work);
        if (i >= 0)
            seconds[i] = time;
    }
    snprintf(bench->row, sizeof bench->row, "%s, %s", bench->name, kind);
    if (length)
        snprintf(bench->shape, sizeof bench->shape, "%zu texts of %d tokens", count, length);
    else
        snprintf(bench->shape, sizeof bench->shape, "%zu texts of %d to %d tokens", count, MIXED_FROM, MIXED_TO);
    const struct bench_sample sample = sample_of(bench, &work);
    struct bench_row row = { .kernel = bench->row, .shape = bench->shape, .seconds = bench_median(seconds, calls),
                             .tokens = work.tokens, .sample = &sample };
    add_cost(bench, &work, &row);
    bench_print(&bench->device, &row);
    drop_work(&work);
}

/* ---- single runs of a plan, as a lane does them ---- */

struct single {
    struct cuda_run    run;
    struct cuda_layout layout;
    cudaGraph_t        graph;
    cudaGraphExec_t    executable;
};

static void fill_staging(const struct single *single, int tokens)
{
    struct cuda_live *live   = (void *)single->run.staging;
    int32_t          *starts = (void *)(single->run.staging + single->layout.starts);
    int32_t          *ids = (void *)(single->run.staging + single->layout.ids), *positions = (void *)(single->run.staging +
                                                                                                     single->layout.positions);
    const int longest = plan_limits(single->run.plan)->longest;
    memset(single->run.staging, 0, single->layout.staging_bytes);
    *live = (struct cuda_live){ tokens, 0 };
    for (int i = 0; i < tokens; i++) {
        ids[i]       = i * 7919 % 199;
        positions[i] = i % longest;
        if (positions[i] == 0)
            starts[live->sequences++] = i;
    }
    starts[live->sequences] = tokens;
}

static cudaError_t run_eager(const struct bench_device *device, void *context)
{
    struct single *single = context;
    const char    *where;
    (void)device;
    return cuda_run_enqueue(&single->run, &where);
}

static cudaError_t run_replay(const struct bench_device *device, void *context)
{
    struct single *single = context;
    return cudaGraphLaunch(single->executable, device->stream);
}

/* The least that a graph can hold. */
static cudaError_t run_nothing(const struct bench_device *device, void *context)
{
    struct single *single = context;
    return cudaMemsetAsync(single->run.arena, 0, sizeof(int32_t), device->stream);
}

static void capture(const struct bench *bench, struct single *single, bench_launch *launch)
{
    bench_check(cudaStreamBeginCapture(bench->device.stream, cudaStreamCaptureModeThreadLocal), "beginning a capture");
    bench_check(launch(&bench->device, single), "capturing");
    bench_check(cudaStreamEndCapture(bench->device.stream, &single->graph), "ending a capture");
    bench_check(cudaGraphInstantiate(&single->executable, single->graph, 0), "making a graph");
    bench_check(cudaGraphUpload(single->executable, bench->device.stream), "sending a graph");
    bench_check(cudaStreamSynchronize(bench->device.stream), "sending a graph");
}

static void drop_graph(struct single *single)
{
    bench_check(cudaGraphExecDestroy(single->executable), "closing a graph");
    bench_check(cudaGraphDestroy(single->graph), "closing a graph");
}

/* How long the host is busy with a launch, the device idle before it; and until the result is there. */
static void print_host(struct bench *bench, const char *kind, bench_launch *launch, struct single *single)
{
    double    asked[CALLS_MOST], done[CALLS_MOST];
    const int calls = bench->quick ? 2 : CALLS_MOST;
    char      measure[128];
    for (int i = 0; i < calls; i++) {
        const double start = bench_now();
        bench_check(launch(&bench->device, single), "launching");
        asked[i] = bench_now() - start;
        bench_check(cudaStreamSynchronize(bench->device.stream), "computing");
        done[i] = bench_now() - start;
    }
    snprintf(measure, sizeof measure, "%s, host asks, %s", bench->name, kind);
    bench_print_measure(&bench->device, measure, bench->shape, bench_median(asked, calls) * 1e6, "us");
    snprintf(measure, sizeof measure, "%s, host has the result, %s", bench->name, kind);
    bench_print_measure(&bench->device, measure, bench->shape, bench_median(done, calls) * 1e6, "us");
    snprintf(measure, sizeof measure, "%s, device from first to last, %s", bench->name, kind);
    bench_print_measure(&bench->device, measure, bench->shape, bench_seconds(&bench->device, launch, single) * 1e6, "us");
}

/* What the driver takes for graphs of this plan, each: what is free before and after some were made. */
static void print_graph_bytes(struct bench *bench, const struct single *single)
{
    cudaGraphExec_t more[GRAPHS];
    size_t          before, after, total;
    char            measure[128];
    bench_check(cudaMemGetInfo(&before, &total), "asking for free memory");
    for (int i = 0; i < GRAPHS; i++) {
        bench_check(cudaGraphInstantiate(&more[i], single->graph, 0), "making a graph");
        bench_check(cudaGraphUpload(more[i], bench->device.stream), "sending a graph");
        bench_check(cudaGraphLaunch(more[i], bench->device.stream), "launching a graph");
    }
    bench_check(cudaStreamSynchronize(bench->device.stream), "computing");
    bench_check(cudaMemGetInfo(&after, &total), "asking for free memory");
    for (int i = 0; i < GRAPHS; i++)
        bench_check(cudaGraphExecDestroy(more[i]), "closing a graph");
    snprintf(measure, sizeof measure, "%s, device memory of a graph, measured", bench->name);
    bench_print_measure(&bench->device, measure, bench->shape, ((double)before - (double)after) / GRAPHS / 1048576, "MiB");
}

static void bench_single(struct bench *bench, int tokens)
{
    struct cuda_device *cuda = bench->engine->device.backend;
    struct error        error;
    const struct plan  *plan;
    if (model_take_plan(bench->model, model_token_cap(tokens), &plan, &error) != STATUS_OK ||
        model_wake(bench->model, &error) != STATUS_OK)
        stop(error.message);
    struct single single = { .layout = cuda_layout_of(plan) };
    single.run = (struct cuda_run){ .context = &cuda->context, .plan = plan, .arena = bench_memory(single.layout.arena_bytes),
                                    .stream = bench->device.stream };
    bench_check(cudaHostAlloc((void **)&single.run.staging, single.layout.staging_bytes, cudaHostAllocDefault), "pinning memory");
    fill_staging(&single, tokens);
    snprintf(bench->shape, sizeof bench->shape, "a run of %d tokens", tokens);
    bench_check(run_eager(&bench->device, &single), "launching");  /* what is loaded at the first launch is not captured */
    bench_check(cudaStreamSynchronize(bench->device.stream), "computing");
    capture(bench, &single, run_nothing);
    print_host(bench, "replay of a graph of one node", run_replay, &single);
    drop_graph(&single);
    capture(bench, &single, run_eager);
    print_host(bench, "kernel by kernel", run_eager, &single);
    print_host(bench, "replay", run_replay, &single);
    print_graph_bytes(bench, &single);
    drop_graph(&single);
    bench_check(cudaFreeHost(single.run.staging), "giving memory back");
    bench_free(single.run.arena);
    model_release_plan(bench->model, plan);
}

/* ---- what the engine came to ---- */

static void print_engine(struct bench *bench)
{
    const struct device     *device = &bench->engine->device;
    struct accelerator_usage usage;
    recto_engine_info        info = { .struct_size = sizeof info };
    device->accelerator->usage(device, &usage);
    if (recto_engine_describe(bench->engine, &info) != RECTO_OK)
        stop("the engine does not describe itself");
    const struct {
        const char *what, *unit;
        double      value;
    } figures[] = {
        { "graphs kept", "", (double)usage.graphs },
        { "graphs kept, booked for them", "MiB", (double)usage.graph_bytes / 1048576 },
        { "captures", "", (double)usage.captures },
        { "runs replayed", "", (double)usage.replays },
        { "runs kernel by kernel, first of a plan", "", (double)usage.eager },
        { "runs kernel by kernel, unwanted", "", (double)usage.fallbacks },
        { "device memory booked, peak", "MiB", (double)info.device_peak_bytes / 1048576 },
        { "device memory, ceiling", "MiB", (double)info.device_budget_bytes / 1048576 },
    };
    for (size_t i = 0; i < sizeof figures / sizeof *figures; i++) {
        snprintf(bench->row, sizeof bench->row, "%s, %s", bench->name, figures[i].what);
        bench_print_measure(&bench->device, bench->row, "at the end", figures[i].value, figures[i].unit);
    }
}

static void open_model(struct bench *bench, const char *folder, uint64_t budget)
{
    recto_engine_options engine = { .struct_size = sizeof engine, .device = RECTO_DEVICE_CUDA, .device_bytes = budget };
    recto_model_options  model  = { .struct_size = sizeof model, .precision = RECTO_PRECISION_BF16 };
    recto_error          error  = RECTO_ERROR_INIT;
    require(recto_engine_open(&bench->engine, &engine, &error) == RECTO_OK, &error);
    require(recto_model_open(bench->engine, folder, &model, &bench->model, &error) == RECTO_OK, &error);
    bench->info = (recto_model_info){ .struct_size = sizeof bench->info };
    if (recto_model_describe(bench->model, &bench->info) != RECTO_OK)
        stop("the model does not describe itself");
}

/* Device memory that the driver gave to this process meanwhile: weights, arenas, graphs, and what nobody booked. */
static void print_taken(struct bench *bench, size_t free_before)
{
    size_t free_now, total;
    bench_check(cudaMemGetInfo(&free_now, &total), "asking for free memory");
    snprintf(bench->row, sizeof bench->row, "%s, device memory taken of the driver", bench->name);
    bench_print_measure(&bench->device, bench->row, "at the end", ((double)free_before - (double)free_now) / 1048576, "MiB");
}

static void bench_all(struct bench *bench)
{
    const int longest = bench->info.max_tokens < LONG ? (int)bench->info.max_tokens : LONG;
    if (bench->quick) {
        bench_texts(bench, "bulk", 3, 9, 2);
        bench_texts(bench, "one", 1, 9, 2);
        bench_single(bench, 20);
        return;
    }
    bench_texts(bench, "bulk", 2048, longest, 5);
    bench_texts(bench, "mixed", 16384, 0, 5);
    bench_texts(bench, "one", 1, ALONE, CALLS_MOST);
    bench_texts(bench, "one", 1, MIXED_FROM, CALLS_MOST);
    bench_single(bench, ALONE);
    bench_single(bench, 16384);
}

int main(int argc, char **argv)
{
    const char           *folder = NULL;
    uint64_t              budget = 4096;
    struct bench          bench  = { .name = "model" };
    const struct argument known[] = { { .name = "--model", .text = &folder }, { .name = "--name", .text = &bench.name },
                                      { .name = "--budget", .number = &budget }, { .name = "--quick", .flag = &bench.quick } };
    size_t                before, total;
    if (!arguments_read(known, sizeof known / sizeof *known, argc, argv) || !folder) {
        printf(help, argv[0]);
        return 2;
    }
    bench_open(&bench.device, bench.quick ? 1 : 20, bench.quick, "", &bench.cublaslt);
    bench_check(cudaMemGetInfo(&before, &total), "asking for free memory");
    open_model(&bench, folder, budget << 20);
    bench_all(&bench);
    print_engine(&bench);
    print_taken(&bench, before);
    recto_model_close(bench.model);
    recto_engine_close(bench.engine);
    bench_close(&bench.device, bench.cublaslt);
    return 0;
}
