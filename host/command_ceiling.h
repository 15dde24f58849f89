/* command_ceiling.h: what the arithmetic units and the memory of this machine can do at most, measured in a moment.
 *
 * The ceiling of a precision is that of the fastest loop of kernels/lanes/busy.h. A multiply-add counts as two operations.
 */
#ifndef RECTO_HOST_COMMAND_CEILING_H
#define RECTO_HOST_COMMAND_CEILING_H

enum { CEILING_THREADS_MAX = 64 };

struct ceiling {
    double fp32[2], bf16[2], int8[2];  /* 10^9 operations a second with one thread, and with all; 0: no instructions for it */
    double read[2];                    /* 10^9 bytes a second read from memory */
};

/* Takes about a second. `threads` 1 to CEILING_THREADS_MAX. */
void ceiling_measure(struct ceiling *ceiling, int threads);

#endif
