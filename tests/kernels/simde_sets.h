/* simde_sets.h: the AVX-512 sources compiled with AVX2 alone, through SIMDe: for tests on machines without AVX-512. */
#ifndef RECTO_TESTS_KERNELS_SIMDE_SETS_H
#define RECTO_TESTS_KERNELS_SIMDE_SETS_H

#include "kernels/kernels.h"

extern const struct kernels kernels_avx512_simde, kernels_avx512vnni_simde;

#endif
