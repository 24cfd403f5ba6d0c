/* Records with items behind their head, and what happens when a chunk or the region is full. */
#define _GNU_SOURCE
#include <errno.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "internal.h"

/* Room kept for one record, in cells: enough for a handful of values of the usual capture limit. */
enum { USUAL_CELLS = 64, USUAL_LIMIT = 256 };

size_t shimbench_capture_limit(void) {
    uint32_t limit = __atomic_load_n(&shimbench_process.region->capture_limit, __ATOMIC_RELAXED);
    return limit ? limit : USUAL_LIMIT;
}

struct tap_record *tap_reserve(struct tap_local *local, uint32_t cells) {
    if (local->used + cells > TAP_CELLS_PER_CHUNK) {
        int saved = errno;
        struct tap_region *region = shimbench_process.region;
        if (tap_collector_is_gone())
            tap_do_without_collector(region);
        bool more = tap_next_chunk(local);
        errno = saved;
        if (!more)
            return NULL;
    }
    return (struct tap_record *)local->chunk + 1 + local->used;
}

static bool begin(struct tap_payload *payload, const struct tap_call *call, int32_t result, uint64_t end,
                  uint32_t cells) {
    struct tap_local *local = &shimbench_local;
    if (!tap_still_ours(call)) {
        local->busy = 0;
        return false;
    }
    local->busy = 1;
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    struct tap_record *record = tap_reserve(local, cells);
    if (!record) {
        local->dropped++;
        __atomic_fetch_add(&local->block->lost, 1, __ATOMIC_RELAXED);
        tap_retire(local, call);
        __atomic_signal_fence(__ATOMIC_SEQ_CST);
        local->busy = 0;
        return false;
    }
    tap_fill_record(record, call, result, end);
    *payload = (struct tap_payload){
        .at = (uint8_t *)(record + 1), .end = (uint8_t *)(record + cells), .record = record, .call = call};
    if (local->dropped) {
        uint64_t dropped = __atomic_exchange_n(&local->dropped, 0, __ATOMIC_RELAXED);
        record->flags |= TAP_FLAG_LOST_BEFORE;
        shimbench_put(payload, TAP_ITEM_LOST, 0, &dropped, sizeof dropped);
    }
    return true;
}

bool shimbench_ahead_begin(struct tap_payload *payload, const struct tap_call *call) {
    struct tap_local *local = &shimbench_local;
    if (!tap_still_ours(call))
        return false;
    local->busy = 1;
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    struct tap_record *record = tap_reserve(local, TAP_MAX_CELLS);
    if (!record) { /* the call itself is still recorded, or counted as lost */
        __atomic_signal_fence(__ATOMIC_SEQ_CST);
        local->busy = 0;
        return false;
    }
    *record = (struct tap_record){
        .start = call->start, .caller = call->caller, .sequence = call->sequence, .function = TAP_FN_INPUTS};
    *payload = (struct tap_payload){.at = (uint8_t *)(record + 1),
                                    .end = (uint8_t *)(record + TAP_MAX_CELLS),
                                    .record = record,
                                    .call = call};
    return true;
}

static void commit(const struct tap_payload *payload);

void shimbench_ahead_finish(struct tap_payload *payload) {
    commit(payload);
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    shimbench_local.busy = 0;
}

bool shimbench_payload_begin(struct tap_payload *payload, const struct tap_call *call, int32_t result,
                             uint64_t end) {
    if (TAP_UNLIKELY(call->wants & TAP_WATCHED))
        shimbench_break_after(call, result);
    bool usual = shimbench_capture_limit() <= USUAL_LIMIT && !(call->wants & TAP_BUFFERED);
    return begin(payload, call, result, end, usual ? USUAL_CELLS : TAP_MAX_CELLS);
}

void shimbench_leave_slowly(const struct tap_call *call, int32_t result, uint64_t end) {
    struct tap_payload payload;
    if (begin(&payload, call, result, end, shimbench_local.dropped ? 2 : 1))
        shimbench_payload_finish(&payload);
}

