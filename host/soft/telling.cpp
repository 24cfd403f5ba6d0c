#include "soft/telling.hpp"

#include <algorithm>
#include <cstdio>
#include <set>

#include "server/state.hpp"
#include "soft/exec/lower.hpp"

namespace shimbench::soft {

namespace {

constexpr std::size_t shapes_kept = 64, shapes_told = 12, shapes_counted = 8;
constexpr std::size_t line_bytes = 3500; // a line of kernels stays what a pipe takes in one piece
constexpr std::size_t name_bytes = 1000;
constexpr std::uint64_t text_bytes = 1 << 20, texts_bytes = 32 << 20; // of one kernel, of all

std::string field(const char *name, std::uint64_t value) {
    return ",\"" + std::string(name) + "\":" + std::to_string(value);
}

std::string seconds(const char *name, double value) {
    char text[64];
    std::snprintf(text, sizeof text, ",\"%s\":%.9f", name, value);
    return text;
}

std::string triple(const char *name, const std::uint32_t (&v)[3]) {
    return ",\"" + std::string(name) + "\":[" + std::to_string(v[0]) + "," + std::to_string(v[1]) + "," +
           std::to_string(v[2]) + "]";
}

std::string who(std::uint64_t module, const std::string &name) {
    return field("module", module) + ",\"kernel\":" + json_string(name.substr(0, name_bytes));
}

} // namespace

KernelTeller::Shape KernelTeller::shape_of(const wire_launch &launch) {
    Shape shape{};
    std::copy(launch.grid, launch.grid + 3, shape.grid);
    std::copy(launch.block, launch.block + 3, shape.block);
    shape.shared = launch.shared_bytes;
    return shape;
}

bool KernelTeller::wants_counts(const Total &total, const wire_launch &shape) const {
    return tell_ && total.shapes.size() < shapes_counted && !total.shapes.contains(shape_of(shape));
}

void KernelTeller::launched(Total &total, const Launched &launch, std::string_view text, int line) {
    if (!tell_)
        return;
    if (!total.all.launches && launch.program) {
        total.static_shared = launch.program->static_shared;
        tell_text(launch.module, launch.name, text, line);
    }
    auto add = [&](Sums &sums) {
        const double took = launch.statistics->seconds;
        sums.shortest = sums.launches ? std::min(sums.shortest, took) : took;
        sums.longest = std::max(sums.longest, took);
        ++sums.launches;
        sums.instructions += launch.statistics->warp_operations;
        sums.seconds += took;
    };
    add(total.all);
    const Shape shape = shape_of(*launch.shape);
    if (total.shapes.size() < shapes_kept || total.shapes.contains(shape))
        add(total.shapes[shape]);
    else
        ++total.other_shapes;
    total.compiled = launch.compiled;
    total.changed = untold_ = true;
    if (!launch.statistics->counts.empty())
        add_lines(total, *launch.program, *launch.statistics);
    tell_changes(false);
}

/// An instruction is as often executed as the first of the operations that it became; a line as often as
/// all the instructions that came of it, a function that is called twice having become two.
void KernelTeller::add_lines(Total &total, const ::soft::Program &program,
                             const ::soft::LaunchStatistics &launch) {
    const std::vector<::soft::OperationCount> &counts = launch.counts;
    ++total.counted;
    total.counted_blocks += launch.counted;
    total.all_blocks += launch.blocks;
    total.lines_changed = true;
    std::set<int> seen;
    for (std::size_t i = 0; i < counts.size(); ++i) {
        const int instruction = program.source->drafts[i].instruction;
        if (instruction < 0 || !seen.insert(instruction).second)
            continue;
        ::soft::OperationCount &sum = total.lines[program.ops[i].line];
        sum.warps += counts[i].warps;
        sum.threads += counts[i].threads;
    }
}

void KernelTeller::tell_text(std::uint64_t module, const std::string &name, std::string_view text, int line) {
    std::string fields = who(module, name) + field("line", static_cast<std::uint64_t>(std::max(line, 0))) +
                         field("bytes", text.size());
    if (text.size() <= text_bytes && texts_ + text.size() <= texts_bytes) {
        texts_ += text.size();
        fields += ",\"text\":" + json_string(text);
    }
    tell_("ptx", fields);
}

void KernelTeller::tell_lines(std::uint64_t module, const std::string &name, const Total &total) {
    std::string rows;
    for (const auto &[line, count] : total.lines)
        rows += (rows.empty() ? "[" : ",[") + std::to_string(line) + "," + std::to_string(count.warps) + "," +
                std::to_string(count.threads) + "]";
    tell_("lines", who(module, name) + field("counted", total.counted) +
                       field("blocks", total.counted_blocks) + field("of_blocks", total.all_blocks) +
                       ",\"lines\":[" + rows + "]");
}

std::string KernelTeller::kernel_text(std::uint64_t module, const std::string &name, const Total &total) {
    auto sums_text = [](const Sums &sums) {
        return field("launches", sums.launches) + field("instructions", sums.instructions) +
               seconds("seconds", sums.seconds);
    };
    std::vector<const std::pair<const Shape, Sums> *> order;
    for (const auto &shape : total.shapes)
        order.push_back(&shape);
    std::sort(order.begin(), order.end(),
              [](const auto *a, const auto *b) { return a->second.seconds > b->second.seconds; });
    std::uint64_t others = total.other_shapes;
    std::string shapes;
    for (std::size_t i = 0; i < order.size(); ++i) {
        const auto &[shape, sums] = *order[i];
        if (i >= shapes_told) {
            others += sums.launches;
            continue;
        }
        const std::string text = triple("grid", shape.grid) + triple("block", shape.block) +
                                 field("shared", shape.shared) + sums_text(sums) +
                                 seconds("shortest", sums.shortest) + seconds("longest", sums.longest);
        shapes += (shapes.empty() ? "{" : ",{") + text.substr(1) + "}";
    }
    return "{\"name\":" + json_string(name.substr(0, name_bytes)) + field("module", module) +
           sums_text(total.all) + ",\"compiled\":" + (total.compiled ? "true" : "false") +
           field("static_shared", total.static_shared) + field("other_shapes", others) + ",\"shapes\":[" +
           shapes + "]}";
}

bool KernelTeller::tell_changes(bool now) {
    if (!tell_ || !untold_)
        return false;
    const auto moment = std::chrono::steady_clock::now();
    const auto pause = std::clamp<std::chrono::nanoseconds>((moment - began_) / 60, std::chrono::seconds(1),
                                                            std::chrono::seconds(5));
    if (!now && moment - told_ < pause)
        return true;
    std::vector<std::pair<const std::pair<std::uint64_t, std::string>, Total> *> changed;
    for (auto &entry : totals_)
        if (entry.second.changed)
            changed.push_back(&entry);
    untold_ = false;
    told_ = moment;
    std::sort(changed.begin(), changed.end(),
              [](const auto *a, const auto *b) { return a->second.all.seconds > b->second.all.seconds; });
    std::string text;
    auto send = [&] {
        if (!text.empty())
            tell_("kernels", ",\"kernels\":[" + text + "]");
        text.clear();
    };
    for (auto *entry : changed) {
        const auto &[module, name] = entry->first;
        Total &total = entry->second;
        const std::string one = kernel_text(module, name, total);
        if (text.size() + one.size() > line_bytes)
            send();
        text += (text.empty() ? "" : ",") + one;
        total.changed = false;
    }
    send();
    for (auto *entry : changed)
        if (std::exchange(entry->second.lines_changed, false))
            tell_lines(entry->first.first, entry->first.second, entry->second);
    return false;
}

void KernelTeller::forget(std::uint64_t module) {
    tell_changes(true);
    std::erase_if(totals_, [&](const auto &entry) { return entry.first.first == module; });
}

} // namespace shimbench::soft
