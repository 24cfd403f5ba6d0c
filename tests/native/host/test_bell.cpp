// A client that sleeps is rung for once the ring is where it wants it to be; not before, and once.
#include <cstring>

#include "client_fixture.hpp"

using namespace shimbench;

namespace {

/// Has the client post so many calls that do nothing, and the worker perform them.
void post_and_consume(ClientFixture &fixture, std::uint64_t calls) {
    wire_region *head = fixture.region.head;
    const std::uint64_t tail = head->tail;
    for (std::uint64_t n = 0; n < calls; n++) {
        wire_message message{};
        message.function = WIRE_FN_PING;
        message.bytes = sizeof(message);
        message.slot = WIRE_NO_SLOT;
        std::memcpy(fixture.region.ring() + head->head, &message, sizeof(message));
        head->head += sizeof(message);
    }
    EXPECT(fixture.client->consume(tail) == static_cast<std::int64_t>(calls * sizeof(wire_message)));
}

} // namespace

int main() {
    ClientFixture fixture;
    unsigned rung = 0;
    fixture.client->bell = [&] { rung++; };
    post_and_consume(fixture, 3);
    EXPECT(rung == 0); // nobody sleeps

    fixture.region.head->wake_at = fixture.region.head->head + 2 * sizeof(wire_message);
    post_and_consume(fixture, 1);
    EXPECT(rung == 0);
    post_and_consume(fixture, 3);
    EXPECT(rung == 1);
    EXPECT(fixture.region.head->wake_at == WIRE_NEVER);
    post_and_consume(fixture, 3);
    EXPECT(rung == 1);

    fixture.region.head->wake_at = 0; // long past
    post_and_consume(fixture, 1);
    EXPECT(rung == 2);
    std::puts("the client is rung for");
}
