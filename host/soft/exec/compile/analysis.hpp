// What compiling must know of a kernel beforehand: straight pieces of code, which values live where they
// end, and which values all lanes of a warp have alike.
#pragma once

#include "../lower.hpp"

#include <functional>

namespace soft {

/// A set of value numbers.
class ValueSet {
  public:
    explicit ValueSet(std::size_t values = 0) : words_((values + 63) / 64) {}
    bool has(std::uint32_t v) const { return (words_[v / 64] >> (v % 64)) & 1; }
    void add(std::uint32_t v) { words_[v / 64] |= 1ull << (v % 64); }
    void remove(std::uint32_t v) { words_[v / 64] &= ~(1ull << (v % 64)); }
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
};

struct Analysis {
    std::vector<Segment> segments;
    std::vector<std::uint32_t> segment_at; // by operation: the segment that begins there, or none
    std::vector<bool> uniform;             // by value: kept once for all lanes
    static constexpr std::uint32_t none = 0xffffffff;
};

struct References {
    std::vector<std::uint32_t> uses, defines; // values with slots, and predicates
};

/// What an operation reads and writes that may change.
References references(const Source &source, std::uint32_t operation);

/// Whether the operation's handler decides where the warp goes on.
bool ends_segment(const Op &op);

/// `scalar(i)`: whether operation i gives one result for all lanes when its operands are so.
Analysis analyse(const Program &program, bool whole_rows, const std::function<bool(std::uint32_t)> &scalar);

} // namespace soft
