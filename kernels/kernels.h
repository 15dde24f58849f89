/* kernels.h: one table of functions for each instruction set; whoever runs kernels picks a table and never a function.
 *
 * Every table is complete: what a set has no version of its own for comes from the next lower one. In f32 and int8 all
 * tables give the same bits; in bf16 too, denormal numbers aside. A table may be called only where kernels_runnable says so.
 */
#ifndef RECTO_KERNELS_KERNELS_H
#define RECTO_KERNELS_KERNELS_H

#include "kernels/attention/attention.h"
#include "kernels/embed/embed.h"
#include "kernels/linear/linear.h"
#include "kernels/norm/norm.h"
#include "kernels/pool/pool.h"
#include "kernels/quantize/quantize.h"
#include "kernels/rotary/rotary.h"

#include <stdbool.h>

struct kernels {
    const char       *name;  /* "ref", "avx2", "avx512", "avx512vnni", "avx512bf16" or "neon" */
    linear_kernel    *linear_f32, *linear_bf16, *linear_u8s8;
    attention_kernel *attention_f32, *attention_bf16, *attention_s16;
    embed_kernel     *embed_rows;
    norm_kernel      *norm_layer, *norm_rms;
    quantize_kernel  *quantize_rows;
    convert_kernel   *convert_bf16;
    rotary_kernel    *rotary_half;
    pool_kernel      *pool_mean, *pool_first, *pool_last;
    normalize_kernel *normalize_l2;
};

extern const struct kernels kernels_ref;   /* the scalar specification, on every machine */
extern const struct kernels kernels_avx2, kernels_avx512, kernels_avx512vnni, kernels_avx512bf16;  /* x86-64 */
extern const struct kernels kernels_neon;  /* AArch64 */

/* The tables in this build, lowest first; the first is kernels_ref. */
const struct kernels *const *kernels_built(int *count);

/* Whether this processor and operating system can run a table of kernels_built. */
bool kernels_runnable(const struct kernels *kernels);

#endif
