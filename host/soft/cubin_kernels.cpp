// Kernel headers out of a cubin: an ELF file whose .nv.info.<kernel> sections list attributes.
#include <elf.h>

#include <algorithm>
#include <cstring>
#include <functional>

#include "soft/kernels.hpp"

namespace shimbench::soft {

namespace {

enum : std::uint8_t {
    FormatSized = 4,
    AttributeParameter = 0x17,
    AttributeParameterBytes = 0x19,
    AttributeParameter2 = 0x45
};

template <class T> std::optional<T> value_at(std::string_view bytes, std::uint64_t offset) {
    if (offset > bytes.size() || bytes.size() - offset < sizeof(T))
        return std::nullopt;
    T value;
    std::memcpy(&value, bytes.data() + offset, sizeof(value));
    return value;
}

struct Section {
    std::string_view name;
    std::string_view content; // empty for NOBITS
    std::uint64_t bytes;
    std::uint32_t info;
};

std::vector<Section> sections(std::string_view elf) {
    std::vector<Section> found;
    const auto head = value_at<Elf64_Ehdr>(elf, 0);
    if (!head || std::memcmp(head->e_ident, ELFMAG, SELFMAG) || head->e_shentsize != sizeof(Elf64_Shdr))
        return found;
    auto section = [&](unsigned n) {
        return value_at<Elf64_Shdr>(elf, head->e_shoff + n * sizeof(Elf64_Shdr));
    };
    const auto names = section(head->e_shstrndx);
    if (!names || names->sh_offset > elf.size())
        return found;
    const auto strings = elf.substr(names->sh_offset, names->sh_size);
    for (unsigned n = 0; n < head->e_shnum; n++) {
        const auto row = section(n);
        if (!row || row->sh_name >= strings.size())
            continue;
        const auto name = strings.substr(row->sh_name);
        Section made{name.substr(0, name.find('\0')), {}, row->sh_size, row->sh_info};
        if (row->sh_type != SHT_NOBITS) {
            if (row->sh_offset > elf.size() || row->sh_size > elf.size() - row->sh_offset)
                continue;
            made.content = elf.substr(row->sh_offset, row->sh_size);
        }
        found.push_back(made);
    }
    return found;
}

// Size and offset are packed: ordinal and offset as 16 bits each, then the size above bit 18.
void add_parameter(std::string_view payload, KernelFacts &kernel) {
    const auto place = value_at<std::uint32_t>(payload, 4);
    const auto shape = value_at<std::uint32_t>(payload, 8);
    if (!place || !shape)
        return;
    const std::uint32_t ordinal = *place & 0xffff;
    if (ordinal >= WIRE_PARAMETERS_MAX)
        return;
    if (kernel.layout.parameters.size() <= ordinal)
        kernel.layout.parameters.resize(ordinal + 1);
    kernel.layout.parameters[ordinal] = {*place >> 16, *shape >> 18};
}

bool read_info(std::string_view info, KernelFacts &kernel) {
    while (info.size() >= 4) {
        const auto format = static_cast<std::uint8_t>(info[0]);
        const auto attribute = static_cast<std::uint8_t>(info[1]);
        const auto value = *value_at<std::uint16_t>(info, 2);
        info.remove_prefix(4);
        if (format == FormatSized) {
            if (value > info.size())
                return false;
            if (attribute == AttributeParameter)
                add_parameter(info.substr(0, value), kernel);
            else if (attribute == AttributeParameter2)
                return false; // parameters beyond 4 KiB: not seen in any consumer
            info.remove_prefix(value);
        } else if (attribute == AttributeParameterBytes) {
            kernel.layout.bytes = value;
        }
    }
    for (const auto &parameter : kernel.layout.parameters)
        kernel.layout.bytes = std::max(kernel.layout.bytes, parameter.offset + parameter.size);
    return kernel.layout.bytes <= WIRE_PARAMETER_BYTES;
}

} // namespace

std::vector<std::string> cubin_kernel_names(std::string_view elf) {
    std::vector<std::string> names;
    for (const auto &section : sections(elf))
        if (section.name.starts_with(".nv.info."))
            names.emplace_back(section.name.substr(9));
    return names;
}

std::optional<KernelFacts> cubin_kernel(std::string_view elf, std::string_view name) {
    KernelFacts kernel;
    bool described = false;
    for (const auto &section : sections(elf)) {
        if (section.name.starts_with(".nv.info.") && section.name.substr(9) == name) {
            if (!read_info(section.content, kernel))
                return std::nullopt;
            described = true;
        } else if (section.name.starts_with(".text.") && section.name.substr(6) == name) {
            kernel.registers = section.info >> 24;
        } else if (section.name.starts_with(".nv.shared.") && section.name.substr(11) == name) {
            kernel.static_shared_bytes =
                static_cast<std::uint32_t>(std::min<std::uint64_t>(section.bytes, 1u << 20));
        }
    }
    if (!described)
        return std::nullopt;
    kernel.name = name;
    return kernel;
}

} // namespace shimbench::soft
