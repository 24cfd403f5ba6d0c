// Compiled code in files: found again, ignored when damaged, and never more than the limit.
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <thread>
#include <vector>

#include <sys/wait.h>
#include <unistd.h>

#include "expect.hpp"
#include "machine.hpp"
#include "soft/exec/compile/compile.hpp"
#include "soft/exec/compile/kept.hpp"
#include "soft/exec/compile/object.hpp"

namespace {

namespace fs = std::filesystem;

fs::path folder;

std::vector<fs::path> files() {
    std::vector<fs::path> found;
    for (const auto &entry : fs::directory_iterator(folder / "shimbench/kernels"))
        found.push_back(entry.path());
    return found;
}

/// The object file of a small kernel, as LLVM made it.
std::string an_object() {
    const ptx::Module module(
        soft_test::kernel_text("ld.global.f32 %f1, [%rd1]; add.f32 %f2, %f1, 0f3f800000;\n"
                               "st.global.f32 [%rd1], %f2;"));
    std::string why;
    const auto program = soft::lower(module, "k", [](const std::string &) -> std::uint64_t { return 0; });
    EXPECT(soft::compile(*program, true, soft::Care::assuming, why) != nullptr);
    EXPECT(files().size() == 1);
    std::ifstream file(files().front(), std::ios::binary);
    const std::string kept((std::istreambuf_iterator<char>(file)), {});
    fs::remove(files().front());
    return kept.substr(kept.find("\x7f"
                                 "ELF"));
}

/// Kept files have a hash, so this is what no file of ours is: it must not be believed all the same.
void an_object_is_loaded_whole_or_not_at_all() {
    auto loads = [](const std::string &object) {
        try {
            return soft::load_object(object, "run").entry != nullptr;
        } catch (const std::runtime_error &) {
            return false;
        }
    };
    const std::string object = an_object();
    EXPECT(loads(object));
    for (std::size_t length = 0; length < object.size(); length += 3)
        loads(object.substr(0, length));
    EXPECT(!loads("") && !loads(object.substr(0, object.size() / 2)));
    for (std::size_t at = 0; at < object.size(); ++at)
        for (int change : {1, 0x80, 0xff}) {
            std::string changed = object;
            changed[at] = static_cast<char>(changed[at] ^ change);
            loads(changed);
        }
}

void what_was_kept_is_found_again() {
    soft::KeptCode("kernel a").write("machine code");
    EXPECT(soft::KeptCode("kernel a").read() == "machine code");
    EXPECT(soft::KeptCode("kernel b").read().empty());
}

void a_damaged_file_is_none() {
    for (const fs::path &path : files())
        for (std::uintmax_t length = 0; length < fs::file_size(path); length += 7) {
            const fs::path copy = folder / "whole";
            fs::copy_file(path, copy, fs::copy_options::overwrite_existing);
            fs::resize_file(path, length);
            EXPECT(soft::KeptCode("kernel a").read().empty());
            fs::copy_file(copy, path, fs::copy_options::overwrite_existing);
        }
    for (const fs::path &path : files()) {
        std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
        file.seekp(-1, std::ios::end);
        file.put('!');
    }
    EXPECT(soft::KeptCode("kernel a").read().empty());
    soft::KeptCode("kernel a").write("machine code");
    EXPECT(soft::KeptCode("kernel a").read() == "machine code");
}

void what_was_of_no_use_longest_goes_first() {
    setenv("SHIMBENCH_KERNEL_CACHE", "1", 1);
    const std::string code(200 << 10, 'x');
    auto kernel = [](int number) { return soft::KeptCode("kernel " + std::to_string(number)); };
    auto age = [&] { // files written within one tick of the file system's clock have one time
        for (const fs::path &path : files())
            fs::last_write_time(path, fs::last_write_time(path) - std::chrono::hours(1));
    };
    for (int number = 0; number < 5; ++number) {
        age();
        kernel(number).write(code);
    }
    EXPECT(kernel(0).read() == code); // used just now
    for (int number = 5; number < 9; ++number) {
        kernel(number).write(code);
        age();
    }
    std::uintmax_t total = 0;
    for (const fs::path &path : files())
        total += fs::file_size(path);
    EXPECT(total <= (1 << 20) + code.size() + 100);
    EXPECT(kernel(1).read().empty() && kernel(2).read().empty() && kernel(8).read() == code);
    EXPECT(kernel(0).read() == code);
}

void several_write_and_read_at_once() {
    setenv("SHIMBENCH_KERNEL_CACHE", "1", 1);
    std::vector<std::jthread> threads;
    for (int thread = 0; thread < 4; ++thread)
        threads.emplace_back([thread] {
            for (int round = 0; round < 40; ++round) {
                const std::string name = "shared " + std::to_string((round + thread) % 7);
                const std::string code(150 << 10, static_cast<char>('a' + (round + thread) % 7));
                const soft::KeptCode kept(name);
                kept.write(code);
                const std::string read = kept.read();
                EXPECT(read.empty() || read == code);
            }
        });
}

/// Each as a host's worker does it: a process of its own.
void several_processes_write_and_read_at_once() {
    setenv("SHIMBENCH_KERNEL_CACHE", "1", 1);
    std::vector<pid_t> children;
    for (int number = 0; number < 4; ++number) {
        const pid_t child = fork();
        EXPECT(child >= 0);
        if (child == 0) {
            bool well = true;
            for (int round = 0; round < 40; ++round) {
                const int which = (round + number) % 7;
                const std::string code(150 << 10, static_cast<char>('a' + which));
                const soft::KeptCode kept("of processes " + std::to_string(which));
                kept.write(code);
                const std::string read = kept.read();
                well &= read.empty() || read == code;
            }
            _exit(well ? 0 : 1);
        }
        children.push_back(child);
    }
    for (const pid_t child : children) {
        int status = 0;
        EXPECT(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0);
    }
    for (const fs::path &path : files()) // what was begun was put in place or taken away
        EXPECT(path.filename().string().find('.') == std::string::npos);
}

} // namespace

int main() {
    folder = fs::temp_directory_path() / ("shimbench-kept-" + std::to_string(getpid()));
    setenv("XDG_CACHE_HOME", folder.c_str(), 1);
    an_object_is_loaded_whole_or_not_at_all();
    what_was_kept_is_found_again();
    a_damaged_file_is_none();
    what_was_of_no_use_longest_goes_first();
    several_write_and_read_at_once();
    several_processes_write_and_read_at_once();
    fs::remove_all(folder);
    std::puts("kept as it should be");
}
