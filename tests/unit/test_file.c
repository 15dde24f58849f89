/* Files are read and written whole although every call is interrupted or cut short; the sort needs no memory. */
#include "loaders/file.h"
#include "loaders/sort.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>

/* These stand in front of the C library's: each second call is interrupted, the others move 7 bytes at most. */
static int meddle, calls;

static int interrupted(size_t *bytes)
{
    if (!meddle)
        return 0;
    *bytes = *bytes < 7 ? *bytes : 7;
    errno = EINTR;
    return calls++ % 2 == 0;
}

ssize_t pread(int descriptor, void *to, size_t bytes, off_t offset)
{
    return interrupted(&bytes) ? -1 : syscall(SYS_pread64, descriptor, to, bytes, offset);
}

ssize_t pwrite(int descriptor, const void *from, size_t bytes, off_t offset)
{
    return interrupted(&bytes) ? -1 : syscall(SYS_pwrite64, descriptor, from, bytes, offset);
}

static void short_and_interrupted_calls_go_on(void **state)
{
    (void)state;
    char         path[] = "/tmp/recto-file-XXXXXX", text[1000], back[1000];
    int          descriptor = mkstemp(path);
    struct error error = {0};
    for (size_t i = 0; i < sizeof text; i++)
        text[i] = (char)(i * 31);
    meddle = 1;
    calls = 0;
    assert_int_equal(file_write_at(descriptor, path, 5, text, sizeof text, &error), STATUS_OK);
    assert_int_equal(file_read_at(descriptor, path, 5, back, sizeof back, &error), STATUS_OK);
    assert_int_equal(calls, 4 * ((1000 + 6) / 7));
    assert_memory_equal(text, back, sizeof text);
    assert_int_equal(file_read_at(descriptor, path, 6, back, sizeof back, &error), STATUS_MODEL);
    assert_non_null(strstr(error.message, "ends at byte 1005"));
    meddle = 0;
    file_close(descriptor);
    remove(path);
}

static void a_whole_file_is_booked_ended_and_limited(void **state)
{
    (void)state;
    char              path[] = "/tmp/recto-file-XXXXXX";
    int               descriptor = mkstemp(path);
    struct error      error = {0};
    struct pool      *pool;
    struct pool_usage usage;
    char             *text;
    size_t            length;
    assert_int_equal(pool_open(&pool, 0, NULL), STATUS_OK);
    assert_int_equal(file_read(pool, MEMORY_LOAD, path, 10, &text, &length, &error), STATUS_OK);
    assert_int_equal(length, 0);
    assert_string_equal(text, "");
    pool_free(pool, text);
    assert_int_equal(file_write_at(descriptor, path, 0, "0123456789", 10, &error), STATUS_OK);
    assert_int_equal(file_read(pool, MEMORY_LOAD, path, 10, &text, &length, &error), STATUS_OK);
    assert_string_equal(text, "0123456789");
    pool_free(pool, text);
    assert_int_equal(file_read(pool, MEMORY_LOAD, path, 9, &text, &length, &error), STATUS_MODEL);
    assert_non_null(strstr(error.message, "10 bytes"));
    pool_usage(pool, &usage);
    assert_int_equal(usage.in_use, 0);
    assert_int_equal(file_write_at(-1, path, 0, "x", 1, &error), STATUS_IO);
    assert_non_null(strstr(error.message, "cannot write: Bad file descriptor"));
    pool_close(pool);
    file_close(descriptor);
    remove(path);
}

struct element {
    int  key;
    char rest[9];
};

static int by_key(const void *left, const void *right)
{
    int a = ((const struct element *)left)->key, b = ((const struct element *)right)->key;
    return (a > b) - (a < b);
}

static void sorting_orders_and_loses_nothing(void **state)
{
    (void)state;
    struct element elements[200];
    unsigned       seed = 1;
    for (size_t count = 0; count < 200; count++) {
        int expected = 0, found = 0;
        for (size_t i = 0; i < count; i++) {
            seed = seed * 1664525u + 1013904223u;
            elements[i].key = (int)(seed >> 24);
            memset(elements[i].rest, elements[i].key, sizeof elements[i].rest);
            expected += elements[i].key;
        }
        sort_in_place(elements, count, sizeof *elements, by_key);
        for (size_t i = 0; i < count; i++) {
            found += elements[i].key;
            assert_true(i == 0 || elements[i - 1].key <= elements[i].key);
            assert_int_equal(elements[i].rest[8], (char)elements[i].key);
        }
        assert_int_equal(found, expected);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(short_and_interrupted_calls_go_on),
        cmocka_unit_test(a_whole_file_is_booked_ended_and_limited),
        cmocka_unit_test(sorting_orders_and_loses_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
