// The independent reference: each thread goes its own way through the instructions, one after the other, and
// waits only where an instruction needs others. There are no warps going together here.
#include "language.hpp"

#include <algorithm>
#include <bit>
#include <cstring>

namespace random_program {

namespace {

// Generic addresses of shared and local memory: no program computes anything else with them.
constexpr u64 shared_window = 0x7100'0000'0000'0000, local_window = 0x7200'0000'0000'0000,
              window = 1ull << 32;

u64 cut(char type, u64 bits) {
    return type == 'r' ? bits & 0xffffffff : type == 'h' ? bits & 0xffff : type == 'p' ? bits & 1 : bits;
}

struct Frame {
    const std::vector<Instruction> *code;
    std::size_t pc = 0;
    std::array<std::array<u64, registers>, 4> values{};
    std::array<std::array<bool, registers>, 4> written{};
    std::vector<u64> arguments; // of a function
    static unsigned class_of(const Operand &operand) {
        return operand.type == 'r' ? 0 : operand.type == 'd' ? 1 : operand.type == 'h' ? 2 : 3;
    }
    void set(const Operand &operand, u64 bits) {
        const auto index = static_cast<std::size_t>(operand.index);
        values[class_of(operand)].at(index) = cut(operand.type, bits);
        written[class_of(operand)].at(index) = true;
    }
};

struct Thread {
    u32 id[3], number;
    std::vector<Frame> frames;
    bool waits = false, done = false, faulted = false;
    std::array<std::uint8_t, local_bytes> local{};
    const Instruction &next() const { return frames.back().code->at(frames.back().pc); }
};

class BlockEvaluator {
  public:
    BlockEvaluator(const Program &program, std::vector<std::uint8_t> &memory, u64 base, u64 bad, u32 number)
        : program_(program), memory_(memory), base_(base), bad_(bad), shared_(1 << 16) {
        const Shape &shape = program.shape;
        block_[0] = number % shape.grid[0];
        block_[1] = number / shape.grid[0];
        for (u32 i = 0; i < shape.threads(); ++i) {
            Thread thread;
            thread.number = i;
            thread.id[0] = i % shape.block[0];
            thread.id[1] = i / shape.block[0] % shape.block[1];
            thread.id[2] = i / shape.block[0] / shape.block[1];
            thread.frames.push_back({&program.kernel.code, 0, {}, {}, {}});
            threads_.push_back(std::move(thread));
        }
    }

    void run(Result &result) {
        result_ = &result;
        for (;;) {
            bool moved = false;
            for (Thread &thread : threads_)
                while (!thread.done && !thread.waits) {
                    if (++steps_ > most_steps || result.stuck)
                        return void(result.stuck = true);
                    step(thread);
                    moved = true;
                }
            moved |= exchange();
            if (std::all_of(threads_.begin(), threads_.end(), [](const Thread &t) { return t.done; }))
                return;
            if (moved || release())
                continue;
            result.stuck |= result.bad.empty(); // those that wait for one that did wrong need not
            return;
        }
    }

  private:
    u64 value(Thread &thread, const Operand &operand) {
        if (operand.kind == Operand::Kind::constant)
            return cut(operand.type, operand.bits);
        const Frame &frame = thread.frames.back();
        const auto index = static_cast<std::size_t>(operand.index);
        result_->stuck |= !frame.written[Frame::class_of(operand)].at(index); // nobody knows what it is
        return frame.values[Frame::class_of(operand)].at(index);
    }
    void set(Thread &thread, const Operand &operand, u64 bits) { thread.frames.back().set(operand, bits); }
    void go_on(Thread &thread) {
        thread.waits = false;
        ++thread.frames.back().pc;
    }
    void fault(Thread &thread, const Instruction &in, const char *kind) {
        result_->bad.push_back(
            {kind, in.line, {block_[0], block_[1], 0}, {thread.id[0], thread.id[1], thread.id[2]}});
        thread.done = thread.faulted = true;
    }

