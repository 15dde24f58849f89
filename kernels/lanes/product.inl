/* product.inl: y (+)= x b, an outer product along k in tiles of registers.
 *
 * b is packed into panels of 16 columns, [panel][step][16][4 bytes], each step one dot of lanes.h; x is read as it lies, 4
 * bytes a step and row; y holds f32 or int32 sums. Every sum is one chain along the steps, so the tile sizes, which come from
 * the register file (LANES_TILE_ROWS, LANES_TILE_VECTORS), never show in the result.
 *
 * Included after lanes.h by a file that defines before:
 *   PRODUCT_DOT                   the step of lanes.h: sum, x, panel -> sum
 *   PRODUCT_LOAD, PRODUCT_STORE   of sixteen sums
 *   PRODUCT_ZERO                  sixteen zeros
 *   product_sums, product_sum     the types of sixteen sums and of one
 */
struct product {
    const char  *x;        /* first row */
    size_t       x_stride; /* bytes */
    const char  *b;        /* first panel, aligned to 64 bytes */
    size_t       b_stride; /* bytes from panel to panel */
    int          steps;
    product_sum *y;        /* whole panels wide */
    size_t       y_stride; /* elements */
    bool         continues; /* y is added to */
};

/* Rows are addressed from every third one: base, base + stride and base + 2 * stride are single operands on x86. */
#define PRODUCT_ROW(i) (x[(i) / 3] + (size_t)((i) % 3) * stride)

/* The next row of y. The compiler must not see through it: it would compute every row's address ahead and spill them. */
LANES_INLINE product_sum *product_next(product_sum *y, size_t stride)
{
    y += stride;
    __asm__("" : "+r"(y));
    return y;
}

/* `rows` and `vectors` (panels) are constants wherever this is called. */
LANES_INLINE void product_tile(const struct product *p, const int rows, const int vectors)
{
    const size_t stride = p->x_stride, panel = p->b_stride, y_stride = p->y_stride;
    const char  *b = p->b, *const end = b + 64 * (size_t)p->steps;
    const char  *x[5] = { p->x };
    product_sum *y = p->y;
    product_sums sum[LANES_TILE_ROWS][2];
    for (int i = 1; i < 5; i++)
        x[i] = x[i - 1] + 3 * stride;
LANES_UNROLL
    for (int i = 0; i < rows; i++)
LANES_UNROLL
        for (int v = 0; v < vectors; v++)
            sum[i][v] = PRODUCT_ZERO;
    if (p->continues) {
LANES_UNROLL
        for (int i = 0; i < rows; i++) {
LANES_UNROLL
            for (int v = 0; v < vectors; v++)
                sum[i][v] = PRODUCT_LOAD(y + v * LANES);
            y = product_next(y, y_stride);
        }
        y = p->y;
    }
    for (; b < end; b += 64) {
LANES_UNROLL
        for (int i = 0; i < rows; i++) {
            sum[i][0] = PRODUCT_DOT(sum[i][0], PRODUCT_ROW(i), b);
            if (vectors == 2)
                sum[i][1] = PRODUCT_DOT(sum[i][1], PRODUCT_ROW(i), b + panel);
        }
LANES_UNROLL
        for (int i = 0; i < 5; i++)
            x[i] += 4;
    }
LANES_UNROLL
    for (int i = 0; i < rows; i++) {
LANES_UNROLL
        for (int v = 0; v < vectors; v++)
            PRODUCT_STORE(y + v * LANES, sum[i][v]);
        y = product_next(y, y_stride);
    }
}

typedef void product_function(const struct product *p);
#define PRODUCT_DEFINE(rows, vectors) \
    static __attribute__((noinline)) void product_##rows##x##vectors(const struct product *p) { product_tile(p, rows, vectors); }
PRODUCT_DEFINE(1, 1) PRODUCT_DEFINE(2, 1) PRODUCT_DEFINE(3, 1) PRODUCT_DEFINE(4, 1) PRODUCT_DEFINE(5, 1) PRODUCT_DEFINE(6, 1)
static product_function *const product_narrow[] = { 0, product_1x1, product_2x1, product_3x1, product_4x1, product_5x1,
                                                    product_6x1 };
enum { PRODUCT_NARROW_ROWS = 6 };
#if LANES_TILE_VECTORS == 2
PRODUCT_DEFINE(1, 2) PRODUCT_DEFINE(2, 2) PRODUCT_DEFINE(3, 2) PRODUCT_DEFINE(4, 2) PRODUCT_DEFINE(5, 2) PRODUCT_DEFINE(6, 2)
PRODUCT_DEFINE(7, 2) PRODUCT_DEFINE(8, 2) PRODUCT_DEFINE(9, 2) PRODUCT_DEFINE(10, 2) PRODUCT_DEFINE(11, 2)
PRODUCT_DEFINE(12, 2) PRODUCT_DEFINE(13, 2) PRODUCT_DEFINE(14, 2)
static product_function *const product_wide[] = { 0, product_1x2, product_2x2, product_3x2, product_4x2, product_5x2,
                                                  product_6x2, product_7x2, product_8x2, product_9x2, product_10x2,
                                                  product_11x2, product_12x2, product_13x2, product_14x2 };
enum { PRODUCT_WIDE_ROWS = 14 };
#endif

/* Panels [0, panels) in groups of `vectors`; row tiles are as even as they can be. */
LANES_INLINE void product_columns(const struct product *whole, int rows, int panels, int vectors, int most,
                                  product_function *const *tiles)
{
    const int count = (rows + most - 1) / most;
    for (int i = 0; i < count; i++) {
        int            from = rows * i / count, to = rows * (i + 1) / count;
        struct product part = *whole;
        part.x += whole->x_stride * (size_t)from;
        part.y += whole->y_stride * (size_t)from;
        for (int panel = 0; panel < panels; panel += vectors) {
            tiles[to - from](&part);
            part.b += whole->b_stride * (size_t)vectors;
            part.y += vectors * LANES;
        }
    }
}

static void product_run(const struct product *p, int rows, int panels)
{
#if LANES_TILE_VECTORS == 2
    const int      pairs = panels / 2 * 2;
    struct product last  = *p;
    product_columns(p, rows, pairs, 2, PRODUCT_WIDE_ROWS, product_wide);
    last.b += p->b_stride * (size_t)pairs;
    last.y += pairs * LANES;
    product_columns(&last, rows, panels - pairs, 1, PRODUCT_NARROW_ROWS, product_narrow);
#else
    product_columns(p, rows, panels, 1, PRODUCT_NARROW_ROWS, product_narrow);
#endif
}
