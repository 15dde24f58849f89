#include "host/request.h"

#include "host/cancel.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

/* A window: enough for every thread to have several packs, little enough to be no weight beside a model. */
enum { WINDOW_TEXTS = 512, WINDOW_TOKENS = 16384 };

void request_return(struct request *request)
{
    struct recto_engine *engine = request->engine;
    pthread_mutex_lock(&engine->lock);
    request->next = engine->idle;
    engine->idle  = request;
    pthread_mutex_unlock(&engine->lock);
}

static void drop_buffers(struct request *request)
{
    struct pool *pool = request->engine->pool;
    pool_free(pool, request->items);
    pool_free(pool, request->ids);
    pool_free(pool, request->joined);
    token_buffer_release(&request->tokens);
    request->items      = NULL;
    request->ids        = NULL;
    request->joined     = NULL;
    request->items_room = request->ids_room = request->joined_room = 0;
}

void engine_drop_requests(struct recto_engine *engine)
{
    while (engine->idle) {
        struct request *request = engine->idle;
        engine->idle            = request->next;
        drop_buffers(request);
        pool_free(engine->pool, request);
    }
}

/* ---- Windows ---- */

void request_begin_window(struct request *request)
{
    struct recto_engine *engine = request->engine;
    pthread_mutex_lock(&engine->lock);
    if (engine->sole || engine->wanting)
        drop_buffers(request);  /* somebody lacks memory */
    while (engine->sole || engine->wanting)
        pthread_cond_wait(&engine->changed, &engine->lock);
    engine->windows++;
    pthread_mutex_unlock(&engine->lock);
}

static void begin_alone(struct recto_engine *engine, const void *who)
{
    pthread_mutex_lock(&engine->lock);
    engine->wanting++;
    while (engine->sole || engine->windows)
        pthread_cond_wait(&engine->changed, &engine->lock);
    engine->wanting--;
    engine->windows++;
    engine->sole = who;
    pthread_mutex_unlock(&engine->lock);
}

static void end_window(struct recto_engine *engine, const void *who)
{
    pthread_mutex_lock(&engine->lock);
    engine->windows--;
    if (engine->sole == who)
        engine->sole = NULL;
    if (!engine->windows)
        pthread_cond_broadcast(&engine->changed);
    pthread_mutex_unlock(&engine->lock);
}

void request_begin_alone(struct request *request)
{
    drop_buffers(request);
    begin_alone(request->engine, request);
}

void request_end_window(struct request *request) { end_window(request->engine, request); }

status request_take(struct recto_engine *engine, struct request **request, struct error *error)
{
    pthread_mutex_lock(&engine->lock);
    *request = engine->idle;
    if (*request)
        engine->idle = (*request)->next;
    pthread_mutex_unlock(&engine->lock);
    if (*request)
        return STATUS_OK;
    void  *block;
    status result = pool_alloc(engine->pool, MEMORY_REQUEST, sizeof **request, "a request", &block, error);
    if (result == STATUS_BUDGET) {
        begin_alone(engine, request);
        result = pool_alloc(engine->pool, MEMORY_REQUEST, sizeof **request, "a request", &block, error);
        end_window(engine, request);
    }
    if (result != STATUS_OK)
        return result;
    *request                = memset(block, 0, sizeof **request);
    (*request)->engine      = engine;
    (*request)->tokens.pool = engine->pool;
    return STATUS_OK;
}

/* ---- What is asked for ---- */

static status find_prompt(struct request *request, struct error *error)
{
    const struct model_folder *folder = request->model->folder;
    const char                *name   = request->options.prompt ? request->options.prompt : folder->default_prompt;
    request->prompt                   = "";
    if (!name)
        return STATUS_OK;
    uint32_t i = 0;
    while (i < folder->prompt_count && strcmp(folder->prompts[i].name, name) != 0)
        i++;
    if (!folder->prompt_count)
        return error_set(error, STATUS_USAGE, "the model has no prompts, '%s' was asked for", name);
    if (i == folder->prompt_count)
        return error_set(error, STATUS_USAGE, "the model has no prompt '%s'", name);
    request->prompt = folder->prompts[i].text;  /* may be empty */
    if (*request->prompt && !folder->include_prompt && folder->pooling == MODEL_FOLDER_MEAN)
        return error_set(error, STATUS_MODEL, "%s: include_prompt is false: leaving a prompt out of the pooling is not supported",
                         folder->path);
    return STATUS_OK;
}

status request_begin(struct request *request, recto_model *model, const recto_embed_options *options, struct error *error)
{
    request->model   = model;
    request->options = (recto_embed_options){ .struct_size = sizeof request->options };
    status result    = engine_take_options(&request->options, sizeof request->options, options, "embed", error);
    if (result != STATUS_OK)
        return result;
    uint32_t all        = model->folder->dimensions;
    request->dimensions = request->options.dimensions ? request->options.dimensions : all;
    if (request->dimensions > all)
        return error_set(error, STATUS_USAGE, "%zu dimensions asked for, the model's vectors have %u", request->dimensions, all);
    return find_prompt(request, error);
}

