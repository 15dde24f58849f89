/* lanes.h: sixteen virtual lanes, the one arithmetic of every CPU.
 *
 * A kernel is written once against these operations and compiled for each instruction set: one AVX-512 register, two of
 * AVX2, four of NEON. Each operation is defined lane by lane with IEEE rounding, and the two reductions fold in one fixed
 * tree (lane i with i+8, then i+4, i+2, i+1), so the same source gives the same bits on all of them, and the scalar
 * references reproduce them with plain loops. Nothing here is approximate: no reciprocal estimates, no flush to zero.
 *
 * The instruction set is chosen by what the compiler was told to generate. With LANES_SIMDE the AVX-512 code is compiled
 * for a machine that lacks it.
 */
#ifndef RECTO_KERNELS_LANES_H
#define RECTO_KERNELS_LANES_H

#include <stdint.h>
#include <string.h>

#define LANES        16
#define LANES_INLINE static inline __attribute__((always_inline))

/* Before a loop over registers, of a constant count up to 16: it must disappear. */
#ifdef __clang__
#define LANES_UNROLL _Pragma("clang loop unroll(full)")
#else
#define LANES_UNROLL _Pragma("GCC unroll 16")
#endif

#if defined(LANES_SIMDE) || defined(__AVX512F__)
#include "kernels/lanes/lanes_avx512.h"
#elif defined(__AVX2__)
#include "kernels/lanes/lanes_avx2.h"
#elif defined(__aarch64__)
#include "kernels/lanes/lanes_neon.h"
#else
#error "lanes.h needs AVX2 with FMA, AVX-512 or NEON; other machines use the references"
#endif

/* The symbol of a kernel in this instruction set: KERNEL(softmax) is softmax_avx2, say. */
#define KERNEL_JOIN_(name, isa) name##_##isa
#define KERNEL_JOIN(name, isa)  KERNEL_JOIN_(name, isa)
#define KERNEL(name)            KERNEL_JOIN(name, KERNEL_ISA)

#endif
