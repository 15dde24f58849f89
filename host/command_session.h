/* command_session.h: an engine and a model opened as the command line says, for the commands that need both.
 */
#ifndef RECTO_HOST_COMMAND_SESSION_H
#define RECTO_HOST_COMMAND_SESSION_H

#include "host/command_arguments.h"
#include "host/engine.h"

struct settings {
    const char *model;
    const char *prompt;      /* null: the model's default */
    int         device;      /* recto_device */
    int         precision;   /* recto_precision */
    uint32_t    threads, dimensions;
    uint64_t    memory, device_memory;
    bool        truncate, quiet;
};

extern const char *const settings_devices[];
extern const char *const settings_precisions[];
#define SETTINGS_DEFAULT { .model = "all-minilm-l6-v2" }

/* The rows of an argument table that fill a struct settings. */
#define SETTINGS_ENGINE_ARGUMENTS(s)                                                            \
    { .name = "model", .kind = ARGUMENT_TEXT, .value = &(s).model },                            \
    { .name = "device", .kind = ARGUMENT_CHOICE, .value = &(s).device, .choices = settings_devices }, \
    { .name = "precision", .kind = ARGUMENT_CHOICE, .value = &(s).precision, .choices = settings_precisions }, \
    { .name = "threads", .kind = ARGUMENT_COUNT, .value = &(s).threads, .most = 1024 },         \
    { .name = "memory", .kind = ARGUMENT_SIZE, .value = &(s).memory },                          \
    { .name = "device-memory", .kind = ARGUMENT_SIZE, .value = &(s).device_memory },            \
    { .name = "quiet", .kind = ARGUMENT_FLAG, .value = &(s).quiet, .letter = 'q' }
#define SETTINGS_TEXT_ARGUMENTS(s)                                                              \
    { .name = "prompt", .kind = ARGUMENT_TEXT, .value = &(s).prompt },                          \
    { .name = "dimensions", .kind = ARGUMENT_COUNT, .value = &(s).dimensions, .most = 1u << 20 }, \
    { .name = "truncate", .kind = ARGUMENT_FLAG, .value = &(s).truncate }
/* What --help says of them. */
#define SETTINGS_ENGINE_HELP                                                                         \
    "  --model NAME|FOLDER   a fetched model, organisation/name of a Hugging Face cache, or a folder\n" \
    "                        (default: all-minilm-l6-v2)\n"                                          \
    "  --device NAME         auto, cpu or cuda; cuda is an error where there is none\n"              \
    "  --precision NAME      auto, fp32, bf16, int8 or fp8 (a Hopper GPU alone)\n"                   \
    "  --threads N           default: what affinity and control group grant\n"                       \
    "  --memory SIZE         never use more than this, such as 512M\n"                               \
    "  --device-memory SIZE  the same for the memory of a GPU\n"                                     \
    "  -q, --quiet           no progress and no warnings\n"
#define SETTINGS_TEXT_HELP                                                                           \
    "  --prompt NAME         put this prompt of the model in front of each text\n"                   \
    "  --dimensions N        keep the first N numbers of each vector, made length one again\n"       \
    "  --truncate            cut texts that are too long for the model; otherwise they are an error\n"

struct session {
    recto_engine    *engine;
    recto_model     *model;
    recto_model_info info;
    double           load_seconds;
};

/* COMMAND_DONE, or an exit code after the sentence was printed; session_close is due either way. */
int  session_open(struct session *session, const struct settings *settings);
void session_close(struct session *session);

double      session_now(void);  /* seconds of the monotonic clock */
const char *session_precision(const struct session *session);
/* Whether the model has a prompt of this name. */
bool session_has_prompt(const struct session *session, const char *name);

#endif
