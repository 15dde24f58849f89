#include "runtime/plan_internal.h"

#include "kernels/attention/attention.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

status plan_begin(struct plan **plan, struct pool *pool, const struct plan_caps *caps, enum dtype precision,
                  struct error *error)
{
    void  *block;
    status result = pool_alloc(pool, MEMORY_PLAN, sizeof **plan, "a plan", &block, error);
    if (result != STATUS_OK)
        return result;
    *plan         = memset(block, 0, sizeof **plan);
    **plan        = (struct plan){ .pool = pool, .caps = *caps, .precision = precision, .layer = -1 };
    static const struct plan_buffer inputs[PLAN_INPUTS] = {
        [PLAN_IDS]       = { .rows = ROWS_TOKENS, .width = 1, .type = DTYPE_I32 },
        [PLAN_POSITIONS] = { .rows = ROWS_TOKENS, .width = 1, .type = DTYPE_I32 },
        [PLAN_STARTS]    = { .rows = ROWS_SEQUENCES, .width = 1, .type = DTYPE_I32 },
    };
    result = pool_alloc(pool, MEMORY_PLAN, 32 * sizeof *inputs, "a plan's buffers", &block, error);
    if (result != STATUS_OK) {
        plan_close(*plan);
        *plan = NULL;
        return result;
    }
    (*plan)->buffers      = block;
    (*plan)->buffer_room  = 32;
    (*plan)->buffer_count = PLAN_INPUTS;
    memcpy(block, inputs, sizeof inputs);
    for (int i = 0; i < PLAN_INPUTS; i++) {
        struct plan_buffer *input = &(*plan)->buffers[i];
        input->stride             = sizeof(int32_t);
        /* one more start than sequences */
        input->bytes = sizeof(int32_t) * (size_t)(input->rows == ROWS_TOKENS ? caps->tokens : caps->sequences + 1);
    }
    return STATUS_OK;
}

void plan_close(struct plan *plan)
{
    if (!plan)
        return;
    pool_free(plan->pool, plan->nodes);
    pool_free(plan->pool, plan->buffers);
    pool_free(plan->pool, plan);
}

void plan_label(struct plan *plan, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(plan->label, sizeof plan->label, format, arguments);
    va_end(arguments);
    if (sscanf(plan->label, "layer %d", &plan->layer) != 1)
        plan->layer = -1;
}

static void fail(struct plan *p, status code, const char *sentence)
{
    if (p->failed == STATUS_OK)
        p->failed = error_set(&p->error, code, "plan: %s: %s", p->label, sentence);
}

/* Room for one more element of an array that doubles. */
static bool make_room(struct plan *p, void **array, int count, int *room, size_t size)
{
    if (count < *room)
        return true;
    int    wanted = *room ? 2 * *room : 32;
    status result = pool_resize(p->pool, MEMORY_PLAN, (size_t)wanted * size, "a plan's nodes and buffers", array, &p->error);
    if (result != STATUS_OK) {
        if (p->failed == STATUS_OK)
            p->failed = result;
        return false;
    }
    *room = wanted;
    return true;
}

/* Bytes from row to row: whole cache lines, and never a multiple of 1024, or the rows of a tile would fall into the same few
 * sets of the first-level cache. */
static size_t row_stride(size_t bytes)
{
    size_t stride = (bytes + 63) / 64 * 64;
    return stride % 1024 == 0 ? stride + 64 : stride;
}

static int add_buffer(struct plan *p, enum plan_rows rows, int width, enum dtype type)
{
    if (p->failed != STATUS_OK || !make_room(p, (void **)&p->buffers, p->buffer_count, &p->buffer_room, sizeof *p->buffers))
        return NO_BUFFER;
    size_t stride = row_stride((size_t)width * (size_t)dtype_bits(type) / 8);
    int    count  = rows == ROWS_TOKENS ? p->caps.tokens : p->caps.sequences;
    p->buffers[p->buffer_count] =
        (struct plan_buffer){ .rows = rows, .width = width, .type = type, .stride = stride, .bytes = stride * (size_t)count };
    return p->buffer_count++;
}

