#include "kernels/attention/attention.h"
#include "kernels/lanes/lanes.h"
#include "kernels/math/lanes_math.h"

#define ATTENTION_NAME attention_s16
#define ATTENTION_PAIR 2
#define ATTENTION_UNIT (1.0f / (1 << ATTENTION_UNIT_BITS))
#define PRODUCT_DOT    dot_s16
#define PRODUCT_LOAD   w16_load
#define PRODUCT_STORE  w16_store
#define PRODUCT_ZERO   w16_set1(0)
typedef float   input;
typedef int16_t element;
typedef w16     product_sums;
typedef int32_t product_sum;

#include "kernels/attention/attention_work.inl"

LANES_INLINE v16 row_magnitude(const float *x, int width, v16 most)
{
    LANES_ROW(width, column, count, most = v16_max(most, v16_abs(v16_load_count(x + column, count))));
    return most;
}

LANES_INLINE void code_row(const float *x, int width, v16 inverse, int16_t *codes)
{
    LANES_ROW(width, column, count, w16_store_s16(codes + column, v16_to_int(v16_mul(v16_load_count(x + column, count), inverse))));
}

/* Up to sixteen rows of q or k become w->codes; what one step is worth goes to `steps`. */
static void quantise(const struct work *w, const char *rows, size_t stride, int count, float *steps)
{
    const int width = w->args->head_size;
    const v16 range = v16_set1((float)w->range);
    float     inverse[LANES];
    v16       most[LANES];
    for (int i = 0; i < LANES; i++)
        most[i] = i < count ? row_magnitude((const float *)(const void *)(rows + stride * (size_t)i), width, v16_set1(0.0f))
                            : v16_set1(0.0f);
    v16 magnitude = v16_max(fold_maxima(most), v16_set1(ATTENTION_LEAST));
    v16_store(inverse, v16_div(range, magnitude));
    v16_store(steps, v16_div(magnitude, range));
    for (int i = 0; i < count; i++)
        code_row((const float *)(const void *)(rows + stride * (size_t)i), width, v16_set1(inverse[i]),
                 w->codes + i * ATTENTION_SCORE_STRIDE);
}

/* Sixteen keys, fewer at the end, become one panel: [head_size / 2][16][2]. */
static void pack_key_panel(const struct work *w, int key, int keys, char *panel)
{
    const int words = w->args->head_size / 2;
    quantise(w, row_of(w, w->args->k, w->args->k_stride, w->key + key, w->kv_head), w->args->k_stride, keys, w->key_steps + key);
    for (int first = 0; first < words; first += LANES) {
        w16 lines[LANES];
        for (int i = 0; i < LANES; i++)
            lines[i] = i < keys ? w16_load((const int32_t *)(const void *)(w->codes + i * ATTENTION_SCORE_STRIDE + 2 * first))
                                : w16_set1(0);
        w16_transpose(lines);
        for (int i = 0; i < LANES && first + i < words; i++)
            w16_store((int32_t *)(void *)(panel + 64 * (first + i)), lines[i]);
    }
}

/* v of the tile, in panels of 16 elements: [panels][keys / 2][16][2]. */
static void pack_values(struct work *w)
{
    const int    width = w->args->head_size;
    const size_t stride = w->args->v_stride;
    const char  *v = row_of(w, w->args->v, stride, w->key, w->kv_head);
    int16_t     *even = w->codes, *odd = w->codes + ATTENTION_SCORE_STRIDE;
    v16          most = v16_set1(ATTENTION_LEAST);
    for (int key = 0; key < w->keys; key++)
        most = row_magnitude((const float *)(const void *)(v + stride * (size_t)key), width, most);
    const float magnitude = v16_maximum(most);
    const v16   inverse   = v16_set1(ATTENTION_VALUE_RANGE / magnitude);
    w->value_step         = magnitude / ATTENTION_VALUE_RANGE;
    memset(even, 0, sizeof *even * 2 * ATTENTION_SCORE_STRIDE);
    for (int key = 0; key < w->keys; key += 2) {
        code_row((const float *)(const void *)(v + stride * (size_t)key), width, inverse, even);
        if (key + 1 < w->keys)
            code_row((const float *)(const void *)(v + stride * (size_t)(key + 1)), width, inverse, odd);
        else
            memset(odd, 0, sizeof *odd * ATTENTION_SCORE_STRIDE);
        for (int column = 0; column < w->width; column += LANES)
            w16_store((int32_t *)(void *)(w->value_panels + w->value_stride * (size_t)(column / LANES) + 64 * (key / 2)),
                      w16_load_pairs(even + column, odd + column));
    }
}

