/* device.cuh: the language that .cu sources are written in, for nvcc and for the emulator alike.
 *
 *   DEVICE                                a function for kernels, always inlined
 *   SHARED_ARRAY(T, name, n)              T name[n] in shared memory, 16-byte aligned
 *   SHARED_DYNAMIC(T, name, alignment)    T *name: the launch's dynamic shared memory; one a kernel, alignment up to 1024
 *   KERNEL_HANDLE(kernel)                 the address that cudaLaunchKernelExC takes; a template's arguments may hold commas
 *   element_is_bf16<T>                    whether T is __nv_bfloat16; it is __half otherwise
 */
#ifndef RECTO_KERNELS_CUDA_DEVICE_CUH
#define RECTO_KERNELS_CUDA_DEVICE_CUH

#include <stdint.h>

#ifdef RECTO_EMULATED

#include <cuda_emu.h>
#define DEVICE inline

#else

#include <cuda.h>
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#define DEVICE __device__ __forceinline__
#define SHARED_ARRAY(T, name, n) __shared__ __align__(16) T name[n]
#define SHARED_DYNAMIC(T, name, alignment)                        \
    extern __shared__ __align__(1024) uint8_t dynamic_shared[];   \
    static_assert((alignment) <= 1024, "at most 1024");           \
    T *name = reinterpret_cast<T *>(dynamic_shared)
#define KERNEL_HANDLE(...) kernel_handle(__VA_ARGS__)
template <class... P> inline const void *kernel_handle(void (*kernel)(P...)) { return (const void *)kernel; }

#endif

template <class T> constexpr bool element_is_bf16 = false;
template <> constexpr bool element_is_bf16<__nv_bfloat16> = true;

#endif
