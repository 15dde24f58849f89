/* command_model.c: `recto model inspect`: what a model's folder says, without loading it. */
#include "host/command_arguments.h"
#include "host/command_folder.h"
#include "host/command_output.h"
#include "loaders/safetensors.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

static const char help[] =
    "recto model inspect [OPTIONS] NAME|FOLDER: what a model is made of\n"
    "\n"
    "  --json                one JSON object instead of lines for people\n"
    "\n"
    "Shows the network's sizes, pooling, prompts, tensors by type, the files that are there and those that\n"
    "are not, and the choices that had to be made where the folder made none.\n"
    "\n"
    "Examples\n"
    "  recto model inspect all-minilm-l6-v2\n"
    "  recto model inspect --json intfloat/e5-small-v2\n";

/* Everything that a folder may hold and that is read; weights and vocabulary are known from the description. */
static const char *const files[] = { "config.json", "modules.json", "1_Pooling/config.json", "sentence_bert_config.json",
                                     "config_sentence_transformers.json", "tokenizer_config.json", "tokenizer.json", "vocab.txt",
                                     "model.safetensors", "model.safetensors.index.json" };
enum { FILES = sizeof files / sizeof *files };

struct inspection {
    const struct model_folder *folder;
    uint64_t file_bytes[FILES];
    bool     file_exists[FILES];
    uint64_t tensors[DTYPE_COUNT], tensor_bytes[DTYPE_COUNT], parameters;
};

static void look_at_files(struct inspection *inspection)
{
    char        path[4096];
    struct stat info;
    for (int i = 0; i < FILES; i++) {
        snprintf(path, sizeof path, "%s/%s", inspection->folder->path, files[i]);
        inspection->file_exists[i] = stat(path, &info) == 0 && S_ISREG(info.st_mode);
        inspection->file_bytes[i]  = inspection->file_exists[i] ? (uint64_t)info.st_size : 0;
    }
}

static status count_tensors(struct inspection *inspection, struct pool *pool, struct error *error)
{
    struct safetensors *weights;
    status              result = safetensors_open(pool, inspection->folder->weights, &weights, error);
    if (result != STATUS_OK)
        return result;
    for (size_t i = 0; i < safetensors_count(weights); i++) {
        const struct tensor_view *tensor   = safetensors_at(weights, i);
        uint64_t                  elements = 1;
        for (int d = 0; d < tensor->rank; d++)
            elements *= (uint64_t)tensor->shape[d];
        inspection->tensors[tensor->dtype]++;
        inspection->tensor_bytes[tensor->dtype] += tensor->bytes;
        inspection->parameters += elements;
    }
    safetensors_close(weights);
    return STATUS_OK;
}

/* ---- For people ---- */

static void print_network(struct output *out, const struct inspection *inspection)
{
    const struct model_folder *f = inspection->folder;
    output_format(out, "folder      %s\n", f->path);
    output_format(out, "network     BERT encoder, %u layers, width %u, %u heads of %u, inner %u, %s\n", f->layers, f->width,
                  f->heads, f->width / f->heads, f->inner, model_folder_activation_name(f->activation));
    output_format(out, "text        at most %u tokens, vocabulary of %u, %s\n", f->max_tokens, f->vocabulary,
                  f->tokenizer_json ? "tokenizer.json" : "vocab.txt");
    output_format(out, "vector      %u numbers, pooling %s%s\n", f->dimensions, model_folder_pooling_name(f->pooling),
                  f->normalize ? ", length one" : "");
    for (uint32_t i = 0; i < f->dense_count; i++)
        output_format(out, "dense       %u -> %u, %s\n", f->dense[i].in, f->dense[i].out,
                      model_folder_activation_name(f->dense[i].activation));
    for (uint32_t i = 0; i < f->prompt_count; i++)
        output_format(out, "prompt      %s: \"%s\"%s\n", f->prompts[i].name, f->prompts[i].text,
                      f->default_prompt && strcmp(f->default_prompt, f->prompts[i].name) == 0 ? " (default)" : "");
    output_format(out, "parameters  %.1f million\n", (double)inspection->parameters / 1e6);
    for (int i = 0; i < DTYPE_COUNT; i++)
        if (inspection->tensors[i])
            output_format(out, "tensors     %llu of %s, %.1f MB\n", (unsigned long long)inspection->tensors[i],
                          dtype_name((enum dtype)i), (double)inspection->tensor_bytes[i] / 1e6);
}

static void print_people(struct output *out, const struct inspection *inspection)
{
    print_network(out, inspection);
    for (int i = 0; i < FILES; i++)
        if (inspection->file_exists[i])
            output_format(out, "file        %s, %llu bytes\n", files[i], (unsigned long long)inspection->file_bytes[i]);
    for (int i = 0; i < FILES; i++)
        if (!inspection->file_exists[i])
            output_format(out, "not there   %s\n", files[i]);
    for (uint32_t i = 0; i < inspection->folder->note_count; i++)
        output_format(out, "note        %s\n", inspection->folder->notes[i]);
}

