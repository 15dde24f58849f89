/* Addresses cost nothing, mapped pages are zero, unmapped ones go back to the system and are out of reach. */
#include "runtime/vmem.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static size_t resident(void)
{
    size_t size = 0, pages = 0;
    FILE  *file = fopen("/proc/self/statm", "r");
    assert_non_null(file);
    assert_int_equal(fscanf(file, "%zu %zu", &size, &pages), 2);
    fclose(file);
    return pages * (size_t)sysconf(_SC_PAGESIZE);
}

static void pages_come_and_go(void **state)
{
    (void)state;
    const struct vmem *vmem = vmem_host();
    const size_t       unit = vmem->granularity, range = (size_t)1 << 36, used = 256 * unit;
    void              *base;
    assert_int_equal(vmem->reserve(vmem, range, &base, NULL), STATUS_OK);
    size_t before = resident();
    assert_int_equal(vmem->map(vmem, base, unit, used, NULL), STATUS_OK);
    char *bytes = (char *)base + unit;
    for (size_t i = 0; i < used; i += 4096)
        assert_int_equal(bytes[i], 0);
    memset(bytes, 1, used);
    assert_true(resident() >= before + used / 2);
    vmem->unmap(vmem, base, unit + used / 2, used / 2);
    assert_true(resident() <= before + used / 2 + used / 4);
    assert_int_equal(bytes[used / 2 - 1], 1);
    vmem->unmap(vmem, base, unit, used / 2);
    assert_int_equal(vmem->map(vmem, base, unit, unit, NULL), STATUS_OK);
    assert_int_equal(bytes[0], 0);
    vmem->release(vmem, base, range);
}

/* In a child of its own: the touch ends it. */
static int touch_in_child(const char *address)
{
    int   ending;
    pid_t child = fork();
    if (child == 0) {
        signal(SIGSEGV, SIG_DFL);
        _exit(*(const volatile char *)address);
    }
    assert_int_equal(waitpid(child, &ending, 0), child);
    return WIFEXITED(ending) ? WEXITSTATUS(ending) : 128 + WTERMSIG(ending);
}

static void what_is_not_mapped_cannot_be_touched(void **state)
{
    (void)state;
    const struct vmem *vmem = vmem_host();
    const size_t       unit = vmem->granularity;
    void              *base;
    assert_int_equal(vmem->reserve(vmem, 4 * unit, &base, NULL), STATUS_OK);
    assert_int_equal(vmem->map(vmem, base, 0, unit, NULL), STATUS_OK);
    assert_int_equal(touch_in_child(base), 0);
    assert_int_equal(touch_in_child((char *)base + unit), 128 + SIGSEGV);
    vmem->unmap(vmem, base, 0, unit);
    assert_int_equal(touch_in_child(base), 128 + SIGSEGV);
    vmem->release(vmem, base, 4 * unit);
}

static void addresses_that_do_not_exist(void **state)
{
    (void)state;
    const struct vmem *vmem  = vmem_host();
    struct error       error = { 0 };
    void              *base;
    assert_int_equal(vmem->reserve(vmem, (size_t)1 << 60, &base, &error), STATUS_MEMORY);
    assert_non_null(strstr(error.message, "1152921504606846976 bytes"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pages_come_and_go),
        cmocka_unit_test(what_is_not_mapped_cannot_be_touched),
        cmocka_unit_test(addresses_that_do_not_exist),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
