/* Whole models through the CUDA device with its own kernels, which the emulator runs: near the CPU's vectors in bf16, and the same
 * bits whatever is beside a text, for both architectures that have kernels. Prints the seconds that each part takes. */
#include "host/recto.h"
#include "tests/emu/emu.h"
#include "tests/emu/runtime/runtime.h"
#include "tests/support/compare.h"
#include "tests/support/small_model.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

enum { TEXTS = 6, LAYERS = 2, WIDTH = 64, REAL_WIDTH = 384 };

static char       scratch[SMALL_PATH_MAX], folder[SMALL_PATH_MAX + 16];
static char       words[TEXTS][160];
static recto_text texts[TEXTS];

struct opened {
    recto_engine *engine;
    recto_model  *model;
    recto_error   error;
};

static void open_on(struct opened *opened, recto_device device, recto_precision precision, const char *name, uint64_t device_bytes,
                    uint32_t threads)
{
    recto_engine_options engine = { .struct_size = sizeof engine, .device = device, .device_bytes = device_bytes, .threads = threads,
                                    .cache_folder = name ? NULL : scratch };
    recto_model_options  model  = { .struct_size = sizeof model, .precision = precision };
    *opened = (struct opened){ .error = RECTO_ERROR_INIT };
    if (recto_engine_open(&opened->engine, &engine, &opened->error) == RECTO_OK)
        (void)!recto_model_open(opened->engine, name ? name : folder, &model, &opened->model, &opened->error);
}

static void close_all(struct opened *opened)
{
    recto_model_close(opened->model);
    recto_engine_close(opened->engine);
}

static void embed(struct opened *opened, int first, int count, float *vectors)
{
    if (recto_embed(opened->model, texts + first, (size_t)count, NULL, vectors, NULL, &opened->error) != RECTO_OK)
        fail_msg("%s; %s", opened->error.message, emu_report());
}

/* 1 to 60 tokens of a letter each, enough for tails, several tiles and several sequences in one. */
static int set_up(void **state)
{
    (void)state;
    static const int lengths[TEXTS] = { 1, 60, 7, 33, 16, 31 };
    scratch_make(scratch);
    snprintf(folder, sizeof folder, "%s/model", scratch);
    small_model_create(&small_wide, folder);
    for (int i = 0; i < TEXTS; i++) {
        int at = 0;
        for (int j = 0; j < lengths[i]; j++) {
            words[i][at++] = (char)('a' + (i * 7 + j * 11) % 26);
            if (j % 5 == 4)
                words[i][at++] = ' ';
        }
        texts[i] = (recto_text){ words[i], (size_t)at };
    }
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    scratch_remove(scratch);
    return 0;
}

static int begin(void **state)
{
    (void)state;
    emu_runtime_settings()->granularity = 64 << 10;
    emu_runtime_settings()->order       = EMU_RUNTIME_LATE;
    return 0;
}

static int end(void **state)
{
    (void)state;
    char text[256];
    if (emu_runtime_leaks(text, sizeof text))
        fail_msg("left behind: %s", text);
    assert_string_equal(emu_runtime_misuse(), "");
    emu_runtime_reset();
    return 0;
}

static double cosine(const float *a, const float *b, int width)
{
    double both = 0, left = 0, right = 0;
    for (int i = 0; i < width; i++) {
        both += (double)a[i] * b[i];
        left += (double)a[i] * a[i];
        right += (double)b[i] * b[i];
    }
    return both / sqrt(left * right);
}

static double seconds_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static const char *name_of(recto_precision precision) { return precision == RECTO_PRECISION_FP8 ? "fp8" : "bf16"; }

/* `least`: cosine with the CPU's vectors in bf16. */
static void check_small(int architecture, recto_precision precision, double least)
{
    static float  expected[TEXTS][WIDTH], first[TEXTS][WIDTH], again[TEXTS][WIDTH];
    struct opened cpu, gpu;
    double        start = seconds_now();
    emu_runtime_settings()->architecture = architecture;
    open_on(&cpu, RECTO_DEVICE_CPU, RECTO_PRECISION_BF16, NULL, 0, 1);
    embed(&cpu, 0, TEXTS, &expected[0][0]);
    close_all(&cpu);
    open_on(&gpu, RECTO_DEVICE_CUDA, precision, NULL, 0, 2);
    for (int i = 0; i < TEXTS; i++)
        embed(&gpu, i, 1, first[i]);
    for (int i = 0; i < TEXTS; i++)
        if (!(cosine(first[i], expected[i], WIDTH) > least))
            fail_msg("sm_%d, %s, text %d: cosine %.6f with the CPU's", architecture, name_of(precision), i,
                     cosine(first[i], expected[i], WIDTH));
    for (int round = 0; round < 3; round++) {  /* eager, captured, replayed */
        embed(&gpu, 0, TEXTS, &again[0][0]);
        assert_int_equal(compare_bytes(again, first, sizeof first), COMPARE_SAME);
        embed(&gpu, 2, 3, &again[2][0]);
        assert_int_equal(compare_bytes(again, first, sizeof first), COMPARE_SAME);
    }
    recto_engine_info info = { .struct_size = sizeof info };
    recto_engine_describe(gpu.engine, &info);
    assert_true(info.replays >= 4);
    assert_int_equal(info.fallbacks, 0);
    assert_int_equal(info.captures, info.graphs);
    uint64_t tight = info.device_peak_bytes - (64 << 10);
    close_all(&gpu);
    open_on(&gpu, RECTO_DEVICE_CUDA, precision, NULL, tight, 1);  /* packs are split, or graphs are refused */
    emu_runtime_settings()->order = EMU_RUNTIME_ANY;
    embed(&gpu, 0, TEXTS, &again[0][0]);
    assert_int_equal(compare_bytes(again, first, sizeof first), COMPARE_SAME);
    close_all(&gpu);
    printf("sm_%d, %s: %.1f s\n", architecture, name_of(precision), seconds_now() - start);
}

