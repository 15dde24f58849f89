/* planted.h: kernels with one bug each, which the emulator has to catch, beside the same kernels without it.
 *
 * A kernel is a template on the number of its bug; 0 is right. `run` launches it and says whether it ran to its end with the
 * right values. The right one must pass under every schedule and in check mode; a bug must be caught where the table says.
 */
#ifndef PLANTED_H
#define PLANTED_H

#include "tests/emu/conformance/conformance.h"

typedef bool planted_run(void);

struct planted {
    const char  *name;
    planted_run *bug, *right;
    const char  *plain;  /* what the report says without check mode; "values": they are wrong; null: only check mode sees it */
    const char  *check;  /* the same in check mode, under the friendliest schedule; null: seen without it */
};
extern const struct planted planted_block[], planted_memory[], planted_copies[], planted_tiles[], planted_epilogue[],
    planted_cluster[];

#endif
