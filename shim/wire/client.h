/* The client end of the wire, as the shim sees it. Calls are forwarded by the functions that
 * build/api/forward.h declares: `CUresult forward_<export>(<same parameters>)`.
 *
 * All of it may be called from any thread. After a fork the child is not connected; it may connect
 * anew. Nothing here is called from a signal handler.
 */
#ifndef SHIMBENCH_WIRE_CLIENT_H
#define SHIMBENCH_WIRE_CLIENT_H

#include <cuda_prototypes.h>
#include <stdbool.h>
#include <stdint.h>

#include "wire/protocol.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Connects this process to the host listening at `socket_path`, once; later calls answer the same.
 * CUDA_SUCCESS; CUDA_ERROR_SYSTEM_NOT_READY (802) when no host answers there;
 * CUDA_ERROR_SYSTEM_DRIVER_MISMATCH (803) when it speaks another protocol;
 * CUDA_ERROR_DEVICE_UNAVAILABLE (46) when it refuses for another reason; CUDA_ERROR_OUT_OF_MEMORY.
 * wire_error() has the sentence; nothing is printed. */
CUresult wire_connect(const char *socket_path);

/* Whether this process is connected and the worker was alive when last looked at. */
bool wire_connected(void);

/* Why the last wire_connect failed or the connection broke; "" when neither did. */
const char *wire_error(void);

/* What the device is; NULL while not connected. Lives until the process ends. */
const struct wire_device *wire_device(void);

/* The context that is current in the calling thread, as the host made it (0: the primary one). Sent
 * along with each call; kept here so that cuCtxSetCurrent needs no round trip. */
void wire_set_context(CUcontext context);

/* Whether `address` is pinned host memory of ours, which lies at the same address in the host. */
bool wire_is_pinned(const void *address);

/* Whether `address` lies in the device's range. */
bool wire_is_device(CUdeviceptr address);

/* Percent of the last second in which the device was at work, for all clients: with kernels, and with
 * whatever touches its memory. */
CUresult wire_utilization(unsigned *kernels, unsigned *memory);

/* Brings what kernels have printed by now to stdout: where the program has waited for the device. */
void wire_pass_on_printed(void);

/* How many bytes of it the host keeps until then, the newest. */
void wire_keep_printed(size_t bytes);

/* One empty round trip; for tests and benchmarks. */
CUresult wire_ping(void);

#ifdef __cplusplus
}
#endif
#endif
