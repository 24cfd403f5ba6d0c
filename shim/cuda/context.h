/* Contexts, as the process sees them: which exist, and which one is current in a thread. The host
 * owns the real ones; here are their handles and what need not go over the wire. */
#ifndef SHIMBENCH_CUDA_CONTEXT_H
#define SHIMBENCH_CUDA_CONTEXT_H

#include <cuda.h>
#include <stdbool.h>
#include <stdint.h>

struct stored_value;

/* What a CUcontext points to. Never freed: another thread may still have it on its stack. */
struct context {
    struct context *next;
    CUcontext host; /* the host's handle; NULL while the primary context isn't retained */
    CUdevice device;
    unsigned flags;
    unsigned retained; /* of the primary context: how often; of another one: 1 until destroyed */
    uint64_t id;
    struct stored_value *storage; /* context-local storage, guarded by state_lock */
};

/* The context current in this thread, NULL if there is none. */
struct context *current_context(void);

/* The context of a handle; NULL stands for the current one. NULL when there is no such context. */
struct context *find_context(CUcontext handle);

/* The primary context, retained or not: its handle is known before it exists. */
struct context *primary_context(CUdevice device);

static inline CUcontext context_handle(struct context *context) {
    return (CUcontext)(void *)context;
}

/* Whether a call that works in the current context can: CUDA_SUCCESS, CUDA_ERROR_NOT_INITIALIZED,
 * CUDA_ERROR_INVALID_CONTEXT, CUDA_ERROR_CONTEXT_IS_DESTROYED. */
CUresult context_ready(void);

#endif
