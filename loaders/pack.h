/* pack.h: packed weights, made once per machine and mapped the next time.
 *
 * A pack is one file of named blobs, each aligned to 64 bytes, with an identity: bytes that say what it was made from and
 * for (weights, packing version, processor). A pack is found only if its identity equals the one asked for and a
 * 128-bit hash of its content is right; everything else is a reason to make it again and never an error of the model.
 * It is written under another name in the same folder and appears under its own by one rename, so that readers see all
 * of it or nothing, and two processes that pack the same model at once both succeed without a lock. Where no file can be
 * written, the same writer makes the pack in memory. All bytes of an open pack are booked under MEMORY_WEIGHTS.
 * The hash guards against damage, not against somebody who may write to the folder. A writer belongs to one thread; an
 * open pack is never changed, so any number of threads may read it.
 */
#ifndef RECTO_LOADERS_PACK_H
#define RECTO_LOADERS_PACK_H

#include "runtime/pool.h"
#include "runtime/status.h"

#include <stddef.h>
#include <stdint.h>

enum { PACK_ALIGNMENT = 64, PACK_IDENTITY_MAX = 4096 };

struct pack;
struct pack_writer;

struct pack_identity {
    const void *bytes;
    size_t      length;  /* at most PACK_IDENTITY_MAX */
};

struct pack_blob {
    const char *name;
    const void *data;  /* aligned to PACK_ALIGNMENT, read-only */
    uint64_t    bytes;
};

enum pack_outcome {
    PACK_FOUND,
    PACK_ABSENT,  /* no such file */
    PACK_STALE,   /* made from something else, or by another version of this format */
    PACK_CORRUPT  /* damaged, or the system refused to read it */
};

/* Opens the pack at `path`. STATUS_OK for every outcome; for all but PACK_FOUND *pack is null and `error` holds the reason
 * all the same. Other codes (budget, memory) are failures of this process: making the pack again would not help. */
MUST_CHECK status pack_open(struct pool *pool, const char *path, const struct pack_identity *identity,
                            struct pack **pack, enum pack_outcome *outcome, struct error *error);
void pack_close(struct pack *pack);  /* null is allowed */

size_t pack_count(const struct pack *pack);
const struct pack_blob *pack_at(const struct pack *pack, size_t index);  /* in the order of names */
const struct pack_blob *pack_find(const struct pack *pack, const char *name);  /* null: no such blob */
uint64_t pack_bytes(const struct pack *pack);  /* of the whole file: what is booked */

/* Where a process has a file size limit (RLIMIT_FSIZE), the system stops it with SIGXFSZ unless that signal is ignored:
 * the host program's choice. Everything else that can go wrong is a status. */

/* A new pack that will replace what is at `path`, whose folder must exist; `path` null: a pack in memory, booked as it
 * grows. Fails early where the folder cannot be written (STATUS_IO). */
MUST_CHECK status pack_writer_open(struct pool *pool, const char *path, const struct pack_identity *identity,
                                   struct pack_writer **writer, struct error *error);
/* One blob at once, or its name and then its bytes piece by piece. After a failure only pack_writer_abandon makes sense. */
MUST_CHECK status pack_writer_add(struct pack_writer *writer, const char *name, const void *data, uint64_t bytes,
                                  struct error *error);
MUST_CHECK status pack_writer_begin(struct pack_writer *writer, const char *name, struct error *error);
MUST_CHECK status pack_writer_append(struct pack_writer *writer, const void *data, uint64_t bytes, struct error *error);
/* Completes the file, makes it durable, gives it its name and opens it. Ends the writer in every case; on failure
 * nothing is left behind and a pack that was at `path` before is still there. */
MUST_CHECK status pack_writer_finish(struct pack_writer *writer, struct pack **pack, struct error *error);
void pack_writer_abandon(struct pack_writer *writer);  /* leaves nothing behind; null is allowed */

#endif
