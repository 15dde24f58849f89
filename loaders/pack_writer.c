#include "loaders/pack_format.h"

#include "loaders/file.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

/* Bytes go out in pieces of so many, at multiples of it. The system keeps a file in pieces as large as they were written, and a
 * processor's table of addresses reaches farther over large ones: a text's forward pass is a tenth quicker than over a pack of
 * many small writes. */
enum { PIECE_BYTES = 256 << 10 };

struct pack_writer {
    struct pool        *pool;
    char               *path;       /* what sentences say */
    char               *temporary;  /* beside it; null for a pack in memory */
    int                 descriptor;
    bool                linked;     /* the temporary name is in the folder */
    bool                failed;
    uint64_t            at;         /* end of what was put */
    char               *piece;      /* the last of it, not written yet */
    size_t              held;
    uint64_t            booked;     /* a pack in memory: bytes under MEMORY_WEIGHTS */
    struct pack_record *records;
    size_t              record_room;
    char               *names;
    size_t              name_room;
    struct pack_header  header;
    XXH3_state_t       *hash;
};

static status fail(struct pack_writer *writer, status code)
{
    writer->failed = true;
    return code;
}

/* A pack in memory is resident as soon as it is written: it is booked before. */
static status book(struct pack_writer *writer, uint64_t bytes, struct error *error)
{
    if (writer->temporary)
        return STATUS_OK;
    status code = pool_charge(writer->pool, MEMORY_WEIGHTS, bytes, "packed weights in memory", error);
    if (code == STATUS_OK)
        writer->booked += bytes;
    return code;
}

static status write_held(struct pack_writer *writer, struct error *error)
{
    status code  = file_write_at(writer->descriptor, writer->path, writer->at - writer->held, writer->piece, writer->held, error);
    writer->held = 0;
    return code == STATUS_OK ? code : fail(writer, code);
}

static status put(struct pack_writer *writer, const void *data, uint64_t bytes, struct error *error)
{
    status code = book(writer, bytes, error);
    if (code != STATUS_OK)
        return fail(writer, code);
    if (bytes > 0)
        XXH3_128bits_update(writer->hash, data, (size_t)bytes);
    for (const char *from = data; bytes > 0 && code == STATUS_OK;) {
        const size_t room = PIECE_BYTES - (size_t)(writer->at % PIECE_BYTES), some = bytes < room ? (size_t)bytes : room;
        memcpy(writer->piece + writer->held, from, some);
        writer->held += some;
        writer->at += some;
        from += some;
        bytes -= some;
        if (some == room)
            code = write_held(writer, error);
    }
    return code;
}

static status align(struct pack_writer *writer, struct error *error)
{
    static const char zeros[PACK_ALIGNMENT];
    return put(writer, zeros, (PACK_ALIGNMENT - writer->at % PACK_ALIGNMENT) % PACK_ALIGNMENT, error);
}

/* A file without a name where the file system can make one: it goes away by itself when this process is killed. Else, and
 * where /proc is not there to name it later, one with the temporary name. */
static int create_file(struct pack_writer *writer)
{
    char *slash = strrchr(writer->temporary, '/');
    char  folder_end = slash ? slash[1] : '\0', link[40];
    if (slash)
        slash[1] = '\0';
    int descriptor = open(slash ? writer->temporary : ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0666);
    if (slash)
        slash[1] = folder_end;
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    if (descriptor >= 0 && access(link, F_OK) == 0)
        return descriptor;
    file_close(descriptor);
    descriptor = open(writer->temporary, O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0666);
    writer->linked = descriptor >= 0;
    return descriptor;
}

static status open_target(struct pack_writer *writer, struct error *error)
{
    if (writer->temporary)
        writer->descriptor = create_file(writer);
    else
        writer->descriptor = memfd_create("recto-pack", MFD_CLOEXEC);
    if (writer->descriptor < 0)
        return file_refuse(error, writer->path, "create the file beside it that becomes the pack", errno);
    return STATUS_OK;
}

