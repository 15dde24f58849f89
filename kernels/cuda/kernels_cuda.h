/* kernels_cuda.h: the operations on an NVIDIA GPU. What each computes is said in kernels/<family>/<family>.h; here stand the
 * arguments, for C hosts. All pointers but `launch` and the arguments themselves point to device memory.
 *
 * A launcher checks, chooses, launches and returns; it allocates nothing, waits for nothing, and may be called while a stream is
 * captured. It returns CUDA_LAUNCHED, a positive cudaError_t of the launch itself, or one of the negative numbers below.
 *
 * Rows are counted by a cap, which sizes the grid, and a live count in device memory, which the kernel reads: one captured
 * graph serves every mix of lengths under its caps. Rows from the live count up to the cap hold nothing of value before or
 * after, and may be read or written; nothing beyond the cap is.
 *
 * Matrices of bf16, fp16 or fp8 start at 16-byte boundaries and have strides that are multiples of 16 bytes; of f32, 4 bytes.
 *
 * Same bits: what a row becomes depends on its own sequence alone, on the weights and on target.arch: not on the other
 * rows, on the caps, on target.processors or on the configuration chosen.
 */
#ifndef RECTO_KERNELS_CUDA_KERNELS_CUDA_H
#define RECTO_KERNELS_CUDA_KERNELS_CUDA_H

#include "kernels/dtype.h"
#include "kernels/linear/linear.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct CUstream_st;  /* cudaStream_t is a pointer to it */

enum {
    CUDA_LAUNCHED    = 0,
    CUDA_UNSUPPORTED = -1,  /* no kernel for this type or shape: the _supported function says so beforehand */
    CUDA_MISALIGNED  = -2   /* a pointer or stride is not aligned as asked above */
};

/* The device that kernels are chosen for; constant for its lifetime. */
struct cuda_target {
    int arch;          /* compute capability: 80, 86, 89, 90, ... */
    int processors;    /* multiprocessors */
    int shared_bytes;  /* that one block may ask for */
};

/* What one launch moved at least once and computed, at the caps; `kernel` is a literal. */
struct cuda_cost {
    const char *kernel;
    double      bytes, operations;
};
typedef void cuda_profile(void *context, const struct cuda_cost *cost);

struct cuda_launch {
    struct CUstream_st *stream;
    struct cuda_target  target;
    cuda_profile       *profile;  /* called before each launch; null: nobody listens */
    void               *context;  /* for profile */
};

struct cuda_rows {
    int            cap;
    const int32_t *live;  /* one number, 0 to cap; null: all of them */
};

/* y = the rows of the tables, added: embed.h. Tables have rows without gaps. */
struct embed_cuda_args {
    struct cuda_rows rows;
    const void      *words, *positions, *types;  /* the last two may be null */
    enum dtype       table_type;                 /* DTYPE_F32 or DTYPE_BF16 */
    int              width;
    const int32_t   *ids, *position_ids;         /* [rows] */
    float           *y;
    size_t           y_stride;                   /* bytes, as all strides */
};
int embed_cuda(const struct cuda_launch *launch, const struct embed_cuda_args *args);

/* Layer norm and RMS norm: norm.h. y may be x with the same stride; y or copy may be null. */
struct norm_cuda_args {
    struct cuda_rows rows;
    bool             rms;            /* no mean is taken */
    const float     *x;
    size_t           x_stride;
    const float     *weight, *bias;  /* [width]; bias may be null */
    int              width;
    float            epsilon;
    float           *y;
    size_t           y_stride;
    void            *copy;           /* the same once more, for the next linear */
    size_t           copy_stride;
    enum dtype       copy_type;      /* DTYPE_BF16, DTYPE_F16 or DTYPE_F8_E4M3 */
    float           *copy_scales;    /* [rows] for DTYPE_F8_E4M3, else null: see quantize_cuda_args */
};
int norm_cuda(const struct cuda_launch *launch, const struct norm_cuda_args *args);

/* f32 to a narrow type. fp8: scales[r] = max |x[r]| / 448 (1 for a row of zeros), y = x / scale rounded to even. */
struct quantize_cuda_args {
    struct cuda_rows rows;
    const float     *x;
    size_t           x_stride;
    int              width;
    void            *y;
    size_t           y_stride;
    enum dtype       y_type;         /* DTYPE_BF16, DTYPE_F16 or DTYPE_F8_E4M3 */
    float           *scales;         /* [rows] for DTYPE_F8_E4M3, else null */
};
int quantize_cuda(const struct cuda_launch *launch, const struct quantize_cuda_args *args);

