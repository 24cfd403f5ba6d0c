// Contexts, memory, copies and fills of the emulated device.
#include <algorithm>
#include <cstring>
#include <utility>

#include "device/emulated.hpp"

namespace shimbench {

namespace {

template <class Handle> Handle as(std::uint64_t handle) {
    return reinterpret_cast<Handle>(handle);
}

template <class Handle> std::uint64_t number(Handle handle) {
    return reinterpret_cast<std::uint64_t>(handle);
}

constexpr std::uint64_t pitch_alignment = 512;

} // namespace

EmulatedDevice::EmulatedDevice(const wire_device &facts, const AddressRange &range, MemoryShare share,
                               KernelEngine engine)
    : facts_(facts), memory_(range, std::move(share)), engine_(std::move(engine)) {
    primary_ = new_handle();
    contexts_[primary_] = true;
}

DeviceUse EmulatedDevice::use() const {
    DeviceUse use;
    use.memory = memory_.device_bytes();
    use.variables = memory_.variable_bytes();
    use.pinned = memory_.pinned_bytes();
    use.allocations = memory_.count();
    use.streams = streams_.size();
    use.events = events_.size();
    use.modules = modules_.size();
    use.graphs = graphs_.size() + executables_.size();
    use.launches = launches_;
    return use;
}

CUresult EmulatedDevice::cuDevicePrimaryCtxRetain(CUcontext *pctx, CUdevice dev) {
    if (!pctx)
        return CUDA_ERROR_INVALID_VALUE;
    if (dev != 0)
        return CUDA_ERROR_INVALID_DEVICE;
    primary_uses_++;
    *pctx = as<CUcontext>(primary_);
    return CUDA_SUCCESS;
}

CUresult EmulatedDevice::cuDevicePrimaryCtxRelease_v2(CUdevice dev) {
    if (dev != 0)
        return CUDA_ERROR_INVALID_DEVICE;
    if (!primary_uses_)
        return CUDA_ERROR_INVALID_CONTEXT;
    if (--primary_uses_ == 0)
        destroy_context(primary_);
    return CUDA_SUCCESS;
}

CUresult EmulatedDevice::cuDevicePrimaryCtxReset_v2(CUdevice dev) {
    if (dev != 0)
        return CUDA_ERROR_INVALID_DEVICE;
    destroy_context(primary_);
    return CUDA_SUCCESS;
}

CUresult EmulatedDevice::cuCtxCreate_v2(CUcontext *pctx, unsigned int, CUdevice dev) {
    if (!pctx)
        return CUDA_ERROR_INVALID_VALUE;
    if (dev != 0)
        return CUDA_ERROR_INVALID_DEVICE;
    const std::uint64_t handle = new_handle();
    contexts_[handle] = true;
    *pctx = as<CUcontext>(handle);
    return CUDA_SUCCESS;
}

CUresult EmulatedDevice::cuCtxDestroy_v2(CUcontext ctx) {
    const std::uint64_t handle = number(ctx);
    if (handle == primary_ || !contexts_.contains(handle))
        return CUDA_ERROR_INVALID_CONTEXT;
    destroy_context(handle);
    contexts_.erase(handle);
    return CUDA_SUCCESS;
}

void EmulatedDevice::destroy_context(std::uint64_t context) {
    for (const auto &[handle, stream] : streams_)
        if (stream.context == context && stream.origin)
            end_capture(stream.capture);
    std::erase_if(streams_, [&](const auto &row) { return row.second.context == context; });
    std::erase_if(events_, [&](const auto &row) { return row.second.context == context; });
    std::vector<std::uint64_t> unloaded;
    for (const auto &[handle, module] : modules_)
        if (module.context == context && !module.library)
            unloaded.push_back(handle);
    for (const std::uint64_t handle : unloaded)
        unload(handle);
    memory_.free_context(context);
}

CUresult EmulatedDevice::cuMemGetInfo_v2(size_t *free, size_t *total) {
    if (free)
        *free = memory_.free_bytes();
    if (total)
        *total = facts_.memory_bytes;
    return CUDA_SUCCESS;
}

CUresult EmulatedDevice::cuMemAlloc_v2(CUdeviceptr *dptr, size_t bytesize) {
    std::uint64_t address = 0;
    if (!dptr)
        return CUDA_ERROR_INVALID_VALUE;
    const CUresult result = memory_.allocate(bytesize, context_of_caller(), address);
    if (result == CUDA_SUCCESS)
        *dptr = address;
    return result;
}

CUresult EmulatedDevice::cuMemAllocPitch_v2(CUdeviceptr *dptr, size_t *pPitch, size_t WidthInBytes,
                                            size_t Height, unsigned int ElementSizeBytes) {
    if (!pPitch || !WidthInBytes || !Height ||
        (ElementSizeBytes != 4 && ElementSizeBytes != 8 && ElementSizeBytes != 16))
        return CUDA_ERROR_INVALID_VALUE;
    std::uint64_t bytes = 0;
    if (WidthInBytes > UINT64_MAX - pitch_alignment)
        return CUDA_ERROR_OUT_OF_MEMORY;
    const std::uint64_t pitch = (WidthInBytes + pitch_alignment - 1) / pitch_alignment * pitch_alignment;
    if (__builtin_mul_overflow(pitch, Height, &bytes))
        return CUDA_ERROR_OUT_OF_MEMORY;
    const CUresult result = cuMemAlloc_v2(dptr, bytes);
    if (result == CUDA_SUCCESS)
        *pPitch = pitch;
    return result;
}

CUresult EmulatedDevice::cuMemAllocAsync(CUdeviceptr *dptr, size_t bytesize, CUstream hStream) {
    Stream *on = stream(number(hStream));
    if (!on)
        return CUDA_ERROR_INVALID_HANDLE;
    return on->capture ? refuse_in_capture(*on, CUDA_ERROR_NOT_SUPPORTED) : cuMemAlloc_v2(dptr, bytesize);
}

CUresult EmulatedDevice::cuMemFree_v2(CUdeviceptr dptr) {
    return dptr ? memory_.free(dptr, MemoryKind::Device) : CUDA_SUCCESS;
}

CUresult EmulatedDevice::cuMemFreeAsync(CUdeviceptr dptr, CUstream hStream) {
    Stream *on = stream(number(hStream));
    if (!on)
        return CUDA_ERROR_INVALID_HANDLE;
    return on->capture ? refuse_in_capture(*on, CUDA_ERROR_NOT_SUPPORTED) : cuMemFree_v2(dptr);
}

CUresult EmulatedDevice::cuMemGetAddressRange_v2(CUdeviceptr *pbase, size_t *psize, CUdeviceptr dptr) {
    std::uint64_t start = 0;
    const Allocation *found = memory_.find(dptr, start);
    if (!found)
        return CUDA_ERROR_NOT_FOUND;
    if (pbase)
        *pbase = start;
    if (psize)
        *psize = found->bytes;
    return CUDA_SUCCESS;
}

CUresult EmulatedDevice::cuMemHostAlloc(void **pp, size_t bytesize, unsigned int Flags) {
    std::uint64_t address = 0;
    if (!pp)
        return CUDA_ERROR_INVALID_VALUE;
    const CUresult result = memory_.allocate_pinned(bytesize, Flags, context_of_caller(), address);
    if (result == CUDA_SUCCESS)
        *pp = as<void *>(address);
    return result;
}

CUresult EmulatedDevice::cuMemFreeHost(void *p) {
    return p ? memory_.free(number(p), MemoryKind::Pinned) : CUDA_SUCCESS;
}

CUresult EmulatedDevice::cuMemHostGetFlags(unsigned int *pFlags, void *p) {
    std::uint64_t start = 0;
    const Allocation *found = memory_.find(number(p), start);
    if (!pFlags || !found || found->kind != MemoryKind::Pinned)
        return CUDA_ERROR_INVALID_VALUE;
    *pFlags = found->flags;
    return CUDA_SUCCESS;
}

CUresult EmulatedDevice::cuMemAddressReserve(CUdeviceptr *ptr, size_t size, size_t alignment,
                                             CUdeviceptr addr, unsigned long long flags) {
    std::uint64_t address = 0;
    if (!ptr || flags)
        return CUDA_ERROR_INVALID_VALUE;
    const CUresult result = memory_.reserve(size, alignment, addr, address);
    if (result == CUDA_SUCCESS)
        *ptr = address;
    return result;
}

CUresult EmulatedDevice::cuMemAddressFree(CUdeviceptr ptr, size_t size) {
    return memory_.release_reservation(ptr, size);
}

CUresult EmulatedDevice::cuMemCreate(CUmemGenericAllocationHandle *handle, size_t size,
                                     const CUmemAllocationProp *prop, unsigned long long) {
    if (!handle || !prop || prop->type != CU_MEM_ALLOCATION_TYPE_PINNED)
        return CUDA_ERROR_INVALID_VALUE;
    if (prop->location.type != CU_MEM_LOCATION_TYPE_DEVICE || prop->requestedHandleTypes)
        return CUDA_ERROR_NOT_SUPPORTED;
    if (prop->location.id != 0)
        return CUDA_ERROR_INVALID_DEVICE;
    std::uint64_t made = 0;
    const CUresult result = memory_.create(size, made);
    if (result == CUDA_SUCCESS)
        *handle = made;
    return result;
}

CUresult EmulatedDevice::cuMemRelease(CUmemGenericAllocationHandle handle) {
    return memory_.release(handle);
}

CUresult EmulatedDevice::cuMemMap(CUdeviceptr ptr, size_t size, size_t offset,
                                  CUmemGenericAllocationHandle handle, unsigned long long flags) {
    return flags ? CUDA_ERROR_INVALID_VALUE : memory_.map(ptr, size, offset, handle);
}

CUresult EmulatedDevice::cuMemUnmap(CUdeviceptr ptr, size_t size) {
    return memory_.unmap(ptr, size);
}

CUresult EmulatedDevice::cuMemSetAccess(CUdeviceptr ptr, size_t size, const CUmemAccessDesc *desc,
                                        size_t count) {
    if (!desc || !count)
        return CUDA_ERROR_INVALID_VALUE;
    for (size_t n = 0; n < count; n++) {
        if (desc[n].location.type != CU_MEM_LOCATION_TYPE_DEVICE || desc[n].location.id != 0)
            return CUDA_ERROR_INVALID_DEVICE;
        const CUresult result = memory_.set_access(ptr, size, desc[n].flags);
        if (result != CUDA_SUCCESS)
            return result;
    }
    return CUDA_SUCCESS;
}

CUresult EmulatedDevice::cuMemGetAccess(unsigned long long *flags, const CUmemLocation *location,
                                        CUdeviceptr ptr) {
    const auto access = memory_.access(ptr);
    if (!flags || !location || !access)
        return CUDA_ERROR_INVALID_VALUE;
    *flags = *access;
    return CUDA_SUCCESS;
}

CUresult EmulatedDevice::pointer_attribute(CUpointer_attribute attribute, std::uint64_t address,
                                           std::uint64_t &value) {
    std::uint64_t start = 0;
    const Allocation *found = memory_.find(address, start);
    if (!found)
        return CUDA_ERROR_INVALID_VALUE;
    const bool pinned = found->kind == MemoryKind::Pinned;
    switch (attribute) {
    case CU_POINTER_ATTRIBUTE_CONTEXT:
        value = found->context;
        return CUDA_SUCCESS;
    case CU_POINTER_ATTRIBUTE_MEMORY_TYPE:
        value = pinned ? CU_MEMORYTYPE_HOST : CU_MEMORYTYPE_DEVICE;
        return CUDA_SUCCESS;
    case CU_POINTER_ATTRIBUTE_DEVICE_POINTER:
        value = address;
        return CUDA_SUCCESS;
    case CU_POINTER_ATTRIBUTE_HOST_POINTER:
        value = address;
        return pinned ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
    case CU_POINTER_ATTRIBUTE_BUFFER_ID:
        value = found->id;
        return CUDA_SUCCESS;
    case CU_POINTER_ATTRIBUTE_IS_MANAGED:
    case CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL:
        value = 0;
        return CUDA_SUCCESS;
    case CU_POINTER_ATTRIBUTE_RANGE_START_ADDR:
        value = start;
        return CUDA_SUCCESS;
    case CU_POINTER_ATTRIBUTE_RANGE_SIZE:
        value = found->bytes;
        return CUDA_SUCCESS;
    case CU_POINTER_ATTRIBUTE_MAPPED:
        value = 1;
        return CUDA_SUCCESS;
    default:
        return CUDA_ERROR_NOT_SUPPORTED;
    }
}

CUresult EmulatedDevice::write(std::uint64_t target, std::span<const std::byte> bytes, std::uint64_t handle) {
    Stream *on = stream(handle);
    if (!on)
        return CUDA_ERROR_INVALID_HANDLE;
    // A graph would read the client's pageable memory when it is launched, which is not here.
    if (on->capture)
        return refuse_in_capture(*on, CUDA_ERROR_NOT_SUPPORTED);
    std::byte *to = memory_.touch(target, bytes.size());
    if (!to)
        return CUDA_ERROR_INVALID_VALUE;
    std::memcpy(to, bytes.data(), bytes.size());
    return CUDA_SUCCESS;
}

CUresult EmulatedDevice::read(std::span<std::byte> target, std::uint64_t source, std::uint64_t handle) {
    Stream *on = stream(handle);
    if (!on)
        return CUDA_ERROR_INVALID_HANDLE;
    if (on->capture)
        return refuse_in_capture(*on, CUDA_ERROR_NOT_SUPPORTED);
    const std::byte *from = memory_.touch(source, target.size());
    if (!from)
        return CUDA_ERROR_INVALID_VALUE;
    std::memcpy(target.data(), from, target.size());
    return CUDA_SUCCESS;
}

CUresult EmulatedDevice::window(std::uint64_t address, std::uint64_t bytes, std::uint64_t handle,
                                std::uint64_t &offset) {
    Stream *on = stream(handle);
    if (!on)
        return CUDA_ERROR_INVALID_HANDLE;
    if (on->capture)
        return refuse_in_capture(*on, CUDA_ERROR_NOT_SUPPORTED);
    if (!memory_.touch(address, bytes))
        return CUDA_ERROR_INVALID_VALUE;
    offset = memory_.window_offset(address);
    return CUDA_SUCCESS;
}

CUresult EmulatedDevice::copy(std::uint64_t target, std::uint64_t source, std::uint64_t bytes,
                              std::uint64_t handle) {
    return bytes ? submit(handle, CopyOperation{target, source, bytes}) : CUDA_SUCCESS;
}

CUresult EmulatedDevice::fill(std::uint64_t handle, FillOperation fill) {
    if (!fill.width || !fill.height)
        return CUDA_SUCCESS;
    if (fill.target % fill.element || (fill.height > 1 && fill.pitch < fill.width * fill.element))
        return CUDA_ERROR_INVALID_VALUE;
    return submit(handle, fill);
}

CUresult EmulatedDevice::cuMemsetD8_v2(CUdeviceptr dstDevice, unsigned char uc, size_t N) {
    return fill(0, {dstDevice, 0, N, 1, uc, 1});
}

CUresult EmulatedDevice::cuMemsetD16_v2(CUdeviceptr dstDevice, unsigned short us, size_t N) {
    return fill(0, {dstDevice, 0, N, 1, us, 2});
}

CUresult EmulatedDevice::cuMemsetD32_v2(CUdeviceptr dstDevice, unsigned int ui, size_t N) {
    return fill(0, {dstDevice, 0, N, 1, ui, 4});
}

CUresult EmulatedDevice::cuMemsetD8Async(CUdeviceptr dstDevice, unsigned char uc, size_t N,
                                         CUstream hStream) {
    return fill(number(hStream), {dstDevice, 0, N, 1, uc, 1});
}

CUresult EmulatedDevice::cuMemsetD16Async(CUdeviceptr dstDevice, unsigned short us, size_t N,
                                          CUstream hStream) {
    return fill(number(hStream), {dstDevice, 0, N, 1, us, 2});
}

CUresult EmulatedDevice::cuMemsetD32Async(CUdeviceptr dstDevice, unsigned int ui, size_t N,
                                          CUstream hStream) {
    return fill(number(hStream), {dstDevice, 0, N, 1, ui, 4});
}

CUresult EmulatedDevice::cuMemsetD2D8_v2(CUdeviceptr dstDevice, size_t dstPitch, unsigned char uc,
                                         size_t Width, size_t Height) {
    return fill(0, {dstDevice, dstPitch, Width, Height, uc, 1});
}

CUresult EmulatedDevice::cuMemsetD2D16_v2(CUdeviceptr dstDevice, size_t dstPitch, unsigned short us,
                                          size_t Width, size_t Height) {
    return fill(0, {dstDevice, dstPitch, Width, Height, us, 2});
}

CUresult EmulatedDevice::cuMemsetD2D32_v2(CUdeviceptr dstDevice, size_t dstPitch, unsigned int ui,
                                          size_t Width, size_t Height) {
    return fill(0, {dstDevice, dstPitch, Width, Height, ui, 4});
}

CUresult EmulatedDevice::cuMemsetD2D8Async(CUdeviceptr dstDevice, size_t dstPitch, unsigned char uc,
                                           size_t Width, size_t Height, CUstream hStream) {
    return fill(number(hStream), {dstDevice, dstPitch, Width, Height, uc, 1});
}

CUresult EmulatedDevice::cuMemsetD2D16Async(CUdeviceptr dstDevice, size_t dstPitch, unsigned short us,
                                            size_t Width, size_t Height, CUstream hStream) {
    return fill(number(hStream), {dstDevice, dstPitch, Width, Height, us, 2});
}

CUresult EmulatedDevice::cuMemsetD2D32Async(CUdeviceptr dstDevice, size_t dstPitch, unsigned int ui,
                                            size_t Width, size_t Height, CUstream hStream) {
    return fill(number(hStream), {dstDevice, dstPitch, Width, Height, ui, 4});
}

} // namespace shimbench