/* Both names, the state of the hash and the piece in one block. */
static status take_strings(struct pack_writer *writer, const char *path, struct error *error)
{
    const char *shown = path ? path : "packed weights in memory";
    size_t      length = strlen(shown), suffix = sizeof ".0123456789abcdef.tmp";
    void       *block;
    status      code = pool_alloc(writer->pool, MEMORY_LOAD, sizeof(XXH3_state_t) + PIECE_BYTES + 2 * length + 1 + suffix,
                                  "the writer of a pack", &block, error);
    if (code != STATUS_OK)
        return code;
    writer->hash  = block;
    writer->piece = (char *)block + sizeof(XXH3_state_t);
    writer->path  = memcpy(writer->piece + PIECE_BYTES, shown, length + 1);
    if (path) {
        uint64_t unique = (uint64_t)getpid() << 32 ^ (uint64_t)(uintptr_t)block;
        if (getrandom(&unique, sizeof unique, GRND_NONBLOCK) < 0)
            unique = ~unique;  /* no random bytes yet: process and address differ between those running now */
        writer->temporary = writer->path + length + 1;
        snprintf(writer->temporary, length + suffix, "%s.%016" PRIx64 ".tmp", path, unique);
    }
    return STATUS_OK;
}

static status start(struct pack_writer *writer, const char *path, const struct pack_identity *identity,
                    struct error *error)
{
    status code = take_strings(writer, path, error);
    if (code == STATUS_OK)
        code = open_target(writer, error);
    if (code == STATUS_OK)
        code = book(writer, sizeof writer->header + identity->length, error);
    if (code == STATUS_OK)
        code = file_write_at(writer->descriptor, writer->path, sizeof writer->header, identity->bytes, identity->length,
                             error);
    if (code != STATUS_OK)
        return code;
    XXH3_128bits_reset(writer->hash);
    memcpy(writer->header.magic, PACK_MAGIC, sizeof writer->header.magic);
    writer->header.version = PACK_VERSION;
    writer->header.identity_bytes = identity->length;
    writer->at = sizeof writer->header + identity->length;
    return STATUS_OK;
}

status pack_writer_open(struct pool *pool, const char *path, const struct pack_identity *identity,
                        struct pack_writer **writer, struct error *error)
{
    *writer = NULL;
    if (identity->length > PACK_IDENTITY_MAX)
        return error_set(error, STATUS_USAGE, "pack: an identity of %zu bytes, expected at most %d", identity->length,
                         PACK_IDENTITY_MAX);
    void  *block;
    status code = pool_alloc(pool, MEMORY_LOAD, sizeof **writer, "the writer of a pack", &block, error);
    if (code != STATUS_OK)
        return code;
    struct pack_writer *made = memset(block, 0, sizeof **writer);
    made->pool = pool;
    made->descriptor = -1;
    code = start(made, path, identity, error);
    if (code != STATUS_OK) {
        pack_writer_abandon(made);
        return code;
    }
    *writer = made;
    return STATUS_OK;
}

/* Doubles what is full. */
static status make_room(struct pack_writer *writer, void **block, size_t *room, size_t needed, struct error *error)
{
    if (needed <= *room)
        return STATUS_OK;
    size_t grown = needed < 2048 ? 4096 : 2 * needed;
    status code = pool_resize(writer->pool, MEMORY_LOAD, grown, "the table of a new pack", block, error);
    if (code != STATUS_OK)
        return fail(writer, code);
    *room = grown;
    return STATUS_OK;
}

status pack_writer_begin(struct pack_writer *writer, const char *name, struct error *error)
{
    size_t   length = strlen(name) + 1;
    uint64_t count = writer->header.blobs, names = writer->header.name_bytes;
    void    *records = writer->records, *text = writer->names;
    status   code = make_room(writer, &records, &writer->record_room, (count + 1) * sizeof *writer->records, error);
    writer->records = records;
    if (code == STATUS_OK)
        code = make_room(writer, &text, &writer->name_room, names + length, error);
    writer->names = text;
    if (code == STATUS_OK)
        code = align(writer, error);
    if (code != STATUS_OK)
        return code;
    writer->records[count] = (struct pack_record){.offset = writer->at, .name_at = names};
    memcpy(writer->names + names, name, length);
    writer->header.blobs++;
    writer->header.name_bytes += length;
    return STATUS_OK;
}

