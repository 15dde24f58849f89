/* lanes_avx512.h: sixteen lanes in one register (AVX-512 F, BW, DQ, VL; BF16 and VNNI where the file is built for them). */
#ifndef RECTO_KERNELS_LANES_AVX512_H
#define RECTO_KERNELS_LANES_AVX512_H

#ifdef LANES_SIMDE
#include "kernels/lanes/simde_avx512.h"
#else
#include <immintrin.h>
#endif

typedef __m512  v16;  /* sixteen floats */
typedef __m512i w16;  /* sixteen 32-bit integers */

LANES_INLINE __mmask16 lanes_mask(int count) { return (__mmask16)((1u << count) - 1u); }

LANES_INLINE v16  v16_set1(float x) { return _mm512_set1_ps(x); }
LANES_INLINE v16  v16_load(const float *p) { return _mm512_loadu_ps(p); }
LANES_INLINE void v16_store(float *p, v16 x) { _mm512_storeu_ps(p, x); }
/* The first `count` lanes from memory (0 to 16), the others zero. */
LANES_INLINE v16  v16_load_part(const float *p, int count) { return _mm512_maskz_loadu_ps(lanes_mask(count), p); }
LANES_INLINE void v16_store_part(float *p, v16 x, int count) { _mm512_mask_storeu_ps(p, lanes_mask(count), x); }
/* Lanes from `count` on become those of `other`. */
LANES_INLINE v16 v16_keep(v16 x, int count, v16 other) { return _mm512_mask_mov_ps(other, lanes_mask(count), x); }

LANES_INLINE v16 v16_add(v16 a, v16 b) { return _mm512_add_ps(a, b); }
LANES_INLINE v16 v16_sub(v16 a, v16 b) { return _mm512_sub_ps(a, b); }
LANES_INLINE v16 v16_mul(v16 a, v16 b) { return _mm512_mul_ps(a, b); }
LANES_INLINE v16 v16_div(v16 a, v16 b) { return _mm512_div_ps(a, b); }
LANES_INLINE v16 v16_fma(v16 a, v16 b, v16 c) { return _mm512_fmadd_ps(a, b, c); }  /* a * b + c */
/* The greater and the smaller of two; the second one where they compare unequal to nothing (NaN). */
LANES_INLINE v16 v16_max(v16 a, v16 b) { return _mm512_max_ps(a, b); }
LANES_INLINE v16 v16_min(v16 a, v16 b) { return _mm512_min_ps(a, b); }
LANES_INLINE v16 v16_abs(v16 a) { return _mm512_abs_ps(a); }
LANES_INLINE v16 v16_negate(v16 a) { return _mm512_xor_ps(a, _mm512_set1_ps(-0.0f)); }
LANES_INLINE v16 v16_round(v16 a) { return _mm512_roundscale_ps(a, 8); }  /* to the nearest integer, ties to even */

LANES_INLINE w16 w16_set1(int32_t x) { return _mm512_set1_epi32(x); }
LANES_INLINE w16 w16_load(const int32_t *p) { return _mm512_loadu_si512(p); }
LANES_INLINE void w16_store(int32_t *p, w16 x) { _mm512_storeu_si512(p, x); }
LANES_INLINE w16 w16_add(w16 a, w16 b) { return _mm512_add_epi32(a, b); }
LANES_INLINE w16 w16_sub(w16 a, w16 b) { return _mm512_sub_epi32(a, b); }
LANES_INLINE w16 w16_mul(w16 a, w16 b) { return _mm512_mullo_epi32(a, b); }
LANES_INLINE w16 w16_max(w16 a, w16 b) { return _mm512_max_epi32(a, b); }
LANES_INLINE w16 w16_shift_left(w16 a, int bits) { return _mm512_sll_epi32(a, _mm_cvtsi32_si128(bits)); }
LANES_INLINE v16 v16_from_int(w16 a) { return _mm512_cvtepi32_ps(a); }
LANES_INLINE w16 v16_to_int(v16 a) { return _mm512_cvtps_epi32(a); }  /* ties to even */
LANES_INLINE v16 v16_bits(w16 a) { return _mm512_castsi512_ps(a); }
LANES_INLINE w16 w16_bits(v16 a) { return _mm512_castps_si512(a); }
/* Stores each lane as a byte; the lanes hold 0 to 255. */
LANES_INLINE void w16_store_bytes(uint8_t *p, w16 a) { _mm_storeu_si128((__m128i *)(void *)p, _mm512_cvtepi32_epi8(a)); }

