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
#include <utility>

namespace soft {

namespace {

/// What this thread has had of a processor, in nanoseconds.
std::uint64_t processor_time() {
    timespec now{};
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return static_cast<std::uint64_t>(now.tv_sec) * 1000000000 + static_cast<std::uint64_t>(now.tv_nsec);
}

using Clock = std::chrono::steady_clock;

/// Nanoseconds of work that are worth waking a helper; handing a part to one that is awake; taking blocks
/// that others take too.
constexpr std::uint64_t worth_waking = 15000, worth_sharing = 7000, worth_taking = 4000;

std::uint64_t nanoseconds(Clock::duration time) {
    return static_cast<std::uint64_t>(std::chrono::nanoseconds(time).count());
}

/// One launch, from its first block to its last.
class GridRun {
  public:
    GridRun(const Program &program, const Launch &launch, BlockRunner &own, Helpers &helpers)
        : program_(program), launch_(launch), own_(own), helpers_(helpers),
          blocks_(static_cast<std::uint64_t>(launch.grid[0]) * launch.grid[1] * launch.grid[2]),
          next_(launch.first) {}

    std::optional<Fault> to_its_end(LaunchStatistics *statistics);

  private:
    void in_any_order();
    void together();
    void share(const Job &job, unsigned helpers, const std::function<void()> &mine);
    unsigned worthwhile_helpers() const;
    bool prepare(BlockRunner &runner);
    void run_blocks(BlockRunner &runner, std::uint64_t most);
    bool take(std::uint64_t &first, std::uint64_t &end);
    void take_turns();
    void note(Fault &&caught);
    void add_up(const BlockRunner &runner);

    const Program &program_;
    const Launch &launch_;
    BlockRunner &own_; // of the calling thread
    Helpers &helpers_;
    const std::uint64_t blocks_;
    const Clock::time_point begin_ = Clock::now();
    std::uint64_t at_once_ = 1; // blocks that a thread takes, while many are left

    std::atomic<std::uint64_t> next_;                 // block that nobody has begun
    std::atomic<bool> failed_{false}, paused_{false}; // flags alone: nothing else is read by what they say
    std::atomic<std::uint64_t> executed_{0}, given_up_{0}, spent_{0}; // sums
    EndCheck end_{
        begin_ + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(launch_.seconds)),
        launch_.abandoned, failed_};

