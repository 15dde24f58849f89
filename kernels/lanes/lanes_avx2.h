/* lanes_avx2.h: sixteen lanes in two registers (AVX2 with FMA). */
#ifndef RECTO_KERNELS_LANES_AVX2_H
#define RECTO_KERNELS_LANES_AVX2_H

#include <immintrin.h>

typedef struct { __m256 low, high; } v16;   /* sixteen floats */
typedef struct { __m256i low, high; } w16;  /* sixteen 32-bit integers */

LANES_INLINE v16  v16_set1(float x) { return (v16){ _mm256_set1_ps(x), _mm256_set1_ps(x) }; }
LANES_INLINE v16  v16_load(const float *p) { return (v16){ _mm256_loadu_ps(p), _mm256_loadu_ps(p + 8) }; }
LANES_INLINE void v16_store(float *p, v16 x)
{
    _mm256_storeu_ps(p, x.low);
    _mm256_storeu_ps(p + 8, x.high);
}
/* -1 in the first `count` lanes. */
LANES_INLINE w16 lanes_mask(int count)
{
    __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7), limit = _mm256_set1_epi32(count);
    return (w16){ _mm256_cmpgt_epi32(limit, lane), _mm256_cmpgt_epi32(limit, _mm256_add_epi32(lane, _mm256_set1_epi32(8))) };
}
/* The first `count` lanes from memory (0 to 16), the others zero. */
LANES_INLINE v16 v16_load_part(const float *p, int count)
{
    w16 mask = lanes_mask(count);
    return (v16){ _mm256_maskload_ps(p, mask.low), _mm256_maskload_ps(p + 8, mask.high) };
}
LANES_INLINE void v16_store_part(float *p, v16 x, int count)
{
    w16 mask = lanes_mask(count);
    _mm256_maskstore_ps(p, mask.low, x.low);
    _mm256_maskstore_ps(p + 8, mask.high, x.high);
}
/* Lanes from `count` on become those of `other`. */
LANES_INLINE v16 v16_keep(v16 x, int count, v16 other)
{
    w16 mask = lanes_mask(count);
    return (v16){ _mm256_blendv_ps(other.low, x.low, _mm256_castsi256_ps(mask.low)),
                  _mm256_blendv_ps(other.high, x.high, _mm256_castsi256_ps(mask.high)) };
}

LANES_INLINE v16 v16_add(v16 a, v16 b) { return (v16){ _mm256_add_ps(a.low, b.low), _mm256_add_ps(a.high, b.high) }; }
LANES_INLINE v16 v16_sub(v16 a, v16 b) { return (v16){ _mm256_sub_ps(a.low, b.low), _mm256_sub_ps(a.high, b.high) }; }
LANES_INLINE v16 v16_mul(v16 a, v16 b) { return (v16){ _mm256_mul_ps(a.low, b.low), _mm256_mul_ps(a.high, b.high) }; }
LANES_INLINE v16 v16_div(v16 a, v16 b) { return (v16){ _mm256_div_ps(a.low, b.low), _mm256_div_ps(a.high, b.high) }; }
LANES_INLINE v16 v16_fma(v16 a, v16 b, v16 c)  /* a * b + c */
{
    return (v16){ _mm256_fmadd_ps(a.low, b.low, c.low), _mm256_fmadd_ps(a.high, b.high, c.high) };
}
/* The greater and the smaller of two; the second one where they compare unequal to nothing (NaN). */
LANES_INLINE v16 v16_max(v16 a, v16 b) { return (v16){ _mm256_max_ps(a.low, b.low), _mm256_max_ps(a.high, b.high) }; }
LANES_INLINE v16 v16_min(v16 a, v16 b) { return (v16){ _mm256_min_ps(a.low, b.low), _mm256_min_ps(a.high, b.high) }; }
LANES_INLINE v16 v16_abs(v16 a)
{
    __m256 sign = _mm256_set1_ps(-0.0f);
    return (v16){ _mm256_andnot_ps(sign, a.low), _mm256_andnot_ps(sign, a.high) };
}
LANES_INLINE v16 v16_negate(v16 a)
{
    __m256 sign = _mm256_set1_ps(-0.0f);
    return (v16){ _mm256_xor_ps(sign, a.low), _mm256_xor_ps(sign, a.high) };
}
LANES_INLINE v16 v16_round(v16 a)  /* to the nearest integer, ties to even */
{
    return (v16){ _mm256_round_ps(a.low, 8), _mm256_round_ps(a.high, 8) };
}

