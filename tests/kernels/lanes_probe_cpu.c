#include "tests/kernels/lanes_probe.h"
#include "kernels/lanes/lanes_part.h"
#include "kernels/math/lanes_math.h"

/* An integer in 0 to 255 from each lane, of whatever size it is. */
static w16 byte_of(v16 x) { return v16_to_int(v16_min(v16_max(x, v16_set1(0.0f)), v16_set1(255.0f))); }

static v16 from_bytes(const uint8_t *bytes)
{
    float lanes[LANES];
    for (int i = 0; i < LANES; i++)
        lanes[i] = (float)bytes[i];
    return v16_load(lanes);
}

static v16 probe_parts(enum probe probe, int part, const float *x, v16 a, v16 b)
{
    float    floats[LANES] = { 0 };
    uint16_t halves[LANES] = { 0 };
    uint8_t  bytes[LANES]  = { 0 };
    switch (probe) {
    case PROBE_LOAD_PART: return v16_load_part(x, part);
    case PROBE_STORE_PART: v16_store_part(floats, a, part); return v16_load(floats);
    case PROBE_KEEP: return v16_keep(a, part, b);
    case PROBE_BF16_PART: v16_store_bf16_count(halves, a, part); return v16_load_bf16_count(halves, part);
    case PROBE_BYTES_PART: w16_store_bytes_count(bytes, byte_of(a), part); return from_bytes(bytes);
    case PROBE_BF16: v16_store_bf16(halves, a); return v16_load_bf16(halves);
    case PROBE_BYTES: w16_store_bytes(bytes, byte_of(a)); return from_bytes(bytes);
    default: return a;
    }
}

static v16 probe_arithmetic(enum probe probe, v16 a, v16 b)
{
    switch (probe) {
    case PROBE_ROUND: return v16_round(a);
    case PROBE_ABS: return v16_abs(a);
    case PROBE_NEGATE: return v16_negate(a);
    case PROBE_ADD: return v16_add(a, b);
    case PROBE_SUB: return v16_sub(a, b);
    case PROBE_MUL: return v16_mul(a, b);
    case PROBE_DIV: return v16_div(a, b);
    case PROBE_FMA: return v16_fma(a, b, v16_set1(1.0f));
    case PROBE_MAX: return v16_max(a, b);
    case PROBE_MIN: return v16_min(a, b);
    case PROBE_SUM: return v16_set1(v16_sum(a));
    case PROBE_MAXIMUM: return v16_set1(v16_maximum(a));
    default: return v16_from_int(v16_to_int(v16_min(v16_max(a, v16_set1(-1e9f)), v16_set1(1e9f))));  /* PROBE_INT */
    }
}

void KERNEL(lanes_probe)(enum probe probe, int part, const float *x, float *y)
{
    if (probe >= PROBE_BF16 || probe == PROBE_BYTES) {
        v16 none = v16_set1(0.0f);  /* a partial load must not be helped by a whole one before it */
        v16_store(y, probe == PROBE_LOAD_PART ? probe_parts(probe, part, x, none, none)
                                              : probe_parts(probe, part, x, v16_load(x), v16_load(x + LANES)));
        return;
    }
    v16 a = v16_load(x);
    switch (probe) {
    case PROBE_EXP: v16_store(y, v16_exp(a)); break;
    case PROBE_TANH: v16_store(y, v16_tanh(a)); break;
    case PROBE_GELU_ERF: v16_store(y, v16_gelu_erf(a)); break;
    case PROBE_GELU_NEAR: v16_store(y, v16_gelu_near(a)); break;
    case PROBE_GELU_TANH: v16_store(y, v16_gelu_tanh(a)); break;
    case PROBE_SILU: v16_store(y, v16_silu(a)); break;
    case PROBE_RELU: v16_store(y, v16_relu(a)); break;
    case PROBE_SQRT: v16_store(y, v16_set1(lanes_sqrt(x[0]))); break;
    default: v16_store(y, probe_arithmetic(probe, a, v16_load(x + LANES))); break;
    }
}
