#include "runtime/pool.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

struct pool {
    pthread_mutex_t   lock;
    struct pool_usage usage;
    pool_reclaim     *reclaim;
    void             *reclaim_user;
};

/* In front of each block, as long as the alignment that blocks have. */
struct block_header {
    uint64_t             bytes;  /* booked, this header included */
    enum memory_category category;
};
enum { BLOCK_ALIGNMENT = 64 };
_Static_assert(sizeof(struct block_header) <= BLOCK_ALIGNMENT, "the header fits in front of an aligned block");

status pool_open(struct pool **pool, uint64_t ceiling, struct error *error)
{
    *pool = calloc(1, sizeof **pool);
    if (!*pool)
        return error_set(error, STATUS_MEMORY, "pool: the system gave no memory for the pool itself");
    pthread_mutex_init(&(*pool)->lock, NULL);
    (*pool)->usage.ceiling = ceiling ? ceiling : UINT64_MAX;
    return STATUS_OK;
}

void pool_close(struct pool *pool)
{
    if (!pool)
        return;
    pthread_mutex_destroy(&pool->lock);
    free(pool);
}

void pool_set_reclaim(struct pool *pool, pool_reclaim *reclaim, void *user)
{
    pthread_mutex_lock(&pool->lock);
    pool->reclaim      = reclaim;
    pool->reclaim_user = user;
    pthread_mutex_unlock(&pool->lock);
}

void pool_ask(struct pool *pool, uint64_t bytes)
{
    pthread_mutex_lock(&pool->lock);
    pool_reclaim *reclaim = pool->reclaim;
    void         *user    = pool->reclaim_user;
    pthread_mutex_unlock(&pool->lock);
    if (reclaim)
        reclaim(user, bytes);
}

static int try_charge(struct pool *pool, enum memory_category category, uint64_t bytes)
{
    struct pool_usage *usage = &pool->usage;
    if (bytes > usage->ceiling - usage->in_use)
        return 0;
    usage->in_use += bytes;
    usage->by_category[category] += bytes;
    if (usage->in_use > usage->peak)
        usage->peak = usage->in_use;
    if (usage->by_category[category] > usage->peak_by_category[category])
        usage->peak_by_category[category] = usage->by_category[category];
    return 1;
}

status pool_charge(struct pool *pool, enum memory_category category, uint64_t bytes, const char *what,
                   struct error *error)
{
    pthread_mutex_lock(&pool->lock);
    int  fits     = try_charge(pool, category, bytes);
    bool may_help = pool->reclaim != NULL;
    pthread_mutex_unlock(&pool->lock);
    if (fits)
        return STATUS_OK;
    if (may_help) {
        pool_ask(pool, bytes);
        pthread_mutex_lock(&pool->lock);
        fits = try_charge(pool, category, bytes);
        pthread_mutex_unlock(&pool->lock);
        if (fits)
            return STATUS_OK;
    }
    pthread_mutex_lock(&pool->lock);
    pool->usage.refusals++;
    struct pool_usage usage = pool->usage;
    pthread_mutex_unlock(&pool->lock);
    return error_set(error, STATUS_BUDGET, "%s needs %llu bytes beside the %llu in use, the budget is %llu bytes", what,
                     (unsigned long long)bytes, (unsigned long long)usage.in_use, (unsigned long long)usage.ceiling);
}

void pool_discharge(struct pool *pool, enum memory_category category, uint64_t bytes)
{
    pthread_mutex_lock(&pool->lock);
    pool->usage.in_use -= bytes;
    pool->usage.by_category[category] -= bytes;
    pthread_mutex_unlock(&pool->lock);
}

status pool_alloc(struct pool *pool, enum memory_category category, size_t bytes, const char *what, void **block,
                  struct error *error)
{
    *block = NULL;
    if (bytes > SIZE_MAX / 2)
        return error_set(error, STATUS_MEMORY, "%s: a block of %zu bytes cannot exist", what, bytes);
    uint64_t rounded = (bytes + BLOCK_ALIGNMENT - 1) / BLOCK_ALIGNMENT * BLOCK_ALIGNMENT + BLOCK_ALIGNMENT;
    status   result  = pool_charge(pool, category, rounded, what, error);
    if (result != STATUS_OK)
        return result;
    char *memory = aligned_alloc(BLOCK_ALIGNMENT, rounded);
    if (!memory) {
        pool_discharge(pool, category, rounded);
        return error_set(error, STATUS_MEMORY, "%s: the system gave no memory for %zu bytes", what, bytes);
    }
    *(struct block_header *)memory = (struct block_header){ rounded, category };
    *block                         = memory + BLOCK_ALIGNMENT;
    return STATUS_OK;
}

status pool_resize(struct pool *pool, enum memory_category category, size_t bytes, const char *what, void **block,
                   struct error *error)
{
    void  *grown;
    status result = pool_alloc(pool, category, bytes, what, &grown, error);
    if (result != STATUS_OK)
        return result;
    if (*block) {
        const struct block_header *header = (const void *)((const char *)*block - BLOCK_ALIGNMENT);
        uint64_t                   held   = header->bytes - BLOCK_ALIGNMENT;
        memcpy(grown, *block, held < bytes ? held : bytes);
        pool_free(pool, *block);
    }
    *block = grown;
    return STATUS_OK;
}

void pool_free(struct pool *pool, void *block)
{
    if (!block)
        return;
    char               *memory = (char *)block - BLOCK_ALIGNMENT;
    struct block_header header = *(struct block_header *)memory;
    free(memory);
    pool_discharge(pool, header.category, header.bytes);
}

void pool_usage(struct pool *pool, struct pool_usage *usage)
{
    pthread_mutex_lock(&pool->lock);
    *usage = pool->usage;
    pthread_mutex_unlock(&pool->lock);
}

const char *memory_category_name(enum memory_category category)
{
    static const char *const names[MEMORY_CATEGORIES] = {
        "process", "weights", "tokenizer", "arena", "plan", "request", "load",
    };
    return category < MEMORY_CATEGORIES ? names[category] : "unknown";
}
