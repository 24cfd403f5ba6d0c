// Compiled code in files, by the hash of what it was made from.
#pragma once

#include <string>
#include <string_view>

namespace soft {

class KeptCode {
  public:
    explicit KeptCode(std::string_view everything_it_depends_on);
    /// The code; empty when there is none, or none that is whole.
    std::string read() const;
    /// Keeps it, whole or not at all. A disk that is full or cannot be written only means nothing is kept.
    void write(std::string_view code) const;

  private:
    std::string folder_, path_; // empty: there is no cache directory
};

} // namespace soft
