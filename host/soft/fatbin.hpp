// What a module's image holds: a fat binary's entries, a bare cubin, or PTX text. Sizes and offsets
// in an image are checked before they are used; nothing is unpacked until it is asked for.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace shimbench::soft {

enum class CodeKind : std::uint8_t { Ptx, Cubin };
enum class Packing : std::uint8_t { None, Lz4, Zstd };

// Code for one target. `arch` is ten times the compute capability (80, 120).
struct CodeEntry {
    CodeKind kind;
    Packing packing;
    bool arch_specific; // 90a, 120a: runs on that very capability only
    std::uint32_t arch;
    std::uint64_t unpacked_bytes;
    std::span<const std::byte> stored;
    bool family = false; // 100f: runs on that capability and later ones of the same major only
};

// The entries of an image, which must outlive them. Empty when it is no image at all.
std::vector<CodeEntry> code_entries(std::span<const std::byte> image);

// The code itself; nothing when it is damaged or longer than `limit` bytes. PTX comes without its NUL.
std::optional<std::string> unpack(const CodeEntry &entry, std::uint64_t limit = 1u << 30);

// The newest PTX that a device of this capability can compile; else NULL.
const CodeEntry *best_ptx(const std::vector<CodeEntry> &entries, std::uint32_t arch);

// The cubin a real device of this capability would load (same major, minor not above); else NULL.
const CodeEntry *best_cubin(const std::vector<CodeEntry> &entries, std::uint32_t arch);

} // namespace shimbench::soft
