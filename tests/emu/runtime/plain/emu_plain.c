/* emu_plain.c: the emulator's interface for kernels that are one C function each, called once for the whole grid.
 *
 * It serves tests of the host side, which care for what is launched and when rather than for how threads meet: no fibers, no
 * C++, milliseconds. Device memory has the poison and the bounds of the real emulator, and nothing else of it.
 */
#include "tests/emu/emu.h"
#include "tests/emu/runtime/plain/kernels_plain.h"

#include <stdlib.h>
#include <string.h>

enum { KERNELS_MAX = 64, SHARED_FREELY = 48 << 10, GUARD = 256, POISON = 0xff };

unsigned plain_cluster;

static struct emu_kernel kernels[KERNELS_MAX];
static int               kernel_count;

static struct emu_kernel *find(const void *function)
{
    for (int i = 0; i < kernel_count; i++)
        if (kernels[i].function == function)
            return &kernels[i];
    return NULL;
}

const void *emu_kernel_add(const void *function, const char *name, emu_invoke *invoke, const size_t *arg_bytes, int args,
                           int architecture)
{
    if (!find(function) && kernel_count < KERNELS_MAX)
        kernels[kernel_count++] = (struct emu_kernel){ function, name, invoke, arg_bytes, args, architecture, SHARED_FREELY };
    return function;
}

const struct emu_kernel *emu_kernel_find(const void *function) { return find(function); }

enum emu_status emu_kernel_allow(const void *function, int shared_bytes)
{
    struct emu_kernel *kernel = find(function);
    if (!kernel)
        return EMU_UNKNOWN_KERNEL;
    kernel->shared_limit = shared_bytes;
    return EMU_OK;
}

enum emu_status emu_launch(const struct emu_launch *launch)
{
    const struct emu_kernel *kernel = find(launch->kernel);
    if (!kernel)
        return EMU_UNKNOWN_KERNEL;
    if (plain_settings.fault && strcmp(kernel->name, plain_settings.fault) == 0)
        return EMU_FAULT;
    plain_cluster = launch->cluster.x;
    kernel->invoke(kernel->function, launch->args);
    return EMU_OK;
}

void *emu_memory_alloc(size_t bytes)
{
    size_t padded = (bytes + GUARD - 1) / GUARD * GUARD + GUARD;
    char  *memory = aligned_alloc(GUARD, padded);
    if (memory)
        memset(memory, POISON, padded);
    return memory;
}

bool emu_memory_free(void *memory)
{
    free(memory);
    return true;
}

void emu_memory_add(void *memory, size_t bytes, bool poison)
{
    if (poison)
        memset(memory, POISON, bytes);
}

void emu_memory_remove(void *memory, size_t bytes) { (void)memory, (void)bytes; }
void emu_memory_written(const void *memory, size_t bytes) { (void)memory, (void)bytes; }

const char *emu_tensor_map_make(CUtensorMap *map, const struct emu_tensor *tensor)
{
    (void)map, (void)tensor;
    return "there are no tensor maps without threads";
}

const char *emu_report(void) { return ""; }
