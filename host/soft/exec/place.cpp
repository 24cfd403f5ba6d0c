// Control flow of a drafted kernel: basic blocks, where divergent lanes meet (immediate
// post-dominators), which values live where, and the slots they get.
#include "control.hpp"
#include "lower.hpp"

#include <algorithm>
#include <bit>
#include <limits>
#include <tuple>

namespace soft {

namespace {

struct BasicBlock {
    std::size_t first, last; // drafts, labels left out of account; last is exclusive
    std::vector<std::uint32_t> next;
    std::uint32_t post_dominator = 0;
    bool is_join = false;
};

constexpr std::uint32_t none = std::numeric_limits<std::uint32_t>::max();

struct Graph {
    std::vector<BasicBlock> blocks;
    std::vector<std::uint32_t> block_of_label;
};

Graph find_blocks(const std::vector<Draft> &drafts, int labels) {
    Graph graph;
    graph.block_of_label.assign(static_cast<std::size_t>(labels), none);
    bool start = true;
    for (std::size_t i = 0; i < drafts.size(); ++i) {
        const Draft &draft = drafts[i];
        if (draft.label >= 0 && !start && graph.blocks.back().first != i) {
            graph.blocks.back().last = i;
            start = true;
        }
        if (start) {
            graph.blocks.push_back({i, drafts.size(), {}, 0, false});
            start = false;
        }
        if (draft.label >= 0)
            graph.block_of_label[static_cast<std::size_t>(draft.label)] =
                static_cast<std::uint32_t>(graph.blocks.size() - 1);
        if (draft.target >= 0 || draft.ends) {
            graph.blocks.back().last = i + 1;
            start = true;
        }
    }
    for (std::uint32_t b = 0; b < graph.blocks.size(); ++b) {
        BasicBlock &block = graph.blocks[b];
        const Draft &end = drafts[block.last - 1];
        if (end.target >= 0)
            block.next.push_back(graph.block_of_label[static_cast<std::size_t>(end.target)]);
        if (!end.ends && b + 1 < graph.blocks.size())
            block.next.push_back(b + 1);
    }
    return graph;
}

/// A block that does nothing but end: early returns of one kernel often share it.
bool only_ends(const BasicBlock &block, const std::vector<Draft> &drafts) {
    std::size_t first = block.first;
    while (drafts[first].label >= 0 && first + 1 < block.last)
        ++first;
    return first + 1 == block.last && drafts[first].ends && drafts[first].target < 0;
}

/// Where divergent lanes meet again. Those that end do not come back and need not be waited for: an early
/// return is no reason for the others to stay apart until the kernel's end. So post-dominators are those of
/// the ways to one end alone, then, of what does not lead there, of the ways to another.
class Joins {
  public:
    Joins(Graph &graph, const std::vector<Draft> &drafts)
        : graph_(graph), exit_(static_cast<std::uint32_t>(graph.blocks.size())), previous_(exit_ + 1),
          number_(exit_ + 1, none), dominator_(exit_ + 1, none), done_(exit_) {
        dominator_[exit_] = exit_;
        for (std::uint32_t b = 0; b < exit_; ++b) {
            const BasicBlock &block = graph.blocks[b];
            graph.blocks[b].post_dominator = exit_;
            auto traps = [&](const BasicBlock &at) { return drafts[at.last - 1].op.run == trap; };
            bool ends = block.next.empty() && !only_ends(block, drafts), is_trap = traps(block);
            for (std::uint32_t next : block.next) {
                previous_[next].push_back(b);
                const BasicBlock &there = graph.blocks[next];
                if (!only_ends(there, drafts))
                    continue;
                is_trap = traps(there) && (is_trap || !ends);
                ends = true;
            }
            if (ends)
                ends_.push_back({b, 0, is_trap});
        }
    }

    void find() {
        constexpr std::size_t too_many = 20'000'000; // to look from each end at each block
        if (ends_.size() * graph_.blocks.size() < too_many)
            for (End &end : ends_)
                end.reached_by = order_from(end.block, {}).size();
        // The kernel's proper end is the one that most blocks lead to, and the last of several.
        std::stable_sort(ends_.begin(), ends_.end(), [](const End &a, const End &b) {
            return std::tuple(a.is_trap, b.reached_by, b.block) <
                   std::tuple(b.is_trap, a.reached_by, a.block);
        });
        for (const End &end : ends_)
            if (!done_[end.block])
                find_before(end.block);
    }

  private:
    struct End {
        std::uint32_t block;
        std::size_t reached_by; // blocks
        bool is_trap;
    };

