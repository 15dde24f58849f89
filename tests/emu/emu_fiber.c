/* Fibers: a stack for each CUDA thread, and the switch between two of them. */
#include "emu_state.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define __SANITIZE_ADDRESS__ 1
#endif
#endif
#ifdef __SANITIZE_ADDRESS__
#include <pthread.h>
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
enum { STACK_BYTES = 512 * 1024 };
#else
enum { STACK_BYTES = 128 * 1024 };
#endif
enum { GUARD_BYTES = 4096 };

/* Saves what a callee must keep, changes the stack, restores. An own switch because swapcontext makes two system calls. */
void emu_switch(void **save, void *to);
#if defined(__x86_64__)
__asm__(".text\n.globl emu_switch\n.type emu_switch,@function\nemu_switch:\n"
        "  pushq %rbp\n  pushq %rbx\n  pushq %r12\n  pushq %r13\n  pushq %r14\n  pushq %r15\n"
        "  movq %rsp, (%rdi)\n  movq %rsi, %rsp\n"
        "  popq %r15\n  popq %r14\n  popq %r13\n  popq %r12\n  popq %rbx\n  popq %rbp\n  ret\n"
        ".size emu_switch,.-emu_switch\n");
enum { SAVED_WORDS = 6 };
#elif defined(__aarch64__)
__asm__(".text\n.globl emu_switch\n.type emu_switch,%function\nemu_switch:\n"
        "  sub sp, sp, #176\n  stp x19, x20, [sp, #0]\n  stp x21, x22, [sp, #16]\n  stp x23, x24, [sp, #32]\n"
        "  stp x25, x26, [sp, #48]\n  stp x27, x28, [sp, #64]\n  stp x29, x30, [sp, #80]\n"
        "  stp d8, d9, [sp, #96]\n  stp d10, d11, [sp, #112]\n  stp d12, d13, [sp, #128]\n  stp d14, d15, [sp, #144]\n"
        "  mov x9, sp\n  str x9, [x0]\n  mov sp, x1\n"
        "  ldp x19, x20, [sp, #0]\n  ldp x21, x22, [sp, #16]\n  ldp x23, x24, [sp, #32]\n"
        "  ldp x25, x26, [sp, #48]\n  ldp x27, x28, [sp, #64]\n  ldp x29, x30, [sp, #80]\n"
        "  ldp d8, d9, [sp, #96]\n  ldp d10, d11, [sp, #112]\n  ldp d12, d13, [sp, #128]\n  ldp d14, d15, [sp, #144]\n"
        "  add sp, sp, #176\n  ret\n"
        ".size emu_switch,.-emu_switch\n");
#else
#error "the emulator's stack switch is written for x86-64 and AArch64"
#endif

/* Not inlined: the next block may be run by another host thread, where emu_worker lies elsewhere. */
static __attribute__((noinline)) void run_thread(void)
{
    struct emu_running *running = emu_worker->running;
    running->kernel->invoke(running->kernel->function, running->launch->args);
    emu_exit_thread();
}

static void fiber_begin(void)
{
#ifdef __SANITIZE_ADDRESS__
    __sanitizer_finish_switch_fiber(NULL, NULL, NULL);
#endif
    for (;;)  /* a fiber that has finished a block takes part in the next one */
        run_thread();
}

void emu_fiber_restart(struct emu_fiber *fiber)
{
    /* Tops are spread over the sets of the first-level cache: else all fibers' hot lines would fight for the same ways. */
    char      *top  = fiber->stack + STACK_BYTES - (size_t)(fiber->index * 7 % 64) * 64;
    uintptr_t *word = (uintptr_t *)(void *)top;
#ifdef __SANITIZE_ADDRESS__
    __asan_unpoison_memory_region(fiber->stack, STACK_BYTES);
#endif
    fiber->fake_stack = NULL;
#if defined(__x86_64__)
    *--word = 0;  /* where a return address would lie: the stack is aligned as after a call */
    *--word = (uintptr_t)fiber_begin;
    for (int i = 0; i < SAVED_WORDS; i++)
        *--word = 0;
#else
    word -= 22;
    memset(word, 0, 176);
    word[11] = (uintptr_t)fiber_begin;  /* x30 */
#endif
    fiber->stack_pointer = word;
}

static struct emu_fiber *fiber_make(int index)
{
    struct emu_fiber *fiber = calloc(1, sizeof *fiber);
    char *memory =
        mmap(NULL, STACK_BYTES + GUARD_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (!fiber || memory == MAP_FAILED || mprotect(memory, GUARD_BYTES, PROT_NONE)) {
        fprintf(stderr, "[emu] no memory for the stack of thread %d\n", index);
        abort();
    }
    fiber->stack       = memory + GUARD_BYTES;
    fiber->stack_bytes = STACK_BYTES;
    fiber->index = index;
    emu_fiber_restart(fiber);
    return fiber;
}

void emu_fiber_prepare(struct emu_worker *worker, int fibers)
{
    if (worker->dirty)
        for (int i = 0; i < worker->fiber_count; i++)
            emu_fiber_restart(worker->fibers[i]);
    worker->dirty  = false;
    worker->fibers = emu_list_room(worker->fibers, &worker->fiber_room, fibers, sizeof *worker->fibers);
    while (worker->fiber_count < fibers) {
        worker->fibers[worker->fiber_count] = fiber_make(worker->fiber_count);
        worker->fiber_count++;
    }
}

void emu_fiber_switch(struct emu_fiber *from, struct emu_fiber *to)
{
    struct emu_worker *worker = emu_worker;
    worker->counters.switches++;
    emu_current = to == &worker->main ? NULL : &to->thread;
#ifdef __SANITIZE_ADDRESS__
    __sanitizer_start_switch_fiber(&from->fake_stack, to->stack, STACK_BYTES);
#endif
    emu_switch(&from->stack_pointer, to->stack_pointer);
#ifdef __SANITIZE_ADDRESS__
    __sanitizer_finish_switch_fiber(from->fake_stack, NULL, NULL);
#endif
}

/* The address sanitizer wants to know the bounds of the stack that a switch goes back to. */
void emu_fiber_main_stack(struct emu_worker *worker)
{
#ifdef __SANITIZE_ADDRESS__
    pthread_attr_t attributes;
    void          *base;
    size_t         bytes;
    pthread_getattr_np(pthread_self(), &attributes);
    pthread_attr_getstack(&attributes, &base, &bytes);
    pthread_attr_destroy(&attributes);
    worker->main.stack = (char *)base + bytes - STACK_BYTES;
#else
    (void)worker;
#endif
}

void *emu_list_room(void *items, int *room, int needed, size_t item_bytes)
{
    if (needed <= *room)
        return items;
    int   wanted = *room * 2 > needed ? *room * 2 : needed < 8 ? 8 : needed;
    void *grown  = realloc(items, (size_t)wanted * item_bytes);
    if (!grown) {
        fprintf(stderr, "[emu] no memory for a list of %d items\n", wanted);
        abort();
    }
    memset((char *)grown + (size_t)*room * item_bytes, 0, (size_t)(wanted - *room) * item_bytes);
    *room = wanted;
    return grown;
}

void emu_list_drop(void *items, int *count, int n, size_t item_bytes)
{
    memmove(items, (char *)items + (size_t)n * item_bytes, (size_t)(*count - n) * item_bytes);
    *count -= n;
}
