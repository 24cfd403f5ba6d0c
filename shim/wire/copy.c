/* Copies. Addresses of device and pinned memory mean the same in the host, so only pageable memory
 * travels: small pieces inside the message or the reply; large ones straight between it and the window
 * on device memory; where there is none in chunks, so that this process fills (or empties) one chunk
 * while the worker does the same with another. The window is much the faster way on busy cores: each
 * wait for the other side may cost a time slice, and it waits once. */
#include <forward.h>

#include "wire/barrier.h"
#include "wire/call.h"
#include "wire/state.h"

/* Takes `bytes` of the upload area, contiguous; the ring's lock is held. Its offset, UINT64_MAX when
 * the worker died. `*end` is what wire_copy.upload_end must say. */
static uint64_t take_upload(struct wire_state *state, uint64_t bytes, uint64_t *end) {
    struct wire_patience patience = {0};
    uint64_t start = state->upload_head;
    if (start % WIRE_UPLOAD_BYTES + bytes > WIRE_UPLOAD_BYTES)
        start += WIRE_UPLOAD_BYTES - start % WIRE_UPLOAD_BYTES;
    while (start + bytes - load_acquire(&state->region->upload_tail) > WIRE_UPLOAD_BYTES)
        if (!wire_wait(state, &patience))
            return UINT64_MAX;
    state->upload_head = *end = start + bytes;
    return start % WIRE_UPLOAD_BYTES;
}

/* Shorter copies to the device are posted: they need not wait for what was posted before them. */
enum { WINDOW_UPLOAD_MIN = 1 << 20 };

/* Where the device's bytes lie in our window once all work before this call is done; NULL in `*bytes`
 * when they don't. */
static CUresult find_in_window(uint64_t address, size_t length, CUstream stream, unsigned char **bytes) {
    struct wire_state *state = wire_connection();
    struct wire_call call;
    uint64_t offset = UINT64_MAX;
    *bytes = NULL;
    if (!state || !state->window || !state->in_order)
        return CUDA_SUCCESS;
    CUresult result = wire_begin(&call, WIRE_FN_WINDOW, WIRE_BLOCKING, sizeof(struct wire_window));
    if (result != CUDA_SUCCESS)
        return result;
    wire_put(&call, address);
    wire_put(&call, length);
    wire_put(&call, (uint64_t)(uintptr_t)stream);
    result = wire_ask(&call);
    wire_take(&call, &offset, sizeof(offset));
    wire_end(&call);
    if (result == CUDA_SUCCESS && length <= state->window_bytes && offset <= state->window_bytes - length)
        *bytes = state->window + offset;
    return result;
}

CUresult wire_upload(uint16_t function, uint64_t target, const void *bytes, size_t length, CUstream stream) {
    const unsigned char *from = bytes;
    while (length) {
        size_t part = length < WIRE_CHUNK_BYTES ? length : WIRE_CHUNK_BYTES;
        struct wire_copy copy = {.target = target,
                                 .bytes = part,
                                 .stream = (uint64_t)(uintptr_t)stream,
                                 .from = WIRE_FROM_UPLOAD,
                                 .to = WIRE_TO_ADDRESS};
        struct wire_call call;
        CUresult result = wire_begin(&call, function, WIRE_POSTED, sizeof(copy));
        if (result != CUDA_SUCCESS)
            return result;
        struct wire_state *state = wire_state();
        copy.source = take_upload(state, part, &copy.upload_end);
        if (copy.source == UINT64_MAX) {
            wire_abandon(&call);
            return CUDA_ERROR_LAUNCH_FAILED;
        }
        memcpy(state->upload + copy.source, from, part);
        wire_put_struct(&call, &copy, sizeof(copy));
        wire_post(&call);
        target += part;
        from += part;
        length -= part;
    }
    return CUDA_SUCCESS;
}

static CUresult copy_inline(uint64_t target, const void *bytes, size_t length, CUstream stream) {
    struct wire_copy copy = {.target = target,
                             .bytes = length,
                             .stream = (uint64_t)(uintptr_t)stream,
                             .from = WIRE_FROM_MESSAGE,
                             .to = WIRE_TO_ADDRESS};
    struct wire_call call;
    CUresult result = wire_begin(&call, WIRE_FN_COPY, WIRE_POSTED, sizeof(copy) + length);
    if (result != CUDA_SUCCESS)
        return result;
    wire_put_struct(&call, &copy, sizeof(copy));
    wire_put_struct(&call, bytes, length);
    return wire_post(&call);
}

