// A module that the engine has taken in: its variables in the device's memory, and its kernels that were
// launched.
#pragma once

#include <memory>
#include <string>
#include <unordered_map>

#include "device/emulated.hpp"
#include "soft/exec/compile/background.hpp"
#include "soft/exec/program.hpp"
#include "soft/ptx/parser.hpp"
#include "soft/telling.hpp"

namespace shimbench::soft {

/// A module's PTX, its variables in memory, and those of its kernels that were launched.
class LoadedModule {
  public:
    /// Throws ptx::Error when the module cannot be read, std::bad_alloc when its variables do not fit.
    explicit LoadedModule(const Module &module);
    LoadedModule(const LoadedModule &) = delete;

    /// A kernel that was launched, and what running it has come to.
    struct Making {
        std::shared_ptr<::soft::Order> order;
        std::shared_ptr<const ::soft::Compiled> made;
    };
    struct Code {
        Making assuming, careful;
        std::uint64_t given_up = 0; // warps that wanted careful code
    };
    struct Launched {
        std::shared_ptr<const ::soft::Program> program;
        std::uint64_t number = 0;      // of the program: no other one's
        std::uint64_t interpreted = 0; // operations of warps
        Code code[2];                  // for any blocks; for rows of whole warps
        ptx::FunctionText source;      // lies in the module's text
        KernelTeller::Total *told = nullptr;
    };

    /// Throws ptx::Error when the kernel cannot be executed.
    Launched &launched(const Kernel &kernel);
    /// A kernel that launched() has given before; else NULL.
    Launched *known(const Kernel &kernel);

    /// The variable of that name; whether there is one.
    bool variable(const std::string &name, ModuleVariable &found) const;

  private:
    std::uint64_t address(const std::string &symbol) const;
    void place_variables(const Module &module);
    void fill(const ptx::Variable &variable);
    void write_address(const ptx::Variable &variable, const ptx::Relocation &relocation);

    ptx::Module text_;
    std::uint8_t *memory_ = nullptr;
    std::uint64_t bytes_ = 0;
    std::unordered_map<std::string, std::uint64_t> addresses_;
    std::unordered_map<std::string, std::string> unusable_; // variables that could not be filled, and why
    std::unordered_map<const Kernel *, Launched> launched_; // the device's, which go with its module
};

} // namespace shimbench::soft
