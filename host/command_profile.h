/* command_profile.h: a plan run on made-up texts and timed: a table of its operations, and a timeline.
 *
 * The shortest of some runs is shown, op by op. Bytes and operations of an op are those of plan_node_cost for the live counts;
 * its limit is the time that the arithmetic units or the memory would need for them: measured on the CPU, computed from its
 * clocks on a GPU, and left out where that is not known. A GPU computes it kernel by kernel for this; what the run takes as
 * the engine computes it, replayed as one graph, stands beside it as one figure and one span.
 */
#ifndef RECTO_HOST_COMMAND_PROFILE_H
#define RECTO_HOST_COMMAND_PROFILE_H

#include "host/command_output.h"
#include "host/command_session.h"
#include "runtime/plan.h"

/* The table to `out`, the timeline to a file. */
MUST_CHECK status profile_plan(struct output *out, const struct session *session, const struct plan *plan,
                               const struct live *live, const char *path, struct error *error);

#endif
