#include "region.hpp"

#include "shared.hpp"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

namespace shimbench::collector {

namespace {

constexpr uint64_t kMaxRegion = 16ull << 30;
constexpr uint64_t kMaxLost = 1ull << 56; // more is no count

void copy_acquiring(tap_slot &from, tap_slot &to) {
    auto *words = reinterpret_cast<uint64_t *>(&from);
    std::array<uint64_t, sizeof(tap_slot) / 8> copy;
    for (size_t i = 0; i < copy.size(); i++)
        copy[i] = load_acquire(words[i]);
    std::memcpy(&to, copy.data(), sizeof to);
}

const char *layout_fault(const tap_region &head, uint64_t file_size) {
    if (head.magic != TAP_MAGIC)
        return "not a region";
    if (head.abi_version != TAP_ABI_VERSION)
        return "the tap speaks another version of the shared memory: rebuild it (shimbench build)";
    if (head.size > file_size || head.size > kMaxRegion)
        return "larger than its memory";
    if (head.max_threads == 0 || head.max_threads > TAP_MAX_THREADS || head.threads_offset % 64 != 0 ||
        head.threads_offset < sizeof(tap_region) || head.threads_offset > head.size ||
        uint64_t{head.max_threads} * sizeof(tap_thread) > head.size - head.threads_offset)
        return "its thread table lies outside";
    if (head.chunks_offset % 64 != 0 || head.chunks_offset > head.size ||
        head.chunks_offset < head.threads_offset + uint64_t{head.max_threads} * sizeof(tap_thread) ||
        uint64_t{head.max_chunks} * TAP_CHUNK_SIZE > head.size - head.chunks_offset)
        return "its chunks lie outside";
    if (head.max_breaks == 0)
        return nullptr; // it has none
    if (head.breaks_offset % 64 != 0 || head.breaks_offset < sizeof(tap_region) ||
        head.breaks_offset > head.size || head.max_breaks > 65536 ||
        uint64_t{head.max_breaks} * sizeof(tap_break) > head.size - head.breaks_offset)
        return "its breakpoints lie outside";
    return nullptr;
}

} // namespace

bool append_items(std::span<const std::byte> cells, std::vector<std::byte> &out) {
    while (cells.size() >= sizeof(tap_item)) {
        tap_item item;
        std::memcpy(&item, cells.data(), sizeof item);
        if (item.kind == TAP_ITEM_END)
            return true;
        size_t padded = (size_t{item.length} + 7) / 8 * 8;
        if (padded > cells.size() - sizeof item)
            return false;
        out.insert(out.end(), cells.begin(),
                   cells.begin() + static_cast<ptrdiff_t>(sizeof item + item.length));
        out.resize(out.size() + padded - item.length);
        cells = cells.subspan(sizeof item + padded);
    }
    return true;
}

std::pair<uint32_t, uint64_t> Region::refused_children() {
    uint32_t count = load_acquire(shared().refused_children);
    return {count, load_acquire(shared().refused_child)};
}

std::unique_ptr<Region> Region::adopt(int memfd, std::string &why) {
    struct stat info;
    if (fstat(memfd, &info) != 0 || info.st_size < static_cast<off_t>(sizeof(tap_region))) {
        why = "too small to be a region";
        return nullptr;
    }
    // A region that shrinks under us would kill us.
    fcntl(memfd, F_ADD_SEALS, F_SEAL_SHRINK);
    int seals = fcntl(memfd, F_GET_SEALS);
    if (seals < 0 || !(seals & F_SEAL_SHRINK)) {
        why = "its memory can't be sealed against shrinking";
        return nullptr;
    }
    if (fstat(memfd, &info) != 0) // once more: now it can't get smaller
        return nullptr;
    tap_region head;
    if (pread(memfd, &head, sizeof head, 0) != static_cast<ssize_t>(sizeof head)) {
        why = "its head can't be read";
        return nullptr;
    }
    if (const char *fault = layout_fault(head, static_cast<uint64_t>(info.st_size))) {
        why = fault;
        return nullptr;
    }
    void *mapped = mmap(nullptr, head.size, PROT_READ | PROT_WRITE, MAP_SHARED, memfd, 0);
    if (mapped == MAP_FAILED) {
        why = "its memory can't be mapped";
        return nullptr;
    }
    return std::unique_ptr<Region>(new Region(static_cast<std::byte *>(mapped), head.size, head));
}

Region::Region(std::byte *base, size_t mapped, const tap_region &head)
    : base_(base), mapped_(mapped), head_(head) {}

Region::~Region() {
    munmap(base_, mapped_);
}

tap_thread &Region::thread(uint32_t index) {
    return *reinterpret_cast<tap_thread *>(base_ + head_.threads_offset + size_t{index} * sizeof(tap_thread));
}

void Region::damaged(uint32_t index, const char *what) {
    threads_[index].damaged = true;
    if (damage_.empty())
        damage_ = what;
}

bool Region::owned(uint32_t number, uint32_t index) {
    if (number >= head_.max_chunks) {
        damaged(index, "a chunk outside of the region");
        return false;
    }
    auto *head = reinterpret_cast<tap_chunk *>(chunk(number));
    if (load_acquire(head->thread) != index) {
        damaged(index, "a chunk of another thread");
        return false;
    }
    return true;
}

// Pushes a drained chunk on the free list.
void Region::give_back(uint32_t number) {
    auto *head = reinterpret_cast<tap_chunk *>(chunk(number));
    store_release(head->committed, 0);
    store_release(head->next, 0);
    std::atomic_ref top(shared().free_chunks);
    uint64_t seen = top.load(std::memory_order_acquire);
    for (int attempt = 0; attempt < 1000; attempt++) { // a target can't keep us here
        store_release(head->link, static_cast<uint32_t>(seen));
        uint64_t fresh = ((seen >> 32) + 1) << 32 | (number + 1);
        if (top.compare_exchange_weak(seen, fresh, std::memory_order_acq_rel))
            return;
    }
}

void Region::count_lost(uint32_t index) {
    uint64_t lost = load_acquire(thread(index).lost);
    if (lost > threads_[index].lost && lost < kMaxLost)
        threads_[index].lost = lost;
}

uint64_t Region::lost() {
    uint64_t total = lost_ended_;
    for (uint32_t index = 0; index < threads_.size(); index++) {
        if (load_acquire(thread(index).state) != TAP_THREAD_FREE)
            count_lost(index);
        total += threads_[index].lost;
    }
    uint64_t homeless = load_acquire(shared().lost);
    return homeless < kMaxLost ? total + homeless : total;
}

// Copies whole records up to `committed`; false when the rest of the thread can't be trusted.
bool Region::take_records(uint32_t index, uint32_t tid, uint32_t committed, Drained &out, size_t limit) {
    Thread &state = threads_[index];
    const std::byte *cells = chunk(state.chunk - 1) + TAP_CELL_SIZE;
    std::array<std::byte, TAP_MAX_CELLS * TAP_CELL_SIZE> payload;
    while (state.position < committed && out.calls.size() < limit) {
        DrainedCall &call = out.calls.emplace_back();
        std::memcpy(&call.record, cells + size_t{state.position} * TAP_CELL_SIZE, TAP_CELL_SIZE);
        uint32_t count = call.record.cells;
        if (count == 0 || count > committed - state.position) {
            out.calls.pop_back();
            damaged(index, "a record that does not fit its chunk");
            return false;
        }
        call.thread = tid;
        if (count > 1) {
            size_t size = size_t{count - 1} * TAP_CELL_SIZE;
            std::memcpy(payload.data(), cells + size_t{state.position + 1} * TAP_CELL_SIZE, size);
            call.payload_offset = static_cast<uint32_t>(out.payloads.size());
            if (!append_items(std::span(payload).first(size), out.payloads))
                call.record.flags |= TAP_FLAG_TRUNCATED;
            call.payload_length = static_cast<uint32_t>(out.payloads.size()) - call.payload_offset;
        }
        call.record.flags &= static_cast<uint8_t>(~TAP_FLAG_UNRETURNED); // ours to say
        if (call.record.function != TAP_FN_MODULE && call.record.function != TAP_FN_INPUTS)
            state.recent[state.recent_at++ % state.recent.size()] = call.record.sequence;
        state.position += count;
    }
    return true;
}

// How deep each call is: by the callers in the same batch, else by those still in their slots. Calls
// stand in the order in which they returned, so callers come after what they called.
void Region::set_nesting(uint32_t index, std::span<DrainedCall> calls) {
    if (std::none_of(calls.begin(), calls.end(), [](auto &call) { return call.record.parent != 0; }))
        return;
    struct Open {
        uint32_t sequence;
        uint8_t nesting;
    };
    std::vector<Open> open;
    for (uint32_t depth = 0; depth < TAP_MAX_IN_FLIGHT; depth++)
        if (load_acquire(thread(index).slots[depth].function) != 0)
            open.push_back({thread(index).slots[depth].sequence, static_cast<uint8_t>(depth)});
    for (size_t i = calls.size(); i-- > 0;) {
        const tap_record &record = calls[i].record;
        if (record.parent != 0) {
            auto caller = std::find_if(open.rbegin(), open.rend(),
                                       [&](const Open &one) { return one.sequence == record.parent; });
            calls[i].nesting =
                caller == open.rend() ? 1 : static_cast<uint8_t>(std::min(caller->nesting + 1, 255));
        }
        if (open.size() >= 64)
            open.erase(open.begin());
        if (record.function != TAP_FN_INPUTS) // of a call that comes later
            open.push_back({record.sequence, calls[i].nesting});
    }
}

void Region::drain_thread(uint32_t index, Drained &out, size_t limit) {
    Thread &state = threads_[index];
    tap_thread &shared_thread = thread(index);
    // The state before the records: of an ended thread all are there.
    uint32_t life = load_acquire(shared_thread.state);
    if (life == TAP_THREAD_FREE || state.damaged)
        return;
    uint32_t tid = load_acquire(shared_thread.tid);
    size_t first = out.calls.size();
    bool empty = false;
    while (out.calls.size() < limit) {
        if (state.chunk == 0) {
            state.chunk = load_acquire(shared_thread.first_chunk);
            state.position = 0;
            if (state.chunk == 0) {
                empty = true;
                break;
            }
            if (!owned(state.chunk - 1, index))
                break;
        }
        auto *head = reinterpret_cast<tap_chunk *>(chunk(state.chunk - 1));
        uint32_t next = load_acquire(head->next); // before `committed`: with a next one, that is final
        uint32_t committed = std::min(load_acquire(head->committed), uint32_t{TAP_CELLS_PER_CHUNK});
        if (!take_records(index, tid, committed, out, limit))
            break;
        if (state.position < committed || next == 0) {
            empty = state.position >= committed;
            break;
        }
        if (next == state.chunk || !owned(next - 1, index)) {
            damaged(index, "a chunk that follows itself");
            break;
        }
        give_back(state.chunk - 1);
        state.chunk = next;
        state.position = 0;
    }
    set_nesting(index, std::span(out.calls).subspan(first));
    if (life == TAP_THREAD_ENDED && empty) {
        count_lost(index);
        lost_ended_ += state.lost;
        if (state.chunk != 0)
            give_back(state.chunk - 1);
        state = Thread{};
        store_release(shared_thread.first_chunk, 0);
        store_release(shared_thread.lost, 0);
        store_release(shared_thread.state, TAP_THREAD_FREE);
    }
}

void Region::drain(Drained &out, size_t limit) {
    // Threads take the lowest free block, so the first free one past those known ends the table;
    // pages behind it stay untouched.
    while (threads_.size() < head_.max_threads &&
           load_acquire(thread(static_cast<uint32_t>(threads_.size())).state) != TAP_THREAD_FREE)
        threads_.emplace_back();
    for (uint32_t index = 0; index < threads_.size(); index++)
        drain_thread(index, out, limit);
}

void Region::in_flight(std::vector<FlyingCall> &out) {
    for (uint32_t index = 0; index < threads_.size(); index++) {
        tap_thread &shared_thread = thread(index);
        if (load_acquire(shared_thread.state) != TAP_THREAD_LIVE)
            continue;
        const Thread &state = threads_[index];
        for (uint32_t depth = 0; depth < TAP_MAX_IN_FLIGHT; depth++) {
            tap_slot &slot = shared_thread.slots[depth];
            FlyingCall call;
            uint16_t function = load_acquire(slot.function);
            if (function == 0)
                break;
            copy_acquiring(slot, call.slot); // so that the looks behind it come after it
            if (load_acquire(slot.function) != function || load_acquire(slot.sequence) != call.slot.sequence)
                continue;
            if (std::find(state.recent.begin(), state.recent.end(), call.slot.sequence) != state.recent.end())
                continue; // returned and recorded, its slot not yet cleared
            if (function == TAP_FN_MODULE)
                continue; // no call
            call.slot.function = function;
            call.thread = load_acquire(shared_thread.tid);
            call.nesting = static_cast<uint8_t>(depth);
            out.push_back(call);
        }
    }
}

} // namespace shimbench::collector
