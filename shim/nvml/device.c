/* Devices: there is one, and its facts are those that libcuda.so.1 answers from. */
#include <forward.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "nvml/nvml.h"

/* What an nvmlDevice_t points to; nothing is kept there. */
static char the_device;

static nvmlDevice_t device_handle(void) {
    return (nvmlDevice_t)(void *)&the_device;
}

static nvmlReturn_t check_device(nvmlDevice_t device, const void *out, const struct wire_device **facts) {
    nvmlReturn_t result = nvml_device(facts);
    if (result != NVML_SUCCESS)
        return result;
    return device == device_handle() && out ? NVML_SUCCESS : NVML_ERROR_INVALID_ARGUMENT;
}

static void format_uuid(const struct wire_device *facts, char text[NVML_DEVICE_UUID_BUFFER_SIZE]) {
    int length = snprintf(text, NVML_DEVICE_UUID_BUFFER_SIZE, "GPU");
    for (int i = 0; i < 16; i++) {
        const char *dash = i == 0 || i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "";
        length += snprintf(text + length, (size_t)(NVML_DEVICE_UUID_BUFFER_SIZE - length), "%s%02x", dash,
                           facts->uuid[i]);
    }
}

static nvmlReturn_t answer_text(char *out, unsigned int length, const char *text) {
    if (strlen(text) >= length)
        return NVML_ERROR_INSUFFICIENT_SIZE;
    strcpy(out, text);
    return NVML_SUCCESS;
}

/* Finding it. */

EXPORT nvmlReturn_t nvmlDeviceGetCount_v2(unsigned int *count) {
    const struct wire_device *facts;
    nvmlReturn_t result = nvml_device(&facts);
    if (result != NVML_SUCCESS)
        return result;
    if (!count)
        return NVML_ERROR_INVALID_ARGUMENT;
    *count = 1;
    return NVML_SUCCESS;
}

EXPORT nvmlReturn_t nvmlDeviceGetCount(unsigned int *count) {
    return nvmlDeviceGetCount_v2(count);
}

EXPORT nvmlReturn_t nvmlDeviceGetHandleByIndex_v2(unsigned int index, nvmlDevice_t *device) {
    const struct wire_device *facts;
    nvmlReturn_t result = nvml_device(&facts);
    if (result != NVML_SUCCESS)
        return result;
    if (!device || index > 0)
        return NVML_ERROR_INVALID_ARGUMENT;
    *device = device_handle();
    return NVML_SUCCESS;
}

EXPORT nvmlReturn_t nvmlDeviceGetHandleByIndex(unsigned int index, nvmlDevice_t *device) {
    return nvmlDeviceGetHandleByIndex_v2(index, device);
}

EXPORT nvmlReturn_t nvmlDeviceGetHandleByUUID(const char *uuid, nvmlDevice_t *device) {
    const struct wire_device *facts;
    char ours[NVML_DEVICE_UUID_BUFFER_SIZE];
    nvmlReturn_t result = nvml_device(&facts);
    if (result != NVML_SUCCESS)
        return result;
    if (!uuid || !device)
        return NVML_ERROR_INVALID_ARGUMENT;
    format_uuid(facts, ours);
    if (strcasecmp(uuid, ours))
        return NVML_ERROR_NOT_FOUND;
    *device = device_handle();
    return NVML_SUCCESS;
}

EXPORT nvmlReturn_t nvmlDeviceGetHandleByPciBusId_v2(const char *bus_id, nvmlDevice_t *device) {
    const struct wire_device *facts;
    unsigned domain, bus, slot;
    nvmlReturn_t result = nvml_device(&facts);
    if (result != NVML_SUCCESS)
        return result;
    if (!bus_id || !device || sscanf(bus_id, "%x:%x:%x", &domain, &bus, &slot) != 3)
        return NVML_ERROR_INVALID_ARGUMENT;
    if (domain != facts->pci_domain || bus != facts->pci_bus || slot != facts->pci_device)
        return NVML_ERROR_NOT_FOUND;
    *device = device_handle();
    return NVML_SUCCESS;
}

EXPORT nvmlReturn_t nvmlDeviceGetHandleByPciBusId(const char *bus_id, nvmlDevice_t *device) {
    return nvmlDeviceGetHandleByPciBusId_v2(bus_id, device);
}

/* What it is. */

EXPORT nvmlReturn_t nvmlDeviceGetIndex(nvmlDevice_t device, unsigned int *index) {
    const struct wire_device *facts;
    nvmlReturn_t result = check_device(device, index, &facts);
    if (result == NVML_SUCCESS)
        *index = 0;
    return result;
}

