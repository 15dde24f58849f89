#include "host/command_progress.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* The engine reports from threads of its own. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static bool            is_wanted, is_drawn;
static double          drawn_at;

void progress_begin(int quiet)
{
    const char *terminal = getenv("TERM"), *ci = getenv("CI");
    is_wanted = !quiet && isatty(STDERR_FILENO) && !(ci && *ci) && terminal && *terminal && strcmp(terminal, "dumb") != 0;
}

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

static void draw_bar(double share)
{
    enum { WIDTH = 24 };
    const int full = (int)(share * WIDTH + 0.5);
    char      bar[WIDTH + 1];
    for (int i = 0; i < WIDTH; i++)
        bar[i] = i < full ? '#' : '.';
    bar[WIDTH] = 0;
    fprintf(stderr, "[%s] %3d %%  ", bar, (int)(share * 100));
}

void progress_show(double share, const char *format, ...)
{
    va_list arguments;
    if (!is_wanted)
        return;
    pthread_mutex_lock(&lock);
    if (now() - drawn_at > 0.1) {
        drawn_at = now();
        fputs("\r\033[K", stderr);
        if (share >= 0)
            draw_bar(share < 1 ? share : 1);
        va_start(arguments, format);
        vfprintf(stderr, format, arguments);
        va_end(arguments);
        fflush(stderr);
        is_drawn = true;
    }
    pthread_mutex_unlock(&lock);
}

void progress_clear(void)
{
    pthread_mutex_lock(&lock);
    if (is_drawn)
        fputs("\r\033[K", stderr);
    is_drawn = false;
    drawn_at = 0;
    pthread_mutex_unlock(&lock);
}
