/* After warm-up nothing is allocated: the allocator, and every call by which a process gets pages, is counted here in place
 * of the C library's. mprotect and madvise count as well, for arenas grow and shrink by them. Of a device with memory of its own
 * every call counts that asks its driver for what takes memory: device memory, addresses and mappings, pinned memory, streams,
 * events, graphs. What a driver allocates inside a call that asked for none is not ours, and not counted. */
#include "tests/support/promise.h"

#include <errno.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>

#define KINDS(X)                                                                                                             \
    X(malloc) X(calloc) X(realloc) X(free) X(aligned) X(mmap) X(munmap) X(mremap) X(mprotect) X(madvise) X(brk) X(device)

enum kind {
#define X(name) KIND_##name,
    KINDS(X)
#undef X
    KIND_COUNT
};

static const char *const kind_names[] = {
#define X(name) #name,
    KINDS(X)
#undef X
};

static atomic_ulong calls[KIND_COUNT];

static void note(enum kind kind)
{
    if (!promise_device_is_inside())
        atomic_fetch_add_explicit(&calls[kind], 1, memory_order_relaxed);
}

/* glibc's own names for what the definitions below stand in front of. */
void *__libc_malloc(size_t bytes);
void *__libc_calloc(size_t count, size_t bytes);
void *__libc_realloc(void *block, size_t bytes);
void  __libc_free(void *block);
void *__libc_memalign(size_t alignment, size_t bytes);

void *malloc(size_t bytes)
{
    note(KIND_malloc);
    return __libc_malloc(bytes);
}

void *calloc(size_t count, size_t bytes)
{
    note(KIND_calloc);
    return __libc_calloc(count, bytes);
}

void *realloc(void *block, size_t bytes)
{
    note(KIND_realloc);
    return __libc_realloc(block, bytes);
}

void free(void *block)
{
    if (block)
        note(KIND_free);
    __libc_free(block);
}

void *memalign(size_t alignment, size_t bytes)
{
    note(KIND_aligned);
    return __libc_memalign(alignment, bytes);
}

void *aligned_alloc(size_t alignment, size_t bytes) { return memalign(alignment, bytes); }

int posix_memalign(void **block, size_t alignment, size_t bytes)
{
    *block = memalign(alignment, bytes);
    return *block ? 0 : ENOMEM;
}

void *mmap(void *address, size_t bytes, int protection, int flags, int file, off_t offset)
{
    note(KIND_mmap);
    return (void *)syscall(SYS_mmap, address, bytes, protection, flags, file, offset);
}

int munmap(void *address, size_t bytes)
{
    note(KIND_munmap);
    return (int)syscall(SYS_munmap, address, bytes);
}

void *mremap(void *address, size_t bytes, size_t wanted, int flags, ...)
{
    va_list rest;
    va_start(rest, flags);
    void *at = flags & MREMAP_FIXED ? va_arg(rest, void *) : NULL;
    va_end(rest);
    note(KIND_mremap);
    return (void *)syscall(SYS_mremap, address, bytes, wanted, flags, at);
}

int mprotect(void *address, size_t bytes, int protection)
{
    note(KIND_mprotect);
    return (int)syscall(SYS_mprotect, address, bytes, protection);
}

int madvise(void *address, size_t bytes, int advice)
{
    note(KIND_madvise);
    return (int)syscall(SYS_madvise, address, bytes, advice);
}

/* The heap's end: sbrk moves it inside the C library, out of reach of a definition here, so it is asked for. */
static unsigned long heap_end(void) { return (unsigned long)syscall(SYS_brk, 0); }

struct counts {
    unsigned long calls[KIND_COUNT];
};

static struct counts count_now(void)
{
    struct counts now;
    for (int i = 0; i < KIND_COUNT; i++)
        now.calls[i] = atomic_load(&calls[i]);
    now.calls[KIND_brk]    = heap_end();
    now.calls[KIND_device] = promise_device_allocations();
    return now;
}

/* How many calls there have been since; each kind is printed. */
static unsigned long count_since(const struct counts *before)
{
    struct counts now = count_now();
    unsigned long sum = 0;
    for (int i = 0; i < KIND_COUNT; i++) {
        unsigned long more = now.calls[i] - before->calls[i];
        if (more)
            printf("  %s: %lu\n", kind_names[i], more);
        sum += more;
    }
    return sum;
}

/* ---- Random work ---- */

enum { BATCH = 8, CROWD = 64, ROOM = 512, WIDEST = 384 };

static uint32_t random_state = 20240229;

static uint32_t random_below(uint32_t limit)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 17;
    random_state ^= random_state << 5;
    return random_state % limit;
}

static char  characters[CROWD][ROOM];
static float vectors[CROWD * WIDEST];

