// The devices a worker may own, by name.
#include <stdexcept>
#include <utility>

#include "device/emulated.hpp"
#include "soft/engine.hpp"

namespace shimbench {

std::unique_ptr<Device> make_device(DeviceKind kind, const wire_device &facts, const AddressRange &range,
                                    MemoryShare share, std::function<bool()> abandoned, Tell tell,
                                    const KernelRules &rules) {
    wire_device told = facts;
    told.executes_kernels = kind == DeviceKind::Soft;
    KernelEngine engine;
    if (kind == DeviceKind::Soft) {
        soft::EngineSettings settings;
        settings.abandoned = std::move(abandoned);
        settings.tell = std::move(tell);
        settings.rules = rules;
        engine = soft::make_engine(std::move(settings));
    }
    return std::make_unique<EmulatedDevice>(told, range, std::move(share), std::move(engine));
}

} // namespace shimbench
