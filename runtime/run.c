/* run.c: walks a plan, alone or as a team.
 *
 * A team has no barriers. Each step (a phase of a node) has a counter of parts taken and a gate of parts done; a worker takes
 * parts until none is left, waits until all are done and goes on to the next step. A worker that comes late, because its
 * processor was busy elsewhere, finds the steps done and catches up; only the end of the run waits for it.
 */
#include "runtime/device.h"

#include <string.h>
#include <time.h>

struct step {
    _Alignas(64) _Atomic uint32_t taken;
    struct gate done;
};

struct walk {
    const struct device *device;
    const struct run    *run;
    struct step         *steps;
    int                  workers;
    struct run_times    *times;
    double               begun;
};

size_t run_control_bytes(const struct plan *plan) { return (size_t)plan_nodes(plan) * 2 * sizeof(struct step); }

static double seconds_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static void note_span(const struct walk *walk, int node, int worker, double start)
{
    int i = atomic_fetch_add(&walk->times->count, 1);
    if (i < walk->times->room)
        walk->times->spans[i] = (struct run_span){ .node = node, .worker = worker, .start = start - walk->begun,
                                                   .end = seconds_now() - walk->begun };
}

static void walk_alone(const struct walk *walk)
{
    const struct device *device = walk->device;
    const struct run    *run    = walk->run;
    for (int i = 0; i < plan_nodes(run->plan); i++) {
        const struct plan_node *node     = plan_node(run->plan, i);
        double                  start    = walk->times ? seconds_now() : 0.0;
        struct division         division = device->divide(device, run, node, 1);
        for (int phase = 0; phase < division.phases; phase++)
            for (int part = 0; part < division.parts[phase]; part++)
                device->ops[node->op](device, run, node, phase, part, division.parts[phase], 0);
        if (walk->times)
            note_span(walk, i, 0, start);
    }
}

static void walk_together(void *user, int worker)
{
    struct walk      *walk = user;
    const struct run *run  = walk->run;
    for (int i = 0; i < plan_nodes(run->plan); i++) {
        const struct plan_node *node     = plan_node(run->plan, i);
        double                  start    = walk->times ? seconds_now() : 0.0;
        struct division         division = walk->device->divide(walk->device, run, node, walk->workers);
        for (int phase = 0; phase < division.phases; phase++) {
            struct step *step  = &walk->steps[2 * i + phase];
            uint32_t     parts = (uint32_t)division.parts[phase], part;
            while ((part = atomic_fetch_add_explicit(&step->taken, 1, memory_order_relaxed)) < parts) {
                walk->device->ops[node->op](walk->device, run, node, phase, (int)part, (int)parts, worker);
                gate_advance(&step->done);
            }
            gate_await(&step->done, parts);
        }
        if (walk->times)
            note_span(walk, i, worker, start);
    }
}

void run_plan(const struct device *device, const struct run *run, struct threads *threads, int workers, void *control,
              struct run_times *times)
{
    struct walk walk = { device, run, control, workers, times, times ? seconds_now() : 0.0 };
    if (times)
        times->count = 0;
    if (workers <= 1 || !control) {
        walk_alone(&walk);
    } else {
        memset(control, 0, run_control_bytes(run->plan));
        threads_run(threads, workers - 1, walk_together, &walk);
    }
    if (times)
        times->seconds = seconds_now() - walk.begun;
}