static void pack_tile(struct work *w)
{
    w->range = attention_s16_range(w->args->head_size);
    for (int i = 0; i < w->keys; i += LANES)
        pack_key_panel(w, i, w->keys - i < LANES ? w->keys - i : LANES,
                       w->key_panels + (size_t)i * (size_t)w->args->head_size * sizeof(element));
    pack_values(w);
}

/* The dot products of a block with the packed tile; what each row's are multiplied by goes to `factors`. */
static void take_dots(const struct work *w, const struct block *block, float factors[ATTENTION_BLOCK])
{
    const struct attention_args *a = w->args;
    quantise(w, row_of(w, a->q, a->q_stride, block->row, w->head), a->q_stride, block->rows, factors);
    v16_store(factors, v16_mul(v16_set1(a->scale * EXP_LOG2E), v16_load(factors)));
    const struct product product = {
        .x = (const char *)w->codes, .x_stride = ATTENTION_SCORE_STRIDE * sizeof(element), .b = w->key_panels,
        .b_stride = (size_t)a->head_size * LANES * sizeof(element), .steps = a->head_size / ATTENTION_PAIR,
        .y = w->dots, .y_stride = ATTENTION_SCORE_STRIDE, .continues = false };
    product_run(&product, block->rows, (w->keys + LANES - 1) / LANES);
}

LANES_INLINE v16 dots_at(const struct work *w, int row, int key)
{
    return v16_mul(v16_load(w->key_steps + key), v16_from_int(w16_load(w->dots + row * ATTENTION_SCORE_STRIDE + key)));
}

/* The maxima of one row's dots in sixteen lanes. */
LANES_INLINE v16 row_maxima(const struct work *w, int row, int keys)
{
    v16 most = v16_set1(-INFINITY);
    LANES_ROW(keys, key, count, most = v16_keep(v16_max(most, dots_at(w, row, key)), count, most));
    return most;
}

LANES_INLINE w16 weights_at(const struct work *w, int row, int key, v16 factor, v16 maximum)
{
    v16 power = v16_sub(v16_mul(factor, dots_at(w, row, key)), maximum);
    return v16_to_int(v16_exp2(v16_add(power, v16_set1(ATTENTION_UNIT_BITS))));
}

/* Turns one row of dots into weights and returns their sums; what fills up the last sixteen is zero. */
LANES_INLINE v16 row_weights(const struct work *w, int row, int keys, v16 factor, v16 maximum)
{
    element *weights = w->weights + row * ATTENTION_SCORE_STRIDE;
    w16      sum     = w16_set1(0);
    int      key     = 0;
    for (; key + LANES <= keys; key += LANES) {
        w16 weight = weights_at(w, row, key, factor, maximum);
        sum        = w16_add(sum, weight);
        w16_store_s16(weights + key, weight);
    }
    if (key < keys) {
        v16 some   = v16_keep(v16_bits(weights_at(w, row, key, factor, maximum)), keys - key, v16_set1(0.0f));
        sum        = w16_add(sum, w16_bits(some));
        w16_store_s16(weights + key, w16_bits(some));
    }
    return v16_from_int(sum);
}

/* outputs += weights v */
static void mix(const struct work *w, const struct block *block)
{
    const v16            unit = v16_set1(ATTENTION_UNIT * w->value_step);
    const struct product product = {
        .x = (const char *)w->weights, .x_stride = ATTENTION_SCORE_STRIDE * sizeof(element), .b = w->value_panels,
        .b_stride = w->value_stride, .steps = (w->keys + 1) / 2, .y = w->mixed, .y_stride = (size_t)w->width,
        .continues = false };
    product_run(&product, block->rows, w->width / LANES);
    for (int i = 0; i < block->rows * w->width; i += LANES) {
        v16 sum = v16_from_int(w16_load(w->mixed + i));
        v16_store(block->outputs + i, w->key > 0 ? v16_fma(sum, unit, v16_load(block->outputs + i)) : v16_mul(sum, unit));
    }
}

#include "kernels/attention/attention_walk.inl"
