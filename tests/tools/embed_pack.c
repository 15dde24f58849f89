/* embed_pack: embeds token ids with packed weights, by kernels, runtime and models alone: no tokenizer, no folder, no JSON.
 *
 *     embed_pack PACK cls|mean|last INSTRUCTIONS < ids > vectors
 *
 * PACK is a file that the library made on any processor. Each line of the input is one text's ids; the output is what
 * `recto embed --format raw` writes. Built for another processor and run by an emulator it shows that the bits are the same
 * there. What a pack's identity does not say is taken as most models have it: GELU, an epsilon of 1e-12, vectors of length
 * one. */
#include "host/parameters_pack.h"
#include "loaders/pack_format.h"
#include "models/bert.h"
#include "runtime/device.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { IDS_MOST = 4096, TEXTS_MOST = 64 };

struct input {
    int32_t ids[IDS_MOST];
    int32_t starts[TEXTS_MOST + 1];
    int     count;
};

struct model {
    struct pool        *pool;
    struct pack        *pack;
    struct bert_config  config;
    struct bert_weights weights;
};

static _Noreturn void stop(const char *sentence)
{
    fprintf(stderr, "embed_pack: %s\n", sentence);
    exit(1);
}

static void must(status code, const struct error *error)
{
    if (code != STATUS_OK)
        stop(error->message);
}

static void read_input(struct input *input)
{
    char line[64 << 10];
    int  ids = 0;
    while (input->count < TEXTS_MOST && fgets(line, sizeof line, stdin)) {
        char *at = line, *end;
        for (long id = strtol(at, &end, 10); end != at && ids < IDS_MOST; id = strtol(at, &end, 10)) {
            input->ids[ids++] = (int32_t)id;
            at                = end;
        }
        input->starts[++input->count] = ids;
    }
}

static enum dtype precision_named(const char *name)
{
    return strcmp(name, "fp32") == 0 ? DTYPE_F32 : strcmp(name, "bf16") == 0 ? DTYPE_BF16 : DTYPE_I8;
}

/* The identity says what the network is; `config` is filled from it. */
static size_t read_identity(const char *path, char identity[PACK_IDENTITY_MAX], struct bert_config *config)
{
    struct pack_header header;
    FILE              *file = fopen(path, "rb");
    char               precision[8];
    if (!file || fread(&header, sizeof header, 1, file) != 1 || header.identity_bytes >= PACK_IDENTITY_MAX ||
        fread(identity, 1, (size_t)header.identity_bytes, file) != header.identity_bytes)
        stop("cannot read the head of the pack");
    fclose(file);
    identity[header.identity_bytes] = 0;
    const char *at = strstr(identity, "panel");
    if (!at || sscanf(at, "panel %*d, %7[^,], layers %d, width %d, heads %d, inner %d, vocabulary %d, positions %d, types %d",
                      precision, &config->layers, &config->width, &config->heads, &config->inner, &config->vocabulary,
                      &config->positions, &config->token_types) != 8)
        stop("the pack's identity does not describe a network");
    config->precision = precision_named(precision);
    return (size_t)header.identity_bytes;
}

static void open_model(struct model *model, const char *path, const char *pooling)
{
    char         identity[PACK_IDENTITY_MAX];
    struct error error = { 0 };
    model->config      = (struct bert_config){ .norm_epsilon = 1e-12f, .act = LINEAR_GELU_ERF, .normalize = true };
    model->config.pooling        = strcmp(pooling, "cls") == 0 ? POOL_FIRST : strcmp(pooling, "last") == 0 ? POOL_LAST : POOL_MEAN;
    struct pack_identity wanted  = { identity, read_identity(path, identity, &model->config) };
    enum pack_outcome    outcome = PACK_FOUND;
    must(pool_open(&model->pool, 0, &error), &error);
    must(pack_open(model->pool, path, &wanted, &model->pack, &outcome, &error), &error);
    if (outcome != PACK_FOUND)
        stop(error.message);
    void *layers;
    must(pool_alloc(model->pool, MEMORY_WEIGHTS, (size_t)model->config.layers * sizeof(struct bert_layer), "layers", &layers, &error),
         &error);
    model->weights.layers          = layers;
    const struct pack_places places = { .pack = model->pack };
    struct parameter_source  source = pack_source(&places);
    must(bert_load(&model->config, &source, NULL, &model->weights, &error), &error);
}

static void fill(const struct run *run, const struct input *input)
{
    int32_t *positions = run_buffer(run, PLAN_POSITIONS);
    memcpy(run_buffer(run, PLAN_IDS), input->ids, (size_t)run->live.tokens * sizeof *input->ids);
    memcpy(run_buffer(run, PLAN_STARTS), input->starts, (size_t)(input->count + 1) * sizeof *input->starts);
    for (int text = 0; text < input->count; text++)
        for (int i = input->starts[text]; i < input->starts[text + 1]; i++)
            positions[i] = i - input->starts[text];
}

static void embed(struct model *model, const struct device *device, const struct input *input)
{
    struct error     error  = { 0 };
    int              tokens = input->starts[input->count];
    struct plan_caps caps   = { .tokens = tokens, .sequences = input->count, .longest = tokens, .workers = 1 };
    struct plan     *plan;
    void            *arena;
    must(plan_begin(&plan, model->pool, &caps, model->config.precision, &error), &error);
    must(plan_finish(plan, bert_trace(plan, &model->config, &model->weights), &error), &error);
    must(pool_alloc(model->pool, MEMORY_ARENA, plan_arena_bytes(plan), "the arena", &arena, &error), &error);
    struct run run = { .plan = plan, .arena = arena, .live = { tokens, input->count } };
    fill(&run, input);
    run_plan(device, &run, NULL, 1, NULL, NULL);
    for (int i = 0; i < input->count; i++)
        fwrite(run.arena + plan_buffer(plan, plan_result(plan))->offset + run_stride(&run, plan_result(plan)) * (size_t)i,
               sizeof(float), (size_t)model->config.width, stdout);
    pool_free(model->pool, arena);
    plan_close(plan);
}

int main(int count, char **arguments)
{
    static struct input input;
    struct model        model;
    struct machine      machine;
    struct device       device;
    struct error        error = { 0 };
    if (count != 4)
        stop("embed_pack PACK cls|mean|last INSTRUCTIONS < ids > vectors");
    read_input(&input);
    open_model(&model, arguments[1], arguments[2]);
    machine_describe(&machine);
    must(device_cpu(&device, &machine, arguments[3], &error), &error);
    embed(&model, &device, &input);
    pool_free(model.pool, model.weights.layers);
    pack_close(model.pack);
    pool_close(model.pool);
    return 0;
}
