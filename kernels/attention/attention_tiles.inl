/* attention_tiles.inl: attention.h vectorised.
 *
 * A tile of keys is packed once (k transposed into panels of 16 keys, v into panels of 16 elements) and stays in the caches
 * while blocks of queries pass over it: their dot products as one product into `scores`, exp row by row there, then a second
 * product with v into `outputs`. Queries are taken in chunks, so that the scratch does not grow with the sequence.
 *
 * Included by one file an element type, which defines before (beside what product.inl wants):
 *   ATTENTION_NAME      the kernel's name, such as attention_f32
 *   ATTENTION_PAIR      elements in 4 bytes
 *   ATTENTION_WEIGHTS   of a struct work: where the weights go
 *   ATTENTION_STORE     stores sixteen weights
 *   ATTENTION_PACK      64 bytes of v's panel from sixteen elements of one key and, if they come in pairs, of the next
 *   element             the type of q, k, v and of the weights
 */
#include "kernels/lanes/lanes_part.h"
#include "kernels/lanes/product.inl"

enum {
    BLOCK_ROWS  = LANES_TILE_ROWS < 12 ? 2 * LANES_TILE_ROWS : LANES_TILE_ROWS, /* whole register tiles, at most 16 */
    BAND_BLOCKS = (ATTENTION_TILE + BLOCK_ROWS - 1) / BLOCK_ROWS
};
_Static_assert((int)BLOCK_ROWS <= ATTENTION_BLOCK && 2 * (int)BAND_BLOCKS <= ATTENTION_BLOCKS && ATTENTION_CHUNK == 2 * ATTENTION_TILE,
               "scratch holds the blocks of a chunk");

/* One call: its arguments, its sequence and the parts of its scratch. */
struct work {
    const struct attention_args *args;
    int                          row, rows;    /* of the sequence */
    int                          head, kv_head;
    int                          width;        /* head_size in whole panels */
    int                          key, keys;    /* the packed tile, counted within the sequence */
    int                          packed_head;  /* and whose it is */
    size_t                       value_stride; /* bytes from panel to panel of v */
    char                        *key_panels, *value_panels;
    float                       *outputs;      /* [queries of a chunk][width] */
    float                       *maxima, *sums; /* [blocks][ATTENTION_BLOCK] */
    float                       *scores;       /* [ATTENTION_BLOCK][ATTENTION_SCORE_STRIDE] */
    uint16_t                    *halves;       /* the same, for weights of 2 bytes */
};

/* A block of queries and its place in the chunk. */
struct block {
    int    row, rows; /* counted within the sequence */
    float *maxima, *sums, *outputs;
};

static struct work work_new(const struct attention_args *a, int sequence, void *scratch)
{
    struct work w = { .args = a, .row = a->starts[sequence], .rows = a->starts[sequence + 1] - a->starts[sequence] };
    size_t      keys = (size_t)(w.rows < ATTENTION_TILE ? (w.rows + LANES - 1) / LANES * LANES : ATTENTION_TILE);
    w.width        = (a->head_size + LANES - 1) / LANES * LANES;
    w.packed_head  = -1;
    w.value_stride = keys * LANES * sizeof(element);
    w.key_panels   = scratch;
    w.value_panels = w.key_panels + keys * (size_t)w.width * 4;
    w.maxima       = (float *)(void *)(w.value_panels + keys * (size_t)w.width * 4);
    w.sums         = w.maxima + ATTENTION_BLOCKS * ATTENTION_BLOCK;
    w.scores       = w.sums + ATTENTION_BLOCKS * ATTENTION_BLOCK;
    w.halves       = (uint16_t *)(void *)(w.scores + ATTENTION_BLOCK * ATTENTION_SCORE_STRIDE);
    w.outputs      = (float *)(void *)(w.halves + ATTENTION_BLOCK * ATTENTION_SCORE_STRIDE);
    return w;
}

static const char *row_of(const struct work *w, const void *base, size_t stride, int row, int head)
{
    return (const char *)base + stride * (size_t)(w->row + row) + (size_t)head * (size_t)w->args->head_size * sizeof(element);
}