    /// The bytes there; null when the access is bad.
    std::uint8_t *bytes_at(Thread &thread, const Instruction &in, u64 address, u64 count) {
        if (address % count != 0)
            return fault(thread, in, "misaligned"), nullptr;
        Space space = in.space;
        if (in.generic && address - shared_window < window)
            space = Space::shared, address -= shared_window;
        else if (in.generic && address - local_window < window)
            space = Space::local, address -= local_window;
        std::uint8_t *from = space == Space::global   ? memory_.data()
                             : space == Space::shared ? shared_.data()
                                                      : thread.local.data();
        const u64 size = space == Space::global   ? memory_.size()
                         : space == Space::shared ? shared_.size()
                                                  : thread.local.size();
        if (space == Space::global)
            address -= base_;
        if (address >= size || address + count > size)
            return fault(thread, in, "illegal"), nullptr;
        return from + address;
    }

    void load(Thread &thread, const Instruction &in) {
        const auto count = static_cast<unsigned>(in.results), size = static_cast<unsigned>(in.bytes);
        const std::uint8_t *from = bytes_at(
            thread, in, value(thread, in.operands.back()) + static_cast<u64>(static_cast<s64>(in.offset)),
            count * size);
        if (from == nullptr)
            return;
        for (unsigned i = 0; i < count; ++i) {
            u64 bits = 0;
            std::memcpy(&bits, from + i * size, size);
            if (in.sign)
                bits = static_cast<u64>(static_cast<s64>(bits << (64 - 8 * size)) >> (64 - 8 * size));
            set(thread, in.operands[i], bits);
        }
        go_on(thread);
    }
    void store(Thread &thread, const Instruction &in) {
        const std::size_t count = in.operands.size() - 1, size = static_cast<std::size_t>(in.bytes);
        std::uint8_t *to = bytes_at(
            thread, in, value(thread, in.operands[0]) + static_cast<u64>(static_cast<s64>(in.offset)),
            count * size);
        if (to == nullptr)
            return;
        for (std::size_t i = 0; i < count; ++i) {
            const u64 bits = value(thread, in.operands[i + 1]);
            std::memcpy(to + i * size, &bits, size);
        }
        go_on(thread);
    }
    void atomic(Thread &thread, const Instruction &in) {
        const auto first = static_cast<std::size_t>(in.results);
        std::uint8_t *at = bytes_at(
            thread, in, value(thread, in.operands[first]) + static_cast<u64>(static_cast<s64>(in.offset)),
            static_cast<u64>(in.bytes));
        if (at == nullptr)
            return;
        u64 old = 0;
        std::memcpy(&old, at, static_cast<std::size_t>(in.bytes));
        const u64 b = value(thread, in.operands[first + 1]),
                  c = in.operands.size() > first + 2 ? value(thread, in.operands[first + 2]) : 0;
        const u64 changed = in.update(old, b, c);
        std::memcpy(at, &changed, static_cast<std::size_t>(in.bytes));
        if (first != 0)
            set(thread, in.operands[0], old);
        go_on(thread);
    }

    u64 special(const Thread &thread, Special which) const {
        const Shape &shape = program_.shape;
        switch (which) {
        case Special::tid_x:
            return thread.id[0];
        case Special::tid_y:
            return thread.id[1];
        case Special::tid_z:
            return thread.id[2];
        case Special::ntid_x:
            return shape.block[0];
        case Special::ntid_y:
            return shape.block[1];
        case Special::ntid_z:
            return shape.block[2];
        case Special::ctaid_x:
            return block_[0];
        case Special::ctaid_y:
            return block_[1];
        case Special::nctaid_x:
            return shape.grid[0];
        case Special::laneid:
            return thread.number % 32;
        }
        return 0;
    }
    u64 parameter(Thread &thread, int which) const {
        if (thread.frames.size() > 1)
            return thread.frames.back().arguments.at(static_cast<std::size_t>(which));
        switch (static_cast<Parameter>(which)) {
        case Parameter::input:
            return base_;
        case Parameter::common:
            return base_ + input_bytes;
        case Parameter::output:
            return base_ + input_bytes + common_bytes;
        case Parameter::bad:
            return bad_;
        case Parameter::first:
            return program_.parameters[0];
        case Parameter::second:
            return program_.parameters[1];
        }
        return 0;
    }

