// Calls from the rings of all targets into the session.
#include "collector.hpp"
#include "order.hpp"

#include <algorithm>

namespace shimbench::collector {

using session::CallRow;
using session::InFlightRow;
using session::json_string;

namespace {

constexpr size_t kMostAtOnce = 65536; // calls of one process in one pass

// The session has its own names for the same numbers.
static_assert(static_cast<int>(session::CallFlag::Internal) == TAP_FLAG_INTERNAL);
static_assert(static_cast<int>(session::CallFlag::Unreturned) == TAP_FLAG_UNRETURNED);
static_assert(static_cast<int>(session::CallFlag::Truncated) == TAP_FLAG_TRUNCATED);
static_assert(static_cast<int>(session::CallFlag::LostBefore) == TAP_FLAG_LOST_BEFORE);
static_assert(static_cast<int>(session::CallFlag::LinkTime) == TAP_FLAG_LINK_TIME);
static_assert(sizeof(session::PayloadItem) == sizeof(tap_item));

} // namespace

// A caller in no file we know of, or a library just loaded: the list of modules is to be read again.
void Collector::look_at_callers(Image &image, std::span<const DrainedCall> calls) {
    uint64_t start = 1, end = 1; // of the module last found; nothing lies at address 0
    for (const DrainedCall &call : calls) {
        const tap_record &record = call.record;
        if (record.function == TAP_FN_LOAD || record.function == TAP_FN_DLOPEN) {
            image.modules_stale = true;
            image.next_scan = 0;
        }
        uint64_t caller = record.caller;
        if (caller - start < end - start || caller == 0 || record.function == TAP_FN_MODULE)
            continue;
        auto after =
            std::upper_bound(image.modules.begin(), image.modules.end(), caller,
                             [](uint64_t at, const MappedModule &module) { return at < module.start; });
        if (after != image.modules.begin() && caller < std::prev(after)->end) {
            start = std::prev(after)->start;
            end = std::prev(after)->end;
        } else {
            image.modules_stale = true;
        }
    }
}

CallRow Collector::row_of(Image &image, const DrainedCall &call) {
    const tap_record &record = call.record;
    CallRow row{};
    row.time = image.clock->mono_ns(record.start) - writer_.start_mono_ns();
    row.duration = image.clock->duration_ns(record.duration);
    row.caller = record.caller;
    std::copy(std::begin(record.args), std::end(record.args), row.args);
    row.thread = call.thread;
    row.sequence = record.sequence;
    row.parent = record.parent;
    if (auto items = payload_of(image, call); !items.empty())
        row.payload = writer_.blob(items);
    row.result = record.result;
    row.process = static_cast<uint16_t>(image.index);
    row.function = record.function;
    row.flags = record.flags;
    row.nesting = call.nesting;
    return row;
}

// Takes up to about `limit` calls; returns how many.
size_t Collector::drain_region(Image &image, size_t limit) {
    drained_.clear();
    image.region->drain(drained_, limit);
    size_t at = pending_.size();
    pending_.grow(drained_.calls.size());
    for (const DrainedCall &call : drained_.calls) {
        const tap_record &record = call.record;
        if (record.function == TAP_FN_MODULE) {
            take_module(image, record,
                        std::span(drained_.payloads).subspan(call.payload_offset, call.payload_length));
            continue;
        }
        if (record.function == TAP_FN_INPUTS) {
            take_inputs(image, call);
            continue;
        }
        pending_[at++] = row_of(image, call);
    }
    pending_.shrink(at);
    look_at_callers(image, drained_.calls);
    if (buffers_ && !image.lanes.empty())
        grant_buffers(image);
    return drained_.calls.size();
}

// Numbers are given in the order of entry, as far as the calls of one pass go.
void Collector::flush_calls() {
    order_.resize(pending_.size());
    for (size_t i = 0; i < order_.size(); i++)
        order_[i] = {pending_[i].time, static_cast<uint32_t>(i)};
    merge_runs(order_, merged_);
    std::span<CallRow> room = writer_.room(order_.size());
    for (size_t i = 0; i < room.size(); i++)
        room[i] = pending_[order_[i].second];
    pending_.clear();
}

// True when there were any.
bool Collector::drain_regions() {
    bool any = false;
    for (Image *image : active_)
        if (image->region)
            any = drain_region(*image, kMostAtOnce) > 0 || any;
    if (any)
        flush_calls();
    return any;
}

// The last look at a region: what is left in it, then the calls that will never return.
void Collector::finish_region(Image &image) {
    if (!image.region)
        return;
    // More than it can hold is made up by somebody who still writes to it.
    size_t left = size_t{image.region->head().max_chunks} * TAP_CELLS_PER_CHUNK;
    for (size_t count = 1; count > 0 && left > 0; left -= std::min(left, count)) {
        count = drain_region(image, kMostAtOnce);
        flush_calls();
        writer_.publish();
    }
    flying_.clear();
    image.region->in_flight(flying_);
    int64_t now = writer_.now();
    for (const FlyingCall &call : flying_) {
        CallRow row{};
        row.time = image.clock->mono_ns(call.slot.start) - writer_.start_mono_ns();
        row.duration = std::max<int64_t>(0, now - row.time);
        row.caller = call.slot.caller;
        std::copy_n(call.slot.args, 3, row.args);
        row.thread = call.thread;
        row.sequence = call.slot.sequence;
        row.parent = call.slot.parent;
        row.process = static_cast<uint16_t>(image.index);
        row.function = call.slot.function;
        row.flags = static_cast<uint8_t>(session::CallFlag::Unreturned);
        row.nesting = call.nesting;
        if (auto given = image.inputs.find({call.thread, call.slot.sequence});
            given != image.inputs.end() && !given->second.empty())
            row.payload = writer_.blob(given->second);
        pending_.grow(1)[0] = row;
    }
    flush_calls();
    tell_losses(image);
    tell_lost_buffers(image);
    image.inputs.clear();
    image.lanes.clear();
    image.region.reset();
}

void Collector::write_in_flight() {
    flying_rows_.clear();
    for (Image *image : active_) {
        if (!image->region)
            continue;
        flying_.clear();
        image->region->in_flight(flying_);
        for (const FlyingCall &call : flying_) {
            InFlightRow row{};
            row.started = image->clock->mono_ns(call.slot.start) - writer_.start_mono_ns();
            row.caller = call.slot.caller;
            std::copy(std::begin(call.slot.args), std::end(call.slot.args), row.args);
            row.thread = call.thread;
            row.sequence = call.slot.sequence;
            row.parent = call.slot.parent;
            row.process = static_cast<uint16_t>(image->index);
            row.function = call.slot.function;
            flying_rows_.push_back(row);
        }
    }
    writer_.in_flight(writer_.now(), flying_rows_);
}

void Collector::tell_losses(Image &image) {
    if (!image.region)
        return;
    std::string process = "\"process\":" + std::to_string(image.index);
    uint64_t lost = image.region->lost();
    if (lost > image.lost) {
        image.lost = lost;
        writer_.event(writer_.now(), "lost", process + ",\"why\":\"ring\",\"count\":" + std::to_string(lost));
    }
    if (!image.region->damage().empty() && !image.damage_told) {
        image.damage_told = true;
        writer_.event(writer_.now(), "damage", process + ",\"text\":" + json_string(image.region->damage()));
    }
}

} // namespace shimbench::collector
