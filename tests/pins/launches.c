/* Every kernel of the library with the dynamic shared memory that its launcher asks for, a line each: the kernel's name as the
 * compiler made it, bytes. No device is needed: kernel_launch of kernels/cuda is replaced by one that only takes note. A kernel
 * that is missing from the output is started by no launcher, or by none that is called here: tests/pins/pins.py says so. */
#include "kernels/attention/attention_choose.h"
#include "kernels/cuda/launch.h"
#include "kernels/linear/linear_choose.h"
#include "kernels/linear/linear_norm_choose.h"

#include <cuda.h>
#include <stdio.h>
#include <string.h>

enum { KERNELS = 1024, WIDTH = 4096 };

static struct {
    const void *handle;
    const char *name;
} kernels[KERNELS];
static int kernel_count, failures;

/* What the compiler makes every object file call before main, for each of its kernels; -Wl,--wrap brings it here. */
void __wrap___cudaRegisterFunction(void **module, const char *handle, char *device, const char *name);  /* and what is not read */
void __wrap___cudaRegisterFunction(void **module, const char *handle, char *device, const char *name)
{
    (void)module, (void)device;
    if (kernel_count == KERNELS) {
        fprintf(stderr, "launches: more than %d kernels\n", KERNELS);
        failures++;
        return;
    }
    kernels[kernel_count].handle = handle;
    kernels[kernel_count++].name = name;
}

cudaError_t kernel_launch(const struct cuda_launch *launch, const struct kernel_shape *shape, const void *kernel,
                          const void **arguments)
{
    (void)launch, (void)arguments;
    for (int i = 0; i < kernel_count; i++)
        if (kernels[i].handle == kernel) {
            printf("%s\t%d\n", kernels[i].name, shape->shared_bytes);
            return cudaSuccess;
        }
    return cudaErrorInvalidDeviceFunction;
}

static void must(cudaError_t error, const char *what, int size)
{
    if (error == cudaSuccess)
        return;
    fprintf(stderr, "launches: %s of %d: error %d\n", what, size, error);
    failures++;
}

static CUresult encode(void) { return CUDA_SUCCESS; }

static void *memory(void)
{
    static _Alignas(256) char some[256];  /* nobody reads it */
    return some;
}

static struct cuda_facts facts_of(int architecture)
{
    CUresult (*encoder)(void) = encode;
    struct cuda_facts facts   = { .architecture = architecture, .processors = 132, .shared_bytes = 232448 };
    memcpy(&facts.encode_tensor_map, &encoder, sizeof encoder);
    return facts;
}

static void linears(const struct cuda_launch *launch)
{
    static const enum dtype types[] = { DTYPE_F32, DTYPE_BF16, DTYPE_F8_E4M3 };
    for (enum linear_cuda_variant v = 0; v < LINEAR_CUDA_VARIANTS; v++)
        for (int i = 0; i < 3; i++)
            for (int act = LINEAR_NONE; act <= LINEAR_SILU_GATE; act++) {
                const struct linear_weight weight = { .n = 256, .k = 256, .type = types[i], .panels = memory(),
                                                      .scales = memory() };
                const struct linear_args   args   = { .weight = &weight, .x = memory(), .x_stride = 1024,
                                                      .x_scales = memory(), .act = (enum linear_act)act, .y = memory(),
                                                      .y_stride = 1024, .y_type = DTYPE_F32 };
                if (linear_cuda_can(launch->facts, v, &weight, args.act))
                    must(linear_cuda_launch(launch, &args, v), linear_cuda_name(v), act);
            }
}

/* As wide as each tile's cluster may be. */
static void linear_norms(const struct cuda_launch *launch, enum dtype type)
{
    for (enum linear_norm_variant v = 0; v < LINEAR_NORM_VARIANTS; v++) {
        const int                     n      = LINEAR_NORM_CLUSTER * linear_norm_tile(v).columns;
        const struct linear_weight    weight = { .n = n, .k = 256, .type = type, .panels = memory(), .scales = memory() };
        const struct linear_norm_args args   = {
            .linear = { .weight = &weight, .x = memory(), .x_stride = 1024, .x_scales = memory() },
            .norm   = { .weight = memory(), .width = n, .y = memory(), .y_stride = 4 * WIDTH },
        };
        if (linear_norm_can(launch->facts, v, &weight))
            must(linear_norm_launch(launch, &args, v), linear_norm_name(v), n);
    }
}

