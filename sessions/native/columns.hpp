// Rows into a chunk: every column by itself, in the encoding that suits what is in it.
#pragma once

#include "format.h"

#include <memory>
#include <span>
#include <vector>

struct ZSTD_CCtx_s;

namespace shimbench::session {

class ChunkEncoder {
  public:
    ChunkEncoder();
    ~ChunkEncoder();
    ChunkEncoder(const ChunkEncoder &) = delete;
    ChunkEncoder &operator=(const ChunkEncoder &) = delete;
    // The chunk's bytes (ChunkHead, directory, columns), valid until the next call. At most kChunkRows.
    std::span<const std::byte> encode(std::span<const CallRow> rows, uint64_t first_row);

  private:
    void encode_column(Column column, int width, std::span<const uint64_t> values);
    void compress(std::span<const std::byte> raw);
    size_t compressed_size(std::span<const std::byte> raw);
    void planes(std::span<const uint64_t> values, int width);
    void deltas(std::span<const uint64_t> values, int width);
    void thread_deltas(std::span<const uint64_t> values);
    bool dictionary(std::span<const uint64_t> values, int width);

    ZSTD_CCtx_s *context_;
    std::span<const CallRow> rows_;
    std::vector<uint64_t> values_, changed_;
    std::vector<std::byte> raw_, stored_, sample_, chunk_;
};

} // namespace shimbench::session
