/* cuGetProcAddress: by which the runtime finds everything else, before cuInit. */
#include "cuda/proc_address.h"

#include <string.h>

#include "cuda/config.h"
#include "cuda/shim.h"

static const struct rung *first_rung(const struct rung *rungs, size_t count, const char *name) {
    size_t low = 0, high = count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (strcmp(rungs[middle].name, name) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return rungs + low;
}

const struct rung *find_rung(const struct rung *rungs, size_t count, const char *name, int version,
                             int driver_version, bool per_thread, CUdriverProcAddressQueryResult *status) {
    const struct rung *best = NULL;
    *status = CU_GET_PROC_ADDRESS_SYMBOL_NOT_FOUND;
    for (const struct rung *rung = first_rung(rungs, count, name);
         rung < rungs + count && !strcmp(rung->name, name); rung++) {
        if (rung->version > driver_version)
            continue; /* this driver knows nothing of it */
        if (rung->version > version)
            *status = CU_GET_PROC_ADDRESS_VERSION_NOT_SUFFICIENT;
        else if (!rung->per_thread || per_thread)
            best = rung;
    }
    if (best)
        *status = CU_GET_PROC_ADDRESS_SUCCESS;
    return best;
}

EXPORT CUresult cuGetProcAddress_v2(const char *symbol, void **pfn, int version, cuuint64_t flags,
                                    CUdriverProcAddressQueryResult *symbol_status) {
    const cuuint64_t known =
        CU_GET_PROC_ADDRESS_LEGACY_STREAM | CU_GET_PROC_ADDRESS_PER_THREAD_DEFAULT_STREAM;
    CUdriverProcAddressQueryResult status;
    if (!symbol || !pfn || flags & ~known || flags == known)
        return CUDA_ERROR_INVALID_VALUE;
    const struct rung *rung = find_rung(proc_rungs, proc_rung_count, symbol, version, config_driver_version(),
                                        flags & CU_GET_PROC_ADDRESS_PER_THREAD_DEFAULT_STREAM, &status);
    *pfn = rung ? rung->address : NULL;
    if (symbol_status) {
        *symbol_status = status;
        return CUDA_SUCCESS;
    }
    return rung ? CUDA_SUCCESS : CUDA_ERROR_NOT_FOUND;
}

/* The form of CUDA 11.3: nothing is written when there is nothing to write. */
EXPORT CUresult cuGetProcAddress(const char *symbol, void **pfn, int version, cuuint64_t flags) {
    void *address = NULL;
    CUresult result = cuGetProcAddress_v2(symbol, pfn ? &address : NULL, version, flags, NULL);
    if (result == CUDA_SUCCESS)
        *pfn = address;
    return result;
}

/* The form that programs built for per-thread default streams link to. */
EXPORT CUresult cuGetProcAddress_v2_ptsz(const char *symbol, void **pfn, int version, cuuint64_t flags,
                                         CUdriverProcAddressQueryResult *symbol_status) {
    if (flags == CU_GET_PROC_ADDRESS_DEFAULT)
        flags = CU_GET_PROC_ADDRESS_PER_THREAD_DEFAULT_STREAM;
    return cuGetProcAddress_v2(symbol, pfn, version, flags, symbol_status);
}
