/* The specification of attention_s16: one query after another, in plain loops. */
#include "kernels/attention/attention.h"
#include "kernels/bf16.h"
#include "kernels/math/math_ref.h"
#include "kernels/rows.h"

/* One tile of one head's keys. */
struct tile {
    int     first, keys;  /* rows */
    int16_t key[ATTENTION_TILE][ATTENTION_MOST_HEAD];
    int16_t value[ATTENTION_TILE][ATTENTION_MOST_HEAD];
    float   key_step, value_step;
};

/* A row of q as integers. */
struct query {
    int16_t at[ATTENTION_MOST_HEAD];
    float   step;
};

/* What a query carries from tile to tile. */
struct state {
    float maximum, sum;
    float y[ATTENTION_MOST_HEAD];
};

static float magnitude(const float *x, int width, float most)
{
    for (int i = 0; i < width; i++)
        most = math_max(most, fabsf(x[i]));
    return most;
}

/* What is no number has no code: any will do, as the sequence's values mean nothing then. */
static int16_t code_of(float x)
{
    float rounded = nearbyintf(x);
    return fabsf(rounded) < 32768.0f ? (int16_t)rounded : 0;
}

static void code_row(const float *x, int width, float inverse, int16_t *codes)
{
    for (int i = 0; i < width; i++)
        codes[i] = code_of(x[i] * inverse);
}

/* Codes the rows of k or v that a tile has; returns the step. */
static float code_tile(const struct tile *tile, const float *x, size_t stride, int width, int range,
                       int16_t codes[][ATTENTION_MOST_HEAD])
{
    float most = ATTENTION_LEAST;
    for (int j = 0; j < tile->keys; j++)
        most = magnitude(row_read(x, stride, tile->first + j), width, most);
    for (int j = 0; j < tile->keys; j++)
        code_row(row_read(x, stride, tile->first + j), width, (float)range / most, codes[j]);
    return most / (float)range;
}

static void take_tile(const struct attention_args *a, int kv_head, struct tile *tile)
{
    const int column = kv_head * a->head_size;
    tile->key_step   = code_tile(tile, (const float *)a->k + column, a->k_stride, a->head_size, attention_key_range(a->head_size),
                                 tile->key);
    tile->value_step = code_tile(tile, (const float *)a->v + column, a->v_stride, a->head_size, ATTENTION_VALUE_RANGE, tile->value);
}

static int32_t dot(const int16_t *a, const int16_t *b, int width)
{
    int32_t sum = 0;
    for (int i = 0; i < width; i++)
        sum += a[i] * b[i];
    return sum;
}

static void attend(const struct attention_args *a, const struct tile *tile, const struct query *query, bool first,
                   struct state *state)
{
    const float factor = a->scale * EXP_LOG2E * tile->key_step * query->step, unit = 1.0f / (1 << ATTENTION_UNIT_BITS);
    float       dots[ATTENTION_TILE], most = -INFINITY;
    int         weights[ATTENTION_TILE], sum = 0;
    for (int j = 0; j < tile->keys; j++) {
        dots[j] = (float)dot(query->at, tile->key[j], a->head_size);
        most    = math_max(most, dots[j]);
    }
    const float maximum = math_max(state->maximum, factor * most);
    const float decay   = first ? 0.0f : math_exp2(state->maximum - maximum);
    for (int j = 0; j < tile->keys; j++) {
        weights[j] = (int)nearbyintf(math_exp2(factor * dots[j] - maximum + (float)ATTENTION_UNIT_BITS));
        sum += weights[j];
    }
    state->maximum = maximum;
    state->sum     = fmaf(state->sum, decay, (float)sum * unit);
    for (int i = 0; i < a->head_size; i++) {
        int32_t mixed = 0;
        for (int j = 0; j < tile->keys; j++)
            mixed += weights[j] * tile->value[j][i];
        state->y[i] = first ? (float)mixed * (unit * tile->value_step)
                            : fmaf((float)mixed, unit * tile->value_step, decay * state->y[i]);
    }
}

static void store(const struct attention_args *a, int row, int head, const struct state *state)
{
    const float inverse = 1.0f / state->sum;
    void       *y       = row_write(a->y, a->y_stride, row);
    for (int i = 0; i < a->head_size; i++) {
        if (a->y_type == DTYPE_BF16)
            ((uint16_t *)y)[head * a->head_size + i] = bf16_from_float(state->y[i] * inverse);
        else
            ((float *)y)[head * a->head_size + i] = state->y[i] * inverse;
    }
}

void attention_s16_ref(const struct attention_args *a, int sequence, int head0, int head1, void *scratch)
{
    const int   first = a->starts[sequence], end = a->starts[sequence + 1];
    struct tile tile;
    (void)scratch;
    for (int head = head0; head < head1; head++)
        for (int row = first; row < end; row++) {
            const float *q     = (const float *)row_read(a->q, a->q_stride, row) + head * a->head_size;
            const float  most  = magnitude(q, a->head_size, ATTENTION_LEAST);
            struct query query = { .step = most / ATTENTION_QUERY_RANGE };
            struct state state = { .maximum = -INFINITY };
            code_row(q, a->head_size, ATTENTION_QUERY_RANGE / most, query.at);
            for (tile.first = first; tile.first < end; tile.first += ATTENTION_TILE) {
                tile.keys = end - tile.first < ATTENTION_TILE ? end - tile.first : ATTENTION_TILE;
                take_tile(a, head / (a->heads / a->kv_heads), &tile);
                attend(a, &tile, &query, tile.first == first, &state);
            }
            store(a, row, head, &state);
        }
}
