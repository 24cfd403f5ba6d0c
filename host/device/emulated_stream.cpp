// Streams, events and stream capture of the emulated device. What is asked for is done at once, so a
// stream is its flags and, while it is captured, the graph that its operations are added to.
#include "device/emulated.hpp"

namespace shimbench {

namespace {

template <class Handle> Handle as(std::uint64_t handle) {
    return reinterpret_cast<Handle>(handle);
}

template <class Handle> std::uint64_t number(Handle handle) {
    return reinterpret_cast<std::uint64_t>(handle);
}

constexpr std::uint64_t legacy = 1, per_thread = 2;

} // namespace

EmulatedDevice::Stream *EmulatedDevice::stream(std::uint64_t handle) {
    if (handle <= legacy)
        handle = legacy;
    else if (handle == per_thread)
        handle = per_thread << 32 | caller.thread;
    const auto found = streams_.find(handle);
    if (found != streams_.end())
        return &found->second;
    if (handle != legacy && handle >> 32 != per_thread)
        return nullptr;
    Stream &made = streams_[handle];
    made.context = context_of_caller();
    made.id = ++last_stream_id_;
    return &made;
}

CUresult EmulatedDevice::make_stream(std::uint64_t handle, unsigned flags, int priority) {
    if (handle < WIRE_FIRST_HANDLE || streams_.contains(handle) || (flags & ~1u))
        return CUDA_ERROR_INVALID_VALUE;
    streams_[handle] = {flags, priority, context_of_caller(), 0, false, ++last_stream_id_};
    return CUDA_SUCCESS;
}

CUresult EmulatedDevice::cuStreamCreate(CUstream *phStream, unsigned int Flags) {
    return make_stream(number(*phStream), Flags, 0);
}

CUresult EmulatedDevice::cuStreamCreateWithPriority(CUstream *phStream, unsigned int flags, int priority) {
    return make_stream(number(*phStream), flags, priority);
}

CUresult EmulatedDevice::cuStreamDestroy_v2(CUstream hStream) {
    const auto found = streams_.find(number(hStream));
    if (found == streams_.end() || found->first < WIRE_FIRST_HANDLE)
        return CUDA_ERROR_INVALID_HANDLE;
    if (found->second.origin)
        end_capture(found->second.capture);
    streams_.erase(found);
    return CUDA_SUCCESS;
}

CUresult EmulatedDevice::cuStreamGetPriority(CUstream hStream, int *priority) {
    const Stream *on = stream(number(hStream));
    if (!on || !priority)
        return on ? CUDA_ERROR_INVALID_VALUE : CUDA_ERROR_INVALID_HANDLE;
    *priority = on->priority;
    return CUDA_SUCCESS;
}

CUresult EmulatedDevice::cuStreamGetFlags(CUstream hStream, unsigned int *flags) {
    const Stream *on = stream(number(hStream));
    if (!on || !flags)
        return on ? CUDA_ERROR_INVALID_VALUE : CUDA_ERROR_INVALID_HANDLE;
    *flags = on->flags;
    return CUDA_SUCCESS;
}

CUresult EmulatedDevice::cuStreamGetId(CUstream hStream, unsigned long long *streamId) {
    const Stream *on = stream(number(hStream));
    if (!on || !streamId)
        return on ? CUDA_ERROR_INVALID_VALUE : CUDA_ERROR_INVALID_HANDLE;
    *streamId = on->id;
    return CUDA_SUCCESS;
}

CUresult EmulatedDevice::refuse_in_capture(Stream &stream, CUresult result) {
    captured_[stream.capture] = true;
    return result;
}

CUresult EmulatedDevice::cuStreamBeginCapture_v2(CUstream hStream, CUstreamCaptureMode mode) {
    Stream *on = stream(number(hStream));
    if (!on)
        return CUDA_ERROR_INVALID_HANDLE;
    if (number(hStream) <= legacy)
        return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
    if (on->capture || mode > CU_STREAM_CAPTURE_MODE_RELAXED)
        return on->capture ? CUDA_ERROR_ILLEGAL_STATE : CUDA_ERROR_INVALID_VALUE;
    on->capture = new_handle();
    on->origin = true;
    graphs_[on->capture];
    captured_[on->capture] = false;
    captures_++;
    return CUDA_SUCCESS;
}

void EmulatedDevice::end_capture(std::uint64_t capture) {
    for (auto &[handle, stream] : streams_)
        if (stream.capture == capture)
            stream.capture = 0, stream.origin = false;
    for (auto &[handle, event] : events_)
        if (event.capture == capture)
            event.capture = 0;
    captures_ -= static_cast<std::uint32_t>(captured_.erase(capture));
}

CUresult EmulatedDevice::cuStreamEndCapture(CUstream hStream, CUgraph *phGraph) {
    Stream *on = stream(number(hStream));
    if (!on || !phGraph)
        return on ? CUDA_ERROR_INVALID_VALUE : CUDA_ERROR_INVALID_HANDLE;
    *phGraph = nullptr;
    if (!on->capture)
        return CUDA_ERROR_ILLEGAL_STATE;
    if (!on->origin)
        return CUDA_ERROR_STREAM_CAPTURE_UNMATCHED;
    const auto graph = as<CUgraph>(on->capture);
    const bool invalid = captured_[on->capture];
    end_capture(on->capture);
    if (invalid) {
        cuGraphDestroy(graph);
        return CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
    }
    *phGraph = graph;
    return CUDA_SUCCESS;
}

CUresult EmulatedDevice::cuStreamIsCapturing(CUstream hStream, CUstreamCaptureStatus *captureStatus) {
    const Stream *on = stream(number(hStream));
    if (!on || !captureStatus)
        return on ? CUDA_ERROR_INVALID_VALUE : CUDA_ERROR_INVALID_HANDLE;
    *captureStatus = !on->capture             ? CU_STREAM_CAPTURE_STATUS_NONE
                     : captured_[on->capture] ? CU_STREAM_CAPTURE_STATUS_INVALIDATED
                                              : CU_STREAM_CAPTURE_STATUS_ACTIVE;
    return CUDA_SUCCESS;
}

CUresult EmulatedDevice::cuStreamGetCaptureInfo(CUstream hStream, CUstreamCaptureStatus *captureStatus_out,
                                                cuuint64_t *id_out) {
    const CUresult result = cuStreamIsCapturing(hStream, captureStatus_out);
    if (result == CUDA_SUCCESS && id_out)
        *id_out = stream(number(hStream))->capture;
    return result;
}

CUresult EmulatedDevice::cuStreamWaitEvent(CUstream hStream, CUevent hEvent, unsigned int) {
    Stream *on = stream(number(hStream));
    const auto event = events_.find(number(hEvent));
    if (!on || event == events_.end())
        return CUDA_ERROR_INVALID_HANDLE;
    // A stream that waits for work being captured joins that capture.
    if (event->second.capture && !on->capture)
        on->capture = event->second.capture;
    else if (event->second.capture != on->capture)
        return on->capture ? refuse_in_capture(*on, CUDA_ERROR_STREAM_CAPTURE_ISOLATION) : CUDA_SUCCESS;
    return CUDA_SUCCESS;
}

CUresult EmulatedDevice::cuEventCreate(CUevent *phEvent, unsigned int Flags) {
    const std::uint64_t handle = number(*phEvent);
    if (handle < WIRE_FIRST_HANDLE || events_.contains(handle))
        return CUDA_ERROR_INVALID_VALUE;
    if (Flags & CU_EVENT_INTERPROCESS)
        return CUDA_ERROR_NOT_SUPPORTED;
    events_[handle] = {Flags, context_of_caller(), 0, std::nullopt};
    return CUDA_SUCCESS;
}

CUresult EmulatedDevice::cuEventDestroy_v2(CUevent hEvent) {
    return events_.erase(number(hEvent)) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_HANDLE;
}

CUresult EmulatedDevice::cuEventRecord(CUevent hEvent, CUstream hStream) {
    const Stream *on = stream(number(hStream));
    const auto event = events_.find(number(hEvent));
    if (!on || event == events_.end())
        return CUDA_ERROR_INVALID_HANDLE;
    event->second.capture = on->capture;
    if (!on->capture)
        event->second.recorded = std::chrono::steady_clock::now();
    return CUDA_SUCCESS;
}

CUresult EmulatedDevice::cuEventRecordWithFlags(CUevent hEvent, CUstream hStream, unsigned int flags) {
    return flags ? CUDA_ERROR_NOT_SUPPORTED : cuEventRecord(hEvent, hStream);
}

CUresult EmulatedDevice::cuEventElapsedTime(float *pMilliseconds, CUevent hStart, CUevent hEnd) {
    const auto start = events_.find(number(hStart)), end = events_.find(number(hEnd));
    if (!pMilliseconds)
        return CUDA_ERROR_INVALID_VALUE;
    if (start == events_.end() || end == events_.end() || !start->second.recorded || !end->second.recorded ||
        ((start->second.flags | end->second.flags) & CU_EVENT_DISABLE_TIMING))
        return CUDA_ERROR_INVALID_HANDLE;
    *pMilliseconds =
        std::chrono::duration<float, std::milli>(*end->second.recorded - *start->second.recorded).count();
    return CUDA_SUCCESS;
}

// Everything asked for before is done, so there is nothing to wait for.
CUresult EmulatedDevice::synchronize(wire_synchronize_kind kind, std::uint64_t handle) {
    if (kind == WIRE_CONTEXT)
        return captures_ ? CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED : CUDA_SUCCESS;
    if (kind == WIRE_EVENT || kind == WIRE_EVENT_QUERY) {
        const auto event = events_.find(handle);
        if (event == events_.end())
            return CUDA_ERROR_INVALID_HANDLE;
        return event->second.capture ? CUDA_ERROR_CAPTURED_EVENT : CUDA_SUCCESS;
    }
    Stream *on = stream(handle);
    if (!on)
        return CUDA_ERROR_INVALID_HANDLE;
    return on->capture ? refuse_in_capture(*on, CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED) : CUDA_SUCCESS;
}

} // namespace shimbench
