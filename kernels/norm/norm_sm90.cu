/* norm.h on Hopper: with a copy in e4m3 for the linear that follows; all else is norm.cu's. */
#include "kernels/norm/norm_rows.cuh"

#include "kernels/cuda/sm90.cuh"

static bool norm_is_e4m3(const struct norm_args *args) { return args->copy && args->copy_type == DTYPE_F8_E4M3; }

static cudaError_t norm_e4m3(const struct cuda_launch *launch, const struct norm_args *args, bool rms)
{
    return args->copy_scales ? norm_launch<uint8_t>(launch, args, rms) : cudaErrorInvalidValue;
}

extern "C" cudaError_t norm_layer_sm90(const struct cuda_launch *launch, const struct norm_args *args)
{
    return norm_is_e4m3(args) ? norm_e4m3(launch, args, false) : norm_layer_cuda(launch, args);
}

extern "C" cudaError_t norm_rms_sm90(const struct cuda_launch *launch, const struct norm_args *args)
{
    return norm_is_e4m3(args) ? norm_e4m3(launch, args, true) : norm_rms_cuda(launch, args);
}
