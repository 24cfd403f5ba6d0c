// shimbench-replay PLAN RESULTS [PLAN RESULTS ...] [--ends FILE] [--hashes] [--patience SECONDS]
//                  [--dump CALL FOLDER]
//
// Performs a plan on the libcuda.so.1 that the loader finds. Exit status 0: all was come to, whatever its
// results; 124: a call did not return in time, 125: nor had it when it was recorded; 2: it could not begin.
// With --ends each plan is performed in a process of its own, and how these ended is written into FILE.
// --hashes: device memory is hashed after each call that may write to it, into RESULTS.hashes.
#include "each.hpp"
#include "player.hpp"

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <string>
#include <unistd.h>

namespace {

using namespace shimbench::replay;

struct Words {
    std::vector<Pair> pairs;
    std::vector<char *> options; // as they were given, for each player
    const char *ends = nullptr;
    Options first;
};

bool parse(int argc, char **argv, Words &words) {
    std::vector<char *> files;
    for (int i = 1; i < argc; i++) {
        int begun = i;
        if (std::strcmp(argv[i], "--ends") == 0 && i + 1 < argc) {
            words.ends = argv[++i];
            continue;
        }
        if (std::strcmp(argv[i], "--hashes") == 0) {
            words.first.hashed = true;
        } else if (std::strcmp(argv[i], "--patience") == 0 && i + 1 < argc) {
            words.first.patience = std::atof(argv[++i]);
        } else if (std::strcmp(argv[i], "--dump") == 0 && i + 2 < argc) {
            words.first.dumped = static_cast<uint32_t>(std::strtoul(argv[++i], nullptr, 10));
            words.first.dump = argv[++i];
        } else {
            files.push_back(argv[i]);
            continue;
        }
        words.options.insert(words.options.end(), argv + begun, argv + i + 1);
    }
    for (size_t i = 0; i + 1 < files.size(); i += 2)
        words.pairs.push_back({files[i], files[i + 1]});
    return !words.pairs.empty() && files.size() % 2 == 0 && (words.ends || words.pairs.size() == 1);
}

int perform(const Options &options) {
    // A library that does not come back from being loaded, or from the process's end, is one that hangs.
    signal(SIGALRM, [](int) {
        constexpr char text[] = "shimbench-replay: the library does not load, or end, in time\n";
        if (write(STDERR_FILENO, text, sizeof text - 1) < 0)
            _exit(kHung);
        _exit(kHung);
    });
    alarm(static_cast<unsigned>(options.patience) + 1);
    Player player(options);
    alarm(0);
    if (player.run()) {
        alarm(static_cast<unsigned>(options.patience) + 1); // for its destructors
        return 0;
    }
    std::fputs("shimbench-replay: a call did not return in time\n", stderr);
    _exit(player.hangs_as_recorded() ? kHungAsRecorded : kHung); // threads are still in it
}

} // namespace

int main(int argc, char **argv) {
    Words words;
    if (!parse(argc, argv, words)) {
        std::fputs("usage: shimbench-replay PLAN RESULTS [PLAN RESULTS ...] [--ends FILE] [--hashes] "
                   "[--patience SECONDS] [--dump CALL FOLDER]\n",
                   stderr);
        return kNotBegun;
    }
    try {
        if (words.ends)
            return perform_each(words.pairs, words.options, words.ends) ? 0 : kNotBegun;
        words.first.plan = words.pairs[0].plan;
        words.first.results = words.pairs[0].results;
        return perform(words.first);
    } catch (const std::exception &error) {
        std::fprintf(stderr, "shimbench-replay: %s\n", error.what());
        return kNotBegun;
    }
}
