/* runtime_driver.h: the driver's contexts and virtual memory, handed out by name. */
#ifndef EMU_RUNTIME_DRIVER_H
#define EMU_RUNTIME_DRIVER_H

#include <cuda.h>

CUresult driver_context_retain(CUcontext *context, CUdevice device);
CUresult driver_context_release(CUdevice device);
CUresult driver_context_push(CUcontext context);
CUresult driver_context_pop(CUcontext *context);
CUresult driver_address_reserve(CUdeviceptr *address, size_t bytes, size_t alignment, CUdeviceptr wish, unsigned long long flags);
CUresult driver_address_free(CUdeviceptr address, size_t bytes);
CUresult driver_create(CUmemGenericAllocationHandle *handle, size_t bytes, const CUmemAllocationProp *property,
                       unsigned long long flags);
CUresult driver_release(CUmemGenericAllocationHandle handle);
CUresult driver_map(CUdeviceptr address, size_t bytes, size_t offset, CUmemGenericAllocationHandle handle,
                    unsigned long long flags);
CUresult driver_unmap(CUdeviceptr address, size_t bytes);
CUresult driver_set_access(CUdeviceptr address, size_t bytes, const CUmemAccessDesc *access, size_t count);
CUresult driver_granularity(size_t *granularity, const CUmemAllocationProp *property, CUmemAllocationGranularity_flags option);

#endif