    std::mutex mutex_;
    std::optional<Fault> fault_;
    std::vector<OperationCount> counts_;
    std::deque<BlockRunner *> waiting_; // for their turn
};

void GridRun::note(Fault &&caught) {
    std::lock_guard lock(mutex_);
    if (!fault_)
        fault_ = std::move(caught);
    failed_.store(true, std::memory_order_relaxed);
}

bool GridRun::prepare(BlockRunner &runner) {
    try {
        runner.prepare(program_, launch_, end_);
        return true;
    } catch (const std::bad_alloc &) {
        Fault no_memory;
        no_memory.kind = FaultKind::not_supported;
        no_memory.line = program_.line;
        no_memory.message = "no memory for the registers and shared memory of " + program_.name;
        note(std::move(no_memory));
        return false;
    }
}

/// The next blocks for a thread, as a range; false when there are none for it.
bool GridRun::take(std::uint64_t &first, std::uint64_t &end) {
    if (failed_.load(std::memory_order_relaxed) || paused_.load(std::memory_order_relaxed))
        return false;
    const std::uint64_t seen = next_.load(std::memory_order_relaxed),
                        left = blocks_ - std::min(blocks_, seen);
    // Towards the end one by one, so that all threads are done at the same time.
    const std::uint64_t some = std::clamp<std::uint64_t>(left / (2 * (helpers_.count() + 1)), 1, at_once_);
    // Blocks are independent of one another: which thread takes which does not matter, nor when it sees that.
    first = next_.fetch_add(some, std::memory_order_relaxed);
    end = std::min(first + some, blocks_);
    return first < end;
}

void GridRun::run_blocks(BlockRunner &runner, std::uint64_t most) {
    const bool asks = &runner == &own_ && launch_.pause;
    bool begun = false;
    std::uint64_t at = 0, end = 0;
    const std::function<bool(std::uint64_t &)> next = [&](std::uint64_t &number) {
        if (asks && std::exchange(begun, true) && launch_.pause(runner.executed()))
            paused_.store(true, std::memory_order_relaxed);
        if (most-- == 0 || (at == end && !take(at, end)))
            return false;
        number = at++;
        return true;
    };
    try {
        runner.run(next);
    } catch (Fault &caught) {
        note(std::move(caught));
    }
}

/// What a runner has performed goes into the launch's sums.
void GridRun::add_up(const BlockRunner &runner) {
    executed_.fetch_add(runner.executed(), std::memory_order_relaxed);
    given_up_.fetch_add(runner.given_up(), std::memory_order_relaxed);
    if (!launch_.counts)
        return;
    std::lock_guard lock(mutex_);
    counts_.resize(program_.ops.size());
    for (std::size_t i = 0; i < runner.counts().size(); ++i) {
        counts_[i].warps += runner.counts()[i].warps;
        counts_[i].threads += runner.counts()[i].threads;
    }
}

/// Has up to so many helpers do a job while this thread does `mine`.
void GridRun::share(const Job &job, unsigned helpers, const std::function<void()> &mine) {
    const Job timed = [&](BlockRunner &runner) {
        const std::uint64_t at = launch_.times_processors ? processor_time() : 0;
        job(runner);
        if (launch_.times_processors)
            spent_.fetch_add(processor_time() - at, std::memory_order_relaxed);
    };
    if (helpers == 0)
        return mine();
    struct Closed { // whatever `mine` throws: the job's captures end with this function
        Helpers &helpers;
        ~Closed() { helpers.close(); }
    } closed{helpers_};
    helpers_.open(timed, helpers);
    mine();
}

/// Blocks that do not wait for one another. How much there is to do is known from the last such launch, or
/// after the first block.
void GridRun::in_any_order() {
    if (!prepare(own_))
        return;
    const Clock::time_point from = Clock::now();
    if (helpers_.count() > 0 && blocks_ - launch_.first > 1 && worthwhile_helpers() == 0) {
        run_blocks(own_, 1);
        own_.note_duration(nanoseconds(Clock::now() - from));
    }
    if (!launch_.pause)
        at_once_ =
            std::max<std::uint64_t>(1, worth_taking / std::max<std::uint64_t>(own_.block_duration(), 100));
    const Job help = [&](BlockRunner &runner) {
        if (!prepare(runner))
            return;
        run_blocks(runner, blocks_);
        add_up(runner);
    };
    share(help, worthwhile_helpers(), [&] {
        run_blocks(own_, blocks_);
        own_.note_duration(nanoseconds(Clock::now() - from));
    });
    add_up(own_);
}

/// As many as have enough to do, by what this thread knows of the blocks.
unsigned GridRun::worthwhile_helpers() const {
    const std::uint64_t left = blocks_ - std::min(blocks_, next_.load(std::memory_order_relaxed));
    const std::uint64_t work = left * own_.block_duration();
    const std::uint64_t awake = helpers_.count() - helpers_.asleep();
    const std::uint64_t wanted = std::max(std::min(awake, work / worth_sharing), work / worth_waking);
    return static_cast<unsigned>(std::min<std::uint64_t>({wanted, left, helpers_.count()}));
}

/// Blocks that wait for one another are all under way at once: threads take them in turn, a step each time.
void GridRun::together() {
    std::vector<std::unique_ptr<BlockRunner>> all;
    for (std::uint64_t number = 0; number < blocks_; ++number) {
        all.push_back(std::make_unique<BlockRunner>());
        if (!prepare(*all.back()))
            return;
        all.back()->begin(number);
        waiting_.push_back(all.back().get());
    }
    next_.store(blocks_, std::memory_order_relaxed); // none is left for another part of the launch
    share([this](BlockRunner &) { take_turns(); }, blocks_ > 1 ? helpers_.count() : 0,
          [this] { take_turns(); });
    for (const auto &runner : all)
        add_up(*runner);
}

/// The queue is not empty while a block is left that no thread has: none waits for one that nobody runs.
void GridRun::take_turns() {
    std::unique_lock lock(mutex_);
    while (!waiting_.empty() && !failed_.load(std::memory_order_relaxed)) { // a flag alone
        BlockRunner *runner = waiting_.front();
        waiting_.pop_front();
        lock.unlock();
        bool ended = false;
        try {
            ended = runner->step();
        } catch (Fault &caught) {
            note(std::move(caught));
        }
        lock.lock();
        if (!ended)
            waiting_.push_back(runner);
    }
}

std::optional<Fault> GridRun::to_its_end(LaunchStatistics *statistics) {
    const std::uint64_t started = launch_.times_processors ? processor_time() : 0;
    if (launch_.workspace != nullptr)
        together();
    else
        in_any_order();
    if (statistics != nullptr) {
        statistics->blocks = std::min(next_.load(std::memory_order_relaxed), blocks_) - launch_.first;
        statistics->counted = launch_.counts ? statistics->blocks : 0;
        statistics->counts = std::move(counts_);
        statistics->warp_operations = executed_.load(std::memory_order_relaxed);
        statistics->given_up = given_up_.load(std::memory_order_relaxed);
        if (launch_.times_processors)
            statistics->processor_seconds =
                static_cast<double>(spent_.load(std::memory_order_relaxed) + processor_time() - started) *
                1e-9;
        statistics->seconds = std::chrono::duration<double>(Clock::now() - begin_).count();
    }
    return std::move(fault_);
}

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
    GridRun run(program, launch, state_->runner, state_->helpers);
    return run.to_its_end(statistics);
}

} // namespace soft
