// Sealing: rows leave the tail as columnar chunks, on a thread of its own while the session is written.
#include "checks.hpp"
#include "writer.hpp"

#include <algorithm>

namespace shimbench::session {

bool Writer::seal(uint64_t first, uint32_t count) {
    // Seals begin where the ring does, or a chunk further: the rows lie in one piece.
    auto chunk = encoder_.encode(std::span(tail_row(first), count), first);
    ChunkEntry entry{};
    entry.first_row = first;
    entry.offset = chunks_.end();
    entry.length = static_cast<uint32_t>(chunk.size());
    entry.rows = count;
    entry.time_min = entry.time_max = encoder_.times().front();
    for (int64_t time : encoder_.times()) {
        entry.time_min = std::min(entry.time_min, time);
        entry.time_max = std::max(entry.time_max, time);
    }
    seal_record(entry);
    chunks_.append(chunk);
    if (!chunks_.flush())
        return false;
    chunk_index_.append_record(entry);
    return chunk_index_.flush();
}

void Writer::seal_loop() {
    std::unique_lock guard(mutex_);
    for (;;) {
        changed_.wait(guard, [&] { return stopping_ || published_ - sealed_ >= kChunkRows; });
        if (published_ - sealed_ < kChunkRows)
            return;
        uint64_t first = sealed_;
        guard.unlock();
        bool sealed = seal(first, kChunkRows);
        guard.lock();
        seal_failed_ = !sealed;
        if (sealed) {
            sealed_ = first + kChunkRows;
            changed_.notify_all();
        } else if (stopping_) {
            return;
        } else {
            changed_.notify_all();
            changed_.wait_for(guard, std::chrono::milliseconds(200));
        }
    }
}

void Writer::finish() {
    publish();
    {
        std::lock_guard guard(mutex_);
        stopping_ = true;
    }
    changed_.notify_all();
    if (!sealer_.joinable())
        return;
    sealer_.join();
    bool whole = unwritten_events_.empty();
    while (whole && sealed_ < rows_) {
        auto count = static_cast<uint32_t>(std::min<uint64_t>(rows_ - sealed_, kChunkRows));
        whole = seal(sealed_, count);
        if (whole)
            sealed_ += count;
    }
    partial_lines({});
    if (!whole)
        return; // a full disk: the tail stays, and the session is one that was not finished
    for (AppendFile *file : {&events_, &log_, &log_index_, &blobs_, &blob_index_})
        file->give_back(); // the manifest may need the room
    write_manifest(true);
    tail_.truncate(kTailHeaderSize);
}

} // namespace shimbench::session
