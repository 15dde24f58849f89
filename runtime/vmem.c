#include "runtime/vmem.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

/* Small enough that a little plan costs little, large enough that mapping is rare. Never huge pages: the kernel would take
 * two megabytes at a touch, more than was booked. */
enum { HOST_GRANULARITY = 64 << 10 };

static status host_reserve(const struct vmem *vmem, size_t bytes, void **address, struct error *error)
{
    (void)vmem;
    void *range = mmap(NULL, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (range == MAP_FAILED)
        return error_set(error, STATUS_MEMORY, "vmem: cannot reserve %zu bytes of addresses: %s", bytes, strerror(errno));
    *address = range;
    return STATUS_OK;
}

static status host_map(const struct vmem *vmem, void *address, size_t offset, size_t bytes, struct error *error)
{
    (void)vmem;
    if (mprotect((char *)address + offset, bytes, PROT_READ | PROT_WRITE))
        return error_set(error, STATUS_MEMORY, "vmem: cannot map %zu bytes: %s", bytes, strerror(errno));
    return STATUS_OK;
}

static void host_unmap(const struct vmem *vmem, void *address, size_t offset, size_t bytes)
{
    (void)vmem;
    madvise((char *)address + offset, bytes, MADV_DONTNEED);
    mprotect((char *)address + offset, bytes, PROT_NONE);
}

static void host_release(const struct vmem *vmem, void *address, size_t bytes)
{
    (void)vmem;
    munmap(address, bytes);
}

const struct vmem *vmem_host(void)
{
    static const struct vmem host = {
        .granularity = HOST_GRANULARITY,
        .reserve     = host_reserve,
        .map         = host_map,
        .unmap       = host_unmap,
        .release     = host_release,
    };
    return &host;
}
