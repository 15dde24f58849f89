/* The specification of rotary.h. */
#include "kernels/bf16.h"
#include "kernels/rotary/rotary.h"
#include "kernels/rows.h"

#include <math.h>

static float get(const void *x, enum dtype type, int i)
{
    return type == DTYPE_BF16 ? bf16_to_float(((const uint16_t *)x)[i]) : ((const float *)x)[i];
}

static void set(void *x, enum dtype type, int i, float v)
{
    if (type == DTYPE_BF16)
        ((uint16_t *)x)[i] = bf16_from_float(v);
    else
        ((float *)x)[i] = v;
}

void rotary_half_ref(const struct rotary_args *args, int row0, int row1)
{
    int half = args->head_size / 2;
    for (int row = row0; row < row1; row++) {
        const float *c = args->cosines + (size_t)args->position_ids[row] * (size_t)half;
        const float *s = args->sines + (size_t)args->position_ids[row] * (size_t)half;
        void        *x = row_write(args->x, args->x_stride, row);
        for (int head = 0; head < args->heads; head++)
            for (int i = 0; i < half; i++) {
                int   first = head * args->head_size + i, second = first + half;
                float a = get(x, args->type, first), b = get(x, args->type, second);
                set(x, args->type, first, fmaf(-b, s[i], a * c[i]));
                set(x, args->type, second, fmaf(a, s[i], b * c[i]));
            }
    }
}
