/* Products and triangular solves: arguments are checked as cuBLAS documents it and handed to the host. */
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "cublas/cublas.h"
#include "cublas/host_kernels.h"

/* One matrix of a product: its address, or that of an array of addresses. */
struct matrix {
    const void *at;
    int type;
    int ld;
    long long stride;
};

struct product {
    int transpose_a, transpose_b;
    int m, n, k, batch;
    const void *alpha, *beta;
    struct matrix a, b, c;
    int compute;
    bool pointer_arrays;
};

static const char *type_name(int type, char *other, size_t bytes) {
    switch (type) {
    case CUDA_R_32F:
        return "f32";
    case CUDA_R_64F:
        return "f64";
    case CUDA_R_16F:
        return "f16";
    case CUDA_R_16BF:
        return "bf16";
    case CUDA_R_8I:
        return "s8";
    case CUDA_R_32I:
        return "s32";
    default:
        snprintf(other, bytes, "type%d", type);
        return other;
    }
}

/* The type of alpha and beta. What a compute type allows to lose, as TF32 does, isn't lost. */
static int scalar_type(int compute) {
    switch (compute) {
    case CUBLAS_COMPUTE_16F:
    case CUBLAS_COMPUTE_16F_PEDANTIC:
        return CUDA_R_16F;
    case CUBLAS_COMPUTE_32F:
    case CUBLAS_COMPUTE_32F_PEDANTIC:
    case CUBLAS_COMPUTE_32F_FAST_16F:
    case CUBLAS_COMPUTE_32F_FAST_16BF:
    case CUBLAS_COMPUTE_32F_FAST_TF32:
        return CUDA_R_32F;
    case CUBLAS_COMPUTE_32I:
    case CUBLAS_COMPUTE_32I_PEDANTIC:
        return CUDA_R_32I;
    case CUBLAS_COMPUTE_64F:
    case CUBLAS_COMPUTE_64F_PEDANTIC:
        return CUDA_R_64F;
    default:
        return compute + 1000; /* some type that no kernel has */
    }
}

/* The kernel's name says which product it is; whether there is such a kernel is the host's to say. */
static void name_of(const struct product *p, char *name, size_t bytes) {
    char a[16], b[16], c[16], scalar[16];
    const char *left = type_name(p->a.type, a, sizeof(a)), *right = type_name(p->b.type, b, sizeof(b));
    bool mixed = p->a.type != p->b.type;
    snprintf(name, bytes, "gemm_%s%s%s_%s_%s", left, mixed ? "x" : "", mixed ? right : "",
             type_name(p->c.type, c, sizeof(c)), type_name(scalar_type(p->compute), scalar, sizeof(scalar)));
}

static bool is_operation(int operation) {
    return operation >= CUBLAS_OP_N && operation <= CUBLAS_OP_C;
}

static int at_least_one(int count) {
    return count > 1 ? count : 1;
}

static uint64_t address(const void *pointer) {
    return (uint64_t)(uintptr_t)pointer;
}

/* A scalar's bits, or where they are when it is the device that has it. */
static uint64_t scalar(const struct cublas *handle, const void *value, size_t bytes) {
    uint64_t bits = 0;
    if (handle->pointer_mode == CUBLAS_POINTER_MODE_DEVICE)
        return address(value);
    memcpy(&bits, value, bytes);
    return bits;
}

static uint32_t flags_of(const struct cublas *handle, bool pointer_arrays) {
    return (pointer_arrays ? HOST_KERNEL_POINTER_ARRAYS : 0) |
           (handle->pointer_mode == CUBLAS_POINTER_MODE_DEVICE ? HOST_KERNEL_DEVICE_SCALARS : 0);
}

