/* Breakpoints: what a call does that finds one set. The collector sets them and releases the calls they
 * stop; when it is gone, or hears of us no more, every call goes on. */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "internal.h"

enum {
    LOOK_NS = 100000000, /* between looks at whether the collector still lives */
    SILENT_LOOKS = 50,   /* of a collector whose socket the target closed: then it is taken for gone */
};

static struct tap_break *break_of(uint16_t function) {
    struct tap_region *region = shimbench_process.region;
    if (function >= region->max_breaks)
        return NULL;
    return (struct tap_break *)((uint8_t *)region + region->breaks_offset) + function;
}

/* Acquire: what the collector wrote of the breakpoint before its kind. */
static uint32_t kind_of(const struct tap_break *row) {
    return __atomic_load_n(&row->kind, __ATOMIC_ACQUIRE);
}

/* Counts a match; true when it is one to stop at. */
static bool reached(struct tap_break *row) {
    uint32_t hits = __atomic_add_fetch(&row->hits, 1, __ATOMIC_RELAXED);
    uint32_t nth = __atomic_load_n(&row->nth, __ATOMIC_RELAXED);
    return nth == 0 || hits == nth;
}

/* Until the collector has released the call or is gone, or this is a fork's child, which was never held. */
static void wait_for_release(const struct tap_call *call, struct tap_thread *block) {
    struct tap_region *region = shimbench_process.region;
    uint32_t beat = 0, silent = 0;
    while (tap_still_ours(call) && __atomic_load_n(&block->held, __ATOMIC_ACQUIRE) == call->sequence) {
        uint32_t now = __atomic_load_n(&region->collector_beat, __ATOMIC_RELAXED);
        silent = now != beat || tap_hears_of_collector() ? 0 : silent + 1;
        beat = now;
        if (tap_collector_is_gone() || silent > SILENT_LOOKS) {
            tap_do_without_collector(region);
            return;
        }
        const struct timespec look = {.tv_nsec = LOOK_NS};
        syscall(SYS_futex, &block->held, FUTEX_WAIT, call->sequence, &look, NULL, 0);
    }
}

/* Stops the thread in the call, which is in its slot. */
static void hold(const struct tap_call *call, const struct tap_break *row, bool after, int32_t result) {
    struct tap_thread *block = shimbench_local.block;
    struct tap_region *region = shimbench_process.region;
    if (call->sequence == 0)
        return;
    int saved = errno;
    /* A signal handler's call may stop inside of a stopped one. */
    const uint32_t outer = __atomic_load_n(&block->held, __ATOMIC_RELAXED);
    const uint16_t outer_function = block->held_function, outer_after = block->held_after;
    const int32_t outer_result = block->held_result;
    __atomic_store_n(&block->held_function, call->function, __ATOMIC_RELAXED);
    __atomic_store_n(&block->held_after, after, __ATOMIC_RELAXED);
    __atomic_store_n(&block->held_result, result, __ATOMIC_RELAXED);
    /* The collector clears breakpoints and then looks for held calls; here it is the other way round. All
     * four are sequentially consistent, so one of the two sees the other: no call is held by nothing. (It
     * is a release too: whoever sees it held sees what holds it.) */
    __atomic_store_n(&block->held, call->sequence, __ATOMIC_SEQ_CST);
    bool still_set = __atomic_load_n(&row->kind, __ATOMIC_SEQ_CST) != TAP_BREAK_NONE;
    __atomic_fetch_add(&region->holds, 1, __ATOMIC_RELEASE);
    if (still_set)
        wait_for_release(call, block);
    if (tap_still_ours(call)) {
        __atomic_store_n(&block->held_function, outer_function, __ATOMIC_RELAXED);
        __atomic_store_n(&block->held_after, outer_after, __ATOMIC_RELAXED);
        __atomic_store_n(&block->held_result, outer_result, __ATOMIC_RELAXED);
        __atomic_store_n(&block->held, outer, __ATOMIC_RELEASE);
    }
    errno = saved;
}

static bool may_stop(const struct tap_call *call) {
    if (!tap_still_ours(call) || call->depth >= TAP_MAX_IN_FLIGHT)
        return false;
    if (!tap_collector_is_gone())
        return true;
    tap_do_without_collector(shimbench_process.region);
    return false;
}

void shimbench_break_before(struct tap_call *call) {
    struct tap_break *row = break_of(call->function);
    uint32_t kind = row ? kind_of(row) : TAP_BREAK_NONE;
    if (kind == TAP_BREAK_NONE)
        return;
    if (kind != TAP_BREAK_CALL) {
        call->wants |= TAP_WATCHED;
        return;
    }
    if (!reached(row) || !may_stop(call))
        return;
    hold(call, row, false, 0);
    if (!tap_still_ours(call))
        return;
    /* What it took is counted from here: the time in between was the developer's. */
    call->start = tap_ticks();
    __atomic_store_n(&shimbench_local.block->slots[call->depth].start, call->start, __ATOMIC_RELAXED);
}

void shimbench_break_after(const struct tap_call *call, int32_t result) {
    if (!tap_still_ours(call))
        return;
    struct tap_break *row = break_of(call->function);
    const uint32_t kind = kind_of(row);
    const int32_t value = __atomic_load_n(&row->value, __ATOMIC_RELAXED);
    bool matches = false;
    switch (kind) {
    case TAP_BREAK_ERROR:
        matches = result != 0;
        break;
    case TAP_BREAK_OK:
        matches = result == 0;
        break;
    case TAP_BREAK_RESULT:
        matches = result == value;
        break;
    case TAP_BREAK_NOT_RESULT:
        matches = result != value;
        break;
    }
    if (matches && reached(row) && may_stop(call))
        hold(call, row, true, result);
}
