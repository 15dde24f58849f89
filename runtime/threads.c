#include "runtime/threads.h"

#include <linux/futex.h>
#include <pthread.h>
#include <stdbool.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

/* About fifty microseconds of waiting on the processor: longer than the gap between two operations, shorter than a tick. */
enum { SPINS = 2000 };

struct helper {
    struct threads  *threads;
    pthread_t        thread;
    bool             busy;    /* claimed by a caller; under the lock */
    struct gate      calls;   /* how often it was called */
    struct gate      answers; /* how often it has finished */
    threads_work    *work;
    void            *user;
    int              worker;
};

struct threads {
    pthread_mutex_t lock;
    struct pool    *pool;
    int             count;
    atomic_bool     closing;
    struct helper   helpers[];
};

static inline void relax(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

static int reached(struct gate *gate, uint32_t value)
{
    return (int32_t)(atomic_load_explicit(&gate->value, memory_order_acquire) - value) >= 0;
}

void gate_await(struct gate *gate, uint32_t value)
{
    for (int i = 0; i < SPINS; i++) {
        if (reached(gate, value))
            return;
        relax();
    }
    atomic_fetch_add(&gate->sleepers, 1);
    for (;;) {
        uint32_t now = atomic_load(&gate->value);
        if ((int32_t)(now - value) >= 0)
            break;
        syscall(SYS_futex, &gate->value, FUTEX_WAIT_PRIVATE, now, NULL, NULL, 0);
    }
    atomic_fetch_sub(&gate->sleepers, 1);
}

/* Either the sleeper sees the new value before it sleeps, or we see the sleeper: both are sequentially consistent. */
void gate_advance(struct gate *gate)
{
    atomic_fetch_add(&gate->value, 1);
    if (atomic_load(&gate->sleepers))
        syscall(SYS_futex, &gate->value, FUTEX_WAKE_PRIVATE, INT32_MAX, NULL, NULL, 0);
}

static void *helper_main(void *argument)
{
    struct helper *helper = argument;
    for (uint32_t call = 1;; call++) {
        gate_await(&helper->calls, call);
        if (atomic_load(&helper->threads->closing))
            return NULL;
        helper->work(helper->user, helper->worker);
        gate_advance(&helper->answers);
    }
}

status threads_open(struct threads **threads, struct pool *pool, int helpers, struct error *error)
{
    *threads = NULL;
    void  *block;
    size_t bytes  = sizeof(struct threads) + (size_t)helpers * sizeof(struct helper);
    status result = pool_alloc(pool, MEMORY_PROCESS, bytes, "the thread pool", &block, error);
    if (result != STATUS_OK)
        return result;
    struct threads *t = memset(block, 0, bytes);
    t->pool           = pool;
    pthread_mutex_init(&t->lock, NULL);
    for (int i = 0; i < helpers; i++) {
        t->helpers[i].threads = t;
        int failed            = pthread_create(&t->helpers[i].thread, NULL, helper_main, &t->helpers[i]);
        if (failed) {
            threads_close(t);
            return error_set(error, STATUS_MEMORY, "threads: cannot start thread %d: %s", i + 1, strerror(failed));
        }
        t->count++;
    }
    *threads = t;
    return STATUS_OK;
}

void threads_close(struct threads *threads)
{
    if (!threads)
        return;
    atomic_store(&threads->closing, true);
    for (int i = 0; i < threads->count; i++) {
        gate_advance(&threads->helpers[i].calls);
        pthread_join(threads->helpers[i].thread, NULL);
    }
    pthread_mutex_destroy(&threads->lock);
    pool_free(threads->pool, threads);
}

int threads_run(struct threads *threads, int wanted, threads_work *work, void *user)
{
    enum { MOST = 64 };
    struct helper *team[MOST];
    int            size = 0;
    if (wanted > MOST)
        wanted = MOST;
    pthread_mutex_lock(&threads->lock);
    for (int i = 0; i < threads->count && size < wanted; i++)
        if (!threads->helpers[i].busy) {
            threads->helpers[i].busy = true;
            team[size++]             = &threads->helpers[i];
        }
    pthread_mutex_unlock(&threads->lock);
    for (int i = 0; i < size; i++) {
        team[i]->work   = work;
        team[i]->user   = user;
        team[i]->worker = i + 1;
        gate_advance(&team[i]->calls);
    }
    work(user, 0);
    for (int i = 0; i < size; i++)
        gate_await(&team[i]->answers, atomic_load(&team[i]->calls.value));
    pthread_mutex_lock(&threads->lock);
    for (int i = 0; i < size; i++)
        team[i]->busy = false;
    pthread_mutex_unlock(&threads->lock);
    return size + 1;
}
