/* command_output.h: where results go: standard output, or a file that appears whole or not at all.
 *
 * A file is written under a temporary name beside its own and renamed by output_commit; whatever ends otherwise leaves
 * nothing behind, and what was there before stays. Devices and pipes are written to as they are. The first failure is kept:
 * later writes do nothing, and output_commit or output_flush reports it.
 */
#ifndef RECTO_HOST_COMMAND_OUTPUT_H
#define RECTO_HOST_COMMAND_OUTPUT_H

#include "runtime/status.h"

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum { OUTPUT_ROOM = 64 << 10 };

struct output {
    int    descriptor;
    bool   is_seekable;           /* what was written can be overwritten by output_patch */
    size_t used;
    int    failure;               /* errno of the first write that failed */
    off_t  start;
    char   path[PATH_MAX];        /* links resolved; "": standard output */
    char   temporary[PATH_MAX];   /* "": the file is written in place */
    char   bytes[OUTPUT_ROOM];
};

/* `path` null or "-": standard output. STATUS_IO when the file cannot be made. */
MUST_CHECK status output_open(struct output *output, const char *path, struct error *error);
/* A file without a name that disappears with the process, in TMPDIR, else /tmp. */
MUST_CHECK status output_open_spool(struct output *output, struct error *error);
/* Appends all that was written to a spool. */
MUST_CHECK status output_append_spool(struct output *output, struct output *spool, struct error *error);
/* Room for `length` bytes at the end, at most OUTPUT_ROOM: write there, then output_advance to behind the last one. */
char *output_room(struct output *output, size_t length);
void  output_advance(struct output *output, const char *end);
void  output_write(struct output *output, const void *bytes, size_t length);
void  output_text(struct output *output, const char *text);
/* As a JSON string, quotes included; bytes that are not UTF-8 become U+FFFD. */
void  output_json_string(struct output *output, const char *text, size_t length);
void  output_format(struct output *output, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Overwrites bytes written before, at a distance from the first one. Only where `is_seekable`. */
void  output_patch(struct output *output, off_t at, const void *bytes, size_t length);
MUST_CHECK status output_flush(struct output *output, struct error *error);
/* Everything is on its way to the disk and the file has its name; or nothing is left of it. */
MUST_CHECK status output_commit(struct output *output, struct error *error);
/* Gives up; a file that was not committed disappears. Does nothing after output_commit. */
void output_abandon(struct output *output);

#endif
