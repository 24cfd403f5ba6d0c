// A process that does nothing until the collector dies: then it copies on what targets write into the
// tee's pipes, so that they never meet a broken pipe because of us.
#pragma once

#include "files.hpp"

#include <cstdint>

namespace shimbench::collector {

class Guardian {
  public:
    // Forks it. To be made before the collector has threads.
    Guardian();
    // When this goes away, pipes not forgotten are copied on.
    Guardian(const Guardian &) = delete;
    Guardian &operator=(const Guardian &) = delete;
    // Watch over a pipe's read end; `destination` -1: what comes is thrown away.
    void watch(uint32_t id, int reader, int destination);
    void forget(uint32_t id);
    // Ends it, and waits for that; to be called when it watches nothing.
    void dismiss();

  private:
    session::Descriptor socket_;
    int pid_ = -1;
};

// Sends one message with descriptors; false when the other end is gone or does not keep up.
bool send_with_descriptors(int socket, const void *data, size_t size, const int *fds, size_t count);

} // namespace shimbench::collector
