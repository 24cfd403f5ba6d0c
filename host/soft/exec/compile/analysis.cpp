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
        auto opcode = [&] { return source.instructions[static_cast<std::size_t>(draft.instruction)].opcode; };
        const bool defined =
            draft.instruction >= 0 && (opcode() == "shfl" || opcode() == "match" || opcode() == "elect");
        result.defines_predicate = defined;
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

std::vector<std::uint32_t> segments_between(const Analysis &analysis, std::uint32_t from,
                                            std::uint32_t join) {
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
    for (std::size_t s = 0; s < analysis.segments.size(); ++s) {
        Segment &segment = analysis.segments[s];
        segment.live_in = segment.live_out = segment.defined = segment.newer = ValueSet(values);
        for (std::uint32_t i = segment.first; i < segment.last; ++i) {
            const References refs = references(source, i);
            for (std::uint32_t v : refs.uses)
                if (!segment.defined.has(v))
                    segment.live_in.add(v);
            for (std::uint32_t v : refs.defines) {
                if (source.drafts[i].partial && !segment.defined.has(v))
                    segment.live_in.add(v);
                segment.defined.add(v);
            }
        }
    }
    for (bool changed = true; changed;) {
        changed = false;
        for (std::size_t s = analysis.segments.size(); s-- > 0;) {
            Segment &segment = analysis.segments[s];
            for (std::uint32_t next : segment.next)
                segment.live_out.merge(analysis.segments[next].live_in);
            changed |= segment.live_in.merge_without(segment.live_out, segment.defined);
        }
    }
}

Form first_form(const Value &value, bool whole_rows) {
    switch (value.kind) {
    case Value::Kind::constant:
        return Form::of_constant(value);
    case Value::Kind::parameter:
        return Form::of_uniform();
    case Value::Kind::special:
        return Form::of_special(static_cast<Special>(value.bits), whole_rows);
    default:
        return {};
    }
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
        for (std::uint32_t s : segments_between(analysis, segment.next[way], join))
            for (std::uint32_t i = analysis.segments[s].first; i < analysis.segments[s].last; ++i)
                for (std::uint32_t v : references(*program.source, i).defines)
                    if (analysis.forms[v].kind != Form::Kind::varying &&
                        (analysis.segments[other].live_in.has(v) ||
                         (join != Analysis::none && analysis.segments[join].live_in.has(v)))) {
                        analysis.forms[v] = Form::varying();
                        changed = true;
                    }
    }
    return changed;
}

/// What is known of a value with one more definition. True when that is less than before.
bool join(Form &known, const Form &more, bool only_definition) {
    if (known.kind == Form::Kind::varying || more.kind == Form::Kind::unseen)
        return false;
    if (known.kind == Form::Kind::unseen) {
        known = more;
        if (!only_definition)
            known.least = 0, known.most = -1;
        return true;
    }
    Form joined = known;
    if (!more.alike() || more.offsets != known.offsets) {
        joined = Form::varying();
    } else {
        joined.zeros = std::min(known.zeros, more.zeros);
        if (!more.ranged() || more.least < known.least || more.most > known.most)
            joined.least = 0, joined.most = -1;
    }
    const bool changed =
        joined.kind != known.kind || joined.zeros != known.zeros || joined.ranged() != known.ranged();
    known = joined;
    return changed;
}

/// One round over all operations; whether anything became less known.
bool find_forms(const Program &program, Analysis &analysis, const std::vector<unsigned> &definitions,
                const std::function<bool(std::uint32_t)> &scalar) {
    const Source &source = *program.source;
    bool changed = false;
    for (std::uint32_t i = 0; i < program.ops.size(); ++i) {
        const References refs = references(source, i);
        if (refs.defines.empty())
            continue;
        const bool ready = std::all_of(refs.uses.begin(), refs.uses.end(), [&](std::uint32_t v) {
            return analysis.forms[v].kind != Form::Kind::unseen;
        });
        if (!ready)
            continue;
        const bool known = scalar(i);
        const Form form = result_form(source, i, analysis.forms, known);
        for (std::uint32_t v : refs.defines) {
            // shfl's predicate is another for each lane, whatever the value is.
            const bool of_lane = refs.defines_predicate && v == source.drafts[i].op.predicate;
            const bool known_so = !of_lane && (refs.defines.size() == 1 || form.uniform());
            changed |= join(analysis.forms[v], known_so ? form : Form::varying(),
                            definitions[v] == 1 && !source.drafts[i].partial);
        }
    }
    return changed;
}

/// Where warps come in from outside: the first operation, and wherever a handler may have sent them on to.
void find_entries(const Program &program, Analysis &analysis, const std::vector<bool> &is_short) {
    for (Segment &segment : analysis.segments)
        segment.entry = false;
    analysis.segments[0].entry = true;
    for (std::size_t s = 0; s < analysis.segments.size(); ++s) {
        const Segment &segment = analysis.segments[s];
        const Op &end = program.ops[segment.last - 1];
        const bool parting = parts(program, analysis, segment);
        if ((parting && is_short[s]) ||
            (!parting && (!ends_segment(end) || end.run == branch_if || end.run == jump)))
            continue;
        for (std::uint32_t next : segment.next)
            analysis.segments[next].entry = true;
        if (parting && end.join != no_join)
            analysis.segments[analysis.segment_at[end.join]].entry = true;
    }
}

