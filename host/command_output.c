#include "host/command_output.h"

#include "loaders/utf8.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static status refuse(struct error *error, const char *path, const char *doing, int number)
{
    return error_set(error, STATUS_IO, "%s: cannot %s: %s", *path ? path : "standard output", doing, strerror(number));
}

/* A new file beside the one that is wanted, with the rights of the one that it replaces. */
static status open_temporary(struct output *output, mode_t mode, struct error *error)
{
    const int length = snprintf(output->temporary, sizeof output->temporary, "%s.%ld.partial", output->path, (long)getpid());
    if (length < 0 || (size_t)length >= sizeof output->temporary)
        return refuse(error, output->path, "write it", ENAMETOOLONG);
    output->descriptor = open(output->temporary, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (output->descriptor < 0) {
        output->temporary[0] = 0;
        return refuse(error, output->path, "write it", errno);
    }
    if (mode && fchmod(output->descriptor, mode) != 0)  /* some file systems have no rights: the file is as good */
        errno = 0;
    output->is_seekable = true;
    return STATUS_OK;
}

static void look_at_standard_output(struct output *output)
{
    struct stat info;
    output->descriptor = STDOUT_FILENO;
    if (fstat(STDOUT_FILENO, &info) == 0 && S_ISREG(info.st_mode) && !(fcntl(STDOUT_FILENO, F_GETFL) & O_APPEND)) {
        output->start       = lseek(STDOUT_FILENO, 0, SEEK_CUR);
        output->is_seekable = output->start >= 0;
    }
}

/* Not the whole struct: the buffer is left alone. */
static void reset(struct output *output)
{
    output->descriptor  = -1;
    output->used        = 0;
    output->failure     = 0;
    output->start       = 0;
    output->is_seekable = false;
    output->path[0] = output->temporary[0] = 0;
}

status output_open_spool(struct output *output, struct error *error)
{
    const char *folder = getenv("TMPDIR");
    reset(output);
    snprintf(output->path, sizeof output->path, "%s/recto-XXXXXX", folder && *folder ? folder : "/tmp");
    output->descriptor = mkostemp(output->path, O_CLOEXEC);
    if (output->descriptor < 0)
        return refuse(error, output->path, "make a temporary file", errno);
    unlink(output->path);
    return STATUS_OK;
}

status output_append_spool(struct output *output, struct output *spool, struct error *error)
{
    status result = output_flush(spool, error);
    off_t  at     = 0;
    while (result == STATUS_OK) {
        char *const   room = output_room(output, OUTPUT_ROOM / 2);
        const ssize_t got  = pread(spool->descriptor, room, OUTPUT_ROOM / 2, at);
        if (got == 0 || output->failure)
            break;
        if (got > 0) {
            output_advance(output, room + got);
            at += got;
        } else if (errno != EINTR) {
            result = refuse(error, spool->path, "read it", errno);
        }
    }
    return result;
}

status output_open(struct output *output, const char *path, struct error *error)
{
    struct stat info;
    reset(output);
    if (!path || strcmp(path, "-") == 0) {
        look_at_standard_output(output);
        return STATUS_OK;
    }
    if (!*path)
        return error_set(error, STATUS_USAGE, "the output file has no name");
    const bool exists = stat(path, &info) == 0;
    if (strlen(path) >= sizeof output->path)
        return error_set(error, STATUS_IO, "the output file's name is longer than %d bytes", PATH_MAX - 1);
    if (!exists || !realpath(path, output->path))
        snprintf(output->path, sizeof output->path, "%s", path);
    if (!exists || S_ISREG(info.st_mode))
        return open_temporary(output, exists ? info.st_mode & 07777 : 0, error);
    output->descriptor = open(path, O_WRONLY | O_CLOEXEC);
    return output->descriptor < 0 ? refuse(error, path, "write it", errno) : STATUS_OK;
}

static void write_all(struct output *output, const char *bytes, size_t length)
{
    while (length && !output->failure) {
        const ssize_t written = write(output->descriptor, bytes, length);
        if (written < 0 && errno != EINTR)
            output->failure = errno;
        if (written > 0) {
            bytes += written;
            length -= (size_t)written;
        }
    }
}

static void drain(struct output *output)
{
    write_all(output, output->bytes, output->used);
    output->used = 0;
}

char *output_room(struct output *output, size_t length)
{
    if (length > sizeof output->bytes - output->used)
        drain(output);
    return output->bytes + output->used;
}

void output_advance(struct output *output, const char *end) { output->used = (size_t)(end - output->bytes); }

void output_write(struct output *output, const void *bytes, size_t length)
{
    if (length > sizeof output->bytes - output->used)
        drain(output);
    if (length > sizeof output->bytes) {
        write_all(output, bytes, length);
        return;
    }
    memcpy(output->bytes + output->used, bytes, length);
    output->used += length;
}

void output_text(struct output *output, const char *text) { output_write(output, text, strlen(text)); }

void output_json_string(struct output *output, const char *text, size_t length)
{
    const uint8_t *at = (const uint8_t *)text, *end = at + length;
    output_write(output, "\"", 1);
    while (at < end) {
        uint32_t       code;
        const unsigned step = utf8_decode(at, end, &code);
        if (step == 0)
            output_text(output, "\\ufffd");
        else if (code == '"' || code == '\\')
            output_format(output, "\\%c", (char)code);
        else if (code < 0x20 || code == 0x7f)
            output_format(output, "\\u%04x", (unsigned)code);
        else
            output_write(output, at, step);
        at += step ? step : 1;
    }
    output_write(output, "\"", 1);
}

void output_format(struct output *output, const char *format, ...)
{
    char    text[1024];
    va_list arguments;
    va_start(arguments, format);
    const int length = vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    if (length > 0)
        output_write(output, text, (size_t)length < sizeof text ? (size_t)length : sizeof text - 1);
}

void output_patch(struct output *output, off_t at, const void *bytes, size_t length)
{
    drain(output);
    while (length && !output->failure) {
        const ssize_t written = pwrite(output->descriptor, bytes, length, output->start + at);
        if (written < 0 && errno != EINTR)
            output->failure = errno;
        if (written > 0) {
            bytes = (const char *)bytes + written;
            at += written;
            length -= (size_t)written;
        }
    }
}

status output_flush(struct output *output, struct error *error)
{
    drain(output);
    return output->failure ? refuse(error, output->path, "write it", output->failure) : STATUS_OK;
}

status output_commit(struct output *output, struct error *error)
{
    status result = output_flush(output, error);
    if (result == STATUS_OK && output->temporary[0]) {
        if (close(output->descriptor) != 0)  /* some file systems notice a full disk only here */
            result = refuse(error, output->path, "write it", errno);
        output->descriptor = -1;
        if (result == STATUS_OK && rename(output->temporary, output->path) != 0)
            result = refuse(error, output->path, "put it in place", errno);
        if (result == STATUS_OK)
            output->temporary[0] = 0;
    }
    output_abandon(output);
    return result;
}

void output_abandon(struct output *output)
{
    if (output->descriptor > STDOUT_FILENO)
        close(output->descriptor);
    if (output->temporary[0])
        unlink(output->temporary);
    output->descriptor   = -1;
    output->temporary[0] = 0;
}