/* One for each row: a struct quantized_row for u8, an f32 for e4m3. */
static int add_scales(struct plan *p, enum plan_rows rows, enum dtype codes)
{
    int buffer = add_buffer(p, rows, 1, DTYPE_F32);
    if (buffer != NO_BUFFER) {
        struct plan_buffer *b = &p->buffers[buffer];
        b->row_scales         = codes == DTYPE_U8;
        b->stride             = codes == DTYPE_U8 ? sizeof(struct quantized_row) : sizeof(float);
        b->bytes = b->stride * (size_t)(rows == ROWS_TOKENS ? p->caps.tokens : p->caps.sequences);
    }
    return buffer;
}

static struct plan_node *add_node(struct plan *p, enum op op, enum plan_rows rows, const char *what)
{
    if (p->failed != STATUS_OK || !make_room(p, (void **)&p->nodes, p->node_count, &p->node_room, sizeof *p->nodes))
        return NULL;
    struct plan_node *n = &p->nodes[p->node_count++];
    *n = (struct plan_node){ .op = op, .rows = rows, .x = NO_BUFFER, .x_scales = NO_BUFFER, .residual = NO_BUFFER,
                             .y = NO_BUFFER, .copy = NO_BUFFER, .copy_scales = NO_BUFFER, .layer = p->layer };
    n->what = snprintf(n->label, sizeof n->label, "%s%s", p->label, *p->label ? " " : "");
    snprintf(n->label + n->what, sizeof n->label - (size_t)n->what, "%s", what);
    return n;
}

static plan_value last_value(const struct plan *p) { return (plan_value){ p->node_count - 1 }; }

static struct plan_node *producer(struct plan *p, plan_value x)
{
    if (p->failed != STATUS_OK)
        return NULL;
    if (x.node < 0 || x.node >= p->node_count) {
        fail(p, STATUS_INTERNAL, "a value that no node has made");
        return NULL;
    }
    return &p->nodes[x.node];
}

static int width_of(const struct plan *p, const struct plan_node *n) { return p->buffers[n->y].width; }

/* The buffer that holds x as f32. */
static int as_f32(struct plan *p, plan_value x)
{
    struct plan_node *n = producer(p, x);
    if (!n)
        return NO_BUFFER;
    if (p->buffers[n->y].type != DTYPE_F32) {
        fail(p, STATUS_INTERNAL, "the value exists in bf16 only, f32 is wanted");
        return NO_BUFFER;
    }
    return n->y;
}

/* A producer that can write its value a second time, as the reader wants it, while a row is still in the cache. */
static bool can_copy(const struct plan_node *n) { return (n->op == OP_NORM || n->op == OP_LINEAR) && n->copy == NO_BUFFER; }

/* The buffer that holds x as bf16, made by its producer or by a node of its own. */
static int as_bf16(struct plan *p, plan_value x)
{
    struct plan_node *n = producer(p, x);
    if (!n)
        return NO_BUFFER;
    if (p->buffers[n->y].type == DTYPE_BF16)
        return n->y;
    if (n->copy != NO_BUFFER && p->buffers[n->copy].type == DTYPE_BF16)
        return n->copy;
    int copy = add_buffer(p, n->rows, width_of(p, n), DTYPE_BF16);
    n        = producer(p, x);
    if (copy == NO_BUFFER || !n)
        return NO_BUFFER;
    if (can_copy(n)) {
        n->copy = copy;
        return copy;
    }
    int               source  = n->y;
    struct plan_node *convert = add_node(p, OP_CONVERT, n->rows, "to bf16");
    if (convert) {
        convert->x    = source;
        convert->copy = copy;
    }
    return copy;
}

