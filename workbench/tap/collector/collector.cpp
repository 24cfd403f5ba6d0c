#include "collector.hpp"

#include "spawn.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <fstream>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

namespace shimbench::collector {

using session::BegunLine;
using session::Descriptor;
using session::json_string;
using session::Line;
using session::LogRole;
using session::LogStream;
using session::WaitingLine;

namespace {

constexpr int64_t kCalibrateEvery = 1'000'000'000; // ns
constexpr int64_t kTendEvery = 100'000'000;        // ns
constexpr int64_t kLongestDiskLossPause = 30'000'000'000;
constexpr int64_t kEndPatience = 5'000'000'000; // ns between SIGTERM and SIGKILL
constexpr int kLongestPause = 32;               // ms, between looks at rings nobody writes to

constexpr std::array<std::string_view, 6> kRoles{"target", "host", "build", "exercise", "shim", "workbench"};
constexpr std::array<std::string_view, 5> kStreams{"stdout", "stderr", "build", "host", "shim"};

Descriptor signal_descriptor() {
    sigset_t set;
    sigemptyset(&set);
    for (int number : {SIGCHLD, SIGTERM, SIGINT, SIGHUP})
        sigaddset(&set, number);
    sigprocmask(SIG_BLOCK, &set, nullptr);
    return Descriptor(signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC));
}

void prepare_process() {
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN);
}

// Raises the limit of open files as far as it goes; what it was before.
rlimit raised_file_limit() {
    rlimit before{}, raised;
    getrlimit(RLIMIT_NOFILE, &before);
    raised = before;
    raised.rlim_cur = raised.rlim_max;
    setrlimit(RLIMIT_NOFILE, &raised);
    return before;
}

// Kills processes that outlived the program of ours that started them: they became our children. (The
// guardian is of our own session.) Whether there was one.
bool kill_strays() {
    std::ifstream children("/proc/self/task/" + std::to_string(getpid()) + "/children");
    bool any = false;
    for (pid_t child; children >> child;)
        if (getsid(child) != getsid(0)) {
            kill(child, SIGKILL);
            any = true;
        }
    return any;
}

Options prepared(const Options &options) {
    prepare_process();
    return options;
}

std::string ok(std::string_view value = "") {
    return joined({"ok", value});
}
std::string failed(std::string_view why) {
    return joined({"error", why});
}

} // namespace

std::optional<LogRole> role_named(std::string_view name) {
    auto found = std::find(kRoles.begin(), kRoles.end(), name);
    if (found == kRoles.end())
        return std::nullopt;
    return static_cast<LogRole>(found - kRoles.begin());
}

std::string_view role_name(LogRole role) {
    return kRoles[static_cast<size_t>(role)];
}

Collector::Collector(const Options &options)
    : options_(prepared(options)), file_limit_(raised_file_limit()),
      tee_(
          loop_,
          [this](const Source &source, const BegunLine &begun, std::string_view text, bool torn) {
              Line line{writer_.now(), source.pid, source.process, source.stream, source.role, torn};
              writer_.line(line, text, begun);
          },
          [this](BegunLine &begun, std::string_view text) { return writer_.keep_piece(begun, text); },
          [this] { drain_regions(); }),
      signals_(signal_descriptor()),
      writer_(options.session, options.tool, options.model, calibration_.ticks_per_second()),
      listener_(listen_at(options.sockets, "collector.sock", SOCK_SEQPACKET)),
      control_(loop_, options.sockets,
               [this](std::string_view verb, Fields fields) { return answer(verb, fields); }) {
    loop_.add(signals_.get(), EPOLLIN, [this](uint32_t) { take_signals(); });
    loop_.add(listener_.get(), EPOLLIN, [this](uint32_t) { accept_target(listener_.get()); });
    last_run_ = options_.run;
    std::string path = options_.sockets / "collector.sock";
    if (options_.user >= 0 && chown(path.c_str(), static_cast<uid_t>(options_.user), gid_t(-1)) != 0)
        session::throw_errno(path);
    named_listener_ = listen_at_name(path);
    if (named_listener_)
        loop_.add(named_listener_.get(), EPOLLIN, [this](uint32_t) { accept_target(named_listener_.get()); });
}

void Collector::take_signals() {
    signalfd_siginfo info;
    while (read(signals_.get(), &info, sizeof info) == static_cast<ssize_t>(sizeof info))
        if (info.ssi_signo == SIGCHLD)
            reap_children();
        else if (info.ssi_signo != SIGHUP && control_.clients() == 0)
            end_all(); // nobody else is there to end them
        else if (info.ssi_signo != SIGHUP)
            stopping_ = true;
}

