/* Reading what arguments point to. Memory is read only where the model says what lies there; where it
 * can't be sure, or the call failed, the kernel copies it, so that a wild pointer stays the shim's. */
#include <string.h>

#include "driver.h"

enum { LOWEST_POINTER = 4096 }; /* below lie integers and mistakes */

uint64_t tap_count_behind(uint64_t pointer, unsigned size) {
    uint64_t count = 0;
    if (pointer < LOWEST_POINTER || size > sizeof count ||
        shimbench_copy_safely(&count, pointer, size) != size)
        return 0;
    return count;
}

static uint64_t length_of(const struct tap_value *value, const uint64_t *words) {
    uint64_t count = value->counter ? value->counter(words) : value->count;
    uint64_t length;
    return __builtin_mul_overflow(count, value->size, &length) ? 0 : length;
}

void tap_capture_before(const struct tap_prototype *prototype, const uint64_t *words,
                        struct tap_before *before) {
    unsigned slot = 0;
    memset(before->length, 0, sizeof before->length);
    for (unsigned i = 0; i < prototype->value_count && slot < TAP_BEFORE_VALUES; i++) {
        const struct tap_value *value = &prototype->values[i];
        if (value->kind != TAP_CAPTURE_INOUT)
            continue;
        uint64_t pointer = words[value->index];
        uint64_t length = length_of(value, words);
        if (length > TAP_BEFORE_BYTES)
            length = TAP_BEFORE_BYTES;
        if (pointer >= LOWEST_POINTER &&
            shimbench_copy_safely(before->bytes[slot], pointer, length) == length)
            before->length[slot] = (uint8_t)length;
        slot++;
    }
}

static void capture_value(struct tap_payload *payload, uint8_t kind, const struct tap_value *value,
                          const uint64_t *words, bool succeeded) {
    uint64_t pointer = words[value->index];
    uint64_t length = length_of(value, words);
    if (pointer < LOWEST_POINTER || length == 0)
        return;
    if (succeeded && value->sure && length <= shimbench_capture_limit())
        shimbench_put(payload, kind, value->index, (const void *)(uintptr_t)pointer, length);
    else
        shimbench_put_safely(payload, kind, value->index, pointer, length);
}

static void put_words(struct tap_payload *payload, const struct tap_prototype *prototype,
                      const uint64_t *words) {
    unsigned count = prototype->parameters;
    if (count > TAP_HEAD_ARGS)
        shimbench_put(payload, TAP_ITEM_ARGS, TAP_HEAD_ARGS, words + TAP_HEAD_ARGS,
                      (count - TAP_HEAD_ARGS) * sizeof *words);
}

static void put_string(struct tap_payload *payload, const struct tap_value *value, const uint64_t *words,
                       size_t limit) {
    if (words[value->index] >= LOWEST_POINTER)
        shimbench_put_string_safely(payload, value->index, words[value->index], limit);
}

/* A value too long for its record is put as a buffer too. */
static void put_long(struct tap_payload *payload, const struct tap_value *value, const uint64_t *words,
                     unsigned which) {
    uint64_t length = length_of(value, words);
    if (words[value->index] >= LOWEST_POINTER && length > shimbench_capture_limit() &&
        tap_buffers_wanted(which))
        shimbench_put_buffer(payload, value->index, words[value->index], length,
                             which == TAP_BUFFERS_OUTPUTS);
}

/* The device's addresses are nobody's memory on this side: those are left out. */
static void put_host_memory(struct tap_payload *payload, const struct tap_value *value,
                            const uint64_t *words) {
    uint64_t address = words[value->index], length = length_of(value, words);
    uint8_t probe;
    if (address >= LOWEST_POINTER && length && tap_buffers_wanted(TAP_BUFFERS_INPUTS) &&
        shimbench_copy_safely(&probe, address, 1) == 1 &&
        shimbench_copy_safely(&probe, address + length - 1, 1) == 1)
        shimbench_put_buffer(payload, value->index, address, length, false);
}

