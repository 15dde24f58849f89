/* emu_types.h: the plain types of CUDA that host and device share, for builds that have no CUDA headers; C11 and C++.
 *
 * Sizes, alignments and member names are CUDA's. Whoever includes this must not include CUDA's own vector_types.h or cuda.h.
 */
#ifndef EMU_TYPES_H
#define EMU_TYPES_H

#include <stdint.h>

#define EMU_ALIGNED(n) __attribute__((aligned(n)))

typedef struct uint2 { unsigned x, y; } EMU_ALIGNED(8) uint2;
typedef struct uint3 { unsigned x, y, z; } uint3;
typedef struct uint4 { unsigned x, y, z, w; } EMU_ALIGNED(16) uint4;
typedef struct int2 { int x, y; } EMU_ALIGNED(8) int2;
typedef struct int3 { int x, y, z; } int3;
typedef struct int4 { int x, y, z, w; } EMU_ALIGNED(16) int4;
typedef struct float2 { float x, y; } EMU_ALIGNED(8) float2;
typedef struct float3 { float x, y, z; } float3;
typedef struct float4 { float x, y, z, w; } EMU_ALIGNED(16) float4;
typedef struct ushort2 { unsigned short x, y; } EMU_ALIGNED(4) ushort2;
typedef struct ushort4 { unsigned short x, y, z, w; } EMU_ALIGNED(8) ushort4;
typedef struct uchar4 { unsigned char x, y, z, w; } EMU_ALIGNED(4) uchar4;
typedef struct char4 { signed char x, y, z, w; } EMU_ALIGNED(4) char4;
typedef struct ulonglong2 { unsigned long long x, y; } EMU_ALIGNED(16) ulonglong2;

typedef struct dim3 {
    unsigned x, y, z;
#ifdef __cplusplus
    constexpr dim3(unsigned x_ = 1, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_) {}
#endif
} dim3;

/* A tensor map of the TMA unit: made by the host, opaque to it, passed to kernels by value. */
typedef struct CUtensorMap_st { uint64_t opaque[16]; } EMU_ALIGNED(64) CUtensorMap;

typedef enum CUtensorMapDataType_enum {
    CU_TENSOR_MAP_DATA_TYPE_UINT8, CU_TENSOR_MAP_DATA_TYPE_UINT16, CU_TENSOR_MAP_DATA_TYPE_UINT32, CU_TENSOR_MAP_DATA_TYPE_INT32,
    CU_TENSOR_MAP_DATA_TYPE_UINT64, CU_TENSOR_MAP_DATA_TYPE_INT64, CU_TENSOR_MAP_DATA_TYPE_FLOAT16,
    CU_TENSOR_MAP_DATA_TYPE_FLOAT32, CU_TENSOR_MAP_DATA_TYPE_FLOAT64, CU_TENSOR_MAP_DATA_TYPE_BFLOAT16
} CUtensorMapDataType;
typedef enum CUtensorMapInterleave_enum { CU_TENSOR_MAP_INTERLEAVE_NONE } CUtensorMapInterleave;
typedef enum CUtensorMapSwizzle_enum {
    CU_TENSOR_MAP_SWIZZLE_NONE, CU_TENSOR_MAP_SWIZZLE_32B, CU_TENSOR_MAP_SWIZZLE_64B, CU_TENSOR_MAP_SWIZZLE_128B
} CUtensorMapSwizzle;
typedef enum CUtensorMapL2promotion_enum {
    CU_TENSOR_MAP_L2_PROMOTION_NONE, CU_TENSOR_MAP_L2_PROMOTION_L2_64B, CU_TENSOR_MAP_L2_PROMOTION_L2_128B,
    CU_TENSOR_MAP_L2_PROMOTION_L2_256B
} CUtensorMapL2promotion;
typedef enum CUtensorMapFloatOOBfill_enum { CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE } CUtensorMapFloatOOBfill;

#endif