/* Between two addresses that the host knows as well. */
static CUresult copy_addresses(uint64_t target, uint64_t source, size_t length, CUstream stream,
                               enum wire_manner manner) {
    struct wire_copy copy = {.target = target,
                             .source = source,
                             .bytes = length,
                             .stream = (uint64_t)(uintptr_t)stream,
                             .from = WIRE_FROM_ADDRESS,
                             .to = WIRE_TO_ADDRESS};
    struct wire_call call;
    CUresult result = wire_begin(&call, WIRE_FN_COPY, manner, sizeof(copy));
    if (result != CUDA_SUCCESS)
        return result;
    wire_put_struct(&call, &copy, sizeof(copy));
    if (manner == WIRE_POSTED)
        return wire_post(&call);
    result = wire_ask(&call);
    wire_end(&call);
    return result;
}

static CUresult copy_to_device(CUdeviceptr target, const void *source, size_t length, CUstream stream,
                               enum wire_manner manner) {
    if (!length)
        return CUDA_SUCCESS;
    if (!source)
        return CUDA_ERROR_INVALID_VALUE;
    if (wire_is_pinned(source))
        return copy_addresses(target, (uint64_t)(uintptr_t)source, length, stream, manner);
    if (length <= WIRE_INLINE_MAX)
        return copy_inline(target, source, length, stream);
    unsigned char *window = NULL;
    CUresult result =
        length >= WINDOW_UPLOAD_MIN ? find_in_window(target, length, stream, &window) : CUDA_SUCCESS;
    if (result != CUDA_SUCCESS)
        return result;
    if (window) {
        memcpy(window, source, length);
        return CUDA_SUCCESS;
    }
    return wire_upload(WIRE_FN_COPY, target, source, length, stream);
}

static CUresult copy_by_reply(void *target, uint64_t source, size_t length, CUstream stream) {
    struct wire_copy copy = {.source = source,
                             .bytes = length,
                             .stream = (uint64_t)(uintptr_t)stream,
                             .from = WIRE_FROM_ADDRESS,
                             .to = WIRE_TO_REPLY};
    struct wire_call call;
    CUresult result = wire_begin(&call, WIRE_FN_COPY, WIRE_BLOCKING, sizeof(copy));
    if (result != CUDA_SUCCESS)
        return result;
    wire_put_struct(&call, &copy, sizeof(copy));
    result = wire_ask(&call);
    wire_take(&call, target, length);
    wire_end(&call);
    return result;
}

static CUresult ask_chunk(uint64_t source, size_t length, uint64_t chunk, CUstream stream) {
    struct wire_copy copy = {.target = chunk % WIRE_DOWNLOAD_CHUNKS * WIRE_CHUNK_BYTES,
                             .source = source,
                             .bytes = length,
                             .stream = (uint64_t)(uintptr_t)stream,
                             .from = WIRE_FROM_ADDRESS,
                             .to = WIRE_TO_DOWNLOAD};
    struct wire_call call;
    CUresult result = wire_begin(&call, WIRE_FN_COPY, WIRE_POSTED, sizeof(copy));
    if (result != CUDA_SUCCESS)
        return result;
    wire_put_struct(&call, &copy, sizeof(copy));
    return wire_post(&call);
}

static size_t chunk_length(size_t length, uint64_t chunk) {
    size_t left = length - chunk * WIRE_CHUNK_BYTES;
    return left < WIRE_CHUNK_BYTES ? left : WIRE_CHUNK_BYTES;
}

/* Waits until `chunks` of this download have arrived; how many have in `*arrived`. */
static CUresult await_chunks(struct wire_state *state, uint64_t before, uint64_t chunks, uint64_t *arrived) {
    struct wire_patience patience = {0};
    while ((*arrived = load_acquire(&state->region->download_done) - before) < chunks)
        if (!wire_wait(state, &patience))
            return CUDA_ERROR_LAUNCH_FAILED;
    return CUDA_SUCCESS;
}

/* The download area belongs to one thread at a time. Chunks are asked for ahead, as many as the area
 * holds; each is asked for anew once it was emptied. When none is there, several are waited for: on a
 * core that both sides share, waiting for each by itself costs more than the copy. */
