// Processes of the target that no tap speaks for: found, and the reason told. What it is decides, not how
// long it took: a slow loader is no refusal.
#include "collector.hpp"

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <dirent.h>
#include <memory>
#include <unistd.h>

namespace shimbench::collector {

using session::json_string;
using session::Line;
using session::LogRole;
using session::LogStream;

namespace {

constexpr int64_t kShortestScan = 200'000'000;  // ns between looks for processes nobody told of
constexpr int64_t kShortestLook = 1'000'000;    // ns between looks at one of them, doubled after some
constexpr int64_t kLongestLook = 1'000'000'000; // ns
constexpr int64_t kPatience = 4'000'000'000;    // ns of a tap that is loaded and says nothing
constexpr size_t kMostUnrecorded = 1000;        // processes told of; there may be a script in a loop
constexpr size_t kMostLines = 100;              // in the log
constexpr int kMostLevels = 64;                 // of ancestors

bool is_number(const char *text) {
    return *text && std::all_of(text, text + std::strlen(text), [](char c) { return c >= '0' && c <= '9'; });
}

} // namespace

// The process itself or its nearest ancestor that is recorded, or was started here.
Image *Collector::known_ancestor(int pid) {
    for (int level = 0; level < kMostLevels && pid > 1 && pid != getpid(); level++, pid = parent_of(pid))
        if (Image *image = living(static_cast<uint32_t>(pid)))
            return image;
    return nullptr;
}

// Whether it was started by what was started here: it then may register whoever it runs as.
bool Collector::is_descendant(int pid) {
    if (Image *image = known_ancestor(pid))
        return image->role != LogRole::Host && image->role != LogRole::Build;
    return orphan_of_ours(pid);
}

// What outlived its parents came to us; the mark of the run tells it from what a build left.
bool Collector::orphan_of_ours(int pid) {
    int level = 0, at = pid;
    while (level++ < kMostLevels && at > 1 && at != getpid())
        at = parent_of(at);
    return at == getpid() && has_environment(pid, "SHIMBENCH_RUN=");
}

// What hung up is at its end, has closed all its descriptors, or has become another program.
void Collector::hung_up(Image &image) {
    if (image.socket)
        loop_.remove(image.socket.get());
    if (image.alive && image.registered)
        suspect(static_cast<int>(image.pid), image.stack);
}

void Collector::suspect(int pid, uint64_t stack_before) {
    bool known =
        std::any_of(suspects_.begin(), suspects_.end(), [&](const Suspect &s) { return s.pid == pid; });
    if (!known && told_unrecorded_ < kMostUnrecorded)
        suspects_.push_back({pid, stack_before, monotonic_ns(), 0, kShortestLook, 0});
}

// Processes that nobody told of: started by vfork, or by a program without a tap.
void Collector::look_for_untold(int64_t now) {
    if (now < next_untold_ ||
        std::none_of(active_.begin(), active_.end(), [](Image *i) { return i->tapped; }))
        return;
    std::unique_ptr<DIR, int (*)(DIR *)> folder(opendir("/proc"), closedir);
    std::unordered_set<int> there;
    while (dirent *entry = folder ? readdir(folder.get()) : nullptr) {
        if (!is_number(entry->d_name))
            continue;
        int pid = std::atoi(entry->d_name);
        there.insert(pid);
        if (others_.contains(pid) || living(static_cast<uint32_t>(pid)))
            continue;
        Image *ancestor = known_ancestor(pid);
        if (ancestor && ancestor->tapped)
            suspect(pid, ancestor->stack);
        else if (!ancestor && orphan_of_ours(pid))
            suspect(pid, 0);
    }
    others_ = std::move(there);
    // However many processes there are, a fiftieth of the time goes into looking at them.
    next_untold_ = now + std::max(kShortestScan, 50 * (monotonic_ns() - now));
}

void Collector::look_at_suspects(int64_t now) {
    for (size_t i = 0; i < suspects_.size();) {
        if (now < suspects_[i].next_look) {
            i++;
            continue;
        }
        Suspect looked = suspects_[i]; // telling may add others
        if (settled(looked, now)) {
            suspects_.erase(suspects_.begin() + static_cast<ptrdiff_t>(i));
            continue;
        }
        looked.next_look = now + looked.pause;
        if (++looked.looks > 8) // an exec takes a moment
            looked.pause = std::min(looked.pause * 2, kLongestLook);
        suspects_[i++] = looked;
    }
}

// True when there is nothing more to find out about it.
bool Collector::settled(const Suspect &one, int64_t now) {
    Image *image = living(static_cast<uint32_t>(one.pid));
    ProcessState state = read_state(one.pid);
    if (!state.alive || (image && image->registered && image->stack == state.stack))
        return true; // registered by now, or over; one that closed its descriptors is recorded as it was
    if (!state.ready || (state.stack != 0 && state.stack == one.stack_before))
        return false; // between fork and exec, or in the middle of an exec
    std::optional<Unrecorded> why = why_unrecorded(one.pid, preload_, now - one.since > kPatience);
    if (!why)
        return false;
    if (!why->why.empty())
        tell_unrecorded(one.pid, *why);
    return true;
}

// A process that is known from now on, though nothing of its calls.
void Collector::tell_unrecorded(int pid, const Unrecorded &what) {
    if (told_unrecorded_ >= kMostUnrecorded || images_.size() + kMostUnrecorded >= 65535)
        return;
    told_unrecorded_++;
    ProcessFacts facts = read_facts(pid);
    auto [image, parent_index] = image_for(static_cast<uint32_t>(pid), facts);
    image.tapped = true; // what it starts is looked for too
    image.stack = read_state(pid).stack;
    if (!image.pidfd)
        watch_end(image);
    tell_process(image, facts, parent_index);
    scan_modules(image);
    writer_.event(writer_.now(), "unrecorded",
                  "\"index\":" + std::to_string(image.index) + ",\"why\":" + json_string(what.why) +
                      ",\"advice\":" + json_string(what.advice));
    std::string name = facts.argv.empty() ? facts.exe : facts.argv[0];
    say_unrecorded(image, name, what);
}

// In the log, where the target's own words are looked for: each program and reason once.
void Collector::say_unrecorded(const Image &image, const std::string &name, const Unrecorded &what) {
    std::string text = (name.empty() ? "a process" : name) + ": calls of it are not recorded: " + what.why;
    if (said_unrecorded_.size() >= kMostLines || !said_unrecorded_.insert(text).second)
        return;
    if (!what.advice.empty())
        text += " (" + what.advice + ")";
    drain_regions();
    writer_.line(Line{writer_.now(), image.pid, image.index, LogStream::Shim, LogRole::Workbench, false},
                 "shimbench: " + text + "\n");
    writer_.publish();
}

// Children of a fork whose own registration failed; the parent's region says so.
void Collector::tell_refused_children(Image &image) {
    if (!image.region)
        return;
    auto [count, last] = image.region->refused_children();
    if (count == image.refused_children)
        return;
    uint32_t fresh = count - image.refused_children;
    image.refused_children = count;
    const int error = static_cast<int>(last >> 32);
    Unrecorded what{std::string("it could not register: ") +
                        (error > 0 && error < 4096 ? std::strerror(error) : "an unknown error"),
                    error == EMFILE   ? "raise its hard limit of open files: ulimit -Hn"
                    : error == ENOMEM ? "raise its limit of address space: ulimit -v"
                                      : ""};
    writer_.event(writer_.now(), "unrecorded",
                  "\"parent\":" + std::to_string(image.index) + ",\"count\":" + std::to_string(fresh) +
                      ",\"why\":" + json_string(what.why) + ",\"advice\":" + json_string(what.advice));
    say_unrecorded(image, "a forked child of process " + std::to_string(image.pid), what);
}

} // namespace shimbench::collector
