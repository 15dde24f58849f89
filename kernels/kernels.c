#include "kernels/kernels_table.h"

const struct kernels kernels_ref = KERNELS_TABLE("ref", ref, ref, ref);

#if defined(__x86_64__)
const struct kernels kernels_avx2       = KERNELS_TABLE("avx2", avx2, avx2, avx2);
const struct kernels kernels_avx512     = KERNELS_TABLE("avx512", avx512, avx512, avx512);
const struct kernels kernels_avx512vnni = KERNELS_TABLE("avx512vnni", avx512, avx512, avx512vnni);
const struct kernels kernels_avx512bf16 = KERNELS_TABLE("avx512bf16", avx512, avx512bf16, avx512vnni);

static const struct kernels *const built[] = { &kernels_ref, &kernels_avx2, &kernels_avx512, &kernels_avx512vnni,
                                               &kernels_avx512bf16 };

/* Each set asks for all that its files are compiled with, and for the set below. The builtin looks at what the operating
 * system saves as well as at the processor. */
bool kernels_runnable(const struct kernels *kernels)
{
    __builtin_cpu_init();
    if (kernels == &kernels_ref)
        return true;
    if (kernels == &kernels_avx2)
        return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    if (kernels == &kernels_avx512)
        return kernels_runnable(&kernels_avx2) && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
               __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
    if (kernels == &kernels_avx512vnni)
        return kernels_runnable(&kernels_avx512) && __builtin_cpu_supports("avx512vnni");
    return kernels == &kernels_avx512bf16 && kernels_runnable(&kernels_avx512vnni) && __builtin_cpu_supports("avx512bf16");
}
#elif defined(__aarch64__)
const struct kernels kernels_neon = KERNELS_TABLE("neon", neon, neon, neon);

static const struct kernels *const built[] = { &kernels_ref, &kernels_neon };

bool kernels_runnable(const struct kernels *kernels) { return kernels == &kernels_ref || kernels == &kernels_neon; }
#else
static const struct kernels *const built[] = { &kernels_ref };

bool kernels_runnable(const struct kernels *kernels) { return kernels == &kernels_ref; }
#endif

const struct kernels *const *kernels_built(int *count)
{
    *count = (int)(sizeof built / sizeof built[0]);
    return built;
}
