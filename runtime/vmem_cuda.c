#include "runtime/vmem_cuda.h"

static const CUmemAllocationProp property = { .type     = CU_MEM_ALLOCATION_TYPE_PINNED,
                                              .location = { .type = CU_MEM_LOCATION_TYPE_DEVICE, .id = 0 } };

static CUdeviceptr address_at(void *address, size_t offset) { return (CUdeviceptr)(uintptr_t)address + offset; }

static status fail(const struct vmem *vmem, CUresult code, struct error *error, const char *what, size_t bytes)
{
    return cuda_context_fail(vmem->user, (cudaError_t)code, error, "%s of %zu bytes", what, bytes);
}

static status cuda_reserve(const struct vmem *vmem, size_t bytes, void **address, struct error *error)
{
    const struct cuda_context *context = vmem->user;
    CUdeviceptr                start   = 0;
    const struct cuda_stay     stay    = cuda_context_enter(context);
    CUresult                   code    = context->driver.address_reserve(&start, bytes, 0, 0, 0);
    cuda_context_leave(context, stay);
    *address = (void *)(uintptr_t)start;
    if (code == CUDA_ERROR_OUT_OF_MEMORY)  /* of addresses: a smaller range may be had */
        return error_set(error, STATUS_MEMORY, "cuda: cannot reserve %zu bytes of addresses", bytes);
    return code == CUDA_SUCCESS ? STATUS_OK : fail(vmem, code, error, "a reservation", bytes);
}

/* One piece. Its handle is let go at once: the mapping alone keeps the memory. */
static CUresult map_piece(const struct cuda_driver *driver, CUdeviceptr address, size_t bytes)
{
    CUmemGenericAllocationHandle handle;
    CUresult                     code = driver->create(&handle, bytes, &property, 0);
    if (code != CUDA_SUCCESS)
        return code;
    code              = driver->map(address, bytes, 0, handle, 0);
    CUresult released = driver->release(handle);
    if (code == CUDA_SUCCESS && released != CUDA_SUCCESS) {
        driver->unmap(address, bytes);
        code = released;
    }
    return code;
}

static void cuda_unmap(const struct vmem *vmem, void *address, size_t offset, size_t bytes)
{
    const struct cuda_context *context = vmem->user;
    const struct cuda_stay     stay    = cuda_context_enter(context);
    for (size_t done = 0; done < bytes; done += vmem->granularity)
        context->driver.unmap(address_at(address, offset + done), vmem->granularity);
    cuda_context_leave(context, stay);
}

/* All of it, or nothing. */
static CUresult map_pieces(const struct vmem *vmem, void *address, size_t offset, size_t bytes)
{
    const struct cuda_context *context = vmem->user;
    const struct cuda_stay     stay    = cuda_context_enter(context);
    const CUmemAccessDesc      access  = { property.location, CU_MEM_ACCESS_FLAGS_PROT_READWRITE };
    size_t                     mapped  = 0;
    CUresult                   code    = CUDA_SUCCESS;
    for (; mapped < bytes && code == CUDA_SUCCESS; mapped += vmem->granularity)
        code = map_piece(&context->driver, address_at(address, offset + mapped), vmem->granularity);
    if (code != CUDA_SUCCESS)
        mapped -= vmem->granularity;  /* the last one is not there */
    else
        code = context->driver.set_access(address_at(address, offset), bytes, &access, 1);
    if (code != CUDA_SUCCESS)
        cuda_unmap(vmem, address, offset, mapped);
    cuda_context_leave(context, stay);
    return code;
}

static status cuda_map(const struct vmem *vmem, void *address, size_t offset, size_t bytes, struct error *error)
{
    const struct cuda_context *context = vmem->user;
    status                     result  = cuda_context_check(vmem->user, error);
    if (result != STATUS_OK)
        return result;
    CUresult code = map_pieces(vmem, address, offset, bytes);
    if (code == CUDA_ERROR_OUT_OF_MEMORY) {  /* others use the device as well: idle models of ours may make room */
        pool_ask(context->device_pool, bytes);
        code = map_pieces(vmem, address, offset, bytes);
    }
    return code == CUDA_SUCCESS ? STATUS_OK : fail(vmem, code, error, "memory", bytes);
}

static void cuda_release(const struct vmem *vmem, void *address, size_t bytes)
{
    const struct cuda_context *context = vmem->user;
    const struct cuda_stay     stay    = cuda_context_enter(context);
    context->driver.address_free(address_at(address, 0), bytes);
    cuda_context_leave(context, stay);
}

/* Devices that share their memory among machines may know these functions and refuse them: tried once, so that whoever chooses a
 * device hears of it in time. */
static CUresult try_once(const struct vmem *vmem)
{
    const struct cuda_driver *driver = &((const struct cuda_context *)vmem->user)->driver;
    CUdeviceptr               start  = 0;
    CUresult                  code   = driver->address_reserve(&start, vmem->granularity, 0, 0, 0);
    if (code != CUDA_SUCCESS)
        return code;
    void *address = (void *)(uintptr_t)start;
    code          = map_pieces(vmem, address, 0, vmem->granularity);
    if (code == CUDA_SUCCESS)
        cuda_unmap(vmem, address, 0, vmem->granularity);
    driver->address_free(start, vmem->granularity);
    return code;
}

CUresult vmem_cuda_open(struct cuda_context *context)
{
    context->memory = (struct vmem){ .user = context, .reserve = cuda_reserve, .map = cuda_map, .unmap = cuda_unmap,
                                     .release = cuda_release };
    const struct cuda_stay stay = cuda_context_enter(context);
    CUresult code = context->driver.granularity(&context->memory.granularity, &property, CU_MEM_ALLOC_GRANULARITY_RECOMMENDED);
    if (code == CUDA_SUCCESS)
        code = try_once(&context->memory);
    cuda_context_leave(context, stay);
    return code;
}