/* Sixteen keys, fewer at the end, become one panel: [head_size / pair][16][pair]. Missing keys are zero. */
static void pack_key_panel(const struct work *w, int key, int keys, char *panel)
{
    const int words = w->args->head_size / ATTENTION_PAIR;
    for (int first = 0; first < words; first += LANES) {
        int count = words - first < LANES ? words - first : LANES;
        w16 lines[LANES];
        const char *k = row_of(w, w->args->k, w->args->k_stride, key, w->kv_head) + 4 * first;
        for (int i = 0; i < keys; i++, k += w->args->k_stride)
            lines[i] = count == LANES ? w16_load((const int32_t *)(const void *)k)
                                      : w16_bits(v16_load_part((const float *)(const void *)k, count));
        for (int i = keys; i < LANES; i++)
            lines[i] = w16_set1(0);
        w16_transpose(lines);
        for (int i = 0; i < count; i++)
            w16_store((int32_t *)(void *)(panel + 64 * (first + i)), lines[i]);
    }
}

/* Elements [column, column + 16) of a pair of keys; missing keys and elements are zero. */
static void pack_value_line(const struct work *w, int key, int column, char *line)
{
    const int     width = w->args->head_size - column < LANES ? w->args->head_size - column : LANES;
    const size_t  stride = w->args->v_stride;
    const char   *v = row_of(w, w->args->v, stride, w->key + key, w->kv_head) + (size_t)column * sizeof(element);
    const element zero[LANES] = { 0 };
    if (width == LANES) {
        ATTENTION_PACK(line, v, key + 1 < w->keys ? v + stride : (const char *)zero);
        return;
    }
    element row[2][LANES] = { 0 };
    for (int j = 0; j < ATTENTION_PAIR && key + j < w->keys; j++)
        memcpy(row[j], v + stride * (size_t)j, (size_t)width * sizeof(element));
    ATTENTION_PACK(line, row[0], row[1]);
}

static void pack(struct work *w, int key)
{
    if (w->packed_head == w->kv_head && w->key == key)
        return;
    w->packed_head = w->kv_head;
    w->key         = key;
    w->keys        = w->rows - key < ATTENTION_TILE ? w->rows - key : ATTENTION_TILE;
    for (int i = 0; i < w->keys; i += LANES)
        pack_key_panel(w, key + i, w->keys - i < LANES ? w->keys - i : LANES,
                       w->key_panels + (size_t)i * (size_t)w->args->head_size * sizeof(element));
    for (int column = 0; column < w->width; column += LANES) {
        char *panel = w->value_panels + (size_t)(column / LANES) * w->value_stride;
        for (int i = 0; i < w->keys; i += ATTENTION_PAIR)
            pack_value_line(w, i, column, panel + 64 * (i / ATTENTION_PAIR));
    }
}

/* How many keys of the packed tile a query sees. */
static int keys_seen(const struct work *w, int row)
{
    const int seen = row + 1 - w->key;
    return w->args->causal && seen < w->keys ? seen : w->keys;
}

LANES_INLINE void transpose(v16 row[LANES])
{
    w16 bits[LANES];
LANES_UNROLL
    for (int i = 0; i < LANES; i++)
        bits[i] = w16_bits(row[i]);
    w16_transpose(bits);
LANES_UNROLL
    for (int i = 0; i < LANES; i++)
        row[i] = v16_bits(bits[i]);
}

/* The maxima of one row's scores in sixteen lanes. */
LANES_INLINE v16 maximum_of(const float *scores, int keys)
{
    v16 most = v16_set1(-INFINITY);
    int j    = 0;
    for (; j + LANES <= keys; j += LANES)
        most = v16_max(most, v16_load(scores + j));
    if (j < keys)
        most = v16_keep(v16_max(most, v16_load(scores + j)), keys - j, most);
    return most;
}

/* Turns one row of dots into weights and returns their sums; what fills up the last sixteen is zero. */
LANES_INLINE v16 weigh(const float *scores, element *weights, int keys, v16 factor, v16 maximum)
{
    v16 sum = v16_set1(0.0f);
    int j   = 0;
    for (; j + LANES <= keys; j += LANES) {
        v16 weight = v16_exp2_negative(v16_sub(v16_mul(factor, v16_load(scores + j)), maximum));
        sum        = v16_add(sum, weight);
        ATTENTION_STORE(weights + j, weight);
    }
    if (j < keys) {
        v16 weight = v16_exp2_negative(v16_sub(v16_mul(factor, v16_load(scores + j)), maximum));
        weight     = v16_keep(weight, keys - j, v16_set1(0.0f));
        sum        = v16_add(sum, weight);
        ATTENTION_STORE(weights + j, weight);
    }
    return sum;
}

