#include "host/command_ceiling.h"

#include "kernels/lanes/busy.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

enum { RUNS = 20, READ_RUNS = 3 };
#define SECONDS_PER_RUN 0.002           /* short, so that some runs fall between two turns of a neighbour */
#define READ_BYTES      ((size_t)64 << 20)  /* of each thread: more than its share of the caches */

struct kernel {
    void (*run)(uint64_t loops);
    int    operations_per_step;
    size_t rates;         /* where in struct ceiling */
    bool   is_available;
};

#define KERNELS_MAX 6

#if defined(__x86_64__)
static int list_kernels(struct kernel kernels[KERNELS_MAX])
{
    const bool          avx2 = __builtin_cpu_supports("avx2"), avx512 = __builtin_cpu_supports("avx512f");
    const struct kernel all[] = {
        { busy_fma_avx2, 8 * 2, offsetof(struct ceiling, fp32), avx2 && __builtin_cpu_supports("fma") },
        { busy_fma_avx512, 16 * 2, offsetof(struct ceiling, fp32), avx512 },
        { busy_dot_bf16_avx512, 32 * 2, offsetof(struct ceiling, bf16), avx512 && __builtin_cpu_supports("avx512bf16") },
        { busy_dot_u8s8_avx512, 64 * 2, offsetof(struct ceiling, int8), avx512 && __builtin_cpu_supports("avx512vnni") },
        { busy_dot_u8s8_avx2, 32 * 2, offsetof(struct ceiling, int8), avx2 },
    };
    memcpy(kernels, all, sizeof all);
    return sizeof all / sizeof *all;
}
#elif defined(__aarch64__)
static int list_kernels(struct kernel kernels[KERNELS_MAX])
{
    kernels[0] = (struct kernel){ busy_fma_neon, 4 * 2, offsetof(struct ceiling, fp32), true };
    return 1;
}
#else
static int list_kernels(struct kernel kernels[KERNELS_MAX])
{
    (void)kernels;
    return 0;
}
#endif

struct worker {
    pthread_t       thread;
    atomic_bool    *start;
    void (*run)(uint64_t loops);
    uint64_t        loops;
    const uint64_t *words;  /* to read instead of running a kernel */
    uint64_t        sum;
    double          began, ended;
};

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

static uint64_t read_words(const uint64_t *words)
{
    uint64_t sums[8] = { 0 };
    for (size_t i = 0; i < READ_BYTES / sizeof *words; i += 8)
        for (size_t j = 0; j < 8; j++)
            sums[j] += words[i + j];
    return sums[0] + sums[1] + sums[2] + sums[3] + sums[4] + sums[5] + sums[6] + sums[7];
}

static void *work(void *argument)
{
    struct worker *worker = argument;
    while (!atomic_load(worker->start))
        sched_yield();
    worker->began = now();
    if (worker->words)
        worker->sum = read_words(worker->words);
    else
        worker->run(worker->loops);
    worker->ended = now();
    return NULL;
}

/* Workers a second: how many took part, by the seconds from the first one's start to the last one's end. Where the system
 * gives no more threads there are fewer. */
static double work_together(struct worker *workers, int threads)
{
    atomic_bool start   = false;
    int         started = 1;
    for (int i = 0; i < threads; i++)
        workers[i].start = &start;
    while (started < threads && pthread_create(&workers[started].thread, NULL, work, &workers[started]) == 0)
        started++;
    atomic_store(&start, true);
    work(&workers[0]);
    double began = workers[0].began, ended = workers[0].ended;
    for (int i = 1; i < started; i++) {
        pthread_join(workers[i].thread, NULL);
        began = workers[i].began < began ? workers[i].began : began;
        ended = workers[i].ended > ended ? workers[i].ended : ended;
    }
    return started / (ended - began);
}

/* The best of several runs: a ceiling is what the unit can do, not what neighbours leave of it. */
static double best_rate(const struct kernel *kernel, int threads)
{
    struct worker workers[CEILING_THREADS_MAX];
    uint64_t      loops = 1000;
    double        rate = 0, best = 0;
    for (;; loops *= 2) {
        workers[0] = (struct worker){ .run = kernel->run, .loops = loops };
        rate       = work_together(workers, 1);
        if (rate <= 4 / SECONDS_PER_RUN)
            break;
    }
    loops = (uint64_t)((double)loops * SECONDS_PER_RUN * rate);
    for (int run = 0; run < RUNS; run++) {
        for (int i = 0; i < threads; i++)
            workers[i] = (struct worker){ .run = kernel->run, .loops = loops };
        rate = work_together(workers, threads);
        best = rate > best ? rate : best;
    }
    return best * (double)loops * BUSY_STEPS * kernel->operations_per_step * 1e-9;
}

static double read_rate(int threads)
{
    const size_t  bytes = READ_BYTES * (size_t)threads;
    struct worker workers[CEILING_THREADS_MAX];
    double        best  = 0;
    uint64_t     *words = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (words == MAP_FAILED)
        return 0;
    memset(words, 1, bytes);  /* untouched pages are all the same one */
    for (int run = 0; run < READ_RUNS; run++) {
        for (int i = 0; i < threads; i++)
            workers[i] = (struct worker){ .words = words + READ_BYTES / sizeof *words * (size_t)i };
        const double rate = work_together(workers, threads);
        best              = rate > best ? rate : best;
    }
    munmap(words, bytes);
    return best * (double)READ_BYTES * 1e-9;
}

void ceiling_measure(struct ceiling *ceiling, int threads)
{
    struct kernel kernels[KERNELS_MAX];
    const int     count = list_kernels(kernels);
    *ceiling            = (struct ceiling){ .read = { 0 } };
    for (int i = 0; i < count; i++) {
        double *rates = (double *)(void *)((char *)ceiling + kernels[i].rates);
        for (int all = 0; all < 2 && kernels[i].is_available; all++) {
            const double rate = best_rate(&kernels[i], all ? threads : 1);
            rates[all]        = rate > rates[all] ? rate : rates[all];
        }
    }
    ceiling->read[0] = read_rate(1);
    ceiling->read[1] = read_rate(threads < 8 ? threads : 8);  /* enough to fill the memory's lanes, and 512 MiB */
}
