// Accesses to memory, each where no other thread writes at that time.
#include "generator.hpp"

namespace random_program {

Operand Generator::scaled(std::vector<Instruction> &code, Operand base, Operand index, u64 scale,
                          int &offset) {
    const Operand wide = reg('d', wide_temp()), sum = reg('d', wide_temp()), word = reg('r', temp());
    const int shift = pick({0, 16, 112, -64, 0x20000000});
    switch (to(5)) {
    case 0:
        code.push_back(compute("mad.wide.u32 $0, $1, $2, $3;", {sum, index, constant('r', scale), base},
                               [](const u64 *x) { return x[0] * x[1] + x[2]; }));
        return sum;
    case 1:
        code.push_back(
            compute("mul.wide.s32 $0, $1, $2;", {wide, index, constant('r', scale)}, [](const u64 *x) {
                return static_cast<u64>(static_cast<s64>(static_cast<s32>(x[0])) * static_cast<s32>(x[1]));
            }));
        break;
    case 2: // less than it is for a moment: extended with its sign, and brought back by the access
        code.push_back(compute(
            "mad.lo.s32 $0, $1, $2, $3;",
            {word, index, constant('r', scale), constant('r', static_cast<u64>(static_cast<s64>(-shift)))},
            [](const u64 *x) { return x[0] * x[1] + x[2]; }));
        code.push_back(compute("cvt.s64.s32 $0, $1;", {wide, word}, [](const u64 *x) {
            return static_cast<u64>(static_cast<s64>(static_cast<s32>(x[0])));
        }));
        offset += shift;
        break;
    case 3:
        code.push_back(compute("mul.lo.s32 $0, $1, $2;", {word, index, constant('r', scale)},
                               [](const u64 *x) { return x[0] * x[1]; }));
        code.push_back(compute("cvt.u64.u32 $0, $1;", {wide, word}, [](const u64 *x) { return x[0]; }));
        break;
    default: {
        const Operand first = reg('d', wide_temp());
        code.push_back(compute("cvt.u64.u32 $0, $1;", {first, index}, [](const u64 *x) { return x[0]; }));
        code.push_back(compute("mul.lo.s64 $0, $1, $2;", {wide, first, constant('d', scale)},
                               [](const u64 *x) { return x[0] * x[1]; }));
    }
    }
    code.push_back(compute(one_in(2) ? "add.s64 $0, $1, $2;" : "add.u64 $0, $2, $1;", {sum, base, wide},
                           [](const u64 *x) { return x[0] + x[1]; }));
    return sum;
}

Operand Generator::base_of(std::vector<Instruction> &code, Space space, const char *variable, int offset,
                           bool generic) {
    const Operand at = reg('d', wide_temp());
    Instruction in = make_instruction(Kind::address, "", {at}, 1);
    const std::string name = variable;
    in.space = space;
    in.offset = offset;
    in.generic = generic;
    in.text = "mov.u64 $0, " + name + ";";
    if (generic)
        in.text += std::string(" cvta.") + (space == Space::shared ? "shared" : "local") + ".u64 $0, $0;";
    code.push_back(in);
    return at;
}

Generator::Address Generator::own(std::vector<Instruction> &code, int bytes) {
    Address address;
    const Places places(program_.shape.threads());
    const Operand thread = reg('r', r_thread);
    address.space = program_.shared && one_in(3)  ? Space::shared
                    : program_.local && one_in(3) ? Space::local
                                                  : Space::global;
    address.generic = address.space != Space::global ? one_in(4) : one_in(3);
    if (address.space == Space::global && one_in(2)) { // side by side
        const u32 threads = program_.shape.threads(),
                  begin = places.side_of(static_cast<u32>(bytes), threads);
        Operand index = thread;
        if (one_in(2)) {
            const Operand slot = reg('r', temp()), sum = reg('r', temp());
            and_into(code, slot, source('r'), side_slots - 1);
            code.push_back(compute("mad.lo.s32 $0, $1, $2, $3;", {sum, slot, constant('r', threads), thread},
                                   [](const u64 *x) { return x[0] * x[1] + x[2]; }));
            index = sum;
        }
        address.offset = static_cast<int>(begin);
        address.at = scaled(code, reg('d', d_block), index, static_cast<u64>(bytes), address.offset);
        return address;
    }
    const u32 room = address.space == Space::shared  ? 32
                     : address.space == Space::local ? local_bytes
                                                     : row_bytes;
    const u64 places_of = room / static_cast<u32>(bytes);
    Operand base = address.space == Space::global
                       ? reg('d', d_block)
                       : base_of(code, address.space, address.space == Space::shared ? "own" : "mine", 0,
                                 address.generic);
    if (address.space != Space::local)
        base = scaled(code, base, thread, room, address.offset);
    if (one_in(2)) {
        address.offset += static_cast<int>(below(places_of)) * bytes;
    } else {
        const Operand part = reg('r', temp());
        and_into(code, part, source('r'), places_of - 1);
        base = scaled(code, base, part, static_cast<u64>(bytes), address.offset);
    }
    address.at = base;
    shorten(code, address);
    return address;
}

void Generator::shorten(std::vector<Instruction> &code, Address &address) {
    if (address.space == Space::global || address.generic || one_in(2))
        return;
    const Operand word = reg('r', temp());
    if (address.offset != 0) {
        const Operand sum = reg('d', wide_temp());
        code.push_back(compute("add.s64 $0, $1, $2;",
                               {sum, address.at, constant('d', static_cast<u64>(address.offset & ~15))},
                               [](const u64 *x) { return x[0] + x[1]; }));
        address.at = sum;
        address.offset &= 15;
    }
    code.push_back(compute("cvt.u32.u64 $0, $1;", {word, address.at}, [](const u64 *x) { return x[0]; }));
    address.at = word;
}

Generator::Address Generator::common(std::vector<Instruction> &code, int bytes) {
    Address address;
    const bool handed = program_.shared && in_kernel_ && one_in(2);
    u64 room = handed ? std::bit_floor(program_.shape.threads()) * exchange_bytes : input_bytes;
    Operand base = reg('d', d_input);
    if (handed) {
        address.space = Space::shared;
        address.generic = one_in(4);
        base = base_of(code, Space::shared, "handed", static_cast<int>(program_.shape.threads() * 32 + 64),
                       address.generic);
    } else {
        address.readable_only = true;
        address.generic = one_in(3);
    }
    const Operand part = reg('r', temp());
    if (!handed && in_kernel_ && !uniform_only_ && one_in(2)) { // by the thread's number alone
        const u64 scale = static_cast<u64>(pick({1, 2, 3})) * static_cast<u64>(bytes);
        address.offset = static_cast<int>(below(16)) * bytes;
        address.at =
            scaled(code, base, one_in(2) ? reg('r', r_thread) : reg('r', r_lane), scale, address.offset);
        return address;
    }
    and_into(code, part, source('r'), room / static_cast<u64>(bytes) - 1);
    address.at = scaled(code, base, part, static_cast<u64>(bytes), address.offset);
    shorten(code, address);
    return address;
}

Generator::Width Generator::width() {
    static constexpr Width all[] = {
        {"b32", 'r', 4, 1, false}, {"b32", 'r', 4, 1, false}, {"b32", 'r', 4, 2, false},
        {"b32", 'r', 4, 4, false}, {"b64", 'd', 8, 1, false}, {"b64", 'd', 8, 2, false},
        {"b16", 'h', 2, 1, false}, {"b16", 'h', 2, 2, false}, {"u16", 'h', 2, 1, false},
        {"b16", 'h', 2, 4, false}, {"u8", 'r', 1, 1, false},  {"s8", 'r', 1, 1, true},
        {"s16", 'r', 2, 1, true},  {"u16", 'r', 2, 1, false}, {"u8", 'h', 1, 1, false},
        {"s8", 'h', 1, 1, true},   {"s32", 'd', 4, 1, true},  {"u8", 'r', 1, 4, false},
        {"u8", 'd', 1, 1, false}};
    Width chosen = all[below(std::size(all))];
    if (uniform_only_)
        chosen = all[0];
    return chosen;
}

std::string Generator::space_name(const Address &address) {
    if (address.generic)
        return "";
    return address.space == Space::global ? ".global" : address.space == Space::shared ? ".shared" : ".local";
}

Instruction Generator::access(const Address &address, bool loads, const Width &wanted) {
    Instruction in;
    in.kind = loads ? Kind::load : Kind::store;
    in.space = address.space;
    in.generic = address.generic;
    in.bytes = wanted.bytes;
    in.sign = wanted.sign;
    in.offset = address.offset;
    std::string list;
    for (int i = 0; i < wanted.count; ++i) {
        Operand operand = loads ? result(wanted.kind) : source(upper(wanted.kind));
        if (loads)
            while (std::any_of(in.operands.begin(), in.operands.end(),
                               [&](const Operand &o) { return o.index == operand.index; }))
                operand = result(wanted.kind);
        in.operands.push_back(operand);
        list += (i ? ", $" : "$") + std::to_string(loads ? i : i + 1);
    }
    if (wanted.count > 1)
        list = "{" + list + "}";
    in.results = loads ? wanted.count : 0;
    in.operands.insert(loads ? in.operands.end() : in.operands.begin(), address.at);
    const std::string at = "[$" + std::to_string(loads ? wanted.count : 0) + (address.offset < 0 ? "" : "+") +
                           std::to_string(address.offset) + "]";
    const std::string how = std::string(loads ? "ld" : "st") + (one_in(12) ? ".volatile" : "") +
                            space_name(address) +
                            (loads && address.readable_only && !address.generic && one_in(3) ? ".nc" : "");
    const std::string type =
        (wanted.count > 1 ? ".v" + std::to_string(wanted.count) : "") + "." + wanted.type + " ";
    std::string name = how;
    if (name.find("volatile") != std::string::npos && name.find(".nc") != std::string::npos)
        name.erase(name.find(".volatile"), 9);
    in.text = name + type + (loads ? list + ", " + at : at + ", " + list) + ";";
    guard(in);
    return in;
}

void Generator::touches_memory(std::vector<Instruction> &code) {
    const bool loads = !in_kernel_ || one_in(2);
    if (loads && one_in(5)) { // two that make a word
        Address address = common(code, 4);
        Instruction first = access(address, true, {"u16", 'h', 2, 1, false}), second;
        address.offset += 2;
        do
            second = access(address, true, {"u16", 'h', 2, 1, false});
        while (second.operands[0].index == first.operands[0].index);
        const Operand low = first.operands[0], high = second.operands[0];
        code.push_back(first);
        code.push_back(second);
        code.push_back(compute("mov.b32 $0, {$1, $2};", {result('r'), low, high},
                               [](const u64 *x) { return x[0] | x[1] << 16; }));
        return;
    }
    const Width wanted = width();
    const int bytes = wanted.bytes * wanted.count;
    const Address address = loads && (!in_kernel_ || one_in(2)) ? common(code, bytes) : own(code, bytes);
    Instruction in = access(address, loads, wanted);
    if (loads && in.results == 1 && in.guard < 0) {
        in.operands[0] = fresh(wanted.kind);
        let_see(in.operands[0]);
    }
    code.push_back(std::move(in));
}

void Generator::atomic(std::vector<Instruction> &code) {
    const bool alone = one_in(2);
    const std::size_t which = below(alone ? std::size(atomic_rows) : order_free);
    const AtomicRow &row = atomic_rows[which];
    const std::string type = row.type;
    const bool wide = type.ends_with("64"), cas = std::string(row.name) == "cas";
    const char kind = wide ? 'd' : 'r';
    Instruction in = make_instruction(Kind::atomic, "", {}, 0);
    in.bytes = wide ? 8 : 4;
    in.update = row.update;
    Address address;
    if (alone) {
        do {
            code.clear();
            address = own(code, in.bytes);
        } while (address.space == Space::local);
    } else if (program_.shared && which == 0 && one_in(2)) {
        address.space = Space::shared;
        const Operand part = reg('r', temp());
        and_into(code, part, source('r'), 7);
        address.offset = static_cast<int>(program_.shape.threads() * 32);
        address.at = scaled(code, base_of(code, Space::shared, "own", 0, false), part, 4, address.offset);
    } else { // words of this operation's own, alike for many lanes or not
        address.offset = static_cast<int>(which) * 32;
        const Operand part = reg('r', temp());
        and_into(code, part, one_in(2) ? reg('r', r_uniform + to(3)) : source('r'), 3);
        address.at = scaled(code, reg('d', d_common), part, 8, address.offset);
    }
    in.space = address.space;
    in.generic = address.generic;
    in.offset = address.offset;
    const bool gives = alone && (cas || !one_in(3) || which >= order_free);
    if (gives) {
        in.results = 1;
        in.operands.push_back(result(kind));
    }
    in.operands.push_back(address.at);
    in.operands.push_back(source(kind));
    if (cas)
        in.operands.push_back(source(kind));
    std::string list;
    for (std::size_t i = static_cast<std::size_t>(in.results) + 1; i < in.operands.size(); ++i)
        list += ", $" + std::to_string(i);
    const std::string at = "[$" + std::to_string(in.results) + (address.offset < 0 ? "" : "+") +
                           std::to_string(address.offset) + "]";
    in.text = std::string(gives ? "atom" : "red") + space_name(address) + "." + row.name + "." + type +
              (gives ? " $0, " : " ") + at + list + ";";
    guard(in);
    code.push_back(std::move(in));
}

void Generator::goes_wrong(std::vector<Instruction> &code) {
    bad_ = false;
    const Operand p = condition(code);
    Instruction in;
    if (one_in(4)) {
        in = make_instruction(Kind::trap, "trap;", {}, 0);
    } else {
        Address address;
        int bytes = pick({4, 8});
        if (one_in(2)) {
            address.at =
                scaled(code, reg('d', d_bad), reg('r', r_lane), static_cast<u64>(bytes), address.offset);
            address.generic = one_in(2);
        } else {
            address = own(code, bytes);
            if (address.space == Space::global || address.generic || one_in(2))
                address.offset += pick({1, 2});
            else
                address.offset += 1 << 20;
        }
        const bool loads = one_in(2);
        const auto before = guards_;
        guards_ = 1u << 30;
        in = access(address, loads, {bytes == 4 ? "b32" : "b64", bytes == 4 ? 'r' : 'd', bytes, 1, false});
        guards_ = before;
    }
    if (!one_in(4)) {
        in.guard = p.index;
        in.guard_negated = one_in(2);
    }
    code.push_back(std::move(in));
}

} // namespace random_program
