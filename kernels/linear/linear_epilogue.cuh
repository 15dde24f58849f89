/* linear_epilogue.cuh: what follows the sum along k in every CUDA linear: bias, activation, gate, residual, store.
 *
 * A thread brings two or four neighbouring columns of a row at once. All kernels go through these functions, so that an
 * output's bits do not depend on the tile that it was computed in. Fused multiply-adds stand where they are wanted and the
 * compiler makes none of its own (-fmad=false).
 */
#ifndef RECTO_KERNELS_LINEAR_LINEAR_EPILOGUE_CUH
#define RECTO_KERNELS_LINEAR_LINEAR_EPILOGUE_CUH

#include "kernels/cuda/launch.h"
#include "kernels/cuda/rows.cuh"

/* The part of struct linear_args that a kernel needs after the sum. */
struct linear_epilogue {
    const float    *bias;             /* [n] or null */
    const float    *residual;         /* [rows, n] or null */
    size_t          residual_stride;  /* bytes */
    void           *y;
    size_t          y_stride;         /* bytes */
    int             n;                /* columns of y: half the weight's where they are gated */
    enum linear_act act;
    bool            narrow;           /* y is bf16, else f32 */
};

enum { LINEAR_GATE_BLOCK = 16 };  /* columns of gates, then as many of ups */

static inline struct linear_epilogue linear_epilogue_of(const struct linear_args *args)
{
    const bool             gated = args->act == LINEAR_SILU_GATE;
    struct linear_epilogue e     = { args->weight->bias, args->residual, args->residual_stride, args->y, args->y_stride,
                                     gated ? args->weight->n / 2 : args->weight->n, args->act, args->y_type == DTYPE_BF16 };
    return e;
}

/* Name and cost; the launcher adds the grid. */
static inline struct kernel_shape linear_shape(const struct cuda_launch *launch, const struct linear_args *args)
{
    const struct linear_weight *w       = args->weight;
    const double                rows    = launch_rows_cap(launch), element = dtype_bits(w->type) / 8.0;
    const double                columns = args->act == LINEAR_SILU_GATE ? w->n / 2 : w->n;
    struct kernel_shape         shape   = {};
    shape.name       = w->type == DTYPE_F32 ? "linear_f32" : w->type == DTYPE_BF16 ? "linear_bf16" : "linear_fp8";
    shape.bytes      = (rows * w->k + (double)w->n * w->k) * element + rows * columns * dtype_bits(args->y_type) / 8;
    shape.bytes     += args->residual ? rows * columns * 4 : 0;
    shape.operations = 2.0 * rows * w->n * w->k;
    return shape;
}

/* erf(x / sqrt 2) = x P(x x 2 / 4.5^2 - 1) for |x| <= 4.5, absolute error 9e-6, a tenth of a bf16's rounding where GELU is
 * 0.01, for 14 instructions without a division. At the limit P is a little too large, so that the clamp makes it exactly 1 and
 * GELU exactly 0 or x from there on. (Lawson iteration in double precision, as math_ref.h.) */
#define GELU_LIMIT 4.5f
#define GELU_SCALE 0.0987654328f

DEVICE float gelu_erf_narrow(float x)
{
    const float c = fminf(fmaxf(x, -GELU_LIMIT), GELU_LIMIT);
    const float u = fmaf(c * c, GELU_SCALE, -1.0f);
    float       p = -0.00356689049f;
    p             = fmaf(p, u, 0.00992665254f);
    p             = fmaf(p, u, -0.0127424048f);
    p             = fmaf(p, u, 0.0192988701f);
    p             = fmaf(p, u, -0.0365634151f);
    p             = fmaf(p, u, 0.0577224307f);
    p             = fmaf(p, u, -0.0805726424f);
    p             = fmaf(p, u, 0.109273247f);
    p             = fmaf(p, u, -0.154365435f);
    p             = fmaf(p, u, 0.313812137f);
    const float e      = fminf(fmaxf(c * p, -1.0f), 1.0f);
    const float half_x = 0.5f * x;
    return fmaf(half_x, e, half_x);
}

/* x / (1 + e^-v); what overflows becomes 0. */
DEVICE float sigmoid_times(float x, float v) { return __fdividef(x, 1.0f + __expf(-v)); }

/* The tanh form of GELU is x sigmoid(2 u), which needs no tanh and keeps its digits where GELU is small. */
DEVICE float gelu_tanh_narrow(float x) { return sigmoid_times(x, 1.5957691216f * fmaf(0.044715f * x * x, x, x)); }

/* For results that are rounded to bf16, or followed by such. */
DEVICE float activate_narrow(enum linear_act act, float v)
{
    switch (act) {
    case LINEAR_GELU_ERF: return gelu_erf_narrow(v);
    case LINEAR_GELU_TANH: return gelu_tanh_narrow(v);
    case LINEAR_RELU: return fmaxf(v, 0.0f);
    case LINEAR_SILU: return sigmoid_times(v, v);
    case LINEAR_TANH: return tanhf(v);
    default: return v;
    }
}

