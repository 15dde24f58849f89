/* linear_tiles.inl: linear.h vectorised: register tiles of rows by columns, an outer product along k.
 *
 * x is read as it lies (one broadcast an element and row), the panels stream once per tile of rows. Columns are taken in
 * blocks whose panels fit half of the second-level cache, so that they stay there while the row tiles pass; few row tiles take
 * them panel by panel, so that memory and arithmetic overlap. The tile sizes come from the register file (LANES_TILE_ROWS,
 * LANES_TILE_VECTORS) and never show in the result.
 *
 * Included by one file an element type, which defines before:
 *   LINEAR_NAME      the kernel's name, such as linear_f32
 *   linear_sum       the type of sixteen sums, LINEAR_ZERO, sixteen zeros, linear_scalar, one sum, and LINEAR_STORE
 *   LINEAR_DOT       the step of lanes.h: sum, x, panel -> sum
 *   LINEAR_STEP      how many k a step takes; 4 or 2 bytes of u8 or bf16, always 64 bytes of a panel
 *   linear_column, column_load    what the epilogue needs of sixteen outputs, whatever the row
 *   linear_row, row_load          what it needs of a row, whatever the output
 *   linear_is_usual  whether the epilogue that is compiled for usual weights serves this one
 *   column_value     sixteen stored sums of a row -> its sixteen outputs before the activation
 *   LINEAR_GELU      how exact a GELU the type deserves
 */
#include "kernels/lanes/lanes_part.h"

enum { COLUMN_BLOCK_BYTES = 512 << 10, STEP_BYTES = 4, FEW_TILES = 2 };

/* Where a tile stands. */
struct tile {
    const struct linear_args *args;
    const char               *x;      /* its first row */
    const char               *panel;  /* its first panel */
    int                       row;    /* number of its first row */
    int                       column; /* number of its first column */
};

/* The sums of a tile on their way from the main loop to the epilogue. In memory, so that the epilogue is compiled once and
 * not into each of the tiles; they never leave the first-level cache. */
struct sums {
    _Alignas(64) linear_scalar at[LANES_TILE_ROWS][2][LANES];
};

LANES_INLINE v16 activate(enum linear_act act, v16 v)
{
    switch (act) {
    case LINEAR_GELU_ERF: return LINEAR_GELU(v);
    case LINEAR_GELU_TANH: return v16_gelu_tanh(v);
    case LINEAR_RELU: return v16_relu(v);
    case LINEAR_SILU: return v16_silu(v);
    case LINEAR_TANH: return v16_tanh(v);
    case LINEAR_SILU_GATE:  /* needs two panels: finish_gate */
    case LINEAR_NONE: break;
    }
    return v;
}

/* Where a tile's outputs go. A copy of the arguments, so that they stay in registers whatever the stores may alias. */
struct outputs {
    const char *residual;  /* the tile's first row and first column of it; null for none */
    char       *y;
    size_t      residual_stride, y_stride;
    int         width;     /* columns of y from the tile's first one on */
    enum dtype  y_type;
};

static struct outputs outputs_of(const struct tile *t, int column, int width)
{
    const struct linear_args *a = t->args;
    struct outputs o = { .residual_stride = a->residual_stride, .y_stride = a->y_stride, .width = width - column,
                         .y_type = a->y_type };
    o.y = (char *)a->y + a->y_stride * (size_t)t->row + (size_t)column * (size_t)dtype_bits(a->y_type) / 8;
    if (a->residual)
        o.residual = (const char *)a->residual + a->residual_stride * (size_t)t->row + (size_t)column * sizeof(float);
    return o;
}

/* Adds the residual and stores a row's sixteen columns from the v-th vector on, fewer where y ends. */
LANES_INLINE void store(const struct outputs *o, int row, int v, v16 value)
{
    const int count = o->width - v * LANES < LANES ? o->width - v * LANES : LANES;
    char     *y     = o->y + o->y_stride * (size_t)row;
    if (o->residual)
        value = v16_add(value, v16_load_count((const float *)(const void *)(o->residual + o->residual_stride * (size_t)row) +
                                              v * LANES, count));
    if (o->y_type == DTYPE_BF16)
        v16_store_bf16_count((uint16_t *)(void *)y + v * LANES, value, count);
    else
        v16_store_count((float *)(void *)y + v * LANES, value, count);
}

/* What the epilogue works on: `rows` of a tile's sums, from its vector `first` on. */
struct finish {
    const struct tile *tile;
    const struct sums *sums;
    int                rows, first;
};

