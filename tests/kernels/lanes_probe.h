/* lanes_probe.h: the operations of lanes.h and lanes_math.h as functions on memory, one version an instruction set.
 *
 * Each turns sixteen floats into sixteen. Operations of two operands take the next sixteen floats as the second one; partial
 * ones treat `part` lanes.
 */
#ifndef RECTO_TESTS_KERNELS_LANES_PROBE_H
#define RECTO_TESTS_KERNELS_LANES_PROBE_H

enum probe {
    PROBE_EXP, PROBE_TANH, PROBE_GELU_ERF, PROBE_GELU_NEAR, PROBE_GELU_TANH, PROBE_SILU, PROBE_RELU,
    PROBE_ROUND, PROBE_ABS, PROBE_NEGATE, PROBE_SQRT,
    PROBE_ADD, PROBE_SUB, PROBE_MUL, PROBE_DIV, PROBE_FMA, PROBE_MAX, PROBE_MIN,
    PROBE_SUM, PROBE_MAXIMUM,
    PROBE_INT, PROBE_BYTES, PROBE_BF16,
    PROBE_LOAD_PART, PROBE_STORE_PART, PROBE_KEEP, PROBE_BF16_PART, PROBE_BYTES_PART,
    PROBE_COUNT
};

typedef void lanes_probe(enum probe probe, int part, const float *x, float *y);
lanes_probe lanes_probe_ref, lanes_probe_avx2, lanes_probe_avx512, lanes_probe_avx512_simde, lanes_probe_neon;

const char *probe_name(enum probe probe);

#endif