/* The buffers that hold x quantised for `w`: codes, and scales in *scales. */
static int as_u8(struct plan *p, plan_value x, const struct linear_weight *w, int *scales)
{
    struct plan_node *n = producer(p, x);
    if (!n || as_f32(p, x) == NO_BUFFER)
        return NO_BUFFER;
    int copy    = add_buffer(p, n->rows, width_of(p, n), DTYPE_U8);
    *scales     = add_scales(p, n->rows, DTYPE_U8);
    n           = producer(p, x);
    if (!n)
        return NO_BUFFER;
    int source = n->y;
    if (!can_copy(n)) {
        n = add_node(p, OP_QUANTIZE, n->rows, "to u8");
        if (!n)
            return NO_BUFFER;
        n->x = source;
    }
    n->copy        = copy;
    n->copy_scales = *scales;
    n->copy_for    = w;
    return copy;
}

/* A producer that has whole rows at once, and so knows a row's largest element, which its scale is made of: norms do. */
static bool can_copy_e4m3(const struct plan_node *n)
{
    return can_copy(n) && (n->op == OP_NORM || (n->norm.kind != NORM_NONE && n->linear->type == DTYPE_F8_E4M3));
}

/* The buffers that hold x as e4m3: codes, and scales in *scales; made by its producer or by a node of its own. */
static int as_e4m3(struct plan *p, plan_value x, int *scales)
{
    struct plan_node *n = producer(p, x);
    if (!n)
        return NO_BUFFER;
    if (n->copy != NO_BUFFER && p->buffers[n->copy].type == DTYPE_F8_E4M3) {
        *scales = n->copy_scales;
        return n->copy;
    }
    int            source = n->y;
    enum plan_rows rows   = n->rows;
    int            codes  = add_buffer(p, rows, width_of(p, n), DTYPE_F8_E4M3);
    *scales               = add_scales(p, rows, DTYPE_F8_E4M3);
    if (!can_copy_e4m3(n)) {
        n = add_node(p, OP_QUANTIZE, rows, "to e4m3");
        if (!n)
            return NO_BUFFER;
        n->x = source;
    }
    n->copy        = codes;
    n->copy_scales = *scales;
    return codes;
}

/* The buffer that holds x in the type that a weight wants. */
static int as_input(struct plan *p, plan_value x, const struct linear_weight *w, int *scales)
{
    switch (w->type) {
    case DTYPE_F32: return as_f32(p, x);
    case DTYPE_BF16: return as_bf16(p, x);
    case DTYPE_F8_E4M3: return as_e4m3(p, x, scales);
    default: return as_u8(p, x, w, scales);
    }
}

/* Whether what lies between linears and attention is bf16. */
static bool travels_narrow(const struct plan *p) { return p->precision == DTYPE_BF16 || p->precision == DTYPE_F8_E4M3; }

plan_value op_embed(struct plan *p, const struct embed_weight *w)
{
    int               y = add_buffer(p, ROWS_TOKENS, w->width, DTYPE_F32);
    struct plan_node *n = add_node(p, OP_EMBED, ROWS_TOKENS, "embed");
    if (n) {
        n->y     = y;
        n->embed = *w;
    }
    return last_value(p);
}

plan_value op_norm(struct plan *p, plan_value x, const struct norm_weight *w)
{
    int               source = as_f32(p, x);
    struct plan_node *from   = producer(p, x);
    if (!from)
        return x;
    enum plan_rows rows = from->rows;
    if (width_of(p, from) != w->width)
        fail(p, STATUS_INTERNAL, "a norm of another width than its value");
    int               y = add_buffer(p, rows, w->width, DTYPE_F32);
    struct plan_node *n = add_node(p, OP_NORM, rows, "norm");
    if (n) {
        n->x    = source;
        n->y    = y;
        n->norm = *w;
    }
    return last_value(p);
}

