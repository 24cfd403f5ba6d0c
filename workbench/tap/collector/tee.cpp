#include "tee.hpp"

#include "clock.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <unistd.h>

namespace shimbench::collector {

namespace {

using session::Descriptor;

constexpr int64_t kLongWait = 2'000'000'000; // ns until a line without end is shown as torn
constexpr size_t kPiece = 256 << 10;         // bytes of a line without end that are held in memory
constexpr size_t kLongestLine = 256 << 20;   // bytes; a longer one is shown as several

// The same file with a description of its own, so that O_NONBLOCK is nobody else's business. Regular
// files keep theirs (it has the offset) and never block.
Descriptor without_blocking(Descriptor original, bool &never_blocks, bool &gone) {
    struct stat info;
    never_blocks = true;
    gone = fstat(original.get(), &info) != 0;
    if (gone || !(S_ISFIFO(info.st_mode) || S_ISCHR(info.st_mode) || S_ISSOCK(info.st_mode)))
        return original;
    if (!S_ISSOCK(info.st_mode)) {
        std::string path = "/proc/self/fd/" + std::to_string(original.get());
        Descriptor fresh(::open(path.c_str(), O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC));
        if (fresh)
            return fresh;
        gone = errno == ENXIO;
    }
    never_blocks = false;
    return original;
}

} // namespace

Tee::Tee(EventLoop &loop, TakeLine take_line, KeepPiece keep_piece, std::function<void()> before)
    : loop_(loop), take_line_(std::move(take_line)), keep_piece_(std::move(keep_piece)),
      before_(std::move(before)) {}

Tee::~Tee() {
    if (pipes_.empty())
        guardian_.dismiss();
}

Tee::Pipe *Tee::find(int fd) {
    struct stat info;
    if (fstat(fd, &info) != 0 || !S_ISFIFO(info.st_mode))
        return nullptr;
    for (auto &[id, pipe] : pipes_)
        if (pipe->inode == info.st_ino && pipe->device == info.st_dev)
            return pipe.get();
    return nullptr;
}

Descriptor Tee::open(const Source &source, Descriptor original, uint32_t *made) {
    auto pipe = std::make_unique<Pipe>();
    if (original) {
        bool gone = false;
        pipe->destination = without_blocking(std::move(original), pipe->never_blocks, gone);
        if (gone)
            return {};
    }
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0)
        return {};
    pipe->reader = Descriptor(ends[0]);
    Descriptor writer(ends[1]);
    fcntl(ends[0], F_SETFL, O_NONBLOCK);
    fcntl(ends[0], F_SETPIPE_SZ, 1 << 20);
    struct stat info;
    fstat(ends[0], &info);
    pipe->device = info.st_dev;
    pipe->inode = info.st_ino;
    uint32_t id = pipe->id = next_id_++;
    pipe->source = source;
    if (made)
        *made = id;
    listen(*pipe);
    if (pipe->destination)
        // No events asked for: an error (its reader is gone) comes unasked.
        loop_.add(pipe->destination.get(), 0, [this, id](uint32_t events) {
            auto found = pipes_.find(id);
            if (found == pipes_.end())
                return;
            if ((events & (EPOLLERR | EPOLLHUP)) || !forward(*found->second))
                give_up(id);
        });
    guardian_.watch(id, pipe->reader.get(), pipe->destination.get());
    pipes_[id] = std::move(pipe);
    return writer;
}

Descriptor Tee::replace(const Source &source, Descriptor original) {
    Pipe *ours = find(original.get());
    if (!ours)
        return open(source, std::move(original));
    if (ours->source.pid == source.pid) { // spawned by us, or the image before an exec
        ours->source.process = source.process;
        return {};
    }
    Descriptor destination;
    if (ours->destination)
        destination = Descriptor(fcntl(ours->destination.get(), F_DUPFD_CLOEXEC, 3));
    return open(source, std::move(destination));
}

void Tee::log_bytes(Pipe &pipe, std::string_view data) {
    pipe.line_since = monotonic_ns();
    while (!data.empty()) {
        size_t newline = data.find('\n');
        if (newline == std::string_view::npos) {
            pipe.line.append(data);
            break;
        }
        std::string_view end = data.substr(0, newline + 1);
        if (!pipe.amid_line()) {
            take_line_(pipe.source, {}, end, false);
        } else {
            pipe.line.append(end);
            take_line_(pipe.source, pipe.begun, pipe.line, false);
            pipe.line.clear();
            pipe.begun = {};
        }
        data.remove_prefix(newline + 1);
    }
    if (pipe.line.size() < kPiece)
        return;
    bool kept = keep_piece_(pipe.begun, pipe.line);
    pipe.line.clear();
    if (!kept || pipe.begun.length >= kLongestLine)
        end_line(pipe);
}

void Tee::end_line(Pipe &pipe) {
    if (pipe.amid_line())
        take_line_(pipe.source, pipe.begun, pipe.line, true);
    pipe.begun = {};
    pipe.line.clear();
    pipe.line.shrink_to_fit();
}