    void jump(Thread &thread, int label) {
        const std::vector<Instruction> &code = *thread.frames.back().code;
        for (std::size_t i = 0; i < code.size(); ++i)
            if (code[i].kind == Instruction::Kind::label && code[i].label == label)
                thread.frames.back().pc = i;
    }

    void step(Thread &thread) {
        const Instruction &in = thread.next();
        using Kind = Instruction::Kind;
        if (in.guard >= 0 && (value(thread, reg('p', in.guard)) != 0) == in.guard_negated)
            return go_on(thread);
        switch (in.kind) {
        case Kind::compute: {
            u64 sources[8] = {}, results[2] = {};
            const auto first = static_cast<std::size_t>(in.results);
            for (std::size_t i = first; i < in.operands.size(); ++i)
                sources[i - first] = value(thread, in.operands[i]);
            in.evaluate(sources, results);
            for (std::size_t i = 0; i < first; ++i)
                set(thread, in.operands[i], results[i]);
            return go_on(thread);
        }
        case Kind::special:
            set(thread, in.operands[0], special(thread, static_cast<Special>(in.operands[1].index)));
            return go_on(thread);
        case Kind::parameter:
            set(thread, in.operands[0], parameter(thread, in.operands[1].index));
            return go_on(thread);
        case Kind::address:
            set(thread, in.operands[0],
                static_cast<u64>(in.offset) + (!in.generic                 ? 0
                                               : in.space == Space::shared ? shared_window
                                                                           : local_window));
            return go_on(thread);
        case Kind::load:
            return load(thread, in);
        case Kind::store:
            return store(thread, in);
        case Kind::atomic:
            return atomic(thread, in);
        case Kind::label:
            return go_on(thread);
        case Kind::branch:
            return jump(thread, in.label);
        case Kind::choose:
            return jump(thread, in.labels.at(value(thread, in.operands[0])));
        case Kind::call: {
            Frame frame{&program_.functions[static_cast<std::size_t>(in.function)].code, 0, {}, {}, {}};
            for (std::size_t i = 1; i < in.operands.size(); ++i)
                frame.arguments.push_back(value(thread, in.operands[i]));
            thread.frames.push_back(std::move(frame));
            return;
        }
        case Kind::leave:
            if (thread.frames.size() == 1) {
                thread.done = true;
            } else {
                const u64 result = value(thread, in.operands.at(0));
                thread.frames.pop_back();
                set(thread, thread.next().operands[0], result);
                go_on(thread);
            }
            return;
        case Kind::trap:
            return fault(thread, in, "trap");
        default:
            thread.waits = true;
        }
    }

    /// Instructions of a warp to which all have come that are named.
    bool exchange() {
        bool moved = false;
        for (std::size_t first = 0; first < threads_.size(); first += 32) {
            const std::size_t end = std::min(first + 32, threads_.size());
            for (std::size_t i = first; i < end; ++i) {
                Thread &thread = threads_[i];
                if (!thread.waits || thread.next().kind == Instruction::Kind::barrier ||
                    thread.next().kind == Instruction::Kind::barrier_reduce)
                    continue;
                const Instruction &in = thread.next();
                const u64 mask = value(thread, in.operands.back());
                std::vector<Thread *> group;
                bool all = true;
                for (std::size_t k = first; k < end; ++k)
                    if ((mask >> (k - first)) & 1 && !(threads_[k].done && !threads_[k].faulted)) {
                        Thread &other = threads_[k];
                        all = all && other.waits && &other.next() == &in &&
                              value(other, in.operands.back()) == mask;
                        group.push_back(&other);
                    }
                if (!all)
                    continue;
                together(in, group);
                moved = true;
            }
        }
        return moved;
    }

    void together(const Instruction &in, const std::vector<Thread *> &group) {
        const auto first = static_cast<std::size_t>(in.results);
        std::array<u64, 32> given{};
        u32 members = 0;
        for (Thread *thread : group) {
            given[thread->number % 32] = value(*thread, in.operands[first]);
            members |= 1u << thread->number % 32;
        }
        std::vector<std::array<u64, 2>> results;
        for (Thread *thread : group)
            results.push_back(result_of(in, *thread, given, members));
        for (std::size_t i = 0; i < group.size(); ++i) {
            for (std::size_t k = 0; k < first; ++k)
                set(*group[i], in.operands[k], results[i][k]);
            go_on(*group[i]);
        }
    }

