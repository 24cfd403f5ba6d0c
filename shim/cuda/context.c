/* Contexts and the stack of them that each thread has. */
#include "cuda/context.h"

#include <stdlib.h>

#include "cuda/context_storage.h"
#include "cuda/init.h"
#include "cuda/shim.h"

enum {
    STACK_DEPTH = 32,
    API_VERSION = 3020, /* of contexts made by cuCtxCreate_v2 and later, as CUDA answers */
};

static struct context primary = {.id = 1};
static struct context *contexts = &primary;
static uint64_t last_id = 1;

static _Thread_local struct {
    struct context *stack[STACK_DEPTH];
    int depth;
} thread;

struct context *current_context(void) {
    return thread.depth ? thread.stack[thread.depth - 1] : NULL;
}

struct context *primary_context(CUdevice device) {
    return device == 0 ? &primary : NULL;
}

struct context *find_context(CUcontext handle) {
    struct context *found;
    if (!handle)
        return current_context();
    if (handle == context_handle(current_context()))
        return current_context();
    state_lock();
    for (found = contexts; found && context_handle(found) != handle; found = found->next)
        ;
    state_unlock();
    return found;
}

CUresult context_ready(void) {
    struct context *current = current_context();
    if (!driver_initialized())
        return CUDA_ERROR_NOT_INITIALIZED;
    if (!current)
        return CUDA_ERROR_INVALID_CONTEXT;
    return current->retained ? CUDA_SUCCESS : CUDA_ERROR_CONTEXT_IS_DESTROYED;
}

/* Calls that follow in this thread name the context that is now on top. */
static void tell_wire(void) {
    struct context *current = current_context();
    wire_set_context(current ? current->host : NULL);
}

static CUresult push(struct context *context) {
    if (thread.depth == STACK_DEPTH)
        return CUDA_ERROR_OUT_OF_MEMORY;
    thread.stack[thread.depth++] = context;
    tell_wire();
    return CUDA_SUCCESS;
}

static void pop(void) {
    thread.depth--;
    tell_wire();
}

/* The primary context. */

static CUresult check_primary(CUdevice dev) {
    if (!driver_initialized())
        return CUDA_ERROR_NOT_INITIALIZED;
    return primary_context(dev) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_DEVICE;
}

EXPORT CUresult cuDevicePrimaryCtxRetain(CUcontext *pctx, CUdevice dev) {
    CUresult result = check_primary(dev);
    if (result == CUDA_SUCCESS && !pctx)
        result = CUDA_ERROR_INVALID_VALUE;
    if (result != CUDA_SUCCESS)
        return result;
    state_lock();
    if (!primary.retained)
        result = forward_cuDevicePrimaryCtxRetain(&primary.host, dev);
    if (result == CUDA_SUCCESS)
        primary.retained++;
    state_unlock();
    if (result == CUDA_SUCCESS) {
        *pctx = context_handle(&primary);
        tell_wire(); /* it may have been made current before it was retained */
    }
    return result;
}

/* Its objects are gone at the host; its handle stays, for it may be retained again. */
static void primary_is_gone(void) {
    primary.host = NULL;
    primary.retained = 0;
    primary.flags = 0;
}

static CUresult release_primary(CUdevice dev, bool all) {
    bool gone = false;
    CUresult result = check_primary(dev);
    if (result != CUDA_SUCCESS)
        return result;
    state_lock();
    if (!all && !primary.retained)
        result = CUDA_ERROR_INVALID_CONTEXT;
    else if (all || primary.retained == 1)
        gone = true;
    else
        primary.retained--;
    state_unlock();
    if (!gone)
        return result;
    context_storage_clear(&primary); /* its destructors may still use the context */
    state_lock();
    wire_pass_on_printed();
    result = all ? forward_cuDevicePrimaryCtxReset_v2(dev) : forward_cuDevicePrimaryCtxRelease_v2(dev);
    primary_is_gone();
    state_unlock();
    tell_wire();
    return result;
}

EXPORT CUresult cuDevicePrimaryCtxRelease_v2(CUdevice dev) {
    return release_primary(dev, false);
}

EXPORT CUresult cuDevicePrimaryCtxRelease(CUdevice dev) {
    return release_primary(dev, false);
}

EXPORT CUresult cuDevicePrimaryCtxReset_v2(CUdevice dev) {
    return release_primary(dev, true);
}

EXPORT CUresult cuDevicePrimaryCtxReset(CUdevice dev) {
    return release_primary(dev, true);
}

EXPORT CUresult cuDevicePrimaryCtxGetState(CUdevice dev, unsigned int *flags, int *active) {
    CUresult result = check_primary(dev);
    if (result != CUDA_SUCCESS)
        return result;
    if (!flags || !active)
        return CUDA_ERROR_INVALID_VALUE;
    state_lock();
    *flags = primary.flags;
    *active = primary.retained > 0;
    state_unlock();
    return CUDA_SUCCESS;
}