static enum cublas_status multiply(const struct cublas *handle, const struct product *p) {
    char name[80];
    if (!handle)
        return CUBLAS_STATUS_NOT_INITIALIZED;
    if (!is_operation(p->transpose_a) || !is_operation(p->transpose_b) || p->m < 0 || p->n < 0 || p->k < 0 ||
        p->batch < 0 || p->a.ld < at_least_one(p->transpose_a ? p->k : p->m) ||
        p->b.ld < at_least_one(p->transpose_b ? p->n : p->k) || p->c.ld < at_least_one(p->m) || !p->alpha ||
        !p->beta)
        return CUBLAS_STATUS_INVALID_VALUE;
    name_of(p, name, sizeof(name));
    if (!p->m || !p->n || !p->batch)
        return CUBLAS_STATUS_SUCCESS;
    size_t scalar_bytes = scalar_type(p->compute) == CUDA_R_16F ? 2 : 4; /* of the types that are performed */
    struct host_gemm call = {
        .a = address(p->a.at),
        .b = address(p->b.at),
        .c = address(p->c.at),
        .stride_a = p->a.stride,
        .stride_b = p->b.stride,
        .stride_c = p->c.stride,
        .lda = p->a.ld,
        .ldb = p->b.ld,
        .ldc = p->c.ld,
        .m = (uint64_t)p->m,
        .n = (uint64_t)p->n,
        .k = (uint64_t)p->k,
        .batch = (uint64_t)p->batch,
        .alpha = scalar(handle, p->alpha, scalar_bytes),
        .beta = scalar(handle, p->beta, scalar_bytes),
        .transpose_a = p->transpose_a != CUBLAS_OP_N,
        .transpose_b = p->transpose_b != CUBLAS_OP_N,
        .flags = flags_of(handle, p->pointer_arrays),
    };
    return launch_host_kernel(handle, name, &call);
}

/* The names, as programs call them. */

EXPORT enum cublas_status cublasSgemm_v2(struct cublas *handle, int transa, int transb, int m, int n, int k,
                                         const float *alpha, const float *A, int lda, const float *B, int ldb,
                                         const float *beta, float *C, int ldc) {
    return multiply(handle, &(struct product){.transpose_a = transa,
                                              .transpose_b = transb,
                                              .m = m,
                                              .n = n,
                                              .k = k,
                                              .batch = 1,
                                              .alpha = alpha,
                                              .beta = beta,
                                              .a = {A, CUDA_R_32F, lda, 0},
                                              .b = {B, CUDA_R_32F, ldb, 0},
                                              .c = {C, CUDA_R_32F, ldc, 0},
                                              .compute = CUBLAS_COMPUTE_32F});
}

EXPORT enum cublas_status cublasSgemmBatched(struct cublas *handle, int transa, int transb, int m, int n,
                                             int k, const float *alpha, const float *const Aarray[], int lda,
                                             const float *const Barray[], int ldb, const float *beta,
                                             float *const Carray[], int ldc, int batchCount) {
    return multiply(handle, &(struct product){.transpose_a = transa,
                                              .transpose_b = transb,
                                              .m = m,
                                              .n = n,
                                              .k = k,
                                              .batch = batchCount,
                                              .alpha = alpha,
                                              .beta = beta,
                                              .a = {Aarray, CUDA_R_32F, lda, 0},
                                              .b = {Barray, CUDA_R_32F, ldb, 0},
                                              .c = {Carray, CUDA_R_32F, ldc, 0},
                                              .compute = CUBLAS_COMPUTE_32F,
                                              .pointer_arrays = true});
}

EXPORT enum cublas_status cublasSgemmStridedBatched(struct cublas *handle, int transa, int transb, int m,
                                                    int n, int k, const float *alpha, const float *A, int lda,
                                                    long long strideA, const float *B, int ldb,
                                                    long long strideB, const float *beta, float *C, int ldc,
                                                    long long strideC, int batchCount) {
    return multiply(handle, &(struct product){.transpose_a = transa,
                                              .transpose_b = transb,
                                              .m = m,
                                              .n = n,
                                              .k = k,
                                              .batch = batchCount,
                                              .alpha = alpha,
                                              .beta = beta,
                                              .a = {A, CUDA_R_32F, lda, strideA},
                                              .b = {B, CUDA_R_32F, ldb, strideB},
                                              .c = {C, CUDA_R_32F, ldc, strideC},
                                              .compute = CUBLAS_COMPUTE_32F});
}

