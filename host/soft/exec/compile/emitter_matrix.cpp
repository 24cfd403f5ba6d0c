// Operations of a whole warp on matrices. Which lane's register holds what is known (ops_matrix.cpp says
// it), so that they are vectors' lanes in other orders, products and sums.
#include "emitter.hpp"

#include "../select.hpp"

#include <algorithm>

namespace soft {

using ptx::Instruction;
using ptx::Type;

namespace {

/// In lane 4g + t: lane 4g + k. What column k of A gives to each row.
std::array<unsigned, lanes> across_rows(unsigned k) {
    std::array<unsigned, lanes> order{};
    for (unsigned lane = 0; lane < lanes; ++lane)
        order[lane] = lane / 4 * 4 + k;
    return order;
}

/// In lane 4g + t: lane 4 * (2t + odd) + k. What row k of B gives to columns 2t or 2t + 1.
std::array<unsigned, lanes> across_columns(unsigned k, unsigned odd) {
    std::array<unsigned, lanes> order{};
    for (unsigned lane = 0; lane < lanes; ++lane)
        order[lane] = 4 * (2 * (lane % 4) + odd) + k;
    return order;
}

} // namespace

/// In each of 32 words four products of bytes, and a sum.
Emitter::Ref Emitter::dot_products(Ref x, bool sign_x, Ref y, bool sign_y, Ref sum) {
    LLVMBuilderRef b = builder_;
    TypeRef words = LLVMTypeOf(x);
    if (features_.vnni) {
        // The processor multiplies unsigned by signed bytes: x + 128 stands for a signed x, y - 128 for an
        // unsigned y, and what that is too much or too little depends on the other alone.
        auto products = [&](Ref left, Ref right, Ref start) {
            std::vector<Ref> parts;
            TypeRef half = LLVMVectorType(i32_, 16);
            for (unsigned from = 0; from < lanes; from += 16)
                parts.push_back(intrinsic(
                    "llvm.x86.avx512.vpdpbusd.512",
                    {slice(start, from, 16), slice(left, from, 16), slice(right, from, 16)}, {}, half));
            return join(std::move(parts));
        };
        Ref zero = number(words, 0), tops = number(words, 0x80808080);
        if (!sign_x && sign_y)
            return products(x, y, sum);
        if (sign_x && !sign_y)
            return products(y, x, sum);
        if (sign_x)
            return LLVMBuildSub(b, products(LLVMBuildXor(b, x, tops, ""), y, sum), products(tops, y, zero),
                                "");
        Ref ones = LLVMBuildShl(b, products(x, number(words, 0x01010101), zero), number(words, 7), "");
        return LLVMBuildAdd(b, products(x, LLVMBuildXor(b, y, tops, ""), sum), ones, "");
    }
    // Bytes as 16-bit numbers, those at even and those at odd places: pairs of products are one instruction.
    TypeRef halves = LLVMVectorType(i16_, 2 * lanes);
    Ref eight = number(halves, 8);
    auto part = [&](Ref value, bool is_signed, bool odd) {
        Ref all = bits_of(value, halves);
        if (!odd)
            all = LLVMBuildShl(b, all, eight, "");
        return is_signed ? LLVMBuildAShr(b, all, eight, "") : LLVMBuildLShr(b, all, eight, "");
    };
    for (bool odd : {false, true}) {
        Ref left = part(x, sign_x, odd), right = part(y, sign_y, odd);
        std::vector<Ref> sums;
        for (unsigned from = 0; from < 2 * lanes; from += 16)
            sums.push_back(intrinsic("llvm.x86.avx2.pmadd.wd",
                                     {slice(left, from, 16), slice(right, from, 16)}, {},
                                     LLVMVectorType(i32_, 8)));
        sum = LLVMBuildAdd(b, sum, join(std::move(sums)), "");
    }
    return sum;
}

/// Pairs of 16-bit floats as floats, in the order in which they lie: as many to a vector as the processor
/// has.
std::vector<Emitter::Ref> Emitter::floats_in_order(Ref words) {
    Ref all = bits_of(words, LLVMVectorType(i16_, 2 * lanes));
    std::vector<Ref> parts;
    for (unsigned from = 0; from < 2 * lanes; from += reals_at_once())
        parts.push_back(floats_of(slice(all, from, reals_at_once())));
    return parts;
}

/// Adds products of 8 or 16 rows of eight 16-bit floats, of which each lane has two, and eight columns.
void Emitter::multiply_halves(std::span<const Ref> rows, Ref columns, std::vector<Ref> &sums) {
    const unsigned at_once = reals_at_once();
    auto all = [&](auto part) { // 32 lanes: what `part` gives for each `at_once` of them
        std::vector<Ref> parts;
        for (unsigned from = 0; from < lanes; from += at_once)
            parts.push_back(part(from));
        return join(std::move(parts));
    };
    auto shuffled = [&](Ref first, Ref second, auto from) {
        std::vector<Ref> order;
        for (unsigned lane = 0; lane < at_once; ++lane)
            order.push_back(number(i32_, from(lane)));
        return LLVMBuildShuffleVector(builder_, first, second, LLVMConstVector(order.data(), at_once), "");
    };
    std::vector<std::vector<Ref>> left;
    for (Ref row : rows)
        left.push_back(floats_in_order(row));
    // Columns first in the order in which they are wanted: four words of each pair of rows, even and odd
    // ones.
    std::array<unsigned, lanes> order{};
    for (unsigned at = 0; at < lanes; ++at)
        order[at] = across_columns(at / 8, at / 4 % 2)[at % 4];
    const std::vector<Ref> right = floats_in_order(picked(columns, order));
    TypeRef floats = shaped(f32_, true);
    for (unsigned k = 0; k < 4; ++k)
        for (unsigned e = 0; e < 2; ++e) {
            std::vector<Ref> across;
            for (const std::vector<Ref> &parts : left)
                across.push_back(all([&](unsigned from) {
                    const unsigned part = 2 * from / at_once;
                    return shuffled(parts[part], parts[part + 1],
                                    [&](unsigned lane) { return 2 * (lane / 4 * 4 + k) + e; });
                }));
            for (unsigned odd = 0; odd < 2; ++odd) {
                const unsigned first = (2 * k + odd) * 8; // of its floats
                Ref part = right[first / at_once], same = nullptr;
                same = shuffled(part, LLVMGetUndef(LLVMTypeOf(part)),
                                [&](unsigned lane) { return first % at_once + 2 * (lane % 4) + e; });
                Ref column = all([&](unsigned) { return same; });
                for (std::size_t half = 0; half < left.size(); ++half) {
                    Ref &sum = sums[2 * half + odd];
                    sum = intrinsic("llvm.fma", {across[half], column, sum}, {floats}, floats);
                }
            }
        }
}

/// mma: D = A x B + C, in the handler's order of sums.
void Emitter::multiply(std::uint32_t i) {
    const Instruction &in = instruction(i);
    const Draft &draft = source_.drafts[i];
    LLVMBuilderRef b = builder_;
    const Type type_a = in.type(2), type_b = in.type(1), type_c = in.type(0);
    const bool whole_numbers = type_c == Type::s32, packed = type_c == Type::f16;
    const unsigned halves = in.has("m8n8k16") ? 1 : 2; // of 8 rows
    const unsigned results = 2 * halves / (packed ? 2 : 1);
    const auto in_b = static_cast<unsigned>((draft.list.size() - 2 * results) / (halves + 1)),
               in_a = halves * in_b;
    auto operand = [&](unsigned at) { return whole(get(draft.list[at])); };
    std::vector<Ref> a, columns, sums;
    for (unsigned r = 0; r < in_a; ++r)
        a.push_back(operand(results + r));
    for (unsigned r = 0; r < in_b; ++r)
        columns.push_back(operand(results + in_a + r));
    TypeRef floats = shaped(f32_, true), shorts = shaped(i16_, true), words = shaped(i32_, true);
    auto element = [&](Ref word, unsigned e) { // a 16-bit float of each lane's word
        Ref bits = e == 0 ? word : LLVMBuildLShr(b, word, number(words, 16), "");
        return half_to_float({LLVMBuildTrunc(b, bits, shorts, ""), true});
    };
    for (unsigned r = 0; r < results; ++r) {
        Ref c = operand(results + in_a + in_b + r);
        if (packed) {
            sums.push_back(element(c, 0));
            sums.push_back(element(c, 1));
        } else {
            sums.push_back(whole_numbers ? c : bits_of(c, floats));
        }
    }
    for (unsigned q = 0; q < in_b; ++q) {
        if (!whole_numbers) {
            multiply_halves({a.data() + halves * q, halves}, columns[q], sums);
            continue;
        }
        for (unsigned k = 0; k < 4; ++k) {
            std::vector<Ref> rows;
            for (unsigned half = 0; half < halves; ++half)
                rows.push_back(picked(a[halves * q + half], across_rows(k)));
            for (unsigned odd = 0; odd < 2; ++odd) {
                Ref column = picked(columns[q], across_columns(k, odd));
                for (unsigned half = 0; half < halves; ++half) {
                    Ref &sum = sums[2 * half + odd];
                    sum = dot_products(rows[half], type_a == Type::s8, column, type_b == Type::s8, sum);
                }
            }
        }
    }
    for (unsigned r = 0; r < results; ++r) {
        Ref d = nullptr;
        if (packed) {
            Ref low = LLVMBuildZExt(b, float_to_half({sums[2 * r], true}), words, "");
            Ref high = LLVMBuildZExt(b, float_to_half({sums[2 * r + 1], true}), words, "");
            d = LLVMBuildOr(b, low, LLVMBuildShl(b, high, number(words, 16), ""), "");
        } else {
            d = bits_of(sums[r], words);
        }
        define(i, draft.list[r], {d, true});
    }
}

/// A matrix of 8 x 8 halves, two to a lane, row after row: its columns in the same order.
Emitter::Ref Emitter::transposed(Ref matrix) {
    std::vector<Ref> order;
    for (unsigned lane = 0; lane < lanes; ++lane)
        for (unsigned half = 0; half < 2; ++half)
            order.push_back(number(i32_, (2 * (lane % 4) + half) * 8 + lane / 4));
    TypeRef halves = LLVMVectorType(i16_, 2 * lanes);
    Ref all = bits_of(matrix, halves);
    Ref turned = LLVMBuildShuffleVector(builder_, all, LLVMGetUndef(halves),
                                        LLVMConstVector(order.data(), 2 * lanes), "");
    return bits_of(turned, shaped(i32_, true));
}

/// movmatrix
void Emitter::transpose(std::uint32_t i) {
    const Op &op = source_.drafts[i].op;
    define(i, op.dst, {transposed(whole(get(op.a))), true});
}

/// ldmatrix: lane 8m + r names row r of matrix m, 16 bytes of which each lane gets its four.
void Emitter::matrices(std::uint32_t i) {
    const Draft &draft = source_.drafts[i];
    const Op &op = draft.op;
    LLVMBuilderRef b = builder_;
    const auto rows = static_cast<unsigned>(8 * draft.list.size());
    const bool wide = values_[op.a].wide,
               shared = op.run == choose_matrix_load(true, instruction(i).has("trans"));
    const bool fixed = form(op.a).alike();
    Ref from = base(op.a).value; // a register and an offset, as 64 bits
    const auto offset = static_cast<std::uint64_t>(op.immediate);
    from = LLVMBuildAdd(b, from, number(LLVMTypeOf(from), wide ? offset : offset & 0xffffffff), "");
    if (!wide && fixed)
        from = with_offsets(from, form(op.a).offsets);
    const bool by_base = wide && fixed;
    TypeRef longs = shaped(i64_, true);
    if (!wide)
        from = LLVMBuildZExt(b, from, longs, "");
    Ref all = by_base ? with_offsets(from, form(op.a).offsets) : from;
    Ref wrong =
        LLVMBuildICmp(b, LLVMIntNE, LLVMBuildAnd(b, all, number(longs, 15), ""), number(longs, 0), "");
    if (shared) {
        Ref size = field(offsetof(WarpCore, shared_size), i64_);
        Ref room = intrinsic("llvm.usub.sat", {size, number(i64_, 15)}, {i64_}, i64_);
        wrong = LLVMBuildOr(b, wrong, LLVMBuildICmp(b, LLVMIntUGE, all, whole({room, false}), ""), "");
    }
    Ref counts = LLVMBuildAnd(b, bits_of(wrong, i32_), number(i32_, (1ull << rows) - 1), "");
    Block on = unlikely(LLVMBuildICmp(b, LLVMIntNE, counts, number(i32_, 0), ""));
    write_slot(op.a);
    call_handler(i); // which finds the fault
    LLVMBuildUnreachable(b);
    enter(on);
    if (!shared) {
        set_field(offsetof(WarpCore, pc), number(i32_, i + 1));
        store_at(warp_, offsetof(WarpCore, where), all, 64);
        touched_[i] = std::nullopt;
    }
    Ref begin = shared ? field(offsetof(WarpCore, shared), i64_) : number(i64_, 0);
    TypeRef row = LLVMVectorType(i32_, 4);
    for (unsigned m = 0; m < draft.list.size(); ++m) {
        std::vector<Ref> parts;
        for (unsigned r = 0; r < 8; ++r) {
            const unsigned lane = 8 * m + r;
            Ref address =
                by_base ? LLVMBuildAdd(
                              b, from,
                              LLVMConstInt(i64_, static_cast<std::uint64_t>(form(op.a).offsets[lane]), 1), "")
                        : LLVMBuildExtractElement(b, from, number(i32_, lane), "");
            Ref place =
                LLVMBuildIntToPtr(b, LLVMBuildAdd(b, address, begin, ""), LLVMPointerType(row, 0), "");
            parts.push_back(LLVMBuildLoad2(b, row, place, ""));
            LLVMSetAlignment(parts.back(), 16);
        }
        Ref matrix = join(std::move(parts));
        define(i, draft.list[m], {instruction(i).has("trans") ? transposed(matrix) : matrix, true});
    }
}

} // namespace soft
