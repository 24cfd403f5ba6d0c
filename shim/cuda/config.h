/* What the environment says about the shim itself. What the device is, the host says. */
#ifndef SHIMBENCH_CUDA_CONFIG_H
#define SHIMBENCH_CUDA_CONFIG_H

#include <stddef.h>

/* The host's socket: $SHIMBENCH_HOST (unix:/path or /path), else
 * $XDG_RUNTIME_DIR/shimbench/host.sock, else /tmp/shimbench-UID/host.sock. */
void config_host_socket(char *path, size_t size);

/* What cuDriverGetVersion answers, as 13050: $SHIMBENCH_DRIVER_VERSION (13.5 or 13050), else the
 * version of the headers this was built with. */
int config_driver_version(void);

/* The driver's release as NVML shows it: $SHIMBENCH_DRIVER_RELEASE, else one that belongs to CUDA 13. */
const char *config_driver_release(void);

#endif
