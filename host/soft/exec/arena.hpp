// Memory for registers, shared and local memory of the warps that a thread runs.
#pragma once

#include <cstddef>
#include <cstdint>

namespace soft {

/// Memory of one host thread, kept from launch to launch; a page without access on both sides catches
/// what generic addresses miss it by.
class Arena {
  public:
    Arena() = default;
    Arena(const Arena &) = delete;
    ~Arena() { release(); }
    /// At least that many bytes, their end close before a page without access.
    std::uint8_t *reserve(std::size_t bytes);
    std::size_t size() const { return size_; }

  private:
    void release();
    std::uint8_t *memory_ = nullptr;
    std::size_t size_ = 0;
};

} // namespace soft
