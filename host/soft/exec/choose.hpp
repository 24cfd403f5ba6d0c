// Handlers of the plain form by their C++ types: what the arithmetic rooms build their choices from.
#pragma once

#include "lanes.hpp"
#include "select.hpp"

#include <map>

namespace soft {

using u16 = std::uint16_t;
using u32 = std::uint32_t;
using u64 = std::uint64_t;
using s16 = std::int16_t;
using s32 = std::int32_t;
using s64 = std::int64_t;

template <class T> constexpr ptx::Type type_of() {
    if constexpr (std::is_same_v<T, u16>)
        return ptx::Type::u16;
    else if constexpr (std::is_same_v<T, s16>)
        return ptx::Type::s16;
    else if constexpr (std::is_same_v<T, u32>)
        return ptx::Type::u32;
    else if constexpr (std::is_same_v<T, s32>)
        return ptx::Type::s32;
    else if constexpr (std::is_same_v<T, u64>)
        return ptx::Type::u64;
    else if constexpr (std::is_same_v<T, s64>)
        return ptx::Type::s64;
    else if constexpr (std::is_same_v<T, f16>)
        return ptx::Type::f16;
    else if constexpr (std::is_same_v<T, bf16>)
        return ptx::Type::bf16;
    else if constexpr (std::is_same_v<T, float>)
        return ptx::Type::f32;
    else if constexpr (std::is_same_v<T, double>)
        return ptx::Type::f64;
    else
        static_assert(!sizeof(T), "no PTX type");
}

template <class D, class A, auto F> Choice one() {
    return {unary<D, A, F>, type_of<D>(), {type_of<A>()}, 0, 0};
}
template <class D, class A, class B, auto F> Choice two() {
    return {binary<D, A, B, F>, type_of<D>(), {type_of<A>(), type_of<B>()}, 0, 0};
}
template <class D, class A, class B, class C, auto F> Choice three() {
    return {ternary<D, A, B, C, F>, type_of<D>(), {type_of<A>(), type_of<B>(), type_of<C>()}, 0, 0};
}

template <class T> struct of {
    using type = T;
};

/// Calls make(of<T>) with the integer type the instruction ends in.
template <class M> Choice integer(const ptx::Instruction &in, ptx::Type type, M make) {
    switch (type) {
    case ptx::Type::u16:
    case ptx::Type::b16:
        return make(of<u16>());
    case ptx::Type::s16:
        return make(of<s16>());
    case ptx::Type::u32:
    case ptx::Type::b32:
        return make(of<u32>());
    case ptx::Type::s32:
        return make(of<s32>());
    case ptx::Type::u64:
    case ptx::Type::b64:
        return make(of<u64>());
    case ptx::Type::s64:
        return make(of<s64>());
    default:
        not_implemented(in);
    }
}

template <class T> using u_ = std::make_unsigned_t<T>;

using Selector = Choice (*)(const ptx::Instruction &);

/// The row of the instruction's opcode, applied to it.
inline Choice choose_from(const std::map<std::string_view, Selector> &rows, const ptx::Instruction &in) {
    auto row = rows.find(in.opcode);
    if (row == rows.end())
        not_implemented(in);
    return row->second(in);
}

} // namespace soft
