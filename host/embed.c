/* embed.c: recto_embed and recto_tokenize. */
#include "host/request.h"

#include <string.h>

/* The next window, from text `base` on. */
static status embed_window(struct request *request, const recto_text *texts, size_t count, size_t base, recto_text_result *results,
                           struct error *error)
{
    engine_stage_begin(request->engine, "tokenize");
    status result = request_fill(request, texts, count, base, results, error);
    engine_stage_end(request->engine);
    return result == STATUS_OK ? request_compute(request, error) : result;
}

recto_status recto_embed(recto_model *model, const recto_text *texts, size_t count, const recto_embed_options *options,
                         float *vectors, recto_text_result *results, recto_error *error)
{
    struct error    local = { 0 };
    struct request *request;
    if (!model || (count && (!texts || !vectors)))
        return engine_report(&local, error_set(&local, STATUS_USAGE, "embed: a null pointer where %s",
                                               !model ? "the model should be" : !texts ? "texts should be" : "vectors should go"),
                             error);
    status result = request_take(model->engine, &request, &local);
    if (result != STATUS_OK)
        return engine_report(&local, result, error);
    result = request_begin(request, model, options, &local);
    for (size_t base = 0; base < count && result == STATUS_OK; base += request->count) {
        result = request_stopped(request, &local);
        if (result != STATUS_OK)
            break;
        request->vectors = vectors + base * request->dimensions;
        request_begin_window(request);
        result = embed_window(request, texts, count, base, results, &local);
        request_end_window(request);
        if (result == STATUS_BUDGET) {  /* perhaps because of what other calls hold */
            request_begin_alone(request);
            result = embed_window(request, texts, count, base, results, &local);
            request_end_window(request);
        }
    }
    request_return(request);
    return engine_report(&local, result, error);
}

recto_status recto_tokenize(recto_model *model, const recto_text *text, recto_tokens *tokens, recto_error *error)
{
    struct error    local = { 0 };
    struct request *request;
    if (!model || !text || !tokens || (!text->data && text->length))
        return engine_report(&local, error_set(&local, STATUS_USAGE, "tokenize: a null pointer where %s should be",
                                               !model ? "the model" : !tokens ? "the tokens" : "the text"),
                             error);
    struct tokenizer_request encode = { .text = text->data, .length = text->length,
                                        .with_offsets = tokens->starts || tokens->ends };
    status                   result = request_take(model->engine, &request, &local);
    if (result != STATUS_OK)
        return engine_report(&local, result, error);
    result      = tokenizer_encode(model->tokenizer, &encode, &request->tokens, &local);
    size_t room = tokens->count;
    if (result == STATUS_OK) {
        tokens->count = request->tokens.count;
        if (tokens->count > room)
            result = error_set(&local, STATUS_INPUT, "%zu tokens, there is room for %zu", tokens->count, room);
    }
    if (result == STATUS_OK && tokens->ids)
        memcpy(tokens->ids, request->tokens.ids, tokens->count * sizeof *tokens->ids);
    if (result == STATUS_OK && tokens->starts)
        memcpy(tokens->starts, request->tokens.starts, tokens->count * sizeof *tokens->starts);
    if (result == STATUS_OK && tokens->ends)
        memcpy(tokens->ends, request->tokens.ends, tokens->count * sizeof *tokens->ends);
    request_return(request);
    return engine_report(&local, result, error);
}
