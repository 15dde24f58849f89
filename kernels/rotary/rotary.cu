/* rotary.h on a GPU: a warp a row; lanes take pairs, head after head. */
#include "kernels/cuda/rows.cuh"

DEVICE float turned_load(const float *x) { return *x; }
DEVICE float turned_load(const __nv_bfloat16 *x) { return __bfloat162float(*x); }
DEVICE void turned_store(float *x, float v) { *x = v; }
DEVICE void turned_store(__nv_bfloat16 *x, float v) { *x = __float2bfloat16_rn(v); }

template <class T>
__global__ void __launch_bounds__(ROWS_THREADS) rotary_kernel_half(struct rotary_args args, struct live_rows rows)
{
    const int row = warp_row();
    if (row >= live_count(rows))
        return;
    const int    pairs  = args.head_size / 2;
    const size_t angles = (size_t)args.position_ids[row] * (size_t)pairs;
    T           *x      = row_at((T *)args.x, args.x_stride, row);
    for (int i = warp_lane(); i < args.heads * pairs; i += 32) {
        T          *at = x + i / pairs * args.head_size + i % pairs;
        const float c = args.cosines[angles + (size_t)(i % pairs)], s = args.sines[angles + (size_t)(i % pairs)];
        const float a = turned_load(at), b = turned_load(at + pairs);
        turned_store(at, fmaf(-b, s, a * c));
        turned_store(at + pairs, fmaf(a, s, b * c));
    }
}

extern "C" cudaError_t rotary_half_cuda(const struct cuda_launch *launch, const struct rotary_args *args)
{
    if (!args->x || !args->position_ids || !args->cosines || !args->sines || args->head_size % 2 != 0)
        return cudaErrorInvalidValue;
    if (args->type != DTYPE_F32 && args->type != DTYPE_BF16)
        return cudaErrorNotSupported;
    const bool                bf16  = args->type == DTYPE_BF16;
    const double              moved = 2.0 * (bf16 ? 2 : 4) * args->heads * args->head_size;
    const struct kernel_shape shape = rows_shape(launch, bf16 ? "rotary_half_bf16" : "rotary_half_f32", moved);
    const struct live_rows    rows  = launch_live_rows(launch);
    const void *kernel = bf16 ? KERNEL_HANDLE(rotary_kernel_half<__nv_bfloat16>) : KERNEL_HANDLE(rotary_kernel_half<float>);
    KERNEL_LAUNCH(launch, shape, kernel, args, &rows);
}
