/* plan_internal.h: the plan itself, for plan.c (tracing) and plan_layout.c (lifetimes and places). */
#ifndef RECTO_RUNTIME_PLAN_INTERNAL_H
#define RECTO_RUNTIME_PLAN_INTERNAL_H

#include "runtime/plan.h"

struct plan {
    struct pool        *pool;
    struct plan_caps    caps;
    enum dtype          precision;
    struct plan_node   *nodes;
    struct plan_buffer *buffers;
    int                 node_count, node_room;
    int                 buffer_count, buffer_room;
    int                 result;
    char                label[32];
    int                 layer;  /* of the label, -1: none */
    status              failed;   /* the first error of tracing */
    struct error        error;
    size_t              scratch;  /* bytes of one worker */
    size_t              layout;   /* bytes of all buffers */
    size_t              live;
};

/* Sets first and last of each buffer, then offset; fills in `layout` and `live`. */
MUST_CHECK status plan_layout(struct plan *plan, struct error *error);

#endif
