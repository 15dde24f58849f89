/* recto-bench: the engine as a child of profiling/bench.py.
 *
 *   recto-bench serve --model FOLDER --precision P --threads N     commands on standard input, a JSON line each as answer:
 *     ids FILE       token ids: int32 count, the lengths, then all ids
 *     texts FILE     raw texts, JSON Lines with the field "text"
 *     bulk R         all loaded ids, R times:                     {"ms_per_text": median}
 *     one R          the first of them alone, R times:            {"ms_per_text": median}
 *     mixed R        the raw texts, tokenisation included:        {"ms_per_text": median}
 */
#include "host/model.h"
#include "loaders/file.h"
#include "loaders/json.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { ROUNDS_MOST = 10000 };

struct bench {
    recto_engine *engine;
    recto_model  *model;
    recto_text   *texts;
    size_t        count;
    void         *storage;  /* what the texts point into */
    float        *vectors;
    size_t        dimensions;
    int           token_ids;  /* the texts are ids */
};

static double now(clockid_t clock)
{
    struct timespec time;
    clock_gettime(clock, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static int answer_error(const char *sentence)
{
    printf("{\"error\": \"%s\"}\n", sentence);
    return 1;
}

static void *allocate(size_t bytes)
{
    void *block = malloc(bytes ? bytes : 1);
    if (!block)
        exit(answer_error("out of memory"));
    return block;
}

static void take_texts(struct bench *b, recto_text *texts, size_t count, void *storage, int token_ids)
{
    b->token_ids = token_ids;
    free(b->texts);
    free(b->storage);
    free(b->vectors);
    b->texts   = texts;
    b->count   = count;
    b->storage = storage;
    b->vectors = allocate(count * b->dimensions * sizeof(float));
}

static int load_ids(struct bench *b, const char *path)
{
    FILE   *file = fopen(path, "rb");
    int32_t count, *numbers;
    long    bytes;
    if (!file || fseek(file, 0, SEEK_END) || (bytes = ftell(file)) < 4)
        return answer_error("the file of ids cannot be read");
    rewind(file);
    numbers    = allocate((size_t)bytes);
    size_t got = fread(numbers, 1, (size_t)bytes, file);
    fclose(file);
    if (got != (size_t)bytes || (count = numbers[0]) < 1)
        return answer_error("the file of ids is cut short");
    recto_text *texts = allocate((size_t)count * sizeof *texts);
    int32_t    *ids   = numbers + 1 + count;
    for (int32_t i = 0; i < count; i++) {
        texts[i] = (recto_text){ (const char *)ids, (size_t)numbers[1 + i] * sizeof *ids };
        ids += numbers[1 + i];
    }
    take_texts(b, texts, (size_t)count, numbers, 1);
    return 0;
}

static int load_texts(struct bench *b, const char *path)
{
    struct pool *pool;
    FILE        *file  = fopen(path, "r");
    char        *line  = NULL;
    size_t       room  = 0, count = 0, used = 0, texts_room = 1 << 16, bytes_room = 64 << 20;
    recto_text  *texts = allocate(texts_room * sizeof *texts);
    char        *bytes = allocate(bytes_room);
    if (!file || pool_open(&pool, 0, NULL) != STATUS_OK)
        return answer_error("the file of texts cannot be read");
    for (ssize_t length; (length = getline(&line, &room, file)) > 0 && count < texts_room; count++) {
        struct json_document *document;
        size_t                text_length;
        if (json_parse(pool, line, (size_t)length, path, &document, NULL) != STATUS_OK)
            return answer_error("a line of the texts is no JSON");
        const char *text = json_as_string(json_member(json_root(document), "text"), &text_length);
        if (!text || used + text_length > bytes_room)
            return answer_error("a line of the texts has no field text");
        memcpy(bytes + used, text, text_length);
        texts[count] = (recto_text){ .data = bytes + used, .length = text_length };
        used += text_length;
        json_free(document);
    }
    fclose(file);
    free(line);
    pool_close(pool);
    take_texts(b, texts, count, bytes, 0);
    return 0;
}

/* Embeds the first `count` texts `rounds` times; answers with the median. */
static int measure(struct bench *b, size_t count, int rounds)
{
    static double times[ROUNDS_MOST];
    recto_error   error = RECTO_ERROR_INIT;
    recto_embed_options options = { .struct_size = sizeof options, .token_ids = b->token_ids };
    if (!count || rounds < 1 || rounds > ROUNDS_MOST)
        return answer_error("nothing is loaded, or the rounds make no sense");
    for (int i = 0; i < rounds; i++) {
        double start = now(CLOCK_MONOTONIC);
        if (recto_embed(b->model, b->texts, count, &options, b->vectors, NULL, &error))
            return answer_error(error.message);
        times[i] = now(CLOCK_MONOTONIC) - start;
    }
    qsort(times, (size_t)rounds, sizeof *times, compare);
    printf("{\"ms_per_text\": %.6f, \"best\": %.6f}\n", times[rounds / 2] * 1e3 / (double)count, times[0] * 1e3 / (double)count);
    return 0;
}

static int serve(struct bench *b)
{
    char line[4200];
    while (fgets(line, sizeof line, stdin)) {
        char word[16], rest[4100] = "";
        if (sscanf(line, "%15s %4099[^\n]", word, rest) < 1)
            continue;
        if (strcmp(word, "ids") == 0 || strcmp(word, "texts") == 0) {
            if (!(word[0] == 'i' ? load_ids : load_texts)(b, rest))
                printf("{\"texts\": %zu}\n", b->count);
        } else if (strcmp(word, "bulk") == 0 || strcmp(word, "mixed") == 0) {
            measure(b, b->count, atoi(rest));
        } else if (strcmp(word, "one") == 0) {
            measure(b, b->count ? 1 : 0, atoi(rest));
        } else {
            answer_error("expected ids, texts, bulk, one or mixed");
        }
        fflush(stdout);
    }
    return 0;
}

int main(int count, char **words)
{
    const char          *model = "all-minilm-l6-v2", *precision = "fp32";
    recto_error          error  = RECTO_ERROR_INIT;
    recto_engine_options engine = { .struct_size = sizeof engine, .threads = 1, .device = RECTO_DEVICE_CPU };
    recto_model_options  options = { .struct_size = sizeof options };
    recto_model_info     info    = { .struct_size = sizeof info };
    struct bench         bench   = { 0 };
    for (int i = 2; i + 1 < count; i += 2) {
        if (strcmp(words[i], "--model") == 0)
            model = words[i + 1];
        else if (strcmp(words[i], "--precision") == 0)
            precision = words[i + 1];
        else if (strcmp(words[i], "--threads") == 0)
            engine.threads = (uint32_t)atoi(words[i + 1]);
    }
    options.precision = strcmp(precision, "fp32") == 0   ? RECTO_PRECISION_FP32
                        : strcmp(precision, "bf16") == 0 ? RECTO_PRECISION_BF16
                                                         : RECTO_PRECISION_INT8;
    if (recto_engine_open(&bench.engine, &engine, &error) || recto_model_open(bench.engine, model, &options, &bench.model, &error))
        return answer_error(error.message);
    recto_model_describe(bench.model, &info);
    bench.dimensions = info.dimensions;
    return serve(&bench);
}
