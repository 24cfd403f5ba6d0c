#include <utility>

#include "device/emulated.hpp"

namespace shimbench {

std::unique_ptr<Device> make_count_only(const wire_device &facts, const AddressRange &range,
                                        MemoryShare share) {
    wire_device counting = facts;
    counting.executes_kernels = 0;
    return std::make_unique<EmulatedDevice>(counting, range, std::move(share), KernelEngine{});
}

} // namespace shimbench
