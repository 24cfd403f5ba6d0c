#include "guardian.hpp"

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <fcntl.h>
#include <map>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>
#include <vector>

namespace shimbench::collector {

namespace {

using session::Descriptor;

enum class Order : uint32_t { Watch, Forget };
struct Message {
    Order order;
    uint32_t id;
};

struct Watched {
    Descriptor reader, destination;
};

bool write_all(int fd, const char *data, size_t size) {
    while (size > 0) {
        ssize_t wrote = write(fd, data, size);
        if (wrote < 0 && errno == EAGAIN) {
            pollfd writable{fd, POLLOUT, 0};
            poll(&writable, 1, -1);
        } else if (wrote < 0 && errno != EINTR) {
            return false;
        } else if (wrote > 0) {
            data += wrote;
            size -= static_cast<size_t>(wrote);
        }
    }
    return true;
}

// Until the pipe's writers, or the readers of its destination, are gone.
void copy_on(Watched pipe) {
    std::vector<char> buffer(65536);
    fcntl(pipe.reader.get(), F_SETFL, fcntl(pipe.reader.get(), F_GETFL) & ~O_NONBLOCK);
    for (;;) {
        ssize_t count = read(pipe.reader.get(), buffer.data(), buffer.size());
        if (count < 0 && errno == EINTR)
            continue;
        if (count <= 0)
            return;
        if (pipe.destination && !write_all(pipe.destination.get(), buffer.data(), static_cast<size_t>(count)))
            return;
    }
}

void receive(int socket, std::map<uint32_t, Watched> &pipes, bool &open) {
    Message message;
    iovec part{&message, sizeof message};
    alignas(cmsghdr) char control[CMSG_SPACE(2 * sizeof(int))];
    msghdr header{};
    header.msg_iov = &part;
    header.msg_iovlen = 1;
    header.msg_control = control;
    header.msg_controllen = sizeof control;
    ssize_t count = recvmsg(socket, &header, MSG_CMSG_CLOEXEC);
    if (count < 0 && errno == EINTR)
        return;
    open = count == static_cast<ssize_t>(sizeof message);
    if (!open)
        return;
    if (message.order == Order::Forget) {
        pipes.erase(message.id);
        return;
    }
    cmsghdr *head = CMSG_FIRSTHDR(&header);
    if (!head || head->cmsg_type != SCM_RIGHTS)
        return;
    int fds[2] = {-1, -1};
    std::memcpy(fds, CMSG_DATA(head), std::min<size_t>(head->cmsg_len - CMSG_LEN(0), sizeof fds));
    pipes[message.id] = Watched{Descriptor(fds[0]), Descriptor(fds[1])};
}

[[noreturn]] void guard(int socket) {
    prctl(PR_SET_NAME, "shimbench-guard");
    setsid();
    for (int number : {SIGINT, SIGTERM, SIGHUP, SIGPIPE})
        signal(number, SIG_IGN);
    std::map<uint32_t, Watched> pipes;
    for (bool open = true; open;)
        receive(socket, pipes, open);
    std::vector<std::thread> copies;
    for (auto &[id, pipe] : pipes)
        copies.emplace_back(copy_on, std::move(pipe));
    for (std::thread &copy : copies)
        copy.join();
    _exit(0);
}

} // namespace

bool send_with_descriptors(int socket, const void *data, size_t size, const int *fds, size_t count) {
    iovec part{const_cast<void *>(data), size};
    alignas(cmsghdr) char control[CMSG_SPACE(4 * sizeof(int))] = {};
    msghdr header{};
    header.msg_iov = &part;
    header.msg_iovlen = 1;
    if (count > 0) {
        header.msg_control = control;
        header.msg_controllen = CMSG_SPACE(count * sizeof(int));
        cmsghdr *head = CMSG_FIRSTHDR(&header);
        head->cmsg_level = SOL_SOCKET;
        head->cmsg_type = SCM_RIGHTS;
        head->cmsg_len = CMSG_LEN(count * sizeof(int));
        std::memcpy(CMSG_DATA(head), fds, count * sizeof(int));
    }
    return sendmsg(socket, &header, MSG_NOSIGNAL) == static_cast<ssize_t>(size);
}

Guardian::Guardian() {
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0)
        session::throw_errno("socketpair");
    pid_ = fork();
    if (pid_ < 0)
        session::throw_errno("fork");
    if (pid_ == 0) {
        // Whoever waits for the collector's output to end must not wait for the guardian.
        int null = open("/dev/null", O_RDWR);
        dup2(null, 0);
        dup2(null, 1);
        dup2(null, 2);
        // Nor may it hold anything else that the collector had open: only its end of the socket.
        dup2(ends[1], 3);
        close_range(4, ~0u, 0);
        guard(3);
    }
    close(ends[1]);
    socket_ = Descriptor(ends[0]);
}

void Guardian::dismiss() {
    socket_.reset();
    waitpid(pid_, nullptr, 0);
}

void Guardian::watch(uint32_t id, int reader, int destination) {
    Message message{Order::Watch, id};
    int fds[2] = {reader, destination};
    send_with_descriptors(socket_.get(), &message, sizeof message, fds, destination >= 0 ? 2 : 1);
}

void Guardian::forget(uint32_t id) {
    Message message{Order::Forget, id};
    send_with_descriptors(socket_.get(), &message, sizeof message, nullptr, 0);
}

} // namespace shimbench::collector
