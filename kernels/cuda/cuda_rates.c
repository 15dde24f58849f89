#include "kernels/cuda/cuda_rates.h"

/* What a multiprocessor does in a clock, in operations.
 *
 * fp32: the table of arithmetic throughput in NVIDIA's CUDA C++ Best Practices Guide (13.x): 64 multiply-adds on 8.0, 128 on
 * 8.6, 8.9, 9.0, 10.x and 12.x. bf16 and fp8: the white papers of the A100 (1024 multiply-adds in bf16, four units of 256) and
 * of the H100 (twice that, and fp8 at twice bf16); they give 312 TFLOP/s with 108 multiprocessors at 1.41 GHz, and 989 and 1979
 * with 132 at 1.83 GHz. 10.0: the 2.25 and 4.5 PFLOP/s of a B200 by the Blackwell technical brief, with 148 at 1.85 GHz.
 * On 8.6, 8.9 and 12.0 cards for games sum in fp32 at half the rate of those for servers, and nothing tells them apart. */
struct pace {
    int    architecture;
    double fp32, bf16, fp8;
};

static struct pace pace_of(int architecture)
{
    static const struct pace table[] = {
        { 80, 128, 2048, 0 },     { 86, 256, 0, 0 },  { 89, 256, 0, 0 },  { 90, 256, 4096, 8192 },
        { 100, 256, 8192, 16384 }, { 103, 256, 0, 0 }, { 120, 256, 0, 0 }, { 121, 256, 0, 0 },
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        if (table[i].architecture == architecture)
            return table[i];
    return (struct pace){ architecture, 0, 0, 0 };
}

struct cuda_rates cuda_rates_of(const struct cuda_facts *facts, const struct cuda_clocks *clocks)
{
    const struct pace pace   = pace_of(facts->architecture);
    const double      each   = 1e3 * clocks->processor * facts->processors;
    const double      moving = 2 * 1e3 * clocks->memory;  /* all their memories move data twice in a clock */
    return (struct cuda_rates){ each * pace.fp32, each * pace.bf16, each * pace.fp8, moving * clocks->memory_bits / 8 };
}

static int ask(enum cudaDeviceAttr attribute)
{
    int value = 0;
    if (cudaDeviceGetAttribute(&value, attribute, 0) == cudaSuccess)
        return value;
    cudaGetLastError();  /* nobody's but ours */
    return 0;
}

struct cuda_rates cuda_rates_ask(const struct cuda_facts *facts)
{
    const struct cuda_clocks clocks = { ask(cudaDevAttrClockRate), ask(cudaDevAttrMemoryClockRate),
                                        ask(cudaDevAttrGlobalMemoryBusWidth) };
    return cuda_rates_of(facts, &clocks);
}
