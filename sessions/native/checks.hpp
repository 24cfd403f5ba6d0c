// The two checks of the format: CRC-32 (zlib's) for what is written once, and a row check that numpy
// can compute for many rows at once for what lies in mapped files.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>
#include <type_traits>
#include <utility>

namespace shimbench::session {

namespace detail {

constexpr std::array<std::array<uint32_t, 256>, 8> crc_tables() {
    std::array<std::array<uint32_t, 256>, 8> tables{};
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t value = i;
        for (int bit = 0; bit < 8; bit++)
            value = (value >> 1) ^ ((value & 1) ? 0xedb88320u : 0u);
        tables[0][i] = value;
    }
    for (uint32_t i = 0; i < 256; i++)
        for (size_t slice = 1; slice < 8; slice++)
            tables[slice][i] = (tables[slice - 1][i] >> 8) ^ tables[0][tables[slice - 1][i] & 255];
    return tables;
}

inline constexpr auto kCrcTables = crc_tables();

} // namespace detail

inline std::span<const std::byte> bytes_of(std::string_view text) {
    return std::as_bytes(std::span(text));
}

// zlib.crc32(data, seed), eight bytes a step.
inline uint32_t crc32(std::span<const std::byte> data, uint32_t seed = 0) {
    const auto &table = detail::kCrcTables;
    uint32_t crc = ~seed;
    while (data.size() >= 8) {
        uint32_t low, high;
        std::memcpy(&low, data.data(), 4);
        std::memcpy(&high, data.data() + 4, 4);
        low ^= crc;
        crc = table[7][low & 255] ^ table[6][(low >> 8) & 255] ^ table[5][(low >> 16) & 255] ^
              table[4][low >> 24] ^ table[3][high & 255] ^ table[2][(high >> 8) & 255] ^
              table[1][(high >> 16) & 255] ^ table[0][high >> 24];
        data = data.subspan(8);
    }
    for (std::byte byte : data)
        crc = (crc >> 8) ^ table[0][(crc ^ static_cast<uint32_t>(byte)) & 255];
    return ~crc;
}

// Two lanes of multiply and fold; equal contents are all it must recognise. What comes in pieces is hashed
// piece by piece, each from where the one before it ended.
inline std::pair<uint64_t, uint64_t> content_hash(std::span<const std::byte> data, uint64_t from_low = 0,
                                                  uint64_t from_high = 0) {
    uint64_t low = from_low ^ data.size() * 0x9e3779b97f4a7c15ull,
             high = from_high ^ 0xc2b2ae3d27d4eb4full ^ data.size();
    auto mix = [&](uint64_t word) {
        low = (low ^ word) * 0x9fb21c651e98df25ull;
        low ^= low >> 35;
        high = (high + word) * 0xd6e8feb86659fd93ull;
        high ^= high >> 32;
    };
    for (; data.size() >= 8; data = data.subspan(8)) {
        uint64_t word;
        std::memcpy(&word, data.data(), 8);
        mix(word);
    }
    uint64_t word = 0;
    if (!data.empty())
        std::memcpy(&word, data.data(), data.size());
    mix(word);
    mix(low >> 29);
    return {low, high};
}

// Fills in the last member of a record that ends in a CRC of all before it.
template <typename Record> void seal_record(Record &record) {
    static_assert(std::is_trivially_copyable_v<Record> && offsetof(Record, crc) == sizeof(Record) - 4);
    record.crc = crc32(std::as_bytes(std::span(&record, 1)).first(sizeof(Record) - 4));
}

// Of a row whose last four bytes are its check; `number` makes a row of another lap invalid.
template <typename Row> uint32_t row_check(const Row &row, uint64_t number) {
    static_assert(std::is_trivially_copyable_v<Row> && sizeof(Row) % 8 == 0 &&
                  offsetof(Row, check) == sizeof(Row) - 4);
    constexpr uint64_t factor = 0x9e3779b97f4a7c15ull;
    std::array<uint64_t, sizeof(Row) / 8> words;
    std::memcpy(words.data(), &row, sizeof(Row));
    words.back() &= 0xffffffffull;
    uint64_t hash = (number + 1) * factor;
    for (uint64_t word : words) {
        hash = (hash ^ word) * factor;
        hash ^= hash >> 32;
    }
    return static_cast<uint32_t>(hash);
}

} // namespace shimbench::session
