/* cublaslt.h: cuBLASLt as a peer: y = x W^T in bf16, sums in fp32, with its bias and GELU epilogue or without. Opened at run time;
 * where it is not installed, opening says so and nothing else changes. */
#ifndef RECTO_PROFILING_GPU_CUBLASLT_H
#define RECTO_PROFILING_GPU_CUBLASLT_H

#include "profiling/gpu/bench.h"

#include <stdbool.h>

struct cublaslt;

/* Null where the library is not there. */
struct cublaslt *cublaslt_open(void);
void             cublaslt_close(struct cublaslt *library);

struct cublaslt_work {
    struct cublaslt *library;
    int              rows, n, k;
    const void      *x, *weight;  /* bf16: [rows, k], [n, k] */
    const void      *bias;        /* bf16 [n], or null */
    bool             gelu;        /* tanh: the only one that it fuses */
    void            *y;           /* bf16 [rows, n] */
    void            *plan;        /* its own, made by the first launch */
};

bench_launch cublaslt_launch;  /* context: struct cublaslt_work; cudaErrorNotSupported where it has no algorithm */
void         cublaslt_finish(struct cublaslt_work *work);

#endif
