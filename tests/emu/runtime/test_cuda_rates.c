/* Limits from clocks: what data sheets say of boards, and nothing where nothing is known. */
#include "kernels/cuda/cuda_rates.h"
#include "tests/emu/runtime/runtime.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void expect(double rate, double data_sheet)
{
    if (fabs(rate - data_sheet) > 0.01 * data_sheet)
        fail_msg("%.3g a second, the data sheet says %.3g", rate, data_sheet);
}

static struct cuda_rates rates_of(int architecture, int processors, const struct cuda_clocks *clocks)
{
    const struct cuda_facts facts = { .architecture = architecture, .processors = processors };
    return cuda_rates_of(&facts, clocks);
}

static void data_sheets(void **state)
{
    (void)state;
    const struct cuda_rates a100 = rates_of(80, 108, &(const struct cuda_clocks){ 1410000, 1593000, 5120 });
    expect(a100.fp32, 19.5e12);
    expect(a100.bf16, 312e12);
    expect(a100.bytes, 2.039e12);
    const struct cuda_rates h100 = rates_of(90, 132, &(const struct cuda_clocks){ 1830000, 2619000, 5120 });
    expect(h100.bf16, 989e12);
    expect(h100.fp8, 1979e12);
    expect(h100.bytes, 3.35e12);
    const struct cuda_rates h100_boost = rates_of(90, 132, &(const struct cuda_clocks){ 1980000, 0, 0 });
    expect(h100_boost.fp32, 67e12);
    const struct cuda_rates b200 = rates_of(100, 148, &(const struct cuda_clocks){ 1855000, 0, 0 });
    expect(b200.bf16, 2250e12);
    expect(b200.fp8, 4500e12);
}

static void unknown_is_zero(void **state)
{
    (void)state;
    const struct cuda_clocks clocks = { 1700000, 9751000, 384 }, none = { 0, 0, 0 };
    const struct cuda_rates  rtx3090 = rates_of(86, 82, &clocks), strange = rates_of(87, 16, &clocks), silent = rates_of(90, 132, &none);
    expect(rtx3090.fp32, 35.6e12);
    expect(rtx3090.bytes, 936e9);
    assert_true(rtx3090.bf16 == 0 && rtx3090.fp8 == 0);
    assert_true(strange.fp32 == 0 && strange.bf16 == 0);
    assert_true(silent.fp32 == 0 && silent.bf16 == 0 && silent.fp8 == 0 && silent.bytes == 0);
}

/* An attribute that the runtime refuses is not known, and its error is not left to the next call. */
static void refused_is_zero(void **state)
{
    (void)state;
    const struct cuda_facts facts = { .architecture = 90, .processors = 4 };
    const struct cuda_rates all   = cuda_rates_ask(&facts);
    assert_true(all.bf16 > 0 && all.bytes > 0);
    emu_runtime_fail(1, 0);
    const struct cuda_rates without_clock = cuda_rates_ask(&facts);
    assert_true(without_clock.bf16 == 0 && without_clock.fp32 == 0 && without_clock.bytes > 0);
    assert_int_equal(cudaGetLastError(), cudaSuccess);
    emu_runtime_fail(3, 0);
    const struct cuda_rates without_width = cuda_rates_ask(&facts);
    assert_true(without_width.bf16 > 0 && without_width.bytes == 0);
    assert_int_equal(cudaGetLastError(), cudaSuccess);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(data_sheets),
        cmocka_unit_test(unknown_is_zero),
        cmocka_unit_test(refused_is_zero),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
