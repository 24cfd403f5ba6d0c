// Starts a program in a session and process group of its own.
#pragma once

#include <string>
#include <sys/resource.h>
#include <vector>

namespace shimbench::collector {

struct Program {
    std::vector<std::string> argv;
    std::vector<std::string> env; // NAME=value, all of it
    std::string cwd;
    rlimit open_files{}; // the collector raises its own
};

// The new process, with these as its descriptors 1 and 2. On failure -1 and a sentence in `why`.
int spawn(const Program &program, int output, int errors, std::string &why);

} // namespace shimbench::collector
