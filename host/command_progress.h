/* command_progress.h: one line on standard error that tells a waiting person how far it is.
 *
 * Only on a terminal, and neither under CI nor with TERM=dumb; anywhere else these functions do nothing. Whatever else is
 * written to standard error while a line stands there must be preceded by progress_clear.
 */
#ifndef RECTO_HOST_COMMAND_PROGRESS_H
#define RECTO_HOST_COMMAND_PROGRESS_H

#include <stdint.h>

void progress_begin(int quiet);
/* `share` from 0 to 1, negative where the whole is not known. Redraws at most ten times a second. */
void progress_show(double share, const char *format, ...) __attribute__((format(printf, 2, 3)));
void progress_clear(void);

#endif
