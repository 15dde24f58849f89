/* Every allocation and every call to the file system, failed one by one while a model is opened, embeds and is closed.
 *
 * The program is linked with --wrap, so that calls of ours and of the libraries in the archive come here first. A run without
 * faults counts them; then run i fails call i, once or from there on. Each run must end without a crash, with nothing held and
 * every booked byte given back, in the right vectors or a sentence; and a run without faults after it must be right.
 */
#include "tests/support/embedder.h"
#include "tests/support/promise.h"
#include "tests/support/small_model.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

enum { WIDTH = 32, TEXTS = 12 };

/* ---- Which call fails ---- */

enum group { MEMORY, FILES, GROUPS };

static struct {
    bool       on;          /* calls are counted, and may fail */
    enum group group;       /* of the calls that fail */
    long       victim;      /* number of the call that fails, from 1; 0: none */
    bool       persistent;  /* all calls from there on */
    int        number;      /* errno; 0: a short count where there is one, else EINTR */
    atomic_long count[GROUPS], live;
} fault;

/* What a device's driver does inside a call is not ours. */
static bool is_ours(void) { return fault.on && !promise_device_is_inside(); }

static bool fails(enum group group)
{
    if (!is_ours())
        return false;
    long now = atomic_fetch_add(&fault.count[group], 1) + 1;
    return group == fault.group && fault.victim && (fault.persistent ? now >= fault.victim : now == fault.victim);
}

static bool refused(enum group group)
{
    if (!fails(group))
        return false;
    errno = group == MEMORY ? ENOMEM : fault.number ? fault.number : EINTR;
    return true;
}

/* ---- Memory ---- */

void *__real_malloc(size_t bytes);
void *__real_calloc(size_t count, size_t bytes);
void *__real_realloc(void *block, size_t bytes);
void *__real_aligned_alloc(size_t alignment, size_t bytes);
char *__real_strdup(const char *text);
void  __real_free(void *block);
void *__real_mmap(void *address, size_t bytes, int protection, int flags, int descriptor, off_t offset);
int   __real_munmap(void *address, size_t bytes);
int   __real_mprotect(void *address, size_t bytes, int protection);
int   __real_memfd_create(const char *name, unsigned flags);
int   __real_pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*start)(void *), void *user);

void *__wrap_malloc(size_t bytes);
void *__wrap_calloc(size_t count, size_t bytes);
void *__wrap_realloc(void *block, size_t bytes);
void *__wrap_aligned_alloc(size_t alignment, size_t bytes);
char *__wrap_strdup(const char *text);
void  __wrap_free(void *block);
void *__wrap_mmap(void *address, size_t bytes, int protection, int flags, int descriptor, off_t offset);
int   __wrap_munmap(void *address, size_t bytes);
int   __wrap_mprotect(void *address, size_t bytes, int protection);
int   __wrap_memfd_create(const char *name, unsigned flags);
int   __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*start)(void *), void *user);

/* Blocks and mappings that are held; helpers may allocate too. */
static void *counted(void *block)
{
    if (block && is_ours())
        atomic_fetch_add(&fault.live, 1);
    return block;
}

void *__wrap_malloc(size_t bytes) { return refused(MEMORY) ? NULL : counted(__real_malloc(bytes)); }
void *__wrap_calloc(size_t count, size_t bytes) { return refused(MEMORY) ? NULL : counted(__real_calloc(count, bytes)); }
char *__wrap_strdup(const char *text) { return refused(MEMORY) ? NULL : counted(__real_strdup(text)); }
void *__wrap_aligned_alloc(size_t alignment, size_t bytes)
{
    return refused(MEMORY) ? NULL : counted(__real_aligned_alloc(alignment, bytes));
}

void *__wrap_realloc(void *block, size_t bytes)
{
    if (refused(MEMORY))
        return NULL;
    void *moved = __real_realloc(block, bytes);
    return block ? moved : counted(moved);
}

void __wrap_free(void *block)
{
    if (block && is_ours())
        atomic_fetch_sub(&fault.live, 1);
    __real_free(block);
}

void *__wrap_mmap(void *address, size_t bytes, int protection, int flags, int descriptor, off_t offset)
{
    if (refused(MEMORY))
        return MAP_FAILED;
    void *mapped = __real_mmap(address, bytes, protection, flags, descriptor, offset);
    if (mapped != MAP_FAILED)
        counted(mapped);
    return mapped;
}

