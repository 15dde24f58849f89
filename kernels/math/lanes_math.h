/* lanes_math.h: math_ref.h for sixteen lanes; operation by operation the same. */
#ifndef RECTO_KERNELS_LANES_MATH_H
#define RECTO_KERNELS_LANES_MATH_H

#include "kernels/lanes/lanes.h"
#include "kernels/math/math_ref.h"

LANES_INLINE v16 v16_exp(v16 x)
{
    x     = v16_min(v16_max(x, v16_set1(EXP_LOW)), v16_set1(EXP_HIGH));
    v16 n = v16_round(v16_mul(x, v16_set1(EXP_LOG2E)));
    v16 r = v16_fma(n, v16_set1(-EXP_LN2_LOW), v16_fma(n, v16_set1(-EXP_LN2_HIGH), x));
    v16 p = v16_fma(v16_set1(EXP_C5), r, v16_set1(EXP_C4));
    p     = v16_fma(p, r, v16_set1(EXP_C3));
    p     = v16_fma(p, r, v16_set1(EXP_C2));
    p     = v16_fma(p, r, v16_set1(EXP_C1));
    p     = v16_fma(p, r, v16_set1(EXP_C0));
    return v16_bits(w16_add(w16_bits(p), w16_shift_left(v16_to_int(n), 23)));
}

LANES_INLINE v16 v16_exp2(v16 x)
{
    x     = v16_max(x, v16_set1(EXP2_LOW));
    v16 n = v16_round(x), r = v16_sub(x, n);
    v16 p = v16_fma(v16_set1(EXP2_C5), r, v16_set1(EXP2_C4));
    p     = v16_fma(p, r, v16_set1(EXP2_C3));
    p     = v16_fma(p, r, v16_set1(EXP2_C2));
    p     = v16_fma(p, r, v16_set1(EXP2_C1));
    p     = v16_fma(p, r, v16_set1(1.0f));
    return v16_bits(w16_add(w16_bits(p), w16_shift_left(v16_to_int(n), 23)));
}

LANES_INLINE v16 v16_gelu_erf(v16 x)
{
    v16 c = v16_min(v16_max(x, v16_set1(-ERF_LIMIT)), v16_set1(ERF_LIMIT));
    v16 u = v16_fma(v16_mul(c, c), v16_set1(ERF_SCALE), v16_set1(-1.0f));
    v16 p = v16_set1(erf_terms[ERF_TERMS - 1]);
#pragma GCC unroll 16
    for (int i = ERF_TERMS - 2; i >= 0; i--)
        p = v16_fma(p, u, v16_set1(erf_terms[i]));
    v16 e    = v16_min(v16_max(v16_mul(c, p), v16_set1(-1.0f)), v16_set1(1.0f));
    v16 half = v16_mul(v16_set1(0.5f), x);
    return v16_fma(half, e, half);
}

LANES_INLINE v16 v16_gelu_near(v16 x)
{
    v16 c = v16_min(v16_max(x, v16_set1(-GELU_NEAR_LIMIT)), v16_set1(GELU_NEAR_LIMIT)), square = v16_mul(c, c);
    v16 p = v16_set1(gelu_near_terms[GELU_NEAR_TERMS - 1]);
LANES_UNROLL
    for (int i = GELU_NEAR_TERMS - 2; i >= 0; i--)
        p = v16_fma(p, square, v16_set1(gelu_near_terms[i]));
    return v16_mul(x, v16_fma(c, p, v16_set1(0.5f)));
}

LANES_INLINE v16 v16_tanh(v16 x)
{
    v16 one = v16_set1(1.0f);
    return v16_sub(one, v16_div(v16_set1(2.0f), v16_add(v16_exp(v16_add(x, x)), one)));
}

LANES_INLINE v16 v16_gelu_tanh(v16 x)
{
    v16 cubic = v16_fma(v16_mul(v16_mul(v16_set1(0.044715f), x), x), x, x);
    v16 half  = v16_mul(v16_set1(0.5f), x);
    return v16_fma(half, v16_tanh(v16_mul(v16_set1(0.79788456f), cubic)), half);
}

LANES_INLINE v16 v16_silu(v16 x) { return v16_div(x, v16_add(v16_set1(1.0f), v16_exp(v16_negate(x)))); }
LANES_INLINE v16 v16_relu(v16 x) { return v16_max(x, v16_set1(0.0f)); }

#endif