/* Sixteen rows folded at once as v16_maximum and v16_sum fold one. */
static v16 fold_maxima(v16 row[LANES])
{
    transpose(row);
    for (int half = LANES / 2; half > 0; half /= 2)
        for (int i = 0; i < half; i++)
            row[i] = v16_max(row[i], row[i + half]);
    return row[0];
}

static v16 fold_sums(v16 row[LANES])
{
    transpose(row);
    for (int half = LANES / 2; half > 0; half /= 2)
        for (int i = 0; i < half; i++)
            row[i] = v16_add(row[i], row[i + half]);
    return row[0];
}

/* The softmax of a block over this tile: weights, the new maxima and sums; `decay` is what old outputs are multiplied by. */
static void weigh_block(const struct work *w, const struct block *block, float decay[ATTENTION_BLOCK])
{
    const v16 factor = v16_set1(w->args->scale * EXP_LOG2E);
    v16       row[LANES];
    for (int i = 0; i < LANES; i++)
        row[i] = i < block->rows ? maximum_of(w->scores + i * ATTENTION_SCORE_STRIDE, keys_seen(w, block->row + i))
                                 : v16_set1(0.0f);
    v16 before = w->key > 0 ? v16_load(block->maxima) : v16_set1(-INFINITY);
    v16 after  = v16_max(before, v16_mul(factor, fold_maxima(row)));
    v16 fading = w->key > 0 ? v16_exp2_negative(v16_sub(before, after)) : v16_set1(0.0f);
    v16_store(block->maxima, after);
    v16_store(decay, fading);
    for (int i = 0; i < LANES; i++)
        row[i] = i < block->rows ? weigh(w->scores + i * ATTENTION_SCORE_STRIDE, ATTENTION_WEIGHTS(w) + i * ATTENTION_SCORE_STRIDE,
                                         keys_seen(w, block->row + i), factor, v16_set1(block->maxima[i]))
                                 : v16_set1(0.0f);
    v16 sum = w->key > 0 ? v16_load(block->sums) : v16_set1(0.0f);
    v16_store(block->sums, v16_fma(sum, fading, fold_sums(row)));
}

static void decay_outputs(const struct work *w, const struct block *block, const float *decay)
{
    for (int i = 0; i < block->rows; i++)
        for (int column = 0; column < w->width; column += LANES) {
            float *y = block->outputs + i * w->width + column;
            v16_store(y, v16_mul(v16_set1(decay[i]), v16_load(y)));
        }
}

/* One query's keys [from, to) of the tile. A pair whose odd key it does not see is a pair with a zero. */
static void mix_rest(const struct work *w, const struct block *block, int i, int from, int to)
{
    const struct product whole = {
        .x = (const char *)(ATTENTION_WEIGHTS(w) + i * ATTENTION_SCORE_STRIDE + from), .x_stride = 0,
        .b = w->value_panels + 64 * (from / ATTENTION_PAIR), .b_stride = w->value_stride,
        .steps = (to - from) / ATTENTION_PAIR, .y = block->outputs + i * w->width, .continues = true };
    product_run(&whole, 1, w->width / LANES);
    if ((to - from) % ATTENTION_PAIR != 0) {
        _Alignas(64) element line[LANES * ATTENTION_PAIR];
        struct product       last = whole;
        last.x += 4 * whole.steps;
        last.b     = (const char *)line;
        last.steps = 1;
        for (int panel = 0; panel < w->width / LANES; panel++, last.y += LANES) {
            memcpy(line, whole.b + 64 * whole.steps + w->value_stride * (size_t)panel, 64);
            for (int lane = 0; lane < LANES; lane++)
                line[lane * ATTENTION_PAIR + ATTENTION_PAIR - 1] = 0;
            product_run(&last, 1, 1);
        }
    }
}

