#include "host/command_write.h"

#include "host/command_number.h"

#include <stdio.h>
#include <string.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "rows are written as they lie in memory");

enum { NPY_HEADER = 128, NUMBERS_AT_ONCE = 512 };

const char *const write_formats[] = { "jsonl", "npy", "raw", NULL };

/* Version 1.0: magic, length of the rest, a Python literal padded with spaces to a multiple of 64 bytes. */
static void npy_header(char header[NPY_HEADER], uint64_t rows, uint32_t dimensions)
{
    static const char magic[] = "\x93NUMPY\x01";
    const size_t      front   = 10;
    memset(header, ' ', NPY_HEADER);
    memcpy(header, magic, sizeof magic);  /* its NUL is the minor version */
    header[8] = (char)(NPY_HEADER - front);
    header[9] = 0;
    const int length = snprintf(header + front, NPY_HEADER - front,
                                "{'descr': '<f4', 'fortran_order': False, 'shape': (%llu, %u), }", (unsigned long long)rows,
                                dimensions);
    header[front + (size_t)length] = ' ';
    header[NPY_HEADER - 1]         = '\n';
}

status writer_open(struct writer *writer, const char *path, struct error *error)
{
    static const char nothing[NPY_HEADER];  /* until the end it is no NumPy file, so that half of one is never read */
    writer->rows      = 0;
    writer->has_spool = false;
    status result     = output_open(&writer->output, path, error);
    if (result != STATUS_OK || writer->format != WRITE_NPY)
        return result;
    if (writer->output.is_seekable) {
        output_write(&writer->output, nothing, sizeof nothing);
        return STATUS_OK;
    }
    writer->has_spool = true;
    return output_open_spool(&writer->spool, error);
}

static void write_numbers(struct output *output, const float *vector, uint32_t dimensions)
{
    for (uint32_t from = 0; from < dimensions; from += NUMBERS_AT_ONCE) {
        const uint32_t to = dimensions - from < NUMBERS_AT_ONCE ? dimensions : from + NUMBERS_AT_ONCE;
        char          *at = output_room(output, NUMBERS_AT_ONCE * (NUMBER_MAX_LENGTH + 1));
        for (uint32_t i = from; i < to; i++) {
            if (i)
                *at++ = ',';
            at = number_write_float(at, vector[i]);
        }
        output_advance(output, at);
    }
}

static void write_line(struct writer *writer, const float *vector, const recto_text_result *result)
{
    struct output *output = &writer->output;
    output_format(output, "{\"index\":%llu,\"tokens\":%u,%s\"embedding\":[", (unsigned long long)writer->rows, result->tokens,
                  result->truncated ? "\"truncated\":true," : "");
    write_numbers(output, vector, writer->dimensions);
    output_text(output, "]}\n");
}

status writer_rows(struct writer *writer, const float *vectors, const recto_text_result *results, size_t count,
                   struct error *error)
{
    struct output *output = writer->has_spool ? &writer->spool : &writer->output;
    for (size_t i = 0; i < count; i++, writer->rows++) {
        const float *vector = vectors + i * writer->dimensions;
        if (writer->format == WRITE_JSONL)
            write_line(writer, vector, &results[i]);
        else
            output_write(output, vector, writer->dimensions * sizeof *vector);
    }
    return output_flush(output, error);  /* a reader at the other end of a pipe gets whole blocks at once */
}

status writer_commit(struct writer *writer, struct error *error)
{
    char   header[NPY_HEADER];
    status result = STATUS_OK;
    npy_header(header, writer->rows, writer->dimensions);
    if (writer->has_spool) {
        output_write(&writer->output, header, sizeof header);
        result = output_append_spool(&writer->output, &writer->spool, error);
        output_abandon(&writer->spool);
        writer->has_spool = false;
    } else if (writer->format == WRITE_NPY) {
        output_patch(&writer->output, 0, header, sizeof header);
    }
    if (result == STATUS_OK)
        return output_commit(&writer->output, error);
    output_abandon(&writer->output);
    return result;
}

void writer_abandon(struct writer *writer)
{
    if (writer->has_spool)
        output_abandon(&writer->spool);
    writer->has_spool = false;
    output_abandon(&writer->output);
}
