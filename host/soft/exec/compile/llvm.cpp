// LLVM's part: IR to machine code of this host.
#include "compile.hpp"

#include "emitter.hpp"

#include "kept.hpp"
#include "object.hpp"

#include <llvm-c/Analysis.h>
#include <llvm-c/BitWriter.h>
#include <llvm-c/Error.h>
#include <llvm-c/Target.h>
#include <llvm-c/TargetMachine.h>
#include <llvm-c/Transforms/PassBuilder.h>
#include <llvm/Config/llvm-config.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <memory>
#include <stdexcept>
#include <string_view>

namespace soft {

namespace {

/// An error of LLVM's as text; empty for none.
std::string text_of(LLVMErrorRef error) {
    if (error == nullptr)
        return {};
    char *message = LLVMGetErrorMessage(error);
    std::string text = message;
    LLVMDisposeErrorMessage(message);
    return text;
}

void check(LLVMErrorRef error) {
    if (const std::string text = text_of(error); !text.empty())
        throw std::runtime_error(text);
}

struct Machine {
    std::string triple, cpu, features;
    Features has;
    Machine() {
        LLVMInitializeNativeTarget();
        LLVMInitializeNativeAsmPrinter();
        auto take = [](char *text) {
            std::string copy = text;
            LLVMDisposeMessage(text);
            return copy;
        };
        triple = take(LLVMGetDefaultTargetTriple());
        cpu = take(LLVMGetHostCPUName());
        features = take(LLVMGetHostCPUFeatures());
        auto all = [this](std::initializer_list<std::string_view> names) {
            return std::all_of(names.begin(), names.end(), [this](std::string_view name) {
                return (',' + features + ',').find(",+" + std::string(name) + ',') != std::string::npos;
            });
        };
        has.avx2 = all({"avx2", "f16c"});
        has.avx512 = has.avx2 && all({"avx512f", "avx512bw", "avx512dq", "avx512vl"});
        has.vnni = has.avx512 && all({"avx512vnni"});
        // An older processor than this one, whose code runs here too: for tests. Any other is not looked at.
        const char *wanted = std::getenv("SHIMBENCH_SOFT_PROCESSOR");
        const std::string_view name = wanted ? wanted : "";
        if ((name == "haswell" && has.avx2) || (name == "skylake-avx512" && has.avx512)) {
            cpu = name;
            features.clear();
            has.avx512 &= name == "skylake-avx512";
            has.vnni = false;
        }
    }
    LLVMTargetMachineRef make() const {
        LLVMTargetRef target = nullptr;
        char *message = nullptr;
        if (LLVMGetTargetFromTriple(triple.c_str(), &target, &message)) {
            std::string text = message;
            LLVMDisposeMessage(message);
            throw std::runtime_error(text);
        }
        // Constants within reach of relative addresses: the large model, which is the default for code made
        // while a program runs, takes an instruction and a register more for each.
        return LLVMCreateTargetMachine(target, triple.c_str(), cpu.c_str(), features.c_str(),
                                       LLVMCodeGenLevelDefault, LLVMRelocPIC, LLVMCodeModelSmall);
    }
};

const Machine &machine() {
    static const Machine here;
    return here;
}

/// Whether every operation on floats flushes subnormals, so that the processor may do it.
bool flushes_everything(const Source &source) {
    bool floats = false;
    for (const ptx::Instruction &in : source.instructions) {
        static const char *const arithmetic[] = {"add", "sub", "mul",  "fma", "mad",   "div",  "ex2",  "lg2",
                                                 "sin", "cos", "tanh", "rcp", "rsqrt", "sqrt", "setp", "set"};
        const ptx::Type type = in.type();
        bool counts = false;
        for (const char *name : arithmetic)
            counts |= in.opcode == name;
        if (type == ptx::Type::f64)
            return false;
        if (!counts || type != ptx::Type::f32)
            continue;
        floats = true;
        if (!in.has("ftz"))
            return false;
    }
    return floats;
}

} // namespace

bool can_compile() {
    return true;
}

namespace {

using Buffer = std::unique_ptr<LLVMOpaqueMemoryBuffer, decltype(&LLVMDisposeMemoryBuffer)>;

std::string_view bytes_of(const Buffer &buffer) {
    return {LLVMGetBufferStart(buffer.get()), LLVMGetBufferSize(buffer.get())};
}

/// What is done to a kernel before it becomes machine code. Finding what is computed already keeps it alive
/// all over a kernel, and in the largest registers run out for it: flash attention takes 15 % less time
/// without.
const char *passes_for(const Program &program) {
    constexpr std::size_t large = 3200; // operations
    return program.ops.size() < large ? "function(mem2reg,early-cse<memssa>)" : "function(mem2reg)";
}

/// Everything of LLVM's that making one kernel takes.
struct Making {
    LLVMContextRef context = LLVMContextCreate();
    LLVMModuleRef module = LLVMModuleCreateWithNameInContext("kernel", context);
    LLVMTargetMachineRef target = machine().make();
    Making() { LLVMSetTarget(module, machine().triple.c_str()); }
    ~Making() {
        LLVMDisposeTargetMachine(target);
        LLVMDisposeModule(module);
        LLVMContextDispose(context);
    }
    Making(const Making &) = delete;

