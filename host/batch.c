/* batch.c: packs, and who computes them.
 *
 * Calls put their texts into one queue. Whoever calls also works: it takes a pack of the oldest texts (its own or not, of one
 * model, up to a budget of tokens), computes it in a slot of its own and goes on until its own texts are all taken. With
 * many texts helper threads do the same beside it; with one pack alone they help inside its operations. At most
 * engine->workers compute at once; calls that find no slot wait, and their texts fill the packs of those who have one.
 *
 * A pack that the byte budget does not hold is cut in two; a single text waits until others have given memory back; if even
 * then it does not fit it fails with both numbers. A row's bits depend on nothing of this.
 */
#include "host/request.h"

#include "kernels/pool/pool.h"

#include <math.h>
#include <string.h>

struct pack_item {
    struct request *request;
    size_t          index;
};

/* Some texts that are computed together. */
struct pack_work {
    struct recto_model *model;
    struct pack_item    items[PACK_TEXTS_MOST];
    int                 count;
    int                 tokens;
};

/* ---- The queue; all of it under the engine's lock ---- */

static void append(struct recto_engine *engine, struct request *request)
{
    request->next = NULL;
    if (engine->last)
        engine->last->next = request;
    else
        engine->first = request;
    engine->last = request;
}

static void drop_first(struct recto_engine *engine)
{
    engine->first = engine->first->next;
    if (!engine->first)
        engine->last = NULL;
}

static void fail_request(struct request *request, status code, const struct error *error)
{
    if (request->failed == STATUS_OK) {
        request->failed = code;
        request->error  = *error;
    }
}

/* Counts the texts that nobody has taken as finished. */
static void abandon(struct request *request)
{
    request->done += request->count - request->taken;
    request->taken = request->count;
}

static size_t queued_tokens(const struct recto_engine *engine)
{
    size_t tokens = 0, enough = (size_t)engine->device.limits.most * ENGINE_WORKERS_MAX;
    for (const struct request *r = engine->first; r; r = r->next)
        for (size_t i = r->taken; i < r->count && tokens < enough; i++)
            tokens += r->items[i].tokens;
    return tokens;
}

/* How many tokens the next pack should have: all workers shall have something to do. */
static int pack_goal(const struct recto_engine *engine)
{
    const struct pack_limits *limits = &engine->device.limits;
    size_t                    share  = queued_tokens(engine) / (size_t)engine->workers;
    return share < (size_t)limits->least ? limits->least : share > (size_t)limits->most ? limits->most : (int)share;
}

static void take_from(struct pack_work *pack, struct request *request, int goal)
{
    const int most = request->engine->device.limits.texts;
    while (request->taken < request->count && pack->count < most) {
        int tokens = (int)request->items[request->taken].tokens;
        if (pack->count && pack->tokens + tokens > goal)
            return;
        pack->items[pack->count++] = (struct pack_item){ request, request->taken++ };
        pack->tokens += tokens;
    }
}

/* The oldest texts, of one model; later requests of the same model may join. */
static bool take_pack(struct recto_engine *engine, struct pack_work *pack)
{
    int goal     = pack_goal(engine);
    pack->model  = NULL;
    pack->count  = 0;
    pack->tokens = 0;
    while (engine->first) {
        struct request *request = engine->first;
        struct error    error;
        status          stopped = request->failed != STATUS_OK ? request->failed : request_stopped(request, &error);
        if (stopped != STATUS_OK) {
            fail_request(request, stopped, &error);
            abandon(request);
            pthread_cond_broadcast(&engine->changed);
        } else {
            if (pack->count && request->model != pack->model)
                return true;
            pack->model = request->model;
            take_from(pack, request, goal);
            if (request->taken < request->count)
                return true;
        }
        drop_first(engine);
    }
    return pack->count > 0;
}

static struct slot *take_slot(struct recto_engine *engine)
{
    for (int i = 0; i < engine->workers; i++)
        if (!engine->slots[i].busy) {
            engine->slots[i].busy = true;
            return &engine->slots[i];
        }
    return NULL;
}

/* ---- Computing one pack ---- */

static void fill_inputs(const struct run *run, const struct pack_work *pack, int first)
{
    int32_t *ids = run->host.ids, *positions = run->host.positions, *starts = run->host.starts;
    int      at  = 0;
    for (int i = 0; i < run->live.sequences; i++) {
        const struct pack_item    *item = &pack->items[first + i];
        const struct request_item *text = &item->request->items[item->index];
        starts[i]                       = at;
        memcpy(ids + at, item->request->ids + text->first, text->tokens * sizeof *ids);
        for (uint32_t j = 0; j < text->tokens; j++)
            positions[at++] = (int32_t)j;
    }
    starts[run->live.sequences] = at;
}

