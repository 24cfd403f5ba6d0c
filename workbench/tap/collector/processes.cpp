// Targets coming, changing and going.
#include "collector.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

namespace shimbench::collector {

using session::Descriptor;
using session::json_string;
using session::LogRole;
using session::LogStream;

namespace {

constexpr int64_t kShortestScanPause = 50'000'000; // ns
constexpr int64_t kLongestScanPause = 5'000'000'000;
constexpr size_t kMostImages = 65535; // their index is 16 bits wide
constexpr unsigned kMostRefusalsTold = 100;
constexpr size_t kMostTold = 1024; // modules that one process may tell of; a tap knows 512
constexpr size_t kLongestPath = 4096;
constexpr uint64_t kAddressEnd = 1ull << 57;
constexpr uint32_t kTeeOutput = 1, kTeeErrors = 2;

// One message with up to three descriptors; false when there is none.
bool receive_hello(int socket, tap_hello &hello, std::vector<Descriptor> &fds) {
    iovec part{&hello, sizeof hello};
    alignas(cmsghdr) char control[CMSG_SPACE(3 * sizeof(int))];
    msghdr header{};
    header.msg_iov = &part;
    header.msg_iovlen = 1;
    header.msg_control = control;
    header.msg_controllen = sizeof control;
    ssize_t count = recvmsg(socket, &header, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
    if (count < 0)
        return false;
    for (cmsghdr *head = CMSG_FIRSTHDR(&header); head; head = CMSG_NXTHDR(&header, head)) {
        if (head->cmsg_level != SOL_SOCKET || head->cmsg_type != SCM_RIGHTS)
            continue;
        size_t number = (head->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < number; i++) {
            int fd;
            std::memcpy(&fd, CMSG_DATA(head) + i * sizeof fd, sizeof fd);
            fds.emplace_back(fd);
        }
    }
    return count == static_cast<ssize_t>(sizeof hello);
}

LogStream stream_of(LogRole role, LogStream descriptor) {
    if (role == LogRole::Build)
        return LogStream::Build;
    return role == LogRole::Host ? LogStream::Host : descriptor;
}

// The path that a module record tells, as /proc/PID/maps would have it; empty when it is none.
std::string told_path(std::span<const std::byte> items) {
    tap_item item;
    if (items.size() < sizeof item)
        return {};
    std::memcpy(&item, items.data(), sizeof item);
    if (item.kind != TAP_ITEM_STRING || item.length > std::min(kLongestPath, items.size() - sizeof item))
        return {};
    const char *text = reinterpret_cast<const char *>(items.data() + sizeof item);
    std::string path(text, strnlen(text, item.length));
    std::error_code none;
    if (path.starts_with('/'))
        if (auto resolved = std::filesystem::canonical(path, none); !none)
            return resolved.string();
    return path;
}

std::string module_json(const MappedModule &module) {
    return "[" + json_string(module.path) + "," + std::to_string(module.start) + "," +
           std::to_string(module.end) + "]";
}

// Whether both are one pipe or terminal, whose reader sees the order of all that is written.
bool same_destination(int output, int errors) {
    struct stat first, second;
    if (fstat(output, &first) != 0 || fstat(errors, &second) != 0)
        return false;
    bool null = S_ISCHR(first.st_mode) && first.st_rdev == makedev(1, 3);
    return !null && first.st_dev == second.st_dev && first.st_ino == second.st_ino;
}

} // namespace

void Collector::accept_target(int listener) {
    int fd = accept4(listener, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0)
        return;
    auto socket = std::make_shared<Descriptor>(fd);
    loop_.add(fd, EPOLLIN, [this, fd, socket](uint32_t) { read_hello(fd, socket); });
}

void Collector::read_hello(int fd, std::shared_ptr<Descriptor> socket) {
    tap_hello hello{};
    std::vector<Descriptor> fds;
    int pid = 0;
    loop_.remove(fd);
    if (!receive_hello(fd, hello, fds) || hello.kind != TAP_HELLO || fds.empty())
        return; // it is closed, and the tap passes everything through
    // What our targets start may run as anybody.
    if (known_user(fd, pid, options_.user) || (pid > 0 && is_descendant(pid)))
        return welcome(std::move(*socket), static_cast<uint32_t>(pid), hello, std::move(fds));
    tell_refusal(pid, "a process of another user, started by none of the target's");
}

void Collector::tell_refusal(int pid, const std::string &why) {
    // Anybody on this machine can connect, as often as they like.
    if (refusals_ >= kMostRefusalsTold)
        return;
    const bool last = ++refusals_ == kMostRefusalsTold;
    writer_.event(writer_.now(), "refused",
                  "\"pid\":" + std::to_string(pid) +
                      ",\"why\":" + json_string(last ? why + "; further ones are not told" : why));
}

void Collector::welcome(Descriptor socket, uint32_t pid, const tap_hello &hello,
                        std::vector<Descriptor> fds) {
    tap_welcome reply{TAP_WELCOME, 0, 0, 0};
    std::string why;
    std::unique_ptr<Region> region = Region::adopt(fds[0].get(), why);
    if (region && images_.size() >= kMostImages) {
        region.reset();
        why = "a session holds 65535 processes";
    }
    if (!region) {
        tell_refusal(static_cast<int>(pid), why);
        send_with_descriptors(socket.get(), &reply, sizeof reply, nullptr, 0);
        return;
    }
    drain_regions();
    ProcessFacts facts = read_facts(static_cast<int>(pid));
    auto [image, parent_index] = image_for(pid, facts);
    image.registered = image.tapped = true;
    image.stack = read_state(static_cast<int>(pid)).stack;
    if (preload_.empty())
        take_preload(facts.env);
    image.clock.emplace(region->head(), calibration_);
    image.region = std::move(region);
    image.region->set_breakpoints(breakpoints_); // before it is answered: its first call may be one
    grant_buffers(image);
    image.held.clear();
    image.socket = std::move(socket);
    if (!image.pidfd)
        watch_end(image);
    if (image.pidfd) // else its socket is watched for its end already
        loop_.add(image.socket.get(), EPOLLRDHUP, [this, watched = &image](uint32_t) { hung_up(*watched); });
    tell_process(image, facts, parent_index);
    scan_modules(image);

    reply.accepted = 1;
    reply.process = static_cast<uint32_t>(image.index);
    std::vector<Descriptor> ends;
    size_t next = 1;
    bool shared = (hello.tee & kTeeOutput) && (hello.tee & kTeeErrors) && fds.size() > 2 &&
                  same_destination(fds[1].get(), fds[2].get());
    for (uint32_t bit : {kTeeOutput, kTeeErrors}) {
        if (!(hello.tee & bit) || next >= fds.size())
            continue;
        if (shared && bit == kTeeErrors) {
            // One pipe for both, or what is written to them would change its order.
            if (!ends.empty()) {
                reply.tee |= bit;
                ends.emplace_back(fcntl(ends[0].get(), F_DUPFD_CLOEXEC, 3));
            }
            continue;
        }
        Source source{image.index, pid,
                      stream_of(image.role, bit == kTeeOutput ? LogStream::Stdout : LogStream::Stderr),
                      image.role};
        Descriptor end = tee_.replace(source, std::move(fds[next++]));
        if (!end)
            continue;
        reply.tee |= bit;
        ends.push_back(std::move(end));
    }
    int numbers[2];
    for (size_t i = 0; i < ends.size(); i++)
        numbers[i] = ends[i].get();
    send_with_descriptors(image.socket.get(), &reply, sizeof reply, numbers, ends.size());
    writer_.publish();
}

Image &Collector::add_image(uint32_t pid) {
    images_.push_back(std::make_unique<Image>());
    Image &image = *images_.back();
    image.index = static_cast<int32_t>(images_.size() - 1);
    image.pid = pid;
    active_.push_back(&image);
    return image;
}

// Which library of ours a target gets by LD_PRELOAD; true when there is one.
bool Collector::take_preload(const std::vector<std::pair<std::string, std::string>> &environment) {
    for (const auto &[name, value] : environment)
        for (size_t at = 0; name == "LD_PRELOAD" && at < value.size();) {
            size_t end = std::min(value.find_first_of(": ", at), value.size());
            if (std::string word = value.substr(at, end - at); word.ends_with("/libshimbench-preload.so")) {
                preload_ = word;
                return true;
            }
            at = end + 1;
        }
    return false;
}

Image *Collector::living(uint32_t pid) {
    auto found =
        std::find_if(active_.begin(), active_.end(), [&](Image *image) { return image->pid == pid; });
    return found == active_.end() ? nullptr : *found;
}

// The image of a process that makes itself known, and the index of what it came from: a program that was
// executed takes the place of what was registered under its pid, a new process has a parent.
std::pair<Image &, int> Collector::image_for(uint32_t pid, const ProcessFacts &facts) {
    Image *before = living(pid);
    if (before && !before->registered)
        return {*before, -1};
    Image &image = add_image(pid);
    if (before) {
        image.run = before->run;
        image.role = before->role;
        image.spawned = before->spawned;
        replaced_by_exec(*before, image.index);
        return {image, before->index};
    }
    inherit_from_parent(image, facts.ppid);
    Image *parent = living(static_cast<uint32_t>(facts.ppid));
    return {image, parent ? parent->index : -1};
}

// Run and role are those of the nearest ancestor that is known.
void Collector::inherit_from_parent(Image &image, int parent_pid) {
    image.run = last_run_;
    for (int level = 0; level < 16 && parent_pid > 1; level++, parent_pid = parent_of(parent_pid))
        for (Image *other : active_)
            if (other != &image && static_cast<int>(other->pid) == parent_pid) {
                image.run = other->run;
                image.role = other->role;
                return;
            }
}

void Collector::watch_end(Image &image) {
    image.pidfd = Descriptor(static_cast<int>(syscall(SYS_pidfd_open, image.pid, 0)));
    Image *watched = &image; // images are never freed
    auto handler = [this, watched](uint32_t) {
        if (!watched->alive)
            return;
        int status = 0;
        pid_t pid = static_cast<pid_t>(watched->pid);
        if (waitpid(pid, &status, WNOHANG) == pid)
            image_ended(*watched, decode_wait_status(status));
        else
            image_ended(*watched, read_exit(pid, watched->pidfd.get()));
    };
    // It may have ended already; then there is no descriptor to be had.
    if (!image.pidfd || !loop_.add(image.pidfd.get(), EPOLLIN, handler))
        if (image.socket)
            loop_.add(image.socket.get(), EPOLLRDHUP, handler); // lanes come in there too
}

void Collector::tell_process(Image &image, const ProcessFacts &facts, int parent_index) {
    std::string argv, env;
    for (const std::string &argument : facts.argv)
        argv += (argv.empty() ? "" : ",") + json_string(argument);
    for (const auto &[name, value] : facts.env)
        env += (env.empty() ? "" : ",") + json_string(name) + ":" + json_string(value);
    writer_.event(writer_.now(), "process",
                  "\"index\":" + std::to_string(image.index) + ",\"pid\":" + std::to_string(image.pid) +
                      ",\"ppid\":" + std::to_string(facts.ppid) + ",\"exe\":" + json_string(facts.exe) +
                      ",\"argv\":[" + argv + "],\"env\":{" + env + "},\"cwd\":" + json_string(facts.cwd) +
                      ",\"run\":" + std::to_string(image.run) +
                      ",\"role\":" + json_string(role_name(image.role)) +
                      (parent_index >= 0 ? ",\"parent\":" + std::to_string(parent_index) : "") +
                      ",\"registered\":" + (image.registered ? "true" : "false"));
}

void Collector::scan_modules(Image &image) {
    std::vector<MappedModule> modules = read_modules(static_cast<int>(image.pid));
    bool changed = !modules.empty() && modules != image.modules;
    image.modules_stale = false;
    // A caller that lies in no file would have us look again and again: wait longer each time.
    image.scan_pause = changed ? kShortestScanPause : std::min(image.scan_pause * 2 + 1, kLongestScanPause);
    image.next_scan = monotonic_ns() + image.scan_pause;
    if (!changed)
        return;
    image.modules = std::move(modules);
    image.told.clear();
    std::string text;
    for (const MappedModule &module : image.modules)
        text += (text.empty() ? "" : ",") + module_json(module);
    writer_.event(writer_.now(), "modules",
                  "\"index\":" + std::to_string(image.index) + ",\"modules\":[" + text + "]");
    tell_maps(image);
}

// Which libraries of CUDA a process really mapped, as far as its list of modules and its tap have said.
void Collector::tell_maps(Image &image) {
    std::string maps;
    std::vector<std::string_view> seen;
    for (const auto *modules : {&image.modules, &image.told})
        for (const MappedModule &module : *modules) {
            if (!is_cuda_library(module.path) || std::ranges::find(seen, module.path) != seen.end())
                continue;
            seen.push_back(module.path);
            LibraryFacts facts = read_library(module.path);
            maps += (maps.empty() ? "" : ",") + ("{\"path\":" + json_string(module.path)) +
                    ",\"soname\":" + json_string(facts.soname) +
                    ",\"build_id\":" + json_string(facts.build_id) + "}";
        }
    if (maps != image.maps)
        writer_.event(writer_.now(), "maps",
                      "\"index\":" + std::to_string(image.index) + ",\"maps\":[" + maps + "]");
    image.maps = maps;
}

// What the tap says of a module is known at once, also of a process that is gone by now.
void Collector::take_module(Image &image, const tap_record &record, std::span<const std::byte> items) {
    MappedModule module{told_path(items), record.args[0], record.args[1]};
    if (module.path.empty() || module.start >= module.end || module.end > kAddressEnd ||
        image.told_count >= kMostTold)
        return;
    if (std::find(image.told.begin(), image.told.end(), module) != image.told.end())
        return;
    auto scanned = [&](const MappedModule &other) { // zeroed memory at its end is no part of it there
        return other.path == module.path && other.start == module.start;
    };
    size_t replaced = std::erase_if(image.told, [&](const MappedModule &other) {
        return other.start < module.end && module.start < other.end;
    });
    if (replaced == 0 && std::any_of(image.modules.begin(), image.modules.end(), scanned))
        return;
    image.told_count++;
    writer_.event(writer_.now(), "modules",
                  "\"index\":" + std::to_string(image.index) + ",\"modules\":[" + module_json(module) + "]");
    bool of_cuda = is_cuda_library(module.path);
    image.told.push_back(std::move(module));
    if (of_cuda)
        tell_maps(image);
}

void Collector::replaced_by_exec(Image &image, int32_t by) {
    finish_region(image);
    image.alive = false;
    std::erase(active_, &image);
    if (image.pidfd)
        loop_.remove(image.pidfd.get());
    if (image.socket)
        loop_.remove(image.socket.get());
    image.pidfd.reset();
    image.socket.reset();
    writer_.event(writer_.now(), "exec",
                  "\"index\":" + std::to_string(image.index) + ",\"by\":" + std::to_string(by));
}

void Collector::image_ended(Image &image, ExitStatus status) {
    if (!image.alive)
        return;
    tell_refused_children(image);
    finish_region(image);
    image.alive = false;
    std::erase(active_, &image);
    tee_.process_ended(image.pid);
    if (image.pidfd)
        loop_.remove(image.pidfd.get());
    if (image.socket)
        loop_.remove(image.socket.get());
    image.pidfd.reset();
    image.socket.reset();
    std::string how;
    if (status.known && status.signal)
        how = ",\"exit_code\":null,\"signal\":" + std::to_string(status.signal);
    else if (status.known)
        how = ",\"exit_code\":" + std::to_string(status.code) + ",\"signal\":null";
    writer_.event(writer_.now(), "exit", "\"index\":" + std::to_string(image.index) + how);
    writer_.publish();
    if (image.spawned)
        control_.notify(
            joined({"exit", std::to_string(image.pid), status.known ? std::to_string(status.code) : "",
                    std::to_string(status.signal)}));
}

// Our own children, and orphans of theirs that came to us.
void Collector::reap_children() {
    siginfo_t info;
    for (;;) {
        info.si_pid = 0;
        if (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) != 0 || info.si_pid == 0)
            return;
        int status = 0;
        pid_t pid = info.si_pid;
        Image *image = living(static_cast<uint32_t>(pid));
        if (waitpid(pid, &status, WNOHANG) == pid && image)
            image_ended(*image, decode_wait_status(status));
    }
}

} // namespace shimbench::collector
