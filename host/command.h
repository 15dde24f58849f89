/* command.h: what the subcommands of `recto` share.
 *
 * Results go to standard output and everything else to standard error. A failure is one sentence, "recto: PLACE: what is
 * wrong", and an exit code that scripts can rely on. The first SIGINT (SIGTERM, SIGHUP) raises command_cancel, so that the
 * work stops at the next safe point and what is complete is still written; the second one ends the process.
 */
#ifndef RECTO_HOST_COMMAND_H
#define RECTO_HOST_COMMAND_H

#include "host/recto.h"
#include "runtime/status.h"

#include <stdbool.h>

enum command_exit {
    COMMAND_DONE        = 0,
    COMMAND_USAGE       = 2,    /* wrong usage */
    COMMAND_INPUT       = 3,    /* a text, a model or a file that cannot be used */
    COMMAND_BUDGET      = 4,    /* memory that cannot hold the work */
    COMMAND_ENGINE      = 5,    /* the device, or a bug in recto */
    COMMAND_INTERRUPTED = 130   /* by SIGINT; other signals: 128 + their number */
};

struct command {
    const char *name;
    const char *summary;  /* its line in the list of commands */
    const char *help;
    int (*run)(int count, char **words);  /* the words behind the name; returns an exit code */
};
extern const struct command command_doctor, command_embed, command_model, command_plan, command_search, command_tokenize;

/* Prints "recto: " and the sentence; returns the code. */
int command_refuse(int code, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* The same with the exit code that belongs to a status; a cancelled run says where it was interrupted. */
int command_report(status code, const char *sentence);

/* The first handle is made on the first call; null when the system gives no memory. */
recto_cancel *command_cancel(void);
/* 0, or the exit code for the signal that arrived. */
int  command_interrupted(void);
bool command_is_interrupted(void);

#endif
