// The kernels of a module as its code describes them: names, parameter layouts, resources. Enough to
// launch by name and to marshal arguments; the instructions are somebody else's.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "device/device.hpp"

namespace shimbench::soft {

struct KernelFacts {
    std::string name;
    ParameterLayout layout;
    std::uint32_t static_shared_bytes = 0;
    std::uint32_t max_threads = 1024; // a block's, by .maxntid
    std::uint32_t registers = 0;      // 0: not known (PTX)
};

// The names of all kernels (.entry) in PTX text, in order.
std::vector<std::string_view> ptx_kernel_names(std::string_view ptx);

// One kernel of PTX text; nothing when it is not there or cannot be read.
std::optional<KernelFacts> ptx_kernel(std::string_view ptx, std::string_view name);

// The kernels of a cubin (an ELF image), from .text.<name> and .nv.info.<name>.
std::vector<std::string> cubin_kernel_names(std::string_view elf);
std::optional<KernelFacts> cubin_kernel(std::string_view elf, std::string_view name);

} // namespace shimbench::soft
