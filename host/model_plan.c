/* model_plan.c: the plans of a model, traced when a size is first needed and kept under a byte budget. */
#include "host/model.h"

/* Of each model; tests/promises/test_plans.c holds the cache to it. */
enum { PLAN_CACHE_BYTES = 1 << 20 };

int model_token_cap(int tokens)
{
    int cap = 16;
    while (cap < tokens)
        cap = (cap & (cap - 1)) == 0 ? cap + cap / 2 : cap / 3 * 4;  /* 16, 24, 32, 48, 64, 96, ... */
    return cap;
}

int model_sequence_cap(const struct recto_engine *engine, int token_cap)
{
    int most = engine->device.limits.texts;
    return token_cap / 2 < most ? token_cap / 2 : most;
}

static status trace(struct recto_model *model, int token_cap, struct plan **plan, struct error *error)
{
    int              longest = (int)model->folder->max_tokens < token_cap ? (int)model->folder->max_tokens : token_cap;
    int              workers = model->engine->device.accelerator ? 0 : model->engine->workers;  /* scratch is the CPU's */
    struct plan_caps caps    = { token_cap, model_sequence_cap(model->engine, token_cap), longest, workers };
    status           result  = plan_begin(plan, model->engine->pool, &caps, model->config.precision, error);
    if (result != STATUS_OK)
        return result;
    result = plan_finish(*plan, bert_trace(*plan, &model->config, &model->weights), error);
    if (result != STATUS_OK)
        *plan = NULL;
    return result;
}

static struct model_plan_entry *find_plan(struct recto_model *model, int token_cap)
{
    for (int i = 0; i < MODEL_PLANS; i++)
        if (model->plans[i].plan && model->plans[i].tokens == token_cap)
            return &model->plans[i];
    return NULL;
}

static void drop_plan(struct recto_model *model, struct model_plan_entry *entry)
{
    const struct device *device = &model->engine->device;
    if (entry->plan && device->accelerator)
        device->accelerator->forget(device, entry->plan);
    plan_close(entry->plan);
    *entry = (struct model_plan_entry){ 0 };
}

/* Least recently used first, until the cache is within its bytes and has a free entry; null when all are in use. */
static struct model_plan_entry *make_room(struct recto_model *model, size_t bytes)
{
    for (;;) {
        struct model_plan_entry *oldest = NULL, *empty = NULL;
        size_t                   total = bytes;
        for (int i = 0; i < MODEL_PLANS; i++) {
            struct model_plan_entry *entry = &model->plans[i];
            if (!entry->plan)
                empty = entry;
            else if (!entry->users && (!oldest || entry->used < oldest->used))
                oldest = entry;
            total += entry->plan ? plan_own_bytes(entry->plan) : 0;
        }
        if (empty && (total <= PLAN_CACHE_BYTES || !oldest))
            return empty;
        if (!oldest)
            return NULL;
        drop_plan(model, oldest);
    }
}

status model_take_plan(struct recto_model *model, int token_cap, const struct plan **plan, struct error *error)
{
    struct recto_engine *engine = model->engine;
    pthread_mutex_lock(&engine->lock);
    struct model_plan_entry *entry = find_plan(model, token_cap);
    if (entry) {
        entry->users++;
        entry->used = engine->runs;
        *plan       = entry->plan;
    }
    pthread_mutex_unlock(&engine->lock);
    if (entry)
        return STATUS_OK;
    struct plan *traced;  /* without the lock: tracing books memory, and booking may reclaim */
    status       result = trace(model, token_cap, &traced, error);
    if (result != STATUS_OK)
        return result;
    pthread_mutex_lock(&engine->lock);
    engine->plans_built++;
    entry = find_plan(model, token_cap);
    if (entry) {  /* somebody was faster */
        plan_close(traced);
    } else if ((entry = make_room(model, plan_own_bytes(traced)))) {
        *entry = (struct model_plan_entry){ .plan = traced, .tokens = token_cap };
    } else {
        result = error_set(error, STATUS_INTERNAL, "plans: all %d are in use", MODEL_PLANS);
        plan_close(traced);
    }
    if (entry) {
        entry->users++;
        entry->used = engine->runs;
        *plan       = entry->plan;
    }
    pthread_mutex_unlock(&engine->lock);
    return result;
}

void model_release_plan(struct recto_model *model, const struct plan *plan)
{
    pthread_mutex_lock(&model->engine->lock);
    for (int i = 0; i < MODEL_PLANS; i++)
        if (model->plans[i].plan == plan)
            model->plans[i].users--;
    pthread_mutex_unlock(&model->engine->lock);
}

void model_drop_plans(struct recto_model *model)
{
    for (int i = 0; i < MODEL_PLANS; i++)
        if (model->plans[i].plan && !model->plans[i].users)
            drop_plan(model, &model->plans[i]);
}
