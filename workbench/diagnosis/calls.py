"""A call as the rules see it, and which calls they ask for."""

from __future__ import annotations

from dataclasses import dataclass

from sessions.decode import INTERNAL, UNRETURNED

#: Kept even when they succeed.
WATCHED = (
    "cuInit",
    "cuDriverGetVersion",
    "cuDeviceGetCount",
    "cuDeviceGet",
    "cuDeviceGetName",
    "cuDeviceGetUuid",
    "cuDeviceGetUuid_v2",
    "cuDeviceGetPCIBusId",
    "cuDeviceTotalMem",
    "cuDeviceTotalMem_v2",
    "cuGetExportTable",
    "cuMemGetInfo_v2",
    "cuDevicePrimaryCtxRetain",
    "cuCtxCreate_v2",
    "cuCtxCreate_v3",
    "cuCtxCreate_v4",
    "cuMemAlloc_v2",
    "cuMemAllocAsync",
    "cuMemHostAlloc",
    "cuMemCreate",
    "cuMemAddressReserve",
    "cuStreamCreate",
    "cuEventCreate",
    "cuModuleLoadData",
    "cuLibraryLoadData",
    "cuModuleGetFunction",
    "cuLibraryGetKernel",
    "cuKernelGetFunction",
    "cuGraphInstantiateWithFlags",
    "cuStreamBeginCapture",
    "cuStreamBeginCapture_v2",
    "cuStreamEndCapture",
    "nvmlInit",
    "nvmlInit_v2",
    "nvmlInitWithFlags",
    "nvmlSystemGetDriverVersion",
    "nvmlSystemGetCudaDriverVersion",
    "nvmlSystemGetCudaDriverVersion_v2",
    "nvmlDeviceGetCount",
    "nvmlDeviceGetCount_v2",
)
#: Attributes of a device that rules ask for: multiprocessors, PCI bus, device and domain, the capability.
ATTRIBUTES = {
    "multiprocessors": 16,
    "pci_bus": 33,
    "pci_device": 34,
    "pci_domain": 50,
    "major": 75,
    "minor": 76,
}
LAUNCHES = ("cuLaunchKernel", "cuLaunchKernelEx", "cuLaunchCooperativeKernel", "cuGraphLaunch")
PROC_ADDRESS = ("cuGetProcAddress", "cuGetProcAddress_v2", "cuGetProcAddress_v2_ptsz")
INTEGRITY_TABLE = "d4082055-bde6-704b-8d34-ba123c66e1f2"


@dataclass(frozen=True)
class Call:
    """A call by its row, with what rules ask most. Times in ns."""

    row: int
    name: str
    function: int
    process: int
    thread: int
    time: int
    duration: int
    result: int
    flags: int
    payload: int = 0
    caller: int = 0

    @property
    def returned(self) -> bool:
        return not self.flags & UNRETURNED

    @property
    def own(self) -> bool:
        """The shim's call of itself."""
        return bool(self.flags & INTERNAL)


@dataclass
class Lookups:
    """cuGetProcAddress of one process: how often asked, how often it failed."""

    asked: int = 0
    failed: int = 0
    first_failed: int = -1