EXPORT CUresult cuDevicePrimaryCtxSetFlags_v2(CUdevice dev, unsigned int flags) {
    CUresult result = check_primary(dev);
    if (result != CUDA_SUCCESS)
        return result;
    if (flags & ~(unsigned)CU_CTX_FLAGS_MASK)
        return CUDA_ERROR_INVALID_VALUE;
    state_lock();
    primary.flags = flags;
    state_unlock();
    return CUDA_SUCCESS;
}

EXPORT CUresult cuDevicePrimaryCtxSetFlags(CUdevice dev, unsigned int flags) {
    return cuDevicePrimaryCtxSetFlags_v2(dev, flags);
}

/* Other contexts. */

EXPORT CUresult cuCtxCreate_v2(CUcontext *pctx, unsigned int flags, CUdevice dev) {
    CUresult result = check_primary(dev);
    if (result != CUDA_SUCCESS)
        return result;
    if (!pctx || flags & ~(unsigned)CU_CTX_FLAGS_MASK)
        return CUDA_ERROR_INVALID_VALUE;
    struct context *context = calloc(1, sizeof *context);
    if (!context)
        return CUDA_ERROR_OUT_OF_MEMORY;
    result = forward_cuCtxCreate_v2(&context->host, flags, dev);
    if (result != CUDA_SUCCESS) {
        free(context);
        return result;
    }
    context->device = dev;
    context->flags = flags;
    context->retained = 1;
    state_lock();
    context->id = ++last_id;
    context->next = contexts;
    contexts = context;
    state_unlock();
    *pctx = context_handle(context);
    return push(context);
}

EXPORT CUresult cuCtxCreate_v3(CUcontext *pctx, CUexecAffinityParam *affinity, int count, unsigned int flags,
                               CUdevice dev) {
    if (affinity || count)
        return CUDA_ERROR_UNSUPPORTED_EXEC_AFFINITY;
    return cuCtxCreate_v2(pctx, flags, dev);
}

EXPORT CUresult cuCtxCreate_v4(CUcontext *pctx, CUctxCreateParams *params, unsigned int flags, CUdevice dev) {
    if (params && (params->numExecAffinityParams || params->cigParams))
        return CUDA_ERROR_NOT_SUPPORTED;
    return cuCtxCreate_v2(pctx, flags, dev);
}

EXPORT CUresult cuCtxDestroy_v2(CUcontext ctx) {
    struct context *context = find_context(ctx);
    if (!driver_initialized())
        return CUDA_ERROR_NOT_INITIALIZED;
    if (!ctx || !context || context == &primary)
        return CUDA_ERROR_INVALID_CONTEXT;
    if (!context->retained)
        return CUDA_ERROR_CONTEXT_IS_DESTROYED;
    context_storage_clear(context);
    wire_pass_on_printed();
    CUresult result = forward_cuCtxDestroy_v2(context->host);
    context->retained = 0;
    if (current_context() == context)
        pop();
    return result;
}

EXPORT CUresult cuCtxDestroy(CUcontext ctx) {
    return cuCtxDestroy_v2(ctx);
}

/* What is current. */

EXPORT CUresult cuCtxGetCurrent(CUcontext *pctx) {
    if (!driver_initialized())
        return CUDA_ERROR_NOT_INITIALIZED;
    if (!pctx)
        return CUDA_ERROR_INVALID_VALUE;
    *pctx = context_handle(current_context());
    return CUDA_SUCCESS;
}

EXPORT CUresult cuCtxSetCurrent(CUcontext ctx) {
    struct context *context = ctx ? find_context(ctx) : NULL;
    if (!driver_initialized())
        return CUDA_ERROR_NOT_INITIALIZED;
    if (ctx && !context)
        return CUDA_ERROR_INVALID_CONTEXT;
    if (thread.depth)
        thread.depth--;
    if (context)
        return push(context);
    tell_wire();
    return CUDA_SUCCESS;
}

EXPORT CUresult cuCtxPushCurrent_v2(CUcontext ctx) {
    struct context *context = ctx ? find_context(ctx) : NULL;
    if (!driver_initialized())
        return CUDA_ERROR_NOT_INITIALIZED;
    return context ? push(context) : CUDA_ERROR_INVALID_CONTEXT;
}

EXPORT CUresult cuCtxPushCurrent(CUcontext ctx) {
    return cuCtxPushCurrent_v2(ctx);
}

EXPORT CUresult cuCtxPopCurrent_v2(CUcontext *pctx) {
    if (!driver_initialized())
        return CUDA_ERROR_NOT_INITIALIZED;
    if (!current_context())
        return CUDA_ERROR_INVALID_CONTEXT;
    if (pctx)
        *pctx = context_handle(current_context());
    pop();
    return CUDA_SUCCESS;
}

EXPORT CUresult cuCtxPopCurrent(CUcontext *pctx) {
    return cuCtxPopCurrent_v2(pctx);
}

/* What can be asked of a context. */

