/* engine.h: what engine.c, model.c and embed.c share behind recto.h. */
#ifndef RECTO_HOST_ENGINE_H
#define RECTO_HOST_ENGINE_H

#include "host/recto.h"
#include "runtime/arena.h"
#include "runtime/device_open.h"
#include "runtime/options.h"

#include <pthread.h>

struct request;

enum { ENGINE_WORKERS_MAX = 64 };

/* Where one pack is computed: an arena that grows to the largest plan run in it. */
struct slot {
    struct arena arena;
    struct lane *lane;           /* of an accelerator, else null */
    void        *control;        /* for teams */
    size_t       control_bytes;
    bool         busy;
};

struct recto_engine {
    struct options  options;
    struct machine  machine;
    struct device   device;
    enum device_wish wish;
    struct pool    *pool;
    struct pool    *device_pool; /* of an accelerator, else null */
    uint64_t        device_bytes; /* its ceiling, 0: none */
    struct threads *threads;
    int             workers;     /* runs that may be computed at once: threads, callers included, or what an accelerator takes */
    recto_log      *log;
    void           *log_user;
    pthread_mutex_t log_lock;

    pthread_mutex_t lock;        /* guards everything below */
    pthread_cond_t  changed;     /* a pack is done, or there is more work, or a slot is free */
    struct slot     slots[ENGINE_WORKERS_MAX];
    int             running;     /* workers that have a place, computing or not */
    int             computing;   /* packs that are being computed: those that wait for memory are not */
    int             alone;       /* packs that want all memory for themselves: while there are any, none begins */
    struct request *first, *last; /* requests with texts that no worker has taken */
    struct request *idle;        /* requests of finished calls, kept for the next ones */
    int             windows;     /* that hold memory now */
    int             wanting;     /* calls that wait until no window is held */
    const void     *sole;        /* the call that holds the only one, while no other may */
    struct recto_model *models;  /* open */
    uint64_t        texts, tokens, runs, shared_runs, splits, plans_built;
};

/* One sentence to the log callback; level 0 error, 1 warning, 2 note. */
void engine_log(struct recto_engine *engine, int level, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* Copies an internal error to the caller's; returns its code. */
recto_status engine_report(const struct error *from, status code, recto_error *to);

/* The caller's options over the defaults, if there are any: the smaller of the two sizes is copied. A size that holds not one
 * option is refused: it was forgotten. */
MUST_CHECK status engine_take_options(void *to, size_t to_size, const void *from, const char *whose, struct error *error);

/* Gives back the requests that wait for a next call; the lock is held. */
void engine_drop_requests(struct recto_engine *engine);

/* Gives back what only serves the next call: arenas of slots that compute nothing, buffers of finished requests, plans that
 * nobody runs, of a GPU's idle lanes the host memory. Done when a booking does not fit and when a model is closed. */
void engine_give_back(struct recto_engine *engine);

/* What the calling thread does until it says that it has ended, for a profiler that shows the accelerator's work beside it. */
void engine_stage_begin(const struct recto_engine *engine, const char *name);
void engine_stage_end(const struct recto_engine *engine);

#endif
