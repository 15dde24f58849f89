/* kernels_table.h: the one list of what a table of kernels holds. `isa` is the suffix of most of its functions, `bf16` that of
 * the products of bf16 and `u8s8` that of the integer product. Copying rows has one version. */
#ifndef RECTO_KERNELS_KERNELS_TABLE_H
#define RECTO_KERNELS_KERNELS_TABLE_H

#include "kernels/kernels.h"

#define KERNELS_TABLE(title, isa, bf16, u8s8)                                                              \
    {                                                                                                      \
        .name = title, .linear_f32 = linear_f32_##isa, .linear_bf16 = linear_bf16_##bf16,                  \
        .linear_u8s8 = linear_u8s8_##u8s8, .attention_f32 = attention_f32_##isa,                           \
        .attention_bf16 = attention_bf16_##bf16, .attention_s16 = attention_s16_##u8s8,                    \
        .embed_rows = embed_rows_##isa,                                                                    \
        .norm_layer = norm_layer_##isa, .norm_rms = norm_rms_##isa, .quantize_rows = quantize_rows_##isa,  \
        .convert_bf16 = convert_bf16_##isa, .rotary_half = rotary_half_##isa, .pool_mean = pool_mean_##isa, \
        .pool_first = pool_first_ref, .pool_last = pool_last_ref, .normalize_l2 = normalize_l2_##isa,      \
    }

#endif
