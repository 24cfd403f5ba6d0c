// Plans that are damaged in any way: refused or read, never past their ends. For the sanitizers.
#include "../collector/check.hpp"
#include "../fuzz_rounds.hpp"
#include "plan.hpp"

#include <cstring>
#include <filesystem>
#include <stdexcept>
#include <sys/mman.h>
#include <unistd.h>
#include <vector>

using namespace shimbench::replay;

namespace {

template <typename Record> void append(std::vector<std::byte> &to, const Record &record) {
    auto bytes = std::as_bytes(std::span(&record, 1));
    to.insert(to.end(), bytes.begin(), bytes.end());
}

// Two threads, three operations of two functions, 256 bytes of data.
std::vector<std::byte> whole_plan() {
    std::vector<std::byte> operations;
    for (uint16_t i = 0; i < 3; i++) {
        Operation head{};
        head.size = sizeof(Operation) + sizeof(Wait) + 2 * sizeof(Argument) + sizeof(Fixup) + sizeof(Outcome);
        head.call = i + 1u;
        head.function = i % 2;
        head.thread = i % 2;
        head.arguments = 2;
        head.waits = head.fixups = head.outcomes = 1;
        append(operations, head);
        append(operations, Wait{1u - i % 2, 0});
        append(operations, Argument{Kind::Data, 0, 1, 0, 0x1000, 64, 64});
        append(operations, Argument{Kind::Word, 0, 0, 0, 5, 0, 0});
        append(operations, Fixup{8, Kind::Handle, 1, 0, 0});
        append(operations, Outcome{0, Made::Handle, 1, 0, 0, 0x77, 0});
    }
    const char names[] = "cuInit\0cuCtxSynchronize";
    PlanHead head{};
    std::memcpy(head.magic, kPlanMagic, sizeof head.magic);
    head.threads = head.functions = 2;
    head.operations = 3;
    head.names_offset = sizeof head;
    head.names_size = sizeof names;
    head.operations_offset = 128;
    head.operations_size = operations.size();
    head.data_offset = 128 + operations.size();
    head.data_size = 256;
    std::vector<std::byte> plan;
    append(plan, head);
    append(plan, names);
    plan.resize(128);
    plan.insert(plan.end(), operations.begin(), operations.end());
    plan.resize(plan.size() + 256);
    return plan;
}

// In memory: as a file.
std::filesystem::path written(const std::vector<std::byte> &plan) {
    static const int fd = memfd_create("plan", MFD_CLOEXEC);
    check(ftruncate(fd, 0) == 0 &&
              pwrite(fd, plan.data(), plan.size(), 0) == static_cast<ssize_t>(plan.size()),
          "written");
    return "/proc/self/fd/" + std::to_string(fd);
}

// Reads all of it; how many operations there were.
uint64_t walk(const std::vector<std::byte> &bytes) {
    Plan plan(written(bytes));
    uint64_t count = 0;
    for (const auto &thread : plan.threads())
        for (const Step &step : thread) {
            count++;
            for (const Argument &argument : step.arguments)
                if (argument.kind == Kind::Data)
                    for (std::byte one : plan.data(argument.data, argument.length))
                        count += one != std::byte{0} && argument.length > 1u << 30;
        }
    return count;
}

} // namespace

int main() {
    const std::vector<std::byte> whole = whole_plan();
    check(walk(whole) == 3, "a whole plan is read");
    auto random = fuzz::random(11);
    int refused = 0;
    for (int round = 0; round < fuzz::rounds(3000); round++) {
        std::vector<std::byte> bytes = whole;
        for (uint64_t i = random() % 4 + 1; i > 0; i--)
            bytes[random() % bytes.size()] = static_cast<std::byte>(random());
        if (random() % 4 == 0)
            bytes.resize(random() % bytes.size());
        try {
            walk(bytes);
        } catch (const std::runtime_error &) {
            refused++;
        }
    }
    check(refused > 0, "some of these are no plans");
    std::puts("ok");
}
