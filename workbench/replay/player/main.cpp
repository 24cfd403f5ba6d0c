// shimbench-replay PLAN RESULTS [--hashes FILE] [--patience SECONDS]
//                  [--dump CALL FOLDER]
//
// Performs a plan on the libcuda.so.1 that the loader finds. Exit status 0: all was come to, whatever its
// results; 124: a call did not return in time; 2: it could not begin.
#include "player.hpp"

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <unistd.h>

int main(int argc, char **argv) {
    shimbench::replay::Options options;
    for (int i = 1; i < argc; i++) {
        if (std::strcmp(argv[i], "--hashes") == 0 && i + 1 < argc)
            options.hashes = argv[++i];
        else if (std::strcmp(argv[i], "--patience") == 0 && i + 1 < argc)
            options.patience = std::atof(argv[++i]);
        else if (std::strcmp(argv[i], "--dump") == 0 && i + 2 < argc) {
            options.dumped = static_cast<uint32_t>(std::strtoul(argv[++i], nullptr, 10));
            options.dump = argv[++i];
        } else if (options.plan.empty())
            options.plan = argv[i];
        else
            options.results = argv[i];
    }
    if (options.results.empty()) {
        std::fputs("usage: shimbench-replay PLAN RESULTS [--hashes FILE] [--patience SECONDS]\n", stderr);
        return 2;
    }
    // A library that does not come back from being loaded is one that hangs.
    signal(SIGALRM, [](int) {
        constexpr char text[] = "shimbench-replay: the library does not load in time\n";
        if (write(STDERR_FILENO, text, sizeof text - 1) < 0)
            _exit(124);
        _exit(124);
    });
    alarm(static_cast<unsigned>(options.patience) + 1);
    try {
        shimbench::replay::Player player(options);
        alarm(0);
        if (player.run())
            return 0;
        std::fputs("shimbench-replay: a call did not return in time\n", stderr);
        _exit(124); // threads are still in it
    } catch (const std::exception &error) {
        std::fprintf(stderr, "shimbench-replay: %s\n", error.what());
        return 2;
    }
}
