/* attention.h: y = softmax(scale * q k^T) v, sequence by sequence, head by head.
 *
 *   q  [rows, heads, head_size]      f32 or bf16; rows of several sequences lie one after another, sequence s is rows
 *   k  [rows, kv_heads, head_size]   starts[s] to starts[s + 1]; strides from row to row are in bytes; query head h reads
 *   v  [rows, kv_heads, head_size]   head h / (heads / kv_heads) of k and v
 *   y  [rows, heads, head_size]      f32 or bf16; aliases nothing
 *
 * head_size is a multiple of 8 up to 256, scale is positive. A query sees the keys of its own sequence, with `causal` only
 * those up to its own row. Nothing else is read: no padding, no other sequence; and a key that is not seen contributes
 * nothing, not even if it holds an infinity or a NaN.
 *
 * One order of operations, the same on every instruction set. Keys are taken in tiles of ATTENTION_TILE from the start of
 * the sequence; lane = place in the tile % 16. For each tile, with M (-infinity), S (0) and y (0) from the tile before:
 *   dot[j] = one chain of fused multiply-adds along the head (bf16: the odd element of a pair first)
 *   M'     = max(M, c * max dot), where c = scale * log2 e; the maximum in 16 lanes, folded as v16_maximum does
 *   w[j]   = 2^(c * dot[j] - M'), product and difference rounded;  a = 2^(M - M') (no first tile has it)
 *   S      = fma(S, a, sum of w), the sum in 16 lanes, folded as v16_sum does
 *   y      = a * y, then one chain of fused multiply-adds with w[j] * v[j] along the keys; bf16: w[j] rounded to bf16, pairs
 *            of keys, the odd one first, as zero where it is missing
 * and after the last y * (1 / S). Ranges of heads split the work without touching a bit.
 *
 * attention_s16 takes f32 and multiplies 16-bit integers, for models whose weights are integers as well; `causal` must be
 * false, since the keys of a tile share their range. Finite values become integers in the same way everywhere: with m the
 * greatest magnitude, at least ATTENTION_LEAST, x becomes x * (R / m) rounded to even, in steps of m / R. For q, m is of one
 * row of one head; for k and v, of one head of the tile. R = ATTENTION_QUERY_RANGE, ATTENTION_VALUE_RANGE and, for k,
 * attention_key_range. Then
 *   dot[j] = the exact integer sum, rounded to f32; for c stands (c * step of k) * step of q
 *   w[j]   = 2^(c * dot[j] - M' + ATTENTION_UNIT_BITS) rounded to even, in units of 2^-ATTENTION_UNIT_BITS; S sums these
 *   y      = a * y + the exact integer sum of w[j] * v[j] times the unit and v's step, fused; product alone in the first tile
 */
#ifndef RECTO_KERNELS_ATTENTION_H
#define RECTO_KERNELS_ATTENTION_H

#include "kernels/dtype.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    ATTENTION_TILE          = 256, /* keys; part of the definition */
    ATTENTION_MOST_HEAD     = 256, /* greatest head_size */
    ATTENTION_CHUNK         = 512, /* queries that pass over a packed tile of keys together */
    ATTENTION_BLOCK         = 16,  /* queries whose scores are held at once, at most */
    ATTENTION_SCORE_STRIDE  = ATTENTION_TILE + 16, /* the gap keeps rows out of each other's cache sets */
    ATTENTION_BLOCKS        = 48,  /* blocks in a chunk, at most */
    ATTENTION_UNIT_BITS     = 12,  /* these two keep a tile's sum of 256 * 4096 * 2047 within 31 bits */
    ATTENTION_VALUE_RANGE   = 2047,
    ATTENTION_QUERY_RANGE   = 4095
};
#define ATTENTION_LEAST 1e-30f

struct attention_args {
    const void    *q, *k, *v;
    size_t         q_stride, k_stride, v_stride; /* bytes */
    enum dtype     type;                         /* DTYPE_F32 or DTYPE_BF16, of q, k and v */
    int            heads, kv_heads, head_size;
    float          scale;
    bool           causal;
    const int32_t *starts;                       /* [sequences + 1] */
    void          *y;
    size_t         y_stride;                     /* bytes */
    enum dtype     y_type;                       /* DTYPE_F32 or DTYPE_BF16 */
};

/* Computes query heads [head0, head1) of one sequence. `scratch` is aligned to 64 bytes and belongs to the call alone. */
typedef void attention_kernel(const struct attention_args *args, int sequence, int head0, int head1, void *scratch);

attention_kernel attention_f32_ref, attention_bf16_ref, attention_s16_ref;
attention_kernel attention_f32_avx2, attention_bf16_avx2, attention_s16_avx2;
attention_kernel attention_f32_avx512, attention_bf16_avx512, attention_s16_avx512;
attention_kernel attention_bf16_avx512bf16, attention_s16_avx512vnni;
attention_kernel attention_f32_neon, attention_bf16_neon, attention_s16_neon;

/* As fine as sums along the head allow, to make up for sharing it. */
static inline int attention_key_range(int head_size)
{
    const int range = INT32_MAX / (ATTENTION_QUERY_RANGE * head_size);
    return range < INT16_MAX ? range : INT16_MAX;
}

/* Enough for every sequence of up to `longest` rows; from 257 rows on it no longer grows. */
static inline size_t attention_scratch_bytes(int head_size, int longest)
{
    size_t width  = ((size_t)head_size + 15) / 16 * 16;
    size_t keys   = longest < ATTENTION_TILE ? ((size_t)longest + 15) / 16 * 16 : (size_t)ATTENTION_TILE;
    size_t rows   = longest <= ATTENTION_TILE ? ATTENTION_BLOCK : ATTENTION_CHUNK;
    size_t packed = 2 * keys * width * 4, outputs = (rows + ATTENTION_BLOCK) * width * 4;
    size_t scores = (size_t)ATTENTION_BLOCK * ATTENTION_SCORE_STRIDE * (4 + 2 + 2);
    return packed + outputs + scores + (size_t)2 * ATTENTION_BLOCKS * ATTENTION_BLOCK * 4;
}

#endif
