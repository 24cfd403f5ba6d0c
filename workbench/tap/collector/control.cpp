#include "control.hpp"

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdio>
#include <cstring>
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

namespace shimbench::collector {

using session::Descriptor;
using session::throw_errno;

namespace {

constexpr size_t kLongestMessage = 64 << 20;
constexpr size_t kMostUnheard = 10'000;

} // namespace

std::string_view Fields::next() {
    size_t end = text_.find('\0');
    std::string_view field = text_.substr(0, end);
    text_ = end == std::string_view::npos ? std::string_view() : text_.substr(end + 1);
    return field;
}

std::string joined(std::initializer_list<std::string_view> fields) {
    std::string text;
    for (std::string_view field : fields) {
        text += field;
        text += '\0';
    }
    text.pop_back();
    return text;
}

Descriptor listen_at(const std::string &directory, const std::string &name, int type) {
    Descriptor parent(open(directory.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
    Descriptor socket(::socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (!parent || !socket)
        throw_errno(directory);
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    // sun_path is short; this way only the name has to fit.
    std::string path = "/proc/self/fd/" + std::to_string(parent.get()) + "/" + name;
    path.copy(address.sun_path, sizeof address.sun_path - 1);
    mode_t mask = umask(0177);
    int bound = bind(socket.get(), reinterpret_cast<sockaddr *>(&address), sizeof address);
    umask(mask);
    if (bound != 0 || listen(socket.get(), 128) != 0)
        throw_errno(directory + "/" + name);
    return socket;
}

// rundir.py makes the same name.
Descriptor listen_at_name(const std::string &path) {
    struct stat file;
    if (stat(path.c_str(), &file) != 0)
        return {};
    char name[80];
    int length =
        std::snprintf(name, sizeof name, "shimbench-%llx-%llu", static_cast<unsigned long long>(file.st_dev),
                      static_cast<unsigned long long>(file.st_ino));
    Descriptor socket(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::memcpy(address.sun_path + 1, name, static_cast<size_t>(length));
    auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + static_cast<size_t>(length));
    if (!socket || bind(socket.get(), reinterpret_cast<sockaddr *>(&address), size) != 0 ||
        listen(socket.get(), 128) != 0)
        return {};
    return socket;
}

bool known_user(int socket, int &pid, long other) {
    ucred peer{};
    socklen_t size = sizeof peer;
    if (getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0)
        return false;
    pid = peer.pid;
    return peer.uid == geteuid() || (other >= 0 && peer.uid == static_cast<uid_t>(other));
}

Control::Control(EventLoop &loop, const std::string &directory, Answer answer)
    : loop_(loop), listener_(listen_at(directory, "control.sock", SOCK_STREAM)), answer_(std::move(answer)) {
    loop_.add(listener_.get(), EPOLLIN, [this](uint32_t) { accept(); });
}

void Control::accept() {
    Descriptor socket(accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    int pid = 0;
    if (!socket || !known_user(socket.get(), pid))
        return;
    had_clients_ = true;
    clients_.emplace_back();
    Place client = std::prev(clients_.end());
    client->socket = std::move(socket);
    loop_.add(client->socket.get(), EPOLLIN, [this, client](uint32_t events) {
        if ((events & EPOLLOUT) && !flush(*client))
            return drop(client);
        if (events & (EPOLLIN | EPOLLHUP | EPOLLERR))
            read(client);
    });
}

void Control::drop(Place client) {
    loop_.remove(client->socket.get());
    clients_.erase(client);
}

void Control::read(Place client) {
    char buffer[65536];
    ssize_t count = recv(client->socket.get(), buffer, sizeof buffer, 0);
    if (count < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (count <= 0)
        return drop(client);
    client->in.append(buffer, static_cast<size_t>(count));
    size_t at = 0;
    while (client->in.size() - at >= 4) {
        uint32_t size;
        std::memcpy(&size, client->in.data() + at, 4);
        if (size > kLongestMessage)
            return drop(client);
        if (client->in.size() - at - 4 < size)
            break;
        answer(*client, std::string_view(client->in).substr(at + 4, size));
        at += 4 + size;
    }
    client->in.erase(0, at);
}

void Control::answer(Client &client, std::string_view message) {
    Fields fields(message);
    std::string_view verb = fields.next();
    if (verb == "watch") {
        client.watches = true;
        for (const std::string &text : unheard_)
            send(client, text);
        unheard_.clear();
        return;
    }
    send(client, answer_(verb, fields));
}

void Control::send(Client &client, std::string_view message) {
    auto size = static_cast<uint32_t>(message.size());
    client.out.append(reinterpret_cast<const char *>(&size), 4);
    client.out.append(message);
    flush(client);
}

// False when the client is gone; its handler hears of that too.
bool Control::flush(Client &client) {
    size_t done = 0;
    while (done < client.out.size()) {
        ssize_t sent = ::send(client.socket.get(), client.out.data() + done, client.out.size() - done,
                              MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent < 0 && errno == EINTR)
            continue;
        if (sent < 0 && errno != EAGAIN)
            return false;
        if (sent < 0)
            break;
        done += static_cast<size_t>(sent);
    }
    client.out.erase(0, done);
    loop_.modify(client.socket.get(), client.out.empty() ? EPOLLIN : EPOLLIN | EPOLLOUT);
    return true;
}

void Control::flush() {
    for (Client &client : clients_)
        flush(client);
}

void Control::notify(const std::string &message) {
    bool heard = false;
    for (Client &client : clients_)
        if (client.watches) {
            send(client, message);
            heard = true;
        }
    if (!heard && unheard_.size() < kMostUnheard)
        unheard_.push_back(message);
}

} // namespace shimbench::collector
