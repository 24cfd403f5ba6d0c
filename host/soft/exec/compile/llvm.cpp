// LLVM's part: IR to machine code of this host.
#include "compile.hpp"

#include "emitter.hpp"

#include <llvm-c/Analysis.h>
#include <llvm-c/LLJIT.h>
#include <llvm-c/Orc.h>
#include <llvm-c/Target.h>
#include <llvm-c/TargetMachine.h>
#include <llvm-c/Transforms/PassBuilder.h>

#include <chrono>
#include <mutex>
#include <stdexcept>

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
    bool avx2 = false;
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
        avx2 = features.find("+avx2") != std::string::npos && features.find("+f16c") != std::string::npos;
        // Wider vectors make some processors slow, and half of what is here comes in eights.
        if (features.find("+avx512f") != std::string::npos)
            features += ",+prefer-256-bit";
    }
    LLVMTargetMachineRef make() const {
        LLVMTargetRef target = nullptr;
        char *message = nullptr;
        if (LLVMGetTargetFromTriple(triple.c_str(), &target, &message)) {
            std::string text = message;
            LLVMDisposeMessage(message);
            throw std::runtime_error(text);
        }
        return LLVMCreateTargetMachine(target, triple.c_str(), cpu.c_str(), features.c_str(),
                                       LLVMCodeGenLevelDefault, LLVMRelocPIC, LLVMCodeModelJITDefault);
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

std::shared_ptr<const Compiled> compile(const Program &program, bool whole_rows, std::string &why) {
    const auto begin = std::chrono::steady_clock::now();
    try {
        const Machine &here = machine();
        const Source &source = *program.source;
        const Analysis analysis =
            analyse(program, whole_rows, [&](std::uint32_t i) { return scalar_form(source, i); });
        auto compiled = std::make_shared<Compiled>();
        compiled->flushes = flushes_everything(source);

        LLVMOrcThreadSafeContextRef safe = LLVMOrcCreateNewThreadSafeContext();
        LLVMContextRef context = LLVMOrcThreadSafeContextGetContext(safe);
        LLVMModuleRef module = LLVMModuleCreateWithNameInContext("kernel", context);
        LLVMSetTarget(module, here.triple.c_str());
        LLVMTargetMachineRef target = here.make();
        try {
            Emitter emitter(context, module, program, analysis, compiled->flushes, here.avx2);
            emitter.write();
            compiled->scalar_bytes = emitter.scalar_bytes();
            compiled->native = emitter.native();
            char *message = nullptr;
            if (std::getenv("SHIMBENCH_SOFT_IR"))
                LLVMPrintModuleToFile(module, std::getenv("SHIMBENCH_SOFT_IR"), nullptr);
            if (LLVMVerifyModule(module, LLVMReturnStatusAction, &message)) {
                std::string text = message;
                LLVMDisposeMessage(message);
                throw std::logic_error(text);
            }
            LLVMDisposeMessage(message);
            LLVMPassBuilderOptionsRef options = LLVMCreatePassBuilderOptions();
            LLVMErrorRef failed = LLVMRunPasses(module, "function(early-cse)", target, options);
            LLVMDisposePassBuilderOptions(options);
            check(failed);
        } catch (...) {
            LLVMDisposeTargetMachine(target);
            LLVMDisposeModule(module);
            LLVMOrcDisposeThreadSafeContext(safe);
            throw;
        }
        LLVMOrcLLJITBuilderRef builder = LLVMOrcCreateLLJITBuilder();
        LLVMOrcLLJITBuilderSetJITTargetMachineBuilder(
            builder, LLVMOrcJITTargetMachineBuilderCreateFromTargetMachine(target));
        LLVMOrcLLJITRef jit = nullptr;
        check(LLVMOrcCreateLLJIT(&jit, builder));
        compiled->code = std::shared_ptr<void>(
            jit, [](void *held) { text_of(LLVMOrcDisposeLLJIT(static_cast<LLVMOrcLLJITRef>(held))); });
        LLVMOrcThreadSafeModuleRef owned = LLVMOrcCreateNewThreadSafeModule(module, safe);
        LLVMOrcDisposeThreadSafeContext(safe);
        check(LLVMOrcLLJITAddLLVMIRModule(jit, LLVMOrcLLJITGetMainJITDylib(jit), owned));
        LLVMOrcExecutorAddress address = 0;
        check(LLVMOrcLLJITLookup(jit, &address, "run"));
        compiled->run = reinterpret_cast<void (*)(Warp *, const Op *)>(address);
        compiled->seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
        return compiled;
    } catch (const std::exception &error) {
        why = error.what();
        return nullptr;
    }
}

} // namespace soft
