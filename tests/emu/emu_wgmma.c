/* wgmma: products of a warpgroup that happen between their issue and the wait for their group.
 *
 * When a thread issues a product its part of the accumulator is taken away: its values move here and NaNs are left behind, so
 * that a kernel that reads it before the wait computes NaN, and one that writes it is told. The values come back when no
 * product in flight uses the accumulator any more. A in registers is copied at the issue and compared when the product happens.
 */
#include "emu_state.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { IN_FLIGHT_BITS = 0x7f95a5a5 };  /* a signalling NaN: nobody computes one, and any arithmetic on it changes it */

struct emu_accumulator {
    struct emu_accumulator *next;     /* among the free ones */
    float                  *d[128];   /* of each thread; null: not taken yet */
    int                     n, products;
    float                   c[64][256] __attribute__((aligned(64)));
};

struct emu_product {
    struct emu_product     *next;
    struct emu_accumulator *tile;
    struct emu_wgmma        what;     /* of the first thread */
    const uint32_t         *a_where[128];
    uint32_t                a[128][4];
    int                     threads;
    struct emu_site         site;
};

static __thread struct emu_accumulator *free_tiles;
static __thread struct emu_product     *free_products;

static void *taken(size_t bytes)
{
    void *memory = aligned_alloc(64, (bytes + 63) / 64 * 64);
    if (!memory) {
        fprintf(stderr, "[emu] no memory for a product\n");
        abort();
    }
    return memory;
}

static struct emu_accumulator *tile_make(int n)
{
    struct emu_accumulator *t = free_tiles;
    if (t)
        free_tiles = t->next;
    else
        t = taken(sizeof *t);
    memset(t->d, 0, sizeof t->d);
    t->n        = n;
    t->products = 0;
    return t;
}

static struct emu_product *product_make(void)
{
    struct emu_product *p = free_products;
    if (p)
        free_products = p->next;
    else
        p = taken(sizeof *p);
    p->threads = 0;
    return p;
}

static void product_free(struct emu_product *p)
{
    p->next       = free_products;
    free_products = p;
}

static void tile_free(struct emu_accumulator *t)
{
    t->next    = free_tiles;
    free_tiles = t;
}

void emu_warpgroup_reset(struct emu_warpgroup *g)
{
    for (int i = 0; i < g->products.count; i++)
        product_free(g->products.items[i]);
    for (int i = 0; i < g->tiles.count; i++)
        tile_free(g->tiles.items[i]);
    g->products.count = g->tiles.count = g->group_ends.count = 0;
    g->done = g->waiting = 0;
    memset(g->issued, 0, sizeof g->issued);
    memset(g->committed, 0, sizeof g->committed);
    memset(g->fenced, 0, sizeof g->fenced);
}

/* ---- accumulators ---- */

static int row_of(int thread, int i) { return thread / 32 * 16 + thread % 32 / 4 + (i >> 1 & 1) * 8; }
static int column_of(int thread, int i) { return i / 4 * 8 + thread % 4 * 2 + (i & 1); }

static void tile_take(struct emu_accumulator *t, int thread, float *d)
{
    uint32_t bits = IN_FLIGHT_BITS;
    t->d[thread]  = d;
    for (int i = 0; i < t->n / 2; i++) {
        t->c[row_of(thread, i)][column_of(thread, i)] = d[i];
        memcpy(&d[i], &bits, 4);
    }
}

static void tile_give_back(const struct emu_accumulator *t, struct emu_site site)
{
    for (int thread = 0; thread < 128; thread++) {
        float *d = t->d[thread];
        for (int i = 0; d && i < t->n / 2; i++) {
            uint32_t bits;
            memcpy(&bits, &d[i], 4);
            if (bits != IN_FLIGHT_BITS)
                emu_finding(site, "an accumulator of a wgmma in flight was written before the wait: element %d of thread %d",
                            i, thread);
            d[i] = t->c[row_of(thread, i)][column_of(thread, i)];
        }
    }
}

