// Counts of operations: what is counted one by one is what a launch says it performed, compiled or not.
#include <numeric>

#include "machine.hpp"

using namespace soft_test;

namespace {

// A loop that lanes leave one by one, a guard, a barrier: everything that decides who performs what.
const std::string body =
    "mov.u32 %r2, 0; mov.u32 %r3, 0;\n"
    "LOOP: setp.ge.u32 %p1, %r3, %r1; @%p1 bra DONE;\n"
    "add.s32 %r3, %r3, 5; add.s32 %r2, %r2, %r3; bra LOOP;\n"
    "DONE: and.b32 %r4, %r1, 3; setp.eq.u32 %p2, %r4, 0; @%p2 add.s32 %r2, %r2, 7; bar.sync 0;\n"
    "mul.wide.u32 %rd4, %r1, 4; add.s64 %rd4, %rd4, %rd1; st.global.u32 [%rd4], %r2;";

soft::LaunchStatistics statistics_of(const soft::Program &program, bool compiled, bool counts) {
    std::vector<std::uint32_t> words(96);
    void *parameters[] = {words.data(), nullptr, nullptr};
    soft::Launch launch;
    launch.grid[0] = 1;
    launch.block[0] = 96;
    launch.counts = counts;
    launch.parameters.resize(sizeof parameters);
    std::memcpy(launch.parameters.data(), parameters, sizeof parameters);
    if (compiled) {
        std::string why;
        launch.compiled = soft::compile(program, true, soft::Care::assuming, why);
        EXPECT(launch.compiled);
    }
    soft::Executor executor(2);
    soft::LaunchStatistics statistics;
    EXPECT(!executor.run(program, launch, &statistics));
    return statistics;
}

} // namespace

int main() {
    soft::install_fault_handler();
    ptx::Module module(kernel_text(body));
    auto unknown = [](const std::string &) -> std::uint64_t { return 0; };
    const auto program = soft::lower(module, "k", unknown);
    const soft::LaunchStatistics counted = statistics_of(*program, false, true);
    EXPECT(counted.counts.size() == program->ops.size());
    std::uint64_t sum = 0, guarded_threads = 0;
    for (std::size_t i = 0; i < counted.counts.size(); ++i) {
        sum += counted.counts[i].warps;
        EXPECT(counted.counts[i].threads <= 32 * counted.counts[i].warps);
        if (program->ops[i].guarded != nullptr)
            guarded_threads = counted.counts[i].threads;
    }
    EXPECT(sum == counted.warp_operations);
    EXPECT(guarded_threads == 96 / 4);
    EXPECT(statistics_of(*program, false, false).warp_operations == sum);
    EXPECT(statistics_of(*program, false, false).counts.empty());
    if (soft::can_compile())
        EXPECT(statistics_of(*program, true, false).warp_operations == sum);
    std::puts("counted as it should be");
}