std::string Collector::answer(std::string_view verb, Fields fields) {
    if (sealed_)
        return failed("the session is sealed");
    if (ending_until_)
        return failed("the session is ending: its workbench was gone");
    if (verb == "spawn")
        return start_program(fields);
    if (verb == "signal")
        return send_signal(fields);
    if (verb == "line")
        return log_line(fields);
    if (verb == "breakpoints")
        return set_breakpoints(fields);
    if (verb == "release")
        return release_calls(fields);
    if (verb == "buffers")
        return set_buffers(fields);
    if (verb == "event") {
        drain_regions();
        std::string_view kind = fields.next();
        writer_.event(writer_.now(), kind, fields.rest());
        writer_.publish();
        return ok();
    }
    if (verb == "blob") {
        std::string_view data = fields.rest();
        uint32_t number = writer_.blob(std::as_bytes(std::span(data)));
        writer_.publish();
        return ok(std::to_string(number));
    }
    if (verb == "close") {
        seal();
        stopping_ = true;
        return ok();
    }
    return failed("no such request: " + std::string(verb));
}

// role, run, cwd, number of arguments, arguments, environment entries
std::string Collector::start_program(Fields fields) {
    std::string_view role_text = fields.next();
    auto role = role_named(role_text);
    if (!role)
        return failed("no such role: " + std::string(role_text));
    int run = static_cast<int>(fields.number());
    Program program;
    program.cwd = fields.next();
    program.open_files = file_limit_;
    for (long count = fields.number(); count > 0 && !fields.rest().empty(); count--)
        program.argv.emplace_back(fields.next());
    while (!fields.rest().empty())
        program.env.emplace_back(fields.next());

    // The pipes first: what the program writes at once has somewhere to go. Whose they are is known after.
    Source source;
    source.process = static_cast<int32_t>(images_.size());
    source.role = *role;
    source.stream = *role == LogRole::Build  ? LogStream::Build
                    : *role == LogRole::Host ? LogStream::Host
                                             : LogStream::Stdout;
    uint32_t first_pipe = 0, second_pipe = 0;
    Descriptor output = tee_.open(source, {}, &first_pipe);
    if (source.stream == LogStream::Stdout)
        source.stream = LogStream::Stderr;
    Descriptor errors = tee_.open(source, {}, &second_pipe);
    if (!output || !errors)
        return failed("no descriptors left for its output");
    std::string why;
    int pid = spawn(program, output.get(), errors.get(), why);
    if (pid < 0)
        return failed(why);
    tee_.set_pid(first_pipe, static_cast<uint32_t>(pid));
    tee_.set_pid(second_pipe, static_cast<uint32_t>(pid));
    Image &image = add_image(static_cast<uint32_t>(pid));
    image.spawned = true;
    image.run = last_run_ = run;
    image.role = *role;
    ProcessFacts facts = read_facts(pid);
    facts.argv = program.argv;
    facts.cwd = program.cwd;
    facts.env.clear();
    for (const std::string &entry : program.env)
        if (size_t equals = entry.find('='); equals != std::string::npos && environment_matters(entry))
            facts.env.emplace_back(entry.substr(0, equals), entry.substr(equals + 1));
    tell_process(image, facts, -1);
    watch_end(image);
    if (take_preload(facts.env)) {
        image.tapped = true;
        suspect(pid, 0);
    }
    writer_.publish();
    return ok(std::to_string(pid));
}

// pid, signal, whole group or not
std::string Collector::send_signal(Fields fields) {
    long pid = fields.number(), number = fields.number();
    bool group = fields.number() != 0;
    bool known = std::any_of(images_.begin(), images_.end(), [&](auto &image) {
        return image->pid == static_cast<uint32_t>(pid) && (image->alive || (group && image->spawned));
    });
    if (!known)
        return failed("no such process of ours: " + std::to_string(pid));
    if (kill(static_cast<pid_t>(group ? -pid : pid), static_cast<int>(number)) != 0 && errno != ESRCH)
        return failed(std::strerror(errno));
    return ok();
}

// stream, role, pid, text
std::string Collector::log_line(Fields fields) {
    std::string_view stream_text = fields.next(), role_text = fields.next();
    auto stream = std::find(kStreams.begin(), kStreams.end(), stream_text);
    auto role = role_named(role_text);
    if (stream == kStreams.end() || !role)
        return failed("no such stream or role: " + std::string(stream_text) + ", " + std::string(role_text));
    auto pid = static_cast<uint32_t>(fields.number());
    const Image *image = living(pid);
    Line line{
        writer_.now(), pid,  image ? image->index : -1, static_cast<LogStream>(stream - kStreams.begin()),
        *role,         false};
    std::string_view text = fields.rest();
    line.torn = !text.ends_with('\n');
    drain_regions();
    writer_.line(line, text);
    writer_.publish();
    return ok();
}