void tap_capture_ahead(const struct tap_call *call, const struct tap_prototype *prototype,
                       const uint64_t *words) {
    enum { LONGEST_STRING = 4096 };
    struct tap_payload payload;
    if (!shimbench_ahead_begin(&payload, call))
        return;
    put_words(&payload, prototype, words);
    for (unsigned i = 0; i < prototype->value_count; i++) {
        const struct tap_value *value = &prototype->values[i];
        switch (value->kind) {
        case TAP_CAPTURE_STRING:
            put_string(&payload, value, words, LONGEST_STRING);
            break;
        case TAP_CAPTURE_IN:
        case TAP_CAPTURE_INOUT:
            capture_value(&payload, TAP_ITEM_IN, value, words, false);
            put_long(&payload, value, words, TAP_BUFFERS_INPUTS);
            break;
        case TAP_CAPTURE_HOST:
            put_host_memory(&payload, value, words);
            break;
        case TAP_CAPTURE_IMAGE:
            if (words[value->index] >= LOWEST_POINTER && tap_buffers_wanted(TAP_BUFFERS_INPUTS))
                tap_put_image(&payload, value->index, words[value->index]);
            break;
        case TAP_CAPTURE_KERNEL:
            if (tap_buffers_wanted(TAP_BUFFERS_INPUTS))
                tap_put_kernel(&payload, value, words);
            break;
        default:
            break;
        }
    }
    shimbench_ahead_finish(&payload);
}

static void capture_output(struct tap_payload *payload, const struct tap_value *value,
                           const uint64_t *words) {
    capture_value(payload, TAP_ITEM_OUT, value, words, true);
    if (value->kind != TAP_CAPTURE_OUT_LATER)
        put_long(payload, value, words, TAP_BUFFERS_OUTPUTS);
    else if (words[value->index] >= LOWEST_POINTER && tap_buffers_wanted(TAP_BUFFERS_OUTPUTS))
        shimbench_expect_output(payload->call, value->index, words[value->count], words[value->index],
                                length_of(value, words));
}

void tap_capture(struct tap_payload *payload, const struct tap_prototype *prototype, const uint64_t *words,
                 const struct tap_before *before, bool succeeded) {
    bool ahead = payload->call->wants & TAP_BUFFERED; /* what it was given is on record already */
    if (!ahead)
        put_words(payload, prototype, words);
    unsigned slot = 0;
    for (unsigned i = 0; i < prototype->value_count; i++) {
        const struct tap_value *value = &prototype->values[i];
        switch (value->kind) {
        case TAP_CAPTURE_STRING:
            if (!ahead)
                put_string(payload, value, words, shimbench_capture_limit());
            break;
        case TAP_CAPTURE_IN:
            if (!ahead)
                capture_value(payload, TAP_ITEM_IN, value, words, succeeded);
            break;
        case TAP_CAPTURE_INOUT:
            if (!ahead && before && slot < TAP_BEFORE_VALUES && before->length[slot])
                shimbench_put(payload, TAP_ITEM_IN, value->index, before->bytes[slot], before->length[slot]);
            slot++;
            /* fall through */
        case TAP_CAPTURE_OUT:
        case TAP_CAPTURE_OUT_LATER:
            if (succeeded)
                capture_output(payload, value, words);
            break;
        default:
            break;
        }
    }
}

void tap_leave_synchronised(const struct tap_call *call, uint64_t stream, int32_t result) {
    struct tap_payload payload;
    if (TAP_LIKELY(!(call->wants & TAP_BUFFERED)) || result != 0 || !shimbench_expects_output(stream)) {
        tap_leave(call, result);
        return;
    }
    if (!shimbench_payload_begin(&payload, call, result, tap_ticks()))
        return;
    shimbench_put_expected(&payload, stream);
    shimbench_payload_finish(&payload);
}

void tap_leave_with(const struct tap_call *call, const struct tap_prototype *prototype, const uint64_t *words,
                    const struct tap_before *before, int32_t result) {
    struct tap_payload payload;
    if (!shimbench_payload_begin(&payload, call, result, tap_ticks()))
        return;
    tap_capture(&payload, prototype, words, before, result == 0);
    shimbench_payload_finish(&payload);
}

void tap_leave_with_pointer(const struct tap_call *call, const struct tap_prototype *prototype,
                            const uint64_t *words, uint64_t result) {
    struct tap_payload payload;
    if (!shimbench_payload_begin(&payload, call, 0, tap_ticks()))
        return;
    tap_capture(&payload, prototype, words, NULL, true);
    shimbench_put(&payload, TAP_ITEM_RETURN, 0, &result, sizeof result);
    if (result >= LOWEST_POINTER)
        shimbench_put_string_safely(&payload, UINT8_MAX, result, shimbench_capture_limit());
    shimbench_payload_finish(&payload);
}
