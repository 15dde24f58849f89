/* Every operation of lanes.h and lanes_math.h against scalars, lane by lane and bit by bit. */
#include "tests/kernels/harness.h"
#include "tests/kernels/lanes_probe.h"
#include "tests/support/compare.h"

#include <math.h>
#include <string.h>

static float from_bits(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, 4);
    return value;
}

/* Two times sixteen floats: a step through all bit patterns, then patterns at random. Folds and bf16 are for numbers. Every
 * second time operands near each other: where exponents lie far apart, neither the order of a sum nor a fused product shows. */
static void fill(enum probe probe, uint32_t first, int part, float *x)
{
    bool near    = probe >= PROBE_ADD && probe <= PROBE_SUM && part % 2;
    bool numbers = probe == PROBE_SUM || probe == PROBE_MAXIMUM || probe == PROBE_BF16 || probe == PROBE_BF16_PART;
    for (uint32_t i = 0; i < 32; i++) {
        x[i] = from_bits(i < 16 ? first + i * 0x10000001u : (uint32_t)random_bits());
        if (near || probe == PROBE_INT || probe == PROBE_BYTES || probe == PROBE_BYTES_PART || (numbers && !isfinite(x[i])))
            x[i] = random_float() * (near ? 1.0f : 300.0f);
    }
}

static void probe_case(lanes_probe *tested, enum probe probe, uint32_t first, int part)
{
    float *x = NULL, whole[32], y[16], expected[16];
    fill(probe, first, part, whole);
    if (probe == PROBE_LOAD_PART && first % 64 == 0) {  /* what lies behind the part cannot be read */
        x = guarded_new(sizeof(float) * (size_t)part);
        memcpy(x, whole, sizeof(float) * (size_t)part);
    }
    lanes_probe_ref(probe, part, whole, expected);
    tested(probe, part, x ? x : whole, y);
    size_t at = compare_floats(y, expected, 16);
    check(at == COMPARE_SAME, "%s, lane %d, part %d: of %a and %a got %a, expected %a", probe_name(probe), (int)at, part,
          (double)whole[at & 15], (double)whole[16 + (at & 15)], (double)y[at & 15], (double)expected[at & 15]);
    guarded_free_all();
}

void lanes_tests(const char *set, lanes_probe *tested)
{
    const uint32_t step = options.quick ? 0x10001 * 64 : 0x1001 * 16;
    if (!group_begin(set, "lanes"))
        return;
    for (int probe = 0; probe < PROBE_COUNT; probe++) {
        int part = 0;
        for (uint64_t first = 0; first < 0x100000000u; first += step, part = (part + 1) % 17)
            probe_case(tested, (enum probe)probe, (uint32_t)first, part);
    }
    group_end();
}
