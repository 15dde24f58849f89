/* bf16.h: single bf16 numbers, for references, packing and tails. */
#ifndef RECTO_KERNELS_BF16_H
#define RECTO_KERNELS_BF16_H

#include <stdint.h>
#include <string.h>

static inline float bf16_to_float(uint16_t x)
{
    uint32_t bits = (uint32_t)x << 16;
    float    value;
    memcpy(&value, &bits, 4);
    return value;
}

/* Rounds to nearest even. Only for numbers: a NaN may become an infinity. */
static inline uint16_t bf16_from_float(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, 4);
    return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

#endif
