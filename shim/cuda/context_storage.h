/* Context-local storage: the private table by which NVIDIA's runtime keeps values in a context. */
#ifndef SHIMBENCH_CUDA_CONTEXT_STORAGE_H
#define SHIMBENCH_CUDA_CONTEXT_STORAGE_H

#include "cuda/context.h"

typedef void (*stored_value_destructor)(CUcontext ctx, void *key, void *value);

/* Keeps `value` under `key` until it is deleted, replaced, or the context goes; only in the last case
 * `destructor` is called (it may be NULL). `ctx` NULL is the current context, in all three. */
CUresult context_storage_put(CUcontext ctx, void *key, void *value, stored_value_destructor destructor);
CUresult context_storage_delete(CUcontext ctx, void *key);

/* CUDA_ERROR_INVALID_HANDLE where nothing is kept; `*value` is then NULL. */
CUresult context_storage_get(void **value, CUcontext ctx, void *key);

/* Calls the destructors, the newest value's first, and forgets all values. */
void context_storage_clear(struct context *context);

#endif
