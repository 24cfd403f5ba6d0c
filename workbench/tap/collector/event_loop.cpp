#include "event_loop.hpp"

#include <array>
#include <sys/epoll.h>

namespace shimbench::collector {

EventLoop::EventLoop() : epoll_(epoll_create1(EPOLL_CLOEXEC)) {
    if (!epoll_)
        session::throw_errno("epoll_create1");
}

bool EventLoop::add(int fd, uint32_t events, Handler handler) {
    epoll_event event{};
    event.events = events;
    event.data.fd = fd;
    if (epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) != 0)
        return false;
    handlers_[fd] = std::make_shared<Handler>(std::move(handler));
    return true;
}

void EventLoop::modify(int fd, uint32_t events) {
    epoll_event event{};
    event.events = events;
    event.data.fd = fd;
    epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, fd, &event);
}

void EventLoop::remove(int fd) {
    if (handlers_.erase(fd))
        epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, fd, nullptr);
}

void EventLoop::wait(int timeout) {
    std::array<epoll_event, 64> events;
    int count = epoll_wait(epoll_.get(), events.data(), static_cast<int>(events.size()), timeout);
    for (int i = 0; i < count; i++) {
        auto found = handlers_.find(events[static_cast<size_t>(i)].data.fd);
        if (found == handlers_.end())
            continue; // removed by a handler before it
        std::shared_ptr<Handler> handler = found->second;
        (*handler)(events[static_cast<size_t>(i)].events);
    }
}

} // namespace shimbench::collector
