/* Device memory, pinned host memory, copies and fills. All of it is the host's; addresses are the same
 * on both sides of the wire. */
#include "cuda/context.h"
#include "cuda/init.h"
#include "cuda/shim.h"

EXPORT CUresult cuMemGetInfo_v2(size_t *free, size_t *total) {
    return context_ready() ?: forward_cuMemGetInfo_v2(free, total);
}

EXPORT CUresult cuMemAlloc_v2(CUdeviceptr *dptr, size_t bytesize) {
    if (!dptr)
        return CUDA_ERROR_INVALID_VALUE;
    return context_ready() ?: forward_cuMemAlloc_v2(dptr, bytesize);
}

EXPORT CUresult cuMemAllocPitch_v2(CUdeviceptr *dptr, size_t *pitch, size_t width, size_t height,
                                   unsigned int element_size) {
    if (!dptr || !pitch)
        return CUDA_ERROR_INVALID_VALUE;
    return context_ready() ?: forward_cuMemAllocPitch_v2(dptr, pitch, width, height, element_size);
}

EXPORT CUresult cuMemFree_v2(CUdeviceptr dptr) {
    return context_ready() ?: forward_cuMemFree_v2(dptr);
}

EXPORT CUresult cuMemAllocAsync(CUdeviceptr *dptr, size_t bytesize, CUstream stream) {
    if (!dptr)
        return CUDA_ERROR_INVALID_VALUE;
    return context_ready() ?: forward_cuMemAllocAsync(dptr, bytesize, stream);
}

EXPORT CUresult cuMemFreeAsync(CUdeviceptr dptr, CUstream stream) {
    return context_ready() ?: forward_cuMemFreeAsync(dptr, stream);
}

EXPORT CUresult cuMemGetAddressRange_v2(CUdeviceptr *base, size_t *size, CUdeviceptr dptr) {
    return context_ready() ?: forward_cuMemGetAddressRange_v2(base, size, dptr);
}

EXPORT CUresult cuPointerGetAttribute(void *data, CUpointer_attribute attribute, CUdeviceptr ptr) {
    return driver_ready() ?: forward_cuPointerGetAttribute(data, attribute, ptr);
}

EXPORT CUresult cuPointerGetAttributes(unsigned int count, CUpointer_attribute *attributes, void **data,
                                       CUdeviceptr ptr) {
    return driver_ready() ?: forward_cuPointerGetAttributes(count, attributes, data, ptr);
}

/* Pinned host memory. */

EXPORT CUresult cuMemHostAlloc(void **pp, size_t bytesize, unsigned int flags) {
    if (!pp)
        return CUDA_ERROR_INVALID_VALUE;
    return context_ready() ?: forward_cuMemHostAlloc(pp, bytesize, flags);
}

EXPORT CUresult cuMemAllocHost_v2(void **pp, size_t bytesize) {
    return cuMemHostAlloc(pp, bytesize, 0);
}

EXPORT CUresult cuMemFreeHost(void *p) {
    return context_ready() ?: forward_cuMemFreeHost(p);
}

EXPORT CUresult cuMemHostGetFlags(unsigned int *flags, void *p) {
    return context_ready() ?: forward_cuMemHostGetFlags(flags, p);
}

EXPORT CUresult cuMemHostGetDevicePointer_v2(CUdeviceptr *dptr, void *p, unsigned int flags) {
    if (!dptr || flags || !wire_is_pinned(p))
        return driver_ready() ?: CUDA_ERROR_INVALID_VALUE;
    *dptr = (CUdeviceptr)p;
    return CUDA_SUCCESS;
}

/* Copies. */

EXPORT CUresult cuMemcpy(CUdeviceptr dst, CUdeviceptr src, size_t bytes) {
    return context_ready() ?: forward_cuMemcpy(dst, src, bytes);
}

EXPORT CUresult cuMemcpyAsync(CUdeviceptr dst, CUdeviceptr src, size_t bytes, CUstream stream) {
    return context_ready() ?: forward_cuMemcpyAsync(dst, src, bytes, stream);
}

EXPORT CUresult cuMemcpyHtoD_v2(CUdeviceptr dst, const void *src, size_t bytes) {
    return context_ready() ?: forward_cuMemcpyHtoD_v2(dst, src, bytes);
}

EXPORT CUresult cuMemcpyHtoDAsync_v2(CUdeviceptr dst, const void *src, size_t bytes, CUstream stream) {
    return context_ready() ?: forward_cuMemcpyHtoDAsync_v2(dst, src, bytes, stream);
}

EXPORT CUresult cuMemcpyDtoH_v2(void *dst, CUdeviceptr src, size_t bytes) {
    return context_ready() ?: forward_cuMemcpyDtoH_v2(dst, src, bytes);
}

EXPORT CUresult cuMemcpyDtoHAsync_v2(void *dst, CUdeviceptr src, size_t bytes, CUstream stream) {
    return context_ready() ?: forward_cuMemcpyDtoHAsync_v2(dst, src, bytes, stream);
}

