/* Synchronising calls. A worker that executes in order is done with what it has consumed, so that
 * waiting for the ring to drain is enough; the host is asked only where it must say an error. */
#include <forward.h>

#include "wire/barrier.h"
#include "wire/call.h"
#include "wire/state.h"

static CUresult ask_host(enum wire_synchronize_kind kind, uint64_t handle) {
    struct wire_call call;
    CUresult result = wire_begin(&call, WIRE_FN_SYNCHRONIZE, WIRE_BLOCKING, sizeof(struct wire_synchronize));
    if (result != CUDA_SUCCESS)
        return result;
    wire_put(&call, kind);
    wire_put(&call, handle);
    result = wire_ask(&call);
    wire_end(&call);
    return result;
}

static bool host_must_say(struct wire_state *state) {
    return !state->in_order || load_acquire32(&state->region->captures) ||
           load_acquire32(&state->region->posted_error);
}

static CUresult wait_for(enum wire_synchronize_kind kind, uint64_t handle) {
    struct wire_state *state = wire_connection();
    if (!state || !state->in_order || load_acquire32(&state->region->captures))
        return ask_host(kind, handle);
    CUresult result = wire_drain(state, load_acquire(&state->region->head));
    if (result != CUDA_SUCCESS)
        return result;
    return host_must_say(state) ? ask_host(kind, handle) : CUDA_SUCCESS;
}

CUresult wire_synchronize(enum wire_synchronize_kind kind, uint64_t handle) {
    CUresult result = wait_for(kind, handle);
    wire_pass_on_printed();
    return result;
}

static CUresult query(enum wire_synchronize_kind kind, uint64_t handle) {
    struct wire_state *state = wire_connection();
    if (!state || host_must_say(state))
        return ask_host(kind, handle);
    if (load_acquire(&state->region->tail) != load_acquire(&state->region->head))
        return CUDA_ERROR_NOT_READY;
    return host_must_say(state) ? ask_host(kind, handle) : CUDA_SUCCESS;
}

CUresult forward_cuCtxSynchronize(void) {
    return wire_synchronize(WIRE_CONTEXT, 0);
}

CUresult forward_cuStreamSynchronize(CUstream hStream) {
    return wire_synchronize(WIRE_STREAM, (uint64_t)(uintptr_t)hStream);
}

CUresult forward_cuEventSynchronize(CUevent hEvent) {
    return wire_synchronize(WIRE_EVENT, (uint64_t)(uintptr_t)hEvent);
}

CUresult forward_cuStreamQuery(CUstream hStream) {
    return query(WIRE_STREAM_QUERY, (uint64_t)(uintptr_t)hStream);
}

CUresult forward_cuEventQuery(CUevent hEvent) {
    return query(WIRE_EVENT_QUERY, (uint64_t)(uintptr_t)hEvent);
}
