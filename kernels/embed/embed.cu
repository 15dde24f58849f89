/* embed.h on a GPU: a warp a row, lane by lane along it, so that every access is a whole line. */
#include "kernels/cuda/rows.cuh"

DEVICE float table_value(const float *table, size_t at) { return table[at]; }
DEVICE float table_value(const __nv_bfloat16 *table, size_t at) { return __bfloat162float(table[at]); }

template <class T> __global__ void embed_rows_kernel(struct embed_args a, struct live_rows rows)
{
    const int row = warp_row();
    if (row >= live_count(rows))
        return;
    const size_t word     = (size_t)a.ids[row] * (size_t)a.width;
    const size_t position = a.positions ? (size_t)a.position_ids[row] * (size_t)a.width : 0;
    float       *y        = row_at(a.y, a.y_stride, row);
#pragma unroll 4
    for (int i = warp_lane(); i < a.width; i += 32) {
        float v = table_value((const T *)a.words, word + (size_t)i);
        if (a.positions)
            v += table_value((const T *)a.positions, position + (size_t)i);
        if (a.types)
            v += table_value((const T *)a.types, (size_t)i);
        y[i] = v;
    }
}

extern "C" cudaError_t embed_rows_cuda(const struct cuda_launch *launch, const struct embed_args *args)
{
    if (!args->words || !args->ids || !args->y || (args->positions && !args->position_ids))
        return cudaErrorInvalidValue;
    const int    tables  = 1 + (args->positions != NULL);
    const double element = args->table_type == DTYPE_BF16 ? 2 : 4;
    const bool   bf16    = args->table_type == DTYPE_BF16;
    if (!bf16 && args->table_type != DTYPE_F32)
        return cudaErrorNotSupported;
    const char               *name  = bf16 ? "embed_rows_bf16" : "embed_rows_f32";
    const struct kernel_shape shape = rows_shape(launch, name, args->width * (tables * element + 4));
    const struct live_rows    rows  = launch_live_rows(launch);
    const void *kernel = bf16 ? KERNEL_HANDLE(embed_rows_kernel<__nv_bfloat16>) : KERNEL_HANDLE(embed_rows_kernel<float>);
    KERNEL_LAUNCH(launch, shape, kernel, args, &rows);
}
