/* Rows of bf16 or f32 to e4m3 with a scale each, for the linears of Hopper. A warp a row, 16 bytes a lane at a time.
 *
 * The row is read twice, for its largest element and for the codes: the second time it comes from the first-level cache.
 */
#include "kernels/cuda/rows.cuh"

#include "kernels/cuda/sm90.cuh"
#include "kernels/quantize/quantize_e4m3.cuh"

template <class T> constexpr int QUANTIZE_PIECE = 16 / (int)sizeof(T);  /* elements that a lane takes at once */

DEVICE void quantize_widen(const uint4 &bits, float (&v)[4])
{
    v[0] = __uint_as_float(bits.x);
    v[1] = __uint_as_float(bits.y);
    v[2] = __uint_as_float(bits.z);
    v[3] = __uint_as_float(bits.w);
}

DEVICE void quantize_widen(const uint4 &bits, float (&v)[8])
{
    const uint32_t pairs[4] = { bits.x, bits.y, bits.z, bits.w };
#pragma unroll
    for (int i = 0; i < 4; i++) {
        v[2 * i]     = __uint_as_float(pairs[i] << 16);
        v[2 * i + 1] = __uint_as_float(pairs[i] & 0xffff0000u);
    }
}

/* The piece at x, zeros from `count` elements on; what lies there is the row's own, as rows are whole pieces apart. */
template <class T, int N> DEVICE void quantize_read(const T *x, int count, float (&v)[N])
{
    const uint4 bits = *(const uint4 *)x;
    quantize_widen(bits, v);
#pragma unroll
    for (int i = 1; i < N; i++)
        v[i] = i < count ? v[i] : 0.0f;
}

template <int N> DEVICE void quantize_write(uint8_t *y, int count, const float (&v)[N], float inverse)
{
    uint32_t codes[N / 4];
#pragma unroll
    for (int i = 0; i < N / 4; i++)
        codes[i] = quantize_four(v[4 * i], v[4 * i + 1], v[4 * i + 2], v[4 * i + 3], inverse);
    if (count < N) {
#pragma unroll
        for (int i = 0; i < N; i++)
            if (i < count)
                y[i] = (uint8_t)(codes[i / 4] >> i % 4 * 8);
    } else if constexpr (N == 8) {
        *(uint2 *)y = make_uint2(codes[0], codes[1]);
    } else {
        *(uint32_t *)y = codes[0];
    }
}

template <class T>
__global__ void __launch_bounds__(ROWS_THREADS) quantize_kernel_fp8(struct fp8_args a, struct live_rows rows)
{
    constexpr int PIECE = QUANTIZE_PIECE<T>;
    const int     row   = warp_row();
    if (row >= live_count(rows))
        return;
    const T *x       = row_at((const T *)a.x, a.x_stride, row);
    uint8_t *y       = row_at(a.y, a.y_stride, row);
    float    largest = 0.0f;
#pragma unroll 4
    for (int i = warp_lane() * PIECE; i < a.width; i += 32 * PIECE) {
        float v[PIECE];
        quantize_read(x + i, a.width - i, v);
#pragma unroll
        for (int j = 0; j < PIECE; j++)
            largest = fmaxf(largest, fabsf(v[j]));
    }
    largest = warp_max(largest);
    const float inverse = quantize_inverse(largest);
#pragma unroll 4
    for (int i = warp_lane() * PIECE; i < a.width; i += 32 * PIECE) {
        float v[PIECE];
        quantize_read(x + i, a.width - i, v);
        quantize_write(y + i, a.width - i, v, inverse);
    }
    if (warp_lane() == 0)
        a.scales[row] = quantize_scale(largest);
}

extern "C" cudaError_t quantize_fp8_sm90(const struct cuda_launch *launch, const struct fp8_args *args)
{
    if (!args->x || !args->y || !args->scales || !launch_aligned(args->x, args->x_stride, 16) ||
        !launch_aligned(args->y, args->y_stride, 16))
        return cudaErrorInvalidValue;
    if (args->x_type != DTYPE_F32 && args->x_type != DTYPE_BF16)
        return cudaErrorNotSupported;
    const double              each  = dtype_bits(args->x_type) / 8 + 1;
    const struct kernel_shape shape = rows_shape(launch, "quantize_fp8", each * args->width + 4);
    const struct live_rows    rows  = launch_live_rows(launch);
    KERNEL_LAUNCH(launch, shape,
                  args->x_type == DTYPE_F32 ? KERNEL_HANDLE(quantize_kernel_fp8<float>)
                                            : KERNEL_HANDLE(quantize_kernel_fp8<__nv_bfloat16>), args, &rows);
}
