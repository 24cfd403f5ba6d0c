#include "procfs.hpp"

#include "files.hpp"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <elf.h>
#include <fcntl.h>
#include <filesystem>
#include <span>
#include <string_view>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

namespace shimbench::collector {

namespace {

using session::Descriptor;

std::string read_link(const std::string &path) {
    std::string target(4096, '\0');
    ssize_t count = readlink(path.c_str(), target.data(), target.size());
    target.resize(count > 0 ? static_cast<size_t>(count) : 0);
    return target;
}

std::vector<std::string> split_zeros(const std::string &text) {
    std::vector<std::string> parts;
    for (size_t at = 0; at < text.size();) {
        size_t end = std::min(text.find('\0', at), text.size());
        parts.push_back(text.substr(at, end - at));
        at = end + 1;
    }
    return parts;
}

// Field `number` of /proc/PID/stat (as in proc(5), from 1; not 2, which may hold anything).
std::optional<long> stat_field(int pid, int number) {
    std::string text = read_whole(proc_path(pid, "stat"));
    size_t at = text.rfind(')');
    for (int field = 2; field < number && at != std::string::npos; field++)
        at = text.find(' ', at + 1);
    if (at == std::string::npos)
        return std::nullopt;
    return std::strtol(text.c_str() + at + 1, nullptr, 10);
}

// linux/pidfd.h of 6.15 and later; the system's header may be older.
struct PidfdInfo {
    uint64_t mask, cgroup_id;
    uint32_t pid, tgid, ppid, ruid, rgid, euid, egid, suid, sgid, fsuid, fsgid;
    int32_t exit_code;
    uint32_t reserved[2];
};
constexpr unsigned long kPidfdGetInfo = _IOWR(0xff, 11, PidfdInfo);
constexpr uint64_t kPidfdInfoExit = 1 << 3;

template <typename T> bool read_at(int fd, uint64_t offset, T &out) {
    return pread(fd, &out, sizeof out, static_cast<off_t>(offset)) == static_cast<ssize_t>(sizeof out);
}

std::string read_string(int fd, uint64_t offset) {
    char text[256];
    ssize_t count = pread(fd, text, sizeof text, static_cast<off_t>(offset));
    return count > 0 ? std::string(text, strnlen(text, static_cast<size_t>(count))) : std::string();
}

std::string build_id_in(std::span<const unsigned char> notes) {
    while (notes.size() >= sizeof(Elf64_Nhdr)) {
        Elf64_Nhdr head;
        std::memcpy(&head, notes.data(), sizeof head);
        uint64_t name = (uint64_t{head.n_namesz} + 3) / 4 * 4, data = (uint64_t{head.n_descsz} + 3) / 4 * 4;
        if (name + data > notes.size() - sizeof head)
            break;
        if (head.n_type == NT_GNU_BUILD_ID && head.n_namesz == 4 && head.n_descsz <= 64) {
            std::string hex;
            for (unsigned char byte : notes.subspan(sizeof head + name, head.n_descsz)) {
                hex += "0123456789abcdef"[byte >> 4];
                hex += "0123456789abcdef"[byte & 15];
            }
            return hex;
        }
        notes = notes.subspan(sizeof head + name + data);
    }
    return {};
}

// The soname by the dynamic section; addresses become offsets through the load segments.
std::string soname_of(int fd, std::span<const Elf64_Phdr> segments) {
    auto file_offset = [&](uint64_t address) -> std::optional<uint64_t> {
        for (const Elf64_Phdr &one : segments)
            if (one.p_type == PT_LOAD && address >= one.p_vaddr && address - one.p_vaddr < one.p_filesz)
                return address - one.p_vaddr + one.p_offset;
        return std::nullopt;
    };
    for (const Elf64_Phdr &one : segments) {
        if (one.p_type != PT_DYNAMIC)
            continue;
        std::optional<uint64_t> strings, name;
        Elf64_Dyn entry;
        for (uint64_t at = 0; at + sizeof entry <= one.p_filesz && at < 64 * 1024; at += sizeof entry) {
            if (!read_at(fd, one.p_offset + at, entry) || entry.d_tag == DT_NULL)
                break;
            if (entry.d_tag == DT_STRTAB)
                strings = file_offset(entry.d_un.d_ptr);
            if (entry.d_tag == DT_SONAME)
                name = entry.d_un.d_val;
        }
        if (strings && name)
            return read_string(fd, *strings + *name);
    }
    return {};
}

} // namespace

std::string proc_path(int pid, const char *name) {
    return "/proc/" + std::to_string(pid) + "/" + name;
}

std::string read_whole(const std::string &path, size_t limit) {
    std::string text;
    Descriptor fd(open(path.c_str(), O_RDONLY | O_CLOEXEC));
    char buffer[16384];
    while (fd && text.size() < limit) {
        ssize_t count = read(fd.get(), buffer, sizeof buffer);
        if (count <= 0)
            break;
        text.append(buffer, static_cast<size_t>(count));
    }
    return text;
}

ExitStatus decode_wait_status(int status) {
    if (WIFSIGNALED(status))
        return {true, 0, WTERMSIG(status)};
    return {true, WEXITSTATUS(status), 0};
}

bool environment_matters(std::string_view name) {
    constexpr std::string_view prefixes[] = {"LD_", "CUDA_", "OLLAMA_", "GGML_", "SHIMBENCH_", "NVIDIA_"};
    return std::any_of(std::begin(prefixes), std::end(prefixes),
                       [&](std::string_view prefix) { return name.starts_with(prefix); });
}

ProcessFacts read_facts(int pid) {
    ProcessFacts facts;
    facts.ppid = parent_of(pid);
    facts.exe = read_link(proc_path(pid, "exe"));
    facts.cwd = read_link(proc_path(pid, "cwd"));
    facts.argv = split_zeros(read_whole(proc_path(pid, "cmdline"), 1 << 20));
    for (const std::string &entry : split_zeros(read_whole(proc_path(pid, "environ"), 4 << 20))) {
        size_t equals = entry.find('=');
        if (equals != std::string::npos && environment_matters(entry))
            facts.env.emplace_back(entry.substr(0, equals), entry.substr(equals + 1));
    }
    return facts;
}

int parent_of(int pid) {
    return static_cast<int>(stat_field(pid, 4).value_or(0));
}

std::vector<MappedModule> read_modules(int pid) {
    std::vector<MappedModule> modules;
    std::string text = read_whole(proc_path(pid, "maps"), 64 << 20);
    for (size_t at = 0; at < text.size();) {
        size_t end = std::min(text.find('\n', at), text.size());
        std::string line = text.substr(at, end - at);
        at = end + 1;
        unsigned long start, stop, offset;
        int path_at = 0;
        if (std::sscanf(line.c_str(), "%lx-%lx %*s %lx %*s %*s %n", &start, &stop, &offset, &path_at) != 3 ||
            path_at == 0 || line[static_cast<size_t>(path_at)] != '/')
            continue;
        std::string path = line.substr(static_cast<size_t>(path_at));
        // Lines are in the order of addresses. A file mapped twice is not one module with all between.
        if (offset != 0 && !modules.empty() && modules.back().path == path)
            modules.back().end = stop;
        else
            modules.push_back({std::move(path), start, stop});
    }
    return modules;
}

bool is_cuda_library(std::string_view path) {
    std::string_view name = path.substr(path.rfind('/') + 1);
    constexpr std::string_view prefixes[] = {"libcuda.",  "libcuda-", "libnvidia-",  "libcublas",
                                             "libcudart", "libggml",  "libshimbench"};
    return std::any_of(std::begin(prefixes), std::end(prefixes),
                       [&](std::string_view prefix) { return name.starts_with(prefix); });
}

LibraryFacts read_library(const std::string &path) {
    LibraryFacts facts;
    Descriptor fd(open(path.c_str(), O_RDONLY | O_CLOEXEC));
    Elf64_Ehdr head;
    if (!fd || !read_at(fd.get(), 0, head) || std::memcmp(head.e_ident, ELFMAG, SELFMAG) != 0 ||
        head.e_ident[EI_CLASS] != ELFCLASS64 || head.e_phnum > 256)
        return facts;
    std::vector<Elf64_Phdr> segments(head.e_phnum);
    for (size_t i = 0; i < segments.size(); i++)
        if (!read_at(fd.get(), head.e_phoff + i * sizeof(Elf64_Phdr), segments[i]))
            return facts;
    facts.soname = soname_of(fd.get(), segments);
    for (const Elf64_Phdr &one : segments) {
        if (one.p_type != PT_NOTE || one.p_filesz > 64 * 1024 || !facts.build_id.empty())
            continue;
        std::vector<unsigned char> notes(one.p_filesz);
        ssize_t count = pread(fd.get(), notes.data(), notes.size(), static_cast<off_t>(one.p_offset));
        if (count > 0)
            facts.build_id = build_id_in(std::span(notes).first(static_cast<size_t>(count)));
    }
    return facts;
}

ExitStatus read_exit(int pid, int pidfd) {
    // Twice: its parent may reap it between the looks.
    for (int attempt = 0; attempt < 2; attempt++) {
        PidfdInfo info{};
        info.mask = kPidfdInfoExit;
        if (pidfd >= 0 && ioctl(pidfd, kPidfdGetInfo, &info) == 0 && (info.mask & kPidfdInfoExit))
            return decode_wait_status(info.exit_code);
        std::string text = read_whole(proc_path(pid, "stat"));
        size_t name_end = text.rfind(')');
        bool zombie = name_end != std::string::npos && text.compare(name_end, 3, ") Z") == 0;
        if (auto status = zombie ? stat_field(pid, 52) : std::nullopt)
            return decode_wait_status(static_cast<int>(*status));
    }
    return {};
}

} // namespace shimbench::collector
