/* machine.h: what this machine has and what this process may use of it. */
#ifndef RECTO_RUNTIME_MACHINE_H
#define RECTO_RUNTIME_MACHINE_H

#include <stdbool.h>
#include <stdint.h>

struct machine {
    char     cpu_name[64];
    int      processors;      /* that this process may run on (affinity mask) */
    int      quota;           /* whole processors that the control group grants, rounded up; 0: no limit */
    uint64_t memory;          /* bytes of physical memory */
    bool     avx2;            /* with FMA */
    bool     avx512;          /* F, BW, DQ and VL */
    bool     avx512_vnni;
    bool     avx512_bf16;
    bool     neon;
};

void machine_describe(struct machine *machine);

/* Threads worth having: processors, but no more than the quota; at least one. */
int machine_threads(const struct machine *machine);

#endif
