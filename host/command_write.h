/* command_write.h: vectors as JSON Lines, as a NumPy array, or as bare numbers.
 *
 *   jsonl  {"index":0,"tokens":7,"embedding":[0.1,...]} a line; the decimals read back to the same bits
 *   npy    little-endian float32 [texts, dimensions]; the number of texts is only known at the end, so the header is
 *          filled in then: in place where the output can be overwritten, else everything waits in a temporary file
 *   raw    little-endian float32 rows, nothing else
 */
#ifndef RECTO_HOST_COMMAND_WRITE_H
#define RECTO_HOST_COMMAND_WRITE_H

#include "host/command_output.h"
#include "host/recto.h"

enum write_format { WRITE_JSONL, WRITE_NPY, WRITE_RAW };
extern const char *const write_formats[];  /* their names, ended by null */

struct writer {
    enum write_format format;
    uint32_t          dimensions;
    uint64_t          rows;       /* written so far */
    struct output     output;
    struct output     spool;      /* npy to a pipe */
    bool              has_spool;
};

/* `path` null: standard output. `format` and `dimensions` are set by the caller. */
MUST_CHECK status writer_open(struct writer *writer, const char *path, struct error *error);
MUST_CHECK status writer_rows(struct writer *writer, const float *vectors, const recto_text_result *results, size_t count,
                              struct error *error);
MUST_CHECK status writer_commit(struct writer *writer, struct error *error);
void writer_abandon(struct writer *writer);

#endif