    /// The block and all that lead to it, in post-order of the reversed graph; `without` are left out.
    std::vector<std::uint32_t> order_from(std::uint32_t end, const std::vector<bool> &without) {
        std::vector<std::uint32_t> order;
        std::vector<std::pair<std::uint32_t, std::size_t>> path{{end, 0}};
        std::vector<bool> seen = without;
        seen.resize(exit_);
        seen[end] = true;
        while (!path.empty()) {
            auto &[node, at] = path.back();
            if (at < previous_[node].size()) {
                const std::uint32_t next = previous_[node][at++];
                if (!seen[next]) {
                    seen[next] = true;
                    path.emplace_back(next, 0);
                }
            } else {
                order.push_back(node);
                path.pop_back();
            }
        }
        return order;
    }

    std::uint32_t meet_of(std::uint32_t a, std::uint32_t b) const {
        while (a != b) {
            while (number_[a] < number_[b])
                a = dominator_[a];
            while (number_[b] < number_[a])
                b = dominator_[b];
        }
        return a;
    }

    /// Immediate post-dominators (Cooper, Harvey, Kennedy, "A Simple, Fast Dominance Algorithm", on the
    /// reversed graph) of what leads to this end.
    void find_before(std::uint32_t end) {
        const std::vector<std::uint32_t> order = order_from(end, done_);
        for (std::size_t i = 0; i < order.size(); ++i)
            number_[order[i]] = static_cast<std::uint32_t>(i);
        number_[exit_] = static_cast<std::uint32_t>(order.size());
        for (bool changed = true; changed;) {
            changed = false;
            for (auto node = order.rbegin(); node != order.rend(); ++node) {
                std::uint32_t best = *node == end ? exit_ : none;
                for (std::uint32_t next : graph_.blocks[*node].next)
                    if (!done_[next] && dominator_[next] != none)
                        best = best == none ? next : meet_of(best, next);
                if (best != dominator_[*node]) {
                    dominator_[*node] = best;
                    changed = true;
                }
            }
        }
        for (std::uint32_t node : order) {
            graph_.blocks[node].post_dominator = dominator_[node];
            done_[node] = true;
        }
    }