    std::array<u64, 2> result_of(const Instruction &in, Thread &thread, const std::array<u64, 32> &given,
                                 u32 members) {
        auto each = [&](auto f) {
            for (unsigned i = 0; i < 32; ++i)
                if ((members >> i) & 1)
                    f(i, given[i]);
        };
        const unsigned lane = thread.number % 32;
        u32 equal = 0, holds = 0;
        each([&](unsigned i, u64 x) {
            equal |= static_cast<u32>(x == given[lane]) << i;
            holds |= static_cast<u32>(x & 1) << i;
        });
        if (in.kind == Instruction::Kind::vote)
            return {in.mode == "ballot" ? holds
                    : in.mode == "all"  ? u64(holds == members)
                    : in.mode == "any"  ? u64(holds != 0)
                                        : u64(holds == 0 || holds == members),
                    0};
        if (in.kind == Instruction::Kind::match)
            return {in.mode == "any" ? equal : equal == members ? members : 0, u64(equal == members)};
        if (in.kind == Instruction::Kind::shuffle) {
            const s64 b = static_cast<s64>(value(thread, in.operands[3]) & 31),
                      c = static_cast<s64>(value(thread, in.operands[4])), self = lane;
            const s64 segment = c >> 8 & 31, least = self & segment, most = least | (c & 31 & ~segment);
            const s64 from = in.mode == "up"     ? self - b
                             : in.mode == "down" ? self + b
                             : in.mode == "bfly" ? self ^ b
                                                 : least | (b & ~segment);
            const bool inside = in.mode == "up" ? from >= most : from <= most;
            return {given[static_cast<std::size_t>(inside ? from & 31 : self)], inside};
        }
        u64 total = given[static_cast<std::size_t>(std::countr_zero(members))], rest = 0;
        each([&](unsigned, u64 x) {
            rest += x;
            const bool less =
                in.mode.ends_with(".s32") ? static_cast<s32>(x) < static_cast<s32>(total) : x < total;
            if (in.mode.starts_with("min") || in.mode.starts_with("max"))
                total = less == in.mode.starts_with("min") ? x : total;
            else if (in.mode.starts_with("and"))
                total &= x;
            else if (in.mode.starts_with("or"))
                total |= x;
        });
        if (in.mode.starts_with("xor")) {
            total = 0;
            each([&](unsigned, u64 x) { total ^= x; });
        }
        return {in.mode.starts_with("add") ? rest : total, 0};
    }

    /// A barrier to which all have come that still run.
    bool release() {
        u64 votes = 0, voters = 0;
        for (Thread &thread : threads_) {
            if (thread.faulted)
                return false;
            if (thread.done)
                continue;
            const Instruction &in = thread.next();
            if (in.kind != Instruction::Kind::barrier && in.kind != Instruction::Kind::barrier_reduce)
                return false;
            ++voters;
            votes += in.kind == Instruction::Kind::barrier_reduce ? value(thread, in.operands[1]) : 0;
        }
        for (Thread &thread : threads_) {
            if (thread.done)
                continue;
            const Instruction &in = thread.next();
            if (in.kind == Instruction::Kind::barrier_reduce)
                set(thread, in.operands[0],
                    in.mode == "popc"  ? votes
                    : in.mode == "and" ? u64(votes == voters)
                                       : u64(votes != 0));
            go_on(thread);
        }
        return true;
    }

    const Program &program_;
    std::vector<std::uint8_t> &memory_;
    const u64 base_, bad_;
    static constexpr u64 most_steps = 20'000'000;
    u64 steps_ = 0;
    std::vector<std::uint8_t> shared_;
    u32 block_[2];
    std::vector<Thread> threads_;
    Result *result_ = nullptr;
};

} // namespace

Result evaluate(const Program &program, std::vector<std::uint8_t> &memory, u64 base, u64 bad) {
    Result result;
    for (u32 block = 0; block < program.shape.blocks() && !result.stuck; ++block)
        BlockEvaluator(program, memory, base, bad, block).run(result);
    return result;
}

} // namespace random_program
