// The output of processes: what a process writes goes to where it went before, unchanged and in order,
// and line by line into the log.
#pragma once

#include "event_loop.hpp"
#include "guardian.hpp"
#include "writer.hpp"

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace shimbench::collector {

// Who writes into a pipe.
struct Source {
    int32_t process = -1;
    uint32_t pid = 0;
    session::LogStream stream = session::LogStream::Stdout;
    session::LogRole role = session::LogRole::Target;
};

class Tee {
  public:
    // `text` follows what is begun.
    using TakeLine = std::function<void(const Source &, const session::BegunLine &begun,
                                        std::string_view text, bool torn)>;
    // Stores what there is of a line that grows long without an end; false when it could not.
    using KeepPiece = std::function<bool(session::BegunLine &begun, std::string_view text)>;
    // `before` is called before lines are taken from a pipe, so that calls made before them are
    // numbered before them.
    Tee(EventLoop &loop, TakeLine take_line, KeepPiece keep_piece, std::function<void()> before);
    ~Tee();

    // A new pipe whose bytes go to `original` (closed: to the log only). The write end, or none when the
    // original has no reader any more or there are no descriptors left.
    session::Descriptor open(const Source &source, session::Descriptor original, uint32_t *id = nullptr);
    // Of a pipe that was made before its writer was.
    void set_pid(uint32_t id, uint32_t pid) { pipes_.at(id)->source.pid = pid; }
    // For a process that would have this descriptor teed. One of our own pipes is recognised: then the
    // bytes go where that pipe's go, and a process that has the pipe already keeps it (none).
    session::Descriptor replace(const Source &source, session::Descriptor original);
    // Reads what is there from a process that has ended, and ends its last line.
    void process_ended(uint32_t pid);
    // Lines that wait for their end: flushed as torn when that takes too long, else listed.
    void tend_partial_lines(int64_t now_ns, std::vector<session::WaitingLine> &waiting);
    // Ends all last lines, leaving the pipes to the guardian.
    void finish();
    bool has_partial_lines() const;

  private:
    struct Pipe {
        uint32_t id = 0;
        Source source;
        session::Descriptor reader, destination;
        uint64_t device = 0, inode = 0;
        session::BegunLine begun; // of a line not yet ended
        std::string line;         // what follows that
        int64_t line_since = 0;   // ns, of its last bytes
        std::string unsent;       // read, and not taken by the destination yet
        bool waits = false;       // for the destination
        bool never_blocks = true; // the destination's writes return at once

        bool amid_line() const { return !line.empty() || !begun.empty(); }
    };

    Pipe *find(int fd);
    void read_pipe(Pipe &pipe);
    bool read_once(Pipe &pipe); // false: nothing more now, or the pipe is gone
    void log_bytes(Pipe &pipe, std::string_view data);
    bool forward(Pipe &pipe); // false: the destination is gone
    void end_line(Pipe &pipe);
    void listen(const Pipe &pipe);
    void give_up(uint32_t id);
    void close_pipe(uint32_t id);

    EventLoop &loop_;
    TakeLine take_line_;
    KeepPiece keep_piece_;
    std::function<void()> before_;
    Guardian guardian_;
    std::map<uint32_t, std::unique_ptr<Pipe>> pipes_;
    uint32_t next_id_ = 1;
};

} // namespace shimbench::collector
