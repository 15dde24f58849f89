/* The callbacks that -fsanitize=thread makes a kernel call at every access; the sanitizer's own library is not linked.
 *
 * A build that does link it (the whole project under the thread sanitizer) has no emulator.
 */
#include "emu_check.h"

#include <string.h>

static bool hooked;
bool emu_hooked(void) { return hooked; }

#define PC ((uintptr_t)__builtin_return_address(0))
#define HOOK __attribute__((visibility("default")))

HOOK void __tsan_init(void);
void __tsan_init(void) { hooked = true; }
HOOK void __tsan_func_entry(void *pc);
void __tsan_func_entry(void *pc) { (void)pc; }
HOOK void __tsan_func_exit(void);
void __tsan_func_exit(void) {}

#define ONE(name, n, write)                                                   \
    HOOK void __tsan_##name##n(void *p);                                      \
    void __tsan_##name##n(void *p) { emu_check_access(p, n, write, false, PC); }
#define ALIGNED(name, n, write)                                               \
    HOOK void __tsan_##name##n(void *p);                                      \
    void __tsan_##name##n(void *p)                                            \
    {                                                                         \
        if ((uintptr_t)p % n)                                                 \
            emu_check_misaligned(p, n, write, PC);                            \
        emu_check_access(p, n, write, false, PC);                             \
    }
#define ACCESSES(n)                    \
    ALIGNED(read, n, false)            \
    ALIGNED(write, n, true)            \
    ONE(unaligned_read, n, false)      \
    ONE(unaligned_write, n, true)      \
    ALIGNED(volatile_read, n, false)   \
    ALIGNED(volatile_write, n, true)   \
    ALIGNED(read_write, n, true)
ACCESSES(1)
ACCESSES(2)
ACCESSES(4)
ACCESSES(8)
ACCESSES(16)

HOOK void __tsan_read_range(void *p, unsigned long n);
void __tsan_read_range(void *p, unsigned long n) { emu_check_access(p, n, false, false, PC); }
HOOK void __tsan_write_range(void *p, unsigned long n);
void __tsan_write_range(void *p, unsigned long n) { emu_check_access(p, n, true, false, PC); }

HOOK void *__tsan_memcpy(void *to, const void *from, unsigned long n);
void *__tsan_memcpy(void *to, const void *from, unsigned long n)
{
    emu_check_access(from, n, false, false, PC);
    emu_check_access(to, n, true, false, PC);
    return memcpy(to, from, n);
}
HOOK void *__tsan_memmove(void *to, const void *from, unsigned long n);
void *__tsan_memmove(void *to, const void *from, unsigned long n)
{
    emu_check_access(from, n, false, false, PC);
    emu_check_access(to, n, true, false, PC);
    return memmove(to, from, n);
}
HOOK void *__tsan_memset(void *to, int value, unsigned long n);
void *__tsan_memset(void *to, int value, unsigned long n)
{
    emu_check_access(to, n, true, false, PC);
    return memset(to, value, n);
}

#define ATOMICS(bits, T)                                                                                                   \
    HOOK T    __tsan_atomic##bits##_load(const volatile T *p, int order);                                                  \
    HOOK void __tsan_atomic##bits##_store(volatile T *p, T v, int order);                                                  \
    HOOK T    __tsan_atomic##bits##_exchange(volatile T *p, T v, int order);                                               \
    HOOK T    __tsan_atomic##bits##_fetch_add(volatile T *p, T v, int order);                                              \
    HOOK int  __tsan_atomic##bits##_compare_exchange_weak(volatile T *p, T *e, T v, int good, int bad);                    \
    HOOK int  __tsan_atomic##bits##_compare_exchange_strong(volatile T *p, T *e, T v, int good, int bad);                  \
    T __tsan_atomic##bits##_load(const volatile T *p, int order)                                                           \
    {                                                                                                                      \
        (void)order;                                                                                                       \
        emu_check_access((const void *)p, sizeof *p, false, true, PC);                                                     \
        return __atomic_load_n(p, __ATOMIC_SEQ_CST);                                                                       \
    }                                                                                                                      \
    void __tsan_atomic##bits##_store(volatile T *p, T v, int order)                                                        \
    {                                                                                                                      \
        (void)order;                                                                                                       \
        emu_check_access((const void *)p, sizeof *p, true, true, PC);                                                      \
        __atomic_store_n(p, v, __ATOMIC_SEQ_CST);                                                                          \
    }                                                                                                                      \
    T __tsan_atomic##bits##_exchange(volatile T *p, T v, int order)                                                        \
    {                                                                                                                      \
        (void)order;                                                                                                       \
        emu_check_access((const void *)p, sizeof *p, true, true, PC);                                                      \
        return __atomic_exchange_n(p, v, __ATOMIC_SEQ_CST);                                                                \
    }                                                                                                                      \
    T __tsan_atomic##bits##_fetch_add(volatile T *p, T v, int order)                                                       \
    {                                                                                                                      \
        (void)order;                                                                                                       \
        emu_check_access((const void *)p, sizeof *p, true, true, PC);                                                      \
        return __atomic_fetch_add(p, v, __ATOMIC_SEQ_CST);                                                                 \
    }                                                                                                                      \
    int __tsan_atomic##bits##_compare_exchange_weak(volatile T *p, T *e, T v, int good, int bad)                           \
    {                                                                                                                      \
        (void)good, (void)bad;                                                                                             \
        emu_check_access((const void *)p, sizeof *p, true, true, PC);                                                      \
        return __atomic_compare_exchange_n(p, e, v, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);                            \
    }                                                                                                                      \
    int __tsan_atomic##bits##_compare_exchange_strong(volatile T *p, T *e, T v, int good, int bad)                         \
    {                                                                                                                      \
        (void)good, (void)bad;                                                                                             \
        emu_check_access((const void *)p, sizeof *p, true, true, PC);                                                      \
        return __atomic_compare_exchange_n(p, e, v, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);                            \
    }
ATOMICS(32, uint32_t)
ATOMICS(64, uint64_t)

HOOK void __tsan_atomic_thread_fence(int order);
void __tsan_atomic_thread_fence(int order)
{
    (void)order;
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
}