static void small_model_sm80(void **state)
{
    (void)state;
    check_small(80, RECTO_PRECISION_BF16, 0.9995);
}

static void small_model_sm90(void **state)
{
    (void)state;
    check_small(90, RECTO_PRECISION_BF16, 0.9995);
}

/* Embedding and norm, a schedule, pooling and length one; in a layer four linears and attention, norms being part of linears, and
 * the quantisation of what attention and the wide linear make: they have no row as a whole. */
enum { FP8_LAUNCHES = 5 + LAYERS * (4 + 1 + 2) };

static void small_model_fp8(void **state)
{
    (void)state;
    static float  vector[WIDTH];
    struct opened gpu;
    check_small(90, RECTO_PRECISION_FP8, 0.99);
    open_on(&gpu, RECTO_DEVICE_CUDA, RECTO_PRECISION_FP8, NULL, 0, 1);
    uint64_t before = emu_runtime_usage().launches;
    embed(&gpu, 1, 1, vector);
    assert_int_equal(emu_runtime_usage().launches - before, FP8_LAUNCHES);
    close_all(&gpu);
}

static void fp8_needs_hopper(void **state)
{
    (void)state;
    static const struct {
        recto_device device;
        int          architecture;
        const char  *said;
    } others[] = { { RECTO_DEVICE_CUDA, 80, "device cuda computes with sm_80" }, { RECTO_DEVICE_CPU, 90, "device cpu computes with " } };
    for (int i = 0; i < 2; i++) {
        struct opened opened;
        emu_runtime_settings()->architecture = others[i].architecture;
        open_on(&opened, others[i].device, RECTO_PRECISION_FP8, NULL, 0, 1);
        assert_null(opened.model);
        assert_non_null(strstr(opened.error.message, "precision fp8 needs a Hopper GPU (sm_90), "));
        assert_non_null(strstr(opened.error.message, others[i].said));
        close_all(&opened);
    }
}

/* 22.6 M weights that somebody trained. */
static void minilm(void **state)
{
    (void)state;
    static float            expected[2][REAL_WIDTH], found[2][REAL_WIDTH], again[2][REAL_WIDTH];
    static const recto_text real[] = { { "hello", 5 }, { "a river, an old bridge, and seven clerks", 40 } };
    struct opened           cpu;
    open_on(&cpu, RECTO_DEVICE_CPU, RECTO_PRECISION_BF16, "all-minilm-l6-v2", 0, 1);
    if (!cpu.model) {
        printf("NOT RUN: %s\n", cpu.error.message);
        close_all(&cpu);
        skip();
    }
    assert_int_equal(recto_embed(cpu.model, real, 2, NULL, &expected[0][0], NULL, &cpu.error), RECTO_OK);
    close_all(&cpu);
    emu_runtime_settings()->granularity = 2 << 20;
    for (int architecture = 80; architecture <= 90; architecture += 10) {
        struct opened gpu;
        double        start = seconds_now();
        emu_runtime_settings()->architecture = architecture;
        open_on(&gpu, RECTO_DEVICE_CUDA, RECTO_PRECISION_BF16, "all-minilm-l6-v2", 0, 1);
        if (!gpu.model)
            fail_msg("%s", gpu.error.message);
        assert_int_equal(recto_embed(gpu.model, real, 2, NULL, &found[0][0], NULL, &gpu.error), RECTO_OK);
        assert_int_equal(recto_embed(gpu.model, real, 2, NULL, &again[0][0], NULL, &gpu.error), RECTO_OK);
        assert_int_equal(compare_bytes(again, found, sizeof found), COMPARE_SAME);
        for (int i = 0; i < 2; i++)
            if (!(cosine(found[i], expected[i], REAL_WIDTH) > 0.9998))
                fail_msg("sm_%d, text %d: cosine %.6f with the CPU's", architecture, i, cosine(found[i], expected[i], REAL_WIDTH));
        printf("sm_%d: cosines %.6f and %.6f, %.1f s\n", architecture, cosine(found[0], expected[0], REAL_WIDTH),
               cosine(found[1], expected[1], REAL_WIDTH), seconds_now() - start);
        close_all(&gpu);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(small_model_sm80, begin, end),
        cmocka_unit_test_setup_teardown(small_model_sm90, begin, end),
        cmocka_unit_test_setup_teardown(small_model_fp8, begin, end),
        cmocka_unit_test_setup_teardown(fp8_needs_hopper, begin, end),
        cmocka_unit_test_setup_teardown(minilm, begin, end),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
