// A device in host RAM: memory, streams, events, modules and graphs are performed here, in the order in
// which they are asked for; kernels are handed to an engine (which counts them, or executes them).
#pragma once

#include <chrono>
#include <map>
#include <optional>
#include <string>
#include <unordered_map>
#include <variant>
#include <vector>

#include "device/address_space.hpp"
#include "device/device.hpp"
#include "soft/fatbin.hpp"
#include "soft/kernels.hpp"

namespace shimbench {

// The code of one cuLibraryLoadData or cuModuleLoadData. Unpacked when a kernel is first looked for.
struct Module {
    std::vector<std::byte> image;
    std::vector<soft::CodeEntry> entries;
    std::string code; // PTX or cubin, whichever `kind` says
    soft::CodeKind kind = soft::CodeKind::Ptx;
    std::uint32_t arch = 0; // that the code is for
    bool unpacked = false;
    bool library = false;
    std::uint64_t context = 0;
    std::uint64_t handle = 0;
    std::unordered_map<std::string, std::uint64_t> kernels;
    // Device memory of zeros for its variables, which goes with the module; 0: there is not enough.
    std::function<std::uint64_t(std::uint64_t bytes)> memory;
    std::uint64_t variables = 0; // what `memory` gave
    // The device's bytes at an address, when all of them may be touched; else NULL.
    std::function<std::byte *(std::uint64_t address, std::uint64_t bytes)> touch;
    // What is wrong with touching them; empty when nothing is.
    std::function<std::string(std::uint64_t address, std::uint64_t bytes)> memory_check;
};

// A variable of a module, where programs on either side find it.
struct ModuleVariable {
    std::uint64_t address = 0;
    std::uint64_t bytes = 0;
};

// A kernel that was looked up. Its handle serves as CUkernel and as CUfunction.
struct Kernel {
    soft::KernelFacts facts;
    std::uint64_t module;
    std::uint32_t max_dynamic_shared;
    std::int32_t carveout = -1;
    std::uint64_t launches = 0;
};

// What runs kernels. `run` is not set on a device that only counts them.
struct KernelEngine {
    std::function<CUresult(const Module &, const Kernel &, const wire_launch &, std::span<const std::byte>)>
        run;
    // Lets go of what was kept for a module, by its handle. May be empty.
    std::function<void(std::uint64_t)> unload;
    // Finds a variable by its name. Empty on a device that only counts.
    std::function<CUresult(const Module &, const std::string &, ModuleVariable &)> variable;
    // Says that a kernel can't be had: its name, the result its program gets, and why. May be empty.
    std::function<void(const std::string &, CUresult, const std::string &)> refused;
    // Says the same of a whole module. May be empty.
    std::function<void(CUresult, const std::string &)> module_refused;
    // See Device::rest. May be empty.
    std::function<bool(bool)> rest;
};

struct LaunchOperation {
    wire_launch launch;
    std::vector<std::byte> parameters;
};

struct CopyOperation {
    std::uint64_t target, source, bytes;
};

// `height` rows of `width` elements of `element` bytes, `pitch` bytes apart.
struct FillOperation {
    std::uint64_t target, pitch, width, height;
    std::uint32_t value, element;
};

using Operation = std::variant<LaunchOperation, CopyOperation, FillOperation>;

// A captured or copied graph. Captured streams run in order here, so the order of capture is an order
// that every dependency allows.
struct Graph {
    std::vector<Operation> operations;
    std::vector<std::uint64_t> nodes; // handles
};

// While it lives, the device is at work.
class Working {
  public:
    Working(const std::function<void(bool, bool)> &works, bool kernel) : works_(works), kernel_(kernel) {
        if (works_)
            works_(kernel_, true);
    }
    ~Working() {
        if (works_)
            works_(kernel_, false);
    }
    Working(const Working &) = delete;

  private:
    const std::function<void(bool, bool)> &works_;
    const bool kernel_;
};

class EmulatedDevice final : public Device {
  public:
    EmulatedDevice(const wire_device &facts, const AddressRange &range, MemoryShare share,
                   KernelEngine engine);

    bool in_order() const override { return true; }
    const wire_device &facts() const override { return facts_; }
    DeviceUse use() const override;
    std::uint32_t captures() const override { return captures_; }
    bool rest(bool last) override { return engine_.rest && engine_.rest(last); }

