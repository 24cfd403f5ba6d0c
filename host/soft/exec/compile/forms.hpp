// What is known of a value before the kernel runs: most addresses are a number that all lanes of a warp
// share plus something fixed for each lane, so that one scalar does for 32 lanes.
#pragma once

#include "../lower.hpp"

#include <array>

namespace soft {

using Offsets = std::array<std::int64_t, lanes>;

/// Whether they fit an access's index of 32 bits, and some more.
bool small(const Offsets &offsets);

/// Whether lane i's element of so many bytes lies i elements after lane 0's.
bool consecutive(const Offsets &offsets, unsigned size);

/// `alike`: lane i holds base + offsets[i], modulo 2^32 or 2^64; the base is kept once for all lanes.
struct Form {
    enum class Kind : std::uint8_t { unseen, alike, varying };
    Kind kind = Kind::unseen;
    Offsets offsets{};
    unsigned zeros = 0;                // low bits of the base that are zero
    std::int64_t least = 0, most = -1; // of all lanes, as signed numbers; least > most: nothing is known

    bool alike() const { return kind == Kind::alike; }
    bool ranged() const { return least <= most; }
    /// One number for all lanes.
    bool uniform() const { return alike() && offsets == Offsets{}; }
    /// The base and what is added to it have no bit in common: adding is setting bits.
    bool disjoint() const;
    std::int64_t smallest() const; // of the offsets
    std::int64_t largest() const;

    static Form of_constant(const Value &value);
    /// A special register; `whole_rows`: warps lie in rows of the block.
    static Form of_special(Special which, bool whole_rows);
    static Form varying() { return {Kind::varying, {}, 0, 0, -1}; }
    static Form of_uniform() { return {Kind::alike, {}, 0, 0, -1}; }
};

/// How a 32-bit value becomes one of 64 bits.
enum class Extension : std::uint8_t {
    exact_signed,   // the base sign-extended, plus the offsets, is right
    exact_unsigned, // zero-extended
    checked_signed, // ... provided that no lane's sum wraps, which must be asked at run time
    checked_unsigned,
};
Extension extension_of(const Form &form, bool is_signed);

using Forms = std::vector<Form>; // by value

/// The form of what operation i defines, from those of its operands. Varying when it has none better.
/// `scalar`: whether it gives one result for all lanes when its operands are so.
Form result_form(const Source &source, std::uint32_t i, const Forms &forms, bool scalar);

} // namespace soft
