/* engine.c: opening and closing, statistics, and what an engine gives back when memory is short. */
#include "host/model.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What the program itself takes: code, the C library, a small stack for each thread, the heap's slack. The command
 * has 4.4 MiB resident when its weights are refused (test_ceiling). */
enum { PROCESS_BYTES = 5 << 20, THREAD_BYTES = 64 << 10 };

/* Addresses reserved for each slot's arena: they cost nothing, but a process may be limited in them. */
#define SLOT_ADDRESSES_MOST  ((size_t)1 << 36)
#define SLOT_ADDRESSES_LEAST ((size_t)1 << 28)

_Static_assert((int)RECTO_E_INTERNAL == (int)STATUS_INTERNAL && (int)RECTO_E_BUDGET == (int)STATUS_BUDGET &&
                   (int)RECTO_E_USAGE == (int)STATUS_USAGE && (int)RECTO_E_DEVICE == (int)STATUS_DEVICE,
               "the public codes are the internal ones");
_Static_assert((int)RECTO_DEVICE_AUTO == (int)DEVICE_AUTO && (int)RECTO_DEVICE_CPU == (int)DEVICE_CPU &&
                   (int)RECTO_DEVICE_CUDA == (int)DEVICE_CUDA,
               "the public devices are the internal ones");

const char *recto_version(void)
{
#define TEXT_(x) #x
#define TEXT(x)  TEXT_(x)
    return TEXT(RECTO_VERSION_MAJOR) "." TEXT(RECTO_VERSION_MINOR) "." TEXT(RECTO_VERSION_PATCH);
}

const char *recto_status_name(recto_status code) { return status_name((status)code); }

void engine_log(struct recto_engine *engine, int level, const char *format, ...)
{
    if (!engine->log || level > engine->options.log)
        return;
    char    message[768];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    pthread_mutex_lock(&engine->log_lock);
    engine->log(engine->log_user, level, message);
    pthread_mutex_unlock(&engine->log_lock);
}

recto_status engine_report(const struct error *from, status code, recto_error *to)
{
    if (to) {
        to->code = (recto_status)code;
        if (code == STATUS_OK)
            to->message[0] = 0;
        else
            snprintf(to->message, sizeof to->message, "%s", from->message);
    }
    return (recto_status)code;
}

status engine_take_options(void *to, size_t to_size, const void *from, const char *whose, struct error *error)
{
    uint32_t size;
    if (!from)
        return STATUS_OK;
    memcpy(&size, from, sizeof size);
    if (size <= sizeof size)
        return error_set(error, STATUS_USAGE, "%s: struct_size of its options is %u, expected their sizeof", whose, size);
    memcpy(to, from, size < to_size ? size : to_size);
    return STATUS_OK;
}

static status replace(char **text, const char *with, struct error *error)
{
    if (!with)
        return STATUS_OK;
    char *copy = strdup(with);
    if (!copy)
        return error_set(error, STATUS_MEMORY, "engine: the system gave no memory for an option");
    free(*text);
    *text = copy;
    return STATUS_OK;
}

static status take_settings(struct recto_engine *engine, const recto_engine_options *options, struct error *error)
{
    status result = replace(&engine->options.cache, options->cache_folder, error);
    if (result == STATUS_OK)
        result = replace(&engine->options.hub, options->hub_folder, error);
    if (result != STATUS_OK)
        return result;
    if (options->instructions)
        snprintf(engine->options.instructions, sizeof engine->options.instructions, "%s", options->instructions);
    if (options->host_bytes)
        engine->options.memory = options->host_bytes;
    if (options->threads)
        engine->options.threads = (int)(options->threads < 1024 ? options->threads : 1024);
    engine->log      = options->log;
    engine->log_user = options->log_user;
    engine->wish = options->device == RECTO_DEVICE_AUTO ? (enum device_wish)engine->options.device
                                                        : (enum device_wish)options->device;
    engine->device_bytes = options->device_bytes;
    return STATUS_OK;
}

void engine_stage_begin(const struct recto_engine *engine, const char *name)
{
    if (engine->device.accelerator)
        engine->device.accelerator->range_begin(&engine->device, name);
}

void engine_stage_end(const struct recto_engine *engine)
{
    if (engine->device.accelerator)
        engine->device.accelerator->range_end(&engine->device);
}