LANES_INLINE w16 w16_set1(int32_t x) { return (w16){ _mm256_set1_epi32(x), _mm256_set1_epi32(x) }; }
LANES_INLINE w16 w16_load(const int32_t *p)
{
    return (w16){ _mm256_loadu_si256((const __m256i *)(const void *)p),
                  _mm256_loadu_si256((const __m256i *)(const void *)(p + 8)) };
}
LANES_INLINE void w16_store(int32_t *p, w16 x)
{
    _mm256_storeu_si256((__m256i *)(void *)p, x.low);
    _mm256_storeu_si256((__m256i *)(void *)(p + 8), x.high);
}
LANES_INLINE w16 w16_add(w16 a, w16 b) { return (w16){ _mm256_add_epi32(a.low, b.low), _mm256_add_epi32(a.high, b.high) }; }
LANES_INLINE w16 w16_sub(w16 a, w16 b) { return (w16){ _mm256_sub_epi32(a.low, b.low), _mm256_sub_epi32(a.high, b.high) }; }
LANES_INLINE w16 w16_mul(w16 a, w16 b)
{
    return (w16){ _mm256_mullo_epi32(a.low, b.low), _mm256_mullo_epi32(a.high, b.high) };
}
LANES_INLINE w16 w16_max(w16 a, w16 b) { return (w16){ _mm256_max_epi32(a.low, b.low), _mm256_max_epi32(a.high, b.high) }; }
LANES_INLINE w16 w16_shift_left(w16 a, int bits)
{
    __m128i count = _mm_cvtsi32_si128(bits);
    return (w16){ _mm256_sll_epi32(a.low, count), _mm256_sll_epi32(a.high, count) };
}
LANES_INLINE v16 v16_from_int(w16 a) { return (v16){ _mm256_cvtepi32_ps(a.low), _mm256_cvtepi32_ps(a.high) }; }
LANES_INLINE w16 v16_to_int(v16 a) { return (w16){ _mm256_cvtps_epi32(a.low), _mm256_cvtps_epi32(a.high) }; }  /* ties to even */
LANES_INLINE v16 v16_bits(w16 a) { return (v16){ _mm256_castsi256_ps(a.low), _mm256_castsi256_ps(a.high) }; }
LANES_INLINE w16 w16_bits(v16 a) { return (w16){ _mm256_castps_si256(a.low), _mm256_castps_si256(a.high) }; }
/* Stores each lane as a byte; the lanes hold 0 to 255. */
LANES_INLINE void w16_store_bytes(uint8_t *p, w16 a)
{
    __m256i words = _mm256_permute4x64_epi64(_mm256_packus_epi32(a.low, a.high), 0xd8);
    _mm_storeu_si128((__m128i *)(void *)p,
                     _mm_packus_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1)));
}

LANES_INLINE v16 v16_load_bf16(const uint16_t *p)
{
    __m128i low = _mm_loadu_si128((const __m128i *)(const void *)p), high = _mm_loadu_si128((const __m128i *)(const void *)(p + 8));
    return (v16){ _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(low), 16)),
                  _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(high), 16)) };
}
/* Rounds to nearest even. Only for numbers: a NaN may become an infinity. */
LANES_INLINE __m256i lanes_round_bf16(__m256 x)
{
    __m256i bits = _mm256_castps_si256(x), odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
    return _mm256_srli_epi32(_mm256_add_epi32(bits, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff))), 16);
}
LANES_INLINE void v16_store_bf16(uint16_t *p, v16 x)
{
    __m256i words = _mm256_packus_epi32(lanes_round_bf16(x.low), lanes_round_bf16(x.high));
    _mm256_storeu_si256((__m256i *)(void *)p, _mm256_permute4x64_epi64(words, 0xd8));
}

