/* cuda_emu.h: CUDA's language for the host's C++ compiler: what a .cu source sees instead of the CUDA headers.
 *
 * One fiber runs one CUDA thread. Keywords vanish, threadIdx and its like read the running fiber, intrinsics call emu_device.h.
 * Of C++ only templates on a function's signature and on element types are used; nothing of the standard library.
 * Plain __shared__ is refused: SHARED_ARRAY and SHARED_DYNAMIC give the address, the poison and the bounds that checks need.
 */
#ifndef CUDA_EMU_H
#define CUDA_EMU_H

#include "emu.h"
#include "emu_device.h"

#include <math.h>
#include <string.h>

#define __global__
#define __device__
#define __host__
#define __constant__
#define __shared__ shared_memory_is_declared_by_SHARED_ARRAY
#define __forceinline__ inline __attribute__((always_inline))
#define __noinline__ __attribute__((noinline))
#define __launch_bounds__(...)
#define __grid_constant__
#define __cluster_dims__(...)
#define __align__(n) __attribute__((aligned(n)))

#define threadIdx (emu_current->thread_index)
#define blockIdx (emu_current->block_index)
#define blockDim (emu_current->block_size)
#define gridDim (emu_current->grid_size)
static constexpr int warpSize = 32;

/* The last parameter of every function that can find fault: the line that called it. */
#define EMU_SITE struct emu_site site = emu_here()
static constexpr struct emu_site emu_here(const char *file = __builtin_FILE(), int line = __builtin_LINE())
{
    return { file, line };
}

/* ---- kernels from an array of argument pointers ---- */

template <int... I> struct emu_indices {};
template <int N, int... I> struct emu_count : emu_count<N - 1, N - 1, I...> {};
template <int... I> struct emu_count<0, I...> { typedef emu_indices<I...> type; };

template <class... P> struct emu_signature {
    static constexpr size_t bytes[sizeof...(P) + 1] = { sizeof(P)..., 0 };

    template <int... I>
    __attribute__((no_sanitize("thread"))) static void spread(const void *kernel, void *const *args, emu_indices<I...>)
    {
        (void)args;
        ((void (*)(P...))kernel)(*(P *)args[I]...);
    }
    __attribute__((no_sanitize("thread"))) static void invoke(const void *kernel, void *const *args)
    {
        spread(kernel, args, typename emu_count<(int)sizeof...(P)>::type());
    }
};
template <class... P> inline const void *emu_handle(void (*kernel)(P...), const char *name, int architecture)
{
    typedef emu_signature<P...> signature;
    return emu_kernel_add((const void *)kernel, name, signature::invoke, signature::bytes, (int)sizeof...(P), architecture);
}
#define EMU_ARCHITECTURE 0  /* that the file is compiled for alone: sm90.cuh says 90 */
#define KERNEL_HANDLE(...) emu_handle(__VA_ARGS__, #__VA_ARGS__, EMU_ARCHITECTURE)

/* ---- shared memory ---- */

#define SHARED_ARRAY(T, name, n)                                                                                  \
    T(&name)[n] = *(T(*)[n])__extension__({                                                                       \
        static char key;                                                                                          \
        emu_shared_static(&key, sizeof(T) * (n), alignof(T) < 16 ? 16 : alignof(T), emu_here());                  \
    })
#define SHARED_DYNAMIC(T, name, alignment) T *name = (T *)emu_shared_dynamic(alignment, emu_here())

/* ---- barriers, votes, shuffles ---- */

inline void __syncthreads(EMU_SITE) { emu_barrier(0, -1, site); }
inline int __syncthreads_count(int p, EMU_SITE) { return emu_barrier_vote(p != 0, EMU_COUNT, site); }
inline int __syncthreads_and(int p, EMU_SITE) { return emu_barrier_vote(p != 0, EMU_ALL, site); }
inline int __syncthreads_or(int p, EMU_SITE) { return emu_barrier_vote(p != 0, EMU_ANY_OF, site); }
inline void __syncwarp(unsigned mask = 0xffffffffu, EMU_SITE) { emu_syncwarp(mask, site); }
inline void __threadfence() { emu_fence_device(); }
inline void __threadfence_block() {}
inline void __nanosleep(unsigned, EMU_SITE) { emu_yield(site); }
[[noreturn]] inline void __trap(EMU_SITE) { emu_fail(site, "__trap()"); }

inline unsigned __ballot_sync(unsigned mask, int p, EMU_SITE) { return emu_ballot(mask, p != 0, site); }
inline int __any_sync(unsigned mask, int p, EMU_SITE) { return emu_ballot(mask, p != 0, site) != 0; }
inline int __all_sync(unsigned mask, int p, EMU_SITE) { return emu_ballot(mask, p == 0, site) == 0; }
inline unsigned __activemask() { return emu_active(); }