    Graph &graph_;
    const std::uint32_t exit_; // also stands for what never comes to an end
    std::vector<std::vector<std::uint32_t>> previous_;
    std::vector<std::uint32_t> number_, dominator_;
    std::vector<bool> done_;
    std::vector<End> ends_;
};

struct Interval {
    std::uint32_t value;
    std::size_t start, end;
};

/// First to last draft in which a value must keep its slot, over loops extended as far as it lives.
std::vector<Interval> live_intervals(const std::vector<Draft> &drafts, const Graph &graph,
                                     std::size_t values) {
    const std::size_t words = (values + 63) / 64, count = graph.blocks.size();
    using Set = std::vector<std::uint64_t>;
    std::vector<Set> in(count, Set(words)), defined(count, Set(words));
    auto has = [](const Set &set, std::uint32_t v) { return (set[v / 64] >> (v % 64)) & 1; };
    auto add = [](Set &set, std::uint32_t v) { set[v / 64] |= 1ull << (v % 64); };
    for (std::size_t b = 0; b < count; ++b)
        for (std::size_t i = graph.blocks[b].first; i < graph.blocks[b].last; ++i) {
            for (std::uint32_t v : drafts[i].uses)
                if (!has(defined[b], v))
                    add(in[b], v);
            for (std::uint32_t v : drafts[i].defines) {
                // Written under a guard, the other lanes keep what was there: a use as well.
                if (drafts[i].partial && !has(defined[b], v))
                    add(in[b], v);
                add(defined[b], v);
            }
        }
    for (bool changed = true; changed;) {
        changed = false;
        for (std::size_t b = count; b-- > 0;)
            for (std::uint32_t next : graph.blocks[b].next)
                for (std::size_t w = 0; w < words; ++w) {
                    std::uint64_t grown = in[b][w] | (in[next][w] & ~defined[b][w]);
                    changed |= grown != in[b][w];
                    in[b][w] = grown;
                }
    }
    std::vector<Interval> intervals(values, Interval{0, std::numeric_limits<std::size_t>::max(), 0});
    auto extend = [&](std::uint32_t v, std::size_t at) {
        intervals[v].start = std::min(intervals[v].start, at);
        intervals[v].end = std::max(intervals[v].end, at);
    };
    auto each = [&](const Set &set, auto f) {
        for (std::size_t w = 0; w < words; ++w)
            for (std::uint64_t bits = set[w]; bits != 0; bits &= bits - 1)
                f(static_cast<std::uint32_t>(64 * w + static_cast<unsigned>(std::countr_zero(bits))));
    };
    for (std::size_t b = 0; b < count; ++b) {
        const BasicBlock &block = graph.blocks[b];
        each(in[b], [&](std::uint32_t v) { extend(v, block.first); });
        for (std::uint32_t next : block.next)
            each(in[next], [&](std::uint32_t v) { extend(v, block.last - 1); });
        for (std::size_t i = block.first; i < block.last; ++i) {
            for (std::uint32_t v : drafts[i].uses)
                extend(v, i);
            for (std::uint32_t v : drafts[i].defines)
                extend(v, i);
        }
    }
    std::vector<Interval> used;
    for (std::uint32_t v = 0; v < values; ++v)
        if (intervals[v].start != std::numeric_limits<std::size_t>::max())
            used.push_back({v, intervals[v].start, intervals[v].end});
    std::sort(used.begin(), used.end(),
              [](const Interval &a, const Interval &b) { return a.start < b.start; });
    return used;
}

/// Linear scan: few slots, so that a warp's registers stay in the first-level cache.
std::uint32_t assign_slots(const std::vector<Interval> &intervals, std::vector<Value> &values,
                           std::uint32_t at) {
    struct Busy {
        std::size_t end;
        std::uint32_t offset;
        bool wide;
    };
    std::vector<Busy> busy;
    std::vector<std::uint32_t> free_slots[2];
    for (const Interval &interval : intervals) {
        std::erase_if(busy, [&](const Busy &b) {
            // A slot is free again after its last use: an operation may not write what it still reads, as
            // handlers do not all read everything before they write.
            if (b.end >= interval.start)
                return false;
            free_slots[b.wide].push_back(b.offset);
            return true;
        });
        Value &value = values[interval.value];
        auto &pool = free_slots[value.wide];
        if (pool.empty()) {
            pool.push_back(at);
            at += value.wide ? 8 * lanes : 4 * lanes;
        }
        value.place = pool.back();
        pool.pop_back();
        busy.push_back({interval.end, value.place, value.wide});
    }
    return at;
}

} // namespace

void place(std::vector<Draft> &drafts, std::vector<Value> &values, int labels, Program &into,
           Source &source) {
    Graph graph = find_blocks(drafts, labels);
    Joins(graph, drafts).find();
    const auto exit = static_cast<std::uint32_t>(graph.blocks.size());
    for (const BasicBlock &block : graph.blocks)
        if (drafts[block.last - 1].op.run == branch_if && block.post_dominator != exit)
            graph.blocks[block.post_dominator].is_join = true;

    // Values that never change come first; one slot each, filled before a warp starts.
    std::uint32_t at = 0, predicates = 0;
    for (Value &value : values) {
        if (value.kind == Value::Kind::predicate) {
            value.place = predicates++;
        } else if (value.kind != Value::Kind::slot) {
            value.place = at;
            at += value.wide ? 8 * lanes : 4 * lanes;
            if (value.kind == Value::Kind::constant)
                into.constants.push_back({value.place, value.wide, value.bits});
            else if (value.kind == Value::Kind::special)
                into.specials.push_back({value.place, static_cast<Special>(value.bits)});
            else
                into.parameter_slots.push_back({value.place, static_cast<std::uint32_t>(value.bits),
                                                value.size, value.is_signed, value.wide});
        }
    }
    into.fixed_bytes = at;
    into.register_bytes = assign_slots(live_intervals(drafts, graph, values.size()), values, at);
    into.predicates = predicates;
    into.virtual_registers = static_cast<std::uint32_t>(values.size());

    std::vector<std::uint32_t> start(graph.blocks.size() + 1, no_join);
    std::uint32_t index = 0;
    for (std::uint32_t b = 0; b < exit; ++b) {
        start[b] = index;
        index += graph.blocks[b].is_join;
        for (std::size_t i = graph.blocks[b].first; i < graph.blocks[b].last; ++i)
            index += drafts[i].label < 0;
    }
    into.ops.reserve(index);
    for (std::uint32_t b = 0; b < exit; ++b) {
        const BasicBlock &block = graph.blocks[b];
        if (block.is_join) {
            Op op;
            op.run = meet;
            op.immediate = start[b];
            op.line = drafts[block.first].op.line;
            into.ops.push_back(op);
            source.drafts.emplace_back().op = op;
        }
        for (std::size_t i = block.first; i < block.last; ++i) {
            Draft &draft = drafts[i];
            if (draft.label >= 0)
                continue;
            Op op = draft.op;
            op.dst = values[op.dst].place;
            op.a = values[op.a].place;
            op.b = values[op.b].place;
            if (!draft.raw_c)
                op.c = values[op.c].place;
            if (!draft.raw_predicate)
                op.predicate = values[op.predicate].place;
            op.guard = values[op.guard].place;
            op.list = static_cast<std::uint32_t>(into.lists.size());
            op.count = static_cast<std::uint16_t>(draft.list.size());
            for (std::uint32_t value : draft.list)
                into.lists.push_back(values[value].place);
            if (draft.target >= 0)
                op.immediate = start[graph.block_of_label[static_cast<std::size_t>(draft.target)]];
            if (op.run == branch_if)
                op.join = start[block.post_dominator];
            into.ops.push_back(op);
            source.drafts.push_back(std::move(draft));
        }
    }
    source.values = values;
}

} // namespace soft
