#include "kernels/lanes/lanes_part.h"
#include "kernels/rotary/rotary.h"
#include "kernels/rows.h"

LANES_INLINE v16 load(const void *x, enum dtype type, int i, int count)
{
    return type == DTYPE_BF16 ? v16_load_bf16_count((const uint16_t *)x + i, count)
                              : v16_load_count((const float *)x + i, count);
}

LANES_INLINE void store(void *x, enum dtype type, int i, v16 v, int count)
{
    if (type == DTYPE_BF16)
        v16_store_bf16_count((uint16_t *)x + i, v, count);
    else
        v16_store_count((float *)x + i, v, count);
}

/* Elements `first` and `second` of the row and those after them. */
LANES_INLINE void turn(void *x, enum dtype type, int first, int second, const float *cosines, const float *sines, int count)
{
    v16 a = load(x, type, first, count), b = load(x, type, second, count);
    v16 c = v16_load_count(cosines, count), s = v16_load_count(sines, count);
    store(x, type, first, v16_fma(v16_negate(b), s, v16_mul(a, c)), count);
    store(x, type, second, v16_fma(a, s, v16_mul(b, c)), count);
}

void KERNEL(rotary_half)(const struct rotary_args *args, int row0, int row1)
{
    int half = args->head_size / 2;
    for (int row = row0; row < row1; row++) {
        const float *cosines = args->cosines + (size_t)args->position_ids[row] * (size_t)half;
        const float *sines   = args->sines + (size_t)args->position_ids[row] * (size_t)half;
        void        *x       = row_write(args->x, args->x_stride, row);
        for (int first = 0; first < args->heads * args->head_size; first += args->head_size)
            LANES_ROW(half, i, count, turn(x, args->type, first + i, first + half + i, cosines + i, sines + i, count));
    }
}
