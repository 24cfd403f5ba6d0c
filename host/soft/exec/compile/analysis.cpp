#include "analysis.hpp"

#include "../control.hpp"

#include <algorithm>

namespace soft {

bool ValueSet::merge(const ValueSet &other) {
    bool changed = false;
    for (std::size_t i = 0; i < words_.size(); ++i) {
        changed |= (other.words_[i] & ~words_[i]) != 0;
        words_[i] |= other.words_[i];
    }
    return changed;
}

bool ValueSet::merge_without(const ValueSet &other, const ValueSet &without) {
    bool changed = false;
    for (std::size_t i = 0; i < words_.size(); ++i) {
        const std::uint64_t more = other.words_[i] & ~without.words_[i];
        changed |= (more & ~words_[i]) != 0;
        words_[i] |= more;
    }
    return changed;
}

References references(const Source &source, std::uint32_t operation) {
    const Draft &draft = source.drafts[operation];
    References result{draft.uses, draft.defines};
    auto predicate = [&](std::uint32_t value, std::vector<std::uint32_t> &into) {
        if (value != 0 && source.values[value].kind == Value::Kind::predicate)
            into.push_back(value);
    };
    const Op &op = draft.op;
    predicate(op.dst, result.defines);
    predicate(op.a, result.uses);
    predicate(op.b, result.uses);
    if (!draft.raw_c)
        predicate(op.c, result.defines); // only setp p|q has a predicate there
    if (!draft.raw_predicate) {
        const bool defined =
            draft.instruction >= 0 &&
            (source.instructions[static_cast<std::size_t>(draft.instruction)].opcode == "shfl" ||
             source.instructions[static_cast<std::size_t>(draft.instruction)].opcode == "match");
        predicate(op.predicate, defined ? result.defines : result.uses);
    }
    predicate(op.guard, result.uses);
    return result;
}

bool ends_segment(const Op &op) {
    const Handler run = op.run == run_guarded ? op.guarded : op.run;
    return run == jump || run == branch_if || run == finish || run == barrier || run == barrier_reduce ||
           run == trap || run == assert_failed;
}

namespace {

void find_segments(const Program &program, Analysis &analysis) {
    const auto count = static_cast<std::uint32_t>(program.ops.size());
    std::vector<bool> leads(count + 1);
    leads[0] = true;
    for (std::uint32_t i = 0; i < count; ++i) {
        const Op &op = program.ops[i];
        if (op.run == meet)
            leads[i] = true;
        if (op.run == jump || op.run == branch_if)
            leads[static_cast<std::size_t>(op.immediate)] = true;
        if (ends_segment(op))
            leads[i + 1] = true;
    }
    analysis.segment_at.assign(count + 1, Analysis::none);
    for (std::uint32_t i = 0; i < count; ++i) {
        if (leads[i]) {
            analysis.segment_at[i] = static_cast<std::uint32_t>(analysis.segments.size());
            analysis.segments.emplace_back().first = i;
        }
        analysis.segments.back().last = i + 1;
    }
    for (Segment &segment : analysis.segments) {
        const Op &end = program.ops[segment.last - 1];
        if (end.run == jump || end.run == branch_if)
            segment.next.push_back(analysis.segment_at[static_cast<std::size_t>(end.immediate)]);
        if (end.run != jump && end.run != finish && end.run != trap && segment.last < count)
            segment.next.push_back(analysis.segment_at[segment.last]);
    }
}

void find_live_values(const Source &source, Analysis &analysis) {
    const std::size_t values = source.values.size();
    std::vector<ValueSet> defined(analysis.segments.size(), ValueSet(values));
    for (std::size_t s = 0; s < analysis.segments.size(); ++s) {
        Segment &segment = analysis.segments[s];
        segment.live_in = segment.live_out = ValueSet(values);
        for (std::uint32_t i = segment.first; i < segment.last; ++i) {
            const References refs = references(source, i);
            for (std::uint32_t v : refs.uses)
                if (!defined[s].has(v))
                    segment.live_in.add(v);
            for (std::uint32_t v : refs.defines) {
                if (source.drafts[i].partial && !defined[s].has(v))
                    segment.live_in.add(v);
                defined[s].add(v);
            }
        }
    }
    for (bool changed = true; changed;) {
        changed = false;
        for (std::size_t s = analysis.segments.size(); s-- > 0;) {
            Segment &segment = analysis.segments[s];
            for (std::uint32_t next : segment.next)
                segment.live_out.merge(analysis.segments[next].live_in);
            changed |= segment.live_in.merge_without(segment.live_out, defined[s]);
        }
    }
}

bool starts_uniform(const Value &value, bool whole_rows) {
    if (value.kind != Value::Kind::special)
        return true;
    switch (static_cast<Special>(value.bits)) {
    case Special::tid_x:
    case Special::laneid:
    case Special::lanemask_eq:
    case Special::lanemask_le:
    case Special::lanemask_lt:
    case Special::lanemask_ge:
    case Special::lanemask_gt:
        return false;
    case Special::tid_y:
    case Special::tid_z:
        return whole_rows;
    default:
        return true;
    }
}

/// Segments that lanes can come to from `from` before they reach `join`.
std::vector<std::uint32_t> region(const Analysis &analysis, std::uint32_t from, std::uint32_t join) {
    std::vector<std::uint32_t> found;
    if (from == join)
        return found;
    std::vector<bool> seen(analysis.segments.size());
    found.push_back(from);
    seen[from] = true;
    for (std::size_t at = 0; at < found.size(); ++at)
        for (std::uint32_t next : analysis.segments[found[at]].next)
            if (next != join && !seen[next]) {
                seen[next] = true;
                found.push_back(next);
            }
    return found;
}

/// A value kept once for all lanes must not be written on one way of a divergent branch while lanes that
/// wait, at the other way's start or where the ways meet, still want what it was.
bool settle_branch(const Program &program, Analysis &analysis, const Segment &segment) {
    const Op &branch = program.ops[segment.last - 1];
    if (segment.next.size() != 2)
        return false;
    const std::uint32_t join = branch.join == no_join ? Analysis::none : analysis.segment_at[branch.join];
    bool changed = false;
    for (unsigned way = 0; way < 2; ++way) {
        const std::uint32_t other = segment.next[1 - way];
        for (std::uint32_t s : region(analysis, segment.next[way], join))
            for (std::uint32_t i = analysis.segments[s].first; i < analysis.segments[s].last; ++i)
                for (std::uint32_t v : references(*program.source, i).defines)
                    if (analysis.uniform[v] &&
                        (analysis.segments[other].live_in.has(v) ||
                         (join != Analysis::none && analysis.segments[join].live_in.has(v)))) {
                        analysis.uniform[v] = false;
                        changed = true;
                    }
    }
    return changed;
}

} // namespace

Analysis analyse(const Program &program, bool whole_rows, const std::function<bool(std::uint32_t)> &scalar) {
    Analysis analysis;
    const Source &source = *program.source;
    find_segments(program, analysis);
    find_live_values(source, analysis);
    for (const Value &value : source.values)
        analysis.uniform.push_back(starts_uniform(value, whole_rows));
    std::vector<bool> settled(analysis.segments.size());
    const auto count = static_cast<std::uint32_t>(program.ops.size());
    for (bool changed = true; changed;) {
        changed = false;
        for (std::uint32_t i = 0; i < count; ++i) {
            const References refs = references(source, i);
            const Draft &draft = source.drafts[i];
            auto alike = [&](std::uint32_t v) { return static_cast<bool>(analysis.uniform[v]); };
            auto all_alike = [&](const std::vector<std::uint32_t> &list) {
                return std::all_of(list.begin(), list.end(), alike);
            };
            bool one = all_alike(refs.uses) && alike(draft.op.dst) && alike(draft.op.a) &&
                       alike(draft.op.b) && (draft.raw_c || alike(draft.op.c)) &&
                       (draft.raw_predicate || alike(draft.op.predicate)) && all_alike(draft.list);
            if (one && refs.defines.empty())
                continue;
            if (one && scalar(i))
                continue;
            for (std::uint32_t v : refs.defines)
                if (analysis.uniform[v]) {
                    analysis.uniform[v] = false;
                    changed = true;
                }
        }
        for (std::size_t s = 0; s < analysis.segments.size(); ++s) {
            const Op &end = program.ops[analysis.segments[s].last - 1];
            const Draft &draft = source.drafts[analysis.segments[s].last - 1];
            if (settled[s] || end.run != branch_if || analysis.uniform[draft.op.guard])
                continue;
            settled[s] = true;
            changed |= settle_branch(program, analysis, analysis.segments[s]);
        }
    }
    return analysis;
}

} // namespace soft
