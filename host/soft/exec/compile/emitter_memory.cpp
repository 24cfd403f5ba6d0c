// Loads and stores. Addresses are a scalar plus something fixed for each lane where that is known
// (forms.hpp), else 32 addresses. What is wrong with one the handler says: bad ones go there.
#include "emitter.hpp"

#include "../control.hpp"

#include <algorithm>
#include <bit>
#include <string>

namespace soft {

using ptx::Instruction;
using ptx::Type;

namespace {

std::size_t bytes_of(const Instruction &in, const Draft &draft) {
    return ptx::size_of(in.type()) * std::max<std::size_t>(1, draft.list.size());
}

/// Whether no two lanes' bytes overlap.
bool apart(Offsets offsets, std::size_t bytes) {
    std::sort(offsets.begin(), offsets.end());
    for (unsigned i = 1; i < lanes; ++i)
        if (offsets[i] - offsets[i - 1] < static_cast<std::int64_t>(bytes))
            return false;
    return true;
}

Offsets moved_by(Offsets offsets, std::uint64_t more) {
    for (std::int64_t &offset : offsets)
        offset += static_cast<std::int64_t>(more);
    return offsets;
}

} // namespace

bool in_shared(const Instruction &in) {
    return std::any_of(in.modifiers.begin(), in.modifiers.end(),
                       [](const std::string &word) { return word.starts_with("shared"); });
}

bool in_local(const Instruction &in) {
    // Parameters of calls that are no scalars lie there; those of kernels have a handler alone.
    return std::any_of(in.modifiers.begin(), in.modifiers.end(),
                       [](const std::string &word) { return word == "local" || word.starts_with("param"); });
}

/// What lies before each lane's own part of a warp's local memory.
Offsets Emitter::parts_of_local() const {
    Offsets parts{};
    for (unsigned lane = 0; lane < lanes; ++lane)
        parts[lane] = static_cast<std::int64_t>(lane) * program_.local_bytes;
    return parts;
}

/// The lanes that take part in an operation.
Emitter::Ref Emitter::mask(std::uint32_t i) {
    if (source_.drafts[i].op.run != run_guarded)
        return here_lanes_;
    const Lanes wanted = guard(i);
    return LLVMBuildAnd(builder_, whole(wanted), here_lanes_, "");
}

/// Works out the addresses, and has the handler see to it when one is wrong.
Emitter::Access Emitter::access(std::uint32_t i) {
    const Draft &draft = source_.drafts[i];
    const Op &op = draft.op;
    const Instruction &in = instruction(i);
    const std::uint64_t bytes = bytes_of(in, draft);
    const auto shift = static_cast<unsigned>(std::countr_zero(bytes));
    const bool wide = values_[op.a].wide;
    const auto offset = static_cast<std::uint64_t>(op.immediate);
    LLVMBuilderRef b = builder_;
    Access access;
    const bool local = in_local(in), checked = local || in_shared(in);
    access.maybe_none = op.run == run_guarded;
    access.guarded = access.maybe_none || segment_->way != Analysis::none;
    access.lanes = mask(i);
    access.offsets = form(op.a).offsets;
    const bool fixed = form(op.a).alike() && small(access.offsets);
    Lanes from = base(op.a);
    if (!fixed && form(op.a).alike())
        from = {with_offsets(from.value, access.offsets), true};
    TypeRef type = LLVMTypeOf(from.value);
    from.value = LLVMBuildAdd(b, from.value, number(type, wide ? offset : offset & 0xffffffff), "");
    auto lane_by_lane = [&] { // 32 addresses, or offsets in shared or local memory
        Ref all = fixed ? with_offsets(from.value, form(op.a).offsets) : from.value;
        return wide ? all : LLVMBuildZExt(b, all, shaped(i64_, true), "");
    };
    auto any = [&](Ref wrong) {
        Ref counts = bits_of(LLVMBuildAnd(b, wrong, access.lanes, ""), i32_);
        return LLVMBuildICmp(b, LLVMIntNE, counts, number(i32_, 0), "");
    };
    TypeRef longs = shaped(i64_, true);
    Ref room = nullptr; // offsets at which an access of shared or local memory may begin
    if (local)
        room = number(i64_, program_.local_bytes < bytes ? 0 : program_.local_bytes - bytes + 1);
    else if (checked)
        room = intrinsic("llvm.usub.sat",
                         {LLVMBuildAdd(b, field(offsetof(WarpCore, shared_size), i64_), number(i64_, 1), ""),
                          number(i64_, bytes)},
                         {i64_}, i64_);
    if (checked)
        access.window = field(local ? offsetof(WarpCore, local) : offsetof(WarpCore, shared), i64_);
    auto wrong_lanes = [&](Ref all) {
        Ref wrong = LLVMBuildICmp(b, LLVMIntNE, LLVMBuildAnd(b, all, number(longs, bytes - 1), ""),
                                  number(longs, 0), "");
        if (checked)
            wrong = LLVMBuildOr(b, wrong, LLVMBuildICmp(b, LLVMIntUGE, all, whole({room, false}), ""), "");
        return wrong;
    };
    Ref doubtful = nullptr; // cheap to ask, and true of every wrong address
    if (fixed) {
        Ref far = wide ? from.value : LLVMBuildSExt(b, from.value, i64_, "");
        const std::int64_t least = form(op.a).smallest(), most = form(op.a).largest();
        auto more = [&](std::int64_t n) {
            return LLVMBuildAdd(b, far, LLVMConstInt(i64_, static_cast<std::uint64_t>(n), 1), "");
        };
        const bool alike = std::all_of(access.offsets.begin(), access.offsets.end(), [&](std::int64_t x) {
            return ((x - access.offsets[0]) & (bytes - 1)) == 0;
        });
        doubtful = number(i1_, !alike);
        if (bytes > 1 && alike)
            doubtful = LLVMBuildICmp(b, LLVMIntNE,
                                     LLVMBuildAnd(b, more(access.offsets[0]), number(i64_, bytes - 1), ""),
                                     number(i64_, 0), "");
        if (checked) {
            doubtful =
                LLVMBuildOr(b, doubtful, LLVMBuildICmp(b, LLVMIntSLT, more(least), number(i64_, 0), ""), "");
            doubtful = LLVMBuildOr(b, doubtful, LLVMBuildICmp(b, LLVMIntSGE, more(most), room, ""), "");
            access.base = LLVMBuildAdd(b, far, access.window, "");
        } else {
            access.base = from.value;
        }
    } else if (checked && !wide) {
        access.words = from.value;
        // Turned by the alignment's bits, a misaligned offset is a large one.
        TypeRef words = shaped(i32_, true);
        Ref turned = from.value;
        if (shift > 0)
            turned = intrinsic("llvm.fshr", {turned, turned, number(words, shift)}, {words}, words);
        Ref limit =
            LLVMBuildLShr(b, LLVMBuildAdd(b, room, number(i64_, bytes - 1), ""), number(i64_, shift), "");
        limit = LLVMBuildTrunc(b, limit, i32_, "");
        doubtful = any(LLVMBuildICmp(b, LLVMIntUGE, turned, whole({limit, false}), ""));
    } else {
        access.where = lane_by_lane();
        if (checked) {
            doubtful = any(wrong_lanes(access.where));
            access.words = LLVMBuildTrunc(b, access.where, shaped(i32_, true), "");
        } else if (bytes > 1) {
            Ref together = slice(access.where, 0, 8);
            for (unsigned k = 8; k < soft::lanes; k += 8)
                together = LLVMBuildOr(b, together, slice(access.where, k, 8), "");
            TypeRef eight = LLVMVectorType(i64_, 8);
            Ref odd = LLVMBuildICmp(b, LLVMIntNE, LLVMBuildAnd(b, together, number(eight, bytes - 1), ""),
                                    number(eight, 0), "");
            doubtful = LLVMBuildICmp(b, LLVMIntNE, bits_of(odd, i8_), number(i8_, 0), "");
        }
    }
    if (doubtful != nullptr && doubtful != number(i1_, 0)) {
        Block on = unlikely(doubtful);
        Ref all = lane_by_lane();
        Block wrong = new_block("wrong");
        LLVMBuildCondBr(b, any(wrong_lanes(all)), wrong, on);
        enter(wrong);
        store_at(warp_, offsetof(WarpCore, where), all, 64);
        set_field(offsetof(WarpCore, exec), bits_of(access.lanes, i32_));
        call(offsetof(WarpCore, move), i);
        LLVMBuildUnreachable(b); // the handler has found the fault
        enter(on);
    }
    if (local) {
        const Offsets parts = parts_of_local();
        if (access.words != nullptr)
            access.words = LLVMBuildAdd(b, access.words, offsets_of(parts, i32_), "");
        for (unsigned lane = 0; lane < soft::lanes; ++lane)
            access.offsets[lane] += parts[lane];
    }
    if (fixed && !checked && in.opcode == "ld")
        ask_ahead(i, access.base);
    if (!checked) { // for the report of an address that nothing is mapped at
        set_field(offsetof(WarpCore, pc), number(i32_, i + 1));
        if (fixed) {
            set_field(offsetof(WarpCore, where), access.base);
            touched_[i] = access.offsets;
        } else {
            store_at(warp_, offsetof(WarpCore, where), access.where, 64);
            touched_[i] = std::nullopt;
        }
    }
    if (access.maybe_none)
        set_field(offsetof(WarpCore, exec), bits_of(access.lanes, i32_));
    return access;
}

/// Asks for what the load will want next, in the next block or round of a loop, if it goes on as it did: from
/// where it was last to here, and as far again. A wrong guess does no harm.
void Emitter::ask_ahead(std::uint32_t i, Ref base) {
    const Op &op = source_.drafts[i].op;
    constexpr std::int64_t line = 64, most = 1024; // bytes
    const Form &where = form(op.a);
    const std::int64_t least = where.smallest(),
                       end = where.largest() +
                             static_cast<std::int64_t>(bytes_of(instruction(i), source_.drafts[i]));
    if (where.uniform() || end - least > most || !asked_.insert({op.a, op.immediate / 256}).second)
        return;
    const std::uint32_t last = scalar_bytes_; // of the warp's: where it was
    scalar_bytes_ += 8;
    Ref step = LLVMBuildSub(builder_, base, load_at(scalars_, last, i64_, 8), "");
    store_at(scalars_, last, base, 8);
    Ref ahead = LLVMBuildAdd(builder_, base, step, "");
    for (std::int64_t at = least; at < end + line - 1; at += line) {
        Ref place = LLVMBuildAdd(
            builder_, ahead, LLVMConstInt(i64_, static_cast<std::uint64_t>(std::min(at, end - 1)), 1), "");
        intrinsic("llvm.prefetch",
                  {LLVMBuildIntToPtr(builder_, place, pointer_, ""), number(i32_, 0), number(i32_, 3),
                   number(i32_, 1)},
                  {pointer_}, void_);
    }
}

/// Each lane's address in this process.
Emitter::Ref Emitter::places(const Access &access) {
    if (access.base != nullptr)
        return with_offsets(access.base, access.offsets);
    if (access.window == nullptr)
        return access.where;
    return LLVMBuildAdd(builder_, LLVMBuildZExt(builder_, access.words, shaped(i64_, true), ""),
                        whole({access.window, false}), "");
}

/// Whether all lanes take part.
Emitter::Ref Emitter::takes_all(const Access &access) {
    return LLVMBuildICmp(builder_, LLVMIntEQ, access.guarded ? bits_of(access.lanes, i32_) : active_,
                         number(i32_, ~0u), "");
}

/// How AVX-512 reaches elements of 4 or 8 bytes: a pointer, what each lane adds to it, and so many at once.
struct Emitter::Reach {
    Ref pointer, index;
    unsigned at_once;
    std::string instruction(const char *what) const {
        return std::string("llvm.x86.avx512.mask.") + what + suffix;
    }
    const char *suffix;
};

Emitter::Reach Emitter::reach(const Access &access, std::uint64_t more, unsigned size) {
    Ref base = access.base != nullptr     ? access.base
               : access.window != nullptr ? access.window
                                          : number(i64_, 0);
    base = LLVMBuildAdd(builder_, base, number(i64_, more), "");
    const bool narrow = access.base != nullptr || access.window != nullptr; // offsets of 32 bits
    Reach reach;
    reach.pointer = LLVMBuildIntToPtr(builder_, base, pointer_, "");
    reach.index = access.base != nullptr     ? offsets_of(access.offsets, i32_)
                  : access.window != nullptr ? access.words
                                             : access.where;
    reach.at_once = narrow && size == 4 ? 16 : 8;
    reach.suffix = narrow ? (size == 4 ? ".dpi.512" : ".dpq.512") : (size == 4 ? ".qpi.512" : ".qpq.512");
    return reach;
}

/// Elements of 4 or 8 bytes, wherever they lie.
Emitter::Ref Emitter::gathered_words(const Access &access, std::uint64_t more, unsigned size) {
    const Reach from = reach(access, more, size);
    TypeRef type = LLVMVectorType(integer_type(8 * size), from.at_once);
    std::vector<Ref> parts;
    for (unsigned lane = 0; lane < lanes; lane += from.at_once)
        parts.push_back(intrinsic(from.instruction("gather").c_str(),
                                  {LLVMConstNull(type), from.pointer, slice(from.index, lane, from.at_once),
                                   slice(access.lanes, lane, from.at_once), number(i32_, 1)},
                                  {}, type));
    return join(std::move(parts));
}

/// An element of each lane, zero-extended to 32 or 64 bits.
Emitter::Ref Emitter::gathered(const Access &access, std::uint64_t more, unsigned size) {
    LLVMBuilderRef b = builder_;
    TypeRef element = integer_type(8 * size), held = shaped(size == 8 ? i64_ : i32_, true);
    auto address_of = [&](std::int64_t offset) {
        Ref sum = LLVMBuildAdd(b, access.base,
                               LLVMConstInt(i64_, static_cast<std::uint64_t>(offset) + more, 1), "");
        return sum;
    };
    if (access.base != nullptr && access.offsets == Offsets{} && !access.maybe_none) {
        Ref place = LLVMBuildIntToPtr(b, address_of(0), LLVMPointerType(element, 0), "");
        Ref value = LLVMBuildLoad2(b, element, place, "");
        LLVMSetAlignment(value, size);
        return whole({LLVMBuildIntCast2(b, value, size == 8 ? i64_ : i32_, 0, ""), false});
    }
    if (access.base != nullptr && consecutive(access.offsets, size)) {
        TypeRef type = shaped(element, true);
        Ref place = LLVMBuildIntToPtr(b, address_of(access.offsets[0]), LLVMPointerType(type, 0), "");
        Ref value = intrinsic("llvm.masked.load", {place, number(i32_, 1), access.lanes, LLVMConstNull(type)},
                              {type, LLVMTypeOf(place)}, type);
        return LLVMBuildIntCast2(b, value, held, 0, "");
    }
    if (!features_.avx512) {
        Ref all = LLVMBuildAdd(b, places(access), number(shaped(i64_, true), more), "");
        TypeRef pointers = LLVMVectorType(LLVMPointerType(element, 0), lanes), type = shaped(element, true);
        Ref value = intrinsic(
            "llvm.masked.gather",
            {LLVMBuildIntToPtr(b, all, pointers, ""), number(i32_, size), access.lanes, LLVMConstNull(type)},
            {type, pointers}, type);
        return LLVMBuildIntCast2(b, value, held, 0, "");
    }
    if (size >= 4)
        return gathered_words(access, more, size);
    // The aligned word it lies in: never beyond the page.
    Access words = access;
    Ref inside; // the element's place in its word, in bits
    TypeRef ints = shaped(i32_, true);
    Ref three = number(ints, 3);
    auto split = [&](Ref offsets) {
        inside = LLVMBuildShl(b, LLVMBuildAnd(b, offsets, three, ""), three, "");
        return LLVMBuildAnd(b, offsets, LLVMBuildNot(b, three, ""), "");
    };
    if (access.base != nullptr) {
        Ref low = LLVMBuildTrunc(b, LLVMBuildAnd(b, access.base, number(i64_, 3), ""), i32_, "");
        words.words = split(with_offsets(low, moved_by(access.offsets, more)));
        Ref base = LLVMBuildAnd(b, access.base, number(i64_, ~3ull), "");
        // As in a window that begins there.
        TypeRef type = LLVMVectorType(i32_, 16);
        std::vector<Ref> parts;
        for (unsigned from = 0; from < lanes; from += 16)
            parts.push_back(
                intrinsic("llvm.x86.avx512.mask.gather.dpi.512",
                          {LLVMConstNull(type), LLVMBuildIntToPtr(b, base, pointer_, ""),
                           slice(words.words, from, 16), slice(access.lanes, from, 16), number(i32_, 1)},
                          {}, type));
        Ref got = LLVMBuildLShr(b, join(std::move(parts)), inside, "");
        return LLVMBuildAnd(b, got, number(ints, size == 1 ? 0xff : 0xffff), "");
    }
    if (access.window != nullptr) {
        words.words = split(LLVMBuildAdd(b, access.words, number(ints, more), ""));
    } else {
        Ref sum = LLVMBuildAdd(b, access.where, number(shaped(i64_, true), more), "");
        split(LLVMBuildTrunc(b, sum, ints, ""));
        words.where = LLVMBuildAnd(b, sum, number(shaped(i64_, true), ~3ull), "");
    }
    Ref got = LLVMBuildLShr(b, gathered_words(words, 0, 4), inside, "");
    return LLVMBuildAnd(b, got, number(ints, size == 1 ? 0xff : 0xffff), "");
}

void Emitter::load(std::uint32_t i) {
    const Draft &draft = source_.drafts[i];
    const Type type = instruction(i).type();
    const unsigned size = ptx::size_of(type);
    if (const auto first = upper_halves_.find(i); first != upper_halves_.end())
        return load_half(i, first->second, 1);
    if (const std::uint32_t other = upper_half_of(i); other != Analysis::none)
        return load_both_halves(i, other);
    const Access from = access(i);
    const std::size_t count = std::max<std::size_t>(1, draft.list.size());
    std::vector<Ref> values = all_gathered(from, size, count, i);
    if (ptx::is_signed(type) && size < 4)
        for (Ref &value : values) {
            TypeRef narrow = shaped(integer_type(8 * size), true), held = shaped(i32_, true);
            value = LLVMBuildSExt(builder_, LLVMBuildTrunc(builder_, value, narrow, ""), held, "");
        }
    for (std::size_t k = 0; k < count; ++k) {
        const std::uint32_t to = draft.list.empty() ? draft.op.dst : draft.list[k];
        TypeRef held = shaped(values_[to].wide ? i64_ : i32_, true);
        define(i, to, {LLVMBuildIntCast2(builder_, values[k], held, 0, ""), true});
    }
    if (from.maybe_none)
        set_field(offsetof(WarpCore, exec), here_);
}

/// A load from one address for all lanes.
void Emitter::load_once(std::uint32_t i) {
    const Draft &draft = source_.drafts[i];
    const Type type = instruction(i).type();
    const unsigned size = ptx::size_of(type);
    LLVMBuilderRef b = builder_;
    const Access from = access(i);
    TypeRef element = integer_type(8 * size);
    const std::size_t count = std::max<std::size_t>(1, draft.list.size());
    for (std::size_t k = 0; k < count; ++k) {
        Ref place = LLVMBuildIntToPtr(b, LLVMBuildAdd(b, from.base, number(i64_, k * size), ""),
                                      LLVMPointerType(element, 0), "");
        Ref value = LLVMBuildLoad2(b, element, place, "");
        LLVMSetAlignment(value, size);
        const std::uint32_t to = draft.list.empty() ? draft.op.dst : draft.list[k];
        TypeRef held = values_[to].wide ? i64_ : i32_;
        define(i, to, {LLVMBuildIntCast2(b, value, held, ptx::is_signed(type) && size < 4, ""), false});
    }
}

void Emitter::scattered(const Access &access, std::uint64_t more, unsigned size, Ref value) {
    LLVMBuilderRef b = builder_;
    TypeRef element = integer_type(8 * size);
    if (access.base != nullptr && consecutive(access.offsets, size)) {
        TypeRef type = shaped(element, true);
        Ref sum = LLVMBuildAdd(
            b, access.base, LLVMConstInt(i64_, static_cast<std::uint64_t>(access.offsets[0]) + more, 1), "");
        Ref place = LLVMBuildIntToPtr(b, sum, LLVMPointerType(type, 0), "");
        intrinsic("llvm.masked.store",
                  {LLVMBuildIntCast2(b, value, type, 0, ""), place, number(i32_, size), access.lanes},
                  {type, LLVMTypeOf(place)}, void_);
        return;
    }
    const Reach to = reach(access, more, size);
    for (unsigned lane = 0; lane < lanes; lane += to.at_once)
        intrinsic(to.instruction("scatter").c_str(),
                  {to.pointer, slice(access.lanes, lane, to.at_once), slice(to.index, lane, to.at_once),
                   slice(value, lane, to.at_once), number(i32_, 1)},
                  {}, void_);
}

/// To one address, of lanes that there are some of: what the last of them has stays there.
void Emitter::store_once(const Access &access, unsigned size, const std::vector<Lanes> &values) {
    LLVMBuilderRef b = builder_;
    TypeRef element = integer_type(8 * size);
    Ref before = intrinsic("llvm.ctlz", {bits_of(access.lanes, i32_), number(i1_, 1)}, {i32_}, i32_);
    Ref last = LLVMBuildSub(b, number(i32_, lanes - 1), before, "");
    for (std::size_t k = 0; k < values.size(); ++k) {
        Ref value = values[k].value;
        if (values[k].vector)
            value = LLVMBuildExtractElement(b, value, last, "");
        Ref sum =
            LLVMBuildAdd(b, access.base,
                         LLVMConstInt(i64_, static_cast<std::uint64_t>(access.offsets[0]) + k * size, 1), "");
        Ref done = LLVMBuildStore(b, LLVMBuildIntCast2(b, value, element, 0, ""),
                                  LLVMBuildIntToPtr(b, sum, LLVMPointerType(element, 0), ""));
        LLVMSetAlignment(done, size);
    }
}

/// Has the handler store it, element after element of all lanes that take part.
void Emitter::store_by_handler(std::uint32_t i, const Access &to, unsigned size,
                               const std::vector<Ref> &values) {
    for (std::size_t k = 0; k < values.size(); ++k)
        store_at(warp_, offsetof(WarpCore, moved) + k * lanes * (size == 8 ? 8 : 4), values[k], 64);
    move_by_handler(i, to);
}

/// Has the handler move it between `moved` and memory.
void Emitter::move_by_handler(std::uint32_t i, const Access &access) {
    Ref all = places(access);
    if (access.window != nullptr) // as it has them: offsets from where the lane's part begins
        all = LLVMBuildSub(builder_, all, whole({access.window, false}), "");
    if (in_local(instruction(i)))
        all = LLVMBuildSub(builder_, all, offsets_of(parts_of_local(), i64_), "");
    store_at(warp_, offsetof(WarpCore, where), all, 64);
    set_field(offsetof(WarpCore, exec), bits_of(access.lanes, i32_));
    call(offsetof(WarpCore, move), i);
}

void Emitter::store(std::uint32_t i) {
    const Draft &draft = source_.drafts[i];
    const unsigned size = ptx::size_of(instruction(i).type());
    const Access to = access(i);
    const std::size_t count = std::max<std::size_t>(1, draft.list.size());
    std::vector<Lanes> stored;
    for (std::size_t k = 0; k < count; ++k)
        stored.push_back(get(draft.list.empty() ? draft.op.dst : draft.list[k]));
    if (to.base != nullptr && to.offsets == Offsets{} && !to.maybe_none)
        return store_once(to, size, stored);
    std::vector<Ref> values;
    for (const Lanes &one : stored)
        values.push_back(whole(one));
    const unsigned chunk = size * static_cast<unsigned>(count);
    if (in_rows(to, size, count)) {
        Block all = unlikely(LLVMBuildNot(builder_, takes_all(to), "")), done = new_block("done");
        store_by_handler(i, to, size, values);
        LLVMBuildBr(builder_, done);
        enter(all);
        rows_stored(to, values);
        LLVMBuildBr(builder_, done);
        enter(done);
    } else if (count == 1 && to.base != nullptr && consecutive(to.offsets, size)) {
        scattered(to, 0, size, values[0]);
    } else if (features_.avx512 && chunk >= 4 && chunk <= 8) { // as one element: in the order of lanes
        scattered(to, 0, chunk, joined_elements(values, size, chunk));
    } else if (features_.avx512 && size >= 4 && to.base != nullptr && apart(to.offsets, chunk)) {
        for (std::size_t k = 0; k < count; ++k)
            scattered(to, k * size, size, values[k]);
    } else {
        store_by_handler(i, to, size, values);
    }
    if (to.maybe_none)
        set_field(offsetof(WarpCore, exec), here_);
}

/// cvta of shared memory: its offsets as addresses.
void Emitter::window(std::uint32_t i) {
    const Op &op = source_.drafts[i].op;
    Lanes x = get(op.a);
    Lanes begin{field(offsetof(WarpCore, shared), i64_), false};
    unify({&x, &begin});
    define(i, op.dst, {LLVMBuildAdd(builder_, x.value, begin.value, ""), x.vector});
}

} // namespace soft