/* Stores each lane as 16 bits; the lanes hold -32768 to 32767. */
LANES_INLINE void w16_store_s16(int16_t *p, w16 a)
{
    __m256i words = _mm256_packs_epi32(a.low, a.high);
    _mm256_storeu_si256((__m256i *)(void *)p, _mm256_permute4x64_epi64(words, 0xd8));
}

/* The same for numbers that are not denormal; some hardware takes those for zero. */
LANES_INLINE void v16_store_bf16_normal(uint16_t *p, v16 x) { v16_store_bf16(p, x); }

/* Two rows of sixteen 16-bit elements, interleaved. */
LANES_INLINE w16 w16_load_pairs(const void *even, const void *odd)
{
    __m256i e = _mm256_loadu_si256(even), o = _mm256_loadu_si256(odd);
    __m256i outer = _mm256_unpacklo_epi16(e, o), inner = _mm256_unpackhi_epi16(e, o);
    return (w16){ _mm256_permute2x128_si256(outer, inner, 0x20), _mm256_permute2x128_si256(outer, inner, 0x31) };
}

LANES_INLINE void lanes_transpose8(__m256i row[8])
{
    __m256i t[8];
#pragma GCC unroll 4
    for (int i = 0; i < 8; i += 2) {
        t[i]     = _mm256_unpacklo_epi32(row[i], row[i + 1]);
        t[i + 1] = _mm256_unpackhi_epi32(row[i], row[i + 1]);
    }
#pragma GCC unroll 2
    for (int i = 0; i < 8; i += 4) {  /* now row[i + c] holds column c of each half, for rows i to i + 3 */
        row[i]     = _mm256_unpacklo_epi64(t[i], t[i + 2]);
        row[i + 1] = _mm256_unpackhi_epi64(t[i], t[i + 2]);
        row[i + 2] = _mm256_unpacklo_epi64(t[i + 1], t[i + 3]);
        row[i + 3] = _mm256_unpackhi_epi64(t[i + 1], t[i + 3]);
    }
#pragma GCC unroll 4
    for (int c = 0; c < 4; c++) {
        __m256i low = _mm256_permute2x128_si256(row[c], row[c + 4], 0x20);
        row[c + 4]  = _mm256_permute2x128_si256(row[c], row[c + 4], 0x31);
        row[c]      = low;
    }
}

/* Transposes sixteen rows of sixteen. */
LANES_INLINE void w16_transpose(w16 row[LANES])
{
    __m256i block[2][2][8];  /* quadrants: lower or upper half of the rows, of the columns */
    for (int i = 0; i < LANES; i++) {
        block[i / 8][0][i % 8] = row[i].low;
        block[i / 8][1][i % 8] = row[i].high;
    }
    for (int i = 0; i < 4; i++)
        lanes_transpose8(block[i / 2][i % 2]);
    for (int i = 0; i < LANES; i++)
        row[i] = (w16){ block[0][i / 8][i % 8], block[1][i / 8][i % 8] };
}

/* fold: lane i with i+8, then i+4, i+2, i+1 */
LANES_INLINE float v16_sum(v16 x)
{
    __m256 a = _mm256_add_ps(x.low, x.high);
    __m128 b = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    __m128 c = _mm_add_ps(b, _mm_movehl_ps(b, b));
    return _mm_cvtss_f32(_mm_add_ss(c, _mm_shuffle_ps(c, c, 1)));
}
LANES_INLINE float v16_maximum(v16 x)
{
    __m256 a = _mm256_max_ps(x.low, x.high);
    __m128 b = _mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    __m128 c = _mm_max_ps(b, _mm_movehl_ps(b, b));
    return _mm_cvtss_f32(_mm_max_ss(c, _mm_shuffle_ps(c, c, 1)));
}
LANES_INLINE float lanes_sqrt(float x) { return _mm_cvtss_f32(_mm_sqrt_ss(_mm_set_ss(x))); }