LANES_INLINE v16 v16_load_bf16(const uint16_t *p)
{
    return v16_bits(_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)(const void *)p)), 16));
}
/* Rounds to nearest even. Only for numbers: a NaN may become an infinity. */
LANES_INLINE void v16_store_bf16(uint16_t *p, v16 x)
{
    w16 bits  = w16_bits(x);
    w16 odd   = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
    w16 round = w16_add(bits, w16_add(odd, _mm512_set1_epi32(0x7fff)));
    _mm256_storeu_si256((__m256i *)(void *)p, _mm512_cvtepi32_epi16(_mm512_srli_epi32(round, 16)));
}

/* Stores each lane as 16 bits; the lanes hold -32768 to 32767. */
LANES_INLINE void w16_store_s16(int16_t *p, w16 a) { _mm256_storeu_si256((__m256i *)(void *)p, _mm512_cvtepi32_epi16(a)); }

/* The same for numbers that are not denormal; the hardware takes those for zero. */
LANES_INLINE void v16_store_bf16_normal(uint16_t *p, v16 x)
{
#if defined(__AVX512BF16__) && !defined(LANES_SIMDE)
    __m256bh halves = _mm512_cvtneps_pbh(x);
    memcpy(p, &halves, sizeof halves);
#else
    v16_store_bf16(p, x);
#endif
}

/* Two rows of sixteen 16-bit elements, interleaved. */
LANES_INLINE w16 w16_load_pairs(const void *even, const void *odd)
{
    w16 low = _mm512_cvtepu16_epi32(_mm256_loadu_si256(even)), high = _mm512_cvtepu16_epi32(_mm256_loadu_si256(odd));
    return _mm512_or_si512(low, _mm512_slli_epi32(high, 16));
}

/* Transposes sixteen rows of sixteen. */
LANES_INLINE void w16_transpose(w16 row[LANES])
{
    w16 t[LANES];
#pragma GCC unroll 8
    for (int i = 0; i < 16; i += 2) {
        t[i]     = _mm512_unpacklo_epi32(row[i], row[i + 1]);
        t[i + 1] = _mm512_unpackhi_epi32(row[i], row[i + 1]);
    }
#pragma GCC unroll 4
    for (int i = 0; i < 16; i += 4) {  /* now row[i + c] holds column c of each quarter, for rows i to i + 3 */
        row[i]     = _mm512_unpacklo_epi64(t[i], t[i + 2]);
        row[i + 1] = _mm512_unpackhi_epi64(t[i], t[i + 2]);
        row[i + 2] = _mm512_unpacklo_epi64(t[i + 1], t[i + 3]);
        row[i + 3] = _mm512_unpackhi_epi64(t[i + 1], t[i + 3]);
    }
#pragma GCC unroll 4
    for (int c = 0; c < 4; c++) {
        w16 even_low  = _mm512_shuffle_i32x4(row[c], row[c + 4], 0x88), odd_low = _mm512_shuffle_i32x4(row[c], row[c + 4], 0xdd);
        w16 even_high = _mm512_shuffle_i32x4(row[c + 8], row[c + 12], 0x88);
        w16 odd_high  = _mm512_shuffle_i32x4(row[c + 8], row[c + 12], 0xdd);
        row[c]        = _mm512_shuffle_i32x4(even_low, even_high, 0x88);
        row[c + 8]    = _mm512_shuffle_i32x4(even_low, even_high, 0xdd);
        row[c + 4]    = _mm512_shuffle_i32x4(odd_low, odd_high, 0x88);
        row[c + 12]   = _mm512_shuffle_i32x4(odd_low, odd_high, 0xdd);
    }
}

