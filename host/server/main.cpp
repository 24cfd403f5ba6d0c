// shimbench-host: owns the device, and performs for each client what its shim forwards.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <string>
#include <string_view>

#include "server/supervisor.hpp"
#include "wire/device_profile.h"

namespace {

constexpr const char *usage = R"(usage: shimbench-host --socket PATH [options]

Serves the shims of this user's processes at the local socket PATH until SIGTERM. Each client gets a
worker process of its own; what it made is freed when it ends.

  --socket PATH               where to listen; only the owner may connect
  --device soft|count-only    soft: a GPU in software, which executes the kernels' PTX (default);
                              count-only: memory, copies and streams are real, kernels are counted and
                              NOT executed
  --memory SIZE               of the device: 8GiB, 512MiB, or bytes (default 8GiB)
  --compute-capability M.N    (default 8.0)
  --name TEXT                 the device's name
  --pci ADDRESS               (default 0000:00:05.0)
  --max-clients N             (default 64, at most 256)
  --client-memory SIZE        most device memory of one client (default: all)
  --pinned SIZE               most pinned host memory of one client (default 4GiB)
  --launch-limit SECONDS      a kernel that runs longer is ended: CUDA_ERROR_LAUNCH_TIMEOUT (default 300)
  --memcheck                  check each access of a kernel to global memory against the allocations, as
                              compute-sanitizer does; kernels are interpreted for it, and slow
  --state PATH|N              write the state as JSON lines to a file, or to the open descriptor N
                              (host/STATE.md)
  -h, --help

SHIMBENCH_HOST and SHIMBENCH_HOST_STATE in the environment stand for --socket and --state.
The device's description also comes from SHIMBENCH_DEVICE_* in the environment; options win.
)";

struct Option {
    const char *name;
    const char *variable; // of the environment that device_profile_load reads
};

constexpr Option profile_options[] = {{"--memory", "SHIMBENCH_DEVICE_MEMORY"},
                                      {"--compute-capability", "SHIMBENCH_DEVICE_COMPUTE"},
                                      {"--name", "SHIMBENCH_DEVICE_NAME"},
                                      {"--pci", "SHIMBENCH_DEVICE_PCI"}};

[[noreturn]] void usage_error(const std::string &text) {
    std::fprintf(stderr, "shimbench-host: %s (--help lists the options)\n", text.c_str());
    std::exit(2);
}

// 8G, 8GiB, 512M, 4096: bytes, in powers of 1024.
std::uint64_t size_of(const std::string &option, const char *text) {
    char *end = nullptr;
    const unsigned long long number = std::strtoull(text, &end, 10);
    unsigned shift = 0;
    if (*end == 'K')
        shift = 10;
    else if (*end == 'M')
        shift = 20;
    else if (*end == 'G')
        shift = 30;
    end += shift ? 1 : 0;
    const std::string_view rest = end;
    if (end == text || *text == '-' || !(rest.empty() || (shift && (rest == "iB" || rest == "B"))) ||
        number > (std::uint64_t{1} << 40) >> shift)
        usage_error(option + " " + text + ": expected a size such as 8GiB, 512MiB or 4096");
    return std::uint64_t{number} << shift;
}

// More than 0 and at most a day: a limit of none would leave endless kernels running.
double seconds_of(const std::string &option, const char *text) {
    char *end = nullptr;
    const double seconds = std::strtod(text, &end);
    if (end == text || *end || !(seconds > 0 && seconds <= 86400))
        usage_error(option + " " + text + ": expected seconds, more than 0 and at most 86400");
    return seconds;
}

shimbench::HostSettings read_settings(int argc, char **argv) {
    shimbench::HostSettings settings;
    settings.worker.pinned_bytes = std::uint64_t{4} << 30;
    // A workbench names both to whatever forwarder it starts.
    if (const char *socket = std::getenv("SHIMBENCH_HOST"))
        settings.socket_path = socket;
    if (const char *state = std::getenv("SHIMBENCH_HOST_STATE"))
        settings.state_target = state;
    for (int n = 1; n < argc; n++) {
        const std::string option = argv[n];
        if (option == "-h" || option == "--help") {
            std::fputs(usage, stdout);
            std::exit(0);
        }
        if (option == "--memcheck") {
            settings.worker.rules.memcheck = true;
            continue;
        }
        if (!option.starts_with("--") || n + 1 == argc)
            usage_error(option.starts_with("--") ? option + " needs a value or is not known"
                                                 : option + " means nothing");
        const char *value = argv[++n];
        bool known = false;
        for (const auto &[name, variable] : profile_options)
            if (option == name) {
                setenv(variable, value, 1);
                known = true;
            }
        if (option == "--memory") {
            // The profile reads bytes as well; written out, all spellings mean the same.
            setenv("SHIMBENCH_DEVICE_MEMORY", std::to_string(size_of(option, value)).c_str(), 1);
        } else if (option == "--socket") {
            settings.socket_path = value;
        } else if (option == "--state") {
            settings.state_target = value;
        } else if (option == "--device") {
            settings.device_kind = value;
        } else if (option == "--max-clients") {
            settings.max_clients = static_cast<unsigned>(std::strtoul(value, nullptr, 10));
        } else if (option == "--client-memory") {
            settings.client_bytes = size_of(option, value);
        } else if (option == "--pinned") {
            settings.worker.pinned_bytes = size_of(option, value) / 4096 * 4096;
        } else if (option == "--launch-limit") {
            settings.worker.rules.launch_seconds = seconds_of(option, value);
        } else if (!known) {
            usage_error(option + " is not known");
        }
    }
    if (settings.socket_path.empty())
        usage_error("--socket PATH is missing, and SHIMBENCH_HOST is not set");
    if (settings.device_kind != "soft" && settings.device_kind != "count-only")
        usage_error("--device " + settings.device_kind + ": there are soft and count-only");
    settings.worker.device =
        settings.device_kind == "soft" ? shimbench::DeviceKind::Soft : shimbench::DeviceKind::CountOnly;
    if (settings.worker.rules.memcheck && settings.worker.device != shimbench::DeviceKind::Soft)
        usage_error("--memcheck: --device " + settings.device_kind + " executes no kernels to check");
    if (!settings.max_clients || settings.max_clients > shimbench::table_rows)
        usage_error("--max-clients: expected 1 to " + std::to_string(shimbench::table_rows));
    if (!settings.worker.pinned_bytes)
        usage_error("--pinned: expected at least 4096");
    char error[256];
    if (device_profile_load(&settings.worker.facts, error, sizeof(error)))
        usage_error(error);
    settings.worker.facts.executes_kernels = settings.worker.device == shimbench::DeviceKind::Soft;
    return settings;
}

} // namespace

int main(int argc, char **argv) {
    const shimbench::HostSettings settings = read_settings(argc, argv);
    try {
        return shimbench::run_supervisor(settings);
    } catch (const std::exception &error) {
        std::fprintf(stderr, "shimbench-host: %s\n", error.what());
        return 1;
    }
}
