/* command_text.h: the texts of files and standard input, read in blocks of bounded size.
 *
 * One text a line: LF or CRLF ends it, an empty line is an empty text, the last line need not be ended. With `field`, each
 * line is a JSON object and the text is that string of it. A line of more than TEXT_LINE_MAX bytes, a NUL byte, a file
 * that cannot be read: an error that begins with "FILE:LINE: ". What a text means is not looked at here, nor whether it is
 * UTF-8.
 */
#ifndef RECTO_HOST_COMMAND_TEXT_H
#define RECTO_HOST_COMMAND_TEXT_H

#include "host/recto.h"
#include "runtime/pool.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { TEXT_LINE_MAX = 8 << 20, TEXT_CHUNK = 64 << 10 };

struct text_reader {
    struct pool       *pool;
    const char *const *files;   /* [file_count]; "-" is standard input, as is no file at all */
    int                file_count;
    const char        *field;   /* of JSON Lines; null: plain lines */
    bool (*stop)(void);         /* asked when a signal ends a wait for input; null: never */

    int      file;              /* private from here on: the one being read */
    int      descriptor;        /* -1: not open yet */
    bool     at_end;
    uint64_t line;              /* lines of the file that are finished */
    uint64_t bytes_read;        /* of all files; this one may be looked at */
    char    *chunk;
    size_t   chunk_at, chunk_end;
};

struct text_block {
    recto_text *texts;
    size_t      count;          /* 0 after text_reader_next: there are no more */
    size_t      texts_max;
    size_t      bytes_wanted;   /* a block ends after the line that reaches so many */

    struct text_place {         /* private from here on */
        uint64_t line;
        size_t   start;
        int      file;
    }     *places;
    char  *bytes;
    size_t used, room;
};

/* Fails at once when one of the files is not there. */
MUST_CHECK status text_reader_open(struct text_reader *reader, struct error *error);
void text_reader_close(struct text_reader *reader);

MUST_CHECK status text_block_open(struct text_block *block, struct pool *pool, size_t texts_max, size_t bytes_wanted,
                                  struct error *error);
void text_block_close(struct text_block *block, struct pool *pool);

/* Fills the block. It ends early rather than wait for input that is not there yet, once it has a text. */
MUST_CHECK status text_reader_next(struct text_reader *reader, struct text_block *block, struct error *error);

/* Whether more input, or its end, is there without waiting. */
bool text_reader_ready(const struct text_reader *reader);

/* Bytes of all files together, 0 where that cannot be known. */
uint64_t text_reader_size(const struct text_reader *reader);

/* Where a text of a block comes from. */
const char *text_place_file(const struct text_reader *reader, const struct text_block *block, size_t text);
uint64_t    text_place_line(const struct text_block *block, size_t text);

#endif
