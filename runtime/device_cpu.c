/* device_cpu.c: the ops of a plan on CPU kernels.
 *
 * Alone, a worker runs each node over all rows; a linear that is followed by a norm or a quantisation goes block of rows by
 * block of rows, so that the second step finds its row in the cache. In a team a node is cut by rows where there are many,
 * else by columns, and then the second step is a phase of its own.
 */
#include "runtime/device.h"

#include "kernels/kernels.h"

#include <math.h>
#include <string.h>

enum {
    ROW_BLOCK   = 56,  /* rows between a linear and what follows it: four of the widest tiles */
    TEAM_ROWS   = 28,  /* rows that make a part worth taking; from four of them on a linear is cut by rows */
    PARTS_EACH  = 3,   /* parts for each worker where columns or heads are cut: small enough to even out */
    PACK_LEAST  = 64,  /* tokens */
    PACK_MOST   = 256, /* their activations still lie in the second-level cache while the weights pass by once for all of them */
    PACK_TEXTS  = 64
};

static const struct kernels *kernels_of(const struct device *device) { return device->backend; }

static int live_rows(const struct run *run, const struct plan_node *node)
{
    return node->rows == ROWS_TOKENS ? run->live.tokens : run->live.sequences;
}

static bool has_second_step(const struct plan_node *node)
{
    return node->op == OP_LINEAR && (node->norm.kind != NORM_NONE || node->copy != NO_BUFFER);
}

static bool cut_by_rows(const struct plan_node *node, int rows)
{
    return node->op != OP_LINEAR || rows >= 4 * TEAM_ROWS;
}

static int even(int parts) { return (parts + 1) / 2 * 2; }

/* Sequences are cut from each other first, then heads within them. */
static int head_groups(const struct run *run, const struct plan_node *node, int workers)
{
    int wanted = workers == 1 ? 1 : (workers * PARTS_EACH + run->live.sequences - 1) / run->live.sequences;
    return wanted < node->attention.heads ? wanted : node->attention.heads;
}

static struct division divide(const struct device *device, const struct run *run, const struct plan_node *node, int workers)
{
    (void)device;
    int             rows     = live_rows(run, node);
    struct division division = { 1, { 1, 1 } };
    if (node->op == OP_ATTENTION) {
        division.parts[0] = run->live.sequences * head_groups(run, node, workers);
    } else if (workers > 1 && cut_by_rows(node, rows)) {
        division.parts[0] = rows < 2 * workers ? 1 : rows < 2 * TEAM_ROWS ? workers : even((rows + TEAM_ROWS - 1) / TEAM_ROWS);
    } else if (workers > 1) {
        int pairs         = (linear_panels(node->linear->n) + 1) / 2;  /* tiles are two panels wide */
        division.parts[0] = pairs < workers * PARTS_EACH ? pairs : workers * PARTS_EACH;
        if (division.parts[0] > 1 && has_second_step(node)) {  /* an undivided linear takes the second step itself */
            division.phases   = 2;
            division.parts[1] = rows < 2 * workers ? 1 : workers;
        }
    }
    return division;
}

static int part_start(int count, int part, int parts) { return (int)((long long)count * part / parts); }

static void embed(const struct device *device, const struct run *run, const struct plan_node *node, int phase, int part,
                  int parts, int worker)
{
    (void)phase, (void)worker;
    struct embed_args args = { .words = node->embed.words, .positions = node->embed.positions, .types = node->embed.types,
                               .table_type = node->embed.type, .width = node->embed.width,
                               .ids = run_buffer(run, PLAN_IDS), .position_ids = run_buffer(run, PLAN_POSITIONS),
                               .y = run_buffer(run, node->y), .y_stride = run_stride(run, node->y) };
    int rows = live_rows(run, node);
    kernels_of(device)->embed_rows(&args, part_start(rows, part, parts), part_start(rows, part + 1, parts));
}

/* The norm of `x` into the node's value, with the copy that is wanted. */
static void run_norm(const struct device *device, const struct run *run, const struct plan_node *node, int x, int row0, int row1)
{
    struct norm_args args = { .x = run_buffer(run, x), .x_stride = run_stride(run, x), .weight = node->norm.weight,
                              .bias = node->norm.bias, .width = node->norm.width, .epsilon = node->norm.epsilon,
                              .y = run_buffer(run, node->y), .y_stride = run_stride(run, node->y),
                              .copy = run_buffer(run, node->copy), .copy_stride = run_stride(run, node->copy),
                              .copy_type = node->copy == NO_BUFFER ? DTYPE_F32 : plan_buffer(run->plan, node->copy)->type,
                              .copy_for = node->copy_for, .copy_rows = run_buffer(run, node->copy_scales) };
    (node->norm.kind == NORM_LAYER ? kernels_of(device)->norm_layer : kernels_of(device)->norm_rms)(&args, row0, row1);
}

