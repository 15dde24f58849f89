/* runtime.h: the emulated CUDA runtime as tests steer it. The interface itself is in include/.
 *
 * Device memory is counted and bounded, poisoned when it is mapped, and closed to the host except while the device works:
 * a host that touches it dies at once. Work of a stream is kept and done as late as the host allows (its next wait), at once,
 * or some of it at every call, as `order` says: a missing wait is then seen in the values. Sources in pinned memory are read
 * when a copy is done, not when it is asked for. Every call can be made to fail once. Everything that is opened and never
 * closed is named by emu_runtime_leaks. Any thread may call; one call is served at a time.
 *
 * A thread has a stack of contexts: the runtime's calls bring the first device's along, the driver's do not; kernels are loaded
 * when they are first wanted, which a capture forbids; a kernel for one architecture has no code for others. Where it is not
 * known that a device allows a call, it is refused.
 *
 * Errors stick as on a device: after a fault every call returns it, until emu_runtime_reset. What no error code can say (a
 * buffer freed under a pending copy) is a misuse: printed, kept, and asked for with emu_runtime_misuse.
 */
#ifndef EMU_RUNTIME_H
#define EMU_RUNTIME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum emu_runtime_order { EMU_RUNTIME_LATE, EMU_RUNTIME_AT_ONCE, EMU_RUNTIME_ANY };

/* Those with a variable are read from the environment when the first call is made; tests may change all between calls that find
 * no work pending. */
struct emu_runtime_settings {
    int      absent;        /* EMU_RUNTIME_ABSENT: 34, 35 or 100, the error of every call where there is no device; 0: there is */
    int      driver;        /* EMU_RUNTIME_DRIVER: its version, 13000 */
    bool     prohibited;    /* EMU_RUNTIME_PROHIBITED: no process may compute, by the device's compute mode: 0 */
    int      idle;          /* EMU_RUNTIME_IDLE: devices behind the one that works, up to 3, for which nobody may ask for work: 0 */
    int      architecture;  /* EMU_RUNTIME_ARCHITECTURE: 90 */
    int      processors;    /* EMU_RUNTIME_PROCESSORS: 4, so that few blocks fill the device */
    size_t   memory;        /* EMU_RUNTIME_MEMORY: bytes, 4 GiB */
    uint64_t seed;          /* EMU_SEED: of EMU_RUNTIME_ANY */
    enum emu_runtime_order order;  /* EMU_RUNTIME_ORDER: late, once or any */
    size_t   granularity;   /* EMU_RUNTIME_GRANULARITY: of virtual memory, 2 MiB */
    bool     guard;         /* EMU_RUNTIME_GUARD: 1, device memory is closed to the host */
};
struct emu_runtime_settings *emu_runtime_settings(void);

/* Forgets errors, injections, misuse and counts; everything must have been closed. */
void emu_runtime_reset(void);

/* The `call`-th call from now on (1: the next) fails with `error`, and does nothing unless it gives something back; a fault's
 * code (700, 719, ...) then sticks. error 0: what the call itself would most likely say. call 0: none shall fail. */
void        emu_runtime_fail(uint64_t call, int error);
uint64_t    emu_runtime_calls(void);     /* since the reset */
const char *emu_runtime_failed(void);    /* the function that was made to fail; "" */

struct emu_runtime_usage {
    size_t   device_bytes, device_peak;  /* physical memory in use, and most ever */
    size_t   host_bytes;                 /* pinned */
    int      streams, events, graphs, executables, reservations, handles, blocks;
    int      contexts, retained;         /* primary contexts that were made, of all devices; references that the driver gave */
    uint64_t kernels, copies;            /* done by the device, those of graphs included */
    uint64_t launches;                   /* kernels that the host launched one by one, captured or not */
    uint64_t captures, replays;
    uint64_t waits;                      /* calls that waited for the device */
    uint64_t allocations;                /* calls that asked for memory of any kind, or for addresses */
};
struct emu_runtime_usage emu_runtime_usage(void);

/* Whether the calling thread is in one of the runtime's functions: what it allocates there is the emulation's own. */
bool emu_runtime_is_inside(void);

/* Whether anything is open; `text` says what. */
bool        emu_runtime_leaks(char *text, size_t size);
const char *emu_runtime_misuse(void);    /* the first; "" */

#ifdef __cplusplus
}
#endif

#endif
