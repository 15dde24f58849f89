/* model.c: opening a folder as a model, describing it, and its plans. */
#include "host/model.h"

#include "loaders/hub.h"
#include "loaders/tokenizer_folder.h"

#include <malloc.h>
#include <stdio.h>
#include <string.h>

static enum linear_act linear_act_of(enum model_folder_activation activation)
{
    switch (activation) {
    case MODEL_FOLDER_GELU: return LINEAR_GELU_ERF;
    case MODEL_FOLDER_GELU_TANH: return LINEAR_GELU_TANH;
    case MODEL_FOLDER_RELU: return LINEAR_RELU;
    case MODEL_FOLDER_SILU: return LINEAR_SILU;
    case MODEL_FOLDER_TANH: return LINEAR_TANH;
    case MODEL_FOLDER_IDENTITY: break;
    }
    return LINEAR_NONE;
}

static enum dtype precision_of(const struct recto_engine *engine, recto_precision precision)
{
    switch (precision) {
    case RECTO_PRECISION_FP32: return DTYPE_F32;
    case RECTO_PRECISION_BF16: return DTYPE_BF16;
    case RECTO_PRECISION_INT8: return DTYPE_I8;
    case RECTO_PRECISION_FP8: return DTYPE_F8_E4M3;
    case RECTO_PRECISION_AUTO: break;
    }
    return engine->device.accelerator || device_has_fast_bf16(&engine->device) ? DTYPE_BF16 : DTYPE_F32;
}

static status check_precision(const struct recto_engine *engine, enum dtype precision, struct error *error)
{
    const struct device *device = &engine->device;
    if (device->accelerator ? device->accelerator->offers(device, precision) : precision != DTYPE_F8_E4M3)
        return STATUS_OK;
    if (precision == DTYPE_F8_E4M3)
        return error_set(error, STATUS_USAGE,
                         "precision fp8 needs a Hopper GPU (sm_90), device %s computes with %s: expected auto, %s", device->name,
                         device->variant, device->accelerator ? "bf16 or fp32" : "fp32, bf16 or int8");
    return error_set(error, STATUS_USAGE,
                     "precision int8 is not offered by device %s: expected auto, bf16 or fp32, or device cpu", device->name);
}

static recto_precision public_precision(enum dtype precision)
{
    switch (precision) {
    case DTYPE_F32: return RECTO_PRECISION_FP32;
    case DTYPE_BF16: return RECTO_PRECISION_BF16;
    case DTYPE_F8_E4M3: return RECTO_PRECISION_FP8;
    default: return RECTO_PRECISION_INT8;
    }
}

static struct bert_config config_of(const struct model_folder *folder, enum dtype precision)
{
    struct bert_config c = {
        .layers = (int)folder->layers, .width = (int)folder->width, .heads = (int)folder->heads, .inner = (int)folder->inner,
        .vocabulary = (int)folder->vocabulary, .positions = (int)folder->positions, .token_types = (int)folder->token_types,
        .norm_epsilon = (float)folder->norm_epsilon, .act = linear_act_of(folder->activation),
        .pooling = folder->pooling == MODEL_FOLDER_MEAN  ? POOL_MEAN
                   : folder->pooling == MODEL_FOLDER_CLS ? POOL_FIRST
                                                         : POOL_LAST,
        .normalize = folder->normalize, .dense_count = (int)folder->dense_count, .precision = precision,
    };
    for (int i = 0; i < c.dense_count; i++)
        c.dense[i] = (struct bert_dense){ (int)folder->dense[i].in, (int)folder->dense[i].out, folder->dense[i].bias,
                                          linear_act_of(folder->dense[i].activation) };
    return c;
}

/* The kernels' limits; everything else was checked when the folder was read. */
static status check_config(const struct bert_config *c, struct error *error)
{
    int head = c->width / c->heads;
    if (head % 8 || head > 256)
        return error_set(error, STATUS_MODEL, "heads of %d elements are not supported: expected a multiple of 8 up to 256", head);
    return STATUS_OK;
}

static status open_folder(struct recto_model *model, const char *name, struct error *error)
{
    char                        path[HUB_PATH_MAX], models[HUB_PATH_MAX];
    const struct recto_engine  *engine = model->engine;
    snprintf(models, sizeof models, "%s/models", engine->options.cache);
    struct hub_roots roots  = { models, *engine->options.hub ? engine->options.hub : NULL };
    status           result = hub_find(&roots, name, path, error);
    if (result == STATUS_MODEL && !strchr(name, '/'))  /* a short name: one of ours */
        return error_set(error, STATUS_MODEL, "no model '%s' in %s; weights/fetch %s gets it if the manifest has it", name, models,
                         name);
    if (result == STATUS_OK)
        result = model_folder_open(&model->folder, engine->pool, path, error);
    for (uint32_t i = 0; result == STATUS_OK && i < model->folder->note_count; i++)
        engine_log(model->engine, 2, "%s", model->folder->notes[i]);
    return result;
}

