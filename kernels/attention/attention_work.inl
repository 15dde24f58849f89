/* attention_work.inl: what every vectorised kernel of attention.h works with: the parts of its scratch, and sixteen rows folded
 * at once. First of three: this, then the arithmetic of the element type, then attention_walk.inl.
 *
 * Included by one file a kernel, which defines before (beside what product.inl wants):
 *   ATTENTION_NAME   the kernel's name, such as attention_f32
 *   ATTENTION_PAIR   packed elements in 4 bytes
 *   ATTENTION_UNIT   what the integers that stand for weights count; 1 for numbers
 *   input, element   the types of q, k and v, and of what is packed, weights too
 */
#include "kernels/lanes/lanes_part.h"
#include "kernels/lanes/product.inl"

enum {
    BLOCK_ROWS  = LANES_TILE_ROWS < 12 ? 2 * LANES_TILE_ROWS : LANES_TILE_ROWS, /* whole register tiles, at most 16 */
    BAND_BLOCKS = (ATTENTION_TILE + BLOCK_ROWS - 1) / BLOCK_ROWS
};
_Static_assert((int)BLOCK_ROWS <= ATTENTION_BLOCK, "scratch holds the rows of a block");
_Static_assert(2 * (int)BAND_BLOCKS <= ATTENTION_BLOCKS && ATTENTION_CHUNK == 2 * ATTENTION_TILE, "and the blocks of a chunk");

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
    product_sum                 *dots;         /* [ATTENTION_BLOCK][ATTENTION_SCORE_STRIDE] */
    element                     *weights;      /* the same; f32 puts them in the place of the dots */
    /* attention_s16 alone: */
    int16_t                     *codes;        /* [ATTENTION_BLOCK][ATTENTION_SCORE_STRIDE], rows that are quantised */
    float                        key_step, value_step;
    int32_t                     *mixed;        /* [ATTENTION_BLOCK][width] */
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
    w.dots         = (product_sum *)(void *)(w.sums + ATTENTION_BLOCKS * ATTENTION_BLOCK);
    w.codes        = (int16_t *)(void *)(w.dots + ATTENTION_BLOCK * ATTENTION_SCORE_STRIDE);
    w.weights      = ATTENTION_PAIR == 1 ? (void *)w.dots : (void *)(w.codes + ATTENTION_BLOCK * ATTENTION_SCORE_STRIDE);
    w.mixed        = (int32_t *)(void *)(w.codes + 2 * ATTENTION_BLOCK * ATTENTION_SCORE_STRIDE);
    w.outputs      = (float *)(void *)(w.mixed + ATTENTION_BLOCK * w.width);
    return w;
}

static const char *row_of(const struct work *w, const void *base, size_t stride, int row, int head)
{
    return (const char *)base + stride * (size_t)(w->row + row) + (size_t)head * (size_t)w->args->head_size * sizeof(input);
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
