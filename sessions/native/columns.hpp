// Rows into a chunk: every column by itself, in the encoding that suits what is in it.
#pragma once

#include "format.h"

#include <array>
#include <cstddef>
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
    // The chunk's bytes (ChunkHead, directory, columns), valid until the next call. 1 to kChunkRows rows.
    std::span<const std::byte> encode(std::span<const CallRow> rows, uint64_t first_row);
    // When the calls of the last chunk began.
    std::span<const int64_t> times() const;

  private:
    void split(std::span<const CallRow> rows);
    template <typename T> std::span<T> column(Column column);
    template <typename T> void encode_column(Column column);
    template <typename T> Encoding choose(Column column, std::span<const T> values);
    template <typename T> void planes(std::span<const T> values);
    template <typename T> std::span<const T> deltas(std::span<const T> values);
    template <typename T> bool dictionary(std::span<const T> values);
    std::span<const uint32_t> thread_deltas(std::span<const uint32_t> values);
    std::span<const std::byte> compressed(std::span<const std::byte> raw);
    void put(Column column, int width, Encoding encoding, size_t raw, std::span<const std::byte> stored);

    ZSTD_CCtx_s *context_;
    size_t rows_ = 0;
    std::array<std::vector<std::byte>, kColumns> columns_; // each in values of its own width
    std::vector<std::byte> changed_;                       // differences, in values of the column's width
    std::vector<std::byte> indices_, planes_, stored_, chunk_;
    std::span<const std::byte> raw_; // what is to be compressed
};

} // namespace shimbench::session