/* The tile in flight that is this thread's array, or a new one. */
static struct emu_accumulator *tile_of(struct emu_warpgroup *g, int thread, const struct emu_wgmma *p, struct emu_site site)
{
    for (int i = 0; i < g->tiles.count; i++)
        if (g->tiles.items[i]->d[thread] == p->d) {
            if (g->tiles.items[i]->n != p->n)
                emu_fail(site, "wgmma of n = %d on an accumulator in flight with n = %d", p->n, g->tiles.items[i]->n);
            return g->tiles.items[i];
        }
    return *EMU_PUSH(&g->tiles) = tile_make(p->n);
}

/* ---- operands in shared memory ---- */

struct operand {
    uint32_t address, leading, stride;
    int      mode;         /* of the swizzle, as emu_swizzle has it */
    bool     mn_major;
    int      rows;         /* along m or n */
};

/* A base offset is for tiles that start within a pattern of their swizzle: nobody here has one. */
static const uint64_t descriptor_fields = UINT64_C(3) << 62 | UINT64_C(0x3fff) << 32 | UINT64_C(0x3fff) << 16 | 0x3fff;

static struct operand operand_of(uint64_t descriptor, int rows, bool mn_major, struct emu_site site)
{
    static const int modes[4] = { 0, 3, 2, 1 };
    struct operand   o = { (uint32_t)(descriptor & 0x3fff) << 4, (uint32_t)(descriptor >> 16 & 0x3fff) << 4,
                           (uint32_t)(descriptor >> 32 & 0x3fff) << 4, modes[descriptor >> 62], mn_major, rows };
    uint32_t width = 16u << o.mode, pattern = 8 * width;
    if (descriptor & ~descriptor_fields)
        emu_fail(site, "bits of a wgmma descriptor that mean nothing are set: 0x%016llx", (unsigned long long)descriptor);
    if (o.mode && (o.address % pattern >= width || o.stride % pattern || (mn_major && o.leading % pattern)))
        emu_finding(site, "a wgmma operand at 0x%x, strides %u and %u: patterns of its swizzle start at multiples of %u", o.address,
                    o.leading, o.stride, pattern);
    return o;
}

/* Address of 16 bytes: K-major, half `i` of row `r`'s 32 bytes along k; MN-major, 8 rows from r at k = i. */
static uint32_t chunk_at(const struct operand *o, int r, int i)
{
    uint32_t row = (uint32_t)r, k = (uint32_t)i, width = 16u << o->mode;
    if (!o->mode && !o->mn_major)
        return o->address + (row >> 3) * o->stride + (row & 7) * 16 + k * o->leading;
    if (!o->mode)
        return o->address + (row >> 3) * o->stride + (k >> 3) * o->leading + (k & 7) * 16;
    if (!o->mn_major)
        return emu_swizzle(o->address + (row >> 3) * o->stride + (row & 7) * width + k * 16, o->mode);
    return emu_swizzle(o->address + row / (width / 2) * o->leading + row % (width / 2) * 2 + (k >> 3) * o->stride +
                           (k & 7) * width,
                       o->mode);
}

struct reading { struct emu_block *block; int group, product; struct emu_site site; };

static void operand_check(const struct operand *o, const struct reading *by)
{
    int      row_step = o->mn_major ? 8 : 1, inner = o->mn_major ? 16 : 2;
    uint32_t low = ~0u, high = 0;
    for (int r = 0; r < o->rows; r += row_step)
        for (int i = 0; i < inner; i++) {
            uint32_t a = chunk_at(o, r, i);
            low        = a < low ? a : low;
            high       = a > high ? a : high;
        }
    if (!emu_shared_inside(by->block, low, high + 16 - low))
        emu_fail(by->site, "wgmma operand out of bounds of shared memory: [0x%x, 0x%x), the dynamic part is [0x%x, +%u)", low,
                 high + 16, EMU_SHARED_BASE, by->block->dynamic_bytes);
    for (int r = 0; r < o->rows && emu_worker->shadow; r += row_step)
        for (int i = 0; i < inner; i++)
            emu_check_wgmma_read(by->block, by->group, by->product, chunk_at(o, r, i), 16, by->site);
}

