// epoll with a function for every descriptor.
#pragma once

#include "files.hpp"

#include <cstdint>
#include <functional>
#include <memory>
#include <unordered_map>

namespace shimbench::collector {

class EventLoop {
  public:
    using Handler = std::function<void(uint32_t events)>;
    EventLoop();
    // False for what epoll does not take (regular files: they are always ready).
    bool add(int fd, uint32_t events, Handler handler);
    void modify(int fd, uint32_t events);
    // To be called before the descriptor is closed. Safe inside of its own handler.
    void remove(int fd);
    // Waits (milliseconds, -1 for ever) and calls the handlers of what is ready.
    void wait(int timeout);

  private:
    session::Descriptor epoll_;
    std::unordered_map<int, std::shared_ptr<Handler>> handlers_;
};

} // namespace shimbench::collector