static void trim(struct recto_engine *engine, struct slot *slot)
{
    arena_trim(&slot->arena, 0);
    if (slot->lane)
        engine->device.accelerator->lane_trim(slot->lane);
}

void engine_give_back(struct recto_engine *engine)
{
    pthread_mutex_lock(&engine->lock);
    for (int i = 0; i < engine->workers; i++)
        if (!engine->slots[i].busy)
            trim(engine, &engine->slots[i]);
    engine_drop_requests(engine);
    for (struct recto_model *model = engine->models; model; model = model->next)
        model_drop_plans(model);
    pthread_mutex_unlock(&engine->lock);
}

static status open_slot(struct recto_engine *engine, struct slot *slot, struct error *error)
{
    const struct accelerator *accelerator = engine->device.accelerator;
    struct pool              *pool        = accelerator ? engine->device_pool : engine->pool;
    size_t                    addresses   = SLOT_ADDRESSES_MOST;
    status                    result      = arena_open(&slot->arena, pool, engine->device.memory, addresses, error);
    while (result == STATUS_MEMORY && addresses > SLOT_ADDRESSES_LEAST)
        result = arena_open(&slot->arena, pool, engine->device.memory, addresses /= 2, error);
    return result == STATUS_OK && accelerator ? accelerator->lane_open(&engine->device, &slot->lane, error) : result;
}

static void reclaim(void *user, uint64_t bytes)
{
    (void)bytes;
    engine_give_back(user);
}

/* Device memory was refused: what lies idle there is given back, and models that nobody uses are put to sleep. */
static void reclaim_device(void *user, uint64_t bytes)
{
    struct recto_engine *engine = user;
    (void)bytes;
    pthread_mutex_lock(&engine->lock);
    for (int i = 0; i < engine->workers; i++)
        if (!engine->slots[i].busy)
            arena_trim(&engine->slots[i].arena, 0);
    for (struct recto_model *model = engine->models; model; model = model->next)
        model_sleep(model);
    pthread_mutex_unlock(&engine->lock);
}

static status open_device(struct recto_engine *engine, struct error *error)
{
    struct device_request request = { .wish = engine->wish, .machine = &engine->machine, .variant = engine->options.instructions };
    struct device_note    note;
    status                result = pool_open(&engine->pool, engine->options.memory, error);
    if (result == STATUS_OK)
        result = pool_open(&engine->device_pool, engine->device_bytes, error);
    request.host_pool   = engine->pool;
    request.device_pool = engine->device_pool;
    request.ranges      = engine->options.ranges;
    if (result == STATUS_OK)
        result = device_open(&engine->device, &request, &note, error);
    if (result == STATUS_OK && note.reason.message[0])
        engine_log(engine, note.is_warning ? 1 : 2, "computing on the CPU: %s", note.reason.message);
    if (!engine->device.accelerator) {
        pool_close(engine->device_pool);
        engine->device_pool = NULL;
    }
    return result;
}

static int count_workers(const struct recto_engine *engine)
{
    int workers = engine->options.threads ? engine->options.threads : machine_threads(&engine->machine);
    int most    = engine->device.runs ? engine->device.runs : ENGINE_WORKERS_MAX;
    return workers < most ? workers : most;
}

static status start(struct recto_engine *engine, struct error *error)
{
    machine_describe(&engine->machine);
    status result   = open_device(engine, error);
    engine->workers = result == STATUS_OK ? count_workers(engine) : 0;
    if (result == STATUS_OK)
        result = pool_charge(engine->pool, MEMORY_PROCESS, PROCESS_BYTES + THREAD_BYTES * (uint64_t)engine->workers,
                             "the program itself", error);
    if (result == STATUS_OK)
        result = threads_open(&engine->threads, engine->pool, engine->workers - 1, error);
    for (int i = 0; i < engine->workers && result == STATUS_OK; i++)
        result = open_slot(engine, &engine->slots[i], error);
    if (result == STATUS_OK)
        pool_set_reclaim(engine->pool, reclaim, engine);
    if (result == STATUS_OK && engine->device_pool)
        pool_set_reclaim(engine->device_pool, reclaim_device, engine);
    return result;
}

