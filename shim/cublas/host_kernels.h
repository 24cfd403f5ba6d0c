/* What libcublas and the host agree on. A product is a launch of a kernel out of a module of libcublas':
 * its PTX declares the kernels and their parameters and starts with HOST_KERNELS_MARK, by which the host
 * knows that it is to perform them itself. So a product has its place in a stream and in a captured graph
 * as any launch has. Without such a host the kernels trap.
 *
 * The host takes the parameters as hostile: copy, check, use. */
#ifndef SHIMBENCH_HOST_KERNELS_H
#define SHIMBENCH_HOST_KERNELS_H

#include <assert.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The number is that of this interface. */
#define HOST_KERNELS_MARK "// shimbench: performed by the host, 1\n"

enum host_kernel_flag {
    HOST_KERNEL_POINTER_ARRAYS = 1, /* a, b and c are addresses of arrays of `batch` addresses */
    HOST_KERNEL_DEVICE_SCALARS = 2, /* alpha and beta are addresses in device memory */
};

/* C = alpha op(A) op(B) + beta C, column by column: `gemm_INPUT_OUTPUT_SCALAR`, as gemm_f16_f32_f32. */
struct host_gemm {
    uint64_t a, b, c;
    int64_t stride_a, stride_b, stride_c; /* elements from one product of the batch to the next */
    int64_t lda, ldb, ldc;                /* elements from column to column */
    uint64_t m, n, k;                     /* op(A) is m x k, op(B) k x n */
    uint64_t batch;
    uint64_t alpha, beta; /* the scalar in the lowest bytes, or its address */
    uint32_t transpose_a, transpose_b;
    uint32_t flags;
    uint32_t reserved;
};

/* op(A) X = alpha B, or X op(A) = alpha B; X replaces B, which is m x n: `trsm_f32`. */
struct host_trsm {
    uint64_t a, b;
    int64_t lda, ldb;
    uint64_t m, n;
    uint64_t batch;
    uint64_t alpha;
    uint32_t right; /* A stands on the right */
    uint32_t upper; /* only that triangle of A is read */
    uint32_t transpose;
    uint32_t unit_diagonal; /* taken as ones, not read */
    uint32_t flags;         /* pointer arrays always */
    uint32_t reserved;
};

#define HOST_GEMM_BYTES 136
#define HOST_TRSM_BYTES 88

static_assert(sizeof(struct host_gemm) == HOST_GEMM_BYTES, "no holes");
static_assert(sizeof(struct host_trsm) == HOST_TRSM_BYTES, "no holes");

#ifdef __cplusplus
}
#endif
#endif
