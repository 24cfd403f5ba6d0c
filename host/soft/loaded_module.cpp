#include "soft/loaded_module.hpp"

#include <algorithm>
#include <cstring>
#include <new>

#include "soft/exec/lower.hpp"

namespace shimbench::soft {

namespace {

bool in_memory(const ptx::Variable &variable) {
    return variable.space == ptx::Space::global || variable.space == ptx::Space::constant;
}

} // namespace

LoadedModule::LoadedModule(const Module &module) : text_(module.code) {
    place_variables(module);
}

LoadedModule::Launched &LoadedModule::launched(const Kernel &kernel) {
    Launched &known = launched_[&kernel];
    if (!known.program) {
        const std::string &name = kernel.facts.name;
        known.program =
            ::soft::lower(text_, name, [this](const std::string &symbol) { return address(symbol); });
        known.source = text_.source(name);
    }
    return known;
}

LoadedModule::Launched *LoadedModule::known(const Kernel &kernel) {
    const auto found = launched_.find(&kernel);
    return found != launched_.end() && found->second.program ? &found->second : nullptr;
}

bool LoadedModule::variable(const std::string &name, ModuleVariable &found) const {
    for (const ptx::Variable &variable : text_.variables())
        if (in_memory(variable) && variable.name == name) {
            found = {address(name), variable.size};
            return true;
        }
    return false;
}

std::uint64_t LoadedModule::address(const std::string &symbol) const {
    if (const auto why = unusable_.find(symbol); why != unusable_.end())
        throw ptx::Error(0, why->second);
    const auto found = addresses_.find(symbol);
    if (found == addresses_.end())
        throw ptx::Error(0, "unknown symbol " + symbol);
    return found->second;
}

void LoadedModule::place_variables(const Module &module) {
    for (const ptx::Variable &variable : text_.variables())
        if (in_memory(variable)) {
            bytes_ = (bytes_ + variable.align - 1) / variable.align * variable.align;
            addresses_[variable.name] = bytes_;
            bytes_ += std::max<std::uint64_t>(variable.size, 1);
        }
    if (!bytes_)
        return;
    memory_ = reinterpret_cast<std::uint8_t *>(module.memory(bytes_));
    if (!memory_)
        throw std::bad_alloc();
    for (auto &[name, offset] : addresses_)
        offset += reinterpret_cast<std::uint64_t>(memory_);
    for (const ptx::Variable &variable : text_.variables())
        if (in_memory(variable))
            fill(variable);
}

/// Kernels that have nothing to do with a variable that can't be used run all the same.
void LoadedModule::fill(const ptx::Variable &variable) {
    if (variable.is_managed)
        unusable_[variable.name] = variable.name + " lies in managed memory, which is not supported";
    if (variable.is_extern)
        unusable_[variable.name] = variable.name + " is declared in its module, and nothing defines it";
    auto *target = reinterpret_cast<std::uint8_t *>(addresses_[variable.name]);
    std::copy(variable.initial.begin(), variable.initial.end(), target);
    for (const ptx::Relocation &relocation : variable.relocations)
        write_address(variable, relocation);
}

void LoadedModule::write_address(const ptx::Variable &variable, const ptx::Relocation &relocation) {
    if (relocation.offset + relocation.bytes > variable.size)
        throw ptx::Error(0, "address in " + variable.name + " does not fit");
    const auto found = addresses_.find(relocation.symbol);
    const auto function = text_.function_address(relocation.symbol);
    if (found == addresses_.end() && !function) {
        unusable_[variable.name] = variable.name + " holds the address of " + relocation.symbol +
                                   ", which nothing in its module defines";
        return;
    }
    const std::uint64_t value =
        ((function ? *function : found->second) + static_cast<std::uint64_t>(relocation.addend)) >>
        relocation.shift;
    auto *target = reinterpret_cast<std::uint8_t *>(addresses_[variable.name]);
    std::memcpy(target + relocation.offset, &value, relocation.bytes);
}

} // namespace shimbench::soft
