/* command.c: the program `recto`: finds the subcommand, handles signals, turns failures into sentences and exit codes. */
#include "host/command.h"

#include "host/command_arguments.h"
#include "host/command_progress.h"
#include "runtime/options.h"

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct command *const commands[] = { &command_embed, &command_search, &command_tokenize, &command_model,
                                                  &command_plan,  &command_doctor };
enum { COMMANDS = sizeof commands / sizeof *commands };

static const char examples[] =
    "Examples\n"
    "  recto embed notes.txt > vectors.jsonl         one vector for each line\n"
    "  recto search \"how to prune roses\" --in notes.txt\n"
    "  recto doctor                                  what this machine can do\n"
    "\n"
    "Exit codes\n"
    "    0  done\n"
    "    2  wrong usage\n"
    "    3  a text, a model or a file that cannot be used\n"
    "    4  a memory budget that cannot hold the work\n"
    "    5  the device asked for is absent or broken, or a bug in recto\n"
    "  130  interrupted\n"
    "\n"
    "recto COMMAND --help says more about a command, recto --options lists the environment's settings.\n";

static void print_help(FILE *to)
{
    fprintf(to, "recto %s: text into vectors, inside a byte budget, with the same bits every time\n\n"
                "  recto COMMAND [OPTIONS]\n\nCommands\n", recto_version());
    for (int i = 0; i < COMMANDS; i++)
        fprintf(to, "  %-10s %s\n", commands[i]->name, commands[i]->summary);
    fprintf(to, "\n%s", examples);
}

static int print_options(void)
{
    struct options options;
    struct error   error;
    if (options_read(&options, &error) != STATUS_OK)
        return command_refuse(COMMAND_USAGE, "%s", error.message);
    for (int i = 0; i < OPTIONS; i++) {
        const char *value = getenv(option_table[i].variable);
        const bool  set   = value && *value;
        printf("%-22s %s\n%-22s %s%s\n", option_table[i].variable, option_table[i].meaning, "",
               set ? "set to " : "not set: ", set ? value : option_table[i].fallback);
        if (!set && (i == OPTION_CACHE || i == OPTION_HUB))
            printf("%-22s that is %s\n", "", i == OPTION_CACHE ? options.cache : options.hub);
    }
    options_release(&options);
    return COMMAND_DONE;
}

int command_refuse(int code, const char *format, ...)
{
    char    sentence[1024];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(sentence, sizeof sentence, format, arguments);
    va_end(arguments);
    progress_clear();
    fprintf(stderr, "recto: %s\n", sentence);
    return code;
}

static int exit_of(status code)
{
    switch (code) {
    case STATUS_OK: return COMMAND_DONE;
    case STATUS_USAGE: return COMMAND_USAGE;
    case STATUS_INPUT:
    case STATUS_MODEL:
    case STATUS_IO: return COMMAND_INPUT;
    case STATUS_BUDGET:
    case STATUS_MEMORY: return COMMAND_BUDGET;
    case STATUS_CANCELLED: return command_interrupted() ? command_interrupted() : COMMAND_INTERRUPTED;
    case STATUS_DEADLINE:
    case STATUS_DEVICE:
    case STATUS_INTERNAL: break;
    }
    return COMMAND_ENGINE;
}

int command_report(status code, const char *sentence)
{
    return command_refuse(exit_of(code), "%s", code == STATUS_CANCELLED ? "interrupted" : sentence);
}

/* ---- Signals ---- */

static recto_cancel         *cancel;
static volatile sig_atomic_t received;

recto_cancel *command_cancel(void) { return cancel; }

int command_interrupted(void) { return received ? 128 + received : 0; }

bool command_is_interrupted(void) { return received != 0; }

static void on_signal(int number)
{
    received = number;
    recto_cancel_raise(cancel);
}

/* Without SA_RESTART a read that waits for input returns; with SA_RESETHAND the second signal ends the process. */
static int catch_signals(void)
{
    recto_error            error     = RECTO_ERROR_INIT;
    const struct sigaction action    = { .sa_handler = on_signal, .sa_flags = (int)SA_RESETHAND };
    static const int       numbers[] = { SIGINT, SIGTERM, SIGHUP };
    if (recto_cancel_open(&cancel, &error) != RECTO_OK)
        return command_report((status)error.code, error.message);
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        struct sigaction before;
        const bool known = sigaction(numbers[i], NULL, &before) == 0;
        if (numbers[i] != SIGHUP || !known || before.sa_handler != SIG_IGN)  /* nohup stays in force */
            sigaction(numbers[i], &action, NULL);
    }
    signal(SIGPIPE, SIG_DFL);  /* a reader that has seen enough ends us without a word, even if our parent ignores it */
    return COMMAND_DONE;
}

/* ---- main ---- */

static int refuse_command(const char *word)
{
    const char *names[COMMANDS + 1], *near;
    for (int i = 0; i < COMMANDS; i++)
        names[i] = commands[i]->name;
    names[COMMANDS] = NULL;
    near            = arguments_nearest(word, names);
    if (near)
        return command_refuse(COMMAND_USAGE, "there is no command '%s'; did you mean %s?", word, near);
    return command_refuse(COMMAND_USAGE, "there is no command '%s'; see recto --help", word);
}

static int run_command(const char *name, int count, char **words)
{
    for (int i = 0; i < COMMANDS; i++) {
        if (strcmp(commands[i]->name, name) != 0)
            continue;
        int code = catch_signals();
        if (code == COMMAND_DONE)
            code = commands[i]->run(count, words);
        return code;
    }
    return refuse_command(name);
}

static int run_word(int count, char **words)
{
    const char *word = words[0];
    if (strcmp(word, "--version") == 0)
        return printf("recto %s\n", recto_version()), COMMAND_DONE;
    if (strcmp(word, "--options") == 0)
        return print_options();
    if (strcmp(word, "help") == 0 && count > 1)
        return run_command(words[1], 1, (char *[]){ (char[]){ "--help" }, NULL });
    if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0 || strcmp(word, "help") == 0)
        return print_help(stdout), COMMAND_DONE;
    if (word[0] == '-')
        return command_refuse(COMMAND_USAGE, "there is no option '%s' before a command; see recto --help", word);
    return run_command(word, count - 1, words + 1);
}

int main(int count, char **words)
{
    if (count < 2) {
        print_help(stderr);
        return COMMAND_USAGE;
    }
    int code = run_word(count - 1, words + 1);
    if (code == COMMAND_DONE && (fflush(stdout) || ferror(stdout)))
        code = command_refuse(COMMAND_INPUT, "standard output: cannot write it: %s", strerror(errno));
    return code;
}
