// Lanes that part and meet in random kernels of branches within branches: compiled code must do what the
// interpreter does, lane for lane, operation for operation, and report the same thread's bad access.
#include <random>
#include <vector>

#include "machine.hpp"

#include "soft/exec/compile/compile.hpp"

using namespace soft_test;

namespace {

constexpr unsigned seeds = 8;
constexpr unsigned words_of_thread = 16, values = 6, shared_words = 32;

std::vector<std::uint32_t> memory; // in one place for all runs: messages name addresses

struct Ran {
    std::vector<std::uint32_t> memory;
    std::uint64_t operations = 0;
    std::optional<soft::Fault> fault;
};

enum class How { interpreted, both, assuming, careful };

Ran run_as(How how, const std::string &text, std::uint32_t threads, const std::vector<std::uint32_t> &input) {
    ptx::Module module(text);
    const auto program = soft::lower(module, "k", [](const std::string &) -> std::uint64_t { return 0; });
    Ran ran;
    memory.assign(threads * words_of_thread + shared_words, 0);
    soft::Launch launch;
    launch.grid[0] = 1;
    launch.block[0] = threads;
    const void *parameters[] = {memory.data(), input.data(), memory.data() + threads * words_of_thread};
    launch.parameters.resize(sizeof parameters);
    std::memcpy(launch.parameters.data(), parameters, sizeof parameters);
    auto made = [&](soft::Care care) {
        std::string why;
        auto code = soft::compile(*program, threads % 32 == 0, care, why);
        if (!code)
            std::fprintf(stderr, "not compiled: %s\n%s", why.c_str(), text.c_str());
        EXPECT(code != nullptr);
        return code;
    };
    if (how != How::interpreted)
        launch.compiled = made(how == How::careful ? soft::Care::careful : soft::Care::assuming);
    if (how == How::both)
        launch.careful = made(soft::Care::careful);
    soft::Executor executor(1);
    soft::LaunchStatistics statistics;
    ran.fault = executor.run(*program, launch, &statistics);
    ran.operations = statistics.warp_operations;
    ran.memory = memory;
    return ran;
}

/// Random statements on %r10..%r15, which differ from lane to lane, and %r20..%r25, which mostly do not.
class Kernel {
  public:
    explicit Kernel(unsigned seed) : random_(seed) {
        line("mul.lo.s32 %r2, %r1, " + std::to_string(4 * words_of_thread) + ";");
        line("cvt.u64.u32 %rd4, %r2; add.s64 %rd1, %rd1, %rd4;"); // this thread's own words
        for (unsigned i = 0; i < values; ++i) {
            line("mul.wide.u32 %rd5, %r1, 4; add.s64 %rd5, %rd5, %rd2;");
            line("ld.global.u32 " + varying(i) + ", [%rd5+" + std::to_string(4 * i) + "];");
            line("ld.global.u32 " + shared(i) + ", [%rd2+" + std::to_string(4 * i + 64) + "];");
        }
        block(0, 10);
        for (unsigned i = 0; i < values; ++i) {
            line("st.global.u32 [%rd1+" + std::to_string(4 * i) + "], " + varying(i) + ";");
            line("st.global.u32 [%rd1+" + std::to_string(4 * (i + values)) + "], " + shared(i) + ";");
        }
    }
    std::string text() const { return kernel_text(body_); }

  private:
    unsigned pick(unsigned count) { return static_cast<unsigned>(random_() % count); }
    void line(const std::string &words) { body_ += words + "\n"; }
    std::string varying(unsigned i) { return "%r1" + std::to_string(i); }
    std::string shared(unsigned i) { return "%r2" + std::to_string(i); }
    std::string any() { return pick(3) != 0 ? varying(pick(values)) : shared(pick(values)); }
    std::string label() { return "L" + std::to_string(labels_++); }

