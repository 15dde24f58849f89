/* The tables of CUDA launchers, one an architecture that has kernels of its own. */
#include "kernels/cuda/launchers.h"

/* norm: of norm_layer_##norm and norm_rms_##norm; `b` and `h`: attention in bf16 and fp16. */
#define TABLE(title, norm, linear, linear_8, quantize_8, b, h)                                                           \
    {                                                                                                                    \
        .name = title, .embed_rows = embed_rows_cuda, .norm_layer = norm_layer_##norm, .norm_rms = norm_rms_##norm,      \
        .linear_bf16 = linear, .linear_f32 = linear_f32_cuda, .linear_fp8 = linear_8,                                    \
        .linear_norm = linear_norm_sm90, .linear_norm_fits = linear_norm_fits,                                           \
        .convert_bf16 = convert_bf16_cuda, .quantize_fp8 = quantize_8, .rotary_half = rotary_half_cuda,                  \
        .attention_schedule = attention_schedule_cuda, .attention_bf16 = b, .attention_f16 = h,                          \
        .attention_f32 = attention_f32_cuda, .pool_mean = pool_mean_cuda, .pool_first = pool_first_cuda,                 \
        .pool_last = pool_last_cuda, .normalize_l2 = normalize_l2_cuda,                                                  \
    }

static const struct cuda_kernels sm80 = TABLE("sm_80", cuda, linear_bf16_cuda, NULL, NULL, attention_bf16_cuda, attention_f16_cuda);
static const struct cuda_kernels sm90 = TABLE("sm_90a", sm90, linear_bf16_sm90, linear_fp8_sm90, quantize_fp8_sm90,
                                              attention_bf16_sm90, attention_f16_sm90);

/* wgmma is an instruction of 9.0 alone; later architectures run the kernels of 8.0. */
const struct cuda_kernels *kernels_cuda(const struct cuda_facts *facts)
{
    if (facts->architecture < 80)
        return NULL;
    return facts->architecture == 90 && facts->encode_tensor_map ? &sm90 : &sm80;
}
