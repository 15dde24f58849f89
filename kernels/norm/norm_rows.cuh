/* norm_rows.cuh: norm.h on a GPU: a warp a row, which it holds in registers between the passes; each lane takes four neighbours at
 * a time. COPY: the element of the copy for the next linear, __nv_bfloat16, or uint8_t where it is e4m3 (on Hopper alone), with
 * the codes and scales that quantize_sm90.cu makes of y.
 *
 * Order of summation: a lane adds its elements in the order of the row, then warp_sum. The kernel for rows that are too wide
 * for registers, or that four neighbours do not fit, keeps the same order, so that the choice between them changes no bit.
 */
#ifndef RECTO_KERNELS_NORM_NORM_ROWS_CUH
#define RECTO_KERNELS_NORM_NORM_ROWS_CUH

#include "kernels/cuda/rows.cuh"

#include "kernels/norm/norm_row.cuh"
#include "kernels/quantize/quantize_e4m3.cuh"

enum { NORM_WIDEST = 4096 };  /* 32 vectors of four in a lane: 128 registers */

/* Lane, vector and place to the element's index in the row. */
DEVICE int norm_index(int vector, int place) { return (vector * 32 + warp_lane()) * 4 + place; }

/* From the largest of each lane's elements to what the row is multiplied by for its codes; its scale is written. */
DEVICE float norm_scale(const struct norm_args &a, int row, float largest)
{
    largest = warp_max(largest);
    if (warp_lane() == 0)
        a.copy_scales[row] = quantize_scale(largest);
    return quantize_inverse(largest);
}

template <int VECTORS, class COPY>
__global__ void __launch_bounds__(ROWS_THREADS) norm_rows_held(struct norm_args a, bool rms, struct live_rows rows)
{
    const int row = warp_row();
    if (row >= live_count(rows))
        return;
    const float *x = row_at(a.x, a.x_stride, row);
    float4       held[VECTORS];
    float        sum = 0.0f;
#pragma unroll
    for (int v = 0; v < VECTORS; v++) {
        const bool within = norm_index(v, 0) < a.width;
        held[v]           = within ? *(const float4 *)(x + norm_index(v, 0)) : make_float4(0.0f, 0.0f, 0.0f, 0.0f);
        sum               = (((sum + held[v].x) + held[v].y) + held[v].z) + held[v].w;
    }
    const float mean    = rms ? 0.0f : warp_sum(sum) / (float)a.width;
    float       squares = 0.0f;
#pragma unroll
    for (int v = 0; v < VECTORS; v++) {
        if (norm_index(v, 0) >= a.width)
            continue;
        held[v] = make_float4(held[v].x - mean, held[v].y - mean, held[v].z - mean, held[v].w - mean);
        squares = fmaf(held[v].y, held[v].y, fmaf(held[v].x, held[v].x, squares));
        squares = fmaf(held[v].w, held[v].w, fmaf(held[v].z, held[v].z, squares));
    }
    const float inverse = norm_inverse(a, warp_sum(squares));
#pragma unroll
    for (int v = 0; v < VECTORS; v++) {
        const int i = norm_index(v, 0);
        if (i >= a.width)
            continue;
        const float4 d = held[v], w = *(const float4 *)(a.weight + i);
        const float4 b = a.bias ? *(const float4 *)(a.bias + i) : make_float4(0.0f, 0.0f, 0.0f, 0.0f);
        const float4 y = make_float4(norm_value(a, d.x, inverse, w.x, b.x), norm_value(a, d.y, inverse, w.y, b.y),
                                     norm_value(a, d.z, inverse, w.z, b.z), norm_value(a, d.w, inverse, w.w, b.w));
        if (a.y)
            *(float4 *)(row_at(a.y, a.y_stride, row) + i) = y;
        held[v] = y;
        if constexpr (sizeof(COPY) == 2)
            if (a.copy)
                store_bf16x4(row_at((__nv_bfloat16 *)a.copy, a.copy_stride, row) + i, y.x, y.y, y.z, y.w);
    }
    if constexpr (sizeof(COPY) == 1) {
        float largest = 0.0f;  /* beyond the row zeros are held */
#pragma unroll
        for (int v = 0; v < VECTORS; v++)
            largest = fmaxf(fmaxf(fmaxf(fmaxf(largest, fabsf(held[v].x)), fabsf(held[v].y)), fabsf(held[v].z)), fabsf(held[v].w));
        const float to_codes = norm_scale(a, row, largest);
#pragma unroll
        for (int v = 0; v < VECTORS; v++)
            if (norm_index(v, 0) < a.width)
                *(uint32_t *)(row_at((uint8_t *)a.copy, a.copy_stride, row) + norm_index(v, 0)) =
                    quantize_four(held[v].x, held[v].y, held[v].z, held[v].w, to_codes);
    }
}

