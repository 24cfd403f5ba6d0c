#include "soft/fatbin.hpp"

#include <lz4.h>
#include <zstd.h>

#include <cstring>

#include "soft/ptx/lexer.hpp"

namespace shimbench::soft {

namespace {

constexpr std::uint32_t container_magic = 0xba55ed50u;
constexpr std::uint64_t flag_lz4 = 0x2000, flag_zstd = 0x8000;

struct ContainerHead {
    std::uint32_t magic;
    std::uint16_t version;
    std::uint16_t head_bytes;
    std::uint64_t payload_bytes;
};

struct EntryHead {
    std::uint16_t kind; // 1 PTX, 2 cubin
    std::uint16_t version;
    std::uint32_t head_bytes;
    std::uint64_t stored_bytes;
    std::uint32_t packed_bytes; // 0: not packed
    std::uint32_t options_offset;
    std::uint16_t minor;
    std::uint16_t major;
    std::uint32_t arch;
    std::uint32_t name_offset;
    std::uint32_t name_bytes;
    std::uint64_t flags;
    std::uint64_t reserved;
    std::uint64_t unpacked_bytes;
};

static_assert(sizeof(ContainerHead) == 16 && sizeof(EntryHead) == 64);

template <class T> T head_of(std::span<const std::byte> bytes) {
    T head;
    std::memcpy(&head, bytes.data(), sizeof(head));
    return head;
}

// e_flags of a cubin: the target's capability stands in its low byte (older) or second byte (newer).
std::uint32_t cubin_arch(std::span<const std::byte> image) {
    if (image.size() < 64)
        return 0;
    std::uint32_t flags;
    std::memcpy(&flags, image.data() + 48, sizeof(flags));
    const auto abi = std::to_integer<unsigned>(image[8]);
    return abi >= 8 ? (flags >> 8) & 0xff : flags & 0xff;
}

/// PTX as it stands: its target may end in `a` (that very capability) or `f` (its family).
CodeEntry text_entry(std::string_view text, std::span<const std::byte> image) {
    CodeEntry entry{CodeKind::Ptx, Packing::None, false, 0, image.size(), image};
    constexpr unsigned words_of_head = 64; // .target stands among the first
    ptx::Lexer words(text, 1);
    for (unsigned n = 0; n < words_of_head && !words.peek().is(".target"); n++)
        words.take();
    std::string_view target = words.accept(".target") ? words.peek().text : "";
    if (!target.starts_with("sm_"))
        return entry;
    target.remove_prefix(3);
    for (; !target.empty() && target[0] >= '0' && target[0] <= '9' && entry.arch < 1000;
         target.remove_prefix(1))
        entry.arch = entry.arch * 10 + static_cast<std::uint32_t>(target[0] - '0');
    entry.arch_specific = target.starts_with('a');
    entry.family = target.starts_with('f');
    return entry;
}

bool can_take(const CodeEntry &entry, std::uint32_t arch) {
    return entry.arch_specific ? entry.arch == arch
                               : entry.arch <= arch && (!entry.family || entry.arch / 10 == arch / 10);
}

void add_container(std::span<const std::byte> payload, std::vector<CodeEntry> &entries) {
    while (payload.size() >= sizeof(EntryHead)) {
        const auto head = head_of<EntryHead>(payload);
        if (head.head_bytes < sizeof(EntryHead) || head.head_bytes > payload.size() ||
            head.stored_bytes > payload.size() - head.head_bytes || head.packed_bytes > head.stored_bytes)
            return;
        const std::uint64_t bytes = head.packed_bytes ? head.packed_bytes : head.stored_bytes;
        if (head.kind == 1 || head.kind == 2) {
            CodeEntry entry{};
            entry.kind = head.kind == 1 ? CodeKind::Ptx : CodeKind::Cubin;
            entry.packing = !head.packed_bytes       ? Packing::None
                            : head.flags & flag_zstd ? Packing::Zstd
                                                     : Packing::Lz4;
            entry.arch_specific = (head.flags & 0x1100000) != 0;
            entry.arch = head.arch;
            entry.unpacked_bytes = head.packed_bytes ? head.unpacked_bytes : bytes;
            entry.stored = payload.subspan(head.head_bytes, bytes);
            entries.push_back(entry);
        }
        payload = payload.subspan(head.head_bytes + head.stored_bytes);
    }
}

} // namespace

std::vector<CodeEntry> code_entries(std::span<const std::byte> image) {
    std::vector<CodeEntry> entries;
    if (image.size() >= 4 && !std::memcmp(image.data(), "\177ELF", 4)) {
        entries.push_back({CodeKind::Cubin, Packing::None, false, cubin_arch(image), image.size(), image});
        return entries;
    }
    if (image.size() >= sizeof(ContainerHead) && head_of<ContainerHead>(image).magic == container_magic) {
        while (image.size() >= sizeof(ContainerHead)) {
            const auto head = head_of<ContainerHead>(image);
            if (head.magic != container_magic || head.head_bytes < sizeof(head) ||
                head.head_bytes > image.size() || head.payload_bytes > image.size() - head.head_bytes)
                break;
            add_container(image.subspan(head.head_bytes, head.payload_bytes), entries);
            image = image.subspan(head.head_bytes + head.payload_bytes);
        }
        return entries;
    }
    const std::string_view text(reinterpret_cast<const char *>(image.data()), image.size());
    if (text.find(".version") != std::string_view::npos && text.find(".target") != std::string_view::npos)
        entries.push_back(text_entry(text, image));
    return entries;
}

std::optional<std::string> unpack(const CodeEntry &entry, std::uint64_t limit) {
    if (entry.unpacked_bytes > limit)
        return std::nullopt;
    std::string code;
    const auto *stored = reinterpret_cast<const char *>(entry.stored.data());
    if (entry.packing == Packing::None) {
        code.assign(stored, entry.stored.size());
    } else {
        code.resize(entry.unpacked_bytes);
        std::uint64_t got = 0;
        if (entry.packing == Packing::Zstd) {
            got = ZSTD_decompress(code.data(), code.size(), stored, entry.stored.size());
            if (ZSTD_isError(got))
                return std::nullopt;
        } else {
            if (entry.stored.size() > LZ4_MAX_INPUT_SIZE || code.size() > LZ4_MAX_INPUT_SIZE)
                return std::nullopt;
            const int done = LZ4_decompress_safe(stored, code.data(), static_cast<int>(entry.stored.size()),
                                                 static_cast<int>(code.size()));
            if (done < 0)
                return std::nullopt;
            got = static_cast<std::uint64_t>(done);
        }
        if (got != code.size())
            return std::nullopt;
    }
    if (entry.kind == CodeKind::Ptx)
        while (!code.empty() && code.back() == '\0')
            code.pop_back();
    return code;
}

const CodeEntry *best_ptx(const std::vector<CodeEntry> &entries, std::uint32_t arch) {
    const CodeEntry *best = nullptr;
    for (const auto &entry : entries)
        if (entry.kind == CodeKind::Ptx && can_take(entry, arch) && (!best || entry.arch > best->arch))
            best = &entry;
    return best;
}

const CodeEntry *best_cubin(const std::vector<CodeEntry> &entries, std::uint32_t arch) {
    const CodeEntry *best = nullptr;
    for (const auto &entry : entries)
        if (entry.kind == CodeKind::Cubin && entry.arch / 10 == arch / 10 && entry.arch <= arch &&
            (!entry.arch_specific || entry.arch == arch) && (!best || entry.arch > best->arch))
            best = &entry;
    return best;
}

} // namespace shimbench::soft
