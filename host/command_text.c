#include "host/command_text.h"

#include "loaders/json.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static bool is_standard_input(const struct text_reader *reader, int file)
{
    return reader->file_count == 0 || strcmp(reader->files[file], "-") == 0;
}

static const char *file_name(const struct text_reader *reader, int file)
{
    return is_standard_input(reader, file) ? "standard input" : reader->files[file];
}

static int file_total(const struct text_reader *reader) { return reader->file_count ? reader->file_count : 1; }

static status refuse_file(struct error *error, const struct text_reader *reader, int file, const char *doing)
{
    return error_set(error, STATUS_IO, "%s: cannot %s: %s", file_name(reader, file), doing, strerror(errno));
}

status text_reader_open(struct text_reader *reader, struct error *error)
{
    void  *chunk  = NULL;
    status result = STATUS_OK;
    reader->descriptor = -1;
    for (int i = 0; i < reader->file_count && result == STATUS_OK; i++)
        if (!is_standard_input(reader, i) && access(reader->files[i], R_OK) != 0)
            result = refuse_file(error, reader, i, "open it");
    if (result == STATUS_OK)
        result = pool_alloc(reader->pool, MEMORY_REQUEST, TEXT_CHUNK, "reading texts", &chunk, error);
    reader->chunk = chunk;
    return result;
}

void text_reader_close(struct text_reader *reader)
{
    if (reader->descriptor > STDIN_FILENO)
        close(reader->descriptor);
    pool_free(reader->pool, reader->chunk);
    reader->chunk      = NULL;
    reader->descriptor = -1;
}

uint64_t text_reader_size(const struct text_reader *reader)
{
    uint64_t total = 0;
    for (int i = 0; i < file_total(reader); i++) {
        struct stat info;
        const int   failed = is_standard_input(reader, i) ? fstat(STDIN_FILENO, &info) : stat(reader->files[i], &info);
        if (failed || !S_ISREG(info.st_mode))
            return 0;
        total += (uint64_t)info.st_size;
    }
    return total;
}

bool text_reader_ready(const struct text_reader *reader)
{
    if (reader->chunk_at < reader->chunk_end || reader->file >= file_total(reader))
        return true;
    if (reader->descriptor < 0 && !is_standard_input(reader, reader->file))
        return true;
    struct pollfd wait = { .fd = reader->descriptor < 0 ? STDIN_FILENO : reader->descriptor, .events = POLLIN };
    return poll(&wait, 1, 0) != 0;
}

static status open_next(struct text_reader *reader, struct error *error)
{
    reader->line   = 0;
    reader->at_end = false;
    reader->descriptor =
        is_standard_input(reader, reader->file) ? STDIN_FILENO : open(reader->files[reader->file], O_RDONLY | O_CLOEXEC);
    return reader->descriptor < 0 ? refuse_file(error, reader, reader->file, "open it") : STATUS_OK;
}

/* One read into the chunk; at the file's end `at_end` is set and the chunk stays empty. */
static status read_chunk(struct text_reader *reader, struct error *error)
{
    ssize_t got;
    do {
        got = read(reader->descriptor, reader->chunk, TEXT_CHUNK);
        if (got < 0 && errno == EINTR && reader->stop && reader->stop())
            return error_set(error, STATUS_CANCELLED, "interrupted while reading %s", file_name(reader, reader->file));
    } while (got < 0 && errno == EINTR);
    if (got < 0)
        return refuse_file(error, reader, reader->file, "read it");
    reader->chunk_at  = 0;
    reader->chunk_end = (size_t)got;
    reader->at_end    = got == 0;
    reader->bytes_read += (uint64_t)got;
    return STATUS_OK;
}

status text_block_open(struct text_block *block, struct pool *pool, size_t texts_max, size_t bytes_wanted, struct error *error)
{
    void  *texts = NULL, *places = NULL, *bytes = NULL;
    status result = pool_alloc(pool, MEMORY_REQUEST, texts_max * sizeof *block->texts, "a block of texts", &texts, error);
    if (result == STATUS_OK)
        result = pool_alloc(pool, MEMORY_REQUEST, texts_max * sizeof *block->places, "a block of texts", &places, error);
    if (result == STATUS_OK)
        result = pool_alloc(pool, MEMORY_REQUEST, bytes_wanted, "a block of texts", &bytes, error);
    *block = (struct text_block){ .texts = texts, .places = places, .bytes = bytes, .room = bytes_wanted,
                                  .texts_max = texts_max, .bytes_wanted = bytes_wanted };
    return result;
}

void text_block_close(struct text_block *block, struct pool *pool)
{
    pool_free(pool, block->texts);
    pool_free(pool, block->places);
    pool_free(pool, block->bytes);
    *block = (struct text_block){ 0 };
}

static status append(struct text_reader *reader, struct text_block *block, const char *from, size_t length, struct error *error)
{
    if (block->used + length > block->room) {
        const size_t wanted = block->used + length > block->room * 2 ? block->used + length : block->room * 2;
        void        *bytes  = block->bytes;
        status       result = pool_resize(reader->pool, MEMORY_REQUEST, wanted, "a block of texts", &bytes, error);
        if (result != STATUS_OK)
            return result;
        block->bytes = bytes;
        block->room  = wanted;
    }
    memcpy(block->bytes + block->used, from, length);
    block->used += length;
    return STATUS_OK;
}

