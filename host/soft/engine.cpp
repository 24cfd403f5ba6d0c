#include "soft/engine.hpp"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <new>
#include <set>
#include <utility>

#include "device/printed.hpp"
#include "server/state.hpp"
#include "soft/blas/blas.hpp"
#include "soft/exec/launch.hpp"
#include "soft/loaded_module.hpp"
#include "soft/telling.hpp"

namespace shimbench::soft {

namespace {

CUresult result_of(::soft::FaultKind kind) {
    switch (kind) {
    case ::soft::FaultKind::illegal_address:
        return CUDA_ERROR_ILLEGAL_ADDRESS;
    case ::soft::FaultKind::misaligned_address:
        return CUDA_ERROR_MISALIGNED_ADDRESS;
    case ::soft::FaultKind::assert_failed:
        return CUDA_ERROR_ASSERT;
    case ::soft::FaultKind::timeout:
        return CUDA_ERROR_LAUNCH_TIMEOUT;
    case ::soft::FaultKind::not_supported:
        return CUDA_ERROR_NOT_SUPPORTED;
    default:
        return CUDA_ERROR_LAUNCH_FAILED;
    }
}

void say(CUresult result, const std::string &message) {
    static const std::map<CUresult, const char *> names = {
        {CUDA_ERROR_ILLEGAL_ADDRESS, "CUDA_ERROR_ILLEGAL_ADDRESS"},
        {CUDA_ERROR_MISALIGNED_ADDRESS, "CUDA_ERROR_MISALIGNED_ADDRESS"},
        {CUDA_ERROR_ASSERT, "CUDA_ERROR_ASSERT"},
        {CUDA_ERROR_LAUNCH_TIMEOUT, "CUDA_ERROR_LAUNCH_TIMEOUT"},
        {CUDA_ERROR_LAUNCH_FAILED, "CUDA_ERROR_LAUNCH_FAILED"},
        {CUDA_ERROR_NOT_SUPPORTED, "CUDA_ERROR_NOT_SUPPORTED"},
        {CUDA_ERROR_OUT_OF_MEMORY, "CUDA_ERROR_OUT_OF_MEMORY"},
        {CUDA_ERROR_NO_BINARY_FOR_GPU, "CUDA_ERROR_NO_BINARY_FOR_GPU"},
        {CUDA_ERROR_INVALID_PTX, "CUDA_ERROR_INVALID_PTX"}};
    const auto found = names.find(result);
    const std::string name = found == names.end() ? "CUresult " + std::to_string(result) : found->second;
    std::fprintf(stderr, "shimbench-host: %s: %s\n", name.c_str(), message.c_str());
}

class Engine {
  public:
    explicit Engine(EngineSettings settings)
        : settings_(std::move(settings)), teller_(std::move(settings_.tell)) {
        if (!settings_.threads)
            settings_.threads = ::soft::usable_processors();
        ::soft::install_fault_handler();
        executor_ = std::make_unique<::soft::Executor>(settings_.threads);
    }

    /// Forgets the programs and variables of a module.
    void unload(std::uint64_t module) {
        teller_.forget(module);
        modules_.erase(module);
    }

    /// Says why a kernel cannot run, once for each.
    CUresult refuse(const std::string &kernel, CUresult result, const std::string &why, int line = 0) {
        if (!refused_.insert(kernel).second)
            return result;
        say(result, why + ", in " + kernel + (line ? " at PTX line " + std::to_string(line) : ""));
        teller_.event("kernel-refused",
                      ",\"error\":" + std::to_string(result) + ",\"kernel\":" + json_string(kernel) +
                          ",\"line\":" + std::to_string(line) + ",\"text\":" + json_string(why));
        return result;
    }

    /// Says why a module's text is not taken.
    void refuse_module(CUresult result, const std::string &why) {
        say(result, why);
        teller_.event("module-refused",
                      ",\"error\":" + std::to_string(result) + ",\"text\":" + json_string(why));
    }

    bool rest(bool last) { return teller_.tell_changes(last); }

    /// A variable of a module, which is placed in memory if it was not.
    CUresult variable(const Module &module, const std::string &name, ModuleVariable &found) {
        try {
            return loaded(module).variable(name, found) ? CUDA_SUCCESS : CUDA_ERROR_NOT_FOUND;
        } catch (const ptx::Error &error) {
            say(CUDA_ERROR_NOT_SUPPORTED, std::string(error.what()) + ", in the module of " + name +
                                              " at PTX line " + std::to_string(error.line));
            return CUDA_ERROR_NOT_SUPPORTED;
        } catch (const std::bad_alloc &) {
            return CUDA_ERROR_OUT_OF_MEMORY;
        }
    }

