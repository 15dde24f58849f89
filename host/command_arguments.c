#include "host/command_arguments.h"

#include "runtime/options.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NAME_MAX_LENGTH = 31, OPTIONS_MAX = 32 };

/* Edit distance, insertions, deletions and exchanges counting one each. */
static int distance_of(const char *a, const char *b)
{
    size_t width = strlen(b), line[NAME_MAX_LENGTH + 1];
    if (strlen(a) > NAME_MAX_LENGTH || width > NAME_MAX_LENGTH)
        return NAME_MAX_LENGTH;
    for (size_t j = 0; j <= width; j++)
        line[j] = j;
    for (size_t i = 0; a[i]; i++) {
        size_t diagonal = line[0];
        line[0]         = i + 1;
        for (size_t j = 0; j < width; j++) {
            size_t exchanged = diagonal + (a[i] != b[j]);
            size_t other     = (line[j] < line[j + 1] ? line[j] : line[j + 1]) + 1;
            diagonal         = line[j + 1];
            line[j + 1]      = exchanged < other ? exchanged : other;
        }
    }
    return (int)line[width];
}

const char *arguments_nearest(const char *word, const char *const *names)
{
    const char *best          = NULL;
    int         best_distance = 3;  /* farther apart, it is no typing mistake */
    for (; *names; names++) {
        int distance = distance_of(word, *names);
        if (strlen(word) >= 3 && strncmp(word, *names, strlen(word)) == 0)
            distance = 1;  /* the beginning of a name is as good as one slip */
        if (distance < best_distance && (size_t)distance < strlen(*names)) {
            best          = *names;
            best_distance = distance;
        }
    }
    return best;
}

static int refuse_option(const struct command *command, const struct argument *table, const char *word)
{
    const char *names[OPTIONS_MAX + 2], *near;
    char        name[NAME_MAX_LENGTH + 2];
    const int   dashes = word[1] == '-' ? 2 : 1, length = (int)strcspn(word, "=");  /* the value is not the mistake */
    int         count  = 0;
    for (; table->name && count < OPTIONS_MAX; table++)
        names[count++] = table->name;
    names[count++] = "help";
    names[count]   = NULL;
    snprintf(name, sizeof name, "%.*s", length - dashes, word + dashes);
    near = arguments_nearest(name, names);
    if (near)
        return command_refuse(COMMAND_USAGE, "%s has no option '%.*s'; did you mean --%s?", command->name, length, word, near);
    return command_refuse(COMMAND_USAGE, "%s has no option '%.*s'; see recto %s --help", command->name, length, word,
                          command->name);
}

static int store_choice(const struct argument *argument, const char *text)
{
    char   list[256] = "";
    size_t used      = 0;
    for (int i = 0; argument->choices[i]; i++) {
        if (strcmp(argument->choices[i], text) == 0) {
            *(int *)argument->value = i;
            return ARGUMENTS_GO_ON;
        }
        const char *comma = i == 0 ? "" : argument->choices[i + 1] ? ", " : " or ";
        if (used < sizeof list)
            used += (size_t)snprintf(list + used, sizeof list - used, "%s%s", comma, argument->choices[i]);
    }
    return command_refuse(COMMAND_USAGE, "--%s is '%s', expected %s", argument->name, text, list);
}

static int store_count(const struct argument *argument, const char *text)
{
    char *end;
    errno           = 0;
    long long value = strtoll(text, &end, 10);
    if (errno || end == text || *end || value < 1 || value > (long long)argument->most)
        return command_refuse(COMMAND_USAGE, "--%s is '%s', expected a number from 1 to %u", argument->name, text,
                              argument->most);
    *(uint32_t *)argument->value = (uint32_t)value;
    return ARGUMENTS_GO_ON;
}

static int store(const struct argument *argument, const char *text)
{
    struct error error;
    switch (argument->kind) {
    case ARGUMENT_FLAG: *(bool *)argument->value = true; break;
    case ARGUMENT_TEXT: *(const char **)argument->value = text; break;
    case ARGUMENT_COUNT: return store_count(argument, text);
    case ARGUMENT_CHOICE: return store_choice(argument, text);
    case ARGUMENT_SIZE:
        if (options_parse_size(text, argument->value, &error) != STATUS_OK)
            return command_refuse(COMMAND_USAGE, "--%s: %s", argument->name, error.message);
        if (*(uint64_t *)argument->value == 0)
            return command_refuse(COMMAND_USAGE, "--%s is 0 bytes", argument->name);
        break;
    }
    return ARGUMENTS_GO_ON;
}

/* The option at words[at], with its value from behind '=' or from the next word; *at ends on the last word used. */
static int take_option(const struct command *command, const struct argument *table, const struct words *words, int *at)
{
    const char            *word     = words->list[*at];
    const bool             is_long  = word[1] == '-';
    const size_t           length   = strcspn(word + 2, "=");
    const struct argument *argument = table;
    while (argument->name && !(is_long ? strlen(argument->name) == length && memcmp(argument->name, word + 2, length) == 0
                                       : argument->letter && word[1] == argument->letter && !word[2]))
        argument++;
    if (!argument->name)
        return refuse_option(command, table, word);
    const char *value = is_long && word[2 + length] ? word + 2 + length + 1 : NULL;
    if (argument->kind == ARGUMENT_FLAG && value)
        return command_refuse(COMMAND_USAGE, "--%s takes no value", argument->name);
    if (argument->kind != ARGUMENT_FLAG && !value) {
        if (*at + 1 >= words->count)
            return command_refuse(COMMAND_USAGE, "--%s needs a value", argument->name);
        value = words->list[++*at];
    }
    return store(argument, value);
}

int arguments_parse(const struct command *command, const struct argument *table, struct words *words, int least, int most)
{
    int  kept    = 0;
    bool options = true;
    for (int i = 0; i < words->count; i++) {
        char *word = words->list[i];
        if (!options || word[0] != '-' || !word[1]) {
            words->list[kept++] = word;
        } else if (strcmp(word, "--") == 0) {
            options = false;
        } else if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0) {
            fputs(command->help, stdout);
            return fflush(stdout) ? command_refuse(COMMAND_INPUT, "standard output: cannot write it: %s", strerror(errno))
                                  : COMMAND_DONE;
        } else {
            int code = take_option(command, table, words, &i);
            if (code != ARGUMENTS_GO_ON)
                return code;
        }
    }
    words->count = kept;
    if (kept < least)
        return command_refuse(COMMAND_USAGE, "%s needs %s; see recto %s --help", command->name,
                              kept ? "one more word" : "a word", command->name);
    if (kept > most)
        return command_refuse(COMMAND_USAGE, "%s does not understand '%s'; see recto %s --help", command->name,
                              words->list[most], command->name);
    return ARGUMENTS_GO_ON;
}
