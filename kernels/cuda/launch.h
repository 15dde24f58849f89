/* launch.h: the one way in which a kernel is started.
 *
 * A launcher checks its arguments, chooses a configuration and ends in KERNEL_LAUNCH, which tells the profiler what the kernel
 * moves and computes, asks for the shared memory, launches, and returns the status from the launcher.
 *
 * How much shared memory a kernel may be given is kept with the kernel, not with the launch, and launches of several threads
 * pass one another between the asking and the launch: so a kernel asks for one size, whatever the shapes.
 *
 * .cu files include this first: where kernels are emulated, gridDim and its like become macros after it.
 */
#ifndef RECTO_KERNELS_CUDA_LAUNCH_H
#define RECTO_KERNELS_CUDA_LAUNCH_H

#include "kernels/cuda/launchers.h"

#ifdef __cplusplus
extern "C" {
#endif

/* What every device from 8.0 on gives a block that asks for it; those of 8.6, 8.9 and 12.x give no more. */
enum { LAUNCH_SHARED_EVERYWHERE = 99 << 10 };

struct kernel_shape {
    const char *name;               /* for the profiler */
    double      bytes, operations;  /* as struct cuda_cost has them */
    dim3        grid;
    int         threads;
    int         shared_bytes;       /* dynamic; the same in all launches of a kernel */
    int         cluster;            /* blocks along x that form a cluster, be it one alone; 0: the kernel knows of none */
};

/* `arguments`: the address of each of the kernel's arguments. */
cudaError_t kernel_launch(const struct cuda_launch *launch, const struct kernel_shape *shape, const void *kernel,
                          const void **arguments);

/* `kernel` is a KERNEL_HANDLE; what follows are the addresses of its arguments. */
#define KERNEL_LAUNCH(launch, shape, kernel, ...)                              \
    do {                                                                       \
        const void *launch_arguments[] = { __VA_ARGS__ };                      \
        return kernel_launch(launch, &(shape), kernel, launch_arguments);      \
    } while (0)

static inline int launch_rows_cap(const struct cuda_launch *launch)
{
    return launch->rows == CUDA_ROWS_TOKENS ? launch->tokens : launch->sequences;
}

static inline int launch_blocks(int rows, int rows_each) { return (rows + rows_each - 1) / rows_each; }

static inline bool launch_aligned(const void *pointer, size_t stride, size_t unit)
{
    return (uintptr_t)pointer % unit == 0 && stride % unit == 0;
}

#ifdef __cplusplus
}
#endif

#endif