EXPORT nvmlReturn_t nvmlDeviceGetName(nvmlDevice_t device, char *name, unsigned int length) {
    const struct wire_device *facts;
    nvmlReturn_t result = check_device(device, name, &facts);
    return result == NVML_SUCCESS ? answer_text(name, length, facts->name) : result;
}

EXPORT nvmlReturn_t nvmlDeviceGetUUID(nvmlDevice_t device, char *uuid, unsigned int length) {
    const struct wire_device *facts;
    char text[NVML_DEVICE_UUID_BUFFER_SIZE];
    nvmlReturn_t result = check_device(device, uuid, &facts);
    if (result != NVML_SUCCESS)
        return result;
    format_uuid(facts, text);
    return answer_text(uuid, length, text);
}

EXPORT nvmlReturn_t nvmlDeviceGetPciInfo_v3(nvmlDevice_t device, nvmlPciInfo_t *pci) {
    const struct wire_device *facts;
    nvmlReturn_t result = check_device(device, pci, &facts);
    if (result != NVML_SUCCESS)
        return result;
    memset(pci, 0, sizeof *pci);
    pci->domain = facts->pci_domain;
    pci->bus = facts->pci_bus;
    pci->device = facts->pci_device;
    snprintf(pci->busId, sizeof pci->busId, "%08X:%02X:%02X.0", pci->domain, pci->bus, pci->device);
    snprintf(pci->busIdLegacy, sizeof pci->busIdLegacy, "%04X:%02X:%02X.0", pci->domain & 0xffff,
             pci->bus & 0xff, pci->device & 0x1f);
    return NVML_SUCCESS;
}

EXPORT nvmlReturn_t nvmlDeviceGetCudaComputeCapability(nvmlDevice_t device, int *major, int *minor) {
    const struct wire_device *facts;
    nvmlReturn_t result = check_device(device, major ? minor : NULL, &facts);
    if (result != NVML_SUCCESS)
        return result;
    *major = facts->attributes[CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR];
    *minor = facts->attributes[CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR];
    return NVML_SUCCESS;
}

EXPORT nvmlReturn_t nvmlDeviceGetMemoryBusWidth(nvmlDevice_t device, unsigned int *width) {
    const struct wire_device *facts;
    nvmlReturn_t result = check_device(device, width, &facts);
    if (result == NVML_SUCCESS)
        *width = (unsigned)facts->attributes[CU_DEVICE_ATTRIBUTE_GLOBAL_MEMORY_BUS_WIDTH];
    return result;
}

/* Its memory, over all processes: the host's count. */

static nvmlReturn_t memory_info(nvmlDevice_t device, const void *out, size_t *free_bytes, size_t *total) {
    const struct wire_device *facts;
    nvmlReturn_t result = check_device(device, out, &facts);
    if (result != NVML_SUCCESS)
        return result;
    return forward_cuMemGetInfo_v2(free_bytes, total) == CUDA_SUCCESS ? NVML_SUCCESS : NVML_ERROR_GPU_IS_LOST;
}

EXPORT nvmlReturn_t nvmlDeviceGetMemoryInfo(nvmlDevice_t device, nvmlMemory_t *memory) {
    size_t free_bytes, total;
    nvmlReturn_t result = memory_info(device, memory, &free_bytes, &total);
    if (result == NVML_SUCCESS)
        *memory = (nvmlMemory_t){.total = total, .free = free_bytes, .used = total - free_bytes};
    return result;
}

EXPORT nvmlReturn_t nvmlDeviceGetMemoryInfo_v2(nvmlDevice_t device, nvmlMemory_v2_t *memory) {
    size_t free_bytes, total;
    nvmlReturn_t result = memory_info(device, memory, &free_bytes, &total);
    if (result != NVML_SUCCESS)
        return result;
    if (memory->version != nvmlMemory_v2)
        return NVML_ERROR_ARGUMENT_VERSION_MISMATCH;
    memory->total = total;
    memory->reserved = 0;
    memory->free = free_bytes;
    memory->used = total - free_bytes;
    return NVML_SUCCESS;
}

/* Of the last second, over all processes: kernels, and whatever touched its memory. */
EXPORT nvmlReturn_t nvmlDeviceGetUtilizationRates(nvmlDevice_t device, nvmlUtilization_t *utilization) {
    const struct wire_device *facts;
    nvmlReturn_t result = check_device(device, utilization, &facts);
    if (result != NVML_SUCCESS)
        return result;
    if (wire_utilization(&utilization->gpu, &utilization->memory) != CUDA_SUCCESS)
        return NVML_ERROR_GPU_IS_LOST;
    return NVML_SUCCESS;
}
