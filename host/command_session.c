#include "host/command_session.h"

#include "host/command_progress.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

const char *const settings_devices[]    = { "auto", "cpu", "cuda", NULL };
const char *const settings_precisions[] = { "auto", "fp32", "bf16", "int8", "fp8", NULL };

double session_now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

static void on_log(void *user, int level, const char *message)
{
    static const char *const words[]  = { "", "warning: ", "note: " };
    const struct settings   *settings = user;
    if (level == 0 || !settings->quiet)
        command_refuse(COMMAND_DONE, "%s%s", words[level < 0 || level > 2 ? 0 : level], message);
}

static int on_progress(void *user, const char *stage, uint64_t done, uint64_t total)
{
    (void)user;
    progress_show(total ? (double)done / (double)total : -1.0, "%s, once for this machine", stage);
    return command_interrupted();
}

int session_open(struct session *session, const struct settings *settings)
{
    recto_error          error   = RECTO_ERROR_INIT;
    recto_engine_options engine  = { .struct_size = sizeof engine, .device = (recto_device)settings->device,
                                     .host_bytes = settings->memory, .device_bytes = settings->device_memory,
                                     .threads = settings->threads, .log = on_log,
                                     .log_user = (void *)(uintptr_t)settings };
    recto_model_options  model   = { .struct_size = sizeof model, .precision = (recto_precision)settings->precision,
                                     .progress = on_progress };
    const double         started = session_now();
    *session                     = (struct session){ .info.struct_size = sizeof session->info };
    progress_begin(settings->quiet);
    recto_status code = recto_engine_open(&session->engine, &engine, &error);
    if (code == RECTO_OK)
        code = recto_model_open(session->engine, settings->model, &model, &session->model, &error);
    if (code == RECTO_OK)
        code = recto_model_describe(session->model, &session->info);
    progress_clear();
    session->load_seconds = session_now() - started;
    if (code == RECTO_OK && settings->dimensions > session->info.dimensions)
        return command_refuse(COMMAND_USAGE, "--dimensions is %u, the model's vectors have %u", settings->dimensions,
                              session->info.dimensions);
    if (code == RECTO_OK)
        return COMMAND_DONE;
    if (command_interrupted())
        code = RECTO_E_CANCELLED;
    return command_report((status)code, error.message);
}

void session_close(struct session *session)
{
    recto_model_close(session->model);
    recto_engine_close(session->engine);
}

const char *session_precision(const struct session *session) { return settings_precisions[session->info.precision]; }

bool session_has_prompt(const struct session *session, const char *name)
{
    const char *found;
    for (uint32_t i = 0; (found = recto_model_prompt(session->model, i, NULL)); i++)
        if (strcmp(found, name) == 0)
            return true;
    return false;
}
