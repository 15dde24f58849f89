/* command_doctor.c: `recto doctor`: what this machine has, what will be used of it, and what it can do at most. */
#include "host/command_arguments.h"
#include "host/command_ceiling.h"
#include "host/command_output.h"
#include "runtime/device_open.h"
#include "runtime/options.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char help[] =
    "recto doctor [OPTIONS]: what this machine has, what will be used, and what it can do at most\n"
    "\n"
    "  --json                one JSON object instead of lines for people\n"
    "  --threads N           measure and report for so many threads\n"
    "\n"
    "The ceilings are measured in about a second: what the arithmetic units reach on registers alone, and\n"
    "how fast memory is read. Nothing that is computed can be faster.\n";

enum { MODELS_MAX = 64 };

struct findings {
    struct options options;
    struct machine machine;
    struct device  device;
    int            threads;
    struct ceiling ceiling;
    char           models[MODELS_MAX][64];  /* in the folder of fetched models, sorted */
    int            model_count;
    int            hub_models;
    bool           cache_is_writable;
    bool           has_driver;              /* of NVIDIA */
    bool           has_gpu;                 /* that auto takes */
    char           gpu[160], gpu_kernels[32];
    uint64_t       gpu_memory;
    struct error   no_gpu;                  /* why not */
};

/* ---- Looking ---- */

static int by_name(const void *a, const void *b) { return strcmp(a, b); }

static void find_models(struct findings *findings)
{
    char           path[4200];
    struct dirent *entry;
    snprintf(path, sizeof path, "%s/models", findings->options.cache);
    DIR *folder = opendir(path);
    while (folder && (entry = readdir(folder)) && findings->model_count < MODELS_MAX)
        if (entry->d_name[0] != '.')
            snprintf(findings->models[findings->model_count++], sizeof findings->models[0], "%.63s", entry->d_name);
    if (folder)
        closedir(folder);
    qsort(findings->models, (size_t)findings->model_count, sizeof findings->models[0], by_name);
    folder = *findings->options.hub ? opendir(findings->options.hub) : NULL;
    while (folder && (entry = readdir(folder)))
        findings->hub_models += strncmp(entry->d_name, "models--", 8) == 0;
    if (folder)
        closedir(folder);
}

/* The first folder on the way up that exists decides whether a cache can be made. */
static bool can_write(const char *folder)
{
    char path[4096];
    snprintf(path, sizeof path, "%s", folder);
    while (access(path, F_OK) != 0) {
        char *slash = strrchr(path, '/');
        if (!slash)
            return access(".", W_OK) == 0;
        *slash = 0;
        if (!*path)
            return access("/", W_OK) == 0;
    }
    return access(path, W_OK) == 0;
}

/* Opened and closed again: what is said here is what an engine would find. */
static status find_gpu(struct findings *findings, struct error *error)
{
    struct device         device;
    struct device_note    note;
    struct device_request request = { .wish = DEVICE_CUDA, .machine = &findings->machine, .variant = "" };
    status                result  = pool_open(&request.host_pool, 0, error);
    if (result == STATUS_OK)
        result = pool_open(&request.device_pool, 0, error);
    if (result == STATUS_OK && device_open(&device, &request, &note, &findings->no_gpu) == STATUS_OK) {
        struct accelerator_usage usage;
        device.accelerator->usage(&device, &usage);
        findings->has_gpu    = true;
        findings->gpu_memory = usage.memory;
        snprintf(findings->gpu, sizeof findings->gpu, "%s", usage.name);
        snprintf(findings->gpu_kernels, sizeof findings->gpu_kernels, "%s", device.variant);
        device_close(&device);
    }
    pool_close(request.device_pool);
    pool_close(request.host_pool);
    return result;
}

/* As an engine decides: whoever names the CPU's kernels wants the CPU. */
static bool takes_gpu(const struct findings *findings)
{
    return findings->has_gpu && !*findings->options.instructions && findings->options.device != DEVICE_CPU;
}

static const char *auto_precision(const struct findings *findings)
{
    return takes_gpu(findings) || device_has_fast_bf16(&findings->device) ? "bf16" : "fp32";
}

