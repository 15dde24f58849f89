/* sm90.cuh: included first by every file for sm_90a. Built for any other target such a file would compile without a warning
 * to kernels that lack their matrix instructions; so it does not compile.
 */
#ifndef RECTO_KERNELS_CUDA_SM90_CUH
#define RECTO_KERNELS_CUDA_SM90_CUH

#if defined(__CUDA_ARCH__) && !defined(__CUDA_ARCH_FEAT_SM90_ALL)
#error "this file is for sm_90a alone: compile it with -gencode=arch=compute_90a,code=sm_90a"
#endif

#include "kernels/cuda/fragments.cuh"
#include "kernels/cuda/instructions.cuh"

#ifdef RECTO_EMULATED  /* such kernels are refused on any other device there too */
#undef EMU_ARCHITECTURE
#define EMU_ARCHITECTURE 90
#endif

/* Whether a kernel of warpgroups fits into the registers that its launch gets: setmaxnreg waits for ever when the pool is too
 * small. `launch` is the count that ptxas gives at launch: 65536 / threads, rounded down to a multiple of 8. */
constexpr bool sm90_registers_fit(int producers, int producer_registers, int consumers, int consumer_registers)
{
    int warpgroups = producers + consumers;
    int launch     = 65536 / (warpgroups * 128) / 8 * 8;
    return producers * producer_registers + consumers * consumer_registers <= warpgroups * (launch < 255 ? launch : 255);
}

#endif
