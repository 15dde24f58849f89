#include "tests/kernels/simde_sets.h"
#include "kernels/kernels_table.h"

linear_kernel    linear_f32_avx512_simde, linear_bf16_avx512_simde, linear_u8s8_avx512_simde, linear_u8s8_avx512vnni_simde;
attention_kernel attention_f32_avx512_simde, attention_bf16_avx512_simde, attention_s16_avx512_simde, attention_s16_avx512vnni_simde;
embed_kernel     embed_rows_avx512_simde;
norm_kernel      norm_layer_avx512_simde, norm_rms_avx512_simde;
quantize_kernel  quantize_rows_avx512_simde;
convert_kernel   convert_bf16_avx512_simde;
rotary_kernel    rotary_half_avx512_simde;
pool_kernel      pool_mean_avx512_simde;
normalize_kernel normalize_l2_avx512_simde;

const struct kernels kernels_avx512_simde = KERNELS_TABLE("avx512_simde", avx512_simde, avx512_simde, avx512_simde);
const struct kernels kernels_avx512vnni_simde =
    KERNELS_TABLE("avx512vnni_simde", avx512_simde, avx512_simde, avx512vnni_simde);
