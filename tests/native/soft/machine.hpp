// A kernel of PTX text, run over this process's own memory.
#pragma once

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <set>
#include <string>

#include "expect.hpp"
#include "soft/exec/launch.hpp"
#include "soft/exec/lower.hpp"

namespace soft_test {

struct Shape {
    std::uint32_t grid = 1, block = 32, dynamic_shared = 0;
    double seconds = 300;
};

struct Outcome {
    std::optional<soft::Fault> fault;
    std::string printed;
};

/// The instructions of all kernels that this program ran, for test_forms.cpp: written at its end into the
/// folder that SHIMBENCH_SOFT_ROWS names.
class Performed {
  public:
    static void note(const ptx::Module &module) {
        static Performed performed;
        if (performed.folder_ == nullptr)
            return;
        std::vector<std::string> functions = {"k"};
        for (std::size_t i = 0; i < functions.size(); ++i)
            for (const ptx::Instruction &in : module.function(functions[i]).body) {
                performed.texts_.insert(in.text());
                for (const ptx::Operand &operand : in.operands) // those that it calls, too
                    if (in.opcode == "call" && operand.kind == ptx::Operand::Kind::symbol &&
                        std::ranges::count(module.callable_names(), operand.text) != 0 &&
                        std::ranges::count(functions, operand.text) == 0)
                        functions.push_back(operand.text);
            }
    }
    ~Performed() {
        if (folder_ == nullptr)
            return;
        std::filesystem::create_directories(folder_);
        std::ofstream file(std::string(folder_) + "/" + program_invocation_short_name);
        for (const std::string &text : texts_)
            file << text << "\n";
    }

  private:
    const char *folder_ = std::getenv("SHIMBENCH_SOFT_ROWS");
    std::set<std::string> texts_;
};

/// A module with one kernel "k" of three 64-bit parameters, which are in %rd1 to %rd3; %r1 is %tid.x.
inline std::string kernel_text(const std::string &body, const std::string &module_level = "") {
    return ".version 8.4\n.target sm_80\n.address_size 64\n" + module_level +
           "\n.visible .entry k(.param .u64 p1, .param .u64 p2, .param .u64 p3)\n{\n"
           ".reg .pred %p<16>; .reg .b16 %h<32>; .reg .b32 %r<64>; .reg .f32 %f<64>; .reg .b64 %rd<64>;\n"
           "ld.param.u64 %rd1, [p1]; ld.param.u64 %rd2, [p2]; ld.param.u64 %rd3, [p3];\n"
           "mov.u32 %r1, %tid.x;\n" +
           body + "\nret;\n}\n";
}

inline Outcome run_text(const std::string &text, Shape shape, const void *first = nullptr,
                        const void *second = nullptr, const void *third = nullptr, unsigned threads = 2) {
    static const bool installed = (soft::install_fault_handler(), true);
    (void)installed;
    ptx::Module module(text);
    auto unknown = [](const std::string &name) -> std::uint64_t {
        throw ptx::Error(0, "unknown symbol " + name);
    };
    Outcome outcome;
    try {
        auto program = soft::lower(module, "k", unknown);
        Performed::note(module);
        soft::Launch launch;
        launch.grid[0] = shape.grid;
        launch.block[0] = shape.block;
        launch.dynamic_shared = shape.dynamic_shared;
        launch.seconds = shape.seconds;
        launch.print = [&](std::string_view words) { outcome.printed += words; };
        const void *parameters[] = {first, second, third};
        launch.parameters.resize(sizeof parameters);
        std::memcpy(launch.parameters.data(), parameters, sizeof parameters);
        const char *wanted = std::getenv("SHIMBENCH_SOFT_COMPILED");
        if (wanted != nullptr && !program->takes_turns) { // those are never compiled
            const std::string how = wanted; // "assuming" or "careful" alone; else the one, then the other
            auto made = [&](soft::Care care) {
                std::string why;
                auto code = soft::compile(*program, shape.block % 32 == 0, care, why);
                if (!code) {
                    std::fprintf(stderr, "not compiled: %s\n%s", why.c_str(), text.c_str());
                    std::exit(1);
                }
                return code;
            };
            launch.compiled = made(how == "careful" ? soft::Care::careful : soft::Care::assuming);
            if (launch.compiled->assumes && how != "assuming")
                launch.careful = made(soft::Care::careful);
        }
        soft::Executor executor(threads);
        outcome.fault = executor.run(*program, launch);
    } catch (const ptx::Error &error) {
        std::fprintf(stderr, "line %d: %s\n%s", error.line, error.what(), text.c_str());
        std::exit(1);
    }
    return outcome;
}

inline Outcome run(const std::string &body, Shape shape, const void *first = nullptr,
                   const void *second = nullptr, const void *third = nullptr) {
    return run_text(kernel_text(body), shape, first, second, third);
}

/// One word for each thread of a block: what `body` leaves in %r2.
inline std::vector<std::uint32_t> words_of(const std::string &body, std::uint32_t threads,
                                           const std::string &module_level = "") {
    std::vector<std::uint32_t> words(threads, 0xdddddddd);
    auto outcome =
        run_text(kernel_text(body + "\nEND: mul.wide.u32 %rd60, %r1, 4; add.s64 %rd60, %rd60, %rd1;\n"
                                    "st.global.u32 [%rd60], %r2;",
                             module_level),
                 {1, threads}, words.data());
    if (outcome.fault)
        std::fprintf(stderr, "%s\n", outcome.fault->message.c_str());
    EXPECT(!outcome.fault);
    return words;
}

} // namespace soft_test