static CUresult copy_by_download(struct wire_state *state, unsigned char *target, uint64_t source,
                                 size_t length, CUstream stream) {
    uint64_t chunks = (length + WIRE_CHUNK_BYTES - 1) / WIRE_CHUNK_BYTES;
    uint64_t asked = 0, arrived = 0;
    CUresult result = CUDA_SUCCESS;
    wire_lock(&state->download_lock);
    uint64_t before = load_acquire(&state->region->download_done);
    for (uint64_t done = 0; done < chunks && result == CUDA_SUCCESS; done++) {
        for (; asked < chunks && asked < done + WIRE_DOWNLOAD_CHUNKS && result == CUDA_SUCCESS; asked++)
            result = ask_chunk(source + asked * WIRE_CHUNK_BYTES, chunk_length(length, asked), before + asked,
                               stream);
        uint64_t wanted = done + WIRE_DOWNLOAD_CHUNKS / 4 < asked ? done + WIRE_DOWNLOAD_CHUNKS / 4 : asked;
        if (result == CUDA_SUCCESS && arrived <= done)
            result = await_chunks(state, before, wanted, &arrived);
        if (result != CUDA_SUCCESS)
            break;
        uint64_t index = (before + done) % WIRE_DOWNLOAD_CHUNKS;
        result = (CUresult)state->region->download_errors[index];
        if (result == CUDA_SUCCESS)
            memcpy(target + done * WIRE_CHUNK_BYTES, state->download + index * WIRE_CHUNK_BYTES,
                   chunk_length(length, done));
    }
    /* What was asked for and is no longer wanted must not arrive in the next one's chunks. */
    if (await_chunks(state, before, asked, &arrived) != CUDA_SUCCESS)
        result = CUDA_ERROR_LAUNCH_FAILED;
    wire_unlock(&state->download_lock);
    return result == CUDA_SUCCESS ? wire_synchronize(WIRE_STREAM, (uint64_t)(uintptr_t)stream) : result;
}

static CUresult copy_from_device(void *target, CUdeviceptr source, size_t length, CUstream stream,
                                 enum wire_manner manner) {
    if (!length)
        return CUDA_SUCCESS;
    if (!target)
        return CUDA_ERROR_INVALID_VALUE;
    if (wire_is_pinned(target))
        return copy_addresses((uint64_t)(uintptr_t)target, source, length, stream, manner);
    if (length <= WIRE_REPLY_MAX)
        return copy_by_reply(target, source, length, stream);
    struct wire_state *state = wire_connection();
    if (!state)
        return CUDA_ERROR_NOT_INITIALIZED;
    unsigned char *window = NULL;
    CUresult result = find_in_window(source, length, stream, &window);
    if (result != CUDA_SUCCESS)
        return result;
    if (window) {
        memcpy(target, window, length);
        return CUDA_SUCCESS;
    }
    return copy_by_download(state, target, source, length, stream);
}

static bool is_ours(uint64_t address) {
    return wire_is_device(address) || wire_is_pinned((const void *)(uintptr_t)address);
}

/* Where neither side is named as host or device, the address says it. */
static CUresult copy_unified(uint64_t target, uint64_t source, size_t length, CUstream stream,
                             enum wire_manner manner) {
    void *host_target = (void *)(uintptr_t)target;
    const void *host_source = (const void *)(uintptr_t)source;
    if (is_ours(target))
        return is_ours(source) ? copy_addresses(target, source, length, stream, manner)
                               : copy_to_device(target, host_source, length, stream, manner);
    if (is_ours(source))
        return copy_from_device(host_target, source, length, stream, manner);
    CUresult result = wire_synchronize(WIRE_STREAM, (uint64_t)(uintptr_t)stream);
    if (result == CUDA_SUCCESS)
        memmove(host_target, host_source, length);
    return result;
}

static bool row_address(CUmemorytype type, const void *host, CUdeviceptr device, uint64_t *address) {
    *address = type == CU_MEMORYTYPE_HOST ? (uint64_t)(uintptr_t)host : device;
    return type == CU_MEMORYTYPE_HOST || type == CU_MEMORYTYPE_DEVICE || type == CU_MEMORYTYPE_UNIFIED;
}

