/* arguments.h: a test program's options, the same way for all of them: a flag, or a name and a value. */
#ifndef RECTO_TESTS_SUPPORT_ARGUMENTS_H
#define RECTO_TESTS_SUPPORT_ARGUMENTS_H

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* An option and where it goes: one of the three. */
struct argument {
    const char  *name;
    bool        *flag;
    uint64_t    *number;
    const char **text;
};

/* False where something is not among the `count` known ones, or lacks its value. */
static inline bool arguments_read(const struct argument *known, int count, int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        const struct argument *a = known;
        while (a < known + count && strcmp(argv[i], a->name) != 0)
            a++;
        if (a == known + count || (!a->flag && i + 1 == argc))
            return false;
        if (a->flag)
            *a->flag = true;
        else if (a->number)
            *a->number = strtoull(argv[++i], NULL, 10);
        else
            *a->text = argv[++i];
    }
    return true;
}

#endif