    CUresult load(wire_load_kind kind, std::vector<std::byte> image, std::uint64_t &handle,
                  std::string &log) override;
    CUresult parameter_layout(std::uint64_t function, ParameterLayout &layout) override;
    CUresult launch(const wire_launch &launch, std::span<const std::byte> parameters) override;
    CUresult write(std::uint64_t target, std::span<const std::byte> bytes, std::uint64_t stream) override;
    CUresult read(std::span<std::byte> target, std::uint64_t source, std::uint64_t stream) override;
    CUresult window(std::uint64_t address, std::uint64_t bytes, std::uint64_t stream,
                    std::uint64_t &offset) override;
    CUresult copy(std::uint64_t target, std::uint64_t source, std::uint64_t bytes,
                  std::uint64_t stream) override;
    CUresult synchronize(wire_synchronize_kind kind, std::uint64_t handle) override;
    CUresult pointer_attribute(CUpointer_attribute attribute, std::uint64_t address,
                               std::uint64_t &value) override;
    CUresult graph_nodes(std::uint64_t graph, std::vector<std::uint64_t> &nodes) override;

    // Contexts: emulated_memory.cpp
    CUresult cuDevicePrimaryCtxRetain(CUcontext *pctx, CUdevice dev) override;
    CUresult cuDevicePrimaryCtxRelease_v2(CUdevice dev) override;
    CUresult cuDevicePrimaryCtxReset_v2(CUdevice dev) override;
    CUresult cuCtxCreate_v2(CUcontext *pctx, unsigned int flags, CUdevice dev) override;
    CUresult cuCtxDestroy_v2(CUcontext ctx) override;

    // Memory: emulated_memory.cpp
    CUresult cuMemGetInfo_v2(size_t *free, size_t *total) override;
    CUresult cuMemAlloc_v2(CUdeviceptr *dptr, size_t bytesize) override;
    CUresult cuMemAllocPitch_v2(CUdeviceptr *dptr, size_t *pPitch, size_t WidthInBytes, size_t Height,
                                unsigned int ElementSizeBytes) override;
    CUresult cuMemAllocAsync(CUdeviceptr *dptr, size_t bytesize, CUstream hStream) override;
    CUresult cuMemFree_v2(CUdeviceptr dptr) override;
    CUresult cuMemFreeAsync(CUdeviceptr dptr, CUstream hStream) override;
    CUresult cuMemGetAddressRange_v2(CUdeviceptr *pbase, size_t *psize, CUdeviceptr dptr) override;
    CUresult cuMemHostAlloc(void **pp, size_t bytesize, unsigned int Flags) override;
    CUresult cuMemFreeHost(void *p) override;
    CUresult cuMemHostGetFlags(unsigned int *pFlags, void *p) override;
    CUresult cuMemAddressReserve(CUdeviceptr *ptr, size_t size, size_t alignment, CUdeviceptr addr,
                                 unsigned long long flags) override;
    CUresult cuMemAddressFree(CUdeviceptr ptr, size_t size) override;
    CUresult cuMemCreate(CUmemGenericAllocationHandle *handle, size_t size, const CUmemAllocationProp *prop,
                         unsigned long long flags) override;
    CUresult cuMemRelease(CUmemGenericAllocationHandle handle) override;
    CUresult cuMemMap(CUdeviceptr ptr, size_t size, size_t offset, CUmemGenericAllocationHandle handle,
                      unsigned long long flags) override;
    CUresult cuMemUnmap(CUdeviceptr ptr, size_t size) override;
    CUresult cuMemSetAccess(CUdeviceptr ptr, size_t size, const CUmemAccessDesc *desc, size_t count) override;
    CUresult cuMemGetAccess(unsigned long long *flags, const CUmemLocation *location,
                            CUdeviceptr ptr) override;
    CUresult cuMemsetD8_v2(CUdeviceptr dstDevice, unsigned char uc, size_t N) override;
    CUresult cuMemsetD16_v2(CUdeviceptr dstDevice, unsigned short us, size_t N) override;
    CUresult cuMemsetD32_v2(CUdeviceptr dstDevice, unsigned int ui, size_t N) override;
    CUresult cuMemsetD8Async(CUdeviceptr dstDevice, unsigned char uc, size_t N, CUstream hStream) override;
    CUresult cuMemsetD16Async(CUdeviceptr dstDevice, unsigned short us, size_t N, CUstream hStream) override;
    CUresult cuMemsetD32Async(CUdeviceptr dstDevice, unsigned int ui, size_t N, CUstream hStream) override;
    CUresult cuMemsetD2D8_v2(CUdeviceptr dstDevice, size_t dstPitch, unsigned char uc, size_t Width,
                             size_t Height) override;
    CUresult cuMemsetD2D16_v2(CUdeviceptr dstDevice, size_t dstPitch, unsigned short us, size_t Width,
                              size_t Height) override;
    CUresult cuMemsetD2D32_v2(CUdeviceptr dstDevice, size_t dstPitch, unsigned int ui, size_t Width,
                              size_t Height) override;
    CUresult cuMemsetD2D8Async(CUdeviceptr dstDevice, size_t dstPitch, unsigned char uc, size_t Width,
                               size_t Height, CUstream hStream) override;
    CUresult cuMemsetD2D16Async(CUdeviceptr dstDevice, size_t dstPitch, unsigned short us, size_t Width,
                                size_t Height, CUstream hStream) override;
    CUresult cuMemsetD2D32Async(CUdeviceptr dstDevice, size_t dstPitch, unsigned int ui, size_t Width,
                                size_t Height, CUstream hStream) override;