/* 16 bytes as 8 or 16 floats: one loop for each type, as most of the time of a product goes here. */
static void chunk_values(const char *from, enum emu_element type, float values[16])
{
    uint16_t wide[8];
    memcpy(wide, from, sizeof wide);
    if (type == EMU_BF16)
        for (int e = 0; e < 8; e++)
            values[e] = emu_element_value(wide[e], EMU_BF16);
    else if (type == EMU_F16)
        for (int e = 0; e < 8; e++)
            values[e] = emu_element_value(wide[e], EMU_F16);
    else
        for (int e = 0; e < 16; e++)
            values[e] = emu_element_value((unsigned char)from[e], EMU_E4M3);
}

/* to: element (r, k) at to[r * row_step + k * k_step]. */
static void operand_read(const struct operand *o, const char *arena, enum emu_element type, float *to, int row_step, int k_step)
{
    int   wide = type == EMU_E4M3 ? 16 : 8, along = o->mn_major ? row_step : k_step;  /* elements in 16 bytes; their distance */
    float values[16];
    for (int r = 0; r < o->rows; r += o->mn_major ? 8 : 1)
        for (int i = 0; i < (o->mn_major ? 16 : 2); i++) {
            float *first = to + r * row_step + (o->mn_major ? i : i * wide) * k_step;
            chunk_values(arena + chunk_at(o, r, i), type, values);
            for (int e = 0; e < wide; e++)
                first[e * along] = values[e];
        }
}

static void registers_read(const struct emu_product *p, float a[64][32])
{
    int each = p->what.type == EMU_E4M3 ? 4 : 2, bits = 32 / each;  /* elements in a register */
    for (int thread = 0; thread < 128; thread++)
        for (int i = 0; i < 4; i++)
            for (int e = 0; e < each; e++) {
                int row = thread / 32 * 16 + thread % 32 / 4 + (i & 1) * 8, k = thread % 4 * each + (i >> 1) * each * 4 + e;
                a[row][k] = emu_element_value(p->a[thread][i] >> e * bits, p->what.type);
            }
}

/* ---- the product ---- */

typedef float row8 __attribute__((vector_size(32)));

/* c [64, n] += a [64, 16] b [16, n]; sums run along k. */
static inline __attribute__((always_inline)) void multiply(float (*c)[256], float (*a)[32], float (*b)[256], int n)
{
    for (int i = 0; i < 64; i++)
        for (int j = 0; j < n; j += 32) {
            row8 sum[4], *out = (row8 *)(void *)&c[i][j];
            int  parts = n - j < 32 ? (n - j) / 8 : 4;
            for (int v = 0; v < parts; v++)
                sum[v] = out[v];
            for (int kk = 0; kk < 16; kk++)
                for (int v = 0; v < parts; v++)
                    sum[v] += a[i][kk] * ((const row8 *)(const void *)&b[kk][j])[v];
            for (int v = 0; v < parts; v++)
                out[v] = sum[v];
        }
}

typedef int32_t word8 __attribute__((vector_size(32)));

enum { E4M3_KEPT = 13 };  /* bits below the greatest exponent */

/* The power of two of a number: 2^exponent; of numbers below the normal ones of e4m3 the least normal one, of zero zero. */
static inline float e4m3_power(float value)
{
    union { float value; uint32_t bits; } power = { value };
    power.bits &= 0x7f800000;
    return power.value > 0 && power.value < 0x1p-6f ? 0x1p-6f : power.value;
}

/* c [64, n] += a [64, 32] b [32, n] of e4m3 as Hopper adds, after what was published of measurements: the 32 products and the old
 * sum are shifted to the greatest exponent among them, that of a product being the sum of its factors', and cut off, toward
 * zero, 13 bits below it; they are added exactly, and the sum is cut to 13 bits of fraction. */