/* Makes room for one more item and `tokens` more ids. */
static status grow(struct request *request, size_t ids, size_t tokens, struct error *error)
{
    struct pool *pool   = request->engine->pool;
    status       result = STATUS_OK;
    if (!request->items) {
        result = pool_alloc(pool, MEMORY_REQUEST, WINDOW_TEXTS * sizeof *request->items, "the texts of a request",
                            (void **)&request->items, error);
        request->items_room = result == STATUS_OK ? WINDOW_TEXTS : 0;
    }
    if (result == STATUS_OK && ids + tokens > request->ids_room) {
        size_t room = request->ids_room ? 2 * request->ids_room : 1024;
        while (room < ids + tokens)
            room *= 2;
        result = pool_resize(pool, MEMORY_REQUEST, room * sizeof *request->ids, "the token ids of a request",
                             (void **)&request->ids, error);
        if (result == STATUS_OK)
            request->ids_room = room;
    }
    return result;
}

/* ---- The texts of a window ---- */

/* Prompt and text in one piece. */
static status join(struct request *request, const recto_text *text, const char **joined, size_t *length, struct error *error)
{
    size_t prompt = strlen(request->prompt);
    *joined       = text->data;
    *length       = text->length;
    if (!prompt)
        return STATUS_OK;
    *length = prompt + text->length;
    if (*length > request->joined_room) {
        size_t room   = *length + *length / 2;
        status result = pool_resize(request->engine->pool, MEMORY_REQUEST, room, "a text with its prompt",
                                    (void **)&request->joined, error);
        if (result != STATUS_OK)
            return result;
        request->joined_room = room;
    }
    memcpy(request->joined, request->prompt, prompt);
    if (text->length)
        memcpy(request->joined + prompt, text->data, text->length);
    *joined = request->joined;
    return STATUS_OK;
}

/* The ids of one text: as many as are embedded, and how many it has in all. */
struct text_ids {
    const int32_t *ids;
    size_t         count, full_count;
};

static status encode_text(struct request *request, const recto_text *text, struct text_ids *found, struct error *error)
{
    struct tokenizer_request encode = { .limit = request->model->folder->max_tokens };
    struct token_buffer     *tokens = &request->tokens;
    status code = join(request, text, &encode.text, &encode.length, error);
    if (code == STATUS_OK)
        code = tokenizer_encode(request->model->tokenizer, &encode, tokens, error);
    if (code == STATUS_INPUT && *request->prompt) {  /* the sentence shall count from the text's first byte */
        encode.text   = text->data;
        encode.length = text->length;
        code          = tokenizer_encode(request->model->tokenizer, &encode, tokens, error);
    }
    *found = (struct text_ids){ tokens->ids, tokens->count, tokens->full_count };
    return code;
}

static status check_ids(const struct request *request, const recto_text *text, struct text_ids *found, struct error *error)
{
    const uint32_t most = request->model->folder->max_tokens, vocabulary = request->model->folder->vocabulary;
    size_t         full = text->length / sizeof(int32_t);
    *found = (struct text_ids){ (const int32_t *)(const void *)text->data, full < most ? full : most, full };
    if (!full || text->length % sizeof(int32_t) || (uintptr_t)text->data % sizeof(int32_t))
        return error_set(error, STATUS_INPUT, "%zu bytes of token ids, expected aligned words of 4 and at least one", text->length);
    for (size_t i = 0; i < found->count; i++)
        if (found->ids[i] < 0 || (uint32_t)found->ids[i] >= vocabulary)
            return error_set(error, STATUS_INPUT, "token id %d at position %zu, the vocabulary has %u", found->ids[i], i,
                             vocabulary);
    return STATUS_OK;
}

static status add_text(struct request *request, const recto_text *text, size_t *ids, recto_text_result *result, struct error *error)
{
    struct text_ids found = { 0 };
    if (!text->data && text->length)
        return error_set(error, STATUS_USAGE, "a null pointer with a length of %zu", text->length);
    status code = request->options.token_ids ? check_ids(request, text, &found, error) : encode_text(request, text, &found, error);
    if (code != STATUS_OK)
        return code;
    bool truncated = found.full_count > found.count;
    if (truncated && !request->options.truncate)
        return error_set(error, STATUS_INPUT, "%zu tokens, the model takes %u; shorten it or ask for truncation", found.full_count,
                         request->model->folder->max_tokens);
    code = grow(request, *ids, found.count, error);
    if (code != STATUS_OK)
        return code;
    memcpy(request->ids + *ids, found.ids, found.count * sizeof *request->ids);
    request->items[request->count++] = (struct request_item){ (uint32_t)found.count, *ids };
    *ids += found.count;
    if (result)
        *result = (recto_text_result){ (uint32_t)found.count, truncated };
    return STATUS_OK;
}

status request_fill(struct request *request, const recto_text *texts, size_t count, size_t base, recto_text_result *results,
                    struct error *error)
{
    size_t ids     = 0;
    request->count = request->taken = request->done = 0;
    request->base                                   = base;
    request->failed                                 = STATUS_OK;
    while (base + request->count < count && request->count < WINDOW_TEXTS && ids < WINDOW_TOKENS) {
        size_t i    = base + request->count;
        status code = add_text(request, &texts[i], &ids, results ? &results[i] : NULL, error);
        if (code != STATUS_OK)
            return error_prefix(error, "text %zu", i);
    }
    return STATUS_OK;
}

status request_stopped(const struct request *request, struct error *error)
{
    if (request->options.cancel && cancel_is_raised(request->options.cancel))
        return error_set(error, STATUS_CANCELLED, "cancelled");
    if (request->options.deadline_ns) {
        struct timespec now;
        clock_gettime(CLOCK_MONOTONIC, &now);
        if ((uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec >= request->options.deadline_ns)
            return error_set(error, STATUS_DEADLINE, "the deadline has passed");
    }
    return STATUS_OK;
}