static status refuse_line(struct error *error, const struct text_reader *reader, const char *sentence)
{
    return error_set(error, STATUS_INPUT, "%s:%llu: %s", file_name(reader, reader->file),
                     (unsigned long long)reader->line + 1, sentence);
}

/* The field's string takes the line's place: it is never longer than its JSON. */
static status extract(struct text_reader *reader, char *line, size_t *length, struct error *error)
{
    struct json_document *document;
    char                  sentence[256];
    size_t                text_length = 0;
    static const char     reader_name[] = "json: JSON: ";  /* how the sentences of json_parse begin for this name */
    if (*length == 0)
        return refuse_line(error, reader, "the line is empty, expected a JSON object");
    status result = json_parse(reader->pool, line, *length, "JSON", &document, error);
    if (result == STATUS_MODEL) {
        const size_t skip = strncmp(error->message, reader_name, strlen(reader_name)) == 0 ? strlen(reader_name) : 0;
        snprintf(sentence, sizeof sentence, "not JSON: %.200s", error->message + skip);
        return refuse_line(error, reader, sentence);
    }
    if (result != STATUS_OK)
        return result;
    const struct json *value = json_member(json_root(document), reader->field);
    const char        *text  = json_as_string(value, &text_length);
    if (text && text_length <= *length) {
        memcpy(line, text, text_length);
        *length = text_length;
    } else {
        if (value)
            snprintf(sentence, sizeof sentence, "field '%.100s' is %s, expected a string", reader->field,
                     json_kind_name(json_kind(value)));
        else
            snprintf(sentence, sizeof sentence, "there is no field '%.100s'", reader->field);
        result = refuse_line(error, reader, sentence);
    }
    json_free(document);
    return result;
}

/* The bytes from `start` on are a whole line without its end: they become a text. */
static status finish_line(struct text_reader *reader, struct text_block *block, size_t start, bool ended, struct error *error)
{
    char  *line   = block->bytes + start;
    size_t length = block->used - start;
    char   sentence[64];
    if (ended && length && line[length - 1] == '\r')
        length--;
    const char *nul = memchr(line, 0, length);
    if (nul) {
        snprintf(sentence, sizeof sentence, "text has a NUL byte at byte %zu", (size_t)(nul - line));
        return refuse_line(error, reader, sentence);
    }
    status result = reader->field ? extract(reader, line, &length, error) : STATUS_OK;
    if (result != STATUS_OK)
        return result;
    reader->line++;
    block->used                 = start + length;
    block->texts[block->count]  = (recto_text){ .length = length };
    block->places[block->count] = (struct text_place){ .line = reader->line, .start = start, .file = reader->file };
    block->count++;
    return STATUS_OK;
}

static void close_file(struct text_reader *reader)
{
    if (reader->descriptor > STDIN_FILENO)
        close(reader->descriptor);
    reader->descriptor = -1;
    reader->file++;
}

/* Moves what the chunk has of a line to the block, and finishes the line where its end is there; *found says so. */
static status take_chunk(struct text_reader *reader, struct text_block *block, size_t start, bool *found, struct error *error)
{
    const char  *from   = reader->chunk + reader->chunk_at;
    const size_t here   = reader->chunk_end - reader->chunk_at;
    const char  *end    = memchr(from, '\n', here);
    const size_t length = end ? (size_t)(end - from) : here;
    if (block->used - start + length > TEXT_LINE_MAX)
        return refuse_line(error, reader, "the line is longer than 8 MiB");
    *found        = end != NULL;
    status result = append(reader, block, from, length, error);
    reader->chunk_at += length + (end != NULL);
    return end && result == STATUS_OK ? finish_line(reader, block, start, true, error) : result;
}

/* Reads on until one more line is a text, or all files are at their end. */
static status read_line(struct text_reader *reader, struct text_block *block, struct error *error)
{
    const size_t start  = block->used;
    bool         found  = false;
    status       result = STATUS_OK;
    while (result == STATUS_OK && !found && reader->file < file_total(reader)) {
        if (reader->descriptor < 0)
            result = open_next(reader, error);
        if (result == STATUS_OK && reader->chunk_at == reader->chunk_end)
            result = read_chunk(reader, error);
        if (result == STATUS_OK && !reader->at_end) {
            result = take_chunk(reader, block, start, &found, error);
        } else if (result == STATUS_OK) {
            found = block->used > start;  /* the last line has no end */
            if (found)
                result = finish_line(reader, block, start, false, error);
            close_file(reader);
        }
    }
    return result;
}

status text_reader_next(struct text_reader *reader, struct text_block *block, struct error *error)
{
    size_t before;
    block->count = block->used = 0;
    do {
        before        = block->count;
        status result = read_line(reader, block, error);
        if (result != STATUS_OK)
            return result;
    } while (block->count > before && block->count < block->texts_max && block->used < block->bytes_wanted &&
             text_reader_ready(reader));
    for (size_t i = 0; i < block->count; i++)
        block->texts[i].data = block->bytes + block->places[i].start;
    return STATUS_OK;
}

const char *text_place_file(const struct text_reader *reader, const struct text_block *block, size_t text)
{
    return file_name(reader, block->places[text].file);
}

uint64_t text_place_line(const struct text_block *block, size_t text) { return block->places[text].line; }
