/* bench_kernels.h: what the files of bench_kernels share: one bench, with the row that is being made. */
#ifndef RECTO_PROFILING_GPU_BENCH_KERNELS_H
#define RECTO_PROFILING_GPU_BENCH_KERNELS_H

#include "profiling/gpu/bench.h"

struct bench {
    struct bench_device device;
    struct cublaslt    *cublaslt;  /* null: not installed */
    struct cuda_live   *live;      /* in device memory */
    struct bench_row    row;
    char                shape[96], name[96];
    bool                quick;     /* small shapes, to see that it works */
};

/* The launch that every kernel gets: all rows alive. */
struct cuda_launch bench_whole(struct bench *bench, int tokens, int sequences, int longest);
/* Asks once what a launch costs, then times it, into the row: 0 seconds where it is not supported. */
void bench_time(struct bench *bench, struct cuda_launch *launch, bench_launch *run, void *context);

void bench_linears(struct bench *bench);
/* Every tile of a linear by force, on a few shapes: what the chooser's estimate has to agree with. */
void bench_tiles(struct bench *bench);
void bench_attentions(struct bench *bench);
/* Embedding, norms, conversion, rotary, pooling, of so many columns. */
void bench_row_kernels(struct bench *bench, int width);

#endif
