/* Events. */
#include "cuda/context.h"
#include "cuda/init.h"
#include "cuda/shim.h"

EXPORT CUresult cuEventCreate(CUevent *event, unsigned int flags) {
    if (!event)
        return CUDA_ERROR_INVALID_VALUE;
    if (flags & CU_EVENT_INTERPROCESS)
        return CUDA_ERROR_NOT_SUPPORTED;
    return context_ready() ?: forward_cuEventCreate(event, flags);
}

EXPORT CUresult cuEventDestroy_v2(CUevent event) {
    if (!event)
        return CUDA_ERROR_INVALID_HANDLE;
    return driver_ready() ?: forward_cuEventDestroy_v2(event);
}

EXPORT CUresult cuEventDestroy(CUevent event) {
    return cuEventDestroy_v2(event);
}

EXPORT CUresult cuEventRecord(CUevent event, CUstream stream) {
    return context_ready() ?: forward_cuEventRecord(event, stream);
}

EXPORT CUresult cuEventRecordWithFlags(CUevent event, CUstream stream, unsigned int flags) {
    return context_ready() ?: forward_cuEventRecordWithFlags(event, stream, flags);
}

EXPORT CUresult cuEventQuery(CUevent event) {
    return driver_ready() ?: forward_cuEventQuery(event);
}

EXPORT CUresult cuEventSynchronize(CUevent event) {
    return driver_ready() ?: forward_cuEventSynchronize(event);
}

EXPORT CUresult cuEventElapsedTime(float *milliseconds, CUevent start, CUevent end) {
    if (!milliseconds)
        return CUDA_ERROR_INVALID_VALUE;
    return driver_ready() ?: forward_cuEventElapsedTime(milliseconds, start, end);
}

EXPORT CUresult cuEventElapsedTime_v2(float *milliseconds, CUevent start, CUevent end) {
    return cuEventElapsedTime(milliseconds, start, end);
}
