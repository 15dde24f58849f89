/* timeline_check: reads a timeline of `recto plan --profile` and checks that it holds together.
 *
 *     timeline_check FILE
 *
 * On every thread spans come in the order of their beginnings, each within the one around it: kernels in ops, ops in layers,
 * layers in the run. Ops and copies do not overlap and fill the run of a single thread, kernels fill their op; a replay stands
 * apart. Prints the ops with costs and microseconds, in the columns of `recto plan`, and last the run and the replay. An op
 * lasts from the first thread that begins it to the first that ends it: whoever comes late finds it done. */
#include "loaders/json.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum rank { RUN, LAYER, OP, KERNEL, RANKS };
enum { THREADS_MOST = 64, NODES_MOST = 1024 };
static const double FILLED = 0.9;  /* the least part of a run that its ops take, where no second worker can come late */

struct span {
    double      start, end;  /* nanoseconds */
    double      filled;      /* by what lies right below it: ops in a run, kernels in an op */
    const char *name;
};

struct thread {
    struct span open[RANKS];  /* by rank; an end of 0: none */
    double      last;         /* start of the span before */
    int         nodes;
};

/* An op over all threads: its columns, first beginning, first end. */
struct op {
    char   columns[768];
    double start, end;
};

static struct thread threads[THREADS_MOST];
static struct op     ops[NODES_MOST];
static int           kernels;
static double        replay;

static _Noreturn void stop(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputs("\n", stderr);
    exit(1);
}

static const char *text_of(const struct json *object, const char *key)
{
    const char *text = json_as_string(json_member(object, key), NULL);
    return text ? text : "";
}

static double number_of(const struct json *object, const char *key)
{
    double number;
    if (!json_as_real(json_member(object, key), &number))
        stop("no number '%s' in '%s'", key, text_of(object, "name"));
    return number;
}

/* What ends here was filled by what it holds. */
static void close_span(const struct thread *thread, struct span *span)
{
    const double length = span->end - span->start, least = span == &thread->open[OP] ? 1 : 0;
    const bool   counts = span == &thread->open[RUN] || (span == &thread->open[OP] && span->filled > 0);
    if (span->end > 0 && counts && (span->filled > length + 1 || span->filled < least * length - 1))
        stop("%.0f of the %.0f ns of '%s' are filled", span->filled, length, span->name);
    *span = (struct span){ 0 };
}

static struct span *parent_of(struct thread *thread, enum rank rank)
{
    for (int i = (int)rank - 1; i >= RUN; i--)
        if (thread->open[i].end > 0)
            return &thread->open[i];
    return NULL;
}

static void take_span(struct thread *thread, enum rank rank, const struct span *span)
{
    if (span->start < thread->last)
        stop("'%s' begins at %.0f ns, after one that begins later", span->name, span->start);
    for (int i = RANKS - 1; i >= RUN; i--)
        if (i >= (int)rank || thread->open[i].end <= span->start)
            close_span(thread, &thread->open[i]);
    struct span *parent = parent_of(thread, rank);
    if (rank > RUN && (!parent || span->end > parent->end))
        stop("'%s', %.0f to %.0f ns, is not within another one", span->name, span->start, span->end);
    if (rank == KERNEL && parent != &thread->open[OP])
        stop("the kernel '%s' is not within an op", span->name);
    if (rank == KERNEL)
        parent->filled += span->end - span->start;
    if (rank == OP)
        thread->open[RUN].filled += span->end - span->start;
    thread->last       = span->start;
    thread->open[rank] = *span;
}

static void take_op(const struct json *event, struct thread *thread, const struct span *span)
{
    const struct json *args = json_member(event, "args");
    const char        *layer = thread->open[LAYER].end > 0 ? thread->open[LAYER].name : NULL;
    struct op         *op    = &ops[thread->nodes];
    char               label[64], columns[sizeof op->columns];
    if (thread->nodes == NODES_MOST || number_of(args, "node") != thread->nodes)
        stop("'%s' is node %.0f, expected %d", span->name, number_of(args, "node"), thread->nodes);
    snprintf(label, sizeof label, "%s%s%s", layer ? layer : "", layer ? " " : "", span->name);
    snprintf(columns, sizeof columns, "%4d %-10s%-28s%10.2f %10.1f", thread->nodes, text_of(args, "op"), label,
             number_of(args, "operations") * 1e-6, number_of(args, "bytes") / 1024.0);
    if (!op->columns[0])
        *op = (struct op){ .start = span->start, .end = span->end };
    else if (strcmp(op->columns, columns) != 0)
        stop("node %d is '%s' and '%s'", thread->nodes, op->columns, columns);
    memcpy(op->columns, columns, sizeof columns);
    op->start = fmin(op->start, span->start);
    op->end   = fmin(op->end, span->end);
    thread->nodes++;
}

static void take_event(const struct json *event)
{
    static const char *const names[] = { "run", "layer", "op", "kernel", "copy", "replay" };
    const double             start   = round(number_of(event, "ts") * 1e3);
    const struct span        span    = { start, start + round(number_of(event, "dur") * 1e3), 0, text_of(event, "name") };
    const int                tid     = (int)number_of(event, "tid");
    size_t                   kind    = 0;
    while (kind < sizeof names / sizeof *names && strcmp(text_of(event, "cat"), names[kind]) != 0)
        kind++;
    if (tid < 0 || tid >= THREADS_MOST || kind == sizeof names / sizeof *names)
        stop("'%s' is of kind '%s' on thread %d", span.name, text_of(event, "cat"), tid);
    struct thread *thread = &threads[tid];
    if (kind == 5) {
        replay = span.end - span.start;
        if (thread->open[RUN].end >= span.start)
            stop("the replay begins within the run");
        return;
    }
    take_span(thread, kind == 4 ? OP : (enum rank)kind, &span);
    if (kind == 2)
        take_op(event, thread, &span);
    kernels += kind == 3;
}

int main(int count, char **words)
{
    struct pool          *pool;
    struct json_document *document;
    struct error          error = { 0 };
    if (count != 2 || pool_open(&pool, 0, &error) != STATUS_OK)
        stop("usage: timeline_check FILE");
    if (json_read(pool, words[1], &document, &error) != STATUS_OK)
        stop("%s", error.message);
    const struct json *events = json_member(json_root(document), "traceEvents");
    for (size_t i = 0; i < json_array_length(events); i++)
        if (strcmp(text_of(json_array_at(events, i), "ph"), "X") == 0)
            take_event(json_array_at(events, i));
    const double run = threads[0].open[RUN].end, filled = threads[0].open[RUN].filled;
    int          used = 0;
    for (int i = 0; i < THREADS_MOST; i++) {
        if (threads[i].nodes != threads[0].nodes && threads[i].nodes)
            stop("thread %d has %d ops, the first %d", i, threads[i].nodes, threads[0].nodes);
        used += threads[i].nodes > 0;
        for (int rank = RUN; rank < RANKS; rank++)
            close_span(&threads[i], &threads[i].open[rank]);
    }
    if (used == 1 && filled < FILLED * run)
        stop("ops and copies fill %.0f of the %.0f ns of the run", filled, run);
    for (int i = 0; i < threads[0].nodes; i++)
        printf("%s %10.1f\n", ops[i].columns, (ops[i].end - ops[i].start) * 1e-3);
    printf("threads %d, kernels %d, run %.1f, replay %.1f\n", used, kernels, run * 1e-3, replay * 1e-3);
    json_free(document);
    pool_close(pool);
    return used && run > 0 ? 0 : 1;
}
