/* The specification of rotary.h. */
#include "kernels/rotary/rotary.h"
#include "kernels/rows.h"

#include <math.h>

void rotary_half_ref(const struct rotary_args *args, int row0, int row1)
{
    int half = args->head_size / 2;
    for (int row = row0; row < row1; row++) {
        const float *c = args->cosines + (size_t)args->position_ids[row] * (size_t)half;
        const float *s = args->sines + (size_t)args->position_ids[row] * (size_t)half;
        float       *x = row_write(args->x, args->x_stride, row);
        for (int head = 0; head < args->heads; head++, x += args->head_size)
            for (int i = 0; i < half; i++) {
                float a = x[i], b = x[i + half];
                x[i]        = fmaf(-b, s[i], a * c[i]);
                x[i + half] = fmaf(a, s[i], b * c[i]);
            }
    }
}
