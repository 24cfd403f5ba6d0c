/* How the libraries inside a target record a call: the inline path, and what lies behind it.
 *
 *   struct tap_call call;
 *   if (!tap_enter(&call, function, caller, a, b, c, 0)) { ... pass through ... }
 *   result = the_real_one(a, b, c);
 *   tap_leave(&call, result);
 *
 * The inline path takes no lock, allocates nothing, calls nothing and leaves errno alone.
 *
 * Thread-local storage is initial-exec: 64 bytes. It is the only model that never allocates (a
 * dynamic one mallocs on a thread's first access, inside the target's own malloc at worst). When the
 * preload is given, as it always is from a run directory, it is laid out at start-up; a late dlopen
 * without it takes the 64 bytes from glibc's static surplus of 1.6 kB.
 */
#ifndef SHIMBENCH_RECORDER_H
#define SHIMBENCH_RECORDER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>
#include <x86intrin.h>

#include "shimbench/tap_abi.h"

#define TAP_PUBLIC      __attribute__((visibility("default")))
#define TAP_LIKELY(x)   __builtin_expect(!!(x), 1)
#define TAP_UNLIKELY(x) __builtin_expect(!!(x), 0)

/* What a thread needs to record. `generation` is that of the registration which `block` and `chunk`
 * belong to; when it is not the process's, nothing else in here means anything. */
enum { TAP_BUSY_ASKING = 2 };

struct tap_local {
    struct tap_thread *block;
    struct tap_chunk *chunk;
    uint32_t generation;
    uint32_t used;          /* cells of `chunk` that are committed */
    uint32_t sequence;      /* of the newest call entered */
    uint32_t depth;         /* calls under way */
    uint32_t parent;        /* sequence of the innermost call under way */
    uint32_t dropped;       /* records lost since the last one written */
    uint32_t busy;          /* a record is being written: a signal handler's calls pass through, and are lost;
                               TAP_BUSY_ASKING: the tap asks the shim, whose calls are nobody's */
    int32_t dlopen_mode;    /* of the dlopen this thread is inside of; 0 none */
    uint32_t load_failures; /* shims this thread failed to load behind a tap */
    uint32_t module_size;   /* of the module the last caller lay in, at `module_start` */
    uint64_t module_start;
};
static_assert(sizeof(struct tap_local) <= 64, "small enough for the static TLS surplus");

/* `alive` points to the generation, on a page that a fork wipes to 0. */
struct tap_process {
    const uint32_t *alive;
    struct tap_region *region;
    uint32_t has_tsc;
    uint32_t reserved;
};

struct tap_call {
    uint64_t start;
    uint64_t caller;
    uint64_t args[TAP_HEAD_ARGS];
    uint32_t generation;
    uint32_t sequence;
    uint32_t parent;
    uint32_t depth;
    uint16_t function;
    uint8_t flags;
    uint8_t wants; /* enum tap_wants; a byte, so that it is cleared together with its neighbours */
};

/* What else is to be done with a call. */
enum tap_wants {
    TAP_WATCHED = 1,  /* a breakpoint wants to see its result */
    TAP_BUFFERED = 2, /* what it is given is recorded ahead of it */
};

/* Items being written behind a record's head. */
struct tap_payload {
    uint8_t *at;
    uint8_t *end;
    struct tap_record *record;
    const struct tap_call *call;
};

extern TAP_PUBLIC __thread struct tap_local shimbench_local __attribute__((tls_model("initial-exec")));
extern TAP_PUBLIC struct tap_process shimbench_process;

/* Makes the thread ready to record: registration after a fork, a thread block, a chunk. False when
 * the call is to pass through unrecorded. */
TAP_PUBLIC bool shimbench_prepare(void);
/* Sees to it that the module a caller lies in is on record, ahead of the call. */
TAP_PUBLIC __attribute__((cold)) void shimbench_note_caller(uint64_t caller);
/* What a call looks at that finds breakpoints in the region: stops it, or has its result watched. */
TAP_PUBLIC __attribute__((cold)) void shimbench_break_before(struct tap_call *call);
/* Stops a watched call that has returned, if its result is the one. */
TAP_PUBLIC __attribute__((cold)) void shimbench_break_after(const struct tap_call *call, int32_t result);
/* The slow end of tap_leave: a chunk change, or losses to report. */
TAP_PUBLIC void shimbench_leave_slowly(const struct tap_call *call, int32_t result, uint64_t end);

