/* quantize_e4m3.cuh: what every kernel that writes e4m3 does to a row whose largest element is known; struct fp8_args has the
 * rules. The instruction is one of sm_89 and later: others may include this file, but call nothing of it. */
#ifndef RECTO_KERNELS_QUANTIZE_QUANTIZE_E4M3_CUH
#define RECTO_KERNELS_QUANTIZE_QUANTIZE_E4M3_CUH

#include "kernels/quantize/quantize.h"

#include "kernels/cuda/instructions.cuh"
#include "kernels/e4m3.h"

DEVICE float quantize_scale(float largest) { return largest >= QUANTIZE_LEAST_RANGE ? largest / E4M3_MAX : 1.0f; }
DEVICE float quantize_inverse(float largest) { return largest >= QUANTIZE_LEAST_RANGE ? E4M3_MAX / largest : 0.0f; }

/* Two neighbours, the left one in the low byte. */
DEVICE uint32_t quantize_two(float a, float b, float inverse) { return convert_e4m3x2(a * inverse, b * inverse); }

DEVICE uint32_t quantize_four(float a, float b, float c, float d, float inverse)
{
    return quantize_two(a, b, inverse) | quantize_two(c, d, inverse) << 16;
}

#endif
