/* ceiling: what the arithmetic units of this CPU can do at most, measured; the yardstick of profiling/bench.py.
 *
 *     ceiling [THREADS]     measures 1 thread and THREADS threads (default 2), prints one JSON object
 *
 * Each kernel is a loop of 24 independent multiply-adds on 12 registers, without memory: enough to hide every latency. They are
 * written as assembly because compilers spill or fold such loops. A kernel runs only where the CPU has its instructions; the
 * ceiling of a precision is that of its fastest kernel. Rates are 10^9 operations a second, a multiply-add counted as two. */
#include <immintrin.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define RUNS 80
#define SECONDS_PER_RUN 0.003 /* short, so that some runs fall between two turns of a neighbour */
#define MOST_THREADS 64
#define STEPS_PER_LOOP 24

/* Applies STEP(assembly, i) to each of the 12 accumulators. */
#define EACH(STEP, assembly)                                                                                     \
    STEP(assembly, 0) STEP(assembly, 1) STEP(assembly, 2) STEP(assembly, 3) STEP(assembly, 4) STEP(assembly, 5)  \
    STEP(assembly, 6) STEP(assembly, 7) STEP(assembly, 8) STEP(assembly, 9) STEP(assembly, 10) STEP(assembly, 11)
#define DECLARE(zero, i) vector a##i = zero;
/* %0 is an accumulator, %1 a scratch register, %2 to %4 are operands. */
#define MULTIPLY_ADD(assembly, i) __asm__ volatile(assembly : "+v"(a##i), "=&v"(scratch) : "v"(x), "v"(y), "v"(z));

/* Defines NAME(loops), which runs the assembly STEPS_PER_LOOP times a loop on vectors of TYPE. */
#define KERNEL(NAME, TARGET, TYPE, ZERO, ASSEMBLY)                        \
    __attribute__((target(TARGET), noinline)) static void NAME(long loops) \
    {                                                                     \
        typedef TYPE vector;                                              \
        vector scratch, x = ZERO, y = ZERO, z = ZERO;                     \
        EACH(DECLARE, ZERO)                                               \
        for (long i = 0; i < loops; i++) {                                \
            EACH(MULTIPLY_ADD, ASSEMBLY)                                  \
            EACH(MULTIPLY_ADD, ASSEMBLY)                                  \
        }                                                                 \
    }

KERNEL(fma_avx2, "avx2,fma", __m256, _mm256_setzero_ps(), "vfmadd231ps %2, %3, %0")
KERNEL(fma_avx512, "avx512f", __m512, _mm512_setzero_ps(), "vfmadd231ps %2, %3, %0")
KERNEL(dot_bf16_avx512, "avx512f,avx512bf16", __m512i, _mm512_setzero_si512(), "vdpbf16ps %2, %3, %0")
KERNEL(dot_u8s8_avx512, "avx512f,avx512vnni", __m512i, _mm512_setzero_si512(), "vpdpbusd %2, %3, %0")
KERNEL(dot_u8s8_avx2, "avx2", __m256i, _mm256_setzero_si256(),
       "vpmaddubsw %2, %3, %1\n\tvpmaddwd %1, %4, %1\n\tvpaddd %1, %0, %0")
KERNEL(dot_s16_avx2, "avx2", __m256i, _mm256_setzero_si256(), "vpmaddwd %2, %3, %1\n\tvpaddd %1, %0, %0")

struct kernel {
    const char *name, *precision; /* the precision whose ceiling it may set; NULL: only printed */
    void (*run)(long loops);
    int operations_per_step;
    int is_available;
    double rate[2]; /* with 1 thread, with all */
};

struct worker {
    pthread_t thread;
    pthread_barrier_t *start;
    void (*run)(long loops);
    long loops;
    double began, ended;
};

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

static void *work(void *argument)
{
    struct worker *worker = argument;
    pthread_barrier_wait(worker->start);
    worker->began = now();
    worker->run(worker->loops);
    worker->ended = now();
    return NULL;
}

/* Seconds from the first thread's start to the last one's end. */
static double time_together(void (*run)(long), long loops, int threads)
{
    struct worker workers[MOST_THREADS];
    pthread_barrier_t start;
    pthread_barrier_init(&start, NULL, (unsigned)threads);
    for (int i = 0; i < threads; i++) {
        workers[i] = (struct worker){.start = &start, .run = run, .loops = loops};
        if (i && pthread_create(&workers[i].thread, NULL, work, &workers[i])) {
            fprintf(stderr, "ceiling: no thread to be had\n");
            exit(1);
        }
    }
    work(&workers[0]);
    double began = workers[0].began, ended = workers[0].ended;
    for (int i = 1; i < threads; i++) {
        pthread_join(workers[i].thread, NULL);
        began = workers[i].began < began ? workers[i].began : began;
        ended = workers[i].ended > ended ? workers[i].ended : ended;
    }
    pthread_barrier_destroy(&start);
    return ended - began;
}

