/* The device of the built-in profile, as configured. */

#include "wire/device_profile.h"

#include <cuda.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A device of compute capability 8.0. What the shim does not perform is declined here as well
 * (managed memory, memory pools, host registration): programs ask before they
 * use it. */
static const int32_t profile_8_0[WIRE_ATTRIBUTE_COUNT] = {
    [CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR] = 8,
    [CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR] = 0,
    [CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT] = 16,
    [CU_DEVICE_ATTRIBUTE_WARP_SIZE] = 32,
    [CU_DEVICE_ATTRIBUTE_CLOCK_RATE] = 1410000,        /* kHz */
    [CU_DEVICE_ATTRIBUTE_MEMORY_CLOCK_RATE] = 1215000, /* kHz */
    [CU_DEVICE_ATTRIBUTE_GLOBAL_MEMORY_BUS_WIDTH] = 5120,
    [CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE] = 40 << 20,
    [CU_DEVICE_ATTRIBUTE_TOTAL_CONSTANT_MEMORY] = 64 << 10,

    [CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_BLOCK] = 1024,
    [CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_X] = 1024,
    [CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_Y] = 1024,
    [CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_Z] = 64,
    [CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_X] = 2147483647,
    [CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_Y] = 65535,
    [CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_Z] = 65535,
    [CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_MULTIPROCESSOR] = 2048,
    [CU_DEVICE_ATTRIBUTE_MAX_BLOCKS_PER_MULTIPROCESSOR] = 32,
    [CU_DEVICE_ATTRIBUTE_MAX_REGISTERS_PER_BLOCK] = 65536,
    [CU_DEVICE_ATTRIBUTE_MAX_REGISTERS_PER_MULTIPROCESSOR] = 65536,
    [CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK] = 48 << 10,
    [CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN] = 163 << 10,
    [CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_MULTIPROCESSOR] = 164 << 10,
    [CU_DEVICE_ATTRIBUTE_RESERVED_SHARED_MEMORY_PER_BLOCK] = 1 << 10,
    [CU_DEVICE_ATTRIBUTE_SINGLE_TO_DOUBLE_PRECISION_PERF_RATIO] = 2,

    [CU_DEVICE_ATTRIBUTE_MAX_PITCH] = 2147483647,
    [CU_DEVICE_ATTRIBUTE_TEXTURE_ALIGNMENT] = 512,
    [CU_DEVICE_ATTRIBUTE_TEXTURE_PITCH_ALIGNMENT] = 32,
    [CU_DEVICE_ATTRIBUTE_SURFACE_ALIGNMENT] = 512,
    [CU_DEVICE_ATTRIBUTE_GPU_OVERLAP] = 1,
    [CU_DEVICE_ATTRIBUTE_ASYNC_ENGINE_COUNT] = 1,
    [CU_DEVICE_ATTRIBUTE_CONCURRENT_KERNELS] = 1,
    [CU_DEVICE_ATTRIBUTE_COOPERATIVE_LAUNCH] = 1,
    [CU_DEVICE_ATTRIBUTE_CAN_MAP_HOST_MEMORY] = 1,
    [CU_DEVICE_ATTRIBUTE_UNIFIED_ADDRESSING] = 1,
    [CU_DEVICE_ATTRIBUTE_GLOBAL_L1_CACHE_SUPPORTED] = 1,
    [CU_DEVICE_ATTRIBUTE_LOCAL_L1_CACHE_SUPPORTED] = 1,
    [CU_DEVICE_ATTRIBUTE_VIRTUAL_MEMORY_MANAGEMENT_SUPPORTED] = 1,
    [CU_DEVICE_ATTRIBUTE_NUMA_ID] = -1,
    [CU_DEVICE_ATTRIBUTE_HOST_NUMA_ID] = -1,

    /* Limits of textures and surfaces, as every device from 8.0 on states them. */
    [CU_DEVICE_ATTRIBUTE_MAXIMUM_TEXTURE1D_WIDTH] = 131072,
    [CU_DEVICE_ATTRIBUTE_MAXIMUM_TEXTURE1D_MIPMAPPED_WIDTH] = 32768,
    [CU_DEVICE_ATTRIBUTE_MAXIMUM_TEXTURE1D_LINEAR_WIDTH] = 268435456,
    [CU_DEVICE_ATTRIBUTE_MAXIMUM_TEXTURE1D_LAYERED_WIDTH] = 32768,
    [CU_DEVICE_ATTRIBUTE_MAXIMUM_TEXTURE1D_LAYERED_LAYERS] = 2048,
    [CU_DEVICE_ATTRIBUTE_MAXIMUM_TEXTURE2D_WIDTH] = 131072,
    [CU_DEVICE_ATTRIBUTE_MAXIMUM_TEXTURE2D_HEIGHT] = 65536,
    [CU_DEVICE_ATTRIBUTE_MAXIMUM_TEXTURE2D_LAYERED_WIDTH] = 32768,
    [CU_DEVICE_ATTRIBUTE_MAXIMUM_TEXTURE2D_LAYERED_HEIGHT] = 32768,
    [CU_DEVICE_ATTRIBUTE_MAXIMUM_TEXTURE2D_LAYERED_LAYERS] = 2048,
    [CU_DEVICE_ATTRIBUTE_MAXIMUM_TEXTURE2D_LINEAR_WIDTH] = 131072,
    [CU_DEVICE_ATTRIBUTE_MAXIMUM_TEXTURE2D_LINEAR_HEIGHT] = 65000,
    [CU_DEVICE_ATTRIBUTE_MAXIMUM_TEXTURE2D_LINEAR_PITCH] = 2097120,
    [CU_DEVICE_ATTRIBUTE_MAXIMUM_TEXTURE2D_MIPMAPPED_WIDTH] = 32768,
    [CU_DEVICE_ATTRIBUTE_MAXIMUM_TEXTURE2D_MIPMAPPED_HEIGHT] = 32768,
    [CU_DEVICE_ATTRIBUTE_MAXIMUM_TEXTURE2D_GATHER_WIDTH] = 32768,
    [CU_DEVICE_ATTRIBUTE_MAXIMUM_TEXTURE2D_GATHER_HEIGHT] = 32768,
    [CU_DEVICE_ATTRIBUTE_CAN_TEX2D_GATHER] = 1,
    [CU_DEVICE_ATTRIBUTE_MAXIMUM_TEXTURE3D_WIDTH] = 16384,
    [CU_DEVICE_ATTRIBUTE_MAXIMUM_TEXTURE3D_HEIGHT] = 16384,
    [CU_DEVICE_ATTRIBUTE_MAXIMUM_TEXTURE3D_DEPTH] = 16384,
    [CU_DEVICE_ATTRIBUTE_MAXIMUM_TEXTURE3D_WIDTH_ALTERNATE] = 8192,
    [CU_DEVICE_ATTRIBUTE_MAXIMUM_TEXTURE3D_HEIGHT_ALTERNATE] = 8192,
    [CU_DEVICE_ATTRIBUTE_MAXIMUM_TEXTURE3D_DEPTH_ALTERNATE] = 32768,
    [CU_DEVICE_ATTRIBUTE_MAXIMUM_TEXTURECUBEMAP_WIDTH] = 32768,
    [CU_DEVICE_ATTRIBUTE_MAXIMUM_TEXTURECUBEMAP_LAYERED_WIDTH] = 32768,
    [CU_DEVICE_ATTRIBUTE_MAXIMUM_TEXTURECUBEMAP_LAYERED_LAYERS] = 2046,
    [CU_DEVICE_ATTRIBUTE_MAXIMUM_SURFACE1D_WIDTH] = 32768,
    [CU_DEVICE_ATTRIBUTE_MAXIMUM_SURFACE1D_LAYERED_WIDTH] = 32768,
    [CU_DEVICE_ATTRIBUTE_MAXIMUM_SURFACE1D_LAYERED_LAYERS] = 2048,
    [CU_DEVICE_ATTRIBUTE_MAXIMUM_SURFACE2D_WIDTH] = 131072,
    [CU_DEVICE_ATTRIBUTE_MAXIMUM_SURFACE2D_HEIGHT] = 65536,
    [CU_DEVICE_ATTRIBUTE_MAXIMUM_SURFACE2D_LAYERED_WIDTH] = 32768,
    [CU_DEVICE_ATTRIBUTE_MAXIMUM_SURFACE2D_LAYERED_HEIGHT] = 32768,
    [CU_DEVICE_ATTRIBUTE_MAXIMUM_SURFACE2D_LAYERED_LAYERS] = 2048,
    [CU_DEVICE_ATTRIBUTE_MAXIMUM_SURFACE3D_WIDTH] = 16384,
    [CU_DEVICE_ATTRIBUTE_MAXIMUM_SURFACE3D_HEIGHT] = 16384,
    [CU_DEVICE_ATTRIBUTE_MAXIMUM_SURFACE3D_DEPTH] = 16384,
    [CU_DEVICE_ATTRIBUTE_MAXIMUM_SURFACECUBEMAP_WIDTH] = 32768,
    [CU_DEVICE_ATTRIBUTE_MAXIMUM_SURFACECUBEMAP_LAYERED_WIDTH] = 32768,
    [CU_DEVICE_ATTRIBUTE_MAXIMUM_SURFACECUBEMAP_LAYERED_LAYERS] = 2046,
};