/* fold: lane i with i+8, then i+4, i+2, i+1 */
LANES_INLINE float v16_sum(v16 x)
{
    __m256 a = _mm256_add_ps(_mm512_castps512_ps256(x), _mm256_castpd_ps(_mm512_extractf64x4_pd(_mm512_castps_pd(x), 1)));
    __m128 b = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    __m128 c = _mm_add_ps(b, _mm_movehl_ps(b, b));
    return _mm_cvtss_f32(_mm_add_ss(c, _mm_shuffle_ps(c, c, 1)));
}
LANES_INLINE float v16_maximum(v16 x)
{
    __m256 a = _mm256_max_ps(_mm512_castps512_ps256(x), _mm256_castpd_ps(_mm512_extractf64x4_pd(_mm512_castps_pd(x), 1)));
    __m128 b = _mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    __m128 c = _mm_max_ps(b, _mm_movehl_ps(b, b));
    return _mm_cvtss_f32(_mm_max_ss(c, _mm_shuffle_ps(c, c, 1)));
}
LANES_INLINE float lanes_sqrt(float x) { return _mm_cvtss_f32(_mm_sqrt_ss(_mm_set_ss(x))); }

/* Steps of a dot product along k, for sixteen columns at once; `x` points at one row, `b` at 64 bytes of a weight panel. */
/* one k: x[1] f32, b [16] f32 */
LANES_INLINE v16 dot_f32(v16 sum, const void *x, const void *b)
{
    float value;
    memcpy(&value, x, 4);
    return _mm512_fmadd_ps(_mm512_set1_ps(value), _mm512_load_ps(b), sum);
}
LANES_INLINE w16 lanes_broadcast4(const void *x)
{
    int32_t value;
    memcpy(&value, x, 4);
    return _mm512_set1_epi32(value);
}
/* two k: x[2] bf16, b [16][2] bf16: first the odd product is added, then the even one, each sum rounded */
LANES_INLINE v16 dot_bf16(v16 sum, const void *x, const void *b)
{
#if defined(__AVX512BF16__) && !defined(LANES_SIMDE)
    return _mm512_dpbf16_ps(sum, (__m512bh)lanes_broadcast4(x), (__m512bh)_mm512_load_si512(b));
#else
    w16 a = lanes_broadcast4(x), w = _mm512_load_si512(b), high = _mm512_set1_epi32((int32_t)0xffff0000u);
    sum = v16_fma(v16_bits(_mm512_and_si512(a, high)), v16_bits(_mm512_and_si512(w, high)), sum);
    return v16_fma(v16_bits(_mm512_slli_epi32(a, 16)), v16_bits(_mm512_slli_epi32(w, 16)), sum);
#endif
}
/* four k: x[4] u8, b [16][4] s8, such that the sum of two products stays in 16 bits: see linear.h */
LANES_INLINE w16 dot_u8s8(w16 sum, const void *x, const void *b)
{
#if defined(__AVX512VNNI__) && !defined(LANES_SIMDE)
    w16 a = lanes_broadcast4(x), w = _mm512_load_si512(b);
    __asm__("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(a), "v"(w));  /* gcc 12 spills around the intrinsic */
    return sum;
#elif defined(LANES_VNNI_SIMDE)
    return _mm512_dpbusd_epi32(sum, lanes_broadcast4(x), _mm512_load_si512(b));
#else
    w16 pairs = _mm512_maddubs_epi16(lanes_broadcast4(x), _mm512_load_si512(b));
    return w16_add(sum, _mm512_madd_epi16(pairs, _mm512_set1_epi16(1)));
#endif
}

/* two k: x[2] s16, b [16][2] s16 */
LANES_INLINE w16 dot_s16(w16 sum, const void *x, const void *b)
{
#if defined(__AVX512VNNI__) && !defined(LANES_SIMDE)
    w16 a = lanes_broadcast4(x), w = _mm512_load_si512(b);
    __asm__("vpdpwssd %2, %1, %0" : "+v"(sum) : "v"(a), "v"(w));  /* gcc 12 spills around the intrinsic */
    return sum;
#else
    return w16_add(sum, _mm512_madd_epi16(lanes_broadcast4(x), _mm512_load_si512(b)));
#endif
}

#define LANES_TILE_ROWS    14  /* 28 of 32 registers are accumulators */
#define LANES_TILE_VECTORS 2

#endif
