/* pack_format.h: the bytes of a pack, shared by its reader and its writer.
 *
 *     struct pack_header | identity | zeros | blob | zeros | blob | zeros | ... | struct pack_record[] | names
 *
 * Blobs and the table begin at multiples of 64. Each name ends in a NUL. header_hash covers the header before it and the
 * identity, content_hash everything behind the identity up to the end of the file: every byte is covered by one of them.
 * Numbers are little-endian, as on every machine that recto runs on; elsewhere the version differs.
 */
#ifndef RECTO_LOADERS_PACK_FORMAT_H
#define RECTO_LOADERS_PACK_FORMAT_H

#include "loaders/pack.h"

#define XXH_STATIC_LINKING_ONLY  /* for the state's size: it lies in a block of the pool */
#include <xxhash.h>

#define PACK_MAGIC "RECTOPK\n"
enum { PACK_VERSION = 1 };

struct pack_header {
    char             magic[8];
    uint64_t         version;
    uint64_t         file_bytes;
    uint64_t         identity_bytes;
    uint64_t         table_offset;
    uint64_t         blobs;
    uint64_t         name_bytes;
    XXH128_canonical_t content_hash;
    uint64_t         header_hash;
};
_Static_assert(sizeof(struct pack_header) == 80, "no padding: these are the file's bytes");

struct pack_record {
    uint64_t offset;  /* from the file's first byte */
    uint64_t bytes;
    uint64_t name_at;  /* from the first byte of the names */
};

/* XXH3-64 of the header's fields before header_hash, continued over the identity. */
uint64_t pack_header_hash(const struct pack_header *header, const void *identity);

/* Reads and checks the table and maps the file. The header has been checked or made by ourselves; `booked` bytes of the
 * file are booked already, the rest is booked here; on failure the caller still owns what it had booked. */
MUST_CHECK status pack_map(struct pool *pool, int descriptor, const char *path, const struct pack_header *header,
                           uint64_t booked, struct pack **pack, struct error *error);

#endif
