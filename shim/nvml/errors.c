/* A sentence for each error. */
#include "nvml/nvml.h"

static const struct error {
    nvmlReturn_t code;
    const char *text;
} errors[] = {
    /* clang-format off */
    {NVML_SUCCESS, "the operation was successful"},
    {NVML_ERROR_UNINITIALIZED, "NVML was not initialized with nvmlInit()"},
    {NVML_ERROR_INVALID_ARGUMENT, "a supplied argument is invalid"},
    {NVML_ERROR_NOT_SUPPORTED, "the requested operation is not available on the target device"},
    {NVML_ERROR_NO_PERMISSION, "the current user has no permission for the operation"},
    {NVML_ERROR_ALREADY_INITIALIZED, "NVML was initialized already"},
    {NVML_ERROR_NOT_FOUND, "nothing was found"},
    {NVML_ERROR_INSUFFICIENT_SIZE, "an input argument is not large enough"},
    {NVML_ERROR_INSUFFICIENT_POWER, "a device's external power cables are not properly attached"},
    {NVML_ERROR_DRIVER_NOT_LOADED, "the driver is not loaded: no shimbench-host answers"},
    {NVML_ERROR_TIMEOUT, "the time given by the user has passed"},
    {NVML_ERROR_IRQ_ISSUE, "there is an interrupt issue with a device"},
    {NVML_ERROR_LIBRARY_NOT_FOUND, "a library could not be found or loaded"},
    {NVML_ERROR_FUNCTION_NOT_FOUND, "this version of NVML does not have the function"},
    {NVML_ERROR_CORRUPTED_INFOROM, "the infoROM is corrupted"},
    {NVML_ERROR_GPU_IS_LOST, "the device cannot be reached any more"},
    {NVML_ERROR_RESET_REQUIRED, "the device must be reset first"},
    {NVML_ERROR_OPERATING_SYSTEM, "the operating system blocked the request"},
    {NVML_ERROR_LIB_RM_VERSION_MISMATCH, "library and driver are of different versions"},
    {NVML_ERROR_IN_USE, "the device is in use"},
    {NVML_ERROR_MEMORY, "there is not enough memory"},
    {NVML_ERROR_NO_DATA, "there is no data"},
    {NVML_ERROR_VGPU_ECC_NOT_SUPPORTED, "the operation is not available while ECC is enabled"},
    {NVML_ERROR_INSUFFICIENT_RESOURCES, "a resource other than memory has run out"},
    {NVML_ERROR_FREQ_NOT_SUPPORTED, "the frequency is not available"},
    {NVML_ERROR_ARGUMENT_VERSION_MISMATCH, "the version of an argument is not known"},
    {NVML_ERROR_DEPRECATED, "the operation is deprecated"},
    {NVML_ERROR_NOT_READY, "the system is not ready"},
    {NVML_ERROR_GPU_NOT_FOUND, "no device was found"},
    {NVML_ERROR_INVALID_STATE, "the resource is in the wrong state"},
    {NVML_ERROR_RESET_TYPE_NOT_SUPPORTED, "the reset is not available for the device"},
    {NVML_ERROR_UNKNOWN, "unknown error"},
    /* clang-format on */
};

EXPORT const char *nvmlErrorString(nvmlReturn_t result) {
    for (size_t i = 0; i < sizeof errors / sizeof *errors; i++)
        if (errors[i].code == result)
            return errors[i].text;
    return "unknown error";
}
