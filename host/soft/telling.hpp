// What a client's kernels have taken and done, for the panes: host/STATE.md has the words.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "device/device.hpp"
#include "soft/exec/launch.hpp"
#include "soft/exec/program.hpp"

namespace shimbench::soft {

// Adds launches up by kernel and by shape, and tells what changed at most once a second: less often as
// time goes on. Texts of kernels are told once.
class KernelTeller {
  public:
    explicit KernelTeller(Tell tell) : tell_(std::move(tell)) {}

    struct Shape {
        std::uint32_t grid[3], block[3], shared;
        auto operator<=>(const Shape &) const = default;
    };
    struct Sums {
        std::uint64_t launches = 0, instructions = 0;
        double seconds = 0, shortest = 0, longest = 0;
    };
    struct Total {
        Sums all;
        std::map<Shape, Sums> shapes;
        std::uint64_t other_shapes = 0; // launches of shapes beyond those kept
        std::uint32_t static_shared = 0;
        bool compiled = false, changed = false, lines_changed = false;
        std::uint64_t counted = 0;                        // launches
        std::uint64_t counted_blocks = 0, all_blocks = 0; // of these
        std::map<int, ::soft::OperationCount> lines;
    };

    // What is known of a kernel; it stays where it is until its module is forgotten.
    Total &total(std::uint64_t module, const std::string &name) { return totals_[{module, name}]; }

    struct Launched {
        std::uint64_t module;
        const std::string &name;
        const ::soft::Program *program; // NULL: the host performs it without one
        const wire_launch *shape;
        const ::soft::LaunchStatistics *statistics;
        bool compiled;
    };
    // `text` is the kernel's own, from its module's line `line` on; looked at at its first launch only. None
    // without a program.
    void launched(Total &total, const Launched &launch, std::string_view text, int line);
    // Whether a launch that is interpreted anyway should count its operations: the first of each shape.
    bool wants_counts(const Total &total, const wire_launch &shape) const;
    // A kernel that cannot run and why: "kernel-fault" or "kernel-refused".
    void event(std::string_view event, const std::string &fields) {
        if (tell_)
            tell_(event, fields);
    }
    // Tells what is untold once its time has come, or `now`. True: something is left to tell.
    bool tell_changes(bool now);
    // A module is gone, and its handle may be another's soon.
    void forget(std::uint64_t module);

  private:
    static Shape shape_of(const wire_launch &launch);
    static std::string kernel_text(std::uint64_t module, const std::string &name, const Total &total);
    void add_lines(Total &total, const ::soft::Program &program, const ::soft::LaunchStatistics &launch);
    void tell_text(std::uint64_t module, const std::string &name, std::string_view text, int line);
    void tell_lines(std::uint64_t module, const std::string &name, const Total &total);

    Tell tell_;
    std::map<std::pair<std::uint64_t, std::string>, Total> totals_;
    bool untold_ = false;     // something in totals_ is
    std::uint64_t texts_ = 0; // bytes told
    std::chrono::steady_clock::time_point began_ = std::chrono::steady_clock::now(), told_{};
};

} // namespace shimbench::soft
