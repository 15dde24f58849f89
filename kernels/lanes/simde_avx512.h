/* simde_avx512.h: the intrinsics of lanes_avx512.h for machines without AVX-512, so that its source is tested on any x86-64.
 *
 * SIMDe brings most of them; the twins below are what version 0.7.4 lacks. Each is named like the intrinsic, which the
 * compiler's own header declares too, hence the macros.
 */
#ifndef RECTO_KERNELS_SIMDE_AVX512_H
#define RECTO_KERNELS_SIMDE_AVX512_H

#define SIMDE_ENABLE_NATIVE_ALIASES
#include <simde/x86/avx512.h>

#include <stdint.h>
#include <string.h>

#define TWIN static inline __attribute__((always_inline))

TWIN __m512 twin_maskz_loadu_ps(__mmask16 mask, const void *p)
{
    float lanes[16] = { 0 };
    for (int i = 0; i < 16; i++)
        if (mask >> i & 1)
            memcpy(&lanes[i], (const char *)p + 4 * i, 4);
    return _mm512_loadu_ps(lanes);
}

TWIN void twin_mask_storeu_ps(void *p, __mmask16 mask, __m512 x)
{
    float lanes[16];
    _mm512_storeu_ps(lanes, x);
    for (int i = 0; i < 16; i++)
        if (mask >> i & 1)
            memcpy((char *)p + 4 * i, &lanes[i], 4);
}

/* A register of 512 bits as the two halves that AVX2 works on. */
typedef struct {
    __m256i low, high;
} twin_halves;

TWIN twin_halves twin_split(__m512i x)
{
    twin_halves halves;
    memcpy(&halves, &x, 64);
    return halves;
}
TWIN __m512i twin_join(__m256i low, __m256i high)
{
    twin_halves halves = { low, high };
    __m512i     x;
    memcpy(&x, &halves, 64);
    return x;
}

TWIN __m512i twin_cvtps_epi32(__m512 x)
{
    twin_halves halves = twin_split(_mm512_castps_si512(x));
    return twin_join(_mm256_cvtps_epi32(_mm256_castsi256_ps(halves.low)), _mm256_cvtps_epi32(_mm256_castsi256_ps(halves.high)));
}
TWIN __m512 twin_cvtepi32_ps(__m512i x)
{
    twin_halves halves = twin_split(x);
    return _mm512_castsi512_ps(twin_join(_mm256_castps_si256(_mm256_cvtepi32_ps(halves.low)),
                                         _mm256_castps_si256(_mm256_cvtepi32_ps(halves.high))));
}
TWIN __m512i twin_cvtepu16_epi32(__m256i x)
{
    return twin_join(_mm256_cvtepu16_epi32(_mm256_castsi256_si128(x)), _mm256_cvtepu16_epi32(_mm256_extracti128_si256(x, 1)));
}
TWIN __m256i twin_cvtepi32_epi16(__m512i x)
{
    int32_t  lanes[16];
    uint16_t low[16];
    __m256i  result;
    memcpy(lanes, &x, 64);
    for (int i = 0; i < 16; i++)
        low[i] = (uint16_t)lanes[i];
    memcpy(&result, low, 32);
    return result;
}
TWIN __m128i twin_cvtepi32_epi8(__m512i x)
{
    int32_t lanes[16];
    uint8_t low[16];
    __m128i result;
    memcpy(lanes, &x, 64);
    for (int i = 0; i < 16; i++)
        low[i] = (uint8_t)lanes[i];
    memcpy(&result, low, 16);
    return result;
}

#undef _mm512_madd_epi16  /* SIMDe's alias stands for the masked form */
#define _mm512_madd_epi16(a, b)           simde_mm512_madd_epi16(a, b)
#define _mm512_maskz_loadu_ps(mask, p)    twin_maskz_loadu_ps(mask, p)
#define _mm512_mask_storeu_ps(p, mask, x) twin_mask_storeu_ps(p, mask, x)
#define _mm512_cvtps_epi32(x)             twin_cvtps_epi32(x)
#define _mm512_cvtepi32_ps(x)             twin_cvtepi32_ps(x)
#define _mm512_cvtepu16_epi32(x)          twin_cvtepu16_epi32(x)
#define _mm512_cvtepi32_epi16(x)          twin_cvtepi32_epi16(x)
#define _mm512_cvtepi32_epi8(x)           twin_cvtepi32_epi8(x)

#endif
