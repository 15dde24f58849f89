/* quantize_code.h: from the range of a row to its code, the scalar part that all versions of quantize.h share. */
#ifndef RECTO_KERNELS_QUANTIZE_CODE_H
#define RECTO_KERNELS_QUANTIZE_CODE_H

#include "kernels/math/math_ref.h"
#include "kernels/quantize/quantize.h"

struct quantize_code {
    float scale, inverse, zero;
};

/* low <= 0 <= high */
static inline struct quantize_code quantize_code_of(float low, float high)
{
    float range = high - low;
    if (!(range >= QUANTIZE_LEAST_RANGE))
        return (struct quantize_code){ 1.0f, 0.0f, 0.0f };
    float inverse = (float)LINEAR_U8_MAX / range;
    float zero    = nearbyintf(math_min(math_max(-low * inverse, 0.0f), (float)LINEAR_U8_MAX));
    return (struct quantize_code){ range / (float)LINEAR_U8_MAX, inverse, zero };
}

#endif