/* A rectangle is copied row by row; arrays are not performed. */
static CUresult copy_rectangle(const CUDA_MEMCPY2D *rectangle, CUstream stream, enum wire_manner manner) {
    uint64_t source, target;
    if (!rectangle)
        return CUDA_ERROR_INVALID_VALUE;
    if (!row_address(rectangle->srcMemoryType, rectangle->srcHost, rectangle->srcDevice, &source) ||
        !row_address(rectangle->dstMemoryType, rectangle->dstHost, rectangle->dstDevice, &target))
        return CUDA_ERROR_NOT_SUPPORTED;
    size_t source_pitch = rectangle->srcPitch ? rectangle->srcPitch : rectangle->WidthInBytes;
    size_t target_pitch = rectangle->dstPitch ? rectangle->dstPitch : rectangle->WidthInBytes;
    source += rectangle->srcY * source_pitch + rectangle->srcXInBytes;
    target += rectangle->dstY * target_pitch + rectangle->dstXInBytes;
    if (source_pitch == rectangle->WidthInBytes && target_pitch == rectangle->WidthInBytes)
        return copy_unified(target, source, rectangle->WidthInBytes * rectangle->Height, stream, manner);
    CUresult result = CUDA_SUCCESS;
    for (size_t row = 0; row < rectangle->Height && result == CUDA_SUCCESS; row++)
        result = copy_unified(target + row * target_pitch, source + row * source_pitch,
                              rectangle->WidthInBytes, stream, manner);
    return result;
}

/* A blocking copy has waited for what came before it. */
static CUresult waited(CUresult result) {
    wire_pass_on_printed();
    return result;
}

CUresult forward_cuMemcpyHtoD_v2(CUdeviceptr dstDevice, const void *srcHost, size_t ByteCount) {
    return waited(copy_to_device(dstDevice, srcHost, ByteCount, NULL, WIRE_BLOCKING));
}

CUresult forward_cuMemcpyHtoDAsync_v2(CUdeviceptr dstDevice, const void *srcHost, size_t ByteCount,
                                      CUstream hStream) {
    return copy_to_device(dstDevice, srcHost, ByteCount, hStream, WIRE_POSTED);
}

CUresult forward_cuMemcpyDtoH_v2(void *dstHost, CUdeviceptr srcDevice, size_t ByteCount) {
    return waited(copy_from_device(dstHost, srcDevice, ByteCount, NULL, WIRE_BLOCKING));
}

CUresult forward_cuMemcpyDtoHAsync_v2(void *dstHost, CUdeviceptr srcDevice, size_t ByteCount,
                                      CUstream hStream) {
    return copy_from_device(dstHost, srcDevice, ByteCount, hStream, WIRE_POSTED);
}

CUresult forward_cuMemcpyDtoD_v2(CUdeviceptr dstDevice, CUdeviceptr srcDevice, size_t ByteCount) {
    return copy_addresses(dstDevice, srcDevice, ByteCount, NULL, WIRE_POSTED);
}

CUresult forward_cuMemcpyDtoDAsync_v2(CUdeviceptr dstDevice, CUdeviceptr srcDevice, size_t ByteCount,
                                      CUstream hStream) {
    return copy_addresses(dstDevice, srcDevice, ByteCount, hStream, WIRE_POSTED);
}

CUresult forward_cuMemcpy(CUdeviceptr dst, CUdeviceptr src, size_t ByteCount) {
    return waited(copy_unified(dst, src, ByteCount, NULL, WIRE_BLOCKING));
}

CUresult forward_cuMemcpyAsync(CUdeviceptr dst, CUdeviceptr src, size_t ByteCount, CUstream hStream) {
    return copy_unified(dst, src, ByteCount, hStream, WIRE_POSTED);
}

CUresult forward_cuMemcpy2D_v2(const CUDA_MEMCPY2D *pCopy) {
    return waited(copy_rectangle(pCopy, NULL, WIRE_BLOCKING));
}

CUresult forward_cuMemcpy2DUnaligned_v2(const CUDA_MEMCPY2D *pCopy) {
    return waited(copy_rectangle(pCopy, NULL, WIRE_BLOCKING));
}

CUresult forward_cuMemcpy2DAsync_v2(const CUDA_MEMCPY2D *pCopy, CUstream hStream) {
    return copy_rectangle(pCopy, hStream, WIRE_POSTED);
}
