/* kernels_cuda.h: the kernels of CUDA as the host sees them: one launcher for each op, in a table for each architecture.
 *
 * A launcher takes the op's own struct of arguments, the same as on the CPU, except that every pointer inside points into
 * device memory (struct linear_weight itself lies on the host: a launcher copies out of it what its kernel needs). It checks,
 * chooses, launches through the one launch macro and returns the status; it never allocates, never synchronises, and may be
 * called while its stream is captured. Checks that fail (a null pointer, an alignment) are cudaErrorInvalidValue; what no
 * kernel covers is cudaErrorNotSupported. bf16 and fp16 rows, all rows of linears and their bias start at multiples of 16
 * bytes, other f32 rows at multiples of 4.
 *
 * Caps and live counts. Grids are sized for the caps, so that one captured graph serves every mix of lengths below them;
 * kernels read the live counts from device memory, and blocks beyond them exit at once. Rows from the live count up to the cap
 * hold nothing of value before or after: they may be read, and written, as a tile's tail. Nothing beyond the cap is touched.
 *
 * Same bits: what a row becomes depends on its own sequence, the weights and the architecture alone: not on other rows, caps,
 * the number of processors, or the configuration that a chooser takes.
 *
 * Attention works from a schedule: which rows of which sequence a block takes, several short sequences together. It depends on
 * `starts`, the caps, head_size, heads, kv_heads, causal and the types alone; so `attention_schedule`, with the arguments of
 * the first attention of a forward pass, fills device memory of attention_schedule_bytes once, and all layers read it.
 *
 * Weights. `panels` of a struct linear_weight is [n padded to LINEAR_PANEL][k] here, row by row, row stride
 * kernels_cuda_weight_stride, aligned to 256 bytes; bf16, e4m3, or f32 for the few small layers that are kept so. Outputs past n
 * are zero rows. bias is f32 [n padded]. Arithmetic: products of bf16, sums in fp32; norms, residuals, pooling and everything
 * that is one vector a sequence in fp32. fp8: products of e4m3, 128 of k summed by the matrix unit, which keeps some 14 bits, and
 * these sums added in fp32; then times the row's scale, times the output's.
 */
#ifndef RECTO_KERNELS_CUDA_KERNELS_CUDA_H
#define RECTO_KERNELS_CUDA_KERNELS_CUDA_H

#include "kernels/attention/attention.h"
#include "kernels/embed/embed.h"
#include "kernels/linear/linear.h"
#include "kernels/norm/norm.h"
#include "kernels/pool/pool.h"
#include "kernels/quantize/quantize.h"
#include "kernels/rotary/rotary.h"

#include <cuda_runtime_api.h>

