/* cuGetProcAddress and cuGetExportTable: calls whose answers are more ways to call. The caller gets the
 * wrapper of the export that the answer is, whatever name was asked for. */
#include <string.h>

#include "driver.h"

enum { PER_THREAD_FLAG = 2 /* CU_GET_PROC_ADDRESS_PER_THREAD_DEFAULT_STREAM */ };

uint16_t tap_function_at(uint64_t address) {
    for (uint32_t i = 1; i < TAP_FUNCTION_COUNT; i++)
        if ((uint64_t)tap_exports[i].wrapper == address)
            return (uint16_t)i;
    return TAP_FN_NONE;
}

/* How well an export fits a request: shims that answer many names with one stub export it many times. */
static unsigned fit(const struct tap_export *entry, const char *symbol, uint32_t version, bool per_thread) {
    unsigned score = 1;
    if (strcmp(entry->name, symbol) == 0)
        score += 1;
    if (strcmp(entry->base, symbol) == 0)
        score += entry->version <= version ? 4 : 2;
    return score * 2 + (entry->per_thread == per_thread);
}

/* The export that `address` is, 0 for none. */
static uint16_t export_behind(const void *address, const char *symbol, uint32_t version, bool per_thread) {
    uint16_t best = TAP_FN_NONE;
    unsigned best_fit = 0;
    for (uint32_t i = 1; i < TAP_FUNCTION_COUNT; i++) {
        if (tap_real[i] != address)
            continue;
        unsigned candidate = fit(&tap_exports[i], symbol, version, per_thread);
        bool newer = best && candidate == best_fit && tap_exports[i].version > tap_exports[best].version;
        if (candidate > best_fit || newer) {
            best = (uint16_t)i;
            best_fit = candidate;
        }
    }
    return best;
}

/* The function of the model that a request means: the newest version not above the one asked for. */
static uint16_t function_meant(const char *symbol, uint32_t version, bool per_thread) {
    uint16_t best = TAP_FN_NONE;
    for (uint32_t i = 1; i < TAP_FUNCTION_COUNT; i++) {
        const struct tap_export *entry = &tap_exports[i];
        if (!entry->name || entry->version > version || entry->per_thread != per_thread ||
            strcmp(entry->base, symbol) != 0)
            continue;
        if (!best || entry->version > tap_exports[best].version)
            best = (uint16_t)i;
    }
    return best;
}

static uint16_t function_named(const char *name) {
    for (uint32_t i = 1; i < TAP_FUNCTION_COUNT; i++)
        if (tap_exports[i].name && strcmp(tap_exports[i].name, name) == 0)
            return (uint16_t)i;
    return TAP_FN_NONE;
}

static void *thunk_for(const char *name, void *address, uint16_t function) {
    enum tap_thunk_kind kind = function ? TAP_THUNK_KNOWN : TAP_THUNK_UNKNOWN;
    for (struct tap_thunk *thunk = tap_thunks; thunk < tap_thunks + TAP_THUNKS; thunk++)
        if (__atomic_load_n(&thunk->kind, __ATOMIC_ACQUIRE) == kind && thunk->target == address &&
            strncmp(thunk->name, name, sizeof thunk->name - 1) == 0)
            return tap_publish_thunk(thunk, kind);
    struct tap_thunk *thunk = tap_take_thunk();
    if (!thunk)
        return address; /* unseen, but working */
    thunk->target = address;
    thunk->prototype = function ? tap_exports[function].prototype : NULL;
    strncpy(thunk->name, name, sizeof thunk->name - 1);
    return tap_publish_thunk(thunk, kind);
}

/* What stands for an address that isn't exported: the wrapper of the function meant, if nothing else has
 * that, else a thunk. */
static void *stand_in(const char *name, void *address, uint16_t function) {
    void *none = NULL;
    if (function && __atomic_compare_exchange_n(&tap_real[function], &none, address, false, __ATOMIC_RELAXED,
                                                __ATOMIC_RELAXED))
        return (void *)tap_exports[function].wrapper;
    if (function && none == address)
        return (void *)tap_exports[function].wrapper;
    return thunk_for(name, address, function);
}

void *tap_wrap_symbol(const char *name, void *address) {
    if (tap_function_at((uint64_t)address) || tap_is_thunk((uint64_t)address))
        return address;
    return stand_in(name, address, function_named(name));
}

int32_t tap_leave_with_address(const struct tap_call *call, const struct tap_prototype *prototype,
                               const uint64_t *words, int32_t result) {
    const char *symbol = (const char *)(uintptr_t)words[0];
    void **place = (void **)(uintptr_t)words[1];
    uint32_t version = (uint32_t)words[2];
    bool per_thread = words[3] & PER_THREAD_FLAG;
    void *answer = result == 0 && place ? *place : NULL;
    uint16_t function = TAP_FN_NONE;
    if (answer) {
        function = tap_function_at((uint64_t)answer);
        if (!function)
            function = export_behind(answer, symbol, version, per_thread);
    }
    struct tap_payload payload;
    if (call && shimbench_payload_begin(&payload, call, result, tap_ticks())) {
        tap_capture(&payload, prototype, words, NULL, result == 0);
        if (result == 0) {
            const struct {
                uint16_t function, reserved[3];
                uint64_t address;
            } resolved = {.function = function, .address = (uint64_t)answer};
            shimbench_put(&payload, TAP_ITEM_RESOLVED, 0, &resolved, sizeof resolved);
        }
        shimbench_payload_finish(&payload);
    }
    bool internal = call && (call->flags & TAP_FLAG_INTERNAL);
    if (!answer || internal || tap_is_thunk((uint64_t)answer))
        return result;
    *place = function ? (void *)tap_exports[function].wrapper
                      : stand_in(symbol, answer, function_meant(symbol, version, per_thread));
    return result;
}

int32_t tap_leave_with_table(const struct tap_call *call, const struct tap_prototype *prototype,
                             const uint64_t *words, int32_t result) {
    void **place = (void **)(uintptr_t)words[0];
    const uint8_t *uuid = (const uint8_t *)(uintptr_t)words[1];
    struct tap_payload payload;
    if (call && shimbench_payload_begin(&payload, call, result, tap_ticks())) {
        tap_capture(&payload, prototype, words, NULL, result == 0);
        shimbench_put_safely(&payload, TAP_ITEM_TABLE, 0, words[1], 16);
        shimbench_payload_finish(&payload);
    }
    bool internal = call && (call->flags & TAP_FLAG_INTERNAL);
    if (result == 0 && place && *place && uuid && !internal)
        tap_wrap_table(uuid, *place);
    return result;
}