/* For f32 throughout. */
DEVICE float activate_exact(enum linear_act act, float v)
{
    const float u = 0.79788456f * fmaf(0.044715f * v * v, v, v);
    switch (act) {
    case LINEAR_GELU_ERF: return fmaf(0.5f * v, erff(0.70710678f * v), 0.5f * v);
    case LINEAR_GELU_TANH: return fmaf(0.5f * v, tanhf(u), 0.5f * v);
    case LINEAR_RELU: return fmaxf(v, 0.0f);
    case LINEAR_SILU: return v / (1.0f + expf(-v));
    case LINEAR_TANH: return tanhf(v);
    default: return v;
    }
}

/* Sum and bias of weight columns `column` and the next. */
DEVICE float2 linear_biased(const struct linear_epilogue &e, int column, float a, float b)
{
    if (!e.bias)
        return make_float2(a, b);
    const float2 bias = *(const float2 *)(e.bias + column);  /* the weight's columns are padded to a multiple of 16 */
    return make_float2(a + bias.x, b + bias.y);
}

/* A row of y and of what is added to it, found once for all its columns. */
struct linear_row {
    void        *y;
    const float *residual;  /* or null */
};

DEVICE struct linear_row linear_row_of(const struct linear_epilogue &e, int row)
{
    const struct linear_row r = { row_at((char *)e.y, e.y_stride, row),
                                  e.residual ? row_at(e.residual, e.residual_stride, row) : NULL };
    return r;
}

/* The residual is added and columns `column` and the next of y are written, as far as there are so many. */
DEVICE void linear_store(const struct linear_epilogue &e, const struct linear_row &row, int column, float a, float b)
{
    if (column >= e.n)
        return;
    const bool pair = column + 1 < e.n;
    if (row.residual) {
        const float *residual = row.residual + column;
        const float2 added    = pair ? *(const float2 *)residual : make_float2(*residual, 0.0f);
        a += added.x;
        b += added.y;
    }
    if (e.narrow) {
        __nv_bfloat16 *y = (__nv_bfloat16 *)row.y + column;
        if (pair)
            *(__nv_bfloat162 *)y = __floats2bfloat162_rn(a, b);
        else
            *y = __float2bfloat16_rn(a);
    } else {
        float *y = (float *)row.y + column;
        if (pair)
            store_f32x2(y, a, b);
        else
            *y = a;
    }
}

/* The column of y for a gate's column of the weight. */
DEVICE int gated_column(int column) { return column / (2 * LINEAR_GATE_BLOCK) * LINEAR_GATE_BLOCK + column % LINEAR_GATE_BLOCK; }

/* ---- four neighbouring columns at once; `column` is a multiple of 4, rows of y and residual are aligned to 16 bytes ---- */

DEVICE float4 linear_quad_add(float4 a, float4 b) { return make_float4(a.x + b.x, a.y + b.y, a.z + b.z, a.w + b.w); }

/* Of weight columns, which are padded to a multiple of 16; zeros where there is none. */
DEVICE float4 linear_quad_bias(const struct linear_epilogue &e, int column)
{
    return e.bias ? *(const float4 *)(e.bias + column) : make_float4(0.0f, 0.0f, 0.0f, 0.0f);
}

template <bool EXACT> DEVICE float linear_activated(enum linear_act act, float v)
{
    if constexpr (EXACT)
        return activate_exact(act, v);
    else
        return activate_narrow(act, v);
}

template <bool EXACT> DEVICE float4 linear_quad_activated(enum linear_act act, float4 v)
{
    return make_float4(linear_activated<EXACT>(act, v.x), linear_activated<EXACT>(act, v.y), linear_activated<EXACT>(act, v.z),
                       linear_activated<EXACT>(act, v.w));
}

template <bool EXACT> DEVICE float4 linear_quad_gated(float4 gate, float4 up)
{
    const float4 v = linear_quad_activated<EXACT>(LINEAR_SILU, gate);
    return make_float4(v.x * up.x, v.y * up.y, v.z * up.z, v.w * up.w);
}

/* Columns of y; what lies beyond n is zero. Nothing where there is no residual. */
DEVICE float4 linear_quad_residual(const struct linear_epilogue &e, int row, int column)
{
    float4 v = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
    if (!e.residual)
        return v;
    const float *from = row_at(e.residual, e.residual_stride, row) + column;
    if (column + 4 <= e.n)
        return *(const float4 *)from;
    if (column < e.n)
        v.x = from[0];
    if (column + 1 < e.n)
        v.y = from[1];
    if (column + 2 < e.n)
        v.z = from[2];
    return v;
}

/* As far as there are so many columns. */
DEVICE void linear_quad_store(const struct linear_epilogue &e, int row, int column, float4 v)
{
    const float     one[3] = { v.x, v.y, v.z };
    __nv_bfloat16  *narrow = row_at((__nv_bfloat16 *)e.y, e.y_stride, row) + column;
    float          *wide   = row_at((float *)e.y, e.y_stride, row) + column;
    if (column + 4 <= e.n) {
        if (e.narrow)
            store_bf16x4(narrow, v.x, v.y, v.z, v.w);
        else
            *(float4 *)wide = v;
        return;
    }
#pragma unroll
    for (int i = 0; i < 3; i++)
        if (column + i < e.n) {
            if (e.narrow)
                narrow[i] = __float2bfloat16_rn(one[i]);
            else
                wide[i] = one[i];
        }
}

#endif
