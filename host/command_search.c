/* command_search.c: `recto search`: the lines that are nearest to a question, by cosine. */
#include "host/command_batch.h"
#include "host/command_number.h"
#include "host/command_output.h"
#include "loaders/utf8.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum { TOP_MAX = 10000, WIDTH_WITHOUT_TERMINAL = 100 };

static const char help[] =
    "recto search [OPTIONS] QUERY --in FILE: the lines of a file that are nearest to a question\n"
    "\n"
    "  --in FILE             one text a line; - is standard input\n"
    "  --top K               how many to show (default: 10)\n"
    "  --format NAME         text (default): score, line and the beginning of the text\n"
    "                        jsonl: {\"rank\":1,\"score\":0.73,\"file\":\"..\",\"line\":12,\"text\":\"..\"} a line\n"
    "  --jsonl FIELD         lines are JSON objects; the text is this string of each\n"
    "  --query-prompt NAME   the prompt for the question (default: query, where the model has it)\n"
    SETTINGS_TEXT_HELP
    SETTINGS_ENGINE_HELP
    "\n"
    "Examples\n"
    "  recto search \"how are roses pruned\" --in garden.txt\n"
    "  recto search --top 3 --format jsonl \"storms at sea\" --in voyage.txt\n";

struct hit {
    double      score;
    uint64_t    line;
    const char *file;
    char       *text;  /* a block of the pool */
    size_t      length;
};

struct search {
    struct pool       *pool;
    struct text_reader reader;
    struct hit        *hits;     /* best first */
    uint32_t           top, count;
    float             *query;
    double             query_length;
    uint32_t           dimensions;
};

static double length_of(const float *vector, uint32_t dimensions)
{
    double sum = 0;
    for (uint32_t i = 0; i < dimensions; i++)
        sum += (double)vector[i] * (double)vector[i];
    return sqrt(sum);
}

static double cosine(const struct search *search, const float *vector)
{
    double product = 0, lengths = search->query_length * length_of(vector, search->dimensions);
    for (uint32_t i = 0; i < search->dimensions; i++)
        product += (double)vector[i] * (double)search->query[i];
    return lengths > 0 ? product / lengths : 0;
}

/* Puts a text in its place among the hits; of equal scores the earlier line stays in front. */
static status keep(struct search *search, const struct batch *batch, size_t i, double score, struct error *error)
{
    const recto_text *text = &batch->texts.texts[i];
    void             *copy;
    status            result = pool_alloc(search->pool, MEMORY_REQUEST, text->length, "a text that was found", &copy, error);
    if (result != STATUS_OK)
        return result;
    memcpy(copy, text->data, text->length);
    if (search->count == search->top)
        pool_free(search->pool, search->hits[--search->count].text);
    uint32_t at = search->count++;
    for (; at > 0 && search->hits[at - 1].score < score; at--)
        search->hits[at] = search->hits[at - 1];
    search->hits[at] = (struct hit){ score, text_place_line(&batch->texts, i), text_place_file(&search->reader, &batch->texts, i),
                                     copy, text->length };
    return STATUS_OK;
}

static status take(void *user, const struct batch *batch, struct error *error)
{
    struct search *search = user;
    status         result = STATUS_OK;
    for (size_t i = 0; i < batch->texts.count && result == STATUS_OK; i++) {
        const double score = cosine(search, batch->vectors + i * search->dimensions);
        if (search->count < search->top || score > search->hits[search->count - 1].score)
            result = keep(search, batch, i, score, error);
    }
    return result;
}

static int terminal_width(void)
{
    struct winsize size;
    const char    *columns = getenv("COLUMNS");
    if (isatty(STDOUT_FILENO) && ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 20)
        return size.ws_col;
    const int width = columns ? atoi(columns) : 0;
    return width > 20 && width < 10000 ? width : WIDTH_WITHOUT_TERMINAL;
}

/* As many code points as fit, control characters as blanks; cut text ends in an ellipsis. */
static void write_shortened(struct output *output, const char *text, size_t length, int width)
{
    const uint8_t *at = (const uint8_t *)text, *end = at + length, *last = at;
    int            room = width;
    uint32_t       code = 0;
    while (last < end && room-- > 0)
        last += utf8_decode(last, end, &code);  /* what was embedded is UTF-8 */
    const bool is_cut = last < end;
    room              = width - is_cut;
    while (at < end && room-- > 0) {
        const unsigned step = utf8_decode(at, end, &code);
        output_write(output, code < 0x20 || code == 0x7f ? (const uint8_t *)" " : at, code < 0x20 ? 1 : step);
        at += step;
    }
    output_text(output, is_cut ? "\xe2\x80\xa6\n" : "\n");
}

static void write_ranking(struct output *output, const struct search *search)
{
    const int width = terminal_width();
    for (uint32_t i = 0; i < search->count; i++) {
        const struct hit *hit = &search->hits[i];
        char              front[64];
        const int         used = snprintf(front, sizeof front, "%7.4f %7llu  ", hit->score, (unsigned long long)hit->line);
        output_text(output, front);
        write_shortened(output, hit->text, hit->length, width - used > 20 ? width - used : 20);
    }
}

static void write_jsonl(struct output *output, const struct search *search)
{
    for (uint32_t i = 0; i < search->count; i++) {
        const struct hit *hit = &search->hits[i];
        char             *at;
        output_format(output, "{\"rank\":%u,\"score\":", i + 1);
        at = output_room(output, NUMBER_MAX_LENGTH);
        output_advance(output, number_write_float(at, (float)hit->score));
        output_text(output, ",\"file\":");
        output_json_string(output, hit->file, strlen(hit->file));
        output_format(output, ",\"line\":%llu,\"text\":", (unsigned long long)hit->line);
        output_json_string(output, hit->text, hit->length);
        output_text(output, "}\n");
    }
}

