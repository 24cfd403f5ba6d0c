#include "soft/blas/blas.hpp"

#include <cstring>

#include "soft/blas/kernels.hpp"
#include "soft/blas/matrix.hpp"

namespace shimbench::soft {

bool is_blas_module(std::string_view code) {
    return code.starts_with(HOST_KERNELS_MARK);
}

void fail(::soft::FaultKind kind, const std::string &text) {
    ::soft::Fault fault;
    fault.kind = kind;
    fault.message = text;
    throw fault;
}

std::uint64_t extent(std::uint64_t rows, std::uint64_t columns, std::int64_t ld) {
    std::uint64_t before = 0, elements = 0;
    if (!rows || !columns)
        return 0;
    if (ld <= 0 || static_cast<std::uint64_t>(ld) < rows ||
        __builtin_mul_overflow(columns - 1, static_cast<std::uint64_t>(ld), &before) ||
        __builtin_add_overflow(before, rows, &elements))
        fail(::soft::FaultKind::trap, "a matrix whose sizes make no sense");
    return elements;
}

std::byte *touched(const BlasContext &context, std::uint64_t address, std::uint64_t count,
                   std::size_t element, const char *what) {
    std::uint64_t bytes = 0;
    if (!count)
        return nullptr;
    const bool too_many = __builtin_mul_overflow(count, std::uint64_t{element}, &bytes);
    std::byte *at = too_many ? nullptr : context.touch(address, bytes);
    char text[128];
    if (!at) {
        std::snprintf(text, sizeof(text), "%s at 0x%llx, %llu bytes, is not within one allocation", what,
                      static_cast<unsigned long long>(address), static_cast<unsigned long long>(bytes));
        fail(::soft::FaultKind::illegal_address, text);
    }
    if (address % element) {
        std::snprintf(text, sizeof(text), "%s at 0x%llx is not aligned to its elements' %zu bytes", what,
                      static_cast<unsigned long long>(address), element);
        fail(::soft::FaultKind::misaligned_address, text);
    }
    return at;
}

Addresses::Addresses(const BlasContext &context, bool is_array, std::uint64_t at, std::int64_t stride,
                     std::size_t element, std::uint64_t batch, const char *what)
    : at_(at), stride_(static_cast<std::uint64_t>(stride) * element) {
    if (is_array)
        array_ = touched(context, at, batch, sizeof(std::uint64_t), what);
}

// Read once and then checked: the client may write there meanwhile.
std::uint64_t Addresses::operator[](std::uint64_t index) const {
    std::uint64_t address = at_ + index * stride_;
    if (array_)
        std::memcpy(&address, array_ + index * sizeof(address), sizeof(address));
    return address;
}

void check_end(const BlasContext &context) {
    if (context.abandoned && context.abandoned())
        fail(::soft::FaultKind::trap, "the client is gone");
    if (std::chrono::steady_clock::now() > context.deadline)
        fail(::soft::FaultKind::timeout, "it takes longer than a launch may");
}

namespace {

template <class Call> Call parameters_as(std::span<const std::byte> parameters) {
    Call call;
    if (parameters.size() < sizeof(call))
        fail(::soft::FaultKind::trap, "its parameters are not whole");
    std::memcpy(&call, parameters.data(), sizeof(call));
    return call;
}

} // namespace

void run_blas(std::string_view kernel, std::span<const std::byte> parameters, const BlasContext &context) {
    using ::soft::bf16, ::soft::f16;
    if (kernel == "trsm_f32")
        return run_trsm(parameters_as<host_trsm>(parameters), context);
    const auto call = parameters_as<host_gemm>(parameters);
    if (kernel == "gemm_f32_f32_f32")
        return run_gemm<float, float, float>(call, context);
    if (kernel == "gemm_f16_f16_f16")
        return run_gemm<f16, f16, f16>(call, context);
    if (kernel == "gemm_f16_f16_f32")
        return run_gemm<f16, f16, float>(call, context);
    if (kernel == "gemm_f16_f32_f32")
        return run_gemm<f16, float, float>(call, context);
    if (kernel == "gemm_bf16_bf16_f32")
        return run_gemm<bf16, bf16, float>(call, context);
    if (kernel == "gemm_bf16_f32_f32")
        return run_gemm<bf16, float, float>(call, context);
    fail(::soft::FaultKind::not_supported, "the host has no such product");
}

} // namespace shimbench::soft
