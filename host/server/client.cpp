#include "server/client.hpp"

#include <algorithm>
#include <cstring>
#include <ctime>

#include "device/printed.hpp"
#include "wire/barrier.h"

namespace shimbench {

namespace {

constexpr std::size_t blob_threads_max = 64; // that send images at the same time
constexpr std::uint64_t window_alignment = 2 << 20;

// Errors after which a real context is of no more use: they are told again and again.
bool corrupts_context(std::uint32_t error) {
    switch (error) {
    case CUDA_ERROR_ILLEGAL_ADDRESS:
    case CUDA_ERROR_LAUNCH_TIMEOUT:
    case CUDA_ERROR_HARDWARE_STACK_ERROR:
    case CUDA_ERROR_ILLEGAL_INSTRUCTION:
    case CUDA_ERROR_MISALIGNED_ADDRESS:
    case CUDA_ERROR_INVALID_ADDRESS_SPACE:
    case CUDA_ERROR_INVALID_PC:
    case CUDA_ERROR_LAUNCH_FAILED:
    case CUDA_ERROR_ASSERT:
        return true;
    default:
        return false;
    }
}

bool is_query(std::uint64_t kind) {
    return kind == WIRE_STREAM_QUERY || kind == WIRE_EVENT_QUERY;
}

} // namespace

wire_region region_layout(std::uint64_t pinned_bytes, std::uint64_t window_bytes, bool in_order) {
    wire_region head{};
    head.magic = WIRE_MAGIC;
    head.in_order = in_order;
    head.wake_at = WIRE_NEVER;
    head.ring_offset = WIRE_REGION_HEAD_BYTES;
    head.slots_offset = head.ring_offset + WIRE_RING_BYTES;
    head.upload_offset = head.slots_offset + std::uint64_t{WIRE_SLOT_COUNT} * WIRE_SLOT_BYTES;
    head.download_offset = head.upload_offset + WIRE_UPLOAD_BYTES;
    head.pinned_offset = head.download_offset + WIRE_DOWNLOAD_BYTES;
    head.pinned_bytes = pinned_bytes;
    const std::uint64_t pinned_end = head.pinned_offset + pinned_bytes;
    head.window_offset = (pinned_end + window_alignment - 1) / window_alignment * window_alignment;
    head.window_bytes = window_bytes;
    head.region_bytes = window_bytes ? head.window_offset + window_bytes : pinned_end;
    return head;
}

Client::Client(Device &device, const Region &region, ClientRow &row, const Table &table)
    : device_(device), region_(region), row_(row), table_(table) {
    if (region_.head)
        printed().tell(&region_.head->printed, &region_.head->print_limit);
}

bool Client::fail(const char *why) {
    why_ = why;
    return false;
}

std::int64_t Client::consume(std::uint64_t tail) {
    const std::uint64_t available = load_acquire(&region_.head->head) - tail;
    if (available > WIRE_RING_BYTES || available % WIRE_ALIGNMENT)
        return fail("the ring's head makes no sense"), -1;
    std::uint64_t done = 0;
    while (done < available) {
        const std::byte *at = region_.ring() + (tail + done) % WIRE_RING_BYTES;
        const std::uint64_t room =
            std::min<std::uint64_t>(available - done, WIRE_RING_BYTES - (tail + done) % WIRE_RING_BYTES);
        wire_message head{};
        if (room < WIRE_ALIGNMENT)
            return fail("a message is cut off"), -1;
        // A pad may be shorter than a whole head: only its first words are there.
        std::memcpy(&head, at, std::min<std::uint64_t>(room, sizeof(head)));
        if (head.bytes < WIRE_ALIGNMENT || head.bytes % WIRE_ALIGNMENT || head.bytes > room)
            return fail("a message's length makes no sense"), -1;
        if (head.function != WIRE_FN_PAD) {
            if (head.bytes < sizeof(head) || head.bytes > WIRE_MESSAGE_MAX)
                return fail("a message's length makes no sense"), -1;
            const std::uint32_t bytes = head.bytes;
            std::memcpy(message_, at, bytes);
            std::memcpy(message_ + offsetof(wire_message, bytes), &bytes, sizeof(bytes));
            if (!handle({message_, bytes}))
                return -1;
        }
        done += head.bytes;
        store_release(&region_.head->tail, tail + done);
        ring(tail + done);
    }
    return static_cast<std::int64_t>(done);
}

// See ask_for_bell in shim/wire/call.c: of the two words, one side sees the other's. Who has asked again
// meanwhile is not forgotten.
void Client::ring(std::uint64_t tail) {
    full_fence();
    std::uint64_t asked = __atomic_load_n(&region_.head->wake_at, __ATOMIC_RELAXED);
    if (asked > tail || !__atomic_compare_exchange_n(&region_.head->wake_at, &asked, WIRE_NEVER, false,
                                                     __ATOMIC_RELAXED, __ATOMIC_RELAXED))
        return;
    if (bell)
        bell();
}

bool Client::handle(std::span<const std::byte> message) {
    wire_message head;
    std::memcpy(&head, message.data(), sizeof(head));
    if (head.slot != WIRE_NO_SLOT && head.slot >= WIRE_SLOT_COUNT)
        return fail("a message names a reply slot that is not there");
    CUresult result = CUDA_SUCCESS;
    out_.clear();
    device_.caller = {head.thread, head.context};
    row_.calls.fetch_add(1, std::memory_order_relaxed);
    if (!perform(head, Reader(message.subspan(sizeof(head))), result))
        return *why_ ? false : fail("a message's arguments do not fit its function");
    // A synchronising call tells an error that was counted when it happened.
    if (result != CUDA_SUCCESS && result != CUDA_ERROR_NOT_READY && head.function != WIRE_FN_SYNCHRONIZE)
        report(head, result);
    if (head.slot != WIRE_NO_SLOT)
        answer(head, out_.overflowed() ? CUDA_ERROR_INVALID_VALUE : result);
    return true;
}

// The first error of a posted call stays until a synchronising call tells it.
void Client::report(const wire_message &head, CUresult result) {
    row_.errors.fetch_add(1, std::memory_order_relaxed);
    row_.last_function.store(head.function, std::memory_order_relaxed);
    row_.last_error.store(result, std::memory_order_relaxed);
    if (head.slot != WIRE_NO_SLOT || load_acquire32(&region_.head->posted_error))
        return;
    region_.head->posted_function = head.function;
    region_.head->posted_sequence = head.sequence;
    store_release32(&region_.head->posted_error, result);
}

CUresult Client::posted_error(CUresult result) {
    const std::uint32_t posted = load_acquire32(&region_.head->posted_error);
    if (!posted)
        return result;
    if (!corrupts_context(posted))
        store_release32(&region_.head->posted_error, 0);
    return static_cast<CUresult>(posted);
}

void Client::answer(const wire_message &head, CUresult result) {
    wire_slot *slot = region_.slot(head.slot);
    const auto written = out_.written();
    std::memcpy(slot->payload, written.data(), written.size());
    slot->bytes = static_cast<std::uint32_t>(written.size());
    slot->result = result;
    store_release(&slot->sequence, head.sequence);
}

bool Client::perform(const wire_message &head, Reader in, CUresult &result) {
    const bool blocking = head.slot != WIRE_NO_SLOT;
    switch (head.function) {
    case WIRE_FN_PING:
        return true;
    case WIRE_FN_DEVICE:
        out_.put(&device_.facts(), sizeof(wire_device));
        return true;
    case WIRE_FN_BLOB:
        return blob(head, in, result);
    case WIRE_FN_COPY:
        return copy(in, blocking, result);
    case WIRE_FN_WINDOW:
        return window(in, result);
    case WIRE_FN_LOAD:
        return load(head, in, result);
    case WIRE_FN_LAUNCH:
        return launch(in, result);
    case WIRE_FN_LAYOUT:
        return layout(in, result);
    case WIRE_FN_NODES:
        return nodes(in, result);
    case WIRE_FN_SYNCHRONIZE:
        return synchronize(in, result);
    case WIRE_FN_UTILIZATION: {
        timespec now{};
        clock_gettime(CLOCK_MONOTONIC, &now);
        const auto [kernels, memory] = table_.utilization(
            static_cast<std::uint64_t>(now.tv_sec) * 1'000'000'000 + static_cast<std::uint64_t>(now.tv_nsec));
        out_.value(std::uint64_t{memory} << 32 | kernels);
        return true;
    }
    case WIRE_FN_PRINTED: {
        const std::string text = printed().take(WIRE_PRINTED_MAX);
        out_.value(text.size());
        out_.put(text.data(), text.size());
        return true;
    }
    case WIRE_FN_POINTER: {
        const auto attribute = static_cast<CUpointer_attribute>(in.value());
        const std::uint64_t address = in.value();
        std::uint64_t value = 0;
        if (in.failed())
            return false;
        result = device_.pointer_attribute(attribute, address, value);
        out_.value(value);
        return true;
    }
    default:
        if (!dispatch_call(device_, head.function, in, out_, result))
            return false;
        store_release32(&region_.head->captures, device_.captures());
        return true;
    }
}

bool Client::copy(Reader &in, bool blocking, CUresult &result) {
    const auto copy = in.structure<wire_copy>();
    if (in.failed())
        return false;
    if (copy.from == WIRE_FROM_MESSAGE && copy.to == WIRE_TO_ADDRESS) {
        const auto bytes = in.rest();
        if (copy.bytes > bytes.size())
            return false;
        result = device_.write(copy.target, bytes.first(copy.bytes), copy.stream);
    } else if (copy.from == WIRE_FROM_UPLOAD && copy.to == WIRE_TO_ADDRESS) {
        if (copy.source > WIRE_UPLOAD_BYTES || copy.bytes > WIRE_UPLOAD_BYTES - copy.source)
            return fail("a copy reaches beyond the upload area");
        result = device_.write(copy.target, {region_.upload() + copy.source, copy.bytes}, copy.stream);
        store_release(&region_.head->upload_tail, copy.upload_end);
    } else if (copy.from == WIRE_FROM_ADDRESS && copy.to == WIRE_TO_REPLY) {
        const auto room = out_.room(copy.bytes);
        if (room.size() != copy.bytes)
            return fail("a copy does not fit the reply");
        result = device_.read(room, copy.source, copy.stream);
    } else if (copy.from == WIRE_FROM_ADDRESS && copy.to == WIRE_TO_DOWNLOAD) {
        if (copy.target > WIRE_DOWNLOAD_BYTES || copy.bytes > WIRE_DOWNLOAD_BYTES - copy.target)
            return fail("a copy reaches beyond the download area");
        result = device_.read({region_.download() + copy.target, copy.bytes}, copy.source, copy.stream);
        region_.head->download_errors[downloads_ % WIRE_DOWNLOAD_CHUNKS] = result;
        store_release(&region_.head->download_done, ++downloads_);
        result = CUDA_SUCCESS; // told by the chunk, not as a posted call's error
    } else if (copy.from == WIRE_FROM_ADDRESS && copy.to == WIRE_TO_ADDRESS) {
        result = device_.copy(copy.target, copy.source, copy.bytes, copy.stream);
    } else {
        return fail("a copy of a kind that does not exist");
    }
    row_.copied.fetch_add(copy.bytes, std::memory_order_relaxed);
    if (blocking && result == CUDA_SUCCESS)
        result = posted_error(result);
    return true;
}

// The client then reads or writes its own device memory, which nobody but this worker maps besides it.
bool Client::window(Reader &in, CUresult &result) {
    const auto wanted = in.structure<wire_window>();
    std::uint64_t offset = UINT64_MAX;
    if (in.failed())
        return false;
    result = device_.window(wanted.address, wanted.bytes, wanted.stream, offset);
    if (result == CUDA_SUCCESS)
        result = posted_error(result);
    out_.value(offset);
    if (result == CUDA_SUCCESS && offset != UINT64_MAX)
        row_.copied.fetch_add(wanted.bytes, std::memory_order_relaxed);
    return true;
}

bool Client::blob(const wire_message &head, Reader &in, CUresult &result) {
    const auto copy = in.structure<wire_copy>();
    if (in.failed() || copy.source > WIRE_UPLOAD_BYTES || copy.bytes > WIRE_UPLOAD_BYTES - copy.source)
        return fail("an image reaches beyond the upload area");
    if (blobs_.size() >= blob_threads_max && !blobs_.contains(head.thread))
        return fail("too many threads send images");
    auto &blob = blobs_[head.thread];
    if (copy.bytes > WIRE_BLOB_MAX - blob.size())
        return fail("an image is too long");
    const std::byte *from = region_.upload() + copy.source;
    blob.insert(blob.end(), from, from + copy.bytes);
    store_release(&region_.head->upload_tail, copy.upload_end);
    result = CUDA_SUCCESS;
    return true;
}

bool Client::load(const wire_message &head, Reader &in, CUresult &result) {
    const auto load = in.structure<wire_load>();
    const auto found = blobs_.find(head.thread);
    if (in.failed() || load.kind > WIRE_LOAD_MODULE || found == blobs_.end() ||
        found->second.size() != load.bytes)
        return fail("an image is not whole");
    std::vector<std::byte> image = std::move(found->second);
    blobs_.erase(found);
    std::uint64_t handle = 0;
    std::string log;
    result = device_.load(static_cast<wire_load_kind>(load.kind), std::move(image), handle, log);
    log.resize(std::min<std::size_t>(log.size(), WIRE_LOAD_LOG_MAX));
    out_.value(handle);
    out_.value(log.size());
    out_.put(log.data(), log.size());
    return true;
}

bool Client::launch(Reader &in, CUresult &result) {
    const auto launch = in.structure<wire_launch>();
    const auto parameters = in.rest();
    if (in.failed() || launch.parameter_bytes > parameters.size())
        return false;
    result = device_.launch(launch, parameters.first(launch.parameter_bytes));
    return true;
}

bool Client::layout(Reader &in, CUresult &result) {
    const std::uint64_t function = in.value();
    ParameterLayout layout;
    if (in.failed())
        return false;
    result = device_.parameter_layout(function, layout);
    out_.value(layout.bytes);
    out_.put(layout.parameters.data(), layout.parameters.size() * sizeof(KernelParameter));
    return true;
}

bool Client::nodes(Reader &in, CUresult &result) {
    const std::uint64_t graph = in.value();
    const std::uint64_t room = in.value();
    std::vector<std::uint64_t> nodes;
    if (in.failed())
        return false;
    result = device_.graph_nodes(graph, nodes);
    out_.value(nodes.size());
    out_.put(nodes.data(), std::min<std::uint64_t>(nodes.size(), room) * sizeof(std::uint64_t));
    return true;
}

bool Client::synchronize(Reader &in, CUresult &result) {
    const auto wanted = in.structure<wire_synchronize>();
    if (in.failed() || wanted.kind > WIRE_EVENT_QUERY)
        return false;
    result = device_.synchronize(static_cast<wire_synchronize_kind>(wanted.kind), wanted.handle);
    if (result == CUDA_SUCCESS || !is_query(wanted.kind))
        result = posted_error(result);
    return true;
}

} // namespace shimbench