/* One element of a row that is not held. */
DEVICE float norm_result(const struct norm_args &a, const float *x, int i, float mean, float inverse)
{
    return norm_value(a, x[i] - mean, inverse, a.weight[i], a.bias ? a.bias[i] : 0.0f);
}

template <class COPY>
__global__ void __launch_bounds__(ROWS_THREADS) norm_rows_any(struct norm_args a, bool rms, struct live_rows rows)
{
    const int row = warp_row();
    if (row >= live_count(rows))
        return;
    const float *x       = row_at(a.x, a.x_stride, row);
    const int    vectors = (a.width + 127) / 128;
    float        sum = 0.0f, squares = 0.0f;
    for (int v = 0; v < vectors; v++)
        for (int place = 0; place < 4; place++)
            sum += norm_index(v, place) < a.width ? x[norm_index(v, place)] : 0.0f;
    const float mean = rms ? 0.0f : warp_sum(sum) / (float)a.width;
    for (int v = 0; v < vectors; v++)
        for (int place = 0; place < 4; place++)
            if (norm_index(v, place) < a.width) {
                const float d = x[norm_index(v, place)] - mean;
                squares       = fmaf(d, d, squares);
            }
    const float inverse = norm_inverse(a, warp_sum(squares));
    float       to_codes = 0.0f;
    if constexpr (sizeof(COPY) == 1) {
        float largest = 0.0f;
        for (int v = 0; v < vectors; v++)
            for (int place = 0; place < 4; place++)
                if (norm_index(v, place) < a.width)
                    largest = fmaxf(largest, fabsf(norm_result(a, x, norm_index(v, place), mean, inverse)));
        to_codes = norm_scale(a, row, largest);
    }
    for (int v = 0; v < vectors; v++)
        for (int place = 0; place < 4; place++) {
            const int i = norm_index(v, place);
            if (i >= a.width)
                continue;
            const float y = norm_result(a, x, i, mean, inverse);  /* y may be x: this lane alone reads and writes the place */
            if (a.y)
                row_at(a.y, a.y_stride, row)[i] = y;
            if constexpr (sizeof(COPY) == 1)
                row_at((uint8_t *)a.copy, a.copy_stride, row)[i] = (uint8_t)quantize_two(y, 0.0f, to_codes);
            else if (a.copy)
                row_at((__nv_bfloat16 *)a.copy, a.copy_stride, row)[i] = __float2bfloat16_rn(y);
        }
}

/* How many vectors of four a lane holds; 0: none, the row is read again for each pass. */
static int norm_choose(const struct norm_args *args)
{
    static const int built[] = { 3, 6, 8, 16, 32 };  /* widths 384, 768, 1024, 2048, 4096 */
    const bool aligned = launch_aligned(args->x, args->x_stride, 16) && launch_aligned(args->y, args->y_stride, 16) &&
                         launch_aligned(args->copy, args->copy_stride, 8) && launch_aligned(args->weight, 0, 16) &&
                         launch_aligned(args->bias, 0, 16);
    if (args->width % 4 != 0 || args->width > NORM_WIDEST || !aligned)
        return 0;
    int i = 0;
    while (built[i] * 128 < args->width)
        i++;
    return built[i];
}

template <class COPY> static const void *norm_handle(int vectors)
{
    switch (vectors) {
    case 3: return KERNEL_HANDLE(norm_rows_held<3, COPY>);
    case 6: return KERNEL_HANDLE(norm_rows_held<6, COPY>);
    case 8: return KERNEL_HANDLE(norm_rows_held<8, COPY>);
    case 16: return KERNEL_HANDLE(norm_rows_held<16, COPY>);
    case 32: return KERNEL_HANDLE(norm_rows_held<32, COPY>);
    default: return KERNEL_HANDLE(norm_rows_any<COPY>);
    }
}

template <class COPY> static cudaError_t norm_launch(const struct cuda_launch *launch, const struct norm_args *args, bool rms)
{
    if (!args->x || !args->weight || (!args->y && !args->copy))
        return cudaErrorInvalidValue;
    const double              moved = args->width * (4.0 + (args->y ? 4 : 0) + (args->copy ? sizeof(COPY) : 0));
    const struct kernel_shape shape = rows_shape(launch, rms ? "norm_rms" : "norm_layer", moved);
    const struct live_rows    rows  = launch_live_rows(launch);
    KERNEL_LAUNCH(launch, shape, norm_handle<COPY>(norm_choose(args)), args, &rms, &rows);
}

#endif
