/* model_weights.c: the packed weights of a model: found in the cache, or made from the folder's tensors and then found. */
#include "host/content_key.h"
#include "host/model.h"
#include "host/parameters_pack.h"

#include <stdio.h>
#include <string.h>

/* Part of every pack's identity: to be raised when packing makes something else of the same tensors. */
enum { PACKING_VERSION = 2 };

struct weights_place {
    char identity[512];
    int  identity_length;
    char path[4096];
};

static const char *precision_name(enum dtype precision)
{
    switch (precision) {
    case DTYPE_F32: return "fp32";
    case DTYPE_BF16: return "bf16";
    case DTYPE_F8_E4M3: return "fp8";
    default: return "int8";
    }
}

static bool in_rows(const struct recto_model *model) { return model->engine->device.accelerator != NULL; }

static status find_place(const struct recto_model *model, struct weights_place *place, struct error *error)
{
    const struct model_folder *folder = model->folder;
    const struct bert_config  *c      = &model->config;
    const char                *cache  = model->engine->options.cache;
    struct content_key         key, dense = { 0, 0 };
    char                       keys[4096];
    snprintf(keys, sizeof keys, "%s/keys", cache);
    status result = content_key_of(folder->weights, folder->sharded, keys, model->engine->pool, &key, error);
    for (uint32_t i = 0; i < folder->dense_count && result == STATUS_OK; i++) {
        struct content_key one;
        result     = content_key_of(folder->dense[i].weights, false, keys, model->engine->pool, &one, error);
        dense.low  = dense.low * 31 + one.low;
        dense.high = dense.high * 31 + one.high;
    }
    if (result != STATUS_OK)
        return result;
    place->identity_length = snprintf(
        place->identity, sizeof place->identity,
        "recto pack %d, panel %d, %s, layers %d, width %d, heads %d, inner %d, vocabulary %d, positions %d, types %d, dense %d, "
        "content %016llx%016llx, dense content %016llx%016llx",
        PACKING_VERSION, in_rows(model) ? 1 : LINEAR_PANEL, precision_name(c->precision), c->layers, c->width, c->heads, c->inner,
        c->vocabulary, c->positions, c->token_types, c->dense_count, (unsigned long long)key.high, (unsigned long long)key.low,
        (unsigned long long)dense.high, (unsigned long long)dense.low);
    int length = snprintf(place->path, sizeof place->path, "%s/packed/%016llx%016llx-%s%s.pack", cache,
                          (unsigned long long)(key.high ^ dense.high), (unsigned long long)(key.low ^ dense.low),
                          precision_name(c->precision), in_rows(model) ? "-rows" : "");
    if (length < 0 || (size_t)length >= sizeof place->path)
        return error_set(error, STATUS_USAGE, "the cache folder's path is longer than %zu bytes", sizeof place->path - 64);
    return STATUS_OK;
}

static status open_tensors(const struct recto_model *model, struct packer *packer, struct error *error)
{
    const struct model_folder *folder = model->folder;
    packer->file                      = folder->weights;
    status result                     = safetensors_open(packer->pool, folder->weights, &packer->tensors, error);
    for (uint32_t i = 0; i < folder->dense_count && result == STATUS_OK; i++) {
        packer->dense_file[i] = folder->dense[i].weights;
        result                = safetensors_open(packer->pool, folder->dense[i].weights, &packer->dense[i], error);
    }
    for (size_t i = 0; result == STATUS_OK && i < safetensors_count(packer->tensors); i++)
        packer->total += safetensors_at(packer->tensors, i)->bytes;
    return result;
}

static void close_tensors(struct packer *packer)
{
    safetensors_close(packer->tensors);
    for (int i = 0; i < 4; i++)
        safetensors_close(packer->dense[i]);
    packer_close(packer);
}

/* Walks the network's parameters through a packer into a new pack; path null: in memory. */
static status make_pack(struct recto_model *model, const struct model_packing *packing, const struct pack_identity *identity,
                        const char *path, struct error *error)
{
    struct pool  *pool   = model->engine->pool;
    struct packer packer = { .pool = pool, .progress = packing->progress, .progress_user = packing->progress_user,
                             .weight_stride = in_rows(model) ? model->engine->device.accelerator->weight_stride : NULL };
    void         *scratch = NULL;
    size_t        vectors = (size_t)model->config.width * 4 * (size_t)(model->config.layers + 1);
    status        result  = pack_writer_open(pool, path, identity, &packer.writer, error);
    if (result != STATUS_OK)
        return result;
    result = open_tensors(model, &packer, error);
    if (result == STATUS_OK)
        result = packer_open(&packer, vectors, error);
    if (result == STATUS_OK)
        result = pool_alloc(pool, MEMORY_LOAD, bert_scratch_floats(&model->config) * sizeof(float), "the energies of a model",
                            &scratch, error);
    if (result == STATUS_OK) {
        struct parameter_source source = packer_source(&packer);
        result                         = bert_load(&model->config, &source, scratch, &model->weights, error);
    }
    if (result == STATUS_OK)
        result = pack_writer_finish(packer.writer, &model->pack, error);
    else
        pack_writer_abandon(packer.writer);
    pool_free(pool, scratch);
    close_tensors(&packer);
    model->packed_now = result == STATUS_OK;
    return result;
}

static status make_somewhere(struct recto_model *model, const struct model_packing *packing, const struct weights_place *place,
                             struct error *error)
{
    struct pack_identity identity = { place->identity, (size_t)place->identity_length };
    char                 folder[4096];
    snprintf(folder, sizeof folder, "%s/packed", model->engine->options.cache);
    content_make_folder(folder);
    status result = make_pack(model, packing, &identity, place->path, error);
    if (result != STATUS_IO)
        return result;
    const struct error kept = *error;  /* of the cache, unless the model itself cannot be read: then that follows */
    result                  = make_pack(model, packing, &identity, NULL, error);
    if (result == STATUS_OK)
        engine_log(model->engine, 1, "packed weights cannot be kept (%s); they are made in memory, every time", kept.message);
    return result;
}

status model_bind_weights(struct recto_model *model, const struct model_packing *packing, struct error *error)
{
    struct weights_place place;
    enum pack_outcome    outcome;
    status               result = find_place(model, &place, error);
    if (result != STATUS_OK)
        return result;
    struct pack_identity identity = { place.identity, (size_t)place.identity_length };
    result = pack_open(model->engine->pool, place.path, &identity, &model->pack, &outcome, error);
    if (result == STATUS_OK && outcome != PACK_FOUND) {
        if (outcome == PACK_CORRUPT)
            engine_log(model->engine, 1, "packed weights are made anew: %s", error->message);
        result = make_somewhere(model, packing, &place, error);
    }
    if (result != STATUS_OK)
        return result;
    result = model_residence_open(model, error);
    if (result != STATUS_OK)
        return result;
    const struct pack_places places = { .pack          = model->pack,
                                        .places        = in_rows(model) ? model->residence->places : NULL,
                                        .weight_stride = in_rows(model) ? model->engine->device.accelerator->weight_stride : NULL };
    struct parameter_source  source = pack_source(&places);
    return bert_load(&model->config, &source, NULL, &model->weights, error);
}
