/* ldmatrix, stmatrix and mma.sync: a whole warp at once, on plain arrays in between. */
#include "emu_state.h"

#include <string.h>

struct moved { uint32_t *registers, address; int matrices; bool transpose, store; struct emu_site site; };

static void move_matrices(struct emu_block *block, uint32_t lanes, void *const *arg)
{
    const struct moved *first = arg[__builtin_ctz(lanes)];
    struct emu_worker  *w     = emu_worker;
    int                 warp  = emu_me()->thread.warp;
    if (lanes != ~0u)
        emu_fail(first->site, "%s with inactive lanes 0x%08x", first->store ? "stmatrix" : "ldmatrix", ~lanes);
    for (int m = 0; m < first->matrices; m++) {
        uint16_t *row[8];
        uint32_t  address[8];
        for (int r = 0; r < 8; r++) {
            const struct moved *a = arg[m * 8 + r];
            address[r]            = a->address;
            row[r]                = emu_shared_pointer(a->address, 16, 16, a->site);
            if (w->shadow)
                emu_check_shared(block->fibers[warp * 32 + m * 8 + r], block, a->address, 16, a->store, EMU_GENERIC, a->site);
        }
        emu_access_add(w, first->site, first->store, (uint64_t)emu_wavefronts(address, 8, 16), 1);
        for (int lane = 0; lane < 32; lane++) {
            const struct moved *a = arg[lane];
            int                 g = lane / 4, t = lane % 4 * 2;
            uint16_t *low = a->transpose ? &row[t][g] : &row[g][t], *high = a->transpose ? &row[t + 1][g] : &row[g][t + 1];
            if (a->store) {
                *low  = (uint16_t)a->registers[m];
                *high = (uint16_t)(a->registers[m] >> 16);
            } else {
                a->registers[m] = (uint32_t)*low | (uint32_t)*high << 16;
            }
        }
    }
}

void emu_ldmatrix(uint32_t *to, uint32_t address, int matrices, bool transpose, struct emu_site site)
{
    struct moved a = { to, address, matrices, transpose, false, site };
    emu_collect(EMU_OP_LDMATRIX, move_matrices, ~0u, &a, site);
}

void emu_stmatrix(const uint32_t *from, uint32_t address, int matrices, bool transpose, struct emu_site site)
{
    uint32_t registers[4];
    memcpy(registers, from, (size_t)matrices * 4);
    struct moved a = { registers, address, matrices, transpose, true, site };
    emu_collect(EMU_OP_STMATRIX, move_matrices, ~0u, &a, site);
}

/* ---- mma.m16n8k16: products are exact in fp32, sums run along k ---- */

struct multiplied { float *d; const uint32_t *a, *b; enum emu_element type; struct emu_site site; };
typedef float row8 __attribute__((vector_size(32)));

static inline __attribute__((always_inline)) void multiply(void *const *arg, enum emu_element type)
{
    float a[16][16];
    row8  b[16], c[16];
    for (int lane = 0; lane < 32; lane++) {
        const struct multiplied *q = arg[lane];
        int                      g = lane / 4, t = lane % 4 * 2;
        for (int h = 0; h < 2; h++) {
            a[g][t + 8 * h]         = emu_element_value(q->a[2 * h], type);
            a[g][t + 8 * h + 1]     = emu_element_value(q->a[2 * h] >> 16, type);
            a[g + 8][t + 8 * h]     = emu_element_value(q->a[2 * h + 1], type);
            a[g + 8][t + 8 * h + 1] = emu_element_value(q->a[2 * h + 1] >> 16, type);
            b[t + 8 * h][g]         = emu_element_value(q->b[h], type);
            b[t + 8 * h + 1][g]     = emu_element_value(q->b[h] >> 16, type);
        }
        c[g][t]         = q->d[0];
        c[g][t + 1]     = q->d[1];
        c[g + 8][t]     = q->d[2];
        c[g + 8][t + 1] = q->d[3];
    }
    for (int i = 0; i < 16; i++) {
        row8 sum = c[i];
        for (int k = 0; k < 16; k++)
            sum += a[i][k] * b[k];
        c[i] = sum;
    }
    for (int lane = 0; lane < 32; lane++) {
        const struct multiplied *q = arg[lane];
        int                      g = lane / 4, t = lane % 4 * 2;
        q->d[0] = c[g][t];
        q->d[1] = c[g][t + 1];
        q->d[2] = c[g + 8][t];
        q->d[3] = c[g + 8][t + 1];
    }
}

static void multiply_bf16_any(void *const *arg) { multiply(arg, EMU_BF16); }
static void multiply_f16_any(void *const *arg) { multiply(arg, EMU_F16); }
#if defined(__x86_64__)
__attribute__((target("avx2"))) static void multiply_bf16_avx2(void *const *arg) { multiply(arg, EMU_BF16); }
__attribute__((target("avx2"))) static void multiply_f16_avx2(void *const *arg) { multiply(arg, EMU_F16); }
static bool wide(void) { return __builtin_cpu_supports("avx2"); }
#else
#define multiply_bf16_avx2 multiply_bf16_any
#define multiply_f16_avx2 multiply_f16_any
static bool wide(void) { return false; }
#endif

static void mma(struct emu_block *block, uint32_t lanes, void *const *arg)
{
    const struct multiplied *first = arg[__builtin_ctz(lanes)];
    (void)block;
    if (lanes != ~0u)
        emu_fail(first->site, "mma.sync with inactive lanes 0x%08x", ~lanes);
    if (first->type == EMU_BF16)
        (wide() ? multiply_bf16_avx2 : multiply_bf16_any)(arg);
    else
        (wide() ? multiply_f16_avx2 : multiply_f16_any)(arg);
    emu_worker->counters.mma++;
}

void emu_mma(float *d, const uint32_t *a, const uint32_t *b, enum emu_element type, struct emu_site site)
{
    struct multiplied q = { d, a, b, type, site };
    emu_collect(EMU_OP_MMA, mma, ~0u, &q, site);
}
