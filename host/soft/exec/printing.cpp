// What kernels say: vprintf, and what failed assertions name.
#include "control.hpp"
#include "lanes.hpp"

#include <algorithm>
#include <bit>
#include <cstdio>

namespace soft {

namespace {

constexpr std::size_t longest = 65536; // of one call: a device's buffer is as finite

bool is_one_of(std::string_view set, char c) {
    return set.find(c) != set.npos;
}

/// The arguments as vprintf's caller laid them out: each at a multiple of its size.
class Arguments {
  public:
    explicit Arguments(std::uint64_t address) : at_(address) {}

    std::uint64_t take(unsigned size) {
        at_ += (size - at_ % size) % size;
        std::uint64_t value = 0;
        std::memcpy(&value, reinterpret_cast<const void *>(at_), size);
        at_ += size;
        ++taken_;
        return value;
    }
    std::int32_t taken() const { return taken_; }

  private:
    std::uint64_t at_;
    std::int32_t taken_ = 0;
};

/// A conversion as it stands behind its %.
struct Conversion {
    std::string spec = "%"; // flags, width and precision, stars replaced by their numbers
    std::string length;     // h, hh, l, ll ...
    char kind = 0;          // 0: the format ends within it
};

/// `at` is behind the %; goes on to the conversion's last character.
Conversion read_conversion(const char *&at, Arguments &arguments) {
    constexpr std::size_t most = 24; // of what the host's printf is given
    Conversion found;
    for (; *at != 0; ++at) {
        if (is_one_of("diouxXcsfFeEgGaAp%", *at)) {
            found.kind = *at;
            break;
        }
        if (is_one_of("lhzjt", *at)) {
            found.length += *at;
        } else if (*at == '*') {
            const auto number = static_cast<std::int32_t>(arguments.take(4));
            if (number >= 0 || found.spec.find('.') == std::string::npos)
                found.spec += std::to_string(number);
            else // a negative precision counts as none
                found.spec.resize(found.spec.find('.'));
        } else if (is_one_of("-+ #0123456789.", *at) && found.spec.size() < most) {
            found.spec += *at;
        }
    }
    return found;
}

template <class T> void append(std::string &out, const std::string &spec, T value) {
    char text[512];
    const int length = std::snprintf(text, sizeof text, spec.c_str(), value);
    const auto wanted =
        std::min(static_cast<std::size_t>(std::max(length, 0)), longest - std::min(out.size(), longest));
    if (wanted < sizeof text) {
        out.append(text, wanted);
        return;
    }
    const std::size_t before = out.size();
    out.resize(before + wanted + 1);
    std::snprintf(out.data() + before, wanted + 1, spec.c_str(), value);
    out.resize(before + wanted);
}

/// As the host's own printf would have it: its types are as wide as the device's.
void convert(std::string &out, const Conversion &conversion, Arguments &arguments) {
    const char kind = conversion.kind;
    const std::string plain = conversion.spec + kind;
    if (kind == 's') {
        const auto *string = reinterpret_cast<const char *>(arguments.take(8));
        append(out, plain, string ? string : "(null)");
    } else if (is_one_of("fFeEgGaA", kind)) {
        append(out, plain, std::bit_cast<double>(arguments.take(8)));
    } else if (kind == 'p') {
        append(out, plain, reinterpret_cast<void *>(arguments.take(8)));
    } else if (kind == 'c') {
        append(out, plain, static_cast<int>(arguments.take(4)));
    } else if (conversion.length.find_first_of("lzjt") != std::string::npos) {
        append(out, conversion.spec + "ll" + kind, static_cast<unsigned long long>(arguments.take(8)));
    } else {
        append(out, conversion.spec + conversion.length.substr(0, 2) + kind,
               static_cast<unsigned>(arguments.take(4)));
    }
}

/// Gives back what a device's printf does: how many arguments were taken, or -1 without a format.
std::int32_t print_formatted(std::string &out, std::uint64_t format, std::uint64_t values) {
    if (format == 0)
        return -1;
    Arguments arguments(values);
    for (const char *at = reinterpret_cast<const char *>(format); *at != 0 && out.size() < longest; ++at) {
        if (*at != '%') {
            out += *at;
            continue;
        }
        const Conversion conversion = read_conversion(++at, arguments);
        if (conversion.kind == 0)
            break;
        if (conversion.kind == '%')
            out += '%';
        else
            convert(out, conversion, arguments);
    }
    return arguments.taken();
}

} // namespace

void print(Warp &w, const Op &op) {
    const auto *format = w.slot<std::uint64_t>(op.a), *values = w.slot<std::uint64_t>(op.b);
    auto *result = w.slot<std::int32_t>(op.dst);
    each_lane(w.exec, [&](unsigned lane) {
        std::string out;
        result[lane] = print_formatted(out, format[lane], values[lane]);
        if (w.block->print && !out.empty())
            w.block->print(w.block->print_context, out.data(), out.size());
    });
}

void assert_failed(Warp &w, const Op &op) {
    unsigned lane = static_cast<unsigned>(std::countr_zero(w.exec));
    auto *message = reinterpret_cast<const char *>(w.slot<std::uint64_t>(op.a)[lane]);
    raise(w, op, FaultKind::assert_failed, lane,
          std::string("assertion failed: ") + (message ? message : ""));
}

} // namespace soft
