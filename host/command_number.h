/* command_number.h: numbers as decimal text, fast, because a vector is hundreds of them and a corpus millions.
 *
 * Each function writes at `to`, without a NUL, and returns the place behind the last character.
 */
#ifndef RECTO_HOST_COMMAND_NUMBER_H
#define RECTO_HOST_COMMAND_NUMBER_H

#include <stdint.h>

enum { NUMBER_MAX_LENGTH = 20 };  /* of any number written here */

char *number_write(char *to, uint64_t value);

/* The shortest decimal that reads back to the same bits, as JSON writes numbers ("0.0625", "-1.5e-7"); of several of that
 * length, the nearest. Infinity and NaN, which JSON does not have, become null. */
char *number_write_float(char *to, float value);

#endif
