/* runtime_memory.c: device memory by pieces (cudaMalloc) and by addresses (cuMem*), pinned host memory. */
#include "tests/emu/runtime/runtime_driver.h"
#include "tests/emu/runtime/runtime_internal.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum range_kind { RANGE_RESERVED, RANGE_MAPPED, RANGE_BLOCK, RANGE_PINNED };

/* Everything that has an address. */
struct range {
    enum range_kind kind;
    char           *start;
    size_t          bytes;
    int             handle;      /* mapped: its memory */
    bool            accessible;  /* mapped */
};

/* Physical memory that cuMemCreate gave. */
struct handle {
    size_t bytes;
    bool   exists, held, mapped;  /* until it is released, and while it is mapped */
};

static struct range  *ranges;
static int            range_count, range_room;
static struct handle *handles;
static int            handle_count;
static int            open_depth;

/* ---- Books ---- */

bool memory_take(size_t bytes)
{
    struct emu_runtime_usage *usage = &runtime_state.usage;
    if (bytes > runtime_state.settings.memory - usage->device_bytes)
        return false;
    usage->device_bytes += bytes;
    if (usage->device_bytes > usage->device_peak)
        usage->device_peak = usage->device_bytes;
    return true;
}

void memory_give(size_t bytes) { runtime_state.usage.device_bytes -= bytes; }

static struct range *range_add(enum range_kind kind, void *start, size_t bytes)
{
    if (range_count == range_room) {
        int           room  = range_room ? 2 * range_room : 64;
        struct range *grown = realloc(ranges, (size_t)room * sizeof *ranges);
        if (!grown)
            return NULL;
        ranges     = grown;
        range_room = room;
    }
    ranges[range_count] = (struct range){ .kind = kind, .start = start, .bytes = bytes };
    return &ranges[range_count++];
}

static void range_drop(struct range *range) { *range = ranges[--range_count]; }

static struct range *range_at(enum range_kind kind, const void *start)
{
    for (int i = 0; i < range_count; i++)
        if (ranges[i].kind == kind && ranges[i].start == start)
            return &ranges[i];
    return NULL;
}

/* The one that holds the address. */
static struct range *range_around(enum range_kind kind, const char *address)
{
    for (int i = 0; i < range_count; i++)
        if (ranges[i].kind == kind && address >= ranges[i].start && address < ranges[i].start + ranges[i].bytes)
            return &ranges[i];
    return NULL;
}

bool memory_is_device(const void *pointer, size_t bytes)
{
    const char *at = pointer, *end = at + bytes;
    while (at < end) {
        const struct range *range = range_around(RANGE_MAPPED, at);
        if (range && !range->accessible)
            return false;
        if (!range)
            range = range_around(RANGE_BLOCK, at);
        if (!range)
            return false;
        at = range->start + range->bytes;
    }
    return true;
}

bool memory_is_pinned(const void *pointer, size_t bytes)
{
    const char         *at    = pointer;
    const struct range *range = range_around(RANGE_PINNED, at);
    return range && at + bytes <= range->start + range->bytes;
}

static void protect(const struct range *range)
{
    bool open = range->accessible && (open_depth || !runtime_state.settings.guard);
    mprotect(range->start, range->bytes, open ? PROT_READ | PROT_WRITE : PROT_NONE);
}

static void protect_all(void)
{
    for (int i = 0; i < range_count; i++)
        if (ranges[i].kind == RANGE_MAPPED)
            protect(&ranges[i]);
}

void memory_open(void)
{
    if (open_depth++ == 0)
        protect_all();
}

void memory_close(void)
{
    if (--open_depth == 0)
        protect_all();
}

/* ---- cudaMalloc ---- */

static cudaError_t block_new(void **pointer, size_t bytes)
{
    if (!bytes) {
        *pointer = NULL;
        return cudaSuccess;
    }
    if (!memory_take(bytes))
        return cudaErrorMemoryAllocation;
    void         *memory = emu_memory_alloc(bytes);
    struct range *range  = memory ? range_add(RANGE_BLOCK, memory, bytes) : NULL;
    if (!range) {
        if (memory)
            emu_memory_free(memory);
        memory_give(bytes);
        return cudaErrorMemoryAllocation;
    }
    runtime_state.usage.blocks++;
    *pointer = memory;
    return cudaSuccess;
}

