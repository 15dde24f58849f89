/* linear_tiles.inl: linear.h vectorised: register tiles of rows by columns, an outer product along k.
 *
 * x is read as it lies (one broadcast an element and row), the panels stream once per tile of rows. Columns are taken in
 * blocks whose panels fit half of the second-level cache, so that they stay there while the row tiles pass. The tile sizes
 * come from the register file (LANES_TILE_ROWS, LANES_TILE_VECTORS) and never show in the result.
 *
 * Included by one file an element type, which defines before:
 *   LINEAR_NAME      the kernel's name, such as linear_f32
 *   linear_sum       the type of sixteen sums, LINEAR_ZERO, sixteen zeros, linear_scalar, one sum, and LINEAR_STORE
 *   LINEAR_DOT       the step of lanes.h: sum, x, panel -> sum
 *   LINEAR_STEP      how many k a step takes; 4 or 2 bytes of u8 or bf16, always 64 bytes of a panel
 *   linear_column, column_load    what the epilogue needs of sixteen outputs, whatever the row
 *   column_value     sixteen stored sums of a row -> its sixteen outputs before the activation
 */
enum { COLUMN_BLOCK_BYTES = 512 << 10, STEP_BYTES = 4 };

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
    case LINEAR_GELU_ERF: return v16_gelu_erf(v);
    case LINEAR_GELU_TANH: return v16_gelu_tanh(v);
    case LINEAR_RELU: return v16_relu(v);
    case LINEAR_SILU: return v16_silu(v);
    case LINEAR_TANH: return v16_tanh(v);
    case LINEAR_SILU_GATE:  /* needs two panels: finish_gate */
    case LINEAR_NONE: break;
    }
    return v;
}

/* Adds the residual and stores sixteen columns of one row, fewer where y ends; `width` is the number of columns of y. */
LANES_INLINE void store(const struct linear_args *a, int row, int column, int width, v16 v)
{
    int   count = width - column < LANES ? width - column : LANES;
    char *y     = (char *)a->y + a->y_stride * (size_t)row;
    if (a->residual) {
        const float *residual = (const void *)((const char *)a->residual + a->residual_stride * (size_t)row);
        v = v16_add(v, count == LANES ? v16_load(residual + column) : v16_load_part(residual + column, count));
    }
    if (a->y_type == DTYPE_BF16 && count == LANES) {
        v16_store_bf16((uint16_t *)(void *)y + column, v);
    } else if (a->y_type == DTYPE_BF16) {
        uint16_t whole[LANES];
        v16_store_bf16(whole, v);
        memcpy((uint16_t *)(void *)y + column, whole, 2 * (size_t)count);
    } else if (count == LANES) {
        v16_store((float *)(void *)y + column, v);
    } else {
        v16_store_part((float *)(void *)y + column, v, count);
    }
}

/* Column by column, so that what belongs to a column stays in registers while the rows pass. */
LANES_INLINE void finish_with(const struct tile *t, const struct sums *sums, int rows, int vectors, const enum linear_act act)
{
    const struct linear_args *a = t->args;
    for (int v = 0; v < vectors; v++) {
        const int           column = t->column + v * LANES;
        const linear_column terms  = column_load(a->weight, column);
        for (int i = 0; i < rows; i++)
            store(a, t->row + i, column, a->weight->n, activate(act, column_value(a, &terms, t->row + i, sums->at[i][v])));
    }
}

static void finish_gate(const struct tile *t, const struct sums *sums, int rows)
{
    const struct linear_args *a    = t->args;
    const linear_column       gate = column_load(a->weight, t->column), up = column_load(a->weight, t->column + LANES);
    for (int i = 0; i < rows; i++) {
        v16 g = column_value(a, &gate, t->row + i, sums->at[i][0]), u = column_value(a, &up, t->row + i, sums->at[i][1]);
        store(a, t->row + i, t->column / 2, a->weight->n / 2, v16_mul(v16_silu(g), u));
    }
}

static __attribute__((noinline)) void finish(const struct tile *t, const struct sums *sums, int rows, int vectors)
{
    switch (t->args->act) {
    case LINEAR_NONE: finish_with(t, sums, rows, vectors, LINEAR_NONE); break;
    case LINEAR_GELU_ERF: finish_with(t, sums, rows, vectors, LINEAR_GELU_ERF); break;
    case LINEAR_GELU_TANH: finish_with(t, sums, rows, vectors, LINEAR_GELU_TANH); break;
    case LINEAR_RELU: finish_with(t, sums, rows, vectors, LINEAR_RELU); break;
    case LINEAR_SILU: finish_with(t, sums, rows, vectors, LINEAR_SILU); break;
    case LINEAR_TANH: finish_with(t, sums, rows, vectors, LINEAR_TANH); break;
    case LINEAR_SILU_GATE: finish_gate(t, sums, rows); break;
    }
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
#pragma GCC unroll 16
    for (int i = 0; i < rows; i++)
        sum[i][0] = sum[i][1] = LINEAR_ZERO;
    for (int k = 0; k < a->weight->k; k += LINEAR_STEP) {
#pragma GCC unroll 16
        for (int i = 0; i < rows; i++) {
            sum[i][0] = LINEAR_DOT(sum[i][0], ROW(i), b);
            if (vectors == 2)
                sum[i][1] = LINEAR_DOT(sum[i][1], ROW(i), b + panel);
        }
        b += 64;
#pragma GCC unroll 5
        for (int i = 0; i < 5; i++)
            x[i] += STEP_BYTES;
    }
    struct sums sums;
#pragma GCC unroll 16
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
    if (block < vectors)
        block = vectors;
    for (int first = panel0; first < panel1; first += block) {
        int last  = first + block < panel1 ? first + block : panel1;
        int pairs = (last - first) / vectors * vectors;
        run_columns(a, row0, row1, first, first + pairs, vectors);
        if (first + pairs < last)  /* a last panel without a neighbour */
            run_columns(a, row0, row1, first + pairs, last, 1);
    }
}
