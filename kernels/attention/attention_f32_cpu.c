#include "kernels/attention/attention.h"
#include "kernels/lanes/lanes.h"
#include "kernels/math/lanes_math.h"

#define ATTENTION_NAME attention_f32
#define ATTENTION_PAIR 1
#define ATTENTION_UNIT 1.0f
#define ATTENTION_STORE v16_store
#define ATTENTION_PACK(line, even, odd) ((void)(odd), memcpy(line, even, 64))
#define PRODUCT_DOT   dot_f32
#define PRODUCT_LOAD  v16_load
#define PRODUCT_STORE v16_store
#define PRODUCT_ZERO  v16_set1(0.0f)
typedef float input, element;
typedef v16 product_sums;
typedef float product_sum;

#include "kernels/attention/attention_work.inl"

#include "kernels/attention/attention_float.inl"

#include "kernels/attention/attention_walk.inl"