/* Some models ask for a prompt before questions and another one before what is searched. */
static const char *first_prompt(const struct session *session, const char *const *names)
{
    for (; *names; names++)
        if (session_has_prompt(session, *names))
            return *names;
    return NULL;
}

/* The engine calls the only text of a call "text 0". */
static int refuse_query(status code, const char *sentence)
{
    static const char front[] = "text 0: ";
    char              named[600];
    if (strncmp(sentence, front, strlen(front)) != 0)
        return command_report(code, sentence);
    snprintf(named, sizeof named, "the question: %s", sentence + strlen(front));
    return command_report(code, named);
}

static int embed_query(struct search *search, const struct session *session, const struct stream *stream, const char *query,
                       const char *prompt)
{
    static const char *const  names[] = { "query", NULL };
    recto_error               error   = RECTO_ERROR_INIT;
    const recto_text          text    = { query, strlen(query) };
    const recto_embed_options options = { .struct_size = sizeof options, .dimensions = stream->dimensions,
                                          .prompt = prompt ? prompt : first_prompt(session, names),
                                          .truncate = stream->truncate, .cancel = command_cancel() };
    const recto_status code = recto_embed(session->model, &text, 1, &options, search->query, NULL, &error);
    if (code != RECTO_OK)
        return refuse_query((status)code, error.message);
    search->query_length = length_of(search->query, stream->dimensions);
    return COMMAND_DONE;
}

static status search_lines(struct search *search, struct stream *stream, bool jsonl, struct error *error)
{
    static struct output output;
    status               result = stream_run(stream, error);
    if (result == STATUS_OK)
        result = output_open(&output, NULL, error);
    if (result != STATUS_OK)
        return result;
    if (jsonl)
        write_jsonl(&output, search);
    else
        write_ranking(&output, search);
    return output_commit(&output, error);
}

static status search_open(struct search *search, struct error *error)
{
    void  *hits = NULL, *query = NULL;
    status result = pool_alloc(search->pool, MEMORY_REQUEST, search->top * sizeof *search->hits, "the best texts", &hits, error);
    if (result == STATUS_OK)
        result = pool_alloc(search->pool, MEMORY_REQUEST, search->dimensions * sizeof *search->query, "the question's vector",
                            &query, error);
    search->hits  = hits;
    search->query = query;
    return result == STATUS_OK ? text_reader_open(&search->reader, error) : result;
}

static void search_close(struct search *search)
{
    text_reader_close(&search->reader);
    for (uint32_t i = 0; i < search->count; i++)
        pool_free(search->pool, search->hits[i].text);
    pool_free(search->pool, search->hits);
    pool_free(search->pool, search->query);
}

/* What the command line said. */
struct wanted {
    const char *query, *query_prompt, *field, *in;
    uint32_t    top;
    int         format;
};

static int search_model(struct session *session, const struct settings *settings, const struct wanted *wanted)
{
    static const char *const texts[] = { "document", "passage", "corpus", NULL };
    struct error  error  = { 0 };
    struct search search = { .pool = session->engine->pool, .top = wanted->top,
                             .dimensions = settings->dimensions ? settings->dimensions : session->info.dimensions,
                             .reader = { .pool = session->engine->pool, .files = &wanted->in, .file_count = 1,
                                         .field = wanted->field, .stop = command_is_interrupted } };
    struct stream stream = { .session = session, .reader = &search.reader, .dimensions = search.dimensions,
                             .prompt = settings->prompt ? settings->prompt : first_prompt(session, texts),
                             .truncate = settings->truncate, .take = take, .user = &search };
    status        result = search_open(&search, &error);
    int           code   = result == STATUS_OK ? embed_query(&search, session, &stream, wanted->query, wanted->query_prompt)
                                               : command_report(result, error.message);
    if (code == COMMAND_DONE) {
        result = search_lines(&search, &stream, wanted->format == 1, &error);
        if (result != STATUS_OK)
            code = command_report(result, error.message);
    }
    search_close(&search);
    return code;
}

static int run(int count, char **list)
{
    static const char *const formats[] = { "text", "jsonl", NULL };
    struct settings          settings  = SETTINGS_DEFAULT;
    struct wanted            wanted    = { .top = 10 };
    struct words             words     = { count, list };
    const struct argument    table[]   = {
        SETTINGS_ENGINE_ARGUMENTS(settings),
        SETTINGS_TEXT_ARGUMENTS(settings),
        { .name = "in", .kind = ARGUMENT_TEXT, .value = &wanted.in },
        { .name = "top", .kind = ARGUMENT_COUNT, .value = &wanted.top, .most = TOP_MAX },
        { .name = "jsonl", .kind = ARGUMENT_TEXT, .value = &wanted.field },
        { .name = "format", .kind = ARGUMENT_CHOICE, .value = &wanted.format, .choices = formats },
        { .name = "query-prompt", .kind = ARGUMENT_TEXT, .value = &wanted.query_prompt },
        { .name = NULL },
    };
    int code = arguments_parse(&command_search, table, &words, 1, 1);
    if (code != ARGUMENTS_GO_ON)
        return code;
    if (!wanted.in)
        return command_refuse(COMMAND_USAGE, "search needs --in FILE, the lines to search; see recto search --help");
    struct session session;
    wanted.query = words.list[0];
    code         = session_open(&session, &settings);
    if (code == COMMAND_DONE)
        code = search_model(&session, &settings, &wanted);
    session_close(&session);
    return code;
}

const struct command command_search = { "search", "the lines of a file that are nearest to a question", help, run };
