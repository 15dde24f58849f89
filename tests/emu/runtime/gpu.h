/* gpu.h: an engine on the emulated device for tests of the host side, and a small model with its vectors of the CPU. */
#ifndef RECTO_TESTS_EMU_RUNTIME_GPU_H
#define RECTO_TESTS_EMU_RUNTIME_GPU_H

#include "host/recto.h"
#include "tests/emu/runtime/runtime.h"

#include <stdbool.h>

enum { GPU_TEXTS = 24, GPU_WIDTH = 32 };

/* Kernels of a run of its two layers: embedding and norm, a schedule, 5 a layer, pooling, length one. Where a norm is no part of
 * the linear before it there are two more a layer. */
enum { GPU_LAUNCHES = 2 + 1 + 2 * 5 + 2, GPU_LAUNCHES_80 = GPU_LAUNCHES + 2 * 2 };

struct gpu_options {
    bool            on_cpu, automatic;  /* default: device cuda */
    recto_precision precision;     /* default: bf16 */
    uint64_t        device_bytes;
    uint32_t        threads;       /* default: 1 */
    bool            dense;         /* the model with a dense layer behind the pooling */
    const char     *instructions;
};

struct gpu {
    recto_engine *engine;
    recto_model  *model;
    recto_error   error;
    int           warnings, notes;
    char          last[768];       /* of the log */
};

/* A folder with two small models, a cache, texts of 1 to 62 tokens, and the CPU's vectors for them. For cmocka. */
int gpu_setup(void **state);
int gpu_teardown(void **state);
/* Before and after every test: the device as usual, and plain kernels that work; nothing may be left. */
int gpu_begin(void **state);
int gpu_end(void **state);

/* What failed stays null, the sentence is in `error`. */
recto_status gpu_open(struct gpu *gpu, const struct gpu_options *options);
recto_status gpu_open_model(struct gpu *gpu, const struct gpu_options *options, recto_model **model);
void         gpu_close(struct gpu *gpu);

/* Texts [first, first + count) at once into vectors that are compared with the CPU's in bf16, bit for bit, where the status is
 * OK; the second in the model's own precision. */
recto_status gpu_embed(struct gpu *gpu, recto_model *model, bool dense, int first, int count);
recto_status gpu_embed_fp32(struct gpu *gpu, int first, int count);
/* So many empty texts, of two tokens each: nothing fills a plan with more sequences. Up to GPU_CROWD. */
enum { GPU_CROWD = 400 };
recto_status gpu_embed_crowd(struct gpu *gpu, int count);
recto_engine_info gpu_usage(const struct gpu *gpu);

/* Nothing may be left: open objects of the runtime, misuse. Resets the runtime. */
void gpu_check_nothing_left(void);

#endif
