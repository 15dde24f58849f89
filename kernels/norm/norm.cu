/* norm.h on a GPU, with or without a copy in bf16. */
#include "kernels/norm/norm_rows.cuh"

static cudaError_t norm_any(const struct cuda_launch *launch, const struct norm_args *args, bool rms)
{
    return args->copy && args->copy_type != DTYPE_BF16 ? cudaErrorNotSupported : norm_launch<__nv_bfloat16>(launch, args, rms);
}

extern "C" cudaError_t norm_layer_cuda(const struct cuda_launch *launch, const struct norm_args *args)
{
    return norm_any(launch, args, false);
}

extern "C" cudaError_t norm_rms_cuda(const struct cuda_launch *launch, const struct norm_args *args)
{
    return norm_any(launch, args, true);
}
