/* Code: libraries and modules. Images go to the host as they are; it chooses what runs on its device. */
#include <stdio.h>
#include <stdlib.h>

#include "cuda/answer_cache.h"
#include "cuda/context.h"
#include "cuda/init.h"
#include "cuda/library.h"
#include "cuda/shim.h"

CUresult read_image(const char *path, void **image, size_t *image_bytes) {
    if (!path)
        return CUDA_ERROR_INVALID_VALUE;
    FILE *file = fopen(path, "re");
    if (!file)
        return CUDA_ERROR_FILE_NOT_FOUND;
    char *bytes = NULL;
    CUresult result = CUDA_ERROR_INVALID_SOURCE;
    if (fseek(file, 0, SEEK_END))
        goto out;
    long size = ftell(file);
    if (size <= 0 || fseek(file, 0, SEEK_SET))
        goto out;
    result = CUDA_ERROR_OUT_OF_MEMORY;
    bytes = malloc((size_t)size + 1);
    if (!bytes)
        goto out;
    result = CUDA_ERROR_INVALID_SOURCE;
    if (fread(bytes, 1, (size_t)size, file) != (size_t)size)
        goto out;
    bytes[size] = 0;
    *image = bytes;
    *image_bytes = (size_t)size;
    bytes = NULL;
    result = CUDA_SUCCESS;
out:
    free(bytes);
    fclose(file);
    return result;
}

/* Libraries. */

EXPORT CUresult cuLibraryLoadData(CUlibrary *library, const void *code, CUjit_option *jit_options,
                                  void **jit_values, unsigned int jit_count, CUlibraryOption *options,
                                  void **values, unsigned int count) {
    if (!library || !code)
        return CUDA_ERROR_INVALID_VALUE;
    return driver_ready()
               ?: forward_cuLibraryLoadData(library, code, jit_options, jit_values, jit_count, options,
                                            values, count);
}

EXPORT CUresult cuLibraryLoadFromFile(CUlibrary *library, const char *path, CUjit_option *jit_options,
                                      void **jit_values, unsigned int jit_count, CUlibraryOption *options,
                                      void **values, unsigned int count) {
    void *image;
    size_t bytes;
    CUresult result = driver_ready() ?: read_image(path, &image, &bytes);
    if (result != CUDA_SUCCESS)
        return result;
    result = cuLibraryLoadData(library, image, jit_options, jit_values, jit_count, options, values, count);
    free(image);
    return result;
}

EXPORT CUresult cuLibraryUnload(CUlibrary library) {
    CUresult result = driver_ready() ?: forward_cuLibraryUnload(library);
    answers_forget();
    return result;
}

EXPORT CUresult cuLibraryGetKernel(CUkernel *kernel, CUlibrary library, const char *name) {
    if (!kernel || !name)
        return CUDA_ERROR_INVALID_VALUE;
    return driver_ready() ?: forward_cuLibraryGetKernel(kernel, library, name);
}

EXPORT CUresult cuLibraryGetKernelCount(unsigned int *count, CUlibrary library) {
    if (!count)
        return CUDA_ERROR_INVALID_VALUE;
    return driver_ready() ?: forward_cuLibraryGetKernelCount(count, library);
}

EXPORT CUresult cuLibraryGetModule(CUmodule *module, CUlibrary library) {
    if (!module)
        return CUDA_ERROR_INVALID_VALUE;
    return context_ready() ?: forward_cuLibraryGetModule(module, library);
}

EXPORT CUresult cuLibraryGetGlobal(CUdeviceptr *dptr, size_t *bytes, CUlibrary library, const char *name) {
    if (!name || (!dptr && !bytes))
        return CUDA_ERROR_INVALID_VALUE;
    return context_ready() ?: forward_cuLibraryGetGlobal(dptr, bytes, library, name);
}

/* Modules. */

EXPORT CUresult cuModuleLoadData(CUmodule *module, const void *image) {
    if (!module || !image)
        return CUDA_ERROR_INVALID_VALUE;
    return context_ready() ?: forward_cuModuleLoadData(module, image);
}

EXPORT CUresult cuModuleLoadDataEx(CUmodule *module, const void *image, unsigned int count,
                                   CUjit_option *options, void **values) {
    if (!module || !image)
        return CUDA_ERROR_INVALID_VALUE;
    return context_ready() ?: forward_cuModuleLoadDataEx(module, image, count, options, values);
}

EXPORT CUresult cuModuleLoadFatBinary(CUmodule *module, const void *image) {
    if (!module || !image)
        return CUDA_ERROR_INVALID_VALUE;
    return context_ready() ?: forward_cuModuleLoadFatBinary(module, image);
}

EXPORT CUresult cuModuleLoad(CUmodule *module, const char *path) {
    void *image;
    size_t bytes;
    CUresult result = context_ready() ?: read_image(path, &image, &bytes);
    if (result != CUDA_SUCCESS)
        return result;
    result = cuModuleLoadData(module, image);
    free(image);
    return result;
}

EXPORT CUresult cuModuleUnload(CUmodule module) {
    CUresult result = context_ready() ?: forward_cuModuleUnload(module);
    answers_forget();
    return result;
}

EXPORT CUresult cuModuleGetFunction(CUfunction *function, CUmodule module, const char *name) {
    if (!function || !name)
        return CUDA_ERROR_INVALID_VALUE;
    return context_ready() ?: forward_cuModuleGetFunction(function, module, name);
}

EXPORT CUresult cuModuleGetFunctionCount(unsigned int *count, CUmodule module) {
    if (!count)
        return CUDA_ERROR_INVALID_VALUE;
    return context_ready() ?: forward_cuModuleGetFunctionCount(count, module);
}

EXPORT CUresult cuModuleGetGlobal_v2(CUdeviceptr *dptr, size_t *bytes, CUmodule module, const char *name) {
    if (!name || (!dptr && !bytes))
        return CUDA_ERROR_INVALID_VALUE;
    return context_ready() ?: forward_cuModuleGetGlobal_v2(dptr, bytes, module, name);
}
