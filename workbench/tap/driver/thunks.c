/* What the thunks' common entry asks: where to, whether to record it, and the record's end. */
#include <elf.h>
#include <link.h>
#include <string.h>

#include "driver.h"

/* thunk_entry.S knows these offsets. */
struct thunk_frame {
    uint64_t gp[6];
    uint64_t rax, r10;
    uint8_t xmm[8][16];
    void *target;
    uint64_t stack_words; /* of the caller's to be copied */
    uint64_t result_rax, result_rdx;
    uint8_t result_xmm[2][16];
    uint64_t recorded;
    const struct tap_thunk *thunk;
    const uint64_t *stack;
    struct tap_call call;
};
static_assert(offsetof(struct thunk_frame, target) == 192, "thunk_entry.S: TARGET");
static_assert(offsetof(struct thunk_frame, result_xmm) == 224, "thunk_entry.S: RESULT_XMM");
static_assert(offsetof(struct thunk_frame, recorded) == 256, "thunk_entry.S: RECORDED");
static_assert(sizeof(struct thunk_frame) <= 384, "thunk_entry.S: FRAME");
static_assert(TAP_THUNKS == 1536 && TAP_EXPORT_THUNKS == 512, "thunk_entry.S: THUNKS, EXPORT_THUNKS");

TAP_HIDDEN void tap_thunk_enter(struct thunk_frame *frame, uint32_t index, uint64_t caller,
                                const uint64_t *stack);
TAP_HIDDEN void tap_thunk_leave(struct thunk_frame *frame);

struct tap_thunk tap_thunks[TAP_THUNKS];
static uint32_t thunks_taken = TAP_EXPORT_THUNKS;

struct tap_thunk *tap_take_thunk(void) {
    uint32_t taken = __atomic_fetch_add(&thunks_taken, 1, __ATOMIC_RELAXED);
    if (taken >= TAP_THUNKS) {
        __atomic_store_n(&thunks_taken, TAP_THUNKS, __ATOMIC_RELAXED);
        return NULL;
    }
    return &tap_thunks[taken];
}

void *tap_publish_thunk(struct tap_thunk *thunk, enum tap_thunk_kind kind) {
    __atomic_store_n(&thunk->kind, (uint8_t)kind, __ATOMIC_RELEASE);
    return tap_thunk_code + (thunk - tap_thunks) * TAP_THUNK_SIZE;
}

bool tap_is_thunk(uint64_t address) {
    return address - (uint64_t)tap_thunk_code < (uint64_t)TAP_THUNKS * TAP_THUNK_SIZE;
}

/* Stamping has put the names of the shim's unknown exports into this library's own symbol table. */
void tap_fill_export_thunks(void) {
    struct tap_object own;
    if (!shimbench_object_at((uint64_t)tap_thunk_code, &own) || !own.names.sysv)
        return;
    const ElfW(Sym) *symbols = own.names.symbols;
    for (uint32_t i = 1; i < own.names.sysv[1]; i++) {
        if (symbols[i].st_shndx == SHN_UNDEF || !tap_is_thunk(own.base + symbols[i].st_value))
            continue;
        const char *name = own.names.strings + symbols[i].st_name;
        size_t index = (own.base + symbols[i].st_value - (uint64_t)tap_thunk_code) / TAP_THUNK_SIZE;
        if (index >= TAP_EXPORT_THUNKS || strncmp(name, "shimbench_", 10) == 0)
            continue;
        struct tap_thunk *thunk = &tap_thunks[index];
        strncpy(thunk->name, name, sizeof thunk->name - 1);
        thunk->target = tap_symbol_behind(name);
        tap_publish_thunk(thunk, shimbench_is_driver_name(name) ? TAP_THUNK_UNKNOWN : TAP_THUNK_JUMP);
    }
}

static int32_t nowhere(void) {
    return 500; /* CUDA_ERROR_NOT_FOUND */
}

