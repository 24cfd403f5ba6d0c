#include "server/worker.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <ctime>
#include <memory>
#include <utility>

#include <protocol_hash.h>

#include "server/client.hpp"
#include "server/descriptors.hpp"
#include "server/state.hpp"
#include "wire/barrier.h"

namespace shimbench {

namespace {

constexpr std::uint64_t device_range_bytes = std::uint64_t{1} << 40;
// Far from heaps, libraries and stacks, and from what sanitizers and Go take for themselves.
constexpr std::uint64_t range_bases[] = {0x200000000000, 0x300000000000, 0x400000000000, 0x180000000000};
constexpr std::uint64_t window_unit = 2 << 20;
constexpr int greeting_seconds = 10;
constexpr std::uint64_t publish_batches = 256; // a busy client's figures are this fresh
// About a millisecond in all before a worker sleeps: calls follow one another faster than it would wake.
constexpr unsigned spin_near = 16, spin_rounds = 1000, yield_rounds = 4000;

[[noreturn]] void end(ClientRow &row, WorkerEnd why, const char *text) {
    std::snprintf(row.message, sizeof(row.message), "%s", text);
    _exit(static_cast<int>(why));
}

std::uint64_t monotonic_ns() {
    timespec now{};
    clock_gettime(CLOCK_MONOTONIC, &now);
    return static_cast<std::uint64_t>(now.tv_sec) * 1'000'000'000 + static_cast<std::uint64_t>(now.tv_nsec);
}

struct Connection {
    int socket;
    int client; // pidfd; -1 when there is none to watch
};

wire_offer make_offer(wire_status status, const char *text) {
    wire_offer offer{};
    offer.magic = WIRE_MAGIC;
    std::memcpy(offer.hash, PROTOCOL_HASH, sizeof(PROTOCOL_HASH));
    offer.status = status;
    std::snprintf(offer.text, sizeof(offer.text), "%s", text);
    return offer;
}

[[noreturn]] void refuse(ClientRow &row, int socket, wire_status status, const char *text) {
    const wire_offer offer = make_offer(status, text);
    (void)!send(socket, &offer, sizeof(offer), MSG_NOSIGNAL);
    end(row, WorkerEnd::Refused, text);
}

// The greeting. Whoever speaks another protocol is told so, and so is the log.
void greet(ClientRow &row, int socket) {
    wire_hello hello{};
    const timeval patience{greeting_seconds, 0};
    setsockopt(socket, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    if (recv(socket, &hello, sizeof(hello), 0) != static_cast<ssize_t>(sizeof(hello)) ||
        hello.magic != WIRE_MAGIC)
        end(row, WorkerEnd::Refused, "what connected does not speak the wire's protocol");
    hello.hash[WIRE_HASH_BYTES - 1] = 0;
    if (std::strcmp(hello.hash, PROTOCOL_HASH) == 0)
        return;
    for (char *digit = hello.hash; *digit; digit++)
        if (*digit < '0' || *digit > 'z')
            *digit = '?';
    char text[WIRE_TEXT_BYTES];
    std::snprintf(text, sizeof(text),
                  "host speaks protocol %.6s, this shim %.6s: rebuild both (shimbench build)", PROTOCOL_HASH,
                  hello.hash);
    refuse(row, socket, WIRE_OTHER_PROTOCOL, text);
}

// Twice the memory, so that what is free in it but scattered is no hindrance; pages come when touched.
std::uint64_t window_bytes(std::uint64_t device_bytes) {
    const std::uint64_t most = device_range_bytes / 4;
    return (device_bytes < most ? device_bytes : most) / window_unit * window_unit * 2;
}

bool reserve(const AddressRange &range) {
    const std::uint64_t bytes = range.device_bytes + range.pinned_bytes;
    void *base = reinterpret_cast<void *>(range.base);
    void *got = mmap(base, bytes, PROT_NONE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0);
    if (got == MAP_FAILED)
        return false;
    void *pinned = reinterpret_cast<void *>(range.pinned_base());
    // Nothing of the window may be touched before it is allocated, as in the rest of the device's range.
    const bool windowed =
        !range.window_bytes || mmap(base, range.window_bytes, PROT_NONE, MAP_SHARED | MAP_FIXED, range.region,
                                    static_cast<off_t>(range.window_offset)) == base;
    if (got != base || !windowed ||
        mmap(pinned, range.pinned_bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, range.region,
             static_cast<off_t>(range.pinned_offset)) != pinned) {
        munmap(got, bytes);
        return false;
    }
    (void)madvise(base, range.device_bytes, MADV_DONTDUMP);
    return true;
}

// A region of pages that nobody can take away under us: its size is sealed.
int make_region(const wire_region &head, wire_region *&mapped) {
    const int memory = memfd_create("shimbench-wire", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (memory < 0 || ftruncate(memory, static_cast<off_t>(head.region_bytes)) ||
        fcntl(memory, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL))
        return -1;
    void *bytes = mmap(nullptr, head.pinned_offset, PROT_READ | PROT_WRITE, MAP_SHARED, memory, 0);
    if (bytes == MAP_FAILED)
        return -1;
    mapped = static_cast<wire_region *>(bytes);
    *mapped = head;
    return memory;
}

// Offers one range after the other until both sides could reserve one.
AddressRange settle_range(ClientRow &row, int socket, int region, const wire_region &head) {
    bool region_sent = false;
    for (const std::uint64_t base : range_bases) {
        const AddressRange range{base,
                                 device_range_bytes,
                                 head.pinned_bytes,
                                 region,
                                 head.pinned_offset,
                                 head.window_offset,
                                 head.window_bytes};
        if (!reserve(range))
            continue;
        wire_offer offer = make_offer(WIRE_OFFERED, "");
        offer.region_bytes = head.region_bytes;
        offer.range_base = base;
        offer.device_bytes = range.device_bytes;
        offer.pinned_bytes = range.pinned_bytes;
        wire_answer answer{};
        if (!send_with_descriptor(socket, &offer, sizeof(offer), region_sent ? -1 : region) ||
            recv(socket, &answer, sizeof(answer), 0) != static_cast<ssize_t>(sizeof(answer)) ||
            answer.magic != WIRE_MAGIC)
            end(row, WorkerEnd::ClientLeft, "the client left during the greeting");
        region_sent = true;
        if (answer.accepted)
            return range;
        munmap(reinterpret_cast<void *>(base), range.device_bytes + range.pinned_bytes);
    }
    refuse(row, socket, WIRE_NO_RANGE, "no address range for device memory is free in both processes");
}

void publish_use(ClientRow &row, const DeviceUse &use) {
    row.variables.store(use.variables, std::memory_order_relaxed);
    row.pinned.store(use.pinned, std::memory_order_relaxed);
    row.allocations.store(use.allocations, std::memory_order_relaxed);
    row.streams.store(use.streams, std::memory_order_relaxed);
    row.events.store(use.events, std::memory_order_relaxed);
    row.modules.store(use.modules, std::memory_order_relaxed);
    row.graphs.store(use.graphs, std::memory_order_relaxed);
    row.launches.store(use.launches, std::memory_order_relaxed);
}

// Sleeps until the client rings or ends, or so long (-1: for ever). False: it has ended.
bool sleep_until_rung(const Connection &connection, int milliseconds) {
    pollfd watched[] = {{connection.socket, POLLIN, 0}, {connection.client, POLLIN, 0}};
    if (poll(watched, connection.client < 0 ? 1 : 2, milliseconds) < 0)
        return errno == EINTR;
    if (watched[1].revents || (watched[0].revents & (POLLHUP | POLLERR)))
        return false;
    char bells[64];
    for (ssize_t got = 1; got > 0;) {
        got = recv(connection.socket, bells, sizeof(bells), MSG_DONTWAIT);
        if (got == 0)
            return false;
    }
    return true;
}

// Spinning would only keep the client from sending the next call. What the client says is a hint, no more.
bool client_waits_for_this_processor(wire_region &head) {
    const int cpu = sched_getcpu();
    if (cpu < 0)
        return false;
    const auto mine = static_cast<std::uint32_t>(cpu);
    if (__atomic_load_n(&head.worker_cpu, __ATOMIC_RELAXED) != mine)
        __atomic_store_n(&head.worker_cpu, mine, __ATOMIC_RELAXED);
    return __atomic_load_n(&head.client_cpu, __ATOMIC_RELAXED) == mine;
}

const char *serve(Client &client, const Region &region, const Connection &connection, Device &device,
                  ClientRow &row) {
    std::uint64_t tail = 0, batches = 0;
    bool untold = false;
    for (unsigned idle = 0;;) {
        const std::int64_t done = client.consume(tail);
        if (done < 0)
            return client.why();
        if (done) {
            tail += static_cast<std::uint64_t>(done);
            idle = 0;
            if (++batches % publish_batches == 0)
                publish_use(row, device.use());
            continue;
        }
        if (++idle == spin_near && client_waits_for_this_processor(*region.head))
            idle = spin_rounds;
        if (idle < spin_rounds) {
            relax();
            continue;
        }
        if (idle == spin_rounds) {
            publish_use(row, device.use());
            untold = device.rest(false);
        }
        if (idle < yield_rounds) {
            sched_yield();
            continue;
        }
        // See ring_doorbell in shim/wire/call.c: of the two flags, one side sees the other's.
        store_release32(&region.head->asleep, 1);
        full_fence();
        const bool more = load_acquire(&region.head->head) != tail;
        const bool alive = more || sleep_until_rung(connection, untold ? 1000 : -1);
        store_release32(&region.head->asleep, 0);
        if (!alive)
            return nullptr;
        idle = 0;
    }
}

[[noreturn]] void serve_client(Connection connection, const WorkerSettings &settings, Table &table,
                               ClientRow &row) {
    greet(row, connection.socket);
    Region region;
    region.head_copy = region_layout(settings.pinned_bytes, window_bytes(table.device_bytes), true);
    std::memcpy(region.head_copy.hash, PROTOCOL_HASH, sizeof(PROTOCOL_HASH));
    const int memory = make_region(region.head_copy, region.head);
    if (memory < 0)
        refuse(row, connection.socket, WIRE_NO_MEMORY, "the host has no memory for another client");
    const AddressRange range = settle_range(row, connection.socket, memory, region.head_copy);
    MemoryShare share;
    share.take = [&](std::int64_t bytes) {
        const std::int64_t mine = row.memory.fetch_add(bytes) + bytes;
        if (bytes <= 0 ||
            (mine <= static_cast<std::int64_t>(table.client_bytes) && table.used() <= table.device_bytes))
            return true;
        row.memory.fetch_sub(bytes);
        return false;
    };
    share.free = [&] {
        const std::uint64_t used = table.used();
        const std::uint64_t left = used < table.device_bytes ? table.device_bytes - used : 0;
        const auto mine = static_cast<std::uint64_t>(row.memory.load());
        return std::min(left, mine < table.client_bytes ? table.client_bytes - mine : 0);
    };
    const auto gone = [&] {
        pollfd client{connection.client, POLLIN, 0};
        return poll(&client, 1, 0) > 0;
    };
    StateWriter state(settings.state < 0 ? "" : std::to_string(settings.state));
    Tell tell;
    if (state.descriptor() >= 0)
        tell = [&](std::string_view event, std::string_view fields) {
            state.event(event, ",\"pid\":" + std::to_string(row.client.load()) + std::string(fields));
        };
    const auto device =
        make_device(settings.device, settings.facts, range, share, gone, tell, settings.rules);
    std::uint64_t began = 0;
    device->works = [&](bool kernel, bool begins) {
        const std::uint64_t now = monotonic_ns();
        if (begins)
            began = now;
        if (kernel)
            row.kernel_since.store(begins ? now : 0, std::memory_order_relaxed);
        if (begins)
            return;
        table.memory.add(began, now);
        if (kernel)
            table.kernels.add(began, now);
    };
    const auto client = std::make_unique<Client>(*device, region, row, table);
    client->bell = [&] {
        const char bell = 0;
        (void)!send(connection.socket, &bell, 1, MSG_DONTWAIT | MSG_NOSIGNAL);
    };
    row.state.store(RowState::Connected);
    const char *why = serve(*client, region, connection, *device, row);
    device->rest(true);
    if (why)
        end(row, WorkerEnd::ProtocolBroken, why);
    // The process's end gives everything back at once.
    end(row, WorkerEnd::ClientLeft, "");
}

} // namespace

void run_worker(int inbox, const WorkerSettings &settings, Table &table) {
    prctl(PR_SET_NAME, "shimbench-work");
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    std::uint32_t number = 0;
    int socket = -1;
    if (!receive_with_descriptor(inbox, &number, sizeof(number), socket) || socket < 0 ||
        number >= table_rows)
        _exit(static_cast<int>(WorkerEnd::Idle));
    close(inbox);
    ClientRow &row = table.rows[number];
    const int client = static_cast<int>(syscall(SYS_pidfd_open, row.client.load(), 0));
    serve_client({socket, client}, settings, table, row);
}

} // namespace shimbench