/* y = residual + act(x W^T + bias): linear.h. The matrix is not in panels: one output's weights after another's. */
struct linear_cuda_args {
    struct cuda_rows rows;
    const void      *x;                /* [rows, k], of the weight's type */
    size_t           x_stride;
    int              n, k;
    enum dtype       type;             /* DTYPE_BF16 or DTYPE_F32 */
    const void      *weight;           /* [n, k] */
    size_t           weight_stride;
    const float     *bias;             /* [n] or null */
    enum linear_act  act;              /* LINEAR_SILU_GATE: n counts gates and ups, alternating in blocks of 16 */
    const float     *residual;         /* [rows, n] or null; may be y */
    size_t           residual_stride;
    void            *y;                /* [rows, n], gated [rows, n / 2] */
    size_t           y_stride;
    enum dtype       y_type;           /* DTYPE_F32 or DTYPE_BF16 */
    void            *copy;             /* y once more as bf16, or null */
    size_t           copy_stride;
};
int  linear_cuda(const struct cuda_launch *launch, const struct linear_cuda_args *args);
bool linear_cuda_supported(const struct cuda_target *target, const struct linear_cuda_args *args);

/* In place on rows of heads: rotary.h. */
struct rotary_cuda_args {
    struct cuda_rows rows;
    void            *x;
    size_t           x_stride;
    enum dtype       type;             /* DTYPE_F32, DTYPE_BF16 or DTYPE_F16; the turning is in f32 */
    int              heads, head_size; /* queries' and keys' heads together where they lie side by side */
    const int32_t   *position_ids;     /* [rows] */
    const float     *cosines, *sines;  /* [positions, head_size / 2] */
};
int rotary_cuda(const struct cuda_launch *launch, const struct rotary_cuda_args *args);

/* Attention over packed sequences: attention.h, in bf16 or fp16 with f32 sums, or in f32. Which rows a block works on is
 * found once for all layers: attention_schedule_cuda reads `starts` and writes `schedule`, of attention_schedule_bytes, which
 * attention_cuda then reads. Both take the same arguments; the schedule depends on sequences, longest, heads, kv_heads,
 * head_size, type, causal and starts, and serves every call that agrees in these. */
struct attention_cuda_args {
    struct cuda_rows tokens, sequences;
    int              longest;                       /* tokens of one sequence, at most */
    const void      *q, *k, *v;                     /* [tokens, heads or kv_heads, head_size] */
    size_t           q_stride, k_stride, v_stride;
    enum dtype       type;                          /* DTYPE_BF16, DTYPE_F16 or DTYPE_F32, of q, k, v and y */
    int              heads, kv_heads, head_size;    /* head_size: a multiple of 8 up to 256 */
    float            scale;
    bool             causal;
    const int32_t   *starts;                        /* [sequences + 1] */
    void            *schedule;                      /* aligned to 16 */
    void            *y;                             /* [tokens, heads, head_size] */
    size_t           y_stride;
};
size_t attention_schedule_bytes(int tokens_cap, int sequences_cap);
int    attention_schedule_cuda(const struct cuda_launch *launch, const struct attention_cuda_args *args);
int    attention_cuda(const struct cuda_launch *launch, const struct attention_cuda_args *args);
bool   attention_cuda_supported(const struct cuda_target *target, const struct attention_cuda_args *args);

/* From the rows of a sequence to its one vector: pool.h. A mean adds rows r, r + 8, r + 16 .. first, then these eight sums. */
enum pool_cuda_kind { POOL_CUDA_MEAN, POOL_CUDA_FIRST, POOL_CUDA_LAST };
struct pool_cuda_args {
    struct cuda_rows    sequences;
    enum pool_cuda_kind kind;
    const float        *x;
    size_t              x_stride;
    int                 width;
    const int32_t      *starts;  /* [sequences + 1] */
    float              *y;
    size_t              y_stride;
};
int pool_cuda(const struct cuda_launch *launch, const struct pool_cuda_args *args);

/* Rows to length one: pool.h. y may be x with the same stride. */
struct normalize_cuda_args {
    struct cuda_rows rows;
    const float     *x;
    size_t           x_stride;
    int              width;
    float           *y;
    size_t           y_stride;
};
int normalize_cuda(const struct cuda_launch *launch, const struct normalize_cuda_args *args);

#ifdef __cplusplus
}
#endif

#endif
