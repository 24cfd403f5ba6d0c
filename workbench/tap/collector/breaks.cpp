// Breakpoints: set in every region there is and in those to come, the calls they stop told as events of
// the session, and released. Nobody but a workbench can release them: without one there are none.
#include "collector.hpp"
#include "shared.hpp"

#include <algorithm>
#include <climits>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace shimbench::collector {

tap_break &Region::breakpoint(uint16_t function) {
    return reinterpret_cast<tap_break *>(base_ + head_.breaks_offset)[function];
}

void Region::set_breakpoints(std::span<const Breakpoint> wanted) {
    auto has = [](std::span<const Breakpoint> rows, const Breakpoint &row) {
        return std::find(rows.begin(), rows.end(), row) != rows.end();
    };
    for (const Breakpoint &row : breakpoints_)
        if (!has(wanted, row))
            // Sequentially consistent, as the loads of `held` are: a thread that is just stopping looks at
            // its breakpoint once more after it said so. It sees that this is gone, or we see it held.
            std::atomic_ref(breakpoint(row.function).kind).store(TAP_BREAK_NONE);
    std::vector<Breakpoint> set;
    for (const Breakpoint &row : wanted) {
        if (row.function >= head_.max_breaks)
            continue;
        if (!has(breakpoints_, row)) {
            // Nobody reads the rest while the kind is 0; it is seen with the kind, by its release.
            tap_break &shared_row = breakpoint(row.function);
            store_release(shared_row.value, row.value);
            store_release(shared_row.nth, row.nth);
            store_release(shared_row.hits, 0);
            store_release(shared_row.kind, row.kind);
        }
        set.push_back(row);
    }
    breakpoints_ = std::move(set);
    std::atomic_ref attention(shared().attention);
    if (breakpoints_.empty())
        attention.fetch_and(~uint32_t{TAP_ATTENTION_BREAKS}, std::memory_order_release);
    else
        attention.fetch_or(TAP_ATTENTION_BREAKS, std::memory_order_release);
}

void Region::beat() {
    std::atomic_ref(shared().collector_beat).fetch_add(1, std::memory_order_relaxed);
}

uint32_t Region::holds() {
    return load_acquire(shared().holds);
}

void Region::held(std::vector<HeldCall> &out) {
    for (uint32_t index = 0; index < head_.max_threads; index++) {
        tap_thread &one = thread(index);
        uint32_t state = load_acquire(one.state);
        if (state == TAP_THREAD_FREE && index >= threads_.size())
            return;                                           // threads take the lowest free block
        uint32_t sequence = std::atomic_ref(one.held).load(); // seq_cst: see set_breakpoints
        if (state != TAP_THREAD_LIVE || sequence == 0)
            continue;
        out.push_back({load_acquire(one.tid), sequence, load_acquire(one.held_function),
                       load_acquire(one.held_after) != 0, load_acquire(one.held_result)});
        if (load_acquire(one.held) != sequence)
            out.pop_back(); // it went on meanwhile
    }
}

bool Region::let_go(tap_thread &thread, uint32_t sequence) {
    uint32_t seen = sequence;
    if (sequence == 0 || !std::atomic_ref(thread.held).compare_exchange_strong(seen, 0))
        return false;
    syscall(SYS_futex, &thread.held, FUTEX_WAKE, INT_MAX, nullptr, nullptr, 0);
    return true;
}

bool Region::release(uint32_t tid, uint32_t sequence) {
    for (uint32_t index = 0; index < head_.max_threads; index++)
        if (load_acquire(thread(index).tid) == tid && let_go(thread(index), sequence))
            return true;
    return false;
}

void Region::release_all() {
    std::vector<HeldCall> calls;
    held(calls);
    for (const HeldCall &call : calls)
        release(call.thread, call.sequence);
}

// For each: function, kind, value, nth. They take the place of those before.
std::string Collector::set_breakpoints(Fields fields) {
    std::vector<Breakpoint> wanted;
    while (!fields.rest().empty()) {
        long function = fields.number(), kind = fields.number(), value = fields.number(),
             nth = fields.number();
        if (function <= 0 || function > UINT16_MAX || kind <= TAP_BREAK_NONE || kind > TAP_BREAK_NOT_RESULT ||
            value < INT32_MIN || value > INT32_MAX || nth < 0 || nth > UINT32_MAX)
            return joined({"error", "no such breakpoint"});
        wanted.push_back({static_cast<uint16_t>(function), static_cast<tap_break_kind>(kind),
                          static_cast<int32_t>(value), static_cast<uint32_t>(nth)});
    }
    breakpoints_ = std::move(wanted);
    for (Image *image : active_)
        if (image->region)
            image->region->set_breakpoints(breakpoints_);
    return joined({"ok", ""});
}

// Process, thread, sequence; or nothing: all that are held.
std::string Collector::release_calls(Fields fields) {
    bool all = fields.rest().empty();
    long process = fields.number(), thread = fields.number(), sequence = fields.number();
    for (Image *image : active_) {
        if (!image->region)
            continue;
        if (all)
            image->region->release_all();
        else if (image->index == process)
            image->region->release(static_cast<uint32_t>(thread), static_cast<uint32_t>(sequence));
    }
    look_for_held_calls();
    writer_.publish();
    return joined({"ok", ""});
}

void Collector::drop_breakpoints() {
    breakpoints_.clear();
    for (Image *image : active_)
        if (image->region) {
            image->region->set_breakpoints({});
            image->region->release_all();
        }
}

// Tells what stopped and what went on since the last look. In each pass of the loop: cheap when nothing is.
void Collector::look_for_held_calls() {
    if (control_.clients() == 0 && !breakpoints_.empty())
        drop_breakpoints();
    for (Image *image : active_) {
        if (!image->region)
            continue;
        if (!breakpoints_.empty())
            image->region->beat();
        uint32_t holds = image->region->holds();
        if (holds == image->holds && image->held.empty())
            continue;
        image->holds = holds;
        std::vector<HeldCall> now;
        image->region->held(now);
        if (control_.clients() == 0 && !now.empty())
            image->region->release_all(); // one that stopped while the breakpoints went
        auto tell = [&](const char *kind, const HeldCall &call) {
            writer_.event(writer_.now(), kind,
                          "\"process\":" + std::to_string(image->index) + ",\"thread\":" +
                              std::to_string(call.thread) + ",\"sequence\":" + std::to_string(call.sequence) +
                              ",\"function\":" + std::to_string(call.function) + ",\"returned\":" +
                              (call.after ? "true" : "false") + ",\"result\":" + std::to_string(call.result));
        };
        bool changed = now != image->held;
        for (const HeldCall &call : image->held)
            if (std::find(now.begin(), now.end(), call) == now.end())
                tell("continue", call);
        for (const HeldCall &call : now)
            if (std::find(image->held.begin(), image->held.end(), call) == image->held.end())
                tell("stop", call);
        image->held = std::move(now);
        if (changed)
            write_in_flight(); // where it is seen at once
    }
}

} // namespace shimbench::collector