recto_status recto_engine_open(recto_engine **engine, const recto_engine_options *options, recto_error *error)
{
    recto_engine_options chosen = { .struct_size = sizeof chosen };
    struct error         local  = { 0 };
    *engine                     = NULL;
    status result               = engine_take_options(&chosen, sizeof chosen, options, "engine", &local);
    if (result != STATUS_OK)
        return engine_report(&local, result, error);
    recto_engine *opened = calloc(1, sizeof *opened);
    if (!opened)
        return engine_report(&local, error_set(&local, STATUS_MEMORY, "engine: the system gave no memory"), error);
    pthread_mutex_init(&opened->lock, NULL);
    pthread_mutex_init(&opened->log_lock, NULL);
    pthread_cond_init(&opened->changed, NULL);
    result = options_read(&opened->options, &local);
    if (result == STATUS_OK)
        result = take_settings(opened, &chosen, &local);
    if (result == STATUS_OK)
        result = start(opened, &local);
    if (result != STATUS_OK)
        recto_engine_close(opened);
    else
        *engine = opened;
    return engine_report(&local, result, error);
}

void recto_engine_close(recto_engine *engine)
{
    if (!engine)
        return;
    threads_close(engine->threads);
    for (int i = 0; i < engine->workers; i++) {
        if (engine->slots[i].lane)
            engine->device.accelerator->lane_close(engine->slots[i].lane);
        arena_close(&engine->slots[i].arena);
        pool_free(engine->pool, engine->slots[i].control);
    }
    engine_drop_requests(engine);
    device_close(&engine->device);
    pool_close(engine->device_pool);
    pool_close(engine->pool);
    options_release(&engine->options);
    pthread_cond_destroy(&engine->changed);
    pthread_mutex_destroy(&engine->log_lock);
    pthread_mutex_destroy(&engine->lock);
    free(engine);
}

/* What only an accelerator has to tell. */
static void describe_device(struct recto_engine *engine, recto_engine_info *info)
{
    struct pool_usage        memory;
    struct accelerator_usage usage;
    if (!engine->device.accelerator)
        return;
    pool_usage(engine->device_pool, &memory);
    engine->device.accelerator->usage(&engine->device, &usage);
    info->device_name         = usage.name;
    info->device_memory       = usage.memory;
    info->device_budget_bytes = memory.ceiling == UINT64_MAX ? 0 : memory.ceiling;
    info->device_bytes_in_use = memory.in_use;
    info->device_peak_bytes   = memory.peak;
    info->weight_bytes += memory.by_category[MEMORY_WEIGHTS];
    info->arena_bytes += memory.by_category[MEMORY_ARENA];
    info->graphs    = usage.graphs;
    info->captures  = usage.captures;
    info->replays   = usage.replays;
    info->eager     = usage.eager;
    info->fallbacks = usage.fallbacks;
    snprintf(info->fallback_reason, sizeof info->fallback_reason, "%s", usage.reason);
}

recto_status recto_engine_describe(recto_engine *engine, recto_engine_info *info)
{
    struct pool_usage usage;
    pool_usage(engine->pool, &usage);
    pthread_mutex_lock(&engine->lock);
    recto_engine_info all = {
        .struct_size     = info->struct_size,
        .device          = engine->device.name,
        .instructions    = engine->device.variant,
        .cpu             = engine->machine.cpu_name,
        .threads         = (uint32_t)engine->workers,
        .budget_bytes    = usage.ceiling == UINT64_MAX ? 0 : usage.ceiling,
        .bytes_in_use    = usage.in_use,
        .peak_bytes      = usage.peak,
        .weight_bytes    = usage.by_category[MEMORY_WEIGHTS],
        .arena_bytes     = usage.by_category[MEMORY_ARENA],
        .request_bytes   = usage.by_category[MEMORY_REQUEST],
        .plan_bytes      = usage.by_category[MEMORY_PLAN],
        .tokenizer_bytes = usage.by_category[MEMORY_TOKENIZER],
        .texts           = engine->texts,
        .tokens          = engine->tokens,
        .runs            = engine->runs,
        .shared_runs     = engine->shared_runs,
        .splits          = engine->splits,
        .plans_built     = engine->plans_built,
    };
    pthread_mutex_unlock(&engine->lock);
    describe_device(engine, &all);
    memcpy(info, &all, info->struct_size < sizeof all ? info->struct_size : sizeof all);
    return RECTO_OK;
}
