#include "bad_access.hpp"

#include "block_runner.hpp"

#include <algorithm>
#include <bit>
#include <csignal>
#include <cstdio>
#include <utility>

namespace soft {

constinit thread_local sigjmp_buf *fault_exit = nullptr;
constinit thread_local std::uint64_t fault_address = 0;
constinit thread_local std::optional<Fault> fault_pending;

namespace {

constexpr std::uint64_t page = 4096;

struct sigaction previous_segv, previous_bus;

void on_fault(int number, siginfo_t *info, void *context) {
    if (fault_exit != nullptr) {
        fault_address = reinterpret_cast<std::uint64_t>(info->si_addr);
        siglongjmp(*fault_exit, 1);
    }
    // Not ours: as if this handler were not there.
    const struct sigaction &before = number == SIGSEGV ? previous_segv : previous_bus;
    if (before.sa_flags & SA_SIGINFO && before.sa_sigaction != nullptr) {
        before.sa_sigaction(number, info, context);
        return;
    }
    signal(number, SIG_DFL);
    ::raise(number);
}

} // namespace

void perform(Warp *warp, const Op *op) {
    warp->exec = warp->active;
    warp->pc = static_cast<std::uint32_t>(op - warp->program->ops.data()) + 1;
    try {
        op->run(*warp, *op);
        return;
    } catch (Fault &fault) {
        fault_pending = std::move(fault);
    }
    siglongjmp(*fault_exit, 2);
}

void move(Warp *warp, const Op *op) {
    warp->pc = static_cast<std::uint32_t>(op - warp->program->ops.data()) + 1;
    warp->touching = 1;
    try {
        op->moved(*warp, *op);
        warp->touching = 0;
        return;
    } catch (Fault &fault) {
        fault_pending = std::move(fault);
    }
    siglongjmp(*fault_exit, 2);
}

void ask(Warp *warp, const Op *op) {
    warp->budget = 4096;
    warp->pc = static_cast<std::uint32_t>(op - warp->program->ops.data()) + 1;
    try {
        if (const char *reason = warp->block->end->reason())
            raise(*warp, *op, FaultKind::timeout, 0, reason);
        return;
    } catch (Fault &fault) {
        fault_pending = std::move(fault);
    }
    siglongjmp(*fault_exit, 2);
}

void BlockRunner::raise_bad_access(Warp &warp) {
    const Op &op = program_->ops[warp.pc - 1];
    unsigned lane = static_cast<unsigned>(std::countr_zero(warp.exec | 1u << 31));
    bool together = false; // compiled code, which touches all lanes' memory in an order of its own
    if (launch_->compiled && !warp.given_up && !warp.touching) {
        const Compiled &code = warp.carefully ? *launch_->careful : *launch_->compiled;
        const auto found = code.touched.find(warp.pc - 1);
        if (found != code.touched.end()) {
            together = true;
            const std::uint64_t base = warp.where[0];
            for (unsigned i = 0; found->second && i < lanes; ++i)
                warp.where[i] = base + static_cast<std::uint64_t>((*found->second)[i]);
        }
    }
    if (together) { // the first whose page it is: each of them would have found it
        for (unsigned i = lanes; i-- > 0;)
            if ((warp.exec >> i) & 1 && (warp.where[i] / page == fault_address / page ||
                                         (warp.where[i] + 3) / page == fault_address / page)) // two halves
                lane = i;
        if (warp.where[lane] / page == fault_address / page)
            fault_address = warp.where[lane];
    } else if (warp.touching != 0 || op.flags & wide_address) {
        const auto *addresses = warp.touching != 0 ? warp.where : warp.slot<std::uint64_t>(op.a);
        const std::uint64_t offset = warp.touching != 0 ? 0 : static_cast<std::uint64_t>(op.immediate);
        std::uint64_t nearest = 32; // no access reaches further than that from its address
        for (unsigned i = 0; i < lanes; ++i) {
            const std::uint64_t distance = fault_address - (addresses[i] + offset);
            if ((warp.exec >> i) & 1 && distance < nearest) {
                nearest = distance;
                lane = i;
            }
        }
    }
    char text[64];
    std::snprintf(text, sizeof text, "access to 0x%llx, which is not mapped",
                  static_cast<unsigned long long>(fault_address));
    soft::raise(warp, op, FaultKind::illegal_address, lane, text);
}

void raise(Warp &warp, const Op &op, FaultKind kind, unsigned lane, const std::string &what) {
    Fault fault;
    fault.kind = kind;
    fault.line = op.line;
    std::copy(warp.block->index, warp.block->index + 3, fault.block);
    std::uint32_t thread = warp.index * lanes + lane;
    const std::uint32_t *size = warp.block->size;
    fault.thread[0] = thread % size[0];
    fault.thread[1] = thread / size[0] % size[1];
    fault.thread[2] = thread / size[0] / size[1];
    auto triple = [](const std::uint32_t (&v)[3]) {
        return "(" + std::to_string(v[0]) + "," + std::to_string(v[1]) + "," + std::to_string(v[2]) + ")";
    };
    fault.message = what + ", in " + warp.program->name + " at PTX line " + std::to_string(op.line) +
                    ", block " + triple(fault.block) + ", thread " + triple(fault.thread);
    throw fault;
}

void install_fault_handler() {
    struct sigaction action = {};
    action.sa_sigaction = on_fault;
    // SA_NODEFER: siglongjmp leaves the handler without its return, with the mask as it was.
    action.sa_flags = SA_SIGINFO | SA_NODEFER;
    sigaction(SIGSEGV, &action, &previous_segv);
    sigaction(SIGBUS, &action, &previous_bus);
}

} // namespace soft
