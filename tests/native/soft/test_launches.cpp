// Launches after one another on one executor: each sees its own parameters, grid, blocks and shared memory,
// whichever kernel's came before it, and whichever thread runs its blocks.
#include <chrono>
#include <filesystem>
#include <fstream>
#include <thread>

#include <unistd.h>

#include "machine.hpp"

using namespace soft_test;

namespace {

constexpr std::uint32_t words_of_thread = 10;

/// Writes what a thread sees of its launch, and `mark`; kernels with other marks are other programs.
std::string text(std::uint32_t mark) {
    return kernel_text(
        "mov.u32 %r2, %ntid.x; mov.u32 %r3, %ctaid.x; mov.u32 %r4, %ctaid.y; mov.u32 %r5, %nctaid.x;\n"
        "mov.u32 %r6, %nctaid.y; mov.u32 %r7, %ntid.y; mov.u32 %r8, %tid.y;\n"
        "mov.u32 %r9, %dynamic_smem_size; mov.u64 %rd10, %gridid; ld.param.s8 %r11, [p3];\n"
        "mad.lo.u32 %r20, %r4, %r5, %r3; mad.lo.u32 %r20, %r20, %r7, %r8;\n" // rows of threads before this
                                                                             // one
        "mad.lo.u32 %r20, %r20, %r2, %r1;\n"
        "mul.wide.u32 %rd20, %r20, " +
        std::to_string(4 * words_of_thread) +
        "; add.s64 %rd20, %rd20, %rd1;\n"
        "st.global.u32 [%rd20], " +
        std::to_string(mark) +
        "; st.global.u32 [%rd20+4], %r3;\n"
        "st.global.u32 [%rd20+8], %r4; st.global.u32 [%rd20+12], %r5; st.global.u32 [%rd20+16], %r6;\n"
        "st.global.u32 [%rd20+20], %r9; st.global.u32 [%rd20+24], %rd10; st.global.u32 [%rd20+28], %r11;\n"
        "st.global.u64 [%rd20+32], %rd2;");
}

struct Kernel {
    std::uint32_t mark;
    std::uint64_t number; // Launch::program_number
    std::shared_ptr<const soft::Program> program;
    std::shared_ptr<const soft::Compiled> compiled;
};

Kernel kernel(std::uint32_t mark, std::uint64_t number, bool compiled) {
    ptx::Module module(text(mark));
    auto unknown = [](const std::string &) -> std::uint64_t { return 0; };
    Kernel made{mark, number, soft::lower(module, "k", unknown), nullptr};
    if (compiled) {
        std::string why;
        made.compiled = soft::compile(*made.program, true, soft::Care::assuming, why);
        EXPECT(made.compiled);
    }
    return made;
}

/// One launch whose every value follows from `salt`.
void launch_and_look(soft::Executor &executor, const Kernel &kernel, std::uint32_t salt) {
    soft::Launch launch;
    launch.grid[0] = 1 + salt % 7 * 6; // few blocks, and enough for all threads
    launch.grid[1] = 1 + salt % 5;
    launch.block[0] = salt % 3 == 0 ? 64 : 32; // rows of whole warps, which compiled code is made for
    launch.block[1] = 1 + salt % 2;
    launch.dynamic_shared = salt % 4 * 256;
    launch.id = salt;
    launch.program_number = kernel.number;
    launch.compiled = kernel.compiled;
    const std::uint32_t threads = launch.grid[0] * launch.grid[1] * launch.block[0] * launch.block[1];
    std::vector<std::uint32_t> words(std::size_t{threads} * words_of_thread, 0xdddddddd);
    const auto third = static_cast<std::int8_t>(salt * 37);
    const std::uint64_t second =
        0x0123456789abcdef * (salt / 2 + 1); // the same in some that follow one another
    const std::uint64_t parameters[] = {reinterpret_cast<std::uint64_t>(words.data()), second,
                                        static_cast<std::uint8_t>(third)};
    launch.parameters.resize(sizeof parameters);
    std::memcpy(launch.parameters.data(), parameters, sizeof parameters);
    EXPECT(!executor.run(*kernel.program, launch));
    const std::uint32_t of_block = launch.block[0] * launch.block[1];
    for (std::uint32_t thread = 0; thread < threads; ++thread) {
        const std::uint32_t block = thread / of_block;
        const std::uint32_t wanted[words_of_thread] = {kernel.mark,
                                                       block % launch.grid[0],
                                                       block / launch.grid[0],
                                                       launch.grid[0],
                                                       launch.grid[1],
                                                       launch.dynamic_shared,
                                                       salt,
                                                       static_cast<std::uint32_t>(std::int32_t{third}),
                                                       static_cast<std::uint32_t>(second),
                                                       static_cast<std::uint32_t>(second >> 32)};
        EXPECT(std::equal(wanted, wanted + words_of_thread,
                          words.data() + std::size_t{thread} * words_of_thread));
    }
}

void launches_see_their_own(unsigned threads, bool compiled) {
    soft::Executor executor(threads);
    const Kernel kernels[] = {kernel(11, 1, compiled), kernel(22, 2, compiled), kernel(33, 0, compiled)};
    for (std::uint32_t salt = 0; salt < 300; ++salt)
        launch_and_look(executor, kernels[salt % 11 % 3], salt);
}

/// More kernels than are kept, so that each makes room for others, and comes back.
void kernels_make_room(bool compiled) {
    soft::Executor executor(2);
    const Kernel two[] = {kernel(44, 0, compiled), kernel(55, 0, compiled)};
    for (std::uint32_t salt = 0; salt < 400; ++salt) {
        Kernel one = two[salt % 2];
        one.number = 1 + salt % 100; // odd and even are two programs
        launch_and_look(executor, one, salt);
    }
}

/// Whether this process has other threads than the calling one, and all of them are asleep. A sanitizer may
/// have one of its own.
bool all_others_sleep() {
    unsigned others = 0, asleep = 0;
    for (const auto &task : std::filesystem::directory_iterator("/proc/self/task")) {
        if (task.path().filename() == std::to_string(gettid()))
            continue;
        std::ifstream stat(task.path() / "stat");
        const std::string text((std::istreambuf_iterator<char>(stat)), {});
        ++others;
        asleep += text.find(") S ") != std::string::npos;
    }
    return others >= 2 && asleep == others;
}

/// Helpers wait awake for a moment only; who sleeps is woken.
void helpers_sleep_when_nothing_is_launched() {
    soft::Executor executor(3);
    const Kernel one = kernel(66, 1, false);
    for (int round = 0; round < 3; ++round) {
        for (std::uint32_t salt = 0; salt < 20; ++salt)
            launch_and_look(executor, one, salt);
        const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(30);
        while (!all_others_sleep() && std::chrono::steady_clock::now() < end)
            std::this_thread::sleep_for(std::chrono::milliseconds(1));
        EXPECT(all_others_sleep());
    }
}

} // namespace

int main() {
    soft::install_fault_handler();
    helpers_sleep_when_nothing_is_launched();
    for (const bool compiled : {false, true}) {
        if (compiled && !soft::can_compile())
            continue;
        for (const unsigned threads : {1u, 2u, 5u})
            launches_see_their_own(threads, compiled);
        kernels_make_room(compiled);
    }
    std::puts("launches see their own");
}
