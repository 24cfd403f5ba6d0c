/* Another shim: what program.c needs, in front of ours (REAL, a path), with handles and device addresses of
 * its own. FAULT makes it a broken one:
 *   1 wrong     the second copy to the host has a byte too much by one
 *   2 crash     the third launch writes where nothing is
 *   3 hang      the third launch does not return
 *   4 refuse    the second allocation is refused
 *   5 lossy     launches from the third on are not performed
 *   6 exit      the third launch ends the process
 *   7 early     it ends the process when it is loaded
 *   8 late      a stream is not ready the first three times that it is asked
 *   9 silent    it does not tell how kernels' parameters lie
 *  10 sullen    it answers no question for an attribute of the device
 *  11 both      cuCtxSetCurrent sets it and says it did not, and the third launch crashes
 *  12 clinging  it does not let its process end
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

#ifndef FAULT
#define FAULT 0
#endif
#define EXPORT __attribute__((visibility("default")))

typedef uint64_t deviceptr;

static void *symbol(const char *name) {
    static void *real;
    if (!real)
        real = dlopen(REAL, RTLD_NOW | RTLD_LOCAL);
    void *found = real ? dlsym(real, name) : NULL;
    if (!found)
        abort();
    return found;
}
#define REAL_OF(name, ...) ((int (*)(__VA_ARGS__))symbol(#name))

/* Handles are numbers of a table's rows: nobody else's would do. */
enum { HANDLES = 4096 };
static void *handles[HANDLES];
static int handle_count;

static int box(int result, void **handle) {
    if (result != 0 || *handle == NULL)
        return result;
    int row = __atomic_fetch_add(&handle_count, 1, __ATOMIC_RELAXED) % HANDLES;
    handles[row] = *handle;
    *handle = (void *)(uintptr_t)(0xb0000010 + 16 * row);
    return result;
}

static void *unbox(void *handle) {
    uintptr_t row = ((uintptr_t)handle - 0xb0000010) / 16;
    if ((uintptr_t)handle < 16)
        return handle;
    return row < HANDLES && handles[row] ? handles[row] : (void *)0xbad;
}

__attribute__((destructor)) static void unloaded(void) {
    while (FAULT == 12)
        sleep(1);
}

__attribute__((constructor)) static void loaded(void) {
    if (FAULT == 7)
        _exit(5);
}

