/* cuda_rates.h: what a GPU does at most, by its clocks and widths: the limits that measured figures are held against.
 *
 * The clocks are the highest that the driver names; what a GPU keeps up under load is less (an H100's matrix units reach
 * 1.83 GHz of 1.98), so a fraction of these limits errs on the low side. A rate that is not known for sure is 0: architectures
 * whose boards differ, and such as have no entry in the table.
 */
#ifndef RECTO_KERNELS_CUDA_CUDA_RATES_H
#define RECTO_KERNELS_CUDA_CUDA_RATES_H

#include "kernels/cuda/kernels_cuda.h"

#ifdef __cplusplus
extern "C" {
#endif

struct cuda_clocks {
    int processor, memory;  /* kHz, the highest; 0: not known */
    int memory_bits;        /* width of the memory's bus; 0: not known */
};

/* A second. A multiply-add counts as two operations; those of matrix units are dense products summed in fp32. */
struct cuda_rates {
    double fp32, bf16, fp8;
    double bytes;
};

struct cuda_rates cuda_rates_of(const struct cuda_facts *facts, const struct cuda_clocks *clocks);

/* Of the first device, which tells its clocks; what it does not tell is 0. */
struct cuda_rates cuda_rates_ask(const struct cuda_facts *facts);

#ifdef __cplusplus
}
#endif

#endif
