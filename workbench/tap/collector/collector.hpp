// The collector: takes registrations of targets, drains their rings, tees their output, starts and
// signals what the workbench asks for, and writes all of it into the session. One loop, one thread.
#pragma once

#include "clock.hpp"
#include "control.hpp"
#include "event_loop.hpp"
#include "procfs.hpp"
#include "region.hpp"
#include "tee.hpp"
#include "why_unrecorded.hpp"
#include "writer.hpp"

#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <sys/resource.h>
#include <unordered_set>
#include <utility>
#include <vector>

namespace shimbench::collector {

struct Options {
    std::filesystem::path session;
    std::filesystem::path sockets; // where the two sockets lie; the session unless its path is too long
    std::string model;             // JSON
    std::string tool = "unknown";
    long user = -1;         // whose processes may register, besides our own; -1 nobody else's
    int run = 0;            // of processes that were not started here
    bool idle_exit = false; // end once there is no client and no target any more
};

// Memory of a target that its buffers come through.
struct Lane {
    session::Descriptor memory;
    uint64_t size = 0;
    std::vector<uint32_t> read; // bytes of each block that are in the session, or will never be
};

// A process image: an exec makes another one of the same pid.
struct Image {
    int32_t index = -1;
    uint32_t pid = 0;
    session::Descriptor pidfd, socket;
    int run = 0;
    session::LogRole role = session::LogRole::Target;
    bool spawned = false;    // by us: its end is told to the workbench
    bool registered = false; // its tap has spoken
    bool tapped = false;     // its tap has spoken, or should have: so should its children's
    bool alive = true;
    uint64_t stack = 0;            // tells it from what it becomes by an exec
    uint32_t refused_children = 0; // as last told
    std::unique_ptr<Region> region;
    std::optional<TickClock> clock;
    uint64_t lost = 0;
    bool damage_told = false;
    std::vector<MappedModule> modules;
    std::vector<MappedModule> told; // by the tap since the last scan that found something new
    size_t told_count = 0;          // ever
    std::string maps;               // as last written
    bool modules_stale = true;
    int64_t next_scan = 0;
    int64_t scan_pause = 0;
    std::vector<Lane> lanes;
    // What calls under way were given, by thread and sequence, until they return.
    std::map<std::pair<uint32_t, uint32_t>, std::vector<std::byte>> inputs;
    uint64_t buffers_lost = 0, buffers_lost_told = 0;
    uint32_t holds = 0;         // as last looked at
    std::vector<HeldCall> held; // as last told
};

// A process that may turn out to be unrecorded.
struct Suspect {
    int pid = 0;
    uint64_t stack_before = 0;                   // of what it was, or was forked from; 0 not known
    int64_t since = 0, next_look = 0, pause = 0; // ns
    int looks = 0;
};

class Collector {
  public:
    explicit Collector(const Options &options);
    // Until it is told to end, or has nothing left to do.
    void run();

  private:
    // Processes (processes.cpp)
    void accept_target(int listener);
    void read_hello(int fd, std::shared_ptr<session::Descriptor> socket);
    void tell_refusal(int pid, const std::string &why);
    void welcome(session::Descriptor socket, uint32_t pid, const tap_hello &hello,
                 std::vector<session::Descriptor> fds);
    Image &add_image(uint32_t pid);
    std::pair<Image &, int> image_for(uint32_t pid, const ProcessFacts &facts);
    Image *living(uint32_t pid);
    bool take_preload(const std::vector<std::pair<std::string, std::string>> &environment);
    void inherit_from_parent(Image &image, int parent_pid);
    void watch_end(Image &image);
    void tell_process(Image &image, const ProcessFacts &facts, int parent_index);
    void scan_modules(Image &image);
    void tell_maps(Image &image);
    void take_module(Image &image, const tap_record &record, std::span<const std::byte> items);
    void replaced_by_exec(Image &image, int32_t by);
    void image_ended(Image &image, ExitStatus status);
    void reap_children();

