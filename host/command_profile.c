#include "host/command_profile.h"

#include "host/command_ceiling.h"
#include "host/command_profile_timeline.h"
#include "host/model.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A plan's first run on an accelerator is launched, its second captured, the third is like all that follow. */
enum { RUNS_BEFORE = 3, RUNS_LEAST = 3, RUNS_MOST = 20, KERNELS_OF_A_NODE = 3, COPIES = 2 };
#define SECONDS_ENOUGH 0.5  /* of runs beyond the least */

/* ---- Limits ---- */

/* Operations and bytes a second; 0: not known, or not offered. */
struct limits {
    double fp32, bf16, int8, fp8, bytes;
};

static struct limits limits_of(const struct recto_engine *engine)
{
    if (engine->device.accelerator) {
        struct accelerator_rates rates;
        engine->device.accelerator->rates(&engine->device, &rates);
        return (struct limits){ .fp32 = rates.fp32, .bf16 = rates.bf16, .fp8 = rates.fp8, .bytes = rates.bytes };
    }
    struct ceiling c;
    const int      threads = engine->workers < CEILING_THREADS_MAX ? engine->workers : CEILING_THREADS_MAX, all = threads > 1;
    ceiling_measure(&c, threads);
    /* Without instructions for it, bf16 is computed by those for fp32. */
    return (struct limits){ .fp32 = 1e9 * c.fp32[all], .bf16 = 1e9 * (c.bf16[all] > 0 ? c.bf16[all] : c.fp32[all]),
                            .int8 = 1e9 * c.int8[all], .bytes = 1e9 * c.read[all] };
}

static double rate_of(const struct limits *limits, const struct plan_node *node)
{
    switch (node->op == OP_LINEAR ? node->linear->type : node->op == OP_ATTENTION ? node->arithmetic : DTYPE_F32) {
    case DTYPE_BF16: return limits->bf16;
    case DTYPE_F8_E4M3: return limits->fp8;
    case DTYPE_I8: return limits->int8;
    case DTYPE_I16: return limits->int8 / 2;  /* half as many fit into a register */
    default: return limits->fp32;
    }
}

/* The least seconds in which a node could be done; not a number: not known. */
static double least_seconds(const struct limits *limits, const struct plan_node *node, const struct plan_cost *cost)
{
    const double rate = rate_of(limits, node);
    if (limits->bytes <= 0 || (cost->operations > 0 && rate <= 0))
        return NAN;
    const double computing = cost->operations > 0 ? cost->operations / rate : 0.0, moving = cost->bytes / limits->bytes;
    return computing > moving ? computing : moving;
}

/* ---- Running ---- */

struct work {
    struct recto_model *model;
    struct slot        *slot;  /* nobody else uses the engine */
    struct run          run;
    int                 team;
};

static void fill(const struct run *run, int vocabulary)
{
    int at = 0;
    for (int s = 0; s < run->live.sequences; s++) {
        const int end       = (int)((long)run->live.tokens * (s + 1) / run->live.sequences);
        run->host.starts[s] = at;
        for (int position = 0; at < end; at++, position++) {
            run->host.ids[at]       = (int32_t)((at * 7919L + 13) % vocabulary);
            run->host.positions[at] = position;
        }
    }
    run->host.starts[run->live.sequences] = at;
}

/* Its seconds by this clock. `times` may be null. */
static status run_once(const struct work *work, struct run_times *times, double *seconds, struct error *error)
{
    fill(&work->run, work->model->config.vocabulary);  /* inputs in an arena are overwritten once they have been read */
    const double start  = session_now();
    const status result = batch_run(work->model, work->slot, &work->run, work->team, times, error);
    *seconds            = session_now() - start;
    if (result == STATUS_OK && command_is_interrupted())
        return error_set(error, STATUS_CANCELLED, "interrupted");
    return result;
}

static status keep(struct run_times *best, const struct run_times *times, struct error *error)
{
    if (times->count > times->room)
        return error_set(error, STATUS_INTERNAL, "a run had %d parts, at most %d were expected", times->count, times->room);
    memcpy(best->spans, times->spans, (size_t)times->count * sizeof *times->spans);
    best->count   = times->count;
    best->seconds = times->seconds;
    return STATUS_OK;
}

/* The shortest of some runs; with `best` it is timed op by op and kept there, and `other` is as large. */
static status run_often(const struct work *work, struct run_times *best, struct run_times *other, double *shortest,
                        struct error *error)
{
    const double begun  = session_now();
    status       result = STATUS_OK;
    *shortest           = INFINITY;
    for (int i = 0; result == STATUS_OK && i < RUNS_MOST && (i < RUNS_LEAST || session_now() - begun < SECONDS_ENOUGH); i++) {
        double seconds;
        result = run_once(work, best ? other : NULL, &seconds, error);
        if (result == STATUS_OK && best)
            seconds = other->seconds;
        if (result != STATUS_OK || seconds >= *shortest)
            continue;
        *shortest = seconds;
        if (best)
            result = keep(best, other, error);
    }
    return result;
}