    void arithmetic() {
        static const char *const names[] = {"add.s32", "sub.s32", "xor.b32", "mul.lo.s32",
                                            "min.s32", "max.u32", "and.b32", "or.b32"};
        line(std::string(names[pick(8)]) + " " + varying(pick(values)) + ", " + any() + ", " + any() + ";");
    }
    void on_shared() {
        line("add.s32 " + shared(pick(values)) + ", " + shared(pick(values)) + ", " +
             std::to_string(pick(9)) + ";");
    }
    void load() {
        line("and.b32 %r3, " + any() + ", 31; mul.wide.u32 %rd6, %r3, 4; add.s64 %rd6, %rd6, %rd2;");
        static const char *const kinds[] = {"u32", "u16", "s8", "u8"};
        line(std::string("ld.global.") + kinds[pick(4)] + " " + varying(pick(values)) + ", [%rd6];");
    }
    void store() {
        switch (pick(4)) {
        case 0: // where others store, too
            line("and.b32 %r3, " + any() + ", 31; mul.wide.u32 %rd6, %r3, 4; add.s64 %rd6, %rd6, %rd3;");
            return line("st.global.u32 [%rd6], " + any() + ";");
        case 1: // all of them
            return line("st.global.u16 [%rd3+" + std::to_string(4 * pick(8)) + "], " + any() + ";");
        case 2:
            return line("st.global.v2.u32 [%rd3+" + std::to_string(8 * pick(4)) + "], {" + any() + ", " +
                        any() + "};");
        default:
            return line("st.global.u32 [%rd1+" + std::to_string(4 * (12 + pick(4))) + "], " + any() + ";");
        }
    }
    std::string condition() {
        const std::string p = "%p" + std::to_string(1 + predicates_++ % 8);
        if (pick(4) == 0)
            line("setp.lt.u32 " + p + ", " + shared(pick(values)) + ", " + std::to_string(pick(64)) + ";");
        else if (pick(4) == 0)
            line("setp.eq.s32 " + p + ", %r1, " + std::to_string(pick(32)) + ";");
        else
            line("and.b32 %r3, " + varying(pick(values)) + ", " + std::to_string(1 + pick(7)) +
                 "; setp.ne.s32 " + p + ", %r3, 0;");
        return (pick(2) != 0 ? "@" : "@!") + p;
    }
    void branch(unsigned depth) {
        const std::string other = label(), end = label(), when = condition();
        if (pick(2) != 0) {
            line(when + " bra " + end + ";");
            block(depth + 1, 4);
        } else {
            line(when + " bra " + other + ";");
            block(depth + 1, 3);
            line("bra.uni " + end + ";\n" + other + ":");
            block(depth + 1, 3);
        }
        line(end + ":");
    }
    void loop(unsigned depth) {
        const std::string begin = label(), counter = "%r4" + std::to_string(depth);
        line("and.b32 " + counter + ", " + any() + ", 3;\n" + begin + ":");
        block(depth + 1, 4);
        line("add.s32 " + counter + ", " + counter + ", -1; setp.gt.s32 %p9, " + counter + ", 0;");
        line("@%p9 bra " + begin + ";");
    }
    void block(unsigned depth, unsigned statements) {
        for (unsigned i = 0; i < statements; ++i)
            switch (pick(depth < 3 ? 10 : 7)) {
            case 0:
                on_shared();
                break;
            case 1:
                load();
                break;
            case 2:
                store();
                break;
            case 3: {
                const std::string when = condition();
                line(when + " add.s32 " + varying(pick(values)) + ", " + any() + ", 7;");
                break;
            }
            case 7:
            case 8:
                branch(depth);
                break;
            case 9:
                if (depth < 2)
                    loop(depth);
                break;
            default:
                arithmetic();
            }
    }

    std::mt19937 random_;
    std::string body_;
    unsigned labels_ = 0, predicates_ = 0;
};

void random_kernels_do_the_same_compiled() {
    for (unsigned seed = 0; seed < seeds; ++seed) {
        const std::string text = Kernel(seed).text();
        const std::uint32_t threads = seed % 3 == 0 ? 32 : seed % 3 == 1 ? 96 : 48;
        std::mt19937 random(seed + 1000);
        std::vector<std::uint32_t> input(threads + 64);
        for (std::uint32_t &word : input)
            word = seed % 2 != 0 ? random() : random() % 8;
        const Ran expected = run_as(How::interpreted, text, threads, input);
        EXPECT(!expected.fault);
        for (How how : {How::both, How::assuming, How::careful}) {
            const Ran ran = run_as(how, text, threads, input);
            if (ran.memory != expected.memory || ran.operations != expected.operations)
                std::fprintf(stderr, "seed %u, way %d: %llu operations for %llu\n%s", seed,
                             static_cast<int>(how), static_cast<unsigned long long>(ran.operations),
                             static_cast<unsigned long long>(expected.operations), text.c_str());
            EXPECT(!ran.fault);
            EXPECT(ran.memory == expected.memory);
            EXPECT(ran.operations == expected.operations);
        }
    }
}

void a_bad_access_on_a_short_way_is_its_lane_s() {
    // Odd threads take the way; those from 16 on come to a bad address there.
    const std::string begin = "and.b32 %r2, %r1, 1; setp.eq.s32 %p1, %r2, 0; setp.lt.s32 %p2, %r1, 16;\n"
                              "mov.u64 %rd4, %rd1; @!%p2 ADD;\n@%p1 bra END;\n",
                      end = "END: st.global.u32 [%rd1], %r5;";
    const std::string additions[] = {"mov.u64 %rd4, 64", "add.s64 %rd4, %rd1, 2"}; // not mapped, misaligned
    const std::string accesses[] = {"ld.global.u32 %r5, [%rd4];\n", "st.global.u32 [%rd4], %r1;\n",
                                    "ld.shared.u32 %r5, [%r1+100000];\n",
                                    "st.global.v2.u32 [%rd4], {%r1, %r2};\n"};
    for (std::string addition : additions)
        for (const std::string &access : accesses) {
            std::string head = begin;
            head.replace(head.find("ADD"), 3, addition);
            const std::string text = kernel_text(head + access + end);
            const Ran expected = run_as(How::interpreted, text, 64, {0});
            EXPECT(expected.fault.has_value());
            for (How how : {How::both, How::assuming, How::careful}) {
                const Ran ran = run_as(how, text, 64, {0});
                EXPECT(ran.fault.has_value());
                if (ran.fault->message != expected.fault->message)
                    std::fprintf(stderr, "%s\nfor %s\n%s", ran.fault->what(), expected.fault->what(),
                                 text.c_str());
                EXPECT(ran.fault->message == expected.fault->message);
                EXPECT(ran.fault->kind == expected.fault->kind);
            }
        }
}

} // namespace

int main() {
    soft::install_fault_handler();
    random_kernels_do_the_same_compiled();
    a_bad_access_on_a_short_way_is_its_lane_s();
    return 0;
}
