// What a device does. The driver API's own calls come from the model (DeviceCalls); here stands what
// does not fit a generated stub. One Device belongs to one client; it lives in that client's worker.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include <dispatch.hpp>

#include "wire/protocol.h"

namespace shimbench {

// Whose call it is. Set before each call.
struct Caller {
    std::uint32_t thread = 0;
    std::uint64_t context = 0; // 0: the primary one
};

struct KernelParameter {
    std::uint32_t offset;
    std::uint32_t size;
};

// How the parameter buffer of a kernel is laid out.
struct ParameterLayout {
    std::uint32_t bytes = 0;
    std::vector<KernelParameter> parameters;
};

// Addresses that mean the same in the client and here, reserved before the device is made.
struct AddressRange {
    std::uint64_t base = 0;
    std::uint64_t device_bytes = 0;
    std::uint64_t pinned_bytes = 0; // mapped from `region`, follows the device's part
    int region = -1;                // descriptor, kept open by the owner of the range
    std::uint64_t pinned_offset = 0;
    // The range's first bytes, when they are mapped from `region` as well; clients copy there themselves.
    std::uint64_t window_offset = 0;
    std::uint64_t window_bytes = 0;
    std::uint64_t pinned_base() const { return base + device_bytes; }
};

// Device memory is shared by all clients: a client takes from it and gives back. In bytes.
struct MemoryShare {
    std::function<bool(std::int64_t)> take; // negative gives back; false: that much is not free
    std::function<std::uint64_t()> free;
};

// What the panes are told of one client's device.
struct DeviceUse {
    std::uint64_t memory = 0;
    std::uint64_t variables = 0; // of these bytes, modules' variables
    std::uint64_t pinned = 0;
    std::uint64_t allocations = 0;
    std::uint64_t streams = 0;
    std::uint64_t events = 0;
    std::uint64_t modules = 0;
    std::uint64_t graphs = 0;
    std::uint64_t launches = 0;
};

class Device : public DeviceCalls {
  public:
    Caller caller;
    // Hears when work begins and when it has ended: a kernel, or else a copy or fill. May be empty.
    std::function<void(bool kernel, bool begins)> works;

    // Whether a posted call is complete when it returns here; if not, clients ask to synchronise.
    virtual bool in_order() const = 0;
    virtual const wire_device &facts() const = 0;
    virtual DeviceUse use() const = 0;
    // Streams being captured.
    virtual std::uint32_t captures() const = 0;
    // There is nothing to do for now (`last`: ever again), so that what is told now and then may be told.
    // True: ask again in a second.
    virtual bool rest(bool last) = 0;

    // `log` becomes what a compiler of the code would complain of.
    virtual CUresult load(wire_load_kind kind, std::vector<std::byte> image, std::uint64_t &handle,
                          std::string &log) = 0;
    virtual CUresult parameter_layout(std::uint64_t function, ParameterLayout &layout) = 0;
    virtual CUresult launch(const wire_launch &launch, std::span<const std::byte> parameters) = 0;

    // `bytes` may lie in memory the client can change meanwhile: they are copied, never looked at.
    virtual CUresult write(std::uint64_t target, std::span<const std::byte> bytes, std::uint64_t stream) = 0;
    virtual CUresult read(std::span<std::byte> target, std::uint64_t source, std::uint64_t stream) = 0;
    virtual CUresult copy(std::uint64_t target, std::uint64_t source, std::uint64_t bytes,
                          std::uint64_t stream) = 0;

    // Whether a client may copy these bytes itself now, all work before being done; where they lie in the
    // window, or UINT64_MAX when it has to send them.
    virtual CUresult window(std::uint64_t address, std::uint64_t bytes, std::uint64_t stream,
                            std::uint64_t &offset) = 0;

    virtual CUresult synchronize(wire_synchronize_kind kind, std::uint64_t handle) = 0;
    virtual CUresult pointer_attribute(CUpointer_attribute attribute, std::uint64_t address,
                                       std::uint64_t &value) = 0;
    virtual CUresult graph_nodes(std::uint64_t graph, std::vector<std::uint64_t> &nodes) = 0;
};

enum class DeviceKind : std::uint8_t {
    Soft,      // performs everything, kernels included
    CountOnly, // performs everything but kernels: those are counted
};

// What kernels are held to on a device that executes them.
struct KernelRules {
    double launch_seconds = 300; // after which a launch ends with CUDA_ERROR_LAUNCH_TIMEOUT
    bool memcheck =
        false; // each access to global memory has to lie within an allocation; nothing is compiled
};

// What a device has to tell beyond results: an event and its further fields, as host/STATE.md has them.
using Tell = std::function<void(std::string_view event, std::string_view fields)>;

// `abandoned` tells a long kernel that its client is gone. The device's facts say whether it executes.
std::unique_ptr<Device> make_device(DeviceKind kind, const wire_device &facts, const AddressRange &range,
                                    MemoryShare share, std::function<bool()> abandoned, Tell tell = {},
                                    const KernelRules &rules = {});

} // namespace shimbench