static inline uint64_t tap_ticks(void) {
    if (TAP_LIKELY(shimbench_process.has_tsc))
        return __rdtsc();
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static inline bool tap_enter(struct tap_call *call, uint16_t function, uint64_t caller, uint64_t arg0,
                             uint64_t arg1, uint64_t arg2, uint64_t arg3) {
    struct tap_local *local = &shimbench_local;
    if (TAP_UNLIKELY(local->generation != __atomic_load_n(shimbench_process.alive, __ATOMIC_RELAXED) ||
                     local->busy) &&
        !shimbench_prepare())
        return false;
    /* Relaxed: breakpoints are looked at with acquire where there are any. */
    const uint32_t attention = __atomic_load_n(&shimbench_process.region->attention, __ATOMIC_RELAXED);
    if (TAP_UNLIKELY(attention & TAP_ATTENTION_PAUSED))
        return false;
    if (TAP_UNLIKELY(caller - local->module_start >= local->module_size))
        shimbench_note_caller(caller);
    call->caller = caller;
    call->function = function;
    call->flags = 0;
    call->wants = 0;
    call->args[0] = arg0;
    call->args[1] = arg1;
    call->args[2] = arg2;
    call->generation = local->generation;
    call->parent = local->parent;
    call->depth = local->depth;
    call->sequence = ++local->sequence;
    local->parent = call->sequence;
    local->depth = call->depth + 1;
    if (TAP_LIKELY(call->depth < TAP_MAX_IN_FLIGHT)) {
        struct tap_slot *slot = &local->block->slots[call->depth];
        slot->caller = caller;
        slot->sequence = call->sequence;
        slot->parent = call->parent;
        slot->args[0] = arg0;
        slot->args[1] = arg1;
        slot->args[2] = arg2;
        slot->args[3] = arg3;
        slot->start = call->start = tap_ticks();
        __atomic_store_n(&slot->function, function, __ATOMIC_RELEASE);
        local->block->depth = call->depth + 1;
    } else {
        call->start = tap_ticks();
    }
    if (TAP_UNLIKELY(attention)) {
        call->wants = attention & TAP_ATTENTION_BUFFERS ? TAP_BUFFERED : 0;
        if (attention & TAP_ATTENTION_BREAKS)
            shimbench_break_before(call);
    }
    return true;
}

/* False when the process forked inside the call: its return belongs to nobody. */
static inline bool tap_still_ours(const struct tap_call *call) {
    return TAP_LIKELY(call->generation == __atomic_load_n(shimbench_process.alive, __ATOMIC_RELAXED));
}

/* Takes the call out of the in-flight slots. */
static inline void tap_retire(struct tap_local *local, const struct tap_call *call) {
    if (TAP_LIKELY(call->depth < TAP_MAX_IN_FLIGHT))
        __atomic_store_n(&local->block->slots[call->depth].function, TAP_FN_NONE, __ATOMIC_RELEASE);
    local->block->depth = call->depth;
    local->depth = call->depth;
    local->parent = call->parent;
}

static inline void tap_fill_record(struct tap_record *record, const struct tap_call *call, int32_t result,
                                   uint64_t end) {
    record->start = call->start;
    record->duration = end - call->start;
    record->caller = call->caller;
    record->sequence = call->sequence;
    record->parent = call->parent;
    record->function = call->function;
    record->cells = 1;
    record->flags = call->flags;
    record->result = result;
    record->args[0] = call->args[0];
    record->args[1] = call->args[1];
    record->args[2] = call->args[2];
}

/* The end of a call that needs no more than the head of a record. */
static inline void tap_leave(const struct tap_call *call, int32_t result) {
    uint64_t end = tap_ticks();
    if (TAP_UNLIKELY(call->wants & TAP_WATCHED))
        shimbench_break_after(call, result);
    if (TAP_UNLIKELY(!tap_still_ours(call)))
        return;
    struct tap_local *local = &shimbench_local;
    local->busy = 1; /* before `used` is read, or a signal handler's record would be overwritten */
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    uint32_t used = local->used;
    if (TAP_UNLIKELY(used >= TAP_CELLS_PER_CHUNK || local->dropped)) {
        shimbench_leave_slowly(call, result, end);
        return;
    }
    tap_fill_record((struct tap_record *)local->chunk + 1 + used, call, result, end);
    local->used = used + 1;
    __atomic_store_n(&local->chunk->committed, used + 1, __ATOMIC_RELEASE);
    tap_retire(local, call);
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    local->busy = 0;
}

/* The end of a call with items: begin, put..., finish. `begin` is false when nothing can be written. */
TAP_PUBLIC bool shimbench_payload_begin(struct tap_payload *payload, const struct tap_call *call,
                                        int32_t result, uint64_t end);
TAP_PUBLIC void shimbench_put(struct tap_payload *payload, uint8_t kind, uint8_t index, const void *data,
                              size_t length);
/* The same from memory that may not be readable: copied by the kernel, left out when that fails. */
TAP_PUBLIC void shimbench_put_safely(struct tap_payload *payload, uint8_t kind, uint8_t index,
                                     uint64_t address, size_t length);
/* A NUL-terminated string of at most `limit` bytes that may not be readable. */
TAP_PUBLIC void shimbench_put_string_safely(struct tap_payload *payload, uint8_t index, uint64_t address,
                                            size_t limit);
TAP_PUBLIC void shimbench_put_string(struct tap_payload *payload, uint8_t index, const char *string);
TAP_PUBLIC void shimbench_payload_finish(struct tap_payload *payload);
/* The record ahead of a call, of what it is given: begin, put..., finish. */
TAP_PUBLIC bool shimbench_ahead_begin(struct tap_payload *payload, const struct tap_call *call);
TAP_PUBLIC void shimbench_ahead_finish(struct tap_payload *payload);

/* Whether buffers of this kind (enum tap_buffers) are to be recorded. */
static inline bool tap_buffers_wanted(unsigned which) {
    return __atomic_load_n(&shimbench_process.region->buffers, __ATOMIC_RELAXED) & which;
}
/* A buffer of any length, in a lane; its item says when it could not be kept, and why. */
TAP_PUBLIC void shimbench_put_buffer(struct tap_payload *payload, uint8_t index, uint64_t address,
                                     uint64_t length, bool output);
/* Memory that a copy in `stream` fills until the stream is waited for; then it is put with the call that
 * waited. */
TAP_PUBLIC void shimbench_expect_output(const struct tap_call *call, uint8_t index, uint64_t stream,
                                        uint64_t address, uint64_t length);
#define TAP_EVERY_STREAM UINT64_MAX
TAP_PUBLIC bool shimbench_expects_output(uint64_t stream);
TAP_PUBLIC void shimbench_put_expected(struct tap_payload *payload, uint64_t stream);

/* Bytes of one captured value at the most. */
TAP_PUBLIC size_t shimbench_capture_limit(void);
/* Copies memory that may not be there; the number of bytes copied, from the start. */
TAP_PUBLIC size_t shimbench_copy_safely(void *to, uint64_t from, size_t length);

/* A tap in front of a shim, as the preload needs to know it. */
struct tap_library {
    const char *soname;
    uint64_t start, end; /* of the tap's own mapping */
    void *own_handle;    /* the tap's link map, which glibc uses as handle */
    void *behind;        /* handle of the shim, NULL while it isn't loaded */
    uint64_t behind_start, behind_end;
    uint16_t (*function_of)(uint64_t address);             /* 0: none known */
    void *(*wrap_answer)(const char *name, void *address); /* the wrapper of an address */
    struct tap_library *next;
};
TAP_PUBLIC void shimbench_add_library(struct tap_library *library);
TAP_PUBLIC void shimbench_remove_library(struct tap_library *library);
TAP_PUBLIC struct tap_library *shimbench_libraries(void);
TAP_PUBLIC uint16_t shimbench_function_of(uint64_t address);

/* A setting: the environment's, else that of shimbench.conf beside this library; NULL when unset. */
TAP_PUBLIC const char *shimbench_setting(const char *key, const char *variable);

/* Records each cu and nvml name that newly loaded libraries import by linking, once a library. */
TAP_PUBLIC void shimbench_record_link_time_names(void);
/* True for names that belong to the driver's or NVML's interface. */
TAP_PUBLIC bool shimbench_is_driver_name(const char *name);
/* What libc (or libdl, where that is a library of its own) defines as `name`, whoever interposes it. */
TAP_PUBLIC void *shimbench_libc_symbol(const char *name);
/* True once the process is in exit(): libraries are finalised, but none is unloaded. */
TAP_PUBLIC bool shimbench_is_exiting(void);

/* One loaded object. `names` are its dynamic symbols, by pointers into it. */
struct tap_object {
    uint64_t base, start, end;
    struct {
        const void *symbols;
        const char *strings;
        uint64_t strings_size;
        const uint32_t *sysv;
        const uint32_t *gnu;
    } names;
};
/* The object that holds `address`; false when none does. */
TAP_PUBLIC bool shimbench_object_at(uint64_t address, struct tap_object *object);
/* What `object` itself defines as `name`; sets `*indirect` when it's the resolver of an ifunc. */
TAP_PUBLIC void *shimbench_symbol_in(const struct tap_object *object, const char *name, bool *indirect);
/* The first definition of `name` in the objects loaded behind the one that holds `after` (0: in all);
 * NULL when there is none. Asks no dl function, so nobody's dlerror changes. */
TAP_PUBLIC void *shimbench_find_symbol(const char *name, uint64_t after);

#endif
