/* status.h: errors are values.
 *
 * Every function that can fail returns a status and, through the struct error it was given, one sentence written by the
 * layer that knows: what was being done, where, what was expected and what was found. The library never aborts, exits or
 * prints. A null error pointer is allowed everywhere: the caller then gets the code alone.
 */
#ifndef RECTO_RUNTIME_STATUS_H
#define RECTO_RUNTIME_STATUS_H

typedef enum status {
    STATUS_OK        = 0,
    STATUS_USAGE     = -1,  /* an argument or option that makes no sense */
    STATUS_INPUT     = -2,  /* a text or input file that cannot be processed */
    STATUS_MODEL     = -3,  /* a model folder or weight file that is missing, broken or not understood */
    STATUS_IO        = -4,  /* the system refused to read or write */
    STATUS_BUDGET    = -5,  /* the byte budget cannot hold the work; the sentence names both numbers */
    STATUS_MEMORY    = -6,  /* the system gave no memory although the budget allowed it */
    STATUS_CANCELLED = -7,
    STATUS_DEADLINE  = -8,
    STATUS_DEVICE    = -9,  /* the device asked for is absent or broken */
    STATUS_INTERNAL  = -10  /* a bug in recto */
} status;

struct error {
    status code;
    char   message[512];
};

#define MUST_CHECK __attribute__((warn_unused_result))

/* Writes the sentence and returns `code`, so that a failing function can end in `return error_set(...)`. */
status error_set(struct error *error, status code, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* Puts "prefix: " in front of the sentence that is there already; returns the code that is there. */
status error_prefix(struct error *error, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* "budget", "model", ...: one word for a code. */
const char *status_name(status code);

#endif