/* ---- For programs ---- */

static void json_text(struct output *out, const char *before, const char *text)
{
    output_text(out, before);
    if (text)
        output_json_string(out, text, strlen(text));
    else
        output_text(out, "null");
}

static void json_network(struct output *out, const struct model_folder *f)
{
    json_text(out, "{\"folder\":", f->path);
    output_format(out, ",\"type\":\"bert\",\"layers\":%u,\"width\":%u,\"heads\":%u,\"inner\":%u,\"vocabulary\":%u,\"positions\":%u",
                  f->layers, f->width, f->heads, f->inner, f->vocabulary, f->positions);
    json_text(out, ",\"activation\":", model_folder_activation_name(f->activation));
    output_format(out, ",\"max_tokens\":%u,\"dimensions\":%u,\"normalized\":%s", f->max_tokens, f->dimensions,
                  f->normalize ? "true" : "false");
    json_text(out, ",\"pooling\":", model_folder_pooling_name(f->pooling));
    output_text(out, ",\"dense\":[");
    for (uint32_t i = 0; i < f->dense_count; i++) {
        output_format(out, "%s{\"in\":%u,\"out\":%u", i ? "," : "", f->dense[i].in, f->dense[i].out);
        json_text(out, ",\"activation\":", model_folder_activation_name(f->dense[i].activation));
        output_text(out, "}");
    }
    output_text(out, "],\"prompts\":{");
    for (uint32_t i = 0; i < f->prompt_count; i++) {
        json_text(out, i ? "," : "", f->prompts[i].name);
        json_text(out, ":", f->prompts[i].text);
    }
    json_text(out, "},\"default_prompt\":", f->default_prompt);
}

static void print_json(struct output *out, const struct inspection *inspection)
{
    const char *comma = "";
    json_network(out, inspection->folder);
    output_format(out, ",\"parameters\":%llu,\"tensors\":{", (unsigned long long)inspection->parameters);
    for (int i = 0; i < DTYPE_COUNT; i++) {
        if (!inspection->tensors[i])
            continue;
        output_format(out, "%s\"%s\":{\"count\":%llu,\"bytes\":%llu}", comma, dtype_name((enum dtype)i),
                      (unsigned long long)inspection->tensors[i], (unsigned long long)inspection->tensor_bytes[i]);
        comma = ",";
    }
    output_text(out, "},\"files\":{");
    comma = "";
    for (int i = 0; i < FILES; i++) {
        if (!inspection->file_exists[i])
            continue;
        output_format(out, "%s\"%s\":%llu", comma, files[i], (unsigned long long)inspection->file_bytes[i]);
        comma = ",";
    }
    output_text(out, "},\"missing\":[");
    comma = "";
    for (int i = 0; i < FILES; i++) {
        if (inspection->file_exists[i])
            continue;
        output_format(out, "%s\"%s\"", comma, files[i]);
        comma = ",";
    }
    output_text(out, "],\"notes\":[");
    for (uint32_t i = 0; i < inspection->folder->note_count; i++)
        json_text(out, i ? "," : "", inspection->folder->notes[i]);
    output_text(out, "]}\n");
}

static status inspect(const char *name, bool json, struct error *error)
{
    static struct output out;
    struct folder_view   view;
    struct inspection    inspection = { .folder = NULL };
    status               result     = folder_view_open(&view, name, 0, error);
    if (result == STATUS_OK) {
        inspection.folder = view.folder;
        look_at_files(&inspection);
        result = count_tensors(&inspection, view.pool, error);
    }
    if (result == STATUS_OK)
        result = output_open(&out, NULL, error);
    if (result == STATUS_OK) {
        (json ? print_json : print_people)(&out, &inspection);
        result = output_commit(&out, error);
    }
    folder_view_close(&view);
    return result;
}

static int run(int count, char **list)
{
    struct words          words   = { count, list };
    bool                  json    = false;
    const struct argument table[] = { { .name = "json", .kind = ARGUMENT_FLAG, .value = &json }, { .name = NULL } };
    int                   code    = arguments_parse(&command_model, table, &words, 1, 2);
    if (code != ARGUMENTS_GO_ON)
        return code;
    if (strcmp(words.list[0], "inspect") != 0)
        return command_refuse(COMMAND_USAGE, "model does not know '%s', only inspect; see recto model --help", words.list[0]);
    if (words.count < 2)
        return command_refuse(COMMAND_USAGE, "model inspect needs a model's name or folder; see recto model --help");
    struct error error  = { 0 };
    const status result = inspect(words.list[1], json, &error);
    return result == STATUS_OK ? COMMAND_DONE : command_report(result, error.message);
}

const struct command command_model = { "model", "model inspect: what a model is made of", help, run };