// What is done several times a second.
void Collector::tend(int64_t now) {
    if (now >= next_calibration_) {
        calibration_.update();
        next_calibration_ = now + kCalibrateEvery;
    }
    look_for_untold(now);
    for (Image *image : active_) {
        tell_refused_children(*image);
        tell_losses(*image);
        tell_lost_buffers(*image);
        if (image->modules_stale && now >= image->next_scan)
            scan_modules(*image);
    }
    write_in_flight();
    std::vector<WaitingLine> waiting;
    tee_.tend_partial_lines(now, waiting);
    for (WaitingLine &each : waiting)
        each.line.time = writer_.now();
    writer_.partial_lines(waiting);
    if (now >= next_disk_loss_ && tell_disk_loss()) {
        // What is left for events on a full disk must last: less and less often.
        disk_loss_pause_ = std::min(disk_loss_pause_ * 2, kLongestDiskLossPause);
        next_disk_loss_ = now + disk_loss_pause_;
    }
    next_tend_ = now + kTendEvery;
}

// False when there is nothing new to tell.
bool Collector::tell_disk_loss() {
    if (writer_.lost() == told_disk_loss_ && writer_.lost_lines() == told_line_loss_)
        return false;
    told_disk_loss_ = writer_.lost();
    told_line_loss_ = writer_.lost_lines();
    writer_.event(writer_.now(), "lost",
                  "\"process\":-1,\"why\":\"disk\",\"count\":" + std::to_string(told_disk_loss_) +
                      ",\"lines\":" + std::to_string(told_line_loss_));
    return true;
}

// The workbench is gone and no target runs: a forwarder alone is of no use to anybody.
bool Collector::abandoned() const {
    return options_.idle_exit && control_.had_clients() && control_.clients() == 0 &&
           std::all_of(active_.begin(), active_.end(),
                       [](Image *image) { return image->role == LogRole::Host; });
}

void Collector::signal_all(int number) {
    for (auto &image : images_)
        if (image->spawned && image->alive)
            kill(-static_cast<pid_t>(image->pid), number);
    for (Image *image : active_)
        kill(static_cast<pid_t>(image->pid), number);
}

// Ends what we started; recording goes on until it is gone.
void Collector::end_all() {
    if (ending_until_)
        return;
    signal_all(SIGTERM);
    ending_until_ = monotonic_ns() + kEndPatience;
}

void Collector::go_on_ending(int64_t now) {
    if ((active_.empty() && !kill_strays()) || (killed_ && now >= ending_until_)) {
        stopping_ = true;
    } else if (now >= ending_until_) {
        signal_all(SIGKILL);
        killed_ = true;
        ending_until_ = now + kEndPatience;
    }
}

// Milliseconds to wait: short while calls come, longer and longer while none do.
int Collector::timeout(bool busy) {
    int wait = pause_for_calls(busy);
    int64_t now = monotonic_ns();
    for (const Suspect &one : suspects_)
        wait = std::min(wait, static_cast<int>(std::max<int64_t>(1, (one.next_look - now) / 1'000'000)));
    return wait;
}

int Collector::pause_for_calls(bool busy) {
    bool rings =
        std::any_of(active_.begin(), active_.end(), [](Image *image) { return bool(image->region); });
    if (!rings) {
        pause_ms_ = 1;
        return active_.empty() && !tee_.has_partial_lines() && !options_.idle_exit ? 1000 : 100;
    }
    pause_ms_ = busy ? 1 : std::min(pause_ms_ * 2, kLongestPause);
    return pause_ms_;
}

void Collector::run() {
    int wait = 0;
    while (!stopping_) {
        loop_.wait(wait);
        bool busy = drain_regions();
        look_for_held_calls();
        int64_t now = monotonic_ns();
        look_at_suspects(now);
        if (now >= next_tend_)
            tend(now);
        writer_.publish();
        wait = timeout(busy);
        if (abandoned())
            end_all();
        if (ending_until_)
            go_on_ending(now);
    }
    seal();
    control_.flush();
}

void Collector::seal() {
    if (sealed_)
        return;
    sealed_ = true;
    drop_breakpoints(); // targets go on
    reap_children();
    drain_regions();
    look_for_held_calls();
    for (Image *image : active_) {
        tell_refused_children(*image);
        tell_losses(*image);
    }
    write_in_flight();
    tee_.finish();
    writer_.publish(); // what is lost by now is known
    tell_disk_loss();
    writer_.event(writer_.now(), "closed", "");
    writer_.finish();
}

} // namespace shimbench::collector
