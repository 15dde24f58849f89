/* The pool keeps its ceiling, books every byte and says both numbers when it refuses. */
#include "runtime/pool.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <string.h>

#include <cmocka.h>

static void refusal_names_both_numbers(void **state)
{
    (void)state;
    struct pool *pool;
    struct error error = { 0 };
    assert_int_equal(pool_open(&pool, 4096, &error), STATUS_OK);
    void *block;
    assert_int_equal(pool_alloc(pool, MEMORY_REQUEST, 4096, "the test's block", &block, &error), STATUS_BUDGET);
    assert_null(block);
    assert_non_null(strstr(error.message, "4160 bytes"));
    assert_non_null(strstr(error.message, "budget is 4096 bytes"));
    pool_close(pool);
}

static void every_byte_comes_back(void **state)
{
    (void)state;
    struct pool      *pool;
    struct pool_usage usage;
    assert_int_equal(pool_open(&pool, 0, NULL), STATUS_OK);
    void *a = NULL, *b;
    assert_int_equal(pool_resize(pool, MEMORY_PLAN, 100, "a", &a, NULL), STATUS_OK);
    memset(a, 7, 100);
    assert_int_equal(pool_resize(pool, MEMORY_PLAN, 1000, "a", &a, NULL), STATUS_OK);
    assert_int_equal(((unsigned char *)a)[99], 7);
    assert_int_equal(pool_alloc(pool, MEMORY_LOAD, 0, "b", &b, NULL), STATUS_OK);
    pool_usage(pool, &usage);
    assert_int_equal(usage.by_category[MEMORY_PLAN], 1024 + 64);
    assert_int_equal(usage.by_category[MEMORY_LOAD], 64);
    pool_free(pool, a);
    pool_free(pool, b);
    pool_usage(pool, &usage);
    assert_int_equal(usage.in_use, 0);
    assert_true(usage.peak >= 1024 + 64 + 128 + 64);
    pool_close(pool);
}

static void give_half(void *user, uint64_t bytes)
{
    (void)bytes;
    pool_discharge(user, MEMORY_ARENA, 512);
}

static void reclaim_is_asked_before_a_refusal(void **state)
{
    (void)state;
    struct pool *pool;
    assert_int_equal(pool_open(&pool, 1024, NULL), STATUS_OK);
    assert_int_equal(pool_charge(pool, MEMORY_ARENA, 1024, "arena", NULL), STATUS_OK);
    pool_set_reclaim(pool, give_half, pool);
    assert_int_equal(pool_charge(pool, MEMORY_PLAN, 256, "plan", NULL), STATUS_OK);
    pool_close(pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(refusal_names_both_numbers),
        cmocka_unit_test(every_byte_comes_back),
        cmocka_unit_test(reclaim_is_asked_before_a_refusal),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
