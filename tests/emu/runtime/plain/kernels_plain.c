/* kernels_plain.c: the table of launchers with the CPU's kernels behind it, so that the whole host side of the CUDA device can be
 * held, bit for bit, against the CPU device in bf16. Rows beyond the live ones are left poisoned. */
#include "kernels/bf16.h"
#include "kernels/cuda/kernels_cuda.h"
#include "kernels/kernels.h"
#include "tests/emu/emu.h"
#include "tests/emu/runtime/plain/kernels_plain.h"

#include <string.h>

struct plain_settings plain_settings;

/* The fastest that this machine runs; all have the same bits. */
static const struct kernels *cpu(void)
{
    static const struct kernels *chosen;
    int                          count;
    const struct kernels *const *built = kernels_built(&count);
    for (int i = 0; i < count && !chosen; i++)
        if (kernels_runnable(built[count - 1 - i]))
            chosen = built[count - 1 - i];
    return chosen;
}

/* The one argument of every kernel. */
struct call {
    const struct cuda_live *live;
    enum cuda_rows          rows;
    struct linear_weight    weight;  /* its own copy: the host's may be gone when the kernel runs */
    struct norm_args        norm;    /* of a linear with a norm */
    union {
        struct embed_args     embed;
        struct norm_args      norm;
        struct linear_args    linear;
        struct convert_args   convert;
        struct rotary_args    rotary;
        struct attention_args attention;
        struct pool_args      pool;
        struct normalize_args normalize;
    } args;
};

typedef void plain_kernel(struct call *call);

static const size_t call_bytes[] = { sizeof(struct call) };

static void invoke(const void *kernel, void *const *args)
{
    plain_kernel *run;
    memcpy(&run, &kernel, sizeof run);
    run(args[0]);
}

static void tell(const struct cuda_launch *how, const char *name)
{
    const struct cuda_cost cost = { name, 1, 0 };
    if (how->profile)
        how->profile(how->profile_context, &cost);
    if (plain_settings.meanwhile)
        plain_settings.meanwhile();
}

static cudaError_t launch(const struct cuda_launch *how, plain_kernel *kernel, const char *name, struct call *call)
{
    const void        *function;
    cudaLaunchConfig_t config = { .gridDim = { 1, 1, 1 }, .blockDim = { 32, 1, 1 }, .stream = how->stream };
    void              *list[] = { call };
    memcpy(&function, &kernel, sizeof function);
    emu_kernel_add(function, name, invoke, call_bytes, 1, 0);
    call->live = how->live;
    call->rows = how->rows;
    tell(how, name);
    return plain_settings.refuse && strcmp(name, plain_settings.refuse) == 0 ? cudaErrorNotSupported
                                                                             : cudaLaunchKernelExC(&config, function, list);
}

static int rows_of(const struct call *call)
{
    return call->rows == CUDA_ROWS_TOKENS ? call->live->tokens : call->live->sequences;
}

