/* Initialisation, and what NVML says of the system. Nothing here runs in a constructor. */
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "cuda/config.h"
#include "nvml/nvml.h"

static _Atomic int sessions; /* nvmlInit is counted */

bool nvml_initialized(void) {
    return atomic_load(&sessions) > 0;
}

nvmlReturn_t nvml_device(const struct wire_device **facts) {
    char socket_path[256];
    if (!nvml_initialized())
        return NVML_ERROR_UNINITIALIZED;
    config_host_socket(socket_path, sizeof socket_path);
    if (wire_connect(socket_path) != CUDA_SUCCESS || !(*facts = wire_device()))
        return NVML_ERROR_DRIVER_NOT_LOADED;
    return NVML_SUCCESS;
}

EXPORT nvmlReturn_t nvmlInitWithFlags(unsigned int flags) {
    (void)flags; /* NO_GPUS and NO_ATTACH ask for less than always happens */
    atomic_fetch_add(&sessions, 1);
    return NVML_SUCCESS;
}

EXPORT nvmlReturn_t nvmlInit_v2(void) {
    return nvmlInitWithFlags(0);
}

EXPORT nvmlReturn_t nvmlInit(void) {
    return nvmlInitWithFlags(0);
}

EXPORT nvmlReturn_t nvmlShutdown(void) {
    int before = atomic_load(&sessions);
    while (before > 0)
        if (atomic_compare_exchange_weak(&sessions, &before, before - 1))
            return NVML_SUCCESS;
    return NVML_ERROR_UNINITIALIZED;
}

static nvmlReturn_t answer_text(char *out, unsigned int length, const char *text) {
    if (!nvml_initialized())
        return NVML_ERROR_UNINITIALIZED;
    if (!out)
        return NVML_ERROR_INVALID_ARGUMENT;
    if (strlen(text) >= length)
        return NVML_ERROR_INSUFFICIENT_SIZE;
    strcpy(out, text);
    return NVML_SUCCESS;
}

EXPORT nvmlReturn_t nvmlSystemGetDriverVersion(char *version, unsigned int length) {
    return answer_text(version, length, config_driver_release());
}

EXPORT nvmlReturn_t nvmlSystemGetNVMLVersion(char *version, unsigned int length) {
    char text[64];
    snprintf(text, sizeof text, "%d.%s", config_driver_version() / 1000, config_driver_release());
    return answer_text(version, length, text);
}

EXPORT nvmlReturn_t nvmlSystemGetCudaDriverVersion(int *version) {
    if (!version)
        return NVML_ERROR_INVALID_ARGUMENT;
    *version = config_driver_version();
    return NVML_SUCCESS;
}

EXPORT nvmlReturn_t nvmlSystemGetCudaDriverVersion_v2(int *version) {
    return nvmlSystemGetCudaDriverVersion(version);
}

/* Not in NVIDIA's header. Callers crash when they are given a table with empty slots. */
EXPORT nvmlReturn_t nvmlInternalGetExportTable(const void **table, const void *id);

EXPORT nvmlReturn_t nvmlInternalGetExportTable(const void **table, const void *id) {
    (void)table;
    (void)id;
    return NVML_ERROR_FUNCTION_NOT_FOUND;
}
