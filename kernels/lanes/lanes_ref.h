/* lanes_ref.h: the sum of sixteen lanes as the scalar references compute it. */
#ifndef RECTO_KERNELS_LANES_REF_H
#define RECTO_KERNELS_LANES_REF_H

#include <math.h>

/* lane i with i + 8, then i + 4, i + 2, i + 1 */
static inline float lanes_ref_fold(const float lanes[16])
{
    float fold[16];
    for (int i = 0; i < 16; i++)
        fold[i] = lanes[i];
    for (int width = 8; width > 0; width /= 2)
        for (int i = 0; i < width; i++)
            fold[i] = fold[i] + fold[i + width];
    return fold[0];
}

/* Element i is added to lane i % 16. */
static inline float lanes_ref_sum(const float *x, int width)
{
    float lanes[16] = { 0 };
    for (int i = 0; i < width; i++)
        lanes[i % 16] = lanes[i % 16] + x[i];
    return lanes_ref_fold(lanes);
}

/* The squares of x - mean, each fused with its addition. */
static inline float lanes_ref_sum_squares(const float *x, int width, float mean)
{
    float lanes[16] = { 0 };
    for (int i = 0; i < width; i++)
        lanes[i % 16] = fmaf(x[i] - mean, x[i] - mean, lanes[i % 16]);
    return lanes_ref_fold(lanes);
}

#endif
