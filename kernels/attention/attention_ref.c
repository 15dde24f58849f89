/* The specification of attention.h: one query after another, in plain loops. */
#include "kernels/attention/attention.h"
#include "kernels/bf16.h"
#include "kernels/math/math_ref.h"

enum { LANES = 16 };

/* Where one query of one head finds its things. */
struct query {
    const struct attention_args *args;
    int                          row;        /* the query's */
    int                          first, end; /* the keys' rows */
    int                          head, kv_head;
};

/* What is carried from tile to tile. */
struct state {
    float maximum, sum;
    float y[ATTENTION_MOST_HEAD];
};

static float value(const struct attention_args *a, const void *base, size_t offset, int element)
{
    const char *row = (const char *)base + offset;
    return a->type == DTYPE_BF16 ? bf16_to_float(((const uint16_t *)(const void *)row)[element])
                                 : ((const float *)(const void *)row)[element];
}

static float dot(const struct query *query, int key)
{
    const struct attention_args *a = query->args;
    size_t q_row = a->q_stride * (size_t)query->row, k_row = a->k_stride * (size_t)key;
    int    odd_first = a->type == DTYPE_BF16 ? 1 : 0;
    float  sum = 0.0f;
    for (int i = 0; i < a->head_size; i++)
        sum = fmaf(value(a, a->q, q_row, query->head * a->head_size + (i ^ odd_first)),
                   value(a, a->k, k_row, query->kv_head * a->head_size + (i ^ odd_first)), sum);
    return sum;
}

/* Folds sixteen lanes: lane i with i + 8, then i + 4, i + 2, i + 1. */
static float fold_maximum(float lanes[LANES])
{
    for (int half = LANES / 2; half > 0; half /= 2)
        for (int i = 0; i < half; i++)
            lanes[i] = math_max(lanes[i], lanes[i + half]);
    return lanes[0];
}

static float fold_sum(float lanes[LANES])
{
    for (int half = LANES / 2; half > 0; half /= 2)
        for (int i = 0; i < half; i++)
            lanes[i] += lanes[i + half];
    return lanes[0];
}

static float tile_maximum(const float *dots, int keys)
{
    float lanes[LANES];
    for (int i = 0; i < LANES; i++)
        lanes[i] = -INFINITY;
    for (int j = 0; j < keys; j++)
        lanes[j % LANES] = math_max(lanes[j % LANES], dots[j]);
    return fold_maximum(lanes);
}

/* Turns dots into weights and returns their sum. */
static float weigh(float *dots, int keys, float factor, float maximum)
{
    float lanes[LANES] = { 0 };
    for (int j = 0; j < keys; j++) {
        dots[j] = math_exp2(factor * dots[j] - maximum);
        lanes[j % LANES] += dots[j];
    }
    return fold_sum(lanes);
}

static float mix_f32(const struct query *query, const float *weights, int key, int keys, int element, float y)
{
    const struct attention_args *a = query->args;
    for (int j = 0; j < keys; j++)
        y = fmaf(weights[j], value(a, a->v, a->v_stride * (size_t)(key + j), element), y);
    return y;
}

static float mix_bf16(const struct query *query, const float *weights, int key, int keys, int element, float y)
{
    const struct attention_args *a = query->args;
    for (int j = 0; j < keys; j += 2) {
        float odd = 0.0f, odd_value = 0.0f;
        if (j + 1 < keys) {
            odd       = bf16_to_float(bf16_from_float(weights[j + 1]));
            odd_value = value(a, a->v, a->v_stride * (size_t)(key + j + 1), element);
        }
        y = fmaf(odd, odd_value, y);
        y = fmaf(bf16_to_float(bf16_from_float(weights[j])), value(a, a->v, a->v_stride * (size_t)(key + j), element), y);
    }
    return y;
}

static void take_tile(const struct query *query, struct state *state, int key, int keys)
{
    const struct attention_args *a = query->args;
    const float                  factor = a->scale * EXP_LOG2E;
    float                        weights[ATTENTION_TILE];
    for (int j = 0; j < keys; j++)
        weights[j] = dot(query, key + j);
    float maximum = math_max(state->maximum, factor * tile_maximum(weights, keys));
    float decay   = key > query->first ? math_exp2(state->maximum - maximum) : 0.0f;
    state->maximum = maximum;
    state->sum     = fmaf(state->sum, decay, weigh(weights, keys, factor, maximum));
    for (int i = 0; i < a->head_size; i++) {
        int   element = query->kv_head * a->head_size + i;
        float y       = key > query->first ? decay * state->y[i] : 0.0f;
        state->y[i]   = a->type == DTYPE_BF16 ? mix_bf16(query, weights, key, keys, element, y)
                                              : mix_f32(query, weights, key, keys, element, y);
    }
}

static void store(const struct query *query, const struct state *state)
{
    const struct attention_args *a       = query->args;
    float                        inverse = 1.0f / state->sum;
    char                        *y       = (char *)a->y + a->y_stride * (size_t)query->row;
    for (int i = 0; i < a->head_size; i++) {
        int element = query->head * a->head_size + i;
        if (a->y_type == DTYPE_BF16)
            ((uint16_t *)(void *)y)[element] = bf16_from_float(state->y[i] * inverse);
        else
            ((float *)(void *)y)[element] = state->y[i] * inverse;
    }
}

static void run(const struct attention_args *a, int sequence, int head0, int head1)
{
    struct query query = { .args = a, .first = a->starts[sequence] };
    for (query.head = head0; query.head < head1; query.head++) {
        query.kv_head = query.head / (a->heads / a->kv_heads);
        for (query.row = query.first; query.row < a->starts[sequence + 1]; query.row++) {
            struct state state = { .maximum = -INFINITY };
            query.end          = a->causal ? query.row + 1 : a->starts[sequence + 1];
            for (int key = query.first; key < query.end; key += ATTENTION_TILE)
                take_tile(&query, &state, key, query.end - key < ATTENTION_TILE ? query.end - key : ATTENTION_TILE);
            store(&query, &state);
        }
    }
}

void attention_f32_ref(const struct attention_args *a, int sequence, int head0, int head1, void *scratch)
{
    (void)scratch;
    run(a, sequence, head0, head1);
}

void attention_bf16_ref(const struct attention_args *a, int sequence, int head0, int head1, void *scratch)
{
    (void)scratch;
    run(a, sequence, head0, head1);
}
