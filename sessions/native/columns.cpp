#include "columns.hpp"

#include "checks.hpp"

#include <algorithm>
#include <cassert>
#include <cstring>
#include <new>
#include <type_traits>
#include <unordered_map>
#include <zstd.h>

namespace shimbench::session {

namespace {

constexpr size_t kSampleRows = 4096;
constexpr size_t kBlockRows = 256; // taken apart at once: their rows stay in the first cache meanwhile
constexpr size_t kWidest = sizeof(uint64_t);
constexpr size_t kMostIndices = 256;

template <typename T> T zigzag(T difference) {
    auto value = static_cast<std::make_signed_t<T>>(difference);
    return static_cast<T>(static_cast<T>(difference << 1) ^ static_cast<T>(value >> (8 * sizeof(T) - 1)));
}

} // namespace

ChunkEncoder::ChunkEncoder() : context_(ZSTD_createCCtx()) {
    if (!context_)
        throw std::bad_alloc();
    ZSTD_CCtx_setParameter(context_, ZSTD_c_compressionLevel, 1);
    for (auto &column : columns_)
        column.resize(kChunkRows * kWidest);
    changed_.resize(kChunkRows * kWidest);
    indices_.resize(kChunkRows);
    planes_.resize(2 + kMostIndices * kWidest + kChunkRows * kWidest);
    stored_.resize(ZSTD_compressBound(planes_.size()));
}

ChunkEncoder::~ChunkEncoder() {
    ZSTD_freeCCtx(context_);
}

template <typename T> std::span<T> ChunkEncoder::column(Column column) {
    return {reinterpret_cast<T *>(columns_[static_cast<size_t>(column)].data()), rows_};
}

std::span<const int64_t> ChunkEncoder::times() const {
    return {reinterpret_cast<const int64_t *>(columns_[static_cast<size_t>(Column::Time)].data()), rows_};
}

// Every field into its column. The parent is kept relative to the call's own sequence, which makes it the
// same small number over and over.
void ChunkEncoder::split(std::span<const CallRow> rows) {
    rows_ = rows.size();
    for (size_t at = 0; at < rows.size(); at += kBlockRows) {
        auto block = rows.subspan(at, std::min(kBlockRows, rows.size() - at));
        auto take = [&](Column to, auto value) {
            using T = decltype(value(block.front()));
            std::transform(block.begin(), block.end(), column<T>(to).data() + at, value);
        };
        using Row = const CallRow &;
        take(Column::Time, [](Row row) { return static_cast<uint64_t>(row.time); });
        take(Column::Duration, [](Row row) { return static_cast<uint64_t>(row.duration); });
        take(Column::Process, [](Row row) { return row.process; });
        take(Column::Thread, [](Row row) { return row.thread; });
        take(Column::Sequence, [](Row row) { return row.sequence; });
        take(Column::Parent, [](Row row) { return row.parent ? row.sequence - row.parent : 0; });
        take(Column::Function, [](Row row) { return row.function; });
        take(Column::Flags, [](Row row) { return row.flags; });
        take(Column::Result, [](Row row) { return static_cast<uint32_t>(row.result); });
        take(Column::Caller, [](Row row) { return row.caller; });
        take(Column::Arg0, [](Row row) { return row.args[0]; });
        take(Column::Arg1, [](Row row) { return row.args[1]; });
        take(Column::Arg2, [](Row row) { return row.args[2]; });
        take(Column::Payload, [](Row row) { return row.payload; });
        take(Column::Nesting, [](Row row) { return row.nesting; });
    }
}

// Into stored_, which has room for the largest column.
std::span<const std::byte> ChunkEncoder::compressed(std::span<const std::byte> raw) {
    size_t size = ZSTD_compress2(context_, stored_.data(), stored_.size(), raw.data(), raw.size());
    if (ZSTD_isError(size))
        throw std::bad_alloc(); // the bound is kept, so only memory can be missing
    return std::span(stored_).first(size);
}

// Byte planes of `values` into raw_: all first bytes, then all second ones.
template <typename T> void ChunkEncoder::planes(std::span<const T> values) {
    raw_ = std::as_bytes(values);
    if constexpr (sizeof(T) > 1) {
        for (size_t at = 0; at < values.size(); at += kBlockRows) {
            auto block = values.subspan(at, std::min(kBlockRows, values.size() - at));
            for (size_t plane = 0; plane < sizeof(T); plane++)
                std::transform(block.begin(), block.end(), planes_.data() + plane * values.size() + at,
                               [plane](T value) { return static_cast<std::byte>(value >> (8 * plane)); });
        }
        raw_ = std::span(planes_).first(values.size_bytes());
    }
}

// Zigzagged differences of `values`, in changed_.
template <typename T> std::span<const T> ChunkEncoder::deltas(std::span<const T> values) {
    auto *changed = reinterpret_cast<T *>(changed_.data());
    changed[0] = zigzag(values[0]);
    for (size_t i = 1; i < values.size(); i++)
        changed[i] = zigzag(static_cast<T>(values[i] - values[i - 1]));
    return {changed, values.size()};
}

// The same, each against the value before it in its own thread.
std::span<const uint32_t> ChunkEncoder::thread_deltas(std::span<const uint32_t> values) {
    auto processes = column<uint16_t>(Column::Process);
    auto threads = column<uint32_t>(Column::Thread);
    auto *changed = reinterpret_cast<uint32_t *>(changed_.data());
    std::unordered_map<uint64_t, uint32_t> before; // its nodes do not move
    struct Found {
        uint64_t key = ~0ull;
        uint32_t *last = nullptr;
    };
    std::array<Found, 64> found; // most threads have a place of their own here
    for (size_t i = 0; i < values.size(); i++) {
        uint64_t key = uint64_t{processes[i]} << 32 | threads[i];
        Found &place = found[key % found.size()];
        if (place.key != key)
            place = {key, &before[key]};
        changed[i] = zigzag(values[i] - *place.last);
        *place.last = values[i];
    }
    return {changed, values.size()};
}

// The column as a dictionary into raw_; false when it has more values than one byte can tell apart.
template <typename T> bool ChunkEncoder::dictionary(std::span<const T> values) {
    struct Slot {
        T value;
        int index;
    };
    std::array<Slot, 1024> slots;
    slots.fill({0, -1});
    std::array<T, kMostIndices> known;
    size_t count = 0;
    T before = static_cast<T>(~values[0]);
    int index = 0;
    for (size_t i = 0; i < values.size(); i++) {
        if (values[i] != before) {
            before = values[i];
            size_t at = (uint64_t{values[i]} * 0x9e3779b97f4a7c15ull) >> 54;
            while (slots[at].index >= 0 && slots[at].value != values[i])
                at = (at + 1) % slots.size();
            if (slots[at].index < 0) {
                if (count == known.size())
                    return false;
                slots[at] = {values[i], static_cast<int>(count)};
                known[count++] = values[i];
            }
            index = slots[at].index;
        }
        indices_[i] = static_cast<std::byte>(index);
    }
    auto stored_count = static_cast<uint16_t>(count);
    std::memcpy(planes_.data(), &stored_count, 2);
    std::memcpy(planes_.data() + 2, known.data(), count * sizeof(T));
    std::memcpy(planes_.data() + 2 + count * sizeof(T), indices_.data(), values.size());
    raw_ = std::span(planes_).first(2 + count * sizeof(T) + values.size());
    return true;
}

// The column into raw_, in the encoding that is returned.
template <typename T> Encoding ChunkEncoder::choose(Column column, std::span<const T> values) {
    if constexpr (std::is_same_v<T, uint32_t>) {
        if (column == Column::Sequence) {
            planes(thread_deltas(values));
            return Encoding::ThreadDelta;
        }
    }
    if (column == Column::Time) {
        planes(deltas(values));
        return Encoding::Delta;
    }
    if (sizeof(T) == 1 || column == Column::Duration) {
        planes(values);
        return Encoding::Plain;
    }
    if (column != Column::Payload && dictionary(values))
        return Encoding::Dictionary;
    auto sample = values.first(std::min(values.size(), kSampleRows));
    planes(sample);
    size_t plain = compressed(raw_).size();
    planes(deltas(sample));
    bool changes = compressed(raw_).size() < plain;
    planes(changes ? deltas(values) : values);
    return changes ? Encoding::Delta : Encoding::Plain;
}

void ChunkEncoder::put(Column column, int width, Encoding encoding, size_t raw,
                       std::span<const std::byte> stored) {
    ColumnEntry entry{};
    entry.column = static_cast<uint8_t>(column);
    entry.width = static_cast<uint8_t>(width);
    entry.encoding = static_cast<uint8_t>(encoding);
    entry.length = static_cast<uint32_t>(stored.size());
    entry.raw = static_cast<uint32_t>(raw);
    entry.crc = crc32(stored);
    std::memcpy(chunk_.data() + sizeof(ChunkHead) + static_cast<size_t>(column) * sizeof(ColumnEntry), &entry,
                sizeof entry);
    chunk_.insert(chunk_.end(), stored.begin(), stored.end());
}

template <typename T> void ChunkEncoder::encode_column(Column which) {
    std::span<const T> values = column<T>(which);
    // All are equal when each is what the one before it is.
    if (std::memcmp(values.data(), values.data() + 1, (values.size() - 1) * sizeof(T)) == 0) {
        put(which, sizeof(T), Encoding::Constant, sizeof(T), std::as_bytes(values.first(1)));
        return;
    }
    Encoding encoding = choose(which, values);
    put(which, sizeof(T), encoding, raw_.size(), compressed(raw_));
}

std::span<const std::byte> ChunkEncoder::encode(std::span<const CallRow> rows, uint64_t first_row) {
    assert(!rows.empty() && rows.size() <= kChunkRows);
    split(rows);
    chunk_.assign(sizeof(ChunkHead) + kColumns * sizeof(ColumnEntry), std::byte{});
    for (Column which : {Column::Time, Column::Duration})
        encode_column<uint64_t>(which);
    encode_column<uint16_t>(Column::Process);
    for (Column which : {Column::Thread, Column::Sequence, Column::Parent})
        encode_column<uint32_t>(which);
    encode_column<uint16_t>(Column::Function);
    encode_column<uint8_t>(Column::Flags);
    encode_column<uint32_t>(Column::Result);
    for (Column which : {Column::Caller, Column::Arg0, Column::Arg1, Column::Arg2})
        encode_column<uint64_t>(which);
    encode_column<uint32_t>(Column::Payload);
    encode_column<uint8_t>(Column::Nesting);
    ChunkHead head{kChunkMagic, static_cast<uint32_t>(rows.size()), first_row, kColumns, 0};
    seal_record(head);
    auto directory = std::span(chunk_).subspan(sizeof head, kColumns * sizeof(ColumnEntry));
    head.crc = crc32(directory, head.crc);
    std::memcpy(chunk_.data(), &head, sizeof head);
    return chunk_;
}

} // namespace shimbench::session
