// The session's writer: knows records and their order on disk, nothing of rings or sockets. One thread
// uses it; sealing runs on a thread of its own.
//
// What is written becomes visible with publish(): payloads first, then the rows that name them, then
// lines and events. A kill at any moment leaves what was published.
#pragma once

#include "columns.hpp"
#include "files.hpp"
#include "format.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <condition_variable>
#include <filesystem>
#include <functional>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <unordered_map>
#include <vector>

namespace shimbench::session {

struct Line {
    int64_t time = 0;
    uint32_t pid = 0;
    int32_t process = -1;
    LogStream stream = LogStream::Stdout;
    LogRole role = LogRole::Target;
    bool torn = false;
};

// What is stored already of a long line that has no end yet.
struct BegunLine {
    std::vector<LinePiece> pieces;
    uint64_t length = 0;
    uint32_t crc = 0; // of the text so far

    bool empty() const { return pieces.empty(); }
};

// A line whose end is awaited; `text` follows what is begun.
struct WaitingLine {
    Line line;
    const BegunLine *begun;
    std::string_view text;
};

// Where and when a session was recorded; a copy keeps what its original says.
struct Origin {
    int64_t start_mono_ns = 0, start_unix_ns = 0;
    std::string machine; // a JSON object

    static Origin here_and_now();
};

// Text as a JSON string, quotes included; bytes that are no UTF-8 become U+FFFD.
std::string json_string(std::string_view text);

// Rows that each are written once before they are read: room for them is not cleared, and kept.
class RowBuffer {
  public:
    std::span<CallRow> grow(size_t count) {
        if (size_ + count > capacity_)
            move_to(std::max(size_ + count, 2 * capacity_));
        size_ += count;
        return std::span(rows_.get() + size_ - count, count);
    }
    void shrink(size_t size) { size_ = size; }
    void clear() { size_ = 0; }
    // How many there were.
    template <typename Predicate> size_t erase_if(Predicate predicate) {
        CallRow *end = std::remove_if(rows_.get(), rows_.get() + size_, predicate);
        auto gone = static_cast<size_t>(rows_.get() + size_ - end);
        size_ -= gone;
        return gone;
    }
    size_t size() const { return size_; }
    bool empty() const { return size_ == 0; }
    const CallRow &operator[](size_t at) const { return rows_[at]; }
    CallRow &operator[](size_t at) { return rows_[at]; }

  private:
    void move_to(size_t capacity) {
        auto larger = std::make_unique_for_overwrite<CallRow[]>(capacity);
        std::copy_n(rows_.get(), size_, larger.get());
        rows_ = std::move(larger);
        capacity_ = capacity;
    }
    std::unique_ptr<CallRow[]> rows_;
    size_t size_ = 0, capacity_ = 0;
};

class Writer {
  public:
    // Makes the directory and its streams; throws std::system_error when it can't or when there is a
    // session already. `model` is the API model as JSON, may be empty.
    Writer(const std::filesystem::path &directory, std::string_view tool_version, std::string_view model,
           uint64_t ticks_per_second = 0, const Origin &origin = Origin::here_and_now());
    ~Writer();
    Writer(const Writer &) = delete;
    Writer &operator=(const Writer &) = delete;

    // CLOCK_MONOTONIC when time 0 was, and what it is since.
    int64_t start_mono_ns() const { return start_mono_ns_; }
    int64_t now() const;

    uint32_t blob(std::span<const std::byte> data);
    // Fills `to` with a buffer's bytes from `offset` on; false when it can't.
    using BufferSource = std::function<bool(uint64_t offset, std::span<std::byte> to)>;
    // The number of a buffer of `length` bytes, in buffers.dat unless its like is there already; 0 when its
    // source fails or the disk is full. Reads the source twice when it is new.
    uint64_t buffer(uint64_t length, const BufferSource &source);
    // Bytes of buffers.dat.
    uint64_t buffer_bytes() const { return buffers_.end(); }
    void call(const CallRow &row) { batch_.grow(1)[0] = row; }
    // Room for so many calls more, all of which are to be filled in.
    std::span<CallRow> room(size_t count) { return batch_.grow(count); }
    // `text` is all of it, or what follows the pieces that were kept.
    void line(const Line &line, std::string_view text, const BegunLine &begun = {});
    // Stores a further piece of a line without an end, so that it takes no memory; publishes what is before
    // it. False when the file system would not take it: that piece is lost.
    bool keep_piece(BegunLine &begun, std::string_view text);
    // `body` is what follows "time" and "kind" in the event's object: `"a":1,"b":2`, or empty.
    void event(int64_t time, std::string_view kind, std::string_view body);
    void in_flight(int64_t time, std::span<InFlightRow> rows);
    // Lines that have no end yet, so that a kill of the writer does not lose them.
    void partial_lines(std::span<const WaitingLine> lines);
    // False when something was lost because the file system would not take it.
    bool publish();
    // Seals what is left and marks the session finished.
    void finish();

    uint64_t calls() const { return rows_; }
    // What the file system would not take, so far.
    uint64_t lost() const { return lost_; }
    uint64_t lost_lines() const { return lost_lines_; }

  private:
    // Remembers the contents of the last blobs, so that equal ones are stored once.
    struct Known {
        uint64_t low = 0, high = 0;
        uint32_t blob = 0;
    };

    struct Digest {
        uint64_t low = 0, high = 0, length = 0;
        bool operator==(const Digest &) const = default;
    };
    struct DigestHash {
        size_t operator()(const Digest &digest) const { return digest.low; }
    };

    bool store_buffer(uint64_t length, const BufferSource &source, BufferEntry &entry);
    bool publish_buffers();
    void write_manifest(bool finished);
    bool publish_rows();
    bool publish_events();
    void drop_unwritten_blobs();
    void reserve_ahead();
    bool publish_lines();
    LogEntry entry_of(const Line &line, std::string_view text, const BegunLine &begun, uint64_t offset) const;
    TailHead *tail_head();
    CallRow *tail_row(uint64_t row);
    void seal_loop();
    bool seal(uint64_t first, uint32_t count);

    std::filesystem::path directory_;
    Descriptor lock_;
    int64_t start_mono_ns_ = 0, start_unix_ns_ = 0;
    std::string manifest_;
    MappedFile tail_, in_flight_;
    AppendFile chunks_, chunk_index_, blobs_, blob_index_, buffers_, buffer_index_, log_, log_index_, events_;
    RowBuffer batch_;
    std::vector<Known> known_;
    uint64_t rows_ = 0, lost_ = 0, lost_lines_ = 0;
    uint64_t line_count_ = 0, event_count_ = 0;
    uint64_t pending_lines_ = 0;
    std::vector<std::string> unwritten_events_;
    uint32_t blob_count_ = 0, published_blobs_ = 0;
    std::unordered_map<Digest, uint64_t, DigestHash> known_buffers_;
    uint64_t buffer_count_ = 0;
    bool buffers_failed_ = false;
    std::vector<std::byte> piece_, packed_;
    bool partial_exists_ = false;

    ChunkEncoder encoder_;
    std::mutex mutex_;
    std::condition_variable changed_;
    uint64_t published_ = 0, sealed_ = 0; // both under mutex_
    bool stopping_ = false, seal_failed_ = false;
    std::thread sealer_;
};

} // namespace shimbench::session