static const uint8_t default_uuid[16] = {'s', 'h', 'i', 'm', 'b', 'e', 'n', 'c',
                                         'h', 0,   's', 'o', 'f', 't', 0,   0};

static int set_name(struct wire_device *device, const char *value) {
    if (!*value || strlen(value) >= sizeof device->name)
        return -1;
    strcpy(device->name, value);
    return 0;
}

static int set_compute(struct wire_device *device, const char *value) {
    int major, minor, end = 0;
    if (sscanf(value, "%d.%d%n", &major, &minor, &end) != 2 || value[end] || major < 1 || minor < 0)
        return -1;
    device->attributes[CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR] = major;
    device->attributes[CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR] = minor;
    return 0;
}

static int set_memory(struct wire_device *device, const char *value) {
    char *unit;
    errno = 0;
    unsigned long long number = strtoull(value, &unit, 10);
    int shift = 0;
    if (!strcmp(unit, "GiB"))
        shift = 30;
    else if (!strcmp(unit, "MiB"))
        shift = 20;
    else if (*unit)
        return -1;
    if (errno || !number || number > (UINT64_MAX >> shift) || value[0] == '-')
        return -1;
    device->memory_bytes = (uint64_t)number << shift;
    return 0;
}

static int set_pci(struct wire_device *device, const char *value) {
    unsigned domain, bus, slot, function;
    int end = 0;
    if (sscanf(value, "%x:%x:%x.%x%n", &domain, &bus, &slot, &function, &end) != 4 || value[end] ||
        domain > 0xffff || bus > 0xff || slot > 0x1f || function > 7)
        return -1;
    device->pci_domain = domain;
    device->pci_bus = bus;
    device->pci_device = slot;
    return 0;
}

