#include "loaders/file.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* Linux moves at most 2 GiB less a page in one call; ask for less. */
enum { TRANSFER_MAX = 1 << 30 };

status file_refuse(struct error *error, const char *path, const char *doing, int number)
{
    char buffer[128];
    return error_set(error, STATUS_IO, "%s: cannot %s: %s", path, doing, strerror_r(number, buffer, sizeof buffer));
}

static int open_retrying(const char *path)
{
    int descriptor;
    do  /* O_NONBLOCK: opening a pipe must not wait for a writer; it means nothing for regular files */
        descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    while (descriptor < 0 && errno == EINTR);
    return descriptor;
}

status file_open(const char *path, int *descriptor, uint64_t *bytes, struct error *error)
{
    *descriptor = -1;
    int opened = open_retrying(path);
    if (opened < 0 && (errno == ENOENT || errno == ENOTDIR))
        return error_set(error, STATUS_MODEL, "%s: there is no such file", path);
    if (opened < 0)
        return file_refuse(error, path, "open the file", errno);
    struct stat facts;
    if (fstat(opened, &facts) != 0) {
        status code = file_refuse(error, path, "ask for the file's size", errno);
        file_close(opened);
        return code;
    }
    if (!S_ISREG(facts.st_mode)) {
        file_close(opened);
        return error_set(error, STATUS_IO, "%s: expected a regular file, found %s", path,
                         S_ISDIR(facts.st_mode) ? "a folder" : "something else");
    }
    *descriptor = opened;
    *bytes = (uint64_t)facts.st_size;
    return STATUS_OK;
}

void file_close(int descriptor)
{
    if (descriptor >= 0)
        close(descriptor);  /* not repeated after EINTR: Linux has closed it, and the number may be somebody else's */
}

status file_read_at(int descriptor, const char *path, uint64_t offset, void *to, size_t bytes, struct error *error)
{
    for (size_t done = 0; done < bytes;) {
        size_t  want = bytes - done < TRANSFER_MAX ? bytes - done : TRANSFER_MAX;
        ssize_t got = pread(descriptor, (char *)to + done, want, (off_t)(offset + done));
        if (got == 0)
            return error_set(error, STATUS_MODEL, "%s: the file ends at byte %llu, expected %zu bytes from byte %llu on",
                             path, (unsigned long long)(offset + done), bytes, (unsigned long long)offset);
        if (got > 0)
            done += (size_t)got;
        else if (errno != EINTR)
            return file_refuse(error, path, "read", errno);
    }
    return STATUS_OK;
}

status file_write_at(int descriptor, const char *path, uint64_t offset, const void *from, size_t bytes,
                     struct error *error)
{
    for (size_t done = 0; done < bytes;) {
        size_t  want = bytes - done < TRANSFER_MAX ? bytes - done : TRANSFER_MAX;
        ssize_t put = pwrite(descriptor, (const char *)from + done, want, (off_t)(offset + done));
        if (put > 0)
            done += (size_t)put;
        else if (put == 0 || errno != EINTR)
            return file_refuse(error, path, "write", put == 0 ? ENOSPC : errno);
    }
    return STATUS_OK;
}

static status read_into_block(struct pool *pool, enum memory_category category, int descriptor, const char *path,
                              size_t bytes, void **block, struct error *error)
{
    status code = pool_alloc(pool, category, bytes + 1, path, block, error);
    if (code != STATUS_OK)
        return code;
    code = file_read_at(descriptor, path, 0, *block, bytes, error);
    if (code != STATUS_OK)
        pool_free(pool, *block);
    return code;
}

status file_read(struct pool *pool, enum memory_category category, const char *path, uint64_t limit, char **text,
                 size_t *length, struct error *error)
{
    int      descriptor;
    uint64_t bytes;
    status   code = file_open(path, &descriptor, &bytes, error);
    if (code != STATUS_OK)
        return code;
    void *block = NULL;
    if (bytes > limit)
        code = error_set(error, STATUS_MODEL, "%s: the file has %llu bytes, more than the %llu that make sense for it", path,
                         (unsigned long long)bytes, (unsigned long long)limit);
    else
        code = read_into_block(pool, category, descriptor, path, (size_t)bytes, &block, error);
    file_close(descriptor);
    if (code != STATUS_OK)
        return code;
    *text = block;
    *length = (size_t)bytes;
    (*text)[bytes] = '\0';
    return STATUS_OK;
}

status file_map(int descriptor, const char *path, uint64_t bytes, const void **pages, struct error *error)
{
    *pages = NULL;
    if (bytes == 0)
        return STATUS_OK;
    void *mapped = mmap(NULL, (size_t)bytes, PROT_READ, MAP_SHARED, descriptor, 0);
    if (mapped == MAP_FAILED)
        return file_refuse(error, path, "map the file", errno);
    *pages = mapped;
    return STATUS_OK;
}

void file_unmap(const void *pages, uint64_t bytes)
{
    if (pages)
        munmap((void *)(uintptr_t)pages, (size_t)bytes);
}
