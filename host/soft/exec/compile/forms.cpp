#include "forms.hpp"

#include "analysis.hpp"
#include "emitter.hpp"

#include "../control.hpp"

#include <algorithm>
#include <bit>
#include <limits>
#include <string_view>

namespace soft {

namespace {

using ptx::Instruction;

constexpr std::int64_t int_min = std::numeric_limits<std::int32_t>::min();
constexpr std::int64_t int_max = std::numeric_limits<std::int32_t>::max();
constexpr std::int64_t far = std::int64_t{1} << 40; // ranges beyond this are given up

unsigned trailing_zeros(std::uint64_t bits) {
    return bits == 0 ? 64 : static_cast<unsigned>(std::countr_zero(bits));
}

/// Offsets as they count for a register of 32 or 64 bits.
Form normal(Form form, bool wide) {
    if (!wide)
        for (std::int64_t &offset : form.offsets)
            offset = static_cast<std::int32_t>(offset);
    const bool fits =
        wide ? -far < form.least && form.most < far : int_min <= form.least && form.most <= int_max;
    if (!fits)
        form.least = 0, form.most = -1;
    return form;
}

template <class F> Form map_offsets(Form form, F f) {
    for (std::int64_t &offset : form.offsets)
        offset = f(offset);
    return form;
}

template <class F> Form with_range(Form form, const Form &a, F f) {
    form.least = 0, form.most = -1;
    if (a.ranged())
        form.least = f(a.least), form.most = f(a.most);
    return form;
}

Form add(const Form &a, const Form &b, bool minus) {
    Form form = Form::of_uniform();
    for (unsigned i = 0; i < lanes; ++i)
        form.offsets[i] = minus ? a.offsets[i] - b.offsets[i] : a.offsets[i] + b.offsets[i];
    form.zeros = std::min(a.zeros, b.zeros);
    if (a.ranged() && b.ranged()) {
        form.least = a.least + (minus ? -b.most : b.least);
        form.most = a.most + (minus ? -b.least : b.most);
    }
    return form;
}

Form times(const Form &a, std::int64_t factor) {
    Form form = map_offsets(a, [&](std::int64_t x) {
        return static_cast<std::int64_t>(static_cast<std::uint64_t>(x) * static_cast<std::uint64_t>(factor));
    });
    form.zeros = std::min(64u, a.zeros + trailing_zeros(static_cast<std::uint64_t>(factor)));
    form.least = 0, form.most = -1;
    constexpr std::int64_t small = std::int64_t{1} << 31;
    if (a.ranged() && -small <= factor && factor <= small && -small <= a.least && a.most <= small) {
        form.least = std::min(a.least * factor, a.most * factor);
        form.most = std::max(a.least * factor, a.most * factor);
    }
    return form;
}

Form extended(const Form &a, bool is_signed) {
    Form form = a;
    if (!a.ranged() || (!is_signed && a.least < 0)) {
        form.least = is_signed ? int_min : 0;
        form.most = is_signed ? int_max : 0xffffffffll;
    }
    return form;
}

/// Shifted right by less than its width.
Form shifted(const Form &a, unsigned count, bool is_signed) {
    if (!a.disjoint())
        return a.uniform() ? Form::of_uniform() : Form::varying();
    Form form = map_offsets(a, [&](std::int64_t x) { return x >> count; });
    form.zeros = a.zeros > count ? a.zeros - count : 0;
    form.least = 0, form.most = -1;
    if (a.ranged() && (is_signed || a.least >= 0))
        form.least = a.least >> count, form.most = a.most >> count;
    if (form.least == 0 && form.most == 0) { // all of it is gone
        form.zeros = 64;
        form.offsets = {};
    }
    return form;
}

/// and, or, xor of what has no carries with bits that are known.
Form with_bits(const Form &a, std::string_view name, std::uint64_t bits) {
    if (!a.disjoint())
        return Form::varying();
    if (a.uniform() && name != "and") { // all of it in the base
        Form form = Form::of_uniform();
        form.zeros = std::min(a.zeros, trailing_zeros(bits));
        return form;
    }
    const std::uint64_t low = a.zeros >= 64 ? ~0ull : (1ull << a.zeros) - 1;
    Form form = map_offsets(a, [&](std::int64_t x) {
        const auto word = static_cast<std::uint64_t>(x);
        return static_cast<std::int64_t>(name == "and"  ? word & bits
                                         : name == "or" ? word | (bits & low)
                                                        : word ^ (bits & low));
    });
    form.least = 0, form.most = -1;
    if (name == "and")
        form.zeros = std::max(a.zeros, trailing_zeros(bits));
    if (name == "and" && static_cast<std::int64_t>(bits) >= 0 && bits <= 0x7fffffff)
        form.least = 0, form.most = static_cast<std::int64_t>(bits);
    return form;
}

/// `or` of numbers whose bits lie apart.
Form merged(const Form &a, const Form &b) {
    if (!a.disjoint() || !b.uniform() || a.largest() >> std::min(62u, b.zeros) != 0)
        return Form::varying();
    Form form = a;
    form.zeros = std::min(a.zeros, b.zeros);
    form.least = 0, form.most = -1;
    return form;
}

struct Operand {
    const Form &form;
    bool constant;
    std::uint64_t bits; // of a constant
    std::int64_t number(bool is_signed) const {
        return is_signed ? static_cast<std::int32_t>(bits) : static_cast<std::int64_t>(bits & 0xffffffff);
    }
};

Form integer_form(const Instruction &in, const Operand &a, const Operand &b, const Operand &c, bool wide) {
    const std::string &name = in.opcode;
    const unsigned bits = 8 * ptx::size_of(in.type());
    const bool is_signed = ptx::is_signed(in.type());
    if (bits < 32 || in.has("hi"))
        return Form::varying();
    if (name == "neg" || name == "not") { // -1 - x
        Form zero = Form::of_uniform();
        zero.zeros = name == "neg" ? 64 : 0;
        zero.least = zero.most = name == "neg" ? 0 : -1;
        return add(zero, a.form, true);
    }
    if (name == "add" || name == "sub")
        return add(a.form, b.form, name == "sub");
    if (name == "mul" || name == "mad") {
        const Operand &factor = a.constant ? a : b, &other = a.constant ? b : a;
        Form product = Form::of_uniform();
        if (factor.constant)
            product = in.has("wide") ? times(extended(other.form, is_signed), factor.number(is_signed))
                                     : times(other.form, bits == 32 ? static_cast<std::int32_t>(factor.bits)
                                                                    : static_cast<std::int64_t>(factor.bits));
        else if (!a.form.uniform() || !b.form.uniform())
            return Form::varying();
        return name == "mul" ? product : add(normal(product, wide), c.form, false);
    }
    if (name == "shl" || name == "shr") {
        if (!b.constant || b.bits >= bits)
            return Form::varying();
        const auto count = static_cast<unsigned>(b.bits);
        return name == "shr" ? shifted(a.form, count, is_signed)
                             : times(a.form, static_cast<std::int64_t>(1ull << count));
    }
    if (name == "and" || name == "or" || name == "xor") {
        const Operand &mask = a.constant ? a : b, &other = a.constant ? b : a;
        const auto word =
            bits == 32 ? static_cast<std::uint64_t>(static_cast<std::int32_t>(mask.bits)) : mask.bits;
        if (mask.constant)
            return with_bits(other.form, name, word);
        if (name == "or")
            return a.form.uniform() ? merged(b.form, a.form) : merged(a.form, b.form);
    }
    return Form::varying();
}

bool same_offsets(const Form &a, const Form &b) {
    return a.alike() && b.alike() && a.offsets == b.offsets;
}

} // namespace

bool small(const Offsets &offsets) {
    return std::all_of(offsets.begin(), offsets.end(),
                       [](std::int64_t x) { return -(1 << 30) < x && x < (1 << 30); });
}

bool consecutive(const Offsets &offsets, unsigned size) {
    for (unsigned i = 0; i < lanes; ++i)
        if (offsets[i] != offsets[0] + static_cast<std::int64_t>(i) * size)
            return false;
    return true;
}

bool Form::disjoint() const {
    return alike() && smallest() >= 0 && (zeros >= 62 || largest() >> zeros == 0);
}
std::int64_t Form::smallest() const {
    return *std::min_element(offsets.begin(), offsets.end());
}
std::int64_t Form::largest() const {
    return *std::max_element(offsets.begin(), offsets.end());
}

Form Form::of_constant(const Value &value) {
    Form form = of_uniform();
    form.zeros = trailing_zeros(value.bits);
    form.least = form.most =
        value.wide ? static_cast<std::int64_t>(value.bits) : static_cast<std::int32_t>(value.bits);
    return normal(form, value.wide);
}

Form Form::of_special(Special which, bool whole_rows) {
    Form form = of_uniform();
    auto counts = [&](std::int64_t most) {
        form.least = 0, form.most = most;
        return form;
    };
    auto consecutive = [&](std::int64_t most) {
        for (unsigned i = 0; i < lanes; ++i)
            form.offsets[i] = i;
        form.zeros = 5;
        return counts(most);
    };
    switch (which) {
    case Special::tid_x:
        return whole_rows ? consecutive(1023) : varying();
    case Special::laneid:
        consecutive(31);
        form.zeros = 64;
        return form;
    case Special::tid_y:
    case Special::tid_z:
        return whole_rows ? counts(1023) : varying();
    case Special::ntid_x:
    case Special::ntid_y:
    case Special::ntid_z:
    case Special::warpid:
    case Special::nwarpid:
        return counts(1024);
    case Special::ctaid_x:
    case Special::ctaid_y:
    case Special::ctaid_z:
    case Special::nctaid_x:
    case Special::nctaid_y:
    case Special::nctaid_z:
        return counts(int_max);
    case Special::lanemask_eq:
    case Special::lanemask_le:
    case Special::lanemask_lt:
    case Special::lanemask_ge:
    case Special::lanemask_gt:
        return varying();
    default:
        return form;
    }
}

Extension extension_of(const Form &form, bool is_signed) {
    const bool within =
        form.ranged() && form.least - form.largest() >= int_min && form.most - form.smallest() <= int_max;
    if (form.uniform() || form.disjoint())
        return is_signed ? Extension::exact_signed : Extension::exact_unsigned;
    if (within && (is_signed || form.least >= 0))
        return Extension::exact_signed;
    return is_signed ? Extension::checked_signed : Extension::checked_unsigned;
}

Form result_form(const Source &source, std::uint32_t i, const Forms &forms, bool scalar) {
    const Draft &draft = source.drafts[i];
    const References refs = references(source, i);
    auto uniform = [&](std::uint32_t v) { return v == 0 || forms[v].uniform(); };
    auto all_uniform = [&](const std::vector<std::uint32_t> &list) {
        return std::all_of(list.begin(), list.end(), uniform);
    };
    auto fixed_uniform = [&](std::uint32_t v) { // as uses and defines have slots only
        return source.values[v].kind == Value::Kind::slot || uniform(v);
    };
    const bool one = scalar && all_uniform(refs.uses) &&
                     std::all_of(draft.list.begin(), draft.list.end(), fixed_uniform) &&
                     uniform(draft.op.a) && uniform(draft.op.b) && (draft.raw_c || uniform(draft.op.c)) &&
                     (draft.raw_predicate || refs.defines_predicate || uniform(draft.op.predicate));
    auto operand = [&](std::uint32_t v) {
        const bool constant = source.values[v].kind == Value::Kind::constant;
        return Operand{forms[v], constant, source.values[v].bits};
    };
    const std::uint32_t to = draft.op.dst;
    const bool wide = source.values[to].wide;
    const Native native = native_form(source, i);
    Form form = Form::varying();
    const bool guard_alike = draft.op.run != run_guarded || forms[draft.op.guard].uniform();
    if (!guard_alike)
        return form;
    const Operand a = operand(draft.op.a);
    switch (native) {
    case Native::copy:
        form = a.form;
        break;
    case Native::narrow:
        form = a.form;
        form.least = 0, form.most = -1;
        break;
    case Native::widen:
    case Native::widen_signed:
        form = extended(a.form, native == Native::widen_signed);
        break;
    case Native::window:
        form = a.form;
        form.zeros = 0;
        form.least = 0, form.most = -1;
        break;
    case Native::integer:
        if (a.form.alike() && forms[draft.op.b].alike() && forms[draft.op.c].alike())
            form = integer_form(source.instructions[static_cast<std::size_t>(draft.instruction)], a,
                                operand(draft.op.b), operand(draft.op.c), wide);
        break;
    case Native::convert: {
        const Instruction &in = source.instructions[static_cast<std::size_t>(draft.instruction)];
        const ptx::Type target = in.type(1), from = in.type();
        if (ptx::is_float(target) || ptx::is_float(from) || ptx::size_of(target) < 4 ||
            ptx::size_of(from) < 4)
            break;
        if (ptx::size_of(target) == ptx::size_of(from)) {
            form = a.form;
        } else if (ptx::size_of(target) == 8) {
            form = extended(a.form, ptx::is_signed(from));
        } else {
            form = a.form;
            form.least = 0, form.most = -1;
        }
        break;
    }
    case Native::select:
        if (uniform(draft.op.predicate) && same_offsets(a.form, forms[draft.op.b])) {
            form = a.form;
            form.zeros = std::min(form.zeros, forms[draft.op.b].zeros);
            form.least = 0, form.most = -1;
        }
        break;
    default:
        break;
    }
    if (!form.alike() && one)
        return Form::of_uniform();
    return form.alike() ? normal(form, wide) : form;
}

} // namespace soft
