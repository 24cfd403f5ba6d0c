/* The VDPAU types that cudaVDPAU.h names, so that no VDPAU headers need be installed. */
#ifndef SHIMBENCH_VDPAU_H
#define SHIMBENCH_VDPAU_H
#include <stdint.h>
typedef uint32_t VdpDevice;
typedef uint32_t VdpFuncId;
typedef uint32_t VdpStatus;
typedef uint32_t VdpVideoSurface;
typedef uint32_t VdpOutputSurface;
typedef VdpStatus VdpGetProcAddress(VdpDevice device, VdpFuncId function_id, void **function_pointer);
#endif