    // Streams and events: emulated_stream.cpp
    CUresult cuStreamCreate(CUstream *phStream, unsigned int Flags) override;
    CUresult cuStreamCreateWithPriority(CUstream *phStream, unsigned int flags, int priority) override;
    CUresult cuStreamDestroy_v2(CUstream hStream) override;
    CUresult cuStreamGetPriority(CUstream hStream, int *priority) override;
    CUresult cuStreamGetFlags(CUstream hStream, unsigned int *flags) override;
    CUresult cuStreamGetId(CUstream hStream, unsigned long long *streamId) override;
    CUresult cuStreamWaitEvent(CUstream hStream, CUevent hEvent, unsigned int Flags) override;
    CUresult cuStreamBeginCapture_v2(CUstream hStream, CUstreamCaptureMode mode) override;
    CUresult cuStreamEndCapture(CUstream hStream, CUgraph *phGraph) override;
    CUresult cuStreamIsCapturing(CUstream hStream, CUstreamCaptureStatus *captureStatus) override;
    CUresult cuStreamGetCaptureInfo(CUstream hStream, CUstreamCaptureStatus *captureStatus_out,
                                    cuuint64_t *id_out) override;
    CUresult cuEventCreate(CUevent *phEvent, unsigned int Flags) override;
    CUresult cuEventDestroy_v2(CUevent hEvent) override;
    CUresult cuEventRecord(CUevent hEvent, CUstream hStream) override;
    CUresult cuEventRecordWithFlags(CUevent hEvent, CUstream hStream, unsigned int flags) override;
    CUresult cuEventElapsedTime(float *pMilliseconds, CUevent hStart, CUevent hEnd) override;

    // Modules, kernels, occupancy: emulated_module.cpp
    CUresult cuLibraryUnload(CUlibrary library) override;
    CUresult cuLibraryGetKernel(CUkernel *pKernel, CUlibrary library, const char *name) override;
    CUresult cuLibraryGetModule(CUmodule *pMod, CUlibrary library) override;
    CUresult cuLibraryGetGlobal(CUdeviceptr *dptr, size_t *bytes, CUlibrary library,
                                const char *name) override;
    CUresult cuLibraryGetKernelCount(unsigned int *count, CUlibrary lib) override;
    CUresult cuModuleUnload(CUmodule hmod) override;
    CUresult cuModuleGetFunction(CUfunction *hfunc, CUmodule hmod, const char *name) override;
    CUresult cuModuleGetFunctionCount(unsigned int *count, CUmodule mod) override;
    CUresult cuModuleGetGlobal_v2(CUdeviceptr *dptr, size_t *bytes, CUmodule hmod, const char *name) override;
    CUresult cuKernelGetFunction(CUfunction *pFunc, CUkernel kernel) override;
    CUresult cuKernelGetAttribute(int *pi, CUfunction_attribute attrib, CUkernel kernel,
                                  CUdevice dev) override;
    CUresult cuKernelSetAttribute(CUfunction_attribute attrib, int val, CUkernel kernel,
                                  CUdevice dev) override;
    CUresult cuKernelGetParamInfo(CUkernel kernel, size_t paramIndex, size_t *paramOffset,
                                  size_t *paramSize) override;
    CUresult cuFuncGetAttribute(int *pi, CUfunction_attribute attrib, CUfunction hfunc) override;
    CUresult cuFuncSetAttribute(CUfunction hfunc, CUfunction_attribute attrib, int value) override;
    CUresult cuFuncGetParamInfo(CUfunction func, size_t paramIndex, size_t *paramOffset,
                                size_t *paramSize) override;
    CUresult cuFuncGetModule(CUmodule *hmod, CUfunction hfunc) override;
    CUresult cuOccupancyMaxActiveBlocksPerMultiprocessor(int *numBlocks, CUfunction func, int blockSize,
                                                         size_t dynamicSMemSize) override;
    CUresult cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(int *numBlocks, CUfunction func,
                                                                  int blockSize, size_t dynamicSMemSize,
                                                                  unsigned int flags) override;
    CUresult cuOccupancyAvailableDynamicSMemPerBlock(size_t *dynamicSmemSize, CUfunction func, int numBlocks,
                                                     int blockSize) override;