/* A text of so many words, of one letter each: as many tokens, and the two special ones. */
static recto_text make_text(int place, uint32_t words)
{
    for (uint32_t i = 0; i < words; i++) {
        characters[place][2 * i]     = (char)('a' + random_below(26));
        characters[place][2 * i + 1] = ' ';
    }
    return (recto_text){ .data = characters[place], .length = 2 * (size_t)words };
}

static void embed(struct promise *promise, const recto_text *texts, size_t count, const recto_embed_options *options)
{
    recto_error error = RECTO_ERROR_INIT;
    promise_must(recto_embed(promise->model, texts, count, options, vectors, NULL, &error), &error);
}

/* Crowds of the longest texts, until no thread's memory has grown for many of them: a thread that others keep from its processor
 * comes late. */
static void warm_memory(struct promise *promise, uint32_t words)
{
    recto_text texts[CROWD];
    for (int i = 0; i < CROWD; i++)
        texts[i] = make_text(i, words);
    const int calm  = promise_times(words < 100 ? 300 : 3);
    uint64_t  bytes = 0;
    for (int unchanged = 0; unchanged < calm; unchanged++) {
        embed(promise, texts, CROWD, NULL);
        const uint64_t now = promise_usage(promise).arena_bytes;
        unchanged          = now == bytes ? unchanged : -1;
        bytes              = now;
    }
}

/* Every length alone and in batches: every plan. After the memory, for what a device keeps of a plan goes with that. */
static void warm_plans(struct promise *promise, uint32_t words)
{
    recto_text texts[BATCH];
    for (uint32_t i = 0; i <= words; i += words / 32) {
        texts[0] = make_text(0, i);
        embed(promise, texts, 1, NULL);
    }
    for (uint32_t length = 1; length <= words; length += length / 4 + 1)
        for (int size = 1; size <= BATCH; size++) {
            for (int i = 0; i < size; i++)
                texts[i] = make_text(i, length);
            embed(promise, texts, (size_t)size, NULL);
        }
}

static void embed_at_random(struct promise *promise, uint32_t words)
{
    recto_text          texts[BATCH];
    uint32_t            count   = random_below(4) ? 1 : 1 + random_below(BATCH);
    recto_embed_options options = { .struct_size = sizeof options, .truncate = (int)random_below(2),
                                    .dimensions = random_below(2) ? 0 : 1 + random_below(promise->facts.dimensions) };
    for (uint32_t i = 0; i < count; i++)
        texts[i] = make_text((int)i, random_below(words + 1));
    embed(promise, texts, count, &options);
}

static void count_calls(const struct promise_setup *setup, int embeds)
{
    struct promise promise;
    promise_open(&promise, setup);
    uint32_t words = promise.facts.max_tokens - 2;
    assert_true(words <= ROOM / 2);
    assert_true(promise.facts.dimensions <= WIDEST);
    struct counts before = count_now();
    warm_memory(&promise, words);
    warm_plans(&promise, words);
    assert_true(count_since(&before) > 0);  /* warm-up allocates, and that is seen */
    before                  = count_now();
    recto_engine_info first = promise_usage(&promise);
    for (int i = 0; i < embeds; i++)
        embed_at_random(&promise, words);
    unsigned long     sum  = count_since(&before);
    recto_engine_info last = promise_usage(&promise);
    printf("%s, %u threads: %d embeds of %" PRIu64 " tokens after warm-up: %lu calls\n", promise_precision_name(setup->precision),
           (unsigned)setup->threads, embeds, last.tokens - first.tokens, sum);
    assert_int_equal(sum, 0);
    assert_int_equal(last.plans_built, first.plans_built);
    assert_int_equal(last.bytes_in_use, first.bytes_in_use);
    assert_int_equal(last.device_bytes_in_use, first.device_bytes_in_use);
    assert_int_equal(last.captures, first.captures);
    assert_int_equal(last.eager, first.eager);  /* what is warm is replayed */
    assert_int_equal(last.fallbacks, first.fallbacks);
    promise_close(&promise);
}

static void ten_thousand_embeds(void **state)
{
    (void)state;
    static const int shares[PROMISE_PRECISIONS] = { 4000, 3000, 3000 };
    for (int i = 0; i < promise_device.precisions; i++)
        count_calls(&(struct promise_setup){ .model = promise_small_model, .cache = promise_small_cache,
                                             .precision = promise_precisions[i], .threads = i == 0 ? 1 : 2 },
                    promise_times(shares[i]));
}

static void embeds_of_a_real_model(void **state)
{
    (void)state;
    count_calls(&(struct promise_setup){ .precision = promise_narrowest(), .threads = 2 }, promise_times(100));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ten_thousand_embeds),
        cmocka_unit_test(embeds_of_a_real_model),
    };
    return cmocka_run_group_tests(tests, promise_small_set_up, promise_small_tear_down);
}