/* Opens an item and says where its data goes; `*length` is cut to what is wanted and to what fits. */
static uint8_t *open_item(struct tap_payload *payload, struct tap_item *item, size_t *length) {
    size_t room = (size_t)(payload->end - payload->at);
    if (room < sizeof *item || (room == sizeof *item && *length)) {
        payload->record->flags |= TAP_FLAG_TRUNCATED;
        return NULL;
    }
    room -= sizeof *item;
    if (*length > room) {
        *length = room;
        payload->record->flags |= TAP_FLAG_TRUNCATED;
    }
    if (*length > UINT16_MAX)
        *length = UINT16_MAX;
    item->length = (uint16_t)*length;
    return payload->at + sizeof *item;
}

static void close_item(struct tap_payload *payload, const struct tap_item *item) {
    memcpy(payload->at, item, sizeof *item);
    payload->at += sizeof *item;
    size_t padded = ((size_t)item->length + 7) & ~(size_t)7;
    memset(payload->at + item->length, 0, padded - item->length);
    payload->at += padded;
}

static uint32_t whole_length(size_t length) {
    return length > UINT32_MAX ? UINT32_MAX : (uint32_t)length;
}

void shimbench_put(struct tap_payload *payload, uint8_t kind, uint8_t index, const void *data,
                   size_t length) {
    struct tap_item item = {.kind = kind, .index = index, .original = whole_length(length)};
    uint8_t *to = open_item(payload, &item, &length);
    if (!to)
        return;
    memcpy(to, data, length);
    close_item(payload, &item);
}

void shimbench_put_string(struct tap_payload *payload, uint8_t index, const char *string) {
    shimbench_put(payload, TAP_ITEM_STRING, index, string, strlen(string));
}

size_t shimbench_copy_safely(void *to, uint64_t from, size_t length) {
    int saved = errno;
    size_t done = 0;
    while (done < length) { /* page by page: the kernel doesn't promise partial copies */
        size_t part = 4096 - (from + done) % 4096;
        if (part > length - done)
            part = length - done;
        struct iovec local = {.iov_base = (uint8_t *)to + done, .iov_len = part};
        struct iovec remote = {.iov_base = (void *)(uintptr_t)(from + done), .iov_len = part};
        if (syscall(SYS_process_vm_readv, getpid(), &local, 1ul, &remote, 1ul, 0ul) != (long)part)
            break;
        done += part;
    }
    errno = saved;
    return done;
}

void shimbench_put_safely(struct tap_payload *payload, uint8_t kind, uint8_t index, uint64_t address,
                          size_t length) {
    struct tap_item item = {.kind = kind, .index = index, .original = whole_length(length)};
    size_t limit = shimbench_capture_limit();
    if (length > limit)
        length = limit;
    uint8_t *to = open_item(payload, &item, &length);
    if (!to || length == 0 || shimbench_copy_safely(to, address, length) != length)
        return;
    close_item(payload, &item);
}

void shimbench_put_string_safely(struct tap_payload *payload, uint8_t index, uint64_t address, size_t limit) {
    struct tap_item item = {.kind = TAP_ITEM_STRING, .index = index};
    size_t length = limit;
    uint8_t *to = open_item(payload, &item, &length);
    if (!to)
        return;
    size_t copied = shimbench_copy_safely(to, address, length);
    if (copied == 0)
        return;
    size_t ended = strnlen((const char *)to, copied);
    item.length = (uint16_t)ended;
    /* How long a cut string is isn't worth reading unknown memory for: one more than was kept. */
    item.original = (uint32_t)(ended < copied ? ended : ended + 1);
    close_item(payload, &item);
}

/* Publishes the record with the items put behind it. */
static void commit(const struct tap_payload *payload) {
    struct tap_local *local = &shimbench_local;
    struct tap_record *record = payload->record;
    size_t bytes = (size_t)(payload->at - (uint8_t *)record);
    size_t cells = (bytes + TAP_CELL_SIZE - 1) / TAP_CELL_SIZE;
    if (bytes < cells * TAP_CELL_SIZE)
        memset(payload->at, 0, sizeof(struct tap_item));
    record->cells = (uint8_t)cells;
    local->used += (uint32_t)cells;
    __atomic_store_n(&local->chunk->committed, local->used, __ATOMIC_RELEASE);
}

void shimbench_payload_finish(struct tap_payload *payload) {
    commit(payload);
    struct tap_local *local = &shimbench_local;
    tap_retire(local, payload->call);
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    local->busy = 0;
}
