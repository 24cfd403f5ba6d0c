#include "each.hpp"

#include <cerrno>
#include <cstdio>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

namespace shimbench::replay {

namespace {

constexpr char kSelf[] = "/proc/self/exe";

// The exit status, or the signal with a minus.
int end_of(pid_t pid) {
    int status = 0;
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}

} // namespace

bool perform_each(std::span<const Pair> pairs, std::span<char *const> options,
                  const std::filesystem::path &ends) {
    FILE *out = std::fopen(ends.c_str(), "we");
    if (!out)
        return false;
    bool going = true;
    for (const Pair &pair : pairs) {
        std::vector<char *> words{const_cast<char *>("shimbench-replay"), const_cast<char *>(pair.plan),
                                  const_cast<char *>(pair.results)};
        words.insert(words.end(), options.begin(), options.end());
        words.push_back(nullptr);
        pid_t pid = 0;
        if (posix_spawn(&pid, kSelf, nullptr, nullptr, words.data(), environ) != 0) {
            going = false;
            break;
        }
        int end = end_of(pid);
        std::fprintf(out, "%d %d\n", pid, end);
        std::fflush(out);
        if (end == kHung)
            break;
    }
    return std::fclose(out) == 0 && going;
}

} // namespace shimbench::replay
