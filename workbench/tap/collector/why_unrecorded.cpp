#include "why_unrecorded.hpp"

#include "files.hpp"
#include "procfs.hpp"

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <dirent.h>
#include <elf.h>
#include <fcntl.h>
#include <pwd.h>
#include <sys/auxv.h>
#include <sys/stat.h>
#include <unistd.h>
#include <vector>

namespace shimbench::collector {

namespace {

using session::Descriptor;

bool may_be_read(int pid) {
    return Descriptor(open(proc_path(pid, "environ").c_str(), O_RDONLY | O_CLOEXEC)) || errno == ENOENT ||
           errno == ESRCH;
}

// A line of /proc/PID/status or limits, behind its name.
std::string_view value_of(std::string_view text, std::string_view name) {
    size_t at = text.starts_with(name) ? 0 : text.find("\n" + std::string(name));
    if (at == std::string_view::npos)
        return {};
    at += (at ? 1 : 0) + name.size();
    std::string_view line = text.substr(at, text.find('\n', at) - at);
    size_t first = line.find_first_not_of(": \t");
    return first == std::string_view::npos ? std::string_view() : line.substr(first);
}

struct Owner {
    uid_t user = 0;
    std::vector<gid_t> groups; // its own and the supplementary ones
};

std::vector<unsigned long> numbers_in(std::string_view text) {
    std::vector<unsigned long> numbers;
    std::string copy(text);
    for (char *at = copy.data(), *end; *at; at = end) {
        unsigned long number = std::strtoul(at, &end, 10);
        if (end == at)
            break;
        numbers.push_back(number);
    }
    return numbers;
}

// By the ids that count for files (the last of the four).
Owner owner_of(const std::string &status) {
    Owner owner;
    if (auto ids = numbers_in(value_of(status, "Uid")); ids.size() == 4)
        owner.user = static_cast<uid_t>(ids[3]);
    if (auto ids = numbers_in(value_of(status, "Gid")); ids.size() == 4)
        owner.groups.push_back(static_cast<gid_t>(ids[3]));
    for (unsigned long group : numbers_in(value_of(status, "Groups")))
        owner.groups.push_back(static_cast<gid_t>(group));
    return owner;
}

bool may(const Owner &owner, const struct stat &file, unsigned bit) {
    if (owner.user == 0)
        return true;
    if (file.st_uid == owner.user)
        return file.st_mode & (bit << 6);
    if (std::ranges::find(owner.groups, file.st_gid) != owner.groups.end())
        return file.st_mode & (bit << 3);
    return file.st_mode & bit;
}

std::string user_name(uid_t user) {
    char buffer[4096];
    passwd entry, *found = nullptr;
    bool known = getpwuid_r(user, &entry, buffer, sizeof buffer, &found) == 0 && found;
    return (known ? std::string(found->pw_name) : "uid " + std::to_string(user));
}

// Of the program's file: class, and the loader it names.
struct ProgramFile {
    bool read = false, is_64 = false;
    std::string loader; // empty: linked statically
};

ProgramFile read_program(int pid) {
    ProgramFile program;
    Descriptor fd(open(proc_path(pid, "exe").c_str(), O_RDONLY | O_CLOEXEC));
    Elf64_Ehdr head;
    auto read_at = [&](uint64_t offset, void *to, size_t size) {
        return pread(fd.get(), to, size, static_cast<off_t>(offset)) == static_cast<ssize_t>(size);
    };
    if (!fd || !read_at(0, &head, sizeof head) || std::memcmp(head.e_ident, ELFMAG, SELFMAG) != 0)
        return program;
    program.read = true;
    program.is_64 = head.e_ident[EI_CLASS] == ELFCLASS64;
    for (unsigned i = 0; program.is_64 && i < head.e_phnum && i < 256; i++) {
        Elf64_Phdr segment;
        char name[256] = "";
        if (!read_at(head.e_phoff + i * sizeof segment, &segment, sizeof segment))
            break;
        if (segment.p_type == PT_INTERP && segment.p_filesz > 0 && segment.p_filesz < sizeof name &&
            read_at(segment.p_offset, name, segment.p_filesz))
            program.loader = name;
    }
    return program;
}

bool is_secure(int pid) {
    std::string text = read_whole(proc_path(pid, "auxv"));
    for (size_t at = 0; at + 16 <= text.size(); at += 16) {
        uint64_t entry[2];
        std::memcpy(entry, text.data() + at, sizeof entry);
        if (entry[0] == AT_SECURE)
            return entry[1] != 0;
    }
    return false;
}

std::string namespace_of(const std::string &process, const char *kind) {
    char target[128];
    ssize_t count = readlink(("/proc/" + process + "/ns/" + kind).c_str(), target, sizeof target);
    return count > 0 ? std::string(target, static_cast<size_t>(count)) : std::string();
}

bool in_our(const char *kind, int pid) {
    std::string theirs = namespace_of(std::to_string(pid), kind);
    return theirs.empty() || theirs == namespace_of("self", kind);
}

// The first part of a path that its user may not pass; empty when there is none.
std::string closed_part(const Owner &owner, const std::string &path) {
    struct stat info;
    for (size_t end = 1; end != std::string::npos; end = path.find('/', end + 1)) {
        std::string folder = path.substr(0, end);
        if (stat(folder.c_str(), &info) == 0 && !may(owner, info, 1))
            return folder;
    }
    return stat(path.c_str(), &info) == 0 && !may(owner, info, 4) ? path : std::string();
}

// Whether its loader could open the library that LD_PRELOAD names.
std::optional<Unrecorded> unreachable(int pid, const std::string &preload) {
    if (std::string root = proc_path(pid, "root");
        access((root + preload).c_str(), F_OK) != 0 && access(preload.c_str(), F_OK) == 0)
        return Unrecorded{"its root (of a chroot, a container or a mount namespace of its own) does not have "
                          "the tap's folder",
                          "bind-mount " + preload.substr(0, preload.rfind('/')) +
                              " there, under the same path"};
    Owner owner = owner_of(read_whole(proc_path(pid, "status")));
    if (std::string part = closed_part(owner, preload); !part.empty())
        return Unrecorded{"it runs as " + user_name(owner.user) + ", who may not enter " + part +
                              ", and the tap's libraries lie there",
                          "record into a folder that everybody may enter: --session DIR, or chmod o+x " +
                              part};
    return std::nullopt;
}

size_t open_files(int pid) {
    size_t count = 0;
    if (DIR *folder = opendir(proc_path(pid, "fd").c_str())) {
        while (dirent *entry = readdir(folder))
            count += entry->d_name[0] != '.';
        closedir(folder);
    }
    return count;
}

// A tap is loaded and could not reach the collector.
Unrecorded silent_tap(int pid) {
    std::string limits = read_whole(proc_path(pid, "limits")), status = read_whole(proc_path(pid, "status"));
    std::string_view files = value_of(limits, "Max open files"),
                     space = value_of(limits, "Max address space");
    if (auto limit = numbers_in(files); !limit.empty() && open_files(pid) + 2 > limit[0])
        return {"all its descriptors are in use (" + std::to_string(limit[0]) + ")",
                "raise its hard limit of open files: ulimit -Hn"};
    if (auto limit = numbers_in(value_of(limits, "Max file size")); !limit.empty() && limit[0] < 4 << 20)
        return {"its limit of file size (" + std::to_string(limit[0]) +
                    " bytes) is below the 4 MiB of memory that the tap records into",
                "raise it: ulimit -f"};
    if (value_of(status, "Seccomp").starts_with("2"))
        return {"a seccomp filter forbids what the tap needs (memfd_create, socket, connect, sendmsg)",
                "allow these in the filter while you record"};
    if (auto limit = numbers_in(space); !limit.empty())
        return {"its limit of address space (" + std::to_string(limit[0]) + " bytes) leaves the tap no room",
                "raise it: ulimit -v"};
    if (!in_our("net", pid) && !in_our("mnt", pid))
        return {"it has a network and a mount namespace of its own, so that no socket leads out of it",
                "bind-mount the session's folder there, under the same path"};
    return {"its tap did not register, for no reason that can be seen", ""};
}

} // namespace

ProcessState read_state(int pid) {
    ProcessState state;
    std::string text = read_whole(proc_path(pid, "stat"));
    size_t name_end = text.rfind(')');
    if (name_end == std::string::npos || name_end + 2 >= text.size())
        return state;
    state.alive = std::strchr("ZXx", text[name_end + 2]) == nullptr;
    std::vector<unsigned long> fields =
        numbers_in(std::string_view(text).substr(name_end + 3)); // from the 4th
    constexpr size_t kStack = 28 - 4, kEnvironmentEnd = 51 - 4;
    if (fields.size() > kEnvironmentEnd) {
        state.stack = fields[kStack];
        state.ready = fields[kEnvironmentEnd] != 0 || !may_be_read(pid);
    }
    return state;
}

bool has_environment(int pid, std::string_view beginning) {
    std::string text = read_whole(proc_path(pid, "environ"));
    return std::string_view(text).starts_with(beginning) ||
           text.find(std::string(1, '\0') + std::string(beginning)) != std::string::npos;
}

std::optional<Unrecorded> why_unrecorded(int pid, const std::string &preload, bool waited_long) {
    if (!may_be_read(pid)) {
        Owner owner = owner_of(read_whole(proc_path(pid, "status")));
        return Unrecorded{
            "it runs as " + user_name(owner.user) +
                " by a setuid program, for which the loader drops LD_PRELOAD and LD_LIBRARY_PATH",
            "start what it starts directly, or record as that user"};
    }
    ProgramFile program = read_program(pid);
    if (!program.read)
        return std::nullopt; // gone
    if (!program.is_64)
        return Unrecorded{"it is no 64-bit program", "shimbench records x86-64 only"};
    if (program.loader.empty())
        return Unrecorded{
            "it is linked statically, so that it loads no library and nothing in it can be tapped",
            "if it is to use CUDA, link it dynamically (Go: CGO_ENABLED=1)"};
    if (program.loader.find("ld-linux") == std::string::npos)
        return Unrecorded{"its loader is " + program.loader + ", and the tap is made for glibc's",
                          "link it against glibc"};
    if (is_secure(pid))
        return Unrecorded{"it is setuid, setgid or has capabilities of its file, so that the loader drops "
                          "LD_PRELOAD and LD_LIBRARY_PATH",
                          "run it without these while you record: a copy, or as that user"};
    std::string name = preload.substr(preload.rfind('/') + 1);
    std::string environment = read_whole(proc_path(pid, "environ"));
    size_t given = environment.find("LD_PRELOAD=");
    if (given == std::string::npos ||
        std::string_view(environment).substr(given, environment.find('\0', given) - given).find(name) ==
            std::string_view::npos)
        return Unrecorded{"LD_PRELOAD was dropped from its environment on the way (env -i, sudo, a wrapper)",
                          "pass LD_PRELOAD and LD_LIBRARY_PATH on to it"};
    std::vector<MappedModule> modules = read_modules(pid);
    auto mapped = [&](std::string_view file) {
        return std::ranges::any_of(modules, [&](const MappedModule &module) {
            return std::string_view(module.path).substr(module.path.rfind('/') + 1).starts_with(file);
        });
    };
    if (mapped(name)) // its constructor may be on the way
        return waited_long ? std::optional(silent_tap(pid)) : std::nullopt;
    if (!mapped("libc.so."))
        return std::nullopt; // the loader is at work: it takes what is preloaded first
    if (auto reason = unreachable(pid, preload))
        return reason;
    return Unrecorded{"its loader did not take " + name + " from LD_PRELOAD",
                      "its own line on stderr says why"};
}

} // namespace shimbench::collector
