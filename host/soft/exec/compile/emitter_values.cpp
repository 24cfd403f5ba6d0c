// Values while a warp stays in the code: their variables, what all lanes have alike, and 32 lanes of it.
#include "emitter.hpp"

#include "../control.hpp"

namespace soft {

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

Emitter::Ref Emitter::intrinsic(const char *name, std::initializer_list<Ref> arguments,
                                std::initializer_list<TypeRef> overloads, TypeRef result) {
    const unsigned id = LLVMLookupIntrinsicID(name, std::char_traits<char>::length(name));
    std::vector<TypeRef> over(overloads);
    Ref callee = LLVMGetIntrinsicDeclaration(module_, id, over.data(), over.size());
    std::vector<Ref> given(arguments);
    std::vector<TypeRef> types;
    for (Ref argument : given)
        types.push_back(LLVMTypeOf(argument));
    TypeRef type = LLVMFunctionType(result, types.data(), static_cast<unsigned>(types.size()), 0);
    return LLVMBuildCall2(builder_, type, callee, given.data(), static_cast<unsigned>(given.size()), "");
}

/// Where the base of a value that all lanes have alike lies when the warp is elsewhere.
std::uint32_t Emitter::cell(std::uint32_t value) {
    auto [found, added] = cells_.try_emplace(value, scalar_bytes_);
    if (added)
        scalar_bytes_ += 8;
    return found->second;
}

Emitter::TypeRef Emitter::type_of(std::uint32_t value) const {
    TypeRef one = is_predicate(value) ? i1_ : values_[value].wide ? i64_ : i32_;
    return shaped(one, !form(value).alike());
}

Emitter::Ref Emitter::variable(std::uint32_t value) {
    auto [found, added] = variables_.try_emplace(value, nullptr);
    if (added)
        found->second = LLVMBuildAlloca(entry_builder_, type_of(value), "");
    return found->second;
}

/// The base of a value that all lanes have alike; any other value as it is.
Lanes Emitter::base(std::uint32_t value) {
    const Value &v = values_[value];
    const bool alike = form(value).alike();
    TypeRef type = type_of(value);
    switch (v.kind) {
    case Value::Kind::constant:
        return {number(type, v.bits), false};
    case Value::Kind::predicate:
        if (value == 0)
            return {number(i1_, 0), false};
        break;
    case Value::Kind::special:
    case Value::Kind::parameter: {
        Ref loaded = load_at(registers_, v.place, type, alike ? 8 : 32);
        LLVMSetMetadata(loaded, LLVMGetMDKindIDInContext(context_, "invariant.load", 14),
                        LLVMMDNodeInContext(context_, nullptr, 0));
        return {loaded, !alike};
    }
    case Value::Kind::slot:
        break;
    }
    return {LLVMBuildLoad2(builder_, type, variable(value), ""), !alike};
}

Emitter::Ref Emitter::offsets_of(const Offsets &offsets, TypeRef element) {
    std::vector<Ref> all;
    for (std::int64_t offset : offsets)
        all.push_back(LLVMConstInt(element, static_cast<std::uint64_t>(offset), 1));
    return LLVMConstVector(all.data(), lanes);
}

Emitter::Ref Emitter::with_offsets(Ref base, const Offsets &offsets) {
    Ref all = whole({base, false});
    if (offsets == Offsets{})
        return all;
    return LLVMBuildAdd(builder_, all, offsets_of(offsets, LLVMTypeOf(base)), "");
}

Lanes Emitter::get(std::uint32_t value) {
    const Lanes lanes = base(value);
    if (lanes.vector || bases_ || form(value).uniform() || !form(value).alike())
        return lanes;
    return {with_offsets(lanes.value, form(value).offsets), true};
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

/// Defines it, for lanes the guard leaves; of a value that all lanes have alike, its base.
void Emitter::define(std::uint32_t i, std::uint32_t value, Lanes lanes) {
    const bool alike = form(value).alike();
    if (!alike)
        lanes = {whole(lanes), true};
    else if (lanes.vector) // one of several results, and the only one that is alike
        lanes = {LLVMBuildExtractElement(builder_, lanes.value, number(i32_, 0), ""), false};
    if (source_.drafts[i].op.run == run_guarded) {
        Lanes wanted = guard(i), before = base(value);
        lanes.value = LLVMBuildSelect(builder_, wanted.value, lanes.value, before.value, "");
    }
    if (segment_->way != Analysis::none && analysis_.ways[segment_->way].kept.has(value))
        lanes.value = LLVMBuildSelect(builder_, here_lanes_, lanes.value, whole(base(value)), "");
    LLVMBuildStore(builder_, lanes.value, variable(value));
    in_slot_.erase(value);
    halves_.erase(value);
}

} // namespace soft
