/* embed.h: y[r] = words[ids[r]] + positions[position_ids[r]] + types[0], rows picked from tables and added.
 *
 *   words      [vocabulary, width]  f32 or bf16, rows without gaps, any alignment of the element
 *   positions  [limit, width]       the same type; null: no term
 *   types      [any, width]         the same type, its first row is added; null: no term
 *   y          [rows, width]        f32; overlaps nothing
 *
 * The terms are added in the order above, each sum rounded; bf16 widens exactly. The ids are checked by the caller.
 */
#ifndef RECTO_KERNELS_EMBED_H
#define RECTO_KERNELS_EMBED_H

#include "kernels/dtype.h"

#include <stddef.h>
#include <stdint.h>

struct embed_args {
    const void    *words, *positions, *types;
    enum dtype     table_type;    /* of all three: DTYPE_F32 or DTYPE_BF16 */
    int            width;
    const int32_t *ids;           /* [rows] */
    const int32_t *position_ids;  /* [rows]; read only where positions is not null */
    float         *y;
    size_t         y_stride;      /* bytes */
};

/* Computes rows [row0, row1). */
typedef void embed_kernel(const struct embed_args *args, int row0, int row1);

embed_kernel embed_rows_ref, embed_rows_avx2, embed_rows_avx512, embed_rows_neon;

#endif
