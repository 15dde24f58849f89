/* lanes_neon.h: sixteen lanes in four registers (AArch64). */
#ifndef RECTO_KERNELS_LANES_NEON_H
#define RECTO_KERNELS_LANES_NEON_H

#include <arm_neon.h>
#include <math.h>

typedef struct { float32x4_t q[4]; } v16;  /* sixteen floats */
typedef struct { int32x4_t q[4]; } w16;    /* sixteen 32-bit integers */

/* The same expression for each of the four registers; `i` is the register's number. */
#define NEON_FOUR(type, expression) \
    type result;                    \
    for (int i = 0; i < 4; i++)     \
        result.q[i] = (expression); \
    return result

LANES_INLINE v16  v16_set1(float x) { NEON_FOUR(v16, vdupq_n_f32(x)); }
LANES_INLINE v16  v16_load(const float *p) { NEON_FOUR(v16, vld1q_f32(p + 4 * i)); }
LANES_INLINE void v16_store(float *p, v16 x)
{
    for (int i = 0; i < 4; i++)
        vst1q_f32(p + 4 * i, x.q[i]);
}
/* The first `count` lanes from memory (0 to 16), the others zero. */
LANES_INLINE v16 v16_load_part(const float *p, int count)
{
    float lanes[LANES] = { 0 };
    memcpy(lanes, p, sizeof(float) * (size_t)count);
    return v16_load(lanes);
}
LANES_INLINE void v16_store_part(float *p, v16 x, int count)
{
    float lanes[LANES];
    v16_store(lanes, x);
    memcpy(p, lanes, sizeof(float) * (size_t)count);
}
/* Lanes from `count` on become those of `other`. */
LANES_INLINE v16 v16_keep(v16 x, int count, v16 other)
{
    float lanes[LANES];
    v16_store(lanes, other);
    v16_store_part(lanes, x, count);
    return v16_load(lanes);
}

LANES_INLINE v16 v16_add(v16 a, v16 b) { NEON_FOUR(v16, vaddq_f32(a.q[i], b.q[i])); }
LANES_INLINE v16 v16_sub(v16 a, v16 b) { NEON_FOUR(v16, vsubq_f32(a.q[i], b.q[i])); }
LANES_INLINE v16 v16_mul(v16 a, v16 b) { NEON_FOUR(v16, vmulq_f32(a.q[i], b.q[i])); }
LANES_INLINE v16 v16_div(v16 a, v16 b) { NEON_FOUR(v16, vdivq_f32(a.q[i], b.q[i])); }
LANES_INLINE v16 v16_fma(v16 a, v16 b, v16 c) { NEON_FOUR(v16, vfmaq_f32(c.q[i], a.q[i], b.q[i])); }  /* a * b + c */
/* The greater and the smaller of two; the second one where they compare unequal to nothing (NaN), as on x86. */
LANES_INLINE float32x4_t neon_max(float32x4_t a, float32x4_t b) { return vbslq_f32(vcgtq_f32(a, b), a, b); }
LANES_INLINE v16 v16_max(v16 a, v16 b) { NEON_FOUR(v16, neon_max(a.q[i], b.q[i])); }
LANES_INLINE v16 v16_min(v16 a, v16 b) { NEON_FOUR(v16, vbslq_f32(vcltq_f32(a.q[i], b.q[i]), a.q[i], b.q[i])); }
LANES_INLINE v16 v16_abs(v16 a) { NEON_FOUR(v16, vabsq_f32(a.q[i])); }
LANES_INLINE v16 v16_negate(v16 a) { NEON_FOUR(v16, vnegq_f32(a.q[i])); }
LANES_INLINE v16 v16_round(v16 a) { NEON_FOUR(v16, vrndnq_f32(a.q[i])); }  /* to the nearest integer, ties to even */