int __wrap_munmap(void *address, size_t bytes)
{
    if (is_ours())
        atomic_fetch_sub(&fault.live, 1);
    return __real_munmap(address, bytes);
}

/* Taking pages away is never refused: that it worked is not looked at. */
int __wrap_mprotect(void *address, size_t bytes, int protection)
{
    return protection != PROT_NONE && refused(MEMORY) ? -1 : __real_mprotect(address, bytes, protection);
}

int __wrap_memfd_create(const char *name, unsigned flags) { return refused(MEMORY) ? -1 : __real_memfd_create(name, flags); }

int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*start)(void *), void *user)
{
    return refused(MEMORY) ? EAGAIN : __real_pthread_create(thread, attributes, start, user);
}

/* ---- Files ---- */

int     __real_open(const char *path, int flags, ...);
ssize_t __real_read(int descriptor, void *to, size_t bytes);
ssize_t __real_pread(int descriptor, void *to, size_t bytes, off_t offset);
ssize_t __real_write(int descriptor, const void *from, size_t bytes);
ssize_t __real_pwrite(int descriptor, const void *from, size_t bytes, off_t offset);
int     __real_fsync(int descriptor);
int     __real_rename(const char *from, const char *to);
int     __real_linkat(int from_folder, const char *from, int to_folder, const char *to, int flags);
int     __real_ftruncate(int descriptor, off_t bytes);
int     __real_fstat(int descriptor, struct stat *facts);
int     __real_stat(const char *path, struct stat *facts);

int     __wrap_open(const char *path, int flags, ...);
ssize_t __wrap_read(int descriptor, void *to, size_t bytes);
ssize_t __wrap_pread(int descriptor, void *to, size_t bytes, off_t offset);
ssize_t __wrap_write(int descriptor, const void *from, size_t bytes);
ssize_t __wrap_pwrite(int descriptor, const void *from, size_t bytes, off_t offset);
int     __wrap_fsync(int descriptor);
int     __wrap_rename(const char *from, const char *to);
int     __wrap_linkat(int from_folder, const char *from, int to_folder, const char *to, int flags);
int     __wrap_ftruncate(int descriptor, off_t bytes);
int     __wrap_fstat(int descriptor, struct stat *facts);
int     __wrap_stat(const char *path, struct stat *facts);

int __wrap_open(const char *path, int flags, ...)
{
    va_list arguments;
    va_start(arguments, flags);
    mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(arguments, mode_t) : 0;
    va_end(arguments);
    return refused(FILES) ? -1 : __real_open(path, flags, mode);
}

/* A failed transfer is an error, or with number 0 half of what was asked for. */
static bool halved(size_t *bytes)
{
    if (fault.number || *bytes < 2)
        return false;
    *bytes /= 2;
    return true;
}

ssize_t __wrap_read(int descriptor, void *to, size_t bytes)
{
    return refused(FILES) && !halved(&bytes) ? -1 : __real_read(descriptor, to, bytes);
}

ssize_t __wrap_pread(int descriptor, void *to, size_t bytes, off_t offset)
{
    return refused(FILES) && !halved(&bytes) ? -1 : __real_pread(descriptor, to, bytes, offset);
}

ssize_t __wrap_write(int descriptor, const void *from, size_t bytes)
{
    return refused(FILES) && !halved(&bytes) ? -1 : __real_write(descriptor, from, bytes);
}

ssize_t __wrap_pwrite(int descriptor, const void *from, size_t bytes, off_t offset)
{
    return refused(FILES) && !halved(&bytes) ? -1 : __real_pwrite(descriptor, from, bytes, offset);
}

int __wrap_fsync(int descriptor) { return refused(FILES) ? -1 : __real_fsync(descriptor); }
int __wrap_rename(const char *from, const char *to) { return refused(FILES) ? -1 : __real_rename(from, to); }
int __wrap_linkat(int from_folder, const char *from, int to_folder, const char *to, int flags)
{
    return refused(FILES) ? -1 : __real_linkat(from_folder, from, to_folder, to, flags);
}
int __wrap_ftruncate(int descriptor, off_t bytes) { return refused(FILES) ? -1 : __real_ftruncate(descriptor, bytes); }
int __wrap_fstat(int descriptor, struct stat *facts) { return refused(FILES) ? -1 : __real_fstat(descriptor, facts); }
int __wrap_stat(const char *path, struct stat *facts) { return refused(FILES) ? -1 : __real_stat(path, facts); }

/* ---- The run ---- */

