/* tokenize_lines MODE FILE: ids and offsets of many texts.
 *
 * MODE is "json" (FILE is a tokenizer.json) or "vocabulary-CSAL" with y or n for each of clean_text, split_chinese,
 * strip_accents and lower_case (FILE is a vocab.txt). Texts come from standard input, each ended by two bytes 0xFF (which
 * UTF-8 never has). For each one a record goes to standard output: a 32-bit count, then that many ids, starts and ends,
 * all little-endian; the count is 0xFFFFFFFF where the text was refused.
 */
#include "loaders/tokenizer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char *read_all(FILE *file, size_t *length)
{
    size_t capacity = 1 << 20;
    char *text = malloc(capacity);

    *length = 0;
    for (size_t got; text && (got = fread(text + *length, 1, capacity - *length, file)) > 0;) {
        *length += got;
        if (*length == capacity)
            text = realloc(text, capacity *= 2);
    }
    return text;
}

static status open_tokenizer(struct tokenizer **tokenizer, struct pool *pool, char **arguments, struct error *error)
{
    const char *mode = arguments[1], *name = arguments[2];
    FILE *file = fopen(name, "rb");
    size_t length;

    if (!file)
        return error_set(error, STATUS_IO, "%s cannot be opened", name);
    char *text = read_all(file, &length);
    fclose(file);
    status result = STATUS_USAGE;
    if (strcmp(mode, "json") == 0) {
        result = tokenizer_open_json(tokenizer, pool, text, length, name, error);
    } else if (strncmp(mode, "vocabulary-", 11) == 0 && strlen(mode) == 15) {
        const struct tokenizer_settings settings = {mode[11] == 'y', mode[12] == 'y', mode[13] == 'y', mode[14] == 'y'};
        const struct tokenizer_vocabulary_file vocabulary = {text, length, name, settings};
        result = tokenizer_open_vocabulary(tokenizer, pool, &vocabulary, error);
    } else {
        error_set(error, STATUS_USAGE, "unknown mode %s", mode);
    }
    free(text);
    return result;
}

static void write_record(const struct token_buffer *buffer, status result)
{
    const uint32_t count = result == STATUS_OK ? (uint32_t)buffer->count : UINT32_MAX;

    fwrite(&count, sizeof count, 1, stdout);
    if (result != STATUS_OK)
        return;
    fwrite(buffer->ids, sizeof *buffer->ids, count, stdout);
    fwrite(buffer->starts, sizeof *buffer->starts, count, stdout);
    fwrite(buffer->ends, sizeof *buffer->ends, count, stdout);
}

int main(int count, char **arguments)
{
    struct tokenizer *tokenizer = NULL;
    struct pool *pool = NULL;
    struct error error;
    size_t length;

    if (count != 3 || pool_open(&pool, 0, &error) != STATUS_OK ||
        open_tokenizer(&tokenizer, pool, arguments, &error) != STATUS_OK) {
        fprintf(stderr, "%s\n", count == 3 ? error.message : "usage: tokenize_lines MODE FILE < texts");
        return 2;
    }
    struct token_buffer buffer = {.pool = pool};
    char *texts = read_all(stdin, &length);
    for (char *at = texts, *end; at < texts + length; at = end + 2) {
        end = memmem(at, (size_t)(texts + length - at), "\xFF\xFF", 2);
        if (!end)
            break;
        const struct tokenizer_request request = {.text = at, .length = (size_t)(end - at), .with_offsets = true};
        write_record(&buffer, tokenizer_encode(tokenizer, &request, &buffer, &error));
    }
    free(texts);
    token_buffer_release(&buffer);
    tokenizer_close(tokenizer);
    pool_close(pool);
    return 0;
}
