/* Streams and their capture. The handles 1 (legacy) and 2 (per thread) travel as they are: the host
 * knows the calling thread. */
#include <stdint.h>
#include <stdlib.h>

#include "cuda/context.h"
#include "cuda/init.h"
#include "cuda/shim.h"

static _Thread_local CUstreamCaptureMode capture_mode = CU_STREAM_CAPTURE_MODE_GLOBAL;

EXPORT CUresult cuStreamCreate(CUstream *stream, unsigned int flags) {
    if (!stream || flags & ~(unsigned)CU_STREAM_NON_BLOCKING)
        return CUDA_ERROR_INVALID_VALUE;
    return context_ready() ?: forward_cuStreamCreate(stream, flags);
}

EXPORT CUresult cuStreamCreateWithPriority(CUstream *stream, unsigned int flags, int priority) {
    if (!stream || flags & ~(unsigned)CU_STREAM_NON_BLOCKING)
        return CUDA_ERROR_INVALID_VALUE;
    return context_ready() ?: forward_cuStreamCreateWithPriority(stream, flags, priority);
}

EXPORT CUresult cuStreamDestroy_v2(CUstream stream) {
    if (!stream || stream == CU_STREAM_LEGACY || stream == CU_STREAM_PER_THREAD)
        return driver_ready() ?: CUDA_ERROR_INVALID_HANDLE;
    return driver_ready() ?: forward_cuStreamDestroy_v2(stream);
}

EXPORT CUresult cuStreamDestroy(CUstream stream) {
    return cuStreamDestroy_v2(stream);
}

EXPORT CUresult cuStreamSynchronize(CUstream stream) {
    return context_ready() ?: forward_cuStreamSynchronize(stream);
}

EXPORT CUresult cuStreamQuery(CUstream stream) {
    return context_ready() ?: forward_cuStreamQuery(stream);
}

EXPORT CUresult cuStreamWaitEvent(CUstream stream, CUevent event, unsigned int flags) {
    return context_ready() ?: forward_cuStreamWaitEvent(stream, event, flags);
}

EXPORT CUresult cuStreamGetPriority(CUstream stream, int *priority) {
    if (!priority)
        return CUDA_ERROR_INVALID_VALUE;
    return context_ready() ?: forward_cuStreamGetPriority(stream, priority);
}

EXPORT CUresult cuStreamGetFlags(CUstream stream, unsigned int *flags) {
    if (!flags)
        return CUDA_ERROR_INVALID_VALUE;
    return context_ready() ?: forward_cuStreamGetFlags(stream, flags);
}

EXPORT CUresult cuStreamGetId(CUstream stream, unsigned long long *id) {
    if (!id)
        return CUDA_ERROR_INVALID_VALUE;
    return context_ready() ?: forward_cuStreamGetId(stream, id);
}

/* Capture. */

EXPORT CUresult cuStreamBeginCapture_v2(CUstream stream, CUstreamCaptureMode mode) {
    return context_ready() ?: forward_cuStreamBeginCapture_v2(stream, mode);
}

EXPORT CUresult cuStreamBeginCapture(CUstream stream) {
    return cuStreamBeginCapture_v2(stream, CU_STREAM_CAPTURE_MODE_GLOBAL);
}

EXPORT CUresult cuStreamEndCapture(CUstream stream, CUgraph *graph) {
    if (!graph)
        return CUDA_ERROR_INVALID_VALUE;
    return context_ready() ?: forward_cuStreamEndCapture(stream, graph);
}

EXPORT CUresult cuStreamIsCapturing(CUstream stream, CUstreamCaptureStatus *status) {
    if (!status)
        return CUDA_ERROR_INVALID_VALUE;
    return context_ready() ?: forward_cuStreamIsCapturing(stream, status);
}

EXPORT CUresult cuStreamGetCaptureInfo(CUstream stream, CUstreamCaptureStatus *status, cuuint64_t *id) {
    cuuint64_t unwanted;
    if (!status)
        return CUDA_ERROR_INVALID_VALUE;
    return context_ready() ?: forward_cuStreamGetCaptureInfo(stream, status, id ? id : &unwanted);
}

