/* The ladder of each name: which exports it means, from which version of the API on. */
#ifndef SHIMBENCH_CUDA_PROC_ADDRESS_H
#define SHIMBENCH_CUDA_PROC_ADDRESS_H

#include <cuda.h>
#include <stdbool.h>
#include <stddef.h>

struct rung {
    const char *name; /* as asked for */
    int version;
    bool per_thread;
    void *address;
};

/* Generated from the model: sorted by name, then the plain forms before the per-thread ones, then by
 * version. */
extern const struct rung proc_rungs[];
extern const size_t proc_rung_count;

/* The rung that answers a request of API version `version` by a driver of `driver_version`: the newest
 * that is not newer than either; of the per-thread forms where they are wanted and there is one. NULL
 * when there is none; `*status` says why. */
const struct rung *find_rung(const struct rung *rungs, size_t count, const char *name, int version,
                             int driver_version, bool per_thread, CUdriverProcAddressQueryResult *status);

#endif
