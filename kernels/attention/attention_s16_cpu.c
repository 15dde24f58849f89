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

static const float *input_row(const struct work *w, const void *base, size_t stride, int row, int head)
{
    return (const void *)row_of(w, base, stride, row, head);
}

/* The greatest magnitude in the tile, of k or of v. */
static float tile_magnitude(const struct work *w, const void *base, size_t stride)
{
    v16 most = v16_set1(ATTENTION_LEAST);
    for (int key = 0; key < w->keys; key++)
        most = row_magnitude(input_row(w, base, stride, w->key + key, w->kv_head), w->args->head_size, most);
    return v16_maximum(most);
}

/* Sixteen keys, fewer at the end, become one panel: [head_size / 2][16][2]. */
static void pack_key_panel(const struct work *w, int key, v16 inverse, char *panel)
{
    const int words = w->args->head_size / 2;
    for (int i = 0; i < LANES && key + i < w->keys; i++)
        code_row(input_row(w, w->args->k, w->args->k_stride, w->key + key + i, w->kv_head), w->args->head_size, inverse,
                 w->codes + i * ATTENTION_SCORE_STRIDE);
    for (int first = 0; first < words; first += LANES) {
        w16 lines[LANES];
        for (int i = 0; i < LANES; i++) {
            const void *codes = w->codes + i * ATTENTION_SCORE_STRIDE + 2 * first;
            lines[i]          = key + i < w->keys ? w16_load(codes) : w16_set1(0);
        }
        w16_transpose(lines);
        for (int i = 0; i < LANES && first + i < words; i++)
            w16_store((int32_t *)(void *)(panel + 64 * (first + i)), lines[i]);
    }
}

/* Two keys of v become one line of each panel: [panels][keys / 2][16][2]. */
static void pack_value_lines(const struct work *w, int key, v16 inverse)
{
    const size_t stride = w->args->v_stride;
    int16_t     *even = w->codes, *odd = w->codes + ATTENTION_SCORE_STRIDE;
    code_row(input_row(w, w->args->v, stride, w->key + key, w->kv_head), w->args->head_size, inverse, even);
    if (key + 1 < w->keys)
        code_row(input_row(w, w->args->v, stride, w->key + key + 1, w->kv_head), w->args->head_size, inverse, odd);
    else
        memset(odd, 0, sizeof *odd * ATTENTION_SCORE_STRIDE);
    for (int column = 0; column < w->width; column += LANES)
        w16_store((int32_t *)(void *)(w->value_panels + w->value_stride * (size_t)(column / LANES) + 64 * (key / 2)),
                  w16_load_pairs(even + column, odd + column));
}

static void pack_tile(struct work *w)
{
    const float range = (float)attention_key_range(w->args->head_size);
    const float keys  = tile_magnitude(w, w->args->k, w->args->k_stride);
    const float values = tile_magnitude(w, w->args->v, w->args->v_stride);
    w->key_step   = keys / range;
    w->value_step = values / ATTENTION_VALUE_RANGE;
    for (int key = 0; key < w->keys; key += LANES)
        pack_key_panel(w, key, v16_set1(range / keys), w->key_panels + (size_t)key * (size_t)w->args->head_size * sizeof(element));
    for (int key = 0; key < w->keys; key += 2)
        pack_value_lines(w, key, v16_set1(ATTENTION_VALUE_RANGE / values));
}

/* The rows of a block become w->codes; what a product of steps of q and k is worth in the exponent goes to `factors`. */
static void quantise(const struct work *w, const struct block *block, float factors[ATTENTION_BLOCK])
{
    const struct attention_args *a     = w->args;
    const v16                    range = v16_set1(ATTENTION_QUERY_RANGE);
    float                        inverse[LANES];
    v16                          most[LANES];
    for (int i = 0; i < LANES; i++)
        most[i] = i < block->rows ? row_magnitude(input_row(w, a->q, a->q_stride, block->row + i, w->head), a->head_size,
                                                  v16_set1(ATTENTION_LEAST))
                                  : range;
    v16 magnitude = fold_maxima(most);
    v16_store(inverse, v16_div(range, magnitude));
    v16_store(factors, v16_mul(v16_set1(a->scale * EXP_LOG2E * w->key_step), v16_div(magnitude, range)));
    for (int i = 0; i < block->rows; i++)
        code_row(input_row(w, a->q, a->q_stride, block->row + i, w->head), a->head_size, v16_set1(inverse[i]),
                 w->codes + i * ATTENTION_SCORE_STRIDE);
}

/* The dot products of a block with the packed tile; what each row's are multiplied by goes to `factors`. */
static void take_dots(const struct work *w, const struct block *block, float factors[ATTENTION_BLOCK])
{
    quantise(w, block, factors);
    const struct product product = {
        .x = (const char *)w->codes, .x_stride = ATTENTION_SCORE_STRIDE * sizeof(element), .b = w->key_panels,
        .b_stride = (size_t)w->args->head_size * LANES * sizeof(element), .steps = w->args->head_size / ATTENTION_PAIR,
        .y = w->dots, .y_stride = ATTENTION_SCORE_STRIDE, .continues = false };
    product_run(&product, block->rows, (w->keys + LANES - 1) / LANES);
}

/* The maxima of one row's dots in sixteen lanes. */
LANES_INLINE v16 row_maxima(const struct work *w, int row, int keys)
{
    const int32_t *dots = w->dots + row * ATTENTION_SCORE_STRIDE;
    w16            most = w16_set1(INT32_MIN);
    int            key  = 0;
    for (; key + LANES <= keys; key += LANES)
        most = w16_max(most, w16_load(dots + key));
    if (key < keys)
        most = w16_bits(v16_keep(v16_bits(w16_max(most, w16_load(dots + key))), keys - key, v16_bits(most)));
    return v16_from_int(most);
}

LANES_INLINE w16 weights_at(const int32_t *dots, v16 factor, v16 maximum)
{
    v16 power = v16_sub(v16_mul(factor, v16_from_int(w16_load(dots))), maximum);
    return v16_to_int(v16_exp2(v16_add(power, v16_set1(ATTENTION_UNIT_BITS))));
}

/* Turns one row of dots into weights and returns their sums; what fills up the last sixteen is zero. */
LANES_INLINE v16 row_weights(const struct work *w, int row, int keys, v16 factor, v16 maximum)
{
    const int32_t *dots    = w->dots + row * ATTENTION_SCORE_STRIDE;
    element       *weights = w->weights + row * ATTENTION_SCORE_STRIDE;
    w16            sum     = w16_set1(0);
    int            key     = 0;
    for (; key + LANES <= keys; key += LANES) {
        w16 weight = weights_at(dots + key, factor, maximum);
        sum        = w16_add(sum, weight);
        w16_store_s16(weights + key, weight);
    }
    if (key < keys) {
        v16 some   = v16_keep(v16_bits(weights_at(dots + key, factor, maximum)), keys - key, v16_set1(0.0f));
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
