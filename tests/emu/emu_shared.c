/* Shared memory: dynamic part first, static arrays behind it, red zones around both, everything poisoned.
 *
 * An address without its upper bit is in the own block, whatever its rank; with the bit it names the block of a rank, as mapa
 * makes it: so an own address that strays to another block as it is stays wrong here as it is on a device.
 */
#include "emu_state.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#endif

enum { RED_ZONE = 64, RED_BYTE = 0xA5 };

static void red(struct emu_block *block, uint32_t offset) { memset(block->arena + offset, RED_BYTE, RED_ZONE); }

void emu_block_shared_reset(struct emu_block *block, size_t dynamic_bytes)
{
    if (!block->arena)
        block->arena = aligned_alloc(1024, EMU_SHARED_BYTES);
    if (!block->arena) {
        fprintf(stderr, "[emu] no memory for the shared memory of a block\n");
        abort();
    }
    block->statics.count   = 0;
    block->mbarriers.count = 0;
    block->dynamic_bytes   = (uint32_t)dynamic_bytes;
    block->shared_end      = EMU_SHARED_BASE + (uint32_t)dynamic_bytes;
    red(block, EMU_SHARED_BASE - RED_ZONE);
    red(block, block->shared_end);
    emu_poison(block->arena + EMU_SHARED_BASE, dynamic_bytes);
}

static bool red_damaged(const struct emu_block *block, uint32_t offset, uint32_t *where)
{
    for (uint32_t i = 0; i < RED_ZONE; i++)
        if ((unsigned char)block->arena[offset + i] != RED_BYTE) {
            *where = offset + i;
            return true;
        }
    return false;
}

void emu_block_shared_check(struct emu_block *block)
{
    const struct emu_site nowhere = { "(end of the block)", 0 };
    uint32_t              at;
    if (red_damaged(block, EMU_SHARED_BASE - RED_ZONE, &at) || red_damaged(block, EMU_SHARED_BASE + block->dynamic_bytes, &at))
        emu_finding(nowhere, "shared memory was written out of bounds: 0x%x, outside the %u dynamic bytes at 0x%x", at,
                    block->dynamic_bytes, EMU_SHARED_BASE);
    for (int i = 0; i < block->statics.count; i++)
        if (red_damaged(block, block->statics.items[i].offset + block->statics.items[i].bytes, &at))
            emu_finding(nowhere, "shared memory was written out of bounds: 0x%x, behind a static array of %u bytes", at,
                        block->statics.items[i].bytes);
}

void *emu_shared_static(const void *key, size_t bytes, size_t alignment, struct emu_site site)
{
    struct emu_fiber *self  = emu_enter();
    struct emu_block *block = self->block;
    void             *found = NULL;
    for (int i = 0; i < block->statics.count && !found; i++)
        if (block->statics.items[i].key == key)
            found = block->arena + block->statics.items[i].offset;
    if (!found) {
        uint32_t align  = (uint32_t)alignment;
        uint32_t offset = (block->shared_end + RED_ZONE + align - 1) & ~(align - 1);
        if (block->shared_end - EMU_SHARED_BASE + bytes > EMU_SHARED_MOST || offset + bytes + RED_ZONE > EMU_SHARED_BYTES)
            emu_fail(site, "more than %d bytes of shared memory", EMU_SHARED_MOST);
        *EMU_PUSH(&block->statics) = (struct emu_static){ key, offset, (uint32_t)bytes };
        block->shared_end          = offset + (uint32_t)bytes;
        found                      = block->arena + offset;
        emu_poison(found, bytes);
        red(block, block->shared_end);
        if (emu_worker->shadow)
            emu_check_static(block, offset, (uint32_t)bytes);
    }
    emu_leave(self);
    return found;
}

void *emu_shared_dynamic(size_t alignment, struct emu_site site)
{
    if (alignment > EMU_SHARED_BASE)
        emu_fail(site, "dynamic shared memory aligned to %zu bytes", alignment);
    return emu_here_block()->arena + EMU_SHARED_BASE;
}

uint32_t emu_shared_address(const void *pointer, struct emu_site site)
{
    ptrdiff_t offset = (const char *)pointer - emu_here_block()->arena;
    if (offset < 0 || offset >= EMU_SHARED_BYTES)
        emu_fail(site, "address %p is not in shared memory", pointer);
    return (uint32_t)offset;
}

bool emu_shared_inside(const struct emu_block *block, uint32_t offset, size_t bytes)
{
    if (offset >= EMU_SHARED_BASE && offset + bytes <= EMU_SHARED_BASE + (size_t)block->dynamic_bytes)
        return true;
    for (int i = 0; i < block->statics.count; i++) {
        const struct emu_static *s = &block->statics.items[i];
        if (offset >= s->offset && offset + bytes <= (size_t)s->offset + s->bytes)
            return true;
    }
    return false;
}

/* Blocks of a cluster run together, but not from the same moment. */
void emu_shared_started(const struct emu_block *block, struct emu_site site)
{
    if (block != emu_here_block() && !emu_worker->cluster_met)
        emu_finding(site, "shared memory of block %d of the cluster before the cluster's first barrier: it may not have started",
                    block->rank);
}

struct emu_block *emu_shared_block(uint32_t address, uint32_t *offset, struct emu_site site)
{
    struct emu_block *own = emu_here_block();
    *offset               = address & ((1u << EMU_RANK_SHIFT) - 1);
    if (!(address >> 31))
        return *offset = address, own;
    uint32_t rank = address >> EMU_RANK_SHIFT & 0x7f;
    if (rank >= (uint32_t)emu_worker->block_count)
        emu_fail(site, "shared address 0x%x names block %u of a cluster of %d", address, rank, emu_worker->block_count);
    struct emu_block *block = &emu_worker->blocks[rank];
    emu_shared_started(block, site);
    if (block->live == 0)
        emu_fail(site, "shared memory of block %u of the cluster, all of whose threads have exited", rank);
    return block;
}

void *emu_shared_pointer(uint32_t address, size_t bytes, size_t alignment, struct emu_site site)
{
    uint32_t          offset;
    struct emu_block *block = emu_shared_block(address, &offset, site);
    if (offset & (alignment - 1))
        emu_fail(site, "misaligned shared address 0x%x: a multiple of %zu is needed", address, alignment);
    if (!emu_shared_inside(block, offset, bytes))
        emu_fail(site, "shared memory out of bounds: [0x%x, +%zu), the dynamic part is [0x%x, +%u)", address, bytes,
                 EMU_SHARED_BASE, block->dynamic_bytes);
    return block->arena + offset;
}

/* One pass of shared memory: how many different words want the same bank. */
int emu_wavefronts(const uint32_t *address, int lanes, int bytes)
{
    uint32_t words[32][8];
    int      count[32] = { 0 }, most = 1;
    for (int i = 0; i < lanes; i++)
        for (int b = 0; b < bytes; b += 4) {
            uint32_t word = (address[i] + (uint32_t)b) >> 2, bank = word & 31;
            bool     seen = false;
            for (int j = 0; j < count[bank]; j++)
                seen = seen || words[bank][j] == word;
            if (!seen && count[bank] < 8)
                words[bank][count[bank]++] = word;
            most = count[bank] > most ? count[bank] : most;
        }
    return most;
}
