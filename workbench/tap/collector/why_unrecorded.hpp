// Why no tap speaks for a process: read from /proc and from its program's file.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace shimbench::collector {

struct ProcessState {
    bool alive = false;
    bool ready = false; // past its exec: it has its environment
    uint64_t stack = 0; // where its stack begins, another one after each exec; 0 when we may not know
};
ProcessState read_state(int pid);

// Whether its environment, as it was given to it, has a word that begins so; false when it can't be read.
bool has_environment(int pid, std::string_view beginning);

struct Unrecorded {
    std::string why;    // ends "X: calls of it are not recorded: ..."
    std::string advice; // what to do; may be empty
};

// None while it may still register. `preload` is the library that LD_PRELOAD names; `waited_long` that a tap
// which is loaded has had all the time it needs.
std::optional<Unrecorded> why_unrecorded(int pid, const std::string &preload, bool waited_long);

} // namespace shimbench::collector