bool Tee::forward(Pipe &pipe) {
    size_t done = 0;
    bool blocked = false;
    while (done < pipe.unsent.size()) {
        size_t size = pipe.unsent.size() - done;
        if (!pipe.never_blocks || pipe.destination.get() < 0) {
            pollfd writable{pipe.destination.get(), POLLOUT, 0};
            if (poll(&writable, 1, 0) == 0) {
                blocked = true;
                break;
            }
            size = std::min<size_t>(size, 4096); // a pipe that can be written takes a page at once
        }
        ssize_t wrote = write(pipe.destination.get(), pipe.unsent.data() + done, size);
        if (wrote < 0 && errno == EINTR)
            continue;
        if (wrote < 0 && errno == EAGAIN) {
            blocked = true;
            break;
        }
        if (wrote < 0)
            return false;
        done += static_cast<size_t>(wrote);
    }
    pipe.unsent.erase(0, done);
    if (blocked != pipe.waits) {
        pipe.waits = blocked;
        loop_.modify(pipe.destination.get(), blocked ? uint32_t{EPOLLOUT} : 0u);
        if (blocked)
            loop_.remove(pipe.reader.get()); // its writer is held up, as it would be without us
        else
            listen(pipe);
    }
    return true;
}

void Tee::listen(const Pipe &pipe) {
    loop_.add(pipe.reader.get(), EPOLLIN, [this, id = pipe.id](uint32_t) {
        if (auto found = pipes_.find(id); found != pipes_.end())
            read_pipe(*found->second);
    });
}

// What is left in a pipe whose destination is gone, into the log; then its writer is told.
void Tee::give_up(uint32_t id) {
    for (int i = 0; i < 64; i++)
        if (auto found = pipes_.find(id); found == pipes_.end() || !read_once(*found->second))
            break;
    close_pipe(id);
}

bool Tee::read_once(Pipe &pipe) {
    std::array<char, 65536> buffer;
    ssize_t count;
    do
        count = read(pipe.reader.get(), buffer.data(), buffer.size());
    while (count < 0 && errno == EINTR);
    if (count < 0)
        return false; // nothing now
    if (count == 0) {
        if (pipe.unsent.empty())
            close_pipe(pipe.id);
        return false; // else it is read again once the destination has taken the rest
    }
    std::string_view data(buffer.data(), static_cast<size_t>(count));
    if (pipe.destination)
        pipe.unsent.append(data);
    log_bytes(pipe, data);
    return true;
}

void Tee::read_pipe(Pipe &pipe) {
    before_();
    uint32_t id = pipe.id;
    for (int i = 0; i < 16; i++) {
        if (!read_once(pipe))
            return;
        if (!forward(pipe)) {
            give_up(id);
            return;
        }
        if (pipe.waits)
            return;
    }
}

// Closing the read end is what tells the writer that nobody reads any more.
void Tee::close_pipe(uint32_t id) {
    auto found = pipes_.find(id);
    if (found == pipes_.end())
        return;
    Pipe &pipe = *found->second;
    end_line(pipe);
    guardian_.forget(id);
    loop_.remove(pipe.reader.get());
    if (pipe.destination)
        loop_.remove(pipe.destination.get());
    pipes_.erase(found);
}

void Tee::process_ended(uint32_t pid) {
    std::vector<uint32_t> ids;
    for (auto &[id, pipe] : pipes_)
        if (pipe->source.pid == pid)
            ids.push_back(id);
    std::vector<uint32_t> empty;
    for (uint32_t id : ids)
        // A pipe holds 1 MiB at the most; children that write on are read later.
        for (int i = 0; i < 64; i++) {
            auto found = pipes_.find(id);
            if (found == pipes_.end() || found->second->waits)
                break;
            if (!read_once(*found->second)) {
                empty.push_back(id);
                break;
            }
            if (!forward(*found->second))
                close_pipe(id);
        }
    for (uint32_t id : empty)
        if (auto found = pipes_.find(id); found != pipes_.end())
            end_line(*found->second);
}

void Tee::tend_partial_lines(int64_t now_ns, std::vector<session::WaitingLine> &waiting) {
    for (auto &[id, pipe] : pipes_) {
        if (!pipe->amid_line())
            continue;
        if (now_ns - pipe->line_since > kLongWait && !pipe->waits) {
            end_line(*pipe);
            continue;
        }
        session::Line line;
        line.pid = pipe->source.pid;
        line.process = pipe->source.process;
        line.stream = pipe->source.stream;
        line.role = pipe->source.role;
        line.torn = true;
        waiting.push_back({line, &pipe->begun, pipe->line});
    }
}

bool Tee::has_partial_lines() const {
    return std::any_of(pipes_.begin(), pipes_.end(), [](auto &one) { return one.second->amid_line(); });
}

void Tee::finish() {
    for (auto &[id, pipe] : pipes_) {
        for (int i = 0; i < 64 && !pipe->waits; i++) {
            std::array<char, 65536> buffer;
            ssize_t count = read(pipe->reader.get(), buffer.data(), buffer.size());
            if (count <= 0)
                break;
            std::string_view data(buffer.data(), static_cast<size_t>(count));
            log_bytes(*pipe, data);
            if (pipe->destination) {
                pipe->unsent.append(data);
                forward(*pipe);
            }
        }
        end_line(*pipe);
    }
}

} // namespace shimbench::collector