static int set_uuid(struct wire_device *device, const char *value) {
    uint8_t uuid[16];
    if (!strncmp(value, "GPU-", 4))
        value += 4;
    for (int i = 0; i < 16; i++) {
        while (*value == '-')
            value++;
        unsigned byte;
        int end = 0;
        if (sscanf(value, "%2x%n", &byte, &end) != 1 || end != 2)
            return -1;
        uuid[i] = (uint8_t)byte;
        value += 2;
    }
    if (*value)
        return -1;
    memcpy(device->uuid, uuid, sizeof uuid);
    return 0;
}

static int set_sms(struct wire_device *device, const char *value) {
    int count, end = 0;
    if (sscanf(value, "%d%n", &count, &end) != 1 || value[end] || count < 1)
        return -1;
    device->attributes[CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT] = count;
    return 0;
}

static const struct setting {
    const char *name;
    int (*set)(struct wire_device *device, const char *value);
    const char *meant;
} settings[] = {
    {"SHIMBENCH_DEVICE_NAME", set_name, "a text of at most 95 bytes"},
    {"SHIMBENCH_DEVICE_COMPUTE", set_compute, "a compute capability such as 8.0"},
    {"SHIMBENCH_DEVICE_MEMORY", set_memory, "a size such as 8GiB, 512MiB or a number of bytes"},
    {"SHIMBENCH_DEVICE_PCI", set_pci, "an address such as 0000:00:05.0"},
    {"SHIMBENCH_DEVICE_UUID", set_uuid, "32 hexadecimal digits, dashes allowed"},
    {"SHIMBENCH_DEVICE_SMS", set_sms, "a number of multiprocessors"},
};
enum { SETTINGS = sizeof settings / sizeof *settings };

