/* emu_check.h: check mode as the rest of the emulator starts it; its hooks are in emu_check.c and emu_check_global.c.
 *
 * Check mode sees every load and store of a kernel that was compiled with -fsanitize=thread and is not linked with its library:
 * the callbacks that the compiler inserts are defined in emu_hooks.c. What happened before what is kept in vector clocks.
 */
#ifndef EMU_CHECK_H
#define EMU_CHECK_H

#include "emu_state.h"

struct emu_shadow_cells;  /* what is known of one piece of device memory */

/* Whether some kernel of the program was compiled for check mode. */
bool emu_hooked(void);
void emu_hook(void);
void emu_launch_failed(void);
/* Switches check mode on or off for the launch that a worker begins. */
void emu_check_worker(struct emu_worker *worker, bool on);

/* Null where check mode is off. */
struct emu_shadow_cells *emu_cells_make(size_t bytes);
void emu_cells_free(struct emu_shadow_cells *cells);
void emu_cells_written(struct emu_shadow_cells *cells, size_t offset, size_t bytes);
struct emu_shadow_cells *emu_memory_cells(const void *memory, size_t *offset, size_t *bytes);

/* Whether this place was already reported, for this kind of fault, in this launch by this worker. */
bool emu_check_once(struct emu_worker *worker, uintptr_t place, int kind);
/* " [pc +0x..]", or "". */
const char *emu_check_place(uintptr_t pc, char text[40]);
void emu_check_shared_plain(struct emu_fiber *f, uint32_t offset, uint32_t bytes, bool write, uintptr_t pc);
/* A plain load or store of a kernel. */
void emu_check_misaligned(const void *memory, size_t bytes, bool write, uintptr_t pc);
void emu_check_access(const void *memory, size_t bytes, bool write, bool atomic, uintptr_t pc);

#endif