EXPORT int cuInit(unsigned flags) {
    return REAL_OF(cuInit, unsigned)(flags);
}
EXPORT int cuDeviceGet(int *device, int ordinal) {
    return REAL_OF(cuDeviceGet, int *, int)(device, ordinal);
}
EXPORT int cuDeviceGetAttribute(int *value, int attribute, int device) {
    if (FAULT == 10)
        return 1; /* CUDA_ERROR_INVALID_VALUE */
    return REAL_OF(cuDeviceGetAttribute, int *, int, int)(value, attribute, device);
}
EXPORT int cuDriverGetVersion(int *version) {
    return REAL_OF(cuDriverGetVersion, int *)(version);
}
EXPORT int cuDevicePrimaryCtxRetain(void **context, int device) {
    return box(REAL_OF(cuDevicePrimaryCtxRetain, void **, int)(context, device), context);
}
EXPORT int cuDevicePrimaryCtxRelease_v2(int device) {
    return REAL_OF(cuDevicePrimaryCtxRelease_v2, int)(device);
}
EXPORT int cuCtxSetCurrent(void *context) {
    int result = REAL_OF(cuCtxSetCurrent, void *)(unbox(context));
    return FAULT == 11 ? 999 : result; /* CUDA_ERROR_UNKNOWN */
}
EXPORT int cuCtxSynchronize(void) {
    return REAL_OF(cuCtxSynchronize, void)();
}
EXPORT int cuModuleLoadData(void **module, const void *image) {
    return box(REAL_OF(cuModuleLoadData, void **, const void *)(module, image), module);
}
EXPORT int cuModuleUnload(void *module) {
    return REAL_OF(cuModuleUnload, void *)(unbox(module));
}
EXPORT int cuModuleGetFunction(void **function, void *module, const char *name) {
    return box(REAL_OF(cuModuleGetFunction, void **, void *, const char *)(function, unbox(module), name),
               function);
}
EXPORT int cuFuncGetParamInfo(void *function, size_t index, size_t *offset, size_t *size) {
    if (FAULT == 9)
        return 801; /* CUDA_ERROR_NOT_SUPPORTED */
    return REAL_OF(cuFuncGetParamInfo, void *, size_t, size_t *, size_t *)(unbox(function), index, offset,
                                                                           size);
}
EXPORT int cuMemAlloc_v2(deviceptr *address, size_t size) {
    static int count;
    deviceptr unused;
    if (FAULT == 4 && ++count == 2)
        return 2;                                                  /* CUDA_ERROR_OUT_OF_MEMORY */
    REAL_OF(cuMemAlloc_v2, deviceptr *, size_t)(&unused, 3 << 20); /* so that no address is ours */
    return REAL_OF(cuMemAlloc_v2, deviceptr *, size_t)(address, size);
}
EXPORT int cuMemAddressReserve(deviceptr *address, size_t size, size_t alignment, deviceptr where,
                               unsigned long long flags) {
    deviceptr unused;
    int (*reserve)(deviceptr *, size_t, size_t, deviceptr, unsigned long long) =
        symbol("cuMemAddressReserve");
    reserve(&unused, 4 << 20, 0, 0, 0);
    return reserve(address, size, alignment, where, flags);
}
EXPORT int cuMemFree_v2(deviceptr address) {
    return REAL_OF(cuMemFree_v2, deviceptr)(address);
}
EXPORT int cuMemHostAlloc(void **address, size_t size, unsigned flags) {
    void *unused;
    REAL_OF(cuMemHostAlloc, void **, size_t, unsigned)(&unused, 1 << 20, flags);
    return REAL_OF(cuMemHostAlloc, void **, size_t, unsigned)(address, size, flags);
}
EXPORT int cuMemFreeHost(void *address) {
    return REAL_OF(cuMemFreeHost, void *)(address);
}
EXPORT int cuMemcpyHtoD_v2(deviceptr to, const void *from, size_t size) {
    return REAL_OF(cuMemcpyHtoD_v2, deviceptr, const void *, size_t)(to, from, size);
}
EXPORT int cuMemcpyDtoH_v2(void *to, deviceptr from, size_t size) {
    return REAL_OF(cuMemcpyDtoH_v2, void *, deviceptr, size_t)(to, from, size);
}
EXPORT int cuMemcpyHtoDAsync_v2(deviceptr to, const void *from, size_t size, void *stream) {
    return REAL_OF(cuMemcpyHtoDAsync_v2, deviceptr, const void *, size_t, void *)(to, from, size,
                                                                                  unbox(stream));
}
EXPORT int cuMemcpyDtoHAsync_v2(void *to, deviceptr from, size_t size, void *stream) {
    static int count;
    int result =
        REAL_OF(cuMemcpyDtoHAsync_v2, void *, deviceptr, size_t, void *)(to, from, size, unbox(stream));
    if (FAULT == 1 && ++count == 2) {
        REAL_OF(cuStreamSynchronize, void *)(unbox(stream));
        ((uint8_t *)to)[size / 2]++;
    }
    return result;
}
EXPORT int cuStreamCreate(void **stream, unsigned flags) {
    return box(REAL_OF(cuStreamCreate, void **, unsigned)(stream, flags), stream);
}
EXPORT int cuStreamSynchronize(void *stream) {
    return REAL_OF(cuStreamSynchronize, void *)(unbox(stream));
}
EXPORT int cuStreamQuery(void *stream) {
    static int count;
    if (FAULT == 8 && count++ < 3)
        return 600; /* CUDA_ERROR_NOT_READY */
    return REAL_OF(cuStreamQuery, void *)(unbox(stream));
}
EXPORT int cuStreamDestroy_v2(void *stream) {
    return REAL_OF(cuStreamDestroy_v2, void *)(unbox(stream));
}
EXPORT int cuStreamBeginCapture_v2(void *stream, int mode) {
    return REAL_OF(cuStreamBeginCapture_v2, void *, int)(unbox(stream), mode);
}
EXPORT int cuStreamEndCapture(void *stream, void **graph) {
    return box(REAL_OF(cuStreamEndCapture, void *, void **)(unbox(stream), graph), graph);
}
EXPORT int cuGraphInstantiateWithFlags(void **exec, void *graph, unsigned long long flags) {
    return box(
        REAL_OF(cuGraphInstantiateWithFlags, void **, void *, unsigned long long)(exec, unbox(graph), flags),
        exec);
}
EXPORT int cuGraphLaunch(void *exec, void *stream) {
    return REAL_OF(cuGraphLaunch, void *, void *)(unbox(exec), unbox(stream));
}
EXPORT int cuGraphExecDestroy(void *exec) {
    return REAL_OF(cuGraphExecDestroy, void *)(unbox(exec));
}
EXPORT int cuGraphDestroy(void *graph) {
    return REAL_OF(cuGraphDestroy, void *)(unbox(graph));
}
EXPORT int cuLaunchKernel(void *function, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by,
                          unsigned bz, unsigned shared, void *stream, void **params, void **extra) {
    static volatile int *volatile nowhere = (int *)16;
    static int count;
    int number = __atomic_add_fetch(&count, 1, __ATOMIC_RELAXED);
    if ((FAULT == 2 || FAULT == 11) && number == 3)
        *nowhere = 1;
    if (FAULT == 6 && number == 3)
        _exit(6);
    while (FAULT == 3 && number >= 3)
        sleep(1);
    if (FAULT == 5 && number >= 3)
        return 0;
    return REAL_OF(cuLaunchKernel, void *, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned,
                   unsigned, void *, void **,
                   void **)(unbox(function), gx, gy, gz, bx, by, bz, shared, unbox(stream), params, extra);
}