/* The number of a capture is its graph's handle. The host performs a graph's nodes in the order in which
 * they were captured, so what comes next depends on the last of them, and on nothing else. */
static CUresult last_captured(CUgraph graph, const CUgraphNode **dependencies, size_t *count) {
    static _Thread_local CUgraphNode last; /* the caller's until its next call, as the API has it */
    CUgraphNode *nodes = NULL;
    size_t all = 0;
    CUresult result = cuGraphGetNodes(graph, NULL, &all);
    if (result == CUDA_SUCCESS && all) {
        nodes = calloc(all, sizeof *nodes);
        result = nodes ? cuGraphGetNodes(graph, nodes, &all) : CUDA_ERROR_OUT_OF_MEMORY;
    }
    if (result == CUDA_SUCCESS) {
        last = all ? nodes[all - 1] : NULL;
        if (dependencies)
            *dependencies = all ? &last : NULL;
        if (count)
            *count = all != 0;
    }
    free(nodes);
    return result;
}

EXPORT CUresult cuStreamGetCaptureInfo_v3(CUstream stream, CUstreamCaptureStatus *status, cuuint64_t *id,
                                          CUgraph *graph, const CUgraphNode **dependencies,
                                          const CUgraphEdgeData **edges, size_t *count) {
    cuuint64_t number;
    CUresult result = cuStreamGetCaptureInfo(stream, status, &number);
    if (result == CUDA_SUCCESS && id)
        *id = number;
    if (result != CUDA_SUCCESS || *status != CU_STREAM_CAPTURE_STATUS_ACTIVE)
        return result;
    if (graph)
        *graph = (CUgraph)(uintptr_t)number;
    if (edges)
        *edges = NULL; /* none of them carries data */
    return dependencies || count ? last_captured((CUgraph)(uintptr_t)number, dependencies, count)
                                 : CUDA_SUCCESS;
}

EXPORT CUresult cuStreamGetCaptureInfo_v2(CUstream stream, CUstreamCaptureStatus *status, cuuint64_t *id,
                                          CUgraph *graph, const CUgraphNode **dependencies, size_t *count) {
    return cuStreamGetCaptureInfo_v3(stream, status, id, graph, dependencies, NULL, count);
}

EXPORT CUresult cuThreadExchangeStreamCaptureMode(CUstreamCaptureMode *mode) {
    if (!mode || *mode > CU_STREAM_CAPTURE_MODE_RELAXED)
        return CUDA_ERROR_INVALID_VALUE;
    CUstreamCaptureMode before = capture_mode;
    capture_mode = *mode;
    *mode = before;
    return driver_ready();
}

/* Functions of the program in a stream. They run in the calling thread once the stream has done what
 * it was given; what is given to it later therefore runs after them, as it must. A function that waits
 * for something the calling thread does only afterwards would wait for ever. */

static CUresult reach_end_of(CUstream stream) {
    CUstreamCaptureStatus status;
    CUresult result = cuStreamIsCapturing(stream, &status);
    if (result != CUDA_SUCCESS)
        return result;
    if (status != CU_STREAM_CAPTURE_STATUS_NONE)
        return CUDA_ERROR_NOT_SUPPORTED;
    return cuStreamSynchronize(stream);
}

EXPORT CUresult cuLaunchHostFunc(CUstream stream, CUhostFn fn, void *user_data) {
    if (!fn)
        return CUDA_ERROR_INVALID_VALUE;
    CUresult result = reach_end_of(stream);
    if (result == CUDA_SUCCESS)
        fn(user_data);
    return result;
}

EXPORT CUresult cuStreamAddCallback(CUstream stream, CUstreamCallback callback, void *user_data,
                                    unsigned int flags) {
    if (!callback || flags)
        return CUDA_ERROR_INVALID_VALUE;
    CUresult result = reach_end_of(stream);
    if (result == CUDA_SUCCESS)
        callback(stream, result, user_data);
    return result;
}
