// What /proc says about a process, and what the ELF files it mapped say about themselves.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace shimbench::collector {

struct ProcessFacts {
    int ppid = 0;
    std::string exe, cwd;
    std::vector<std::string> argv;
    std::vector<std::pair<std::string, std::string>> env; // of what matters to CUDA programs
};

struct MappedModule {
    std::string path;
    uint64_t start = 0; // where its offset 0 lies
    uint64_t end = 0;
    bool operator==(const MappedModule &) const = default;
};

struct LibraryFacts {
    std::string soname, build_id;
};

// How a process ended.
struct ExitStatus {
    bool known = false;
    int code = 0;   // when signal is 0
    int signal = 0; // 0: it exited
};
ExitStatus decode_wait_status(int status);

std::string proc_path(int pid, const char *name); // "/proc/PID/name"
// All of a file, at most so many bytes; empty when there is none or we may not read it.
std::string read_whole(const std::string &path, size_t limit = 16 << 20);

ProcessFacts read_facts(int pid);
bool environment_matters(std::string_view name);
// Mapped files by address; empty when they can't be read (any more).
std::vector<MappedModule> read_modules(int pid);
// One of those whose identity is worth recording: drivers, CUDA runtimes and BLAS, backends.
bool is_cuda_library(std::string_view path);
LibraryFacts read_library(const std::string &path);
// Of a process that has ended and is no child of ours: by its pidfd (Linux 6.15), else from its zombie.
ExitStatus read_exit(int pid, int pidfd);
int parent_of(int pid);

} // namespace shimbench::collector
