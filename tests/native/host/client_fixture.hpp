// A worker's end of a region, without processes: messages are put into its ring by the test.
#pragma once

#include "device_fixture.hpp"
#include "server/client.hpp"

namespace shimbench {

struct ClientFixture {
    ClientFixture()
        : device(make_device(DeviceKind::CountOnly, fixture.facts(), fixture.range(), fixture.share(), {})) {
        region.head_copy = region_layout(4096, 0, true);
        void *bytes = mmap(nullptr, region.head_copy.pinned_offset, PROT_READ | PROT_WRITE,
                           MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        EXPECT(bytes != MAP_FAILED);
        region.head = static_cast<wire_region *>(bytes);
        *region.head = region.head_copy;
        client = std::make_unique<Client>(*device, region, row, table);
    }

    DeviceFixture fixture;
    ClientRow row{};
    Table table{};
    Region region;
    std::unique_ptr<Device> device;
    std::unique_ptr<Client> client;
};

} // namespace shimbench
