/* attention.h on Hopper: TMA brings queries, keys and values, wgmma multiplies them, softmax hides behind it.
 *
 * A large tile of the schedule is 64 rows of one sequence for each consumer warpgroup. Blocks are persistent: block b takes
 * work b, b + blocks, ..., tile after tile of one head, then the next head; so blocks side by side share keys and values in
 * the second-level cache, and the producer warpgroup is ahead of the consumers across the ends of tiles: its loads of the next
 * tile go out while the last one is written. Keys lie in tiles from the start of the sequence.
 *
 * What is shorter than ATTENTION_LARGE_FROM runs in attention_strips: each consumer warpgroup takes small tiles once the large
 * ones are done; for heads of 256 the other kernel does. That path is the same in both, operation for operation.
 */
#include "kernels/cuda/launch.h"

#include "kernels/attention/attention_large_consume.cuh"
#include "kernels/attention/attention_large_produce.cuh"
#include "kernels/cuda/tensor_map.h"

template <class T, int HEAD>
__global__ void __launch_bounds__(128 * (large_consumers(HEAD) + 1), 1) attention_wgmma(const __grid_constant__ struct large_work w)
{
    static_assert(large_fits<HEAD>, "setmaxnreg would wait for ever, or a block have more memory than there is");
    constexpr int CONSUMERS = large_consumers(HEAD);
    SHARED_DYNAMIC(uint8_t, shared, 1024);
    const struct large_memory<HEAD> m = large_memory_at<HEAD>(shared_address(shared));
    const int                       warpgroup = warpgroup_index();
    if (threadIdx.x == 0) {
        for (int i = 0; i < large_query_tiles(HEAD); i++) {
            mbarrier_init(m.query_full + 8 * i, 1);
            mbarrier_init(m.query_empty + 8 * i, CONSUMERS);
        }
        for (int i = 0; i < large_stages(HEAD); i++) {
            mbarrier_init(m.key_full + 8 * i, 1);
            mbarrier_init(m.key_empty + 8 * i, CONSUMERS);
            mbarrier_init(m.value_full + 8 * i, 1);
            mbarrier_init(m.value_empty + 8 * i, CONSUMERS);
            mbarrier_init(m.landed + 8 * i, 1);
        }
        fence_mbarrier_init();
    }
    __syncthreads();  /* the barriers are made */
    if (warpgroup == 0) {
        registers_lower<large_producer_registers(HEAD)>();
        if (threadIdx.x == 0)
            large_produce<HEAD>(w, m);
        else if (threadIdx.x / 32 == 1)
            large_mend<T, HEAD>(w, m, shared);
        return;
    }
    registers_raise<large_consumer_registers(HEAD)>();
    const int consumer = warpgroup - 1;
    large_consume<T, HEAD>(w, m, shared, consumer);
    if constexpr (large_takes_strips(HEAD)) {
        const int small = w.rows.schedule->small;
        if (small == 0)
            return;
        named_barrier_sync<4, 128 * CONSUMERS>();  /* every consumer is done with the ring: small tiles use its memory */
        for (int index = (int)blockIdx.x * CONSUMERS + consumer; index < small * w.heads; index += (int)gridDim.x * CONSUMERS)
            attention_strips<T, HEAD, CONSUMERS>(w.rows, index % small, index / small,
                                                 shared + consumer * strips_shared_bytes(HEAD), consumer);
    }
}

/* A head is a dimension of its own, so that what lies past its end is read as zeros. */
static cudaError_t large_maps(const struct cuda_launch *launch, const struct attention_args *a, int head, struct large_work *w)
{
    const int                      box = large_box(head), keys = large_keys(head);
    const struct tensor_map_matrix q = { a->q, a->type, a->head_size, launch->tokens, a->q_stride, 64 };
    const struct tensor_map_matrix k = { a->k, a->type, a->head_size, launch->tokens, a->k_stride, keys };
    const struct tensor_map_matrix v = { a->v, a->type, a->head_size, launch->tokens, a->v_stride, keys };
    cudaError_t                    error = tensor_map_make_heads(launch->facts, &w->q, &q, a->heads, box);
    if (error == cudaSuccess)
        error = tensor_map_make_heads(launch->facts, &w->k, &k, a->kv_heads, box);
    return error == cudaSuccess ? tensor_map_make_heads(launch->facts, &w->v, &v, a->kv_heads, box) : error;
}

template <class T> static const void *large_handle(int head)
{
    switch (head) {
    case 32: return KERNEL_HANDLE(attention_wgmma<T, 32>);
    case 64: return KERNEL_HANDLE(attention_wgmma<T, 64>);
    case 80: return KERNEL_HANDLE(attention_wgmma<T, 80>);
    case 96: return KERNEL_HANDLE(attention_wgmma<T, 96>);
    case 128: return KERNEL_HANDLE(attention_wgmma<T, 128>);
    default: return KERNEL_HANDLE(attention_wgmma<T, 256>);
    }
}

extern "C" cudaError_t attention_sm90_launch(const struct cuda_launch *launch, const struct attention_args *args, void *schedule,
                                             const struct attention_choice *choice)
{
    if (!attention_valid(args, 16) || !launch_aligned(schedule, 0, 16) || !schedule)
        return cudaErrorInvalidValue;
    if (args->head_size % 8 != 0 || args->head_size > choice->head || args->y_type != args->type ||
        choice->large_rows != 64 * large_consumers(choice->head))
        return cudaErrorNotSupported;
    const bool        bf16 = args->type == DTYPE_BF16;
    struct large_work w    = {};
    w.rows                 = strips_work_of(args, schedule);
    w.heads                = args->heads;
    cudaError_t error      = large_maps(launch, args, choice->head, &w);
    if (error == cudaSuccess && !large_takes_strips(choice->head))
        error = attention_mma_launch(launch, args, schedule, choice);
    if (error != cudaSuccess)
        return error;
    struct kernel_shape shape = attention_shape(launch, args, bf16 ? "attention_bf16" : "attention_f16");
    shape.grid                = dim3((unsigned)launch->facts->processors);
    shape.threads             = 128 * (large_consumers(choice->head) + 1);
    shape.shared_bytes        = large_shared_bytes(choice->head);
    KERNEL_LAUNCH(launch, shape, bf16 ? large_handle<__nv_bfloat16>(choice->head) : large_handle<__half>(choice->head), &w);
}

static cudaError_t attention_narrow(const struct cuda_launch *launch, const struct attention_args *args, void *schedule,
                                    enum dtype type)
{
    if (args->type != type)
        return cudaErrorNotSupported;
    const struct attention_choice choice = attention_cuda_choose(launch->facts, args);
    const bool                    large  = choice.variant == ATTENTION_CUDA_WGMMA && launch->longest >= ATTENTION_LARGE_FROM;
    return (large ? attention_sm90_launch : attention_mma_launch)(launch, args, schedule, &choice);
}

extern "C" cudaError_t attention_bf16_sm90(const struct cuda_launch *launch, const struct attention_args *args, void *schedule)
{
    return attention_narrow(launch, args, schedule, DTYPE_BF16);
}

extern "C" cudaError_t attention_f16_sm90(const struct cuda_launch *launch, const struct attention_args *args, void *schedule)
{
    return attention_narrow(launch, args, schedule, DTYPE_F16);
}
