/* safetensors.h: the tensors of a model's weight files, mapped and not copied.
 *
 * A model is one file, or several named by an index ("model.safetensors.index.json"). safetensors_open maps them read-only
 * after checking every rule of safetensors_header.h; views point into the mapping and live until safetensors_close.
 * The tables are booked under MEMORY_LOAD. The mapping is not: its pages count in the process's resident set only while
 * they have been touched and not dropped, so whoever reads tensors drops them one by one (safetensors_drop), and whoever
 * keeps using them in place books them (pool_charge). Truncating a mapped file raises SIGBUS in whoever touches the lost
 * pages; lengths and headers are therefore read by calls that can fail, and writers must replace files by renaming.
 * Never changed after opening: any number of threads may use it.
 */
#ifndef RECTO_LOADERS_SAFETENSORS_H
#define RECTO_LOADERS_SAFETENSORS_H

#include "loaders/safetensors_header.h"

struct safetensors;

/* `path`: a safetensors file, or an index, known by its name ending in ".json". Shards are files in the index's folder or
 * below it. The index decides: a tensor of a shard that it does not list there is not seen. */
MUST_CHECK status safetensors_open(struct pool *pool, const char *path, struct safetensors **model, struct error *error);
/* The file's bytes are the caller's and must stay; `name` stands for the path in sentences, only during the call. */
MUST_CHECK status safetensors_open_memory(struct pool *pool, const void *bytes, size_t length, const char *name,
                                          struct safetensors **model, struct error *error);
void safetensors_close(struct safetensors *model);  /* null is allowed */

size_t safetensors_count(const struct safetensors *model);
const struct tensor_view *safetensors_at(const struct safetensors *model, size_t index);  /* in the order of names */
const struct tensor_view *safetensors_find(const struct safetensors *model, const char *name);  /* null: no such tensor */

/* Hints about any bytes inside a view's data. Fetch: they will be read soon. Drop: they need not be resident any more;
 * reading them again is valid and brings them back. Without effect on a model opened from memory. */
void safetensors_fetch(const struct safetensors *model, const void *from, uint64_t bytes);
void safetensors_drop(const struct safetensors *model, const void *from, uint64_t bytes);

#endif
