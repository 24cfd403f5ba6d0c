/* Handles: what a program sets for the products that follow. */
#include <stdlib.h>

#include "cublas/cublas.h"

EXPORT enum cublas_status cublasCreate_v2(struct cublas **handle) {
    if (!handle)
        return CUBLAS_STATUS_INVALID_VALUE;
    *handle = calloc(1, sizeof **handle);
    return *handle ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_ALLOC_FAILED;
}

EXPORT enum cublas_status cublasDestroy_v2(struct cublas *handle) {
    if (!handle)
        return CUBLAS_STATUS_NOT_INITIALIZED;
    free(handle);
    return CUBLAS_STATUS_SUCCESS;
}

EXPORT enum cublas_status cublasGetVersion_v2(struct cublas *handle, int *version) {
    (void)handle; /* NULL is allowed */
    if (!version)
        return CUBLAS_STATUS_INVALID_VALUE;
    *version = CUBLAS_MAJOR * 10000;
    return CUBLAS_STATUS_SUCCESS;
}

EXPORT enum cublas_status cublasSetStream_v2(struct cublas *handle, void *stream) {
    if (!handle)
        return CUBLAS_STATUS_NOT_INITIALIZED;
    handle->stream = stream;
    return CUBLAS_STATUS_SUCCESS;
}

EXPORT enum cublas_status cublasGetStream_v2(struct cublas *handle, void **stream) {
    if (!handle || !stream)
        return handle ? CUBLAS_STATUS_INVALID_VALUE : CUBLAS_STATUS_NOT_INITIALIZED;
    *stream = handle->stream;
    return CUBLAS_STATUS_SUCCESS;
}

EXPORT enum cublas_status cublasSetWorkspace_v2(struct cublas *handle, void *workspace, size_t bytes) {
    if (!handle)
        return CUBLAS_STATUS_NOT_INITIALIZED;
    handle->workspace = workspace;
    handle->workspace_bytes = bytes;
    return CUBLAS_STATUS_SUCCESS;
}

/* Modes allow less precision; the host never uses less than it has. */
EXPORT enum cublas_status cublasSetMathMode(struct cublas *handle, int mode) {
    if (!handle)
        return CUBLAS_STATUS_NOT_INITIALIZED;
    handle->math_mode = mode;
    return CUBLAS_STATUS_SUCCESS;
}

EXPORT enum cublas_status cublasGetMathMode(struct cublas *handle, int *mode) {
    if (!handle || !mode)
        return handle ? CUBLAS_STATUS_INVALID_VALUE : CUBLAS_STATUS_NOT_INITIALIZED;
    *mode = handle->math_mode;
    return CUBLAS_STATUS_SUCCESS;
}

EXPORT enum cublas_status cublasSetPointerMode_v2(struct cublas *handle, int mode) {
    if (!handle)
        return CUBLAS_STATUS_NOT_INITIALIZED;
    if (mode != CUBLAS_POINTER_MODE_HOST && mode != CUBLAS_POINTER_MODE_DEVICE)
        return CUBLAS_STATUS_INVALID_VALUE;
    handle->pointer_mode = mode;
    return CUBLAS_STATUS_SUCCESS;
}

EXPORT enum cublas_status cublasGetPointerMode_v2(struct cublas *handle, int *mode) {
    if (!handle || !mode)
        return handle ? CUBLAS_STATUS_INVALID_VALUE : CUBLAS_STATUS_NOT_INITIALIZED;
    *mode = handle->pointer_mode;
    return CUBLAS_STATUS_SUCCESS;
}

EXPORT const char *cublasGetStatusString(enum cublas_status status) {
    switch (status) {
    case CUBLAS_STATUS_SUCCESS:
        return "the operation was successful";
    case CUBLAS_STATUS_NOT_INITIALIZED:
        return "the library was not initialized";
    case CUBLAS_STATUS_ALLOC_FAILED:
        return "memory could not be allocated";
    case CUBLAS_STATUS_INVALID_VALUE:
        return "an argument has an invalid value";
    case CUBLAS_STATUS_ARCH_MISMATCH:
        return "the device lacks a feature";
    case CUBLAS_STATUS_MAPPING_ERROR:
        return "memory could not be accessed";
    case CUBLAS_STATUS_EXECUTION_FAILED:
        return "the device failed to execute the operation";
    case CUBLAS_STATUS_INTERNAL_ERROR:
        return "an internal operation failed";
    case CUBLAS_STATUS_NOT_SUPPORTED:
        return "the operation is not supported (by shimbench's cuBLAS or the host behind it)";
    case CUBLAS_STATUS_LICENSE_ERROR:
        return "the license could not be checked";
    }
    return "unknown status";
}
