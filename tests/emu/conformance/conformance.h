/* conformance.h: one case for each instruction, the same source for the emulator and for a GPU.
 *
 * A case launches a tiny kernel and compares what came out with plain arithmetic on the host. Device memory and launches go
 * through the few functions below, which stand on emu.h or on the CUDA runtime.
 */
#ifndef CONFORMANCE_H
#define CONFORMANCE_H

#include "kernels/cuda/sm90.cuh"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct conformance_case {
    const char *instruction;
    bool (*run)(void);
};

extern const struct conformance_case cases_values[], cases_warp[], cases_matrix[], cases_copies[], cases_tma[], cases_cluster[],
    cases_wgmma[];

/* Device memory; a case that cannot have it ends the program. */
void *device_make(size_t bytes);
void *device_copy_of(const void *host, size_t bytes);
void  device_read(void *host, const void *device, size_t bytes);
void  device_free(void *device);

struct device_grid {
    int    blocks, threads, cluster;  /* cluster 0: none */
    size_t shared_bytes;
};
/* Runs a kernel to its end; false when it failed. */
bool device_launch(const void *kernel, struct device_grid grid, void **args);
/* What follows the grid are the addresses of the kernel's arguments. */
#define LAUNCH(kernel, grid, ...)                                \
    __extension__({                                              \
        void *launch_args[] = { __VA_ARGS__ };                   \
        device_launch(KERNEL_HANDLE(kernel), grid, launch_args); \
    })

/* A map of 16-bit elements. */
struct device_tensor {
    void    *base;
    int      rank;
    uint64_t size[4], stride[3];  /* elements; bytes */
    uint32_t box[4];
    CUtensorMapSwizzle swizzle;
};
bool device_tensor_map(CUtensorMap *map, const struct device_tensor *tensor);

/* Small integers that every format holds exactly, different from place to place. */
static inline int case_value(int i) { return (i * 7 + i / 5) % 13 - 6; }
static inline uint16_t case_bf16(int value) { return __bfloat16_as_ushort(__float2bfloat16_rn((float)value)); }
static inline uint16_t case_f16(int value) { return __half_as_ushort(__float2half_rn((float)value)); }

/* Prints the first difference. */
bool case_equal(const char *what, const void *got, const void *expected, size_t bytes);
bool case_floats(const char *what, const float *got, const float *expected, int count, float tolerance);

#endif
