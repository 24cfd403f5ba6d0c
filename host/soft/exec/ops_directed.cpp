// Arithmetic rounded towards zero, down or up.
#include "lanes.hpp"
#include "rounding.hpp"
#include "rounds.hpp"
#include "select.hpp"

namespace soft {

using ptx::Instruction;
using ptx::Type;

namespace {

enum class Arithmetic { add, sub, mul, fma, div, rcp, sqrt };

template <Arithmetic A, class F> F calculate(F a, F b, F c) {
    switch (A) {
    case Arithmetic::add:
        return a + b;
    case Arithmetic::sub:
        return a - b;
    case Arithmetic::mul:
        return a * b;
    case Arithmetic::fma:
        return std::fma(a, b, c);
    case Arithmetic::div:
        return a / b;
    case Arithmetic::rcp:
        return F(1) / a;
    case Arithmetic::sqrt:
        return std::sqrt(a);
    }
    __builtin_unreachable();
}

template <Arithmetic A, class F> void directed_lanes(Warp &w, const Op &op) {
    auto *d = w.slot<word_t<F>>(op.dst);
    const auto *a = w.slot<word_t<F>>(op.a), *b = w.slot<word_t<F>>(op.b), *c = w.slot<word_t<F>>(op.c);
    const Rounds rounds(static_cast<int>(op.immediate & round_bits));
    each_lane(w.exec, [&](unsigned i) {
        // volatile: the arithmetic must stay between the two changes of the rounding mode
        volatile F x = from_word<F>(a[i]), y = from_word<F>(b[i]), z = from_word<F>(c[i]);
        F p = x, q = y, s = z;
        if constexpr (sizeof(F) == 4)
            if (op.immediate & flushing)
                p = flush(p), q = flush(q), s = flush(s);
        volatile F r = calculate<A, F>(p, q, s);
        F result = r;
        if constexpr (sizeof(F) == 4) {
            if (op.immediate & flushing)
                result = flush(result);
            if (op.immediate & saturating)
                result = saturate(result);
        }
        d[i] = to_word<F>(result);
    });
}

template <Arithmetic A> Choice directed_for(const Instruction &in, unsigned sources) {
    Type type = in.type();
    Choice choice{type == Type::f64 ? directed_lanes<A, double> : directed_lanes<A, float>,
                  type,
                  {type},
                  0,
                  mode_of(in)};
    for (unsigned i = 1; i < sources; ++i)
        choice.sources[i] = type;
    return choice;
}

} // namespace

Choice directed_choice(const Instruction &in) {
    Type type = in.type();
    if (type != Type::f32 && type != Type::f64)
        not_implemented(in);
    if (in.opcode == "add")
        return directed_for<Arithmetic::add>(in, 2);
    if (in.opcode == "sub")
        return directed_for<Arithmetic::sub>(in, 2);
    if (in.opcode == "mul")
        return directed_for<Arithmetic::mul>(in, 2);
    if (in.opcode == "fma" || in.opcode == "mad")
        return directed_for<Arithmetic::fma>(in, 3);
    if (in.opcode == "div")
        return directed_for<Arithmetic::div>(in, 2);
    if (in.opcode == "rcp")
        return directed_for<Arithmetic::rcp>(in, 1);
    if (in.opcode == "sqrt")
        return directed_for<Arithmetic::sqrt>(in, 1);
    not_implemented(in);
}

} // namespace soft
