/* file.h: reading and writing files whole, whatever interrupts; the loaders' one seam to the file system.
 *
 * Every call goes on after a signal and after a short read or write. Sentences begin with the path and end with the
 * system's reason. Only regular files are opened: a folder, a pipe or a device is refused without blocking.
 */
#ifndef RECTO_LOADERS_FILE_H
#define RECTO_LOADERS_FILE_H

#include "runtime/pool.h"
#include "runtime/status.h"

#include <stddef.h>
#include <stdint.h>

/* For reading. STATUS_MODEL when there is no such file, STATUS_IO for every other reason. */
MUST_CHECK status file_open(const char *path, int *descriptor, uint64_t *bytes, struct error *error);
void file_close(int descriptor);  /* negative is allowed */

/* Exactly `bytes` from `offset` on; a file that ends before is STATUS_MODEL. */
MUST_CHECK status file_read_at(int descriptor, const char *path, uint64_t offset, void *to, size_t bytes,
                               struct error *error);
/* Exactly `bytes` to `offset`. */
MUST_CHECK status file_write_at(int descriptor, const char *path, uint64_t offset, const void *from, size_t bytes,
                                struct error *error);

/* The whole file in a block of the pool, a NUL behind it that `length` does not count. STATUS_MODEL when it is larger
 * than `limit`. */
MUST_CHECK status file_read(struct pool *pool, enum memory_category category, const char *path, uint64_t limit,
                            char **text, size_t *length, struct error *error);

/* Read-only pages of the whole file; null for an empty one. They are not booked: the caller knows how many will be
 * resident. When somebody truncates the file in place, touching the lost pages raises SIGBUS: nothing can prevent that,
 * so files are replaced by renaming, never rewritten. */
MUST_CHECK status file_map(int descriptor, const char *path, uint64_t bytes, const void **pages, struct error *error);
void file_unmap(const void *pages, uint64_t bytes);

/* STATUS_IO with "PATH: cannot DOING: the reason of `number`". */
status file_refuse(struct error *error, const char *path, const char *doing, int number);

#endif
