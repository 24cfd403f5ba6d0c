// Every instruction that is performed, by opcode, modifier and type, was performed by another of these
// tests, which looked at what came of it.
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>
#include <sstream>
#include <string>

#include "soft/exec/modifiers.hpp"

namespace {

using Words = std::set<std::string>;

Words words_of(std::string_view text) {
    std::istringstream stream{std::string(text)};
    Words words;
    for (std::string word; stream >> word;)
        words.insert(word);
    return words;
}

constexpr std::string_view integers = "u16 s16 u32 s32 u64 s64", bits = "b16 b32 b64",
                           floats = "f32 f64 f16 bf16 f16x2 bf16x2";

/// The types that an opcode's handlers are chosen by.
const std::map<std::string, std::string> types = {
    {"add", std::string(integers) + " " + std::string(floats)},
    {"sub", std::string(integers) + " " + std::string(floats)},
    {"mul", std::string(integers) + " " + std::string(floats)},
    {"mad", "u16 s16 u32 s32 u64 s64 f32 f64"},
    {"fma", std::string(floats)},
    {"min", std::string(integers) + " " + std::string(floats)},
    {"max", std::string(integers) + " " + std::string(floats)},
    {"abs", "s16 s32 s64 " + std::string(floats)},
    {"neg", "s16 s32 s64 " + std::string(floats)},
    {"div", std::string(integers) + " f32 f64"},
    {"rem", std::string(integers)},
    {"sad", std::string(integers)},
    {"and", std::string(bits) + " pred"},
    {"or", std::string(bits) + " pred"},
    {"xor", std::string(bits) + " pred"},
    {"not", std::string(bits) + " pred"},
    {"cnot", std::string(bits)},
    {"shl", std::string(bits)},
    {"shr", "u16 s16 u32 s32 u64 s64"},
    {"popc", "b32 b64"},
    {"clz", "b32 b64"},
    {"brev", "b32 b64"},
    {"bfind", "u32 s32 u64 s64"},
    {"bfe", "u32 s32 u64 s64"},
    {"bfi", "b32 b64"},
    {"dp4a", "u32 s32"},
    {"dp2a", "u32 s32"},
    {"rcp", "f32 f64"},
    {"sqrt", "f32 f64"},
    {"rsqrt", "f32 f64"},
    {"ex2", "f32 f16 f16x2 bf16 bf16x2"},
    {"lg2", "f32"},
    {"sin", "f32"},
    {"cos", "f32"},
    {"tanh", "f32 f16 f16x2 bf16 bf16x2"},
    {"copysign", "f32 f64"},
    {"testp", "f32 f64"},
    {"setp", "u16 s16 b16 u32 s32 b32 u64 s64 b64 f16 bf16 f16x2 bf16x2 f32 f64"},
    {"set", "u16 u32 s32 f32 f64 f16 bf16 f16x2 bf16x2"},
    {"selp", "b16 b32 b64 f32 f64"},
    {"cvt", "u8 s8 u16 s16 u32 s32 u64 s64 f16 bf16 f32 f64 f16x2 bf16x2 tf32 e4m3x2 e5m2x2"},
    {"ld", "u8 s8 b8 u16 s16 b16 u32 s32 b32 u64 s64 b64 f32 f64"},
    {"st", "u8 b8 u16 b16 u32 b32 u64 b64 f32 f64"},
    {"atom", "b16 u32 s32 b32 u64 s64 b64 f16 bf16 f16x2 bf16x2 f32 f64"},
    {"red", "u32 s32 b32 u64 s64 b64 f16 bf16 f16x2 bf16x2 f32 f64"},
    {"match", "b32 b64"},
    {"redux", "u32 s32 b32"},
    {"mma", "s8 u8 s32 f16 bf16 tf32 f32"},
    {"wmma", "f16 f32 bf16 tf32 s8 u8 s32 f64"},
    {"addc", "u32 s32 u64 s64"},
    {"subc", "u32 s32 u64 s64"},
    {"madc", "u32 s64 u64"},
    {"mul24", "u32 s32"},
    {"mad24", "u32 s32"},
};

struct Seen {
    Words words; // modifiers and types
    bool any = false;
};

std::map<std::string, Seen> read(const char *folder) {
    std::map<std::string, Seen> seen;
    for (const auto &entry : std::filesystem::directory_iterator(folder)) {
        std::ifstream file(entry.path());
        for (std::string line; std::getline(file, line);) {
            std::istringstream parts(line);
            std::string opcode, word;
            std::getline(parts, opcode, '.');
            seen[opcode].any = true;
            while (std::getline(parts, word, '.'))
                seen[opcode].words.insert(word);
        }
    }
    return seen;
}

} // namespace

int main(int, char **arguments) {
    auto seen = read(arguments[1]);
    unsigned missing = 0, checked = 0;
    auto lacks = [&](const std::string &opcode, const std::string &word) {
        std::fprintf(stderr, "no test performs %s%s%s\n", opcode.c_str(), word.empty() ? "" : ".",
                     word.c_str());
        ++missing;
    };
    for (const auto &[opcode, modifiers] : soft::known_modifiers()) {
        const std::string name(opcode);
        if (!seen[name].any)
            lacks(name, "");
        Words wanted = words_of(modifiers);
        if (const auto row = types.find(name); row != types.end())
            wanted.merge(words_of(row->second));
        for (const std::string &word : wanted) {
            ++checked;
            if (!seen[name].words.contains(word))
                lacks(name, word);
        }
    }
    std::printf("%zu opcodes, %u modifiers and types of theirs, %u without a test\n",
                soft::known_modifiers().size(), checked, missing);
    return missing != 0;
}
