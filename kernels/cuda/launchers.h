/* launchers.h: every launcher by name, for the table and for the files that define them. */
#ifndef RECTO_KERNELS_CUDA_LAUNCHERS_H
#define RECTO_KERNELS_CUDA_LAUNCHERS_H

#include "kernels/cuda/kernels_cuda.h"

#ifdef __cplusplus
extern "C" {
#endif

cuda_launch_embed     embed_rows_cuda;
cuda_launch_norm      norm_layer_cuda, norm_rms_cuda;
cuda_launch_norm      norm_layer_sm90, norm_rms_sm90;  /* copies in e4m3 as well */
cuda_launch_linear    linear_f32_cuda, linear_bf16_cuda;
cuda_launch_linear    linear_bf16_sm90;  /* the Hopper path; what it does not cover goes to linear_bf16_cuda */
cuda_launch_linear_norm linear_norm_sm90;
cuda_linear_norm_fits   linear_norm_fits;  /* on 9.0 alone */
cuda_launch_linear    linear_fp8_sm90;
cuda_launch_convert   convert_bf16_cuda;
cuda_launch_fp8       quantize_fp8_sm90;
cuda_launch_rotary    rotary_half_cuda;
cuda_launch_attention attention_schedule_cuda, attention_bf16_cuda, attention_f16_cuda, attention_f32_cuda;
cuda_launch_attention attention_bf16_sm90, attention_f16_sm90;
cuda_launch_pool      pool_mean_cuda, pool_first_cuda, pool_last_cuda;
cuda_launch_normalize normalize_l2_cuda;

#ifdef __cplusplus
}
#endif

#endif
