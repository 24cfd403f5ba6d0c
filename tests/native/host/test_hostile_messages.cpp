// Whatever stands in a message, the worker answers, refuses or ends the client; it never reads or writes
// where it should not. Run under the sanitizers by `./dev sanitize`.
#include <cstring>
#include <random>

#include "../fuzz_rounds.hpp"
#include "client_fixture.hpp"

using namespace shimbench;

namespace {

const int rounds = fuzz::rounds(20000);

using Hostile = ClientFixture; // which is told what no shim says

std::uint16_t any_function(std::mt19937_64 &random) {
    if (random() % 3 == 0)
        return static_cast<std::uint16_t>(WIRE_FN_PAD + random() % (WIRE_FN_MAX + 2 - WIRE_FN_PAD));
    return static_cast<std::uint16_t>(random() % (FN_COUNT + 8));
}

// Numbers that calls stumble over: small ones, addresses and handles that exist, extremes.
std::uint64_t any_value(std::mt19937_64 &random) {
    switch (random() % 8) {
    case 0:
        return random() % 8;
    case 1:
        return UINT64_MAX - random() % 4;
    case 2:
        return DeviceFixture::base + random() % 8 * 4096;
    case 3:
        return 0x00005a0000000000 + random() % 64 * 16;
    case 4:
        return WIRE_FIRST_HANDLE + random() % 16 * 16;
    case 5:
        return std::uint64_t{1} << random() % 64;
    case 6:
        return random() % 8192;
    default:
        return random();
    }
}

void random_messages_do_no_harm() {
    Hostile hostile;
    auto random = fuzz::random(20261122);
    alignas(16) std::byte bytes[1024];
    for (int round = 0; round < rounds; round++) {
        const std::size_t words = random() % 16;
        wire_message head{};
        head.function = any_function(random);
        head.bytes = static_cast<std::uint32_t>(sizeof(head) + 8 * words);
        head.slot =
            random() % 2 ? WIRE_NO_SLOT : static_cast<std::uint32_t>(random() % (WIRE_SLOT_COUNT + 1));
        head.thread = static_cast<std::uint32_t>(random() % 4);
        head.context = random() % 4 ? 0 : any_value(random);
        std::memcpy(bytes, &head, sizeof(head));
        for (std::size_t n = 0; n < words; n++) {
            const std::uint64_t value = any_value(random);
            std::memcpy(bytes + sizeof(head) + 8 * n, &value, sizeof(value));
        }
        (void)hostile.client->handle({bytes, head.bytes});
    }
    EXPECT(hostile.fixture.used <= DeviceFixture::memory_bytes);
}

void random_rings_do_no_harm() {
    Hostile hostile;
    auto random = fuzz::random(42);
    for (int round = 0; round < rounds / 20; round++) {
        auto *words = reinterpret_cast<std::uint64_t *>(hostile.region.ring());
        for (int n = 0; n < 64; n++)
            words[n] = any_value(random);
        reinterpret_cast<wire_message *>(words)->bytes = static_cast<std::uint32_t>(random() % 40 * 8);
        hostile.region.head->head = random() % 4 ? random() % 40 * 16 : any_value(random);
        (void)hostile.client->consume(0);
    }
}

void random_images_do_no_harm() {
    Hostile hostile;
    auto random = fuzz::random(7);
    for (int round = 0; round < rounds / 20; round++) {
        std::vector<std::byte> image(64 + random() % 512);
        for (auto &byte : image)
            byte = static_cast<std::byte>(random());
        const std::uint32_t magics[] = {0xba55ed50u, 0x464c457fu};
        std::memcpy(image.data(), &magics[round % 2], 4);
        if (round % 2 == 0) {
            const std::uint64_t size = image.size() - 16;
            const std::uint16_t head[] = {1, 16};
            std::memcpy(image.data() + 4, head, 4);
            std::memcpy(image.data() + 8, &size, 8);
            const std::uint16_t kind = 1 + round / 2 % 2;
            const std::uint32_t head_bytes = 64;
            std::memcpy(image.data() + 16, &kind, 2);
            std::memcpy(image.data() + 20, &head_bytes, 4);
            const std::uint64_t stored = random() % 512;
            std::memcpy(image.data() + 24, &stored, 8);
            std::memcpy(image.data() + 44, "\x50\0\0", 4);
        }
        std::uint64_t library = 0;
        CUkernel kernel = nullptr;
        if (std::string log; hostile.device->load(WIRE_LOAD_LIBRARY, image, library, log) == CUDA_SUCCESS)
            hostile.device->cuLibraryGetKernel(&kernel, reinterpret_cast<CUlibrary>(library), "kernel");
    }
}

} // namespace

int main() {
    random_messages_do_no_harm();
    random_rings_do_no_harm();
    random_images_do_no_harm();
}