LANES_INLINE w16 w16_set1(int32_t x) { NEON_FOUR(w16, vdupq_n_s32(x)); }
LANES_INLINE w16 w16_load(const int32_t *p) { NEON_FOUR(w16, vld1q_s32(p + 4 * i)); }
LANES_INLINE void w16_store(int32_t *p, w16 x)
{
    for (int i = 0; i < 4; i++)
        vst1q_s32(p + 4 * i, x.q[i]);
}
LANES_INLINE w16 w16_add(w16 a, w16 b) { NEON_FOUR(w16, vaddq_s32(a.q[i], b.q[i])); }
LANES_INLINE w16 w16_sub(w16 a, w16 b) { NEON_FOUR(w16, vsubq_s32(a.q[i], b.q[i])); }
LANES_INLINE w16 w16_mul(w16 a, w16 b) { NEON_FOUR(w16, vmulq_s32(a.q[i], b.q[i])); }
LANES_INLINE w16 w16_max(w16 a, w16 b) { NEON_FOUR(w16, vmaxq_s32(a.q[i], b.q[i])); }
LANES_INLINE w16 w16_shift_left(w16 a, int bits) { NEON_FOUR(w16, vshlq_s32(a.q[i], vdupq_n_s32(bits))); }
LANES_INLINE v16 v16_from_int(w16 a) { NEON_FOUR(v16, vcvtq_f32_s32(a.q[i])); }
LANES_INLINE w16 v16_to_int(v16 a) { NEON_FOUR(w16, vcvtnq_s32_f32(a.q[i])); }  /* ties to even */
LANES_INLINE v16 v16_bits(w16 a) { NEON_FOUR(v16, vreinterpretq_f32_s32(a.q[i])); }
LANES_INLINE w16 w16_bits(v16 a) { NEON_FOUR(w16, vreinterpretq_s32_f32(a.q[i])); }
/* Stores each lane as a byte; the lanes hold 0 to 255. */
LANES_INLINE void w16_store_bytes(uint8_t *p, w16 a)
{
    uint16x8_t low  = vcombine_u16(vqmovun_s32(a.q[0]), vqmovun_s32(a.q[1]));
    uint16x8_t high = vcombine_u16(vqmovun_s32(a.q[2]), vqmovun_s32(a.q[3]));
    vst1q_u8(p, vcombine_u8(vqmovn_u16(low), vqmovn_u16(high)));
}

LANES_INLINE v16 v16_load_bf16(const uint16_t *p)
{
    NEON_FOUR(v16, vreinterpretq_f32_u32(vshll_n_u16(vld1_u16(p + 4 * i), 16)));
}
/* Rounds to nearest even. Only for numbers: a NaN may become an infinity. */
LANES_INLINE void v16_store_bf16(uint16_t *p, v16 x)
{
    for (int i = 0; i < 4; i++) {
        uint32x4_t bits  = vreinterpretq_u32_f32(x.q[i]);
        uint32x4_t odd   = vandq_u32(vshrq_n_u32(bits, 16), vdupq_n_u32(1));
        uint32x4_t round = vaddq_u32(bits, vaddq_u32(odd, vdupq_n_u32(0x7fff)));
        vst1_u16(p + 4 * i, vshrn_n_u32(round, 16));
    }
}

/* Stores each lane as 16 bits; the lanes hold -32768 to 32767. */
LANES_INLINE void w16_store_s16(int16_t *p, w16 a)
{
    for (int i = 0; i < 4; i++)
        vst1_s16(p + 4 * i, vmovn_s32(a.q[i]));
}

/* The same for numbers that are not denormal; some hardware takes those for zero. */
LANES_INLINE void v16_store_bf16_normal(uint16_t *p, v16 x) { v16_store_bf16(p, x); }

/* Two rows of sixteen 16-bit elements, interleaved. */
LANES_INLINE w16 w16_load_pairs(const void *even, const void *odd)
{
    const int16_t *e = even, *o = odd;
    w16            result;
    for (int i = 0; i < 2; i++) {
        int16x8_t a = vld1q_s16(e + 8 * i), b = vld1q_s16(o + 8 * i);
        result.q[2 * i]     = vreinterpretq_s32_s16(vzip1q_s16(a, b));
        result.q[2 * i + 1] = vreinterpretq_s32_s16(vzip2q_s16(a, b));
    }
    return result;
}

/* Transposes sixteen rows of sixteen. */
LANES_INLINE void w16_transpose(w16 row[LANES])
{
    w16 from[LANES];
    memcpy(from, row, sizeof from);
    for (int i = 0; i < 4; i++)      /* four rows, four columns */
        for (int c = 0; c < 4; c++) {
            int32x4_t a = from[4 * i].q[c], b = from[4 * i + 1].q[c], d = from[4 * i + 2].q[c], e = from[4 * i + 3].q[c];
            int64x2_t p = vreinterpretq_s64_s32(vtrn1q_s32(a, b)), q = vreinterpretq_s64_s32(vtrn2q_s32(a, b));
            int64x2_t r = vreinterpretq_s64_s32(vtrn1q_s32(d, e)), s = vreinterpretq_s64_s32(vtrn2q_s32(d, e));
            row[4 * c].q[i]     = vreinterpretq_s32_s64(vtrn1q_s64(p, r));
            row[4 * c + 1].q[i] = vreinterpretq_s32_s64(vtrn1q_s64(q, s));
            row[4 * c + 2].q[i] = vreinterpretq_s32_s64(vtrn2q_s64(p, r));
            row[4 * c + 3].q[i] = vreinterpretq_s32_s64(vtrn2q_s64(q, s));
        }
}

