/* Putting one call into the ring and taking its answer: what the generated stubs and the
 * hand-written calls are made of. Not for the shim.
 *
 *     struct wire_call call;
 *     CUresult result = wire_begin(&call, FN_cuMemAlloc_v2, WIRE_BLOCKING, 16);
 *     if (result != CUDA_SUCCESS) return result;
 *     wire_put(&call, bytesize);
 *     result = wire_ask(&call);
 *     wire_take(&call, dptr, sizeof(*dptr));
 *     wire_end(&call);
 */
#ifndef SHIMBENCH_WIRE_CALL_H
#define SHIMBENCH_WIRE_CALL_H

#include <stddef.h>
#include <string.h>

#include "wire/client.h"

enum wire_manner { WIRE_POSTED, WIRE_BLOCKING };

struct wire_call {
    struct wire_message *message;
    unsigned char *at; /* where the next argument goes */
    const unsigned char *answer;
    const unsigned char *answer_end;
    uint32_t slot; /* WIRE_NO_SLOT when posted */
    uint64_t sequence;
};

/* Takes room for `payload_bytes` of arguments in the ring, and the ring's lock until wire_post or
 * wire_ask. CUDA_ERROR_NOT_INITIALIZED when not connected, CUDA_ERROR_LAUNCH_FAILED when the worker
 * has died, CUDA_ERROR_INVALID_VALUE when the arguments are too long for one message. */
CUresult wire_begin(struct wire_call *call, uint16_t function, enum wire_manner manner, size_t payload_bytes);

/* Turns a call that was begun into one that says nothing. */
void wire_abandon(struct wire_call *call);

/* Publishes a posted call. */
CUresult wire_post(struct wire_call *call);

/* Publishes a blocking call and waits for its result; wire_end must follow. */
CUresult wire_ask(struct wire_call *call);

/* Gives the reply slot back. */
void wire_end(struct wire_call *call);

/* A handle for an object that the host is about to make. */
uint64_t wire_new_handle(void);

static inline void wire_put_struct(struct wire_call *call, const void *data, size_t bytes) {
    memcpy(call->at, data, bytes);
    call->at += bytes;
}

static inline size_t wire_padded(size_t bytes) {
    return (bytes + 7u) & ~(size_t)7u;
}

static inline void wire_put(struct wire_call *call, uint64_t value) {
    memcpy(call->at, &value, sizeof(value));
    call->at += sizeof(value);
}

/* A length and that many bytes; NULL is sent as a length of all ones. */
static inline void wire_put_bytes(struct wire_call *call, const void *bytes, size_t length) {
    if (!bytes) {
        wire_put(call, UINT64_MAX);
        return;
    }
    wire_put(call, length);
    memcpy(call->at, bytes, length);
    call->at += wire_padded(length);
}

static inline size_t wire_bytes_room(const void *bytes, size_t length) {
    return 8 + (bytes ? wire_padded(length) : 0);
}

/* Takes the next `bytes` of the answer into `out`, when the caller wants them and the host sent them. */
static inline void wire_take(struct wire_call *call, void *out, size_t bytes) {
    size_t padded = wire_padded(bytes);
    if (!out || (size_t)(call->answer_end - call->answer) < padded)
        return;
    memcpy(out, call->answer, bytes);
    call->answer += padded;
}

#endif
