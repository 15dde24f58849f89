/* command_tokenize.c: `recto tokenize`: the ids of texts and where they come from. Loads no weights. */
#include "host/command_arguments.h"
#include "host/command_folder.h"
#include "host/command_number.h"
#include "host/command_output.h"
#include "host/command_text.h"
#include "loaders/tokenizer_folder.h"

#include <string.h>

enum { BLOCK_TEXTS = 4096, BLOCK_BYTES = 256 << 10, NUMBERS_AT_ONCE = 512 };

static const char help[] =
    "recto tokenize [OPTIONS] [FILE...]: the token ids of each line, one JSON object a line\n"
    "\n"
    "  {\"ids\":[101,7592,102],\"offsets\":[[0,0],[0,5],[0,0]]}\n"
    "\n"
    "Offsets are bytes of the text; special tokens are included and have the offsets [0,0]. Texts are\n"
    "never cut, however long, and no prompt is added.\n"
    "\n"
    "  --model NAME|FOLDER   a fetched model, organisation/name of a Hugging Face cache, or a folder\n"
    "                        (default: all-minilm-l6-v2); its weights are not needed\n"
    "  --jsonl FIELD         lines are JSON objects; the text is this string of each\n"
    "  --output FILE         appears when all is done, and not at all if anything fails\n"
    "  --memory SIZE         never use more than this, such as 64M\n"
    "\n"
    "Examples\n"
    "  echo 'Hello, world' | recto tokenize\n"
    "  recto tokenize --model intfloat/e5-small-v2 corpus.txt > tokens.jsonl\n";

struct tokenizing {
    const struct tokenizer *tokenizer;
    struct text_reader     *reader;
    struct token_buffer     tokens;
    struct output          *output;
};

static void write_ids(struct output *output, const struct token_buffer *tokens)
{
    output_text(output, "{\"ids\":[");
    for (size_t from = 0; from < tokens->count; from += NUMBERS_AT_ONCE) {
        const size_t to = tokens->count - from < NUMBERS_AT_ONCE ? tokens->count : from + NUMBERS_AT_ONCE;
        char        *at = output_room(output, NUMBERS_AT_ONCE * (NUMBER_MAX_LENGTH + 1));
        for (size_t i = from; i < to; i++) {
            if (i)
                *at++ = ',';
            at = number_write(at, (uint64_t)tokens->ids[i]);
        }
        output_advance(output, at);
    }
}

static void write_offsets(struct output *output, const struct token_buffer *tokens)
{
    output_text(output, "],\"offsets\":[");
    for (size_t from = 0; from < tokens->count; from += NUMBERS_AT_ONCE) {
        const size_t to = tokens->count - from < NUMBERS_AT_ONCE ? tokens->count : from + NUMBERS_AT_ONCE;
        char        *at = output_room(output, NUMBERS_AT_ONCE * (2 * NUMBER_MAX_LENGTH + 4));
        for (size_t i = from; i < to; i++) {
            if (i)
                *at++ = ',';
            *at++ = '[';
            at    = number_write(at, tokens->starts[i]);
            *at++ = ',';
            at    = number_write(at, tokens->ends[i]);
            *at++ = ']';
        }
        output_advance(output, at);
    }
    output_text(output, "]}\n");
}

static status tokenize_block(struct tokenizing *t, const struct text_block *block, struct error *error)
{
    for (size_t i = 0; i < block->count; i++) {
        const struct tokenizer_request request = { .text = block->texts[i].data, .length = block->texts[i].length,
                                                   .with_offsets = true };
        if (tokenizer_encode(t->tokenizer, &request, &t->tokens, error) != STATUS_OK)
            return error_prefix(error, "%s:%llu", text_place_file(t->reader, block, i),
                                (unsigned long long)text_place_line(block, i));
        write_ids(t->output, &t->tokens);
        write_offsets(t->output, &t->tokens);
    }
    return command_is_interrupted() ? error_set(error, STATUS_CANCELLED, "interrupted") : STATUS_OK;
}

static status tokenize_all(struct tokenizing *t, struct error *error)
{
    struct text_block block;
    status            result = text_block_open(&block, t->reader->pool, BLOCK_TEXTS, BLOCK_BYTES, error);
    while (result == STATUS_OK) {
        if (!text_reader_ready(t->reader))  /* somebody may be waiting for what is there */
            result = output_flush(t->output, error);
        if (result == STATUS_OK)
            result = text_reader_next(t->reader, &block, error);
        if (result != STATUS_OK || block.count == 0)
            break;
        result = tokenize_block(t, &block, error);
        if (result == STATUS_OK && t->output->failure)
            break;
    }
    text_block_close(&block, t->reader->pool);
    token_buffer_release(&t->tokens);
    return result;
}

static status tokenize(struct tokenizing *t, const char *path, struct error *error)
{
    status result = text_reader_open(t->reader, error);
    if (result == STATUS_OK)
        result = output_open(t->output, path, error);
    if (result == STATUS_OK) {
        struct error ignored;
        result = tokenize_all(t, error);
        if (result == STATUS_OK)
            result = output_commit(t->output, error);
        else if (!t->output->temporary[0] && output_flush(t->output, &ignored) != STATUS_OK)
            t->output->used = 0;  /* the sentence that is there says more */
        output_abandon(t->output);
    }
    text_reader_close(t->reader);
    return result;
}

static int run(int count, char **list)
{
    static struct output  output;
    struct words          words = { count, list };
    const char           *model = "all-minilm-l6-v2", *field = NULL, *path = NULL;
    uint64_t              memory  = 0;
    bool                  quiet   = false;
    const struct argument table[] = {
        { .name = "model", .kind = ARGUMENT_TEXT, .value = &model },
        { .name = "jsonl", .kind = ARGUMENT_TEXT, .value = &field },
        { .name = "output", .kind = ARGUMENT_TEXT, .value = &path },
        { .name = "memory", .kind = ARGUMENT_SIZE, .value = &memory },
        { .name = "quiet", .kind = ARGUMENT_FLAG, .value = &quiet, .letter = 'q' },
        { .name = NULL },
    };
    int code = arguments_parse(&command_tokenize, table, &words, 0, INT_MAX);
    if (code != ARGUMENTS_GO_ON)
        return code;
    struct error       error = { 0 };
    struct folder_view view;
    struct tokenizer  *tokenizer = NULL;
    status             result    = folder_view_open(&view, model, memory, &error);
    if (result == STATUS_OK)
        result = tokenizer_folder_open(&tokenizer, view.pool, view.folder, &error);
    if (result == STATUS_OK) {
        struct text_reader reader = { .pool = view.pool, .files = (const char *const *)words.list, .file_count = words.count,
                                      .field = field, .stop = command_is_interrupted };
        struct tokenizing  t = { .tokenizer = tokenizer, .reader = &reader, .tokens = { .pool = view.pool }, .output = &output };
        result               = tokenize(&t, path, &error);
    }
    tokenizer_close(tokenizer);
    folder_view_close(&view);
    return result == STATUS_OK ? COMMAND_DONE : command_report(result, error.message);
}

const struct command command_tokenize = { "tokenize", "token ids of each line, with their places in the text", help, run };
