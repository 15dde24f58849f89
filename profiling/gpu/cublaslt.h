/* cublaslt.h: cuBLASLt as a peer: y = x W^T in bf16, sums in fp32, with its bias, GELU and residual or without; or of e4m3, rows of
 * x and of W scaled. Every work is done by the fastest of the algorithms that its heuristic names, all of which are timed first.
 * Opened at run time; where it is not installed, opening says so and nothing else changes. */
#ifndef RECTO_PROFILING_GPU_CUBLASLT_H
#define RECTO_PROFILING_GPU_CUBLASLT_H

#include "profiling/gpu/bench.h"

#include <stdbool.h>

struct cublaslt;

/* The library of that name or path, "": of the names it is known by. Null where it is not there. */
struct cublaslt *cublaslt_open(const char *file);
void             cublaslt_close(struct cublaslt *library);

struct cublaslt_work {
    struct cublaslt *library;
    int              rows, n, k;
    const void      *x, *weight;  /* bf16 or e4m3: [rows, k], [n, k] */
    const float     *x_scales, *weight_scales;  /* [rows], [n] of e4m3; null: bf16 */
    const void      *bias;        /* bf16 [n], with a residual f32, or null */
    const float     *residual;    /* [rows, n], or null */
    bool             gelu;        /* tanh: the only one that it fuses */
    void            *y;           /* bf16 [rows, n], with a residual f32 */
    void            *plan;        /* its own, made by the first launch, which takes as long as all algorithms together */
};

bench_launch cublaslt_launch;  /* context: struct cublaslt_work; cudaErrorNotSupported where it has no algorithm */
void         cublaslt_finish(struct cublaslt_work *work);

#endif
