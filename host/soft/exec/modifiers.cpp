#include "modifiers.hpp"

#include "select.hpp"

#include <algorithm>

namespace soft {

using ptx::Instruction;
using ptx::Type;

namespace {

constexpr std::string_view compared =
    "eq ne lt le gt ge equ neu ltu leu gtu geu num nan lo ls hi hs and or xor ftz";
constexpr std::string_view loaded = "global const shared local param volatile relaxed acquire weak mmio cta "
                                    "cluster gpu sys nc v2 v4 v8 ca cg "
                                    "cs lu cv";
constexpr std::string_view stored = "global shared local param volatile relaxed release weak mmio cta "
                                    "cluster gpu sys v2 v4 v8 wb cg cs wt";
constexpr std::string_view summed =
    "global shared relaxed release cta cluster gpu sys add inc dec min max and or xor "
    "noftz v2 v4 v8";
constexpr std::string_view counted = "global shared relaxed acquire release acq_rel cta cluster gpu sys add "
                                     "inc dec min max and or xor exch cas noftz v2 v4 v8";

bool is_word_of(std::string_view list, std::string_view word) {
    for (std::size_t at = 0; at < list.size();) {
        const std::size_t end = std::min(list.find(' ', at), list.size());
        if (list.substr(at, end - at) == word)
            return true;
        at = end + 1;
    }
    return false;
}

} // namespace

const std::map<std::string_view, std::string_view> &known_modifiers() {
    static const std::map<std::string_view, std::string_view> known = {
        {"abs", "ftz"},
        {"activemask", ""},
        {"add", "rn rz rm rp ftz sat cc u16x2 s16x2"},
        {"addc", "cc"},
        {"and", ""},
        {"atom", counted},
        {"applypriority", "global"},
        {"bar", "sync arrive red cta and or popc warp"},
        {"barrier", "sync arrive red aligned cta and or popc cluster wait release relaxed acquire"},
        {"bfe", ""},
        {"bfi", ""},
        {"bfind", "shiftamt"},
        {"bmsk", "clamp wrap"},
        {"bra", "uni"},
        {"brx", "idx uni"},
        {"brev", ""},
        {"brkpt", ""},
        {"call", "uni"},
        {"clz", ""},
        {"cnot", ""},
        {"copysign", ""},
        {"cos", "approx ftz"},
        {"cp", "async ca cg shared global commit_group wait_group wait_all mbarrier arrive noinc bulk "
               "mbarrier::complete_tx::bytes bulk_group read prefetch reduce L2 add min max inc dec and or "
               "xor noftz"},
        {"createpolicy", "range fractional cvt global L2"},
        {"cvt", "rn rz rm rp rni rzi rmi rpi rna ftz sat relu satfinite pack"},
        {"cvta", "to global const shared local param"},
        {"div", "approx full rn rz rm rp ftz"},
        {"dp2a", "lo hi"},
        {"discard", "global L2"},
        {"dp4a", ""},
        {"elect", "sync"},
        {"ex2", "approx ftz"},
        {"exit", ""},
        {"fence",
         "cta gpu sys sc acq_rel acquire release cluster proxy async mbarrier_init shared global alias "
         "tensormap::generic sync_restrict::shared::cta sync_restrict::shared::cluster"},
        {"fma", "rn rz rm rp ftz sat relu"},
        {"fns", ""},
        {"getctarank", "shared"},
        {"griddepcontrol", "launch_dependents wait"},
        {"isspacep", "global const shared local param"},
        {"ld", loaded},
        {"ldmatrix", "sync aligned m8n8 x1 x2 x4 trans shared"},
        {"ldu", "global v2 v4"},
        {"lg2", "approx ftz"},
        {"lop3", "and or"},
        {"mad", "lo hi wide rn rz rm rp ftz sat cc"},
        {"mad24", "lo hi sat"},
        {"mapa", "shared"},
        {"madc", "lo hi cc"},
        {"match", "any all sync"},
        {"max", "ftz NaN xorsign abs relu u16x2 s16x2"},
        {"mbarrier",
         "init inval arrive arrive_drop expect_tx complete_tx test_wait try_wait parity pending_count "
         "noComplete shared cta cluster acquire release relaxed"},
        {"membar", "cta gl sys proxy alias async"},
        {"min", "ftz NaN xorsign abs relu u16x2 s16x2"},
        {"mma", "sync aligned m8n8k4 m8n8k16 m8n8k32 m8n8k128 m16n8k4 m16n8k8 m16n8k16 m16n8k32 m16n8k64 "
                "m16n8k128 m16n8k256 row col satfinite xor and popc rn rz rm rp"},
        {"mov", ""},
        {"movmatrix", "sync aligned m8n8 trans"},
        {"mul", "lo hi wide rn rz rm rp ftz sat"},
        {"mul24", "lo hi"},
        {"nanosleep", ""},
        {"neg", "ftz"},
        {"not", ""},
        {"or", ""},
        {"pmevent", "mask"},
        {"popc", ""},
        {"prefetch", "global local const param L1 L2 tensormap"},
        {"prefetchu", "L1"},
        {"prmt", "f4e b4e rc8 ecl ecr rc16"},
        {"rcp", "approx rn rz rm rp ftz"},
        {"red", summed},
        {"redux", "sync add min max and or xor"},
        {"rem", ""},
        {"ret", "uni"},
        {"rsqrt", "approx ftz"},
        {"sad", ""},
        {"selp", ""},
        {"set", compared},
        {"setmaxnreg", "inc dec sync aligned"},
        {"setp", compared},
        {"shf", "l r wrap clamp"},
        {"shfl", "sync up down bfly idx"},
        {"shl", ""},
        {"shr", ""},
        {"sin", "approx ftz"},
        {"slct", "ftz"},
        {"sqrt", "approx rn rz rm rp ftz"},
        {"st", stored},
        {"stmatrix", "sync aligned m8n8 x1 x2 x4 trans shared"},
        {"sub", "rn rz rm rp ftz sat cc"},
        {"subc", "cc"},
        {"szext", "clamp wrap"},
        {"tanh", "approx"},
        {"testp", "finite infinite number notanumber normal subnormal"},
        {"trap", ""},
        {"vabsdiff2", "sat add"},
        {"vabsdiff4", "sat add"},
        {"vadd2", "sat add"},
        {"vadd4", "sat add"},
        {"vavrg2", "sat add"},
        {"vavrg4", "sat add"},
        {"vmax2", "sat add"},
        {"vmax4", "sat add"},
        {"vmin2", "sat add"},
        {"vmin4", "sat add"},
        {"vote", "sync all any uni ballot"},
        {"vset2", "eq ne lt le gt ge add"},
        {"vset4", "eq ne lt le gt ge add"},
        {"vsub2", "sat add"},
        {"vsub4", "sat add"},
        {"wmma", "load store mma a b c d sync aligned m16n16k16 m8n32k16 m32n8k16 m16n16k8 m8n8k4 m8n8k32 "
                 "m8n8k128 row "
                 "col shared global rn rz rm rp satfinite xor and popc"},
        {"xor", ""},
    };
    return known;
}

void check_modifiers(const Instruction &in) {
    const auto known = known_modifiers().find(in.opcode);
    if (known == known_modifiers().end())
        not_implemented(in);
    for (const std::string &modifier : in.modifiers) {
        const bool hint = modifier.starts_with("L1::") || modifier.starts_with("L2::");
        if (!is_word_of(known->second, modifier) && ptx::type_named(modifier) == Type::none &&
            !(hint && is_word_of("ld st cp atom red prefetch createpolicy applypriority", in.opcode)))
            not_implemented(in, "." + modifier);
    }
    const Type type = in.type();
    if (!ptx::is_float(type) && in.has("sat") && in.opcode != "cvt" && in.opcode.front() != 'v' &&
        !(type == Type::s32 && (in.opcode == "add" || in.opcode == "sub")) &&
        !(type == Type::s32 && in.has("hi") && (in.opcode == "mad" || in.opcode == "mad24")))
        not_implemented(in, ".sat");
}

void check_operands(const Instruction &in) {
    using ptx::Operand;
    auto check = [&](const auto &self, const Operand &operand) -> void {
        if (operand.kind == Operand::Kind::none)
            throw ptx::Error(static_cast<int>(operand.offset), operand.text);
        if (operand.kind == Operand::Kind::reg && !operand.text.empty())
            not_implemented(in, "part ." + operand.text + " of a register");
        if (operand.kind == Operand::Kind::address && !operand.elements.empty())
            not_implemented(in, "an address of several parts");
        for (const Operand &element : operand.elements)
            self(self, element);
    };
    for (const Operand &operand : in.operands)
        check(check, operand);
}

} // namespace soft