static struct accelerator_usage usage_of(const struct device *device)
{
    struct accelerator_usage usage = { 0 };
    if (device->accelerator)
        device->accelerator->usage(device, &usage);
    return usage;
}

/* Runs it both ways: as the engine does, and timed. */
static status measure(struct work *work, struct profile *p, struct run_times *best, struct run_times *other, struct error *error)
{
    const struct device *device = &work->model->engine->device;
    double               ignored;
    status               result = batch_fit(work->model, work->slot, &work->run, work->team, error);
    for (int i = 0; i < RUNS_BEFORE && result == STATUS_OK; i++)
        result = run_once(work, NULL, &ignored, error);
    const struct accelerator_usage before = usage_of(device);
    if (result == STATUS_OK)
        result = run_often(work, NULL, NULL, &p->usual_seconds, error);
    const struct accelerator_usage after = usage_of(device);
    p->is_replayed                       = after.replays > before.replays && after.fallbacks == before.fallbacks;
    snprintf(p->reason, sizeof p->reason, "%s", after.reason);
    return result == STATUS_OK ? run_often(work, best, other, &ignored, error) : result;
}

static int by_worker_and_start(const void *a, const void *b)
{
    const struct run_span *x = a, *y = b;
    return x->worker != y->worker ? x->worker - y->worker : (x->start > y->start) - (x->start < y->start);
}

/* ---- The table ---- */

static bool same_kind(const struct plan_node *a, const struct plan_node *b)
{
    const struct linear_weight *v = a->linear, *w = b->linear;
    return strcmp(a->label + a->what, b->label + b->what) == 0 && !v == !w &&
           (!v || (v->k == w->k && v->n == w->n && v->type == w->type));
}

/* From the first worker that began a node to the first that found it done: one that comes late has nothing left to do there. */
static double seconds_of(const struct run_times *times, int node)
{
    const struct run_span *spans = times->spans;
    double                 start = INFINITY, done = INFINITY;
    for (int i = 0; i < times->count; i++) {
        if (spans[i].node != node)
            continue;
        start = fmin(start, spans[i].start);
        if (i + 1 == times->count || spans[i + 1].node != node || spans[i + 1].worker != spans[i].worker)
            done = fmin(done, spans[i].end);
    }
    return isfinite(done) ? done - start : 0.0;
}

static double seconds_of_copies(const struct run_times *times)
{
    double seconds = 0.0;
    for (int i = 0; i < times->count; i++)
        if (times->spans[i].node < 0)
            seconds += times->spans[i].end - times->spans[i].start;
    return seconds;
}

/* The nodes of the same kind as `first`, which is the first of them, as one line; returns their seconds. */
static double write_kind(struct output *out, const struct profile *p, const struct limits *limits, int first)
{
    const struct plan_node *model   = plan_node(p->plan, first);
    struct plan_cost        all     = { 0, 0 };
    double                  seconds = 0.0, least = 0.0;
    char                    shape[48] = "", share[16] = "-";
    int                     nodes = 0;
    for (int i = first; i < plan_nodes(p->plan); i++) {
        if (!same_kind(plan_node(p->plan, i), model))
            continue;
        const struct plan_cost one = plan_node_cost(p->plan, i, &p->live, p->pairs);
        seconds += seconds_of(p->times, i);
        least += least_seconds(limits, plan_node(p->plan, i), &one);
        all.operations += one.operations;
        all.bytes += one.bytes;
        nodes++;
    }
    if (model->linear)
        snprintf(shape, sizeof shape, "%d x %d %s", model->linear->n, model->linear->k, dtype_name(model->linear->type));
    if (!isnan(least) && seconds > 0.0)
        snprintf(share, sizeof share, "%.1f %%", 100.0 * least / seconds);
    const double rate = seconds > 0.0 ? 1e-9 / seconds : 0.0;
    output_format(out, "%4d x %-20s %-20s %10.1f %12.3f %10.1f %9s\n", nodes, model->label + model->what, shape, 1e6 * seconds,
                  1e-3 * rate * all.operations, rate * all.bytes, share);
    return seconds;
}

static bool is_first_of_kind(const struct plan *plan, int node)
{
    for (int i = 0; i < node; i++)
        if (same_kind(plan_node(plan, i), plan_node(plan, node)))
            return false;
    return true;
}

