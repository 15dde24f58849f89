/* cuda_emu_types.h: the half-precision types with their conversions, and the makers of vectors; included by cuda_emu.h.
 *
 * Conversions round to nearest, ties to even, as the device's do; a NaN becomes the device's one NaN. Arithmetic on half
 * types is not offered: kernels compute in f32.
 */
#ifndef CUDA_EMU_TYPES_H
#define CUDA_EMU_TYPES_H

struct EMU_ALIGNED(2) __nv_bfloat16 { uint16_t bits; };
struct EMU_ALIGNED(2) __half { uint16_t bits; };
struct EMU_ALIGNED(4) __nv_bfloat162 { __nv_bfloat16 x, y; };
struct EMU_ALIGNED(4) __half2 { __half x, y; };
typedef __half half;
typedef __half2 half2;
typedef __nv_bfloat16 nv_bfloat16;
typedef __nv_bfloat162 nv_bfloat162;

inline unsigned short __bfloat16_as_ushort(__nv_bfloat16 x) { return x.bits; }
inline __nv_bfloat16 __ushort_as_bfloat16(unsigned short bits) { return { bits }; }
inline unsigned short __half_as_ushort(__half x) { return x.bits; }
inline __half __ushort_as_half(unsigned short bits) { return { bits }; }

inline float __bfloat162float(__nv_bfloat16 x) { return __uint_as_float((unsigned)x.bits << 16); }
inline __nv_bfloat16 __float2bfloat16_rn(float x)
{
    unsigned bits = __float_as_uint(x);
    if (x != x)
        return { 0x7fff };
    return { (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16) };
}
inline __nv_bfloat16 __float2bfloat16(float x) { return __float2bfloat16_rn(x); }
inline __nv_bfloat162 __floats2bfloat162_rn(float x, float y) { return { __float2bfloat16_rn(x), __float2bfloat16_rn(y) }; }
inline __nv_bfloat162 __float22bfloat162_rn(float2 v) { return __floats2bfloat162_rn(v.x, v.y); }
inline __nv_bfloat162 __halves2bfloat162(__nv_bfloat16 x, __nv_bfloat16 y) { return { x, y }; }
inline float2 __bfloat1622float2(__nv_bfloat162 v) { return { __bfloat162float(v.x), __bfloat162float(v.y) }; }
inline float __low2float(__nv_bfloat162 v) { return __bfloat162float(v.x); }
inline float __high2float(__nv_bfloat162 v) { return __bfloat162float(v.y); }

inline float __half2float(__half x) { return emu_from_f16(x.bits); }
inline __half __float2half_rn(float x) { return { emu_to_f16(x) }; }
inline __half __float2half(float x) { return __float2half_rn(x); }
inline __half2 __floats2half2_rn(float x, float y) { return { __float2half_rn(x), __float2half_rn(y) }; }
inline __half2 __float22half2_rn(float2 v) { return __floats2half2_rn(v.x, v.y); }
inline __half2 __halves2half2(__half x, __half y) { return { x, y }; }
inline float2 __half22float2(__half2 v) { return { __half2float(v.x), __half2float(v.y) }; }
inline float __low2float(__half2 v) { return __half2float(v.x); }
inline float __high2float(__half2 v) { return __half2float(v.y); }

inline uint2 make_uint2(unsigned x, unsigned y) { return { x, y }; }
inline uint3 make_uint3(unsigned x, unsigned y, unsigned z) { return { x, y, z }; }
inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) { return { x, y, z, w }; }
inline int2 make_int2(int x, int y) { return { x, y }; }
inline int4 make_int4(int x, int y, int z, int w) { return { x, y, z, w }; }
inline float2 make_float2(float x, float y) { return { x, y }; }
inline float3 make_float3(float x, float y, float z) { return { x, y, z }; }
inline float4 make_float4(float x, float y, float z, float w) { return { x, y, z, w }; }

#endif
