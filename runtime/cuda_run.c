#include "runtime/cuda_run.h"

#include <math.h>

enum { PLACE_ALIGNMENT = 256 };  /* of a GPU's whole transactions, and what kernels may ask of a pointer */

static size_t aligned(size_t bytes) { return (bytes + PLACE_ALIGNMENT - 1) / PLACE_ALIGNMENT * PLACE_ALIGNMENT; }

struct cuda_layout cuda_layout_of(const struct plan *plan)
{
    const struct plan_caps   *caps   = plan_limits(plan);
    const struct plan_buffer *result = plan_buffer(plan, plan_result(plan));
    struct cuda_layout        l      = { .starts = sizeof(struct cuda_live), .result_bytes = result->bytes };
    l.ids           = l.starts + sizeof(int32_t) * (size_t)(caps->sequences + 1);
    l.positions     = l.ids + sizeof(int32_t) * (size_t)caps->tokens;
    l.input_bytes   = l.positions + sizeof(int32_t) * (size_t)caps->tokens;
    l.inputs        = aligned(plan_layout_bytes(plan));
    l.schedule      = l.inputs + aligned(l.input_bytes);
    l.arena_bytes   = l.schedule + aligned(attention_schedule_bytes(caps->tokens, caps->sequences));
    l.result        = aligned(l.input_bytes);
    l.staging_bytes = l.result + l.result_bytes;
    return l;
}

/* What the nodes of one run share. */
struct walk {
    const struct cuda_run     *run;
    const struct cuda_kernels *kernels;
    struct cuda_layout         layout;
    struct cuda_launch         launch;
    const struct plan_node    *scheduled;  /* whose attention the schedule in the arena is for */
    int                        layer;      /* whose range is open; -1: none */
};

static void *buffer_of(const struct walk *w, int buffer)
{
    return buffer == NO_BUFFER ? NULL : w->run->arena + plan_buffer(w->run->plan, buffer)->offset;
}

static size_t stride_of(const struct walk *w, int buffer)
{
    return buffer == NO_BUFFER ? 0 : plan_buffer(w->run->plan, buffer)->stride;
}

static enum dtype type_of(const struct walk *w, int buffer)
{
    return buffer == NO_BUFFER ? DTYPE_F32 : plan_buffer(w->run->plan, buffer)->type;
}

static const int32_t *input_of(const struct walk *w, size_t offset)
{
    return (const void *)(w->run->arena + w->layout.inputs + offset);
}

static cudaError_t embed(const struct walk *w, const struct plan_node *node)
{
    struct embed_args args = { .words = node->embed.words, .positions = node->embed.positions, .types = node->embed.types,
                               .table_type = node->embed.type, .width = node->embed.width, .ids = input_of(w, w->layout.ids),
                               .position_ids = input_of(w, w->layout.positions), .y = buffer_of(w, node->y),
                               .y_stride = stride_of(w, node->y) };
    return w->kernels->embed_rows(&w->launch, &args);
}

/* The norm of `x` into the node's value, with the copy that is wanted. */
static struct norm_args norm_args_of(const struct walk *w, const struct plan_node *node, int x)
{
    return (struct norm_args){ .x = buffer_of(w, x), .x_stride = stride_of(w, x), .weight = node->norm.weight,
                               .bias = node->norm.bias, .width = node->norm.width, .epsilon = node->norm.epsilon,
                               .y = buffer_of(w, node->y), .y_stride = stride_of(w, node->y), .copy = buffer_of(w, node->copy),
                               .copy_stride = stride_of(w, node->copy), .copy_type = type_of(w, node->copy),
                               .copy_scales = buffer_of(w, node->copy_scales) };
}

static cudaError_t norm(const struct walk *w, const struct plan_node *node, int x)
{
    const struct norm_args args = norm_args_of(w, node, x);
    return (node->norm.kind == NORM_LAYER ? w->kernels->norm_layer : w->kernels->norm_rms)(&w->launch, &args);
}

/* `x` again as bf16, into the node's copy. */
static cudaError_t convert(const struct walk *w, const struct plan_node *node, int x)
{
    struct convert_args args = { .x = buffer_of(w, x), .x_stride = stride_of(w, x), .y = buffer_of(w, node->copy),
                                 .y_stride = stride_of(w, node->copy), .width = plan_buffer(w->run->plan, x)->width };
    return w->kernels->convert_bf16(&w->launch, &args);
}

/* Both in one launch: the sum before the norm goes nowhere. */
static cudaError_t linear_norm(const struct walk *w, const struct plan_node *node, const struct linear_args *linear)
{
    struct linear_norm_args args = { .linear = *linear, .norm = norm_args_of(w, node, NO_BUFFER),
                                     .rms = node->norm.kind == NORM_RMS };
    args.linear.y = NULL;
    return w->kernels->linear_norm(&w->launch, &args);
}