static inline __attribute__((always_inline)) void multiply_e4m3(float (*c)[256], float (*a)[32], float (*b)[256], int n)
{
    static __thread float power_b[32][256] __attribute__((aligned(64)));
    for (int kk = 0; kk < 32; kk++)
        for (int j = 0; j < n; j++)
            power_b[kk][j] = e4m3_power(b[kk][j]);
    for (int i = 0; i < 64; i++) {
        float power_a[32];
        for (int kk = 0; kk < 32; kk++)
            power_a[kk] = e4m3_power(a[i][kk]);
        for (int j = 0; j < n; j += 8) {
            row8 *out = (row8 *)(void *)&c[i][j], before = *out, most = (row8)((word8)before & 0x7f800000), sum;
            for (int kk = 0; kk < 32; kk++) {
                row8 power = power_a[kk] * *(const row8 *)(const void *)&power_b[kk][j];
                most       = (row8)(((word8)power & (power > most)) | ((word8)most & ~(power > most)));
            }
            most += (row8)((most == 0) & 0x3f800000);  /* nothing but zeros */
            const row8 kept = (float)(1 << E4M3_KEPT) / most;
            sum             = __builtin_convertvector(__builtin_convertvector(before * kept, word8), row8) + before * 0;
            for (int kk = 0; kk < 32; kk++) {
                row8 product = a[i][kk] * *(const row8 *)(const void *)&b[kk][j];
                sum += __builtin_convertvector(__builtin_convertvector(product * kept, word8), row8) + product * 0;  /* NaNs stay */
            }
            *out = (row8)((word8)(sum / kept) & ~((1 << (23 - E4M3_KEPT)) - 1));
        }
    }
}

static void multiply_any(float (*c)[256], float (*a)[32], float (*b)[256], int n, bool e4m3)
{
    if (e4m3)
        multiply_e4m3(c, a, b, n);
    else
        multiply(c, a, b, n);
}
#if defined(__x86_64__)
__attribute__((target("avx2"))) static void multiply_avx2(float (*c)[256], float (*a)[32], float (*b)[256], int n, bool e4m3)
{
    if (e4m3)
        multiply_e4m3(c, a, b, n);
    else
        multiply(c, a, b, n);
}
#endif

static void multiply_best(float (*c)[256], float (*a)[32], float (*b)[256], int n, bool e4m3)
{
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx2")) {
        multiply_avx2(c, a, b, n, e4m3);
        return;
    }
#endif
    multiply_any(c, a, b, n, e4m3);
}

static void registers_check(const struct emu_product *p)
{
    for (int thread = 0; thread < 128; thread++)
        if (memcmp(p->a[thread], p->a_where[thread], sizeof p->a[thread]))
            emu_finding(p->site, "A in the registers of thread %d was changed while the wgmma that reads it was in flight",
                        thread);
}

static void product_run(struct emu_block *block, struct emu_warpgroup *g, struct emu_product *p)
{
    static __thread float a[64][32] __attribute__((aligned(64))), b[32][256] __attribute__((aligned(64)));
    const struct emu_wgmma *w = &p->what;
    struct reading          by = { block, (int)(g - block->warpgroups), g->done, p->site };
    struct operand          ob = operand_of(w->b, w->n, w->transpose_b, p->site);
    operand_check(&ob, &by);
    operand_read(&ob, block->arena, w->type, &b[0][0], 1, 256);
    if (p->a_where[0]) {
        registers_check(p);
        registers_read(p, a);
    } else {
        struct operand oa = operand_of(w->a, 64, w->transpose_a, p->site);
        operand_check(&oa, &by);
        operand_read(&oa, block->arena, w->type, &a[0][0], 32, 1);
    }
    if (!w->accumulate)
        memset(p->tile->c, 0, sizeof p->tile->c);
    multiply_best(p->tile->c, a, b, w->n, w->type == EMU_E4M3);
    emu_worker->counters.wgmma++;
}

static void tile_leave(struct emu_warpgroup *g, struct emu_accumulator *t, struct emu_site site)
{
    int i = 0;
    if (--t->products > 0)
        return;
    tile_give_back(t, site);
    while (g->tiles.items[i] != t)
        i++;
    g->tiles.items[i] = g->tiles.items[--g->tiles.count];
    tile_free(t);
}