static plan_value add_linear(struct plan *p, plan_value x, const struct linear_weight *w, enum linear_act act,
                             const plan_value *residual, const struct norm_weight *norm, const char *what)
{
    struct plan_node *from = producer(p, x);
    if (!from)
        return x;
    enum plan_rows rows = from->rows;
    if (width_of(p, from) != w->k)
        fail(p, STATUS_INTERNAL, "a linear of another width than its value");
    int scales = NO_BUFFER;
    int source = as_input(p, x, w, &scales);
    int added  = residual ? as_f32(p, *residual) : NO_BUFFER;
    /* Between bf16 or e4m3 weights everything travels as bf16, except what is added to later. */
    enum dtype type  = travels_narrow(p) && rows == ROWS_TOKENS && !residual ? DTYPE_BF16 : DTYPE_F32;
    int        width = act == LINEAR_SILU_GATE ? w->n / 2 : w->n;
    int        y     = add_buffer(p, rows, width, type);
    struct plan_node *n = add_node(p, OP_LINEAR, rows, what);
    if (n) {
        n->x        = source;
        n->x_scales = scales;
        n->residual = added;
        n->y        = y;
        n->linear   = w;
        n->act      = act;
        if (norm)
            n->norm = *norm;
    }
    return last_value(p);
}

plan_value op_linear(struct plan *p, plan_value x, const struct linear_weight *w, enum linear_act act)
{
    return add_linear(p, x, w, act, NULL, NULL, act == LINEAR_NONE ? "linear" : "linear+act");
}

plan_value op_linear_add(struct plan *p, plan_value x, const struct linear_weight *w, plan_value residual)
{
    return add_linear(p, x, w, LINEAR_NONE, &residual, NULL, "linear+add");
}

plan_value op_linear_add_norm(struct plan *p, plan_value x, const struct linear_weight *w, plan_value residual,
                         const struct norm_weight *norm)
{
    return add_linear(p, x, w, LINEAR_NONE, &residual, norm, "linear+add+norm");
}

plan_value op_rotary(struct plan *p, plan_value qkv, const struct rotary_weight *w, const struct attention_shape *shape)
{
    struct plan_node *from = producer(p, qkv);
    if (!from)
        return qkv;
    int               source = from->y;
    struct plan_node *n      = add_node(p, OP_ROTARY, ROWS_TOKENS, "rotary");
    if (n) {
        n->x         = source;
        n->y         = source;  /* in place, in whatever type it exists */
        n->rotary    = *w;
        n->attention = *shape;
    }
    return last_value(p);
}

plan_value op_attention(struct plan *p, plan_value qkv, const struct attention_shape *shape)
{
    struct plan_node *from = producer(p, qkv);
    if (!from)
        return qkv;
    int width = shape->heads * shape->head_size;
    if (width_of(p, from) != width + 2 * shape->kv_heads * shape->head_size)
        fail(p, STATUS_INTERNAL, "attention of another width than its value");
    int        source = travels_narrow(p) ? as_bf16(p, qkv) : as_f32(p, qkv);
    enum dtype type   = travels_narrow(p) ? DTYPE_BF16 : DTYPE_F32;
    int        y      = add_buffer(p, ROWS_TOKENS, width, type);
    struct plan_node *n = add_node(p, OP_ATTENTION, ROWS_TOKENS, "attention");
    if (n) {
        n->x           = source;
        n->y           = y;
        n->attention   = *shape;
        n->arithmetic  = p->precision == DTYPE_I8 && !shape->causal ? DTYPE_I16 : type;
        size_t scratch = attention_scratch_bytes(shape->head_size, p->caps.longest);
        if (scratch > p->scratch)
            p->scratch = (scratch + 63) / 64 * 64;
    }
    return last_value(p);
}

plan_value op_pool(struct plan *p, plan_value x, enum pool_kind kind)
{
    int source = as_f32(p, x);
    if (source == NO_BUFFER)
        return x;
    int               y = add_buffer(p, ROWS_SEQUENCES, p->buffers[source].width, DTYPE_F32);
    struct plan_node *n = add_node(p, OP_POOL, ROWS_SEQUENCES, "pool");
    if (n) {
        n->x    = source;
        n->y    = y;
        n->pool = kind;
    }
    return last_value(p);
}

