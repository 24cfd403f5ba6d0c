/* What the files of libnvidia-ml.so.1 share. */
#ifndef SHIMBENCH_NVML_NVML_H
#define SHIMBENCH_NVML_NVML_H

#include <nvml_prototypes.h>
#include <stdbool.h>

#include "wire/client.h"

/* On the definition of each function of the model, and on nothing else. */
#define EXPORT __attribute__((visibility("default")))

/* Whether nvmlInit was called more often than nvmlShutdown. */
bool nvml_initialized(void);

/* The device's facts in `*facts`. NVML connects to the host at the first question about a device, not
 * in nvmlInit: Ollama's discovery only asks for the driver's version. NVML_ERROR_UNINITIALIZED, or
 * NVML_ERROR_DRIVER_NOT_LOADED when no host answers. */
nvmlReturn_t nvml_device(const struct wire_device **facts);

#endif
