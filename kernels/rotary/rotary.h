/* rotary.h: rotary positions on packed heads, in place; the two halves of a head are the parts of the turned pairs.
 *
 *   x [rows, heads, head_size] f32 or bf16; cosines, sines [positions, head_size / 2] f32; position_ids [rows]
 *
 *   a = x[r][h][i], b = x[r][h][i + head_size / 2], c and s of position_ids[r] at i:
 *   x[r][h][i] = fma(-b, s, a * c)   x[r][h][i + head_size / 2] = fma(a, s, b * c)
 *
 * bf16 is turned in f32 and rounded once. head_size is even. The position ids are checked by the caller.
 */
#ifndef RECTO_KERNELS_ROTARY_H
#define RECTO_KERNELS_ROTARY_H

#include "kernels/dtype.h"

#include <stddef.h>
#include <stdint.h>

struct rotary_args {
    void          *x;
    enum dtype     type;      /* of x: DTYPE_F32 or DTYPE_BF16 */
    size_t         x_stride;  /* bytes */
    int            heads, head_size;
    const int32_t *position_ids;
    const float   *cosines, *sines;
};

/* Turns rows [row0, row1). */
typedef void rotary_kernel(const struct rotary_args *args, int row0, int row1);

rotary_kernel rotary_half_ref, rotary_half_avx2, rotary_half_avx512, rotary_half_neon;

#endif
