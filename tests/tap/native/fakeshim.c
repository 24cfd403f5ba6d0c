/* A small driver of its own for the tap's tests: a dozen functions, some export tables, and answers of
 * cuGetProcAddress that are exports, hidden functions, and nothing. Compiled with different macros. */
#define _GNU_SOURCE
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))

EXPORT int cuInit(unsigned flags) {
    return flags ? 1 : 0;
}
EXPORT int cuDriverGetVersion(int *version) {
    *version = 13000;
    return 0;
}
EXPORT int cuDeviceGetCount(int *count) {
    *count = 3;
    return 0;
}
EXPORT int cuDeviceGetName(char *name, int length, int device) {
    if (device > 2)
        return 101;
    snprintf(name, (size_t)length, "Fake %d", device);
    return 0;
}
EXPORT int cuMemAlloc_v2(uint64_t *address, uint64_t size) {
    *address = 0x700000000000 + size;
    return 0;
}
EXPORT int cuMemcpyHtoD_v2(uint64_t to, const void *from, uint64_t size) {
    (void)to, (void)from, (void)size;
    return 0;
}
EXPORT int cuLaunchKernel(void *f, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by,
                          unsigned bz, unsigned shared, void *stream, void **params, void **extra) {
    (void)f, (void)stream, (void)params, (void)extra;
    return gx == 1 && gy == 2 && gz == 3 && bx == 4 && by == 5 && bz == 6 && shared == 7 ? 0 : 1;
}
EXPORT int cuCtxSynchronize(void) {
    for (;;)
        pause();
}
EXPORT int cuCtxGetCurrent(void **context) { /* aborts: a call that doesn't return in another way */
    (void)context;
    abort();
}
/* A name that no header has: it adds up what it gets in registers, on the stack and in vectors. */
EXPORT long cuPrivateSum(long a, long b, long c, long d, long e, long f, double x, double y, long g, long h) {
    return a + b + c + d + e + f + g + h + (long)x + (long)y;
}
EXPORT int fake_helper(int value) {
    return value + 1;
}
EXPORT int fake_data = 7;

static int hidden_mem_get_info(uint64_t *free, uint64_t *total) {
    *free = 1;
    *total = 2;
    return 0;
}
static int hidden_private(int a) {
    return a * 2;
}

/* --- export tables --- */
static int table_get(void **out, int device) {
    *out = (void *)(uintptr_t)(0x1000 + device);
    return 0;
}
static int integrity(uint32_t version, uint64_t seconds, uint64_t *out) {
    (void)version, (void)seconds;
    out[0] = out[1] = 0;
    return 0;
}
static int storage(void) {
    return 5;
}
static const void *const interface_table[] = {(void *)32, NULL, (void *)table_get, (void *)0x77};
static const void *const integrity_table[] = {(void *)16, (void *)integrity};
static const void *const storage_table[] = {(void *)storage, (void *)storage, (void *)storage};
static const void *const sizeless_table[] = {(void *)0, (void *)storage};

EXPORT int cuGetExportTable(const void **table, const unsigned char *uuid) {
    switch (uuid[0]) {
    case 0x6b:
        *table = interface_table;
        return 0;
    case 0xd4:
        *table = integrity_table;
        return 0;
    case 0xc6:
        *table = storage_table;
        return 0;
    case 0x42:
        *table = sizeless_table;
        return 0;
    }
    return 500;
}

EXPORT int cuGetProcAddress_v2(const char *name, void **pfn, int version, uint64_t flags, int *status) {
    (void)version, (void)flags;
    static const struct {
        const char *name;
        void *function;
    } answers[] = {
        {"cuInit", (void *)cuInit},
        {"cuDeviceGetCount", (void *)cuDeviceGetCount},
        {"cuMemAlloc", (void *)cuMemAlloc_v2},
        {"cuGetProcAddress", (void *)cuGetProcAddress_v2},
        {"cuMemGetInfo", (void *)hidden_mem_get_info},
        {"cuNeverHeardOf", (void *)hidden_private},
        /* the answer is another export than the one asked for */
        {"cuDeviceGet", (void *)cuDriverGetVersion},
    };
    for (size_t i = 0; i < sizeof answers / sizeof *answers; i++)
        if (strcmp(name, answers[i].name) == 0) {
            *pfn = answers[i].function;
            if (status)
                *status = 0;
            return 0;
        }
    *pfn = NULL;
    if (status)
        *status = 1;
    return 500;
}

#ifdef CALLS_ITSELF_EARLY
/* Binds to whoever is first in the global scope: the tap, when that is preloaded or linked. */
__attribute__((constructor)) static void early(void) {
    int count = 0;
    if (cuInit(0) != 0 || cuDeviceGetCount(&count) != 0 || count != 3)
        abort();
}
#endif
#ifdef HANGS_EARLY
__attribute__((constructor)) static void early(void) {
    for (;;)
        pause();
}
#endif
#ifdef NEEDS_WHAT_IS_NOWHERE
extern int nowhere_to_be_found(void);
EXPORT int cuDeviceGet(int *device, int ordinal) {
    return *device = ordinal + nowhere_to_be_found();
}
#endif
#ifdef NEEDS_A_MISSING_LIBRARY
extern int from_missing_library(void);
EXPORT int cuDeviceGet(int *device, int ordinal) {
    return *device = ordinal + from_missing_library();
}
#endif
