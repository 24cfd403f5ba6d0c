// The writer's stream of buffers: contents of any length, each stored once.
#include "checks.hpp"
#include "writer.hpp"

#include <algorithm>
#include <tuple>
#include <zstd.h>

namespace shimbench::session {

// Compresses the pieces one after another, so that any length takes little memory.
bool Writer::store_buffer(uint64_t length, const BufferSource &source, BufferEntry &entry) {
    constexpr int kLevel = 1; // weights hardly shrink, and targets write faster than we store
    packed_.resize(ZSTD_compressBound(kBufferPiece));
    for (uint64_t at = 0; at < length; at += kBufferPiece) {
        auto piece = std::span(piece_).first(std::min(kBufferPiece, length - at));
        if (!source(at, piece))
            return false;
        size_t size = ZSTD_compress(packed_.data(), packed_.size(), piece.data(), piece.size(), kLevel);
        if (ZSTD_isError(size))
            return false;
        auto packed = std::span(packed_).first(size);
        entry.data_crc = crc32(packed, entry.data_crc);
        entry.stored += size;
        buffers_.append(packed);
        if (buffers_.buffered() >= kBufferPiece && !buffers_.flush())
            return false;
    }
    return true;
}

uint64_t Writer::buffer(uint64_t length, const BufferSource &source) {
    if (buffers_failed_)
        return 0;
    piece_.resize(kBufferPiece);
    Digest digest{0, 0, length};
    for (uint64_t at = 0; at < length; at += kBufferPiece) {
        auto piece = std::span(piece_).first(std::min(kBufferPiece, length - at));
        if (!source(at, piece))
            return 0;
        std::tie(digest.low, digest.high) = content_hash(piece, digest.low, digest.high);
    }
    if (auto known = known_buffers_.find(digest); known != known_buffers_.end())
        return known->second;
    BufferEntry entry{buffers_.end(), 0, length, {digest.low, digest.high}, 0, 0};
    if (!store_buffer(length, source, entry))
        return 0; // bytes that no entry names
    seal_record(entry);
    buffer_index_.append_record(entry);
    known_buffers_.emplace(digest, ++buffer_count_);
    return buffer_count_;
}

// Before the rows whose payloads name them.
bool Writer::publish_buffers() {
    if (!buffer_index_.buffered())
        return true;
    if (buffers_.flush() && buffer_index_.flush())
        return true;
    // Payloads may name numbers that never came: so no other content may ever get them.
    buffer_index_.discard();
    known_buffers_.clear();
    buffers_failed_ = true;
    return false;
}

} // namespace shimbench::session
