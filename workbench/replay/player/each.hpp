// Several plans, one after the other, each in a process of its own: what a shim keeps in its process is new
// for each, and what its forwarder keeps is not.
#pragma once

#include <filesystem>
#include <span>
#include <utility>
#include <vector>

namespace shimbench::replay {

// The player's exit statuses.
inline constexpr int kNotBegun = 2;
inline constexpr int kHung = 124;
inline constexpr int kHungAsRecorded = 125; // in calls that never returned when they were recorded either

struct Pair {
    const char *plan, *results;
};

// Runs this program again for each pair, with `options` behind it, and writes a line `PID STATUS` for each
// into `ends` once it has ended: its exit status, or a signal's number with a minus. A plan whose player hung
// where the recording did not is the last: the next would wait as long for nothing. False when `ends` can't
// be written or a player can't be started.
bool perform_each(std::span<const Pair> pairs, std::span<char *const> options,
                  const std::filesystem::path &ends);

} // namespace shimbench::replay