#ifdef __cplusplus
extern "C" {
#endif

/* What a chooser may know of a device. */
struct cuda_facts {
    int   architecture;       /* 10 * major + minor: 80, 86, 90, ... */
    int   processors;         /* streaming multiprocessors */
    int   shared_bytes;       /* of one block, at most, when asked for */
    void *encode_tensor_map;  /* cuTensorMapEncodeTiled, from the driver; null where there is none */
};

/* In device memory: how much of the caps is alive. */
struct cuda_live {
    int32_t tokens, sequences;
};

/* Of which count an op's rows are. */
enum cuda_rows { CUDA_ROWS_TOKENS, CUDA_ROWS_SEQUENCES };

/* What a kernel moves at least once and computes, at the caps. `kernel` is a literal. */
struct cuda_cost {
    const char *kernel;
    double      bytes, operations;
};
typedef void cuda_profile(void *context, const struct cuda_cost *cost);

struct cuda_launch {
    const struct cuda_facts *facts;
    cudaStream_t             stream;
    const struct cuda_live  *live;       /* in device memory */
    int                      tokens;     /* caps: of live->tokens, */
    int                      sequences;  /* of live->sequences, */
    int                      longest;    /* of the tokens of one sequence */
    enum cuda_rows           rows;       /* of x and y; attention and pooling read both counts */
    cuda_profile            *profile;    /* told of each kernel before it is launched; null: nobody listens */
    void                    *profile_context;
};

typedef cudaError_t cuda_launch_embed(const struct cuda_launch *launch, const struct embed_args *args);
typedef cudaError_t cuda_launch_norm(const struct cuda_launch *launch, const struct norm_args *args);
typedef cudaError_t cuda_launch_linear(const struct cuda_launch *launch, const struct linear_args *args);
/* norm(residual + x W^T + bias), `norm` reading what `linear` makes: norm.x is not looked at. linear.y: the sum before the norm,
 * f32, for those who need it as well, or null. norm.y may be the residual, with the same stride. norm.copy is of the
 * weight's type. */
struct linear_norm_args {
    struct linear_args linear;
    struct norm_args   norm;
    bool               rms;
};
typedef cudaError_t cuda_launch_linear_norm(const struct cuda_launch *launch, const struct linear_norm_args *args);
/* Whether the launcher above takes it, whatever the rows: else the table's linear and norm do, which add in another order. */
typedef bool cuda_linear_norm_fits(const struct cuda_facts *facts, const struct linear_weight *weight, enum linear_act act);
typedef cudaError_t cuda_launch_convert(const struct cuda_launch *launch, const struct convert_args *args);
/* One scale a row, because the matrix unit sums along all of it. A kernel that has whole rows can therefore write e4m3, which norms
 * do; attention, whose blocks have a head each, and a linear, whose blocks have some columns each, cannot: their rows are quantised
 * by a launch of their own.
 *
 * y[r] = x[r] * (448 / m) as e4m3, rounded to even, m the largest |x[r]|; scales[r] = m / 448. Rows whose m is below
 * QUANTIZE_LEAST_RANGE are zeros with scale 1. Rows of x and y start at multiples of 16 bytes. */
struct fp8_args {
    const void *x;         /* [rows, width] */
    enum dtype  x_type;    /* DTYPE_F32 or DTYPE_BF16 */
    size_t      x_stride;  /* bytes */
    int         width;
    uint8_t    *y;         /* [rows, width] */
    size_t      y_stride;  /* bytes */
    float      *scales;    /* [rows] */
};
typedef cudaError_t cuda_launch_fp8(const struct cuda_launch *launch, const struct fp8_args *args);
typedef cudaError_t cuda_launch_rotary(const struct cuda_launch *launch, const struct rotary_args *args);
/* schedule: device memory, aligned to 16; written by attention_schedule, read by attention. */
typedef cudaError_t cuda_launch_attention(const struct cuda_launch *launch, const struct attention_args *args, void *schedule);
typedef cudaError_t cuda_launch_pool(const struct cuda_launch *launch, const struct pool_args *args);
typedef cudaError_t cuda_launch_normalize(const struct cuda_launch *launch, const struct normalize_args *args);

struct cuda_kernels {
    const char            *name;           /* "sm_80", "sm_90a" */
    cuda_launch_embed     *embed_rows;
    cuda_launch_norm      *norm_layer, *norm_rms;  /* copies in bf16; in e4m3 as well where there is linear_fp8 */
    cuda_launch_linear    *linear_bf16;    /* x and weight bf16; y bf16 or f32, residual f32 */
    cuda_launch_linear    *linear_f32;     /* x, weight and y f32 */
    cuda_launch_linear_norm *linear_norm;  /* x and weight bf16 or e4m3 */
    cuda_linear_norm_fits   *linear_norm_fits;
    cuda_launch_linear    *linear_fp8;     /* x and weight e4m3, as linear_bf16 otherwise; null where no hardware multiplies it */
    cuda_launch_convert   *convert_bf16;
    cuda_launch_fp8       *quantize_fp8;   /* null with linear_fp8 */
    cuda_launch_rotary    *rotary_half;
    cuda_launch_attention *attention_schedule;
    cuda_launch_attention *attention_bf16; /* q, k, v and y bf16 */
    cuda_launch_attention *attention_f16;  /* q, k, v and y fp16 */
    cuda_launch_attention *attention_f32;  /* q, k, v and y f32 */
    cuda_launch_pool      *pool_mean, *pool_first, *pool_last;
    cuda_launch_normalize *normalize_l2;
};

/* Of a schedule for these caps. */
size_t attention_schedule_bytes(int tokens, int sequences);

/* The table for a device; null below 8.0: kernels compile for such architectures, but trap at their first instruction of 8.0. */
const struct cuda_kernels *kernels_cuda(const struct cuda_facts *facts);

/* Bytes from row to row of a weight: whole units of 16, as the tensor memory accelerator wants them. */
static inline size_t kernels_cuda_weight_stride(enum dtype type, int k)
{
    return ((size_t)k * (size_t)dtype_bits(type) / 8 + 15) / 16 * 16;
}

#ifdef __cplusplus
}
#endif

#endif
