/* promise_cpu.c: the promises are of the CPU, unless a program brings another device. */
#include "tests/support/promise.h"

#include <limits.h>

static const char *const variants[] = { "ref", "avx2", "avx512", "avx512vnni", "avx512bf16", "neon", NULL };

const struct promise_device promise_device = {
    .device = RECTO_DEVICE_CPU, .command = "recto", .precisions = PROMISE_PRECISIONS, .is_pinned = true, .haste = 1,
    .texts = 40, .golden_width = INT_MAX, .variants = variants,
};

const char *promise_device_model(void) { return PROMISE_MODEL; }
const char *promise_device_cache(void) { return NULL; }
void        promise_device_check(void) { }
uint64_t    promise_device_allocations(void) { return 0; }
bool        promise_device_is_inside(void) { return false; }
uint64_t    promise_device_resident(void) { return 0; }
