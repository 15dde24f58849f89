/* e4m3.h: single e4m3 numbers (four bits of exponent, three of fraction, no infinities), for references and packing. */
#ifndef RECTO_KERNELS_E4M3_H
#define RECTO_KERNELS_E4M3_H

#include <math.h>
#include <stdint.h>
#include <string.h>

#define E4M3_MAX 448.0f

static inline float e4m3_to_float(uint8_t x)
{
    uint32_t bits = (uint32_t)(x & 127) << 20 | (uint32_t)(x & 128) << 24;  /* exponent and fraction at f32's places */
    float    value;
    memcpy(&value, &bits, 4);
    return (x & 127) == 127 ? NAN : value * 0x1p120f;  /* the biases are 7 and 127 */
}

/* Rounds to nearest even; what is too large becomes the largest. Only for numbers. */
static inline uint8_t e4m3_from_float(float x)
{
    float    size = fminf(fabsf(x), E4M3_MAX);
    uint32_t bits;
    memcpy(&bits, &size, 4);
    int      exponent = (int)(bits >> 23) < 121 ? -6 : (int)(bits >> 23) - 127;
    /* A step is 2^(exponent - 3), below the smallest normal number 2^-9; a carry moves on to the next exponent by itself. */
    unsigned steps = (unsigned)lrintf(ldexpf(size, 3 - exponent));
    return (uint8_t)((signbit(x) ? 128u : 0u) | ((unsigned)(exponent + 6) * 8 + steps));
}

#endif
