/* request.h: one call of recto_embed on its way: a window of its texts as token ids, and where their vectors go.
 *
 * A call of many texts is worked off in windows, so that its memory does not grow with its length. Requests of finished
 * calls are kept with their buffers for the next ones: a warm engine allocates nothing.
 */
#ifndef RECTO_HOST_REQUEST_H
#define RECTO_HOST_REQUEST_H

#include "host/model.h"

/* One text of the window. */
struct request_item {
    uint32_t tokens;
    size_t   first;  /* of its ids in `ids` */
};

struct request {
    struct request      *next;       /* in the engine's queue or its list of idle requests */
    struct recto_engine *engine;
    struct recto_model  *model;
    recto_embed_options  options;
    const char          *prompt;     /* text in front of each text, or "" */
    size_t               dimensions;

    /* the window */
    struct request_item *items;
    int32_t             *ids;
    size_t               items_room, ids_room;
    size_t               count;      /* items in it */
    size_t               base;       /* number of its first text in the call */
    float               *vectors;    /* of its first text */
    struct token_buffer  tokens;
    char                *joined;     /* prompt and text */
    size_t               joined_room;

    /* under the engine's lock once submitted */
    size_t               taken;      /* items that a worker has or had */
    size_t               done;       /* items finished, one way or another */
    status               failed;     /* the first failure; later items are dropped */
    struct error         error;
};

MUST_CHECK status request_take(struct recto_engine *engine, struct request **request, struct error *error);
void              request_return(struct request *request);

/* What the caller asked for, checked. */
MUST_CHECK status request_begin(struct request *request, recto_model *model, const recto_embed_options *options,
                                struct error *error);

/* A window is begun before it is filled and ended when its vectors are there. Alone: the call that was refused memory gives its
 * own back, waits until the windows of others are done and keeps them from beginning more until it has ended this one. */
void request_begin_window(struct request *request);
void request_begin_alone(struct request *request);
void request_end_window(struct request *request);

/* Tokenises texts from `base` on into the window until it is full; at least one. results may be null. */
MUST_CHECK status request_fill(struct request *request, const recto_text *texts, size_t count, size_t base,
                               recto_text_result *results, struct error *error);

/* STATUS_OK, or that the call was cancelled or its deadline has passed. */
status request_stopped(const struct request *request, struct error *error);

/* batch.c: computes the window's vectors, sharing packs with whoever else is calling. */
MUST_CHECK status request_compute(struct request *request, struct error *error);

#endif
