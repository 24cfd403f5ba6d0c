/* libcublas, as far as llama.cpp links to it, so that its CUDA backend loads without NVIDIA's 500 MB.
 * Handles are kept; nothing is computed yet: every product returns CUBLAS_STATUS_NOT_SUPPORTED. */
#include <stddef.h>
#include <stdlib.h>

#define EXPORT __attribute__((visibility("default")))

enum cublas_status {
    CUBLAS_STATUS_SUCCESS = 0,
    CUBLAS_STATUS_NOT_INITIALIZED = 1,
    CUBLAS_STATUS_ALLOC_FAILED = 3,
    CUBLAS_STATUS_INVALID_VALUE = 7,
    CUBLAS_STATUS_ARCH_MISMATCH = 8,
    CUBLAS_STATUS_MAPPING_ERROR = 11,
    CUBLAS_STATUS_EXECUTION_FAILED = 13,
    CUBLAS_STATUS_INTERNAL_ERROR = 14,
    CUBLAS_STATUS_NOT_SUPPORTED = 15,
    CUBLAS_STATUS_LICENSE_ERROR = 16,
};

/* What a cublasHandle_t points to. */
struct cublas {
    void *stream;
    void *workspace;
    size_t workspace_bytes;
    int math_mode;
};

EXPORT enum cublas_status cublasCreate_v2(struct cublas **handle);
EXPORT enum cublas_status cublasDestroy_v2(struct cublas *handle);
EXPORT enum cublas_status cublasSetStream_v2(struct cublas *handle, void *stream);
EXPORT enum cublas_status cublasSetWorkspace_v2(struct cublas *handle, void *workspace, size_t bytes);
EXPORT enum cublas_status cublasSetMathMode(struct cublas *handle, int mode);
EXPORT const char *cublasGetStatusString(enum cublas_status status);

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

EXPORT enum cublas_status cublasSetStream_v2(struct cublas *handle, void *stream) {
    if (!handle)
        return CUBLAS_STATUS_NOT_INITIALIZED;
    handle->stream = stream;
    return CUBLAS_STATUS_SUCCESS;
}

EXPORT enum cublas_status cublasSetWorkspace_v2(struct cublas *handle, void *workspace, size_t bytes) {
    if (!handle)
        return CUBLAS_STATUS_NOT_INITIALIZED;
    handle->workspace = workspace;
    handle->workspace_bytes = bytes;
    return CUBLAS_STATUS_SUCCESS;
}

EXPORT enum cublas_status cublasSetMathMode(struct cublas *handle, int mode) {
    if (!handle)
        return CUBLAS_STATUS_NOT_INITIALIZED;
    handle->math_mode = mode;
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
        return "the operation is not supported (shimbench's cuBLAS computes nothing yet)";
    case CUBLAS_STATUS_LICENSE_ERROR:
        return "the license could not be checked";
    }
    return "unknown status";
}

/* Products. Their arguments are not looked at, so they are not declared. */
static enum cublas_status not_supported(void) {
    return CUBLAS_STATUS_NOT_SUPPORTED;
}

#define NOT_SUPPORTED(name) EXPORT enum cublas_status name(void) __attribute__((alias("not_supported")))

NOT_SUPPORTED(cublasGemmBatchedEx);
NOT_SUPPORTED(cublasGemmEx);
NOT_SUPPORTED(cublasGemmStridedBatchedEx);
NOT_SUPPORTED(cublasSgemmBatched);
NOT_SUPPORTED(cublasSgemmStridedBatched);
NOT_SUPPORTED(cublasSgemm_v2);
NOT_SUPPORTED(cublasStrsmBatched);
