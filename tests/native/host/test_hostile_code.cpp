// Images that a client hands over, changed in every way: fat binaries (plain, lz4, zstd), cubins, PTX. Each
// is read or refused; nothing is touched outside of it and nothing made that is much larger than it.
#include <elf.h>
#include <lz4.h>
#include <zstd.h>

#include <cctype>
#include <cstring>
#include <string>
#include <vector>

#include "../fuzz_rounds.hpp"
#include "expect.hpp"
#include "soft/exec/lower.hpp"
#include "soft/fatbin.hpp"
#include "soft/kernels.hpp"

using namespace shimbench::soft;

namespace {

constexpr std::uint64_t unpacked_limit = 4 << 20;

constexpr std::string_view ptx_text = R"(.version 8.4
.target sm_80
.address_size 64
.const .align 4 .b32 table[4] = {1, 0x2, 3, -4};
.global .align 8 .u64 there[2] = {table, 5};
.global .align 8 .b8 bytes[2][4] = {{0xFF(table), 0xFF00(generic(there)+4)}, {(1 << 4 | 3) % 7, ~0 ? 2 : -1}};
.visible .global .attribute(.managed) .align 4 .u32 managed;
.alias other, own;
.extern .shared .align 16 .b8 dynamic[];
.visible .entry k(.param .u64 p1, .param .align 4 .b8 p2[12], .param .f32 p3)
.maxntid 32, 8, 1
{
    .reg .pred %p<4>; .reg .b16 %h<8>; .reg .b32 %r<16>; .reg .f32 %f<16>; .reg .b64 %rd<16>; .reg .b128 %q<3>;
    .shared .align 16 .b8 tile[64];
    ld.param.u64 %rd1, [p1]; ld.param.u32 %r2, [p2+4]; ld.param.f32 %f1, [p3];
    cvta.to.global.u64 %rd2, %rd1;
    mov.u32 %r1, %tid.x; mad.lo.s32 %r3, %r1, %r2, 7;
    setp.lt.s32 %p1, %r3, 100;
    @%p1 bra INSIDE;
    shfl.sync.bfly.b32 %r4, %r3, 1, 31, -1;
    bra.uni DONE;
INSIDE:
    mul.wide.u32 %rd3, %r1, 4; add.s64 %rd4, %rd2, %rd3;
    fma.rn.f32 %f2, %f1, 1.5e-1 * 2.0, %f1; st.global.f32 [%rd4], %f2;
    ld.shared.v2.u32 {%r5, %r6}, [tile+8];
    cvt.rn.f16.f32 %h1, %f2; atom.global.add.u32 %r7, [%rd4], %r5;
    ld.global.b128 %q1, [%rd4]; mov.b128 {%rd5, %rd6}, %q1; atom.global.cas.b128 %q2, [%rd4], %q1, %q1;
    red.global.add.v2.f32 [%rd4], {%f1, %f2}; lop3.and.b32 %r8|%p2, %r1, %r2, %r3, 0x80, !%p1;
    fma.rn.ftz.relu.f16 %h2, %h1, %h1, %h1; elect.sync %r9|%p3, -1; prmt.b32.f4e %r8, %r1, %r2, %r3;
    mma.sync.aligned.m8n8k32.row.col.satfinite.s32.s4.u4.s32 {%r8, %r9}, {%r1}, {%r2}, {%r3, %r4};
    wmma.load.a.sync.aligned.row.m8n8k32.global.s4 {%r8}, [%rd4], %r1; bar.red.popc.u32 %r8, 0, 32, !%p1;
    cp.async.bulk.global.shared::cta.bulk_group [%rd4], [tile], %r2; mapa.shared::cluster.u32 %r9, %r8, 0;
    cp.async.ca.shared.global.L2::cache_hint [tile], [%rd4], 4, %r2, %rd4; vadd4.s32.u32.s32.sat %r8, %r1, %r2, %r3;
    { .param .b32 a; .param .b32 b; st.param.b32 [a], %r1; call.uni (b), own, (a); ld.param.b32 %r8, [b]; }
    brx.idx %r1, WAYS;
WAYS: .branchtargets INSIDE, DONE;
DONE:
    ret;
}
.func (.param .b32 out) own(.param .b32 in) { .reg .b32 %r<4>; ld.param.b32 %r1, [in]; st.param.b32 [out], %r1; ret; }
.version 8.4
.target sm_80
.address_size 64
.global .align 8 .u64 there = own;
.func own() { .reg .b64 %rd<2>; mov.u64 %rd1, there; call own; ret; }
)";

using Bytes = std::vector<std::byte>;

template <class T> void append(Bytes &to, const T &value) {
    const auto *bytes = reinterpret_cast<const std::byte *>(&value);
    to.insert(to.end(), bytes, bytes + sizeof(value));
}
void append_text(Bytes &to, std::string_view text) {
    const auto *bytes = reinterpret_cast<const std::byte *>(text.data());
    to.insert(to.end(), bytes, bytes + text.size());
}