    // Graphs: emulated_graph.cpp
    CUresult cuGraphCreate(CUgraph *phGraph, unsigned int flags) override;
    CUresult cuGraphClone(CUgraph *phGraphClone, CUgraph originalGraph) override;
    CUresult cuGraphDestroy(CUgraph hGraph) override;
    CUresult cuGraphNodeGetType(CUgraphNode hNode, CUgraphNodeType *type) override;
    CUresult cuGraphInstantiateWithFlags(CUgraphExec *phGraphExec, CUgraph hGraph,
                                         unsigned long long flags) override;
    CUresult cuGraphExecUpdate_v2(CUgraphExec hGraphExec, CUgraph hGraph,
                                  CUgraphExecUpdateResultInfo *resultInfo) override;
    CUresult cuGraphExecDestroy(CUgraphExec hGraphExec) override;
    CUresult cuGraphUpload(CUgraphExec hGraph, CUstream hStream) override;
    CUresult cuGraphLaunch(CUgraphExec hGraph, CUstream hStream) override;

  private:
    struct Stream {
        unsigned flags = 0;
        int priority = 0;
        std::uint64_t context = 0;
        std::uint64_t capture = 0; // the graph that is captured, in `captured_`; 0 none
        bool origin = false;       // of that capture
        std::uint64_t id = 0;      // never given again
    };
    struct Event {
        unsigned flags = 0;
        std::uint64_t context = 0;
        std::uint64_t capture = 0;
        std::optional<std::chrono::steady_clock::time_point> recorded;
    };
    std::uint64_t new_handle() { return next_handle_ += 16; }
    std::uint64_t context_of_caller() const { return caller.context ? caller.context : primary_; }
    void destroy_context(std::uint64_t context);

    // The stream a handle means; the default ones come into being when first used. NULL: no such stream.
    Stream *stream(std::uint64_t handle);
    CUresult make_stream(std::uint64_t handle, unsigned flags, int priority);
    void end_capture(std::uint64_t capture);
    // A call that a stream being captured does not allow: the capture is spoilt.
    CUresult refuse_in_capture(Stream &stream, CUresult result);

    // Performs an operation, or adds it to the graph its stream is being captured into.
    CUresult submit(std::uint64_t stream, Operation operation);
    CUresult check(const Operation &operation);
    CUresult perform(const Operation &operation);
    CUresult fill(std::uint64_t stream, FillOperation fill);

    bool unpack(Module &module);
    CUresult no_code(const Module &module, const char *kernel);
    CUresult find_kernel(std::uint64_t module, const char *name, std::uint64_t &handle);
    CUresult find_variable(std::uint64_t module, const char *name, CUdeviceptr *address, size_t *bytes);
    CUresult unload(std::uint64_t handle);
    CUresult count_kernels(std::uint64_t module, unsigned *count);
    Kernel *kernel(std::uint64_t handle);
    CUresult get_attribute(int *value, CUfunction_attribute attribute, std::uint64_t kernel);
    CUresult set_attribute(CUfunction_attribute attribute, int value, std::uint64_t kernel);
    CUresult get_parameter(std::uint64_t kernel, size_t index, size_t *offset, size_t *size);
    int attribute(CUdevice_attribute attribute) const { return facts_.attributes[attribute]; }
    std::uint32_t arch() const;

    wire_device facts_;
    AddressSpace memory_;
    KernelEngine engine_;
    std::uint64_t next_handle_ = 0x00005a0000000000;
    std::uint64_t last_stream_id_ = 0;
    std::uint64_t primary_ = 0;
    std::uint64_t primary_uses_ = 0;
    std::map<std::uint64_t, bool> contexts_;
    std::unordered_map<std::uint64_t, Stream> streams_;
    std::unordered_map<std::uint64_t, Event> events_;
    std::unordered_map<std::uint64_t, Module> modules_;
    std::unordered_map<std::uint64_t, Kernel> kernels_;
    std::unordered_map<std::uint64_t, bool>
        captured_; // graphs that are being captured: whether it is invalid
    std::unordered_map<std::uint64_t, Graph> graphs_;
    std::unordered_map<std::uint64_t, Graph> executables_;
    std::unordered_map<std::uint64_t, CUgraphNodeType> nodes_;
    std::uint32_t captures_ = 0;
    std::uint64_t launches_ = 0;
};

} // namespace shimbench