static void write_limit(struct output *out, const char *name, double rate, const char *unit)
{
    if (rate > 0)
        output_format(out, " %s %.3f %s,", name, rate, unit);
}

static void write_limits(struct output *out, const struct profile *p, const struct limits *limits)
{
    output_format(out, "limits %s:", p->is_accelerated ? "by the clocks of the device" : "measured now");
    write_limit(out, "fp32", 1e-12 * limits->fp32, "TFLOP/s");
    write_limit(out, "bf16", 1e-12 * limits->bf16, "TFLOP/s");
    write_limit(out, "fp8", 1e-12 * limits->fp8, "TFLOP/s");
    write_limit(out, "int8", 1e-12 * limits->int8, "TOP/s");
    write_limit(out, "memory", 1e-9 * limits->bytes, "GB/s");
    output_text(out, " more than 100 %: from caches\n");
}

/* The run as texts are computed, beside which the sum of its ops has to be read. */
static void write_usual(struct output *out, const struct profile *p)
{
    output_format(out, "%-48s %10.1f", "the run as the engine computes it", 1e6 * p->usual_seconds);
    if (p->is_replayed)
        output_text(out, ", replayed as one graph, inside which nothing can be timed");
    else if (p->is_accelerated)
        output_format(out, ", kernel by kernel: %s", p->reason);
    output_text(out, "\n");
}

static void write_table(struct output *out, const struct profile *p, const struct limits *limits)
{
    double       seconds = 0.0;
    const double copies  = seconds_of_copies(p->times);
    output_format(out, "\n%-48s %10s %12s %10s %9s\n", "the shortest of some runs", "us a run", "TFLOP/s", "GB/s", "of limit");
    for (int i = 0; i < plan_nodes(p->plan); i++)
        if (is_first_of_kind(p->plan, i))
            seconds += write_kind(out, p, limits, i);
    if (copies > 0.0)
        output_format(out, "%-48s %10.1f\n", "copies of inputs and result", 1e6 * copies);
    output_format(out, "%-48s %10.1f, %.1f %% of it in the lines above\n",
                  p->is_accelerated ? "the run, kernel by kernel" : "the run, op by op", 1e6 * p->times->seconds,
                  100.0 * (seconds + copies) / p->times->seconds);
    write_usual(out, p);
    write_limits(out, p, limits);
}

static status write_both(struct output *out, const struct recto_engine *engine, const struct profile *p, const char *path,
                         struct error *error)
{
    static struct output file;
    const struct limits  limits = limits_of(engine);
    status               result = output_open(&file, path, error);
    if (result != STATUS_OK)
        return result;
    timeline_write(&file, p);
    result = output_commit(&file, error);
    if (result == STATUS_OK)
        write_table(out, p, &limits);
    return result;
}

status profile_plan(struct output *out, const struct session *session, const struct plan *plan, const struct live *live,
                    const char *path, struct error *error)
{
    const struct recto_engine *engine   = session->engine;
    const bool                 gpu      = engine->device.accelerator != NULL;
    const double               each     = (double)live->tokens / live->sequences;
    const int                  longest  = (live->tokens + live->sequences - 1) / live->sequences;
    const int                  room     = plan_nodes(plan) * (gpu ? KERNELS_OF_A_NODE : engine->workers) + COPIES;
    struct work                work     = { .model = session->model, .slot = &session->engine->slots[0],
                                            .run = { .plan = plan, .live = *live }, .team = gpu ? 1 : engine->workers };
    if (longest > plan_limits(plan)->longest)
        return error_set(error, STATUS_USAGE, "a text of %d tokens was asked for, the model takes %d at most; see --sequences",
                         longest, plan_limits(plan)->longest);
    struct run_span *spans = calloc(2 * (size_t)room, sizeof *spans);
    if (!spans)
        return error_set(error, STATUS_MEMORY, "no memory for the times of %d operations", room);
    struct run_times best = { .spans = spans, .room = room }, other = { .spans = spans + room, .room = room };
    struct profile   p    = { .plan = plan, .live = *live, .pairs = each * each * live->sequences, .times = &best,
                              .is_accelerated = gpu, .model = session->info.folder, .precision = session_precision(session),
                              .device = engine->device.name, .variant = engine->device.variant };
    status           result = measure(&work, &p, &best, &other, error);
    if (!gpu)  /* an accelerator's are in order, and some may take no time by its clock */
        qsort(best.spans, (size_t)best.count, sizeof *best.spans, by_worker_and_start);
    if (result == STATUS_OK)
        result = write_both(out, engine, &p, path, error);
    free(spans);
    return result;
}