EXPORT enum cublas_status cublasGemmEx(struct cublas *handle, int transa, int transb, int m, int n, int k,
                                       const void *alpha, const void *A, int Atype, int lda, const void *B,
                                       int Btype, int ldb, const void *beta, void *C, int Ctype, int ldc,
                                       int computeType, int algo) {
    (void)algo; /* a hint */
    return multiply(handle, &(struct product){.transpose_a = transa,
                                              .transpose_b = transb,
                                              .m = m,
                                              .n = n,
                                              .k = k,
                                              .batch = 1,
                                              .alpha = alpha,
                                              .beta = beta,
                                              .a = {A, Atype, lda, 0},
                                              .b = {B, Btype, ldb, 0},
                                              .c = {C, Ctype, ldc, 0},
                                              .compute = computeType});
}

EXPORT enum cublas_status cublasGemmBatchedEx(struct cublas *handle, int transa, int transb, int m, int n,
                                              int k, const void *alpha, const void *const Aarray[], int Atype,
                                              int lda, const void *const Barray[], int Btype, int ldb,
                                              const void *beta, void *const Carray[], int Ctype, int ldc,
                                              int batchCount, int computeType, int algo) {
    (void)algo;
    return multiply(handle, &(struct product){.transpose_a = transa,
                                              .transpose_b = transb,
                                              .m = m,
                                              .n = n,
                                              .k = k,
                                              .batch = batchCount,
                                              .alpha = alpha,
                                              .beta = beta,
                                              .a = {Aarray, Atype, lda, 0},
                                              .b = {Barray, Btype, ldb, 0},
                                              .c = {Carray, Ctype, ldc, 0},
                                              .compute = computeType,
                                              .pointer_arrays = true});
}

EXPORT enum cublas_status cublasGemmStridedBatchedEx(struct cublas *handle, int transa, int transb, int m,
                                                     int n, int k, const void *alpha, const void *A,
                                                     int Atype, int lda, long long strideA, const void *B,
                                                     int Btype, int ldb, long long strideB, const void *beta,
                                                     void *C, int Ctype, int ldc, long long strideC,
                                                     int batchCount, int computeType, int algo) {
    (void)algo;
    return multiply(handle, &(struct product){.transpose_a = transa,
                                              .transpose_b = transb,
                                              .m = m,
                                              .n = n,
                                              .k = k,
                                              .batch = batchCount,
                                              .alpha = alpha,
                                              .beta = beta,
                                              .a = {A, Atype, lda, strideA},
                                              .b = {B, Btype, ldb, strideB},
                                              .c = {C, Ctype, ldc, strideC},
                                              .compute = computeType});
}

EXPORT enum cublas_status cublasStrsmBatched(struct cublas *handle, int side, int uplo, int trans, int diag,
                                             int m, int n, const float *alpha, const float *const A[],
                                             int lda, float *const B[], int ldb, int batchCount) {
    if (!handle)
        return CUBLAS_STATUS_NOT_INITIALIZED;
    bool right = side == CUBLAS_SIDE_RIGHT;
    if ((side != CUBLAS_SIDE_LEFT && !right) ||
        (uplo != CUBLAS_FILL_MODE_LOWER && uplo != CUBLAS_FILL_MODE_UPPER) || !is_operation(trans) ||
        (diag != CUBLAS_DIAG_NON_UNIT && diag != CUBLAS_DIAG_UNIT) || m < 0 || n < 0 || batchCount < 0 ||
        lda < at_least_one(right ? n : m) || ldb < at_least_one(m) || !alpha)
        return CUBLAS_STATUS_INVALID_VALUE;
    if (!m || !n || !batchCount)
        return CUBLAS_STATUS_SUCCESS;
    struct host_trsm call = {
        .a = address(A),
        .b = address(B),
        .lda = lda,
        .ldb = ldb,
        .m = (uint64_t)m,
        .n = (uint64_t)n,
        .batch = (uint64_t)batchCount,
        .alpha = scalar(handle, alpha, sizeof(*alpha)),
        .right = right,
        .upper = uplo == CUBLAS_FILL_MODE_UPPER,
        .transpose = trans != CUBLAS_OP_N,
        .unit_diagonal = diag == CUBLAS_DIAG_UNIT,
        .flags = flags_of(handle, true),
    };
    return launch_host_kernel(handle, "trsm_f32", &call);
}
