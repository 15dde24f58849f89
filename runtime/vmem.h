/* vmem.h: addresses and bytes apart.
 *
 * An address range is reserved once and costs nothing; physical memory is mapped into parts of it while it is needed and
 * given back without the addresses changing, so that plans and captured graphs that hold them stay valid. The host
 * implementation is vmem_host(); a device brings its own under the same five functions. All sizes and offsets are
 * multiples of `granularity`. Mapped memory reads as zero at first on the host, as anything on other devices.
 */
#ifndef RECTO_RUNTIME_VMEM_H
#define RECTO_RUNTIME_VMEM_H

#include "runtime/status.h"

#include <stddef.h>

struct vmem {
    size_t granularity;
    void  *user;
    MUST_CHECK status (*reserve)(const struct vmem *vmem, size_t bytes, void **address, struct error *error);
    MUST_CHECK status (*map)(const struct vmem *vmem, void *address, size_t offset, size_t bytes, struct error *error);
    void (*unmap)(const struct vmem *vmem, void *address, size_t offset, size_t bytes);
    void (*release)(const struct vmem *vmem, void *address, size_t bytes);
};

const struct vmem *vmem_host(void);

#endif