/* One vector from the arena to the caller, shortened and made length one again where that was asked for. */
static status hand_over(const struct run *run, const struct pack_item *item, int row)
{
    struct request           *request = item->request;
    const struct plan_buffer *result  = plan_buffer(run->plan, plan_result(run->plan));
    const float *from = (const void *)(run->host.result + result->stride * (size_t)row);
    float       *to   = request->vectors + item->index * request->dimensions;
    memcpy(to, from, request->dimensions * sizeof *to);
    for (size_t i = 0; i < request->dimensions; i++)
        if (!isfinite(to[i]))
            return STATUS_MODEL;
    if (request->dimensions < (size_t)result->width && request->model->config.normalize) {
        struct normalize_args args = { .x = to, .x_stride = 0, .width = (int)request->dimensions, .y = to, .y_stride = 0 };
        normalize_l2_ref(&args, 0, 1);
    }
    return STATUS_OK;
}

/* Memory for a run in a slot: arena and, for teams, the control block. */
static status fit_slot(struct recto_engine *engine, struct slot *slot, struct run *run, int team, struct error *error)
{
    status result = arena_fit(&slot->arena, plan_arena_bytes(run->plan), error);
    size_t bytes  = run_control_bytes(run->plan);
    if (result == STATUS_OK && team > 1 && slot->control_bytes < bytes) {
        result = pool_resize(engine->pool, MEMORY_PLAN, bytes, "the control block of a team", &slot->control, error);
        if (result == STATUS_OK)
            slot->control_bytes = bytes;
    }
    if (result != STATUS_OK)
        return result;
    run->arena = slot->arena.base;
    run->host  = run_host_in_arena(run);
    return STATUS_OK;
}

/* The same on an accelerator: the model has to be there as well. */
static status fit_lane(struct slot *slot, struct recto_model *model, struct run *run, struct error *error)
{
    const struct accelerator *accelerator = model->engine->device.accelerator;
    status                    result      = model_wake(model, error);
    if (result == STATUS_OK)
        result = arena_fit(&slot->arena, accelerator->run_bytes(run->plan), error);
    run->arena = slot->arena.base;
    return result == STATUS_OK ? accelerator->lane_fit(slot->lane, run, error) : result;
}

status batch_fit(struct recto_model *model, struct slot *slot, struct run *run, int team, struct error *error)
{
    struct recto_engine *engine = model->engine;
    return engine->device.accelerator ? fit_lane(slot, model, run, error) : fit_slot(engine, slot, run, team, error);
}

status batch_run(struct recto_model *model, struct slot *slot, const struct run *run, int team, struct run_times *times,
                 struct error *error)
{
    struct recto_engine *engine = model->engine;
    if (engine->device.accelerator)
        return engine->device.accelerator->lane_run(slot->lane, run, times, error);
    run_plan(&engine->device, run, engine->threads, team, slot->control, times);
    return STATUS_OK;
}

static void finish_items(struct recto_engine *engine, const struct pack_work *pack, int first, const struct run *run)
{
    bool shared = false;
    for (int i = 0; i < run->live.sequences; i++) {
        const struct pack_item *item = &pack->items[first + i];
        struct error            error;
        shared = shared || item->request != pack->items[first].request;
        if (hand_over(run, item, i) != STATUS_OK) {
            status code = error_set(&error, STATUS_MODEL, "text %zu: the model gave a vector with elements that are no numbers",
                                    item->request->base + item->index);
            pthread_mutex_lock(&engine->lock);
            fail_request(item->request, code, &error);
            pthread_mutex_unlock(&engine->lock);
        }
    }
    pthread_mutex_lock(&engine->lock);
    engine->runs++;
    engine->shared_runs += shared;
    engine->texts += (uint64_t)run->live.sequences;
    engine->tokens += (uint64_t)run->live.tokens;
    pthread_mutex_unlock(&engine->lock);
}

static int tokens_of(const struct pack_work *pack, int first, int count)
{
    int tokens = 0;
    for (int i = first; i < first + count; i++)
        tokens += (int)pack->items[i].request->items[pack->items[i].index].tokens;
    return tokens;
}

