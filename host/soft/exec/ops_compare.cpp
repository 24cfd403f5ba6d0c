// Comparisons, selection by predicate, and logic on predicates.
#include "choose.hpp"

#include <algorithm>

namespace soft {

using ptx::Instruction;
using ptx::Type;

namespace {

enum CompareFlag : u16 {
    combine_and = 64,
    combine_or = 128,
    combine_xor = 256,
    writes_word = 512 // what stands for true is Op::immediate
};

/// The predicate that a comparison's result goes with, and what comes of both.
inline u32 combined_with(const Warp &w, const Op &op) {
    const u32 with = w.predicates[op.predicate];
    return op.flags & predicate_negated ? ~with : with;
}
inline u32 combined(const Op &op, u32 result, u32 with) {
    return op.flags & combine_and ? result & with : op.flags & combine_or ? result | with : result ^ with;
}

template <class T, auto F> void compare(Warp &w, const Op &op) {
    const auto *a = w.slot<word_t<T>>(op.a);
    const auto *b = w.slot<word_t<T>>(op.b);
    alignas(64) u32 truth[lanes];
#pragma GCC ivdep
    for (unsigned i = 0; i < lanes; ++i)
        truth[i] = F(from_word<T>(a[i]), from_word<T>(b[i])) ? ~0u : 0u;
    u32 yes = mask_of(truth), no = ~yes;
    if (op.flags & has_predicate) {
        const u32 with = combined_with(w, op);
        yes = combined(op, yes, with), no = combined(op, no, with);
    }
    if (op.flags & writes_word) {
        const auto one = static_cast<u32>(op.immediate);
        u32 *d = w.slot<u32>(op.dst);
        each_lane(w.exec, [&](unsigned i) { d[i] = (yes >> i) & 1 ? one : 0; });
        return;
    }
    w.write_predicate(op.dst, yes);
    if (op.c != 0) // p|q: 0 is never a second result's number, predicate 0 being reserved
        w.write_predicate(op.c, no);
}

template <class T> inline auto comparable(T x) {
    if constexpr (std::is_same_v<T, f16> || std::is_same_v<T, bf16>)
        return to_float(x);
    else
        return x;
}

template <class T, bool Ftz> Handler comparison(const Instruction &in, std::string_view name) {
    constexpr auto load = [](T x) {
        auto value = comparable(x);
        if constexpr (Ftz)
            return flush(value);
        else
            return value;
    };
#define SHIMBENCH_COMPARE(text, expression)                                                                  \
    if (name == text)                                                                                        \
        return compare<T, [](T x, T y) {                                                                     \
            auto a = decltype(load){}(x), b = decltype(load){}(y);                                           \
            return (expression);                                                                             \
        }>;
    SHIMBENCH_COMPARE("eq", a == b)
    SHIMBENCH_COMPARE("lt", a < b)
    SHIMBENCH_COMPARE("le", a <= b)
    SHIMBENCH_COMPARE("gt", a > b)
    SHIMBENCH_COMPARE("ge", a >= b)
    if constexpr (std::is_integral_v<T>) {
        SHIMBENCH_COMPARE("ne", a != b)
        SHIMBENCH_COMPARE("lo", static_cast<u_<T>>(a) < static_cast<u_<T>>(b))
        SHIMBENCH_COMPARE("ls", static_cast<u_<T>>(a) <= static_cast<u_<T>>(b))
        SHIMBENCH_COMPARE("hi", static_cast<u_<T>>(a) > static_cast<u_<T>>(b))
        SHIMBENCH_COMPARE("hs", static_cast<u_<T>>(a) >= static_cast<u_<T>>(b))
    } else {
        // ne is false for NaN, neu true: the u forms hold when an operand is not a number.
        SHIMBENCH_COMPARE("ne", a < b || a > b)
        SHIMBENCH_COMPARE("equ", !(a < b || a > b))
        SHIMBENCH_COMPARE("neu", !(a == b))
        SHIMBENCH_COMPARE("ltu", !(a >= b))
        SHIMBENCH_COMPARE("leu", !(a > b))
        SHIMBENCH_COMPARE("gtu", !(a <= b))
        SHIMBENCH_COMPARE("geu", !(a < b))
        SHIMBENCH_COMPARE("num", a == a && b == b)
        SHIMBENCH_COMPARE("nan", a != a || b != b)
    }
#undef SHIMBENCH_COMPARE
    not_implemented(in);
}

Handler comparison_of(const Instruction &in, Type type) {
    const std::string name = in.modifiers.empty() ? "" : in.modifiers.front();
    switch (type) {
    case Type::b16:
    case Type::u16:
        return comparison<u16, false>(in, name);
    case Type::s16:
        return comparison<s16, false>(in, name);
    case Type::b32:
    case Type::u32:
        return comparison<u32, false>(in, name);
    case Type::s32:
        return comparison<s32, false>(in, name);
    case Type::b64:
    case Type::u64:
        return comparison<u64, false>(in, name);
    case Type::s64:
        return comparison<s64, false>(in, name);
    case Type::f16:
        return comparison<f16, false>(in, name);
    case Type::bf16:
        return comparison<bf16, false>(in, name);
    case Type::f32:
        return in.has("ftz") ? comparison<float, true>(in, name) : comparison<float, false>(in, name);
    case Type::f64:
        return comparison<double, false>(in, name);
    default:
        not_implemented(in);
    }
}

u16 combination(const Instruction &in) {
    return in.has("and") ? combine_and : in.has("or") ? combine_or : in.has("xor") ? combine_xor : 0;
}

/// What stands for true in a result of that type.
u32 truth_of(const Instruction &in, Type result) {
    switch (result) {
    case Type::u32:
    case Type::s32:
        return ~0u;
    case Type::u16:
    case Type::s16:
        return 0xffff;
    case Type::f32:
        return 0x3f800000;
    case Type::f16:
        return 0x3c00;
    case Type::bf16:
        return 0x3f80;
    case Type::f16x2:
        return 0x3c003c00;
    case Type::bf16x2:
        return 0x3f803f80;
    default:
        not_implemented(in);
    }
}

enum class Relation : std::uint8_t { eq, ne, lt, le, gt, ge, equ, neu, ltu, leu, gtu, geu, num, nan };
constexpr std::string_view relation_names[] = {"eq",  "ne",  "lt",  "le",  "gt",  "ge",  "equ",
                                               "neu", "ltu", "leu", "gtu", "geu", "num", "nan"};

bool holds(Relation relation, float a, float b) {
    const bool none = a != a || b != b;
    switch (relation) {
    case Relation::eq:
        return a == b;
    case Relation::ne:
        return !none && a != b;
    case Relation::lt:
        return a < b;
    case Relation::le:
        return a <= b;
    case Relation::gt:
        return a > b;
    case Relation::ge:
        return a >= b;
    case Relation::equ:
        return none || a == b;
    case Relation::neu:
        return none || a != b;
    case Relation::ltu:
        return none || a < b;
    case Relation::leu:
        return none || a <= b;
    case Relation::gtu:
        return none || a > b;
    case Relation::geu:
        return none || a >= b;
    case Relation::num:
        return !none;
    case Relation::nan:
        return none;
    }
    __builtin_unreachable();
}

/// Pairs of 16-bit floats, each half by itself: two predicates, or a word with what stands for true in each
/// half. The immediate is the relation, above what stands for true.
template <class H> void compare_pairs(Warp &w, const Op &op) {
    const u32 *a = w.slot<u32>(op.a), *b = w.slot<u32>(op.b);
    const auto relation = static_cast<Relation>(op.immediate >> 32);
    const auto truth = static_cast<u32>(op.immediate);
    u32 low = 0, high = 0;
    for (unsigned i = 0; i < lanes; ++i) {
        auto half = [&](u32 word, unsigned at) { return to_float(H{static_cast<u16>(word >> at)}); };
        low |= static_cast<u32>(holds(relation, half(a[i], 0), half(b[i], 0))) << i;
        high |= static_cast<u32>(holds(relation, half(a[i], 16), half(b[i], 16))) << i;
    }
    if (op.flags & has_predicate) {
        const u32 with = combined_with(w, op);
        low = combined(op, low, with), high = combined(op, high, with);
    }
    if (op.flags & writes_word) {
        u32 *d = w.slot<u32>(op.dst);
        each_lane(w.exec, [&](unsigned i) {
            d[i] = ((low >> i & 1) ? truth & 0xffff : 0) | ((high >> i & 1) ? truth & 0xffff0000 : 0);
        });
        return;
    }
    w.write_predicate(op.dst, low);
    if (op.c != 0)
        w.write_predicate(op.c, high);
}

Choice choose_pairs(const Instruction &in, Type result, s64 truth, u16 flags) {
    const auto name = std::find(std::begin(relation_names), std::end(relation_names), in.modifiers.front());
    if (name == std::end(relation_names))
        not_implemented(in);
    const Type type = in.type();
    Choice choice{type == Type::f16x2 ? compare_pairs<f16> : compare_pairs<bf16>,
                  result,
                  {type, type},
                  static_cast<u16>(flags | combination(in)),
                  static_cast<s64>(name - std::begin(relation_names)) << 32 | truth};
    if (combination(in))
        choice.sources[2] = Type::pred;
    return choice;
}

Choice choose_setp(const Instruction &in) {
    Type type = in.type();
    if (type == Type::f16x2 || type == Type::bf16x2)
        return choose_pairs(in, Type::pred, 0, 0);
    Choice choice{comparison_of(in, type), Type::pred, {type, type}, combination(in), 0};
    if (choice.flags)
        choice.sources[2] = Type::pred;
    return choice;
}

Choice choose_set(const Instruction &in) {
    Type result = in.type(1), type = in.type();
    const u32 truth = truth_of(in, result);
    if (type == Type::f16x2 || type == Type::bf16x2)
        return choose_pairs(in, result, truth, writes_word);
    Choice choice{comparison_of(in, type),
                  result,
                  {type, type},
                  static_cast<u16>(combination(in) | writes_word),
                  truth};
    if (combination(in))
        choice.sources[2] = Type::pred;
    return choice;
}

template <class T> void select_lanes(Warp &w, const Op &op) {
    T *d = w.slot<T>(op.dst);
    const T *a = w.slot<T>(op.a), *b = w.slot<T>(op.b);
    u32 first = w.predicates[op.predicate];
    if (op.flags & predicate_negated)
        first = ~first;
    const u32 exec = w.exec;
#pragma GCC ivdep
    for (unsigned i = 0; i < lanes; ++i) {
        T chosen = (first >> i) & 1 ? a[i] : b[i];
        d[i] = (exec >> i) & 1 ? chosen : d[i];
    }
}

enum class Logic { and_, or_, xor_, not_, mov };
template <Logic L> void predicate_logic(Warp &w, const Op &op) {
    u32 a = w.predicates[op.a], b = L == Logic::not_ || L == Logic::mov ? 0 : w.predicates[op.b];
    if (op.flags & a_negated)
        a = ~a;
    if (op.flags & b_negated)
        b = ~b;
    w.write_predicate(op.dst, L == Logic::and_   ? a & b
                              : L == Logic::or_  ? a | b
                              : L == Logic::xor_ ? a ^ b
                              : L == Logic::not_ ? ~a
                                                 : a);
}

template <Logic L> Choice predicate_choice() {
    constexpr bool one = L == Logic::not_ || L == Logic::mov;
    return {predicate_logic<L>, Type::pred, {Type::pred, one ? Type::none : Type::pred}, 0, 0};
}

Choice choose_selp(const Instruction &in) {
    Type type = in.type();
    bool wide = ptx::size_of(type) == 8;
    return {wide ? select_lanes<u64> : select_lanes<u32>, type, {type, type, Type::pred}, 0, 0};
}

template <class T, auto F> void test_lanes(Warp &w, const Op &op) {
    const auto *a = w.slot<word_t<T>>(op.a);
    u32 mask = 0;
    for (unsigned i = 0; i < lanes; ++i)
        mask |= static_cast<u32>(F(from_word<T>(a[i]))) << i;
    w.write_predicate(op.dst, mask);
}
template <class T> Handler test_of(const Instruction &in) {
    if (in.has("finite"))
        return test_lanes<T, [](T a) { return std::isfinite(a); }>;
    if (in.has("infinite"))
        return test_lanes<T, [](T a) { return std::isinf(a); }>;
    if (in.has("number"))
        return test_lanes<T, [](T a) { return a == a; }>;
    if (in.has("notanumber"))
        return test_lanes<T, [](T a) { return a != a; }>;
    if (in.has("normal"))
        return test_lanes<T, [](T a) { return a == 0 || std::isnormal(a); }>; // zeros are, to PTX
    if (in.has("subnormal"))
        return test_lanes<T, [](T a) { return a != 0 && std::isfinite(a) && !std::isnormal(a); }>;
    not_implemented(in);
}
Choice choose_testp(const Instruction &in) {
    Type type = in.type();
    return {type == Type::f64 ? test_of<double>(in) : test_of<float>(in), Type::pred, {type}, 0, 0};
}

const std::map<std::string_view, Selector> &table() {
    static const std::map<std::string_view, Selector> rows = {
        {"setp", choose_setp},
        {"set", choose_set},
        {"selp", choose_selp},
        {"testp", choose_testp},
        {"mov", [](const Instruction &) { return predicate_choice<Logic::mov>(); }},
        {"and", [](const Instruction &) { return predicate_choice<Logic::and_>(); }},
        {"or", [](const Instruction &) { return predicate_choice<Logic::or_>(); }},
        {"xor", [](const Instruction &) { return predicate_choice<Logic::xor_>(); }},
        {"not", [](const Instruction &) { return predicate_choice<Logic::not_>(); }},
    };
    return rows;
}

} // namespace

Choice choose_comparison(const Instruction &in) {
    return choose_from(table(), in);
}

} // namespace soft
