/* Attention over packed batches: as many sequences as fit into a number of tokens. */
#include "profiling/gpu/bench_kernels.h"

#include <math.h>
#include <stdio.h>

enum { MOST_TOKENS = 16384, QUICK_TOKENS = 160, QUICK_PART = 4, LEAST_LENGTH = 16 };

struct attention_case {
    struct cuda_launch    launch;
    struct attention_args args;
    void                 *schedule;
};

static cudaError_t run_attention(const struct bench_device *device, void *context)
{
    struct attention_case *work   = context;
    const bool             in_f32 = work->args.type == DTYPE_F32;
    return (in_f32 ? device->kernels->attention_f32 : device->kernels->attention_bf16)(&work->launch, &work->args, work->schedule);
}

/* So many sequences, one after another. */
struct packing {
    int     tokens, sequences, longest;
    double  pairs;  /* of a query and a key, all sequences together */
    int32_t starts[MOST_TOKENS / LEAST_LENGTH + 1];
};

/* As many sequences as fit; of one length, or for 0 of 16 to 128 tokens, as peers.py has them too. */
static struct packing pack(int tokens, int length)
{
    struct packing p = { .tokens = 0 };
    for (;;) {
        const int next = length ? length : LEAST_LENGTH + p.sequences * 37 % 113;
        if (p.tokens + next > tokens)
            return p;
        p.tokens += next;
        p.pairs += (double)next * next;
        p.longest               = next > p.longest ? next : p.longest;
        p.starts[++p.sequences] = p.tokens;
    }
}

struct heads {
    int  heads, kv_heads, size;
    bool causal;
};

static void bench_attention(struct bench *bench, enum dtype type, int length, const struct heads *h)
{
    const struct packing  p      = pack(bench->quick ? QUICK_TOKENS : MOST_TOKENS, length);
    const int             width  = (h->heads + 2 * h->kv_heads) * h->size;
    const size_t          count  = (size_t)p.tokens * (size_t)(h->heads * h->size), head = (size_t)(h->size * dtype_bits(type) / 8);
    const size_t          keys   = (size_t)h->heads * head, values = keys + (size_t)h->kv_heads * head;
    const size_t          stride = values + (size_t)h->kv_heads * head;
    char                 *qkv    = bench_random(type, (size_t)p.tokens * (size_t)width, 2);
    void                 *y      = bench_memory((size_t)p.tokens * keys);
    int32_t              *starts = bench_copy(p.starts, (size_t)(p.sequences + 1) * sizeof *p.starts);
    struct attention_case work   = {
          .launch   = bench_whole(bench, p.tokens, p.sequences, p.longest),
          .args     = { .q = qkv, .k = qkv + keys, .v = qkv + values, .q_stride = stride, .k_stride = stride, .v_stride = stride,
                        .type = type, .heads = h->heads, .kv_heads = h->kv_heads, .head_size = h->size,
                        .scale = 1 / sqrtf((float)h->size), .causal = h->causal, .starts = starts, .y = y, .y_stride = keys,
                        .y_type = type },
          .schedule = bench_memory(attention_schedule_bytes(p.tokens, p.sequences)),
    };
    bench_check(bench->device.kernels->attention_schedule(&work.launch, &work.args, work.schedule), "scheduling attention");
    snprintf(bench->shape, sizeof bench->shape, "%d sequences of %s%d, %d heads of %d, %d of keys%s", p.sequences,
             length ? "" : "16 to ", p.longest, h->heads, h->size, h->kv_heads, h->causal ? ", causal" : "");
    bench->row = (struct bench_row){ .kernel = type == DTYPE_F32 ? "attention f32" : "attention", .shape = bench->shape,
                                     .on_cores = type == DTYPE_F32 };
    bench_time(bench, &work.launch, run_attention, &work);
    const struct bench_sample sample = bench_sample(y, type, count);
    bench->row.sample                = &sample;
    /* What these lengths cost; the launcher only knows the caps. */
    bench->row.operations = 4.0 * p.pairs * h->heads * h->size * (h->causal ? 0.5 : 1);
    bench_print(&bench->device, &bench->row);
    bench_free(starts);
    bench_free(work.schedule);
    bench_free(qkv);
    bench_free(y);
}

/* Small: of mixed lengths alone, and a part of the heads. */
static void bench_heads(struct bench *bench, enum dtype type, int length, const struct heads *h)
{
    struct heads few = *h;
    few.heads /= QUICK_PART;
    few.kv_heads /= QUICK_PART;
    if (!bench->quick)
        bench_attention(bench, type, length, h);
    else if (length == 0)
        bench_attention(bench, type, length, &few);
}

/* Those of encoders at every length; the others, of vision models and larger decoders, and f32 at three. peers.py has the same, but
 * for f32. */
void bench_attentions(struct bench *bench)
{
    static const int          lengths[] = { 16, 32, 64, 128, 0, 256, 512, 1024, 4096 };
    static const struct heads encoders[] = { { 12, 12, 32, false }, { 12, 12, 64, false }, { 16, 8, 128, true },
                                             { 16, 16, 128, false } };
    static const struct heads others[]   = { { 16, 16, 72, false }, { 16, 16, 80, false }, { 16, 16, 96, false },
                                             { 8, 4, 256, true },   { 8, 8, 256, false } };
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        for (size_t j = 0; j < sizeof encoders / sizeof *encoders; j++)
            bench_heads(bench, DTYPE_BF16, lengths[i], &encoders[j]);
        if (lengths[i] != 0 && lengths[i] != 512 && lengths[i] != 4096)
            continue;
        for (size_t j = 0; j < sizeof others / sizeof *others; j++)
            bench_heads(bench, DTYPE_BF16, lengths[i], &others[j]);
        for (size_t j = 0; j < 2; j++)  /* of encoders that people run in f32 */
            bench_heads(bench, DTYPE_F32, lengths[i], &encoders[j]);
    }
}