/* `x` again as e4m3, into the node's copy, with the scales of its rows. */
static cudaError_t quantize(const struct walk *w, const struct plan_node *node)
{
    struct fp8_args args = { .x = buffer_of(w, node->x), .x_type = type_of(w, node->x), .x_stride = stride_of(w, node->x),
                             .width = plan_buffer(w->run->plan, node->x)->width, .y = buffer_of(w, node->copy),
                             .y_stride = stride_of(w, node->copy), .scales = buffer_of(w, node->copy_scales) };
    return w->kernels->quantize_fp8 ? w->kernels->quantize_fp8(&w->launch, &args) : cudaErrorNotSupported;
}

static cuda_launch_linear *linear_for(const struct cuda_kernels *kernels, enum dtype weight)
{
    switch (weight) {
    case DTYPE_F32: return kernels->linear_f32;
    case DTYPE_BF16: return kernels->linear_bf16;
    case DTYPE_F8_E4M3: return kernels->linear_fp8;
    default: return NULL;
    }
}

static cudaError_t linear(const struct walk *w, const struct plan_node *node)
{
    struct linear_args args = { .weight = node->linear, .x = buffer_of(w, node->x), .x_stride = stride_of(w, node->x),
                                .x_scales = buffer_of(w, node->x_scales), .act = node->act,
                                .residual = buffer_of(w, node->residual),
                                .residual_stride = stride_of(w, node->residual), .y = buffer_of(w, node->y),
                                .y_stride = stride_of(w, node->y), .y_type = type_of(w, node->y) };
    cuda_launch_linear *launch = linear_for(w->kernels, node->linear->type);
    if (!launch)
        return cudaErrorNotSupported;
    if (node->norm.kind != NORM_NONE && w->kernels->linear_norm_fits(w->launch.facts, node->linear, node->act) &&
        (node->copy == NO_BUFFER || type_of(w, node->copy) == node->linear->type))
        return linear_norm(w, node, &args);
    cudaError_t result = launch(&w->launch, &args);
    if (result == cudaSuccess && node->norm.kind != NORM_NONE)
        return norm(w, node, node->y);
    return result == cudaSuccess && node->copy != NO_BUFFER ? convert(w, node, node->y) : result;
}

static cudaError_t rotary(const struct walk *w, const struct plan_node *node)
{
    const struct attention_shape *shape = &node->attention;
    struct rotary_args args = { .x = buffer_of(w, node->x), .type = type_of(w, node->x), .x_stride = stride_of(w, node->x),
                                .heads = shape->heads + shape->kv_heads, .head_size = shape->head_size,
                                .position_ids = input_of(w, w->layout.positions), .cosines = node->rotary.cosines,
                                .sines = node->rotary.sines };
    return w->kernels->rotary_half(&w->launch, &args);
}

static bool same_shape(const struct attention_shape *a, const struct attention_shape *b)
{
    return a->heads == b->heads && a->kv_heads == b->kv_heads && a->head_size == b->head_size && a->causal == b->causal;
}

static cudaError_t attention(struct walk *w, const struct plan_node *node)
{
    const struct attention_shape *shape   = &node->attention;
    const struct plan_buffer     *x       = plan_buffer(w->run->plan, node->x);
    const char                   *q       = buffer_of(w, node->x);
    const size_t                  head    = (size_t)shape->head_size * (size_t)dtype_bits(x->type) / 8;
    char                         *schedule = w->run->arena + w->layout.schedule;
    struct attention_args args = { .q = q, .k = q + head * (size_t)shape->heads,
                                   .v = q + head * (size_t)(shape->heads + shape->kv_heads), .q_stride = x->stride,
                                   .k_stride = x->stride, .v_stride = x->stride, .type = x->type, .heads = shape->heads,
                                   .kv_heads = shape->kv_heads, .head_size = shape->head_size,
                                   .scale = 1.0f / sqrtf((float)shape->head_size), .causal = shape->causal,
                                   .starts = input_of(w, w->layout.starts), .y = buffer_of(w, node->y),
                                   .y_stride = stride_of(w, node->y), .y_type = type_of(w, node->y) };
    cudaError_t result = cudaSuccess;
    if (!w->scheduled || !same_shape(&w->scheduled->attention, shape) || type_of(w, w->scheduled->x) != x->type)
        result = w->kernels->attention_schedule(&w->launch, &args, schedule);
    w->scheduled = node;
    if (result != cudaSuccess)
        return result;
    return (x->type == DTYPE_BF16 ? w->kernels->attention_bf16 : w->kernels->attention_f32)(&w->launch, &args, schedule);
}