cudaError_t cudaMalloc(void **pointer, size_t bytes)
{
    cudaError_t result = call_begin(__func__, CALL_ALLOCATES);
    if (result == cudaSuccess)
        result = stream_forbids() ? cudaErrorStreamCaptureUnsupported : block_new(pointer, bytes);
    return call_end(result);
}

static cudaError_t block_free(void *pointer)
{
    struct range *range = range_at(RANGE_BLOCK, pointer);
    if (!range)
        return cudaErrorInvalidValue;
    cudaError_t result = stream_drain_all();  /* as on a device: freeing waits */
    memory_give(range->bytes);
    runtime_state.usage.blocks--;
    range_drop(range);
    emu_memory_free(pointer);
    return result;
}

cudaError_t cudaFree(void *pointer)
{
    cudaError_t result = call_begin(__func__, CALL_RELEASES);
    if (stream_forbids())
        return call_end(cudaErrorStreamCaptureUnsupported);
    cudaError_t freed = pointer ? block_free(pointer) : cudaSuccess;
    return call_end(result != cudaSuccess ? result : freed);
}

/* ---- Pinned host memory: it ends at a page that nobody may touch, and starts poisoned ---- */

static size_t page_up(size_t bytes)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    return (bytes + page - 1) / page * page;
}

static size_t lead_of(size_t bytes) { return page_up(bytes) - (bytes + 63) / 64 * 64; }

