// LLVM's own linkers give each section memory of its own, wherever the kernel has room, and do not look
// whether a relative address of 32 bits still reaches it: with gigabytes of device memory mapped between two
// gaps it may not. So this one lays them out itself.
#include "object.hpp"

#include <cstdint>
#include <cstring>
#include <elf.h>
#include <stdexcept>
#include <string>
#include <sys/mman.h>
#include <vector>

namespace soft {

namespace {

[[noreturn]] void refuse(const std::string &why) {
    throw std::runtime_error("object file of compiled code: " + why);
}

class Object {
  public:
    explicit Object(std::string_view bytes) : bytes_(bytes) {
        const auto header = at<Elf64_Ehdr>(0);
        if (std::memcmp(header.e_ident, ELFMAG, SELFMAG) != 0 || header.e_ident[EI_CLASS] != ELFCLASS64 ||
            header.e_machine != EM_X86_64 || header.e_type != ET_REL)
            refuse("not one of x86-64");
        for (unsigned i = 0; i < header.e_shnum; ++i)
            sections_.push_back(at<Elf64_Shdr>(header.e_shoff + i * sizeof(Elf64_Shdr)));
    }

    LoadedObject load(std::string_view function) {
        lay_out();
        void *got = mmap(nullptr, size_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (got == MAP_FAILED)
            refuse("no memory to load it");
        const std::size_t size = size_;
        LoadedObject loaded{nullptr, std::shared_ptr<void>(got, [size](void *held) { munmap(held, size); })};
        memory_ = static_cast<std::uint8_t *>(got);
        for (std::size_t i = 0; i < sections_.size(); ++i)
            if (is_loaded(sections_[i]) && sections_[i].sh_type != SHT_NOBITS)
                std::memcpy(memory_ + places_[i], part(sections_[i].sh_offset, sections_[i].sh_size).data(),
                            sections_[i].sh_size);
        for (const Elf64_Shdr &section : sections_)
            if (section.sh_type == SHT_RELA && is_loaded(section_number(section.sh_info)))
                relocate(section);
        loaded.entry = find(function);
        if (mprotect(got, size, PROT_READ | PROT_EXEC) != 0)
            refuse("its memory can not be made executable");
        return loaded;
    }

  private:
    std::string_view part(std::uint64_t offset, std::uint64_t size) const {
        if (offset > bytes_.size() || size > bytes_.size() - offset)
            refuse("cut short");
        return bytes_.substr(offset, size);
    }
    template <class T> T at(std::uint64_t offset) const {
        T value;
        std::memcpy(&value, part(offset, sizeof(T)).data(), sizeof(T));
        return value;
    }
    const Elf64_Shdr &section_number(std::uint64_t number) const {
        if (number >= sections_.size())
            refuse("no section " + std::to_string(number));
        return sections_[number];
    }
    /// Tables for unwinding are left out: nothing unwinds through compiled code.
    static bool is_loaded(const Elf64_Shdr &section) {
        return section.sh_flags & SHF_ALLOC && section.sh_type != SHT_X86_64_UNWIND &&
               (section.sh_type == SHT_PROGBITS || section.sh_type == SHT_NOBITS) &&
               !(section.sh_flags & SHF_WRITE);
    }

    /// Where in memory each section begins.
    void lay_out() {
        constexpr std::uint64_t most = 1u << 30; // relative addresses of 32 bits reach all of it
        for (const Elf64_Shdr &section : sections_) {
            if (is_loaded(section)) {
                const std::uint64_t alignment = section.sh_addralign > 1 ? section.sh_addralign : 1;
                size_ = (size_ + alignment - 1) / alignment * alignment;
            }
            places_.push_back(size_);
            if (is_loaded(section))
                size_ += section.sh_size;
            if (size_ > most || section.sh_addralign > 4096)
                refuse("too large");
        }
        if (size_ == 0)
            refuse("empty");
    }

    Elf64_Sym symbol(const Elf64_Shdr &table, std::uint64_t number) const {
        const auto found = at<Elf64_Sym>(table.sh_offset + number * sizeof(Elf64_Sym));
        if (found.st_shndx == SHN_UNDEF || !is_loaded(section_number(found.st_shndx)))
            refuse("refers to " + name(table, found) + ", which is not in it");
        return found;
    }
    std::string name(const Elf64_Shdr &table, const Elf64_Sym &symbol) const {
        const Elf64_Shdr &texts = section_number(table.sh_link);
        const std::string_view rest = part(texts.sh_offset, texts.sh_size);
        return symbol.st_name < rest.size() ? std::string(rest.substr(symbol.st_name).data()) : "";
    }
    std::uint64_t offset_of(const Elf64_Sym &symbol) const {
        return places_[symbol.st_shndx] + symbol.st_value;
    }

    void relocate(const Elf64_Shdr &table) {
        const Elf64_Shdr &target = section_number(table.sh_info), &symbols = section_number(table.sh_link);
        for (std::uint64_t done = 0; done + sizeof(Elf64_Rela) <= table.sh_size; done += sizeof(Elf64_Rela)) {
            const auto one = at<Elf64_Rela>(table.sh_offset + done);
            const std::uint64_t type = ELF64_R_TYPE(one.r_info);
            const std::size_t size = type == R_X86_64_64 || type == R_X86_64_PC64 ? 8 : 4;
            if (one.r_offset > target.sh_size || target.sh_size - one.r_offset < size)
                refuse("relocates what is not in its section");
            const std::uint64_t where = places_[table.sh_info] + one.r_offset;
            const std::uint64_t to = offset_of(symbol(symbols, ELF64_R_SYM(one.r_info))) +
                                     static_cast<std::uint64_t>(one.r_addend);
            std::uint64_t value = to - where;
            if (type == R_X86_64_64)
                value = reinterpret_cast<std::uint64_t>(memory_) + to;
            else if (type != R_X86_64_PC32 && type != R_X86_64_PLT32 && type != R_X86_64_PC64)
                refuse("relocation of type " + std::to_string(type));
            std::memcpy(memory_ + where, &value, size);
        }
    }

    void *find(std::string_view function) const {
        for (const Elf64_Shdr &table : sections_) {
            if (table.sh_type != SHT_SYMTAB)
                continue;
            for (std::uint64_t i = 1; i < table.sh_size / sizeof(Elf64_Sym); ++i) {
                const auto one = at<Elf64_Sym>(table.sh_offset + i * sizeof(Elf64_Sym));
                if (ELF64_ST_TYPE(one.st_info) == STT_FUNC && name(table, one) == function)
                    return memory_ + offset_of(symbol(table, i));
            }
        }
        refuse("no function " + std::string(function));
    }

    std::string_view bytes_;
    std::vector<Elf64_Shdr> sections_;
    std::vector<std::uint64_t> places_; // by section
    std::uint64_t size_ = 0;
    std::uint8_t *memory_ = nullptr;
};

} // namespace

LoadedObject load_object(std::string_view object, std::string_view function) {
    return Object(object).load(function);
}

} // namespace soft
