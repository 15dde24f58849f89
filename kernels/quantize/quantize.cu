/* From f32 to what linears read on a GPU: bf16 as quantize.h says, and e4m3 with a scale a row. A warp a row. */
#include "kernels/cuda/rows.cuh"

#define E4M3_MAX 448.0f

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

/* |x| at most 448 to e4m3, rounded to even. A step of the result is 2^(exponent - 3), of subnormals 2^-9; adding and taking
 * away 1.5 * 2^23 steps makes the adder round at that place. */
DEVICE uint8_t e4m3_from_float(float x)
{
    const uint32_t sign     = __float_as_uint(x) >> 24 & 0x80u;
    const float    size     = fminf(fabsf(x), E4M3_MAX);
    const int      exponent = max((int)(__float_as_uint(size) >> 23) - 127, -6);
    const float    steps    = size * __uint_as_float((uint32_t)(127 + 3 - exponent) << 23);  /* exact: at most 16 */
    const int      rounded  = (int)rintf(steps);
    const int      code     = exponent == -6 ? rounded : (exponent + 6) * 8 + rounded;  /* a carry moves on by itself */
    return (uint8_t)(sign | (uint32_t)code);
}

__global__ void __launch_bounds__(ROWS_THREADS) quantize_kernel_fp8(struct fp8_args a, struct live_rows rows)
{
    const int row = warp_row();
    if (row >= live_count(rows))
        return;
    const float *x       = row_at(a.x, a.x_stride, row);
    uint8_t     *y       = row_at(a.y, a.y_stride, row);
    float        largest = 0.0f;
    for (int i = warp_lane(); i < a.width; i += 32)
        largest = fmaxf(largest, fabsf(x[i]));
    largest           = warp_max(largest);
    const float scale = largest > 0.0f ? largest / E4M3_MAX : 1.0f;
    for (int i = warp_lane(); i < a.width; i += 32)
        y[i] = e4m3_from_float(x[i] / scale);
    if (warp_lane() == 0)
        a.scales[row] = scale;
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

extern "C" cudaError_t quantize_fp8_cuda(const struct cuda_launch *launch, const struct fp8_args *args)
{
    if (!args->x || !args->y || !args->scales)
        return cudaErrorInvalidValue;
    const struct kernel_shape shape = rows_shape(launch, "quantize_fp8", 5.0 * args->width);
    const struct live_rows    rows  = launch_live_rows(launch);
    KERNEL_LAUNCH(launch, shape, KERNEL_HANDLE(quantize_kernel_fp8), args, &rows);
}
