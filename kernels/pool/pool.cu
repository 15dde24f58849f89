/* pool.h on a GPU. A mean has a thread for each column of a sequence, which adds the rows from first to last as the reference
 * does; eight loads are under way at a time, so the chain of sums and not the memory sets the pace. */
#include "kernels/cuda/rows.cuh"

enum { POOL_COLUMNS = 128 };

__global__ void __launch_bounds__(POOL_COLUMNS) pool_kernel_mean(struct pool_args a, const struct cuda_live *live)
{
    const int sequence = (int)blockIdx.x, column = (int)(blockIdx.y * POOL_COLUMNS + threadIdx.x);
    if (sequence >= live->sequences || column >= a.width)
        return;
    const int    first = a.starts[sequence], last = a.starts[sequence + 1];
    const float *x     = row_at(a.x, a.x_stride, first) + column;
    float        sum   = *x;
#pragma unroll 8
    for (int row = 1; row < last - first; row++)
        sum += *row_at(x, a.x_stride, row);
    row_at(a.y, a.y_stride, sequence)[column] = sum / (float)(last - first);
}

/* `back` 0 takes the first row, 1 the last. */
__global__ void __launch_bounds__(POOL_COLUMNS) pool_kernel_row(struct pool_args a, int back, const struct cuda_live *live)
{
    const int sequence = (int)blockIdx.x, column = (int)(blockIdx.y * POOL_COLUMNS + threadIdx.x);
    if (sequence >= live->sequences || column >= a.width)
        return;
    const int row                             = a.starts[sequence + back] - back;
    row_at(a.y, a.y_stride, sequence)[column] = row_at(a.x, a.x_stride, row)[column];
}

__global__ void __launch_bounds__(ROWS_THREADS) normalize_kernel_l2(struct normalize_args a, struct live_rows rows)
{
    const int row = warp_row();
    if (row >= live_count(rows))
        return;
    const float *x       = row_at(a.x, a.x_stride, row);
    float       *y       = row_at(a.y, a.y_stride, row);
    float        squares = 0.0f;
    for (int i = warp_lane(); i < a.width; i += 32)
        squares = fmaf(x[i], x[i], squares);
    const float length = fmaxf(sqrtf(warp_sum(squares)), NORMALIZE_LEAST);
    for (int i = warp_lane(); i < a.width; i += 32)
        y[i] = x[i] / length;
}

static struct kernel_shape pool_shape(const struct cuda_launch *launch, const struct pool_args *args, const char *name,
                                      int rows_read)
{
    const dim3 grid((unsigned)launch->sequences, (unsigned)launch_blocks(args->width, POOL_COLUMNS));
    const struct kernel_shape shape = { name, 4.0 * args->width * (rows_read + launch->sequences), 0, grid, POOL_COLUMNS, 0, 0 };
    return shape;
}

static bool pool_valid(const struct pool_args *args) { return args->x && args->y && args->starts; }

extern "C" cudaError_t pool_mean_cuda(const struct cuda_launch *launch, const struct pool_args *args)
{
    if (!pool_valid(args))
        return cudaErrorInvalidValue;
    const struct kernel_shape shape = pool_shape(launch, args, "pool_mean", launch->tokens);
    KERNEL_LAUNCH(launch, shape, KERNEL_HANDLE(pool_kernel_mean), args, &launch->live);
}

static cudaError_t launch_pool_row(const struct cuda_launch *launch, const struct pool_args *args, int back)
{
    if (!pool_valid(args))
        return cudaErrorInvalidValue;
    const struct kernel_shape shape = pool_shape(launch, args, "pool_row", launch->sequences);
    KERNEL_LAUNCH(launch, shape, KERNEL_HANDLE(pool_kernel_row), args, &back, &launch->live);
}

extern "C" cudaError_t pool_first_cuda(const struct cuda_launch *launch, const struct pool_args *args)
{
    return launch_pool_row(launch, args, 0);
}

extern "C" cudaError_t pool_last_cuda(const struct cuda_launch *launch, const struct pool_args *args)
{
    return launch_pool_row(launch, args, 1);
}

extern "C" cudaError_t normalize_l2_cuda(const struct cuda_launch *launch, const struct normalize_args *args)
{
    if (!args->x || !args->y)
        return cudaErrorInvalidValue;
    const struct kernel_shape shape = rows_shape(launch, "normalize_l2", 8.0 * args->width);
    const struct live_rows    rows  = launch_live_rows(launch);
    KERNEL_LAUNCH(launch, shape, KERNEL_HANDLE(normalize_kernel_l2), args, &rows);
}