/* Items [first, first + count) in one run. */
static status compute_once(struct recto_engine *engine, struct slot *slot, const struct pack_work *pack, int first, int count,
                           int team, struct error *error)
{
    struct run run    = { .live = { tokens_of(pack, first, count), count } };
    int        cap    = model_token_cap(run.live.tokens);
    while (model_sequence_cap(engine, cap) < count)
        cap = model_token_cap(cap + 1);
    status result = model_take_plan(pack->model, cap, &run.plan, error);
    if (result != STATUS_OK)
        return result;
    engine_stage_begin(engine, "pack");
    result = batch_fit(pack->model, slot, &run, team, error);
    if (result == STATUS_OK) {
        fill_inputs(&run, pack, first);
        result = batch_run(pack->model, slot, &run, team, NULL, error);
    }
    if (result == STATUS_OK)
        finish_items(engine, pack, first, &run);
    engine_stage_end(engine);
    model_release_plan(pack->model, run.plan);
    return result;
}

/* One text that did not fit beside what others hold: gives up its memory, lets them finish what they have begun, keeps them
 * from beginning more, and is tried once more alone; then by one worker, which needs no control block. */
static status compute_alone(struct recto_engine *engine, struct slot *slot, const struct pack_work *pack, int first, int team,
                            struct error *error)
{
    arena_trim(&slot->arena, 0);
    pthread_mutex_lock(&engine->lock);
    engine->alone++;
    engine->computing--;
    pthread_cond_broadcast(&engine->changed);
    while (engine->computing > 0)
        pthread_cond_wait(&engine->changed, &engine->lock);
    engine->computing++;
    pthread_mutex_unlock(&engine->lock);
    status result = compute_once(engine, slot, pack, first, 1, team, error);
    if (result == STATUS_BUDGET && team > 1)
        result = compute_once(engine, slot, pack, first, 1, 1, error);
    pthread_mutex_lock(&engine->lock);
    engine->alone--;
    pthread_mutex_unlock(&engine->lock);
    return result;
}

static status compute(struct recto_engine *engine, struct slot *slot, const struct pack_work *pack, int first, int count, int team,
                      struct error *error)
{
    status result = compute_once(engine, slot, pack, first, count, team, error);
    if (result == STATUS_BUDGET && count > 1) {
        pthread_mutex_lock(&engine->lock);
        engine->splits++;
        pthread_mutex_unlock(&engine->lock);
        result = compute(engine, slot, pack, first, count / 2, team, error);
        return result == STATUS_OK ? compute(engine, slot, pack, first + count / 2, count - count / 2, team, error) : result;
    }
    return result == STATUS_BUDGET ? compute_alone(engine, slot, pack, first, team, error) : result;
}

/* ---- Working ---- */

static bool may_begin(const struct recto_engine *engine) { return engine->running < engine->workers && !engine->alone; }

/* Takes and computes packs until all texts of `request` are taken. Called and left with the lock held. */
static void work(struct recto_engine *engine, const struct request *request)
{
    struct pack_work pack;
    while (request->taken < request->count && may_begin(engine) && take_pack(engine, &pack)) {
        struct slot *slot = take_slot(engine);
        int          team = engine->first || engine->device.accelerator
                                ? 1
                                : engine->workers - engine->running;  /* nothing else to do: help each other */
        struct error error;
        engine->running += team;
        engine->computing++;
        pthread_mutex_unlock(&engine->lock);
        status result = compute(engine, slot, &pack, 0, pack.count, team, &error);
        pthread_mutex_lock(&engine->lock);
        engine->running -= team;
        engine->computing--;
        slot->busy = false;
        for (int i = 0; i < pack.count; i++) {
            if (result != STATUS_OK)
                fail_request(pack.items[i].request, result, &error);
            pack.items[i].request->done++;
        }
        pthread_cond_broadcast(&engine->changed);
    }
}

static void work_as_helper(void *user, int worker)
{
    struct request      *request = user;
    struct recto_engine *engine  = request->engine;
    (void)worker;
    pthread_mutex_lock(&engine->lock);
    work(engine, request);
    pthread_mutex_unlock(&engine->lock);
}

status request_compute(struct request *request, struct error *error)
{
    struct recto_engine *engine = request->engine;
    size_t               tokens = 0;
    for (size_t i = 0; i < request->count; i++)
        tokens += request->items[i].tokens;
    pthread_mutex_lock(&engine->lock);
    append(engine, request);
    if (engine->workers > 1 && request->count > 1 && tokens > (size_t)engine->device.limits.least) {
        pthread_mutex_unlock(&engine->lock);
        threads_run(engine->threads, engine->workers - 1, work_as_helper, request);
        pthread_mutex_lock(&engine->lock);
    }
    while (request->done < request->count) {
        work(engine, request);
        if (request->done < request->count)
            pthread_cond_wait(&engine->changed, &engine->lock);
    }
    status result = request->failed;
    if (result != STATUS_OK && error)
        *error = request->error;
    pthread_mutex_unlock(&engine->lock);
    return result;
}
