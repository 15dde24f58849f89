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
    struct attention_case *work = context;
    return device->kernels->attention_bf16(&work->launch, &work->args, work->schedule);
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

static void bench_attention(struct bench *bench, int length, const struct heads *h)
{
    const struct packing  p      = pack(bench->quick ? QUICK_TOKENS : MOST_TOKENS, length);
    const int             width  = (h->heads + 2 * h->kv_heads) * h->size;
    const size_t          stride = (size_t)width * 2;
    char                 *qkv    = bench_random(DTYPE_BF16, (size_t)p.tokens * (size_t)width, 2);
    void                 *y      = bench_memory((size_t)p.tokens * (size_t)(h->heads * h->size) * 2);
    int32_t              *starts = bench_copy(p.starts, (size_t)(p.sequences + 1) * sizeof *p.starts);
    struct attention_case work   = {
          .launch   = bench_whole(bench, p.tokens, p.sequences, p.longest),
          .args     = { .q = qkv, .k = qkv + h->heads * h->size * 2, .v = qkv + (h->heads + h->kv_heads) * h->size * 2,
                        .q_stride = stride, .k_stride = stride, .v_stride = stride, .type = DTYPE_BF16, .heads = h->heads,
                        .kv_heads = h->kv_heads, .head_size = h->size, .scale = 1 / sqrtf((float)h->size), .causal = h->causal,
                        .starts = starts, .y = y, .y_stride = (size_t)(h->heads * h->size) * 2, .y_type = DTYPE_BF16 },
          .schedule = bench_memory(attention_schedule_bytes(p.tokens, p.sequences)),
    };
    bench_check(bench->device.kernels->attention_schedule(&work.launch, &work.args, work.schedule), "scheduling attention");
    snprintf(bench->shape, sizeof bench->shape, "%d sequences of %s%d, %d heads of %d, %d of keys%s", p.sequences,
             length ? "" : "16 to ", p.longest, h->heads, h->size, h->kv_heads, h->causal ? ", causal" : "");
    bench->row = (struct bench_row){ .kernel = "attention", .shape = bench->shape };
    bench_time(bench, &work.launch, run_attention, &work);
    const struct bench_sample sample = bench_sample(y, DTYPE_BF16, (size_t)p.tokens * (size_t)(h->heads * h->size));
    bench->row.sample                = &sample;
    /* What these lengths cost; the launcher only knows the caps. */
    bench->row.operations = 4.0 * p.pairs * h->heads * h->size * (h->causal ? 0.5 : 1);
    bench_print(&bench->device, &bench->row);
    bench_free(starts);
    bench_free(work.schedule);
    bench_free(qkv);
    bench_free(y);
}

/* Those of encoders at every length; the others, of vision models and larger decoders, at three: peers.py has the same. */
void bench_attentions(struct bench *bench)
{
    static const int lengths[] = { 16, 32, 64, 128, 0, 256, 512, 1024, 4096 };
    static const struct {
        struct heads heads;
        bool         everywhere;
    } wanted[] = { { { 12, 12, 32, false }, true },  { { 12, 12, 64, false }, true },  { { 16, 8, 128, true }, true },
                   { { 16, 16, 128, false }, true }, { { 16, 16, 72, false }, false }, { { 16, 16, 80, false }, false },
                   { { 16, 16, 96, false }, false }, { { 8, 4, 256, true }, false },   { { 8, 8, 256, false }, false } };
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++)
        for (size_t j = 0; j < sizeof wanted / sizeof *wanted; j++) {
            const bool seldom = lengths[i] == 0 || lengths[i] == 512 || lengths[i] == 4096;
            struct heads few = wanted[j].heads;
            few.heads /= QUICK_PART;
            few.kv_heads /= QUICK_PART;
            if (bench->quick && lengths[i] == 0)
                bench_attention(bench, lengths[i], &few);
            else if (!bench->quick && (wanted[j].everywhere || seldom))
                bench_attention(bench, lengths[i], &wanted[j].heads);
        }
}
