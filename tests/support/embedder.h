/* embedder.h: an engine and a model for tests of what happens when things go wrong. */
#ifndef RECTO_TESTS_SUPPORT_EMBEDDER_H
#define RECTO_TESTS_SUPPORT_EMBEDDER_H

#include "host/recto.h"

/* What the log callback was told. */
struct embedder_log {
    int  warnings;
    char last[768];
};

struct embedder {
    recto_engine       *engine;
    recto_model        *model;
    recto_error         error;
    struct embedder_log log;
};

struct embedder_options {
    const char     *cache, *folder;
    recto_precision precision;
    uint32_t        threads;
    uint64_t        budget;
};

/* Opens both; what failed stays null, the sentence is in `error`. */
recto_status embedder_open(struct embedder *embedder, const struct embedder_options *options);
/* The engine alone. */
recto_status embedder_start(struct embedder *embedder, const struct embedder_options *options);
void embedder_close(struct embedder *embedder);

/* One text with default options. */
recto_status embedder_embed(struct embedder *embedder, const char *text, float *vector);
uint64_t embedder_bytes(const struct embedder *embedder);  /* booked now */

#endif
