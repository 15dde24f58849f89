/* The probes with plain loops. */
#include "kernels/bf16.h"
#include "kernels/lanes/lanes_ref.h"
#include "kernels/math/math_ref.h"
#include "tests/kernels/lanes_probe.h"

#include <stdbool.h>

static float maximum_of(const float *x)
{
    float fold[16];
    memcpy(fold, x, sizeof fold);
    for (int width = 8; width > 0; width /= 2)
        for (int i = 0; i < width; i++)
            fold[i] = math_max(fold[i], fold[i + width]);
    return fold[0];
}

static float one_lane(enum probe probe, float a, float b, bool in_part)
{
    float byte = nearbyintf(math_min(math_max(a, 0.0f), 255.0f));
    switch (probe) {
    case PROBE_EXP: return math_exp(a);
    case PROBE_TANH: return math_tanh(a);
    case PROBE_GELU_ERF: return math_gelu_erf(a);
    case PROBE_GELU_NEAR: return math_gelu_near(a);
    case PROBE_GELU_TANH: return math_gelu_tanh(a);
    case PROBE_SILU: return math_silu(a);
    case PROBE_RELU: return math_relu(a);
    case PROBE_ROUND: return nearbyintf(a);
    case PROBE_ABS: return fabsf(a);
    case PROBE_NEGATE: return -a;
    case PROBE_ADD: return a + b;
    case PROBE_SUB: return a - b;
    case PROBE_MUL: return a * b;
    case PROBE_DIV: return a / b;
    case PROBE_FMA: return fmaf(a, b, 1.0f);
    case PROBE_MAX: return math_max(a, b);
    case PROBE_MIN: return math_min(a, b);
    case PROBE_INT: return (float)(int)nearbyintf(math_min(math_max(a, -1e9f), 1e9f));
    case PROBE_BYTES: return (float)(int)byte;
    case PROBE_BF16: return bf16_to_float(bf16_from_float(a));
    case PROBE_LOAD_PART:
    case PROBE_STORE_PART: return in_part ? a : 0.0f;
    case PROBE_KEEP: return in_part ? a : b;
    case PROBE_BF16_PART: return in_part ? bf16_to_float(bf16_from_float(a)) : 0.0f;
    case PROBE_BYTES_PART: return in_part ? (float)(int)byte : 0.0f;
    default: return a;
    }
}

void lanes_probe_ref(enum probe probe, int part, const float *x, float *y)
{
    for (int i = 0; i < 16; i++)
        if (probe == PROBE_SUM)
            y[i] = lanes_ref_fold(x);
        else if (probe == PROBE_MAXIMUM)
            y[i] = maximum_of(x);
        else if (probe == PROBE_SQRT)
            y[i] = sqrtf(x[0]);
        else
            y[i] = one_lane(probe, x[i], x[i + 16], i < part);
}

const char *probe_name(enum probe probe)
{
    static const char *const names[PROBE_COUNT] = {
        "exp", "tanh", "gelu_erf", "gelu_near", "gelu_tanh", "silu", "relu", "round", "abs", "negate", "sqrt", "add", "sub", "mul",
        "div", "fma", "max", "min", "sum", "maximum", "int", "bytes", "bf16", "load_part", "store_part", "keep", "bf16_part", "bytes_part" };
    return names[probe];
}
