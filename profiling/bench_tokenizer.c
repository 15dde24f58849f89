/* bench_tokenizer TOKENIZER.json TEXT [LINES]: megabytes a second on one thread, best of several passes, for the lines of a
 * text file (LINES joined into one text; 1 when left out), with and without offsets; and the time to open the tokenizer.
 */
#include "loaders/tokenizer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { PASSES = 7, OPENINGS = 9 };

struct text {
    char  *bytes;
    size_t length;
};

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

static struct text read_file(const char *name)
{
    FILE *file = fopen(name, "rb");
    struct text text = {NULL, 0};

    if (!file || fseek(file, 0, SEEK_END) != 0)
        return text;
    text.length = (size_t)ftell(file);
    text.bytes = malloc(text.length + 1);
    rewind(file);
    if (text.bytes && fread(text.bytes, 1, text.length, file) != text.length)
        text.bytes = NULL;
    fclose(file);
    return text;
}

static const char *text_end(const char *at, const char *end, int lines)
{
    while (lines-- > 0 && at < end) {
        const char *line = memchr(at, '\n', (size_t)(end - at));
        at = line ? line + 1 : end;
    }
    return at;
}

/* Seconds for the whole file; `tokens` counts what came out. */
static double pass(const struct tokenizer *tokenizer, struct text text, int lines, bool with_offsets,
                   struct token_buffer *buffer, size_t *tokens)
{
    const char *end = text.bytes + text.length;
    const double start = now();
    struct error error;

    *tokens = 0;
    for (const char *at = text.bytes, *next; at < end; at = next) {
        next = text_end(at, end, lines);
        const struct tokenizer_request request = {.text = at, .length = (size_t)(next - at), .with_offsets = with_offsets};
        if (tokenizer_encode(tokenizer, &request, buffer, &error) == STATUS_OK)
            *tokens += buffer->count;
    }
    return now() - start;
}

static void measure(const struct tokenizer *tokenizer, struct text text, int lines, struct pool *pool)
{
    struct token_buffer buffer = {.pool = pool};
    size_t tokens = 0;

    for (int with_offsets = 0; with_offsets < 2; with_offsets++) {
        double best = 1e9;
        for (int i = 0; i < PASSES; i++) {
            const double seconds = pass(tokenizer, text, lines, with_offsets, &buffer, &tokens);
            best = seconds < best ? seconds : best;
        }
        printf("%-16s %8.1f MB/s %10.0f tokens/s\n", with_offsets ? "with offsets" : "ids", (double)text.length / best / 1e6,
               (double)tokens / best);
    }
    token_buffer_release(&buffer);
}

int main(int count, char **arguments)
{
    struct text json = count >= 3 ? read_file(arguments[1]) : (struct text){NULL, 0};
    struct text text = count >= 3 ? read_file(arguments[2]) : json;
    struct tokenizer *tokenizer = NULL;
    struct pool *pool = NULL;
    struct pool_usage usage;
    struct error error;
    double best = 1e9;

    if (!json.bytes || !text.bytes || pool_open(&pool, 0, &error) != STATUS_OK) {
        fprintf(stderr, "usage: bench_tokenizer TOKENIZER.json TEXT [LINES]\n");
        return 2;
    }
    for (int i = 0; i < OPENINGS; i++) {
        tokenizer_close(tokenizer);
        const double start = now();
        if (tokenizer_open_json(&tokenizer, pool, json.bytes, json.length, arguments[1], &error) != STATUS_OK) {
            fprintf(stderr, "%s\n", error.message);
            return 3;
        }
        if (i == 0)
            printf("%-16s %8.2f ms\n", "first open", (now() - start) * 1e3);
        best = now() - start < best ? now() - start : best;
    }
    pool_usage(pool, &usage);
    printf("%-16s %8.2f ms %10llu bytes kept\n", "open", best * 1e3,
           (unsigned long long)usage.by_category[MEMORY_TOKENIZER]);
    measure(tokenizer, text, count > 3 ? atoi(arguments[3]) : 1, pool);
    tokenizer_close(tokenizer);
    pool_close(pool);
    free(json.bytes);
    free(text.bytes);
    return 0;
}
