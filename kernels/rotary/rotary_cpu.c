#include "kernels/lanes/lanes_part.h"
#include "kernels/rotary/rotary.h"
#include "kernels/rows.h"

LANES_INLINE void turn(float *first, float *second, const float *cosines, const float *sines, int count)
{
    v16 a = v16_load_count(first, count), b = v16_load_count(second, count);
    v16 c = v16_load_count(cosines, count), s = v16_load_count(sines, count);
    v16_store_count(first, v16_fma(v16_negate(b), s, v16_mul(a, c)), count);
    v16_store_count(second, v16_fma(a, s, v16_mul(b, c)), count);
}

void KERNEL(rotary_half)(const struct rotary_args *args, int row0, int row1)
{
    int half = args->head_size / 2;
    for (int row = row0; row < row1; row++) {
        const float *cosines = args->cosines + (size_t)args->position_ids[row] * (size_t)half;
        const float *sines   = args->sines + (size_t)args->position_ids[row] * (size_t)half;
        float       *x       = row_write(args->x, args->x_stride, row);
        for (int head = 0; head < args->heads; head++, x += args->head_size)
            LANES_ROW(half, i, count, turn(x + i, x + half + i, cosines + i, sines + i, count));
    }
}
