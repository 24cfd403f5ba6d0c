#include "server/supervisor.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdarg>
#include <cstdio>
#include <cstring>
#include <ctime>
#include <deque>
#include <fstream>
#include <new>
#include <system_error>

#include <protocol_hash.h>

#include "server/descriptors.hpp"

namespace shimbench {

namespace {

constexpr int state_poll_ms = 100;
constexpr unsigned warm_failures_max = 5; // workers that die before they had a client, in a row
constexpr std::int64_t place_patience_ns = 1'000'000'000; // of who finds all places taken
constexpr std::size_t waiting_max = 256;

[[noreturn]] void throw_errno(const std::string &what) {
    throw std::system_error(errno, std::generic_category(), what);
}

__attribute__((format(printf, 1, 2))) void log(const char *format, ...) {
    char text[512];
    va_list arguments;
    va_start(arguments, format);
    std::vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    std::fprintf(stderr, "shimbench-host: %s\n", text);
}

// A local socket that only its owner may connect to. What a dead host left behind is removed.
int listen_at(const std::string &path) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    if (path.size() >= sizeof(address.sun_path)) {
        errno = ENAMETOOLONG;
        throw_errno(path);
    }
    std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
    const auto *name = reinterpret_cast<const sockaddr *>(&address);
    const int socket = ::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (socket < 0)
        throw_errno("socket");
    const int probe = ::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    const bool alive = connect(probe, name, sizeof(address)) == 0;
    const bool stale = !alive && errno == ECONNREFUSED;
    close(probe);
    if (alive) {
        errno = EADDRINUSE;
        throw_errno(path + ": another host listens there");
    }
    if (stale)
        unlink(path.c_str());
    const mode_t before = umask(0177);
    const int bound = bind(socket, name, sizeof(address));
    umask(before);
    if (bound || listen(socket, 64))
        throw_errno(path);
    return socket;
}

std::int64_t monotonic_ns() {
    timespec now{};
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1'000'000'000ll + now.tv_nsec;
}

// Whether a process is over, be it reaped or not.
bool has_ended(pid_t pid) {
    const int descriptor = static_cast<int>(syscall(SYS_pidfd_open, pid, 0));
    if (descriptor < 0)
        return errno == ESRCH;
    pollfd end{descriptor, POLLIN, 0};
    const bool ended = poll(&end, 1, 0) == 1;
    close(descriptor);
    return ended;
}

std::string command_of(pid_t pid) {
    std::ifstream file("/proc/" + std::to_string(pid) + "/comm");
    std::string name;
    std::getline(file, name);
    return name;
}

class Supervisor {
  public:
    explicit Supervisor(const HostSettings &settings) : settings_(settings), state_(settings.state_target) {
        void *shared =
            mmap(nullptr, sizeof(Table), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        if (shared == MAP_FAILED)
            throw_errno("shared table");
        table_ = new (shared) Table{};
        table_->device_bytes = settings.worker.facts.memory_bytes;
        table_->client_bytes = settings.client_bytes ? settings.client_bytes : table_->device_bytes;
        facts_ = {settings.device_kind, settings.worker.facts, table_->client_bytes, settings.max_clients};
        listener_ = listen_at(settings.socket_path);
        sigset_t caught;
        sigemptyset(&caught);
        for (const int signal : {SIGTERM, SIGINT, SIGCHLD})
            sigaddset(&caught, signal);
        sigprocmask(SIG_BLOCK, &caught, &unblocked_);
        signals_ = signalfd(-1, &caught, SFD_CLOEXEC | SFD_NONBLOCK);
        if (signals_ < 0)
            throw_errno("signalfd");
        std::signal(SIGPIPE, SIG_IGN);
    }

    int run() {
        log("listening at %s, device %s \"%s\"%s, protocol %.6s", settings_.socket_path.c_str(),
            settings_.device_kind.c_str(), facts_.device.name,
            facts_.device.executes_kernels ? "" : ", kernels are counted and NOT executed", PROTOCOL_HASH);
        warm_up();
        tell(true);
        while (!stopping_) {
            pollfd watched[] = {{signals_, POLLIN, 0}, {listener_, POLLIN, 0}};
            // What was busy in the last second fades after the last client has left.
            poll(watched, 2, clients_ || busy_.kernels || busy_.memory ? state_poll_ms : -1);
            bool changed = take_signals();
            if (watched[1].revents)
                changed = accept_client() || changed;
            changed = serve_waiting() || changed;
            tell(changed);
        }
        stop();
        return 0;
    }

  private:
    void tell(bool at_once) {
        busy_ = table_->utilization(static_cast<std::uint64_t>(monotonic_ns()));
        state_.state(state_text(facts_, *table_, busy_), at_once);
    }

    struct Waiting {
        int socket;
        pid_t client;
        std::int64_t since_ns;
    };

    void warm_up() {
        int ends[2];
        if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends))
            throw_errno("socketpair");
        const pid_t supervisor = getpid();
        std::fflush(stderr);
        const pid_t pid = fork();
        if (pid < 0)
            throw_errno("fork");
        if (pid == 0) {
            close(ends[0]);
            close(listener_);
            close(signals_);
            for (const Waiting &one : waiting_)
                close(one.socket);
            WorkerSettings worker = settings_.worker;
            worker.state = state_.descriptor();
            std::signal(SIGPIPE, SIG_DFL);
            sigprocmask(SIG_SETMASK, &unblocked_, nullptr);
            if (getppid() != supervisor)
                _exit(static_cast<int>(WorkerEnd::Idle));
            run_worker(ends[1], worker, *table_);
        }
        close(ends[1]);
        warm_ = pid;
        outbox_ = ends[0];
    }

