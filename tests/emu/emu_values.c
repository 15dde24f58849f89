/* Conversions of single values, and functions that a device only approximates. */
#include "emu_state.h"

#include <math.h>
#include <string.h>

static uint32_t bits_of(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, 4);
    return bits;
}

static float float_of(uint32_t bits)
{
    float x;
    memcpy(&x, &bits, 4);
    return x;
}

float emu_from_f16(uint16_t bits) { return emu_half_value(bits); }

uint16_t emu_to_f16(float value)
{
    uint32_t bits = bits_of(value), sign = bits >> 16 & 0x8000, rest = bits & 0x7fffffff;
    if (rest > 0x7f800000)
        return 0x7fff;
    if (rest >= 0x477ff000)  /* 65520 and above round to infinity */
        return (uint16_t)(sign | 0x7c00);
    if (rest < 0x38800000)  /* denormal: the sum with 1/2 rounds at the last bit of a denormal, 2^-24 */
        return (uint16_t)(sign | (bits_of(float_of(rest) + 0.5f) - 0x3f000000));
    return (uint16_t)(sign | ((rest - 0x38000000 + 0xfff + (rest >> 13 & 1)) >> 13));
}

float emu_from_e4m3(uint8_t bits) { return emu_e4m3_value(bits); }

uint8_t emu_to_e4m3(float value)
{
    uint8_t sign      = (uint8_t)(bits_of(value) >> 24 & 0x80);
    float   magnitude = fabsf(value);
    if (isnan(value))
        return 0x7f;
    if (magnitude >= 448.0f)
        return (uint8_t)(sign | 0x7e);
    int exponent;
    frexpf(magnitude, &exponent);  /* magnitude < 2^exponent */
    if (exponent < -5)
        exponent = -5;
    float quantum = ldexpf(1.0f, exponent - 4);
    float rounded = rintf(magnitude / quantum) * quantum;
    if (rounded < 0x1p-6f)
        return (uint8_t)(sign | (int)(rounded * 0x1p9f));
    frexpf(rounded, &exponent);
    return (uint8_t)(sign | (exponent + 6) << 3 | (int)(ldexpf(rounded, 4 - exponent) - 8.0f));
}

/* Denormal results and arguments are zero, as .ftz has it. */
float emu_exp2(float x)
{
    float y = exp2f(x);
    return y < 0x1p-126f ? 0.0f : y;
}

/* Only the 11 bits that tanh.approx promises: a kernel that needs more is found out here. */
float emu_tanh(float x)
{
    uint32_t bits = bits_of(tanhf(x));
    if (isnan(x))
        return x;
    return float_of((bits + 0xfff + (bits >> 13 & 1)) & ~UINT32_C(0x1fff));
}