/* A launcher, and the kernel behind it that runs `statement` on `call`. */
#define PLAIN(op, kind, field, statement)                                                            \
    static void op##_kernel(struct call *call)                                                       \
    {                                                                                                \
        statement;                                                                                   \
    }                                                                                                \
    static cudaError_t op(const struct cuda_launch *how, const struct kind *args)                    \
    {                                                                                                \
        struct call call = { .args.field = *args };                                                  \
        return launch(how, op##_kernel, #op, &call);                                                 \
    }

PLAIN(embed_rows, embed_args, embed, cpu()->embed_rows(&call->args.embed, 0, rows_of(call)))
PLAIN(norm_layer, norm_args, norm, cpu()->norm_layer(&call->args.norm, 0, rows_of(call)))
PLAIN(norm_rms, norm_args, norm, cpu()->norm_rms(&call->args.norm, 0, rows_of(call)))
PLAIN(convert_bf16, convert_args, convert, cpu()->convert_bf16(&call->args.convert, 0, rows_of(call)))
PLAIN(rotary_half, rotary_args, rotary, cpu()->rotary_half(&call->args.rotary, 0, rows_of(call)))
PLAIN(pool_mean, pool_args, pool, cpu()->pool_mean(&call->args.pool, 0, rows_of(call)))
PLAIN(pool_first, pool_args, pool, cpu()->pool_first(&call->args.pool, 0, rows_of(call)))
PLAIN(pool_last, pool_args, pool, cpu()->pool_last(&call->args.pool, 0, rows_of(call)))
PLAIN(normalize_l2, normalize_args, normalize, cpu()->normalize_l2(&call->args.normalize, 0, rows_of(call)))

/* ---- Linears: rows of weights are turned into panels, a pair at a time ---- */

enum { PAIR = 2 * LINEAR_PANEL, MOST_K = 4096 };

static void take_panels(const struct linear_weight *w, int first, float *panels)
{
    const size_t stride = kernels_cuda_weight_stride(w->type, w->k);
    const int    step   = w->type == DTYPE_BF16 ? 2 : 1;
    for (int n = 0; n < PAIR && first + n < linear_padded(w->n); n++) {
        const char *row   = (const char *)w->panels + stride * (size_t)(first + n);
        int         panel = n / LINEAR_PANEL * LINEAR_PANEL * w->k, lane = n % LINEAR_PANEL;
        for (int k = 0; k < w->k; k++) {
            int at = panel + (k / step * LINEAR_PANEL + lane) * step + k % step;
            if (w->type == DTYPE_BF16)
                ((uint16_t *)(void *)panels)[at] = ((const uint16_t *)(const void *)row)[k];
            else
                panels[at] = ((const float *)(const void *)row)[k];
        }
    }
}

static void linear_kernel_of(struct call *call, linear_kernel *linear)
{
    static _Alignas(64) float  panels[PAIR * MOST_K];
    const struct linear_args   all  = call->args.linear;
    const struct linear_weight from = call->weight;
    for (int first = 0; first < from.n; first += PAIR) {
        const size_t         written = (size_t)(all.act == LINEAR_SILU_GATE ? first / 2 : first);
        struct linear_weight some    = from;
        struct linear_args   args    = all;
        take_panels(&from, first, panels);
        some.n      = from.n - first < PAIR ? from.n - first : PAIR;
        some.panels = panels;
        some.bias   = from.bias + first;
        args.weight = &some;
        args.y      = (char *)all.y + written * (size_t)dtype_bits(all.y_type) / 8;
        if (all.residual)
            args.residual = all.residual + written;
        linear(&args, 0, rows_of(call), 0, linear_panels(some.n));
    }
}

static void linear_bf16_kernel(struct call *call) { linear_kernel_of(call, cpu()->linear_bf16); }
static void linear_f32_kernel(struct call *call) { linear_kernel_of(call, cpu()->linear_f32); }

static cudaError_t launch_linear(const struct cuda_launch *how, const struct linear_args *args, plain_kernel *kernel,
                                 const char *name)
{
    struct call call = { .args.linear = *args, .weight = *args->weight };
    return args->weight->k > MOST_K ? cudaErrorNotSupported : launch(how, kernel, name, &call);
}

static cudaError_t linear_bf16(const struct cuda_launch *how, const struct linear_args *args)
{
    return launch_linear(how, args, linear_bf16_kernel, "linear_bf16");
}

/* In one launch, as on Hopper; the sum stands in y before the norm does. */
static bool linear_norm_fits(const struct cuda_facts *facts, const struct linear_weight *weight, enum linear_act act)
{
    return facts->architecture == 90 && weight->type == DTYPE_BF16 && act == LINEAR_NONE;
}

static void linear_norm_kernel(struct call *call)
{
    call->args.linear.y        = call->norm.y;
    call->args.linear.y_stride = call->norm.y_stride;
    call->norm.x               = call->norm.y;
    call->norm.x_stride        = call->norm.y_stride;
    linear_bf16_kernel(call);
    norm_layer_ref(&call->norm, 0, rows_of(call));
}

static cudaError_t linear_norm_bf16(const struct cuda_launch *how, const struct linear_norm_args *args)
{
    struct call call = { .args.linear = args->linear, .weight = *args->linear.weight, .norm = args->norm };
    return args->rms || !args->norm.y || args->linear.y || args->linear.weight->k > MOST_K
               ? cudaErrorNotSupported
               : launch(how, linear_norm_kernel, "linear_norm_bf16", &call);
}

static cudaError_t linear_f32(const struct cuda_launch *how, const struct linear_args *args)
{
    return launch_linear(how, args, linear_f32_kernel, "linear_f32");
}

/* ---- Attention: the schedule is the counts that it was made for ---- */

size_t attention_schedule_bytes(int tokens, int sequences)
{
    (void)tokens, (void)sequences;
    return sizeof(struct cuda_live);
}

struct attention_call {
    struct call       call;
    struct cuda_live *schedule;
};

static const size_t attention_call_bytes[] = { sizeof(struct attention_call) };

static void schedule_kernel(const struct attention_call *call) { *call->schedule = *call->call.live; }

/* Scratch for every head size, and sequences of any length. */
static void attend(const struct attention_call *call, attention_kernel *attention)
{
    static _Alignas(64) char scratch[8 << 20];
    const struct attention_args *args = &call->call.args.attention;
    if (attention_scratch_bytes(args->head_size, call->schedule->tokens) > sizeof scratch)
        return;
    for (int sequence = 0; sequence < call->schedule->sequences; sequence++)
        attention(args, sequence, 0, args->heads, scratch);
}

static void attention_kernel_bf16(const struct attention_call *call) { attend(call, cpu()->attention_bf16); }
static void attention_kernel_f32(const struct attention_call *call) { attend(call, cpu()->attention_f32); }

typedef void attention_plain(const struct attention_call *call);

static void invoke_attention(const void *kernel, void *const *args)
{
    attention_plain *run;
    memcpy(&run, &kernel, sizeof run);
    run(args[0]);
}

static cudaError_t launch_attention(const struct cuda_launch *how, const struct attention_args *args, void *schedule,
                                    attention_plain *kernel, const char *name)
{
    struct attention_call call   = { .call = { .live = how->live, .args.attention = *args }, .schedule = schedule };
    cudaLaunchConfig_t    config = { .gridDim = { 1, 1, 1 }, .blockDim = { 32, 1, 1 }, .stream = how->stream };
    void                 *list[] = { &call };
    const void           *function;
    memcpy(&function, &kernel, sizeof function);
    emu_kernel_add(function, name, invoke_attention, attention_call_bytes, 1, 0);
    tell(how, name);
    return cudaLaunchKernelExC(&config, function, list);
}

static cudaError_t attention_schedule(const struct cuda_launch *how, const struct attention_args *args, void *schedule)
{
    return launch_attention(how, args, schedule, schedule_kernel, "attention_schedule");
}

static cudaError_t attention_bf16(const struct cuda_launch *how, const struct attention_args *args, void *schedule)
{
    return launch_attention(how, args, schedule, attention_kernel_bf16, "attention_bf16");
}

static cudaError_t attention_f32(const struct cuda_launch *how, const struct attention_args *args, void *schedule)
{
    return launch_attention(how, args, schedule, attention_kernel_f32, "attention_f32");
}

const struct cuda_kernels *kernels_cuda(const struct cuda_facts *facts)
{
    static const struct cuda_kernels table = {
        .name = "plain", .embed_rows = embed_rows, .norm_layer = norm_layer, .norm_rms = norm_rms, .linear_bf16 = linear_bf16,
        .linear_f32 = linear_f32, .linear_norm = linear_norm_bf16, .linear_norm_fits = linear_norm_fits,
        .convert_bf16 = convert_bf16, .rotary_half = rotary_half, .attention_schedule = attention_schedule,
        .attention_bf16 = attention_bf16, .attention_f32 = attention_f32, .pool_mean = pool_mean,
        .pool_first = pool_first, .pool_last = pool_last, .normalize_l2 = normalize_l2,
    };
    return facts->architecture >= 80 ? &table : NULL;
}
