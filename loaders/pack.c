#include "loaders/pack_format.h"

#include "loaders/file.h"
#include "loaders/sort.h"

#include <fcntl.h>
#include <inttypes.h>
#include <string.h>

struct pack {
    struct pool      *pool;
    const void       *pages;
    uint64_t          bytes;
    size_t            count;
    struct pack_blob  blobs[];  /* by name; behind them the table as it is in the file */
};

enum { VERIFY_CHUNK = 256 << 10 };  /* fits the second-level cache; larger ones are not faster */

uint64_t pack_header_hash(const struct pack_header *header, const void *identity)
{
    uint64_t first = XXH3_64bits(header, offsetof(struct pack_header, header_hash));
    return XXH3_64bits_withSeed(identity, (size_t)header->identity_bytes, first);
}

static int by_name(const void *left, const void *right)
{
    return strcmp(((const struct pack_blob *)left)->name, ((const struct pack_blob *)right)->name);
}

static status table_broken(struct error *error, const char *path, uint64_t record, const char *what)
{
    return error_set(error, STATUS_MODEL, "pack: %s: record %" PRIu64 " of the table %s", path, record, what);
}

static status check_record(const struct pack_record *record, uint64_t number, const struct pack_header *header,
                           const char *path, struct error *error)
{
    if (record->offset % PACK_ALIGNMENT != 0)
        return table_broken(error, path, number, "has an offset that is no multiple of 64");
    if (record->offset < sizeof *header + header->identity_bytes || record->offset > header->table_offset ||
        record->bytes > header->table_offset - record->offset)
        return table_broken(error, path, number, "lies outside the file's blobs");
    if (record->name_at >= header->name_bytes)
        return table_broken(error, path, number, "has its name outside the names");
    return STATUS_OK;
}

/* The table must fill the rest of the file exactly: with this, all its sums stay below the file's size. */
static status check_table(const struct pack_header *header, const char *path, struct error *error)
{
    uint64_t begin = sizeof *header + header->identity_bytes;
    uint64_t room = header->file_bytes - header->table_offset;
    if (header->table_offset < begin || header->table_offset > header->file_bytes ||
        header->blobs > room / sizeof(struct pack_record) ||
        header->name_bytes != room - header->blobs * sizeof(struct pack_record))
        return error_set(error, STATUS_MODEL,
                         "pack: %s: the table of %" PRIu64 " blobs at byte %" PRIu64 " does not end with the file at byte "
                         "%" PRIu64,
                         path, header->blobs, header->table_offset, header->file_bytes);
    return STATUS_OK;
}

static status fill_blobs(struct pack *pack, const struct pack_header *header, const struct pack_record *records,
                         const char *path, struct error *error)
{
    const char *names = (const char *)(records + header->blobs);
    if (header->name_bytes > 0 && names[header->name_bytes - 1] != '\0')
        return error_set(error, STATUS_MODEL, "pack: %s: the last name of the table does not end", path);
    for (size_t i = 0; i < header->blobs; i++) {
        status code = check_record(&records[i], i, header, path, error);
        if (code != STATUS_OK)
            return code;
        pack->blobs[i] = (struct pack_blob){.name = names + records[i].name_at,
                                            .data = (const char *)pack->pages + records[i].offset,
                                            .bytes = records[i].bytes};
    }
    pack->count = (size_t)header->blobs;
    sort_in_place(pack->blobs, pack->count, sizeof *pack->blobs, by_name);
    for (size_t i = 1; i < pack->count; i++)
        if (strcmp(pack->blobs[i - 1].name, pack->blobs[i].name) == 0)
            return error_set(error, STATUS_MODEL, "pack: %s: there are two blobs '%.160s'", path, pack->blobs[i].name);
    return STATUS_OK;
}

static status map_into(struct pack *pack, int descriptor, const char *path, const struct pack_header *header,
                       struct error *error)
{
    struct pack_record *records = (struct pack_record *)(pack->blobs + header->blobs);
    status code = file_read_at(descriptor, path, header->table_offset, records,
                               (size_t)(header->file_bytes - header->table_offset), error);
    if (code == STATUS_OK)
        code = file_map(descriptor, path, header->file_bytes, &pack->pages, error);
    return code == STATUS_OK ? fill_blobs(pack, header, records, path, error) : code;
}

status pack_map(struct pool *pool, int descriptor, const char *path, const struct pack_header *header, uint64_t booked,
                struct pack **pack, struct error *error)
{
    status code = check_table(header, path, error);
    if (code != STATUS_OK)
        return code;
    void  *block;
    size_t table = (size_t)(header->file_bytes - header->table_offset);
    code = pool_alloc(pool, MEMORY_WEIGHTS, sizeof **pack + (size_t)header->blobs * sizeof(struct pack_blob) + table,
                      "the table of packed weights", &block, error);
    if (code != STATUS_OK)
        return code;
    struct pack *made = block;
    *made = (struct pack){.pool = pool, .bytes = header->file_bytes};
    uint64_t rest = header->file_bytes - booked;
    code = pool_charge(pool, MEMORY_WEIGHTS, rest, "packed weights", error);
    if (code == STATUS_OK) {
        code = map_into(made, descriptor, path, header, error);
        if (code == STATUS_OK) {
            *pack = made;
            return STATUS_OK;
        }
        file_unmap(made->pages, made->bytes);
        pool_discharge(pool, MEMORY_WEIGHTS, rest);
    }
    pool_free(pool, made);
    return code;
}

