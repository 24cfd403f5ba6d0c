/* Questions whose answers do not fit a generated stub. */
#include <forward.h>

#include "wire/call.h"
#include "wire/state.h"

/* Bytes that a pointer attribute writes; 0: not performed. */
static size_t attribute_bytes(CUpointer_attribute attribute) {
    switch (attribute) {
    case CU_POINTER_ATTRIBUTE_CONTEXT:
    case CU_POINTER_ATTRIBUTE_DEVICE_POINTER:
    case CU_POINTER_ATTRIBUTE_HOST_POINTER:
    case CU_POINTER_ATTRIBUTE_BUFFER_ID:
    case CU_POINTER_ATTRIBUTE_RANGE_START_ADDR:
    case CU_POINTER_ATTRIBUTE_RANGE_SIZE:
        return 8;
    case CU_POINTER_ATTRIBUTE_MEMORY_TYPE:
    case CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL:
    case CU_POINTER_ATTRIBUTE_MAPPED:
    case CU_POINTER_ATTRIBUTE_IS_MANAGED:
        return 4;
    default:
        return 0;
    }
}

CUresult forward_cuPointerGetAttribute(void *data, CUpointer_attribute attribute, CUdeviceptr ptr) {
    struct wire_call call;
    uint64_t value = 0;
    size_t bytes = attribute_bytes(attribute);
    if (!data || !ptr)
        return CUDA_ERROR_INVALID_VALUE;
    if (!bytes)
        return CUDA_ERROR_NOT_SUPPORTED;
    CUresult result = wire_begin(&call, WIRE_FN_POINTER, WIRE_BLOCKING, 16);
    if (result != CUDA_SUCCESS)
        return result;
    wire_put(&call, attribute);
    wire_put(&call, ptr);
    result = wire_ask(&call);
    wire_take(&call, &value, sizeof(value));
    wire_end(&call);
    if (result == CUDA_SUCCESS)
        memcpy(data, &value, bytes);
    return result;
}

CUresult wire_utilization(unsigned *kernels, unsigned *memory) {
    struct wire_call call;
    uint64_t value = 0;
    CUresult result = wire_begin(&call, WIRE_FN_UTILIZATION, WIRE_BLOCKING, 0);
    if (result != CUDA_SUCCESS)
        return result;
    result = wire_ask(&call);
    wire_take(&call, &value, sizeof(value));
    wire_end(&call);
    *kernels = (unsigned)(value & 0xffffffff);
    *memory = (unsigned)(value >> 32);
    return result;
}

/* An address that is not ours has attributes too: zeros. */
CUresult forward_cuPointerGetAttributes(unsigned int numAttributes, CUpointer_attribute *attributes,
                                        void **data, CUdeviceptr ptr) {
    if (!attributes || !data)
        return CUDA_ERROR_INVALID_VALUE;
    for (unsigned int n = 0; n < numAttributes; n++) {
        CUresult result = forward_cuPointerGetAttribute(data[n], attributes[n], ptr);
        if (result == CUDA_ERROR_INVALID_VALUE && data[n])
            memset(data[n], 0, attribute_bytes(attributes[n]));
        else if (result != CUDA_SUCCESS)
            return result;
    }
    return CUDA_SUCCESS;
}

CUresult forward_cuGraphGetNodes(CUgraph hGraph, CUgraphNode *nodes, size_t *numNodes) {
    struct wire_call call;
    uint64_t count = 0, room = nodes && numNodes ? *numNodes : 0;
    if (!numNodes)
        return CUDA_ERROR_INVALID_VALUE;
    CUresult result = wire_begin(&call, WIRE_FN_NODES, WIRE_BLOCKING, 16);
    if (result != CUDA_SUCCESS)
        return result;
    wire_put(&call, (uint64_t)(uintptr_t)hGraph);
    wire_put(&call, room);
    result = wire_ask(&call);
    if (result == CUDA_SUCCESS) {
        wire_take(&call, &count, sizeof(count));
        wire_take(&call, nodes, (count < room ? count : room) * sizeof(*nodes));
        for (uint64_t n = count; nodes && n < room; n++)
            nodes[n] = NULL;
        *numNodes = nodes ? (count < room ? count : room) : count;
    }
    wire_end(&call);
    return result;
}
