/* emu.h: the emulator as the host sees it, from C11 or C++: kernels, launches, device memory, tensor maps, reports.
 *
 * A kernel is known by the address of its host-side function. KERNEL_HANDLE (cuda_emu.h) registers it with a trampoline made
 * from its signature, so that it can be launched from an array of argument pointers as the CUDA runtime does. A launch runs
 * at once, in the calling thread and in helpers, and returns when the grid is done; two launches never overlap.
 * Device memory is ordinary memory that was registered here: check mode knows its bounds and what was initialised.
 * Nothing here fails silently: what a launch did wrong is in emu_report() and on standard error.
 */
#ifndef EMU_H
#define EMU_H

#include "emu_types.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum emu_status {
    EMU_OK,
    EMU_BAD_CONFIGURATION,  /* a grid, block or cluster that no device takes: cudaErrorInvalidConfiguration */
    EMU_BAD_VALUE,          /* more dynamic shared memory than the kernel was allowed: cudaErrorInvalidValue */
    EMU_UNKNOWN_KERNEL,     /* never registered: cudaErrorInvalidDeviceFunction */
    EMU_FAULT,              /* the kernel did something wrong: cudaErrorLaunchFailure, which is sticky */
    EMU_NO_MEMORY
};

/* ---- kernels and launches ---- */

typedef void emu_invoke(const void *kernel, void *const *args);

struct emu_kernel {
    const void   *function;
    const char   *name;          /* as KERNEL_HANDLE was given it; lives as long as the program */
    emu_invoke   *invoke;
    const size_t *arg_bytes;     /* [args]: a host that keeps arguments for later (graphs, streams) copies this many of each */
    int           args;
    int           architecture;  /* the only one that it is compiled for, 10 * major + minor; 0: any */
    int           shared_limit;  /* bytes of dynamic shared memory; 48 KiB until emu_kernel_allow */
};

/* Registers once, and returns `function`. Any thread. */
const void *emu_kernel_add(const void *function, const char *name, emu_invoke *invoke, const size_t *arg_bytes, int args,
                           int architecture);
/* The kernel, valid for the life of the program; null for what was never registered. */
const struct emu_kernel *emu_kernel_find(const void *function);
/* cudaFuncAttributeMaxDynamicSharedMemorySize: up to 227 KiB. */
enum emu_status emu_kernel_allow(const void *function, int shared_bytes);

struct emu_launch {
    const void  *kernel;
    dim3         grid, block;
    dim3         cluster;       /* zeros: none */
    size_t       shared_bytes;  /* dynamic */
    void *const *args;          /* [args of the kernel]: pointers to the arguments, read during the launch */
};
enum emu_status emu_launch(const struct emu_launch *launch);

/* ---- device memory ---- */

/* Memory of its own, aligned to 256 bytes, poisoned (nothing initialised), with guard bytes on both sides that every launch
 * and emu_memory_free check. Null when the system has none. */
void *emu_memory_alloc(size_t bytes);
/* Also checks the guards. False: not a pointer of emu_memory_alloc. */
bool emu_memory_free(void *memory);
/* A range that the caller keeps (mapped chunks, an arena): known to check mode from now on, poisoned if wanted. */
void emu_memory_add(void *memory, size_t bytes, bool poison);
void emu_memory_remove(void *memory, size_t bytes);
/* The host wrote [memory, memory + bytes) of device memory: initialised from now on. */
void emu_memory_written(const void *memory, size_t bytes);
/* Whether the whole range lies inside one registered piece. */
bool emu_memory_contains(const void *memory, size_t bytes);

/* ---- tensor maps ---- */

struct emu_tensor {
    void               *base;          /* 16-byte aligned */
    int                 rank;          /* 1..5 */
    int                 element_bytes; /* 1, 2, 4 or 8 */
    uint64_t            size[5];       /* elements, innermost first */
    uint64_t            stride[4];     /* bytes between elements of dimension 1, 2, ..; multiples of 16 */
    uint32_t            box[5];        /* elements, 1..256 each */
    CUtensorMapSwizzle  swizzle;
};
/* Null: made. Else the sentence that says what a device would refuse. */
const char *emu_tensor_map_make(CUtensorMap *map, const struct emu_tensor *tensor);

/* ---- settings, counters, reports ---- */

enum emu_order { EMU_SEQUENTIAL, EMU_REVERSE, EMU_ROUND_ROBIN, EMU_RANDOM, EMU_PRIORITY };
enum emu_async { EMU_LATE, EMU_EARLY, EMU_ANY };

/* Read once from the environment (README.md has the table); tests may change it between launches. */
struct emu_settings {
    enum emu_order order;    /* EMU_ORDER */
    enum emu_async async;    /* EMU_ASYNC */
    uint64_t       seed;     /* EMU_SEED */
    int            workers;  /* EMU_WORKERS: host threads that run blocks */
    int            poison;   /* EMU_POISON: the byte of memory that nobody wrote */
    bool           check;    /* EMU_CHECK: only kernels compiled for check mode are looked at */
    bool           counters; /* EMU_ACCESS: wavefronts and sectors by source line, in check mode */
    bool           abort;    /* EMU_ABORT: stop at the first finding, for a debugger */
    bool           quiet;    /* EMU_QUIET: reports are kept, not printed */
};
struct emu_settings *emu_settings(void);

struct emu_counters {
    uint64_t launches, blocks, threads, switches, collectives, barriers, mma, wgmma, tma, cp_async;
    uint64_t shared_wavefronts, shared_ideal;  /* of ldmatrix and stmatrix; in check mode with counters of all accesses */
    uint64_t global_sectors, global_ideal;     /* 32-byte sectors, in check mode with counters */
    uint64_t written_sectors, written_ideal;   /* those of them that were written */
};
struct emu_counters emu_counters(void);
void emu_counters_reset(void);
/* In check mode with counters: accesses by source line so far, worst first, one a line, as the program's end prints them. */
void emu_access_print(void);

/* What the last failed launch did wrong; "" when the last launch was clean. */
const char *emu_report(void);

#ifdef __cplusplus
}
#endif
#endif