    CUresult run(const Module &module, const Kernel &kernel, const wire_launch &wanted,
                 std::span<const std::byte> parameters) {
        if (sticky_ != CUDA_SUCCESS)
            return sticky_; // a context that had a fault stays unusable
        if (is_blas_module(module.code))
            return perform(module, kernel, wanted, parameters);
        LoadedModule::Launched *launched = nullptr;
        try {
            launched = &made_ready(module, kernel);
        } catch (const ptx::Error &error) {
            return refuse(kernel.facts.name, CUDA_ERROR_NOT_SUPPORTED, error.what(), error.line);
        } catch (const std::bad_alloc &) {
            return refuse(kernel.facts.name, CUDA_ERROR_OUT_OF_MEMORY, "no memory to prepare it");
        }
        const ::soft::Program *program = launched->program.get();
        ::soft::Launch launch;
        std::copy(wanted.grid, wanted.grid + 3, launch.grid);
        std::copy(wanted.block, wanted.block + 3, launch.block);
        launch.dynamic_shared = wanted.shared_bytes;
        launch.parameters.resize(std::max<std::size_t>(program->parameter_bytes, parameters.size()));
        std::memcpy(launch.parameters.data(), parameters.data(), parameters.size());
        launch.program_number = launched->number;
        launch.id = ++launches_;
        ::soft::GridWorkspace workspace;
        if (wanted.cooperative)
            launch.workspace = &workspace;
        if (settings_.rules.memcheck)
            launch.memory_check = module.memory_check;
        launch.seconds = settings_.rules.launch_seconds;
        launch.abandoned = settings_.abandoned;
        launch.times_processors = says_launches_;
        launch.print = [](std::string_view text) {
            std::fwrite(text.data(), 1, text.size(), stderr);
            printed().add(text);
        };
        const bool wants_counts =
            counting_ == Counting::all ||
            (counting_ == Counting::first && teller_.wants_counts(*launched->told, wanted));
        ::soft::LaunchStatistics statistics;
        const auto fault = run_parts(*launched, launch, wants_counts, statistics);
        const ptx::FunctionText &source = launched->source;
        teller_.launched(
            *launched->told,
            {module.handle, kernel.facts.name, program, &wanted, &statistics, launch.compiled != nullptr},
            source.text, source.line);
        if (says_launches_)
            std::fprintf(
                stderr,
                "shimbench-host: launch %s: %llu warp operations in %.9f s, %.9f s of processors, %s\n",
                kernel.facts.name.c_str(), static_cast<unsigned long long>(statistics.warp_operations),
                statistics.seconds, statistics.processor_seconds,
                launch.compiled ? "compiled" : "interpreted");
        return fault ? fail(kernel, *fault) : CUDA_SUCCESS;
    }

  private:
    /// Blocks are interpreted until the kernel's compiled code is there, which goes on with those that are
    /// left: so the first launch of a long kernel is not interpreted to its end.
    std::optional<::soft::Fault> run_parts(LoadedModule::Launched &launched, ::soft::Launch &launch,
                                           bool wants_counts, ::soft::LaunchStatistics &sum) {
        const bool whole_rows = launch.block[0] % ::soft::lanes == 0;
        LoadedModule::Code &code = launched.code[whole_rows];
        const bool interpreted = launch.workspace || (wants_counts && counting_ == Counting::all);
        const std::uint64_t blocks =
            static_cast<std::uint64_t>(launch.grid[0]) * launch.grid[1] * launch.grid[2];
        std::optional<::soft::Fault> fault;
        do {
            if (!interpreted) {
                compile(launched, code, whole_rows);
                launch.compiled = code.assuming.made;
                launch.careful = code.careful.made;
            }
            launch.counts = wants_counts && !launch.compiled;
            launch.pause = nullptr;
            if (!interpreted && !launch.compiled)
                launch.pause = [&](std::uint64_t operations) {
                    if (launch.counts && operations < counted_operations)
                        return false;
                    compile(launched, code, whole_rows, operations);
                    return code.assuming.made != nullptr;
                };
            ::soft::LaunchStatistics part;
            fault = executor_->run(*launched.program, launch, &part);
            code.given_up += part.given_up;
            if (!launch.compiled)
                launched.interpreted += part.warp_operations;
            launch.first += part.blocks;
            launch.seconds -= part.seconds;
            sum.add(part);
        } while (!fault && launch.first < blocks);
        return fault;
    }