    // Processes no tap speaks for (unrecorded.cpp)
    Image *known_ancestor(int pid);
    bool is_descendant(int pid);
    bool orphan_of_ours(int pid);
    void hung_up(Image &image);
    void suspect(int pid, uint64_t stack_before);
    void look_for_untold(int64_t now);
    void look_at_suspects(int64_t now);
    bool settled(const Suspect &one, int64_t now);
    void tell_unrecorded(int pid, const Unrecorded &what);
    void say_unrecorded(const Image &image, const std::string &name, const Unrecorded &what);
    void tell_refused_children(Image &image);

    // Calls (recording.cpp)
    bool drain_regions();
    size_t drain_region(Image &image, size_t limit);
    void flush_calls();
    void finish_region(Image &image);
    void look_at_callers(Image &image, std::span<const DrainedCall> calls);
    session::CallRow row_of(Image &image, const DrainedCall &call);
    void write_in_flight();
    void tell_losses(Image &image);

    // Breakpoints (breaks.cpp)
    std::string set_breakpoints(Fields fields);
    std::string release_calls(Fields fields);
    void drop_breakpoints();
    void look_for_held_calls();

    // Buffers (buffers.cpp)
    std::string set_buffers(Fields fields);
    void grant_buffers(Image &image);
    void take_lanes(Image &image);
    void take_inputs(Image &image, const DrainedCall &call);
    void keep_buffers(Image &image, std::vector<std::byte> &items);
    session::BufferItem keep_buffer(Image &image, const tap_buffer &told);
    std::span<const std::byte> payload_of(Image &image, const DrainedCall &call);
    void tell_lost_buffers(Image &image);

    // The workbench's requests (collector.cpp)
    std::string answer(std::string_view verb, Fields fields);
    std::string start_program(Fields fields);
    std::string send_signal(Fields fields);
    std::string log_line(Fields fields);
    void take_signals();
    void tend(int64_t now);
    bool tell_disk_loss();
    void seal();
    bool abandoned() const;
    void end_all();
    void go_on_ending(int64_t now);
    void signal_all(int number);
    int timeout(bool busy);
    int pause_for_calls(bool busy);

    Options options_;
    rlimit file_limit_; // of what is spawned
    Calibration calibration_;
    EventLoop loop_;
    Tee tee_;                     // forks its guardian: before the writer has a thread and a lock
    session::Descriptor signals_; // blocks them, before the writer has a thread
    session::Writer writer_;
    session::Descriptor listener_, named_listener_;
    Control control_;
    std::vector<std::unique_ptr<Image>> images_;
    std::vector<Image *> active_; // those that live
    Drained drained_;
    session::RowBuffer pending_;                               // of this pass, before they are put in order
    std::vector<std::pair<int64_t, uint32_t>> order_, merged_; // of pending_: time of entry, place
    std::vector<std::byte> payload_;                           // of the call that is looked at
    uint32_t buffers_ = 0;                                     // which are recorded, enum tap_buffers
    uint64_t buffer_limit_ = 0;                                // bytes of them in the session
    std::vector<FlyingCall> flying_;
    std::vector<session::InFlightRow> flying_rows_;
    std::vector<Breakpoint> breakpoints_;
    std::vector<Suspect> suspects_;
    std::unordered_set<int> others_; // processes looked at: suspects, recorded, or none of ours
    std::unordered_set<std::string> said_unrecorded_;
    std::string preload_; // what LD_PRELOAD names of ours
    size_t told_unrecorded_ = 0;
    int64_t next_untold_ = 0;
    int last_run_ = 0;
    int pause_ms_ = 1;
    int64_t next_tend_ = 0, next_calibration_ = 0;
    unsigned refusals_ = 0; // told, of processes that connected
    uint64_t told_disk_loss_ = 0, told_line_loss_ = 0;
    int64_t next_disk_loss_ = 0, disk_loss_pause_ = 100'000'000; // ns
    int64_t ending_until_ = 0; // what is left of what we started is being ended; then SIGKILL
    bool stopping_ = false, sealed_ = false, killed_ = false;
};

std::optional<session::LogRole> role_named(std::string_view name);
std::string_view role_name(session::LogRole role);

} // namespace shimbench::collector
