/* An arena keeps its base, books what it maps, and gives back what it is told to; the same over a vmem that refuses. */
#include "runtime/arena.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

enum { RESERVE = 1 << 20 };

static uint64_t booked(struct pool *pool)
{
    struct pool_usage usage;
    pool_usage(pool, &usage);
    return usage.by_category[MEMORY_ARENA];
}

static void fits_and_trims(void **state)
{
    (void)state;
    struct pool *pool;
    struct arena arena;
    const size_t unit = vmem_host()->granularity;
    assert_int_equal(pool_open(&pool, 0, NULL), STATUS_OK);
    assert_int_equal(arena_open(&arena, pool, vmem_host(), RESERVE, NULL), STATUS_OK);
    assert_int_equal(booked(pool), 0);
    char *base = arena.base;
    assert_int_equal(arena_fit(&arena, 1, NULL), STATUS_OK);
    assert_int_equal(booked(pool), unit);
    base[0] = 7;
    assert_int_equal(arena_fit(&arena, 3 * unit + 1, NULL), STATUS_OK);
    assert_ptr_equal(arena.base, base);
    assert_int_equal(base[0], 7);  /* growing keeps what is there */
    memset(base, 5, 4 * unit);
    assert_int_equal(booked(pool), 4 * unit);
    assert_int_equal(arena_fit(&arena, unit, NULL), STATUS_OK);  /* never shrinks */
    assert_int_equal(booked(pool), 4 * unit);
    arena_trim(&arena, unit + 1);
    assert_int_equal(booked(pool), 2 * unit);
    assert_int_equal(base[2 * unit - 1], 5);
    arena_trim(&arena, 3 * unit);
    assert_int_equal(booked(pool), 2 * unit);
    assert_int_equal(arena_fit(&arena, RESERVE, NULL), STATUS_OK);
    assert_int_equal(base[2 * unit], 0);  /* what was given back was forgotten */
    arena_close(&arena);
    arena_close(&arena);  /* nothing twice */
    assert_int_equal(booked(pool), 0);
    pool_close(pool);
}

static void refusals_change_nothing(void **state)
{
    (void)state;
    struct pool *pool;
    struct arena arena;
    struct error error = { 0 };
    const size_t unit  = vmem_host()->granularity;
    assert_int_equal(pool_open(&pool, 3 * unit, NULL), STATUS_OK);
    assert_int_equal(arena_open(&arena, pool, vmem_host(), RESERVE, NULL), STATUS_OK);
    assert_int_equal(arena_fit(&arena, 2 * unit, NULL), STATUS_OK);
    assert_int_equal(arena_fit(&arena, 4 * unit, &error), STATUS_BUDGET);
    assert_non_null(strstr(error.message, "arena"));
    assert_int_equal(booked(pool), 2 * unit);
    assert_int_equal(arena.mapped, 2 * unit);
    assert_int_equal(arena_fit(&arena, 2 * RESERVE, &error), STATUS_INTERNAL);
    assert_int_equal(booked(pool), 2 * unit);
    assert_int_equal(arena_fit(&arena, 3 * unit, NULL), STATUS_OK);
    arena_close(&arena);
    pool_close(pool);
}

static status refuse_map(const struct vmem *vmem, void *address, size_t offset, size_t bytes, struct error *error)
{
    (void)vmem;
    (void)address;
    (void)offset;
    return error_set(error, STATUS_MEMORY, "no %zu bytes today", bytes);
}

static void a_failed_mapping_is_not_booked(void **state)
{
    (void)state;
    struct pool *pool;
    struct arena arena;
    struct vmem  stingy = *vmem_host();
    stingy.map          = refuse_map;
    assert_int_equal(pool_open(&pool, 0, NULL), STATUS_OK);
    assert_int_equal(arena_open(&arena, pool, &stingy, RESERVE, NULL), STATUS_OK);
    assert_int_equal(arena_fit(&arena, 100, NULL), STATUS_MEMORY);
    assert_int_equal(booked(pool), 0);
    assert_int_equal(arena.mapped, 0);
    arena_close(&arena);
    pool_close(pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fits_and_trims),
        cmocka_unit_test(refusals_change_nothing),
        cmocka_unit_test(a_failed_mapping_is_not_booked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