status pack_writer_append(struct pack_writer *writer, const void *data, uint64_t bytes, struct error *error)
{
    if (writer->header.blobs == 0)
        return fail(writer, error_set(error, STATUS_USAGE, "pack: %s: bytes before the first blob began", writer->path));
    status code = put(writer, data, bytes, error);
    if (code == STATUS_OK)
        writer->records[writer->header.blobs - 1].bytes += bytes;
    return code;
}

status pack_writer_add(struct pack_writer *writer, const char *name, const void *data, uint64_t bytes,
                       struct error *error)
{
    status code = pack_writer_begin(writer, name, error);
    return code == STATUS_OK ? pack_writer_append(writer, data, bytes, error) : code;
}

static status write_header(struct pack_writer *writer, struct error *error)
{
    unsigned char identity[PACK_IDENTITY_MAX];
    struct pack_header *header = &writer->header;
    header->file_bytes = writer->at;
    XXH128_canonicalFromHash(&header->content_hash, XXH3_128bits_digest(writer->hash));
    status code = file_read_at(writer->descriptor, writer->path, sizeof *header, identity, (size_t)header->identity_bytes,
                               error);
    if (code != STATUS_OK)
        return code;
    header->header_hash = pack_header_hash(header, identity);
    return file_write_at(writer->descriptor, writer->path, 0, header, sizeof *header, error);
}

static status complete(struct pack_writer *writer, struct error *error)
{
    status code = align(writer, error);
    if (code != STATUS_OK)
        return code;
    writer->header.table_offset = writer->at;
    code = put(writer, writer->records, writer->header.blobs * sizeof *writer->records, error);
    if (code == STATUS_OK)
        code = put(writer, writer->names, writer->header.name_bytes, error);
    if (code == STATUS_OK)
        code = write_held(writer, error);
    if (code == STATUS_OK)
        code = write_header(writer, error);
    /* After a failed fsync the system may have forgotten the bytes: the file is thrown away, never synced again. */
    if (code == STATUS_OK && writer->temporary && fsync(writer->descriptor) != 0)
        code = file_refuse(error, writer->path, "make the file durable", errno);
    return code;
}

/* The folder's own durability is a wish: should the name be lost with the power, the pack is made again. */
static void sync_folder(const struct pack_writer *writer)
{
    char *slash = strrchr(writer->temporary, '/');
    if (slash)
        slash[1] = '\0';
    int folder = open(slash ? writer->temporary : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (folder >= 0)
        fsync(folder);
    file_close(folder);
}

static status give_name(struct pack_writer *writer, struct error *error)
{
    char link[40];
    snprintf(link, sizeof link, "/proc/self/fd/%d", writer->descriptor);
    if (!writer->linked && linkat(AT_FDCWD, link, AT_FDCWD, writer->temporary, AT_SYMLINK_FOLLOW) != 0)
        return file_refuse(error, writer->temporary, "give the new pack a name", errno);
    writer->linked = true;
    if (rename(writer->temporary, writer->path) != 0)
        return file_refuse(error, writer->path, "put the new pack in its place", errno);
    writer->linked = false;
    sync_folder(writer);
    return STATUS_OK;
}

status pack_writer_finish(struct pack_writer *writer, struct pack **pack, struct error *error)
{
    *pack = NULL;
    struct pack *made = NULL;
    status       code;
    if (writer->failed)
        code = error_set(error, STATUS_USAGE, "pack: %s: an incomplete pack cannot be finished", writer->path);
    else
        code = complete(writer, error);
    if (code == STATUS_OK)
        code = pack_map(writer->pool, writer->descriptor, writer->path, &writer->header, writer->booked, &made, error);
    if (code == STATUS_OK)
        writer->booked = 0;  /* now the pack's */
    if (code == STATUS_OK && writer->temporary)
        code = give_name(writer, error);
    pack_writer_abandon(writer);
    if (code != STATUS_OK) {
        pack_close(made);
        return code;
    }
    *pack = made;
    return STATUS_OK;
}

void pack_writer_abandon(struct pack_writer *writer)
{
    if (!writer)
        return;
    struct pool *pool = writer->pool;
    file_close(writer->descriptor);
    if (writer->linked)
        unlink(writer->temporary);
    pool_discharge(pool, MEMORY_WEIGHTS, writer->booked);
    pool_free(pool, writer->records);
    pool_free(pool, writer->names);
    pool_free(pool, writer->hash);
    pool_free(pool, writer);
}
