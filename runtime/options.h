/* options.h: every setting that the environment may give, in one table.
 *
 * The table is the only place that reads the environment, once, when an engine is opened. `recto --options` prints it.
 */
#ifndef RECTO_RUNTIME_OPTIONS_H
#define RECTO_RUNTIME_OPTIONS_H

#include "runtime/status.h"

#include <stddef.h>
#include <stdint.h>

enum option {
    OPTION_CACHE,         /* folder of packed weights and fetched models */
    OPTION_HUB,           /* root of a Hugging Face cache */
    OPTION_THREADS,
    OPTION_MEMORY,
    OPTION_DEVICE,
    OPTION_INSTRUCTIONS,
    OPTION_LOG,
    OPTION_RANGES,
    OPTIONS
};

struct option_line {
    const char *variable;  /* of the environment */
    const char *fallback;  /* what holds when it is not set */
    const char *meaning;
};
extern const struct option_line option_table[OPTIONS];

struct options {
    char    *cache;         /* owned */
    char    *hub;           /* owned */
    int      threads;       /* 0: as many as the machine grants */
    uint64_t memory;        /* bytes, 0: no ceiling */
    int      device;        /* 0 auto, 1 cpu, 2 cuda: where a program asks for no device of its own */
    char     instructions[16];  /* "": the best that the machine has */
    int      log;           /* 0 errors, 1 warnings, 2 notes */
    int      ranges;        /* a tool is attached that shows ranges of time by name */
};

MUST_CHECK status options_read(struct options *options, struct error *error);
void options_release(struct options *options);

/* "512M", "2G", "65536": bytes, with K, M, G, T in powers of 1024. */
MUST_CHECK status options_parse_size(const char *text, uint64_t *bytes, struct error *error);

#endif