static void attentions(const struct cuda_launch *launch, const struct cuda_kernels *table)
{
    static const int        sizes[] = { 32, 64, 80, 96, 128, 256 };
    static const enum dtype types[] = { DTYPE_F32, DTYPE_BF16, DTYPE_F16 };
    for (int i = 0; i < 3 * 6; i++) {
        const int                   size = sizes[i / 3];
        const struct attention_args args = { .q = memory(), .k = memory(), .v = memory(), .q_stride = 1024, .k_stride = 1024,
                                             .v_stride = 1024, .type = types[i % 3], .heads = 1, .kv_heads = 1, .head_size = size,
                                             .scale = 1.0f, .starts = memory(), .y = memory(), .y_stride = 1024,
                                             .y_type = types[i % 3] };
        const struct attention_choice choice = attention_cuda_choose(launch->facts, &args);
        must(attention_schedule_launch(launch, &args, memory(), &choice), "the schedule, heads", size);
        if (choice.variant == ATTENTION_CUDA_FMA) {
            struct attention_args unaligned = args;
            unaligned.y_stride              = 1028;
            must(table->attention_f32(launch, &args, memory()), "attention in f32, heads", size);
            must(table->attention_f32(launch, &unaligned, memory()), "attention in f32 of unaligned rows, heads", size);
            continue;
        }
        if (choice.variant == ATTENTION_CUDA_MMA)
            must(attention_mma_launch(launch, &args, memory(), &choice), "attention by mma, heads", size);
        else
            must(attention_sm90_launch(launch, &args, memory(), &choice), "attention by wgmma, heads", size);
    }
}

/* Kernels that walk rows, at the widths and types that tell their kernels apart. */
static void rows(const struct cuda_launch *launch, const struct cuda_kernels *table)
{
    static const int widths[] = { 384, 768, 1024, 2048, 4096, 4097 };
    for (int i = 0; i < 6; i++) {
        struct norm_args norm = { .x = memory(), .x_stride = 4 * WIDTH, .weight = memory(), .width = widths[i],
                                  .y = memory(), .y_stride = 4 * WIDTH };
        must(table->norm_layer(launch, &norm), "norm", widths[i]);
        norm.copy        = memory();
        norm.copy_type   = DTYPE_F8_E4M3;
        norm.copy_scales = memory();
        if (table->linear_fp8)
            must(table->norm_layer(launch, &norm), "norm with a copy in e4m3", widths[i]);
    }
    for (enum dtype type = DTYPE_F32; type <= DTYPE_BF16; type++) {
        const struct embed_args  embed  = { .words = memory(), .table_type = type, .width = WIDTH, .ids = memory(), .y = memory() };
        const struct rotary_args rotary = { .x = memory(), .type = type, .heads = 1, .head_size = 64, .position_ids = memory(),
                                            .cosines = memory(), .sines = memory() };
        must(table->embed_rows(launch, &embed), "embedding", (int)type);
        must(table->rotary_half(launch, &rotary), "rotary", (int)type);
    }
    const struct pool_args      pool      = { .x = memory(), .width = WIDTH, .starts = memory(), .y = memory() };
    const struct normalize_args normalize = { .x = memory(), .width = WIDTH, .y = memory() };
    const struct convert_args   convert   = { .x = memory(), .y = memory(), .width = WIDTH };
    must(table->pool_mean(launch, &pool), "mean", WIDTH);
    must(table->pool_first(launch, &pool), "first", WIDTH);
    must(table->normalize_l2(launch, &normalize), "length one", WIDTH);
    must(table->convert_bf16(launch, &convert), "conversion", WIDTH);
    for (enum dtype type = DTYPE_F32; type <= DTYPE_BF16 && table->quantize_fp8; type++) {
        const struct fp8_args fp8 = { .x = memory(), .x_type = type, .width = WIDTH, .y = memory(), .scales = memory() };
        must(table->quantize_fp8(launch, &fp8), "fp8", (int)type);
    }
}

int main(void)
{
    for (int architecture = 80; architecture <= 90; architecture += 10) {
        const struct cuda_facts    facts  = facts_of(architecture);
        const struct cuda_launch   launch = { .facts = &facts, .live = memory(), .tokens = 1024, .sequences = 8, .longest = 512,
                                              .rows = CUDA_ROWS_TOKENS };
        const struct cuda_kernels *table  = kernels_cuda(&facts);
        linears(&launch);
        linear_norms(&launch, DTYPE_BF16);
        linear_norms(&launch, DTYPE_F8_E4M3);
        attentions(&launch, table);
        rows(&launch, table);
    }
    return failures ? 1 : 0;
}
