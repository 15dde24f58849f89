#include "kernels/lanes/lanes.h"
#include "kernels/linear/linear.h"
#include "kernels/math/lanes_math.h"

#define LINEAR_NAME                     linear_f32
#define LINEAR_ZERO                     v16_set1(0.0f)
#define LINEAR_DOT                      dot_f32
#define LINEAR_STEP                     1
#define LINEAR_STORE                    v16_store
#define LINEAR_GELU                     v16_gelu_erf

#include "kernels/linear/linear_float.inl"
#include "kernels/linear/linear_tiles.inl"
