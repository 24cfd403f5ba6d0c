#pragma once

#include "check.hpp"
#include "files.hpp"

#include <string>
#include <sys/socket.h>
#include <sys/un.h>

// A connection to the Unix socket at `path`.
inline shimbench::session::Descriptor connected(const std::string &path, int type) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path.copy(address.sun_path, sizeof address.sun_path - 1);
    shimbench::session::Descriptor fd(socket(AF_UNIX, type | SOCK_CLOEXEC, 0));
    check(connect(fd.get(), reinterpret_cast<sockaddr *>(&address), sizeof address) == 0, "it listens");
    return fd;
}