    // A client is handed to the warm worker unread. True: something changed.
    bool accept_client() {
        const int socket = accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
        if (socket < 0)
            return false;
        ucred peer{};
        socklen_t length = sizeof(peer);
        if (getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &peer, &length) || peer.uid != geteuid()) {
            close(socket);
            note("refused", peer.pid, "another user's process (uid " + std::to_string(peer.uid) + ")");
            return true;
        }
        if (!waiting_.empty() || !free_row()) {
            const Waiting one{socket, peer.pid, monotonic_ns()};
            if (waiting_.size() >= waiting_max) {
                refuse_waiting(one);
                return true;
            }
            waiting_.push_back(one);
            note("waiting", peer.pid, "all " + std::to_string(clients_) + " places are taken");
            return true;
        }
        hand_over(socket, peer.pid);
        return true;
    }

    ClientRow *free_row() {
        if (clients_ < settings_.max_clients)
            for (auto &row : table_->rows)
                if (row.state.load() == RowState::Unused)
                    return &row;
        return nullptr;
    }

    // In their order, as places get free: one whose client has ended does as soon as its worker has, however
    // long that takes under load. Who waits for nobody to go is refused.
    bool serve_waiting() {
        bool changed = false;
        while (!waiting_.empty()) {
            const Waiting first = waiting_.front();
            const bool served = free_row();
            if (!served && (monotonic_ns() - first.since_ns < place_patience_ns || one_is_leaving()))
                break;
            waiting_.pop_front(); // before another worker is made, which closes what waits
            if (served)
                hand_over(first.socket, first.client);
            else
                refuse_waiting(first);
            changed = true;
        }
        return changed;
    }

    bool one_is_leaving() const {
        for (const auto &row : table_->rows)
            if (row.state.load() != RowState::Unused && has_ended(row.client.load()))
                return true;
        return false;
    }

    void refuse_waiting(const Waiting &one) {
        refuse(one.socket, one.client,
               "there are " + std::to_string(clients_) + " clients, the most it serves (shimbench-host " +
                   "--max-clients N serves up to " + std::to_string(table_rows) + ")");
    }

    void hand_over(int socket, pid_t client) {
        ClientRow *row = free_row();
        fill_row(*row, client);
        const auto number = static_cast<std::uint32_t>(row - table_->rows);
        if (!send_with_descriptor(outbox_, &number, sizeof(number), socket)) {
            row->state.store(RowState::Unused);
            refuse(socket, client, "its worker could not be started");
            return;
        }
        clients_++;
        warm_failures_ = 0;
        close(socket);
        close(outbox_);
        log("client %d (%s): worker %d", client, row->command, warm_);
        state_.event("client", ",\"pid\":" + std::to_string(client) + ",\"worker\":" + std::to_string(warm_) +
                                   ",\"command\":" + json_string(row->command));
        warm_up();
    }

    void fill_row(ClientRow &row, pid_t client) {
        timespec now{};
        clock_gettime(CLOCK_REALTIME, &now);
        new (&row) ClientRow{};
        row.client.store(client);
        row.worker.store(warm_);
        row.connected_ns = now.tv_sec * 1000000000ll + now.tv_nsec;
        std::snprintf(row.command, sizeof(row.command), "%s", command_of(client).c_str());
        row.state.store(RowState::Greeting);
        const auto number = static_cast<std::uint32_t>(&row - table_->rows);
        if (number >= table_->rows_ever.load())
            table_->rows_ever.store(number + 1, std::memory_order_release);
    }

    void refuse(int socket, pid_t client, const std::string &why) {
        wire_offer offer{};
        offer.magic = WIRE_MAGIC;
        std::memcpy(offer.hash, PROTOCOL_HASH, sizeof(PROTOCOL_HASH));
        offer.status = WIRE_TOO_MANY_CLIENTS;
        std::snprintf(offer.text, sizeof(offer.text), "%s", why.c_str());
        (void)!send(socket, &offer, sizeof(offer), MSG_NOSIGNAL | MSG_DONTWAIT);
        close(socket);
        note("refused", client, why);
    }

    void note(const char *event, pid_t client, const std::string &text) {
        log("client %d: %s: %s", client, event, text.c_str());
        state_.event(event, ",\"pid\":" + std::to_string(client) + ",\"text\":" + json_string(text));
    }

    bool take_signals() {
        signalfd_siginfo info;
        bool changed = false;
        while (read(signals_, &info, sizeof(info)) == static_cast<ssize_t>(sizeof(info)))
            if (info.ssi_signo != SIGCHLD)
                stopping_ = true;
        int status = 0;
        for (pid_t pid = waitpid(-1, &status, WNOHANG); pid > 0; pid = waitpid(-1, &status, WNOHANG)) {
            changed = true;
            worker_ended(pid, status);
        }
        return changed;
    }

    void worker_ended(pid_t pid, int status) {
        if (pid == warm_) {
            close(outbox_);
            if (stopping_)
                return;
            log("worker %d ended before it had a client", pid);
            if (++warm_failures_ >= warm_failures_max)
                throw std::runtime_error("workers end as soon as they are started");
            warm_up();
            return;
        }
        for (auto &row : table_->rows)
            if (row.state.load() != RowState::Unused && row.worker.load() == pid)
                return client_ended(row, status);
    }

    void client_ended(ClientRow &row, int status) {
        const pid_t client = row.client.load();
        row.message[sizeof(row.message) - 1] = 0;
        const std::string message = row.message;
        const std::string work =
            std::to_string(row.calls.load()) + " calls, " + std::to_string(row.launches.load()) + " launches";
        if (WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM && stopping_) {
            note("left", client, work + "; its worker got the signal that ends the host"); // to their group
        } else if (WIFSIGNALED(status)) {
            const std::string name = sigabbrev_np(WTERMSIG(status)) ? sigabbrev_np(WTERMSIG(status)) : "?";
            note("worker-crashed", client,
                 "its worker " + std::to_string(row.worker.load()) + " died of SIG" + name);
        } else if (WEXITSTATUS(status) == static_cast<int>(WorkerEnd::ClientLeft)) {
            note("left", client, work + (message.empty() ? "" : "; " + message));
        } else if (WEXITSTATUS(status) == static_cast<int>(WorkerEnd::Refused)) {
            note("refused", client, message);
        } else if (WEXITSTATUS(status) == static_cast<int>(WorkerEnd::ProtocolBroken)) {
            note("protocol-broken", client, message);
        } else {
            note("worker-crashed", client,
                 "its worker ended with status " + std::to_string(WEXITSTATUS(status)));
        }
        row.memory.store(0);
        row.state.store(RowState::Unused);
        clients_--;
    }

    void stop() {
        log("stopping");
        for (const Waiting &one : waiting_)
            close(one.socket);
        close(listener_);
        unlink(settings_.socket_path.c_str());
        kill(warm_, SIGKILL);
        for (const auto &row : table_->rows)
            if (row.state.load() != RowState::Unused)
                kill(row.worker.load(), SIGKILL);
        while (waitpid(-1, nullptr, 0) > 0)
            ;
        for (auto &row : table_->rows) {
            row.memory.store(0);
            row.state.store(RowState::Unused);
        }
        state_.event("stopped", "");
    }

    const HostSettings &settings_;
    StateWriter state_;
    HostFacts facts_;
    Table *table_ = nullptr;
    int listener_ = -1;
    int signals_ = -1;
    int outbox_ = -1;
    pid_t warm_ = -1;
    sigset_t unblocked_{};
    unsigned clients_ = 0;
    Utilization busy_{};
    unsigned warm_failures_ = 0;
    std::deque<Waiting> waiting_; // for a place
    bool stopping_ = false;
};

} // namespace

int run_supervisor(const HostSettings &settings) {
    return Supervisor(settings).run();
}

} // namespace shimbench
