/* The device that is described when no real one is: a built-in profile, then a file, then the
 * environment. The host loads it for the devices count-only and soft, and owns the result; the shim
 * is told over the wire.
 */
#ifndef SHIMBENCH_DEVICE_PROFILE_H
#define SHIMBENCH_DEVICE_PROFILE_H

#include <stddef.h>

#include "wire/protocol.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Fills `device` with compute capability 8.0 and 8 GiB, changed by the lines NAME=VALUE of the file
 * $SHIMBENCH_DEVICE_FILE, then by the environment:
 *
 *   SHIMBENCH_DEVICE_NAME     any text              SHIMBENCH_DEVICE_COMPUTE  8.0
 *   SHIMBENCH_DEVICE_MEMORY   8GiB, 512MiB, bytes   SHIMBENCH_DEVICE_PCI      0000:00:05.0
 *   SHIMBENCH_DEVICE_UUID     32 hexadecimal digits SHIMBENCH_DEVICE_SMS      16
 *
 * Returns 0, or -1 with a sentence in `error`: what is wrong, where, and what was meant. */
int device_profile_load(struct wire_device *device, char *error, size_t error_size);

#ifdef __cplusplus
}
#endif

#endif
