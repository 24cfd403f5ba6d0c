#include "launch.hpp"

#include "block_runner.hpp"
#include "helpers.hpp"

#include <algorithm>
#include <chrono>
#include <ctime>
#include <deque>
#include <mutex>
#include <new>
#include <sched.h>
#include <thread>

namespace soft {

namespace {

/// What this thread has had of a processor, in nanoseconds.
std::uint64_t processor_time() {
    timespec now{};
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return static_cast<std::uint64_t>(now.tv_sec) * 1000000000 + static_cast<std::uint64_t>(now.tv_nsec);
}

/// Waking a helper costs what so many operations of a warp do; less than that is not shared out.
constexpr std::uint64_t worth_sharing = 10000;

} // namespace

void LaunchStatistics::add(const LaunchStatistics &part) {
    blocks += part.blocks;
    warp_operations += part.warp_operations;
    seconds += part.seconds;
    given_up += part.given_up;
    processor_seconds += part.processor_seconds;
    counted += part.counted;
    counts.resize(std::max(counts.size(), part.counts.size()));
    for (std::size_t i = 0; i < part.counts.size(); ++i) {
        counts[i].warps += part.counts[i].warps;
        counts[i].threads += part.counts[i].threads;
    }
}

unsigned usable_processors() {
    cpu_set_t allowed;
    CPU_ZERO(&allowed);
    if (sched_getaffinity(0, sizeof allowed, &allowed) == 0 && CPU_COUNT(&allowed) > 0)
        return static_cast<unsigned>(CPU_COUNT(&allowed));
    return std::max(1u, std::thread::hardware_concurrency()); // more of them than the set has room for
}

struct Executor::State {
    explicit State(unsigned threads) : helpers(threads > 0 ? threads - 1 : 0) {}
    BlockRunner runner; // of the calling thread
    Helpers helpers;
};

Executor::Executor(unsigned threads) : state_(std::make_unique<State>(threads)) {}
Executor::~Executor() = default;

std::optional<Fault> Executor::run(const Program &program, const Launch &launch,
                                   LaunchStatistics *statistics) {
    using Clock = std::chrono::steady_clock;
    const Clock::time_point begin = Clock::now();
    const auto limit =
        std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(launch.seconds));
    const std::uint64_t blocks = static_cast<std::uint64_t>(launch.grid[0]) * launch.grid[1] * launch.grid[2];
    const std::vector<std::uint8_t> fixed = prepare_fixed(program, launch);
    std::atomic<std::uint64_t> next{launch.first}, executed{0}, given_up{0}, spent{0};
    const std::uint64_t started = statistics != nullptr ? processor_time() : 0;
    std::atomic<bool> failed{false}, paused{false}; // flags alone: nothing else is read by what they say
    std::mutex mutex;
    std::optional<Fault> fault;
    EndCheck end{begin + limit, launch.abandoned, failed};

    auto note = [&](Fault &&caught) {
        std::lock_guard lock(mutex);
        if (!fault)
            fault = std::move(caught);
        failed = true;
    };
    // Blocks are independent of one another: which thread takes which does not matter.
    auto run_blocks = [&](BlockRunner &runner, std::uint64_t most) {
        bool begun = false;
        const std::function<bool(std::uint64_t &)> take = [&](std::uint64_t &number) {
            if (begun && &runner == &state_->runner && launch.pause && launch.pause(runner.executed()))
                paused.store(true, std::memory_order_relaxed);
            begun = true;
            return most-- > 0 && !failed.load(std::memory_order_relaxed) &&
                   !paused.load(std::memory_order_relaxed) &&
                   (number = next.fetch_add(1, std::memory_order_relaxed)) < blocks;
        };
        try {
            runner.run(take);
        } catch (Fault &caught) {
            note(std::move(caught));
        }
    };
    // What a runner has performed goes into the launch's sums.
    auto add_up = [&](const BlockRunner &runner) {
        executed += runner.executed();
        given_up += runner.given_up();
        if (statistics == nullptr || !launch.counts)
            return;
        std::lock_guard lock(mutex);
        statistics->counts.resize(program.ops.size());
        for (std::size_t i = 0; i < runner.counts().size(); ++i) {
            statistics->counts[i].warps += runner.counts()[i].warps;
            statistics->counts[i].threads += runner.counts()[i].threads;
        }
    };
    auto prepare = [&](BlockRunner &runner) {
        try {
            runner.prepare(program, launch, fixed, end);
            return true;
        } catch (const std::bad_alloc &) {
            Fault no_memory;
            no_memory.kind = FaultKind::not_supported;
            no_memory.line = program.line;
            no_memory.message = "no memory for the registers and shared memory of " + program.name;
            note(std::move(no_memory));
            return false;
        }
    };

    // Blocks that wait for one another are all under way at once: threads take them in turn, a step each
    // time. The queue is not empty while a block is left that no thread has: none waits for one that nobody
    // runs.
    std::deque<BlockRunner *> waiting;
    auto take_turns = [&] {
        std::unique_lock lock(mutex);
        while (!waiting.empty() && !failed.load(std::memory_order_relaxed)) { // a flag alone
            BlockRunner *runner = waiting.front();
            waiting.pop_front();
            lock.unlock();
            bool ended = false;
            try {
                ended = runner->step();
            } catch (Fault &caught) {
                note(std::move(caught));
            }
            lock.lock();
            if (!ended)
                waiting.push_back(runner);
        }
    };
    auto run_together = [&] {
        std::vector<std::unique_ptr<BlockRunner>> all;
        for (std::uint64_t number = 0; number < blocks; ++number) {
            all.push_back(std::make_unique<BlockRunner>());
            if (!prepare(*all.back()))
                return;
            all.back()->begin(number);
            waiting.push_back(all.back().get());
        }
        next.store(blocks, std::memory_order_relaxed); // none is left for another part of the launch
        const Job help = [&](BlockRunner &) {
            const std::uint64_t at = statistics != nullptr ? processor_time() : 0;
            take_turns();
            if (statistics != nullptr)
                spent += processor_time() - at;
        };
        const bool share = state_->helpers.count() > 0 && blocks > 1;
        if (share)
            state_->helpers.open(help);
        take_turns();
        if (share)
            state_->helpers.close();
        for (const auto &runner : all)
            add_up(*runner);
    };

    BlockRunner &own = state_->runner;
    if (launch.workspace != nullptr) {
        run_together();
    } else if (prepare(own)) {
        run_blocks(own, 1);
        const bool share = state_->helpers.count() > 0 && blocks - launch.first > 1 &&
                           own.executed() * (blocks - launch.first - 1) >= worth_sharing;
        const Job help = [&](BlockRunner &runner) {
            const std::uint64_t at = statistics != nullptr ? processor_time() : 0;
            if (!prepare(runner))
                return;
            run_blocks(runner, blocks);
            add_up(runner);
            if (statistics != nullptr)
                spent += processor_time() - at;
        };
        if (share)
            state_->helpers.open(help);
        run_blocks(own, blocks);
        if (share)
            state_->helpers.close();
        add_up(own);
    }
    if (statistics != nullptr) {
        statistics->blocks = std::min(next.load(), blocks) - launch.first;
        statistics->counted = launch.counts ? statistics->blocks : 0;
        statistics->warp_operations = executed;
        statistics->given_up = given_up;
        statistics->processor_seconds = static_cast<double>(spent + processor_time() - started) * 1e-9;
        statistics->seconds = std::chrono::duration<double>(Clock::now() - begin).count();
    }
    return fault;
}

} // namespace soft