    void verify() {
        char *message = nullptr;
        const bool bad = LLVMVerifyModule(module, LLVMReturnStatusAction, &message);
        const std::string text = message;
        LLVMDisposeMessage(message);
        if (bad)
            throw std::logic_error(text);
    }

    /// An object file.
    Buffer emit(const char *passes) {
        verify();
        LLVMPassBuilderOptionsRef options = LLVMCreatePassBuilderOptions();
        LLVMErrorRef failed = LLVMRunPasses(module, passes, target, options);
        LLVMDisposePassBuilderOptions(options);
        check(failed);
        LLVMMemoryBufferRef object = nullptr;
        char *message = nullptr;
        if (LLVMTargetMachineEmitToMemoryBuffer(target, module, LLVMObjectFile, &message, &object)) {
            const std::string text = message;
            LLVMDisposeMessage(message);
            throw std::runtime_error(text);
        }
        return {object, LLVMDisposeMemoryBuffer};
    }
};

/// Brings an object file into this process, where `code` keeps it.
void load(std::string_view object, Compiled &into) {
    LoadedObject loaded = load_object(object, "run");
    into.run = reinterpret_cast<void (*)(Warp *, const Op *)>(loaded.entry);
    into.code = std::move(loaded.memory);
}

} // namespace

std::shared_ptr<const Compiled> compile(const Program &program, bool whole_rows, Care care, std::string &why,
                                        bool only_kept) {
    const auto begin = std::chrono::steady_clock::now();
    try {
        const Source &source = *program.source;
        const Analysis analysis =
            analyse(program, whole_rows, care, [&](std::uint32_t i) { return scalar_form(source, i); });
        auto compiled = std::make_shared<Compiled>();
        compiled->assumes = analysis.assumes();
        compiled->flushes = flushes_everything(source);
        Making making;
        {
            Emitter emitter(making.context, making.module, program, analysis, compiled->flushes,
                            machine().has);
            emitter.write();
            compiled->scalar_bytes = emitter.scalar_bytes();
            compiled->native = emitter.native();
            compiled->alike = emitter.take_alike();
            compiled->touched = emitter.take_touched();
        }
        // The code depends on nothing but the module, LLVM and the processor: it holds no addresses of
        // this process but those the PTX's own constants are.
        const char *passes = passes_for(program);
        std::string everything =
            machine().cpu + '\n' + machine().features + "\n" LLVM_VERSION_STRING "\n" + passes;
        everything += bytes_of({LLVMWriteBitcodeToMemoryBuffer(making.module), LLVMDisposeMemoryBuffer});
        const KeptCode kept(everything);
        if (const std::string object = kept.read(); !object.empty()) {
            load(object, *compiled);
        } else if (only_kept) {
            return nullptr;
        } else {
            const Buffer made = making.emit(passes);
            load(bytes_of(made), *compiled);
            kept.write(bytes_of(made));
        }
        compiled->seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
        return compiled;
    } catch (const std::exception &error) {
        why = error.what();
        return nullptr;
    }
}

} // namespace soft