// An entry of a fat binary: a head of 64 bytes, then what is stored.
void append_entry(Bytes &to, std::uint16_t kind, const Bytes &stored, std::uint64_t unpacked,
                  std::uint64_t flags) {
    append(to, kind);
    append(to, std::uint16_t{0x101});
    append(to, std::uint32_t{64});
    append(to, std::uint64_t{stored.size()});
    append(to, static_cast<std::uint32_t>(flags ? stored.size() : 0));
    append(to, std::uint32_t{0});
    append(to, std::uint32_t{4 | 8 << 16});
    append(to, std::uint32_t{80});
    append(to, std::uint64_t{0});
    append(to, flags);
    append(to, std::uint64_t{0});
    append(to, unpacked);
    to.insert(to.end(), stored.begin(), stored.end());
}

Bytes compressed_by_lz4(std::string_view text) {
    Bytes packed(static_cast<std::size_t>(LZ4_compressBound(static_cast<int>(text.size()))));
    const int size = LZ4_compress_default(text.data(), reinterpret_cast<char *>(packed.data()),
                                          static_cast<int>(text.size()), static_cast<int>(packed.size()));
    packed.resize(static_cast<std::size_t>(size));
    return packed;
}
Bytes compressed_by_zstd(std::string_view text) {
    Bytes packed(ZSTD_compressBound(text.size()));
    packed.resize(ZSTD_compress(packed.data(), packed.size(), text.data(), text.size(), 3));
    return packed;
}

// A cubin with one kernel "k": its code, its parameters, its shared memory.
Bytes cubin() {
    const std::string names("\0.shstrtab\0.text.k\0.nv.info.k\0.nv.shared.k\0", 44);
    Bytes info;
    for (std::uint32_t ordinal = 0; ordinal < 3; ordinal++) {
        append(info, std::uint32_t{0x000c1704});
        append(info, std::uint32_t{0});
        append(info, ordinal | ordinal * 8 << 16);
        append(info, std::uint32_t{8 << 18});
    }
    append(info, std::uint32_t{0x00181903});
    Elf64_Ehdr head{};
    std::memcpy(head.e_ident, ELFMAG, SELFMAG);
    head.e_ident[EI_CLASS] = ELFCLASS64;
    head.e_ident[8] = 8;
    head.e_flags = 80 << 8;
    head.e_shentsize = sizeof(Elf64_Shdr);
    head.e_shnum = 5;
    head.e_shstrndx = 1;
    head.e_shoff = sizeof(head) + names.size() + info.size();
    Elf64_Shdr rows[5] = {};
    rows[1] = {.sh_name = 1,
               .sh_type = SHT_STRTAB,
               .sh_flags = 0,
               .sh_addr = 0,
               .sh_offset = sizeof(head),
               .sh_size = names.size(),
               .sh_link = 0,
               .sh_info = 0,
               .sh_addralign = 1,
               .sh_entsize = 0};
    rows[2] = {.sh_name = 11,
               .sh_type = SHT_PROGBITS,
               .sh_flags = 0,
               .sh_addr = 0,
               .sh_offset = sizeof(head),
               .sh_size = 16,
               .sh_link = 0,
               .sh_info = 24u << 24,
               .sh_addralign = 1,
               .sh_entsize = 0};
    rows[3] = {.sh_name = 19,
               .sh_type = SHT_PROGBITS,
               .sh_flags = 0,
               .sh_addr = 0,
               .sh_offset = sizeof(head) + names.size(),
               .sh_size = info.size(),
               .sh_link = 0,
               .sh_info = 0,
               .sh_addralign = 1,
               .sh_entsize = 0};
    rows[4] = {.sh_name = 30,
               .sh_type = SHT_NOBITS,
               .sh_flags = 0,
               .sh_addr = 0,
               .sh_offset = 0,
               .sh_size = 1024,
               .sh_link = 0,
               .sh_info = 0,
               .sh_addralign = 1,
               .sh_entsize = 0};
    Bytes image;
    append(image, head);
    append_text(image, names);
    image.insert(image.end(), info.begin(), info.end());
    append(image, rows);
    return image;
}

Bytes fat_binary() {
    Bytes plain, payload;
    append_text(plain, ptx_text);
    append_entry(payload, 1, plain, plain.size(), 0);
    append_entry(payload, 1, compressed_by_lz4(ptx_text), ptx_text.size(), 0x2000);
    append_entry(payload, 1, compressed_by_zstd(ptx_text), ptx_text.size(), 0x8000);
    append_entry(payload, 2, cubin(), cubin().size(), 0);
    Bytes image;
    append(image, std::uint32_t{0xba55ed50});
    append(image, std::uint32_t{1 | 16 << 16});
    append(image, std::uint64_t{payload.size()});
    image.insert(image.end(), payload.begin(), payload.end());
    return image;
}

struct Seen {
    int entries = 0, unpacked = 0, kernels = 0, programs = 0;
};

void read_ptx(const std::string &text, Seen &seen) {
    for (const auto name : ptx_kernel_names(text))
        seen.kernels += ptx_kernel(text, name).has_value();
    try {
        ptx::Module module(text);
        (void)module.variables();
        for (const auto &name : module.entry_names())
            seen.programs += ::soft::lower(module, name, [](const std::string &) {
                                 return std::uint64_t{4096};
                             }) != nullptr;
    } catch (const ptx::Error &) {
    }
}