    CUresult fail(const Kernel &kernel, const ::soft::Fault &fault) {
        sticky_ = result_of(fault.kind);
        say(sticky_, fault.message);
        teller_.tell_changes(true);
        teller_.event("kernel-fault", fault_fields(kernel.facts.name, fault));
        return sticky_;
    }

    /// A kernel of our libcublas, which is not executed but performed.
    CUresult perform(const Module &module, const Kernel &kernel, const wire_launch &wanted,
                     std::span<const std::byte> parameters) {
        const auto begin = std::chrono::steady_clock::now();
        const auto limit = std::chrono::duration_cast<std::chrono::steady_clock::duration>(
            std::chrono::duration<double>(settings_.rules.launch_seconds));
        std::optional<::soft::Fault> fault;
        try {
            run_blas(kernel.facts.name, parameters,
                     {module.touch, settings_.threads, begin + limit, settings_.abandoned});
        } catch (const ::soft::Fault &caught) {
            fault = caught;
        } catch (const std::bad_alloc &) { // nothing was lost by it: the context goes on
            return refuse(kernel.facts.name, CUDA_ERROR_OUT_OF_MEMORY, "no memory for the tiles");
        }
        if (fault)
            fault->message += ", in " + kernel.facts.name;
        ::soft::LaunchStatistics statistics;
        statistics.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
        teller_.launched(teller_.total(module.handle, kernel.facts.name),
                         {module.handle, kernel.facts.name, nullptr, &wanted, &statistics, true}, {}, 0);
        return fault ? fail(kernel, *fault) : CUDA_SUCCESS;
    }

    /// The kernel, lowered; its module is indexed when that is its first.
    LoadedModule::Launched &made_ready(const Module &module, const Kernel &kernel) {
        if (const auto known = modules_.find(module.handle); known != modules_.end())
            if (LoadedModule::Launched *launched = known->second->known(kernel))
                return *launched;
        const auto begin = std::chrono::steady_clock::now();
        LoadedModule::Launched &launched = loaded(module).launched(kernel);
        launched.number = ++programs_;
        launched.told = &teller_.total(module.handle, kernel.facts.name);
        const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - begin;
        if (says_launches_)
            std::fprintf(
                stderr, "shimbench-host: made ready %s: %zu operations of %zu bytes of PTX in %.6f s\n",
                kernel.facts.name.c_str(), launched.program->ops.size(), module.code.size(), seconds.count());
        return launched;
    }

    LoadedModule &loaded(const Module &module) {
        auto &known = modules_[module.handle];
        if (!known)
            known = std::make_unique<LoadedModule>(module);
        return *known;
    }

    static std::string fault_fields(const std::string &kernel, const ::soft::Fault &fault) {
        auto triple = [](const std::uint32_t (&v)[3]) {
            return "[" + std::to_string(v[0]) + "," + std::to_string(v[1]) + "," + std::to_string(v[2]) + "]";
        };
        return ",\"error\":" + std::to_string(result_of(fault.kind)) + ",\"kernel\":" + json_string(kernel) +
               ",\"line\":" + std::to_string(fault.line) + ",\"block\":" + triple(fault.block) +
               ",\"thread\":" + triple(fault.thread) + ",\"text\":" + json_string(fault.message);
    }