static void norm(const struct device *device, const struct run *run, const struct plan_node *node, int phase, int part,
                 int parts, int worker)
{
    (void)phase, (void)worker;
    int rows = live_rows(run, node);
    run_norm(device, run, node, node->x, part_start(rows, part, parts), part_start(rows, part + 1, parts));
}

/* The second form of `x`, which is `width` wide, into the node's copy. */
static void run_copy(const struct device *device, const struct run *run, const struct plan_node *node, int x, int row0, int row1)
{
    int width = plan_buffer(run->plan, x)->width;
    if (plan_buffer(run->plan, node->copy)->type == DTYPE_BF16) {
        struct convert_args args = { .x = run_buffer(run, x), .x_stride = run_stride(run, x), .y = run_buffer(run, node->copy),
                                     .y_stride = run_stride(run, node->copy), .width = width };
        kernels_of(device)->convert_bf16(&args, row0, row1);
    } else {
        struct quantize_args args = { .x = run_buffer(run, x), .x_stride = run_stride(run, x), .weight = node->copy_for,
                                      .y = run_buffer(run, node->copy), .y_stride = run_stride(run, node->copy),
                                      .rows = run_buffer(run, node->copy_scales), .width = width };
        kernels_of(device)->quantize_rows(&args, row0, row1);
    }
}

static void copy(const struct device *device, const struct run *run, const struct plan_node *node, int phase, int part,
                 int parts, int worker)
{
    (void)phase, (void)worker;
    int rows = live_rows(run, node);
    run_copy(device, run, node, node->x, part_start(rows, part, parts), part_start(rows, part + 1, parts));
}

static void run_linear(const struct device *device, const struct run *run, const struct plan_node *node, int row0, int row1,
                       int panel0, int panel1)
{
    const struct kernels *k    = kernels_of(device);
    struct linear_args    args = { .weight = node->linear, .x = run_buffer(run, node->x), .x_stride = run_stride(run, node->x),
                                   .x_rows = run_buffer(run, node->x_scales), .act = node->act,
                                   .residual = run_buffer(run, node->residual), .residual_stride = run_stride(run, node->residual),
                                   .y = run_buffer(run, node->y), .y_stride = run_stride(run, node->y),
                                   .y_type = plan_buffer(run->plan, node->y)->type };
    enum dtype type = node->linear->type;
    (type == DTYPE_F32 ? k->linear_f32 : type == DTYPE_BF16 ? k->linear_bf16 : k->linear_u8s8)(&args, row0, row1, panel0, panel1);
}

static void run_second_step(const struct device *device, const struct run *run, const struct plan_node *node, int row0, int row1)
{
    if (node->norm.kind != NORM_NONE)
        run_norm(device, run, node, node->y, row0, row1);
    else
        run_copy(device, run, node, node->y, row0, row1);
}

static void linear(const struct device *device, const struct run *run, const struct plan_node *node, int phase, int part,
                   int parts, int worker)
{
    (void)worker;
    int rows = live_rows(run, node), panels = linear_panels(node->linear->n);
    if (phase == 1) {
        run_second_step(device, run, node, part_start(rows, part, parts), part_start(rows, part + 1, parts));
        return;
    }
    if (parts > 1 && !cut_by_rows(node, rows)) {
        int pairs = (panels + 1) / 2, last = 2 * part_start(pairs, part + 1, parts);
        run_linear(device, run, node, 0, rows, 2 * part_start(pairs, part, parts), last < panels ? last : panels);
        return;
    }
    int row0 = part_start(rows, part, parts), row1 = part_start(rows, part + 1, parts);
    if (!has_second_step(node)) {
        run_linear(device, run, node, row0, row1, 0, panels);
        return;
    }
    int blocks = (row1 - row0 + ROW_BLOCK - 1) / ROW_BLOCK;
    for (int i = 0; i < blocks; i++) {
        int from = row0 + part_start(row1 - row0, i, blocks), to = row0 + part_start(row1 - row0, i + 1, blocks);
        run_linear(device, run, node, from, to, 0, panels);
        run_second_step(device, run, node, from, to);
    }
}

static void rotary(const struct device *device, const struct run *run, const struct plan_node *node, int phase, int part,
                   int parts, int worker)
{
    (void)phase, (void)worker;
    const struct attention_shape *shape = &node->attention;
    struct rotary_args args = { .x = run_buffer(run, node->x), .type = plan_buffer(run->plan, node->x)->type,
                                .x_stride = run_stride(run, node->x),
                                .heads = shape->heads + shape->kv_heads, .head_size = shape->head_size,
                                .position_ids = run_buffer(run, PLAN_POSITIONS), .cosines = node->rotary.cosines,
                                .sines = node->rotary.sines };  /* queries and keys lie side by side */
    int rows = live_rows(run, node);
    kernels_of(device)->rotary_half(&args, part_start(rows, part, parts), part_start(rows, part + 1, parts));
}

