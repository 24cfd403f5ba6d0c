/* What the tap in front of a shim is made of. The tap records; it knows nothing of any shim. */
#ifndef SHIMBENCH_TAP_DRIVER_H
#define SHIMBENCH_TAP_DRIVER_H

#include <string.h>

#include "shimbench/recorder.h"
#include "tap_model.h"

#define TAP_HIDDEN __attribute__((visibility("hidden")))

/* --- what the generated files declare ------------------------------------------------------------ */

enum tap_capture_kind {
    TAP_CAPTURE_STRING,
    TAP_CAPTURE_IN,
    TAP_CAPTURE_OUT,
    TAP_CAPTURE_INOUT,
    /* While buffers are recorded: */
    TAP_CAPTURE_OUT_LATER, /* as OUT, whole once the stream in argument `count` has been waited for */
    TAP_CAPTURE_HOST,      /* an address of either side: its bytes where it is the host's */
    TAP_CAPTURE_IMAGE,     /* a module, which carries its length */
    TAP_CAPTURE_KERNEL,    /* kernelParams; `counter` gives the function, `count` the argument `extra` */
};

/* What a pointer parameter points to. */
struct tap_value {
    uint8_t kind;
    uint8_t index;  /* of the parameter */
    bool sure;      /* size and length are constants of the model: read without a safety net after success */
    uint32_t size;  /* bytes of one element */
    uint32_t count; /* elements, unless `counter` computes them from the arguments */
    uint64_t (*counter)(const uint64_t *words);
};

struct tap_prototype {
    uint16_t function;
    uint8_t parameters;
    uint8_t value_count;
    uint32_t vectors; /* bit per parameter that travels in a vector register */
    bool by_value;    /* a struct travels on the stack: words behind it can't be told from registers */
    const struct tap_value *values;
};

struct tap_export {
    const char *name, *base;
    uint32_t version;    /* of the API that brought it in, as cuGetProcAddress counts */
    bool per_thread;     /* of the per-thread default stream */
    int32_t missing;     /* the error that says there is no such function */
    const char *wrapper; /* its code */
    const struct tap_prototype *prototype;
};
extern const struct tap_export tap_exports[TAP_FUNCTION_COUNT]; /* by function id; [0] is empty */

/* --- the shim behind ----------------------------------------------------------------------------- */

struct tap_behind {
    uint64_t start, size; /* of its mapping; size 0 while it isn't known */
};
extern TAP_HIDDEN struct tap_behind tap_behind;
extern TAP_HIDDEN void *tap_real[TAP_FUNCTION_COUNT];
extern TAP_HIDDEN const char tap_soname[];
extern TAP_HIDDEN const char tap_shim_key[], tap_shim_variable[];

/* The real function when it isn't in tap_real yet: loads the shim if need be. Never NULL: the answer to
 * a call of something that is nowhere is an error code. */
TAP_HIDDEN void *tap_resolve(uint16_t function);
/* What the shim (or a library it brings) defines as `name`, or NULL. */
TAP_HIDDEN void *tap_symbol_behind(const char *name);

static inline void *tap_real_of(uint16_t function) {
    void *real = __atomic_load_n(&tap_real[function], __ATOMIC_RELAXED);
    return TAP_LIKELY(real != NULL) ? real : tap_resolve(function);
}

static inline bool tap_is_behind(uint64_t address) {
    return address - tap_behind.start < tap_behind.size;
}

/* The shim's own cu* references bind to the tap when that lies in the global scope. */
static inline void tap_mark_internal(struct tap_call *call) {
    if (TAP_UNLIKELY(tap_is_behind(call->caller)))
        call->flags |= TAP_FLAG_INTERNAL;
}

/* --- capturing ----------------------------------------------------------------------------------- */

enum { TAP_BEFORE_VALUES = 4, TAP_BEFORE_BYTES = 64 };

/* Values of parameters that go both ways, as they were before the call. */
struct tap_before {
    uint8_t length[TAP_BEFORE_VALUES];
    uint8_t bytes[TAP_BEFORE_VALUES][TAP_BEFORE_BYTES];
};

TAP_HIDDEN void tap_capture_before(const struct tap_prototype *prototype, const uint64_t *words,
                                   struct tap_before *before);
/* What a call was given, ahead of it, when buffers are recorded. */
TAP_HIDDEN void tap_capture_ahead(const struct tap_call *call, const struct tap_prototype *prototype,
                                  const uint64_t *words);