static char  scratch[SMALL_PATH_MAX], cache[SMALL_PATH_MAX + 16], folders[2][SMALL_PATH_MAX + 16];
static char  texts[TEXTS][64];
static float expected[3][TEXTS * WIDTH];  /* by precision */

struct job {
    const char     *folder;
    recto_precision precision;
    uint32_t        threads;
    uint64_t        budget;
    bool            keeps_pack;  /* the pack of the run before is found */
};

static int set_up(void **state)
{
    (void)state;
    struct small_sizes sizes = small_usual;
    struct small_model model;
    scratch_make(scratch);
    snprintf(cache, sizeof cache, "%s/cache", scratch);
    for (int i = 0; i < 2; i++) {
        snprintf(folders[i], sizeof folders[i], "%s/model%d", scratch, i);
        sizes.layers = 1;
        sizes.dense  = i ? WIDTH : 0;
        small_model_make(&model, &sizes);
        model.tokenizer_json = i == 1;
        model.prompts        = "\"query\":\"q \"";
        small_model_write(&model, folders[i]);
        small_model_release(&model);
    }
    for (int i = 0; i < TEXTS; i++)
        snprintf(texts[i], sizeof texts[i], "%.*s", 3 + 4 * i, "the quick brown fox jumps over the lazy dog 0123456789");
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    scratch_remove(scratch);
    return 0;
}

/* Opens, tokenises, embeds, closes. `vectors` are those of success. */
static recto_status run(const struct job *job, float *vectors, recto_error *error)
{
    recto_engine         *engine = NULL;
    recto_model          *model  = NULL;
    recto_text            batch[TEXTS];
    int32_t               ids[64];
    uint32_t              starts[64], ends[64];
    recto_engine_options  options = { .struct_size = sizeof options, .threads = job->threads, .host_bytes = job->budget,
                                      .cache_folder = cache, .hub_folder = "/nowhere" };
    recto_model_options   opening = { .struct_size = sizeof opening, .precision = job->precision };
    recto_embed_options   asking  = { .struct_size = sizeof asking, .prompt = "query" };
    recto_tokens          tokens  = { .struct_size = sizeof tokens, .count = 64, .ids = ids, .starts = starts, .ends = ends };
    for (int i = 0; i < TEXTS; i++)
        batch[i] = (recto_text){ .data = texts[i], .length = strlen(texts[i]) };
    recto_status result = recto_engine_open(&engine, &options, error);
    if (result == RECTO_OK)
        result = recto_model_open(engine, job->folder, &opening, &model, error);
    if (result == RECTO_OK)
        result = recto_tokenize(model, &batch[0], &tokens, error);
    if (result == RECTO_OK)
        result = recto_embed(model, batch, TEXTS, &asking, vectors, NULL, error);
    recto_model_close(model);
    recto_engine_close(engine);
    return result;
}

static void forget_pack(void)
{
    char path[SMALL_PATH_MAX + 32];
    snprintf(path, sizeof path, "%s/packed", cache);
    scratch_remove(path);
    snprintf(path, sizeof path, "%s/keys", cache);
    scratch_remove(path);
}

/* A run with the fault that is set; true when there was something to fail. */
static bool run_with_fault(const struct job *job, recto_status *result, recto_error *error, float *vectors)
{
    for (int i = 0; i < GROUPS; i++)
        atomic_store(&fault.count[i], 0);
    atomic_store(&fault.live, 0);
    *error = (recto_error)RECTO_ERROR_INIT;
    memset(vectors, 0xee, TEXTS * WIDTH * sizeof *vectors);
    fault.on = true;
    *result  = run(job, vectors, error);
    fault.on = false;
    return fault.victim && atomic_load(&fault.count[fault.group]) >= fault.victim;
}

/* The right vectors, or a sentence; and nothing held. */
static void check_outcome(recto_status result, const recto_error *error, const float *vectors, const float *right)
{
    if (result == RECTO_OK && memcmp(vectors, right, sizeof expected[0]) != 0)
        fail_msg("call %ld failed, and the vectors are wrong", fault.victim);
    if (result != RECTO_OK && (error->code != result || strlen(error->message) < 12))
        fail_msg("call %ld failed, and the error is %d '%s'", fault.victim, result, error->message);
    if (result == RECTO_E_INTERNAL || result == RECTO_E_USAGE || result == RECTO_E_INPUT)
        fail_msg("call %ld failed, and it was called '%s: %s'", fault.victim, recto_status_name(result), error->message);
    if (atomic_load(&fault.live) != 0)
        fail_msg("call %ld failed, and %ld blocks or mappings are still held ('%s')", fault.victim, atomic_load(&fault.live),
                 error->message);
    promise_device_check();
}

