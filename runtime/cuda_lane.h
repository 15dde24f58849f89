/* cuda_lane.h: where runs of one slot are computed: a stream, and pinned memory for inputs and results.
 *
 * A plan's first run is done kernel by kernel, its second is captured and replayed, as are all that follow. Where a capture or
 * a replay does not succeed the run is done kernel by kernel: the same kernels with the same arguments, so the same bits. So is
 * a run whose kernels are timed.
 */
#ifndef RECTO_RUNTIME_CUDA_LANE_H
#define RECTO_RUNTIME_CUDA_LANE_H

#include "runtime/cuda_graphs.h"

/* The device behind struct device: shared by all lanes. */
struct cuda_device {
    struct cuda_context      context;
    struct cuda_graphs       graphs;
    pthread_mutex_t          lock;   /* of usage */
    struct accelerator_usage usage;  /* replays, eager, fallbacks, captures and reason */
};

MUST_CHECK status cuda_lane_open(const struct device *device, struct lane **lane, struct error *error);
void              cuda_lane_close(struct lane *lane);
void              cuda_lane_trim(struct lane *lane);
MUST_CHECK status cuda_lane_fit(struct lane *lane, struct run *run, struct error *error);
MUST_CHECK status cuda_lane_run(struct lane *lane, const struct run *run, struct run_times *times, struct error *error);

#endif
