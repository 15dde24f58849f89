#include "runtime/options.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const struct option_line option_table[OPTIONS] = {
    [OPTION_CACHE]   = { "RECTO_CACHE", "$XDG_CACHE_HOME/recto, else ~/.cache/recto",
                         "folder of fetched models and packed weights" },
    [OPTION_HUB]     = { "HF_HUB_CACHE", "$HF_HOME/hub, else ~/.cache/huggingface/hub",
                         "Hugging Face cache in which models are looked up by name, read-only" },
    [OPTION_THREADS] = { "RECTO_THREADS", "what affinity and control group grant", "number of threads" },
    [OPTION_MEMORY]  = { "RECTO_MEMORY", "no ceiling", "ceiling of host memory, such as 512M" },
    [OPTION_DEVICE]  = { "RECTO_DEVICE", "auto", "auto, cpu or cuda; cuda is an error where there is none" },
    [OPTION_INSTRUCTIONS] = { "RECTO_INSTRUCTIONS", "the best that the CPU has",
                              "kernels to use: ref, avx2, avx512, avx512vnni, avx512bf16 or neon" },
    [OPTION_LOG]     = { "RECTO_LOG", "1", "0: errors, 1: warnings, 2: notes" },
    [OPTION_RANGES]  = { "NVTX_INJECTION64_PATH", "none",
                         "set by Nsight: the library that is told what device cuda computes when" },
};

/* The first of the variables that is set, with a tail appended; null when none is. */
static char *folder_of(const char *variable, const char *tail)
{
    const char *value = getenv(variable);
    if (!value || !*value)
        return NULL;
    size_t length = strlen(value) + strlen(tail) + 1;
    char  *folder = malloc(length);
    if (folder)
        snprintf(folder, length, "%s%s", value, tail);
    return folder;
}

static status read_folders(struct options *options, struct error *error)
{
    static const char *const cache[][2] = { { "RECTO_CACHE", "" }, { "XDG_CACHE_HOME", "/recto" }, { "HOME", "/.cache/recto" } };
    static const char *const hub[][2]   = {
        { "HF_HUB_CACHE", "" }, { "HF_HOME", "/hub" },
        { "XDG_CACHE_HOME", "/huggingface/hub" }, { "HOME", "/.cache/huggingface/hub" },
    };
    for (size_t i = 0; i < sizeof cache / sizeof *cache && !options->cache; i++)
        options->cache = folder_of(cache[i][0], cache[i][1]);
    for (size_t i = 0; i < sizeof hub / sizeof *hub && !options->hub; i++)
        options->hub = folder_of(hub[i][0], hub[i][1]);
    if (!options->cache)
        options->cache = strdup("/tmp/recto");  /* no HOME: a daemon or a bare container */
    if (!options->hub)
        options->hub = strdup("");
    if (!options->cache || !options->hub)
        return error_set(error, STATUS_MEMORY, "options: the system gave no memory");
    return STATUS_OK;
}

static status read_number(enum option option, int low, int high, int *number, struct error *error)
{
    const char *text = getenv(option_table[option].variable);
    if (!text || !*text)
        return STATUS_OK;
    char *end;
    long  value = strtol(text, &end, 10);
    if (*end || value < low || value > high)
        return error_set(error, STATUS_USAGE, "%s is '%s', expected a number from %d to %d", option_table[option].variable, text,
                         low, high);
    *number = (int)value;
    return STATUS_OK;
}

static status read_device(int *device, struct error *error)
{
    static const char *const names[] = { "auto", "cpu", "cuda" };
    const char              *text    = getenv(option_table[OPTION_DEVICE].variable);
    if (!text || !*text)
        return STATUS_OK;
    for (int i = 0; i < 3; i++)
        if (strcmp(text, names[i]) == 0) {
            *device = i;
            return STATUS_OK;
        }
    return error_set(error, STATUS_USAGE, "%s is '%s', expected auto, cpu or cuda", option_table[OPTION_DEVICE].variable, text);
}

status options_read(struct options *options, struct error *error)
{
    *options      = (struct options){ .log = 1 };
    status result = read_folders(options, error);
    if (result == STATUS_OK)
        result = read_number(OPTION_THREADS, 1, 1024, &options->threads, error);
    if (result == STATUS_OK)
        result = read_number(OPTION_LOG, 0, 2, &options->log, error);
    if (result == STATUS_OK)
        result = read_device(&options->device, error);
    const char *memory = getenv(option_table[OPTION_MEMORY].variable);
    if (result == STATUS_OK && memory && *memory) {
        result = options_parse_size(memory, &options->memory, error);
        if (result != STATUS_OK)
            result = error_prefix(error, "%s", option_table[OPTION_MEMORY].variable);
    }
    const char *instructions = getenv(option_table[OPTION_INSTRUCTIONS].variable);
    if (instructions)
        snprintf(options->instructions, sizeof options->instructions, "%s", instructions);
    const char *tool = getenv(option_table[OPTION_RANGES].variable);
    options->ranges  = tool && *tool;
    if (result != STATUS_OK)
        options_release(options);
    return result;
}

void options_release(struct options *options)
{
    free(options->cache);
    free(options->hub);
    options->cache = options->hub = NULL;
}

status options_parse_size(const char *text, uint64_t *bytes, struct error *error)
{
    static const char units[] = "KMGT";
    char             *end;
    errno                    = 0;
    unsigned long long value = strtoull(text, &end, 10);
    int                shift = 0;
    if (isdigit((unsigned char)*text) && !errno && *end) {
        const char *unit = strchr(units, toupper((unsigned char)*end));
        if (unit) {
            shift = 10 * (int)(unit - units + 1);
            end += end[1] == 'i' && end[2] == 'B' ? 3 : end[1] == 'B' ? 2 : 1;
        }
    }
    if (!isdigit((unsigned char)*text) || errno || *end || value > UINT64_MAX >> shift)
        return error_set(error, STATUS_USAGE, "'%s' is no size; expected a number with an optional K, M, G or T, such as 512M",
                         text);
    *bytes = (uint64_t)value << shift;
    return STATUS_OK;
}
