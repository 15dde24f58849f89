/* plan_layout.c: when each buffer lives and where it lies.
 *
 * Greedy: buffers in order of size, largest first, each at the lowest place where it meets none that lives at the same time.
 * That is within a few percent of the largest live set for chains such as ours; where it is not, other orders are tried
 * and the best result is kept.
 */
#include "runtime/plan_internal.h"

#include <string.h>

enum { ALIGNMENT = 64, ORDERS = 3, ATTEMPTS = 128 };

static size_t padded(const struct plan_buffer *b) { return (b->bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT; }

static void touch(struct plan *plan, int buffer, int node)
{
    if (buffer == NO_BUFFER)
        return;
    struct plan_buffer *b = &plan->buffers[buffer];
    if (b->first < 0 || node < b->first)
        b->first = node;
    if (node > b->last)
        b->last = node;
}

/* A second value is written by the node that makes the first, so it lives from there; inputs are filled before a run. */
static void find_lifetimes(struct plan *plan)
{
    for (int i = 0; i < plan->buffer_count; i++)
        plan->buffers[i].first = plan->buffers[i].last = -1;
    for (int i = 0; i < plan->node_count; i++) {
        const struct plan_node *n     = &plan->nodes[i];
        const int               all[] = { n->x, n->x_scales, n->residual, n->y, n->copy, n->copy_scales };
        for (size_t j = 0; j < sizeof all / sizeof *all; j++)
            touch(plan, all[j], i);
        if (n->op == OP_EMBED) {
            touch(plan, PLAN_IDS, i);
            touch(plan, PLAN_POSITIONS, i);
        }
        if (n->op == OP_ROTARY)
            touch(plan, PLAN_POSITIONS, i);
        if (n->op == OP_ATTENTION || n->op == OP_POOL)
            touch(plan, PLAN_STARTS, i);
    }
    for (int i = 0; i < PLAN_INPUTS; i++)
        touch(plan, i, 0);
    touch(plan, plan->result, plan->node_count - 1);
}

static size_t largest_live_set(const struct plan *plan)
{
    size_t largest = 0;
    for (int node = 0; node < plan->node_count; node++) {
        size_t sum = 0;
        for (int i = 0; i < plan->buffer_count; i++)
            if (plan->buffers[i].first <= node && node <= plan->buffers[i].last)
                sum += padded(&plan->buffers[i]);
        if (sum > largest)
            largest = sum;
    }
    return largest;
}

/* Whether a comes before b in the given order: by size, by size times lifetime, by first use. */
static bool precedes(const struct plan_buffer *a, const struct plan_buffer *b, int order)
{
    size_t size_a = padded(a), size_b = padded(b);
    if (order == 1) {
        size_a *= (size_t)(a->last - a->first + 1);
        size_b *= (size_t)(b->last - b->first + 1);
    }
    if (order == 2)
        return a->first != b->first ? a->first < b->first : size_a > size_b;
    return size_a != size_b ? size_a > size_b : a->first < b->first;
}

static void sort(const struct plan *plan, int *sorted, int order)
{
    for (int i = 0; i < plan->buffer_count; i++) {
        int at = i;
        for (; at > 0 && precedes(&plan->buffers[i], &plan->buffers[sorted[at - 1]], order); at--)
            sorted[at] = sorted[at - 1];
        sorted[at] = i;
    }
}

static bool collide(const struct plan_buffer *a, const struct plan_buffer *b, size_t offset)
{
    return a->first <= b->last && b->first <= a->last && offset < b->offset + padded(b) && b->offset < offset + padded(a);
}

/* The lowest place that is free among the `count` buffers placed so far: push up past each collision until none is left. */
static size_t find_place(const struct plan *plan, const int *placed, int count, const struct plan_buffer *buffer)
{
    size_t offset = 0;
    for (int i = 0; i < count;) {
        const struct plan_buffer *other = &plan->buffers[placed[i]];
        if (collide(buffer, other, offset)) {
            offset = other->offset + padded(other);
            i      = 0;
        } else {
            i++;
        }
    }
    return offset;
}

static size_t place_all(struct plan *plan, const int *sorted)
{
    size_t end = 0;
    for (int i = 0; i < plan->buffer_count; i++) {
        struct plan_buffer *b = &plan->buffers[sorted[i]];
        b->offset             = find_place(plan, sorted, i, b);
        if (b->offset + padded(b) > end)
            end = b->offset + padded(b);
    }
    return end;
}

/* The buffer that reaches highest goes first the next time: it found no room because smaller ones had been given it. */
static void promote_highest(const struct plan *plan, int *sorted)
{
    int highest = 0;
    for (int i = 1; i < plan->buffer_count; i++) {
        const struct plan_buffer *a = &plan->buffers[sorted[i]], *b = &plan->buffers[sorted[highest]];
        if (a->offset + padded(a) > b->offset + padded(b))
            highest = i;
    }
    int buffer = sorted[highest];
    for (int i = highest; i > 0; i--)
        sorted[i] = sorted[i - 1];
    sorted[0] = buffer;
}

/* Places in `sorted` and in orders made of it, until nothing better can be hoped for; the best order is left in `best`. */
static void improve(struct plan *plan, int *sorted, int *best)
{
    for (int i = 0; i < ATTEMPTS && plan->layout - plan->live > plan->live / 100; i++) {
        size_t end = place_all(plan, sorted);
        if (end < plan->layout) {
            plan->layout = end;
            memcpy(best, sorted, (size_t)plan->buffer_count * sizeof *best);
        }
        promote_highest(plan, sorted);
    }
}

status plan_layout(struct plan *plan, struct error *error)
{
    void  *block;
    status result = pool_alloc(plan->pool, MEMORY_PLAN, 2 * (size_t)plan->buffer_count * sizeof(int), "a plan's layout", &block,
                               error);
    if (result != STATUS_OK)
        return result;
    int *sorted = block, *best = sorted + plan->buffer_count;
    find_lifetimes(plan);
    plan->live   = largest_live_set(plan);
    plan->layout = SIZE_MAX;
    for (int order = 0; order < ORDERS; order++) {
        sort(plan, sorted, order);
        improve(plan, sorted, best);
    }
    place_all(plan, best);
    pool_free(plan->pool, block);
    return STATUS_OK;
}