/* Steps of a dot product along k, for sixteen columns at once; `x` points at one row, `b` at 64 bytes of a weight panel. */
/* one k: x[1] f32, b [16] f32 */
LANES_INLINE v16 dot_f32(v16 sum, const void *x, const void *b)
{
    __m256 a = _mm256_broadcast_ss(x);
    return (v16){ _mm256_fmadd_ps(a, _mm256_load_ps(b), sum.low),
                  _mm256_fmadd_ps(a, _mm256_load_ps((const float *)b + 8), sum.high) };
}
LANES_INLINE __m256i lanes_broadcast4(const void *x)
{
    int32_t value;
    memcpy(&value, x, 4);
    return _mm256_set1_epi32(value);
}
LANES_INLINE __m256 lanes_dot_bf16(__m256 sum, __m256i a, __m256i w)
{
    __m256i high = _mm256_set1_epi32((int32_t)0xffff0000u);
    sum = _mm256_fmadd_ps(_mm256_castsi256_ps(_mm256_and_si256(a, high)), _mm256_castsi256_ps(_mm256_and_si256(w, high)), sum);
    return _mm256_fmadd_ps(_mm256_castsi256_ps(_mm256_slli_epi32(a, 16)), _mm256_castsi256_ps(_mm256_slli_epi32(w, 16)), sum);
}
/* two k: x[2] bf16, b [16][2] bf16: first the odd product is added, then the even one, each sum rounded */
LANES_INLINE v16 dot_bf16(v16 sum, const void *x, const void *b)
{
    const __m256i *w = b;
    __m256i        a = lanes_broadcast4(x);
    return (v16){ lanes_dot_bf16(sum.low, a, _mm256_load_si256(w)), lanes_dot_bf16(sum.high, a, _mm256_load_si256(w + 1)) };
}
LANES_INLINE __m256i lanes_dot_u8s8(__m256i sum, __m256i a, __m256i w)
{
    __m256i pairs;  /* in one block: gcc 12 otherwise hoists the products of several rows and spills them */
    __asm__("vpmaddubsw %3, %2, %1\n\tvpmaddwd %4, %1, %1\n\tvpaddd %1, %0, %0"
            : "+x"(sum), "=&x"(pairs) : "x"(a), "x"(w), "x"(_mm256_set1_epi16(1)));
    return sum;
}
/* four k: x[4] u8, b [16][4] s8, such that the sum of two products stays in 16 bits: see linear.h */
LANES_INLINE w16 dot_u8s8(w16 sum, const void *x, const void *b)
{
    const __m256i *w = b;
    __m256i        a = lanes_broadcast4(x);
    return (w16){ lanes_dot_u8s8(sum.low, a, _mm256_load_si256(w)), lanes_dot_u8s8(sum.high, a, _mm256_load_si256(w + 1)) };
}

/* two k: x[2] s16, b [16][2] s16 */
LANES_INLINE w16 dot_s16(w16 sum, const void *x, const void *b)
{
    const __m256i *w = b;
    __m256i        a = lanes_broadcast4(x);
    return (w16){ _mm256_add_epi32(sum.low, _mm256_madd_epi16(a, _mm256_load_si256(w))),
                  _mm256_add_epi32(sum.high, _mm256_madd_epi16(a, _mm256_load_si256(w + 1))) };
}

#define LANES_TILE_ROWS    6  /* 12 of 16 registers are accumulators */
#define LANES_TILE_VECTORS 1

#endif