/* Header and identity. STATUS_MODEL with the outcome when this is not the pack that was asked for. */
static status check_header(int descriptor, const char *path, uint64_t file_bytes, const struct pack_identity *identity,
                           struct pack_header *header, enum pack_outcome *outcome, struct error *error)
{
    unsigned char found[PACK_IDENTITY_MAX];
    *outcome = PACK_CORRUPT;
    status code = file_read_at(descriptor, path, 0, header, sizeof *header, error);
    if (code != STATUS_OK)
        return code;
    if (memcmp(header->magic, PACK_MAGIC, sizeof header->magic) != 0)
        return error_set(error, STATUS_MODEL, "pack: %s: byte 0: this is no file of packed weights", path);
    if (header->version != PACK_VERSION) {
        *outcome = PACK_STALE;
        return error_set(error, STATUS_MODEL, "pack: %s: byte 8: format version %" PRIu64 ", expected %d", path,
                         header->version, PACK_VERSION);
    }
    if (header->file_bytes != file_bytes)
        return error_set(error, STATUS_MODEL, "pack: %s: the file has %" PRIu64 " bytes, expected %" PRIu64, path,
                         file_bytes, header->file_bytes);
    if (header->identity_bytes > sizeof found)
        return error_set(error, STATUS_MODEL, "pack: %s: byte 24: an identity of %" PRIu64 " bytes, expected at most %d",
                         path, header->identity_bytes, PACK_IDENTITY_MAX);
    code = file_read_at(descriptor, path, sizeof *header, found, (size_t)header->identity_bytes, error);
    if (code != STATUS_OK)
        return code;
    if (header->header_hash != pack_header_hash(header, found))
        return error_set(error, STATUS_MODEL, "pack: %s: the header is damaged: its hash differs", path);
    if (header->identity_bytes == identity->length &&
        (identity->length == 0 || memcmp(found, identity->bytes, identity->length) == 0))
        return STATUS_OK;
    *outcome = PACK_STALE;
    return error_set(error, STATUS_MODEL, "pack: %s: it was made from something else: its identity differs", path);
}

/* Read through a buffer and not through a mapping: pages that nobody needs later never become resident. */
static status hash_content(int descriptor, const char *path, const struct pack_header *header, void *buffer,
                           XXH3_state_t *state, struct error *error)
{
    XXH3_128bits_reset(state);
    for (uint64_t at = sizeof *header + header->identity_bytes; at < header->file_bytes;) {
        uint64_t left = header->file_bytes - at;
        size_t   bytes = left < VERIFY_CHUNK ? (size_t)left : VERIFY_CHUNK;
        status   code = file_read_at(descriptor, path, at, buffer, bytes, error);
        if (code != STATUS_OK)
            return code;
        XXH3_128bits_update(state, buffer, bytes);
        at += bytes;
    }
    XXH128_canonical_t found;
    XXH128_canonicalFromHash(&found, XXH3_128bits_digest(state));
    if (memcmp(&found, &header->content_hash, sizeof found) == 0)
        return STATUS_OK;
    return error_set(error, STATUS_MODEL, "pack: %s: the content is damaged: its hash differs", path);
}

static status verify_content(struct pool *pool, int descriptor, const char *path, const struct pack_header *header,
                             struct error *error)
{
    void  *block;
    status code = pool_alloc(pool, MEMORY_LOAD, sizeof(XXH3_state_t) + VERIFY_CHUNK, "the check of packed weights", &block,
                             error);
    if (code != STATUS_OK)
        return code;
    posix_fadvise(descriptor, 0, 0, POSIX_FADV_SEQUENTIAL);
    code = hash_content(descriptor, path, header, (char *)block + sizeof(XXH3_state_t), block, error);
    pool_free(pool, block);
    return code;
}

static status open_descriptor(struct pool *pool, int descriptor, const char *path, const struct pack_header *header,
                              struct pack **pack, struct error *error)
{
    status code = verify_content(pool, descriptor, path, header, error);
    return code == STATUS_OK ? pack_map(pool, descriptor, path, header, 0, pack, error) : code;
}

/* What only says something about the file is an outcome and no failure. */
static status settle(status code, struct error *error)
{
    if (code != STATUS_MODEL && code != STATUS_IO)
        return code;
    if (error)
        error->code = STATUS_OK;
    return STATUS_OK;
}

status pack_open(struct pool *pool, const char *path, const struct pack_identity *identity, struct pack **pack,
                 enum pack_outcome *outcome, struct error *error)
{
    int      descriptor;
    uint64_t bytes;
    *pack = NULL;
    status code = file_open(path, &descriptor, &bytes, error);
    if (code != STATUS_OK) {
        *outcome = code == STATUS_MODEL ? PACK_ABSENT : PACK_CORRUPT;
        return settle(code, error);
    }
    struct pack_header header;
    code = check_header(descriptor, path, bytes, identity, &header, outcome, error);
    if (code == STATUS_OK) {
        code = open_descriptor(pool, descriptor, path, &header, pack, error);
        *outcome = code == STATUS_OK ? PACK_FOUND : PACK_CORRUPT;
    }
    file_close(descriptor);
    return settle(code, error);
}

void pack_close(struct pack *pack)
{
    if (!pack)
        return;
    file_unmap(pack->pages, pack->bytes);
    pool_discharge(pack->pool, MEMORY_WEIGHTS, pack->bytes);
    pool_free(pack->pool, pack);
}

size_t pack_count(const struct pack *pack)
{
    return pack->count;
}

const struct pack_blob *pack_at(const struct pack *pack, size_t index)
{
    return index < pack->count ? &pack->blobs[index] : NULL;
}

const struct pack_blob *pack_find(const struct pack *pack, const char *name)
{
    size_t low = 0, high = pack->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int    order = strcmp(name, pack->blobs[middle].name);
        if (order == 0)
            return &pack->blobs[middle];
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return NULL;
}

uint64_t pack_bytes(const struct pack *pack)
{
    return pack->bytes;
}