static int apply(struct wire_device *device, const char *name, const char *value, const char *where,
                 char *error, size_t error_size) {
    for (int i = 0; i < SETTINGS; i++)
        if (!strcmp(name, settings[i].name)) {
            if (!settings[i].set(device, value))
                return 0;
            snprintf(error, error_size, "%s: %s=%s: expected %s", where, name, value, settings[i].meant);
            return -1;
        }
    snprintf(error, error_size,
             "%s: %s is no setting; there are SHIMBENCH_DEVICE_NAME, _COMPUTE, _MEMORY, _PCI, _UUID, _SMS",
             where, name);
    return -1;
}

static int apply_file(struct wire_device *device, const char *path, char *error, size_t error_size) {
    FILE *file = fopen(path, "re");
    if (!file) {
        snprintf(error, error_size, "SHIMBENCH_DEVICE_FILE=%s: %s", path, strerror(errno));
        return -1;
    }
    char line[512], where[512];
    int result = 0;
    for (int number = 1; !result && fgets(line, sizeof line, file); number++) {
        line[strcspn(line, "\r\n")] = 0;
        if (!line[0] || line[0] == '#')
            continue;
        char *value = strchr(line, '=');
        if (value)
            *value++ = 0;
        snprintf(where, sizeof where, "%.400s:%d", path, number);
        result = apply(device, line, value ? value : "", where, error, error_size);
    }
    fclose(file);
    return result;
}

int device_profile_load(struct wire_device *device, char *error, size_t error_size) {
    memset(device, 0, sizeof *device);
    strcpy(device->name, "shimbench software GPU");
    memcpy(device->uuid, default_uuid, sizeof device->uuid);
    memcpy(device->attributes, profile_8_0, sizeof device->attributes);
    device->memory_bytes = (uint64_t)8 << 30;
    device->granularity = 2 << 20;
    device->pci_device = 5;

    const char *file = getenv("SHIMBENCH_DEVICE_FILE");
    if (file && *file && apply_file(device, file, error, error_size))
        return -1;
    for (int i = 0; i < SETTINGS; i++) {
        const char *value = getenv(settings[i].name);
        if (value && apply(device, settings[i].name, value, "environment", error, error_size))
            return -1;
    }
    device->attributes[CU_DEVICE_ATTRIBUTE_PCI_DOMAIN_ID] = (int32_t)device->pci_domain;
    device->attributes[CU_DEVICE_ATTRIBUTE_PCI_BUS_ID] = (int32_t)device->pci_bus;
    device->attributes[CU_DEVICE_ATTRIBUTE_PCI_DEVICE_ID] = (int32_t)device->pci_device;
    return 0;
}
