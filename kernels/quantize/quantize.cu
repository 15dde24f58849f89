/* From f32 to bf16 on a GPU, as quantize.h says. A warp a row. */
#include "kernels/cuda/rows.cuh"

/* `quads`: so many columns are taken four at a time; rows are aligned to it. */
__global__ void __launch_bounds__(ROWS_THREADS) convert_kernel_bf16(struct convert_args a, int quads, struct live_rows rows)
{
    const int row = warp_row();
    if (row >= live_count(rows))
        return;
    const float   *x = row_at(a.x, a.x_stride, row);
    __nv_bfloat16 *y = row_at((__nv_bfloat16 *)a.y, a.y_stride, row);
    for (int i = 4 * warp_lane(); i < quads; i += 128) {
        const float4 v = *(const float4 *)(x + i);
        store_bf16x4(y + i, v.x, v.y, v.z, v.w);
    }
    for (int i = quads + warp_lane(); i < a.width; i += 32)
        y[i] = __float2bfloat16_rn(x[i]);
}

extern "C" cudaError_t convert_bf16_cuda(const struct cuda_launch *launch, const struct convert_args *args)
{
    if (!args->x || !args->y)
        return cudaErrorInvalidValue;
    const bool aligned = launch_aligned(args->x, args->x_stride, 16) && launch_aligned(args->y, args->y_stride, 8);
    const int  quads   = aligned ? args->width / 4 * 4 : 0;
    const struct kernel_shape shape = rows_shape(launch, "convert_bf16", 6.0 * args->width);
    const struct live_rows    rows  = launch_live_rows(launch);
    KERNEL_LAUNCH(launch, shape, KERNEL_HANDLE(convert_kernel_bf16), args, &quads, &rows);
}
