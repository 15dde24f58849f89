/* attention_float.inl: the arithmetic of f32 and bf16: k transposed into panels of 16 keys, v into panels of 16 elements.
 *
 * Wants, beside what attention_work.inl lists:
 *   ATTENTION_STORE   stores sixteen weights
 *   ATTENTION_PACK    64 bytes of v's panel from sixteen elements of one key and, if they come in pairs, of the next
 */
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

static void pack_tile(struct work *w)
{
    for (int i = 0; i < w->keys; i += LANES)
        pack_key_panel(w, w->key + i, w->keys - i < LANES ? w->keys - i : LANES,
                       w->key_panels + (size_t)i * (size_t)w->args->head_size * sizeof(element));
    for (int column = 0; column < w->width; column += LANES) {
        char *panel = w->value_panels + (size_t)(column / LANES) * w->value_stride;
        for (int i = 0; i < w->keys; i += ATTENTION_PAIR)
            pack_value_line(w, i, column, panel + 64 * (i / ATTENTION_PAIR));
    }
}

/* The dot products of a block with the packed tile; what each row's are multiplied by goes to `factors`. */
static void take_dots(const struct work *w, const struct block *block, float factors[ATTENTION_BLOCK])
{
    const struct attention_args *a       = w->args;
    const struct product         product = {
        .x = row_of(w, a->q, a->q_stride, block->row, w->head), .x_stride = a->q_stride, .b = w->key_panels,
        .b_stride = (size_t)a->head_size * LANES * sizeof(element), .steps = a->head_size / ATTENTION_PAIR,
        .y = w->dots, .y_stride = ATTENTION_SCORE_STRIDE, .continues = false };
    product_run(&product, block->rows, (keys_seen(w, block->row + block->rows - 1) + LANES - 1) / LANES);
    v16_store(factors, v16_set1(a->scale * EXP_LOG2E));
}

/* The maxima of one row's dots in sixteen lanes. */
LANES_INLINE v16 row_maxima(const struct work *w, int row, int keys)
{
    const float *dots = w->dots + row * ATTENTION_SCORE_STRIDE;
    v16          most = v16_set1(-INFINITY);
    int          j    = 0;
    for (; j + LANES <= keys; j += LANES)
        most = v16_max(most, v16_load(dots + j));
    if (j < keys)
        most = v16_keep(v16_max(most, v16_load(dots + j)), keys - j, most);
    return most;
}

/* Turns one row of dots into weights and returns their sums; what fills up the last sixteen is zero. */
LANES_INLINE v16 row_weights(const struct work *w, int row, int keys, v16 factor, v16 maximum)
{
    const float *dots    = w->dots + row * ATTENTION_SCORE_STRIDE;
    element     *weights = w->weights + row * ATTENTION_SCORE_STRIDE;
    v16          sum = v16_set1(0.0f);
    int          j   = 0;
    for (; j + LANES <= keys; j += LANES) {
        v16 weight = v16_exp2(v16_sub(v16_mul(factor, v16_load(dots + j)), maximum));
        sum        = v16_add(sum, weight);
        ATTENTION_STORE(weights + j, weight);
    }
    if (j < keys) {
        v16 weight = v16_exp2(v16_sub(v16_mul(factor, v16_load(dots + j)), maximum));
        weight     = v16_keep(weight, keys - j, v16_set1(0.0f));
        sum        = v16_add(sum, weight);
        ATTENTION_STORE(weights + j, weight);
    }
    return sum;
}

/* One query's keys [from, to) of the tile. A pair whose odd key it does not see is a pair with a zero. */
static void mix_rest(const struct work *w, const struct block *block, int i, int from, int to)
{
    const struct product whole = {
        .x = (const char *)(w->weights + i * ATTENTION_SCORE_STRIDE + from), .x_stride = 0,
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
        .x = (const char *)w->weights, .x_stride = ATTENTION_SCORE_STRIDE * sizeof(element),
        .b = w->value_panels, .b_stride = w->value_stride, .steps = (common + ATTENTION_PAIR - 1) / ATTENTION_PAIR,
        .y = block->outputs, .y_stride = (size_t)w->width, .continues = w->key > 0 };
    product_run(&product, block->rows, w->width / LANES);
    if (common < last)
        for (int i = 0; i < block->rows; i++)
            mix_rest(w, block, i, common, keys_seen(w, block->row + i));
}
