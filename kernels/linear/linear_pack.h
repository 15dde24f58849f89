/* linear_pack.h: from rows of f32 weights to the panels that the linear kernels read.
 *
 * One panel (16 outputs) at a time, so that a packer needs memory for 16 rows alone. Outputs past the last are zero rows.
 *
 * DTYPE_I8: each output has a scale of its own, the smallest that keeps every weight within 127 and every pair of
 * neighbours within LINEAR_PAIR_MAX; a pair that rounding pushes past it gives up its smaller rounding error. Outlier columns
 * are zero in the panels and kept as f32 beside them.
 */
#ifndef RECTO_KERNELS_LINEAR_PACK_H
#define RECTO_KERNELS_LINEAR_PACK_H

#include "kernels/linear/linear.h"

struct linear_pack_args {
    enum dtype     type;
    int            k;
    float         *rows;             /* [LINEAR_PANEL][k]; outlier columns of DTYPE_I8 are set to zero here */
    int            outliers;
    const int32_t *outlier_columns;  /* [outliers] */
};

struct linear_pack_result {
    void   *panel;                   /* linear_panel_bytes(type, k) */
    float   scales[LINEAR_PANEL];    /* DTYPE_I8 */
    int32_t sums[LINEAR_PANEL];      /* DTYPE_I8 */
    float   outlier_weights[LINEAR_MAX_OUTLIERS][LINEAR_PANEL];
};

void linear_pack_panel(const struct linear_pack_args *args, struct linear_pack_result *result);

/* One row of weights as e4m3, as GPUs read it: codes[i] = row[i] * (448 / m) rounded to even, m the largest
 * |row[i]|. Returns the scale m / 448; for a row whose m is below QUANTIZE_LEAST_RANGE codes of 0, and 1. */
float linear_pack_e4m3(const float *row, int k, uint8_t *codes);

/* The `count` greatest of k scores, the lower column first among equals; returned in ascending order of columns. */
void linear_pack_choose(const float *scores, int k, int count, int32_t *columns);

#endif
