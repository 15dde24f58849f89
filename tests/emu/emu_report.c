/* Settings from the environment, and what is said about a kernel that did wrong. */
#include "emu_check.h"
#include "emu_state.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { SAID_MOST = 64, TEXT_MOST = 4096 };
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char            report[16384];
static size_t          report_used;
static struct { const char *format; const char *file; int line; } said[SAID_MOST];
static int             said_count;

const char *emu_report(void) { return report; }

void emu_report_clear(void)
{
    report[0]   = 0;
    report_used = 0;
    said_count  = 0;
}

static int word_of(const char *name, const char *const *words, int count)
{
    const char *value = getenv(name);
    for (int i = 0; value && i < count; i++)
        if (!strcmp(value, words[i]))
            return i;
    if (value && *value)
        fprintf(stderr, "[emu] %s=%s is not known: taken as %s\n", name, value, words[0]);
    return 0;
}

static long number_of(const char *name, long otherwise)
{
    const char *value = getenv(name);
    return value && *value ? strtol(value, NULL, 0) : otherwise;
}

static void print_at_exit(void)
{
    emu_access_print();
}

static struct emu_settings settings;
static pthread_once_t      once = PTHREAD_ONCE_INIT;

static void settings_read(void)
{
    static const char *const orders[] = { "seq", "rev", "rr", "rand", "pct" }, *const asyncs[] = { "late", "early", "rand" };
    settings.order    = (enum emu_order)word_of("EMU_ORDER", orders, 5);
    settings.async    = (enum emu_async)word_of("EMU_ASYNC", asyncs, 3);
    settings.seed     = (uint64_t)number_of("EMU_SEED", 1);
    settings.workers  = (int)number_of("EMU_WORKERS", sysconf(_SC_NPROCESSORS_ONLN));
    settings.poison   = (int)number_of("EMU_POISON", 0xff);
    settings.check    = number_of("EMU_CHECK", 0) != 0;
    settings.counters = number_of("EMU_ACCESS", 0) != 0;
    settings.abort    = number_of("EMU_ABORT", 0) != 0;
    settings.quiet    = number_of("EMU_QUIET", 0) != 0;
    if (settings.workers < 1)
        settings.workers = 1;
    if (settings.check && !emu_hooked()) {
        fprintf(stderr, "[emu] EMU_CHECK=1, but no kernel of this program was compiled for check mode\n");
        exit(2);  /* rather than pass without having looked */
    }
    if (settings.counters)
        atexit(print_at_exit);
}

struct emu_settings *emu_settings(void)
{
    pthread_once(&once, settings_read);
    return &settings;
}

/* Under the lock: whether this line was already told off for the same thing in this launch. */
static bool repeated(struct emu_site site, const char *format)
{
    for (int i = 0; i < said_count; i++)
        if (said[i].format == format && said[i].line == site.line && said[i].file == site.file)
            return true;
    if (said_count < SAID_MOST) {
        said[said_count].format = format;
        said[said_count].file   = site.file;
        said[said_count].line   = site.line;
        said_count++;
    }
    return false;
}

static const char *const order_names[] = { "seq", "rev", "rr", "rand", "pct" };
static const char *const async_names[] = { "late", "early", "rand" };

static void say(const char *text, struct emu_site site)
{
    const struct emu_fiber    *f = emu_current ? emu_me() : NULL;
    const struct emu_settings *s = emu_settings();
    char                       line[6000];
    int n = snprintf(line, sizeof line, "%s\n", text);
    if (f && n > 0 && (size_t)n < sizeof line)
        n += snprintf(line + n, sizeof line - (size_t)n, "      kernel %s, block (%u,%u,%u), thread (%u,%u,%u), at %s:%d\n",
                      emu_worker->running->kernel->name, f->thread.block_index.x, f->thread.block_index.y,
                      f->thread.block_index.z, f->thread.thread_index.x, f->thread.thread_index.y, f->thread.thread_index.z,
                      site.file, site.line);
    if (n > 0 && (size_t)n < sizeof line)
        n += snprintf(line + n, sizeof line - (size_t)n, "      again: EMU_ORDER=%s EMU_ASYNC=%s EMU_SEED=%llu%s\n",
                      order_names[s->order], async_names[s->async], (unsigned long long)s->seed, s->check ? " EMU_CHECK=1" : "");
    size_t bytes = strlen(line);
    if (report_used + bytes < sizeof report) {
        memcpy(report + report_used, line, bytes + 1);
        report_used += bytes;
    }
    if (!s->quiet)
        fprintf(stderr, "[emu] ERROR %s", line);
    if (s->abort)
        abort();
}

/* Makes the sentence, and says it: `always`, or if it was not said of this line before. */
static void tell(char (*text)[TEXT_MOST], struct emu_site site, bool always, const char *format, va_list args)
{
    vsnprintf(*text, TEXT_MOST, format, args);
    pthread_mutex_lock(&lock);
    if (always || !repeated(site, format))
        say(*text, site);
    pthread_mutex_unlock(&lock);
}

/* Something wrong that the kernel can go on from; the launch fails at its end. */
void emu_finding(struct emu_site site, const char *format, ...)
{
    char    text[TEXT_MOST];
    va_list args;
    va_start(args, format);
    tell(&text, site, false, format, args);
    va_end(args);
    emu_launch_failed();
}

/* Something wrong that it cannot go on from: this worker's part of the launch ends here. */
void emu_fail(struct emu_site site, const char *format, ...)
{
    char    text[TEXT_MOST];
    va_list args;
    va_start(args, format);
    tell(&text, site, true, format, args);
    va_end(args);
    if (!emu_current) {
        fprintf(stderr, "[emu] %s (outside a kernel, at %s:%d)\n", text, site.file, site.line);
        abort();
    }
    emu_launch_failed();
    emu_worker->dirty = emu_worker->stopped = true;
    emu_fiber_switch(emu_me(), &emu_worker->main);
    abort();  /* a stopped worker never runs this fiber again */
}