void find_newer(const Program &program, Analysis &analysis) {
    for (bool changed = true; changed;) {
        changed = false;
        for (const Segment &segment : analysis.segments) {
            const Op &end = program.ops[segment.last - 1];
            if (ends_segment(end) && end.run != branch_if && end.run != jump)
                continue; // leaves the code
            for (std::uint32_t next : segment.next) {
                changed |= analysis.segments[next].newer.merge(segment.newer);
                changed |= analysis.segments[next].newer.merge(segment.defined);
            }
        }
    }
}

} // namespace

ValueSet live_at(const Source &source, const Segment &segment, std::uint32_t i) {
    ValueSet live = segment.live_out;
    for (std::uint32_t at = segment.last; at-- > i;) {
        const References refs = references(source, at);
        if (!source.drafts[at].partial)
            for (std::uint32_t v : refs.defines)
                live.remove(v);
        for (std::uint32_t v : refs.uses)
            live.add(v);
        if (source.drafts[at].partial)
            for (std::uint32_t v : refs.defines)
                live.add(v);
    }
    return live;
}

namespace {

/// All forms; with `parting`, of values as they are when lanes may be on different ways.
void find_all_forms(const Program &program, Analysis &analysis, const std::vector<unsigned> &definitions,
                    bool parting, const std::function<bool(std::uint32_t)> &scalar) {
    std::vector<bool> settled(analysis.segments.size());
    for (bool changed = true; changed;) {
        changed = find_forms(program, analysis, definitions, scalar);
        for (std::size_t s = 0; parting && s < analysis.segments.size(); ++s) {
            const Op &end = program.ops[analysis.segments[s].last - 1];
            const Draft &draft = program.source->drafts[analysis.segments[s].last - 1];
            if (settled[s] || end.run != branch_if ||
                analysis.forms[draft.op.guard].kind != Form::Kind::varying)
                continue;
            settled[s] = true;
            changed |= settle_branch(program, analysis, analysis.segments[s]);
        }
        if (!changed) // values that only refer to one another
            for (Form &form : analysis.forms)
                if (form.kind == Form::Kind::unseen) {
                    form = Form::varying();
                    changed = true;
                }
    }
}

/// What lies in cells where warps come in: the same for assuming and careful code, which take turns.
void find_cells(const Source &source, Analysis &analysis) {
    ValueSet found(source.values.size());
    for (const Segment &segment : analysis.segments)
        if (segment.entry)
            found.merge(segment.live_in);
    found.each([&](std::uint32_t v) {
        if (analysis.forms[v].alike() && source.values[v].kind == Value::Kind::slot)
            analysis.in_cells.push_back(v);
    });
}

} // namespace

Analysis analyse(const Program &program, bool whole_rows, Care care,
                 const std::function<bool(std::uint32_t)> &scalar) {
    Analysis analysis;
    const Source &source = *program.source;
    find_segments(program, analysis);
    find_live_values(source, analysis);
    std::vector<unsigned> definitions(source.values.size());
    analysis.used = ValueSet(source.values.size());
    for (std::uint32_t i = 0; i < program.ops.size(); ++i) {
        const References refs = references(source, i);
        for (std::uint32_t v : refs.defines)
            ++definitions[v];
        for (std::uint32_t v : refs.uses)
            analysis.used.add(v);
    }
    for (const Value &value : source.values)
        analysis.forms.push_back(first_form(value, whole_rows));
    analysis.forms[0] = Form::of_uniform(); // the predicate that is always false
    // What is wanted before anything defines it lies in slots.
    if (!analysis.segments.empty())
        analysis.segments[0].live_in.each([&](std::uint32_t v) { analysis.forms[v] = Form::varying(); });
    find_all_forms(program, analysis, definitions, false, scalar);
    Forms on_each_way = analysis.forms;
    find_all_forms(program, analysis, definitions, true, scalar);
    // Short ways are the same ones for assuming and careful code, which take turns.
    std::vector<bool> is_short(analysis.segments.size(), true);
    for (std::vector<bool> before; before != is_short;) {
        before = is_short;
        is_short = short_branches(program, analysis, is_short);
        std::swap(analysis.forms, on_each_way);
        is_short = short_branches(program, analysis, is_short);
        std::swap(analysis.forms, on_each_way);
    }
    find_entries(program, analysis, is_short);
    find_cells(source, analysis);
    analysis.assumed.assign(source.values.size(), false);
    if (care == Care::assuming) {
        for (std::size_t v = 0; v < on_each_way.size(); ++v)
            analysis.assumed[v] = on_each_way[v].alike() && !analysis.forms[v].alike();
        analysis.forms = std::move(on_each_way);
        find_entries(program, analysis, is_short);
    }
    find_ways(program, analysis, is_short);
    find_newer(program, analysis);
    return analysis;
}

} // namespace soft
