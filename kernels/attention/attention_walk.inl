/* attention_walk.inl: attention.h vectorised, for all element types.
 *
 * A tile of keys is packed once and stays in the caches while blocks of queries pass over it: their dot products as one
 * product, the softmax row by row there, then a second product with v into `outputs`. Queries are taken in chunks, so that
 * the scratch does not grow with the sequence.
 *
 * The element type's part has defined pack_tile, take_dots, row_maxima, row_weights and mix.
 */
/* The softmax of a block over this tile: weights, the new maxima and sums; `decay` is what old outputs are multiplied by. */
static void weigh(const struct work *w, const struct block *block, const float *factors, float decay[ATTENTION_BLOCK])
{
    v16 row[LANES];
    for (int i = 0; i < LANES; i++)
        row[i] = i < block->rows ? row_maxima(w, i, keys_seen(w, block->row + i)) : v16_set1(0.0f);
    v16 before = w->key > 0 ? v16_load(block->maxima) : v16_set1(-INFINITY);
    v16 after  = v16_max(before, v16_mul(v16_load(factors), fold_maxima(row)));
    v16 fading = w->key > 0 ? v16_exp2(v16_sub(before, after)) : v16_set1(0.0f);
    v16_store(block->maxima, after);
    v16_store(decay, fading);
    for (int i = 0; i < LANES; i++)
        row[i] = i < block->rows ? row_weights(w, i, keys_seen(w, block->row + i), v16_set1(factors[i]), v16_set1(block->maxima[i]))
                                 : v16_set1(0.0f);
    v16 sum = w->key > 0 ? v16_load(block->sums) : v16_set1(0.0f);
    v16_store(block->sums, v16_fma(sum, fading, v16_mul(fold_sums(row), v16_set1(ATTENTION_UNIT))));
}

static void decay_outputs(const struct work *w, const struct block *block, const float *decay)
{
    for (int i = 0; i < block->rows; i++)
        for (int column = 0; column < w->width; column += LANES) {
            float *y = block->outputs + i * w->width + column;
            v16_store(y, v16_mul(v16_set1(decay[i]), v16_load(y)));
        }
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
    float factors[ATTENTION_BLOCK], decay[ATTENTION_BLOCK];
    take_dots(w, block, factors);
    weigh(w, block, factors, decay);
    if (w->key > 0)
        decay_outputs(w, block, decay);
    mix(w, block);
    if (w->key + keys_seen(w, block->row) == (w->args->causal ? block->row + 1 : w->rows))
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

static void pack(struct work *w, int key)
{
    if (w->packed_head == w->kv_head && w->key == key)
        return;
    w->packed_head = w->kv_head;
    w->key         = key;
    w->keys        = w->rows - key < ATTENTION_TILE ? w->rows - key : ATTENTION_TILE;
    pack_tile(w);
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