template <class T> inline T emu_exchange(unsigned mask, T value, int lane, struct emu_site site)
{
    static_assert(sizeof(T) <= 8, "a shuffle moves 8 bytes at most");
    uint64_t bits = 0;
    memcpy(&bits, &value, sizeof value);
    bits = emu_shuffle(mask, bits, lane, site);
    memcpy(&value, &bits, sizeof value);
    return value;
}
template <class T> inline T __shfl_sync(unsigned mask, T value, int source, int width = 32, EMU_SITE)
{
    int lane = emu_current->lane;
    return emu_exchange(mask, value, (lane & ~(width - 1)) | (source & (width - 1)), site);
}
template <class T> inline T __shfl_xor_sync(unsigned mask, T value, int bits, int width = 32, EMU_SITE)
{
    int lane = emu_current->lane, source = lane ^ bits;
    return emu_exchange(mask, value, (source & ~(width - 1)) > (lane & ~(width - 1)) ? lane : source, site);
}
template <class T> inline T __shfl_down_sync(unsigned mask, T value, unsigned by, int width = 32, EMU_SITE)
{
    int lane = emu_current->lane;
    return emu_exchange(mask, value, (lane & (width - 1)) + (int)by < width ? lane + (int)by : lane, site);
}
template <class T> inline T __shfl_up_sync(unsigned mask, T value, unsigned by, int width = 32, EMU_SITE)
{
    int lane = emu_current->lane;
    return emu_exchange(mask, value, (lane & (width - 1)) >= (int)by ? lane - (int)by : lane, site);
}
template <class T> inline unsigned __match_any_sync(unsigned mask, T value, EMU_SITE)
{
    uint64_t bits = 0;
    memcpy(&bits, &value, sizeof value);
    return emu_match(mask, bits, site);
}

/* ---- atomics: never on floats in this project, so there is none ---- */

template <class T> struct emu_same { typedef T type; };
#define EMU_ATOMIC(name, expression)                                                                              \
    template <class T> inline T name(T *at, typename emu_same<T>::type value)                                     \
    {                                                                                                             \
        static_assert((T)1 / (T)2 == (T)0 && (sizeof(T) == 4 || sizeof(T) == 8), "integers of 4 or 8 bytes");     \
        T old = __atomic_load_n(at, __ATOMIC_RELAXED);                                                            \
        while (!__atomic_compare_exchange_n(at, &old, (T)(expression), true, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) \
            ;                                                                                                     \
        return old;                                                                                               \
    }
EMU_ATOMIC(atomicAdd, old + value)
EMU_ATOMIC(atomicSub, old - value)
EMU_ATOMIC(atomicMax, old < value ? value : old)
EMU_ATOMIC(atomicMin, value < old ? value : old)
EMU_ATOMIC(atomicExch, value)
EMU_ATOMIC(atomicAnd, old & value)
EMU_ATOMIC(atomicOr, old | value)
EMU_ATOMIC(atomicInc, old >= value ? 0 : old + 1)
#undef EMU_ATOMIC
template <class T> inline T atomicCAS(T *at, typename emu_same<T>::type expected, typename emu_same<T>::type value)
{
    T old = expected;
    __atomic_compare_exchange_n(at, &old, value, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
    return old;
}

/* ---- arithmetic ---- */

inline float __expf(float x) { return emu_exp2(x * 1.44269504088896340736f); }
inline float __logf(float x) { return logf(x); }
inline float __fdividef(float a, float b) { return a / b; }
inline float __fdiv_rn(float a, float b) { return a / b; }
inline float __frcp_rn(float a) { return 1.0f / a; }
inline float __fsqrt_rn(float a) { return sqrtf(a); }
inline float __fmaf_rn(float a, float b, float c) { return fmaf(a, b, c); }
inline float __fmul_rn(float a, float b) { return a * b; }
inline float __fadd_rn(float a, float b) { return a + b; }
inline float __fsub_rn(float a, float b) { return a - b; }
inline float __saturatef(float a) { return a > 0.0f ? a < 1.0f ? a : 1.0f : 0.0f; }
inline float rsqrtf(float x) { return 1.0f / sqrtf(x); }
inline int __float2int_rn(float x) { return (int)rintf(x); }
inline int __float2int_rz(float x) { return (int)x; }
inline float __int2float_rn(int x) { return (float)x; }
inline float __uint2float_rn(unsigned x) { return (float)x; }
inline unsigned __float_as_uint(float x) { unsigned bits; memcpy(&bits, &x, 4); return bits; }
inline int __float_as_int(float x) { return (int)__float_as_uint(x); }
inline float __uint_as_float(unsigned bits) { float x; memcpy(&x, &bits, 4); return x; }
inline float __int_as_float(int bits) { return __uint_as_float((unsigned)bits); }
inline int __popc(unsigned x) { return __builtin_popcount(x); }
inline int __clz(int x) { return x ? __builtin_clz((unsigned)x) : 32; }
inline int __ffs(int x) { return __builtin_ffs(x); }
inline unsigned __umulhi(unsigned a, unsigned b) { return (unsigned)((uint64_t)a * b >> 32); }
inline int __mulhi(int a, int b) { return (int)((int64_t)a * b >> 32); }
template <class T> inline T __ldg(const T *from) { return *from; }
template <class T> inline T __ldcs(const T *from) { return *from; }
template <class T> inline void __stcs(T *to, T value) { *to = value; }
inline int min(int a, int b) { return a < b ? a : b; }
inline int max(int a, int b) { return a > b ? a : b; }
inline unsigned min(unsigned a, unsigned b) { return a < b ? a : b; }
inline unsigned max(unsigned a, unsigned b) { return a > b ? a : b; }
inline long long min(long long a, long long b) { return a < b ? a : b; }
inline long long max(long long a, long long b) { return a > b ? a : b; }
inline float min(float a, float b) { return fminf(a, b); }
inline float max(float a, float b) { return fmaxf(a, b); }

#include "cuda_emu_types.h"

#endif
