// What compiling must know of a kernel beforehand: straight pieces of code, which values live where they
// begin and end, which of them may be newer than what lies in memory, and what is known of their lanes.
#pragma once

#include "compile.hpp"
#include "forms.hpp"

#include <algorithm>
#include <bit>
#include <functional>

namespace soft {

/// A set of value numbers.
class ValueSet {
  public:
    explicit ValueSet(std::size_t values = 0) : words_((values + 63) / 64) {}
    bool has(std::uint32_t v) const { return (words_[v / 64] >> (v % 64)) & 1; }
    void add(std::uint32_t v) { words_[v / 64] |= 1ull << (v % 64); }
    void remove(std::uint32_t v) { words_[v / 64] &= ~(1ull << (v % 64)); }
    template <class F> void each(F f) const {
        for (std::size_t w = 0; w < words_.size(); ++w)
            for (std::uint64_t bits = words_[w]; bits != 0; bits &= bits - 1)
                f(static_cast<std::uint32_t>(64 * w + static_cast<unsigned>(std::countr_zero(bits))));
    }
    /// Adds the other's; true when that changed anything.
    bool merge(const ValueSet &other);
    bool merge_without(const ValueSet &other, const ValueSet &without);

  private:
    std::vector<std::uint64_t> words_;
};

/// Operations first to last (exclusive) that run one after the other.
struct Segment {
    std::uint32_t first = 0, last = 0;
    std::vector<std::uint32_t> next; // segments
    ValueSet live_in, live_out;
    ValueSet defined;
    ValueSet newer;                   // defined since the code was entered, on some way to its beginning
    bool entry = false;               // warps may come to it from outside of the code
    std::uint32_t way = 0xffffffff;   // the innermost short way it lies on
    std::uint32_t takes = 0xffffffff; // of a branch with short ways: the first of them
};

/// One way of a branch that parts lanes, so short and simple that code takes it with the lanes it is for.
struct Way {
    std::uint32_t branch = 0, first = 0, join = 0; // segments: the branch's, the way's first, where ways meet
    std::uint32_t second = 0xffffffff;             // of the first of two: the other one, which is taken then
    ValueSet kept; // values of which those want what they were who are elsewhere
};

struct Analysis {
    std::vector<Segment> segments;
    std::vector<std::uint32_t> segment_at; // by operation: the segment that begins there, or none
    std::vector<Way> ways;
    ValueSet used; // by any operation
    Forms forms;   // by value
    /// By value: alike on each way alone. Where lanes may part it lies in its slot, lane by lane.
    std::vector<bool> assumed;
    std::vector<std::uint32_t> in_cells; // values that careful code finds in cells where warps come in
    bool assumes() const { return std::find(assumed.begin(), assumed.end(), true) != assumed.end(); }
    static constexpr std::uint32_t none = 0xffffffff;
};

struct References {
    std::vector<std::uint32_t> uses, defines; // values with slots, and predicates
    bool defines_predicate = false;           // op.predicate is a second result
};

/// What an operation reads and writes that may change.
References references(const Source &source, std::uint32_t operation);

/// Whether the operation's handler decides where the warp goes on.
bool ends_segment(const Op &op);

/// Segments that lanes can come to from `from` before they reach `join`.
std::vector<std::uint32_t> segments_between(const Analysis &analysis, std::uint32_t from, std::uint32_t join);

// short_ways.cpp

/// Whether lanes may part at the segment's end.
bool parts(const Program &program, const Analysis &analysis, const Segment &segment);

/// By segment, of those `among`: whether the branch it ends with has short ways.
std::vector<bool> short_branches(const Program &program, const Analysis &analysis, std::vector<bool> among);

/// Says which segments lie on which ways, of those branches that may part lanes.
void find_ways(const Program &program, Analysis &analysis, const std::vector<bool> &is_short);

/// The values that are wanted at operation i of the segment, or after it.
ValueSet live_at(const Source &source, const Segment &segment, std::uint32_t i);

/// `scalar(i)`: whether operation i gives one result for all lanes when its operands are so.
Analysis analyse(const Program &program, bool whole_rows, Care care,
                 const std::function<bool(std::uint32_t)> &scalar);

} // namespace soft
