/* promise_cuda.c: the promises on the emulated device. The usual model is a small random one, for the emulator takes seconds where
 * a processor takes milliseconds. */
#include "tests/emu/runtime/runtime.h"
#include "tests/support/promise.h"
#include "tests/support/small_model.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static const char *const variants[] = { NULL };

const struct promise_device promise_device = {
    .device = RECTO_DEVICE_CUDA, .command = "emu/recto", .precisions = 2, .has_own_memory = true, .haste = 10,
    .texts = 16, .golden_texts = 6, .golden_width = 256, .variants = variants,
};

/* A program that starts itself, or the command, hands its model on. */
#define SCRATCH "PROMISE_SCRATCH"

static char scratch[SMALL_PATH_MAX], folder[SMALL_PATH_MAX + 16];

static void remove_scratch(void) { scratch_remove(scratch); }

static void make_model(void)
{
    scratch_make(scratch);
    atexit(remove_scratch);
    setenv(SCRATCH, scratch, 1);
    snprintf(folder, sizeof folder, "%s/usual", scratch);
    small_model_create(&small_wide, folder);
}

const char *promise_device_model(void)
{
    const char *made = getenv(SCRATCH);
    if (!made)
        make_model();
    else if (!*folder)
        snprintf(folder, sizeof folder, "%s/usual", made);
    return folder;
}

const char *promise_device_cache(void)
{
    promise_device_model();
    return getenv(SCRATCH);
}

void promise_device_check(void)
{
    char text[256];
    if (emu_runtime_leaks(text, sizeof text))
        fail_msg("left behind: %s", text);
    assert_string_equal(emu_runtime_misuse(), "");
}

uint64_t promise_device_allocations(void) { return emu_runtime_usage().allocations; }
bool     promise_device_is_inside(void) { return emu_runtime_is_inside(); }
uint64_t promise_device_resident(void) { return emu_runtime_usage().device_peak; }
