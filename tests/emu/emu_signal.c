/* A kernel that touches what no memory is, or runs over its stack: say which before the program dies of it. */
#include "emu_state.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static void died(int number, siginfo_t *info, void *context)
{
    const struct emu_fiber *f = emu_current ? emu_me() : NULL;
    char                    text[400];
    int                     n = 0;
    (void)context;
    if (f)
        n = snprintf(text, sizeof text,
                     "[emu] FATAL kernel %s, block (%u,%u,%u), thread (%u,%u,%u): %s %p, last seen at %.100s:%d\n",
                     emu_worker->running->kernel->name, f->thread.block_index.x, f->thread.block_index.y,
                     f->thread.block_index.z, f->thread.thread_index.x, f->thread.thread_index.y, f->thread.thread_index.z,
                     (size_t)((const char *)info->si_addr - f->stack) + 4096 < 4096 ? "stack overflow at" : "access to",
                     info->si_addr, f->site.file ? f->site.file : "?", f->site.line);
    if (n > 0 && write(STDERR_FILENO, text, (size_t)n) < 0)
        n = 0;
    signal(number, SIG_DFL);  /* and the access, repeated, ends the program */
}

/* On the calling thread, for the launch that begins: a stack of its own for the handler, which may run where there is none. */
void emu_signals(void)
{
    static __thread char room[16384];
    stack_t              stack = { .ss_sp = room, .ss_size = sizeof room }, present;
    struct sigaction     action = { .sa_sigaction = died, .sa_flags = SA_SIGINFO | SA_ONSTACK }, before;
    if (!sigaltstack(NULL, &present) && present.ss_flags & SS_DISABLE)  /* a sanitizer has put one there, and wants it back */
        sigaltstack(&stack, NULL);
    for (int i = 0; i < 2; i++) {
        int number = i ? SIGBUS : SIGSEGV;
        if (!sigaction(number, NULL, &before) && before.sa_handler == SIG_DFL)  /* somebody else's handler stays */
            sigaction(number, &action, NULL);
    }
}
