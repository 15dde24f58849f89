/* pool.h: from the rows of a sequence to its one vector, and vectors to length one.
 *
 *   x [rows, width] f32, the sequences one after another: sequence s has rows starts[s] .. starts[s + 1] - 1, at least one
 *   y [sequences, width] f32; overlaps nothing
 *
 *   pool_mean   a column's rows added from first to last, each sum rounded, then divided by their number
 *   pool_first, pool_last   that row
 *
 * normalize_l2: y = x / max(sqrt(sum(x * x)), NORMALIZE_LEAST) over the first `width` columns of each row; y may be x. The sum
 * runs in sixteen lanes by fused multiply-adds, folded in the tree of lanes.h.
 */
#ifndef RECTO_KERNELS_POOL_H
#define RECTO_KERNELS_POOL_H

#include <stddef.h>
#include <stdint.h>

#define NORMALIZE_LEAST 1e-12f  /* a vector of zeros stays zeros */

struct pool_args {
    const float   *x;
    size_t         x_stride;  /* bytes */
    int            width;
    const int32_t *starts;    /* [sequences + 1] */
    float         *y;
    size_t         y_stride;  /* bytes */
};

struct normalize_args {
    const float *x;
    size_t       x_stride;  /* bytes */
    int          width;
    float       *y;
    size_t       y_stride;  /* bytes */
};

typedef void pool_kernel(const struct pool_args *args, int sequence0, int sequence1);
typedef void normalize_kernel(const struct normalize_args *args, int row0, int row1);

pool_kernel      pool_mean_ref, pool_mean_avx2, pool_mean_avx512, pool_mean_neon;
pool_kernel      pool_first_ref, pool_last_ref;  /* copies: there is nothing to vectorise */
normalize_kernel normalize_l2_ref, normalize_l2_avx2, normalize_l2_avx512, normalize_l2_neon;

#endif