static status open_model(struct recto_model *model, const char *name, const recto_model_options *options, struct error *error)
{
    enum dtype precision = precision_of(model->engine, options->precision);
    status     result    = check_precision(model->engine, precision, error);
    if (result == STATUS_OK)
        result = open_folder(model, name, error);
    if (result != STATUS_OK)
        return result;
    model->config = config_of(model->folder, precision);
    result        = check_config(&model->config, error);
    if (result != STATUS_OK)
        return error_prefix(error, "%s", model->folder->path);
    result = tokenizer_folder_open(&model->tokenizer, model->engine->pool, model->folder, error);
    void *layers;
    if (result == STATUS_OK)
        result = pool_alloc(model->engine->pool, MEMORY_WEIGHTS, (size_t)model->config.layers * sizeof(struct bert_layer),
                            "the layers of a model", &layers, error);
    if (result != STATUS_OK)
        return result;
    model->weights.layers        = layers;
    struct model_packing packing = { options->progress, options->progress_user };
    return model_bind_weights(model, &packing, error);
}

static void enlist(struct recto_model *model)
{
    pthread_mutex_lock(&model->engine->lock);
    model->next           = model->engine->models;
    model->engine->models = model;
    pthread_mutex_unlock(&model->engine->lock);
}

/* Nothing happens to a model that was never enlisted. */
static void strike(struct recto_model *model)
{
    pthread_mutex_lock(&model->engine->lock);
    for (struct recto_model **link = &model->engine->models; *link; link = &(*link)->next)
        if (*link == model) {
            *link = model->next;
            break;
        }
    pthread_mutex_unlock(&model->engine->lock);
}

recto_status recto_model_open(recto_engine *engine, const char *name, const recto_model_options *options, recto_model **model,
                              recto_error *error)
{
    recto_model_options chosen = { .struct_size = sizeof chosen };
    struct error        local  = { 0 };
    void               *block;
    *model = NULL;
    if (!engine || !name)
        return engine_report(&local, error_set(&local, STATUS_USAGE, "model: a null pointer where %s should be",
                                               engine ? "its name" : "the engine"),
                             error);
    status result = engine_take_options(&chosen, sizeof chosen, options, "model", &local);
    if (result == STATUS_OK)
        result = pool_alloc(engine->pool, MEMORY_WEIGHTS, sizeof **model, "a model", &block, &local);
    if (result != STATUS_OK)
        return engine_report(&local, result, error);
    struct recto_model *opened = memset(block, 0, sizeof *opened);
    opened->engine             = engine;
    result                     = open_model(opened, name, &chosen, &local);
    if (result == STATUS_OK)
        enlist(opened);
    else
        recto_model_close(opened);
    *model = result == STATUS_OK ? opened : NULL;
    malloc_trim(0);  /* what reading the files took is the system's again, as the pool already says */
    return engine_report(&local, result, error);
}

void recto_model_close(recto_model *model)
{
    if (!model)
        return;
    struct pool *pool = model->engine->pool;
    strike(model);
    pthread_mutex_lock(&model->engine->lock);
    model_drop_plans(model);
    pthread_mutex_unlock(&model->engine->lock);
    model_residence_close(model);
    pack_close(model->pack);
    pool_free(pool, model->weights.layers);
    tokenizer_close(model->tokenizer);
    model_folder_close(model->folder);
    engine_give_back(model->engine);
    pool_free(pool, model);
    malloc_trim(0);
}

recto_status recto_model_describe(const recto_model *model, recto_model_info *info)
{
    const struct model_folder *folder = model->folder;
    recto_model_info           all    = {
        .struct_size  = info->struct_size,
        .precision    = public_precision(model->config.precision),
        .folder       = folder->path,
        .dimensions   = folder->dimensions,
        .max_tokens   = folder->max_tokens,
        .layers       = folder->layers,
        .width        = folder->width,
        .heads        = folder->heads,
        .inner        = folder->inner,
        .vocabulary   = folder->vocabulary,
        .pooling      = model_folder_pooling_name(folder->pooling),
        .normalized   = folder->normalize,
        .weight_bytes = pack_bytes(model->pack),
        .packed_now   = model->packed_now,
        .prompt_count   = folder->prompt_count,
        .default_prompt = folder->default_prompt,
    };
    memcpy(info, &all, info->struct_size < sizeof all ? info->struct_size : sizeof all);
    return RECTO_OK;
}

const char *recto_model_prompt(const recto_model *model, uint32_t index, const char **text)
{
    if (index >= model->folder->prompt_count)
        return NULL;
    if (text)
        *text = model->folder->prompts[index].text;
    return model->folder->prompts[index].name;
}
