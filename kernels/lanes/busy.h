/* busy.h: loops that keep the arithmetic units busy and do nothing else: their speed is the ceiling of every kernel.
 *
 * busy_NAME(loops) does BUSY_STEPS independent multiply-adds a loop on 12 registers, without memory: enough of them to hide
 * every latency. Assembly, because compilers spill or fold such loops. Each may be called only where the processor has its
 * instructions.
 */
#ifndef RECTO_KERNELS_LANES_BUSY_H
#define RECTO_KERNELS_LANES_BUSY_H

#include <stdint.h>

enum { BUSY_STEPS = 24 };

#if defined(__x86_64__)
#include <immintrin.h>
#define BUSY_REGISTER    "v"
#define BUSY_TARGET(set) __attribute__((target(set), noinline))
#elif defined(__aarch64__)
#include <arm_neon.h>
#define BUSY_REGISTER    "w"
#define BUSY_TARGET(set) __attribute__((noinline))
#endif

/* STEP(assembly, i) for each of the 12 accumulators. */
#define BUSY_EACH(STEP, assembly)                                                                               \
    STEP(assembly, 0) STEP(assembly, 1) STEP(assembly, 2) STEP(assembly, 3) STEP(assembly, 4) STEP(assembly, 5) \
    STEP(assembly, 6) STEP(assembly, 7) STEP(assembly, 8) STEP(assembly, 9) STEP(assembly, 10) STEP(assembly, 11)
#define BUSY_DECLARE(zero, i) vector a##i = zero;
/* %0 is an accumulator, %1 a scratch register, %2 to %4 are operands. */
#define BUSY_STEP(assembly, i)                                             \
    __asm__ volatile(assembly : "+" BUSY_REGISTER(a##i), "=&" BUSY_REGISTER(scratch) \
                     : BUSY_REGISTER(x), BUSY_REGISTER(y), BUSY_REGISTER(z));
#define BUSY_LOOP(NAME, SET, TYPE, ZERO, ASSEMBLY)    \
    BUSY_TARGET(SET) static void NAME(uint64_t loops) \
    {                                                 \
        typedef TYPE vector;                          \
        vector scratch, x = ZERO, y = ZERO, z = ZERO; \
        BUSY_EACH(BUSY_DECLARE, ZERO)                 \
        for (uint64_t i = 0; i < loops; i++) {        \
            BUSY_EACH(BUSY_STEP, ASSEMBLY)            \
            BUSY_EACH(BUSY_STEP, ASSEMBLY)            \
        }                                             \
    }

#if defined(__x86_64__)
BUSY_LOOP(busy_fma_avx2, "avx2,fma", __m256, _mm256_setzero_ps(), "vfmadd231ps %2, %3, %0")
BUSY_LOOP(busy_fma_avx512, "avx512f", __m512, _mm512_setzero_ps(), "vfmadd231ps %2, %3, %0")
BUSY_LOOP(busy_dot_bf16_avx512, "avx512f,avx512bf16", __m512i, _mm512_setzero_si512(), "vdpbf16ps %2, %3, %0")
BUSY_LOOP(busy_dot_u8s8_avx512, "avx512f,avx512vnni", __m512i, _mm512_setzero_si512(), "vpdpbusd %2, %3, %0")
BUSY_LOOP(busy_dot_u8s8_avx2, "avx2", __m256i, _mm256_setzero_si256(),
          "vpmaddubsw %2, %3, %1\n\tvpmaddwd %1, %4, %1\n\tvpaddd %1, %0, %0")
#elif defined(__aarch64__)
BUSY_LOOP(busy_fma_neon, "", float32x4_t, vdupq_n_f32(0), "fmla %0.4s, %2.4s, %3.4s")
#endif

#endif