TAP_HIDDEN void tap_capture(struct tap_payload *payload, const struct tap_prototype *prototype,
                            const uint64_t *words, const struct tap_before *before, bool succeeded);
/* The end of a call that waited for a stream (or TAP_EVERY_STREAM), with what was copied there. */
TAP_HIDDEN void tap_leave_synchronised(const struct tap_call *call, uint64_t stream, int32_t result);
TAP_HIDDEN void tap_put_image(struct tap_payload *payload, uint8_t index, uint64_t image);
TAP_HIDDEN void tap_put_kernel(struct tap_payload *payload, const struct tap_value *value,
                               const uint64_t *words);
/* Handles of functions mean other functions from now on. */
TAP_HIDDEN void tap_forget_layouts(void);
/* The end of a call with all that its prototype says; `before` may be NULL. */
TAP_HIDDEN void tap_leave_with(const struct tap_call *call, const struct tap_prototype *prototype,
                               const uint64_t *words, const struct tap_before *before, int32_t result);
/* The same for a function that returns a string. */
TAP_HIDDEN void tap_leave_with_pointer(const struct tap_call *call, const struct tap_prototype *prototype,
                                       const uint64_t *words, uint64_t result);
/* A count in `size` bytes behind a pointer argument; 0 when it can't be read. */
TAP_HIDDEN uint64_t tap_count_behind(uint64_t pointer, unsigned size);

static inline uint64_t tap_float_word(float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static inline uint64_t tap_double_word(double value) {
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

/* --- thunks: code for functions without a wrapper -------------------------------------------------- */

enum tap_thunk_kind {
    TAP_THUNK_NONE = 0,
    TAP_THUNK_JUMP,    /* an export that is no name of the driver: jumped to, not recorded */
    TAP_THUNK_UNKNOWN, /* a driver name that the model doesn't know */
    TAP_THUNK_KNOWN,   /* a second address of a function that has a wrapper */
    TAP_THUNK_SLOT,    /* a slot of an export table */
};

/* Exports that the model doesn't know come first: stamping gives these slots their names. */
#define TAP_EXPORT_THUNKS 512
#define TAP_ANSWER_THUNKS 1024
#define TAP_THUNKS        (TAP_EXPORT_THUNKS + TAP_ANSWER_THUNKS)
#define TAP_THUNK_SIZE    16

struct tap_thunk {
    void *target;
    const struct tap_prototype *prototype; /* of TAP_THUNK_KNOWN */
    uint8_t kind;
    uint8_t slot;     /* of the table */
    uint8_t uuid[16]; /* of the table */
    void **place;     /* of the slot that holds this thunk, to be restored when the tap goes */
    char name[80];
};
extern TAP_HIDDEN struct tap_thunk tap_thunks[TAP_THUNKS];
extern TAP_HIDDEN char tap_thunk_code[]; /* TAP_THUNKS entries of TAP_THUNK_SIZE bytes */

/* Gives the export thunks what stamping named them after. */
TAP_HIDDEN void tap_fill_export_thunks(void);
/* A free thunk for an answer, to be published by tap_publish_thunk; NULL when all are in use. */
TAP_HIDDEN struct tap_thunk *tap_take_thunk(void);
TAP_HIDDEN void *tap_publish_thunk(struct tap_thunk *thunk, enum tap_thunk_kind kind);
TAP_HIDDEN bool tap_is_thunk(uint64_t address);

/* --- answers that are code or tables --------------------------------------------------------------- */

/* The ends of cuGetProcAddress(_v2) and cuGetExportTable: record (unless `call` is NULL), then put what
 * records the further calls in the answer's place. They give back `result`. */
TAP_HIDDEN int32_t tap_leave_with_address(const struct tap_call *call, const struct tap_prototype *prototype,
                                          const uint64_t *words, int32_t result);
TAP_HIDDEN int32_t tap_leave_with_table(const struct tap_call *call, const struct tap_prototype *prototype,
                                        const uint64_t *words, int32_t result);
/* The function whose wrapper starts at `address`, 0 for none. */
TAP_HIDDEN uint16_t tap_function_at(uint64_t address);
/* What a caller is given in place of `address`, which the shim answered for the exported `name`. */
TAP_HIDDEN void *tap_wrap_symbol(const char *name, void *address);
/* Wraps the slots of an export table in place, as far as that is safe. */
TAP_HIDDEN void tap_wrap_table(const uint8_t uuid[16], void **table);
TAP_HIDDEN void tap_unwrap_tables(void);

#endif