Seen read_image(const Bytes &image) {
    // A copy of just its size: a read beyond it is one that the sanitizer sees.
    const Bytes exact(image.begin(), image.end());
    Seen seen;
    for (const CodeEntry &entry : code_entries(exact)) {
        seen.entries++;
        const auto code = unpack(entry, unpacked_limit);
        if (!code)
            continue;
        seen.unpacked++;
        if (entry.kind == CodeKind::Ptx) {
            read_ptx(*code, seen);
        } else {
            for (const auto &name : cubin_kernel_names(*code))
                seen.kernels += cubin_kernel(*code, name).has_value();
        }
    }
    return seen;
}

void change(Bytes &image, std::mt19937_64 &random) {
    constexpr std::uint64_t numbers[] = {0,          1,          2,          0x7f,       0x80,
                                         0xff,       0x7fff,     0xffff,     0x7fffffff, 0x80000000,
                                         0xffffffff, 1ull << 32, 1ull << 63, ~0ull,      ~0ull - 63};
    constexpr std::string_view words[] = {"{",  "}",      ";",           "[",  "]",    "%r",
                                          "<",  ">",      "99999999999", "-1", ".b64", ".v4",
                                          "@!", ".param", ".entry k(",   "\0", "/*",   "\""};
    if (image.empty())
        return;
    const std::size_t at = random() % image.size();
    switch (random() % 6) {
    case 0:
        image[at] ^= static_cast<std::byte>(1u << random() % 8);
        break;
    case 1:
        image[at] = static_cast<std::byte>(random());
        break;
    case 2: {
        const std::uint64_t number = numbers[random() % std::size(numbers)];
        const std::size_t width = std::min<std::size_t>(std::size_t{1} << random() % 4, image.size() - at);
        std::memcpy(image.data() + at, &number, width);
        break;
    }
    case 3: {
        const auto word = words[random() % std::size(words)];
        Bytes text;
        append_text(text, word);
        if (random() % 2)
            image.insert(image.begin() + static_cast<std::ptrdiff_t>(at), text.begin(), text.end());
        else
            std::memcpy(image.data() + at, text.data(), std::min(text.size(), image.size() - at));
        break;
    }
    case 4:
        image.resize(random() % 4 ? image.size() - std::min<std::size_t>(image.size(), random() % 64) : at);
        break;
    default: {
        const std::size_t from = random() % image.size();
        const std::size_t size = std::min<std::size_t>(random() % 64, image.size() - std::max(at, from));
        std::memmove(image.data() + at, image.data() + from, size);
        break;
    }
    }
}

void what_is_whole_is_read() {
    const Seen seen = read_image(fat_binary());
    EXPECT(seen.entries == 4 && seen.unpacked == 4 && seen.kernels == 4 && seen.programs == 3);
}

void what_is_changed_is_read_or_refused() {
    Bytes text;
    append_text(text, ptx_text);
    const Bytes originals[] = {fat_binary(), cubin(), text};
    auto random = fuzz::random(5);
    const int rounds = fuzz::rounds(4000);
    for (int round = 0; round < rounds; round++) {
        Bytes image = originals[static_cast<std::size_t>(round) % std::size(originals)];
        for (auto changes = 1 + random() % 8; changes > 0; changes--)
            change(image, random);
        (void)read_image(image);
    }
}

/// The words of the text, and what stands between them.
std::vector<std::string> words_of(std::string_view text) {
    std::vector<std::string> words;
    auto is_of_a_word = [](char c) {
        return std::isalnum(static_cast<unsigned char>(c)) || c == '_' || c == '%';
    };
    for (const char c : text) {
        if (words.empty() || !is_of_a_word(c) || !is_of_a_word(words.back().back()))
            words.emplace_back();
        words.back() += c;
    }
    return words;
}

/// Words left out, doubled, or in others' places: what still has the form of a program, and makes no sense.
void what_makes_no_sense_is_read_or_refused() {
    const auto whole = words_of(ptx_text);
    auto random = fuzz::random(6);
    const int rounds = fuzz::rounds(4000);
    Seen seen;
    for (int round = 0; round < rounds; round++) {
        auto words = whole;
        for (auto changes = 1 + random() % 3; changes > 0; changes--) {
            const auto at = static_cast<std::ptrdiff_t>(random() % words.size());
            switch (random() % 3) {
            case 0:
                words.erase(words.begin() + at);
                break;
            case 1:
                words.insert(words.begin() + at, words[random() % words.size()]);
                break;
            default:
                words[static_cast<std::size_t>(at)] = words[random() % words.size()];
            }
        }
        std::string text;
        for (const std::string &word : words)
            text += word;
        read_ptx(text, seen);
    }
    EXPECT(seen.programs > 0);
}

} // namespace

int main() {
    what_is_whole_is_read();
    what_makes_no_sense_is_read_or_refused();
    what_is_changed_is_read_or_refused();
}
