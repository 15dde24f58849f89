/* norm_row.cuh: what every norm on a GPU does to a row whose sums are known. */
#ifndef RECTO_KERNELS_NORM_NORM_ROW_CUH
#define RECTO_KERNELS_NORM_NORM_ROW_CUH

#include "kernels/norm/norm.h"

#include "kernels/cuda/device.cuh"

DEVICE float norm_value(const struct norm_args &a, float d, float inverse, float weight, float bias)
{
    return a.bias ? fmaf(d * inverse, weight, bias) : d * inverse * weight;
}

DEVICE float norm_inverse(const struct norm_args &a, float squares)
{
    return 1.0f / sqrtf(squares / (float)a.width + a.epsilon);
}

#endif
