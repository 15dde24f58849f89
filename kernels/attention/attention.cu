/* attention.h on a GPU with mma.sync (sm_80 and later). */
#include "kernels/attention/attention_strips.cuh"

template <class T, int HEAD>
__global__ void __launch_bounds__(STRIPS_THREADS) attention_mma(const __grid_constant__ struct strips_work w)
{
    static_assert(strips_shared_bytes(HEAD) <= LAUNCH_SHARED_EVERYWHERE, "every device runs this kernel");
    SHARED_DYNAMIC(uint8_t, shared, 128);
    if ((int)blockIdx.x >= w.schedule->small)
        return;
    attention_strips<T, HEAD, 0>(w, (int)blockIdx.x, (int)blockIdx.y, shared, 0);
}

template <class T> static const void *attention_mma_handle(int head)
{
    switch (head) {
    case 32: return KERNEL_HANDLE(attention_mma<T, 32>);
    case 64: return KERNEL_HANDLE(attention_mma<T, 64>);
    case 80: return KERNEL_HANDLE(attention_mma<T, 80>);
    case 96: return KERNEL_HANDLE(attention_mma<T, 96>);
    case 128: return KERNEL_HANDLE(attention_mma<T, 128>);
    default: return KERNEL_HANDLE(attention_mma<T, 256>);
    }
}

extern "C" cudaError_t attention_mma_launch(const struct cuda_launch *launch, const struct attention_args *args, void *schedule,
                                            const struct attention_choice *choice)
{
    if (!attention_valid(args, 16) || !launch_aligned(schedule, 0, 16) || !schedule)
        return cudaErrorInvalidValue;
    if (args->head_size % 8 != 0 || args->head_size > choice->head || args->y_type != args->type)
        return cudaErrorNotSupported;
    const bool               bf16  = args->type == DTYPE_BF16;
    const struct strips_work w     = strips_work_of(args, schedule);
    struct kernel_shape      shape = attention_shape(launch, args, bf16 ? "attention_bf16" : "attention_f16");
    shape.grid                     = dim3((unsigned)schedule_room(launch), (unsigned)args->heads);
    shape.threads                  = STRIPS_THREADS;
    shape.shared_bytes             = strips_shared_bytes(choice->head);
    KERNEL_LAUNCH(launch, shape,
                  bf16 ? attention_mma_handle<__nv_bfloat16>(choice->head) : attention_mma_handle<__half>(choice->head), &w);
}

static cudaError_t attention_narrow(const struct cuda_launch *launch, const struct attention_args *args, void *schedule,
                                    enum dtype type)
{
    if (args->type != type)
        return cudaErrorNotSupported;
    struct attention_choice choice = attention_cuda_choose(launch->facts, args);
    return attention_mma_launch(launch, args, schedule, &choice);
}

extern "C" cudaError_t attention_bf16_cuda(const struct cuda_launch *launch, const struct attention_args *args, void *schedule)
{
    return attention_narrow(launch, args, schedule, DTYPE_BF16);
}

extern "C" cudaError_t attention_f16_cuda(const struct cuda_launch *launch, const struct attention_args *args, void *schedule)
{
    return attention_narrow(launch, args, schedule, DTYPE_F16);
}