EXPORT CUresult cuMemcpyDtoD_v2(CUdeviceptr dst, CUdeviceptr src, size_t bytes) {
    return context_ready() ?: forward_cuMemcpyDtoD_v2(dst, src, bytes);
}

EXPORT CUresult cuMemcpyDtoDAsync_v2(CUdeviceptr dst, CUdeviceptr src, size_t bytes, CUstream stream) {
    return context_ready() ?: forward_cuMemcpyDtoDAsync_v2(dst, src, bytes, stream);
}

/* There is one device: its contexts share its memory. */
EXPORT CUresult cuMemcpyPeer(CUdeviceptr dst, CUcontext dst_context, CUdeviceptr src, CUcontext src_context,
                             size_t bytes) {
    if (!find_context(dst_context) || !find_context(src_context))
        return CUDA_ERROR_INVALID_CONTEXT;
    return cuMemcpyDtoD_v2(dst, src, bytes);
}

EXPORT CUresult cuMemcpyPeerAsync(CUdeviceptr dst, CUcontext dst_context, CUdeviceptr src,
                                  CUcontext src_context, size_t bytes, CUstream stream) {
    if (!find_context(dst_context) || !find_context(src_context))
        return CUDA_ERROR_INVALID_CONTEXT;
    return cuMemcpyDtoDAsync_v2(dst, src, bytes, stream);
}

EXPORT CUresult cuMemcpy2D_v2(const CUDA_MEMCPY2D *copy) {
    return context_ready() ?: forward_cuMemcpy2D_v2(copy);
}

EXPORT CUresult cuMemcpy2DUnaligned_v2(const CUDA_MEMCPY2D *copy) {
    return context_ready() ?: forward_cuMemcpy2DUnaligned_v2(copy);
}

EXPORT CUresult cuMemcpy2DAsync_v2(const CUDA_MEMCPY2D *copy, CUstream stream) {
    return context_ready() ?: forward_cuMemcpy2DAsync_v2(copy, stream);
}

/* Fills. */

EXPORT CUresult cuMemsetD8_v2(CUdeviceptr dst, unsigned char value, size_t count) {
    return context_ready() ?: forward_cuMemsetD8_v2(dst, value, count);
}

EXPORT CUresult cuMemsetD16_v2(CUdeviceptr dst, unsigned short value, size_t count) {
    return context_ready() ?: forward_cuMemsetD16_v2(dst, value, count);
}

EXPORT CUresult cuMemsetD32_v2(CUdeviceptr dst, unsigned int value, size_t count) {
    return context_ready() ?: forward_cuMemsetD32_v2(dst, value, count);
}

EXPORT CUresult cuMemsetD8Async(CUdeviceptr dst, unsigned char value, size_t count, CUstream stream) {
    return context_ready() ?: forward_cuMemsetD8Async(dst, value, count, stream);
}

EXPORT CUresult cuMemsetD16Async(CUdeviceptr dst, unsigned short value, size_t count, CUstream stream) {
    return context_ready() ?: forward_cuMemsetD16Async(dst, value, count, stream);
}

EXPORT CUresult cuMemsetD32Async(CUdeviceptr dst, unsigned int value, size_t count, CUstream stream) {
    return context_ready() ?: forward_cuMemsetD32Async(dst, value, count, stream);
}

EXPORT CUresult cuMemsetD2D8_v2(CUdeviceptr dst, size_t pitch, unsigned char value, size_t width,
                                size_t height) {
    return context_ready() ?: forward_cuMemsetD2D8_v2(dst, pitch, value, width, height);
}

EXPORT CUresult cuMemsetD2D16_v2(CUdeviceptr dst, size_t pitch, unsigned short value, size_t width,
                                 size_t height) {
    return context_ready() ?: forward_cuMemsetD2D16_v2(dst, pitch, value, width, height);
}

EXPORT CUresult cuMemsetD2D32_v2(CUdeviceptr dst, size_t pitch, unsigned int value, size_t width,
                                 size_t height) {
    return context_ready() ?: forward_cuMemsetD2D32_v2(dst, pitch, value, width, height);
}

EXPORT CUresult cuMemsetD2D8Async(CUdeviceptr dst, size_t pitch, unsigned char value, size_t width,
                                  size_t height, CUstream stream) {
    return context_ready() ?: forward_cuMemsetD2D8Async(dst, pitch, value, width, height, stream);
}

EXPORT CUresult cuMemsetD2D16Async(CUdeviceptr dst, size_t pitch, unsigned short value, size_t width,
                                   size_t height, CUstream stream) {
    return context_ready() ?: forward_cuMemsetD2D16Async(dst, pitch, value, width, height, stream);
}

EXPORT CUresult cuMemsetD2D32Async(CUdeviceptr dst, size_t pitch, unsigned int value, size_t width,
                                   size_t height, CUstream stream) {
    return context_ready() ?: forward_cuMemsetD2D32Async(dst, pitch, value, width, height, stream);
}