static cudaError_t pinned_new(void **pointer, size_t bytes)
{
    size_t pages = page_up(bytes), guard = page_up(1);
    char  *memory = mmap(NULL, pages + guard, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        return cudaErrorMemoryAllocation;
    if (!bytes || mprotect(memory + pages, guard, PROT_NONE) || !range_add(RANGE_PINNED, memory + lead_of(bytes), bytes)) {
        munmap(memory, pages + guard);
        return bytes ? cudaErrorMemoryAllocation : cudaErrorInvalidValue;
    }
    memset(memory, 0xff, pages);
    runtime_state.usage.host_bytes += bytes;
    *pointer = memory + lead_of(bytes);
    return cudaSuccess;
}

cudaError_t cudaHostAlloc(void **pointer, size_t bytes, unsigned int flags)
{
    cudaError_t result = call_begin(__func__, CALL_ALLOCATES);
    (void)flags;
    if (result == cudaSuccess)
        result = stream_forbids() ? cudaErrorStreamCaptureUnsupported : pinned_new(pointer, bytes);
    return call_end(result);
}

cudaError_t cudaFreeHost(void *pointer)
{
    cudaError_t   result = call_begin(__func__, CALL_RELEASES);
    struct range *range  = range_at(RANGE_PINNED, pointer);
    if (stream_forbids())
        return call_end(cudaErrorStreamCaptureUnsupported);
    if (!range)
        return call_end(pointer ? cudaErrorInvalidValue : result);
    if (stream_uses(pointer, range->bytes))
        runtime_misuse("cudaFreeHost of memory that pending work uses");
    munmap((char *)pointer - lead_of(range->bytes), page_up(range->bytes) + page_up(1));
    runtime_state.usage.host_bytes -= range->bytes;
    range_drop(range);
    return call_end(result);
}

/* ---- cuMem*: addresses and bytes apart ---- */

/* The driver's manual says neither that these want a context nor that a capture forbids them; allocators that are known to work
 * bring the one and keep away from the other. */
static cudaError_t may_map(cudaError_t result)
{
    if (result == cudaSuccess && !context_is_current())
        result = cudaErrorDeviceUninitialized;
    return result == cudaSuccess && stream_forbids() ? cudaErrorStreamCaptureUnsupported : result;
}

static void *pointer_of(CUdeviceptr address) { return (void *)(uintptr_t)address; }

CUresult driver_granularity(size_t *granularity, const CUmemAllocationProp *property, CUmemAllocationGranularity_flags option)
{
    cudaError_t result = call_begin_driver("cuMemGetAllocationGranularity", CALL_ASKS);
    (void)option;
    if (result == cudaSuccess && (property->type != CU_MEM_ALLOCATION_TYPE_PINNED || property->location.id != 0))
        result = cudaErrorInvalidValue;
    if (result == cudaSuccess)
        *granularity = runtime_state.settings.granularity;
    return call_end_driver(result);
}

static bool is_whole(size_t bytes) { return bytes && bytes % runtime_state.settings.granularity == 0; }

CUresult driver_address_reserve(CUdeviceptr *address, size_t bytes, size_t alignment, CUdeviceptr wish, unsigned long long flags)
{
    cudaError_t result = call_begin_driver("cuMemAddressReserve", CALL_ALLOCATES);
    (void)alignment, (void)wish;
    if (result == cudaSuccess && (!is_whole(bytes) || flags))
        result = cudaErrorInvalidValue;
    if (result == cudaSuccess) {
        void *start = mmap(NULL, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (start == MAP_FAILED) {
            result = cudaErrorMemoryAllocation;
        } else if (!range_add(RANGE_RESERVED, start, bytes)) {
            munmap(start, bytes);
            result = cudaErrorMemoryAllocation;
        } else {
            runtime_state.usage.reservations++;
            *address = (CUdeviceptr)(uintptr_t)start;
        }
    }
    return call_end_driver(result);
}

CUresult driver_address_free(CUdeviceptr address, size_t bytes)
{
    cudaError_t   result = call_begin_driver("cuMemAddressFree", CALL_RELEASES);
    struct range *range  = range_at(RANGE_RESERVED, pointer_of(address));
    bool          held   = false;
    for (int i = 0; range && i < range_count; i++)
        held = held || (ranges[i].kind == RANGE_MAPPED && range_around(RANGE_RESERVED, ranges[i].start) == range);
    if (!range || range->bytes != bytes || held) {
        runtime_misuse("cuMemAddressFree of %zu bytes: %s", bytes, held ? "memory is mapped there" : "not what was reserved");
        return call_end_driver(cudaErrorInvalidValue);
    }
    munmap(range->start, bytes);
    runtime_state.usage.reservations--;
    range_drop(range);
    return call_end_driver(result);
}

static cudaError_t handle_new(CUmemGenericAllocationHandle *handle, size_t bytes)
{
    int index = 0;
    while (index < handle_count && handles[index].exists)
        index++;
    if (index == handle_count) {
        struct handle *grown = realloc(handles, (size_t)(handle_count + 1) * sizeof *handles);
        if (!grown)
            return cudaErrorMemoryAllocation;
        handles = grown;
        handle_count++;
        handles[index].exists = false;
    }
    if (!memory_take(bytes))
        return cudaErrorMemoryAllocation;
    handles[index] = (struct handle){ .bytes = bytes, .exists = true, .held = true };
    runtime_state.usage.handles++;
    *handle = (CUmemGenericAllocationHandle)index + 1;
    return cudaSuccess;
}

CUresult driver_create(CUmemGenericAllocationHandle *handle, size_t bytes, const CUmemAllocationProp *property,
                       unsigned long long flags)
{
    cudaError_t result = may_map(call_begin_driver("cuMemCreate", CALL_ALLOCATES));
    if (result == cudaSuccess && (!is_whole(bytes) || flags || property->type != CU_MEM_ALLOCATION_TYPE_PINNED ||
                                  property->location.type != CU_MEM_LOCATION_TYPE_DEVICE))
        result = cudaErrorInvalidValue;
    if (result == cudaSuccess)
        result = handle_new(handle, bytes);
    return call_end_driver(result);
}

/* Gone once it is neither held nor mapped. */
static void handle_settle(struct handle *handle)
{
    if (handle->held || handle->mapped)
        return;
    memory_give(handle->bytes);
    runtime_state.usage.handles--;
    handle->exists = false;
}

static struct handle *handle_of(CUmemGenericAllocationHandle handle)
{
    bool valid = handle >= 1 && handle <= (unsigned)handle_count && handles[handle - 1].exists;
    return valid ? &handles[handle - 1] : NULL;
}

CUresult driver_release(CUmemGenericAllocationHandle handle)
{
    cudaError_t    result = call_begin_driver("cuMemRelease", CALL_RELEASES);
    struct handle *found  = handle_of(handle);
    if (!found || !found->held)
        return call_end_driver(cudaErrorInvalidValue);
    found->held = false;
    handle_settle(found);
    return call_end_driver(result);
}

static cudaError_t map_range(char *start, size_t bytes, CUmemGenericAllocationHandle handle)
{
    struct handle *memory   = handle_of(handle);
    struct range  *reserved = range_around(RANGE_RESERVED, start);
    if (!memory || memory->mapped || memory->bytes != bytes || !reserved || start + bytes > reserved->start + reserved->bytes ||
        range_around(RANGE_MAPPED, start) || range_around(RANGE_MAPPED, start + bytes - 1))
        return cudaErrorInvalidValue;
    if (mmap(start, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED)
        return cudaErrorMemoryAllocation;
    struct range *range = range_add(RANGE_MAPPED, start, bytes);
    if (!range) {
        mmap(start, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
        return cudaErrorMemoryAllocation;
    }
    range->handle  = (int)handle;
    memory->mapped = true;
    emu_memory_add(start, bytes, true);
    protect(range);
    return cudaSuccess;
}

CUresult driver_map(CUdeviceptr address, size_t bytes, size_t offset, CUmemGenericAllocationHandle handle,
                    unsigned long long flags)
{
    cudaError_t result = may_map(call_begin_driver("cuMemMap", CALL_ALLOCATES));
    if (result == cudaSuccess && (!is_whole(bytes) || offset || flags))
        result = cudaErrorInvalidValue;
    if (result == cudaSuccess)
        result = map_range(pointer_of(address), bytes, handle);
    return call_end_driver(result);
}

CUresult driver_set_access(CUdeviceptr address, size_t bytes, const CUmemAccessDesc *access, size_t count)
{
    char       *start  = pointer_of(address), *at = start;
    cudaError_t result = may_map(call_begin_driver("cuMemSetAccess", CALL_ALLOCATES));
    if (result == cudaSuccess && (count != 1 || access->flags != CU_MEM_ACCESS_FLAGS_PROT_READWRITE))
        result = cudaErrorInvalidValue;
    while (result == cudaSuccess && at < start + bytes) {
        struct range *range = range_at(RANGE_MAPPED, at);
        if (!range) {
            result = cudaErrorInvalidValue;
        } else {
            range->accessible = true;
            protect(range);
            at += range->bytes;
        }
    }
    return call_end_driver(result);
}

static void unmap_range(struct range *range)
{
    struct handle *memory = handle_of((CUmemGenericAllocationHandle)range->handle);
    char          *start  = range->start;
    size_t         bytes  = range->bytes;
    if (stream_uses(start, bytes))
        runtime_misuse("cuMemUnmap of memory that pending work uses");
    emu_memory_remove(start, bytes);
    mmap(start, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
    memory->mapped = false;
    handle_settle(memory);
    range_drop(range);
}

CUresult driver_unmap(CUdeviceptr address, size_t bytes)
{
    char       *start = pointer_of(address), *at = start;
    cudaError_t result = call_begin_driver("cuMemUnmap", CALL_RELEASES);
    if (stream_forbids()) {
        runtime_misuse("cuMemUnmap while this thread captures");
        return call_end_driver(cudaErrorStreamCaptureUnsupported);
    }
    while (at < start + bytes) {
        struct range *range = range_at(RANGE_MAPPED, at);
        if (!range || at + range->bytes > start + bytes) {  /* only whole mappings */
            runtime_misuse("cuMemUnmap of %zu bytes where whole mappings were expected", bytes);
            return call_end_driver(cudaErrorInvalidValue);
        }
        at += range->bytes;
        unmap_range(range);
    }
    return call_end_driver(result);
}
