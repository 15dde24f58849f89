#include "host/command_profile_timeline.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* An event up to its arguments. Times are whole nanoseconds, so that what begins or ends together is so in the file as well. */
static void begin_event(struct output *out, const char *name, const char *category, const struct run_span *span)
{
    const long long start = llround(span->start * 1e9), length = llround(span->end * 1e9) - start;
    output_text(out, ",\n{\"name\":");
    output_json_string(out, name, strlen(name));
    output_format(out, ",\"cat\":\"%s\",\"ph\":\"X\",\"pid\":1,\"tid\":%d,", category, span->worker);
    output_format(out, "\"ts\":%lld.%03lld,\"dur\":%lld.%03lld,\"args\":{", start / 1000, start % 1000, length / 1000,
                  length % 1000);
}

static void write_run(struct output *out, const struct profile *p, const char *name, const struct run_span *span)
{
    begin_event(out, name, name, span);
    output_format(out, "\"tokens\":%d,\"sequences\":%d}}", p->live.tokens, p->live.sequences);
}

/* The name of a thread and, on it, the run. */
static void write_thread(struct output *out, const struct profile *p, int worker)
{
    const struct run_span run = { .worker = worker, .end = p->times->seconds };
    output_format(out, ",\n{\"name\":\"thread_name\",\"ph\":\"M\",\"pid\":1,\"tid\":%d,\"args\":{\"name\":\"%s %d\"}}", worker,
                  p->is_accelerated ? "stream" : "worker", worker);
    write_run(out, p, "run", &run);
}

static void write_layer(struct output *out, int layer, const struct run_span *span)
{
    char name[32];
    snprintf(name, sizeof name, "layer %d", layer);
    begin_event(out, name, "layer", span);
    output_format(out, "\"layer\":%d}}", layer);
}

static void write_op(struct output *out, const struct profile *p, const struct run_span *span)
{
    const struct plan_node *node = plan_node(p->plan, span->node);
    const struct plan_cost  cost = plan_node_cost(p->plan, span->node, &p->live, p->pairs);
    begin_event(out, node->label + node->what, "op", span);
    output_format(out, "\"op\":\"%s\",\"node\":%d,\"rows\":%d,\"bytes\":%.0f,\"operations\":%.0f}}", op_name(node->op), span->node,
                  node->rows == ROWS_TOKENS ? p->live.tokens : p->live.sequences, cost.bytes, cost.operations);
}

static void write_kernel(struct output *out, const struct run_span *span)
{
    begin_event(out, span->kernel, span->node < 0 ? "copy" : "kernel", span);
    output_format(out, "\"bytes_at_cap\":%.0f,\"operations_at_cap\":%.0f}}", span->bytes, span->operations);
}

static int layer_of(const struct profile *p, const struct run_span *span)
{
    return span->node < 0 ? -1 : plan_node(p->plan, span->node)->layer;
}

enum part { OF_WORKER, OF_LAYER, OF_NODE };

static bool are_of_one(const struct profile *p, enum part part, const struct run_span *a, const struct run_span *b)
{
    return a->worker == b->worker && (part < OF_LAYER || layer_of(p, a) == layer_of(p, b)) &&
           (part < OF_NODE || a->node == b->node);
}

static bool begins(const struct profile *p, enum part part, int i)
{
    return i == 0 || !are_of_one(p, part, &p->times->spans[i - 1], &p->times->spans[i]);
}

/* From the span that begins a part to the last that follows in it. */
static struct run_span whole(const struct profile *p, enum part part, int first)
{
    struct run_span all = p->times->spans[first];
    for (int i = first + 1; i < p->times->count && are_of_one(p, part, &all, &p->times->spans[i]); i++)
        all.end = p->times->spans[i].end;
    return all;
}

static void write_span(struct output *out, const struct profile *p, int i)
{
    const struct run_span *span = &p->times->spans[i];
    const struct run_span  layer = whole(p, OF_LAYER, i), node = whole(p, OF_NODE, i);
    if (begins(p, OF_WORKER, i))
        write_thread(out, p, span->worker);
    if (begins(p, OF_LAYER, i) && layer_of(p, span) >= 0)
        write_layer(out, layer_of(p, span), &layer);
    if (begins(p, OF_NODE, i) && span->node >= 0)
        write_op(out, p, &node);
    if (span->kernel)
        write_kernel(out, span);
}

void timeline_write(struct output *out, const struct profile *p)
{
    char name[512];
    snprintf(name, sizeof name, "%s in %s on %s (%s)", p->model, p->precision, p->device, p->variant);
    output_text(out, "{\"displayTimeUnit\":\"ns\",\"traceEvents\":[\n");
    output_text(out, "{\"name\":\"process_name\",\"ph\":\"M\",\"pid\":1,\"args\":{\"name\":");
    output_json_string(out, name, strlen(name));
    output_text(out, "}}");
    for (int i = 0; i < p->times->count; i++)
        write_span(out, p, i);
    if (p->is_replayed) {
        const double          start  = 1.01 * p->times->seconds;  /* apart from the run before it */
        const struct run_span replay = { .start = start, .end = start + p->usual_seconds };
        write_run(out, p, "replay", &replay);
    }
    output_text(out, "\n]}\n");
}
