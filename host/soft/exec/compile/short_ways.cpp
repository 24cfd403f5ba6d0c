// Branches whose ways are short: lanes that part there need not leave compiled code. It takes each way with
// the lanes it is for, and leaves alone what the others' values are.
#include "analysis.hpp"

#include "emitter.hpp"

#include "../control.hpp"

namespace soft {

namespace {

constexpr std::uint32_t longest = 200; // operations of both ways

/// Whether code may find that it has to give up in operation i, whose results are alike in all lanes.
bool may_give_up(const Source &source, const Forms &forms, std::uint32_t i, Native form) {
    const Draft &draft = source.drafts[i];
    auto checked = [&](std::uint32_t value, bool is_signed) {
        const Extension extension = extension_of(forms[value], is_signed);
        return extension == Extension::checked_signed || extension == Extension::checked_unsigned;
    };
    if (form == Native::widen || form == Native::widen_signed)
        return checked(draft.op.a, form == Native::widen_signed);
    if (form != Native::convert && form != Native::integer)
        return false;
    const ptx::Instruction &in = source.instructions[static_cast<std::size_t>(draft.instruction)];
    const bool is_signed = ptx::is_signed(in.type());
    if (form == Native::convert)
        return ptx::size_of(in.type(1)) == 8 && ptx::size_of(in.type()) == 4 &&
               checked(draft.op.a, is_signed);
    return in.has("wide") && (checked(draft.op.a, is_signed) || checked(draft.op.b, is_signed));
}

/// Whether code performs operation i for some of the lanes, with no handler but for odd accesses.
bool is_simple(const Program &program, const Analysis &analysis, std::uint32_t i) {
    const Source &source = *program.source;
    const References refs = references(source, i);
    const Native form = native_form(source, i);
    const bool bases =
        !refs.defines.empty() && std::all_of(refs.defines.begin(), refs.defines.end(),
                                             [&](std::uint32_t v) { return analysis.forms[v].alike(); });
    switch (form) {
    case Native::call:
    case Native::directed: // a handler's where there is no AVX-512
    case Native::shuffle:  // gives what lanes have that do not take part
    case Native::multiply:
    case Native::matrices:
    case Native::transpose:
        return false;
    case Native::divide:
        return bases;
    case Native::load:
    case Native::store: {
        const bool wanted = std::all_of(refs.defines.begin(), refs.defines.end(),
                                        [&](std::uint32_t v) { return analysis.used.has(v); });
        const bool local =
            in_local(source.instructions[static_cast<std::size_t>(source.drafts[i].instruction)]);
        return wanted && !local;
    }
    default:
        return !bases || !may_give_up(source, analysis.forms, i, form);
    }
}

struct Ways {
    std::uint32_t join = Analysis::none;
    std::array<std::vector<std::uint32_t>, 2> segments; // of the way to the target, and of the other
};

Ways ways_of(const Program &program, const Analysis &analysis, const Segment &segment) {
    const Op &branch = program.ops[segment.last - 1];
    Ways ways;
    if (branch.run != branch_if || segment.next.size() != 2 || branch.join == no_join)
        return ways;
    ways.join = analysis.segment_at[branch.join];
    for (unsigned way = 0; way < 2; ++way)
        ways.segments[way] = segments_between(analysis, segment.next[way], ways.join);
    return ways;
}

/// Whether a value that is kept once for all lanes is written there while others want what it was: in each
/// lane it would have to be another one from there on, which costs more than leaving the code.
bool changes_what_is_shared(const Program &program, const Analysis &analysis, const Ways &ways,
                            const Segment &branch) {
    for (unsigned way = 0; way < 2; ++way)
        for (std::uint32_t at : ways.segments[way])
            for (std::uint32_t i = analysis.segments[at].first; i < analysis.segments[at].last; ++i)
                for (std::uint32_t v : references(*program.source, i).defines)
                    if (analysis.forms[v].alike() && (analysis.segments[ways.join].live_in.has(v) ||
                                                      analysis.segments[branch.next[1 - way]].live_in.has(v)))
                        return true;
    return false;
}

/// Whether the branch that segment s ends with has short ways, those of branches after it being known.
bool has_short_ways(const Program &program, const Analysis &analysis, std::uint32_t s,
                    const std::vector<bool> &is_short) {
    const Ways ways = ways_of(program, analysis, analysis.segments[s]);
    if (ways.join == Analysis::none || ways.join <= s ||
        (ways.segments[0].empty() && ways.segments[1].empty())) // to where it would have gone anyway
        return false;
    std::vector<bool> inside(analysis.segments.size());
    std::uint32_t operations = 0;
    for (const std::vector<std::uint32_t> &way : ways.segments)
        for (std::uint32_t at : way) {
            if (inside[at] || at <= s || at >= ways.join) // on both ways, or backwards
                return false;
            inside[at] = true;
            operations += analysis.segments[at].last - analysis.segments[at].first;
        }
    if (operations > longest || changes_what_is_shared(program, analysis, ways, analysis.segments[s]))
        return false;
    for (std::uint32_t at = 0; at < analysis.segments.size(); ++at) {
        const Segment &segment = analysis.segments[at];
        for (std::uint32_t next : segment.next)
            if ((inside[next] && !inside[at] && at != s) || (inside[at] && next <= at))
                return false; // come to from elsewhere, or a loop
        if (!inside[at])
            continue;
        for (std::uint32_t i = segment.first; i < segment.last; ++i) {
            const Op &op = program.ops[i];
            if (i + 1 == segment.last && (op.run == jump || op.run == branch_if)) {
                const bool parts =
                    op.run == branch_if && !analysis.forms[program.source->drafts[i].op.guard].uniform();
                if (parts && !is_short[at])
                    return false;
                continue;
            }
            if (op.run != meet && (ends_segment(op) || !is_simple(program, analysis, i)))
                return false;
        }
    }
    return true;
}

} // namespace

bool parts(const Program &program, const Analysis &analysis, const Segment &segment) {
    return program.ops[segment.last - 1].run == branch_if &&
           !analysis.forms[program.source->drafts[segment.last - 1].op.guard].uniform();
}

std::vector<bool> short_branches(const Program &program, const Analysis &analysis, std::vector<bool> among) {
    for (std::uint32_t s = static_cast<std::uint32_t>(analysis.segments.size()); s-- > 0;)
        among[s] = among[s] && has_short_ways(program, analysis, s, among);
    return among;
}

void find_ways(const Program &program, Analysis &analysis, const std::vector<bool> &is_short) {
    for (std::uint32_t s = 0; s < analysis.segments.size(); ++s) {
        Segment &segment = analysis.segments[s];
        if (!is_short[s] || !parts(program, analysis, segment))
            continue;
        const Ways found = ways_of(program, analysis, segment);
        segment.takes = static_cast<std::uint32_t>(analysis.ways.size());
        for (unsigned k = 0; k < 2; ++k) {
            if (found.segments[k].empty())
                continue;
            Way way{s, segment.next[k], found.join, Analysis::none, analysis.segments[found.join].live_in};
            if (k == 0 && !found.segments[1].empty()) {
                way.second = static_cast<std::uint32_t>(analysis.ways.size()) + 1;
                way.kept.merge(analysis.segments[segment.next[1]].live_in);
            }
            if (segment.way != Analysis::none)
                way.kept.merge(analysis.ways[segment.way].kept);
            for (std::uint32_t at : found.segments[k]) // those of branches on the way come later
                analysis.segments[at].way = static_cast<std::uint32_t>(analysis.ways.size());
            analysis.ways.push_back(std::move(way));
        }
    }
}

} // namespace soft
