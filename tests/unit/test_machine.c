/* Threads are as many as affinity and control group allow; the description agrees with itself and with the affinity mask. */
#include "runtime/machine.h"

#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static void threads_worth_having(void **state)
{
    (void)state;
    static const struct { int processors, quota, threads; } cases[] = {
        { 1, 0, 1 }, { 8, 0, 8 }, { 8, 2, 2 }, { 8, 1, 1 }, { 2, 4, 2 }, { 2, 2, 2 }, { 0, 0, 1 }, { 0, 3, 1 }, { 256, 0, 256 },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct machine machine = { .processors = cases[i].processors, .quota = cases[i].quota };
        assert_int_equal(machine_threads(&machine), cases[i].threads);
    }
}

static void the_description_is_plausible(void **state)
{
    (void)state;
    struct machine machine;
    machine_describe(&machine);
    assert_true(*machine.cpu_name && strlen(machine.cpu_name) < sizeof machine.cpu_name);
    assert_null(strchr(machine.cpu_name, '\n'));
    assert_true(machine.processors >= 1 && machine.quota >= 0);
    assert_true(machine.memory > 16 << 20);
    assert_true(machine.avx2 || !machine.avx512);
    assert_true(machine.avx512 || !machine.avx512_vnni);
    assert_true(machine.avx512_vnni || !machine.avx512_bf16);
    assert_false(machine.avx2 && machine.neon);
}

static void affinity_counts(void **state)
{
    (void)state;
    cpu_set_t      before, one;
    struct machine machine;
    assert_int_equal(sched_getaffinity(0, sizeof before, &before), 0);
    size_t first = 0;
    while (!CPU_ISSET(first, &before))
        first++;
    CPU_ZERO(&one);
    CPU_SET(first, &one);
    assert_int_equal(sched_setaffinity(0, sizeof one, &one), 0);
    machine_describe(&machine);
    assert_int_equal(sched_setaffinity(0, sizeof before, &before), 0);
    assert_int_equal(machine.processors, 1);
    assert_int_equal(machine_threads(&machine), 1);
    machine_describe(&machine);
    assert_int_equal(machine.processors, CPU_COUNT(&before));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(threads_worth_having),
        cmocka_unit_test(the_description_is_plausible),
        cmocka_unit_test(affinity_counts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