/* outputs += weights v. Keys that every query of the block sees go through together; under the diagonal each row is alone. */
static void mix(const struct work *w, const struct block *block)
{
    const int last = keys_seen(w, block->row + block->rows - 1);
    int       common = keys_seen(w, block->row);
    common = common < last ? common / ATTENTION_PAIR * ATTENTION_PAIR : common;
    const struct product product = {
        .x = (const char *)ATTENTION_WEIGHTS(w), .x_stride = ATTENTION_SCORE_STRIDE * sizeof(element),
        .b = w->value_panels, .b_stride = w->value_stride, .steps = (common + ATTENTION_PAIR - 1) / ATTENTION_PAIR,
        .y = block->outputs, .y_stride = (size_t)w->width, .continues = w->key > 0 };
    product_run(&product, block->rows, w->width / LANES);
    if (common < last)
        for (int i = 0; i < block->rows; i++)
            mix_rest(w, block, i, common, keys_seen(w, block->row + i));
}

static void store(const struct work *w, char *y, const float *outputs, v16 inverse)
{
    const int first = w->head * w->args->head_size;
    for (int column = 0; column < w->args->head_size; column += LANES) {
        int count = w->args->head_size - column < LANES ? w->args->head_size - column : LANES;
        v16 whole = v16_mul(v16_load(outputs + column), inverse);
        if (w->args->y_type == DTYPE_F32)
            v16_store_count((float *)(void *)y + first + column, whole, count);
        else
            v16_store_bf16_count((uint16_t *)(void *)y + first + column, whole, count);
    }
}

static void finish(const struct work *w, const struct block *block)
{
    float inverse[ATTENTION_BLOCK];
    v16_store(inverse, v16_div(v16_set1(1.0f), v16_load(block->sums)));
    for (int i = 0; i < block->rows; i++)
        store(w, (char *)w->args->y + w->args->y_stride * (size_t)(w->row + block->row + i), block->outputs + i * w->width,
              v16_set1(inverse[i]));
}

static void attend(const struct work *w, const struct block *block)
{
    const struct attention_args *a = w->args;
    float                        decay[ATTENTION_BLOCK];
    const struct product         dots = {
        .x = row_of(w, a->q, a->q_stride, block->row, w->head), .x_stride = a->q_stride, .b = w->key_panels,
        .b_stride = (size_t)a->head_size * LANES * sizeof(element), .steps = a->head_size / ATTENTION_PAIR,
        .y = w->scores, .y_stride = ATTENTION_SCORE_STRIDE, .continues = false };
    product_run(&dots, block->rows, (keys_seen(w, block->row + block->rows - 1) + LANES - 1) / LANES);
    weigh_block(w, block, decay);
    if (w->key > 0)
        decay_outputs(w, block, decay);
    mix(w, block);
    if (w->key + keys_seen(w, block->row) == (a->causal ? block->row + 1 : w->rows))
        finish(w, block);
}

/* Rows [first, last), which lie in one tile's worth, in blocks as even as they can be; `slot` is the first one's place. */
static void attend_band(const struct work *w, int chunk, int first, int last)
{
    const int rows = last - first, blocks = (rows + BLOCK_ROWS - 1) / BLOCK_ROWS;
    const int slot = (first - chunk) / ATTENTION_TILE * BAND_BLOCKS;
    for (int i = 0; i < blocks; i++) {
        int          from = first + rows * i / blocks, to = first + rows * (i + 1) / blocks;
        struct block block = { .row = from, .rows = to - from,
                               .maxima = w->maxima + (slot + i) * ATTENTION_BLOCK,
                               .sums = w->sums + (slot + i) * ATTENTION_BLOCK,
                               .outputs = w->rows > ATTENTION_TILE ? w->outputs + (from - chunk) * w->width : w->outputs };
        attend(w, &block);
    }
}

static void attend_chunk(struct work *w, int chunk)
{
    const int end = w->rows - chunk < ATTENTION_CHUNK ? w->rows : chunk + ATTENTION_CHUNK;
    for (int key = 0; key < (w->args->causal ? end : w->rows); key += ATTENTION_TILE) {
        pack(w, key);
        for (int band = w->args->causal && key > chunk ? key : chunk; band < end; band += ATTENTION_TILE)
            attend_band(w, chunk, band, end - band < ATTENTION_TILE ? end : band + ATTENTION_TILE);
    }
}

void KERNEL(ATTENTION_NAME)(const struct attention_args *a, int sequence, int head0, int head1, void *scratch)
{
    struct work w = work_new(a, sequence, scratch);
    for (w.head = head0; w.head < head1; w.head++) {
        w.kv_head = w.head / (a->heads / a->kv_heads);
        for (int chunk = 0; chunk < w.rows; chunk += ATTENTION_CHUNK)
            attend_chunk(&w, chunk);
    }
}
