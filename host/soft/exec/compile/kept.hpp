// Compiled code in files, by the hash of what it was made from. Several processes may use them at once.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace soft {

class KeptCode {
  public:
    explicit KeptCode(std::string_view everything_it_depends_on);
    /// The code; empty when there is none, or none that is whole.
    std::string read() const;
    /// Keeps it, whole or not at all. A disk that is full or cannot be written only means nothing is kept.
    /// When all files are longer than the limit together, those read longest ago go.
    void write(std::string_view code) const;

    /// Bytes of all files: SHIMBENCH_KERNEL_CACHE (MiB) in the environment, else 512 MiB.
    static std::uint64_t limit();

  private:
    void make_room() const;

    std::string folder_, path_; // empty: there is no cache directory
};

} // namespace soft