    /// Kernels are compiled in the background, while the interpreter goes on: so a kernel is worth it as soon
    /// as it has run for a fraction of what compiling takes. Whether it was compiled before is asked at once.
    /// Careful code is made when warps had to do without. `under_way`: operations that the launch has
    /// interpreted so far.
    void compile(LoadedModule::Launched &launched, LoadedModule::Code &code, bool whole_rows,
                 std::uint64_t under_way = 0) {
        if (settings_.rules.memcheck || compiling_ == Compiling::never || !::soft::can_compile() ||
            launched.program->takes_turns)
            return;
        constexpr std::uint64_t worth_making = 300, worth_asking = 5; // interpreted operations for each
        const std::uint64_t operations = launched.program->ops.size();
        const std::uint64_t interpreted = launched.interpreted + under_way;
        const bool at_once = compiling_ == Compiling::always;
        auto make = [&](LoadedModule::Making &making, ::soft::Care care, bool ask, bool make) {
            if (making.made)
                return;
            if (at_once && (ask || make)) {
                if (!making.order) {
                    making.order = std::make_shared<::soft::Order>();
                    making.order->made =
                        ::soft::compile(*launched.program, whole_rows, care, making.order->why);
                    making.made = taken(launched, *making.order);
                }
            } else if (!making.order && ask) {
                making.order = background_.order(launched.program, whole_rows, care, true);
            } else if (making.order &&
                       making.order->done.load(std::memory_order_acquire)) { // then its results
                making.made = taken(launched, *making.order);
                if (!making.made && making.order->only_kept && make)
                    making.order = background_.order(launched.program, whole_rows, care, false);
            }
        };
        make(code.assuming, ::soft::Care::assuming, at_once || interpreted >= worth_asking * operations,
             interpreted >= worth_making * operations);
        if (code.assuming.made && code.assuming.made->assumes)
            make(code.careful, ::soft::Care::careful, code.given_up > 0, code.given_up >= worth_making);
    }

    /// What came of an order, said once.
    std::shared_ptr<const ::soft::Compiled> taken(const LoadedModule::Launched &launched,
                                                  ::soft::Order &order) {
        if (!order.made && !order.why.empty())
            std::fprintf(stderr, "shimbench-host: %s stays interpreted: %s\n", launched.program->name.c_str(),
                         std::exchange(order.why, {}).c_str());
        if (order.made && says_launches_)
            std::fprintf(stderr, "shimbench-host: compiled %s: %zu operations, %u native, in %.6f s\n",
                         launched.program->name.c_str(), launched.program->ops.size(), order.made->native,
                         order.made->seconds);
        return order.made;
    }

    enum class Compiling { never, by_use, always };
    static Compiling compiling() {
        const char *wanted = std::getenv("SHIMBENCH_SOFT_COMPILE"); // to compare, and to test either
        const std::string word = wanted ? wanted : "";
        return word == "never" ? Compiling::never : word == "always" ? Compiling::always : Compiling::by_use;
    }

    /// Which launches count what they perform, line by line: of each shape the first, as far as it is
    /// interpreted, which costs next to nothing; or all, which are interpreted for it.
    enum class Counting { none, first, all };
    /// One that counts does not leave the interpreter before it has performed so many: half a second or so.
    static constexpr std::uint64_t counted_operations = 10'000'000;
    static Counting counting() {
        const char *wanted = std::getenv("SHIMBENCH_SOFT_COUNT");
        const std::string word = wanted ? wanted : "";
        return word == "none" ? Counting::none : word == "all" ? Counting::all : Counting::first;
    }

    const Compiling compiling_ = compiling();
    const Counting counting_ = counting();
    EngineSettings settings_;
    KernelTeller teller_;
    const bool says_launches_ = std::getenv("SHIMBENCH_SOFT_LAUNCHES") != nullptr; // for benchmarks/soft.py
    ::soft::Background background_;
    std::unique_ptr<::soft::Executor> executor_;
    CUresult sticky_ = CUDA_SUCCESS;
    std::set<std::string> refused_; // kernels
    std::uint64_t launches_ = 0, programs_ = 0;
    std::unordered_map<std::uint64_t, std::unique_ptr<LoadedModule>> modules_; // by the device's handle
};

} // namespace

KernelEngine make_engine(EngineSettings settings) {
    const auto engine = std::make_shared<Engine>(std::move(settings));
    return {[engine](const Module &module, const Kernel &kernel, const wire_launch &launch,
                     std::span<const std::byte> parameters) {
                return engine->run(module, kernel, launch, parameters);
            },
            [engine](std::uint64_t module) { engine->unload(module); },
            [engine](const Module &module, const std::string &name, ModuleVariable &found) {
                return engine->variable(module, name, found);
            },
            [engine](const std::string &kernel, CUresult result, const std::string &why) {
                engine->refuse(kernel, result, why);
            },
            [engine](CUresult result, const std::string &why) { engine->refuse_module(result, why); },
            [engine](bool last) { return engine->rest(last); }};
}

} // namespace shimbench::soft
