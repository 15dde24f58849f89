/* plan.h: a forward pass, traced once, laid out in one arena, run many times.
 *
 * A model calls the op_ functions in the order in which one would explain it; nothing is computed, nodes are recorded. Rows
 * are counted by caps (so many tokens, so many sequences); a run has its live counts below them, so one plan serves every
 * mix of lengths. plan_finish computes each buffer's lifetime and place. The plan is then immutable and may be run by any
 * number of threads at once, each in an arena of its own.
 *
 * Precision is the plan's business: a model asks for a linear of a value, and the plan sees to it that the value exists in
 * the type that the weight wants, fused into its producer where that is possible.
 */
#ifndef RECTO_RUNTIME_PLAN_H
#define RECTO_RUNTIME_PLAN_H

#include "kernels/dtype.h"
#include "kernels/linear/linear.h"
#include "runtime/pool.h"

#include <stdbool.h>

struct plan;

enum op { OP_EMBED, OP_NORM, OP_LINEAR, OP_QUANTIZE, OP_CONVERT, OP_ROTARY, OP_ATTENTION, OP_POOL, OP_NORMALIZE, OPS };
enum plan_rows { ROWS_TOKENS, ROWS_SEQUENCES };
enum norm_kind { NORM_NONE, NORM_LAYER, NORM_RMS };
enum pool_kind { POOL_MEAN, POOL_FIRST, POOL_LAST };

struct norm_weight {
    enum norm_kind kind;
    int            width;
    float          epsilon;
    const float   *weight;  /* [width] */
    const float   *bias;    /* [width]; null for NORM_RMS */
};

struct embed_weight {
    int         width;
    enum dtype  type;       /* DTYPE_F32 or DTYPE_BF16 */
    const void *words;      /* [vocabulary, width] */
    const void *positions;  /* [positions, width] or null */
    const void *types;      /* [1, width] or null */
};

struct rotary_weight {
    const float *cosines, *sines;  /* [positions, head_size / 2] */
};

struct attention_shape {
    int  heads, kv_heads, head_size;
    bool causal;
};

/* A result of a node. Values of a plan that has failed may be passed on: the first error is kept for plan_finish. */
typedef struct plan_value {
    int node;
} plan_value;

struct plan_caps {
    int tokens;     /* rows of all sequences together */
    int sequences;
    int longest;    /* tokens of one sequence */
    int workers;    /* threads that may share one run */
};

/* precision: of the network's linears, DTYPE_F32, DTYPE_BF16, DTYPE_I8 or DTYPE_F8_E4M3. */
MUST_CHECK status plan_begin(struct plan **plan, struct pool *pool, const struct plan_caps *caps, enum dtype precision,
                             struct error *error);
/* Lifetimes and layout. The plan is closed on failure. */
MUST_CHECK status plan_finish(struct plan *plan, plan_value result, struct error *error);
void plan_close(struct plan *plan);

/* The name that the following nodes are shown with; the text is copied. "layer %d" makes them nodes of that layer. */
void plan_label(struct plan *plan, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The op list. x: [rows, width]; each comment says what comes out. */
plan_value op_embed(struct plan *p, const struct embed_weight *w);                                 /* [tokens, width] */
plan_value op_norm(struct plan *p, plan_value x, const struct norm_weight *w);                          /* [rows, width] */
plan_value op_linear(struct plan *p, plan_value x, const struct linear_weight *w, enum linear_act act); /* [rows, n] */
plan_value op_linear_add(struct plan *p, plan_value x, const struct linear_weight *w, plan_value residual);  /* [rows, n] */
plan_value op_linear_add_norm(struct plan *p, plan_value x, const struct linear_weight *w, plan_value residual,
                         const struct norm_weight *norm);                                     /* [rows, n] */
plan_value op_rotary(struct plan *p, plan_value qkv, const struct rotary_weight *w, const struct attention_shape *shape);
plan_value op_attention(struct plan *p, plan_value qkv, const struct attention_shape *shape);  /* [tokens, heads * head_size] */
plan_value op_pool(struct plan *p, plan_value x, enum pool_kind kind);                                  /* [sequences, width] */
plan_value op_normalize(struct plan *p, plan_value x);                                                  /* [rows, width] */

/* What a finished plan is made of: read by devices, printers and tests. */
struct plan_buffer {
    enum plan_rows rows;
    int            width;
    enum dtype     type;         /* of an element; quantised_rows below instead */
    bool           row_scales;   /* holds one struct quantized_row a row; the scales of e4m3 are rows of one f32 */
    size_t         stride;       /* bytes from row to row */
    size_t         bytes;        /* at the caps */
    size_t         offset;       /* in the arena */
    int            first, last;  /* nodes that write it first and read it last */
};

enum { NO_BUFFER = -1 };

struct plan_node {
    enum op        op;
    char           label[48];
    int            layer;      /* that the label begins with; -1: it names none */
    int            what;       /* where in the label the node's own name begins */
    enum plan_rows rows;
    int            x;          /* buffer read */
    int            x_scales;   /* its row scales, for u8 and e4m3 */
    int            residual;   /* buffer added */
    int            y;          /* buffer written: the value itself */
    int            copy;       /* the value again in the type that its reader wants: bf16, u8 or e4m3 */
    int            copy_scales;
    enum linear_act              act;
    struct norm_weight           norm;        /* OP_NORM, or after OP_LINEAR */
    const struct linear_weight  *linear;
    const struct linear_weight  *copy_for;    /* the weight that a u8 copy is quantised for */
    struct embed_weight          embed;
    struct rotary_weight         rotary;
    struct attention_shape       attention;
    enum dtype                   arithmetic;  /* OP_ATTENTION: DTYPE_F32, DTYPE_BF16, or DTYPE_I16 between s8 weights */
    enum pool_kind               pool;
};

int                       plan_nodes(const struct plan *plan);
const struct plan_node   *plan_node(const struct plan *plan, int index);
int                       plan_buffers(const struct plan *plan);
const struct plan_buffer *plan_buffer(const struct plan *plan, int index);
const struct plan_caps   *plan_limits(const struct plan *plan);
int                       plan_result(const struct plan *plan);   /* the buffer of [sequences, width] f32 */

/* Buffers that the host fills before a run. */
enum { PLAN_IDS, PLAN_POSITIONS, PLAN_STARTS, PLAN_INPUTS };

size_t plan_arena_bytes(const struct plan *plan);     /* all of it: buffers and each worker's scratch */
size_t plan_live_bytes(const struct plan *plan);      /* the largest set of buffers alive at one node */
size_t plan_layout_bytes(const struct plan *plan);    /* what the layout made of it */
size_t plan_scratch_offset(const struct plan *plan, int worker);
size_t plan_scratch_bytes(const struct plan *plan);   /* of one worker */
size_t plan_own_bytes(const struct plan *plan);       /* of the plan itself */

/* Floating-point or integer operations, and bytes moved at least once, of a node for these live counts. */
struct live {
    int tokens, sequences;
};
struct plan_cost {
    double operations, bytes;
};
struct plan_cost plan_node_cost(const struct plan *plan, int node, const struct live *live, double attention_pairs);

const char *op_name(enum op op);

#endif
