/* attention.h on a GPU with mma.sync (sm_80 and later), and attention in f32. */
#include "kernels/attention/attention_strips.cuh"

template <class T, int HEAD>
__global__ void __launch_bounds__(STRIPS_THREADS) attention_mma(const __grid_constant__ struct strips_work w)
{
    SHARED_DYNAMIC(uint8_t, shared, 128);
    if ((int)blockIdx.x >= w.schedule->small)
        return;
    attention_strips<T, HEAD, 0>(w, (int)blockIdx.x, (int)blockIdx.y, shared, 0);
}

/* The sequence of a row: the last start that is not beyond it. */
DEVICE int sequence_of(const int32_t *starts, int sequences, int row)
{
    int low = 0, high = sequences - 1;
    while (low < high) {
        const int middle = (low + high + 1) / 2;
        if (starts[middle] <= row)
            low = middle;
        else
            high = middle - 1;
    }
    return low;
}

struct attention_rows_work {
    struct attention_args   a;
    const struct cuda_live *live;
};

enum { ROWS_COLUMNS = ATTENTION_MOST_HEAD / 32 };  /* of y in a lane */

/* f32: lanes are keys for the scores, 32 at a time from the start of the sequence, then columns for the values. */
__global__ void __launch_bounds__(ROWS_THREADS) attention_rows(const __grid_constant__ struct attention_rows_work w)
{
    const struct attention_args &a    = w.a;
    const int                    row  = warp_row(), lane = warp_lane(), head = (int)blockIdx.y;
    const int                    kv_head = head / (a.heads / a.kv_heads);
    if (row >= w.live->tokens)
        return;
    const int    sequence = sequence_of(a.starts, w.live->sequences, row);
    const int    start = a.starts[sequence], end = a.causal ? row + 1 : a.starts[sequence + 1];
    const float *q = row_at((const float *)a.q, a.q_stride, row) + head * a.head_size;
    float        most = -INFINITY, sum = 0.0f, y[ROWS_COLUMNS] = {};
    for (int key0 = start; key0 < end; key0 += 32) {
        float score = -INFINITY;
        if (key0 + lane < end) {
            const float *k = row_at((const float *)a.k, a.k_stride, key0 + lane) + kv_head * a.head_size;
            score          = 0.0f;
            for (int i = 0; i < a.head_size; i++)
                score = fmaf(q[i], k[i], score);
            score *= a.scale;
        }
        const float rise = fmaxf(most, warp_max(score)), fade = expf(most - rise), weight = expf(score - rise);
        most             = rise;
        sum              = fmaf(sum, fade, warp_sum(weight));
#pragma unroll
        for (int c = 0; c < ROWS_COLUMNS; c++)
            y[c] *= fade;
        for (int j = 0; j < min(32, end - key0); j++) {
            const float  of_key = __shfl_sync(0xffffffffu, weight, j);
            const float *v      = row_at((const float *)a.v, a.v_stride, key0 + j) + kv_head * a.head_size;
#pragma unroll
            for (int c = 0; c < ROWS_COLUMNS; c++)
                if (c * 32 + lane < a.head_size)
                    y[c] = fmaf(of_key, v[c * 32 + lane], y[c]);
        }
    }
    float *out = row_at((float *)a.y, a.y_stride, row) + head * a.head_size;
#pragma unroll
    for (int c = 0; c < ROWS_COLUMNS; c++)
        if (c * 32 + lane < a.head_size)
            out[c * 32 + lane] = y[c] / sum;
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

extern "C" cudaError_t attention_f32_cuda(const struct cuda_launch *launch, const struct attention_args *args, void *schedule)
{
    (void)schedule;  /* rows are found one by one */
    if (!attention_valid(args, 4))
        return cudaErrorInvalidValue;
    if (args->type != DTYPE_F32 || args->y_type != DTYPE_F32 || args->head_size > ATTENTION_MOST_HEAD)
        return cudaErrorNotSupported;
    const struct attention_rows_work w = { *args, launch->live };
    struct kernel_shape shape          = attention_shape(launch, args, "attention_f32");
    shape.grid                         = dim3((unsigned)launch_blocks(launch->tokens, ROWS_WARPS), (unsigned)args->heads);
    shape.threads                      = ROWS_THREADS;
    KERNEL_LAUNCH(launch, shape, KERNEL_HANDLE(attention_rows), &w);
}
