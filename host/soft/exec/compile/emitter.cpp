#include "emitter.hpp"

#include "../control.hpp"

#include <cstddef>

namespace soft {

Emitter::Emitter(LLVMContextRef context, LLVMModuleRef module, const Program &program,
                 const Analysis &analysis, bool flushes, bool avx2)
    : context_(context), module_(module), builder_(LLVMCreateBuilderInContext(context)), program_(program),
      source_(*program.source), values_(program.source->values), analysis_(analysis), flushes_(flushes),
      avx2_(avx2), i1_(LLVMInt1TypeInContext(context)), i8_(LLVMInt8TypeInContext(context)),
      i16_(LLVMInt16TypeInContext(context)), i32_(LLVMInt32TypeInContext(context)),
      i64_(LLVMInt64TypeInContext(context)), f32_(LLVMFloatTypeInContext(context)),
      f64_(LLVMDoubleTypeInContext(context)), void_(LLVMVoidTypeInContext(context)),
      pointer_(LLVMPointerType(LLVMInt8TypeInContext(context), 0)) {}

Emitter::~Emitter() {
    LLVMDisposeBuilder(builder_);
}

LLVMBasicBlockRef Emitter::new_block(const char *name) {
    return LLVMAppendBasicBlockInContext(context_, function_, name);
}

Emitter::Ref Emitter::number(TypeRef type, std::uint64_t bits) {
    if (LLVMGetTypeKind(type) != LLVMVectorTypeKind)
        return LLVMConstInt(type, bits, 0);
    std::vector<Ref> all(LLVMGetVectorSize(type), LLVMConstInt(LLVMGetElementType(type), bits, 0));
    return LLVMConstVector(all.data(), static_cast<unsigned>(all.size()));
}

Emitter::Ref Emitter::real_number(TypeRef type, double value) {
    if (LLVMGetTypeKind(type) != LLVMVectorTypeKind)
        return LLVMConstReal(type, value);
    std::vector<Ref> all(LLVMGetVectorSize(type), LLVMConstReal(LLVMGetElementType(type), value));
    return LLVMConstVector(all.data(), static_cast<unsigned>(all.size()));
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

Emitter::Ref Emitter::intrinsic(const char *name, std::initializer_list<Ref> arguments, TypeRef overload,
                                TypeRef result) {
    const unsigned id = LLVMLookupIntrinsicID(name, std::char_traits<char>::length(name));
    const std::size_t overloads = overload != nullptr ? 1 : 0;
    Ref callee = LLVMGetIntrinsicDeclaration(module_, id, &overload, overloads);
    std::vector<Ref> given(arguments);
    std::vector<TypeRef> types;
    for (Ref argument : given)
        types.push_back(LLVMTypeOf(argument));
    TypeRef type = LLVMFunctionType(result, types.data(), static_cast<unsigned>(types.size()), 0);
    return LLVMBuildCall2(builder_, type, callee, given.data(), static_cast<unsigned>(given.size()), "");
}

/// Where a value that all lanes have alike lies between segments.
std::uint32_t Emitter::cell(std::uint32_t value) {
    auto [found, added] = cells_.try_emplace(value, scalar_bytes_);
    if (added)
        scalar_bytes_ += 8;
    return found->second;
}

Lanes Emitter::get(std::uint32_t value) {
    if (auto found = known_.find(value); found != known_.end())
        return found->second;
    const Value &v = values_[value];
    const bool uniform = analysis_.uniform[value];
    TypeRef type = v.wide ? i64_ : i32_;
    Lanes lanes{nullptr, !uniform};
    switch (v.kind) {
    case Value::Kind::constant:
        return {number(type, v.bits), false};
    case Value::Kind::predicate: {
        if (value == 0)
            return {number(i1_, 0), false};
        Ref bits = load_at(predicates_, 4ull * v.place, i32_, 4);
        lanes.value = uniform ? LLVMBuildICmp(builder_, LLVMIntNE, bits, number(i32_, 0), "")
                              : bits_of(bits, shaped(i1_, true));
        break;
    }
    case Value::Kind::special:
    case Value::Kind::parameter:
        lanes.value = load_at(registers_, v.place, shaped(type, !uniform), uniform ? 8 : 32);
        in_slot_.insert(value);
        break;
    case Value::Kind::slot:
        if (uniform && !in_slot_.contains(value)) {
            lanes.value = load_at(scalars_, cell(value), type, 8);
        } else {
            lanes.value = load_at(registers_, v.place, shaped(type, true), 32);
            lanes.vector = true;
            in_slot_.insert(value);
        }
        break;
    }
    known_[value] = lanes;
    return lanes;
}

Emitter::Ref Emitter::whole(Lanes lanes) {
    if (lanes.vector)
        return lanes.value;
    if (LLVMIsConstant(lanes.value)) {
        std::vector<Ref> all(32, lanes.value);
        return LLVMConstVector(all.data(), 32);
    }
    TypeRef type = LLVMVectorType(LLVMTypeOf(lanes.value), 32);
    Ref first = LLVMBuildInsertElement(builder_, LLVMGetUndef(type), lanes.value, number(i32_, 0), "");
    return LLVMBuildShuffleVector(builder_, first, LLVMGetUndef(type),
                                  LLVMConstNull(LLVMVectorType(i32_, 32)), "");
}

/// Makes them all vectors when one is; true when they are.
bool Emitter::unify(std::initializer_list<Lanes *> lanes) {
    bool vector = false;
    for (const Lanes *one : lanes)
        vector |= one->vector;
    if (vector)
        for (Lanes *one : lanes)
            *one = {whole(*one), true};
    return vector;
}

Lanes Emitter::guard(std::uint32_t i) {
    const Op &op = source_.drafts[i].op;
    Lanes lanes = get(op.guard);
    if (op.flags & guard_negated)
        lanes.value = LLVMBuildNot(builder_, lanes.value, "");
    return lanes;
}

void Emitter::define(std::uint32_t i, std::uint32_t value, Lanes lanes) {
    if (source_.drafts[i].op.run == run_guarded) {
        Lanes wanted = guard(i), before = get(value);
        if (wanted.vector)
            lanes = {whole(lanes), true};
        unify({&lanes, &before});
        lanes.value = LLVMBuildSelect(builder_, wanted.value, lanes.value, before.value, "");
    }
    known_[value] = lanes;
    dirty_.insert(value);
    in_slot_.erase(value);
}

/// Writes to where the value lies between segments, and, when its slot is wanted, to its slot.
void Emitter::write_one(std::uint32_t value, const Lanes &lanes, bool full) {
    const Value &v = values_[value];
    if (is_predicate(value)) {
        Ref bits = lanes.vector ? bits_of(lanes.value, i32_) : LLVMBuildSExt(builder_, lanes.value, i32_, "");
        if (!full && !analysis_.uniform[value]) {
            Ref before = load_at(predicates_, 4ull * v.place, i32_, 4);
            bits =
                LLVMBuildOr(builder_, LLVMBuildAnd(builder_, before, LLVMBuildNot(builder_, active_, ""), ""),
                            LLVMBuildAnd(builder_, bits, active_, ""), "");
        }
        store_at(predicates_, 4ull * v.place, bits, 4);
        return;
    }
    Ref all = whole(lanes);
    if (!full) {
        Ref before = load_at(registers_, v.place, LLVMTypeOf(all), 32);
        all = LLVMBuildSelect(builder_, bits_of(active_, shaped(i1_, true)), all, before, "");
    }
    store_at(registers_, v.place, all, 32);
}

void Emitter::write_back(const std::vector<std::uint32_t> &values) {
    if (values.empty())
        return;
    LLVMBasicBlockRef all = new_block("all"), some = new_block("some"), after = new_block("after");
    LLVMBuildCondBr(builder_, full_, all, some);
    for (bool full : {true, false}) {
        enter(full ? all : some);
        for (std::uint32_t value : values)
            write_one(value, known_.at(value), full);
        LLVMBuildBr(builder_, after);
    }
    enter(after);
}

void Emitter::call_handler(std::uint32_t i) {
    TypeRef arguments[] = {pointer_, pointer_};
    TypeRef type = LLVMFunctionType(void_, arguments, 2, 0);
    Ref callee = field(offsetof(WarpCore, perform), LLVMPointerType(type, 0));
    Ref given[] = {warp_, at(operations_, static_cast<std::uint64_t>(i) * sizeof(Op), i8_)};
    LLVMBuildCall2(builder_, type, callee, given, 2, "");
}

/// Has the handler do it, on slots.
void Emitter::perform(std::uint32_t i) {
    const References refs = references(source_, i);
    std::vector<std::uint32_t> values;
    auto want = [&](std::uint32_t value) {
        if (is_predicate(value)) {
            if (dirty_.contains(value))
                values.push_back(value);
            return;
        }
        const bool in_place =
            in_slot_.contains(value) || (!analysis_.uniform[value] && !dirty_.contains(value));
        if (in_place)
            return;
        get(value);
        if (!in_slot_.contains(value)) {
            values.push_back(value);
            in_slot_.insert(value);
        }
    };
    for (std::uint32_t value : refs.uses)
        want(value);
    if (source_.drafts[i].partial)
        for (std::uint32_t value : refs.defines)
            want(value);
    write_back(values);
    for (std::uint32_t value : values) // where it lies between segments, unless that is its own cell
        if (is_predicate(value) || !analysis_.uniform[value])
            dirty_.erase(value);
    call_handler(i);
    for (std::uint32_t value : refs.defines) {
        known_.erase(value);
        dirty_.erase(value);
        in_slot_.insert(value);
    }
    // What lies in a slot is better read again than kept in registers across the call.
    std::erase_if(known_, [&](const auto &entry) {
        return entry.second.vector && !dirty_.contains(entry.first) && !is_predicate(entry.first);
    });
}

void Emitter::operation(std::uint32_t i) {
    const Native form = native_form(source_, i);
    native_ += form != Native::call;
    const Draft &draft = source_.drafts[i];
    switch (form) {
    case Native::copy:
        return define(i, draft.op.dst, get(draft.op.a));
    case Native::narrow:
    case Native::widen:
    case Native::widen_signed: {
        Lanes a = get(draft.op.a);
        TypeRef to = shaped(form == Native::narrow ? i32_ : i64_, a.vector);
        a.value = form == Native::narrow  ? LLVMBuildTrunc(builder_, a.value, to, "")
                  : form == Native::widen ? LLVMBuildZExt(builder_, a.value, to, "")
                                          : LLVMBuildSExt(builder_, a.value, to, "");
        return define(i, draft.op.dst, a);
    }
    case Native::integer:
        return integer(i);
    case Native::real:
        return real(i);
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
        // What is read under a guard, or weakly ordered, goes through memory in any case.
        if (!get(draft.op.a).vector && reads_once(source_, i))
            return load(i);
        return load_lanes(i);
    case Native::store:
        return store_lanes(i);
    case Native::call:
        return perform(i);
    }
}

/// A jump from operation i, with everything written back: backward ones ask the watchdog now and then.
void Emitter::go_to(std::uint32_t i, std::uint32_t target) {
    LLVMBasicBlockRef to = blocks_[analysis_.segment_at[target]];
    if (target > i) {
        LLVMBuildBr(builder_, to);
        return;
    }
    LLVMBasicBlockRef ask = new_block("ask"), on = new_block("on");
    Ref budget = field(offsetof(WarpCore, budget), i64_);
    LLVMBuildCondBr(builder_, LLVMBuildICmp(builder_, LLVMIntULE, budget, number(i64_, 1), ""), ask, on);
    enter(ask); // the interpreter's own handler does
    call_handler(i);
    LLVMBuildRetVoid(builder_);
    enter(on);
    set_field(offsetof(WarpCore, budget), LLVMBuildSub(builder_, budget, number(i64_, 1), ""));
    LLVMBuildBr(builder_, to);
}

/// The end of a segment.
void Emitter::leave(std::uint32_t i, std::uint32_t number_of_segment) {
    const Segment &segment = analysis_.segments[number_of_segment];
    const Op &op = program_.ops[i];
    const bool ends = ends_segment(op);
    if (!ends)
        operation(i);
    Lanes wanted;
    if (op.run == branch_if) {
        wanted = guard(i);
        if (dirty_.contains(source_.drafts[i].op.guard)) // the handler reads it
            write_back({source_.drafts[i].op.guard});
    }
    std::vector<std::uint32_t> vectors;
    for (std::uint32_t value : dirty_) {
        if (!segment.live_out.has(value))
            continue;
        if (!is_predicate(value) && analysis_.uniform[value])
            store_at(scalars_, cell(value), known_.at(value).value, 8);
        else if (op.run != branch_if || value != source_.drafts[i].op.guard)
            vectors.push_back(value);
    }
    if (ends && op.run != branch_if && op.run != jump) {
        // Barriers, ends and traps read operands like any handler, and need not come back here.
        write_back(vectors);
        for (std::uint32_t value : vectors)
            dirty_.erase(value);
        perform(i);
        LLVMBuildRetVoid(builder_);
        return;
    }
    write_back(vectors);
    if (!ends) {
        go_to(i, segment.last);
        return;
    }
    const auto target = static_cast<std::uint32_t>(op.immediate);
    if (op.run == jump) {
        go_to(i, target);
        return;
    }
    LLVMBasicBlockRef taken = new_block("taken"), next = blocks_[analysis_.segment_at[segment.last]];
    if (wanted.vector) {
        LLVMBasicBlockRef not_none = new_block("not_none"), part = new_block("part");
        Ref mask = LLVMBuildAnd(builder_, bits_of(wanted.value, i32_), active_, "");
        LLVMBuildCondBr(builder_, LLVMBuildICmp(builder_, LLVMIntEQ, mask, number(i32_, 0), ""), next,
                        not_none);
        enter(not_none);
        LLVMBuildCondBr(builder_, LLVMBuildICmp(builder_, LLVMIntEQ, mask, active_, ""), taken, part);
        enter(part);
        call_handler(i);
        LLVMBuildRetVoid(builder_);
    } else {
        LLVMBuildCondBr(builder_, wanted.value, taken, next);
    }
    enter(taken);
    go_to(i, target);
}

void Emitter::segment(std::uint32_t number_of_segment) {
    const Segment &segment = analysis_.segments[number_of_segment];
    known_.clear();
    dirty_.clear();
    in_slot_.clear();
    enter(blocks_[number_of_segment]);
    auto count = [&](std::uint32_t operations) {
        Ref executed = field(offsetof(WarpCore, executed), i64_);
        set_field(offsetof(WarpCore, executed),
                  LLVMBuildAdd(builder_, executed, number(i64_, operations), ""));
    };
    std::uint32_t first = segment.first;
    if (program_.ops[first].run == meet) {
        LLVMBasicBlockRef met = new_block("met"), on = new_block("on");
        Ref join = field(offsetof(WarpCore, join), i32_);
        LLVMBuildCondBr(builder_, LLVMBuildICmp(builder_, LLVMIntEQ, join, number(i32_, first), ""), met, on);
        enter(met);
        count(1);
        call_handler(first);
        LLVMBuildRetVoid(builder_);
        enter(on);
        ++first;
    }
    count(segment.last - segment.first);
    active_ = field(offsetof(WarpCore, active), i32_);
    set_field(offsetof(WarpCore, exec), active_);
    full_ = LLVMBuildICmp(builder_, LLVMIntEQ, active_, number(i32_, 0xffffffff), "");
    if (first == segment.last) { // nothing but a place to meet
        go_to(segment.first, segment.last);
        return;
    }
    for (std::uint32_t i = first; i + 1 < segment.last; ++i)
        operation(i);
    leave(segment.last - 1, number_of_segment);
}

void Emitter::write() {
    TypeRef arguments[] = {pointer_, pointer_};
    function_ = LLVMAddFunction(module_, "run", LLVMFunctionType(void_, arguments, 2, 0));
    warp_ = LLVMGetParam(function_, 0);
    operations_ = LLVMGetParam(function_, 1);
    enter(new_block("entry"));
    registers_ = field(offsetof(WarpCore, registers), pointer_);
    scalars_ = field(offsetof(WarpCore, scalars), pointer_);
    predicates_ = field(offsetof(WarpCore, predicates), pointer_);
    Ref pc = field(offsetof(WarpCore, pc), i32_);
    LLVMBasicBlockRef nowhere = new_block("nowhere");
    for (std::size_t s = 0; s < analysis_.segments.size(); ++s)
        blocks_.push_back(new_block("segment"));
    Ref chosen = LLVMBuildSwitch(builder_, pc, nowhere, static_cast<unsigned>(blocks_.size()));
    for (std::size_t s = 0; s < blocks_.size(); ++s)
        LLVMAddCase(chosen, number(i32_, analysis_.segments[s].first), blocks_[s]);
    enter(nowhere);
    LLVMBuildUnreachable(builder_);
    for (std::uint32_t s = 0; s < blocks_.size(); ++s)
        segment(s);
}

} // namespace soft
