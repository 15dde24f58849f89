/* math_ref.h: exp, tanh and the activations, as the scalar references compute them.
 *
 * Each is a fixed sequence of IEEE operations, fused where fmaf stands, so that lanes_math.h can repeat it lane by lane
 * with the same bits. The polynomials are minimax fits (Lawson iteration in double precision).
 */
#ifndef RECTO_KERNELS_MATH_REF_H
#define RECTO_KERNELS_MATH_REF_H

#include <math.h>
#include <stdint.h>
#include <string.h>

/* exp(r) for |r| <= ln 2 / 2; relative error 8e-8 before rounding */
#define EXP_C0 1.0000001f
#define EXP_C1 0.9999997f
#define EXP_C2 0.4999889f
#define EXP_C3 0.16667578f
#define EXP_C4 0.041915875f
#define EXP_C5 0.008297584f
#define EXP_LOW  -87.0f  /* below, the result stays exp(-87), about 1.6e-38: no denormals */
#define EXP_HIGH 88.0f
#define EXP_LOG2E 1.44269504f
#define EXP_LN2_HIGH 0.693359375f  /* exact in 10 bits, so that n * EXP_LN2_HIGH is exact */
#define EXP_LN2_LOW -2.12194440e-4f

/* 2^r for |r| <= 1/2, exactly 1 for 0; relative error 1e-7 before rounding */
#define EXP2_C1 0.693147004f
#define EXP2_C2 0.240222245f
#define EXP2_C3 0.0555065088f
#define EXP2_C4 0.00967264641f
#define EXP2_C5 0.00133036484f
#define EXP2_LOW -126.0f  /* below, the result stays 2^-126 */

/* erf(x / sqrt 2) = x * P(x * x * ERF_SCALE - 1) for |x| <= ERF_LIMIT; absolute error 1.3e-7 before rounding. In powers of
 * the shifted square the terms stay small; in powers of x * x they would cancel and lose four digits. */
#define ERF_LIMIT 5.2f
#define ERF_SCALE 0.073964497f  /* 2 / 5.2^2 */
#define ERF_TERMS 14
static const float erf_terms[ERF_TERMS] = {
    0.2719f,        -0.13548733f,  0.10004904f,    -0.07985964f,   0.063979916f, -0.04944726f,  0.035909574f,
    -0.02501024f,   0.017119937f,  -0.009578083f,  0.0036002442f,  -0.0024429837f, 0.0025370226f, -0.00096255547f,
};

/* erf(x / sqrt 2) / 2 = x * P(x * x) for |x| <= GELU_NEAR_LIMIT; times x, absolute error 4e-5 */
#define GELU_NEAR_LIMIT 4.0f
#define GELU_NEAR_TERMS 8
static const float gelu_near_terms[GELU_NEAR_TERMS] = {
    0.398673385f, -0.0658878461f, 0.0095053995f, -0.00100649067f,
    7.4855081e-05f, -3.65713549e-06f, 1.04196147e-07f, -1.30129596e-09f,
};

static inline float math_max(float a, float b) { return a > b ? a : b; }
static inline float math_min(float a, float b) { return a < b ? a : b; }

static inline float math_exp(float x)
{
    x       = math_min(math_max(x, EXP_LOW), EXP_HIGH);
    float n = nearbyintf(x * EXP_LOG2E);
    float r = fmaf(n, -EXP_LN2_LOW, fmaf(n, -EXP_LN2_HIGH, x));
    float p = fmaf(fmaf(fmaf(fmaf(fmaf(EXP_C5, r, EXP_C4), r, EXP_C3), r, EXP_C2), r, EXP_C1), r, EXP_C0);
    int32_t bits;
    memcpy(&bits, &p, 4);
    bits += (int32_t)n * (1 << 23);
    memcpy(&p, &bits, 4);
    return p;
}

/* 2^x for x up to 127: softmax needs no more, and it is cheaper than exp */
static inline float math_exp2(float x)
{
    x       = math_max(x, EXP2_LOW);
    float n = nearbyintf(x), r = x - n;
    float p = fmaf(fmaf(fmaf(fmaf(fmaf(EXP2_C5, r, EXP2_C4), r, EXP2_C3), r, EXP2_C2), r, EXP2_C1), r, 1.0f);
    int32_t bits;
    memcpy(&bits, &p, 4);
    bits += (int32_t)n * (1 << 23);
    memcpy(&p, &bits, 4);
    return p;
}

/* x * Phi(x), the exact form of GELU */
static inline float math_gelu_erf(float x)
{
    float c = math_min(math_max(x, -ERF_LIMIT), ERF_LIMIT);
    float u = fmaf(c * c, ERF_SCALE, -1.0f);
    float p = erf_terms[ERF_TERMS - 1];
    for (int i = ERF_TERMS - 2; i >= 0; i--)
        p = fmaf(p, u, erf_terms[i]);
    float e    = math_min(math_max(c * p, -1.0f), 1.0f);
    float half = 0.5f * x;
    return fmaf(half, e, half);
}

/* The same for results that are kept in bf16 or int8 anyway: within 4e-5 up to the limit and 4.2e-5 * |x| beyond. */
static inline float math_gelu_near(float x)
{
    float c = math_min(math_max(x, -GELU_NEAR_LIMIT), GELU_NEAR_LIMIT), square = c * c;
    float p = gelu_near_terms[GELU_NEAR_TERMS - 1];
    for (int i = GELU_NEAR_TERMS - 2; i >= 0; i--)
        p = fmaf(p, square, gelu_near_terms[i]);
    return x * fmaf(c, p, 0.5f);
}

static inline float math_tanh(float x) { return 1.0f - 2.0f / (math_exp(x + x) + 1.0f); }

/* the tanh form of GELU: x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 x^3))) */
static inline float math_gelu_tanh(float x)
{
    float cubic = fmaf(0.044715f * x * x, x, x);
    float half  = 0.5f * x;
    return fmaf(half, math_tanh(0.79788456f * cubic), half);
}

static inline float math_silu(float x) { return x / (1.0f + math_exp(-x)); }
static inline float math_relu(float x) { return math_max(x, 0.0f); }

#endif