static status look(struct findings *findings, uint32_t threads, struct error *error)
{
    machine_describe(&findings->machine);
    status result = options_read(&findings->options, error);
    if (result == STATUS_OK)
        result = device_cpu(&findings->device, &findings->machine, findings->options.instructions, error);
    if (result == STATUS_OK)
        result = find_gpu(findings, error);
    if (result != STATUS_OK)
        return result;
    findings->threads = threads                     ? (int)threads
                        : findings->options.threads ? findings->options.threads
                                                    : machine_threads(&findings->machine);
    findings->cache_is_writable = can_write(findings->options.cache);
    findings->has_driver        = access("/dev/nvidiactl", F_OK) == 0;
    find_models(findings);
    ceiling_measure(&findings->ceiling, findings->threads < CEILING_THREADS_MAX ? findings->threads : CEILING_THREADS_MAX);
    return STATUS_OK;
}

/* ---- For people ---- */

static void print_machine(struct output *out, const struct findings *f)
{
    const struct machine *m = &f->machine;
    output_text(out, "This machine\n");
    output_format(out, "  processor     %s\n  instructions ", m->cpu_name);
    output_format(out, "%s%s%s%s%s\n", m->avx2 ? " avx2" : "", m->avx512 ? " avx512" : "", m->avx512_vnni ? " vnni" : "",
                  m->avx512_bf16 ? " bf16" : "", m->neon ? " neon" : "");
    output_format(out, "  processors    %d that this process may run on", m->processors);
    if (m->quota)
        output_format(out, ", the control group grants the time of %d", m->quota);
    output_format(out, "\n  memory        %.1f GiB\n", (double)m->memory / 1073741824.0);
    if (f->has_gpu)
        output_format(out, "  CUDA          %s, %.1f GiB, kernels for %s\n", f->gpu, (double)f->gpu_memory / 1073741824.0,
                      f->gpu_kernels);
    else
        output_format(out, "  CUDA          none: %s\n", f->no_gpu.message);
}

static void print_choices(struct output *out, const struct findings *f)
{
    output_text(out, "\nWhat will be used\n");
    output_format(out, "  device        auto is %s, %d thread%s on the CPU\n", takes_gpu(f) ? "cuda" : f->device.name, f->threads,
                  f->threads == 1 ? "" : "s");
    output_format(out, "  kernels       %s on the CPU%s\n", f->device.variant,
                  *f->options.instructions ? ", as RECTO_INSTRUCTIONS says" : "");
    output_format(out, "  precision     auto is %s\n", auto_precision(f));
    if (f->options.memory)
        output_format(out, "  ceiling       %.1f MiB of host memory\n", (double)f->options.memory / 1048576.0);
    else
        output_text(out, "  ceiling       none; --memory or RECTO_MEMORY sets one\n");
    output_format(out, "  cache         %s%s\n", f->options.cache,
                  f->cache_is_writable ? "" : " (cannot be written: weights will be packed anew each time)");
    for (int i = 0; i < f->model_count; i++)
        output_format(out, "  model         %s\n", f->models[i]);
    if (f->model_count == 0)
        output_text(out, "  model         none yet; weights/fetch all-minilm-l6-v2 gets one\n");
    output_format(out, "  hub           %s, %d model%s\n", *f->options.hub ? f->options.hub : "none", f->hub_models,
                  f->hub_models == 1 ? "" : "s");
}

static void print_rate(struct output *out, const struct findings *f, const char *name, const double rate[2], const char *unit)
{
    if (rate[0] <= 0)
        output_format(out, "  %-13s no instructions for it\n", name);
    else if (f->threads == 1)
        output_format(out, "  %-13s %7.1f %s\n", name, rate[0], unit);
    else
        output_format(out, "  %-13s %7.1f %s with one thread, %7.1f with %d\n", name, rate[0], unit, rate[1], f->threads);
}

