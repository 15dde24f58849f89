/* command_arguments.h: the one parser of command lines.
 *
 * A table says which options there are and where their values go. `--name VALUE` and `--name=VALUE` are the same; `--` ends
 * the options; words that are no options stay, in their order. `--help` and `-h` are understood by every command.
 */
#ifndef RECTO_HOST_COMMAND_ARGUMENTS_H
#define RECTO_HOST_COMMAND_ARGUMENTS_H

#include "host/command.h"

enum argument_kind {
    ARGUMENT_FLAG,    /* bool: takes no value */
    ARGUMENT_TEXT,    /* const char * */
    ARGUMENT_COUNT,   /* uint32_t, 1 to `most` */
    ARGUMENT_SIZE,    /* uint64_t: bytes, "512M" */
    ARGUMENT_CHOICE   /* int: index into `choices` */
};

struct argument {
    const char         *name;     /* without the dashes; null ends a table */
    enum argument_kind  kind;
    void               *value;    /* stays as it is where the option is not given */
    uint32_t            most;     /* ARGUMENT_COUNT */
    const char *const  *choices;  /* ARGUMENT_CHOICE, ended by null */
    char                letter;   /* "-q"; 0: none; flags alone */
};

struct words {
    int    count;
    char **list;
};

enum { ARGUMENTS_GO_ON = -1 };

/* Stores the options' values and leaves the other words, at least `least` and at most `most` of them. Returns
 * ARGUMENTS_GO_ON, or the exit code when help was printed or something was wrong (and said). */
int arguments_parse(const struct command *command, const struct argument *table, struct words *words, int least, int most);

/* The entry nearest to a mistyped word, or null when none is near. */
const char *arguments_nearest(const char *word, const char *const *names);

#endif