plan_value op_normalize(struct plan *p, plan_value x)
{
    int               source = as_f32(p, x);
    struct plan_node *from   = producer(p, x);
    if (!from)
        return x;
    enum plan_rows rows = from->rows;
    int            y    = add_buffer(p, rows, width_of(p, from), DTYPE_F32);
    struct plan_node *n = add_node(p, OP_NORMALIZE, rows, "normalize");
    if (n) {
        n->x = source;
        n->y = y;
    }
    return last_value(p);
}

status plan_finish(struct plan *plan, plan_value result, struct error *error)
{
    int buffer = as_f32(plan, result);
    if (plan->failed == STATUS_OK && plan->buffers[buffer].rows != ROWS_SEQUENCES)
        fail(plan, STATUS_INTERNAL, "the result has no row a sequence");
    plan->result = buffer;
    status code  = plan->failed;
    if (code != STATUS_OK && error)
        *error = plan->error;
    if (code == STATUS_OK)
        code = plan_layout(plan, error);
    if (code != STATUS_OK)
        plan_close(plan);
    return code;
}

int                       plan_nodes(const struct plan *plan) { return plan->node_count; }
const struct plan_node   *plan_node(const struct plan *plan, int index) { return &plan->nodes[index]; }
int                       plan_buffers(const struct plan *plan) { return plan->buffer_count; }
const struct plan_buffer *plan_buffer(const struct plan *plan, int index) { return &plan->buffers[index]; }
const struct plan_caps   *plan_limits(const struct plan *plan) { return &plan->caps; }
int                       plan_result(const struct plan *plan) { return plan->result; }

size_t plan_arena_bytes(const struct plan *plan) { return plan->layout + plan->scratch * (size_t)plan->caps.workers; }
size_t plan_live_bytes(const struct plan *plan) { return plan->live; }
size_t plan_layout_bytes(const struct plan *plan) { return plan->layout; }
size_t plan_scratch_offset(const struct plan *plan, int worker) { return plan->layout + plan->scratch * (size_t)worker; }
size_t plan_scratch_bytes(const struct plan *plan) { return plan->scratch; }
size_t plan_own_bytes(const struct plan *plan)
{
    return sizeof *plan + (size_t)plan->node_room * sizeof *plan->nodes + (size_t)plan->buffer_room * sizeof *plan->buffers;
}

const char *op_name(enum op op)
{
    static const char *const names[OPS] = {
        "embed", "norm", "linear", "quantize", "convert", "rotary", "attention", "pool", "normalize",
    };
    return names[op];
}

struct plan_cost plan_node_cost(const struct plan *plan, int node, const struct live *live, double attention_pairs)
{
    const struct plan_node *n     = &plan->nodes[node];
    const int buffers[]           = { n->x, n->x_scales, n->residual, n->y, n->copy, n->copy_scales };
    double           rows         = n->rows == ROWS_TOKENS ? live->tokens : live->sequences;
    struct plan_cost cost         = { 0, 0 };
    for (size_t i = 0; i < sizeof buffers / sizeof *buffers; i++)
        if (buffers[i] != NO_BUFFER) {
            const struct plan_buffer *b = &plan->buffers[buffers[i]];
            cost.bytes += (double)b->stride * (b->rows == ROWS_TOKENS ? live->tokens : live->sequences);
        }
    if (n->op == OP_LINEAR) {
        cost.operations = 2.0 * rows * n->linear->n * n->linear->k;
        cost.bytes += (double)linear_weight_bytes(n->linear->type, n->linear->n, n->linear->k);
    } else if (n->op == OP_ATTENTION) {
        cost.operations = 4.0 * attention_pairs * n->attention.heads * n->attention.head_size;
    }
    return cost;
}