static CUresult check_context(CUcontext ctx, const void *out, struct context **context) {
    if (!driver_initialized())
        return CUDA_ERROR_NOT_INITIALIZED;
    if (!out)
        return CUDA_ERROR_INVALID_VALUE;
    *context = find_context(ctx);
    return *context ? CUDA_SUCCESS : CUDA_ERROR_INVALID_CONTEXT;
}

EXPORT CUresult cuCtxGetDevice_v2(CUdevice *device, CUcontext ctx) {
    struct context *context;
    CUresult result = check_context(ctx, device, &context);
    if (result == CUDA_SUCCESS)
        *device = context->device;
    return result;
}

EXPORT CUresult cuCtxGetDevice(CUdevice *device) {
    return cuCtxGetDevice_v2(device, NULL);
}

EXPORT CUresult cuCtxGetId(CUcontext ctx, unsigned long long *id) {
    struct context *context;
    CUresult result = check_context(ctx, id, &context);
    if (result == CUDA_SUCCESS)
        *id = context->id;
    return result;
}

EXPORT CUresult cuCtxGetApiVersion(CUcontext ctx, unsigned int *version) {
    struct context *context;
    CUresult result = check_context(ctx, version, &context);
    if (result == CUDA_SUCCESS)
        *version = API_VERSION;
    return result;
}

EXPORT CUresult cuCtxGetFlags(unsigned int *flags) {
    struct context *context;
    CUresult result = check_context(NULL, flags, &context);
    if (result == CUDA_SUCCESS)
        *flags = context->flags;
    return result;
}

static size_t print_fifo_bytes = 1 << 20; /* of the whole process */

/* What is not ours to change is refused, be it to what it is. */
EXPORT CUresult cuCtxSetLimit(CUlimit limit, size_t value) {
    CUresult result = context_ready();
    if (result != CUDA_SUCCESS)
        return result;
    if (limit != CU_LIMIT_PRINTF_FIFO_SIZE)
        return CUDA_ERROR_UNSUPPORTED_LIMIT;
    size_t bytes = value < 4096 ? 4096 : value > 64 << 20 ? 64 << 20 : value; /* as the host keeps */
    __atomic_store_n(&print_fifo_bytes, bytes, __ATOMIC_RELAXED);
    wire_keep_printed(bytes);
    return CUDA_SUCCESS;
}

EXPORT CUresult cuCtxGetLimit(size_t *value, CUlimit limit) {
    struct context *context;
    CUresult result = check_context(NULL, value, &context);
    if (result != CUDA_SUCCESS)
        return result;
    switch (limit) {
    case CU_LIMIT_STACK_SIZE:
        *value = 1024;
        return CUDA_SUCCESS;
    case CU_LIMIT_PRINTF_FIFO_SIZE:
        *value = __atomic_load_n(&print_fifo_bytes, __ATOMIC_RELAXED);
        return CUDA_SUCCESS;
    case CU_LIMIT_MALLOC_HEAP_SIZE:
        *value = 8 << 20;
        return CUDA_SUCCESS;
    case CU_LIMIT_MAX_L2_FETCH_GRANULARITY:
        *value = 64;
        return CUDA_SUCCESS;
    case CU_LIMIT_PERSISTING_L2_CACHE_SIZE:
        *value = 0;
        return CUDA_SUCCESS;
    default:
        return CUDA_ERROR_UNSUPPORTED_LIMIT;
    }
}

EXPORT CUresult cuCtxGetStreamPriorityRange(int *least, int *greatest) {
    if (!driver_initialized())
        return CUDA_ERROR_NOT_INITIALIZED;
    if (least)
        *least = 0;
    if (greatest)
        *greatest = 0; /* the device has one priority */
    return current_context() ? CUDA_SUCCESS : CUDA_ERROR_INVALID_CONTEXT;
}

EXPORT CUresult cuCtxGetCacheConfig(CUfunc_cache *config) {
    struct context *context;
    CUresult result = check_context(NULL, config, &context);
    if (result == CUDA_SUCCESS)
        *config = CU_FUNC_CACHE_PREFER_NONE;
    return result;
}

/* "This function does nothing on devices where the size of the L1 cache and shared memory are
 * fixed", says CUDA; so it is here. */
EXPORT CUresult cuCtxSetCacheConfig(CUfunc_cache config) {
    (void)config;
    return context_ready();
}

EXPORT CUresult cuCtxSynchronize(void) {
    return context_ready() ?: forward_cuCtxSynchronize();
}

EXPORT CUresult cuCtxSynchronize_v2(CUcontext ctx) {
    struct context *context = find_context(ctx);
    if (!driver_initialized())
        return CUDA_ERROR_NOT_INITIALIZED;
    if (!context)
        return CUDA_ERROR_INVALID_CONTEXT;
    if (context == current_context())
        return cuCtxSynchronize();
    CUresult result = push(context);
    if (result != CUDA_SUCCESS)
        return result;
    result = cuCtxSynchronize();
    pop();
    return result;
}
