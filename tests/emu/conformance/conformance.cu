/* conformance [PART]: runs every case, or those whose instruction contains PART; prints one line for each. */
#include "tests/emu/conformance/conformance.h"

#include <stdio.h>
#include <string.h>

int main(int argc, char **argv)
{
    static const struct conformance_case *const groups[] = { cases_values, cases_warp,    cases_matrix, cases_copies,
                                                             cases_tma,    cases_cluster, cases_wgmma };
    int run = 0, failed = 0;
    for (size_t g = 0; g < sizeof groups / sizeof *groups; g++)
        for (const struct conformance_case *c = groups[g]; c->run; c++) {
            if (argc > 1 && !strstr(c->instruction, argv[1]))
                continue;
            bool passed = c->run();
            printf("%-44s %s\n", c->instruction, passed ? "pass" : "FAIL");
            run++;
            failed += !passed;
        }
    printf("%d instructions, %d failed\n", run, failed);
    return failed || !run;
}
