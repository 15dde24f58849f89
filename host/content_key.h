/* content_key.h: the content of weight files as 128 bits, remembered so that it is computed once.
 *
 * Hashing 90 MB takes longer than everything else at a warm start. The key of a file is therefore kept in the cache folder
 * beside the file's identity (device, inode, size, times of modification and change); as long as that is the same, so is
 * the content. Where nothing can be kept the key is computed again: slower, never wrong.
 */
#ifndef RECTO_HOST_CONTENT_KEY_H
#define RECTO_HOST_CONTENT_KEY_H

#include "loaders/safetensors.h"
#include "runtime/pool.h"

#include <stdbool.h>

struct content_key {
    uint64_t low, high;
};

/* `path`: the weight file or index that `tensors` was opened from. `folder`: of remembered keys; it need not exist. */
MUST_CHECK status content_key_of(const char *path, bool sharded, const char *folder, struct pool *pool,
                                 struct content_key *key, struct error *error);

/* Makes a folder and those above it; whether that worked shows when something is written there. */
void content_make_folder(const char *path);

#endif