/* fold: lane i with i+8, then i+4, i+2, i+1 */
LANES_INLINE float v16_sum(v16 x)
{
    float32x4_t b = vaddq_f32(vaddq_f32(x.q[0], x.q[2]), vaddq_f32(x.q[1], x.q[3]));
    float32x2_t c = vadd_f32(vget_low_f32(b), vget_high_f32(b));
    return vget_lane_f32(c, 0) + vget_lane_f32(c, 1);
}
LANES_INLINE float v16_maximum(v16 x)
{
    float32x4_t b = neon_max(neon_max(x.q[0], x.q[2]), neon_max(x.q[1], x.q[3]));
    float32x4_t c = neon_max(b, vextq_f32(b, b, 2));
    float       d = vgetq_lane_f32(c, 0), e = vgetq_lane_f32(c, 1);
    return d > e ? d : e;
}
LANES_INLINE float lanes_sqrt(float x) { return sqrtf(x); }

/* Steps of a dot product along k, for sixteen columns at once; `x` points at one row, `b` at 64 bytes of a weight panel. */
/* one k: x[1] f32, b [16] f32 */
LANES_INLINE v16 dot_f32(v16 sum, const void *x, const void *b)
{
    float32x4_t a = vld1q_dup_f32(x);
    NEON_FOUR(v16, vfmaq_f32(sum.q[i], a, vld1q_f32((const float *)b + 4 * i)));
}
/* two k: x[2] bf16, b [16][2] bf16: first the odd product is added, then the even one, each sum rounded */
LANES_INLINE v16 dot_bf16(v16 sum, const void *x, const void *b)
{
    uint32_t pair;
    memcpy(&pair, x, 4);
    float32x4_t even = vreinterpretq_f32_u32(vdupq_n_u32(pair << 16)), odd = vreinterpretq_f32_u32(vdupq_n_u32(pair & 0xffff0000u));
    for (int i = 0; i < 4; i++) {
        uint32x4_t w = vld1q_u32((const uint32_t *)b + 4 * i);
        sum.q[i]     = vfmaq_f32(sum.q[i], odd, vreinterpretq_f32_u32(vandq_u32(w, vdupq_n_u32(0xffff0000u))));
        sum.q[i]     = vfmaq_f32(sum.q[i], even, vreinterpretq_f32_u32(vshlq_n_u32(w, 16)));
    }
    return sum;
}
/* four k: x[4] u8, b [16][4] s8, such that the sum of two products stays in 16 bits: see linear.h */
LANES_INLINE w16 dot_u8s8(w16 sum, const void *x, const void *b)
{
    uint32_t four;
    memcpy(&four, x, 4);
    int16x8_t a = vreinterpretq_s16_u16(vmovl_u8(vreinterpret_u8_u32(vdup_n_u32(four))));
    for (int i = 0; i < 4; i++) {
        int8x16_t w    = vld1q_s8((const int8_t *)b + 16 * i);
        int16x8_t low  = vmulq_s16(a, vmovl_s8(vget_low_s8(w)));   /* at most 204 * 127: fits */
        int16x8_t high = vmulq_s16(a, vmovl_s8(vget_high_s8(w)));
        sum.q[i]       = vaddq_s32(sum.q[i], vpaddq_s32(vpaddlq_s16(low), vpaddlq_s16(high)));
    }
    return sum;
}

/* two k: x[2] s16, b [16][2] s16 */
LANES_INLINE w16 dot_s16(w16 sum, const void *x, const void *b)
{
    int16_t pair[2];
    memcpy(pair, x, 4);
    for (int i = 0; i < 2; i++) {
        int16x8x2_t w    = vld2q_s16((const int16_t *)b + 16 * i);
        sum.q[2 * i]     = vmlal_n_s16(sum.q[2 * i], vget_low_s16(w.val[0]), pair[0]);
        sum.q[2 * i]     = vmlal_n_s16(sum.q[2 * i], vget_low_s16(w.val[1]), pair[1]);
        sum.q[2 * i + 1] = vmlal_high_n_s16(sum.q[2 * i + 1], w.val[0], pair[0]);
        sum.q[2 * i + 1] = vmlal_high_n_s16(sum.q[2 * i + 1], w.val[1], pair[1]);
    }
    return sum;
}

#define LANES_TILE_ROWS    6  /* 24 of 32 registers are accumulators */
#define LANES_TILE_VECTORS 1

#endif
