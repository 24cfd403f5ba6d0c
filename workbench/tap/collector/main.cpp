// shimbench-collector SESSION_DIR [--schema model.json] [--sockets DIR] [--tool VERSION] [--user UID]
//                     [--run N] [--idle-exit]
//
// Prints "ready" once targets and the workbench can connect. The workbench starts it (collector.py).
#include "collector.hpp"

#include <cerrno>
#include <charconv>
#include <cstdio>
#include <cstring>
#include <exception>
#include <fcntl.h>
#include <fstream>
#include <iterator>
#include <unistd.h>

namespace {

using shimbench::collector::Options;

bool number(const char *text, long &value) {
    const char *end = text + std::strlen(text);
    auto [rest, error] = std::from_chars(text, end, value);
    if (error == std::errc() && rest == end && value >= 0)
        return true;
    std::fprintf(stderr, "shimbench-collector: %s is no number\n", text);
    return false;
}

bool parse(int argc, char **argv, Options &options) {
    for (int i = 1; i < argc; i++) {
        std::string_view argument = argv[i];
        bool valued = i + 1 < argc;
        if (argument == "--schema" && valued) {
            std::ifstream file(argv[++i], std::ios::binary);
            if (!file) {
                std::fprintf(stderr, "shimbench-collector: %s: %s\n", argv[i], std::strerror(errno));
                return false;
            }
            options.model.assign(std::istreambuf_iterator<char>(file), {});
        } else if (argument == "--sockets" && valued) {
            options.sockets = argv[++i];
        } else if (argument == "--tool" && valued) {
            options.tool = argv[++i];
        } else if (argument == "--user" && valued) {
            if (!number(argv[++i], options.user))
                return false;
        } else if (argument == "--run" && valued) {
            long run = 0;
            if (!number(argv[++i], run))
                return false;
            options.run = static_cast<int>(run);
        } else if (argument == "--idle-exit") {
            options.idle_exit = true;
        } else if (options.session.empty() && !argument.starts_with("-")) {
            options.session = argument;
        } else {
            options.session.clear();
            break;
        }
    }
    if (options.session.empty()) {
        std::fputs("usage: shimbench-collector SESSION_DIR [--schema model.json] [--sockets DIR] "
                   "[--tool VERSION] [--user UID] [--run N] [--idle-exit]\n",
                   stderr);
        return false;
    }
    if (options.sockets.empty())
        options.sockets = options.session;
    return true;
}

} // namespace

int main(int argc, char **argv) {
    Options options;
    if (!parse(argc, argv, options))
        return 2;
    try {
        shimbench::collector::Collector collector(options);
        std::puts("ready");
        std::fflush(stdout);
        int null = open("/dev/null", O_RDWR | O_CLOEXEC);
        dup2(null, STDIN_FILENO);
        dup2(null, STDOUT_FILENO);
        collector.run();
        return 0;
    } catch (const std::exception &error) {
        std::fprintf(stderr, "shimbench-collector: %s\n", error.what());
        return 1;
    }
}
