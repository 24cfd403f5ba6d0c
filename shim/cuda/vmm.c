/* Virtual memory management: addresses reserved here, memory mapped there. */
#include "cuda/context.h"
#include "cuda/init.h"
#include "cuda/shim.h"

EXPORT CUresult cuMemGetAllocationGranularity(size_t *granularity, const CUmemAllocationProp *prop,
                                              CUmemAllocationGranularity_flags option) {
    if (!driver_initialized())
        return CUDA_ERROR_NOT_INITIALIZED;
    if (!granularity || !prop || prop->type != CU_MEM_ALLOCATION_TYPE_PINNED ||
        (option != CU_MEM_ALLOC_GRANULARITY_MINIMUM && option != CU_MEM_ALLOC_GRANULARITY_RECOMMENDED))
        return CUDA_ERROR_INVALID_VALUE;
    if (prop->location.type != CU_MEM_LOCATION_TYPE_DEVICE || prop->location.id != 0)
        return CUDA_ERROR_INVALID_DEVICE;
    *granularity = wire_device()->granularity;
    return CUDA_SUCCESS;
}

EXPORT CUresult cuMemAddressReserve(CUdeviceptr *ptr, size_t size, size_t alignment, CUdeviceptr addr,
                                    unsigned long long flags) {
    if (!ptr)
        return CUDA_ERROR_INVALID_VALUE;
    return driver_ready() ?: forward_cuMemAddressReserve(ptr, size, alignment, addr, flags);
}

EXPORT CUresult cuMemAddressFree(CUdeviceptr ptr, size_t size) {
    return driver_ready() ?: forward_cuMemAddressFree(ptr, size);
}

EXPORT CUresult cuMemCreate(CUmemGenericAllocationHandle *handle, size_t size,
                            const CUmemAllocationProp *prop, unsigned long long flags) {
    if (!handle || !prop)
        return CUDA_ERROR_INVALID_VALUE;
    if (prop->requestedHandleTypes != CU_MEM_HANDLE_TYPE_NONE)
        return CUDA_ERROR_NOT_SUPPORTED; /* memory can't be handed to other processes */
    return driver_ready() ?: forward_cuMemCreate(handle, size, prop, flags);
}

EXPORT CUresult cuMemRelease(CUmemGenericAllocationHandle handle) {
    return driver_ready() ?: forward_cuMemRelease(handle);
}

EXPORT CUresult cuMemMap(CUdeviceptr ptr, size_t size, size_t offset, CUmemGenericAllocationHandle handle,
                         unsigned long long flags) {
    return driver_ready() ?: forward_cuMemMap(ptr, size, offset, handle, flags);
}

EXPORT CUresult cuMemUnmap(CUdeviceptr ptr, size_t size) {
    return driver_ready() ?: forward_cuMemUnmap(ptr, size);
}

EXPORT CUresult cuMemSetAccess(CUdeviceptr ptr, size_t size, const CUmemAccessDesc *desc, size_t count) {
    if (!desc && count)
        return CUDA_ERROR_INVALID_VALUE;
    return driver_ready() ?: forward_cuMemSetAccess(ptr, size, desc, count);
}

EXPORT CUresult cuMemGetAccess(unsigned long long *flags, const CUmemLocation *location, CUdeviceptr ptr) {
    if (!flags || !location)
        return CUDA_ERROR_INVALID_VALUE;
    return driver_ready() ?: forward_cuMemGetAccess(flags, location, ptr);
}
