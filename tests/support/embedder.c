#include "tests/support/embedder.h"

#include <stdio.h>
#include <string.h>

static void take_line(void *user, int level, const char *message)
{
    struct embedder_log *log = user;
    log->warnings += level == 1;
    snprintf(log->last, sizeof log->last, "%s", message);
}

recto_status embedder_start(struct embedder *embedder, const struct embedder_options *options)
{
    *embedder = (struct embedder){ .error = RECTO_ERROR_INIT };
    recto_engine_options engine = {
        .struct_size = sizeof engine, .host_bytes = options->budget, .threads = options->threads ? options->threads : 1,
        .log = take_line, .log_user = &embedder->log, .cache_folder = options->cache, .hub_folder = "/nowhere",
    };
    return recto_engine_open(&embedder->engine, &engine, &embedder->error);
}

recto_status embedder_open(struct embedder *embedder, const struct embedder_options *options)
{
    recto_model_options model  = { .struct_size = sizeof model, .precision = options->precision };
    recto_status        result = embedder_start(embedder, options);
    if (result != RECTO_OK)
        return result;
    return recto_model_open(embedder->engine, options->folder, &model, &embedder->model, &embedder->error);
}

void embedder_close(struct embedder *embedder)
{
    recto_model_close(embedder->model);
    recto_engine_close(embedder->engine);
    embedder->model  = NULL;
    embedder->engine = NULL;
}

recto_status embedder_embed(struct embedder *embedder, const char *text, float *vector)
{
    recto_text one = { .data = text, .length = strlen(text) };
    return recto_embed(embedder->model, &one, 1, NULL, vector, NULL, &embedder->error);
}

uint64_t embedder_bytes(const struct embedder *embedder)
{
    recto_engine_info info = { .struct_size = sizeof info };
    recto_engine_describe(embedder->engine, &info);
    return info.bytes_in_use;
}
