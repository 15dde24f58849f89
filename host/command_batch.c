#include "host/command_batch.h"

#include "host/command_progress.h"

#include <stdio.h>
#include <string.h>

/* A block: enough work for all threads, little beside a model. */
enum { BLOCK_TEXTS = 512, BLOCK_LEAST = 16 << 10, BLOCK_MOST = 1 << 20 };

/* Bytes of text, and as many of vectors. What a tight budget leaves is the model's to compute with: how much is read at once
 * changes no answer. */
static size_t block_bytes(const struct session *session)
{
    recto_engine_info info = { .struct_size = sizeof info };
    recto_engine_describe(session->engine, &info);
    const uint64_t share = (info.budget_bytes - info.bytes_in_use) / 16;
    return info.budget_bytes == 0 || share > BLOCK_MOST ? BLOCK_MOST : share < BLOCK_LEAST ? BLOCK_LEAST : (size_t)share;
}

static status batch_open(struct batch *batch, const struct stream *stream, struct error *error)
{
    struct pool *pool   = stream->reader->pool;
    const size_t bytes  = block_bytes(stream->session), row = stream->dimensions * sizeof(float);
    const size_t most   = bytes / row < 1 ? 1 : bytes / row > BLOCK_TEXTS ? BLOCK_TEXTS : bytes / row;
    void        *vectors = NULL, *results = NULL;
    *batch        = (struct batch){ .stream = stream };
    status result = text_block_open(&batch->texts, pool, most, bytes, error);
    if (result == STATUS_OK)
        result = pool_alloc(pool, MEMORY_REQUEST, most * row, "a block of vectors", &vectors, error);
    if (result == STATUS_OK)
        result = pool_alloc(pool, MEMORY_REQUEST, most * sizeof *batch->results, "a block of results", &results, error);
    batch->vectors = vectors;
    batch->results = results;
    return result;
}

static void batch_close(struct batch *batch, struct pool *pool)
{
    if (batch->is_running)
        pthread_join(batch->thread, NULL);
    text_block_close(&batch->texts, pool);
    pool_free(pool, batch->vectors);
    pool_free(pool, batch->results);
}

static void *compute(void *argument)
{
    struct batch             *batch   = argument;
    const struct stream      *stream  = batch->stream;
    const recto_embed_options options = { .struct_size = sizeof options, .prompt = stream->prompt,
                                          .dimensions = stream->dimensions, .truncate = stream->truncate,
                                          .cancel = command_cancel() };
    batch->error = (recto_error)RECTO_ERROR_INIT;
    batch->code  = recto_embed(stream->session->model, batch->texts.texts, batch->texts.count, &options, batch->vectors,
                               batch->results, &batch->error);
    return NULL;
}

static void batch_start(struct batch *batch)
{
    batch->is_running = pthread_create(&batch->thread, NULL, compute, batch) == 0;
    if (!batch->is_running)
        compute(batch);
}

/* The engine counts the texts of a call ("text 17: ..."); people count the lines of their files. */
static status blame(const struct batch *batch, struct error *error)
{
    const char *sentence = batch->error.message;
    size_t      text     = 0;
    int         end      = 0;
    if (sscanf(sentence, "text %zu: %n", &text, &end) == 1 && end > 0 && text < batch->texts.count)
        return error_set(error, (status)batch->code, "%s:%llu: %s", text_place_file(batch->stream->reader, &batch->texts, text),
                         (unsigned long long)text_place_line(&batch->texts, text), sentence + end);
    return error_set(error, (status)batch->code, "%s", sentence);
}

static void show(const struct stream *stream, double started, uint64_t size)
{
    const double seconds = session_now() - started;
    progress_show(size ? (double)stream->reader->bytes_read / (double)size : -1.0, "%llu texts, %.0f tokens/s",
                  (unsigned long long)stream->texts, seconds > 0 ? (double)stream->tokens / seconds : 0.0);
}

/* Waits for a batch that was started and hands its results over; nothing to do when it is empty. */
static status finish(struct stream *stream, struct batch *batch, struct error *error)
{
    if (batch->texts.count == 0)
        return STATUS_OK;
    if (batch->is_running)
        pthread_join(batch->thread, NULL);
    batch->is_running = false;
    if (batch->code != RECTO_OK)
        return blame(batch, error);
    stream->texts += batch->texts.count;
    for (size_t i = 0; i < batch->texts.count; i++) {
        stream->tokens += batch->results[i].tokens;
        stream->truncated += batch->results[i].truncated;
    }
    status result = stream->take(stream->user, batch, error);
    batch->texts.count = 0;
    return result;
}

static status run(struct stream *stream, struct batch batches[2], struct error *error)
{
    const uint64_t size    = text_reader_size(stream->reader);
    const double   started = session_now();
    for (int turn = 0;; turn ^= 1) {
        struct batch *next = &batches[turn], *other = &batches[turn ^ 1];
        struct error  later;
        status        result = finish(stream, next, error);
        if (result == STATUS_OK && !text_reader_ready(stream->reader))
            result = finish(stream, other, error);
        if (result != STATUS_OK)
            return result;
        const status read = text_reader_next(stream->reader, &next->texts, &later);
        show(stream, started, size);
        if (read == STATUS_OK && next->texts.count > 0) {
            batch_start(next);
            continue;
        }
        result = finish(stream, other, error);  /* came before the end, or before the line that is wrong */
        if (result == STATUS_OK && read != STATUS_OK)
            *error = later;
        return result == STATUS_OK ? read : result;
    }
}

status stream_run(struct stream *stream, struct error *error)
{
    struct pool *pool       = stream->reader->pool;
    struct batch batches[2] = { { .is_running = false }, { .is_running = false } };
    status       result     = batch_open(&batches[0], stream, error);
    if (result == STATUS_OK)
        result = batch_open(&batches[1], stream, error);
    if (result == STATUS_OK)
        result = run(stream, batches, error);
    for (int i = 0; i < 2; i++)
        batch_close(&batches[i], pool);
    progress_clear();
    return result;
}