/* Row by row: what belongs to the columns stays in registers, what belongs to a row is read once. */
LANES_INLINE void finish_with(const struct finish *f, const int vectors, const enum linear_act act, const bool usual)
{
    const struct linear_args *a      = f->tile->args;
    const int                 column = f->tile->column + f->first * LANES, rows = f->rows;
    const struct outputs      o      = outputs_of(f->tile, column, a->weight->n);
    linear_column             terms[2];
LANES_UNROLL
    for (int v = 0; v < vectors; v++)
        terms[v] = column_load(a->weight, column + v * LANES, usual);
    for (int i = 0; i < rows; i++) {
        const linear_row row = row_load(a, f->tile->row + i);
LANES_UNROLL
        for (int v = 0; v < vectors; v++)
            store(&o, i, v, activate(act, column_value(&terms[v], &row, f->sums->at[i][f->first + v], usual)));
    }
}

static void finish_gate(const struct finish *f)
{
    const struct linear_args *a = f->tile->args;
    const struct outputs      o = outputs_of(f->tile, f->tile->column / 2, a->weight->n / 2);
    const linear_column       gate = column_load(a->weight, f->tile->column, false);
    const linear_column       up   = column_load(a->weight, f->tile->column + LANES, false);
    for (int i = 0; i < f->rows; i++) {
        const linear_row row = row_load(a, f->tile->row + i);
        v16 g = column_value(&gate, &row, f->sums->at[i][0], false), u = column_value(&up, &row, f->sums->at[i][1], false);
        store(&o, i, 0, v16_mul(v16_silu(g), u));
    }
}

typedef void finish_function(const struct finish *f);

/* As wide as tiles are and with the usual number of outliers. One function each: together they would be too much for the
 * compiler to keep a column's terms in registers. */
#define DEFINE_FINISH(name, act) \
    static __attribute__((noinline)) void finish_##name(const struct finish *f) { finish_with(f, LANES_TILE_VECTORS, act, true); }
DEFINE_FINISH(none, LINEAR_NONE)
DEFINE_FINISH(gelu_erf, LINEAR_GELU_ERF)
DEFINE_FINISH(gelu_tanh, LINEAR_GELU_TANH)
DEFINE_FINISH(relu, LINEAR_RELU)
DEFINE_FINISH(silu, LINEAR_SILU)
DEFINE_FINISH(tanh, LINEAR_TANH)
static finish_function *const finishes[] = { [LINEAR_NONE] = finish_none, [LINEAR_GELU_ERF] = finish_gelu_erf,
                                             [LINEAR_GELU_TANH] = finish_gelu_tanh, [LINEAR_RELU] = finish_relu,
                                             [LINEAR_SILU] = finish_silu, [LINEAR_TANH] = finish_tanh };

static __attribute__((noinline)) void finish_unusual(const struct finish *f) { finish_with(f, 1, f->tile->args->act, false); }

static void finish(const struct tile *t, const struct sums *sums, int rows, int vectors)
{
    struct finish f = { t, sums, rows, 0 };
    if (t->args->act == LINEAR_SILU_GATE)
        finish_gate(&f);
    else if (vectors == LANES_TILE_VECTORS && linear_is_usual(t->args->weight))
        finishes[t->args->act](&f);
    else
        for (; f.first < vectors; f.first++)
            finish_unusual(&f);
}

/* Rows are addressed from every third one: base, base + stride and base + 2 * stride are single operands on x86. */
#define ROW(i) (x[(i) / 3] + (size_t)((i) % 3) * stride)

/* `rows` and `vectors` (panels) are constants wherever this is called. */
LANES_INLINE void tile_run(const struct tile *t, const int rows, const int vectors)
{
    const struct linear_args *a      = t->args;
    const size_t              stride = a->x_stride, panel = linear_panel_bytes(a->weight->type, a->weight->k);
    const char               *b      = t->panel;
    const char               *x[5];
    linear_sum                sum[LANES_TILE_ROWS][2];
    for (int i = 0; i < 5; i++)
        x[i] = t->x + (size_t)(3 * i) * stride;
LANES_UNROLL
    for (int i = 0; i < rows; i++)
        sum[i][0] = sum[i][1] = LINEAR_ZERO;
    for (int k = 0; k < a->weight->k; k += LINEAR_STEP) {
LANES_UNROLL
        for (int i = 0; i < rows; i++) {
            sum[i][0] = LINEAR_DOT(sum[i][0], ROW(i), b);
            if (vectors == 2)
                sum[i][1] = LINEAR_DOT(sum[i][1], ROW(i), b + panel);
        }
        /* the panels of the next tile, into the second level: hardware does not look beyond a page */
        __builtin_prefetch(b + (size_t)vectors * panel, 0, 2);
        if (vectors == 2)
            __builtin_prefetch(b + 3 * panel, 0, 2);
        b += 64;
LANES_UNROLL
        for (int i = 0; i < 5; i++)
            x[i] += STEP_BYTES;
    }
    struct sums sums;
LANES_UNROLL
    for (int i = 0; i < rows; i++) {
        LINEAR_STORE(sums.at[i][0], sum[i][0]);
        if (vectors == 2)
            LINEAR_STORE(sums.at[i][1], sum[i][1]);
    }
    finish(t, &sums, rows, vectors);
}