static void make_expected(const struct job *job, float *right)
{
    recto_error  error;
    recto_status result;
    float        again[TEXTS * WIDTH];
    forget_pack();
    fault.victim = 0;
    run_with_fault(job, &result, &error, right);
    if (result != RECTO_OK)
        fail_msg("%s", error.message);
    assert_int_equal(atomic_load(&fault.live), 0);
    run_with_fault(job, &result, &error, again);
    assert_memory_equal(again, right, sizeof again);
}

/* Fails every call of a group in turn. Returns how many there were. */
static long sweep(const struct job *job, enum group group, int number, bool persistent)
{
    static float vectors[TEXTS * WIDTH];
    recto_error  error;
    recto_status result;
    bool         reached = true;
    make_expected(job, expected[0]);
    fault.group      = group;
    fault.number     = number;
    fault.persistent = persistent;
    for (fault.victim = 1; reached; fault.victim++) {
        if (!job->keeps_pack)
            forget_pack();
        reached = run_with_fault(job, &result, &error, vectors);
        check_outcome(result, &error, vectors, expected[0]);
        if (!reached)
            assert_int_equal(result, RECTO_OK);
        long victim  = fault.victim;
        fault.victim = 0;  /* what the failure left behind must not harm the next run */
        run_with_fault(job, &result, &error, vectors);
        fault.victim = victim;
        if (result != RECTO_OK)
            fail_msg("after call %ld had failed, the next run failed: %s", victim, error.message);
        check_outcome(result, &error, vectors, expected[0]);
    }
    fault.victim -= 2;
    return fault.victim;
}

static void sweep_jobs(enum group group, int number, bool persistent, long least)
{
    const recto_precision precisions[] = { RECTO_PRECISION_FP32, promise_narrowest() };
    for (int i = 0; i < 2; i++) {
        struct job job = { .folder = folders[i], .precision = precisions[i], .threads = 2 };
        assert_true(sweep(&job, group, number, persistent) >= least);
        job.keeps_pack = true;
        assert_true(sweep(&job, group, number, persistent) >= least / 2);
    }
}

static void each_allocation_fails_once(void **state)
{
    (void)state;
    sweep_jobs(MEMORY, 0, false, 80);
}

static void allocations_fail_from_each_on(void **state)
{
    (void)state;
    sweep_jobs(MEMORY, 0, true, 80);
}

/* Of so many ways to fail; a slow device is tried with the first. */
static size_t ways(size_t count) { return promise_device.haste > 1 ? 1 : count; }

static void each_file_call_fails_once(void **state)
{
    (void)state;
    static const int numbers[] = { EIO, ENOSPC, EINTR, 0 };
    for (size_t i = 0; i < ways(sizeof numbers / sizeof *numbers); i++)
        sweep_jobs(FILES, numbers[i], false, 40);
}

static void file_calls_fail_from_each_on(void **state)
{
    (void)state;
    static const int numbers[] = { EIO, ENOSPC };
    for (size_t i = 0; i < ways(sizeof numbers / sizeof *numbers); i++)
        sweep_jobs(FILES, numbers[i], true, 40);
}

/* Every booking refused in turn: budgets from nothing to enough. */
static void every_budget(void **state)
{
    (void)state;
    static float vectors[TEXTS * WIDTH];
    struct job   job = { .folder = folders[1], .precision = promise_narrowest(), .threads = 2 };
    make_expected(&job, expected[0]);
    uint64_t step = 1000, first_enough = 0;
    for (uint64_t budget = 5 << 20; !first_enough || budget < first_enough + (64 << 10); budget += step) {
        recto_status result;
        recto_error  error;
        job.budget     = budget;
        job.keeps_pack = budget / step % 2;
        if (!job.keeps_pack)
            forget_pack();
        run_with_fault(&job, &result, &error, vectors);
        check_outcome(result, &error, vectors, expected[0]);
        assert_true(result == RECTO_OK || result == RECTO_E_BUDGET);
        if (result == RECTO_E_BUDGET)
            assert_non_null(strstr(error.message, "the budget is"));
        else if (!first_enough)
            first_enough = budget;
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_allocation_fails_once), cmocka_unit_test(allocations_fail_from_each_on),
        cmocka_unit_test(each_file_call_fails_once),  cmocka_unit_test(file_calls_fail_from_each_on),
        cmocka_unit_test(every_budget),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
