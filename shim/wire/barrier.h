/* The two memory orderings of the rings, under the names used everywhere else in the wire.
 *
 * C11 7.17.3: a load with acquire order that reads a value written by a store with release order
 * makes everything written before that store visible to what follows the load. A full fence is
 * needed only where a side stores one flag and then loads another (going to sleep, ringing).
 */
#ifndef SHIMBENCH_WIRE_BARRIER_H
#define SHIMBENCH_WIRE_BARRIER_H

#include <stdint.h>

static inline uint64_t load_acquire(const uint64_t *at) {
    return __atomic_load_n(at, __ATOMIC_ACQUIRE);
}

static inline uint32_t load_acquire32(const uint32_t *at) {
    return __atomic_load_n(at, __ATOMIC_ACQUIRE);
}

static inline void store_release(uint64_t *at, uint64_t value) {
    __atomic_store_n(at, value, __ATOMIC_RELEASE);
}

static inline void store_release32(uint32_t *at, uint32_t value) {
    __atomic_store_n(at, value, __ATOMIC_RELEASE);
}

static inline void full_fence(void) {
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
}

/* Tells the core that this is a spin, so that the other hyperthread may run. */
static inline void relax(void) {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

#endif