static cudaError_t pool(const struct walk *w, const struct plan_node *node)
{
    const struct cuda_kernels *k    = w->kernels;
    struct pool_args           args = { .x = buffer_of(w, node->x), .x_stride = stride_of(w, node->x),
                                        .width = plan_buffer(w->run->plan, node->x)->width,
                                        .starts = input_of(w, w->layout.starts), .y = buffer_of(w, node->y),
                                        .y_stride = stride_of(w, node->y) };
    return (node->pool == POOL_MEAN ? k->pool_mean : node->pool == POOL_FIRST ? k->pool_first : k->pool_last)(&w->launch, &args);
}

static cudaError_t normalize(const struct walk *w, const struct plan_node *node)
{
    struct normalize_args args = { .x = buffer_of(w, node->x), .x_stride = stride_of(w, node->x),
                                   .width = plan_buffer(w->run->plan, node->y)->width, .y = buffer_of(w, node->y),
                                   .y_stride = stride_of(w, node->y) };
    return w->kernels->normalize_l2(&w->launch, &args);
}

static cudaError_t launch_node(struct walk *w, const struct plan_node *node)
{
    w->launch.rows = node->rows == ROWS_TOKENS ? CUDA_ROWS_TOKENS : CUDA_ROWS_SEQUENCES;
    switch (node->op) {
    case OP_EMBED: return embed(w, node);
    case OP_NORM: return norm(w, node, node->x);
    case OP_LINEAR: return linear(w, node);
    case OP_CONVERT: return convert(w, node, node->x);
    case OP_ROTARY: return rotary(w, node);
    case OP_ATTENTION: return attention(w, node);
    case OP_POOL: return pool(w, node);
    case OP_NORMALIZE: return normalize(w, node);
    case OP_QUANTIZE: return quantize(w, node);
    case OPS: break;
    }
    return cudaErrorNotSupported;
}

static void on_launch(void *trace, const struct cuda_cost *cost) { cuda_trace_mark(trace, cost); }

static void enter_layer(struct walk *w, int layer)
{
    const struct cuda_ranges *ranges = &w->run->context->ranges;
    if (layer == w->layer)
        return;
    if (w->layer >= 0)
        cuda_ranges_pop(ranges);
    if (layer >= 0)
        cuda_ranges_push(ranges, "layer %d", layer);
    w->layer = layer;
}

static cudaError_t enqueue_node(struct walk *w, int index)
{
    const struct plan_node   *node   = plan_node(w->run->plan, index);
    const struct cuda_ranges *ranges = &w->run->context->ranges;
    enter_layer(w, node->layer);
    cuda_ranges_push(ranges, "%s", node->label + node->what);
    if (w->run->trace)
        w->run->trace->node = index;
    const cudaError_t result = launch_node(w, node);
    cuda_ranges_pop(ranges);
    return result;
}

static cudaError_t enqueue_copy(const struct walk *w, const struct cuda_cost *cost, void *to, const void *from,
                                enum cudaMemcpyKind kind)
{
    const struct cuda_ranges *ranges = &w->run->context->ranges;
    cuda_ranges_push(ranges, "%s", cost->kernel);
    if (w->run->trace) {
        w->run->trace->node = -1;
        cuda_trace_mark(w->run->trace, cost);
    }
    const cudaError_t result = cudaMemcpyAsync(to, from, (size_t)cost->bytes, kind, w->run->stream);
    cuda_ranges_pop(ranges);
    return result;
}

cudaError_t cuda_run_enqueue(const struct cuda_run *run, const char **where)
{
    const struct plan_caps  *caps   = plan_limits(run->plan);
    const struct cuda_layout layout = cuda_layout_of(run->plan);
    const struct cuda_cost   up     = { "the copy of the inputs", (double)layout.input_bytes, 0 };
    const struct cuda_cost   down   = { "the copy of the result", (double)layout.result_bytes, 0 };
    char                    *inputs = run->arena + layout.inputs;
    struct walk              w      = { .run = run, .kernels = run->context->kernels, .layout = layout, .layer = -1 };
    w.launch = (struct cuda_launch){ .facts = &run->context->facts, .stream = run->stream, .live = (const void *)inputs,
                                     .tokens = caps->tokens, .sequences = caps->sequences, .longest = caps->longest,
                                     .profile = run->trace ? on_launch : NULL, .profile_context = run->trace };
    *where             = up.kernel;
    cudaError_t result = enqueue_copy(&w, &up, inputs, run->staging, cudaMemcpyHostToDevice);
    for (int i = 0; i < plan_nodes(run->plan) && result == cudaSuccess; i++) {
        *where = plan_node(run->plan, i)->label;
        result = enqueue_node(&w, i);
    }
    enter_layer(&w, -1);
    if (result != cudaSuccess)
        return result;
    *where = down.kernel;
    result = enqueue_copy(&w, &down, run->staging + layout.result, buffer_of(&w, plan_result(run->plan)), cudaMemcpyDeviceToHost);
    if (run->trace)
        cuda_trace_end(run->trace);
    return result;
}