static void print_people(struct output *out, const struct findings *f)
{
    print_machine(out, f);
    print_choices(out, f);
    output_text(out, "\nCeilings, measured now\n");
    print_rate(out, f, "fp32", f->ceiling.fp32, "GFLOP/s");
    print_rate(out, f, "bf16", f->ceiling.bf16, "GFLOP/s");
    print_rate(out, f, "int8", f->ceiling.int8, "GOP/s  ");
    print_rate(out, f, "memory read", f->ceiling.read, "GB/s   ");
}

/* ---- For programs ---- */

static void json_text(struct output *out, const char *name, const char *text)
{
    output_format(out, "\"%s\":", name);
    output_json_string(out, text, strlen(text));
    output_text(out, ",");
}

static void print_json(struct output *out, const struct findings *f)
{
    const struct machine *m = &f->machine;
    const struct ceiling *c = &f->ceiling;
    const struct {
        const char *name;
        bool        there;
    } sets[] = { { "avx2", m->avx2 }, { "avx512", m->avx512 }, { "avx512vnni", m->avx512_vnni }, { "avx512bf16", m->avx512_bf16 },
                 { "neon", m->neon } };
    output_text(out, "{");
    json_text(out, "version", recto_version());
    json_text(out, "cpu", m->cpu_name);
    for (size_t i = 0; i < sizeof sets / sizeof *sets; i++)
        output_format(out, "\"%s\":%s,", sets[i].name, sets[i].there ? "true" : "false");
    output_format(out, "\"processors\":%d,\"quota\":%d,\"memory_bytes\":%llu,\"cuda\":%s,\"cuda_driver\":%s,", m->processors,
                  m->quota, (unsigned long long)m->memory, f->has_gpu ? "true" : "false", f->has_driver ? "true" : "false");
    output_format(out, "\"gpu_memory_bytes\":%llu,", (unsigned long long)f->gpu_memory);
    json_text(out, "gpu", f->has_gpu ? f->gpu : f->no_gpu.message);
    json_text(out, "device", takes_gpu(f) ? "cuda" : f->device.name);
    json_text(out, "instructions", f->device.variant);
    json_text(out, "auto_precision", auto_precision(f));
    output_format(out, "\"threads\":%d,\"budget_bytes\":%llu,", f->threads, (unsigned long long)f->options.memory);
    json_text(out, "cache", f->options.cache);
    json_text(out, "hub", f->options.hub);
    output_format(out, "\"cache_is_writable\":%s,\"models\":[", f->cache_is_writable ? "true" : "false");
    for (int i = 0; i < f->model_count; i++) {
        output_text(out, i ? "," : "");
        output_json_string(out, f->models[i], strlen(f->models[i]));
    }
    output_format(out, "],\"ceilings\":{\"fp32_gflops\":[%.1f,%.1f],\"bf16_gflops\":[%.1f,%.1f],\"int8_gops\":[%.1f,%.1f],"
                       "\"read_gbytes\":[%.1f,%.1f]}}\n",
                  c->fp32[0], c->fp32[1], c->bf16[0], c->bf16[1], c->int8[0], c->int8[1], c->read[0], c->read[1]);
}

static int run(int count, char **list)
{
    static struct output   out;
    static struct findings findings;
    struct words           words   = { count, list };
    bool                   json    = false;
    uint32_t               threads = 0;
    const struct argument  table[] = {
        { .name = "json", .kind = ARGUMENT_FLAG, .value = &json },
        { .name = "threads", .kind = ARGUMENT_COUNT, .value = &threads, .most = CEILING_THREADS_MAX },
        { .name = NULL },
    };
    int code = arguments_parse(&command_doctor, table, &words, 0, 0);
    if (code != ARGUMENTS_GO_ON)
        return code;
    struct error error  = { 0 };
    status       result = look(&findings, threads, &error);
    if (result == STATUS_OK)
        result = output_open(&out, NULL, &error);
    if (result == STATUS_OK) {
        (json ? print_json : print_people)(&out, &findings);
        result = output_commit(&out, &error);
    }
    options_release(&findings.options);
    return result == STATUS_OK ? COMMAND_DONE : command_report(result, error.message);
}

const struct command command_doctor = { "doctor", "what this machine has, and what will be used", help, run };
