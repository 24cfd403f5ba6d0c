// Arithmetic on the two or four parts of a word: vadd4, vabsdiff4 and their like.
#include "choose.hpp"

#include <algorithm>

namespace soft {

using ptx::Instruction;
using ptx::Type;

namespace {

/// What an instruction does with each part; packed into Op::immediate.
struct Parts {
    enum Kind : std::uint8_t { add, sub, average, difference, least, most, compare } kind;
    std::uint8_t bits; // of a part
    bool signed_a : 1, signed_b : 1, signed_d, saturates, sums, positive;
    enum Relation : std::uint8_t { eq, ne, lt, le, gt, ge } relation;
};
static_assert(sizeof(Parts) == 8);

s32 part_of(u32 word, unsigned at, unsigned bits, bool is_signed) {
    const u32 part = word >> at & ((1u << bits) - 1);
    return is_signed && part >> (bits - 1) ? static_cast<s32>(part) - (1 << bits) : static_cast<s32>(part);
}

s32 combined(const Parts &parts, s32 a, s32 b) {
    switch (parts.kind) {
    case Parts::add:
        return a + b;
    case Parts::sub:
        return a - b;
    case Parts::average: // rounded away from zero
        return (a + b + (a + b >= 0 ? 1 : 0)) >> 1;
    case Parts::difference:
        return std::abs(a - b);
    case Parts::least:
        return std::min(a, b);
    case Parts::most:
        return std::max(a, b);
    case Parts::compare:
        break;
    }
    const bool holds[] = {a == b, a != b, a<b, a <= b, a> b, a >= b};
    return holds[parts.relation];
}

/// `c` is added to the sum of all parts (.add), and else of no account, as no part is left out.
void parts_lanes(Warp &w, const Op &op) {
    const auto parts = std::bit_cast<Parts>(op.immediate);
    u32 *d = w.slot<u32>(op.dst);
    const u32 *a = w.slot<u32>(op.a), *b = w.slot<u32>(op.b), *c = w.slot<u32>(op.c);
    const s32 most = parts.signed_d ? (1 << (parts.bits - 1)) - 1 : (1 << parts.bits) - 1,
              least = parts.signed_d ? -most - 1 : 0;
    each_lane(w.exec, [&](unsigned i) {
        u32 packed = 0, sum = c[i];
        for (unsigned at = 0; at < 32; at += parts.bits) {
            s32 value = combined(parts, part_of(a[i], at, parts.bits, parts.signed_a),
                                 part_of(b[i], at, parts.bits, parts.signed_b));
            if (parts.positive)
                value = std::max(value, 0);
            if (parts.saturates)
                value = std::clamp(value, least, most);
            packed |= (static_cast<u32>(value) & ((1u << parts.bits) - 1)) << at;
            sum += static_cast<u32>(value);
        }
        d[i] = parts.sums ? sum : packed;
    });
}

} // namespace

namespace {

/// add, min and max of pairs of 16-bit integers.
Choice choose_pair(const Instruction &in) {
    Parts parts = {};
    parts.kind = in.opcode == "min" ? Parts::least : in.opcode == "max" ? Parts::most : Parts::add;
    parts.bits = 16;
    parts.signed_a = parts.signed_b = in.has("s16x2");
    parts.signed_d = true;
    parts.positive = in.has("relu");
    if (in.has("relu") && (!in.has("s16x2") || in.opcode == "add"))
        not_implemented(in);
    return {parts_lanes, Type::u32, {Type::u32, Type::u32}, 0, std::bit_cast<s64>(parts)};
}

} // namespace

Choice choose_video(const Instruction &in) {
    if (in.opcode.front() != 'v')
        return choose_pair(in);
    static const std::map<std::string_view, Parts::Kind> kinds = {
        {"vadd", Parts::add},      {"vsub", Parts::sub},
        {"vavrg", Parts::average}, {"vabsdiff", Parts::difference},
        {"vmin", Parts::least},    {"vmax", Parts::most},
        {"vset", Parts::compare}};
    static constexpr std::string_view relations[] = {"eq", "ne", "lt", "le", "gt", "ge"};
    const char count = in.opcode.back();
    const auto kind = kinds.find(std::string_view(in.opcode).substr(0, in.opcode.size() - 1));
    if ((count != '2' && count != '4') || kind == kinds.end() || in.operands.size() != 4)
        not_implemented(in);
    Parts parts = {};
    parts.kind = kind->second;
    parts.bits = count == '4' ? 8 : 16;
    parts.saturates = in.has("sat");
    parts.sums = in.has("add");
    parts.signed_b = in.type() == Type::s32;
    parts.signed_a = in.type(1) == Type::s32;
    parts.signed_d = kind->second != Parts::compare && in.type(2) == Type::s32;
    if (kind->second == Parts::compare) {
        const auto relation = std::find_if(std::begin(relations), std::end(relations),
                                           [&](std::string_view name) { return in.has(name); });
        if (relation == std::end(relations))
            not_implemented(in);
        parts.relation = static_cast<Parts::Relation>(relation - std::begin(relations));
    }
    return {parts_lanes, Type::u32, {Type::u32, Type::u32, Type::u32}, 0, std::bit_cast<s64>(parts)};
}

} // namespace soft
