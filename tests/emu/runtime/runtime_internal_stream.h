/* runtime_internal_stream.h: streams, events and graphs themselves, for runtime_stream.c and runtime_graph.c. */
#ifndef EMU_RUNTIME_INTERNAL_STREAM_H
#define EMU_RUNTIME_INTERNAL_STREAM_H

#include "tests/emu/runtime/runtime_internal.h"

#include <pthread.h>

struct CUstream_st {
    struct CUstream_st *next;
    struct work_list    pending;
    struct CUgraph_st  *capture;          /* what it records; null: it works */
    bool                capture_is_broken;
    enum cudaStreamCaptureMode mode;
    pthread_t           capturer;
};

struct CUevent_st {
    struct CUstream_st *stream;           /* of the last record */
    uint64_t            recorded, done;   /* records asked for, records reached */
    int                 users;            /* pending work that names it */
    bool                is_destroyed, is_untimed;
    double              when;             /* seconds, of the last record reached */
};

struct CUgraph_st {
    struct work_list nodes;
};

struct CUgraphExec_st {
    struct work_list nodes;
    size_t           bytes;               /* of device memory */
    int              pending;             /* nodes that are still to be done */
};

/* The stream behind a handle: null is the default stream. */
struct CUstream_st *stream_of(cudaStream_t handle);
/* An executable goes: what is pending of it no longer counts there. */
void stream_forget_replays(const int *replays);
void work_list_add(struct work_list *list, struct work *work);

#endif
