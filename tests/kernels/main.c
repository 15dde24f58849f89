/* The kernels on every instruction set of this build, against their references; see --help. */
#include "tests/kernels/harness.h"
#include "tests/kernels/simde_sets.h"
#include "tests/support/arguments.h"

#include <stdio.h>

static const char help[] =
    "usage: %s [--quick] [--seed N] [--set NAME] [--only KERNEL]\n"
    "Runs every kernel on every instruction set of this build and machine against its scalar reference, byte for byte.\n";

static bool read_options(int argc, char **argv)
{
    const struct argument known[] = {
        { .name = "--quick", .flag = &options.quick }, { .name = "--seed", .number = &options.seed },
        { .name = "--only", .text = &options.only },   { .name = "--set", .text = &options.set },
    };
    options = (struct options){ .seed = 1, .program = argv[0] };
    return arguments_read(known, sizeof known / sizeof *known, argc, argv);
}

static void test_set(const struct kernels *kernels)
{
    linear_tests(kernels);
    attention_tests(kernels);
    row_tests(kernels);
}

static void test_lanes(void)
{
#if defined(__x86_64__)
    if (kernels_runnable(&kernels_avx2)) {
        lanes_tests("avx2", lanes_probe_avx2);
        lanes_tests("avx512_simde", lanes_probe_avx512_simde);
    }
    if (kernels_runnable(&kernels_avx512))
        lanes_tests("avx512", lanes_probe_avx512);
#elif defined(__aarch64__)
    lanes_tests("neon", lanes_probe_neon);
#endif
}

int main(int argc, char **argv)
{
    if (!read_options(argc, argv)) {
        printf(help, argv[0]);
        return 2;
    }
    printf("seed %llu\n", (unsigned long long)options.seed);
    math_tests();
    reference_tests();
    test_lanes();
    int                          count;
    const struct kernels *const *built = kernels_built(&count);
    for (int i = 1; i < count; i++) {
        if (kernels_runnable(built[i]))
            test_set(built[i]);
        else
            printf("NOT RUN %s: this machine lacks it\n", built[i]->name);
    }
#if defined(__x86_64__)
    if (kernels_runnable(&kernels_avx2)) {
        test_set(&kernels_avx512_simde);
        linear_tests(&kernels_avx512vnni_simde);
    } else {
        printf("NOT RUN avx512_simde: this machine lacks AVX2\n");
    }
#endif
    planted_tests();
    return finish();
}
