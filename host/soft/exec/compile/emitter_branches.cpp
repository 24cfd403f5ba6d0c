// The ends of straight pieces of code: jumps, branches, barriers and ends of warps.
#include "emitter.hpp"

#include "../control.hpp"

#include <cstddef>

namespace soft {

/// A jump from operation i: backward ones ask the watchdog now and then.
void Emitter::go_to(std::uint32_t i, std::uint32_t target) {
    Block to = way_to(analysis_.segment_at[segment_->first], analysis_.segment_at[target]);
    if (target <= i) {
        Ref budget = LLVMBuildSub(builder_, field(offsetof(WarpCore, budget), i64_), number(i64_, 1), "");
        set_field(offsetof(WarpCore, budget), budget);
        Block on = unlikely(LLVMBuildICmp(builder_, LLVMIntEQ, budget, number(i64_, 0), ""));
        call(offsetof(WarpCore, ask), i);
        LLVMBuildBr(builder_, on);
        enter(on);
    }
    LLVMBuildBr(builder_, to);
}

/// The end of a segment.
void Emitter::leave(std::uint32_t i, std::uint32_t number_of_segment) {
    const Segment &segment = analysis_.segments[number_of_segment];
    const Op &op = program_.ops[i];
    if (!ends_segment(op)) {
        operation(i);
        return go_to(i, segment.last);
    }
    bases_ = false;
    const auto target = static_cast<std::uint32_t>(op.immediate);
    if (op.run == jump)
        return go_to(i, target);
    if (op.run != branch_if) {
        // Barriers, ends and traps need not come back here.
        write_back(segment.live_out, true);
        if (!wait_or_end(i)) {
            perform(i);
            LLVMBuildRetVoid(builder_);
        }
        return;
    }
    const Lanes wanted = guard(i);
    Ref chosen = nullptr;
    if (wanted.vector)
        chosen = LLVMBuildAnd(builder_, bits_of(wanted.value, i32_), here_, "");
    if (segment.takes != Analysis::none)
        return take_short_ways(chosen);
    Block taken = new_block("taken"), next = way_to(number_of_segment, analysis_.segment_at[segment.last]);
    if (!wanted.vector) {
        LLVMBuildCondBr(builder_, wanted.value, taken, next);
    } else {
        Block some = new_block("some"), part = new_block("part");
        LLVMBuildCondBr(builder_, LLVMBuildICmp(builder_, LLVMIntEQ, chosen, number(i32_, 0), ""), next,
                        some);
        enter(some);
        LLVMBuildCondBr(builder_, LLVMBuildICmp(builder_, LLVMIntEQ, chosen, active_, ""), taken, part);
        enter(part);
        ValueSet needed = segment.live_out;
        needed.add(source_.drafts[i].op.guard); // the handler reads it
        write_back(needed, true);
        call_handler(i);
        LLVMBuildRetVoid(builder_);
    }
    enter(taken);
    go_to(i, target);
}

/// Where to go on from one segment to another: at the end of a short way others may have to take theirs.
Emitter::Block Emitter::way_to(std::uint32_t from, std::uint32_t to) {
    const std::uint32_t way = analysis_.segments[from].way;
    return way != Analysis::none && analysis_.ways[way].join == to ? ends_[way] : blocks_[to];
}

/// Goes on with some lanes alone.
void Emitter::take_way(std::uint32_t way, Ref lanes_of_it) {
    LLVMBuildStore(builder_, lanes_of_it, ways_lanes_[way]);
    set_field(offsetof(WarpCore, exec), lanes_of_it);
    LLVMBuildBr(builder_, blocks_[analysis_.ways[way].first]);
}

/// The branch that ends the segment: lanes that take it, and the others, go on after one another, as handlers
/// would have them do. Operation `meet` is performed once more for each way that some took, not all.
void Emitter::take_short_ways(Ref chosen) {
    LLVMBuilderRef b = builder_;
    const std::uint32_t first = segment_->takes;
    const Way &way = analysis_.ways[first];
    Ref others = LLVMBuildXor(b, chosen, here_, ""), none = number(i32_, 0);
    Ref all = LLVMBuildICmp(b, LLVMIntEQ, others, none, "");
    Ref some = LLVMBuildICmp(b, LLVMIntNE, chosen, none, "");
    Ref part = LLVMBuildAnd(b, some, LLVMBuildNot(b, all, ""), "");
    Ref more = number(i64_, way.second != Analysis::none ? 2 : 1);
    if (segment_->way == Analysis::none) { // lanes that wait there already: they are not called twice
        Ref same = LLVMBuildICmp(b, LLVMIntEQ, join_, number(i32_, analysis_.segments[way.join].first), "");
        more = LLVMBuildSub(b, more, LLVMBuildZExt(b, same, i64_, ""), "");
    } else if (analysis_.ways[segment_->way].join == way.join) {
        more = LLVMBuildSub(b, more, number(i64_, 1), "");
    }
    Ref executed = field(offsetof(WarpCore, executed), i64_);
    more = LLVMBuildSelect(b, part, more, number(i64_, 0), "");
    set_field(offsetof(WarpCore, executed), LLVMBuildAdd(b, executed, more, ""));
    Block on = new_block("way"), past = way_to(way.branch, way.join);
    const bool to_target = way.first == segment_->next[0]; // else the one way is that of the others
    if (way.second != Analysis::none) {
        LLVMBuildStore(b, others, ways_lanes_[way.second]);
        Block other = new_block("other");
        LLVMBuildCondBr(b, some, on, other);
        enter(other);
        take_way(way.second, others);
    } else {
        LLVMBuildCondBr(b, to_target ? some : LLVMBuildNot(b, all, ""), on, past);
    }
    enter(on);
    take_way(first, to_target ? chosen : others);
}

/// Where the lanes of a way come to where it meets the other.
void Emitter::end_way(std::uint32_t number_of_way) {
    const Way &way = analysis_.ways[number_of_way];
    segment_ = &analysis_.segments[way.branch];
    enter(ends_[number_of_way]);
    Block past = way_to(way.branch, way.join);
    if (way.second != Analysis::none) {
        Ref others = LLVMBuildLoad2(builder_, i32_, ways_lanes_[way.second], "");
        Block other = new_block("other"), met = new_block("met");
        LLVMBuildCondBr(builder_, LLVMBuildICmp(builder_, LLVMIntNE, others, number(i32_, 0), ""), other,
                        met);
        enter(other);
        take_way(way.second, others);
        enter(met);
    }
    Ref here = segment_->way == Analysis::none
                   ? active_
                   : LLVMBuildLoad2(builder_, i32_, ways_lanes_[segment_->way], "");
    set_field(offsetof(WarpCore, exec), here);
    LLVMBuildBr(builder_, past);
}

/// A barrier that all of the warp comes to, or its end, as the handler would have it: then the block's next
/// warp goes on at once. False when it is another operation, which the handler must perform.
bool Emitter::wait_or_end(std::uint32_t i) {
    const Op &op = program_.ops[i];
    const Value &which = values_[source_.drafts[i].op.a];
    const bool waits =
        op.run == barrier && !(op.flags & has_predicate) && which.kind == Value::Kind::constant;
    if (!waits && op.run != finish)
        return false;
    Ref some = LLVMBuildICmp(builder_, LLVMIntNE, active_, field(offsetof(WarpCore, live), i32_), "");
    Block whole = unlikely(some);
    perform(i);
    LLVMBuildRetVoid(builder_);
    enter(whole);
    set_field(offsetof(WarpCore, pc), number(i32_, i + 1));
    if (waits) {
        set_field(offsetof(WarpCore, barrier),
                  number(i32_, barrier_number(static_cast<std::uint32_t>(which.bits))));
        set_field(offsetof(WarpCore, barrier_threads), number(i32_, 0));
        set_field(offsetof(WarpCore, barrier_lanes), active_);
        set_field(offsetof(WarpCore, waiting),
                  at(operations_, static_cast<std::uint64_t>(i) * sizeof(Op), i8_));
    } else {
        for (const std::size_t lanes_that :
             {offsetof(WarpCore, live), offsetof(WarpCore, active), offsetof(WarpCore, exec)})
            set_field(lanes_that, number(i32_, 0));
    }
    const WarpState state = waits ? WarpState::at_barrier : WarpState::done;
    set_field(offsetof(WarpCore, state), number(i32_, static_cast<std::uint64_t>(state)));
    LLVMBuildBr(builder_, next_warp_);
    return true;
}

} // namespace soft
