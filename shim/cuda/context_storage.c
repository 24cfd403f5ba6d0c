#include "cuda/context_storage.h"

#include <stdlib.h>

#include "cuda/init.h"

struct stored_value {
    struct stored_value *next;
    void *key;
    void *value;
    stored_value_destructor destructor;
};

/* The link that points to the value of `key`, or the one at the end. */
static struct stored_value **find_link(struct context *context, const void *key) {
    struct stored_value **link = &context->storage;
    while (*link && (*link)->key != key)
        link = &(*link)->next;
    return link;
}

CUresult context_storage_put(CUcontext ctx, void *key, void *value, stored_value_destructor destructor) {
    struct context *context = find_context(ctx);
    if (!context)
        return CUDA_ERROR_INVALID_CONTEXT;
    struct stored_value *spare = malloc(sizeof *spare);
    if (!spare)
        return CUDA_ERROR_OUT_OF_MEMORY;
    state_lock();
    struct stored_value *stored = *find_link(context, key);
    if (!stored) {
        stored = spare;
        spare = NULL;
        stored->next = context->storage;
        context->storage = stored;
    }
    stored->key = key;
    stored->value = value;
    stored->destructor = destructor;
    state_unlock();
    free(spare);
    return CUDA_SUCCESS;
}

CUresult context_storage_delete(CUcontext ctx, void *key) {
    struct context *context = find_context(ctx);
    if (!context)
        return CUDA_ERROR_INVALID_CONTEXT;
    state_lock();
    struct stored_value **link = find_link(context, key);
    struct stored_value *stored = *link;
    if (stored)
        *link = stored->next;
    state_unlock();
    free(stored);
    return stored ? CUDA_SUCCESS : CUDA_ERROR_INVALID_HANDLE;
}

CUresult context_storage_get(void **value, CUcontext ctx, void *key) {
    struct context *context = find_context(ctx);
    if (!value)
        return CUDA_ERROR_INVALID_VALUE;
    *value = NULL;
    if (!context)
        return CUDA_ERROR_INVALID_CONTEXT;
    state_lock();
    struct stored_value *stored = *find_link(context, key);
    if (stored)
        *value = stored->value;
    state_unlock();
    return stored ? CUDA_SUCCESS : CUDA_ERROR_INVALID_HANDLE;
}

void context_storage_clear(struct context *context) {
    for (;;) {
        state_lock();
        struct stored_value *stored = context->storage;
        if (stored)
            context->storage = stored->next;
        state_unlock();
        if (!stored)
            return;
        if (stored->destructor)
            stored->destructor(context_handle(context), stored->key, stored->value);
        free(stored);
    }
}
