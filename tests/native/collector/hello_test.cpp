// A whole collector against clients that send anything to its two sockets. For the sanitizers.
#include "../fuzz_rounds.hpp"
#include "check.hpp"
#include "collector_process.hpp"
#include "connected.hpp"

#include <cerrno>
#include <csignal>
#include <cstring>
#include <fcntl.h>
#include <random>
#include <string>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

using namespace shimbench::collector;
using shimbench::session::Descriptor;

namespace {

void say_anything_to_the_target_s_socket(const std::string &directory, std::mt19937_64 &random) {
    for (int round = 0; round < fuzz::rounds(300); round++) {
        Descriptor fd = connected(directory + "/collector.sock", SOCK_SEQPACKET);
        tap_hello hello{TAP_HELLO, TAP_ABI_VERSION, 1, 1, 1, static_cast<uint32_t>(random() % 8),
                        4096,      "test"};
        auto *bytes = reinterpret_cast<unsigned char *>(&hello);
        if (random() % 2)
            bytes[random() % sizeof hello] = static_cast<unsigned char>(random());
        size_t size = random() % 4 ? sizeof hello : random() % (sizeof hello + 1);
        Descriptor memory(memfd_create("m", MFD_CLOEXEC | MFD_ALLOW_SEALING));
        check(ftruncate(memory.get(), random() % 20'000) == 0, "memory");
        int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
        int fds[4] = {memory.get(), null, null, null};
        send_with_descriptors(fd.get(), &hello, size, fds, random() % 5);
        close(null);
        if (random() % 2) {
            tap_welcome reply;
            timeval limit{1, 0};
            setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
            if (recv(fd.get(), &reply, sizeof reply, 0) == static_cast<ssize_t>(sizeof reply))
                check(!reply.accepted, "none of these is a region");
        }
    }
}

void say_anything_to_the_workbench_s_socket(const std::string &directory, std::mt19937_64 &random) {
    const char *verbs[] = {"signal", "event", "line", "watch", "nonsense", "", "spawn"};
    for (int round = 0; round < fuzz::rounds(300); round++) {
        Descriptor fd = connected(directory + "/control.sock", SOCK_STREAM);
        std::string text = verbs[random() % 7];
        for (size_t i = random() % 40; i > 0; i--)
            text += "\0a1-"[random() % 4];
        auto size = static_cast<uint32_t>(random() % 8 ? text.size() : random());
        // The collector may hang up on a length that means nothing before it got the rest.
        check(write(fd.get(), &size, 4) == 4 || errno == EPIPE, "the length is sent");
        check(write(fd.get(), text.data(), text.size()) >= 0 || errno == EPIPE || errno == ECONNRESET,
              "the text is sent");
    }
}

} // namespace

int main() {
    signal(SIGPIPE, SIG_IGN);
    CollectorProcess collector;
    auto random = fuzz::random(3);
    say_anything_to_the_target_s_socket(collector.session(), random);
    say_anything_to_the_workbench_s_socket(collector.session(), random);
    collector.end();
    std::puts("ok");
}