static void attention(const struct device *device, const struct run *run, const struct plan_node *node, int phase, int part,
                      int parts, int worker)
{
    (void)phase;
    const struct attention_shape *shape  = &node->attention;
    const struct plan_buffer     *x      = plan_buffer(run->plan, node->x);
    const char                   *q      = run_buffer(run, node->x);
    size_t                        element = (size_t)dtype_bits(x->type) / 8;
    size_t                        head    = (size_t)shape->head_size * element;
    struct attention_args args = { .q = q, .k = q + head * (size_t)shape->heads,
                                   .v = q + head * (size_t)(shape->heads + shape->kv_heads), .q_stride = x->stride,
                                   .k_stride = x->stride, .v_stride = x->stride, .type = x->type, .heads = shape->heads,
                                   .kv_heads = shape->kv_heads, .head_size = shape->head_size,
                                   .scale = 1.0f / sqrtf((float)shape->head_size), .causal = shape->causal,
                                   .starts = run_buffer(run, PLAN_STARTS), .y = run_buffer(run, node->y),
                                   .y_stride = run_stride(run, node->y), .y_type = plan_buffer(run->plan, node->y)->type };
    int   groups  = parts / run->live.sequences, group = part % groups;
    void *scratch = run->arena + plan_scratch_offset(run->plan, worker);
    const struct kernels *k = kernels_of(device);
    attention_kernel *kernel = node->arithmetic == DTYPE_BF16  ? k->attention_bf16
                               : node->arithmetic == DTYPE_I16 ? k->attention_s16
                                                               : k->attention_f32;
    kernel(&args, part / groups, part_start(shape->heads, group, groups), part_start(shape->heads, group + 1, groups), scratch);
}

static void pool(const struct device *device, const struct run *run, const struct plan_node *node, int phase, int part,
                 int parts, int worker)
{
    (void)phase, (void)worker;
    const struct kernels *k    = kernels_of(device);
    struct pool_args      args = { .x = run_buffer(run, node->x), .x_stride = run_stride(run, node->x),
                                   .width = plan_buffer(run->plan, node->x)->width, .starts = run_buffer(run, PLAN_STARTS),
                                   .y = run_buffer(run, node->y), .y_stride = run_stride(run, node->y) };
    int                   rows = live_rows(run, node);
    (node->pool == POOL_MEAN ? k->pool_mean : node->pool == POOL_FIRST ? k->pool_first : k->pool_last)(
        &args, part_start(rows, part, parts), part_start(rows, part + 1, parts));
}

static void normalize(const struct device *device, const struct run *run, const struct plan_node *node, int phase, int part,
                      int parts, int worker)
{
    (void)phase, (void)worker;
    struct normalize_args args = { .x = run_buffer(run, node->x), .x_stride = run_stride(run, node->x),
                                   .width = plan_buffer(run->plan, node->y)->width, .y = run_buffer(run, node->y),
                                   .y_stride = run_stride(run, node->y) };
    int rows = live_rows(run, node);
    kernels_of(device)->normalize_l2(&args, part_start(rows, part, parts), part_start(rows, part + 1, parts));
}

/* The lowest set first, as kernels_built lists them. */
static bool machine_runs(const struct machine *machine, const struct kernels *kernels)
{
    if (kernels == &kernels_ref)
        return true;
#if defined(__x86_64__)
    return (kernels == &kernels_avx2 && machine->avx2) || (kernels == &kernels_avx512 && machine->avx512) ||
           (kernels == &kernels_avx512vnni && machine->avx512_vnni) || (kernels == &kernels_avx512bf16 && machine->avx512_bf16);
#else
    return machine->neon;
#endif
}

status device_cpu(struct device *device, const struct machine *machine, const char *variant, struct error *error)
{
    int                          count;
    const struct kernels *const *built = kernels_built(&count);
    const struct kernels        *found = NULL;
    for (int i = 0; i < count; i++)
        if (machine_runs(machine, built[i]) && (!*variant || strcmp(variant, built[i]->name) == 0))
            found = built[i];
    if (!found)
        return error_set(error, STATUS_DEVICE, "no kernels named '%s' that this CPU (%s) can run", variant, machine->cpu_name);
    *device = (struct device){
        .name    = "cpu",
        .variant = found->name,
        .memory  = vmem_host(),
        .backend = (void *)(uintptr_t)found,
        .limits  = { .least = PACK_LEAST, .most = PACK_MOST, .texts = PACK_TEXTS },
        .divide  = divide,
        .ops     = { [OP_EMBED] = embed, [OP_NORM] = norm, [OP_LINEAR] = linear, [OP_QUANTIZE] = copy, [OP_CONVERT] = copy,
                     [OP_ROTARY] = rotary, [OP_ATTENTION] = attention, [OP_POOL] = pool, [OP_NORMALIZE] = normalize },
    };
    return STATUS_OK;
}

bool device_has_fast_bf16(const struct device *device)
{
#if defined(__x86_64__)
    return device->backend == &kernels_avx512bf16;
#else
    (void)device;
    return false;
#endif
}
