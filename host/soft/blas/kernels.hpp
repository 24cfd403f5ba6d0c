// The host's kernels, one by one.
#pragma once

#include "cublas/host_kernels.h"
#include "soft/blas/blas.hpp"

namespace shimbench::soft {

/// A and B of Input, C of Output, alpha and beta of Scalar. Sums are kept in 32 bits, whatever the types:
/// at least what each of cuBLAS' compute types asks for.
template <class Input, class Output, class Scalar>
void run_gemm(const host_gemm &call, const BlasContext &context);

void run_trsm(const host_trsm &call, const BlasContext &context);

} // namespace shimbench::soft
