/* Kernels and functions: one thing by two names, found through a library or through a module. */
#include "cuda/answer_cache.h"
#include "cuda/context.h"
#include "cuda/init.h"
#include "cuda/shim.h"

EXPORT CUresult cuKernelGetFunction(CUfunction *function, CUkernel kernel) {
    if (!function)
        return CUDA_ERROR_INVALID_VALUE;
    return context_ready() ?: forward_cuKernelGetFunction(function, kernel);
}

EXPORT CUresult cuKernelGetAttribute(int *pi, CUfunction_attribute attrib, CUkernel kernel, CUdevice dev) {
    struct answer_key key = {ASKED_KERNEL_ATTRIBUTE, kernel, attrib, (uint64_t)dev};
    uint64_t generation;
    if (!pi)
        return CUDA_ERROR_INVALID_VALUE;
    if (answer_find(key, pi, &generation))
        return driver_ready();
    CUresult result = driver_ready() ?: forward_cuKernelGetAttribute(pi, attrib, kernel, dev);
    if (result == CUDA_SUCCESS)
        answer_keep(key, *pi, generation);
    return result;
}

EXPORT CUresult cuFuncGetAttribute(int *pi, CUfunction_attribute attrib, CUfunction function) {
    struct answer_key key = {ASKED_FUNCTION_ATTRIBUTE, function, attrib, 0};
    uint64_t generation;
    if (!pi)
        return CUDA_ERROR_INVALID_VALUE;
    if (answer_find(key, pi, &generation))
        return context_ready();
    CUresult result = context_ready() ?: forward_cuFuncGetAttribute(pi, attrib, function);
    if (result == CUDA_SUCCESS)
        answer_keep(key, *pi, generation);
    return result;
}

EXPORT CUresult cuKernelSetAttribute(CUfunction_attribute attrib, int value, CUkernel kernel, CUdevice dev) {
    CUresult result = driver_ready() ?: forward_cuKernelSetAttribute(attrib, value, kernel, dev);
    answers_forget();
    return result;
}

EXPORT CUresult cuFuncSetAttribute(CUfunction function, CUfunction_attribute attrib, int value) {
    CUresult result = context_ready() ?: forward_cuFuncSetAttribute(function, attrib, value);
    answers_forget();
    return result;
}

EXPORT CUresult cuKernelGetParamInfo(CUkernel kernel, size_t index, size_t *offset, size_t *size) {
    if (!offset)
        return CUDA_ERROR_INVALID_VALUE;
    return driver_ready() ?: forward_cuKernelGetParamInfo(kernel, index, offset, size);
}

EXPORT CUresult cuFuncGetParamInfo(CUfunction function, size_t index, size_t *offset, size_t *size) {
    if (!offset)
        return CUDA_ERROR_INVALID_VALUE;
    return context_ready() ?: forward_cuFuncGetParamInfo(function, index, offset, size);
}

EXPORT CUresult cuFuncGetModule(CUmodule *module, CUfunction function) {
    if (!module)
        return CUDA_ERROR_INVALID_VALUE;
    return context_ready() ?: forward_cuFuncGetModule(module, function);
}

/* Preferences, which a device may disregard; ours has one cache. */

EXPORT CUresult cuFuncSetCacheConfig(CUfunction function, CUfunc_cache config) {
    (void)function;
    (void)config;
    return context_ready();
}

EXPORT CUresult cuKernelSetCacheConfig(CUkernel kernel, CUfunc_cache config, CUdevice dev) {
    (void)kernel;
    (void)config;
    (void)dev;
    return driver_ready();
}
