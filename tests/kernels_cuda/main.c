/* The CUDA kernels against double precision, every variant forced; see --help. */
#include "tests/kernels_cuda/harness.h"
#include "tests/support/arguments.h"

#include <stdio.h>

static const char help[] =
    "usage: %s [--quick] [--orders] [--digests] [--seed N] [--only GROUP]\n"
    "Runs every CUDA kernel of this build on the device at hand, or on the emulator that it was linked with. --orders meets every\n"
    "schedule of the emulator in every case. The exit status is 77 where there is no device.\n";

static bool read_options(int argc, char **argv)
{
    const struct argument known[] = {
        { .name = "--quick", .flag = &options.quick }, { .name = "--seed", .number = &options.seed },
        { .name = "--only", .text = &options.only },   { .name = "--orders", .flag = &options.orders },
        { .name = "--digests", .flag = &options.digests },
    };
    options = (struct options){ .seed = 1, .program = argv[0] };
    return arguments_read(known, sizeof known / sizeof *known, argc, argv);
}

int main(int argc, char **argv)
{
    if (!read_options(argc, argv)) {
        printf(help, argv[0]);
        return 2;
    }
    if (!device_find())
        return 77;
    printf("seed %llu, kernels for %s\n", (unsigned long long)options.seed, kernels->name);
    choose_cases();
    row_cases();
    schedule_cases();
    linear_cases();
    linear_norm_cases();
    attention_cases();
    same_bits_cases();
    far_cases();
    access_cases();
    return finish();
}
