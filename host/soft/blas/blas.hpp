// Kernels that the host performs itself: the products that our libcublas launches (shim/cublas).
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string_view>

namespace shimbench::soft {

/// What a host kernel may use while it runs.
struct BlasContext {
    /// The device's bytes at an address, when all of them may be touched; else NULL.
    std::function<std::byte *(std::uint64_t address, std::uint64_t bytes)> touch;
    unsigned threads = 1;
    std::chrono::steady_clock::time_point deadline; // FaultKind::timeout after it
    std::function<bool()> abandoned;                // true: nobody waits for the result; may be empty
};

/// Whether a module's code is our libcublas', so that its kernels are performed here.
bool is_blas_module(std::string_view code);

/// Performs a kernel of such a module. Parameters are the client's: everything is checked before it is
/// used. Throws ::soft::Fault, and std::bad_alloc when there is no memory for its tiles.
void run_blas(std::string_view kernel, std::span<const std::byte> parameters, const BlasContext &context);

} // namespace shimbench::soft
