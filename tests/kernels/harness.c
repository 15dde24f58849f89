#include "tests/kernels/harness.h"
#include "tests/support/compare.h"

#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { SENTINEL = 0xa5, SHOWN_FAILURES = 3, MOST_BLOCKS = 64, PAGE = 1 << 16 };

struct options options;

static struct {
    const char *set, *kernel;
    unsigned    cases, failures;
    uint64_t    random;
} group;
static unsigned groups_passed, groups_failed;

static struct {
    const char *const *kernels;
    int                count;  /* 0: no bug is planted */
} planted;

static struct {
    void  *base;
    size_t bytes;
} blocks[MOST_BLOCKS];
static int block_count;

static void print_reproduce(void)
{
    printf("     again: %s --seed %llu --set %s --only %s%s\n", options.program, (unsigned long long)options.seed, group.set,
           group.kernel, options.quick ? " --quick" : "");
}

static void touched_guard(int signal_number)
{
    printf("FAIL %s %s: signal %d after %u cases: memory outside an operand was touched\n", group.set, group.kernel, signal_number,
           group.cases);
    print_reproduce();
    fflush(stdout);
    _exit(1);
}

static bool is_planted(const char *kernel)
{
    for (int i = 0; i < planted.count; i++)
        if (strcmp(planted.kernels[i], kernel) == 0)
            return true;
    return false;
}

bool group_begin(const char *set, const char *kernel)
{
    if (planted.count > 0 && !is_planted(kernel))
        return false;
    if ((options.only && strcmp(options.only, kernel) != 0) || (options.set && strcmp(options.set, set) != 0))
        return false;
    signal(SIGSEGV, touched_guard);
    signal(SIGBUS, touched_guard);
    group.set      = set;
    group.kernel   = kernel;
    group.cases    = 0;
    group.failures = 0;
    group.random   = options.seed * 0x9e3779b97f4a7c15u + 1;
    for (const char *c = kernel; *c; c++)
        group.random = (group.random ^ (unsigned char)*c) * 0x100000001b3u;
    return true;
}

void group_end(void)
{
    bool passed = group.cases > 0 && (group.failures > 0) == (planted.count > 0);
    printf("%s %-18s %-18s %6u cases, %u failed%s\n", passed ? "ok  " : "FAIL", group.set, group.kernel, group.cases, group.failures,
           planted.count ? ": the planted bug was to be found" : "");
    if (!passed)
        print_reproduce();
    if (passed)
        groups_passed++;
    else
        groups_failed++;
    fflush(stdout);
}

void check(bool passed, const char *text, ...)
{
    group.cases++;
    if (passed || group.failures++ >= SHOWN_FAILURES || planted.count > 0)
        return;
    va_list list;
    va_start(list, text);
    printf("     %s %s case %u: ", group.set, group.kernel, group.cases);
    vprintf(text, list);
    printf("\n");
    va_end(list);
}

void plant_begin(const char *const *kernels, int count)
{
    planted.kernels = kernels;
    planted.count   = count;
}

void plant_end(void) { planted.count = 0; }

int finish(void)
{
    printf("%u passed, %u failed\n", groups_passed, groups_failed);
    return groups_failed || !groups_passed;
}

uint64_t random_bits(void)
{
    uint64_t z = group.random += 0x9e3779b97f4a7c15u;
    z          = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z          = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

int random_int(int low, int high) { return low + (int)(random_bits() % (uint64_t)(high - low + 1)); }

float random_float(void)
{
    uint64_t bits = random_bits();
    if (bits % 64 == 0)
        return bits & 64 ? 0.0f : -0.0f;
    float sum = 0.0f;  /* of six uniform numbers of variance 1/6 each */
    for (int i = 0; i < 6; i++)
        sum += (float)(bits >> (10 * i) & 1023) / 1023.0f - 0.5f;
    return sum * 1.414f;
}

struct range random_range(int count)
{
    if (random_bits() & 1)
        return (struct range){ 0, 0, count };
    int first = random_int(0, count - 1), last = random_int(first + 1, count);
    return (struct range){ first, random_int(first, last - 1), last };
}

void *guarded_new(size_t bytes)
{
    size_t whole = (bytes + PAGE - 1) / PAGE * PAGE + PAGE;
    char  *base  = mmap(NULL, whole, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (base == MAP_FAILED || block_count == MOST_BLOCKS || mprotect(base + whole - PAGE, PAGE, PROT_NONE) != 0) {
        printf("no memory for the test of %s\n", group.kernel);
        exit(1);
    }
    blocks[block_count].base    = base;
    blocks[block_count++].bytes = whole;
    char *data                  = base + (whole - PAGE - bytes);
    memset(data, SENTINEL, bytes);
    return data;
}

void guarded_free_all(void)
{
    while (block_count > 0) {
        block_count--;
        munmap(blocks[block_count].base, blocks[block_count].bytes);
    }
}

float *guarded_floats(size_t count)
{
    float *floats = guarded_new(sizeof(float) * count);
    for (size_t i = 0; i < count; i++)
        floats[i] = random_float();
    return floats;
}

struct matrix matrix_new(int rows, int columns, size_t element_bytes, int gap)
{
    struct matrix m = { NULL, rows, element_bytes * (size_t)columns, element_bytes * (size_t)(columns + gap) };
    m.rows          = guarded_new(m.stride * (size_t)rows);
    return m;
}

struct matrix matrix_random(int rows, int columns, int gap)
{
    struct matrix m = { NULL, rows, sizeof(float) * (size_t)columns, sizeof(float) * (size_t)(columns + gap) };
    m.rows          = guarded_new(m.stride * (size_t)(rows - 1) + m.row_bytes);
    for (int row = 0; row < rows; row++)
        for (int i = 0; i < columns; i++)
            ((float *)matrix_row(&m, row))[i] = random_float();
    return m;
}

struct matrix matrix_copy(const struct matrix *from)
{
    struct matrix m = *from;
    m.rows          = guarded_new(m.stride * (size_t)m.count);
    for (int row = 0; row < m.count; row++)
        memcpy(matrix_row(&m, row), matrix_row(from, row), m.row_bytes);
    return m;
}

void *matrix_row(const struct matrix *m, int row) { return m->rows + m->stride * (size_t)row; }

static bool gaps_intact(const struct matrix *m)
{
    for (int row = 0; row < m->count; row++)
        for (size_t i = m->row_bytes; i < m->stride; i++)
            if (((unsigned char *)matrix_row(m, row))[i] != SENTINEL)
                return false;
    return true;
}

bool matrix_same(const struct matrix *actual, const struct matrix *expected)
{
    return compare_bytes(actual->rows, expected->rows, actual->stride * (size_t)actual->count) == COMPARE_SAME
        && gaps_intact(expected);
}
