#include "writer.hpp"

#include "checks.hpp"
#include "counts.hpp"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <ctime>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>
#include <zstd.h>

namespace shimbench::session {

namespace {

constexpr size_t kKnownBlobs = 1 << 17;
constexpr size_t kSmallReserve =
    64 << 10; // bytes; on a full disk events still tell who ended, and what was lost
constexpr size_t kBlobReserve = 256 << 10;

int64_t clock_ns(clockid_t clock) {
    timespec time;
    clock_gettime(clock, &time);
    return static_cast<int64_t>(time.tv_sec) * 1'000'000'000 + time.tv_nsec;
}

std::filesystem::path made(const std::filesystem::path &directory) {
    std::filesystem::create_directories(directory);
    if (std::filesystem::exists(directory / "session.json")) {
        errno = EEXIST;
        throw_errno((directory / "session.json").string());
    }
    return directory;
}

Descriptor locked(const std::filesystem::path &path) {
    Descriptor fd(open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
    if (!fd || flock(fd.get(), LOCK_EX) != 0)
        throw_errno(path.string());
    return fd;
}

StreamHead stream_head(const char (&magic)[8], size_t entry_size) {
    StreamHead head{};
    std::memcpy(head.magic, magic, sizeof head.magic);
    head.format = kFormat;
    head.entry_size = static_cast<uint32_t>(entry_size);
    return head;
}

std::string machine_json() {
    utsname name{};
    uname(&name);
    return std::string("{\"kernel\":") + json_string(name.release) +
           ",\"host\":" + json_string(name.nodename) +
           ",\"cpus\":" + std::to_string(sysconf(_SC_NPROCESSORS_ONLN)) + "}";
}

} // namespace

Origin Origin::here_and_now() {
    return {clock_ns(CLOCK_MONOTONIC), clock_ns(CLOCK_REALTIME), machine_json()};
}

Writer::Writer(const std::filesystem::path &directory, std::string_view tool_version, std::string_view model,
               uint64_t ticks_per_second, const Origin &origin)
    : directory_(made(directory)), lock_(locked(directory_ / "writer.lock")),
      start_mono_ns_(origin.start_mono_ns), start_unix_ns_(origin.start_unix_ns),
      tail_(directory_ / "calls.tail", kTailHeaderSize + size_t{kTailRows} * sizeof(CallRow)),
      in_flight_(directory_ / "inflight", sizeof(InFlightHead) + kInFlightRows * sizeof(InFlightRow)),
      chunks_(directory_ / "calls.dat"), chunk_index_(directory_ / "calls.index"),
      blobs_(directory_ / "blobs.dat"), blob_index_(directory_ / "blobs.index"),
      buffers_(directory_ / "buffers.dat"), buffer_index_(directory_ / "buffers.index"),
      log_(directory_ / "log.bytes"), log_index_(directory_ / "log.index"),
      events_(directory_ / "events.jsonl"), known_(kKnownBlobs) {
    if (!tail_.reserve(kTailHeaderSize) ||
        !in_flight_.reserve(sizeof(InFlightHead) + kInFlightRows * sizeof(InFlightRow)))
        throw_errno("no space for the session " + directory_.string());
    TailHead tail{stream_head(kTailMagic, sizeof(CallRow)),
                  kTailRows,
                  kTailHeaderSize,
                  0,
                  kRowsKey,
                  0,
                  kRowsKey,
                  0,
                  kRowsKey,
                  0,
                  kRowsKey,
                  kRowsAhead};
    std::memcpy(tail_.data(), &tail, sizeof tail);
    InFlightHead flying{stream_head(kInFlightMagic, sizeof(InFlightRow)), 0, 0, 0, 0};
    seal_record(flying);
    std::memcpy(in_flight_.data(), &flying, sizeof flying);
    chunk_index_.append_record(stream_head(kChunkIndexMagic, sizeof(ChunkEntry)));
    blob_index_.append_record(stream_head(kBlobIndexMagic, sizeof(BlobEntry)));
    buffer_index_.append_record(stream_head(kBufferIndexMagic, sizeof(BufferEntry)));
    log_index_.append_record(stream_head(kLogIndexMagic, sizeof(LogEntry)));

    std::string_view schema = model.empty() ? "{\"format\":1,\"hash\":\"\",\"functions\":[]}" : model;
    std::string packed(ZSTD_compressBound(schema.size()), '\0');
    size_t size = ZSTD_compress(packed.data(), packed.size(), schema.data(), schema.size(), 3);
    if (ZSTD_isError(size))
        throw std::bad_alloc();
    packed.resize(size);
    manifest_ = "\"format\":" + std::to_string(kFormat) + ",\"tool\":" + json_string(tool_version) +
                ",\"start_unix_ns\":" + std::to_string(start_unix_ns_) +
                ",\"start_mono_ns\":" + std::to_string(start_mono_ns_) +
                ",\"ticks_per_second\":" + std::to_string(ticks_per_second) +
                ",\"machine\":" + origin.machine +
                ",\"schema_crc32\":" + std::to_string(crc32(bytes_of(packed)));
    if (!replace_file(directory_ / "schema.json.zst", packed) || !chunk_index_.flush() ||
        !blob_index_.flush() || !buffer_index_.flush() || !log_index_.flush())
        throw_errno(directory_.string());
    write_manifest(false);
    reserve_ahead();
    sealer_ = std::thread(&Writer::seal_loop, this);
}

Writer::~Writer() {
    {
        std::lock_guard guard(mutex_);
        stopping_ = true;
    }
    changed_.notify_all();
    if (sealer_.joinable())
        sealer_.join();
}

int64_t Writer::now() const {
    return clock_ns(CLOCK_MONOTONIC) - start_mono_ns_;
}

void Writer::write_manifest(bool finished) {
    std::string text = "{" + manifest_ + ",\"finished\":";
    if (finished)
        text += "{\"time\":" + std::to_string(now()) + ",\"calls\":" + std::to_string(rows_) +
                ",\"blobs\":" + std::to_string(blob_count_) + ",\"lines\":" + std::to_string(line_count_) +
                ",\"events\":" + std::to_string(event_count_) + "}";
    else
        text += "null";
    text += "}";
    std::string whole =
        "{\"session\":" + text + ",\"crc32\":" + std::to_string(crc32(bytes_of(text))) + "}\n";
    if (!replace_file(directory_ / "session.json", whole) && !finished)
        throw_errno((directory_ / "session.json").string());
}

uint32_t Writer::blob(std::span<const std::byte> data) {
    auto [low, high] = content_hash(data);
    // Each content has four places; the oldest of them makes room.
    auto places = std::span(known_).subspan(low % (kKnownBlobs / 4) * 4, 4);
    for (const Known &known : places)
        if (known.blob && known.low == low && known.high == high)
            return known.blob;
    Known &known = *std::min_element(places.begin(), places.end(),
                                     [](const Known &a, const Known &b) { return a.blob < b.blob; });
    BlobEntry entry{blobs_.end(), static_cast<uint32_t>(data.size()), 0};
    seal_record(entry);
    entry.crc = crc32(data, entry.crc);
    blobs_.append(data);
    blob_index_.append_record(entry);
    known = {low, high, ++blob_count_};
    return blob_count_;
}

void Writer::event(int64_t time, std::string_view kind, std::string_view body) {
    std::string json = "{\"time\":" + std::to_string(time) + ",\"kind\":" + json_string(kind);
    if (!body.empty())
        json += "," + std::string(body);
    json += "}";
    char crc[16];
    std::snprintf(crc, sizeof crc, "%08x ", crc32(bytes_of(json)));
    unwritten_events_.push_back(crc + json + "\n");
}

void Writer::in_flight(int64_t time, std::span<InFlightRow> rows) {
    auto *head = reinterpret_cast<InFlightHead *>(in_flight_.data());
    auto count = static_cast<uint32_t>(std::min<size_t>(rows.size(), kInFlightRows));
    uint64_t generation = head->generation | 1;
    // Both ways: the rows are not written before a reader can see that they are.
    std::atomic_ref(head->generation).exchange(generation, std::memory_order_acq_rel);
    for (uint32_t i = 0; i < count; i++)
        rows[i].check = row_check(rows[i], i);
    if (count)
        std::memcpy(in_flight_.data() + sizeof(InFlightHead), rows.data(), count * sizeof(InFlightRow));
    InFlightHead written{head->head, generation + 1, time, count, 0};
    seal_record(written);
    head->time = time;
    head->count = count;
    head->crc = written.crc;
    store_release(head->generation, generation + 1);
}

TailHead *Writer::tail_head() {
    return reinterpret_cast<TailHead *>(tail_.data());
}

CallRow *Writer::tail_row(uint64_t row) {
    return reinterpret_cast<CallRow *>(tail_.data() + kTailHeaderSize) + row % kTailRows;
}

// The file system took no more payloads: calls that have one of these are lost, the others are not.
void Writer::drop_unwritten_blobs() {
    blob_count_ = published_blobs_;
    for (Known &known : known_)
        if (known.blob > published_blobs_)
            known = {};
    lost_ += batch_.erase_if([&](const CallRow &row) { return row.payload > published_blobs_; });
}

bool Writer::publish_rows() {
    bool whole = publish_buffers();
    // Data before the entries that name it: a reader never finds an entry without its bytes.
    if (blobs_.buffered() && (!blobs_.flush() || !blob_index_.flush())) {
        blob_index_.discard();
        drop_unwritten_blobs();
        whole = false;
    }
    auto *head = tail_head();
    published_blobs_ = blob_count_;
    store_count(head->blobs, head->blobs_copy, published_blobs_);
    for (size_t done = 0; done < batch_.size();) {
        uint64_t room;
        {
            std::unique_lock guard(mutex_);
            // The sealer is behind: calls wait in the rings meanwhile. On a full disk they are lost.
            if (rows_ - sealed_ >= kTailRows && !seal_failed_)
                changed_.wait_for(guard, std::chrono::seconds(1),
                                  [&] { return rows_ - sealed_ < kTailRows || seal_failed_; });
            room = kTailRows - (rows_ - sealed_);
        }
        size_t count = std::min<size_t>({room, kRowsAhead, batch_.size() - done});
        uint64_t last = std::min<uint64_t>(rows_ + count, kTailRows);
        if (count == 0 || !tail_.reserve(kTailHeaderSize + last * sizeof(CallRow))) {
            lost_ += batch_.size() - done;
            whole = false;
            break;
        }
        for (size_t i = 0; i < count; i++) {
            CallRow row = batch_[done + i];
            row.reserved = 0;
            row.check = row_check(row, rows_ + i);
            std::memcpy(tail_row(rows_ + i), &row, sizeof row);
        }
        done += count;
        rows_ += count;
        store_count(head->rows, head->rows_copy, rows_);
        bool full;
        {
            std::lock_guard guard(mutex_);
            published_ = rows_;
            full = published_ - sealed_ >= kChunkRows;
        }
        if (full)
            changed_.notify_all();
    }
    batch_.clear();
    return whole;
}

bool Writer::publish_events() {
    for (const std::string &line : unwritten_events_)
        events_.append(bytes_of(line));
    if (!events_.flush())
        return false; // kept, and tried again with the next
    event_count_ += unwritten_events_.size();
    unwritten_events_.clear();
    store_count(tail_head()->events, tail_head()->events_copy, event_count_);
    return true;
}

bool Writer::publish() {
    bool idle = batch_.empty() && !blobs_.buffered() && !buffer_index_.buffered();
    bool whole = idle ? true : publish_rows();
    whole = publish_lines() && whole;
    if (!unwritten_events_.empty())
        whole = publish_events() && whole;
    reserve_ahead();
    return whole;
}

// Blocks for what comes next, so that a disk that fills up doesn't take the small things at once.
void Writer::reserve_ahead() {
    events_.reserve_ahead(kSmallReserve);
    log_.reserve_ahead(kSmallReserve);
    log_index_.reserve_ahead(kSmallReserve);
    blobs_.reserve_ahead(kBlobReserve);
    blob_index_.reserve_ahead(kSmallReserve);
}

} // namespace shimbench::session
