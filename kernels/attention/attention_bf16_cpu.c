#include "kernels/attention/attention.h"
#include "kernels/lanes/lanes.h"
#include "kernels/math/lanes_math.h"

#define ATTENTION_NAME attention_bf16
#define ATTENTION_PAIR 2
#define ATTENTION_UNIT 1.0f
#define ATTENTION_STORE v16_store_bf16_normal
#define ATTENTION_PACK(line, even, odd) w16_store((void *)(line), w16_load_pairs(even, odd))
#define PRODUCT_DOT   dot_bf16
#define PRODUCT_LOAD  v16_load
#define PRODUCT_STORE v16_store
#define PRODUCT_ZERO  v16_set1(0.0f)
typedef uint16_t input, element;
typedef v16 product_sums;
typedef float product_sum;

#include "kernels/attention/attention_work.inl"

#include "kernels/attention/attention_float.inl"

#include "kernels/attention/attention_walk.inl"
