/* model_residence.c: a model's packed weights on an accelerator: copied there, asleep, awake.
 *
 * The pack stays open on the host: it is what a model wakes from. Its pages are the file's own, clean, and the system's to drop.
 */
#include "host/model.h"

#include <string.h>

enum residence_state { RESIDENCE_ASLEEP, RESIDENCE_WAKING, RESIDENCE_AWAKE };

static const struct accelerator *accelerator_of(const struct recto_model *model) { return model->engine->device.accelerator; }

static size_t place_after(size_t offset, const struct pack_blob *blob)
{
    return (offset + blob->bytes + ACCELERATOR_ALIGNMENT - 1) / ACCELERATOR_ALIGNMENT * ACCELERATOR_ALIGNMENT;
}

static status copy_weights(struct recto_model *model, struct error *error)
{
    const struct accelerator *accelerator = accelerator_of(model);
    struct device_weights    *weights     = model->residence->weights;
    status                    result      = STATUS_OK;
    size_t                    offset      = 0;
    for (size_t i = 0; i < pack_count(model->pack) && result == STATUS_OK; i++) {
        const struct pack_blob *blob = pack_at(model->pack, i);
        result                       = accelerator->weights_put(weights, offset, blob->data, blob->bytes, error);
        offset                       = place_after(offset, blob);
    }
    struct error finished;  /* buffers are given back in every case; the first sentence is the one to keep */
    status       end = accelerator->weights_finish(weights, result == STATUS_OK ? error : &finished);
    return result == STATUS_OK ? end : result;
}

static status place_blobs(struct recto_model *model, struct error *error)
{
    const struct accelerator *accelerator = accelerator_of(model);
    struct model_residence   *residence   = model->residence;
    size_t                    offset      = 0;
    for (size_t i = 0; i < pack_count(model->pack); i++)
        offset = place_after(offset, pack_at(model->pack, i));
    status result = accelerator->weights_open(&model->engine->device, offset, &residence->weights, error);
    if (result != STATUS_OK)
        return result;
    char *base = accelerator->weights_base(residence->weights);
    for (size_t i = 0, at = 0; i < pack_count(model->pack); i++) {
        residence->places[i] = base + at;
        at                   = place_after(at, pack_at(model->pack, i));
    }
    return STATUS_OK;
}

status model_residence_open(struct recto_model *model, struct error *error)
{
    struct pool *pool = model->engine->pool;
    void        *block;
    if (!accelerator_of(model))
        return STATUS_OK;
    size_t places = pack_count(model->pack) * sizeof(char *);
    status result = pool_alloc(pool, MEMORY_WEIGHTS, sizeof(struct model_residence) + places, "the places of a model's weights",
                               &block, error);
    if (result != STATUS_OK)
        return result;
    model->residence  = block;
    *model->residence = (struct model_residence){ .state = RESIDENCE_AWAKE };
    result            = place_blobs(model, error);
    return result == STATUS_OK ? copy_weights(model, error) : result;
}

void model_residence_close(struct recto_model *model)
{
    if (!model->residence)
        return;
    accelerator_of(model)->weights_close(model->residence->weights);
    pool_free(model->engine->pool, model->residence);
    model->residence = NULL;
}

/* ---- Sleeping and waking ---- */

static bool is_in_use(const struct recto_model *model)
{
    for (int i = 0; i < MODEL_PLANS; i++)
        if (model->plans[i].users)
            return true;
    return false;
}

void model_sleep(struct recto_model *model)
{
    struct model_residence *residence = model->residence;
    if (!residence || residence->state != RESIDENCE_AWAKE || is_in_use(model))
        return;
    accelerator_of(model)->weights_sleep(residence->weights);
    residence->state = RESIDENCE_ASLEEP;
    residence->sleeps++;
}

status model_wake(struct recto_model *model, struct error *error)
{
    struct model_residence *residence = model->residence;
    struct recto_engine    *engine    = model->engine;
    pthread_mutex_lock(&engine->lock);
    while (residence->state == RESIDENCE_WAKING)
        pthread_cond_wait(&engine->changed, &engine->lock);
    bool asleep = residence->state == RESIDENCE_ASLEEP;
    if (asleep)
        residence->state = RESIDENCE_WAKING;
    pthread_mutex_unlock(&engine->lock);
    if (!asleep)
        return STATUS_OK;
    const struct accelerator *accelerator = accelerator_of(model);  /* without the lock: booking may reclaim */
    status                    result      = accelerator->weights_wake(residence->weights, error);
    if (result == STATUS_OK) {
        result = copy_weights(model, error);
        if (result != STATUS_OK)
            accelerator->weights_sleep(residence->weights);
    }
    pthread_mutex_lock(&engine->lock);
    residence->state = result == STATUS_OK ? RESIDENCE_AWAKE : RESIDENCE_ASLEEP;
    pthread_cond_broadcast(&engine->changed);
    pthread_mutex_unlock(&engine->lock);
    return result;
}
