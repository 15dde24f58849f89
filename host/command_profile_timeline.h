/* command_profile_timeline.h: a run that was timed as JSON for Perfetto, in the format of Chrome's tracing.
 *
 * A thread for each worker of the CPU, or the stream of an accelerator. On it the run, in that a span for each layer, in that
 * one for each op with the plan's own bytes and operations, and in that the kernels of an accelerator with theirs, which are
 * for the plan's caps. Behind them, by another clock, the run once more as one span where it was replayed as a graph.
 */
#ifndef RECTO_HOST_COMMAND_PROFILE_TIMELINE_H
#define RECTO_HOST_COMMAND_PROFILE_TIMELINE_H

#include "host/command_output.h"
#include "runtime/device.h"

struct profile {
    const struct plan      *plan;
    const struct run_times *times;           /* spans by worker, then by time */
    struct live             live;
    double                  pairs;           /* of tokens that attend to each other */
    double                  usual_seconds;   /* of the run as it is computed otherwise */
    bool                    is_accelerated;
    bool                    is_replayed;     /* usual runs are replays of a graph */
    char                    reason[256];     /* why not */
    const char             *model, *precision, *device, *variant;
};

void timeline_write(struct output *out, const struct profile *profile);

#endif
