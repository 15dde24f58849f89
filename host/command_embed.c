/* command_embed.c: `recto embed`: texts in, vectors out. */
#include "host/command_batch.h"
#include "host/command_write.h"

#include <stdio.h>

static const char help[] =
    "recto embed [OPTIONS] [FILE...]: one vector for each line of the files, or of standard input\n"
    "\n"
    "  --jsonl FIELD         lines are JSON objects; the text is this string of each\n"
    "  --format NAME         jsonl (default): {\"index\":0,\"tokens\":7,\"embedding\":[...]} a line\n"
    "                        npy: float32 [texts, dimensions] for numpy.load\n"
    "                        raw: little-endian float32 rows, in the order of the input\n"
    "  --output FILE         appears when all is done, and not at all if anything fails\n"
    "  --stats               one JSON object on standard error at the end\n"
    SETTINGS_TEXT_HELP
    SETTINGS_ENGINE_HELP
    "\n"
    "An empty line is an empty text and gets a vector too. Lines may be of any length up to 8 MiB and\n"
    "input of any size: memory does not grow with it.\n"
    "\n"
    "Examples\n"
    "  recto embed notes.txt > vectors.jsonl\n"
    "  recto embed --format npy --output vectors.npy chapters/*.txt\n"
    "  zcat news.jsonl.gz | recto embed --jsonl body --truncate --format raw > vectors.f32\n"
    "  echo 'a hard ceiling' | recto embed --precision int8 --dimensions 128 --memory 256M\n";

static status take(void *user, const struct batch *batch, struct error *error)
{
    return writer_rows(user, batch->vectors, batch->results, batch->texts.count, error);
}

static void print_stats(const struct session *session, const struct stream *stream, double seconds)
{
    recto_engine_info info = { .struct_size = sizeof info };
    recto_engine_describe(session->engine, &info);
    fprintf(stderr,
            "{\"texts\":%llu,\"tokens\":%llu,\"truncated\":%llu,\"seconds\":%.6f,\"load_seconds\":%.6f,\"peak_bytes\":%llu,"
            "\"budget_bytes\":%llu,\"splits\":%llu,\"device\":\"%s\",\"instructions\":\"%s\",\"precision\":\"%s\","
            "\"threads\":%u",
            (unsigned long long)stream->texts, (unsigned long long)stream->tokens, (unsigned long long)stream->truncated, seconds,
            session->load_seconds, (unsigned long long)info.peak_bytes, (unsigned long long)info.budget_bytes,
            (unsigned long long)info.splits, info.device, info.instructions, session_precision(session), info.threads);
    if (info.device_name)  /* names and reasons hold no character that JSON would write otherwise */
        fprintf(stderr,
                ",\"gpu\":\"%s\",\"device_peak_bytes\":%llu,\"replays\":%llu,\"eager\":%llu,\"fallbacks\":%llu,"
                "\"fallback_reason\":\"%s\"",
                info.device_name, (unsigned long long)info.device_peak_bytes, (unsigned long long)info.replays,
                (unsigned long long)info.eager, (unsigned long long)info.fallbacks, info.fallback_reason);
    fprintf(stderr, "}\n");
}

static int embed(struct session *session, struct stream *stream, struct writer *writer, const char *path, bool stats)
{
    struct error error  = { 0 };
    const double start  = session_now();
    status       result = writer_open(writer, path, &error);
    if (result == STATUS_OK)
        result = stream_run(stream, &error);
    if (result == STATUS_OK)
        result = writer_commit(writer, &error);
    else
        writer_abandon(writer);
    if (stats)
        print_stats(session, stream, session_now() - start);
    return result == STATUS_OK ? COMMAND_DONE : command_report(result, error.message);
}

static int run(int count, char **list)
{
    static struct writer  writer;
    struct settings       settings = SETTINGS_DEFAULT;
    struct words          words    = { count, list };
    const char           *field = NULL, *path = NULL;
    int                   format    = WRITE_JSONL;
    bool                  stats     = false;
    const struct argument table[]   = {
        SETTINGS_ENGINE_ARGUMENTS(settings),
        SETTINGS_TEXT_ARGUMENTS(settings),
        { .name = "jsonl", .kind = ARGUMENT_TEXT, .value = &field },
        { .name = "format", .kind = ARGUMENT_CHOICE, .value = &format, .choices = write_formats },
        { .name = "output", .kind = ARGUMENT_TEXT, .value = &path },
        { .name = "stats", .kind = ARGUMENT_FLAG, .value = &stats },
        { .name = NULL },
    };
    int code = arguments_parse(&command_embed, table, &words, 0, INT_MAX);
    if (code != ARGUMENTS_GO_ON)
        return code;
    struct session session;
    code = session_open(&session, &settings);
    if (code == COMMAND_DONE) {
        struct error       error  = { 0 };
        struct text_reader reader = { .pool = session.engine->pool, .files = (const char *const *)words.list,
                                      .file_count = words.count, .field = field, .stop = command_is_interrupted };
        struct stream      stream = { .session = &session, .reader = &reader, .prompt = settings.prompt,
                                      .dimensions = settings.dimensions ? settings.dimensions : session.info.dimensions,
                                      .truncate = settings.truncate, .take = take, .user = &writer };
        writer.format     = (enum write_format)format;
        writer.dimensions = stream.dimensions;
        status result     = text_reader_open(&reader, &error);
        code = result == STATUS_OK ? embed(&session, &stream, &writer, path, stats) : command_report(result, error.message);
        if (code == COMMAND_DONE && stream.truncated && !settings.quiet)
            command_refuse(COMMAND_DONE, "note: %llu of %llu texts were cut to %u tokens", (unsigned long long)stream.truncated,
                           (unsigned long long)stream.texts, session.info.max_tokens);
        text_reader_close(&reader);
    }
    session_close(&session);
    return code;
}

const struct command command_embed = { "embed", "one vector for each line of text", help, run };
