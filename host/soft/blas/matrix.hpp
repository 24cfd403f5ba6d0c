// Matrices in device memory: where their elements are, column by column, and what they are.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "cublas/host_kernels.h"
#include "soft/blas/blas.hpp"
#include "soft/exec/lane_math.hpp"
#include "soft/exec/warp.hpp"

namespace shimbench::soft {

/// A matrix as it is stored. `at` is checked, so that all its elements may be touched.
template <class Element> struct Matrix {
    Element *at = nullptr;
    std::uint64_t ld = 0; // elements from column to column
};

/// Elements of a matrix of `rows` and `columns` with that leading dimension, the last column's end being
/// the last. Throws ::soft::Fault when sizes make no sense.
std::uint64_t extent(std::uint64_t rows, std::uint64_t columns, std::int64_t ld);

/// The bytes at a device address, all of which may be touched. Throws ::soft::Fault; `what` names them.
std::byte *touched(const BlasContext &context, std::uint64_t address, std::uint64_t count,
                   std::size_t element, const char *what);

template <class Element>
Matrix<Element> matrix_at(const BlasContext &context, std::uint64_t address, std::uint64_t rows,
                          std::uint64_t columns, std::int64_t ld, const char *what) {
    std::byte *at = touched(context, address, extent(rows, columns, ld), sizeof(Element), what);
    return {reinterpret_cast<Element *>(at), static_cast<std::uint64_t>(ld)};
}

/// The addresses of a batch, one at a time: strides from a first one, or an array in device memory.
class Addresses {
  public:
    Addresses(const BlasContext &context, bool is_array, std::uint64_t at, std::int64_t stride,
              std::size_t element, std::uint64_t batch, const char *what);
    std::uint64_t operator[](std::uint64_t index) const;

  private:
    const std::byte *array_ = nullptr;
    std::uint64_t at_;
    std::uint64_t stride_; // bytes, modulo 2^64
};

/// A scalar that came along with the call, or that is read from device memory.
template <class Scalar>
float scalar_of(const BlasContext &context, std::uint32_t flags, std::uint64_t value, const char *what) {
    Scalar scalar;
    const void *from = &value;
    if (flags & HOST_KERNEL_DEVICE_SCALARS)
        from = touched(context, value, 1, sizeof(scalar), what);
    __builtin_memcpy(&scalar, from, sizeof(scalar));
    return ::soft::to_float(scalar);
}

[[noreturn]] void fail(::soft::FaultKind kind, const std::string &text);

/// Throws ::soft::Fault when the launch is to end.
void check_end(const BlasContext &context);

} // namespace shimbench::soft