/* How many of the caller's stack words may be copied: sixteen, or fewer at the very top of a stack. */
static uint64_t readable_words(const uint64_t *stack) {
    enum { WORDS = 16 };
    uint64_t to_page_end = (4096 - (uint64_t)stack % 4096) / sizeof *stack;
    uint8_t probe;
    if (to_page_end >= WORDS || shimbench_copy_safely(&probe, (uint64_t)(stack + to_page_end), 1) == 1)
        return WORDS;
    return to_page_end;
}

/* The arguments as words, in the order of the parameters; for what the model doesn't know, the registers. */
static void collect_words(const struct thunk_frame *frame, uint64_t *words, unsigned count) {
    const struct tap_prototype *prototype = frame->thunk->prototype;
    unsigned gp = 0, vector = 0, stacked = 0;
    for (unsigned i = 0; i < count; i++) {
        if (prototype && i < 32 && (prototype->vectors & 1u << i) && vector < 8)
            memcpy(&words[i], frame->xmm[vector++], sizeof words[i]);
        else if (gp < 6)
            words[i] = frame->gp[gp++];
        else
            words[i] = stacked < frame->stack_words ? frame->stack[stacked++] : 0;
    }
}

void tap_thunk_enter(struct thunk_frame *frame, uint32_t index, uint64_t caller, const uint64_t *stack) {
    const struct tap_thunk *thunk = &tap_thunks[index];
    uint8_t kind = __atomic_load_n(&thunk->kind, __ATOMIC_ACQUIRE);
    frame->thunk = thunk;
    frame->target = thunk->target;
    if (!frame->target && *thunk->name)
        frame->target = tap_symbol_behind(thunk->name);
    if (!frame->target)
        frame->target = (void *)nowhere;
    frame->recorded = false;
    if (kind == TAP_THUNK_NONE || kind == TAP_THUNK_JUMP)
        return;
    const uint64_t *gp = frame->gp;
    if (kind == TAP_THUNK_SLOT)
        frame->recorded =
            tap_enter(&frame->call, TAP_FN_TABLE_SLOT, caller, thunk->slot, gp[0], gp[1], gp[2]);
    else if (kind == TAP_THUNK_UNKNOWN)
        frame->recorded = tap_enter(&frame->call, TAP_FN_UNKNOWN, caller, gp[0], gp[1], gp[2], gp[3]);
    else if (!thunk->prototype->by_value) /* collect_words can't see past a struct on the stack */
        frame->recorded =
            tap_enter(&frame->call, thunk->prototype->function, caller, gp[0], gp[1], gp[2], gp[3]);
    if (!frame->recorded)
        return;
    tap_mark_internal(&frame->call);
    frame->stack = stack;
    frame->stack_words = readable_words(stack);
    if (TAP_UNLIKELY(frame->call.wants & TAP_BUFFERED) && kind == TAP_THUNK_KNOWN) {
        uint64_t words[32];
        collect_words(frame, words, thunk->prototype->parameters);
        tap_capture_ahead(&frame->call, thunk->prototype, words);
    }
}

void tap_thunk_leave(struct thunk_frame *frame) {
    const struct tap_thunk *thunk = frame->thunk;
    int32_t result = (int32_t)frame->result_rax;
    struct tap_payload payload;
    if (!shimbench_payload_begin(&payload, &frame->call, result, tap_ticks()))
        return;
    uint64_t words[32];
    switch (thunk->kind) {
    case TAP_THUNK_SLOT: /* argument 0 is the slot, 1 and 2 in the head are registers 0 and 1 */
        shimbench_put(&payload, TAP_ITEM_TABLE, 0, thunk->uuid, sizeof thunk->uuid);
        shimbench_put(&payload, TAP_ITEM_ARGS, TAP_HEAD_ARGS, &frame->gp[2], 4 * sizeof *words);
        break;
    case TAP_THUNK_UNKNOWN:
        shimbench_put_string(&payload, 0, thunk->name);
        shimbench_put(&payload, TAP_ITEM_ARGS, TAP_HEAD_ARGS, &frame->gp[3], 3 * sizeof *words);
        break;
    case TAP_THUNK_KNOWN:
        collect_words(frame, words, thunk->prototype->parameters);
        tap_capture(&payload, thunk->prototype, words, NULL, result == 0);
        break;
    }
    shimbench_payload_finish(&payload);
}