static void run_until(struct emu_block *block, struct emu_warpgroup *g, int end)
{
    emu_worker->inside++;
    while (g->done < end) {
        struct emu_product *p = g->products.items[0];
        if (p->threads != 128)
            emu_fail(p->site, "wgmma issued by %d of the 128 threads of its warpgroup", p->threads);
        product_run(block, g, p);
        tile_leave(g, p->tile, p->site);
        product_free(p);
        EMU_DROP_FIRST(&g->products, 1);
        g->done++;
    }
    emu_worker->inside--;
}

/* ---- instructions ---- */

static struct emu_warpgroup *own_group(const struct emu_fiber *f, int *thread)
{
    *thread = f->thread.linear % 128;
    return &f->block->warpgroups[f->thread.linear / 128];
}

static struct emu_product *product_of(struct emu_warpgroup *g, int index, int thread, const struct emu_wgmma *w,
                                      struct emu_site site)
{
    if (index < g->done + g->products.count)
        return g->products.items[index - g->done];
    struct emu_product *p = product_make();
    p->what               = *w;
    p->site               = site;
    p->tile               = tile_of(g, thread, w, site);
    p->tile->products++;
    return *EMU_PUSH(&g->products) = p;
}

void emu_wgmma(const struct emu_wgmma *w, struct emu_site site)
{
    struct emu_fiber     *self = emu_enter();
    int                   thread;
    struct emu_warpgroup *g     = own_group(self, &thread);
    int                   index = g->issued[thread]++;
    if (!g->fenced[thread])
        emu_finding(site, "wgmma without a wgmma fence since the last wait");
    g->fenced[thread]     = true;
    self->site            = site;
    struct emu_product *p = product_of(g, index, thread, w, site);
    if (p->what.n != w->n || p->what.b != w->b || p->what.type != w->type || p->what.accumulate != w->accumulate ||
        (w->a_registers ? !p->what.a_registers : p->what.a != w->a))
        emu_fail(site, "operands of a wgmma differ between threads of the warpgroup");
    if (!p->tile->d[thread])
        tile_take(p->tile, thread, w->d);
    else if (p->tile->d[thread] != w->d)
        emu_fail(site, "accumulators of a wgmma differ between threads of the warpgroup");
    p->a_where[thread] = w->a_registers;
    if (w->a_registers)
        memcpy(p->a[thread], w->a_registers, sizeof p->a[thread]);
    if (++p->threads == 128 && emu_worker->async == EMU_EARLY)
        run_until(self->block, g, index + 1);
    emu_leave(self);
}

void emu_wgmma_fence(struct emu_site site)
{
    int thread;
    (void)site;
    own_group(emu_me(), &thread)->fenced[emu_me()->thread.linear % 128] = true;
}

void emu_wgmma_commit(struct emu_site site)
{
    struct emu_fiber     *self = emu_enter();
    int                   thread;
    struct emu_warpgroup *g     = own_group(self, &thread);
    int                   group = g->committed[thread]++;
    if (group == g->group_ends.count)
        *EMU_PUSH(&g->group_ends) = g->issued[thread];
    else if (g->group_ends.items[group] != g->issued[thread])
        emu_fail(site, "groups of wgmma differ between threads of the warpgroup");
    emu_leave(self);
}

void emu_wgmma_wait(int groups_left, struct emu_site site)
{
    struct emu_fiber     *self  = emu_enter();
    struct emu_block     *block = self->block;
    int                   thread;
    struct emu_warpgroup *g = own_group(self, &thread);
    if (g->waiting && g->wait_groups != groups_left)
        emu_fail(site, "wgmma waits for different counts in threads of one warpgroup");
    g->wait_groups    = groups_left;
    g->fenced[thread] = false;
    emu_set_waiting(self, EMU_AT_WGMMA, site);
    if (++g->waiting == 128) {
        int group  = (int)(g - block->warpgroups), done = g->committed[thread] - groups_left;
        g->waiting = 0;
        if (done > 0) {
            run_until(block, g, g->group_ends.items[done - 1]);
            if (emu_worker->shadow)
                emu_check_wgmma_waited(block, group, g->group_ends.items[done - 1]);
        }
        for (int i = 0; i < 128; i++)
            emu_set_ready(block->fibers[group * 128 + i]);
        emu_maybe_preempt();
    } else {
        emu_reschedule();
    }
    emu_leave(self);
}