typedef void tile_function(const struct tile *t);
#define DEFINE_TILE(rows, vectors) \
    static __attribute__((noinline)) void tile_##rows##x##vectors(const struct tile *t) { tile_run(t, rows, vectors); }
DEFINE_TILE(1, 1) DEFINE_TILE(2, 1) DEFINE_TILE(3, 1) DEFINE_TILE(4, 1) DEFINE_TILE(5, 1) DEFINE_TILE(6, 1)
DEFINE_TILE(1, 2) DEFINE_TILE(2, 2) DEFINE_TILE(3, 2)
#if LANES_TILE_VECTORS == 2
DEFINE_TILE(4, 2) DEFINE_TILE(5, 2) DEFINE_TILE(6, 2) DEFINE_TILE(7, 2) DEFINE_TILE(8, 2) DEFINE_TILE(9, 2)
DEFINE_TILE(10, 2) DEFINE_TILE(11, 2) DEFINE_TILE(12, 2) DEFINE_TILE(13, 2) DEFINE_TILE(14, 2)
static tile_function *const wide_tiles[] = { 0, tile_1x2, tile_2x2, tile_3x2, tile_4x2, tile_5x2, tile_6x2, tile_7x2,
                                             tile_8x2, tile_9x2, tile_10x2, tile_11x2, tile_12x2, tile_13x2, tile_14x2 };
static tile_function *const narrow_tiles[] = { 0, tile_1x1, tile_2x1, tile_3x1, tile_4x1, tile_5x1, tile_6x1 };
enum { WIDE_ROWS = 14, NARROW_ROWS = 6 };
#else
static tile_function *const wide_tiles[]   = { 0, tile_1x2, tile_2x2, tile_3x2 };
static tile_function *const narrow_tiles[] = { 0, tile_1x1, tile_2x1, tile_3x1, tile_4x1, tile_5x1, tile_6x1 };
enum { WIDE_ROWS = 3, NARROW_ROWS = 6 };
#endif

/* All rows of the panels [first, last), `vectors` panels at a time; row tiles are as even as they can be. */
static void run_columns(const struct linear_args *a, int row0, int row1, int first, int last, int vectors)
{
    const size_t panel = linear_panel_bytes(a->weight->type, a->weight->k);
    const int    most = vectors == 2 ? WIDE_ROWS : NARROW_ROWS, rows = row1 - row0, tiles = (rows + most - 1) / most;
    for (int i = 0; i < tiles; i++) {
        int           from = row0 + rows * i / tiles, to = row0 + rows * (i + 1) / tiles;
        tile_function *run = (vectors == 2 ? wide_tiles : narrow_tiles)[to - from];
        for (int p = first; p < last; p += vectors) {
            struct tile t = { a, (const char *)a->x + a->x_stride * (size_t)from,
                              (const char *)a->weight->panels + panel * (size_t)p, from, p * LANES };
            run(&t);
        }
    }
}

void KERNEL(LINEAR_NAME)(const struct linear_args *a, int row0, int row1, int panel0, int panel1)
{
    const size_t panel   = linear_panel_bytes(a->weight->type, a->weight->k);
    const int    vectors = a->act == LINEAR_SILU_GATE ? 2 : LANES_TILE_VECTORS;
    int          block   = (int)(COLUMN_BLOCK_BYTES / panel) / vectors * vectors;
    if (block < vectors || row1 - row0 <= FEW_TILES * (vectors == 2 ? WIDE_ROWS : NARROW_ROWS))
        block = vectors;
    for (int first = panel0; first < panel1; first += block) {
        int last  = first + block < panel1 ? first + block : panel1;
        int pairs = (last - first) / vectors * vectors;
        run_columns(a, row0, row1, first, first + pairs, vectors);
        if (first + pairs < last)  /* a last panel without a neighbour */
            run_columns(a, row0, row1, first + pairs, last, 1);
    }
}
