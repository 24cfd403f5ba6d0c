#include "emitter.hpp"

#include "../control.hpp"

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <stdexcept>
#include <utility>

namespace soft {

Emitter::Emitter(LLVMContextRef context, LLVMModuleRef module, const Program &program,
                 const Analysis &analysis, bool flushes, Features features)
    : context_(context), module_(module), builder_(LLVMCreateBuilderInContext(context)),
      entry_builder_(LLVMCreateBuilderInContext(context)), program_(program), source_(*program.source),
      values_(program.source->values), analysis_(analysis), flushes_(flushes), features_(features),
      i1_(LLVMInt1TypeInContext(context)), i8_(LLVMInt8TypeInContext(context)),
      i16_(LLVMInt16TypeInContext(context)), i32_(LLVMInt32TypeInContext(context)),
      i64_(LLVMInt64TypeInContext(context)), f32_(LLVMFloatTypeInContext(context)),
      f64_(LLVMDoubleTypeInContext(context)), void_(LLVMVoidTypeInContext(context)),
      pointer_(LLVMPointerType(LLVMInt8TypeInContext(context), 0)) {
    for (std::uint32_t value : analysis.in_cells)
        cell(value);
}

Emitter::~Emitter() {
    LLVMDisposeBuilder(builder_);
    LLVMDisposeBuilder(entry_builder_);
}

Emitter::Block Emitter::new_block(const char *name) {
    return LLVMAppendBasicBlockInContext(context_, function_, name);
}

Emitter::Block Emitter::unlikely(Ref when) {
    Block then = new_block("unlikely"), on = new_block("on");
    Ref branch = LLVMBuildCondBr(builder_, when, then, on);
    Ref weights[] = {LLVMMDStringInContext(context_, "branch_weights", 14), LLVMConstInt(i32_, 1, 0),
                     LLVMConstInt(i32_, 100000, 0)};
    LLVMSetMetadata(branch, LLVMGetMDKindIDInContext(context_, "prof", 4),
                    LLVMMDNodeInContext(context_, weights, 3));
    enter(then);
    return on;
}

Emitter::Ref Emitter::at(Ref base, std::uint64_t offset, TypeRef type) {
    Ref index = LLVMConstInt(i64_, offset, 0);
    Ref place = LLVMBuildGEP2(builder_, i8_, base, &index, 1, "");
    return LLVMBuildBitCast(builder_, place, LLVMPointerType(type, 0), "");
}
Emitter::Ref Emitter::load_at(Ref base, std::uint64_t offset, TypeRef type, unsigned alignment) {
    Ref value = LLVMBuildLoad2(builder_, type, at(base, offset, type), "");
    LLVMSetAlignment(value, alignment);
    return value;
}
void Emitter::store_at(Ref base, std::uint64_t offset, Ref value, unsigned alignment) {
    Ref done = LLVMBuildStore(builder_, value, at(base, offset, LLVMTypeOf(value)));
    LLVMSetAlignment(done, alignment);
}
Emitter::Ref Emitter::field(std::size_t offset, TypeRef type) {
    return load_at(warp_, offset, type, type == i32_ ? 4 : 8);
}
void Emitter::set_field(std::size_t offset, Ref value) {
    store_at(warp_, offset, value, LLVMTypeOf(value) == i32_ ? 4 : 8);
}

/// Writes 32 lanes, or those of them that are active.
void Emitter::store_active(Ref base, std::uint64_t offset, Ref value) {
    TypeRef type = LLVMTypeOf(value);
    Ref place = at(base, offset, type);
    intrinsic("llvm.masked.store", {value, place, number(i32_, 32), active_lanes_}, {type, LLVMTypeOf(place)},
              void_);
}

/// Writes a value to where it lies when the warp is elsewhere.
void Emitter::write_home(std::uint32_t value) {
    const Lanes lanes = base(value);
    const Value &v = values_[value];
    if (is_predicate(value)) {
        Ref bits = lanes.vector ? bits_of(lanes.value, i32_) : LLVMBuildSExt(builder_, lanes.value, i32_, "");
        if (!in_cell(value)) {
            Ref before = load_at(predicates_, 4ull * v.place, i32_, 4);
            Ref others = LLVMBuildAnd(builder_, before, LLVMBuildNot(builder_, active_, ""), "");
            bits = LLVMBuildOr(builder_, others, LLVMBuildAnd(builder_, bits, active_, ""), "");
        }
        store_at(predicates_, 4ull * v.place, bits, 4);
    } else if (in_cell(value)) {
        store_at(scalars_, cell(value), lanes.value, 8);
    } else {
        store_active(registers_, v.place,
                     lanes.vector ? lanes.value : with_offsets(lanes.value, form(value).offsets));
    }
}

/// Writes a value to where a handler wants it.
void Emitter::write_slot(std::uint32_t value) {
    if (is_predicate(value) || !in_cell(value)) {
        write_home(value);
        return;
    }
    // Lanes that wait on another way may have another value there.
    store_active(registers_, values_[value].place, with_offsets(base(value).value, form(value).offsets));
}

/// Writes home what is wanted and may be newer than it is there, at the segment's end or its beginning.
void Emitter::write_back(const ValueSet &wanted, bool at_end) {
    wanted.each([&](std::uint32_t value) {
        const bool newer = segment_->newer.has(value) || (at_end && segment_->defined.has(value));
        if (newer && (in_cell(value) || !in_slot_.contains(value)))
            write_home(value);
    });
}

void Emitter::call(std::size_t member, std::uint32_t i) {
    TypeRef arguments[] = {pointer_, pointer_};
    TypeRef type = LLVMFunctionType(void_, arguments, 2, 0);
    Ref callee = field(member, LLVMPointerType(type, 0));
    Ref given[] = {warp_, at(operations_, static_cast<std::uint64_t>(i) * sizeof(Op), i8_)};
    LLVMBuildCall2(builder_, type, callee, given, 2, "");
}

/// Has the handler do it, on slots.
void Emitter::perform(std::uint32_t i) {
    if (segment_->way != Analysis::none)
        throw std::logic_error("a handler on a short way");
    const References refs = references(source_, i);
    auto give = [&](std::uint32_t value) {
        if (in_slot_.insert(value).second)
            write_slot(value);
    };
    for (std::uint32_t value : refs.uses)
        give(value);
    if (source_.drafts[i].partial)
        for (std::uint32_t value : refs.defines)
            give(value);
    call_handler(i);
    for (std::uint32_t value : refs.defines) { // what handlers give is never known to be alike
        const std::uint64_t place = values_[value].place;
        Ref got = is_predicate(value) ? bits_of(load_at(predicates_, 4 * place, i32_, 4), type_of(value))
                                      : load_at(registers_, place, type_of(value), 32);
        LLVMBuildStore(builder_, got, variable(value));
        in_slot_.insert(value);
        halves_.erase(value);
    }
}

/// Says where the interpreter, going on at operation i, finds what it has no slot of its own for.
void Emitter::note_alike(std::uint32_t i, const ValueSet &live) {
    auto &alike = alike_[i];
    alike.clear();
    live.each([&](std::uint32_t value) {
        if (in_cell(value) && !is_predicate(value))
            alike.push_back({cell(value), values_[value].place, values_[value].wide, form(value).offsets});
    });
}

/// Has the interpreter go on from operation i, when what the code assumes is not so.
void Emitter::give_up(std::uint32_t i, Ref when) {
    if (segment_->way != Analysis::none)
        throw std::logic_error("gives up on a short way");
    Block on = unlikely(when);
    const ValueSet live = live_at(source_, *segment_, i);
    note_alike(i, live);
    live.each([&](std::uint32_t value) { write_home(value); });
    count(0 - static_cast<std::uint64_t>(segment_->last - i)); // counted as performed already
    set_field(offsetof(WarpCore, pc), number(i32_, i));
    set_field(offsetof(WarpCore, given_up), number(i32_, 1));
    LLVMBuildRetVoid(builder_);
    enter(on);
}

/// Whether lanes' parts of local memory lie further apart than accesses reach.
bool Emitter::too_far(std::uint32_t i) const {
    return in_local(instruction(i)) && program_.local_bytes > (1u << 24);
}

void Emitter::operation(std::uint32_t i) {
    const Native form_of_it = native_form(source_, i);
    native_ += form_of_it != Native::call;
    const Draft &draft = source_.drafts[i];
    const References refs = references(source_, i);
    bases_ = !refs.defines.empty() && std::all_of(refs.defines.begin(), refs.defines.end(),
                                                  [&](std::uint32_t v) { return form(v).alike(); });
    switch (form_of_it) {
    case Native::copy:
        return define(i, draft.op.dst, get(draft.op.a));
    case Native::narrow: {
        Lanes a = get(draft.op.a);
        a.value = LLVMBuildTrunc(builder_, a.value, shaped(i32_, a.vector), "");
        return define(i, draft.op.dst, a);
    }
    case Native::widen:
    case Native::widen_signed:
        return extend(i, form_of_it == Native::widen_signed);
    case Native::integer:
        return integer(i);
    case Native::real:
        return real(i);
    case Native::directed:
        return features_.avx512 ? directed(i) : perform(i);
    case Native::compare:
        return compare(i);
    case Native::select: {
        Lanes a = get(draft.op.a), b = get(draft.op.b), p = get(draft.op.predicate);
        if (draft.op.flags & predicate_negated)
            p.value = LLVMBuildNot(builder_, p.value, "");
        if (p.vector)
            a = {whole(a), true};
        const bool vector = unify({&a, &b});
        return define(i, draft.op.dst, {LLVMBuildSelect(builder_, p.value, a.value, b.value, ""), vector});
    }
    case Native::logic:
        return logic(i);
    case Native::convert:
        return convert(i);
    case Native::dot4:
        return dot4(i);
    case Native::permute:
        return permute(i);
    case Native::table:
        return table(i);
    case Native::shuffle:
        return shuffle(i);
    case Native::pack:
        return pack(i);
    case Native::unpack:
        return unpack(i);
    case Native::load:
        if (!std::all_of(refs.defines.begin(), refs.defines.end(),
                         [&](std::uint32_t v) { return analysis_.used.has(v); }))
            return perform(i); // must be found out when it is bad, though nobody wants what is there
        if (too_far(i))
            return perform(i);
        return bases_ ? load_once(i) : load(i);
    case Native::store:
        return too_far(i) ? perform(i) : store(i);
    case Native::window:
        return window(i);
    case Native::divide:
        return bases_ ? divide(i) : perform(i);
    case Native::halves:
        return half_arithmetic(i);
    case Native::approximation:
        return approximation(i);
    case Native::round_whole:
        return round_whole(i);
    case Native::multiply:
        return features_.avx2 ? multiply(i) : perform(i);
    case Native::transpose:
        return transpose(i);
    case Native::matrices:
        return matrices(i);
    case Native::call:
        return perform(i);
    }
}

/// Of a value that is alike on each way, where ways meet: the base, by the first lane; and in `differs`
/// whether another lane has another, as well.
Emitter::Ref Emitter::met(std::uint32_t value, Ref &differs) {
    LLVMBuilderRef b = builder_;
    const std::uint64_t place = values_[value].place;
    Ref got = nullptr, other = nullptr;
    if (is_predicate(value)) {
        Ref bits = LLVMBuildAnd(b, load_at(predicates_, 4 * place, i32_, 4), active_, "");
        got = LLVMBuildICmp(b, LLVMIntEQ, bits, active_, "");
        Ref none = LLVMBuildICmp(b, LLVMIntEQ, bits, number(i32_, 0), "");
        other = LLVMBuildNot(b, LLVMBuildOr(b, got, none, ""), "");
    } else {
        TypeRef one = type_of(value), all = shaped(one, true);
        Ref bases =
            LLVMBuildSub(b, load_at(registers_, place, all, 32), offsets_of(form(value).offsets, one), "");
        Ref first = intrinsic("llvm.cttz", {active_, number(i1_, 1)}, {i32_}, i32_);
        got = LLVMBuildExtractElement(b, bases, first, "");
        Ref unlike = LLVMBuildICmp(b, LLVMIntNE, bases, whole({got, false}), "");
        unlike = bits_of(LLVMBuildAnd(b, unlike, active_lanes_, ""), i32_);
        other = LLVMBuildICmp(b, LLVMIntNE, unlike, number(i32_, 0), "");
    }
    differs = differs == nullptr ? other : LLVMBuildOr(b, differs, other, "");
    return got;
}

/// Leaves the warp as it came.
void Emitter::fail_assumption() {
    set_field(offsetof(WarpCore, assumption_failed), number(i32_, 1));
    LLVMBuildRetVoid(builder_);
}

/// The way in for warps that were elsewhere: what is wanted is read from where it lies.
void Emitter::enter_from_outside(std::uint32_t number_of_segment) {
    const Segment &segment = analysis_.segments[number_of_segment];
    Ref differs = nullptr;
    segment.live_in.each([&](std::uint32_t value) {
        const Value &v = values_[value];
        const bool alike = form(value).alike();
        Ref got;
        if (analysis_.assumed[value]) {
            got = met(value, differs);
        } else if (is_predicate(value)) {
            Ref bits = load_at(predicates_, 4ull * v.place, i32_, 4);
            got = alike ? LLVMBuildICmp(builder_, LLVMIntNE, bits, number(i32_, 0), "")
                        : bits_of(bits, shaped(i1_, true));
        } else {
            got = alike ? load_at(scalars_, cell(value), type_of(value), 8)
                        : load_at(registers_, v.place, type_of(value), 32);
        }
        LLVMBuildStore(builder_, got, variable(value));
    });
    if (differs != nullptr) {
        Block on = unlikely(differs);
        fail_assumption();
        enter(on);
    }
    note_alike(segment.first, segment.live_in);
    LLVMBuildBr(builder_, blocks_[number_of_segment]);
}

/// Counts operations as performed, or takes some back.
void Emitter::count(std::uint64_t operations) {
    Ref executed = field(offsetof(WarpCore, executed), i64_);
    set_field(offsetof(WarpCore, executed), LLVMBuildAdd(builder_, executed, number(i64_, operations), ""));
}

void Emitter::segment(std::uint32_t number_of_segment) {
    segment_ = &analysis_.segments[number_of_segment];
    in_slot_.clear();
    asked_.clear();
    upper_halves_.clear();
    halves_.clear();
    bases_ = false;
    enter(blocks_[number_of_segment]);
    here_ = active_;
    here_lanes_ = active_lanes_;
    if (segment_->way != Analysis::none) {
        here_ = LLVMBuildLoad2(builder_, i32_, ways_lanes_[segment_->way], "");
        here_lanes_ = bits_of(here_, shaped(i1_, true));
    }
    std::uint32_t first = segment_->first;
    if (program_.ops[first].run == meet && segment_->way != Analysis::none) {
        ++first; // none waits there
    } else if (program_.ops[first].run == meet) {
        Block met = new_block("met"), on = new_block("on");
        LLVMBuildCondBr(builder_, LLVMBuildICmp(builder_, LLVMIntEQ, join_, number(i32_, first), ""), met,
                        on);
        enter(met);
        count(1);
        write_back(segment_->live_in, false);
        call_handler(first);
        LLVMBuildRetVoid(builder_);
        enter(on);
        ++first;
    }
    count(segment_->last - segment_->first);
    if (first == segment_->last) { // nothing but a place to meet
        go_to(segment_->first, segment_->last);
        return;
    }
    for (std::uint32_t i = first; i + 1 < segment_->last; ++i)
        operation(i);
    leave(segment_->last - 1, number_of_segment);
}

void Emitter::write() {
    TypeRef arguments[] = {pointer_, pointer_};
    function_ = LLVMAddFunction(module_, "run", LLVMFunctionType(void_, arguments, 2, 0));
    if (features_.avx512) { // half as many instructions, and registers twice as large
        for (auto [name, value] :
             {std::pair{"prefer-vector-width", "512"}, std::pair{"min-legal-vector-width", "512"}})
            LLVMAddAttributeAtIndex(function_, static_cast<LLVMAttributeIndex>(LLVMAttributeFunctionIndex),
                                    LLVMCreateStringAttribute(context_, name,
                                                              static_cast<unsigned>(std::strlen(name)), value,
                                                              static_cast<unsigned>(std::strlen(value))));
    }
    operations_ = LLVMGetParam(function_, 1);
    Block variables = new_block("variables"), entry = new_block("entry"), nowhere = new_block("nowhere");
    next_warp_ = new_block("next_warp");
    LLVMPositionBuilderAtEnd(entry_builder_, variables);
    enter(entry);
    warp_ = LLVMBuildPhi(builder_, pointer_, "");
    LLVMBuildStore(builder_, warp_, field(offsetof(WarpCore, current), LLVMPointerType(pointer_, 0)));
    registers_ = field(offsetof(WarpCore, registers), pointer_);
    scalars_ = field(offsetof(WarpCore, scalars), pointer_);
    predicates_ = field(offsetof(WarpCore, predicates), pointer_);
    active_ = field(offsetof(WarpCore, active), i32_);
    join_ = field(offsetof(WarpCore, join), i32_);
    active_lanes_ = bits_of(active_, shaped(i1_, true));
    set_field(offsetof(WarpCore, exec), active_);
    Ref pc = field(offsetof(WarpCore, pc), i32_);
    for (std::size_t s = 0; s < analysis_.segments.size(); ++s)
        blocks_.push_back(new_block("segment"));
    for (std::size_t way = 0; way < analysis_.ways.size(); ++way) {
        ends_.push_back(new_block("end_of_way"));
        ways_lanes_.push_back(LLVMBuildAlloca(entry_builder_, i32_, ""));
    }
    Ref chosen = LLVMBuildSwitch(builder_, pc, nowhere, static_cast<unsigned>(blocks_.size()));
    for (std::uint32_t s = 0; s < blocks_.size(); ++s) {
        if (!analysis_.segments[s].entry)
            continue;
        Block outside = new_block("outside");
        LLVMAddCase(chosen, number(i32_, analysis_.segments[s].first), outside);
        enter(outside);
        enter_from_outside(s);
    }
    enter(nowhere); // careful code parts ways in more places
    if (analysis_.assumes())
        fail_assumption();
    else
        LLVMBuildUnreachable(builder_);
    for (std::uint32_t s = 0; s < blocks_.size(); ++s)
        segment(s);
    for (std::uint32_t way = 0; way < ends_.size(); ++way)
        end_way(way);
    LLVMBuildBr(entry_builder_, entry);
    enter(next_warp_);
    Ref next = field(offsetof(WarpCore, next), pointer_);
    Block last = new_block("last");
    LLVMBuildCondBr(builder_, LLVMBuildIsNull(builder_, next, ""), last, entry);
    enter(last);
    LLVMBuildRetVoid(builder_);
    Ref warps[] = {LLVMGetParam(function_, 0), next};
    Block from[] = {variables, next_warp_};
    LLVMAddIncoming(warp_, warps, from, 2);
}

} // namespace soft
