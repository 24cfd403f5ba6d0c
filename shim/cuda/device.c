/* Devices: what they are is told by the host when cuInit connects, and does not change after that. */
#include <stdio.h>
#include <string.h>

#include "cuda/init.h"
#include "cuda/shim.h"

enum { DEVICE_COUNT = 1 }; /* a host serves one device */

static CUresult check_device(CUdevice dev, const void *out) {
    if (!driver_initialized())
        return CUDA_ERROR_NOT_INITIALIZED;
    if (dev < 0 || dev >= DEVICE_COUNT || !wire_device())
        return CUDA_ERROR_INVALID_DEVICE;
    return out ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

EXPORT CUresult cuDeviceGetCount(int *count) {
    if (!driver_initialized())
        return CUDA_ERROR_NOT_INITIALIZED;
    if (!count)
        return CUDA_ERROR_INVALID_VALUE;
    *count = DEVICE_COUNT;
    return CUDA_SUCCESS;
}

EXPORT CUresult cuDeviceGet(CUdevice *device, int ordinal) {
    CUresult result = check_device(ordinal, device);
    if (result == CUDA_SUCCESS)
        *device = ordinal;
    return result;
}

EXPORT CUresult cuDeviceGetName(char *name, int len, CUdevice dev) {
    CUresult result = check_device(dev, name);
    if (result != CUDA_SUCCESS)
        return result;
    if (len <= 0)
        return CUDA_ERROR_INVALID_VALUE;
    snprintf(name, (size_t)len, "%s", wire_device()->name);
    return CUDA_SUCCESS;
}

EXPORT CUresult cuDeviceGetUuid(CUuuid *uuid, CUdevice dev) {
    CUresult result = check_device(dev, uuid);
    if (result == CUDA_SUCCESS)
        memcpy(uuid->bytes, wire_device()->uuid, sizeof uuid->bytes);
    return result;
}

EXPORT CUresult cuDeviceGetUuid_v2(CUuuid *uuid, CUdevice dev) {
    return cuDeviceGetUuid(uuid, dev);
}

EXPORT CUresult cuDeviceTotalMem_v2(size_t *bytes, CUdevice dev) {
    CUresult result = check_device(dev, bytes);
    if (result == CUDA_SUCCESS)
        *bytes = wire_device()->memory_bytes;
    return result;
}

EXPORT CUresult cuDeviceGetAttribute(int *pi, CUdevice_attribute attrib, CUdevice dev) {
    CUresult result = check_device(dev, pi);
    if (result != CUDA_SUCCESS)
        return result;
    if ((int)attrib < 1 || attrib >= CU_DEVICE_ATTRIBUTE_MAX)
        return CUDA_ERROR_INVALID_VALUE;
    *pi = wire_device()->attributes[attrib];
    return CUDA_SUCCESS;
}

EXPORT CUresult cuDeviceComputeCapability(int *major, int *minor, CUdevice dev) {
    CUresult result = check_device(dev, major);
    if (result != CUDA_SUCCESS)
        return result;
    *major = wire_device()->attributes[CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR];
    return cuDeviceGetAttribute(minor, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR, dev);
}

EXPORT CUresult cuDeviceGetPCIBusId(char *pci_bus_id, int len, CUdevice dev) {
    CUresult result = check_device(dev, pci_bus_id);
    if (result != CUDA_SUCCESS)
        return result;
    if (len <= 0)
        return CUDA_ERROR_INVALID_VALUE;
    const struct wire_device *device = wire_device();
    snprintf(pci_bus_id, (size_t)len, "%04x:%02x:%02x.0", device->pci_domain, device->pci_bus,
             device->pci_device);
    return CUDA_SUCCESS;
}

EXPORT CUresult cuDeviceGetByPCIBusId(CUdevice *dev, const char *pci_bus_id) {
    unsigned domain = 0, bus, slot, function = 0;
    CUresult result = check_device(0, dev);
    if (result != CUDA_SUCCESS)
        return result;
    if (!pci_bus_id || (sscanf(pci_bus_id, "%x:%x:%x.%x", &domain, &bus, &slot, &function) < 3 &&
                        (domain = 0, sscanf(pci_bus_id, "%x:%x.%x", &bus, &slot, &function) < 2)))
        return CUDA_ERROR_INVALID_VALUE;
    const struct wire_device *device = wire_device();
    if (domain != device->pci_domain || bus != device->pci_bus || slot != device->pci_device)
        return CUDA_ERROR_INVALID_DEVICE;
    *dev = 0;
    return CUDA_SUCCESS;
}

EXPORT CUresult cuDeviceCanAccessPeer(int *can_access_peer, CUdevice dev, CUdevice peer_dev) {
    CUresult result = check_device(peer_dev, can_access_peer);
    if (result == CUDA_SUCCESS)
        result = check_device(dev, can_access_peer);
    if (result == CUDA_SUCCESS)
        *can_access_peer = 0;
    return result;
}
