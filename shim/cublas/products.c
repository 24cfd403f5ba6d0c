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

struct shape {
    int transpose_a, transpose_b;
    int m, n, k, batch;
};

/* What A, B and C of a call are the addresses of. */
enum batch_form { MATRICES, POINTER_ARRAYS };

/* C = alpha * A * B + beta * C, in the order in which cuBLAS' functions take it. */
struct product {
    struct shape shape;
    int compute;
    const void *alpha;
    struct matrix a, b;
    const void *beta;
    struct matrix c;
    enum batch_form form;
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

static uint32_t flags_of(const struct cublas *handle, enum batch_form form) {
    return (form == POINTER_ARRAYS ? HOST_KERNEL_POINTER_ARRAYS : 0) |
           (handle->pointer_mode == CUBLAS_POINTER_MODE_DEVICE ? HOST_KERNEL_DEVICE_SCALARS : 0);
}

static enum cublas_status multiply(const struct cublas *handle, const struct product *p) {
    const struct shape *s = &p->shape;
    char name[80];
    if (!handle)
        return CUBLAS_STATUS_NOT_INITIALIZED;
    if (!is_operation(s->transpose_a) || !is_operation(s->transpose_b) || s->m < 0 || s->n < 0 || s->k < 0 ||
        s->batch < 0 || p->a.ld < at_least_one(s->transpose_a ? s->k : s->m) ||
        p->b.ld < at_least_one(s->transpose_b ? s->n : s->k) || p->c.ld < at_least_one(s->m) || !p->alpha ||
        !p->beta)
        return CUBLAS_STATUS_INVALID_VALUE;
    name_of(p, name, sizeof(name));
    if (!s->m || !s->n || !s->batch)
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
        .m = (uint64_t)s->m,
        .n = (uint64_t)s->n,
        .k = (uint64_t)s->k,
        .batch = (uint64_t)s->batch,
        .alpha = scalar(handle, p->alpha, scalar_bytes),
        .beta = scalar(handle, p->beta, scalar_bytes),
        .transpose_a = s->transpose_a != CUBLAS_OP_N,
        .transpose_b = s->transpose_b != CUBLAS_OP_N,
        .flags = flags_of(handle, p->form),
    };
    return launch_host_kernel(handle, name, &call);
}

/* The names, as programs call them. */

EXPORT enum cublas_status cublasSgemm_v2(struct cublas *handle, int transa, int transb, int m, int n, int k,
                                         const float *alpha, const float *A, int lda, const float *B, int ldb,
                                         const float *beta, float *C, int ldc) {
    return multiply(handle, &(struct product){{transa, transb, m, n, k, 1},
                                              CUBLAS_COMPUTE_32F,
                                              alpha,
                                              {A, CUDA_R_32F, lda, 0},
                                              {B, CUDA_R_32F, ldb, 0},
                                              beta,
                                              {C, CUDA_R_32F, ldc, 0},
                                              MATRICES});
}

EXPORT enum cublas_status cublasSgemmBatched(struct cublas *handle, int transa, int transb, int m, int n,
                                             int k, const float *alpha, const float *const Aarray[], int lda,
                                             const float *const Barray[], int ldb, const float *beta,
                                             float *const Carray[], int ldc, int batchCount) {
    return multiply(handle, &(struct product){{transa, transb, m, n, k, batchCount},
                                              CUBLAS_COMPUTE_32F,
                                              alpha,
                                              {Aarray, CUDA_R_32F, lda, 0},
                                              {Barray, CUDA_R_32F, ldb, 0},
                                              beta,
                                              {Carray, CUDA_R_32F, ldc, 0},
                                              POINTER_ARRAYS});
}

EXPORT enum cublas_status cublasSgemmStridedBatched(struct cublas *handle, int transa, int transb, int m,
                                                    int n, int k, const float *alpha, const float *A, int lda,
                                                    long long strideA, const float *B, int ldb,
                                                    long long strideB, const float *beta, float *C, int ldc,
                                                    long long strideC, int batchCount) {
    return multiply(handle, &(struct product){{transa, transb, m, n, k, batchCount},
                                              CUBLAS_COMPUTE_32F,
                                              alpha,
                                              {A, CUDA_R_32F, lda, strideA},
                                              {B, CUDA_R_32F, ldb, strideB},
                                              beta,
                                              {C, CUDA_R_32F, ldc, strideC},
                                              MATRICES});
}

EXPORT enum cublas_status cublasGemmEx(struct cublas *handle, int transa, int transb, int m, int n, int k,
                                       const void *alpha, const void *A, int Atype, int lda, const void *B,
                                       int Btype, int ldb, const void *beta, void *C, int Ctype, int ldc,
                                       int computeType, int algo) {
    (void)algo; /* a hint */
    return multiply(handle, &(struct product){{transa, transb, m, n, k, 1},
                                              computeType,
                                              alpha,
                                              {A, Atype, lda, 0},
                                              {B, Btype, ldb, 0},
                                              beta,
                                              {C, Ctype, ldc, 0},
                                              MATRICES});
}

EXPORT enum cublas_status cublasGemmBatchedEx(struct cublas *handle, int transa, int transb, int m, int n,
                                              int k, const void *alpha, const void *const Aarray[], int Atype,
                                              int lda, const void *const Barray[], int Btype, int ldb,
                                              const void *beta, void *const Carray[], int Ctype, int ldc,
                                              int batchCount, int computeType, int algo) {
    (void)algo;
    return multiply(handle, &(struct product){{transa, transb, m, n, k, batchCount},
                                              computeType,
                                              alpha,
                                              {Aarray, Atype, lda, 0},
                                              {Barray, Btype, ldb, 0},
                                              beta,
                                              {Carray, Ctype, ldc, 0},
                                              POINTER_ARRAYS});
}

EXPORT enum cublas_status cublasGemmStridedBatchedEx(struct cublas *handle, int transa, int transb, int m,
                                                     int n, int k, const void *alpha, const void *A,
                                                     int Atype, int lda, long long strideA, const void *B,
                                                     int Btype, int ldb, long long strideB, const void *beta,
                                                     void *C, int Ctype, int ldc, long long strideC,
                                                     int batchCount, int computeType, int algo) {
    (void)algo;
    return multiply(handle, &(struct product){{transa, transb, m, n, k, batchCount},
                                              computeType,
                                              alpha,
                                              {A, Atype, lda, strideA},
                                              {B, Btype, ldb, strideB},
                                              beta,
                                              {C, Ctype, ldc, strideC},
                                              MATRICES});
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
        .flags = flags_of(handle, POINTER_ARRAYS),
    };
    return launch_host_kernel(handle, "trsm_f32", &call);
}
