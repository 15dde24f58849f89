#include "kernels/lanes/lanes.h"
#include "kernels/linear/linear.h"
#include "kernels/math/lanes_math.h"

#define LINEAR_NAME                     linear_bf16
#define LINEAR_ZERO                     v16_set1(0.0f)
#define LINEAR_DOT                      dot_bf16
#define LINEAR_STEP                     2
#define LINEAR_STORE                    v16_store
#define LINEAR_GELU                     v16_gelu_near

#include "kernels/linear/linear_float.inl"
#include "kernels/linear/linear_tiles.inl"
