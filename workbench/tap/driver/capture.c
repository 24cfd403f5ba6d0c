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

void tap_capture(struct tap_payload *payload, const struct tap_prototype *prototype, const uint64_t *words,
                 const struct tap_before *before, bool succeeded) {
    unsigned count = prototype->parameters;
    if (count > TAP_HEAD_ARGS)
        shimbench_put(payload, TAP_ITEM_ARGS, TAP_HEAD_ARGS, words + TAP_HEAD_ARGS,
                      (count - TAP_HEAD_ARGS) * sizeof *words);
    unsigned slot = 0;
    for (unsigned i = 0; i < prototype->value_count; i++) {
        const struct tap_value *value = &prototype->values[i];
        switch (value->kind) {
        case TAP_CAPTURE_STRING:
            if (words[value->index] >= LOWEST_POINTER)
                shimbench_put_string_safely(payload, value->index, words[value->index],
                                            shimbench_capture_limit());
            break;
        case TAP_CAPTURE_IN:
            capture_value(payload, TAP_ITEM_IN, value, words, succeeded);
            break;
        case TAP_CAPTURE_INOUT:
            if (before && slot < TAP_BEFORE_VALUES && before->length[slot])
                shimbench_put(payload, TAP_ITEM_IN, value->index, before->bytes[slot], before->length[slot]);
            slot++;
            /* fall through */
        case TAP_CAPTURE_OUT:
            if (succeeded)
                capture_value(payload, TAP_ITEM_OUT, value, words, true);
            break;
        }
    }
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
