/* planted [PART]: every planted bug, or those whose name contains PART: is it caught? And is what is right left alone? */
#include "tests/emu/planted/planted.h"

#include <stdio.h>
#include <string.h>

struct setting { enum emu_order order; enum emu_async async; uint64_t seed; };

/* Without check mode some schedule has to show the bug; in check mode the friendliest has to do. */
static const struct setting plain_settings[] = {
    { EMU_SEQUENTIAL, EMU_LATE, 1 },  { EMU_REVERSE, EMU_LATE, 1 },  { EMU_ROUND_ROBIN, EMU_LATE, 1 },
    { EMU_SEQUENTIAL, EMU_EARLY, 1 }, { EMU_PRIORITY, EMU_LATE, 1 }, { EMU_PRIORITY, EMU_ANY, 2 },
    { EMU_RANDOM, EMU_ANY, 3 },
};
static const struct setting check_settings[] = { { EMU_ROUND_ROBIN, EMU_EARLY, 1 } };

static void set(const struct setting *s)
{
    struct emu_settings *settings = emu_settings();
    settings->order               = s->order;
    settings->async               = s->async;
    settings->seed                = s->seed;
    settings->quiet               = true;
}

static bool caught(const struct planted *p, const char *expected, const struct setting *settings, int count, char *said,
                   size_t room)
{
    said[0] = 0;
    for (int i = 0; i < count; i++) {
        set(&settings[i]);
        bool        passed = p->bug();
        const char *report = emu_report();
        if (report[0])
            snprintf(said, room, "%.*s", (int)strcspn(report, "\n"), report);
        if (!strcmp(expected, "values") ? !passed : strstr(report, expected) != NULL)
            return true;
    }
    return false;
}

static bool left_alone(const struct planted *p, const struct setting *settings, int count)
{
    for (int i = 0; i < count; i++) {
        set(&settings[i]);
        if (!p->right()) {
            printf("    the kernel without the bug fails: %s\n", emu_report());
            return false;
        }
    }
    return true;
}

int main(int argc, char **argv)
{
    static const struct planted *const groups[] = { planted_block, planted_memory,   planted_copies,
                                                    planted_tiles, planted_epilogue, planted_cluster };
    bool check = emu_settings()->check;
    int  run = 0, missed = 0, all = (int)(sizeof plain_settings / sizeof *plain_settings);
    for (size_t g = 0; g < sizeof groups / sizeof *groups; g++)
        for (const struct planted *p = groups[g]; p->name; p++) {
            const char *expected = check ? p->check : p->plain;
            char        said[200];
            if (!expected || (argc > 1 && !strstr(p->name, argv[1])))
                continue;
            bool seen = caught(p, expected, check ? check_settings : plain_settings, check ? 1 : all, said, sizeof said);
            bool fine = left_alone(p, plain_settings, all);
            printf("%-46s %s\n", p->name, !seen ? "MISSED" : !fine ? "FALSE ALARM" : "caught");
            if (!seen)
                printf("    expected: %s\n    said: %s\n", expected, said);
            run++;
            missed += !seen || !fine;
        }
    printf("%d planted bugs, %d not caught as they should be\n", run, missed);
    return missed || !run;
}
