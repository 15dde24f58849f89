/* safetensors_header.h: the header of one safetensors file, checked by its strict rules.
 *
 * A safetensors file is 8 bytes N (little endian), N bytes of JSON, and the tensors' bytes:
 *     {"name": {"dtype": "F32", "shape": [2, 3], "data_offsets": [begin, end]}, "__metadata__": {"key": "value"}}
 * The rules: N is at most SAFETENSORS_HEADER_MAX and ends inside the file; the header begins with '{' and may be padded
 * with spaces behind '}', and with nothing else (the format's text says so; some readers are laxer); no key twice; no
 * field but those three; `__metadata__` maps strings to strings; the dtype is one of the format's 22; the size is the
 * product of shape and element, whole bytes, computed without overflow; the tensors, sorted by offset, cover the bytes
 * behind the header exactly: no hole, no overlap, no tail. Scalars (shape []) and tensors of no bytes are valid. Our own
 * limit: at most TENSOR_RANK_MAX dimensions.
 */
#ifndef RECTO_LOADERS_SAFETENSORS_HEADER_H
#define RECTO_LOADERS_SAFETENSORS_HEADER_H

#include "kernels/dtype.h"
#include "runtime/pool.h"
#include "runtime/status.h"

#include <stddef.h>
#include <stdint.h>

enum { TENSOR_RANK_MAX = 8, SAFETENSORS_HEADER_MAX = 100000000, SAFETENSORS_PREFIX = 8 };

struct tensor_view {
    const char *name;
    const char *file;                    /* that holds it: of a model in shards, the shard */
    enum dtype  dtype;
    int         rank;
    int64_t     shape[TENSOR_RANK_MAX];  /* outermost first */
    const void *data;                    /* not aligned to the element: nothing in the format promises that */
    uint64_t    bytes;
    uint64_t    file_offset;             /* of `data`, from the file's first byte */
};

/* The tensors of one file, sorted by name; the views, their names and the file's lie in one block of MEMORY_LOAD. */
struct safetensors_table {
    struct tensor_view *tensors;
    size_t              count;
};

/* N of a file of `file_bytes` bytes that begins with `prefix`. */
MUST_CHECK status safetensors_header_length(const unsigned char prefix[SAFETENSORS_PREFIX], uint64_t file_bytes,
                                            const char *file, uint64_t *length, struct error *error);
/* Checks all rules and lists the tensors, `data` left null. Free the table's block with pool_free(pool, table->tensors). */
MUST_CHECK status safetensors_header_read(struct pool *pool, const char *header, size_t length, uint64_t file_bytes,
                                          const char *file, struct safetensors_table *table, struct error *error);

void safetensors_table_sort(struct safetensors_table *table);  /* by name, as finding needs it */
/* Null: no such tensor. */
const struct tensor_view *safetensors_table_find(const struct safetensors_table *table, const char *name);

/* Names come from the file: keeps line breaks and other control characters out of a sentence. */
void safetensors_make_printable(struct error *error);

#endif
