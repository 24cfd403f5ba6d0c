#include "columns.hpp"

#include "checks.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <new>
#include <unordered_map>
#include <zstd.h>

namespace shimbench::session {

namespace {

constexpr size_t kSampleRows = 4096;

struct ColumnKind {
    Column column;
    int width;
    uint64_t (*value)(const CallRow &row);
};

// Values are widened to 64 bits with zeros; the width cuts them again. The parent is kept relative to
// the call's own sequence, which makes it the same small number over and over.
constexpr std::array<ColumnKind, kColumns> kKinds{{
    {Column::Time, 8, [](const CallRow &row) { return static_cast<uint64_t>(row.time); }},
    {Column::Duration, 8, [](const CallRow &row) { return static_cast<uint64_t>(row.duration); }},
    {Column::Process, 2, [](const CallRow &row) -> uint64_t { return row.process; }},
    {Column::Thread, 4, [](const CallRow &row) -> uint64_t { return row.thread; }},
    {Column::Sequence, 4, [](const CallRow &row) -> uint64_t { return row.sequence; }},
    {Column::Parent, 4,
     [](const CallRow &row) -> uint64_t { return row.parent ? row.sequence - row.parent : 0; }},
    {Column::Function, 2, [](const CallRow &row) -> uint64_t { return row.function; }},
    {Column::Flags, 1, [](const CallRow &row) -> uint64_t { return row.flags; }},
    {Column::Result, 4, [](const CallRow &row) -> uint64_t { return static_cast<uint32_t>(row.result); }},
    {Column::Caller, 8, [](const CallRow &row) { return row.caller; }},
    {Column::Arg0, 8, [](const CallRow &row) { return row.args[0]; }},
    {Column::Arg1, 8, [](const CallRow &row) { return row.args[1]; }},
    {Column::Arg2, 8, [](const CallRow &row) { return row.args[2]; }},
    {Column::Payload, 4, [](const CallRow &row) -> uint64_t { return row.payload; }},
    {Column::Nesting, 1, [](const CallRow &row) -> uint64_t { return row.nesting; }},
}};

uint64_t zigzag(uint64_t difference, int width) {
    int shift = 64 - 8 * width;
    auto value = static_cast<int64_t>(difference << shift) >> shift;
    return (static_cast<uint64_t>(value) << 1) ^ static_cast<uint64_t>(value >> 63);
}

uint64_t thread_key(const CallRow &row) {
    return static_cast<uint64_t>(row.process) << 32 | row.thread;
}

} // namespace

ChunkEncoder::ChunkEncoder() : context_(ZSTD_createCCtx()) {
    if (!context_)
        throw std::bad_alloc();
    ZSTD_CCtx_setParameter(context_, ZSTD_c_compressionLevel, 1);
}

ChunkEncoder::~ChunkEncoder() {
    ZSTD_freeCCtx(context_);
}

void ChunkEncoder::compress(std::span<const std::byte> raw) {
    stored_.resize(ZSTD_compressBound(raw.size()));
    size_t size = ZSTD_compress2(context_, stored_.data(), stored_.size(), raw.data(), raw.size());
    if (ZSTD_isError(size))
        throw std::bad_alloc(); // the bound is kept, so only memory can be missing
    stored_.resize(size);
}

size_t ChunkEncoder::compressed_size(std::span<const std::byte> raw) {
    sample_.resize(ZSTD_compressBound(raw.size()));
    size_t size = ZSTD_compress2(context_, sample_.data(), sample_.size(), raw.data(), raw.size());
    return ZSTD_isError(size) ? raw.size() : size;
}

// Byte planes of `values` into raw_.
void ChunkEncoder::planes(std::span<const uint64_t> values, int width) {
    raw_.resize(values.size() * static_cast<size_t>(width));
    for (int plane = 0; plane < width; plane++) {
        std::byte *out = raw_.data() + values.size() * static_cast<size_t>(plane);
        for (size_t i = 0; i < values.size(); i++)
            out[i] = static_cast<std::byte>(values[i] >> (8 * plane));
    }
}

// Zigzagged differences of `values` into changed_.
void ChunkEncoder::deltas(std::span<const uint64_t> values, int width) {
    changed_.resize(values.size());
    uint64_t before = 0;
    for (size_t i = 0; i < values.size(); i++) {
        changed_[i] = zigzag(values[i] - before, width);
        before = values[i];
    }
}

// The same, each against the value before it in its own thread.
void ChunkEncoder::thread_deltas(std::span<const uint64_t> values) {
    std::unordered_map<uint64_t, uint64_t> before;
    uint64_t key = ~0ull;
    uint64_t *last = nullptr; // stays valid: nodes of a map do not move
    changed_.resize(values.size());
    for (size_t i = 0; i < values.size(); i++) {
        if (!last || thread_key(rows_[i]) != key) {
            key = thread_key(rows_[i]);
            last = &before[key];
        }
        changed_[i] = zigzag(values[i] - *last, 4);
        *last = values[i];
    }
}

// The column as a dictionary into raw_; false when it has more than 256 values.
bool ChunkEncoder::dictionary(std::span<const uint64_t> values, int width) {
    struct Slot {
        uint64_t value;
        int index;
    };
    std::array<Slot, 1024> slots;
    slots.fill({0, -1});
    std::array<uint64_t, 256> known;
    size_t count = 0;
    sample_.resize(values.size());
    uint64_t before = ~values[0];
    int index = 0;
    for (size_t i = 0; i < values.size(); i++) {
        if (values[i] != before) {
            before = values[i];
            size_t at = (values[i] * 0x9e3779b97f4a7c15ull) >> 54;
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
        sample_[i] = static_cast<std::byte>(index);
    }
    auto stored_count = static_cast<uint16_t>(count);
    raw_.resize(2 + count * static_cast<size_t>(width) + values.size());
    std::memcpy(raw_.data(), &stored_count, 2);
    for (size_t i = 0; i < count; i++)
        std::memcpy(raw_.data() + 2 + i * static_cast<size_t>(width), &known[i], static_cast<size_t>(width));
    std::copy(sample_.begin(), sample_.end(),
              raw_.begin() + 2 + static_cast<ptrdiff_t>(count) * static_cast<ptrdiff_t>(width));
    return true;
}

void ChunkEncoder::encode_column(Column column, int width, std::span<const uint64_t> values) {
    ColumnEntry entry{};
    entry.column = static_cast<uint8_t>(column);
    entry.width = static_cast<uint8_t>(width);
    Encoding encoding = Encoding::Plain;
    bool constant = std::all_of(values.begin(), values.end(), [&](uint64_t v) { return v == values[0]; });
    if (constant) {
        encoding = Encoding::Constant;
        stored_.resize(static_cast<size_t>(width));
        std::memcpy(stored_.data(), &values[0], static_cast<size_t>(width));
        entry.raw = static_cast<uint32_t>(width);
    } else {
        if (column == Column::Sequence) {
            encoding = Encoding::ThreadDelta;
            thread_deltas(values);
            planes(changed_, width);
        } else if (column == Column::Time) {
            encoding = Encoding::Delta;
            deltas(values, width);
            planes(changed_, width);
        } else if (width > 1 && column != Column::Duration && column != Column::Payload &&
                   dictionary(values, width)) {
            encoding = Encoding::Dictionary;
        } else if (width > 1 && column != Column::Duration) {
            auto sample = values.first(std::min(values.size(), kSampleRows));
            planes(sample, width);
            size_t plain = compressed_size(raw_);
            deltas(sample, width);
            planes(changed_, width);
            if (compressed_size(raw_) < plain) {
                encoding = Encoding::Delta;
                deltas(values, width);
                planes(changed_, width);
            } else {
                planes(values, width);
            }
        } else {
            planes(values, width);
        }
        entry.raw = static_cast<uint32_t>(raw_.size());
        compress(raw_);
    }
    entry.encoding = static_cast<uint8_t>(encoding);
    entry.length = static_cast<uint32_t>(stored_.size());
    entry.crc = crc32(stored_);
    std::memcpy(chunk_.data() + sizeof(ChunkHead) + static_cast<size_t>(column) * sizeof(ColumnEntry), &entry,
                sizeof entry);
    chunk_.insert(chunk_.end(), stored_.begin(), stored_.end());
}

std::span<const std::byte> ChunkEncoder::encode(std::span<const CallRow> rows, uint64_t first_row) {
    rows_ = rows;
    chunk_.assign(sizeof(ChunkHead) + kColumns * sizeof(ColumnEntry), std::byte{});
    values_.resize(rows.size());
    for (const ColumnKind &kind : kKinds) {
        std::transform(rows.begin(), rows.end(), values_.begin(), kind.value);
        encode_column(kind.column, kind.width, values_);
    }
    ChunkHead head{kChunkMagic, static_cast<uint32_t>(rows.size()), first_row, kColumns, 0};
    seal_record(head);
    auto directory = std::span(chunk_).subspan(sizeof head, kColumns * sizeof(ColumnEntry));
    head.crc = crc32(directory, head.crc);
    std::memcpy(chunk_.data(), &head, sizeof head);
    return chunk_;
}

} // namespace shimbench::session