/* The best of RUNS: a ceiling is what the unit can do, not what neighbours leave of it. */
static double best_rate(const struct kernel *kernel, int threads)
{
    long loops = 1000;
    double seconds;
    while ((seconds = time_together(kernel->run, loops, 1)) < SECONDS_PER_RUN / 4)
        loops *= 2;
    loops = (long)((double)loops * SECONDS_PER_RUN / seconds);
    double operations = (double)loops * STEPS_PER_LOOP * kernel->operations_per_step * threads, best = 0;
    for (int run = 0; run < RUNS; run++) {
        double rate = operations / time_together(kernel->run, loops, threads) * 1e-9;
        best = rate > best ? rate : best;
    }
    return best;
}

static void print_cpu_model(void)
{
    char line[256];
    FILE *file = fopen("/proc/cpuinfo", "r");
    while (file && fgets(line, sizeof line, file))
        if (strncmp(line, "model name", 10) == 0) {
            line[strcspn(line, "\n")] = 0;
            printf("\"cpu\": \"%s\", ", strchr(line, ':') + 2);
            break;
        }
    if (file)
        fclose(file);
}

static void print_rates(const char *name, const double rate[2], int threads)
{
    printf("\"%s\": {\"1\": %.1f", name, rate[0]);
    if (threads > 1)
        printf(", \"%d\": %.1f", threads, rate[1]);
    printf("}");
}

static void print_ceilings(const struct kernel *kernels, int count, int threads)
{
    static const char *const precisions[] = {"fp32", "bf16", "int8"};
    printf("\"ceilings\": {");
    for (int p = 0, printed = 0; p < 3; p++) {
        double best[2] = {0, 0};
        for (int i = 0; i < count; i++)
            for (int t = 0; t < 2; t++)
                if (kernels[i].precision && strcmp(kernels[i].precision, precisions[p]) == 0 && kernels[i].rate[t] > best[t])
                    best[t] = kernels[i].rate[t];
        if (best[0] <= 0)
            continue;
        printf(printed++ ? ", " : "");
        print_rates(precisions[p], best, threads);
    }
    printf("}");
}

int main(int count, char **arguments)
{
    int threads = count > 1 ? atoi(arguments[1]) : 2;
    if (threads < 1 || threads > MOST_THREADS) {
        fprintf(stderr, "usage: ceiling [THREADS], 1 to %d\n", MOST_THREADS);
        return 2;
    }
    int has_avx2 = __builtin_cpu_supports("avx2"), has_avx512 = __builtin_cpu_supports("avx512f");
    struct kernel kernels[] = {
        {"fma_avx2", "fp32", fma_avx2, 8 * 2, has_avx2 && __builtin_cpu_supports("fma"), {0}},
        {"fma_avx512", "fp32", fma_avx512, 16 * 2, has_avx512, {0}},
        {"dot_bf16_avx512", "bf16", dot_bf16_avx512, 32 * 2, has_avx512 && __builtin_cpu_supports("avx512bf16"), {0}},
        {"dot_u8s8_avx512", "int8", dot_u8s8_avx512, 64 * 2, has_avx512 && __builtin_cpu_supports("avx512vnni"), {0}},
        {"dot_u8s8_avx2", "int8", dot_u8s8_avx2, 32 * 2, has_avx2, {0}},
        {"dot_s16_avx2", NULL, dot_s16_avx2, 16 * 2, has_avx2, {0}},
    };
    int kinds = sizeof kernels / sizeof *kernels;
    printf("{");
    print_cpu_model();
    printf("\"unit\": \"10^9 operations a second\", \"kernels\": {");
    for (int i = 0, printed = 0; i < kinds; i++) {
        if (!kernels[i].is_available)
            continue;
        kernels[i].rate[0] = best_rate(&kernels[i], 1);
        kernels[i].rate[1] = threads > 1 ? best_rate(&kernels[i], threads) : 0;
        printf(printed++ ? ", " : "");
        print_rates(kernels[i].name, kernels[i].rate, threads);
    }
    printf("}, ");
    print_ceilings(kernels, kinds, threads);
    printf("}\n");
    return 0;
}
