// What kernels have printed and the client has not fetched yet. A worker serves one client, so there is one.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <mutex>
#include <string>
#include <string_view>

namespace shimbench {

class Printed {
  public:
    static constexpr std::size_t default_limit = 1 << 20, most = 64 << 20, least = 4096;

    // Where the client looks whether there is anything, and how much it wants kept (0: the default).
    void tell(std::uint32_t *there_is, const std::uint32_t *wanted);
    // From any thread. Of more than the limit the oldest is dropped, as a driver's ring does.
    void add(std::string_view text);
    // At most so many bytes, the oldest first.
    std::string take(std::size_t room);

  private:
    std::mutex lock_;
    std::deque<std::string> pieces_; // of one printf each
    std::size_t bytes_ = 0;
    std::uint32_t *there_is_ = nullptr;
    const std::uint32_t *wanted_ = nullptr;
};

Printed &printed();

} // namespace shimbench
