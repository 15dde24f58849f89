#include "tests/emu/runtime/gpu.h"

#include "tests/emu/runtime/plain/kernels_plain.h"
#include "tests/support/compare.h"
#include "tests/support/small_model.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static char       scratch[SMALL_PATH_MAX], folders[2][SMALL_PATH_MAX + 16];
static char       words[GPU_TEXTS][128];
static recto_text texts[GPU_TEXTS];
static float      expected[2][GPU_TEXTS][GPU_WIDTH], expected_fp32[GPU_TEXTS][GPU_WIDTH];
static float      expected_empty[GPU_WIDTH];

static void take_line(void *user, int level, const char *message)
{
    struct gpu *gpu = user;
    gpu->warnings += level == 1;
    gpu->notes += level == 2;
    snprintf(gpu->last, sizeof gpu->last, "%s", message);
}

recto_status gpu_open_model(struct gpu *gpu, const struct gpu_options *options, recto_model **model)
{
    recto_model_options wanted = { .struct_size = sizeof wanted,
                                   .precision   = options->precision ? options->precision : RECTO_PRECISION_BF16 };
    return recto_model_open(gpu->engine, folders[options->dense], &wanted, model, &gpu->error);
}

recto_status gpu_open(struct gpu *gpu, const struct gpu_options *options)
{
    recto_device         device = options->on_cpu      ? RECTO_DEVICE_CPU
                                  : options->automatic ? RECTO_DEVICE_AUTO
                                                       : RECTO_DEVICE_CUDA;
    recto_engine_options wanted = { .struct_size = sizeof wanted, .device = device,
                                    .device_bytes = options->device_bytes, .threads = options->threads ? options->threads : 1,
                                    .log = take_line, .log_user = gpu, .cache_folder = scratch, .hub_folder = "/nowhere",
                                    .instructions = options->instructions };
    *gpu                 = (struct gpu){ .error = RECTO_ERROR_INIT };
    recto_status result  = recto_engine_open(&gpu->engine, &wanted, &gpu->error);
    return result == RECTO_OK ? gpu_open_model(gpu, options, &gpu->model) : result;
}

void gpu_close(struct gpu *gpu)
{
    recto_model_close(gpu->model);
    recto_engine_close(gpu->engine);
    gpu->model  = NULL;
    gpu->engine = NULL;
}

static recto_status embed(struct gpu *gpu, recto_model *model, float wanted[][GPU_WIDTH], int first, int count)
{
    float        vectors[GPU_TEXTS][GPU_WIDTH];
    recto_status result = recto_embed(model, texts + first, (size_t)count, NULL, &vectors[0][0], NULL, &gpu->error);
    if (result == RECTO_OK)
        assert_int_equal(compare_bytes(vectors, wanted[first], sizeof vectors[0] * (size_t)count), COMPARE_SAME);
    return result;
}

recto_status gpu_embed(struct gpu *gpu, recto_model *model, bool dense, int first, int count)
{
    return embed(gpu, model, expected[dense], first, count);
}

recto_status gpu_embed_fp32(struct gpu *gpu, int first, int count) { return embed(gpu, gpu->model, expected_fp32, first, count); }

recto_status gpu_embed_crowd(struct gpu *gpu, int count)
{
    static float      vectors[GPU_CROWD][GPU_WIDTH];
    static recto_text crowd[GPU_CROWD];
    for (int i = 0; i < count; i++)
        crowd[i] = (recto_text){ "", 0 };
    recto_status result = recto_embed(gpu->model, crowd, (size_t)count, NULL, &vectors[0][0], NULL, &gpu->error);
    for (int i = 0; i < count && result == RECTO_OK; i++)
        assert_int_equal(compare_bytes(vectors[i], expected_empty, sizeof vectors[i]), COMPARE_SAME);
    return result;
}

recto_engine_info gpu_usage(const struct gpu *gpu)
{
    recto_engine_info info = { .struct_size = sizeof info };
    recto_engine_describe(gpu->engine, &info);
    return info;
}

void gpu_check_nothing_left(void)
{
    char text[256];
    if (emu_runtime_leaks(text, sizeof text))
        fail_msg("left behind: %s", text);
    assert_string_equal(emu_runtime_misuse(), "");
    emu_runtime_reset();
}

/* Words of letters, one token each: texts of 1 to 62 tokens. */
static void write_texts(void)
{
    for (int i = 0; i < GPU_TEXTS; i++) {
        int letters = 1 + i * 37 % 60, at = 0;
        for (int j = 0; j < letters; j++) {
            words[i][at++] = (char)('a' + (i * 7 + j * 11) % 26);
            if (j % 5 == 4)
                words[i][at++] = ' ';
        }
        texts[i] = (recto_text){ words[i], (size_t)at };
    }
}

static void make_model(bool dense)
{
    struct small_sizes sizes = small_usual;
    sizes.dense              = dense ? GPU_WIDTH : 0;
    snprintf(folders[dense], sizeof folders[dense], "%s/%s", scratch, dense ? "dense" : "usual");
    small_model_create(&sizes, folders[dense]);
}

int gpu_setup(void **state)
{
    (void)state;
    scratch_make(scratch);
    write_texts();
    setenv("RECTO_LOG", "2", 1);
    unsetenv("RECTO_DEVICE");
    for (int dense = 0; dense < 2; dense++) {
        struct gpu cpu;
        make_model(dense);
        assert_int_equal(gpu_open(&cpu, &(struct gpu_options){ .on_cpu = true, .dense = dense }), RECTO_OK);
        assert_int_equal(recto_embed(cpu.model, texts, GPU_TEXTS, NULL, &expected[dense][0][0], NULL, &cpu.error), RECTO_OK);
        gpu_close(&cpu);
    }
    struct gpu       cpu;
    const recto_text empty = { "", 0 };
    assert_int_equal(gpu_open(&cpu, &(struct gpu_options){ .on_cpu = true }), RECTO_OK);
    assert_int_equal(recto_embed(cpu.model, &empty, 1, NULL, expected_empty, NULL, &cpu.error), RECTO_OK);
    gpu_close(&cpu);
    assert_int_equal(gpu_open(&cpu, &(struct gpu_options){ .on_cpu = true, .precision = RECTO_PRECISION_FP32 }), RECTO_OK);
    assert_int_equal(recto_embed(cpu.model, texts, GPU_TEXTS, NULL, &expected_fp32[0][0], NULL, &cpu.error), RECTO_OK);
    gpu_close(&cpu);
    emu_runtime_reset();
    return 0;
}

int gpu_teardown(void **state)
{
    (void)state;
    scratch_remove(scratch);
    return 0;
}

int gpu_begin(void **state)
{
    (void)state;
    struct emu_runtime_settings *settings = emu_runtime_settings();
    settings->absent                      = 0;
    settings->driver                      = 13000;
    settings->idle                        = 0;
    settings->prohibited                  = false;
    settings->architecture                = 90;
    settings->memory                      = (size_t)1 << 30;
    settings->granularity                 = 64 << 10;
    settings->order                       = EMU_RUNTIME_LATE;
    plain_settings                        = (struct plain_settings){ 0 };
    return 0;
}

int gpu_end(void **state)
{
    (void)state;
    gpu_check_nothing_left();
    return 0;
}
