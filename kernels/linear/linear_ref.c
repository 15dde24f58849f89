/* The specification of linear.h: one output after another, one chain of fused multiply-adds each. */
#include "kernels/bf16.h"
#include "kernels/linear/linear.h"
#include "kernels/math/math_ref.h"

static const char *row_of(const void *base, size_t stride, int row) { return (const char *)base + stride * (size_t)row; }

static float activate(const struct linear_args *a, float v)
{
    switch (a->act) {
    case LINEAR_GELU_ERF: return a->weight->type == DTYPE_F32 ? math_gelu_erf(v) : math_gelu_near(v);
    case LINEAR_GELU_TANH: return math_gelu_tanh(v);
    case LINEAR_RELU: return math_relu(v);
    case LINEAR_SILU: return math_silu(v);
    case LINEAR_TANH: return math_tanh(v);
    case LINEAR_SILU_GATE:  /* both halves are needed: see store */
    case LINEAR_NONE: break;
    }
    return v;
}

static void store(const struct linear_args *a, int row, int column, float v)
{
    if (a->residual)
        v = v + ((const float *)(const void *)row_of(a->residual, a->residual_stride, row))[column];
    char *y = (char *)a->y + a->y_stride * (size_t)row;
    if (a->y_type == DTYPE_BF16)
        ((uint16_t *)(void *)y)[column] = bf16_from_float(v);
    else
        ((float *)(void *)y)[column] = v;
}

/* The value of one output before its activation. */
typedef float linear_output(const struct linear_args *a, int row, int column);

static void run(const struct linear_args *a, linear_output *output, int row0, int row1, int panel0, int panel1)
{
    int first = panel0 * LINEAR_PANEL, last = panel1 * LINEAR_PANEL;
    if (last > a->weight->n)
        last = a->weight->n;
    for (int row = row0; row < row1; row++)
        for (int column = first; column < last; column++) {
            if (a->act != LINEAR_SILU_GATE)
                store(a, row, column, activate(a, output(a, row, column)));
            else if (column / LINEAR_PANEL % 2 == 0) {
                float gate = output(a, row, column), up = output(a, row, column + LINEAR_PANEL);
                store(a, row, column / (2 * LINEAR_PANEL) * LINEAR_PANEL + column % LINEAR_PANEL, math_silu(gate) * up);
            }
        }
}

static float output_f32(const struct linear_args *a, int row, int column)
{
    const struct linear_weight *w     = a->weight;
    const float                *x     = (const void *)row_of(a->x, a->x_stride, row);
    const float                *panel = (const float *)w->panels + (size_t)(column / LINEAR_PANEL) * LINEAR_PANEL * (size_t)w->k;
    float                       sum   = 0.0f;
    for (int k = 0; k < w->k; k++)
        sum = fmaf(x[k], panel[k * LINEAR_PANEL + column % LINEAR_PANEL], sum);
    return sum + w->bias[column];
}

static float output_bf16(const struct linear_args *a, int row, int column)
{
    const struct linear_weight *w     = a->weight;
    const uint16_t             *x     = (const void *)row_of(a->x, a->x_stride, row);
    const uint16_t *panel = (const uint16_t *)w->panels + (size_t)(column / LINEAR_PANEL) * LINEAR_PANEL * (size_t)w->k;
    float           sum   = 0.0f;
    for (int k = 0; k < w->k; k += 2) {
        const uint16_t *pair = panel + k * LINEAR_PANEL + 2 * (column % LINEAR_PANEL);
        sum                  = fmaf(bf16_to_float(x[k + 1]), bf16_to_float(pair[1]), sum);
        sum                  = fmaf(bf16_to_float(x[k]), bf16_to_float(pair[0]), sum);
    }
    return sum + w->bias[column];
}

static float output_u8s8(const struct linear_args *a, int row, int column)
{
    const struct linear_weight *w     = a->weight;
    const struct quantized_row *q     = &a->x_rows[row];
    const uint8_t              *x     = (const void *)row_of(a->x, a->x_stride, row);
    const int8_t *panel = (const int8_t *)w->panels + (size_t)(column / LINEAR_PANEL) * LINEAR_PANEL * (size_t)w->k;
    int32_t       sum   = 0;
    for (int k = 0; k < w->k; k++)
        sum += x[k] * panel[k / 4 * 4 * LINEAR_PANEL + 4 * (column % LINEAR_PANEL) + k % 4];
    float v = fmaf(-(q->scale * q->zero), (float)w->sums[column] * w->scales[column], w->bias[column]);
    for (int i = 0; i < w->outliers; i++)
        v = fmaf(q->outlier[i], w->outlier_weights[(size_t)i * (size_t)linear_padded(w->n) + (size_t)column], v);
    return fmaf((float)sum, q->scale * w->scales[column], v);
}

void linear_f32_ref(const struct linear_args *a, int row0, int row1, int panel0, int panel1)
{
    run(a, output_f32, row0, row1, panel0, panel1);
}

void linear_bf16_ref(const struct linear_args *a, int row0, int row1, int panel0, int panel1)
{
    run(a, output_bf16, row0, row1, panel0, panel1);
}

void linear_u8s8_ref(const struct linear_args *a, int row0, int row1, int panel0, int panel1)
{
    run(a, output_u8s8, row0, row1, panel0, panel1);
}
